"""Consistency of observers: slow definitions, extremes, the size of the tests, and pwcmp's two odd observers."""

import os
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from iqa_lab.subjective.consistency import (
    circular_triads, coefficient_of_agreement, coefficient_of_consistence, observer_fit)
from iqa_lab.subjective.ranking import JOD_SIGMA, fit_scale, jod

DATA = os.environ.get("IQA_LAB_DATA")


def random_answers(seed, n_observers, n_items):
    """Returns coin tosses for every pair, shape (K, n, n)."""
    upper = np.triu(np.random.default_rng(seed).random((n_observers, n_items, n_items)) < 0.5, 1)
    return (upper | np.triu(~upper, 1).transpose(0, 2, 1)).astype(int)


def ranking_answers(order):
    """Returns the answers of somebody who always prefers the item that comes first in ``order``."""
    rank = np.argsort(order)
    return (rank[:, None] < rank).astype(int)


@given(st.integers(0, 2**32 - 1), st.integers(3, 7), st.floats(0, 1))
@settings(max_examples=40)
def test_triads_are_the_triples_in_a_circle_even_of_incomplete_answers(seed, n, share):
    votes = random_answers(seed, 1, n)[0] * (np.random.default_rng(seed + 1).random((n, n)) < share)
    slow = sum(votes[i, j] and votes[j, k] and votes[k, i] for i, j, k in permutations(range(n), 3)) / 3
    assert circular_triads(votes) == [slow]


@given(st.integers(0, 2**32 - 1), st.integers(3, 9))
@settings(max_examples=40)
def test_triads_are_kendalls_formula_of_row_sums(seed, n):
    votes = random_answers(seed, 4, n)
    wins = votes.sum(axis=2)
    assert circular_triads(votes) == pytest.approx(n * (n - 1) * (2 * n - 1) / 12 - np.square(wins).sum(axis=1) / 2)


def test_consistence_is_1_for_a_ranking_and_0_for_as_many_circles_as_possible():
    assert coefficient_of_consistence(ranking_answers([3, 0, 2, 1])).coefficient == [1]
    for n in (5, 7):  # each item is preferred to the (n - 1) / 2 that follow it on a ring
        ring = np.array([[0 < (j - i) % n <= n // 2 for j in range(n)] for i in range(n)]).astype(int)
        assert coefficient_of_consistence(ring).coefficient == pytest.approx([0], abs=1e-12)
    every = np.zeros((64, 4, 4), dtype=int)  # all 64 sets of answers on 4 items
    for pair, (i, j) in enumerate(combinations(range(4), 2)):
        bit = np.arange(64) >> pair & 1
        every[:, i, j], every[:, j, i] = bit, 1 - bit
    result = coefficient_of_consistence(every)
    assert result.coefficient.min() == 0 and result.coefficient.max() == 1 and np.isnan(result.p_value).all()
    assert np.bincount(result.triads).tolist() == [24, 16, 24]  # Kendall and Babington Smith's counts for n = 4


@pytest.mark.parametrize("n", [8, 9, 12])
def test_coin_tosses_are_called_consistent_as_often_as_the_level_says(n):
    result = coefficient_of_consistence(random_answers(n, 4000, n))
    # The number of triads is a whole number and the curve smooth: 0.015 more than the binomial spread.
    assert (result.p_value < 0.05).mean() == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 4000) + 0.015)
    assert coefficient_of_consistence(ranking_answers(range(n))).p_value < 0.01


def test_agreement_is_the_share_of_pairs_of_observers_that_agree():
    votes = random_answers(0, 6, 5)
    agree = [votes[a, i, j] == votes[b, i, j]
             for a, b in combinations(range(6), 2) for i, j in combinations(range(5), 2)]
    result = coefficient_of_agreement(votes)
    assert result.u == pytest.approx(2 * np.mean(agree) - 1)
    assert coefficient_of_agreement(votes.sum(axis=0)) == result
    same = np.repeat(ranking_answers(range(5))[None], 6, axis=0)
    assert coefficient_of_agreement(same).u == 1
    same[3:] = same[3:].transpose(0, 2, 1)  # half the observers turn all answers round
    assert coefficient_of_agreement(same).u == pytest.approx(-1 / 5)
    assert coefficient_of_agreement(same[:5]).u == pytest.approx(-1 / 5)  # 3 against 2


def test_agreement_of_coin_tosses_is_significant_as_often_as_the_level_says():
    tosses = [coefficient_of_agreement(random_answers(seed, 12, 8)) for seed in range(2000)]
    chi_square, degrees = np.array([t.chi_square for t in tosses]), tosses[0].degrees_of_freedom
    # Kendall's statistic has exactly the mean and the variance of chi-square.
    assert chi_square.mean() == pytest.approx(degrees, abs=4 * np.sqrt(2 * degrees / 2000))
    assert chi_square.var() == pytest.approx(2 * degrees, rel=0.15)
    significant = np.mean([t.p_value < 0.05 for t in tosses])
    assert significant == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 2000) + 0.005)


def simulated_scenes(rng, n_observers, odd):
    """Returns two scenes of 6 and 5 items in which one observer answers the wrong way round."""
    scenes = []
    for n in (6, 5):
        upper = np.triu(rng.standard_normal((n_observers, n, n)) * 1.4826 + np.arange(n)[:, None] - np.arange(n) > 0, 1)
        votes = (upper | np.triu(~upper, 1).transpose(0, 2, 1)).astype(int)
        votes[odd] = ranking_answers(range(n))  # the first is the worst of the others
        scenes.append(votes)
    return scenes


def test_the_observer_who_answers_the_wrong_way_round_stands_out():
    fit = observer_fit(simulated_scenes(np.random.default_rng(0), 15, odd=4))
    assert fit.outlier_distance.argmax() == fit.log10_likelihood.argmin() == 4
    assert fit.outlier_distance[4] > 1.5 and (np.delete(fit.outlier_distance, 4) < 1.5).all()


def test_the_likelihood_is_the_slow_one_with_the_others_scale():
    scenes = simulated_scenes(np.random.default_rng(1), 5, odd=2)
    scenes[0][3] += scenes[0][2]  # an observer who saw every pair of a scene twice
    scenes[1][1] = 0  # one who did not see the scene
    fit = observer_fit(scenes)
    ordered = np.sort(fit.log10_likelihood)  # with 5 values MATLAB's quartiles lie a quarter of the way back and forth
    quartile, upper = 0.25 * ordered[0] + 0.75 * ordered[1], 0.75 * ordered[3] + 0.25 * ordered[4]
    below = np.clip((quartile - fit.log10_likelihood) / (upper - quartile), 0, None)
    assert fit.outlier_distance == pytest.approx(below) and below.max() > 0
    for k, got in enumerate(fit.log10_likelihood):
        logs = []
        for votes in scenes:
            scores = fit_scale(np.delete(votes, k, axis=0).sum(axis=0), jod, prior_std=JOD_SIGMA).scores
            for i, j in combinations(range(len(scores)), 2):
                n = votes[k, i, j] + votes[k, j, i]
                p = stats.norm.cdf((scores[i] - scores[j]) / 1.4826022)
                logs += [np.log10(stats.binom.pmf(votes[k, i, j], n, p))] if n else []
        assert got == pytest.approx(np.mean(logs), abs=1e-6)


def test_observers_who_all_agree_have_no_odd_one():
    same = np.repeat(ranking_answers(range(4))[None], 9, axis=0)
    assert (observer_fit([same]).outlier_distance == 0).all()
    same[2] = same[2].T
    assert np.isinf(observer_fit([same]).outlier_distance).nonzero()[0].tolist() == [2]  # no spread to measure it in


@pytest.mark.skipif(not DATA, reason="comparisons of tone mapping: set IQA_LAB_DATA")
@pytest.mark.parametrize("prior_std", [0.5, JOD_SIGMA, 10])
def test_the_tone_mapping_experiment_has_the_two_odd_observers_of_pwcmp(prior_std):
    trials = pd.read_csv(Path(DATA) / "scores" / "pairwise" / "pwcmp_ex3_tmo_cmp_data.csv")
    names, observer = np.unique(trials["observer"], return_inverse=True)
    codes = np.unique(trials[["condition_A", "condition_B"]].to_numpy(dtype=str), return_inverse=True)[1]
    a, b = codes.reshape(-1, 2).T
    scene = np.unique(trials["scene"], return_inverse=True)[1]
    ahead = trials["is_A_selected"].to_numpy() == 1
    votes = np.zeros((scene.max() + 1, len(names), codes.max() + 1, codes.max() + 1))
    np.add.at(votes, (scene, observer, np.where(ahead, a, b), np.where(ahead, b, a)), 1)
    fit = observer_fit(list(votes), prior_std=prior_std)
    assert votes.sum() == 1213 and len(names) == 18
    assert (fit.outlier_distance > 1.5).sum() == 2  # as pwcmp's README finds with its own prior
    assert set(names[fit.outlier_distance > 1.5]) == {"M02", "bab"}  # ours; the README names nobody


@pytest.mark.parametrize("call, message", [
    (lambda: circular_triads([[0, 0.5], [0.5, 0]]), "other values or ties"),
    (lambda: circular_triads([[0, 1], [1, 0]]), "both i preferred to j"),
    (lambda: circular_triads([0, 1]), r"shape \(K, n, n\)"),
    (lambda: coefficient_of_consistence(np.triu(np.ones((4, 4)), 2)), "3 of 6 answers"),
    (lambda: coefficient_of_consistence([[0, 1], [0, 0]]), "at least 3 items"),
    (lambda: coefficient_of_agreement(random_answers(0, 2, 4)), "same 3 or more observers"),
    (lambda: coefficient_of_agreement(np.triu(np.ones((3, 3)), 2) * 4), "all 3 pairs"),
    (lambda: coefficient_of_agreement([[0, 2.5, 3], [1.5, 0, 3], [1, 1, 0]]), "without ties"),
    (lambda: coefficient_of_agreement([[0, 3, 3], [1, 0, 3], [1, 2, 0]]), "4 to 5 votes"),
    (lambda: observer_fit([]), "same 3 or more observers"),
    (lambda: observer_fit([random_answers(0, 2, 4)]), "same 3 or more observers"),
    (lambda: observer_fit([random_answers(0, 3, 4), random_answers(0, 4, 4)]), "same 3 or more observers"),
    (lambda: observer_fit([random_answers(0, 3, 4) * np.array([1, 0, 1])[:, None, None]]), r"none of \[1\]"),
    (lambda: observer_fit([random_answers(0, 3, 4)], prior_std=0), "positive prior_std"),
], ids=["ties", "both", "shape", "missing", "two items", "two observers", "pairs", "half", "unequal", "no scene",
        "few", "groups", "silent", "prior"])
def test_what_has_no_consistency_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
