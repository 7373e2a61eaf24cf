"""Ratings and comparisons, of one or of many datasets, on one quality scale.

Paper: M. Perez-Ortiz, A. Mikhailiuk, E. Zerman, V. Hulusic, G. Valenzise, R. K. Mantiuk, "From pairwise comparisons and
    rating to a unified quality scale", IEEE Transactions on Image Processing 29, 2020, doi:10.1109/TIP.2019.2936103.
Reference: gfxdisp/pwcmp_rating_unified at 040adde (matlab/mixing.m, matlab/examples/mixing_with_ref.m,
    python/merging.py).
Deviations: (1) Each compared pair counts once. The released code sums over both triangles of the matrix, so that each
    counts twice and comparisons weigh too much beside ratings: pair_weight=2. (2) Ratings are standardised inside, so
    that the result does not depend on their unit, and a and c are fitted as logarithms: a stays positive, and
    c at least 0.05, which it would fall below with few ratings. (3) Likelihoods are summed as logarithms; the code
    floors each at 1e-200 or 1e-20. (4) What the data cannot place on the scale is an error; the code lets the prior
    place it. (5) Ratings that fall with quality must be turned round before.
Chapter: 17
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.optimize import minimize
from scipy.sparse.csgraph import connected_components
from scipy.special import gammaln

from iqa_lab.subjective.comparisons import Pairs, to_pairs
from iqa_lab.subjective.ranking import JOD_SIGMA, incidence, jod

SIGMA = JOD_SIGMA / np.sqrt(2)  # of one item, JOD
SMALLEST_C = 0.05  # relative noise of ratings: below, a dataset with few ratings would have none
MAX_ITERATIONS, OUT_OF_ITERATIONS = 20_000, 1  # of SciPy's status
MEMORY = 60  # steps that L-BFGS remembers: where few comparisons leave the scale nearly free, 10 need four times as many


class Ratings(NamedTuple):
    """Standardised ratings of n items, as far as the likelihood needs them."""

    dataset: np.ndarray  # (n,) 0 to D - 1
    count: np.ndarray  # (n,) ratings of each item
    mean: np.ndarray  # (n,) 0 without ratings
    scatter: np.ndarray  # (n,) sum of squared deviations from that mean
    centre: np.ndarray  # (D,) in the unit of the ratings; NaN without ratings
    unit: np.ndarray  # (D,)


class UnifiedScale(NamedTuple):
    """One scale for all items, and how each dataset's ratings relate to it: Normal(a q + b, (a c 1.0484)^2)."""

    scores: np.ndarray  # (n,) q, JOD
    a: np.ndarray  # (D,) units of rating for a JOD, positive; NaN without ratings, as b and c
    b: np.ndarray  # (D,) rating at 0 JOD
    c: np.ndarray  # (D,) above 1: ratings are noisier than comparisons
    loss: float  # minus the log-posterior, with all constants
    zero_items: np.ndarray  # whose score is 0 by definition


def unify(wins: ArrayLike | sparse.sparray, ratings: ArrayLike, datasets: ArrayLike, *, pair_weight: float = 1.0,
          zero_items: Sequence[int] = (0,)) -> UnifiedScale:
    """Returns the likeliest scores behind comparisons and ratings together.

    Comparisons are binomial with P(i preferred to j) = Phi((q_i - q_j) / 1.4826); ratings of dataset d are
    Normal(a_d q_i + b_d, a_d c_d 1.0484); scores have the prior Normal(mean of q, sqrt(n) 1.0484).

    Args:
        wins: how often i was preferred to j, shape (n, n), NumPy or sparse.
        ratings: of each item by each observer, higher is better, NaN where there is none, shape (n, K).
        datasets: number 0 to D - 1 of the dataset of each item, shape (n,).
        pair_weight: 2 reproduces the released code, see the deviations.
        zero_items: items whose score is 0: one, or the reference of each dataset (take its ratings off first).

    Raises:
        ValueError: shapes that do not fit, infinite ratings, a dataset whose ratings are all equal, zero_items that do
            not exist, items or datasets that no comparison places on the common scale, or no convergence.
    """
    pairs, ratings = to_pairs(wins), summarise(ratings, datasets)
    zero = np.unique(np.asarray(zero_items, dtype=int))
    if len(ratings.count) != pairs.n_items or len(pairs.first_wins) != 1:
        raise ValueError(f"Expected counts of shape (n, n) and ratings of shape (n, K), got {len(pairs.first_wins)} "
                         f"sets of {pairs.n_items} items and {len(ratings.count)} rows of ratings.")
    if not len(zero) or zero[0] < 0 or zero[-1] >= pairs.n_items:
        raise ValueError(f"Expected zero_items from 0 to {pairs.n_items - 1}, at least one, got {zero.tolist()}.")
    if not 0 < pair_weight < np.inf:
        raise ValueError(f"Expected a positive pair_weight, got {pair_weight}; 1 counts each comparison once.")
    check_linked(pairs, ratings, zero)
    free = np.setdiff1d(np.arange(pairs.n_items), zero)
    n_datasets, n_free = len(ratings.unit), len(free)

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        scores = np.zeros(pairs.n_items)
        scores[free] = x[:n_free]
        loss, by_scores, by_line = _loss(scores, x[n_free:].reshape(3, -1), pairs, ratings, pair_weight)
        return loss, np.concatenate([by_scores[free], by_line.ravel()])

    start = np.zeros(n_free + 3 * n_datasets)  # q = 0, a = 1, b = 0, c = 1
    bounds = [(None, None)] * (n_free + 2 * n_datasets) + [(np.log(SMALLEST_C), None)] * n_datasets
    result = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={
        "maxiter": MAX_ITERATIONS, "maxfun": MAX_ITERATIONS, "ftol": 1e-15, "gtol": 1e-8, "maxcor": MEMORY})
    if result.status == OUT_OF_ITERATIONS:  # a line search that finds nothing lower has converged as far as digits go
        raise ValueError(f"Expected a common scale within {MAX_ITERATIONS} iterations, got none ({result.message}); "
                         "compare more pairs across the datasets.")
    return _unified(result.x[:n_free], result.x[n_free:].reshape(3, -1), free, ratings, float(result.fun))


def summarise(ratings: ArrayLike, datasets: ArrayLike) -> Ratings:
    """Returns the ratings of each item in the form that the likelihood needs; raises what :func:`unify` documents."""
    values, dataset = np.asarray(ratings, dtype=float), np.asarray(datasets)
    if values.ndim != 2 or dataset.shape != values.shape[:1] or dataset.dtype.kind not in "iu":
        raise ValueError(f"Expected ratings of shape (n, K) and the number of each item's dataset, shape (n,), got "
                         f"{values.shape} and {dataset.shape} of {dataset.dtype}; number them with pandas.factorize.")
    if dataset.min() < 0 or np.isinf(values).any():
        raise ValueError("Expected dataset numbers from 0 and ratings that are finite or NaN, got others.")
    groups = [values[dataset == number] for number in range(dataset.max() + 1)]
    rated = [group[np.isfinite(group)] for group in groups]
    flat = [number for number, group in enumerate(rated) if len(group) and group.min() == group.max()]
    if flat:
        raise ValueError(f"Expected ratings that differ in each dataset, got one value only in {flat}; give NaN there.")
    centre = np.array([group.mean() if len(group) else np.nan for group in rated])
    unit = np.array([group.std() if len(group) else np.nan for group in rated])
    standard = (values - centre[dataset, None]) / unit[dataset, None]
    count = np.isfinite(standard).sum(axis=1)
    mean = np.nansum(standard, axis=1) / np.maximum(count, 1)
    return Ratings(dataset, count, mean, np.nansum((standard - mean[:, None]) ** 2, axis=1), centre, unit)


def check_linked(pairs: Pairs, ratings: Ratings, zero: np.ndarray) -> None:
    """Raises where scores are not determined: a part of the items, or a dataset's line, can move without any trace.

    Items that comparisons (or zero_items) connect form a part, with one shift; items that were only rated, one each,
    follow the line of their dataset.

    Raises:
        ValueError: with the items, or the parts and datasets, that are not tied to the rest.
    """
    to_zero = sparse.csr_array((np.ones(len(zero)), (np.zeros(len(zero), dtype=int), zero)), (1, pairs.n_items))
    edges = abs(sparse.vstack([incidence(pairs), to_zero]))
    part = connected_components(edges.T @ edges, directed=False)[1]
    joint = np.bincount(part) > 1
    lost = np.flatnonzero(~joint[part] & (ratings.count == 0))
    if len(lost):
        raise ValueError(f"Expected ratings or comparisons of every item, got none of items {lost[:6].tolist()}; "
                         "leave them out.")
    parts = np.flatnonzero(joint)
    number = np.where(joint, np.cumsum(joint) - 1, -1)
    loose = _moving(ratings, number[part])
    if loose.any():
        groups = [np.flatnonzero(part == k)[:6].tolist() for k in parts[loose[:len(parts)]]]
        lines = np.flatnonzero(loose[len(parts):].reshape(2, -1).any(axis=0)).tolist()
        raise ValueError(f"Expected comparisons that place everything on one scale, got parts {groups} (first items) "
                         f"and datasets {lines} that are not tied to the rest; compare items of each dataset with each "
                         "other and with those of other datasets.")


def _moving(ratings: Ratings, part: np.ndarray) -> np.ndarray:
    """Returns which of the P parts' shifts, the D lines' slopes and their offsets are free, booleans (P + 2 D,).

    Each rated item of a part ties three of them by an equation, which is linear near any scores. Scores in general
    position (random ones) have no more solutions than they must.

    Args:
        part: of each item, 0 to P - 1, or -1: an item that was only rated brings one unknown and one equation.
    """
    n_parts, n_datasets = part.max() + 1, len(ratings.unit)
    rows = np.flatnonzero((part >= 0) & (ratings.count > 0))
    equations = np.zeros((len(rows) + 1 + 2 * n_datasets, n_parts + 2 * n_datasets))
    number, line = np.arange(len(rows)), n_parts + ratings.dataset[rows]
    equations[number, part[rows]] = equations[number, line + n_datasets] = 1
    equations[number, line] = np.random.RandomState(0).standard_normal(len(rows))
    equations[len(rows), 0] = 1  # the shift of one part is the zero of the scale
    no_line = np.flatnonzero(np.tile(np.isnan(ratings.unit), 2))  # datasets without ratings need none
    equations[len(rows) + 1 + no_line, n_parts + no_line] = 1
    _, values, directions = np.linalg.svd(equations.T @ equations)
    return (np.abs(directions[values < 1e-9 * values[0]]) > 1e-6).any(axis=0)


def _loss(scores: np.ndarray, line: np.ndarray, pairs: Pairs, ratings: Ratings,
          pair_weight: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Returns minus the log-posterior, and its derivatives by the scores, (n,), and by log a, b and log c, (3, D)."""
    from_pairs, slope = _pair_loss(scores, pairs)
    from_ratings, by_scores, by_line = _rating_loss(scores, line, ratings)
    deviation, spread = scores - scores.mean(), np.sqrt(len(scores)) * SIGMA
    prior = np.square(deviation / spread).sum() / 2 + len(scores) * np.log(spread * np.sqrt(2 * np.pi))
    return (pair_weight * from_pairs + from_ratings + prior,
            pair_weight * (slope @ incidence(pairs)) + by_scores + deviation / spread**2, by_line)


def _pair_loss(scores: np.ndarray, pairs: Pairs) -> tuple[float, np.ndarray]:
    """Returns minus the binomial log-likelihood, and its derivative by each difference, (P,)."""
    ahead, behind = pairs.first_wins[0], pairs.second_wins[0]
    difference = scores[pairs.first] - scores[pairs.second]
    (log_p, rise, _), (log_q, fall, _) = jod(difference), jod(-difference)
    ways = gammaln(ahead + behind + 1) - gammaln(ahead + 1) - gammaln(behind + 1)
    return -float((ways + ahead * log_p + behind * log_q).sum()), behind * fall - ahead * rise


def _rating_loss(scores: np.ndarray, line: np.ndarray, ratings: Ratings) -> tuple[float, np.ndarray, np.ndarray]:
    """Returns minus the log-likelihood of the ratings, and its derivatives as :func:`_loss`."""
    group, count = ratings.dataset, ratings.count
    log_a, b, log_c = line[:, group]
    a, noise = np.exp(log_a), np.exp(log_a + log_c) * SIGMA
    miss = ratings.mean - a * scores - b
    squares = (ratings.scatter + count * miss**2) / noise**2
    # Standardised ratings are narrower by the unit: its logarithm belongs to the density.
    log_unit = np.log(np.where(np.isfinite(ratings.unit), ratings.unit, 1))[group]
    loss = (count * (np.log(noise * np.sqrt(2 * np.pi)) + log_unit) + squares / 2).sum()
    pull = -count * miss / noise**2
    by_item = np.stack([pull * a * scores + count - squares, pull, count - squares])
    by_line = np.stack([np.bincount(group, row, line.shape[1]) for row in by_item])
    return float(loss), pull * a, by_line


def _unified(free_scores: np.ndarray, line: np.ndarray, free: np.ndarray, ratings: Ratings,
             loss: float) -> UnifiedScale:
    """Returns the result in the units of the ratings."""
    scores = np.zeros(len(ratings.count))
    scores[free] = free_scores
    log_a, b, log_c = line
    known = np.where(np.isfinite(ratings.unit), 1, np.nan)
    return UnifiedScale(scores, ratings.unit * np.exp(log_a), ratings.centre + ratings.unit * b,
                        known * np.exp(log_c), loss, np.setdiff1d(np.arange(len(scores)), free))
