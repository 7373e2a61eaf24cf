"""Splits into training, validation and test part that keep all versions of a content on one side.

Where every image is a content of its own (photographs as people took them), these are random splits of images. The
random numbers come from NumPy's ``RandomState``, whose stream is frozen: a seed means the same split everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

OFFICIAL_NAMES = {"training": "train", "train": "train", "validation": "validation", "test": "test"}
PARTS = ("train", "validation", "test")


def content_splits(contents: ArrayLike, *, n_splits: int = 10, test_share: float = 0.2,
                   seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns ``n_splits`` pairs (train, test) of row numbers; no content is on both sides.

    Args:
        contents: the content of each image, shape (n,), any labels.
        n_splits: how many independent splits.
        test_share: share of the contents (not of the images) in the test part, at least one content.
        seed: split k is drawn from ``RandomState([seed, k])``, so more splits do not change the first ones.

    Raises:
        ValueError: a missing content, fewer than 2 contents, or a share outside 0 to 1.
    """
    codes, n_contents = content_codes(contents, minimum=2)
    n_test = share_of(n_contents, test_share)
    splits = []
    for k in range(n_splits):
        test = np.isin(codes, np.random.RandomState([seed, k]).permutation(n_contents)[:n_test])
        splits.append((np.flatnonzero(~test), np.flatnonzero(test)))
    return splits


def content_folds(contents: ArrayLike, *, n_folds: int = 5, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns ``n_folds`` pairs (train, test) of row numbers for cross-validation; every content is tested once.

    Args:
        contents: as :func:`content_splits`.
        n_folds: between 2 and the number of contents.
        seed: decides which contents stand together.

    Raises:
        ValueError: a missing content, or fewer contents than folds.
    """
    codes, n_contents = content_codes(contents, minimum=max(2, n_folds))
    folds = np.array_split(np.random.RandomState(seed).permutation(n_contents), n_folds)
    tests = [np.isin(codes, fold) for fold in folds]
    return [(np.flatnonzero(~test), np.flatnonzero(test)) for test in tests]


def train_validation_test(contents: ArrayLike, *, shares: Sequence[float] = (0.6, 0.2, 0.2),
                          seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the row numbers of training, validation and test part; no content is in two of them.

    Args:
        contents: as :func:`content_splits`; at least 3.
        shares: of the contents; validation and test part get at least one.
        seed: decides the split.
    """
    codes, n_contents = content_codes(contents, minimum=3)
    if len(shares) != 3 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"Expected three positive shares that sum to 1, got {tuple(shares)}.")
    n_test = share_of(n_contents, shares[2], rest=2)
    n_validation = share_of(n_contents, shares[1], rest=n_test + 1)
    order = np.random.RandomState(seed).permutation(n_contents)
    test, validation, rest = np.split(order, [n_test, n_test + n_validation])
    return tuple(np.flatnonzero(np.isin(codes, part)) for part in (rest, validation, test))


def official_split(column: ArrayLike) -> dict[str, np.ndarray]:
    """Returns the row numbers of each part of a release's own split, by the names train, validation, test.

    Args:
        column: the index's column ``split``; "training" counts as "train".

    Raises:
        ValueError: a row without a part, or a part of another name.
    """
    column = pd.Series(np.asarray(column, dtype=object))
    parts = column.map(OFFICIAL_NAMES)
    if parts.isna().any():
        unknown = column[parts.isna()].unique()[:3]
        raise ValueError(f"Expected the parts {', '.join(OFFICIAL_NAMES)} in column split, got {list(unknown)} in "
                         f"{int(parts.isna().sum())} rows; this database has no official split for all its images.")
    return {part: np.flatnonzero(parts == part) for part in PARTS if (parts == part).any()}


def content_codes(contents: ArrayLike, *, minimum: int) -> tuple[np.ndarray, int]:
    """Returns a number 0, 1, ... for each row's content, in sorted order of the labels, and how many there are."""
    labels = pd.Series(np.asarray(contents))
    if labels.isna().any():
        raise ValueError(f"Expected a content for every image, {int(labels.isna().sum())} of {len(labels)} have none; "
                         "number the images where each is a content of its own.")
    codes, unique = pd.factorize(labels, sort=True)
    if len(unique) < minimum:
        raise ValueError(f"Expected at least {minimum} contents to split, got {len(unique)}.")
    return codes, len(unique)


def share_of(n: int, share: float, *, rest: int = 1) -> int:
    """Returns how many of n contents a share is: rounded, at least one, and at least ``rest`` are left over."""
    if not 0 < share < 1:
        raise ValueError(f"Expected a share between 0 and 1, got {share:g}.")
    return min(max(1, round(share * n)), n - rest)
