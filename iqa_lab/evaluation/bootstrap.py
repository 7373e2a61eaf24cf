"""Bootstrap intervals of SROCC, PLCC, KROCC and of differences between metrics: contents drawn with replacement.

Paper: B. Efron, R. J. Tibshirani, "An introduction to the bootstrap", Chapman and Hall 1993.
Reference: SciPy's ``stats.bootstrap``, which takes one function of one sample at a time.
Deviations: none. The p-value of a difference is that of the percentile interval which just touches 0.
Chapter: 18

What is resampled comes from ``iqa_lab.evaluation.resampled``. Resamples are taken in chunks, so memory is bounded.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from iqa_lab.evaluation.resampled import Resampled
from iqa_lab.evaluation.splits import content_codes

CHUNK = 1 << 19  # counts held at a time: 2 MB
N_RESAMPLES = 2000


def bootstrap(criterion: Resampled, *, contents: ArrayLike | None = None, n_resamples: int = N_RESAMPLES,
              seed: int = 0) -> np.ndarray:
    """Returns the criterion of M metrics in each resample, shape (n_resamples, M); all metrics share the resamples.

    Args:
        criterion: ``srocc_resampled(scores, opinions)``, or that of PLCC or KROCC.
        contents: the content of each image. Versions of one content are alike, so whole contents are drawn; drawing
            images as if they were independent gives intervals that are too short. None where each image is its own.
        n_resamples: 1,000 or more for an interval of 95 %.
        seed: of NumPy's frozen ``RandomState``; more resamples do not change the first ones.

    Raises:
        ValueError: fewer than 2 contents, or a resample in which scores or opinions are all the same, as happens with
            very few contents.
    """
    codes, n_contents = codes_of(criterion, contents)
    random, step = np.random.RandomState(seed), max(1, CHUNK // len(codes))
    sizes = [min(step, n_resamples - first) for first in range(0, n_resamples, step)]
    draws = (draw_counts(random, n_contents, size) for size in sizes)
    values = np.concatenate([criterion.of_counts(np.take(draw, codes, axis=1)) for draw in draws])
    bad = int((~np.isfinite(values)).any(axis=1).sum())
    if bad:
        raise ValueError(f"Expected resamples with values that differ, got {bad} of {n_resamples} in which scores or "
                         f"opinions are all the same; {n_contents} contents are too few.")
    return values


def jackknife(criterion: Resampled, *, contents: ArrayLike | None = None) -> np.ndarray:
    """Returns the criterion without each content in turn, shape (contents, M); args and errors as :func:`bootstrap`."""
    codes, n_contents = codes_of(criterion, contents)
    parts = np.array_split(np.arange(n_contents), -(-n_contents * len(codes) // CHUNK))
    return np.concatenate([criterion.of_counts((codes != part[:, None]).astype(np.int32)) for part in parts])


def percentile_interval(values: ArrayLike, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lower and the upper end of the interval between two quantiles of the values, over their first axis.

    Args:
        values: from :func:`bootstrap` or :func:`differences`, shape (B, ...).
        level: how often such an interval holds the true value.
    """
    low, high = np.quantile(np.asarray(values, dtype=float), ((1 - level) / 2, (1 + level) / 2), axis=0)
    return low, high


def bca_interval(values: ArrayLike, estimate: ArrayLike, left_out: ArrayLike, *,
                 level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Returns both ends of the bias-corrected and accelerated interval, whose quantiles move where values are skewed.

    Args:
        values, left_out: shapes (B, M) from :func:`bootstrap` and (contents, M) from :func:`jackknife`.
        estimate: the criterion of all images, shape (M,).
        level: as :func:`percentile_interval`.
    """
    values, left_out = np.asarray(values, dtype=float), np.asarray(left_out, dtype=float)
    below = (values < estimate).mean(axis=0) + (values == estimate).mean(axis=0) / 2
    bias = stats.norm.ppf(np.clip(below, 0.5 / len(values), 1 - 0.5 / len(values)))  # z0
    d = left_out.mean(axis=0) - left_out
    acceleration = (d**3).sum(axis=0) / np.maximum(6 * (d**2).sum(axis=0) ** 1.5, np.finfo(float).tiny)  # a
    ends = []
    for z in stats.norm.ppf(((1 - level) / 2, (1 + level) / 2)):
        shares = stats.norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
        ends.append(np.array([np.quantile(column, share) for column, share in zip(values.T, shares)]))
    return ends[0], ends[1]


def differences(values: ArrayLike) -> np.ndarray:
    """Returns row metric minus column metric in each resample, shape (B, M, M), from values of shape (B, M)."""
    values = np.asarray(values, dtype=float)
    return values[:, :, None] - values[:, None, :]


def p_values(resampled_differences: ArrayLike) -> np.ndarray:
    """Returns two-sided p-values of no difference, over the first axis: twice the smaller share beyond 0."""
    d = np.asarray(resampled_differences, dtype=float)
    smaller = np.minimum((d <= 0).sum(axis=0), (d >= 0).sum(axis=0))
    return np.minimum(2 * (smaller + 1) / (len(d) + 1), 1)


def draw_counts(random: np.random.RandomState, n: int, n_resamples: int) -> np.ndarray:
    """Returns how often each of n things was drawn in each resample, integers of shape (B, n); each row sums to n."""
    draws = random.randint(n, size=(n_resamples, n)) + n * np.arange(n_resamples)[:, None]
    return np.bincount(draws.ravel(), minlength=n * n_resamples).reshape(n_resamples, n).astype(np.int32)


def codes_of(criterion: Resampled, contents: ArrayLike | None) -> tuple[np.ndarray, int]:
    """Returns the number of each image's content, and how many contents there are."""
    labels = np.arange(criterion.n_images) if contents is None else np.asarray(contents)
    if labels.shape != (criterion.n_images,):
        raise ValueError(f"Expected a content for each of {criterion.n_images} images, got shape {labels.shape}.")
    return content_codes(labels, minimum=2)
