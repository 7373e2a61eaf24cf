"""gMAD: two models compete by the pair of images that the one calls very different and the other equally good.

Papers: K. Ma, Q. Wu, Z. Wang, Z. Duanmu, H. Yong, H. Li, L. Zhang, "Group MAD competition: a new methodology to compare
    objective image quality models", CVPR 2016; K. Ma et al., "Group maximum differentiation competition: model
    comparison with few samples", IEEE TPAMI 42(4), 2020. Ancestor: Z. Wang, E. P. Simoncelli, Journal of Vision 8(12),
    2008, which synthesises the images instead of selecting them.
Reference: the analysis scripts of the authors' toolbox (data_analysis.m and K. Tsukida's scale_ml.m), read in a copy.
    The search for pairs was not in it.
Deviations: (1) The optimisation of scale_ml, there a conic program, is done by Newton's method. (2) Models that nobody
    beats, or who beat nobody, have no finite maximum-likelihood place, which is an error here unless a prior is given.
Chapter: 19

The images are chosen to embarrass: results say which model breaks first, not how good models are on usual images.
Report :func:`random_pairs` as control. Scores must be on one scale of 0 to 100, higher is better, for instance by
:func:`iqa_lab.evaluation.waterloo.opinion_scale`. Equal candidates: the image with the smallest row number is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.sparse.csgraph import connected_components
from scipy.special import log_ndtr

N_LEVELS = 6  # rank in data_analysis.m
HALF_WIDTH = 9.0  # of a level, in units of the common scale (data_analysis.m)
PREFERENCE = 100.0  # the largest: surely better; -100 surely worse
ITERATIONS, SMALLEST_STEP = 100, 1e-10

#: (attackers' scores of a level's images, (M, k), their rows, (k,)) -> rows of the better and of the worse, each (M,)
Choice = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def gmad_pairs(scores: ArrayLike, *, n_levels: int = N_LEVELS, half_width: float = HALF_WIDTH,
               contents: ArrayLike | None = None) -> pd.DataFrame:
    """Returns the pair of each attacker in each level of each defender.

    A defender's levels have their centres at equal distances over the range of its scores; where the range is small,
    they overlap. Among the images whose score lies within the half width, the attacker chooses the best and the worst
    by its own scores. Memory beside the scores is at most a copy of them.

    Args:
        scores: on one scale of 0 to 100, higher is better, shape (M, n).
        n_levels: of each defender.
        half_width: of a level; keep it below the defender's own error.
        contents: of each image: the two images are then of different contents.

    Returns:
        A row per pair with ``attacker, defender`` (row numbers of scores), ``level`` (from 0, the worst), ``n_images``
        in the level, ``better, worse`` (row numbers of images, as the attacker sees them), ``gap`` (the attacker's
        difference, >= 0) and ``defender_gap`` (the defender's, of the same two). Levels with fewer than two images (or
        contents) are left out.

    Raises:
        ValueError: another shape, NaN, fewer than 2 models, or no pair at all.
    """
    table = check_table(scores)
    if contents is None:
        return competition(table, levels(table, n_levels, half_width), extremes)
    codes = pd.factorize(np.asarray(contents))[0]
    if codes.shape != table[0].shape or (codes < 0).any():
        raise ValueError(f"Expected a content for each of {table.shape[1]} images, got {len(codes)} or missing ones.")
    chosen = levels(table, n_levels, half_width)
    chosen = ((defender, level, rows) for defender, level, rows in chosen if np.ptp(codes[rows]) > 0)
    return competition(table, chosen, lambda sub, rows: extremes_of_contents(sub, codes[rows]))


def random_pairs(scores: ArrayLike, *, n_levels: int = N_LEVELS, half_width: float = HALF_WIDTH,
                 seed: int = 0) -> pd.DataFrame:
    """Returns the control: in each level two images drawn at random, instead of the attacker's choice.

    All attackers get the same two images, and the one that the attacker scores higher is its better one.

    Args and returns: as :func:`gmad_pairs`.
    """
    table, random = check_table(scores), np.random.RandomState(seed)

    def two(sub: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, second = random.choice(len(rows), 2, replace=False)
        swap = sub[:, first] < sub[:, second]
        return np.where(swap, second, first), np.where(swap, first, second)

    return competition(table, levels(table, n_levels, half_width), two)


def levels(table: np.ndarray, n_levels: int, half_width: float) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yields each defender's levels with two images or more: defender, level, and the rows of the images in it."""
    for defender, own in enumerate(table):
        step = np.ptp(own) / n_levels
        for level in range(n_levels):
            rows = np.flatnonzero(np.abs(own - (own.min() + (level + 0.5) * step)) < half_width)
            if len(rows) >= 2:
                yield defender, level, rows


def competition(table: np.ndarray, chosen: Iterator[tuple[int, int, np.ndarray]], choose: Choice) -> pd.DataFrame:
    """Returns the table of :func:`gmad_pairs` for these levels and this choice of two images."""
    parts, attackers = [], np.arange(len(table))
    for defender, level, rows in chosen:
        better, worse = (rows[k] for k in choose(table[:, rows], rows))
        gap, defender_gap = (table[k, better] - table[k, worse] for k in (attackers, defender))
        part = pd.DataFrame({"attacker": attackers, "defender": defender, "level": level, "n_images": len(rows),
                             "better": better, "worse": worse, "gap": gap, "defender_gap": defender_gap})
        parts.append(part[attackers != defender])
    if not parts:
        raise ValueError("Expected levels with at least two images, got none; use more images or wider levels.")
    return pd.concat(parts, ignore_index=True).sort_values(["attacker", "defender", "level"], ignore_index=True)


def extremes(sub: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the places of the largest and of the smallest score of each attacker, (M, k) -> (M,) and (M,).

    Where an attacker ties all images, the two are the first and the second image, with a gap of 0.
    """
    best, worst = sub.argmax(axis=1), sub.argmin(axis=1)
    return best, np.where(best == worst, 1, worst)


def extremes_of_contents(sub: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the places of the pair of two contents that differs most for each attacker, (M, k) -> (M,) and (M,).

    The pair has the best image or the worst one of all in it: it is the best one with the worst of other contents, or
    the worst one with the best of other contents.
    """
    attackers, best, worst = np.arange(len(sub)), sub.argmax(axis=1), sub.argmin(axis=1)
    worst_of_others = np.where(codes == codes[best][:, None], np.inf, sub).argmin(axis=1)
    best_of_others = np.where(codes == codes[worst][:, None], -np.inf, sub).argmax(axis=1)
    gaps = (sub[attackers, best] - sub[attackers, worst_of_others],
            sub[attackers, best_of_others] - sub[attackers, worst])
    keep_best = gaps[0] >= gaps[1]
    return np.where(keep_best, best, best_of_others), np.where(keep_best, worst_of_others, worst)


def proxy_preference(pairs: pd.DataFrame, proxy: ArrayLike) -> np.ndarray:
    """Returns, for want of people, how much a proxy prefers the better image of each pair, -100 to 100.

    Call results from this **proxy adjudication**: they say who agrees with the proxy. It must be far better than the
    models in the competition, a consensus of full-reference models, say, and not be one of them.

    Args:
        pairs: from :func:`gmad_pairs`.
        proxy: quality of each image on the scale 0 to 100, shape (n,).
    """
    quality, last = np.asarray(proxy, dtype=float), pairs[["better", "worse"]].to_numpy().max()
    if quality.ndim != 1 or len(quality) <= last or not np.isfinite(quality).all():
        raise ValueError(f"Expected a finite proxy score for each image, got shape {quality.shape}.")
    return np.clip(quality[pairs["better"]] - quality[pairs["worse"]], -PREFERENCE, PREFERENCE)


def aggressiveness_and_resistance(pairs: pd.DataFrame, preference: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns the matrices A and R, each (M, M), 0 to 100, with zero diagonal (data_analysis.m).

    A[i, j]: how much people prefer what attacker i calls better, where defender j sees no difference; at least 0.
    R[j, i]: how alike the pairs of attacker i really are, which defender j calls equal: 100 - |preference|.
    Both are means over the levels, weighted with the number of images in each.

    Args:
        pairs: from :func:`gmad_pairs`.
        preference: for the better image of each pair, -100 to 100, mean over people or :func:`proxy_preference`.
    """
    value = np.asarray(preference, dtype=float)
    if value.shape != (len(pairs),) or not (np.abs(value) <= PREFERENCE).all():
        raise ValueError(f"Expected a preference from -100 to 100 for each of {len(pairs)} pairs, got shape "
                         f"{value.shape} or other values.")
    m = int(pairs[["attacker", "defender"]].to_numpy().max()) + 1
    cell = (pairs["attacker"] * m + pairs["defender"]).to_numpy()
    weight = pairs["n_images"].to_numpy(dtype=float)
    total = np.bincount(cell, weight, m * m)
    if (total.reshape(m, m) + np.eye(m) == 0).any():
        raise ValueError("Expected pairs of every attacker with every defender, got some without; use more images or "
                         "wider levels.")
    means = [np.divide(np.bincount(cell, weight * v, m * m), total, out=np.zeros(m * m), where=total > 0).reshape(m, m)
             for v in (value, PREFERENCE - np.abs(value))]
    return np.maximum(means[0], 0), means[1].T


def global_ranking(matrix: ArrayLike, *, prior_std: float | None = None) -> np.ndarray:
    """Returns the place of each model on one scale, shape (M,), mean 0, higher is better (scale_ml.m).

    The places s maximise the likelihood sum matrix[i, j] log Phi(s_i - s_j): Thurstone's Case V with A or R as counts
    of wins of row over column. The function is concave, so Newton's method with halved steps finds its maximum.

    Args:
        matrix: A or R of :func:`aggressiveness_and_resistance`, >= 0; the diagonal is ignored.
        prior_std: as in :func:`iqa_lab.subjective.ranking.fit_scale`: None is maximum likelihood; a number is the
            deviation of an independent Gaussian prior around 0, in units of the places. Each model then has a finite
            place, drawn towards 0. An entry of 100 weighs as much as 100 votes; of a model without a win, or without
            a loss, the prior decides how far away it is, so report the number.

    Raises:
        ValueError: another shape, negative values, a prior_std that is not positive, or, without a prior, models that
            cannot be placed: some have no win (direct or through others) against the rest.
    """
    wins = np.array(matrix, dtype=float)
    if wins.ndim != 2 or len(wins) < 2 or wins.shape[1] != len(wins) or not (np.isfinite(wins) & (wins >= 0)).all():
        raise ValueError(f"Expected values >= 0 of shape (M, M), M >= 2, got shape {wins.shape} or other values.")
    if prior_std is not None and not 0 < prior_std < np.inf:
        raise ValueError(f"Expected a positive prior_std, got {prior_std}; None is no prior.")
    np.fill_diagonal(wins, 0)
    n_groups, group = connected_components(wins > 0, directed=True, connection="strong")
    if n_groups > 1 and prior_std is None:
        raise ValueError(f"Expected models that all beat each other, if through others, got {n_groups} groups "
                         f"{group.tolist()} of which one never loses to another; these have no finite place: leave them "
                         "out, or give prior_std.")
    total = wins.sum() or 1.0  # only a prior gets this far without a win
    wins, precision = wins / total, 0.0 if prior_std is None else prior_std**-2 / total
    places = np.zeros(len(wins))
    for _ in range(ITERATIONS):
        value, gradient, hessian = likelihood(places, wins, precision)
        step = np.linalg.solve(hessian - 1 / len(wins), gradient)  # the constant direction, in which nothing changes
        size = 1.0
        while likelihood(places - size * step, wins, precision)[0] < value and size > SMALLEST_STEP:
            size /= 2
        places = places - size * step
        if np.abs(step).max() < SMALLEST_STEP:
            break
    return places - places.mean()


def likelihood(places: np.ndarray, wins: np.ndarray, precision: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Returns the log likelihood with its gradient, (M,), and its matrix of second derivatives, (M, M).

    ``precision`` is 1 / prior_std^2 of a Gaussian prior on the places, 0 for none.
    """
    d = places[:, None] - places
    log_share = log_ndtr(d)
    slope = np.exp(-d * d / 2 - log_share) / np.sqrt(2 * np.pi)  # of log Phi
    first, second = wins * slope, -wins * slope * (d + slope)
    both = second + second.T
    value = (wins * log_share).sum() - precision / 2 * (places @ places)
    gradient = first.sum(axis=1) - first.sum(axis=0) - precision * places
    return float(value), gradient, np.diag(both.sum(axis=1) - precision) - both


def check_table(scores: ArrayLike) -> np.ndarray:
    """Returns the scores as a float array of shape (M, n)."""
    table = np.asarray(scores, dtype=float)
    if table.ndim != 2 or len(table) < 2 or table.shape[1] < 2 or not np.isfinite(table).all():
        raise ValueError(f"Expected finite scores of at least 2 models and 2 images, shape (M, n), got {table.shape}; "
                         "leave out images without a score.")
    return table
