"""From the answers of an experiment to opinion scores: who counts, and what the images got.

Ratings become MOS and the scores of P.910's subject model; comparisons become one scale in JOD for each content. Who
failed an attention check is left out, and listed with the reason; BT.500's rule is reported, but leaves out nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from iqa_lab.experiment.answers import load_answers
from iqa_lab.experiment.design import SIDES, Experiment, load_experiment
from iqa_lab.subjective.comparisons import comparison_matrix
from iqa_lab.subjective.ranking import fit_scale, jod
from iqa_lab.subjective.ranking_inference import confidence_intervals, observer_covariance, score_covariance
from iqa_lab.subjective.rating import confidence_half_width, opinion_scores, ratings_matrix
from iqa_lab.subjective.screening import screen_counts
from iqa_lab.subjective.subject_model import confidence_intervals as model_intervals
from iqa_lab.subjective.subject_model import fit_subject_model

PRIOR_STD = 2.0  # JOD: keeps unanimous votes finite; few observers often agree on a pair
N_MODEL = 2  # participants that the subject model needs


class Analysis(NamedTuple):
    """Two tables: one row an image, and one row a participant (also those left out)."""

    scores: pd.DataFrame
    participants: pd.DataFrame


def analyse(folder: Path) -> Analysis:
    """Returns the results of an experiment so far; participants who have not finished count with what they answered.

    Raises:
        FileNotFoundError: no experiment, or no answers. ValueError: nobody is left.
    """
    experiment, answers = load_experiment(folder), load_answers(folder)
    participants = describe_participants(answers)
    counted = participants.index[participants["left_out"] == ""]
    usable = answers[answers["participant"].isin(counted)]
    if usable[usable["kind"] == "test"].empty:
        raise ValueError(f"Expected test answers of a participant who passed the attention checks, got {len(participants)} "
                         "participants without; let more people take part.")
    if experiment.method == "rating":
        scores, described = analyse_ratings(usable)
        participants = participants.join(described)
    else:
        scores = analyse_pairs(usable, experiment)
    facts = pd.DataFrame([{"image": s.name, "content": s.content, "role": s.role} for s in experiment.stimuli])
    return Analysis(facts.merge(scores, on="image"), participants.reset_index())


def describe_participants(answers: pd.DataFrame) -> pd.DataFrame:
    """Returns one row a participant: answers, seconds (median), failed checks and anchors, and why they are left out."""
    checked, by = answers["expected"].notna(), answers["participant"]
    wrong = checked & (answers["answer"] != answers["expected"])
    table = pd.DataFrame({"n_answers": by.value_counts().sort_index(), "seconds": answers.groupby(by)["seconds"].median()})
    for name, kind in (("checks_failed", "check"), ("anchors_failed", "anchor")):
        table[name] = (wrong & (answers["kind"] == kind)).groupby(by).sum()
    table["left_out"] = np.where(table["checks_failed"] > 0, "failed an attention check", "")
    return table.rename_axis("participant")


def analyse_ratings(answers: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns MOS with 95 % intervals and the model's psi for each image, and bias and consistency of each participant.

    Hidden anchors are rated like test images, and are in the first table. Without two participants who rated at least
    three common images there is no model, and its columns are empty.
    """
    rated = answers[answers["kind"].isin(("test", "anchor"))]
    table = ratings_matrix(pd.DataFrame({"subject": rated["participant"], "stimulus": rated["first"],
                                         "score": rated["answer"].astype(float)}))
    opinions = opinion_scores(table.ratings)
    scores = pd.DataFrame({"image": table.stimuli, **opinions._asdict(), "mos_half_width": confidence_half_width(opinions)})
    participants = pd.DataFrame(index=pd.Index(table.subjects, name="participant"))
    participants["rejected_by_bt500"] = screen_counts(table.ratings).rejected
    model_columns = ["psi", "psi_low", "psi_high"]
    scores[model_columns], participants[["bias", "inconsistency"]] = np.nan, np.nan
    if len(table.subjects) >= N_MODEL and (~np.isnan(table.ratings)).sum(axis=1).min() >= 3:
        model = fit_subject_model(table.ratings, restricted=True)
        low, high = model_intervals(table.ratings, model).psi
        scores[model_columns] = np.stack((model.psi, low, high), axis=1)
        participants["bias"], participants["inconsistency"] = model.bias, model.inconsistency
    return scores, participants


def analyse_pairs(answers: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    """Returns the JOD of each test image against the mean of its content, with 95 % intervals.

    A Gaussian prior of 2 JOD keeps unanimous votes finite. From two participants on, intervals allow for observers who
    differ; of one they take all answers for independent.
    """
    tests, tables = answers[answers["kind"] == "test"], []
    for content in dict.fromkeys(s.content for s in experiment.stimuli if s.role == "test"):
        names = [s.name for s in experiment.stimuli if s.content == content and s.role == "test"]
        inside = tests[tests["first"].isin(names)]
        if inside.empty:
            continue
        wins = np.stack([_wins(part, names) for _, part in inside.groupby("participant")])
        scale = fit_scale(wins.sum(axis=0), jod, prior_std=PRIOR_STD)
        covariance = observer_covariance(scale, wins, jod) if len(wins) > 1 else score_covariance(scale)
        freedom = len(wins) - 1 if len(wins) > 1 else np.inf
        low, high = confidence_intervals(scale.scores, covariance, degrees_of_freedom=freedom).T
        votes = wins.sum(axis=0)
        tables.append(pd.DataFrame({"image": names, "jod": scale.scores, "jod_low": low, "jod_high": high,
                                    "n_comparisons": (votes.sum(axis=0) + votes.sum(axis=1)).astype(int)}))
    return pd.concat(tables, ignore_index=True)


def _wins(answers: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Returns how often one participant preferred image i to image j; "same" is half a vote for each."""
    first, second = (answers[column].map(names.index).to_numpy() for column in ("first", "second"))
    left, right = (answers["answer"].to_numpy() == side for side in SIDES)
    tied = ~left & ~right
    winners, losers = np.concatenate((first[left], second[right])), np.concatenate((second[left], first[right]))
    return comparison_matrix(winners, losers, ties=np.stack((first[tied], second[tied]), axis=1), n_items=len(names))
