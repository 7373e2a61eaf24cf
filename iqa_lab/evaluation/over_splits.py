"""Do metrics differ over repeated splits of one database, whose training parts overlap?

Paper: C. Nadeau, Y. Bengio, "Inference for the generalization error", Machine Learning 52, 2003.
Reference: none of the authors; checked against a slow definition.
Deviations: none.
Chapters: 18, 33
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from iqa_lab.evaluation.dependent_correlations import Outcome
from iqa_lab.evaluation.significance import ALPHA


def corrected_resampled_t(differences: ArrayLike, *, test_to_train: float) -> Outcome:
    """Returns the t test over repeated splits, with the variance that overlapping training parts really have.

    Nadeau and Bengio's t is the mean over sqrt((1 / k + test_to_train) variance), k - 1 degrees of freedom. The plain
    paired t (or Wilcoxon) test over splits of one database takes the splits for independent and finds too much.

    Args:
        differences: of two metrics' criterion, one for each split, shape (..., k), k >= 2.
        test_to_train: test images over training images, 0.25 for 80/20 splits.

    Raises:
        ValueError: fewer than 2 splits, NaN, or a ratio that is not positive.
    """
    mean, deviation, k = _resampled_mean(differences, test_to_train)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(mean == 0, 0.0, mean / deviation)  # infinite where all differences are the same
    return Outcome(t, 2 * stats.t.sf(np.abs(t), k - 1))


def corrected_resampled_interval(differences: ArrayLike, *, test_to_train: float,
                                 alpha: float = ALPHA) -> tuple[np.ndarray, np.ndarray]:
    """Returns both ends of the interval of the mean difference that belongs to :func:`corrected_resampled_t`.

    Args:
        differences, test_to_train: as there.
        alpha: 1 minus the confidence.

    Raises:
        ValueError: as there.
    """
    mean, deviation, k = _resampled_mean(differences, test_to_train)
    half = stats.t.isf(alpha / 2, k - 1) * deviation
    return mean - half, mean + half


def _resampled_mean(differences: ArrayLike, test_to_train: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns the mean over the last axis, its standard deviation with Nadeau and Bengio's correction, and the splits."""
    d = np.asarray(differences, dtype=float)
    if d.ndim == 0 or d.shape[-1] < 2 or not np.isfinite(d).all():
        raise ValueError(f"Expected finite differences for at least 2 splits, got shape {d.shape}.")
    if not test_to_train > 0:
        raise ValueError(f"Expected a positive ratio of test to training images, got {test_to_train:g}; 0.25 for "
                         "80/20 splits.")
    k = d.shape[-1]
    return d.mean(axis=-1), np.sqrt((1 / k + test_to_train) * d.var(axis=-1, ddof=1)), k
