"""Agreement of scores with opinion scores: SROCC, KROCC, PLCC, RMSE and outlier ratio.

Correlations keep their sign. Bring scores and opinions to one direction first (:func:`iqa_lab.databases.quality`): a
metric that is wired the wrong way round must show a negative correlation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

MINIMUM = 3  # images; with two, every correlation is 1 or -1


def srocc(scores: ArrayLike, opinions: ArrayLike) -> float:
    """Returns Spearman's rank-order correlation, -1 to 1: the linear correlation of the ranks.

    Equal values share their mean rank. The textbook form 1 - 6 sum d^2 / (n (n^2 - 1)) is the same where no values are
    equal, and wrong where some are.

    Args:
        scores, opinions: shape (n,), n >= 3, finite.

    Raises:
        ValueError: different lengths, fewer than 3 values, NaN or infinity, or one side that is constant.
    """
    x, y = check_scores(scores, opinions)
    return plcc(stats.rankdata(x), stats.rankdata(y))


def krocc(scores: ArrayLike, opinions: ArrayLike) -> float:
    """Returns Kendall's tau-b, -1 to 1: pairs ordered alike minus pairs ordered oppositely, corrected for ties.

    Some tables print tau-a, which divides by the number of all pairs, tied ones included; it is nearer to 0 when there
    are ties, and the same when there are none.

    Args and errors: as :func:`srocc`.
    """
    return float(stats.kendalltau(*check_scores(scores, opinions), variant="b").statistic)


def plcc(scores: ArrayLike, opinions: ArrayLike) -> float:
    """Returns Pearson's linear correlation, -1 to 1, of the values as they are.

    The literature computes it after a mapping of the scores: :func:`iqa_lab.evaluation.mapping.fit_mapping`.

    Args and errors: as :func:`srocc`.
    """
    x, y = (_centred(values) for values in check_scores(scores, opinions))
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))


def rmse(predicted: ArrayLike, opinions: ArrayLike, *, n_parameters: int = 0) -> float:
    """Returns the root mean squared error, >= 0, in the unit of the opinion scores.

    Args:
        predicted: mapped scores, shape (n,); unlike :func:`srocc`, they may be constant.
        opinions: shape (n,).
        n_parameters: of the mapping; the sum is divided by n - n_parameters, as some reports do.

    Raises:
        ValueError: as :func:`srocc`, or n <= n_parameters.
    """
    x, y = check_scores(predicted, opinions, may_be_constant=True)
    if len(x) <= n_parameters:
        raise ValueError(f"Expected more images than the {n_parameters} parameters of the mapping, got {len(x)}.")
    return float(np.sqrt(np.square(x - y).sum() / (len(x) - n_parameters)))


def outlier_ratio(predicted: ArrayLike, mos: ArrayLike, mos_std: ArrayLike) -> float:
    """Returns the share of images, 0 to 1, whose prediction misses by more than two standard deviations (VQEG 2003).

    Args:
        predicted: mapped scores, shape (n,).
        mos: opinion scores, shape (n,).
        mos_std: standard deviation of the ratings of each image, as VQEG and LIVE use it. With the standard error of
            the mean instead, as in ITU-T P.1401, the ratio is far larger: say which.

    Raises:
        ValueError: as :func:`rmse`, or a deviation that is negative or not finite.
    """
    x, y = check_scores(predicted, mos, may_be_constant=True)
    deviations = np.asarray(mos_std, dtype=float)
    good = np.isfinite(deviations) & (deviations >= 0)
    if deviations.shape != y.shape or not good.all():
        raise ValueError(f"Expected a standard deviation >= 0 for each of {len(y)} images, got {int(good.sum())} of "
                         f"shape {deviations.shape}; leave out the images without one.")
    return float((np.abs(x - y) > 2 * deviations).mean())


def check_scores(scores: ArrayLike, opinions: ArrayLike, *,
                 may_be_constant: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Returns both as float arrays; raises the errors that :func:`srocc` documents."""
    x, y = np.asarray(scores, dtype=float), np.asarray(opinions, dtype=float)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"Expected scores and opinions of one shape (n,), got {x.shape} and {y.shape}; give one score "
                         "and one opinion per image.")
    if len(x) < MINIMUM:
        raise ValueError(f"Expected at least {MINIMUM} images, got {len(x)}; with fewer, agreement means nothing.")
    for name, values in (("scores", x), ("opinions", y)):
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise ValueError(f"Expected finite {name}, got {bad} of {len(values)} that are NaN or infinite; leave "
                             "those images out and say how many.")
        if not may_be_constant and values.min() == values.max():
            raise ValueError(f"Expected {name} that differ, got {len(values)} times {values[0]:g}: a correlation is "
                             "not defined; use rmse, or more varied images.")
    return x, y


def _centred(values: np.ndarray) -> np.ndarray:
    """Returns the values minus their mean, scaled to at most 1 so that squares neither overflow nor vanish."""
    values = values / np.abs(values).max()
    values = values - values.mean()
    return values / np.abs(values).max()
