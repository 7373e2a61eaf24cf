"""The tables of the literature, composed from criteria, mapping and splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from iqa_lab.evaluation.criteria import krocc, outlier_ratio, plcc, rmse, srocc
from iqa_lab.evaluation.mapping import FORMS, fit_mapping

MAPPING = "logistic_4"


def agreement(scores: ArrayLike, opinions: ArrayLike, deviations: ArrayLike | None = None, *,
              form: str = MAPPING) -> dict[str, float | int | str]:
    """Returns n, SROCC, KROCC, PLCC and RMSE (and the outlier ratio) of scores against opinion scores.

    Rank correlations are those of the scores as they are, PLCC, RMSE and outlier ratio those after a mapping that is
    fitted to the same images, as is usual. Where there are too few images for the mapping, a straight line is fitted.
    A mapping turns every relation into a rising one, so PLCC is made negative where the fitted curve falls: scores that
    point the wrong way stay visible.

    Args:
        scores, opinions: shape (n,), higher is better in both (:func:`iqa_lab.databases.quality`).
        deviations: standard deviation of the ratings of each image, for the outlier ratio.
        form: of the mapping, see :func:`iqa_lab.evaluation.mapping.fit_mapping`.

    Returns:
        ``n, srocc, krocc, plcc, rmse, outlier_ratio`` (only with deviations) and ``mapping``, the form really used.

    Raises:
        ValueError: as :func:`iqa_lab.evaluation.criteria.srocc`.
    """
    mapping = fit_mapping(scores, opinions, form=form if len(np.asarray(scores)) > FORMS[form][1] else "linear")
    predictions = mapping(scores)
    correlation = 0.0  # of a flat curve
    if np.ptp(predictions) > 0:  # not the sign of the raw PLCC, which one wild score can turn
        correlation = float(np.copysign(plcc(predictions, opinions), srocc(scores, predictions)))
    table = {"n": len(predictions), "srocc": srocc(scores, opinions), "krocc": krocc(scores, opinions),
             "plcc": correlation, "rmse": rmse(predictions, opinions)}
    if deviations is not None:
        table["outlier_ratio"] = outlier_ratio(predictions, opinions, deviations)
    return table | {"mapping": mapping.name}


def agreement_by_group(scores: ArrayLike, opinions: ArrayLike, groups: ArrayLike) -> pd.DataFrame:
    """Returns :func:`agreement` for each group (a distortion, say) and for "all", one row each.

    Args:
        scores, opinions: as :func:`agreement`.
        groups: label of each image; a group with fewer than 3 images, or of constant opinions, is left out.
    """
    table = pd.DataFrame({"score": np.asarray(scores, float), "opinion": np.asarray(opinions, float),
                          "group": np.asarray(groups)})
    rows = {}
    for group, part in table.groupby("group", sort=False):
        if len(part) >= 3 and np.ptp(part["opinion"]) > 0 and np.ptp(part["score"]) > 0:
            rows[group] = agreement(part["score"], part["opinion"])
    rows["all"] = agreement(table["score"], table["opinion"])
    return pd.DataFrame.from_dict(rows, orient="index")


def agreement_by_metric(table: pd.DataFrame, higher_is_better: Mapping[str, bool]) -> pd.DataFrame:
    """Returns :func:`agreement` for each metric, one row each, from a table with the scores of several.

    Args:
        table: with the columns ``metric, score, quality``; quality is higher-better.
        higher_is_better: direction of each metric's scores; those of a metric that is not in it are taken as they are.

    Returns:
        ``metric, n, left_out, srocc, krocc, plcc, rmse, mapping, error``. Rows without a finite score and quality are
        left out and counted. A metric that cannot be compared has its reason in ``error`` and NaN correlations.
    """
    rows = []
    for metric, part in table.groupby("metric", sort=False):
        usable = part[np.isfinite(part[["score", "quality"]].astype(float)).all(axis=1)]
        row = {"metric": metric, "n": len(usable), "left_out": len(part) - len(usable)}
        sign = 1 if higher_is_better.get(metric, True) else -1
        try:
            row |= agreement(sign * usable["score"], usable["quality"]) | {"error": ""}
        except ValueError as error:
            row["error"] = str(error)
        rows.append(row)
    columns = ["metric", "n", "left_out", "srocc", "krocc", "plcc", "rmse", "mapping", "error"]
    return pd.DataFrame(rows).reindex(columns=columns)


def over_splits(rows: Iterable[dict]) -> pd.DataFrame:
    """Returns median, quartiles, smallest and largest value of each number over repeated splits.

    Args:
        rows: what :func:`agreement` gave for the test part of each split.

    Returns:
        One row per criterion with the columns ``median, q1, q3, min, max, n_splits``.
    """
    table = pd.DataFrame(list(rows)).drop(columns=["n", "mapping"], errors="ignore")
    summary = table.quantile([0.5, 0.25, 0.75, 0.0, 1.0]).T
    summary.columns = ["median", "q1", "q3", "min", "max"]
    return summary.assign(n_splits=len(table))
