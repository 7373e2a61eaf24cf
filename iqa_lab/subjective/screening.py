"""Screening of observers: who rates so differently that the ratings are left out.

Papers: ITU-R Rec. BT.500-13, Annex 2 (rejection by kurtosis and counts, for DSIS, DSCQS and single stimulus); ITU-R
    Rec. BT.1788, SAMVIQ (rejection by correlation); VQEG HDTV and Multimedia test plans (fixed limits of the
    correlation).
Reference: Netflix/sureal at 526715c (subject_rejection); the screening functions of NTIA/ITS in MATLAB by M. Pinson
    (First: VQEG HDTV; Second: BT.1788; Third: VQEG Multimedia). The Recommendations themselves were not at hand.
Deviations: (1) A stimulus that everybody rated alike counts for nobody; SUREAL counts every subject there as too high
    and too low at once. (2) P + Q is divided by the number of the subject's ratings,
    in SUREAL by that of all stimuli: the same if nobody left one out. (3) NTIA's code for BT.500 takes every stimulus
    for normal (an "or" for an "and", fourth powers for squares) and does not compare |P - Q| / (P + Q) with 0.3; it is
    not followed.
Chapter: 15

BT.500's rule is weak. It lets pass who rates low throughout, and of those who answer at random a quarter (one among 20)
or more (eight among 20). Fewer than 22 subjects never reach its wider limit. Correlation finds the random ones. Each
rule is to be applied once, and whom it left out belongs into the report.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from iqa_lab.subjective.rating import check_ratings

NORMAL = (2, 4)  # kurtosis between which BT.500 takes the ratings of a stimulus for normal
SHARE, BALANCE = 0.05, 0.3  # rejected if (P + Q) / n > SHARE and |P - Q| / (P + Q) < BALANCE
SAMVIQ_LIMIT = 0.7  # "maximum correlation threshold" of BT.1788
CLIP_LIMIT, CONDITION_LIMIT = 0.75, 0.8  # VQEG: correlation over stimuli and over conditions


class CountScreening(NamedTuple):
    """Decision of BT.500 and its reasons; all but ``kurtosis`` of shape (subjects,)."""

    rejected: np.ndarray  # bool
    high: np.ndarray  # P: how many of the subject's ratings are far above the mean of their stimulus
    low: np.ndarray  # Q: how many are far below
    n_ratings: np.ndarray
    kurtosis: np.ndarray  # (stimuli,); NaN where all ratings are equal


class CorrelationScreening(NamedTuple):
    """Decision of a rule on correlations, and its reasons, of shape (subjects,)."""

    rejected: np.ndarray  # bool
    correlation: np.ndarray  # with the MOS, -1 to 1
    threshold: float


def screen_counts(ratings: ArrayLike, *, ddof: int = 1) -> CountScreening:
    """Returns whom BT.500 rejects: often far from the mean of the stimulus, and about as often above as below.

    Far means 2 standard deviations or more if the ratings of the stimulus have a kurtosis of 2 to 4, else sqrt(20).

    Args:
        ratings: shape (subjects, stimuli), NaN = not rated.
        ddof: 1 for the sample standard deviation, as in NTIA's code; 0 for the population's, as in SUREAL, which is
            smaller, so that it may reject more.

    Raises:
        ValueError: as :func:`iqa_lab.subjective.rating.opinion_scores`.
    """
    ratings, rated = check_ratings(ratings)
    n = rated.sum(0)
    centred = np.where(rated, ratings - np.where(rated, ratings, 0).sum(0) / n, 0)
    differ = np.where(rated, ratings, -np.inf).max(0) > np.where(rated, ratings, np.inf).min(0)
    squares = np.where(differ, np.square(centred).sum(0), np.nan)  # NaN is never exceeded
    kurtosis = n * (centred**4).sum(0) / squares**2
    normal = (kurtosis >= NORMAL[0]) & (kurtosis <= NORMAL[1])
    far = np.where(normal, 2, np.sqrt(20)) * np.sqrt(squares / np.maximum(n - ddof, 1))
    high, low = ((sign * centred >= far) & rated for sign in (1, -1))
    p, q, votes = high.sum(1), low.sum(1), rated.sum(1)
    rejected = (p + q > SHARE * votes) & (np.abs(p - q) < BALANCE * (p + q))
    return CountScreening(rejected, p, q, votes, kurtosis)


def screen_samviq(ratings: ArrayLike) -> CorrelationScreening:
    """Returns whom BT.1788 rejects: the smaller of Pearson's and Spearman's correlation is at or below the threshold.

    The threshold is that of :func:`samviq_threshold`; it adapts to the panel, so that it is low if many rate badly.

    Args and errors: as :func:`pearson_with_mos`.
    """
    smaller = np.minimum(pearson_with_mos(ratings), spearman_with_mos(ratings))
    threshold = samviq_threshold(smaller)
    return CorrelationScreening(smaller <= threshold, smaller, threshold)


def samviq_threshold(correlations: ArrayLike, *, ddof: int = 0) -> float:
    """Returns the mean of the subjects' correlations minus one standard deviation, at most 0.7.

    Args:
        correlations: shape (subjects,).
        ddof: 0 as in SUREAL; NTIA's code takes 1.
    """
    correlations = np.asarray(correlations, dtype=float)
    return float(min(SAMVIQ_LIMIT, correlations.mean() - correlations.std(ddof=ddof)))


def screen_vqeg(ratings: ArrayLike) -> CorrelationScreening:
    """Returns whom the VQEG HDTV plan rejects: Pearson's correlation with the MOS is below 0.75.

    Args and errors: as :func:`pearson_with_mos`.
    """
    correlations = pearson_with_mos(ratings)
    return CorrelationScreening(correlations < CLIP_LIMIT, correlations, CLIP_LIMIT)


def screen_vqeg_conditions(ratings: ArrayLike, conditions: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns whom the VQEG Multimedia plan rejects, and both correlations, each of shape (subjects,).

    Rejected is whose correlation is below 0.75 over the stimuli and below 0.8 over the conditions.

    Args:
        ratings: shape (subjects, stimuli), complete.
        conditions: type or level of distortion of each stimulus (VQEG's HRC), shape (stimuli,).

    Raises:
        ValueError: as :func:`pearson_with_mos`, or ratings that are missing.
    """
    ratings, rated = check_ratings(ratings)
    labels, codes = np.unique(np.asarray(conditions), return_inverse=True)
    if not rated.all() or codes.shape != ratings.shape[1:]:
        raise ValueError(f"Expected complete ratings and a condition for each stimulus, got {int((~rated).sum())} "
                         f"missing ratings, {codes.size} conditions, {ratings.shape[1]} stimuli; use screen_vqeg.")
    members = codes[:, None] == np.arange(len(labels))
    over_stimuli = pearson_with_mos(ratings)
    over_conditions = pearson_with_mos(ratings @ members / members.sum(0))
    return (over_stimuli < CLIP_LIMIT) & (over_conditions < CONDITION_LIMIT), over_stimuli, over_conditions


def pearson_with_mos(ratings: ArrayLike) -> np.ndarray:
    """Returns each subject's linear correlation with the MOS over the stimuli that the subject rated, (subjects,).

    The MOS contain the subject's own ratings, as in all these rules, which lifts the correlation in small panels.

    Args:
        ratings: shape (subjects, stimuli), NaN = not rated.

    Raises:
        ValueError: as :func:`iqa_lab.subjective.rating.opinion_scores`, or a subject whose ratings, or whose stimuli's
            MOS, are all equal: leave such a subject out by hand.
    """
    ratings, rated = check_ratings(ratings)
    return _correlations(ratings, _mos(ratings, rated), rated)


def spearman_with_mos(ratings: ArrayLike) -> np.ndarray:
    """Returns each subject's rank correlation with the MOS; arguments and errors as :func:`pearson_with_mos`."""
    ratings, rated = check_ratings(ratings)
    ranks = (stats.rankdata(x, axis=1, nan_policy="omit") for x in (ratings, _mos(ratings, rated)))
    return _correlations(*ranks, rated)


def _mos(ratings: np.ndarray, rated: np.ndarray) -> np.ndarray:
    """Returns the MOS of each stimulus in the row of each subject, NaN where the subject did not rate."""
    return np.where(rated, np.where(rated, ratings, 0).sum(0) / rated.sum(0), np.nan)


def _correlations(x: np.ndarray, y: np.ndarray, rated: np.ndarray) -> np.ndarray:
    """Returns the correlation of each row of x with that of y over the columns where ``rated``."""
    x, y = (np.where(rated, values, 0) for values in (x, y))
    size = np.sqrt(np.square(x).sum(1) * np.square(y).sum(1))
    n = rated.sum(1, keepdims=True)
    x, y = (np.where(rated, values - values.sum(1, keepdims=True) / n, 0) for values in (x, y))
    scale = np.sqrt(np.square(x).sum(1) * np.square(y).sum(1))
    constant = np.flatnonzero(scale <= 1e-12 * size)  # what rounding leaves of equal values
    if len(constant):
        raise ValueError(f"Expected ratings and MOS that differ for each subject, got one value only for subjects "
                         f"{constant[:5].tolist()}; leave them out: a correlation is not defined.")
    return (x * y).sum(1) / scale
