"""Comparisons as counts: lists of trials, both storages, when scores are finite, and what is refused."""

from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from iqa_lab.subjective.comparisons import comparison_matrix, determined, sparse_comparison_matrix, to_pairs
from iqa_lab.subjective.davidson import fit_davidson
from iqa_lab.subjective.ranking import bradley_terry, fit_scale, jod

WINS = np.array([[0, 3], [2, 0]])


def test_lists_of_trials_become_counts():
    wins = comparison_matrix([0, 0, 2], [1, 1, 0], ties=[[1, 2]], n_items=4)
    assert (wins == [[0, 2, 0, 0], [0, 0, 0.5, 0], [1, 0.5, 0, 0], [0, 0, 0, 0]]).all()
    assert (sparse_comparison_matrix([0, 0, 2], [1, 1, 0], ties=[[1, 2]], n_items=4).toarray() == wins).all()
    dense, stored = to_pairs(wins), to_pairs(sparse.csr_array(wins))
    for pairs in (dense, stored):
        votes = dict(zip(zip(pairs.first, pairs.second), zip(pairs.first_wins[0], pairs.second_wins[0])))
        assert votes == {(0, 1): (2, 0), (0, 2): (0, 1), (1, 2): (0.5, 0.5)}


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_the_condition_of_ford_is_the_same_for_one_and_for_many(seed):
    wins = np.random.default_rng(seed).random((8, 5, 5)) < 0.3
    wins &= ~np.eye(5, dtype=bool)
    for votes, finite in zip(wins, determined(wins)):
        if votes.any():
            n_groups = connected_components(sparse.csr_array(votes), connection="strong")[0]
            assert finite == (n_groups == 1)
            if finite:
                assert np.isfinite(fit_scale(votes, bradley_terry).scores).all()
            else:
                with pytest.raises(ValueError, match="Expected (every group|comparisons that connect)"):
                    fit_scale(votes, bradley_terry)


@pytest.mark.parametrize("call, message", [
    (lambda: fit_scale(np.kron(np.eye(3), [[0, 1], [1, 0]]), jod), r"3 parts .*\[0, 1\], \[2, 3\], \[4, 5\]; compare"),
    (lambda: fit_scale([[0, 2, 1], [0, 0, 1], [0, 1, 0]], jod), r"\[0\] that never lost and \[1, 2\] that never won"),
    (lambda: fit_scale(np.zeros((3, 3)), jod), "at least one comparison"),
    (lambda: fit_scale([[0]], jod), "n >= 2"),
    (lambda: fit_scale([[0, nan], [1, 0]], jod), "finite and not negative"),
    (lambda: fit_scale([[0, -1], [1, 0]], jod), "finite and not negative"),
    (lambda: fit_scale([[0, inf], [1, 0]], jod), "finite and not negative"),
    (lambda: fit_scale([[1, 1], [1, 0]], jod), r"items \[0\] compared with themselves"),
    (lambda: fit_scale(np.ones((2, 3, 3)) - np.eye(3), jod), "got 2 sets"),
    (lambda: fit_scale(WINS, jod, prior_std=0), "positive prior_std"),
    (lambda: fit_scale(WINS, jod, zero_item=2), "zero_item from 0 to 1"),
    (lambda: comparison_matrix([0], [1, 2]), "one winner and one loser"),
    (lambda: comparison_matrix([], []), "at least one"),
    (lambda: comparison_matrix([0, 1], [1, 1]), r"items \[1\] compared with themselves"),
    (lambda: comparison_matrix([0], [5], n_items=3), "from 0 to 2"),
    (lambda: comparison_matrix([-1], [1]), "from 0 to 1"),
    (lambda: fit_davidson([[0, 1], [1, 0]], np.zeros((2, 2))), "both with some votes"),
    (lambda: fit_davidson([[0, 1], [1, 0]], [[0, 1], [0, 0]]), "symmetric ties"),
    (lambda: fit_davidson([[0, 1], [0, 0]], [[0, 1], [1, 0]]), "without one exception"),
    (lambda: fit_davidson([[0, 1, 0], [1, 0, 0], [0, 0, 0]], np.ones((3, 3)) * [[0, 1, 0], [1, 0, 0], [0, 0, 0]]),
     "2 parts"),
], ids=["parts", "unanimous", "none", "one", "nan", "negative", "infinite", "itself", "sets", "prior", "zero",
        "lengths", "empty", "same", "number", "below", "tieless", "lopsided", "ordered", "apart"])
def test_what_has_no_scale_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_names_are_not_item_numbers():
    with pytest.raises(TypeError, match="pandas.factorize"):
        comparison_matrix(["a"], ["b"])
