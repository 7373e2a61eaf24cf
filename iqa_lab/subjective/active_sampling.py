"""Which pairs to show next: ASAP and Hybrid-MST by expected information gain, Swiss and random for comparison.

Paper: A. Mikhailiuk, C. Wilmot, M. Perez-Ortiz, D. Yue, R. K. Mantiuk, "Active sampling for pairwise comparisons via
    approximate message passing and information gain maximization", ICPR 2020, arXiv:2004.05691; J. Li, R. Mantiuk,
    J. Wang, S. Ling, P. Le Callet, "Hybrid-MST: a hybrid active sampling strategy for pairwise preference
    aggregation", NeurIPS 2018, arXiv:1810.08851.
Reference: gfxdisp/asap at 90082a3 (python/asap_cpu.py, asap_gpu.py; Swiss-system in an earlier commit, 24ca8a9);
    jingnantes/hybrid-mst at 5e5eac9.
Deviations: (1) Every look-ahead of ASAP starts from the prior, with as many sweeps as the posterior. asap_cpu.py starts
    each from the messages of the pair that it tried before, so that its gains depend on the order of the pairs (in the
    third digit) and are farther from the converged ones. (2) Gains are in nats: half of (the authors' value - n), or
    of (it - 2) in the approximate variant. (3) All pairs are evaluated; the authors can skip unlikely ones at random.
    (4) A spanning tree depends on the order of the gains only, so that weights are ranks, not 1 / gain. (5) Swiss pairs
    neighbours in the order of wins; the authors draw an item at random and pair it with one as near as its nearest.
Chapter: 16
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.special import ndtr, xlogy

from iqa_lab.subjective.comparisons import to_pairs
from iqa_lab.subjective.ranking import bradley_terry, fit_scale, thurstone
from iqa_lab.subjective.ranking_inference import score_covariance

PRIOR_VARIANCE, NOISE = 0.5, 1.0  # pv and the 1 in vgt: of a score, and of the difference that one answer sees
NOISE_APPROXIMATE = 2.0  # the 2 in c of solve_approx: not the same as in the exact variant
SWEEPS = 6  # num_iters
NODES = 30  # n in Active_Learning_MST.m: of the Gauss-Hermite quadrature
VOTES_BEFORE = 0.5  # of Hybrid-MST, each way for every pair (Initial_learning.m)
MEMORY = 4_000_000  # messages that are kept at once
EQUAL = 1e-12  # gains that differ by less are tied, and their order is drawn

#: Of counts, shape (n, n), and a random generator: the pairs to show next, shape (k, 2).
Sampler = Callable[[np.ndarray, np.random.RandomState], np.ndarray]


class Posterior(NamedTuple):
    """Independent Gaussians of n scores; a difference d is preferred with probability Phi(d)."""

    means: np.ndarray  # (..., n)
    variances: np.ndarray  # (..., n)


def posterior(wins: ArrayLike) -> Posterior:
    """Returns the scores' posterior by expectation propagation (TrueSkill), prior N(0, 0.5), shapes (n,).

    Args:
        wins: how often i was preferred to j, shape (n, n); all zeros give the prior.
    """
    winners, losers, votes = _outcomes(wins)
    means, variances = _propagate(winners[None], losers[None], votes, len(wins))
    return Posterior(means[0], variances[0])


def asap_gain(wins: ArrayLike) -> np.ndarray:
    """Returns the expected information gain of one more answer on each pair, in nats, shape (n, n), diagonal 0.

    It is sum over both answers of P(answer) KL(posterior with it || posterior), all items counted.

    Args:
        wins: as :func:`posterior`.
    """
    winners, losers, votes = _outcomes(wins)
    now = posterior(wins)
    first, second = np.triu_indices(len(wins), 1)
    new = np.stack([np.concatenate([first, second]), np.concatenate([second, first])])  # both answers of each pair
    at_once = max(1, MEMORY // (len(winners) + 1))
    divergence = [_divergence(_with_answers(winners, losers, votes, part, len(wins)), now)
                  for part in np.split(new, range(at_once, new.shape[1], at_once), axis=1)]
    first_wins, second_wins = np.concatenate(divergence).reshape(2, -1)
    spread = np.sqrt(NOISE + now.variances[first] + now.variances[second])
    p = ndtr((now.means[first] - now.means[second]) / spread)
    return _symmetric(p * first_wins + (1 - p) * second_wins, len(wins))


def asap_approximate_gain(wins: ArrayLike) -> np.ndarray:
    """Returns the gain as :func:`asap_gain` does, each answer changing its two items only (one ADF update).

    Far faster, and close: use it for more than about 100 items.
    """
    now = posterior(wins)
    i, j = np.triu_indices(len(wins), 1)
    spread = np.sqrt(NOISE_APPROXIMATE + now.variances[i] + now.variances[j])
    gain = 0
    for winner, loser in ((i, j), (j, i)):
        t = (now.means[winner] - now.means[loser]) / spread
        _, ratio, shrink = thurstone(t)  # phi / Phi and psi (psi + t)
        before = Posterior(now.means[[winner, loser]].T, now.variances[[winner, loser]].T)
        after = Posterior(before.means + before.variances * (ratio / spread)[:, None] * [1, -1],
                          before.variances * (1 - before.variances * (shrink / spread**2)[:, None]))
        p = ndtr((now.means[winner] - now.means[loser]) / np.sqrt(NOISE + before.variances.sum(axis=1)))
        gain = gain + p * _divergence(after, before)
    return _symmetric(gain, len(wins))


def hybrid_mst_gain(wins: ArrayLike) -> np.ndarray:
    """Returns the expected information gain of each pair under Bradley-Terry, in nats, shape (n, n), diagonal 0.

    It is the mutual information of the answer and the difference of two scores, whose distribution is the Gaussian of
    the maximum-likelihood fit: E[p log p + q log q] - E[p] log E[p] - E[q] log E[q] with q = 1 - p.

    Args:
        wins: as :func:`posterior`; half a vote each way is added to every pair.
    """
    n = len(wins)
    scale = fit_scale(np.asarray(wins) + VOTES_BEFORE * (1 - np.eye(n)), bradley_terry)
    covariance = score_covariance(scale)
    i, j = np.triu_indices(n, 1)
    spread = np.sqrt(covariance[i, i] + covariance[j, j] - 2 * covariance[i, j])
    nodes, weights = np.polynomial.hermite.hermgauss(NODES)
    difference = (scale.scores[i] - scale.scores[j])[:, None] + np.sqrt(2) * spread[:, None] * nodes
    log_p, q, _ = bradley_terry(difference)
    log_q, p, _ = bradley_terry(-difference)
    mean_p, certain = (p @ weights) / np.sqrt(np.pi), ((p * log_p + q * log_q) @ weights) / np.sqrt(np.pi)
    return _symmetric(certain - xlogy(mean_p, mean_p) - xlogy(1 - mean_p, 1 - mean_p), n)


def spanning_pairs(gain: ArrayLike, random: np.random.RandomState) -> np.ndarray:
    """Returns the n - 1 pairs of the spanning tree with the largest gains, best first, shape (n - 1, 2).

    Every item is in at least one pair, and the pairs connect all items.

    Args:
        gain: shape (n, n), symmetric.
        random: decides between equal gains.
    """
    gain = np.asarray(gain, dtype=float)
    i, j = np.triu_indices(len(gain), 1)
    order = np.lexsort((random.random_sample(len(i)), -np.round(gain[i, j] / EQUAL)))
    rank = np.empty(len(i))
    rank[order] = np.arange(1, len(i) + 1)  # a tree knows the order of its weights only; 0 would be no edge
    tree = minimum_spanning_tree(sparse.csr_array((rank, (i, j)), shape=gain.shape)).tocoo()
    best = np.argsort(tree.data)
    return np.sort(np.stack(tree.coords, axis=1)[best], axis=1)


def asap(wins: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Returns ASAP's batch; before n - 1 answers are there, a random tree (a ``Sampler``)."""
    return _batch(asap_gain, wins, random)


def asap_approximate(wins: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Returns the batch of ASAP's approximate variant (a ``Sampler``).

    It pays on wide scales and loses on narrow ones, as :func:`swiss` does. In 100 simulated experiments, 10 items over
    9 JOD had an RMSE of 0.8 JOD after 50 to 54 answers with either, after 72 with :func:`random_pairs`; over 3 JOD it
    took 72 answers, Swiss 60, and random pairs 45 (chapter 16). What is lost there is the unit, not the order: after
    100 answers the scale is too long by a factor of 1.4 (Swiss 1.25, random pairs 1.05), and SROCC is no lower.
    """
    return _batch(asap_approximate_gain, wins, random)


def hybrid_mst(wins: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Returns the best pair while there are fewer answers than pairs, then a spanning tree (a ``Sampler``)."""
    pairs = spanning_pairs(hybrid_mst_gain(wins), random)  # whose first one is the best of all
    return pairs if np.sum(wins) >= len(wins) * (len(wins) - 1) / 2 else pairs[:1]  # test_on_mst.m


def random_pairs(wins: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Returns n - 1 pairs drawn from all pairs, each at most once (a ``Sampler``)."""
    pairs = np.stack(np.triu_indices(len(wins), 1), axis=1)
    return pairs[random.permutation(len(pairs))[:len(wins) - 1]]


def swiss(wins: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Returns n // 2 pairs of neighbours in the order of wins; with odd n a random item rests (a ``Sampler``).

    :func:`asap_approximate` says on which scales random pairs are better.
    """
    order = np.lexsort((random.random_sample(len(wins)), np.asarray(wins).sum(axis=1)))
    playing = np.delete(order, random.randint(len(order))) if len(order) % 2 else order
    return np.sort(playing.reshape(-1, 2), axis=1)


def _batch(gain: Callable, wins: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    started = np.sum(wins) >= len(wins) - 1  # run_asap: M.sum() < N - 1 draws the gains
    return spanning_pairs(gain(wins) if started else np.zeros(np.shape(wins)), random)


def _outcomes(wins: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the distinct outcomes: winner, loser, and how often, three arrays of shape (E,)."""
    wins = np.asarray(wins, dtype=float)
    if wins.ndim != 2 or wins.shape[0] != wins.shape[1]:
        raise ValueError(f"Expected counts of shape (n, n), got {wins.shape}; start with numpy.zeros((n, n)).")
    if wins.any():
        to_pairs(wins)  # raises what it documents
    winners, losers = np.nonzero(wins)
    return winners, losers, wins[winners, losers]


def _with_answers(winners: np.ndarray, losers: np.ndarray, votes: np.ndarray, new: np.ndarray, n: int) -> Posterior:
    """Returns the posteriors, shapes (H, n), each with one of H new answers, shape (2, H), beside the old ones."""
    rows = np.ones((new.shape[1], 1), dtype=int)
    return _propagate(np.append(rows * winners, new[0][:, None], axis=1),
                      np.append(rows * losers, new[1][:, None], axis=1), np.append(votes, 1), n)


def _propagate(winners: np.ndarray, losers: np.ndarray, votes: np.ndarray, n: int) -> Posterior:
    """Returns the posteriors of H lists of E outcomes, shapes (H, n), by sweeps over all outcomes at once.

    Equal outcomes send equal messages, so that there is one message for each, counted ``votes`` times.
    """
    slot = np.stack([winners, losers]) + n * np.arange(len(winners))[:, None]  # (2, H, E) into (H, n)
    size = len(winners) * n
    precision, shift = np.full(size, 1 / PRIOR_VARIANCE), np.zeros(size)  # shift: precision times mean
    sent, sent_mean = np.zeros((2, *slot.shape))  # messages from outcomes to the winner and to the loser
    for _ in range(SWEEPS):
        cavity = precision[slot] - sent
        mean = (shift[slot] - sent * sent_mean) / cavity
        variance = NOISE + (1 / cavity).sum(axis=0)  # of the difference that the answer saw
        t = (mean[0] - mean[1]) / np.sqrt(variance)
        _, ratio, shrink = thurstone(t)  # moments of the Gaussian above 0
        gained = shrink / (1 - shrink) / variance  # precision of the answer's own factor: 1 / (v (1 - shrink)) - 1 / v
        seen = mean[0] - mean[1] + np.sqrt(variance) * ratio / shrink  # and its mean
        sent = 1 / (NOISE + 1 / gained + 1 / cavity[::-1])
        sent_mean = mean[::-1] + np.stack([seen, -seen])
        precision = 1 / PRIOR_VARIANCE + np.bincount(slot.ravel(), (votes * sent).ravel(), size)
        shift = np.bincount(slot.ravel(), (votes * sent * sent_mean).ravel(), size)
    return Posterior((shift / precision).reshape(-1, n), (1 / precision).reshape(-1, n))


def _divergence(new: Posterior, old: Posterior) -> np.ndarray:
    """Returns KL(new || old) in nats, summed over the items."""
    ratio = new.variances / old.variances
    moved = (new.means - old.means) ** 2 / old.variances
    return 0.5 * (ratio - 1 - np.log(ratio) + moved).sum(axis=-1)


def _symmetric(values: np.ndarray, n: int) -> np.ndarray:
    """Returns values of the pairs i < j in a symmetric matrix, shape (n, n)."""
    matrix = np.zeros((n, n))
    matrix[np.triu_indices(n, 1)] = values
    return matrix + matrix.T
