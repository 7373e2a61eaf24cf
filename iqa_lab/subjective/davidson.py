"""Comparisons with an answer "no preference": Davidson's model, Bradley-Terry with a parameter for ties.

Paper: R. R. Davidson, "On extending the Bradley-Terry model to accommodate ties in paired comparison experiments",
    Journal of the American Statistical Association 65(329), 1970, doi:10.1080/01621459.1970.10481082.
Reference: none was read.
Deviations: (1) Newton's method on the log strengths and the log of the tie parameter, in which the log-likelihood is
    concave. (2) Where the maximum lies at infinity there is an error; half a vote for each side (comparison_matrix)
    needs no parameter and is finite more often.
Chapter: 16
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linprog
from scipy.special import log_softmax

from iqa_lab.subjective.comparisons import Pairs, check_determined, to_pairs
from iqa_lab.subjective.ranking import CONVERGED, MAX_HALVINGS, MAX_STEPS, check_options, gauged, incidence

#: Of log P(first), log P(second), log P(tie): how they grow with the difference and with the log of the tie parameter.
FEATURES = np.array([[0.5, -0.5, 0], [0, 0, 1]])


class DavidsonScale(NamedTuple):
    """Scores of n items from comparisons with ties."""

    scores: np.ndarray  # (n,) log strengths, mean 0 or one item 0
    covariance: np.ndarray  # (n, n) of the scores
    tie_parameter: float  # nu: two equal items tie with probability nu / (2 + nu)
    log_likelihood: float


def fit_davidson(wins: ArrayLike, ties: ArrayLike, *, zero_item: int | None = None) -> DavidsonScale:
    """Returns the likeliest scores under P(i) : P(j) : P(tie) = p_i : p_j : nu sqrt(p_i p_j), p = exp(score).

    Args:
        wins: how often i was preferred to j, shape (n, n), without ties.
        ties: how often i and j were judged equal, shape (n, n), symmetric, each tie once in [i, j] and once in [j, i].
        zero_item: as :func:`iqa_lab.subjective.ranking.fit_scale`.

    Raises:
        ValueError: as ``fit_scale`` without a prior, ties that are not symmetric, no tie or no win at all, or answers
            whose likeliest scores are infinite.
    """
    wins, ties = np.asarray(wins, dtype=float), np.asarray(ties, dtype=float)
    if wins.ndim != 2 or wins.shape != ties.shape or (ties != ties.T).any() or not (ties.any() and wins.any()):
        raise ValueError(f"Expected wins and symmetric ties of one shape (n, n), both with some votes, got "
                         f"{wins.shape} and {ties.shape}; without ties use fit_scale.")
    pairs = to_pairs(wins + ties)
    check_options(pairs.n_items, None, zero_item)
    check_determined(pairs)  # a tie connects both ways
    first, second = pairs.first, pairs.second
    votes = np.stack([wins[first, second], wins[second, first], ties[first, second]])
    _check_finite(pairs, votes)
    parameters = _newton(pairs, votes)
    log_p = _log_probabilities(parameters, pairs)
    inverse = np.linalg.inv(_anchored(_information(pairs, votes, np.exp(log_p))))[:-1, :-1]
    return DavidsonScale(gauged(parameters[:-1], zero_item), gauged(gauged(inverse, zero_item).T, zero_item),
                         float(np.exp(parameters[-1])), float((votes * log_p).sum()))


def _newton(pairs: Pairs, votes: np.ndarray) -> np.ndarray:
    """Returns the scores and the log tie parameter, shape (n + 1,), at the maximum of the likelihood."""
    parameters = np.zeros(pairs.n_items + 1)
    for _ in range(MAX_STEPS):
        log_p = _log_probabilities(parameters, pairs)
        surplus = FEATURES @ (votes - votes.sum(axis=0) * np.exp(log_p))  # (2, P): observed minus expected
        gradient = np.append(surplus[0] @ incidence(pairs), surplus[1].sum())
        step = np.linalg.solve(_anchored(_information(pairs, votes, np.exp(log_p))), gradient)
        value = (votes * log_p).sum()
        for _ in range(MAX_HALVINGS):
            if (votes * _log_probabilities(parameters + step, pairs)).sum() >= value - 1e-12 * abs(value):
                break
            step = step / 2
        parameters = parameters + step
        if gradient @ step < CONVERGED:
            return parameters
    raise ValueError(f"Expected scores within {MAX_STEPS} Newton steps, got none; give half votes to fit_scale.")


def _log_probabilities(parameters: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Returns log P(first), log P(second) and log P(tie), shape (3, P)."""
    difference = parameters[pairs.first] - parameters[pairs.second]
    return log_softmax(FEATURES.T @ np.stack([difference, np.full_like(difference, parameters[-1])]), axis=0)


def _information(pairs: Pairs, votes: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Returns minus the second derivatives, shape (n + 1, n + 1): the covariance of the features of each answer."""
    mean = FEATURES @ p  # (2, P)
    spread = votes.sum(axis=0) * (np.einsum("fa,ga,ap->fgp", FEATURES, FEATURES, p) - mean[:, None] * mean)
    edges = incidence(pairs).toarray()
    scores, cross = edges.T * spread[0, 0] @ edges, spread[0, 1] @ edges
    return np.block([[scores, cross[:, None]], [cross[None], spread[1, 1].sum()]])


def _anchored(information: np.ndarray) -> np.ndarray:
    """Returns it with a constant on the entries of the scores, which fixes their free common shift at 0."""
    anchored = information.copy()
    anchored[:-1, :-1] += np.diag(information)[:-1].mean() / (len(information) - 1)
    return anchored


def _check_finite(pairs: Pairs, votes: np.ndarray) -> None:
    """Raises where a rising tie parameter and growing differences, by 2 for each win, would always raise likelihood."""
    edges = incidence(pairs)
    ahead, behind, tied = (row > 0 for row in votes)
    won, drawn = edges[ahead | behind], edges[tied]
    target = np.where(ahead, 2.0, -2.0)[ahead | behind]
    possible = not (ahead & behind).any() and linprog(
        np.zeros(pairs.n_items), A_ub=np.concatenate([drawn.toarray(), -drawn.toarray()]),
        b_ub=np.full(2 * int(tied.sum()), 2.0), A_eq=won.toarray(), b_eq=target, bounds=(None, None)).status == 0
    if possible:
        raise ValueError("Expected answers that bound the differences of scores, got wins and ties that agree with an "
                         "order without one exception: the likeliest scores are infinite. Give half votes to fit_scale "
                         "with prior_std.")
