"""Fits the regressor of a feature-based system to the opinion scores of a database.

As the papers do it: content-disjoint parts, kernel parameters by cross-validation inside the training part, agreement
on the test part; once for a model to use (:func:`train_regressor`), or over many splits for a table
(:func:`repeated_splits`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import parallel_config
from numpy.typing import ArrayLike
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVR
from torch import nn

from iqa_lab.databases import Database, quality
from iqa_lab.evaluation.protocols import agreement
from iqa_lab.evaluation.splits import content_folds, content_splits
from iqa_lab.no_reference.regression import SupportVectorRegressor, scale_features
from iqa_lab.training.features import cached_features, code_version
from iqa_lab.training.recipes import RegressorRecipe
from iqa_lab.training.runs import describe_run, open_run, split_parts, write_results, write_whole

WORST = 100  # of the scale that every regressor is fitted to; 0 is the best


def train_regressor(metric: nn.Module, database: Database, recipe: RegressorRecipe, folder: str | Path, *,
                    progress: bool = True) -> dict:
    """Returns the report of a training: content-disjoint 80 : 20, or the release's own split.

    The folder (``iqa_lab.training.runs``) gets ``search.csv`` (every pair of the grid with its error) and
    ``regressor.npz``, fitted to the training part; ``create_metric(name, parameters=Path(...))`` uses it.

    Args:
        metric: made by ``create_metric(name, device, parameters="untrained")``.
        database: with human scores.
        recipe: a row of ``RECIPES``, or a changed copy.
        folder: where the run is kept.
        progress: show progress bars.

    Raises:
        ValueError: no human scores, too few contents, an unreadable image, or a folder with another run.
    """
    folder = Path(folder)
    targets = opinion_targets(database)
    parts = split_parts(database, recipe.seed)
    parts[parts == "validation"] = "train"  # the cross-validation takes its folds from the training part
    config = describe_run(metric, database, recipe) | {"features_sha256": code_version(metric)}
    open_run(folder, config, database, parts)
    if not (folder / "report.json").is_file():
        features = cached_features(metric, database.image_paths, progress=progress)
        train, test = (np.flatnonzero(parts == part) for part in ("train", "test"))
        arrays, search = fit_regressor(features[train], targets[train], database.index["content"].iloc[train], recipe)
        search.to_csv(folder / "search.csv", index=False)
        write_whole(folder / "regressor.npz", lambda path: _save(path, arrays))
        write_results(folder, database, parts, predict(arrays, features[test]), best_pair(search), higher_is_better=False)
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def repeated_splits(features: np.ndarray, database: Database, recipe: RegressorRecipe, *,
                    n_splits: int = 10) -> Iterator[dict]:
    """Yields the agreement on the test part of content-disjoint 80 : 20 splits, each with its own parameter search.

    Args:
        features: of every image of the index, shape (n, D).
        database: with human scores.
        recipe: its seed decides splits and folds.
        n_splits: how many.
    """
    targets, contents = opinion_targets(database), database.index["content"]
    opinions = quality(database, database.index["mos"].to_numpy(float))
    for train, test in content_splits(contents, n_splits=n_splits, seed=recipe.seed):
        arrays, search = fit_regressor(features[train], targets[train], contents.iloc[train], recipe)
        yield agreement(-predict(arrays, features[test]), opinions[test]) | best_pair(search)


def fit_regressor(features: np.ndarray, targets: np.ndarray, contents: ArrayLike,
                  recipe: RegressorRecipe) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Returns the arrays of a fitted regressor, and the table of the parameter search.

    Args:
        features: shape (n, D).
        targets: shape (n,), 0 to 100, lower is better.
        contents: of each row; those of one content stay in one fold.
        recipe: kernel, grid and folds.

    Returns:
        What :class:`iqa_lab.no_reference.regression.SupportVectorRegressor` takes; and C, gamma and the mean absolute
        error of each pair of the grid over the folds.
    """
    x, scaling = features.astype(np.float64), {}
    if recipe.scaled:
        scaling = {"feature_min": x.min(0), "feature_max": x.max(0)}
        x = scale_features(*map(torch.from_numpy, (x, *scaling.values()))).numpy()
    linear = recipe.kernel == "linear"
    inputs = x @ x.T if linear else x  # with the products at hand a fit costs n^2 instead of n^2 D
    estimator = SVR(kernel="precomputed" if linear else recipe.kernel, epsilon=recipe.epsilon)
    grid = {"C": recipe.C} if linear else {"C": recipe.C, "gamma": recipe.gamma}
    folds = content_folds(contents, n_folds=recipe.folds, seed=recipe.seed)
    search = GridSearchCV(estimator, grid, scoring="neg_mean_absolute_error", cv=folds, n_jobs=-1)
    with parallel_config("threading"):  # libsvm lets other threads run, and they need no copy of the features
        search.fit(inputs, targets)
    svr = search.best_estimator_
    arrays = {"weights": svr.dual_coef_[0] @ x[svr.support_]} if linear else {
        "support_vectors": svr.support_vectors_, "coefficients": svr.dual_coef_[0],
        "gamma": np.array(search.best_params_["gamma"])}
    arrays |= {"bias": np.array(svr.intercept_[0]), **scaling}
    table = pd.DataFrame(search.cv_results_["params"])
    return arrays, table.assign(mean_absolute_error=-search.cv_results_["mean_test_score"])


def best_pair(search: pd.DataFrame) -> dict[str, float]:
    """Returns the row of the parameter search with the smallest error, whose C and gamma the regressor has."""
    return search.loc[search["mean_absolute_error"].idxmin()].to_dict()


def opinion_targets(database: Database) -> np.ndarray:
    """Returns the opinion scores as 0 (best end of the database's scale) to 100 (worst), shape (n,).

    Raises:
        ValueError: no human scores.
    """
    opinions = database.index["mos"].to_numpy(float)
    quality(database, opinions)  # raises where there are no human scores
    low, high = database.facts.score_range
    share = (opinions - low) / (high - low)
    return WORST * (1 - share if database.facts.higher_is_better else share)


def predict(arrays: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """Returns the scores of the fitted regressor, shape (n,), computed as users of the model will."""
    return SupportVectorRegressor(arrays)(torch.from_numpy(features)).numpy()


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:  # np.savez would append .npz to the name
        np.savez(file, **arrays)
