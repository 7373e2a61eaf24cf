"""Fits the regressor of a feature-based system to the opinion scores of a database.

As the papers do it: content-disjoint parts, kernel parameters by cross-validation inside the training part, agreement
on the test part; once for a model to use (:func:`train_regressor`), or over many splits for a table
(:func:`repeated_splits`).
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.cross_decomposition import PLSRegression
from sklearn.model_selection import ParameterGrid
from sklearn.svm import SVR
from torch import nn

from iqa_lab.databases import Database, quality
from iqa_lab.evaluation.protocols import agreement
from iqa_lab.evaluation.splits import content_folds, content_splits
from iqa_lab.no_reference.regression import WORST, create_regressor, scale_features
from iqa_lab.training.features import cached_features, code_version
from iqa_lab.training.recipes import RegressorRecipe
from iqa_lab.training.runs import describe_run, open_run, split_parts, write_results, write_whole

MOST_ROWS = 4000  # crops that one regressor learns from: the time of libsvm grows with their square


def train_regressor(metric: nn.Module, database: Database, recipe: RegressorRecipe, folder: str | Path, *,
                    parts: np.ndarray | None = None, progress: bool = True) -> dict:
    """Returns the report of a training: content-disjoint 80 : 20, or the release's own split.

    The folder (``iqa_lab.training.runs``) gets ``search.csv`` (every pair of the grid with its error) and
    ``regressor.npz``, fitted to the training part; ``create_metric(name, parameters=Path(...))`` uses it.

    Args:
        metric: made by ``create_metric(name, device, parameters="untrained")``; one with several regressors says by
            ``parts`` how many features each takes.
        database: with human scores.
        recipe: a row of ``RECIPES``, or a changed copy.
        folder: where the run is kept.
        parts: "train", "validation" or "test" for each image of the index; None: those of
            :func:`iqa_lab.training.runs.split_parts`.
        progress: show progress bars.

    Raises:
        ValueError: no human scores, too few contents, an unreadable image, or a folder with another run.
    """
    folder = Path(folder)
    targets = opinion_targets(database)
    parts = split_parts(database, recipe.seed) if parts is None else parts
    parts = np.where(parts == "validation", "train", parts)  # the cross-validation takes its folds from the training part
    widths = getattr(metric, "parts", ())
    config = describe_run(metric, database, recipe) | {"features_sha256": code_version(metric)}
    open_run(folder, config, database, parts)
    if not (folder / "report.json").is_file():
        features = cached_features(metric, database.image_paths, progress=progress)
        train, test = (np.flatnonzero(parts == part) for part in ("train", "test"))
        arrays, search = fit_regressor(features[train], targets[train], database.index["content"].iloc[train], recipe,
                                       parts=widths)
        search.to_csv(folder / "search.csv", index=False)
        write_whole(folder / "regressor.npz", lambda path: _save(path, arrays))
        write_results(folder, database, parts, predict(arrays, features[test]), best_pair(search), higher_is_better=False)
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def repeated_splits(features: np.ndarray, database: Database, recipe: RegressorRecipe, *, n_splits: int = 10,
                    parts: Sequence[int] = ()) -> Iterator[dict]:
    """Yields the agreement on the test part of content-disjoint 80 : 20 splits, each with its own parameter search.

    Args:
        features: of every image of the index, as :func:`fit_regressor`.
        database: with human scores.
        recipe: its seed decides splits and folds.
        n_splits: how many.
        parts: as :func:`fit_regressor`.
    """
    targets, contents = opinion_targets(database), database.index["content"]
    opinions = quality(database, database.index["mos"].to_numpy(float))
    for train, test in content_splits(contents, n_splits=n_splits, seed=recipe.seed):
        arrays, search = fit_regressor(features[train], targets[train], contents.iloc[train], recipe, parts=parts)
        yield agreement(-predict(arrays, features[test]), opinions[test]) | best_pair(search)


def fit_regressor(features: np.ndarray, targets: np.ndarray, contents: ArrayLike, recipe: RegressorRecipe, *,
                  parts: Sequence[int] = ()) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Returns the arrays of a fitted regressor, and the table of the parameter search.

    Args:
        features: shape (n, D), or (n, P, D) of P crops of each image, of which each has its image's target.
        targets: shape (n,), 0 to 100, lower is better.
        contents: of each row; those of one content stay in one fold.
        recipe: kernel, grid and folds.
        parts: how many features each of several regressors takes, whose mean is the score; none for one of all features.

    Returns:
        What :func:`iqa_lab.no_reference.regression.create_regressor` takes; and the parameters and the mean absolute
        error of each place of the grid over the folds, with the number of the part where there are some.
    """
    if not parts:
        return fit_one(features, targets, contents, recipe)
    columns = np.split(features, np.cumsum(parts)[:-1], axis=-1)
    fitted = [fit_one(some, targets, contents, recipe) for some in columns]
    arrays = {f"{k}.{name}": array for k, (found, _) in enumerate(fitted) for name, array in found.items()}
    return arrays, pd.concat([search.assign(part=k) for k, (_, search) in enumerate(fitted)], ignore_index=True)


def fit_one(features: np.ndarray, targets: np.ndarray, contents: ArrayLike,
            recipe: RegressorRecipe) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Returns what :func:`fit_regressor` does, without parts."""
    if features.ndim == 3:
        features, targets, contents = crop_rows(features, targets, contents)
    x, scaling = features.astype(np.float64), {}
    if recipe.scaled:
        scaling = {"feature_min": x.min(0), "feature_max": x.max(0)}
        x = scale_features(*map(torch.from_numpy, (x, *scaling.values()))).numpy()
    inputs = pair_values(x, recipe.kernel)
    table = search_parameters(inputs, targets, content_folds(contents, n_folds=recipe.folds, seed=recipe.seed), recipe)
    best = best_pair(table)
    fitted = fit_place(inputs, targets, recipe, best)
    if recipe.kernel == "pls":
        arrays = {"weights": fitted.coef_[0], "bias": fitted.predict(np.zeros((1, x.shape[1]))).reshape(())}
    else:
        arrays = {"weights": fitted.dual_coef_[0] @ x[fitted.support_]} if recipe.kernel == "linear" else {
            "support_vectors": x[fitted.support_], "coefficients": fitted.dual_coef_[0], "gamma": np.array(best["gamma"])}
        arrays["bias"] = np.array(fitted.intercept_[0])
    return arrays | scaling, table


def pair_values(x: np.ndarray, kernel: str) -> np.ndarray:
    """Returns what the kernel is a function of, for all pairs of rows (n, D): products, or squared distances, (n, n).

    With these at hand, a fit costs n^2 instead of n^2 D, and libsvm computes them in no other way. PLS takes the features.
    """
    if kernel == "pls":
        return x
    products = x @ x.T
    if kernel == "linear":
        return products
    squares = products.diagonal()
    return squares[:, None] + squares - 2 * products


def search_parameters(inputs: np.ndarray, targets: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]],
                      recipe: RegressorRecipe) -> pd.DataFrame:
    """Returns the places of the grid, and the mean absolute error of each over the folds.

    Args:
        inputs: of :func:`pair_values`.
        targets: shape (n,).
        folds: rows to learn from and rows to predict.
        recipe: kernel and grid.
    """
    if recipe.kernel == "pls":
        grid = {"n_components": recipe.components}
    else:
        grid = {"C": recipe.C} if recipe.kernel == "linear" else {"C": recipe.C, "gamma": recipe.gamma}
    places = list(ParameterGrid(grid))

    def error(place: dict[str, float], fold: tuple[np.ndarray, np.ndarray]) -> float:
        train, test = fold
        columns = slice(None) if recipe.kernel == "pls" else train
        fitted = fit_place(inputs[train][:, columns], targets[train], recipe, place)
        return np.abs(fitted.predict(kernel_of(inputs[test][:, columns], place)).ravel() - targets[test]).mean()

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # libsvm lets other threads run, and they need no copy of the features
        errors = list(pool.map(error, *zip(*itertools.product(places, folds), strict=True)))
    return pd.DataFrame(places).assign(mean_absolute_error=np.reshape(errors, (len(places), -1)).mean(1))


def fit_place(inputs: np.ndarray, targets: np.ndarray, recipe: RegressorRecipe,
              place: dict[str, float]) -> SVR | PLSRegression:
    """Returns scikit-learn's estimator, fitted at one place of the recipe's grid."""
    if recipe.kernel == "pls":
        return PLSRegression(int(place["n_components"]), scale=False).fit(inputs, targets)
    return SVR(kernel="precomputed", epsilon=recipe.epsilon, C=place["C"]).fit(kernel_of(inputs, place), targets)


def kernel_of(inputs: np.ndarray, place: dict[str, float]) -> np.ndarray:
    """Returns the values of the radial kernel exp(-gamma d^2) for squared distances; products and features stay."""
    return np.exp(-place["gamma"] * inputs) if "gamma" in place else inputs


def crop_rows(features: np.ndarray, targets: np.ndarray, contents: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns one row for each crop, with the target and the content of its image.

    Of many images only some crops are taken, at most about ``MOST_ROWS`` in all, other places from image to image.

    Args:
        features: shape (n, P, D).
        targets, contents: of the n images.
    """
    n, crops, _ = features.shape
    taken = min(crops, max(1, MOST_ROWS // n))
    places = (np.arange(n)[:, None] + np.arange(taken) * crops // taken) % crops  # n, taken
    rows = features[np.arange(n)[:, None], places].reshape(n * taken, -1)
    return rows, np.repeat(targets, taken), np.repeat(np.asarray(contents), taken)


def best_pair(search: pd.DataFrame) -> dict[str, float]:
    """Returns the row of the parameter search with the smallest error, whose C and gamma the regressor has.

    Of several regressors it is the number of them, and the mean of their smallest errors.
    """
    if "part" in search:
        errors = search.groupby("part")["mean_absolute_error"].min()
        return {"parts": len(errors), "mean_absolute_error": errors.mean()}
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
    return create_regressor(arrays)(torch.from_numpy(features)).numpy()


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:  # np.savez would append .npz to the name
        np.savez(file, **arrays)
