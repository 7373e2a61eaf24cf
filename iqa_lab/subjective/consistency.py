"""Do observers agree with themselves and with each other: circular triads, coefficient of agreement, odd observers.

Paper: M. G. Kendall, B. Babington Smith, "On the method of paired comparisons", Biometrika 31(3/4), 1940,
    doi:10.1093/biomet/31.3-4.324; M. Perez-Ortiz, R. K. Mantiuk, "A practical guide and software for analysing
    pairwise comparison experiments", arXiv:1712.03686 (odd observers).
Reference: mantiuk/pwcmp at 07876b2 (pw_outlier_analysis.m).
Deviations: (1) The leave-one-out scales of pwcmp have its distance prior, here a Gaussian prior on the scores.
    (2) Kendall's formula counts triads from row sums; here they are counted as closed walks of length 3, which is the
    same for complete designs and holds for incomplete ones.
Chapter: 16
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.special import gammaln

from iqa_lab.subjective.comparisons import to_pairs
from iqa_lab.subjective.ranking import JOD_SIGMA, check_options, jod, newton_scores

APPROXIMATE_FROM = 8  # items; with 7, 7 % of coin tosses pass a test at the 5 % level


class Consistence(NamedTuple):
    """How consistent each of K observers is."""

    triads: np.ndarray  # (K,) number of circular triads
    coefficient: np.ndarray  # (K,) zeta: 1 for none, 0 for as many as possible
    p_value: np.ndarray  # (K,) chance of so few triads from coin tosses; NaN below 8 items


class Agreement(NamedTuple):
    """How far m observers agree with each other."""

    u: float  # 1 if all agree; 0 as expected by chance; at least -1 / (m - 1), or -1 / m for odd m
    chi_square: float
    degrees_of_freedom: float
    p_value: float  # chance of so much agreement from coin tosses


class ObserverFit(NamedTuple):
    """How well each of K observers' answers fit the scale of the others."""

    log10_likelihood: np.ndarray  # (K,) mean over the pairs that the observer compared
    outlier_distance: np.ndarray  # (K,) below the first quartile, in interquartile ranges; look at those above 1.5


def circular_triads(preferences: ArrayLike) -> np.ndarray:
    """Returns how many triples are preferred in a circle (i to j, j to k, k to i), integers of shape (K,).

    Args:
        preferences: 1 where an observer preferred i to j, else 0, shape (K, n, n) or (n, n) for one observer; pairs may
            be missing.

    Raises:
        ValueError: entries other than 0 and 1, such as ties, or both directions of a pair.
    """
    votes = _one_vote_each(preferences).astype(float)
    return np.rint(np.einsum("kij,kji->k", votes @ votes, votes) / 3).astype(int)  # each circle has three starts


def coefficient_of_consistence(preferences: ArrayLike) -> Consistence:
    """Returns Kendall's zeta = 1 - 24 d / (n^3 - n) for odd n and 1 - 24 d / (n^3 - 4 n) for even n, d the triads.

    Args:
        preferences: as :func:`circular_triads`, every pair compared once, n >= 3.

    Raises:
        ValueError: as :func:`circular_triads`, missing pairs, or fewer than 3 items.
    """
    votes = _one_vote_each(preferences)
    n = votes.shape[-1]
    if n < 3 or not (votes | votes.transpose(0, 2, 1) | np.eye(n, dtype=bool)).all():
        raise ValueError(f"Expected every pair of at least 3 items compared by every observer, got {n} items and "
                         f"{int(votes.sum())} of {len(votes) * comb(n, 2)} answers; use circular_triads.")
    triads = circular_triads(votes)
    most = (n**3 - (n if n % 2 else 4 * n)) / 24
    p_value = np.full(len(votes), np.nan)
    if n >= APPROXIMATE_FROM:
        degrees = n * (n - 1) * (n - 2) / (n - 4) ** 2
        chi_square = 8 / (n - 4) * (comb(n, 3) / 4 - triads + 0.5) + degrees
        p_value = stats.chi2.sf(chi_square, degrees)
    return Consistence(triads, 1 - triads / most, p_value)


def coefficient_of_agreement(wins: ArrayLike) -> Agreement:
    """Returns Kendall's u = 2 S / (C(m, 2) C(n, 2)) - 1, S the pairs of observers that agree, over all pairs of items.

    Args:
        wins: how many of m observers preferred i to j, shape (n, n) or, summed here, (K, n, n); every observer
            compared every pair once, m >= 3.

    Raises:
        ValueError: pairs with different numbers of votes, ties, or fewer than 3 observers.
    """
    pairs = to_pairs(wins)
    ahead, behind = pairs.first_wins.sum(axis=0), pairs.second_wins.sum(axis=0)
    n_pairs, m = comb(pairs.n_items, 2), float((ahead + behind)[0])
    if len(ahead) != n_pairs or (ahead + behind != m).any() or (ahead % 1).any() or m < 3:
        raise ValueError(f"Expected all {n_pairs} pairs compared by the same 3 or more observers without ties, got "
                         f"{len(ahead)} pairs with {(ahead + behind).min():g} to {(ahead + behind).max():g} votes.")
    alike = (ahead * (ahead - 1) + behind * (behind - 1)).sum() / 2
    chances = m * (m - 1) / 2 * n_pairs
    chi_square = 4 / (m - 2) * (alike - chances / 2 * (m - 3) / (m - 2))
    degrees = n_pairs * m * (m - 1) / (m - 2) ** 2
    return Agreement(float(2 * alike / chances - 1), float(chi_square), float(degrees),
                     float(stats.chi2.sf(chi_square, degrees)))


def observer_fit(scenes: Sequence[ArrayLike], *, prior_std: float = JOD_SIGMA) -> ObserverFit:
    """Returns how likely each observer's answers are under the JOD scale of all other observers.

    The likelihood is that of a binomial count for each pair, as in pwcmp: an observer who repeated a pair has a lower
    one by construction. Small differences are chance; look at the answers before leaving somebody out.

    Args:
        scenes: for each scene the votes of the same K >= 3 observers, shape (K, n, n); an observer may have none in a
            scene, and n may differ.
        prior_std: deviation of the Gaussian prior on scores in JOD, which keeps the scales of the others finite.

    Raises:
        ValueError: fewer than 3 observers, scenes with different numbers of them, or an observer without any answer.
    """
    shapes = [np.shape(scene) for scene in scenes]
    if not shapes or min(map(len, shapes)) < 3 or len({shape[0] for shape in shapes}) > 1 or shapes[0][0] < 3:
        raise ValueError(f"Expected scenes with the votes of the same 3 or more observers, shape (K, n, n), got "
                         f"{shapes}; give an observer without votes in a scene zeros.")
    sums, counts = np.sum([_likelihood(scene, prior_std) for scene in scenes], axis=0)
    if not counts.all():
        raise ValueError(f"Expected answers of every observer, got none of {np.flatnonzero(counts == 0).tolist()}; "
                         "leave them out.")
    likelihood = sums / counts
    quartile, upper = np.quantile(likelihood, [0.25, 0.75], method="hazen")  # MATLAB's definition
    below = np.clip(quartile - likelihood, 0, None)
    distance = np.divide(below, upper - quartile, out=np.where(below > 0, np.inf, 0.0), where=upper > quartile)
    return ObserverFit(likelihood, distance)


def _likelihood(observer_wins: ArrayLike, prior_std: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the summed log10-likelihood of each observer given the others, and the number of pairs compared."""
    pairs = to_pairs(observer_wins)
    check_options(pairs.n_items, prior_std, None)
    ahead, behind = pairs.first_wins, pairs.second_wins
    others = pairs._replace(first_wins=ahead.sum(axis=0) - ahead, second_wins=behind.sum(axis=0) - behind)
    scores = newton_scores(others, jod, prior_std)
    difference = scores[:, pairs.first] - scores[:, pairs.second]
    ways = gammaln(ahead + behind + 1) - gammaln(ahead + 1) - gammaln(behind + 1)  # binomial coefficient
    logs = (ways + ahead * jod(difference)[0] + behind * jod(-difference)[0]) / np.log(10)
    return logs.sum(axis=1), (ahead + behind > 0).sum(axis=1)


def _one_vote_each(preferences: ArrayLike) -> np.ndarray:
    """Returns preferences as booleans, shape (K, n, n)."""
    votes = np.asarray(preferences)
    if votes.ndim not in (2, 3) or votes.shape[-1] != votes.shape[-2] or not np.isin(votes, (0, 1)).all():
        raise ValueError(f"Expected 0 and 1 in shape (K, n, n), got shape {votes.shape} with other values or ties; "
                         "leave trials without a preference out.")
    votes = votes.astype(bool).reshape(-1, *votes.shape[-2:])
    if (votes & votes.transpose(0, 2, 1)).any():
        raise ValueError("Expected one answer for each pair, got both i preferred to j and j preferred to i, or an "
                         "item compared with itself; a circle needs one answer each.")
    return votes
