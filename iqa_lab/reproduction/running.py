"""What a job does: scores or trains one system, and compares its scores with the opinions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from iqa_lab.databases import Database, load_pairs, quality
from iqa_lab.evaluation.protocols import agreement_by_group
from iqa_lab.evaluation.splits import content_splits
from iqa_lab.registry import create_metric
from iqa_lab.reproduction.tables import base_of
from iqa_lab.scoring import score
from iqa_lab.training.loop import train
from iqa_lab.training.networks import new_network, types_of
from iqa_lab.training.preferences import two_afc
from iqa_lab.training.recipes import Recipe, RegressorRecipe
from iqa_lab.training.regressors import train_regressor
from iqa_lab.training.runs import name_parts, numbered_parts

N_SPLITS = 10  # of every table of the protocol "splits"
LARGEST = 1e5  # instead of an infinite score: the PSNR of equal lumas in TID2013's release


def rows_of(protocol: str, system: str, recipe: Recipe | RegressorRecipe | None, database: Database, folder: Path, *,
            trained_on: Database | None = None, split: int | None = None, device: str = "cpu",
            progress: bool = True) -> list[dict]:
    """Returns the agreement of a system with people, one row for each split and each distortion.

    Args:
        protocol: a key of ``PROTOCOLS``.
        system: a key of ``METRICS`` or ``VARIANTS``.
        recipe: that trains it; None scores with it as it is.
        database: whose images are tested.
        folder: for runs of training, which are resumed.
        trained_on: the other database of the protocol "cross".
        split: the only split, None for all.
        device, progress: as :func:`iqa_lab.scoring.score`.
    """
    if recipe is None:
        metric = create(system, None, device)
        if protocol == "pairs":
            return pair_rows(metric, database, device, progress)
        return score_rows(scores_of(metric, database, device, progress), database, in_splits=protocol == "splits")
    if trained_on is not None:
        whole, parts = joined(trained_on, database)
        return trained_rows(system, recipe, whole, parts, None, folder, device, progress)
    if split is not None:
        return trained_rows(system, recipe, database, numbered_parts(database, split), split, folder, device, progress)
    return [row for k in range(N_SPLITS) for row in trained_rows(
        system, recipe, database, numbered_parts(database, k), k, folder / f"split{k}", device, progress)]


def create(system: str, recipe: Recipe | RegressorRecipe | None, device: str) -> nn.Module:
    """Returns a system as its recipe trains it, or without one as it scores.

    Raises:
        FileNotFoundError: parameters are not on this machine, with the way to them.
    """
    base, options = base_of(system)
    if isinstance(recipe, Recipe):
        torch.manual_seed(recipe.seed)
        return new_network(base, recipe, device)
    return create_metric(base, device, **options | ({"parameters": "untrained"} if recipe else {}))


def scores_of(metric: nn.Module, database: Database, device: str, progress: bool) -> np.ndarray:
    """Returns the score of every image, higher is better, infinite ones as the largest; ValueError where one has none."""
    table = score(metric, database, device=device, progress=progress)
    bad = table[table["error"] != ""]
    if len(bad):
        raise ValueError(f"Expected a score for every image, got for {bad['image'].iloc[0]}: {bad['error'].iloc[0]}")
    return np.clip(table["score"].to_numpy(), -LARGEST, LARGEST) * (1 if metric.higher_is_better else -1)


def score_rows(scores: np.ndarray, database: Database, *, in_splits: bool) -> list[dict]:
    """Returns the agreement of the scores of all images, higher is better: on each test part, or on all of them."""
    if not in_splits:
        return agreement_rows(scores, database, database.index, None)
    splits = content_splits(database.index["content"], n_splits=N_SPLITS)
    return [row for k, (_, test) in enumerate(splits)
            for row in agreement_rows(scores[test], database, database.index.iloc[test], k)]


def trained_rows(system: str, recipe: Recipe | RegressorRecipe, database: Database, parts: np.ndarray, split: int | None,
                 folder: Path, device: str, progress: bool) -> list[dict]:
    """Returns the agreement on the test part after training on the others."""
    if isinstance(recipe, Recipe):
        recipe = replace(recipe, options=recipe.options | types_of(base_of(system)[0], database))
        train(create(system, recipe, device), database, recipe, folder, parts=parts, progress=progress)
    else:
        train_regressor(create(system, recipe, device), database, recipe, folder, parts=parts, progress=progress)
    scores = pd.read_csv(folder / "scores.csv")["score"].to_numpy()
    scores = quality(database, scores) if isinstance(recipe, Recipe) else -scores  # of regressors lower is better
    return agreement_rows(scores, database, database.index[parts == "test"], split)


def agreement_rows(scores: np.ndarray, database: Database, index: pd.DataFrame, split: int | None) -> list[dict]:
    """Returns the agreement on the images of each distortion, and on all.

    Args:
        scores: of the images of the index, higher is better.
        database: with human scores.
        index: some rows of its index.
        split: number of the split.
    """
    table = agreement_by_group(scores, quality(database, index["mos"].to_numpy(float)), index["distortion"])
    return [{"split": split, "distortion": name, **row} for name, row in table.to_dict("index").items()]


def pair_rows(metric: nn.Module, database: Database, device: str, progress: bool) -> list[dict]:
    """Returns the 2AFC score in each family of distortions of the validation part, and their mean as "all"."""
    pairs = load_pairs(database.name)
    pairs = pairs[pairs["split"].isin(("val", "validation"))]
    index = database.index[database.index["image"].isin({*pairs["first"], *pairs["second"]})]
    scores = pd.Series(scores_of(metric, replace(database, index=index), device, progress), index["image"])
    kinds = index.set_index("image")["distortion"].loc[pairs["first"]].to_numpy()
    rows = [{"split": None, "distortion": kind, "n": len(part), "2afc": two_afc(
        scores[part["first"]].to_numpy(), scores[part["second"]].to_numpy(), part["preference"].to_numpy(float))}
        for kind, part in pairs.groupby(kinds, sort=False)]
    mean = float(np.mean([row["2afc"] for row in rows]))
    return [*rows, {"split": None, "distortion": "all", "n": len(pairs), "2afc": mean}]


def joined(learned: Database, tested: Database) -> tuple[Database, np.ndarray]:
    """Returns two databases as one, and the part of each image: the second is the test part, and a fifth of the contents of
    the first is for validation.

    A straight line brings the opinion scores of the second to the scale of the first.
    """
    (low, high), (bottom, top) = learned.facts.score_range, tested.facts.score_range
    first, second = learned.index, tested.index.copy()
    share = (second["mos"] - bottom) / (top - bottom)
    if learned.facts.higher_is_better != tested.facts.higher_is_better:
        share = 1 - share
    second["mos"] = low + (high - low) * share
    second["content"] = f"{tested.name} " + second["content"]
    for column in ("image", "reference"):  # absolute paths, which the first root does not change
        second[column] = [str(tested.root / name) if isinstance(name, str) else name for name in second[column]]
    both = pd.concat([first, second], ignore_index=True)
    rows = dict(zip(("train", "validation"), content_splits(first["content"], n_splits=1)[0], strict=True))
    parts = name_parts(len(both), rows | {"test": np.arange(len(first), len(both))})
    return Database(replace(learned.facts, name=f"{learned.name}, then {tested.name}"), learned.root, both), parts
