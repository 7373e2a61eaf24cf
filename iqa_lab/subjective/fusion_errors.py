"""How sure a scale from ratings and comparisons is: the covariance of its scores.

Paper: M. Perez-Ortiz, A. Mikhailiuk, E. Zerman, V. Hulusic, G. Valenzise, R. K. Mantiuk, "From pairwise comparisons and
    rating to a unified quality scale", IEEE Transactions on Image Processing 29, 2020, doi:10.1109/TIP.2019.2936103.
Reference: none; the released code returns no errors.
Deviations: the covariance is the inverse of the second derivatives of :func:`iqa_lab.subjective.fusion.unify`'s loss,
    which contains the errors of each dataset's a, b and c.
Chapter: 17
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from iqa_lab.subjective.comparisons import Pairs, to_pairs
from iqa_lab.subjective.fusion import SIGMA, Ratings, UnifiedScale, summarise
from iqa_lab.subjective.ranking import incidence, jod


def unified_covariance(scale: UnifiedScale, wins: ArrayLike | sparse.sparray, ratings: ArrayLike,
                       datasets: ArrayLike) -> np.ndarray:
    """Returns the covariance of the scores, shape (n, n), in JOD^2; rows and columns of zero_items are 0.

    For :func:`iqa_lab.subjective.ranking_inference.confidence_intervals` and ``difference_test``. It holds for answers
    that are independent and a pair_weight of 1, and for datasets whose c is not at its lower bound.

    Args:
        scale: of :func:`iqa_lab.subjective.fusion.unify`, with pair_weight 1.
        wins, ratings, datasets: what it was fitted to.

    Raises:
        ValueError: as ``unify``, or data with another number of items than the scale.
    """
    pairs, summary = to_pairs(wins), summarise(ratings, datasets)
    n = len(scale.scores)
    if not n == pairs.n_items == len(summary.count):
        raise ValueError(f"Expected the data that the scale of {n} items was fitted to, got comparisons of "
                         f"{pairs.n_items} and ratings of {len(summary.count)} items.")
    rated = np.isfinite(scale.a)
    known = np.concatenate([~np.isin(np.arange(n), scale.zero_items), np.tile(rated, 3)])  # the others do not vary
    second = second_derivatives(scale.scores, _standard_line(scale, summary), pairs, summary)
    covariance = np.zeros((n, n))
    free = np.flatnonzero(known[:n])
    covariance[np.ix_(free, free)] = np.linalg.inv(second[np.ix_(known, known)])[:len(free), :len(free)]
    return covariance


def second_derivatives(scores: np.ndarray, line: np.ndarray, pairs: Pairs, ratings: Ratings) -> np.ndarray:
    """Returns those of the loss by the scores, and by log a, b and log c of each dataset, shape (n + 3 D, n + 3 D).

    Args:
        scores: shape (n,).
        line: log a, b and log c for standardised ratings, shape (3, D).
        pairs, ratings: of ``to_pairs`` and :func:`iqa_lab.subjective.fusion.summarise`.
    """
    n, n_datasets = len(scores), line.shape[1]
    by_score, score_line, by_line = _rating_derivatives(scores, line, ratings)
    second = np.zeros((n + 3 * n_datasets, n + 3 * n_datasets))
    prior = (np.eye(n) - 1 / n) / (n * SIGMA**2)
    second[:n, :n] = _pair_derivatives(scores, pairs).toarray() + np.diag(by_score) + prior
    columns = n + ratings.dataset + n_datasets * np.arange(3)[:, None]  # (3, n)
    second[np.arange(n), columns] = second[columns, np.arange(n)] = score_line
    for row, column in np.ndindex(3, 3):
        sums = np.bincount(ratings.dataset, by_line[row, column], n_datasets)
        diagonal = n + np.arange(n_datasets)
        second[diagonal + row * n_datasets, diagonal + column * n_datasets] = sums
    return second


def _pair_derivatives(scores: np.ndarray, pairs: Pairs) -> sparse.csr_array:
    difference, edges = scores[pairs.first] - scores[pairs.second], incidence(pairs)
    curvature = pairs.first_wins[0] * jod(difference)[2] + pairs.second_wins[0] * jod(-difference)[2]
    return sparse.csr_array(edges.T @ sparse.diags_array(curvature) @ edges)


def _rating_derivatives(scores: np.ndarray, line: np.ndarray,
                        ratings: Ratings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns each item's part: by its score, (n,); by it and log a, b, log c, (3, n); by pairs of these, (3, 3, n)."""
    log_a, b, log_c = line[:, ratings.dataset]
    a, variance = np.exp(log_a), (np.exp(log_a + log_c) * SIGMA) ** 2
    miss = ratings.mean - a * scores - b
    squares = (ratings.scatter + ratings.count * miss**2) / variance
    pull, weight, level = -ratings.count * miss / variance, ratings.count / variance, a * scores
    score_line = np.stack([weight * a * level - pull * a, weight * a, -2 * pull * a])
    slope_offset, slope_noise = weight * level - 2 * pull, 2 * squares - 2 * pull * level
    by_line = np.array([[weight * level**2 - 3 * pull * level + 2 * squares, slope_offset, slope_noise],
                        [slope_offset, weight, -2 * pull],
                        [slope_noise, -2 * pull, 2 * squares]])
    return weight * a**2, score_line, by_line


def _standard_line(scale: UnifiedScale, ratings: Ratings) -> np.ndarray:
    """Returns log a, b and log c as they are for standardised ratings, shape (3, D), 0 without ratings."""
    line = np.stack([np.log(scale.a / ratings.unit), (scale.b - ratings.centre) / ratings.unit, np.log(scale.c)])
    return np.nan_to_num(line)
