"""The D-, L- and P-test of the Waterloo Exploration database: what can be checked on many images without human scores.

Paper: K. Ma, Z. Duanmu, Q. Wu, Z. Wang, H. Yong, H. Li, L. Zhang, "Waterloo Exploration Database: new challenges for
    image quality assessment models", IEEE TIP 26(2), 2017. Discriminable image pairs: K. Ma, W. Liu, T. Liu, Z. Wang,
    D. Tao, "dipIQ: blind image quality assessment by learning-to-rank discriminable image pairs", IEEE TIP 26(8), 2017.
Reference: none; no evaluation code of the authors was available.
Deviations: (1) The full-reference models and the threshold of the pairs are arguments: those of the paper could not be
    verified, so report P as a curve over the threshold. (2) :func:`percent_scale` is not the papers' way to a common
    scale, which is :func:`opinion_scale`.
Chapter: 19

Ties are never a success: in the D-test a score at the threshold counts as pristine, in the L-test equal scores share
their mean rank and a model that gives all levels one score gets 0, in the P-test a tie is a wrong answer (and counted).
Higher scores are better throughout; turn the sign of a model whose scores measure distortion. D, L and P use the order
only, so that infinite scores are as good as others: PSNR is infinite for a pristine image against itself. Two equal
infinities are a tie. NaN is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

FULL_SCALE = 100.0
CANDIDATES = 2_000_000  # pairs looked at: 16 MB for each array of them


class DTest(NamedTuple):
    """D, 0.5 to 1: the mean of the two shares, at the best threshold (pristine: score >= threshold)."""

    d: float
    threshold: float
    share_pristine: float  # of pristine images that are called pristine
    share_distorted: float  # of distorted images that are called distorted


class LTest(NamedTuple):
    """Mean rank correlations, -1 to 1, and those of each content and distortion.

    ``groups`` has the columns ``content, distortion, srocc, krocc``.
    """

    srocc: float
    krocc: float
    groups: pd.DataFrame


class ImagePairs(NamedTuple):
    """Discriminable image pairs: row numbers of the better and of the worse image, and how far apart they are at least.

    ``gap`` is the smallest difference over the full-reference models. ``n_all`` estimates how many such pairs there are
    in all, and is their exact number where all candidates were looked at.
    """

    better: np.ndarray
    worse: np.ndarray
    gap: np.ndarray
    n_all: float


class PTest(NamedTuple):
    """P, 0 to 1: the share of pairs whose better image has the higher score."""

    p: float
    n_correct: int
    n_ties: int
    n_pairs: int


def d_test(pristine: ArrayLike, distorted: ArrayLike) -> DTest:
    """Returns how well one threshold parts pristine from distorted images: the largest mean of the two shares.

    The mean of two shares, not the accuracy: there are some 20 times as many distorted images.

    Args:
        pristine, distorted: scores, higher is better, may be infinite (then ``threshold`` may be), shapes (n,) and (m,).

    Raises:
        ValueError: no image on one side, or NaN.
    """
    x, y = np.sort(check_scores(pristine, least=1)), np.sort(check_scores(distorted, least=1))
    thresholds = np.unique(np.concatenate([x, y]))
    called_pristine = (len(x) - np.searchsorted(x, thresholds)) / len(x)
    called_distorted = np.searchsorted(y, thresholds) / len(y)
    best = int(np.argmax(called_pristine + called_distorted))  # the lowest of equally good thresholds
    shares = float(called_pristine[best]), float(called_distorted[best])
    return DTest(sum(shares) / 2, float(thresholds[best]), *shares)


def l_test(scores: ArrayLike, contents: ArrayLike, distortions: ArrayLike, levels: ArrayLike) -> LTest:
    """Returns how well the scores follow the levels, for each content and distortion and in the mean over all of them.

    Args:
        scores: shape (n,), higher is better, may be infinite, of distorted images.
        contents, distortions: labels of each image.
        levels: of distortion, the smallest is the best image; no level twice within a group.

    Raises:
        ValueError: NaN, groups without the same number of levels, fewer than 2 levels, or a level that stands twice.
    """
    table = pd.DataFrame({"content": np.asarray(contents), "distortion": np.asarray(distortions),
                          "level": np.asarray(levels), "score": check_scores(scores, least=2)})
    table = table.sort_values(["content", "distortion", "level"], kind="stable")
    groups = table.groupby(["content", "distortion"], sort=True)
    sizes = groups.size()
    if sizes.min() != sizes.max() or sizes.min() < 2 or table.duplicated(["content", "distortion", "level"]).any():
        raise ValueError("Expected the same levels, at least 2, once for each content and distortion, got "
                         f"{sizes.min()} to {sizes.max()} images a group or a level twice; test whole series only.")
    rows = table["score"].to_numpy().reshape(len(sizes), -1)  # (groups, levels), best level first
    columns = sizes.index.to_frame(index=False).assign(srocc=falling_srocc(rows), krocc=falling_krocc(rows))
    return LTest(float(columns["srocc"].mean()), float(columns["krocc"].mean()), columns)


def falling_srocc(rows: np.ndarray) -> np.ndarray:
    """Returns Spearman's correlation of each row with a falling sequence, (G, K) -> (G,); 0 for a constant row."""
    ranks = stats.rankdata(rows, axis=1)
    ranks = ranks - ranks.mean(axis=1, keepdims=True)
    order = np.arange(rows.shape[1], 0, -1.0)
    order -= order.mean()
    size = np.sqrt(np.square(ranks).sum(axis=1) * (order @ order))
    return np.divide(ranks @ order, size, out=np.zeros(len(rows)), where=size > 0)


def falling_krocc(rows: np.ndarray) -> np.ndarray:
    """Returns Kendall's tau-b of each row with a falling sequence, (G, K) -> (G,); 0 for a constant row."""
    i, j = np.triu_indices(rows.shape[1], 1)
    signs = (rows[:, i] > rows[:, j]).astype(int) - (rows[:, i] < rows[:, j])  # a difference of infinities would be NaN
    size = np.sqrt(np.abs(signs).sum(axis=1) * len(i))
    return np.divide(signs.sum(axis=1), size, out=np.zeros(len(rows)), where=size > 0)


def opinion_scale(scores: ArrayLike, mapping: Callable[[np.ndarray], np.ndarray], *, worst: float,
                  best: float) -> np.ndarray:
    """Returns scores on the scale 0 (worst) to 100 (best), through a mapping to the opinions of one database.

    Args:
        scores: shape (n,), finite, of a full-reference model.
        mapping: fitted on a database with opinions (:func:`iqa_lab.evaluation.mapping.fit_mapping`).
        worst, best: ends of that database's opinion scale, 100 and 0 for a DMOS. Values beyond them are cut off.
    """
    values = check_scores(scores, least=1)
    if not np.isfinite(values).all():
        raise ValueError(f"Expected finite scores, got {int(np.isinf(values).sum())} infinite: no mapping was fitted to "
                         "those; leave those images out.")
    predicted = mapping(values)
    return np.clip(FULL_SCALE * (predicted - worst) / (best - worst), 0, FULL_SCALE)


def percent_scale(scores: ArrayLike) -> np.ndarray:
    """Returns the percentage of images at or below each, equal ones by their mean rank: a scale without opinions.

    It depends on the set of images: 20 is a fifth of them. Args: scores, shape (n,), higher is better, may be infinite.
    """
    values = check_scores(scores, least=1)
    return FULL_SCALE * (stats.rankdata(values) - 0.5) / len(values)


def discriminable_pairs(quality: ArrayLike, *, threshold: float, n_pairs: int, seed: int = 0,
                        n_candidates: int = CANDIDATES) -> ImagePairs:
    """Returns pairs in which every full-reference model finds the same image better, by more than the threshold.

    Of 100,000 images there are 5e9 pairs, which are never made. With the images sorted by the first model, those that
    are worse than image i by more than the threshold stand at the beginning. So the candidates of the first model can
    be numbered, and numbers are drawn at random; the other models decide. Every pair that qualifies is equally likely.

    Args:
        quality: of the full-reference models on one common scale, higher is better, shape (R, n).
        threshold: smallest gap, in units of the scale.
        n_pairs: how many pairs at most.
        seed: of the draw.
        n_candidates: how many candidates are looked at; all of them if there are no more.

    Raises:
        ValueError: another shape, NaN, or no such pair.
    """
    q = np.asarray(quality, dtype=float)
    if q.ndim != 2 or not np.isfinite(q).all():
        raise ValueError(f"Expected finite quality of shape (models, images), got {q.shape}; use quality[None] for one "
                         "model.")
    order = np.argsort(q[0], kind="stable")
    ends = np.cumsum(np.searchsorted(q[0][order], q[0] - threshold))  # ends[i]: candidates with a better image 0 to i
    total, random = int(ends[-1]), np.random.RandomState(seed)
    drawn = np.arange(total) if total <= n_candidates else np.unique(random.randint(total, size=n_candidates))
    better = np.searchsorted(ends, drawn, side="right")
    worse = order[ends[better] - 1 - drawn]
    gap = (q[:, better] - q[:, worse]).min(axis=0)
    good = np.flatnonzero(gap > threshold)
    if len(good) == 0:
        raise ValueError(f"Expected pairs that differ by more than {threshold:g} for all {len(q)} models, got none "
                         f"among {len(drawn)} candidates; choose a smaller threshold.")
    kept = random.permutation(good)[:n_pairs]
    return ImagePairs(better[kept], worse[kept], gap[kept], len(good) * total / len(drawn))


def p_test(scores: ArrayLike, pairs: ImagePairs) -> PTest:
    """Returns the share of pairs whose better image has the higher score.

    Args:
        scores: of the model under test, shape (n,), higher is better, may be infinite.
        pairs: from :func:`discriminable_pairs`.
    """
    values = check_scores(scores, least=2)
    better, worse = values[pairs.better], values[pairs.worse]
    correct, n = int((better > worse).sum()), len(better)
    return PTest(correct / n, correct, int((better == worse).sum()), n)


def p_curve(scores: ArrayLike, pairs: ImagePairs, thresholds: ArrayLike) -> np.ndarray:
    """Returns P among the pairs with a gap above each threshold, shape (T,), NaN where there is none.

    Args:
        scores, pairs: as :func:`p_test`; take the pairs at the smallest threshold.
        thresholds: shape (T,).
    """
    values, order = check_scores(scores, least=2), np.argsort(pairs.gap)
    correct = values[pairs.better[order]] > values[pairs.worse[order]]
    first = np.searchsorted(pairs.gap[order], np.asarray(thresholds, dtype=float), side="right")
    left = np.append(np.cumsum(correct[::-1])[::-1], 0)[first]  # right answers from there on
    return np.divide(left, len(order) - first, out=np.full(len(first), np.nan), where=first < len(order))


def check_scores(scores: ArrayLike, *, least: int) -> np.ndarray:
    """Returns the scores as a float array; they may be infinite."""
    values = np.asarray(scores, dtype=float)
    if values.ndim != 1 or len(values) < least or np.isnan(values).any():
        raise ValueError(f"Expected at least {least} scores of shape (n,), got shape {values.shape} with "
                         f"{int(np.isnan(values).sum())} NaN; leave those images out.")
    return values
