"""SROCC, PLCC and KROCC as functions of how often each image was drawn: what the bootstrap resamples, without sorting.

Paper: W. R. Knight, "A computer method for calculating Kendall's tau with ungrouped data", JASA 61, 1966.
Reference: none; checked against SciPy on the drawn images themselves.
Deviations: none.
Chapter: 18

How a thousand resamples cost no sort: a resample is a count for each image. The order of the images by a metric is the
same in all resamples, so it is found once. In that order the running sum of the counts is how many drawn images lie
below, which is the rank; equal scores share a mean rank, as :func:`scipy.stats.rankdata` has it. The result is exactly
the criterion of the drawn images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from iqa_lab.evaluation.criteria import check_scores

ROUNDING = 1e-24  # of a product of two variances, relative


class Resampled(NamedTuple):
    """A criterion of M metrics on n images, ready to be resampled.

    Attributes:
        n_images: n.
        of_counts: how often each image was drawn, (B, n) -> the criterion in each resample, (B, M), NaN where scores or
            opinions are all the same.
    """

    n_images: int
    of_counts: Callable[[np.ndarray], np.ndarray]


class Order(NamedTuple):
    """The n images in the order of one list of values, where G groups of equal values stand."""

    order: np.ndarray  # (n,), row numbers from the smallest value to the largest
    starts: np.ndarray  # (G,), where each group begins in that order
    group: np.ndarray  # (n,), the group of each image, in the order of the images


def srocc_resampled(scores: ArrayLike, opinions: ArrayLike) -> Resampled:
    """Returns Spearman's correlation, ready to be resampled: the linear correlation of each resample's ranks.

    Args:
        scores: shape (M, n), n >= 3; bring all metrics to one direction first.
        opinions: shape (n,).

    Raises:
        ValueError: as :func:`iqa_lab.evaluation.criteria.srocc`.
    """
    table, y = check_table(scores, opinions)
    by_y, by_each = order_of(y), [order_of(row) for row in table]

    def of_counts(counts: np.ndarray) -> np.ndarray:
        total, weights_y = counts.sum(axis=1), grouped(counts, by_y)
        centred = np.take(ranks(weights_y) - total[:, None], by_y.group, axis=1)  # twice the rank, minus its mean
        pull, squares_y = (counts * centred).astype(float), rank_squares(weights_y, total)
        columns = []
        for by_x in by_each:
            weights = grouped(counts, by_x)
            product = np.einsum("bg,bg->b", ranks(weights), grouped(pull, by_x))
            columns.append(ratio(product, rank_squares(weights, total) * squares_y))
        return np.stack(columns, axis=1)

    return Resampled(len(y), of_counts)


def plcc_resampled(scores: ArrayLike, opinions: ArrayLike) -> Resampled:
    """Returns the linear correlation, whose sums are matrix products; args and errors as :func:`srocc_resampled`."""
    table, y = check_table(scores, opinions)
    x = (table - table.mean(axis=1, keepdims=True)).T  # (n, M); centred, so that the sums below do not cancel
    y = (y - y.mean())[:, None]

    def of_counts(counts: np.ndarray) -> np.ndarray:
        w = counts / counts.sum(axis=1, keepdims=True)
        mean_x, mean_y = w @ x, w @ y
        variance_x, variance_y = w @ (x * x) - mean_x**2, w @ (y * y) - mean_y**2
        least = ROUNDING * (x * x).mean(axis=0) * (y * y).mean()
        return ratio(w @ (x * y) - mean_x * mean_y, variance_x * variance_y, least=least)

    return Resampled(len(y), of_counts)


def krocc_resampled(scores: ArrayLike, opinions: ArrayLike) -> Resampled:
    """Returns Kendall's tau-b, where copies of one image count as tied; it takes some log2 n times as long as SROCC.

    Args and errors: as :func:`srocc_resampled`.
    """
    table, y = check_table(scores, opinions)
    by_y, by_each = order_of(y), [order_of(row) for row in table]
    by_both = [order_of(by_x.group * len(y) + by_y.group) for by_x in by_each]  # by score, then by opinion

    def of_counts(counts: np.ndarray) -> np.ndarray:
        pairs, tied_y = pairs_within(counts.sum(axis=1, keepdims=True)), pairs_within(grouped(counts, by_y))
        columns = []
        for by_x, both in zip(by_each, by_both):
            tied_x, tied_both = pairs_within(grouped(counts, by_x)), pairs_within(grouped(counts, both))
            wrong = discordant(both.order, by_y.group, counts)
            right = pairs - tied_x - tied_y + tied_both - wrong
            columns.append(ratio(right - wrong, (pairs - tied_x) * (pairs - tied_y)))
        return np.stack(columns, axis=1)

    return Resampled(len(y), of_counts)


def order_of(values: np.ndarray) -> Order:
    """Returns the order of the values and the groups of equal ones."""
    order = np.argsort(values, kind="stable")
    new = np.diff(values[order], prepend=np.nan) != 0
    group = np.empty(len(values), dtype=np.int64)
    group[order] = np.cumsum(new) - 1
    return Order(order, np.flatnonzero(new), group)


def grouped(weights: np.ndarray, by: Order) -> np.ndarray:
    """Returns the weights in that order, summed over equal values, (B, n) -> (B, G)."""
    sorted_weights = np.take(weights, by.order, axis=1)
    if len(by.starts) == len(by.order):
        return sorted_weights
    return np.add.reduceat(sorted_weights, by.starts, axis=1)


def ranks(weights: np.ndarray) -> np.ndarray:
    """Returns twice the mean rank, less one, of each group of drawn images: those below twice, those equal once."""
    return 2 * np.cumsum(weights, axis=1, dtype=np.int32) - weights


def rank_squares(weights: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Returns the sum of squares of twice the ranks about their mean, shape (B,): (n^3 - sum over ties of t^3) / 3."""
    ties = weights.astype(float)
    return (total.astype(float) ** 3 - np.einsum("bg,bg,bg->b", ties, ties, ties)) / 3


def pairs_within(weights: np.ndarray) -> np.ndarray:
    """Returns how many pairs lie within the groups, shape (B,)."""
    w = weights.astype(float)
    return np.einsum("bg,bg->b", w, w - 1) / 2


def discordant(order: np.ndarray, values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns the pairs, shape (B,), whose first in that order has the larger value: the exchanges of a merge sort.

    Which image goes where in the sort is the same in all resamples, so only the counts are carried along (Knight 1966).
    """
    place, wrong = np.argsort(order), np.zeros(len(counts))
    for level in range(int(len(order) - 1).bit_length()):
        block = place >> (level + 1)  # of two halves, each sorted by value; of equal values the left one comes first
        merged = np.lexsort((place, values, block))
        weights = np.take(counts, merged, axis=1)
        right = ((place[merged] >> level) & 1).astype(np.int32)
        left_so_far = np.cumsum(weights * (1 - right), axis=1, dtype=np.int32)
        last = np.searchsorted(block[merged], block[merged], side="right") - 1
        wrong += np.einsum("bn,bn->b", weights * right, np.take(left_so_far, last, axis=1) - left_so_far, dtype=float)
    return wrong


def ratio(product: np.ndarray, squares: np.ndarray, *, least: ArrayLike = 0.0) -> np.ndarray:
    """Returns product / sqrt(squares), at most 1 in size, and NaN where the squares are no more than ``least``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(squares > least, np.clip(product / np.sqrt(squares), -1, 1), np.nan)


def check_table(scores: ArrayLike, opinions: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns both as float arrays; raises the errors that :func:`srocc_resampled` documents."""
    table = np.asarray(scores, dtype=float)
    if table.ndim != 2 or len(table) == 0:
        raise ValueError(f"Expected scores of shape (metrics, images), got {table.shape}; use scores[None] for one.")
    return table, [check_scores(row, opinions) for row in table][0][1]
