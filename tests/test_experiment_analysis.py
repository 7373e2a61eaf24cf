"""From simulated participants with known opinions through the server to scores: what comes out is what went in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from experiment_server import make_images
from typer.testing import CliRunner

from iqa_lab.cli import app
from iqa_lab.experiment.analysis import analyse
from iqa_lab.experiment.answers import add_participant, find_participant, opened, record
from iqa_lab.experiment.design import GRADES, create_experiment, trials_of

GIVEN = {"seconds": 1.0, "pixel_ratio": 1.0, "window_width": 800, "window_height": 600}


def take_part(folder, experiment, answer, n_participants: int) -> None:
    """Lets simulated people answer: answer(trial, participant, random)."""
    with opened(folder) as connection:
        for k in range(n_participants):
            participant = find_participant(connection, add_participant(connection))
            random = np.random.RandomState(k)
            for number, trial in enumerate(trials_of(experiment, participant)):
                chosen = trial.expected if trial.kind == "check" else answer(trial, participant, random)
                record(connection, participant, number, trial, GIVEN | {"answer": chosen})


@pytest.fixture
def images(tmp_path):
    return make_images(tmp_path / "originals", n_contents=3, n_levels=5)


def level(stimulus) -> int:
    return int(stimulus.name.split("_l")[1].split(".")[0])


def test_ratings_become_mos_and_biases(tmp_path, images):
    images.loc[0, "role"], images.loc[5, "role"] = "training", "high"
    experiment = create_experiment(tmp_path / "study", images, method="rating", n_checks=1)
    biases = np.linspace(-0.6, 0.6, 13)

    def grade(trial, participant, random):
        wanted = 4.5 - 0.75 * level(trial.images[0]) + biases[participant] + 0.3 * random.standard_normal()
        return str(int(np.clip(round(wanted), 1, len(GRADES))))

    take_part(tmp_path / "study", experiment, grade, 13)
    scores, participants = analyse(tmp_path / "study")
    assert len(scores) == 14 and (scores["n_ratings"] == 13).all() and set(scores["role"]) == {"test", "high"}
    wanted = 4.5 - 0.75 * scores["image"].map(lambda name: int(name.split("_l")[1][0]))
    assert np.abs(scores["mos"] - wanted).max() < 0.35 and np.abs(scores["psi"] - wanted).max() < 0.35
    assert ((scores["psi_low"] <= scores["psi"]) & (scores["psi"] <= scores["psi_high"])).all()
    assert np.corrcoef(participants["bias"], biases)[0, 1] > 0.95
    assert (participants["left_out"] == "").all() and (participants["n_answers"] == 16).all()


def test_comparisons_become_jod(tmp_path, images):
    experiment = create_experiment(tmp_path / "study", images, method="pairs", ties=True, n_checks=0)

    def prefer(trial, participant, random):
        difference = 0.8 * (level(trial.images[1]) - level(trial.images[0])) + 1.4826 * random.standard_normal()
        return "same" if abs(difference) < 0.2 else ("left" if difference > 0 else "right")

    take_part(tmp_path / "study", experiment, prefer, 60)
    scores, _ = analyse(tmp_path / "study")
    wanted = 0.8 * (2 - scores["image"].map(lambda name: int(name.split("_l")[1][0])))
    assert np.abs(scores["jod"] - wanted).max() < 0.45
    assert ((scores["jod_low"] < wanted) & (wanted < scores["jod_high"])).mean() >= 0.8
    assert (scores["n_comparisons"] == 60 * 4).all()
    np.testing.assert_allclose(scores.groupby("content")["jod"].mean(), 0, atol=1e-9)


def test_who_fails_a_check_is_left_out_and_named(tmp_path, images):
    experiment = create_experiment(tmp_path / "study", images, method="rating", n_checks=2)
    take_part(tmp_path / "study", experiment, lambda trial, participant, random: str(random.randint(1, 6)), 3)
    with opened(tmp_path / "study") as connection:
        connection.execute("UPDATE answers SET answer = expected || '9' WHERE participant = 1 AND kind = 'check'")
    scores, participants = analyse(tmp_path / "study")
    assert list(participants["left_out"]) == ["", "failed an attention check", ""] and (scores["n_ratings"] == 2).all()
    assert list(participants["checks_failed"]) == [0, 2, 0]


def test_one_participant_who_stopped_early_gives_a_defined_result(tmp_path, images):
    experiment = create_experiment(tmp_path / "rated", images, method="rating", n_checks=0)
    compared = create_experiment(tmp_path / "compared", images, method="pairs", n_checks=0)
    for folder, study, answer in (("rated", experiment, "4"), ("compared", compared, "left")):
        with opened(tmp_path / folder) as connection:
            participant = find_participant(connection, add_participant(connection))
            for number, trial in enumerate(trials_of(study, participant)[:2]):
                record(connection, participant, number, trial, GIVEN | {"answer": answer})
    scores, participants = analyse(tmp_path / "rated")
    assert list(scores["mos"]) == [4, 4] and scores["psi"].isna().all() and participants["bias"].isna().all()
    assert np.isfinite(analyse(tmp_path / "compared").scores["jod"]).all()


def test_commands_from_new_to_analyse(tmp_path, images):
    images[["image", "content", "role"]].to_csv(tmp_path / "images.csv", index=False)
    run, folder = CliRunner(), tmp_path / "study"
    made = run.invoke(app, ["experiment", "new", str(folder), "--images", str(tmp_path / "images.csv"), "--method", "pairs"])
    assert made.exit_code == 0 and "15 images" in made.output and "iqa-lab experiment serve" in made.output
    assert run.invoke(app, ["experiment", "new", str(folder)]).exit_code == 2  # never written over
    early = run.invoke(app, ["experiment", "analyse", str(folder)])
    assert early.exit_code == 2 and "iqa-lab experiment serve" in early.output
    from iqa_lab.experiment.design import load_experiment
    take_part(folder, load_experiment(folder), lambda trial, *_: "left", 2)
    done = run.invoke(app, ["experiment", "analyse", str(folder)])
    assert done.exit_code == 0, done.output
    assert len(pd.read_csv(folder / "scores.csv")) == 15 and len(pd.read_csv(folder / "participants.csv")) == 2
    assert run.invoke(app, ["experiment", "serve", str(tmp_path / "none")]).exit_code == 2


def test_the_demonstration_can_be_made(tmp_path):
    made = CliRunner().invoke(app, ["experiment", "new", str(tmp_path / "study")])
    assert made.exit_code == 0 and "21 images" in made.output
