"""Do metrics really differ? Tests on residuals, on pairs and over databases; corrections for many tests; who beats whom.

Papers: VQEG, "Final report on the validation of objective models of video quality assessment, phase II", 2003, and
    H. R. Sheikh, M. F. Sabir, A. C. Bovik, IEEE TIP 15(11), 2006, doi:10.1109/TIP.2006.881959 (F-test on residuals);
    Q. McNemar, Psychometrika 12, 1947; J. Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR
    7, 2006 (Friedman, Nemenyi); S. Holm, Scandinavian J. Statistics 6, 1979; Y. Benjamini, Y. Hochberg, JRSS B 57, 1995.
Reference: none of one group of authors; checked against SciPy and slow definitions.
Deviations: McNemar's test is the exact binomial one, not the chi-square approximation.
Chapter: 18

Correlations are compared in ``iqa_lab.evaluation.dependent_correlations`` and, with fewer assumptions, in
``iqa_lab.evaluation.bootstrap``; results over repeated splits in ``iqa_lab.evaluation.over_splits``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

GAUSSIAN_KURTOSIS = (2.0, 4.0)  # residuals in between count as Gaussian (Sheikh et al. 2006)
ALPHA = 0.05
SYMMETRY = 1e-9


class FTests(NamedTuple):
    """F-tests between the residuals of M metrics.

    Attributes:
        f: shape (M, M); f[i, j] is the residual variance of metric j over that of metric i: above 1, i is better.
        p_value: shape (M, M), one-sided: how often an f so large comes by chance; small where i is better than j.
        kurtosis: shape (M,), 3 for a Gaussian.
        gaussian: shape (M,), whether the kurtosis lies in 2 to 4, which the test needs.
    """

    f: np.ndarray
    p_value: np.ndarray
    kurtosis: np.ndarray
    gaussian: np.ndarray


class Friedman(NamedTuple):
    """The numbers of a critical-difference plot.

    Attributes:
        statistic, p_value: of Friedman's test that all metrics are alike.
        mean_ranks: shape (M,), 1 is best.
        critical_difference: two mean ranks that differ by more differ significantly (Nemenyi).
        cliques: (first, last) places, from 0, in the order of mean ranks, of the longest runs of metrics that are not
            significantly different: the bars of the plot. A run of one metric is left out.
    """

    statistic: float
    p_value: float
    mean_ranks: np.ndarray
    critical_difference: float
    cliques: list[tuple[int, int]]


def f_tests(residuals: ArrayLike) -> FTests:
    """Returns the F-tests of VQEG between metrics, from their residuals.

    The test assumes Gaussian residuals and independent samples. On the same images the second never holds: residuals of
    good metrics are correlated, and the test then finds too little. It is here because published tables use it.

    Args:
        residuals: opinion score minus mapped score, shape (M, n), n >= 3.

    Raises:
        ValueError: another shape, NaN, or residuals that do not vary.
    """
    e = check_table(residuals, "residuals of shape (metrics, images)", least=3)
    variance = e.var(axis=1, ddof=1)
    if not (variance > 0).all():
        raise ValueError("Expected residuals that vary, got a metric whose residuals are constant; leave it out.")
    f = variance / variance[:, None]
    kurtosis = stats.kurtosis(e, axis=1, fisher=False)
    low, high = GAUSSIAN_KURTOSIS
    degrees = e.shape[1] - 1
    return FTests(f, stats.f.sf(f, degrees, degrees), kurtosis, (low <= kurtosis) & (kurtosis <= high))


def mcnemar(correct: ArrayLike) -> np.ndarray:
    """Returns exact two-sided p-values, shape (M, M), of equal accuracy of metrics on the same pairs (or items).

    Only items that one of two metrics gets right and the other wrong count; without a difference each of the two is as
    likely. Without such an item p is 1. Items must be independent: pairs that share images are not, and there
    :func:`iqa_lab.evaluation.krasula.bootstrap_roc` is right.

    Args:
        correct: what each metric got right, booleans or 0 and 1, shape (M, P).

    Raises:
        ValueError: another shape, or values other than 0 and 1.
    """
    right = check_table(correct, "answers of shape (metrics, items)", least=1)
    if not np.isin(right, (0, 1)).all():
        raise ValueError("Expected answers that are right (1) or wrong (0), got other values; compare with the truth "
                         "first.")
    only_first = right @ (1 - right).T  # (M, M)
    discordant = only_first + only_first.T
    return np.minimum(2 * stats.binom.cdf(np.minimum(only_first, only_first.T), discordant, 0.5), 1)


def friedman(criteria: ArrayLike, *, alpha: float = ALPHA) -> Friedman:
    """Returns Friedman's test over databases with Nemenyi's critical difference.

    Args:
        criteria: one criterion (SROCC, say), higher is better, shape (databases, M), at least 2 databases, M >= 3.
            Splits of one database are not independent and make the test find too much.
        alpha: of the critical difference.

    Raises:
        ValueError: another shape, or NaN (a metric without a value cannot be ranked: leave out it or the database).
    """
    table = check_table(criteria, "criteria of shape (databases, metrics)", least=3)
    n, m = table.shape
    if n < 2:
        raise ValueError("Expected at least 2 databases, got 1; one ranking says nothing about another.")
    ranks = stats.rankdata(-table, axis=1)
    statistic, p_value = 0.0, 1.0
    if np.ptp(ranks, axis=1).any():  # SciPy returns NaN where every database ties all metrics
        statistic, p_value = stats.friedmanchisquare(*table.T)
    mean_ranks = ranks.mean(axis=0)
    difference = stats.studentized_range.ppf(1 - alpha, m, np.inf) / np.sqrt(2) * np.sqrt(m * (m + 1) / (6 * n))
    return Friedman(float(statistic), float(p_value), mean_ranks, float(difference),
                    cliques_of(np.sort(mean_ranks), difference))


def cliques_of(ordered: np.ndarray, difference: float) -> list[tuple[int, int]]:
    """Returns the longest runs of ordered mean ranks that span no more than the difference."""
    last = np.searchsorted(ordered, ordered + difference, side="right") - 1
    longest = np.diff(last, prepend=-1) > 0  # the others end with a run that starts further left
    return [(int(i), int(last[i])) for i in np.flatnonzero(longest & (last > np.arange(len(ordered))))]


def holm(p_values: ArrayLike) -> np.ndarray:
    """Returns adjusted p-values of the same shape: at alpha, any false finding among all has a chance of alpha at most.

    Raises:
        ValueError: a p-value outside 0 to 1.
    """
    p = check_p_values(p_values)
    order = np.argsort(p, axis=None)
    scaled = p.flat[order] * np.arange(p.size, 0, -1)
    adjusted = np.empty_like(p)
    adjusted.flat[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> np.ndarray:
    """Returns adjusted p-values of the same shape: at alpha, a share alpha of all findings is false, on average.

    Holds for independent and positively dependent tests. Errors: as :func:`holm`.
    """
    p = check_p_values(p_values)
    return stats.false_discovery_control(p, axis=None).reshape(p.shape)


def correct_matrix(p_values: ArrayLike, correction: Callable[[ArrayLike], np.ndarray]) -> np.ndarray:
    """Returns a symmetric matrix of p-values, shape (M, M), with each comparison counted once in the correction.

    Args:
        p_values: two-sided, symmetric; the diagonal is ignored and becomes 1.
        correction: :func:`holm` or :func:`benjamini_hochberg`.
    """
    p = check_square(p_values, "p-values", sign=1)
    above = np.triu_indices(len(p), 1)
    adjusted = np.eye(len(p))
    adjusted[above] = correction(p[above])
    return np.maximum(adjusted, adjusted.T)


def beats_matrix(differences: ArrayLike, p_values: ArrayLike, *, alpha: float = ALPHA) -> np.ndarray:
    """Returns who beats whom, integers of shape (M, M): 1 if row beats column, -1 if it loses, 0 if neither is shown.

    Args:
        differences: criterion of the row minus that of the column, higher is better, shape (M, M).
        p_values: two-sided, symmetric, corrected where there are many metrics (:func:`correct_matrix`).
        alpha: a p-value at or below it counts.

    Raises:
        ValueError: shapes that differ, NaN, differences that are not antisymmetric or p-values that are not symmetric.
    """
    d, p = check_square(differences, "differences", sign=-1), check_square(p_values, "p-values", sign=1)
    if d.shape != p.shape:
        raise ValueError(f"Expected differences and p-values of one shape, got {d.shape} and {p.shape}.")
    return (np.sign(d) * (p <= alpha)).astype(int)


def check_p_values(p_values: ArrayLike) -> np.ndarray:
    """Returns them as a float array."""
    p = np.asarray(p_values, dtype=float)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("Expected p-values from 0 to 1, got others or NaN; leave out comparisons without a test.")
    return p


def check_square(values: ArrayLike, name: str, *, sign: int) -> np.ndarray:
    """Returns a finite float matrix that equals sign times its transpose (off the diagonal)."""
    matrix = np.asarray(values, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        raise ValueError(f"Expected finite {name} of shape (M, M), got shape {matrix.shape}; give one row per metric.")
    above = np.triu_indices(len(matrix), 1)
    if not np.allclose(matrix[above], sign * matrix.T[above], rtol=SYMMETRY, atol=SYMMETRY):
        kind = "symmetric" if sign > 0 else "antisymmetric"
        raise ValueError(f"Expected {name} that are {kind}, got others; use two-sided p-values and row minus column.")
    return matrix


def check_table(values: ArrayLike, name: str, *, least: int) -> np.ndarray:
    """Returns a finite float table with at least so many columns."""
    table = np.asarray(values, dtype=float)
    if table.ndim != 2 or table.shape[1] < least or not np.isfinite(table).all():
        raise ValueError(f"Expected finite {name} with at least {least} columns, got shape {table.shape}.")
    return table
