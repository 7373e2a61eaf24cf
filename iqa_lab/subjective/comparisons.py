"""Comparisons as counts: ``wins[i, j]`` is how often item i was preferred to item j, and what such counts can tell.

Paper: L. R. Ford Jr., "Solution of a ranking problem from binary comparisons", American Mathematical Monthly 64(8),
    1957, doi:10.2307/2308513: scores are finite if and only if no group of items won every comparison with the rest.
Reference: mantiuk/pwcmp at 07876b2 for the direction of the matrix (row i preferred to column j).
Deviations: (1) pwcmp links the parts of a disconnected graph by inventing one vote each way between their best items,
    and warns; here it is an error. (2) pwcmp refuses fractions; here a tie may be half a vote for each side.
Chapter: 16
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.sparse.csgraph import connected_components

NAMED_GROUPS, NAMED_ITEMS = 4, 6  # in an error message


class Pairs(NamedTuple):
    """The compared pairs first < second of n items, for B sets of votes."""

    n_items: int
    first: np.ndarray  # (P,) item numbers
    second: np.ndarray  # (P,)
    first_wins: np.ndarray  # (B, P) votes for the first
    second_wins: np.ndarray  # (B, P)


def comparison_matrix(winners: ArrayLike, losers: ArrayLike, *, ties: ArrayLike = (),
                      n_items: int | None = None) -> np.ndarray:
    """Returns ``wins``, shape (n, n), where wins[i, j] is how often i was preferred to j.

    Args:
        winners, losers: item numbers 0 to n - 1 of each decided trial, shape (T,).
        ties: pairs of item numbers without a preference, shape (U, 2); half a vote goes to each side.
        n_items: n; None takes the largest number + 1.

    Raises:
        ValueError: different lengths, an item compared with itself, a number outside 0 to n - 1, or no trial at all.
    """
    return sparse_comparison_matrix(winners, losers, ties=ties, n_items=n_items).toarray()


def sparse_comparison_matrix(winners: ArrayLike, losers: ArrayLike, *, ties: ArrayLike = (),
                             n_items: int | None = None) -> sparse.csr_array:
    """Returns what :func:`comparison_matrix` returns without storing the pairs that were never compared."""
    winners, losers = _item_numbers(winners), _item_numbers(losers)
    tied = _item_numbers(ties).reshape(-1, 2)
    if winners.ndim != 1 or winners.shape != losers.shape:
        raise ValueError(f"Expected one winner and one loser for each trial, got shapes {winners.shape} and "
                         f"{losers.shape}; give two lists of the same length.")
    rows, columns = np.concatenate([winners, *tied.T]), np.concatenate([losers, *tied.T[::-1]])
    if not len(rows):
        raise ValueError("Expected at least one comparison, got none.")
    n = int(max(rows.max(), columns.max())) + 1 if n_items is None else n_items
    if min(rows.min(), columns.min()) < 0 or max(rows.max(), columns.max()) >= n:
        raise ValueError(f"Expected item numbers from 0 to {n - 1}, got {rows.min()} to {rows.max()} and "
                         f"{columns.min()} to {columns.max()}; number the items with pandas.factorize.")
    votes = np.repeat([1.0, 0.5], [len(winners), 2 * len(tied)])
    wins = sparse.coo_array((votes, (rows, columns)), shape=(n, n)).tocsr()  # equal entries are added up
    _check_diagonal(wins.diagonal())
    return wins


def within_rater_preferences(ratings: pd.DataFrame, groups: pd.Series) -> pd.DataFrame:
    """Returns the comparisons that ratings imply: each person prefers the image that he or she rated higher.

    A person's scale and zero cancel, which is why comparisons are derived within persons. They are not comparisons that
    anybody made, and whoever reports them says so.

    Args:
        ratings: a row for each person, a column for each image, higher is better, NaN = not rated.
        groups: of each image, in the order of the columns; images of one group are compared.

    Returns:
        Columns ``first, second, preference`` (share of persons who rated both that rated the first higher; half of a
        person who rated them equal) and ``n_ratings`` (persons who rated both).
    """
    values, found = ratings.to_numpy(float), []
    for columns in pd.Series(np.arange(values.shape[1])).groupby(groups.to_numpy()).indices.values():
        first, second = (columns[side] for side in np.triu_indices(len(columns), 1))
        ahead = np.sign(values[:, first] - values[:, second])  # persons, pairs
        count = np.isfinite(ahead).sum(0)
        share = 0.5 + np.nansum(ahead, 0) / (2 * np.maximum(count, 1))
        names = ratings.columns.to_numpy()
        found.append(pd.DataFrame({"first": names[first], "second": names[second], "preference": share,
                                   "n_ratings": count})[count > 0])
    return pd.concat(found, ignore_index=True)


def to_pairs(wins: ArrayLike | sparse.sparray) -> Pairs:
    """Returns the compared pairs behind counts of preferences.

    Args:
        wins: shape (n, n), NumPy or sparse, or (B, n, n) for B sets of votes (observers, resamples); fractions allowed.

    Raises:
        ValueError: not square, fewer than 2 items, negative or not finite counts, a diagonal, or no comparison.
    """
    stored = wins.data if sparse.issparse(wins) else np.asarray(wins, dtype=float)
    _check_counts(wins.shape if sparse.issparse(wins) else stored.shape, stored)
    if sparse.issparse(wins):
        _check_diagonal(wins.diagonal())
        # Votes both ways as one complex number, so that both share one list of pairs.
        both = sparse.coo_array(sparse.triu(wins) + 1j * sparse.triu(wins.T))
        return Pairs(wins.shape[0], *both.coords, both.data.real[None], both.data.imag[None])
    votes = stored.reshape(-1, *stored.shape[-2:])
    _check_diagonal(np.einsum("bii->i", votes))
    first, second = np.nonzero(np.triu((votes + votes.transpose(0, 2, 1)).any(axis=0)))
    return Pairs(stored.shape[-1], first, second, votes[:, first, second], votes[:, second, first])


def check_determined(pairs: Pairs) -> None:
    """Raises where scores without a prior are not determined by the first set of votes.

    Raises:
        ValueError: items that no chain of comparisons connects (their distance is unknown), or groups that were always
            preferred to the rest (their distance is infinite); the message names them.
    """
    ahead, behind = pairs.first_wins[0] > 0, pairs.second_wins[0] > 0
    winners = np.concatenate([pairs.first[ahead], pairs.second[behind]])
    losers = np.concatenate([pairs.second[ahead], pairs.first[behind]])
    graph = sparse.coo_array((np.ones(len(winners)), (winners, losers)), shape=(pairs.n_items,) * 2).tocsr()
    n_parts, part = connected_components(graph, directed=False)
    if n_parts > 1:
        raise ValueError(f"Expected comparisons that connect all {pairs.n_items} items, got {n_parts} parts without "
                         f"a comparison between them: {_named(part, range(n_parts))}; compare items across them, "
                         "scale each part alone, or give prior_std, which only puts the mean of each part at 0.")
    n_groups, group = connected_components(graph, connection="strong")
    if n_groups > 1:
        across = group[winners] != group[losers]
        top = np.setdiff1d(np.arange(n_groups), group[losers[across]])
        bottom = np.setdiff1d(np.arange(n_groups), group[winners[across]])
        raise ValueError(f"Expected every group of items to win and to lose some comparison with the others, got "
                         f"{_named(group, top)} that never lost and {_named(group, bottom)} that never won: their "
                         "distance would be infinite. Ask more observers, leave these items out, or give prior_std.")


def determined(wins: np.ndarray) -> np.ndarray:
    """Returns for each set of votes, shape (B, n, n), whether scores are finite without a prior, shape (B,).

    The same condition as :func:`check_determined` (every item reaches every other over wins), for many sets at once.
    """
    reaches = ((wins > 0) | np.eye(wins.shape[-1], dtype=bool)).astype(np.float32)
    for _ in range(int(np.ceil(np.log2(wins.shape[-1])))):  # paths of twice the length
        reaches = (reaches @ reaches > 0).astype(np.float32)
    return reaches.all(axis=(1, 2))


def _named(labels: np.ndarray, groups: ArrayLike) -> str:
    """Returns the items of some groups in words, the first few of each."""
    groups = list(groups)
    lists = [np.flatnonzero(labels == group).tolist() for group in groups[:NAMED_GROUPS]]
    texts = [f"{items}" if len(items) <= NAMED_ITEMS else
             f"[{', '.join(map(str, items[:NAMED_ITEMS]))}, ... {len(items)} items]" for items in lists]
    return ", ".join(texts) + (f", ... {len(groups)} groups" if len(groups) > NAMED_GROUPS else "")


def _item_numbers(values: ArrayLike) -> np.ndarray:
    values = np.asarray(values)
    if values.size and values.dtype.kind not in "iu":
        raise TypeError(f"Expected item numbers as integers, got {values.dtype}; number the items with "
                        "pandas.factorize.")
    return values.astype(np.int64)


def _check_counts(shape: tuple[int, ...], stored: np.ndarray) -> None:
    if len(shape) not in (2, 3) or shape[-1] != shape[-2] or shape[-1] < 2:
        raise ValueError(f"Expected counts of shape (n, n) or (B, n, n) with n >= 2, got {shape}; build them with "
                         "comparison_matrix.")
    if not np.isfinite(stored).all() or (stored < 0).any():
        raise ValueError("Expected counts that are finite and not negative, got others; give counts, neither "
                         "probabilities nor differences.")
    if not stored.any():
        raise ValueError("Expected at least one comparison, got none.")


def _check_diagonal(diagonal: np.ndarray) -> None:
    itself = np.flatnonzero(diagonal)
    if len(itself):
        raise ValueError(f"Expected items compared with others, got items {itself[:NAMED_ITEMS].tolist()} compared "
                         "with themselves; leave those trials out.")
