"""Krasula's analysis: does a metric tell different pairs from similar ones, and the better image from the worse one?

Paper: L. Krasula, K. Fliegel, P. Le Callet, M. Klima, "On the accuracy of objective image and video quality models: new
    methodology for performance evaluation", QoMEX 2016; with comparisons instead of ratings: P. Hanhart, L. Krasula,
    P. Le Callet, T. Ebrahimi, "How to benchmark objective quality metrics from pair comparison data", QoMEX 2016.
Reference: the authors' MATLAB code, krasuluk/AucPerformance at 2821dc8, and its port in Netflix/vmaf.
Deviations: (1) In better / worse each pair stands twice, once turned round. The authors' tests count both copies; here
    the variance is doubled (:func:`better_worse_areas`). (2) THR is NumPy's percentile, as in the port; MATLAB
    interpolates otherwise ("hazen"). (3) Which test decides between compared images is not in the authors' code; here
    it is the binomial one. Those of the tests: ``iqa_lab.evaluation.roc_areas``.
Chapter: 18

All tests of areas take the pairs for independent. They are not: n images make n (n - 1) / 2 pairs. So every difference
looks significant, and :func:`bootstrap_roc`, which draws contents, is the one to report.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from iqa_lab.evaluation.bootstrap import N_RESAMPLES, draw_counts
from iqa_lab.evaluation.roc_areas import Areas, delong, placements, weighted_auc
from iqa_lab.evaluation.splits import content_codes

CONFIDENCE = 0.95  # one-sided, as in the authors' example after ITU-T J.149
NO_SPREAD = 1e-6  # standard error of two images on which everybody agreed (authors' example)
PERCENTILE = 95  # THR: of the similar pairs
CHUNK = 1 << 19  # weights of pairs held at a time


class JudgedPairs(NamedTuple):
    """Pairs of images: row numbers, and 1 where the first is better, -1 where it is worse, 0 where they are similar."""

    first: np.ndarray
    second: np.ndarray
    outcome: np.ndarray


class Roc(NamedTuple):
    """The analysis of M metrics; all arrays have shape (M,).

    Attributes:
        auc_ds: area under the curve different / similar, 0.5 by chance, 1 perfect.
        auc_bw: area under the curve better / worse.
        cc_0: share of different pairs whose difference has the right sign; no difference is wrong.
        thr: difference in the metric's unit that 95 % of the similar pairs stay below.
        n_different, n_similar: number of pairs.
    """

    auc_ds: np.ndarray
    auc_bw: np.ndarray
    cc_0: np.ndarray
    thr: np.ndarray
    n_different: int
    n_similar: int


class RocResamples(NamedTuple):
    """The analysis in each resample, arrays of shape (B, M); as :class:`Roc`."""

    auc_ds: np.ndarray
    auc_bw: np.ndarray
    cc_0: np.ndarray


def rated_pairs(mos: ArrayLike, mos_std: ArrayLike, n_ratings: ArrayLike, *,
                confidence: float = CONFIDENCE) -> JudgedPairs:
    """Returns all pairs i < j; they differ where Phi(|MOS_i - MOS_j| / standard error) reaches the confidence.

    Args:
        mos, mos_std, n_ratings: opinion score (higher is better), standard deviation and number of the ratings of each
            image, shape (n,); n_ratings may be one number.
        confidence: one-sided, so two equal images are called different in twice 1 - confidence of cases.

    Raises:
        ValueError: shapes that differ, NaN, a negative deviation, or no ratings.
    """
    mos, std, n = np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in (mos, mos_std, n_ratings)))
    if mos.ndim != 1 or not (np.isfinite(mos) & (std >= 0) & (n > 0)).all():
        raise ValueError("Expected a finite MOS, a deviation >= 0 and at least one rating for each image, shape (n,), "
                         f"got shape {mos.shape} or other values; leave those images out.")
    i, j = np.triu_indices(len(mos), 1)
    error = np.sqrt(std[i] ** 2 / n[i] + std[j] ** 2 / n[j])
    z = (mos[i] - mos[j]) / np.where(error > 0, error, NO_SPREAD)
    return JudgedPairs(i, j, np.where(stats.norm.cdf(np.abs(z)) >= confidence, np.sign(z), 0).astype(int))


def compared_pairs(wins: ArrayLike, *, confidence: float = CONFIDENCE) -> JudgedPairs:
    """Returns the pairs i < j that were compared; they differ where a fair coin gives so many wins too rarely.

    Args:
        wins: wins[i, j] is how often image i was preferred to j, shape (n, n); leave ties out.
        confidence: one-sided: different if the binomial chance of as many wins or more is at most 1 - confidence.

    Raises:
        ValueError: another shape, or values that are no counts.
    """
    wins = np.asarray(wins, dtype=float)
    good = np.isfinite(wins) & (wins >= 0) & (wins == np.round(wins))
    if wins.ndim != 2 or wins.shape[0] != wins.shape[1] or not good.all():
        raise ValueError(f"Expected counts of shape (n, n), got shape {wins.shape} or other values; leave out ties.")
    i, j = np.nonzero(np.triu(wins + wins.T, 1))
    won, lost = wins[i, j], wins[j, i]
    chance = stats.binom.sf(np.maximum(won, lost) - 1, won + lost, 0.5)
    return JudgedPairs(i, j, np.where(chance <= 1 - confidence, np.sign(won - lost), 0).astype(int))


def score_differences(scores: ArrayLike, pairs: JudgedPairs) -> np.ndarray:
    """Returns the score of the first image minus that of the second, (M, n) -> (M, P); higher scores are better."""
    table = np.asarray(scores, dtype=float)
    if table.ndim != 2 or not np.isfinite(table).all():
        raise ValueError(f"Expected finite scores of shape (metrics, images), got {table.shape}; use scores[None] for "
                         "one metric.")
    return table[:, pairs.first] - table[:, pairs.second]


def different_similar(differences: np.ndarray, outcome: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sizes of the differences of different pairs and of similar pairs, (M, D) and (M, S)."""
    outcome = np.asarray(outcome)
    if not (outcome != 0).any() or not (outcome == 0).any():
        raise ValueError(f"Expected both different and similar pairs, got {int((outcome != 0).sum())} and "
                         f"{int((outcome == 0).sum())}; choose another confidence or more images.")
    sizes = np.abs(differences)
    return sizes[:, outcome != 0], sizes[:, outcome == 0]


def better_worse(differences: np.ndarray, outcome: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns better minus worse, and worse minus better, of different pairs, each (M, D)."""
    right = (differences * outcome)[:, np.asarray(outcome) != 0]
    return right, -right


def roc_analysis(differences: np.ndarray, outcome: np.ndarray, *, method: str = "linear") -> Roc:
    """Returns the analysis of M metrics.

    Args:
        differences: from :func:`score_differences`, shape (M, P).
        outcome: from the pairs, shape (P,).
        method: of ``numpy.percentile``, for THR; "hazen" is MATLAB's.

    Raises:
        ValueError: no different, or no similar pair.
    """
    different, similar = different_similar(differences, outcome)
    right, wrong = better_worse(differences, outcome)
    return Roc(placements(different, similar).mean(axis=1), placements(right, wrong).mean(axis=1),
               (right > 0).mean(axis=1), np.percentile(similar, PERCENTILE, axis=1, method=method),
               different.shape[1], similar.shape[1])


def better_worse_areas(differences: np.ndarray, outcome: np.ndarray) -> Areas:
    """Returns the areas better / worse; their covariance is twice DeLong's, which takes the copies for new pairs."""
    areas = delong(*better_worse(differences, outcome))
    return Areas(areas.auc, 2 * areas.covariance)


def bootstrap_roc(scores: ArrayLike, pairs: JudgedPairs, contents: ArrayLike, *, n_resamples: int = N_RESAMPLES,
                  seed: int = 0) -> RocResamples:
    """Returns the analysis in resamples of contents, for intervals and p-values that know what pairs share.

    A pair of two contents counts as often as both were drawn together, a pair within one content as often as it was
    drawn; copies of one content are not compared with each other. ``p_values(differences(resamples.auc_ds))``, from
    ``iqa_lab.evaluation.bootstrap``, are the p-values to report.

    Args:
        scores: as :func:`score_differences`.
        pairs: from :func:`rated_pairs` or :func:`compared_pairs`.
        contents: content of each image, shape (n,); number the images where each is its own.
        n_resamples, seed: as :func:`iqa_lab.evaluation.bootstrap.bootstrap`.

    Raises:
        ValueError: fewer than 2 contents, or a resample without a different or without a similar pair.
    """
    delta = score_differences(scores, pairs)
    different, similar = different_similar(delta, pairs.outcome)
    right, wrong = better_worse(delta, pairs.outcome)
    codes, n_contents = content_codes(contents, minimum=2)
    if len(codes) != np.shape(scores)[1]:
        raise ValueError(f"Expected a content for each of {np.shape(scores)[1]} images, got {len(codes)}.")
    step, random, parts = max(1, CHUNK // len(pairs.outcome)), np.random.RandomState(seed), []
    for first in range(0, n_resamples, step):
        weights = pair_weights(draw_counts(random, n_contents, min(step, n_resamples - first)), codes, pairs)
        differ, alike = weights[:, pairs.outcome != 0], weights[:, pairs.outcome == 0]
        if not differ.any(axis=1).all() or not alike.any(axis=1).all():
            raise ValueError(f"Expected different and similar pairs in each resample, got one without; {n_contents} "
                             "contents are too few.")
        parts.append((weighted_auc(different, similar, differ, alike), weighted_auc(right, wrong, differ, differ),
                      differ @ (right > 0).T / differ.sum(axis=1, keepdims=True)))
    return RocResamples(*map(np.concatenate, zip(*parts)))


def pair_weights(counts: np.ndarray, codes: np.ndarray, pairs: JudgedPairs) -> np.ndarray:
    """Returns how often each pair was drawn, (B, contents) -> (B, P)."""
    first, second = codes[pairs.first], codes[pairs.second]
    drawn = np.take(counts, first, axis=1)
    return np.where(first == second, drawn, drawn * np.take(counts, second, axis=1)).astype(float)
