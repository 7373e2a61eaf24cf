"""Splits: contents stay together, seeds mean the same everywhere, and what cannot be split is refused."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iqa_lab.evaluation.splits import content_splits, official_split, train_validation_test

contents_lists = st.lists(st.sampled_from("abcdefgh"), min_size=8, max_size=60).filter(lambda c: len(set(c)) >= 4)


@given(contents_lists, st.floats(0.05, 0.95), st.integers(0, 1000))
def test_no_content_is_on_both_sides_and_every_row_is_on_one(contents, share, seed):
    contents = np.array(contents)
    for train, test in content_splits(contents, n_splits=3, test_share=share, seed=seed):
        assert sorted([*train, *test]) == list(range(len(contents))) and len(train) and len(test)
        assert not set(contents[train]) & set(contents[test])
        n = len(set(contents))
        assert len(set(contents[test])) == min(max(1, round(share * n)), n - 1)


@given(contents_lists, st.tuples(*[st.integers(1, 20)] * 3), st.integers(0, 1000))
def test_three_parts_are_disjoint_whatever_the_shares(contents, weights, seed):
    contents, shares = np.array(contents), np.array(weights) / sum(weights)
    parts = train_validation_test(contents, shares=shares, seed=seed)
    assert sorted(np.concatenate(parts)) == list(range(len(contents))) and all(len(part) for part in parts)
    sets = [set(contents[part]) for part in parts]
    assert sum(map(len, sets)) == len(set.union(*sets))


def test_a_split_of_photographs_is_60_20_20():
    parts = train_validation_test([f"photo {i}" for i in range(150)])
    assert [len(part) for part in parts] == [90, 30, 30]


def test_a_seed_means_these_rows_on_every_machine():
    contents = np.repeat(list("abcdefghij"), 2)
    splits = content_splits(contents, n_splits=2, seed=7)
    assert [test.tolist() for _, test in splits] == [[0, 1, 2, 3], [16, 17, 18, 19]]
    parts = train_validation_test(list("abcdefghij"), seed=7)
    assert [part.tolist() for part in parts] == [[1, 3, 4, 6, 7, 9], [0, 2], [5, 8]]


def test_more_splits_keep_the_first_ones_and_seeds_share_none():
    contents = list(range(40))
    few, many, other = (content_splits(contents, n_splits=n, seed=seed) for n, seed in ((2, 0), (5, 0), (5, 1)))
    assert all((a[1] == b[1]).all() for a, b in zip(few, many))
    tests = [tuple(test) for _, test in many + other]
    assert len(set(tests)) == 10


def test_splits_depend_on_the_contents_and_not_on_the_order_of_rows_or_hashes():
    contents = np.array(list("aabbccddee"))
    order = np.random.default_rng(0).permutation(10)
    (_, test), (_, shuffled) = content_splits(contents, n_splits=1)[0], content_splits(contents[order], n_splits=1)[0]
    assert set(contents[test]) == set(contents[order][shuffled])
    code = "from iqa_lab.evaluation.splits import content_splits; print(content_splits(list('fbacdegh'), n_splits=3))"
    runs = [subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True)
            for seed in ("1", "2")]
    assert runs[0].stdout == runs[1].stdout != b""


def test_an_official_split_is_read_by_its_names():
    parts = official_split(["training", "test", "train", "validation"])
    assert {part: rows.tolist() for part, rows in parts.items()} == {"train": [0, 2], "validation": [3], "test": [1]}
    assert list(official_split(["test", "train"])) == ["train", "test"]


@pytest.mark.parametrize("call, message", [
    (lambda: content_splits(["a", "a"]), "at least 2 contents to split, got 1"),
    (lambda: train_validation_test(["a", "b", "b"]), "at least 3 contents"),
    (lambda: content_splits(["a", None]), "1 of 2 have none"),
    (lambda: content_splits(["a", "b"], test_share=1.0), "between 0 and 1, got 1"),
    (lambda: train_validation_test(list("abc"), shares=(0.5, 0.5, 0.5)), "sum to 1"),
    (lambda: official_split(["train", None]), "no official split"),
    (lambda: official_split(["train", "dev"]), r"\['dev'\] in 1 rows"),
], ids=["one", "two", "missing", "share", "shares", "unsplit", "name"])
def test_what_cannot_be_split_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
