"""Is one correlation larger than another? Intervals and tests from correlations and the number of images alone.

Papers: E. J. Williams, "The comparison of regression variables", JRSS B 21, 1959; O. J. Dunn, V. Clark, "Correlation
    coefficients measured on the same individuals", JASA 64, 1969; J. H. Steiger, "Tests for comparing elements of a
    correlation matrix", Psychological Bulletin 87, 1980; X.-L. Meng, R. Rosenthal, D. B. Rubin, "Comparing correlated
    correlation coefficients", Psychological Bulletin 111, 1992; J. B. Hittner, K. May, N. C. Silver, "A Monte Carlo
    evaluation of tests for comparing dependent correlations", J. General Psychology 130, 2003; G. Y. Zou, "Toward using
    confidence intervals to compare correlations", Psychological Methods 12, 2007; E. C. Fieller, H. O. Hartley,
    E. S. Pearson, "Tests for rank correlation coefficients", Biometrika 44, 1957.
Reference: the documentation of the R package cocor, whose names and formulas these are.
Deviations: cocor's help prints the way back from the mean of z with a misplaced bracket; here it is tanh. A metric that
    is compared with itself (r12 = 1) is 0 / 0 in all formulas and has the statistic 0 and the p-value 1 here.
Chapter: 18

Two metrics that are scored on the same images share those images' luck, so their correlations rise and fall together.
A test for two independent samples ignores that and misses most real differences. The tests here take the correlation
r12 between the metrics. All arguments are numbers or arrays that broadcast: ``steiger(r[:, None], r, between, n)``
compares each of M metrics with each. All assume Gaussian values. For SROCC they are approximate: with
``factor=SPEARMAN`` they find what is not there in 6.5 of 100 cases (at 0.8, 60 images) instead of 5, without it in 7.5;
``iqa_lab.evaluation.bootstrap`` assumes less.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

PEARSON = 1.0  # variance of Fisher's z times n - 3
SPEARMAN = 1.06  # the same for rank correlations (Fieller et al. 1957)
ROUNDING = 1e-9


class Outcome(NamedTuple):
    """A test: its statistic, positive where the first is larger, and its two-sided p-value."""

    statistic: np.ndarray
    p_value: np.ndarray


def correlation_interval(r: ArrayLike, n: ArrayLike, *, level: float = 0.95,
                         factor: float = PEARSON) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lower and the upper end of the interval tanh(atanh r +- z sqrt(factor / (n - 3))).

    Args:
        r: correlations, inside -1 to 1.
        n: number of images, at least 4.
        level: how often such an interval holds the true correlation.
        factor: ``PEARSON`` or ``SPEARMAN``.

    Raises:
        ValueError: a correlation of 1 or -1, NaN, too few images, or a level outside 0 to 1.
    """
    r, n = check_correlations(r, n=n)
    if not 0 < level < 1:
        raise ValueError(f"Expected a level between 0 and 1, got {level:g}; 0.95 is usual.")
    reach = stats.norm.ppf((1 + level) / 2) * np.sqrt(factor / (n - 3))
    return np.tanh(np.arctanh(r) - reach), np.tanh(np.arctanh(r) + reach)


def independent(r1: ArrayLike, r2: ArrayLike, n1: ArrayLike, n2: ArrayLike, *, factor: float = PEARSON) -> Outcome:
    """Returns Fisher's z test of two correlations that were measured on different images.

    On the same images it is far too weak: use one of the tests below. Args and errors: as :func:`correlation_interval`.
    """
    r1, n1 = check_correlations(r1, n=n1)
    r2, n2 = check_correlations(r2, n=n2)
    deviation = np.sqrt(factor / (n1 - 3) + factor / (n2 - 3))
    return two_sided((np.arctanh(r1) - np.arctanh(r2)) / deviation)


def williams(r1: ArrayLike, r2: ArrayLike, r12: ArrayLike, n: ArrayLike) -> Outcome:
    """Returns Williams's t test, n - 3 degrees of freedom, of two metrics on the same images.

    Args:
        r1, r2: correlation of each metric with the opinion scores.
        r12: correlation of the two metrics with each other.
        n: number of images, at least 4.

    Raises:
        ValueError: as :func:`correlation_interval`, or three correlations that no data can have together.
    """
    r1, r2, r12, n = check_three(r1, r2, r12, n)
    spread = 2 * (n - 1) / (n - 3) * determinant(r1, r2, r12) + ((r1 + r2) / 2) ** 2 * (1 - r12) ** 3
    t = quotient((r1 - r2) * np.sqrt((n - 1) * (1 + r12)), np.sqrt(np.maximum(spread, 0)))
    return Outcome(t, 2 * stats.t.sf(np.abs(t), n - 3))


def dunn_clark(r1: ArrayLike, r2: ArrayLike, r12: ArrayLike, n: ArrayLike, *, factor: float = PEARSON) -> Outcome:
    """Returns the z test with the covariance of the two z at the correlations as they are (Dunn, Clark 1969).

    Args and errors: as :func:`williams`; ``factor`` as :func:`correlation_interval`.
    """
    r1, r2, r12, n = check_three(r1, r2, r12, n)
    return z_test(r1, r2, covariance_of_z(r1, r2, r12), weight=(n - 3) / factor)


def steiger(r1: ArrayLike, r2: ArrayLike, r12: ArrayLike, n: ArrayLike, *, factor: float = PEARSON) -> Outcome:
    """Returns the z test with that covariance at the mean of the two correlations (Steiger 1980).

    Args and errors: as :func:`dunn_clark`.
    """
    r1, r2, r12, n = check_three(r1, r2, r12, n)
    mean = (r1 + r2) / 2
    return z_test(r1, r2, covariance_of_z(mean, mean, r12), weight=(n - 3) / factor)


def hittner(r1: ArrayLike, r2: ArrayLike, r12: ArrayLike, n: ArrayLike, *, factor: float = PEARSON) -> Outcome:
    """Returns the z test with that covariance at the mean of the two z, taken back to a correlation (Hittner 2003).

    Args and errors: as :func:`dunn_clark`.
    """
    r1, r2, r12, n = check_three(r1, r2, r12, n)
    mean = np.tanh((np.arctanh(r1) + np.arctanh(r2)) / 2)
    return z_test(r1, r2, covariance_of_z(mean, mean, r12), weight=(n - 3) / factor)


def meng(r1: ArrayLike, r2: ArrayLike, r12: ArrayLike, n: ArrayLike, *, factor: float = PEARSON) -> Outcome:
    """Returns the z test of Meng, Rosenthal and Rubin (1992).

    Args and errors: as :func:`dunn_clark`.
    """
    r1, r2, r12, n = check_three(r1, r2, r12, n)
    square = (r1**2 + r2**2) / 2
    f = np.minimum((1 - r12) / (2 * (1 - square)), 1)
    h = (1 - f * square) / (1 - square)
    scale = 2 * (1 - r12) * h * factor / (n - 3)
    return two_sided(quotient(np.arctanh(r1) - np.arctanh(r2), np.sqrt(np.maximum(scale, 0))))


def zou_interval(r1: ArrayLike, r2: ArrayLike, r12: ArrayLike, n: ArrayLike, *,
                 level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lower and the upper end of an interval for the difference r1 - r2 (Zou 2007).

    Args and errors: as :func:`williams` and :func:`correlation_interval`.
    """
    r1, r2, r12, n = check_three(r1, r2, r12, n)
    (l1, u1), (l2, u2) = correlation_interval(r1, n, level=level), correlation_interval(r2, n, level=level)
    c = covariance_of_r(r1, r2, r12) / ((1 - r1**2) * (1 - r2**2))  # correlation of the two correlations
    below = (r1 - l1) ** 2 + (u2 - r2) ** 2 - 2 * c * (r1 - l1) * (u2 - r2)
    above = (u1 - r1) ** 2 + (r2 - l2) ** 2 - 2 * c * (u1 - r1) * (r2 - l2)
    return r1 - r2 - np.sqrt(np.maximum(below, 0)), r1 - r2 + np.sqrt(np.maximum(above, 0))


def covariance_of_r(r1: np.ndarray, r2: np.ndarray, r12: np.ndarray) -> np.ndarray:
    """Returns n times the large-sample covariance of two correlations with one variable in common."""
    return (r12 - r1 * r2 / 2) * (1 - r1**2 - r2**2 - r12**2) + r12**3


def covariance_of_z(r1: np.ndarray, r2: np.ndarray, r12: np.ndarray) -> np.ndarray:
    """Returns n - 3 times the covariance of the two z at these correlations, at most 1 (Dunn, Clark 1969)."""
    numerator = r12 * (1 - r1**2 - r2**2) - r1 * r2 * (1 - r1**2 - r2**2 - r12**2) / 2
    return np.minimum(numerator / ((1 - r1**2) * (1 - r2**2)), 1)


def z_test(r1: np.ndarray, r2: np.ndarray, covariance: np.ndarray, *, weight: np.ndarray) -> Outcome:
    """Returns the test of (z1 - z2) sqrt(weight) / sqrt(2 - 2 covariance)."""
    difference = (np.arctanh(r1) - np.arctanh(r2)) * np.sqrt(weight)
    return two_sided(quotient(difference, np.sqrt(2 - 2 * covariance)))


def two_sided(z: np.ndarray) -> Outcome:
    """Returns the statistic with its p-value under the standard normal distribution."""
    return Outcome(z, 2 * stats.norm.sf(np.abs(z)))


def quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns a / b, and 0 where a is 0: a metric against itself, or against its equal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.abs(a) < ROUNDING, 0.0, a / b)


def determinant(r1: np.ndarray, r2: np.ndarray, r12: np.ndarray) -> np.ndarray:
    """Returns |R| of the three correlations' matrix, 0 to 1 for correlations of real data."""
    return 1 + 2 * r1 * r2 * r12 - r1**2 - r2**2 - r12**2


def check_correlations(r: ArrayLike, *, n: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns both as float arrays; raises the errors that :func:`correlation_interval` documents."""
    r, n = np.asarray(r, dtype=float), np.asarray(n, dtype=float)
    bad = ~(np.abs(r) < 1)  # NaN too
    if bad.any():
        raise ValueError(f"Expected correlations inside -1 to 1, got {r[bad].flat[0]:g} in {int(bad.sum())} places; "
                         "a perfect correlation has no standard error.")
    if not (n > 3).all():
        raise ValueError(f"Expected at least 4 images, got {n.min():g}; with fewer, a correlation has no interval.")
    return r, n


def check_three(r1: ArrayLike, r2: ArrayLike, r12: ArrayLike, n: ArrayLike) -> tuple[np.ndarray, ...]:
    """Returns the four as float arrays; raises the errors that :func:`williams` documents."""
    r1, n = check_correlations(r1, n=n)
    r2, n = check_correlations(r2, n=n)
    r12 = np.asarray(r12, dtype=float)
    if not (np.abs(r12) <= 1 + ROUNDING).all() or (determinant(r1, r2, r12) < -ROUNDING).any():
        raise ValueError("Expected three correlations that data can have together, got a matrix that is not positive "
                         "semidefinite; compute all three from the same images.")
    return r1, r2, np.clip(r12, -1, 1), n
