"""Trains and tests the no-reference systems over content-disjoint splits of the databases that are here.

``python -m iqa_lab.data_scripts.no_reference_splits [SYSTEM ...] [--database NAME ...] [--splits N]
[--device cuda] [--live-blur FOLDER]``, run in the
folder of the project after ``iqa-lab data prepare`` of livec, biq2021, srij and tid2013, writes

- results/splits/no_reference.csv: agreement on the test part of each 80 : 20 split. A system with a regressor is trained
  on the other 80 % (recipe "fast", its parameter search inside them). So is a network, which keeps a fifth of their
  contents to choose its epoch; only the first N splits. The others have seen none of the images.
- results/no_reference_summary.csv: median and quartiles over the splits, and published medians on the whole databases.
- results/no_reference_cross.csv: trained on one database, tested on all images of another, and the release's own split
  of BIQ2021. Of a network trained on several splits it is that of the split with the median SROCC. TID2013 and LIVE blur
  stand here alone: the images of the one that are here show one content, and of the other there are few.

Trainings of networks are kept in the cache, and resumed.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from iqa_lab import METRICS, create_metric, load_database
from iqa_lab.data_scripts.deep_full_reference import live_blur
from iqa_lab.data_scripts.network_runs import NETWORKS, finished_runs, first_stage, median_run, network_row, network_scores
from iqa_lab.data_scripts.result_rows import RESULTS, replace_rows
from iqa_lab.databases import Database, quality
from iqa_lab.evaluation.protocols import agreement
from iqa_lab.evaluation.splits import content_splits, official_split
from iqa_lab.reproduction.published import find_table
from iqa_lab.training.features import cached_features, cached_scores
from iqa_lab.training.recipes import find_recipe
from iqa_lab.training.regressors import fit_regressor, opinion_targets, predict, repeated_splits
from iqa_lab.training.runs import index_hash, split_parts

PHOTOS = ("livec", "biq2021")  # what networks are tested elsewhere after
SPLIT_DATABASES = (*PHOTOS, "srij")
DATABASES = (*SPLIT_DATABASES, "tid2013", "live_blur")
REGRESSED = ("brisque", "bliinds2", "gm_log", "cornia", "hosa", "pooled_efficientnet_lite0", "blinder_efficientnet_lite0",
             "deepbiq_efficientnet_lite0", "sfa_efficientnet_lite0")
RANKED = ("dipiq_brisque",)  # learns from pairs of distorted photographs alone, in its first stage
FIXED = ("piqe", "niqe", "niqe_live", "ilniqe", "ilniqe_authors", "brisque_live", "bliinds2_live", "gm_log_live",
         "diivine_live", "eonss", *RANKED)
N_SPLITS, N_SPLITS_FIXED = 10, 100
KEY, ORDER = ("system", "database"), (*FIXED, *REGRESSED, *NETWORKS, *DATABASES)  # of the rows of the tables
TABLE = find_table("zeng2017pqr", "readme")  # the same protocol, on whole databases
#: System, database, criterion -> the published median. Networks are left out: theirs is the best epoch on the test images.
PUBLISHED = {(cell.system, cell.database, cell.criterion): cell.published for cell in TABLE.cells
             if cell.system not in NETWORKS}
SOURCE = f"{TABLE.source}: medians of 10 splits of the whole database"


def split_rows(name: str, database: Database, n_splits: int, device: str) -> Iterator[dict]:
    """Yields the agreement of one system on the test part of each split; networks take the first ``n_splits``."""
    if name in NETWORKS:
        yield from (network_row(name, NETWORKS[name], database, k, device) for k in range(n_splits))
        return
    if name in REGRESSED:
        yield from regressor_rows(create_metric(name, parameters="untrained"), name, database, N_SPLITS)
        return
    scores, opinions = fixed_scores(name, database), quality(database, database.index["mos"].to_numpy(float))
    for _, test in content_splits(database.index["content"], n_splits=N_SPLITS_FIXED):
        yield agreement(scores[test], opinions[test])


def fixed_scores(name: str, database: Database) -> np.ndarray:
    """Returns the scores of a system that learns from no opinions here, higher is better."""
    return cached_scores(name, database, **({"parameters": first_stage(name)} if name in RANKED else {}))


def regressor_rows(metric: nn.Module, name: str, database: Database, n_splits: int) -> Iterator[dict]:
    """Yields the agreement of a feature-based system, untrained, on each split; the recipe is that of ``name``."""
    yield from repeated_splits(cached_features(metric, database.image_paths), database, find_recipe(name, "fast"),
                               n_splits=n_splits, parts=getattr(metric, "parts", ()))


def cross_rows(name: str, test: Database, device: str) -> Iterator[dict]:
    """Yields the agreement of one system on a database, trained on each other one or on its official training part."""
    opinions = quality(test, test.index["mos"].to_numpy(float))
    if name in NETWORKS:
        yield from cross_rows_of_network(name, test, opinions, device)
        return
    if name not in REGRESSED:
        yield {"trained_on": METRICS[name].configuration, **agreement(fixed_scores(name, test), opinions)}
        return
    for learned in (load_database(other) for other in SPLIT_DATABASES if other != test.name):
        yield {"trained_on": f"{learned.name} ({len(learned.index)} photos)",
               **agreement(regressor_scores(name, learned, test), opinions)}
    if has_official_split(test):
        parts = official_split(test.index["split"])
        learned, tested = (replace(test, index=test.index.iloc[parts[part]]) for part in ("train", "test"))
        yield {"trained_on": f"official training part ({len(learned.index)} photos)",
               **agreement(regressor_scores(name, learned, tested), opinions[parts["test"]])}


def regressor_scores(name: str, learned: Database, test: Database) -> np.ndarray:
    """Returns the scores of a feature-based system that was fitted on all images of another database, higher is better."""
    metric = create_metric(name, parameters="untrained")
    arrays, _ = fit_regressor(cached_features(metric, learned.image_paths), opinion_targets(learned),
                              learned.index["content"], find_recipe(name, "fast"), parts=getattr(metric, "parts", ()))
    return -predict(arrays, cached_features(metric, test.image_paths))


def has_official_split(database: Database) -> bool:
    """Returns whether the release says which images are for training and which for tests."""
    return "split" in database.index and database.index["split"].notna().all()


def can_learn(name: str, database: Database) -> bool:
    """Returns whether a database has what a network learns: for NIMA it must say how opinions spread."""
    return not name.startswith("nima") or database.index["mos_std"].notna().all()


def cross_rows_of_network(name: str, test: Database, opinions: np.ndarray, device: str) -> Iterator[dict]:
    """Yields what :func:`cross_rows` does for the trainings of a network that are finished."""
    for learned in (load_database(other) for other in PHOTOS if other != test.name):
        if runs := finished_runs(name, learned):
            scores, seen = network_scores(name, NETWORKS[name], learned, median_run(runs), test)
            yield {"trained_on": f"{learned.name} ({seen} images)", **agreement(scores, opinions)}
    if has_official_split(test) and can_learn(name, test):
        seen, report = (split_parts(test, 0) == "train").sum(), network_row(name, NETWORKS[name], test, None, device)
        yield {"trained_on": f"official training part ({seen} photos)", **report}


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Returns median and quartiles of SROCC, PLCC and KROCC of each system and database, beside published medians."""
    rows = []
    for (name, database), part in table.groupby(["system", "database"], sort=False):
        row = {"system": name, "database": database, "images": part["images"].iloc[0], "splits": len(part)}
        for criterion in ("srocc", "plcc", "krocc"):
            q1, median, q3 = part[criterion].quantile([0.25, 0.5, 0.75])
            row |= {criterion: median, f"{criterion}_q1": q1, f"{criterion}_q3": q3}
        srocc, plcc = (PUBLISHED.get((name, database, criterion), np.nan) for criterion in ("srocc", "plcc"))
        row |= {"srocc_published": srocc, "plcc_published": plcc, "source": SOURCE if srocc == srocc else ""}
        rows.append(row | part.iloc[0][["seed", "index_sha256", "date"]].to_dict())
    return pd.DataFrame(rows)


def main() -> None:
    """Runs the named systems on the named databases, or all, and puts their rows in the place of older ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system", nargs="*", default=[*FIXED, *REGRESSED, *NETWORKS])
    parser.add_argument("--database", nargs="+", default=list(DATABASES[:-1]), choices=DATABASES[:-1])
    parser.add_argument("--splits", type=int, default=5, help="of the networks")
    parser.add_argument("--live-blur", type=Path, help="with index_present.csv, refimgs/ and gblur/ of LIVE release 2")
    parser.add_argument("--device", default="cpu", help="where networks are trained that are not yet, such as cuda")
    arguments = parser.parse_args()
    facts = {"seed": 0, "torch": torch.__version__, "device": "cpu", "date": date.today().isoformat()}
    databases = [load_database(name) for name in arguments.database]
    databases += [live_blur(arguments.live_blur)] if arguments.live_blur else []
    for name, database in itertools.product(arguments.system, databases):
        about = {"system": name, "database": database.name, "images": len(database.index)}
        about_run = facts | {"index_sha256": index_hash(database)[:16]}
        split = database.name in SPLIT_DATABASES and can_learn(name, database)
        splits = split_rows(name, database, arguments.splits, arguments.device) if split else ()
        if rows := [about | {"split": k} | about_run | row for k, row in enumerate(splits)]:
            table = replace_rows(RESULTS / "splits" / "no_reference.csv", pd.DataFrame(rows), key=KEY, order=ORDER)
            summary(table).to_csv(RESULTS / "no_reference_summary.csv", index=False, float_format="%.4f")
            print(name, database.name, round(pd.DataFrame(rows)["srocc"].median(), 3), flush=True)
        if rows := [about | about_run | row for row in cross_rows(name, database, arguments.device)]:
            replace_rows(RESULTS / "no_reference_cross.csv", pd.DataFrame(rows), key=KEY, order=ORDER)


if __name__ == "__main__":
    main()
