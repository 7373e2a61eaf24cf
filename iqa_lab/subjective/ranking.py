"""Comparisons to scores: Bradley-Terry, Thurstone's Case V and JOD by maximum likelihood, any number of items.

Paper: R. A. Bradley, M. E. Terry, "Rank analysis of incomplete block designs: I. The method of paired comparisons",
    Biometrika 39(3/4), 1952, doi:10.2307/2334029; L. L. Thurstone, "A law of comparative judgment", Psychological
    Review 34(4), 1927, doi:10.1037/h0070288; M. Perez-Ortiz, R. K. Mantiuk, "A practical guide and software for
    analysing pairwise comparison experiments", arXiv:1712.03686 (JOD).
Reference: mantiuk/pwcmp at 07876b2 (pw_scale.m); Netflix/sureal at 526715c (pc_subjective_model.py).
Deviations: (1) Newton's method on the scores; the log-likelihood of both models is concave in them, so that there is
    one maximum. SUREAL iterates on exp(score), pwcmp uses fminunc. (2) The prior is Gaussian on the scores; pwcmp's
    default is a prior on distances, made of the likelihoods of all pairs, plus 0.1. (3) Standard errors come from the
    second derivatives of the log-likelihood. SUREAL has ``n / pp * 2`` where ``n / pp ** 2`` is meant for
    Bradley-Terry, and weights Thurstone's by all votes instead of the votes each way: not copied. (4) pwcmp holds the
    mean near 0 by a penalty; here it is exactly 0.
Chapter: 16
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg
from scipy.special import expit, log_expit, log_ndtr, ndtri

from iqa_lab.subjective.comparisons import Pairs, check_determined, to_pairs

JOD_SIGMA = 1 / ndtri(0.75)  # 1.4826: one JOD apart, 75 % prefer the better one
MAX_STEPS, MAX_HALVINGS = 200, 40
CONVERGED = 1e-16  # squared distance to the maximum, in standard errors; the last step still squares it
DENSE_ITEMS = 1000  # above, Newton steps by conjugate gradients: a dense matrix would be slow and large

#: Of a score difference d: log P(preferred), its first derivative, and minus its second, each of d's shape.
Link = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


class Scale(NamedTuple):
    """Scores of n items with what their uncertainty is computed from."""

    scores: np.ndarray  # (n,), higher is better
    zero_item: int | None  # whose score is 0; None: the mean is 0
    information: sparse.csr_array  # (n, n) minus the second derivatives of the log-posterior
    log_likelihood: float  # sum of wins[i, j] log P(i preferred to j), without the prior
    pairs: Pairs


def bradley_terry(difference: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns log P with P = 1 / (1 + exp(-d)), and its derivatives as a ``Link``; scores are log strengths."""
    other = expit(-difference)
    return log_expit(difference), other, other * expit(difference)


def thurstone(difference: np.ndarray, sigma: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns log P with P = Phi(d / sigma), and its derivatives as a ``Link``.

    Case V: all items have the same spread and are independent; sigma is the deviation of a difference of two.
    """
    z = difference / sigma
    log_p = log_ndtr(z)
    hazard = np.exp(-z**2 / 2 - log_p) / np.sqrt(2 * np.pi)  # phi / Phi
    return log_p, hazard / sigma, hazard * (hazard + z) / sigma**2


def jod(difference: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns log P with P = Phi(d / 1.4826) as a ``Link``; scores are in just-objectionable differences, JOD."""
    return thurstone(difference, JOD_SIGMA)


def fit_scale(wins: ArrayLike | sparse.sparray, link: Link, *, prior_std: float | None = None,
              zero_item: int | None = None) -> Scale:
    """Returns the scores that make the comparisons likeliest: the maximum of sum_ij wins[i, j] log P(s_i - s_j).

    Args:
        wins: how often i was preferred to j, shape (n, n), NumPy or sparse; a tie is half a vote for each side
            (:func:`iqa_lab.subjective.comparisons.comparison_matrix`).
        link: :func:`bradley_terry`, :func:`thurstone` or :func:`jod`.
        prior_std: None is maximum likelihood. A number is the deviation, in units of the scores, of an independent
            Gaussian prior around 0 (the mode of the posterior is returned). It keeps unanimous votes finite, draws all
            scores towards 0, most of all those of items with few comparisons, and is the only thing that places parts
            without a comparison between them: the mean of each is 0.
        zero_item: the item whose score is 0, such as a reference; None sets the mean to 0. Differences are the same.

    Raises:
        ValueError: as :func:`iqa_lab.subjective.comparisons.to_pairs`; without a prior also as
            :func:`iqa_lab.subjective.comparisons.check_determined`; a prior_std that is not positive, or a zero_item
            that does not exist.
    """
    pairs = to_pairs(wins)
    if len(pairs.first_wins) != 1:
        raise ValueError(f"Expected counts of shape (n, n), got {len(pairs.first_wins)} sets; add them up, or use "
                         "bootstrap_scores.")
    check_options(pairs.n_items, prior_std, zero_item)
    if prior_std is None:
        check_determined(pairs)
    scores = newton_scores(pairs, link, prior_std)
    likelihood, _, curvature = _derivatives(scores, pairs, link)
    information = _information(pairs, curvature[0], _precision(prior_std))
    return Scale(gauged(scores, zero_item)[0], zero_item, information, float(likelihood[0]), pairs)


def preference(scores: ArrayLike, link: Link) -> np.ndarray:
    """Returns P(i preferred to j) for all pairs, shape (n, n), 0.5 on the diagonal.

    Args:
        scores: shape (n,), in the unit of the link.
        link: as :func:`fit_scale`.
    """
    scores = np.asarray(scores, dtype=float)
    return np.exp(link(scores[:, None] - scores)[0])


def newton_scores(pairs: Pairs, link: Link, prior_std: float | None) -> np.ndarray:
    """Returns the scores of each of B sets of votes, shape (B, n), by Newton's method with halved steps.

    Raises:
        ValueError: no maximum within the steps, which a check with ``check_determined`` before excludes.
    """
    precision = _precision(prior_std)
    scores = np.zeros((len(pairs.first_wins), pairs.n_items))
    for _ in range(MAX_STEPS):
        likelihood, slope, curvature = _derivatives(scores, pairs, link)
        gradient = slope @ incidence(pairs) - precision * scores
        step = _newton_step(pairs, curvature, gradient, precision)
        value = likelihood - precision / 2 * np.square(scores).sum(axis=1)
        scores = _ascend(scores, step, value, lambda new: _derivatives(new, pairs, link)[0]
                         - precision / 2 * np.square(new).sum(axis=1))
        if (gradient * step).sum(axis=1).max() < CONVERGED:
            return scores
    raise ValueError(f"Expected scores within {MAX_STEPS} Newton steps, got none; give prior_std, or fewer extreme "
                     "preferences.")


def gauged(scores: np.ndarray, zero_item: int | None) -> np.ndarray:
    """Returns scores, shape (..., n), moved so that one item, or with None the mean, is 0."""
    return scores - (scores.mean(axis=-1) if zero_item is None else scores[..., zero_item])[..., None]


def check_options(n_items: int, prior_std: float | None, zero_item: int | None) -> None:
    """Raises the errors on options that :func:`fit_scale` documents."""
    if prior_std is not None and not 0 < prior_std < np.inf:
        raise ValueError(f"Expected a positive prior_std, got {prior_std}; None is no prior.")
    if zero_item is not None and not 0 <= zero_item < n_items:
        raise ValueError(f"Expected a zero_item from 0 to {n_items - 1}, got {zero_item}; None sets the mean to 0.")


def incidence(pairs: Pairs) -> sparse.csr_array:
    """Returns the matrix of shape (P, n) that takes scores to differences: 1 at the first item, -1 at the second."""
    n_pairs = len(pairs.first)
    rows = np.tile(np.arange(n_pairs), 2)
    signs = np.repeat([1.0, -1.0], n_pairs)
    return sparse.csr_array((signs, (rows, np.concatenate([pairs.first, pairs.second]))),
                            shape=(n_pairs, pairs.n_items))


def _precision(prior_std: float | None) -> float:
    return 0.0 if prior_std is None else prior_std**-2


def _derivatives(scores: np.ndarray, pairs: Pairs, link: Link) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the log-likelihood, (B,), and its slope and minus its curvature along each difference, (B, P)."""
    difference = scores[:, pairs.first] - scores[:, pairs.second]
    ahead, behind = link(difference), link(-difference)
    likelihood = (pairs.first_wins * ahead[0] + pairs.second_wins * behind[0]).sum(axis=1)
    slope = pairs.first_wins * ahead[1] - pairs.second_wins * behind[1]
    return likelihood, slope, pairs.first_wins * ahead[2] + pairs.second_wins * behind[2]


def _information(pairs: Pairs, curvature: np.ndarray, precision: float) -> sparse.csr_array:
    """Returns minus the second derivatives by the scores, shape (n, n): a weighted graph Laplacian, and the prior."""
    edges = incidence(pairs)
    laplacian = edges.T @ sparse.diags_array(curvature) @ edges
    return sparse.csr_array(laplacian + precision * sparse.eye_array(pairs.n_items))


def _newton_step(pairs: Pairs, curvature: np.ndarray, gradient: np.ndarray, precision: float) -> np.ndarray:
    """Returns the step of each set of votes, shape (B, n), with mean 0."""
    if pairs.n_items > DENSE_ITEMS:
        return np.stack([_sparse_step(_information(pairs, *row, precision), b) for *row, b in zip(curvature, gradient)])
    laplacian = np.zeros((len(curvature), pairs.n_items, pairs.n_items))
    laplacian[:, pairs.first, pairs.second] = laplacian[:, pairs.second, pairs.first] = -curvature
    diagonal = np.arange(pairs.n_items)
    laplacian[:, diagonal, diagonal] = precision - laplacian.sum(axis=2)
    # A constant on all entries fixes the free common shift, and changes nothing else: the gradient sums to 0.
    laplacian += laplacian[:, diagonal, diagonal].mean(axis=1)[:, None, None] / pairs.n_items
    return gauged(np.linalg.solve(laplacian, gradient[..., None])[..., 0], None)


def _sparse_step(information: sparse.csr_array, gradient: np.ndarray) -> np.ndarray:
    """Returns the step as :func:`_newton_step` does, the constant on all entries applied without storing it."""
    diagonal = information.diagonal()
    anchored = LinearOperator(information.shape, lambda step: information @ step + diagonal.mean() * step.mean(),
                              dtype=float)
    step, _ = cg(anchored, gradient, rtol=1e-8, M=sparse.diags_array(1 / diagonal))
    return step - step.mean()


def _ascend(scores: np.ndarray, step: np.ndarray, value: np.ndarray, objective: Callable) -> np.ndarray:
    """Returns scores + step, the step halved for each set of votes until the objective does not fall."""
    for _ in range(MAX_HALVINGS):
        worse = ~(objective(scores + step) >= value - 1e-12 * np.abs(value))
        if not worse.any():
            break
        step = np.where(worse[:, None], step / 2, step)
    return scores + step
