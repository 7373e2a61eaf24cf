"""Areas under ROC curves of several metrics on the same cases, and tests whether two areas or two shares differ.

Papers: E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, "Comparing the areas under two or more correlated receiver
    operating characteristic curves", Biometrics 44, 1988; J. A. Hanley, B. J. McNeil, "A method of comparing the areas
    under receiver operating characteristic curves derived from the same cases", Radiology 148, 1983.
Reference: krasuluk/AucPerformance at 2821dc8, which tests metrics with these (``iqa_lab.evaluation.krasula``).
Deviations: (1) The reference's Hanley-McNeil test adds the covariance of two areas that it must subtract, is one-sided,
    and for different / similar gives the numbers of positives and negatives in the wrong order; here not. (2) The
    correlation of two areas comes from a formula for Gaussian scores instead of the printed table, which it meets to
    0.021 (0.006 on average). (3) The reference's two-sided Fisher p-value is halved; here it is not. (4) The reference
    counts each different pair twice in the tests of shares; here the number of pairs is an argument.
Chapter: 18

All tests take the cases for independent. Metrics are rows; higher values speak for a positive case.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats


class Areas(NamedTuple):
    """Areas under the curve, shape (M,), 0.5 by chance, and their covariance, shape (M, M)."""

    auc: np.ndarray
    covariance: np.ndarray


def placements(these: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the share of others below each of these, equal ones half, row by row, (M, D) and (M, S) -> (M, D)."""
    ordered = np.sort(others, axis=1)
    below = [np.searchsorted(row, x) + np.searchsorted(row, x, side="right") for row, x in zip(ordered, these)]
    return np.array(below) / (2 * others.shape[1])


def roc_curve(positives: ArrayLike, negatives: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns false and true positive rates of one metric, from (0, 0) to (1, 1), a point for each different value.

    Args:
        positives, negatives: values of one metric, shapes (D,) and (S,).
    """
    sides = [np.sort(np.asarray(values, dtype=float)) for values in (negatives, positives)]
    thresholds = np.unique(np.concatenate(sides))[::-1]
    false, true = (np.append(0.0, 1 - np.searchsorted(side, thresholds) / len(side)) for side in sides)
    return false, true


def delong(positives: ArrayLike, negatives: ArrayLike) -> Areas:
    """Returns the areas of M metrics and their covariance (DeLong et al. 1988).

    Args:
        positives, negatives: shapes (M, D) and (M, S), at least 2 cases each.

    Raises:
        ValueError: other shapes, or NaN.
    """
    x, y = check_cases(positives, negatives)
    above, below = placements(x, y), 1 - placements(y, x)
    return Areas(above.mean(axis=1), np.atleast_2d(np.cov(above) / x.shape[1] + np.cov(below) / y.shape[1]))


def hanley_mcneil(positives: ArrayLike, negatives: ArrayLike) -> Areas:
    """Returns the areas of M metrics and their covariance r SE_1 SE_2 (Hanley, McNeil 1983).

    The correlation r of two areas follows from Kendall's correlation of the two metrics, the mean of that among
    positives and that among negatives, and from the mean area.

    Args and errors: as :func:`delong`.
    """
    x, y = check_cases(positives, negatives)
    a, d, s = placements(x, y).mean(axis=1), x.shape[1], y.shape[1]
    q1, q2 = a / (2 - a), 2 * a**2 / (1 + a)
    error = np.sqrt((a * (1 - a) + (d - 1) * (q1 - a**2) + (s - 1) * (q2 - a**2)) / (d * s))
    covariance = np.diag(error**2)
    for i, j in zip(*np.triu_indices(len(a), 1)):
        tau = np.mean([stats.kendalltau(part[i], part[j]).statistic for part in (x, y)])
        covariance[i, j] = covariance[j, i] = area_correlation(tau, (a[i] + a[j]) / 2) * error[i] * error[j]
    return Areas(a, covariance)


def area_correlation(correlation: ArrayLike, area: ArrayLike) -> np.ndarray:
    """Returns the correlation of two areas, by the correlation of the two metrics and the mean area.

    For Gaussian scores it is (Phi2(z, z, t / 2) - A^2) / (Phi2(z, z, 1/2) - A^2), where z = Phi^-1(A) and Phi2 is the
    bivariate distribution, here by Owen's T. Areas of 0 and 1 have no spread; there the result is that nearby.
    """
    area = np.clip(area, 1e-6, 1 - 1e-6)
    excess = [area - 2 * special.owens_t(special.ndtri(area), np.sqrt((1 - r) / (1 + r))) - area**2
              for r in (np.asarray(correlation) / 2, 0.5)]
    return excess[0] / excess[1]


def area_p_values(areas: Areas) -> np.ndarray:
    """Returns two-sided p-values of equal areas, shape (M, M); 1 where two areas are equal."""
    variance = np.diag(areas.covariance)
    return z_p_values(areas.auc, variance[:, None] + variance - 2 * areas.covariance)


def binomial_p_values(shares: ArrayLike, n: int) -> np.ndarray:
    """Returns two-sided p-values of equal shares, shape (M, M), by the normal limit with the pooled share.

    Args:
        shares: correct answers of M metrics, 0 to 1, shape (M,).
        n: how many answers each share is of. Both metrics answer the same questions, which this test does not know:
            :func:`iqa_lab.evaluation.significance.mcnemar` does.
    """
    p = check_shares(shares, n)
    pooled = (p[:, None] + p) / 2
    return z_p_values(p, 2 * pooled * (1 - pooled) / n)


def fisher_p_values(shares: ArrayLike, n: int) -> np.ndarray:
    """Returns Fisher's exact two-sided p-values of equal shares, shape (M, M); args as :func:`binomial_p_values`."""
    right = np.round(check_shares(shares, n) * n).astype(int)
    p_values = np.eye(len(right))
    for i, j in zip(*np.triu_indices(len(right), 1)):
        table = [[right[i], n - right[i]], [right[j], n - right[j]]]
        p_values[i, j] = p_values[j, i] = stats.fisher_exact(table).pvalue
    return p_values


def weighted_auc(positives: np.ndarray, negatives: np.ndarray, weights_positive: np.ndarray,
                 weights_negative: np.ndarray) -> np.ndarray:
    """Returns the areas of M metrics under each of B lists of weights, shape (B, M).

    Args:
        positives, negatives: shapes (M, D) and (M, S).
        weights_positive, weights_negative: how often each case counts, shapes (B, D) and (B, S).
    """
    all_pairs = weights_positive.sum(axis=1) * weights_negative.sum(axis=1)
    areas = []
    for x, y in zip(positives, negatives):
        order = np.argsort(y)
        below = np.cumsum(np.take(weights_negative, order, axis=1), axis=1)
        below = np.pad(below, ((0, 0), (1, 0)))  # below[:, k]: weight of the k smallest negatives
        places = [np.searchsorted(y[order], x, side=side) for side in ("left", "right")]
        won = np.take(below, places[0], axis=1) + np.take(below, places[1], axis=1)
        areas.append(np.einsum("bd,bd->b", weights_positive, won) / 2 / all_pairs)
    return np.stack(areas, axis=1)


def z_p_values(values: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Returns two-sided p-values of equal values, (M,) and (M, M) -> (M, M); 1 where two values are equal."""
    size = np.abs(values[:, None] - values)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(size == 0, 0.0, size / np.sqrt(np.maximum(variance, 0)))
    return 2 * stats.norm.sf(z)


def check_cases(positives: ArrayLike, negatives: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns both as float arrays; raises the errors that :func:`delong` documents."""
    x, y = np.asarray(positives, dtype=float), np.asarray(negatives, dtype=float)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or min(x.shape[1], y.shape[1]) < 2:
        raise ValueError(f"Expected positives and negatives of shapes (M, D) and (M, S), at least 2 of each, got "
                         f"{x.shape} and {y.shape}; give one row per metric.")
    if not np.isfinite(x).all() or not np.isfinite(y).all():
        raise ValueError("Expected finite values, got NaN or infinity; leave those cases out for all metrics.")
    return x, y


def check_shares(shares: ArrayLike, n: int) -> np.ndarray:
    """Returns the shares as a float array."""
    p = np.asarray(shares, dtype=float)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all() or n < 1:
        raise ValueError(f"Expected shares from 0 to 1 of shape (M,) and n >= 1, got shape {p.shape} and n = {n}.")
    return p
