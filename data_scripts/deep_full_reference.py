"""Trains the learned full-reference systems on SRIJ, and tests them and those with weights beside the classical ones.

``python -m iqa_lab.data_scripts.deep_full_reference LIVE_BLUR_FOLDER [--trained NAME ...] [--given NAME ...]``, run in the
folder of the project after ``iqa-lab data prepare`` of srij and tid2013. The folder holds index_present.csv, refimgs/ and
gblur/ of LIVE release 2. Runs are kept in the cache, and resumed. It writes

- results/splits/srij.csv: agreement on the test contents of five content-disjoint 60 : 20 : 20 splits of SRIJ. A trained
  system (recipe "fast") has learned from the training part, its epoch was chosen on the validation part; the others have
  seen no image of it. 2AFC: comparisons derived from the ratings, who rated both versions of a content prefers the one
  with the higher rating.
- results/srij_summary.csv: median, smallest and largest value over the splits, and what all of them took together.
- results/deep_full_reference.csv: all images of SRIJ (systems that were not trained on it), LIVE blur and TID2013, with
  bootstrap intervals of SROCC over contents (images of TID2013, which show one content). Of a trained system, the network
  of the split with the median SROCC.
- results/srij_by_method.csv: the images of each method of super-resolution by themselves, systems not trained on SRIJ.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from iqa_lab import METRICS, load_database
from iqa_lab.data_scripts.network_runs import timed_training
from iqa_lab.data_scripts.result_rows import RESULTS, commit, replace_rows
from iqa_lab.databases import Database, load_ratings, quality
from iqa_lab.embedded import cache_folder
from iqa_lab.evaluation.bootstrap import bootstrap, percentile_interval
from iqa_lab.evaluation.protocols import agreement, agreement_by_group
from iqa_lab.evaluation.resampled import srocc_resampled
from iqa_lab.scoring import score
from iqa_lab.subjective.comparisons import within_rater_preferences
from iqa_lab.training.features import cached_scores
from iqa_lab.training.networks import new_network
from iqa_lab.training.preferences import DERIVED, two_afc
from iqa_lab.training.recipes import find_recipe
from iqa_lab.training.runs import index_hash, split_parts

SEEDS = range(5)
TRAINED = ("lpips_squeeze", "swdn_uniform_heads_squeezenet", "wadiqam_fr", "diqam_fr", "deepqa", "pieapp")
GIVEN = ("psnr", "ssim", "ms_ssim", "fsim", "vif", "perceptual_loss_squeezenet", "deepsim_squeezenet", "amirshahi2016",
         "amirshahi2016_squeezenet", "tariq2020_squeezenet", "lpips", "lpips_squeeze", "dists_like_squeezenet",
         "swdn_uniform_heads", "swdn_uniform_heads_squeezenet")


def live_blur(folder: Path) -> Database:
    """Returns the blurred images of LIVE release 2 that are there, with realigned DMOS."""
    listed = pd.read_csv(folder / "index_present.csv")
    index = pd.DataFrame({"image": "gblur/" + listed["image"], "reference": "refimgs/" + listed["reference"],
                          "content": listed["reference"], "distortion": "gaussian_blur", "mos": listed["dmos_realigned"]})
    mini = load_database("live_gblur_mini")
    return replace(mini, facts=replace(mini.facts, name="live_blur"), root=folder, index=index)


def train_system(name: str, seed: int) -> tuple[torch.nn.Module, dict]:
    """Returns a network trained on one split of SRIJ and its report."""
    recipe = replace(find_recipe(name, "fast"), seed=seed)
    torch.manual_seed(seed)
    network = new_network(name, recipe)
    report = timed_training(network, load_database("srij"), recipe, cache_folder() / "runs" / "srij" / name / str(seed))
    network.name, network.kind = f"{name} (trained on SRIJ, split {seed})", "FR"
    network.higher_is_better = getattr(network, "higher_is_better", True)
    return network, report


def sign(higher_is_better: bool) -> int:
    return 1 if higher_is_better else -1


def agreement_of_pairs(scores: np.ndarray, pairs: pd.DataFrame, names: pd.Series) -> float:
    """Returns the 2AFC score of scores (higher is better) of the named images over the pairs between them."""
    of = pd.Series(scores, index=names)
    pairs = pairs[pairs["first"].isin(names) & pairs["second"].isin(names)]
    return two_afc(of[pairs["first"]].to_numpy(), of[pairs["second"]].to_numpy(), pairs["preference"].to_numpy())


def split_row(name: str, trained: bool, seed: int, scores: np.ndarray, database: Database, pairs: pd.DataFrame) -> dict:
    """Returns the agreement on the test part of one split; the scores are of its images, higher is better."""
    test = test_part(database, seed)
    return {"system": name, "trained": trained, "split": seed,
            **agreement(scores, quality(test, test.index["mos"].to_numpy(float))),
            "2afc": agreement_of_pairs(scores, pairs, test.index["image"]), "index_sha256": index_hash(database)[:16]}


def test_part(database: Database, seed: int) -> Database:
    """Returns the database with the images of the test part of a split alone."""
    return replace(database, index=database.index[split_parts(database, seed) == "test"])


def whole_row(name: str, trained: bool, label: str, scores: np.ndarray, database: Database) -> dict:
    """Returns the agreement on all images of a database with a bootstrap interval of SROCC."""
    opinions = quality(database, database.index["mos"].to_numpy(float))
    contents = database.index["content"] if database.index["content"].nunique() > 1 else None
    resampled = bootstrap(srocc_resampled(scores[None], opinions), contents=contents)
    low, high = percentile_interval(resampled[:, 0])
    return {"system": name, "trained": trained, "database": label, **agreement(scores, opinions), "srocc_low": low,
            "srocc_high": high, "index_sha256": index_hash(database)[:16]}


def method_rows(name: str, scores: np.ndarray, database: Database) -> list[dict]:
    """Returns the agreement on the images of each method of super-resolution, and on all."""
    opinions = quality(database, database.index["mos"].to_numpy(float))
    table = agreement_by_group(scores, opinions, database.index["distortion"])
    about = {"system": name, "trained": False, "database": database.name}
    return [about | {"method": method} | row for method, row in table.to_dict("index").items()]


def rows_of_given(name: str, databases: dict[str, Database], pairs: pd.DataFrame) -> tuple[list[dict], list[dict]]:
    """Returns the rows of both tables of a system that is not trained here, and writes those of the methods."""
    scores = {label: cached_scores(name, database) for label, database in databases.items()}
    write_rows(RESULTS / "srij_by_method.csv", method_rows(name, scores["srij"], databases["srij"]))
    splits = [(seed, scores["srij"][split_parts(databases["srij"], seed) == "test"]) for seed in SEEDS]
    return ([split_row(name, False, seed, found, databases["srij"], pairs) for seed, found in splits],
            [whole_row(name, False, label, scores[label], database) for label, database in databases.items()])


def rows_of_trained(name: str, databases: dict[str, Database], pairs: pd.DataFrame) -> tuple[list[dict], list[dict]]:
    """Returns the rows of both tables of a system that is trained here, on each split."""
    splits, others = [], {label: [] for label in databases if label != "srij"}
    for seed in SEEDS:
        network, report = train_system(name, seed)
        direction = sign(network.higher_is_better)
        scores = direction * score(network, test_part(databases["srij"], seed), progress=False)["score"].to_numpy()
        facts = {key: value for key, value in report.items() if key in ("best_epoch", "minutes") or "chosen" in key}
        splits.append(split_row(name, True, seed, scores, databases["srij"], pairs) | facts)
        for label, rows in others.items():
            scores = direction * score(network, databases[label], progress=False)["score"].to_numpy()
            rows.append(whole_row(name, True, label, scores, databases[label]))
        print(name, seed, splits[-1], flush=True)
    return splits, [sorted(rows, key=lambda row: row["srocc"])[len(rows) // 2] for rows in others.values()]


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Returns one row for each system: medians over the splits, with the smallest and the largest SROCC and 2AFC."""
    table = table.reindex(columns=table.columns.union(["minutes", "test_srocc_if_chosen_on_test"], sort=False))
    rows = []
    for (name, trained), part in table.groupby(["system", "trained"], sort=False):
        row = {"system": name, "trained": trained, "splits": len(part)}
        for criterion in ("srocc", "2afc"):
            row |= {criterion: part[criterion].median(), f"{criterion}_min": part[criterion].min(),
                    f"{criterion}_max": part[criterion].max()}
        claims = part.filter(like="_if_chosen_on_test").bfill(axis=1).iloc[:, 0]
        row |= {"plcc": part["plcc"].median(), "krocc": part["krocc"].median(),
                "criterion_if_chosen_on_test": claims.median(), "minutes": part["minutes"].sum(min_count=1)}
        rows.append(row | part.iloc[0][["index_sha256", "device", "commit", "date"]].to_dict())
    return pd.DataFrame(rows)


def write_rows(file: Path, new: Iterable[dict]) -> pd.DataFrame:
    """Puts the rows of one system into the table, with what they were computed on, and returns it."""
    table = pd.DataFrame(new).assign(torch=torch.__version__, device="cpu", commit=commit(), date=date.today().isoformat())
    return replace_rows(file, table, key=("trained", "system"), order=(False, True, *GIVEN, *TRAINED))


def main() -> None:
    """Runs the named systems, or all, and puts their rows in the place of older ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("live_blur", type=Path, help="folder with index_present.csv, refimgs/ and gblur/")
    parser.add_argument("--trained", nargs="*", default=list(TRAINED), choices=TRAINED)
    parser.add_argument("--given", nargs="*", default=list(GIVEN), choices=[name for name in METRICS if METRICS[name].kind == "FR"])
    arguments = parser.parse_args()
    databases = {"srij": load_database("srij"), "live_blur": live_blur(arguments.live_blur), "tid2013": load_database("tid2013")}
    index = databases["srij"].index
    pairs = within_rater_preferences(load_ratings("srij")[index["image"]], index["reference"])
    print(f"{len(pairs)} comparisons, {DERIVED}", flush=True)
    for name, rows_of in [*((name, rows_of_given) for name in arguments.given),
                          *((name, rows_of_trained) for name in arguments.trained)]:
        splits, whole = rows_of(name, databases, pairs)
        table = write_rows(RESULTS / "splits" / "srij.csv", splits)
        summary(table).to_csv(RESULTS / "srij_summary.csv", index=False, float_format="%.4g")
        write_rows(RESULTS / "deep_full_reference.csv", whole)
        print(pd.DataFrame(splits)[["system", "srocc", "2afc"]].round(3).to_string(), flush=True)


if __name__ == "__main__":
    main()
