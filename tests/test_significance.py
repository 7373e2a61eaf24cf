"""Significance: golden numbers, second implementations, and how often each test is wrong on simulated data."""

from math import nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from simulated_shares import spread

from iqa_lab.evaluation.significance import (
    beats_matrix,
    benjamini_hochberg,
    correct_matrix,
    f_tests,
    friedman,
    holm,
    mcnemar,
)

SIMULATIONS = 2000


def test_the_f_test_s_golden_numbers_and_critical_values():
    found = f_tests([[1, -2, 3, -1, 2, -3, 1, -1], [2, -3, 4, -2, 1, -4, 3, -1]])
    assert found.f[0, 1] == pytest.approx(2.0, abs=1e-12) and found.f[1, 0] == pytest.approx(0.5, abs=1e-12)
    assert found.p_value[0, 1] == pytest.approx(.19036, abs=5e-6)
    assert found.p_value + found.p_value.T == pytest.approx(np.ones((2, 2)))
    random = np.random.default_rng(0)
    for n, critical in ((779, 1.1253), (866, 1.1184), (1162, 1.1014), (3000, 1.0619), (10125, 1.0332)):
        e = stats.zscore(random.normal(size=n), ddof=1)
        assert f_tests([e, e * np.sqrt(critical)]).p_value[0, 1] == pytest.approx(.05, abs=2e-4)


def test_the_f_test_is_right_for_independent_gaussian_residuals_and_too_weak_on_the_same_images():
    random = np.random.default_rng(0)
    rates = []
    for shared in (0.0, 0.9):
        common = np.sqrt(shared) * random.normal(size=(SIMULATIONS, 1, 50))
        e = common + np.sqrt(1 - shared) * random.normal(size=(SIMULATIONS, 2, 50))
        rates.append(np.mean([f_tests(pair).p_value[0, 1] < .05 for pair in e]))
    assert abs(rates[0] - .05) < spread(.05, SIMULATIONS)
    assert rates[1] < 0.01


def test_residuals_that_are_not_gaussian_are_reported():
    random = np.random.default_rng(0)
    found = f_tests([random.normal(size=2000), random.laplace(size=2000), random.choice([-1.0, 1.0], 2000)])
    assert found.gaussian.tolist() == [True, False, False]
    assert found.kurtosis == pytest.approx([3, 6, 1], abs=0.7)
    with pytest.raises(ValueError, match="residuals are constant"):
        f_tests([[1, 1, 1], [1, 2, 3]])
    with pytest.raises(ValueError, match="finite residuals"):
        f_tests([[1, nan, 1], [1, 2, 3]])


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.booleans()] * 3), min_size=1, max_size=25))
def test_mcnemar_is_the_binomial_test_of_the_pairs_that_differ(answers):
    correct = np.array(answers).T
    p = mcnemar(correct)
    for i in range(3):
        for j in range(3):
            b, c = int((correct[i] & ~correct[j]).sum()), int((~correct[i] & correct[j]).sum())
            slow = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
            assert p[i, j] == pytest.approx(slow, abs=1e-12)


def test_mcnemar_s_size_is_at_most_5_of_100_and_other_answers_are_refused():
    random = np.random.default_rng(0)
    correct = random.random((SIMULATIONS, 2, 200)) < .8
    rate = np.mean([mcnemar(answers)[0, 1] < .05 for answers in correct])
    assert 0.02 < rate < .05 + spread(.05, SIMULATIONS)  # an exact test of counts stays below its level
    with pytest.raises(ValueError, match="right \\(1\\) or wrong \\(0\\)"):
        mcnemar([[0, 2], [1, 1]])


def test_friedman_is_scipy_s_and_nemenyi_s_difference_is_the_table_s():
    criteria = np.random.default_rng(0).normal(size=(8, 4)) + [0, 0, 1, 3]
    found = friedman(criteria)
    assert (found.statistic, found.p_value) == pytest.approx(stats.friedmanchisquare(*criteria.T))
    assert found.mean_ranks == pytest.approx(stats.rankdata(-criteria, axis=1).mean(axis=0))
    # q at alpha .05 for 4 and 10 metrics: 2.569 and 3.164 (Demsar 2006, table 5a)
    assert found.critical_difference == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 8)), rel=5e-4)
    ten = friedman(np.random.default_rng(1).normal(size=(20, 10)))
    assert ten.critical_difference == pytest.approx(3.164 * np.sqrt(10 * 11 / (6 * 20)), rel=5e-4)


def test_the_bars_of_a_critical_difference_plot():
    far = friedman(np.tile([4.0, 3.0, 2.0, 1.0], (50, 1)))  # mean ranks 1, 2, 3, 4; a difference of 0.66
    assert far.mean_ranks.tolist() == [1, 2, 3, 4] and far.cliques == []
    near = friedman(np.tile([4.0, 3.0, 2.0, 1.0], (15, 1)))  # 1.21: neighbours only
    assert near.cliques == [(0, 1), (1, 2), (2, 3)]
    assert friedman(np.tile([4.0, 3.0, 2.0, 1.0], (5, 1))).cliques == [(0, 2), (1, 3)]  # 2.10
    same = friedman(np.ones((5, 4)))
    assert (same.statistic, same.p_value, same.cliques) == (0.0, 1.0, [(0, 3)])
    for bad in (np.ones((1, 4)), np.ones((5, 2)), [[1, 2, nan]] * 3):
        with pytest.raises(ValueError, match="Expected"):
            friedman(bad)


def test_friedman_s_and_nemenyi_s_size():
    tables = np.random.default_rng(0).normal(size=(SIMULATIONS, 20, 5))
    found = [friedman(table) for table in tables]
    assert abs(np.mean([f.p_value < .05 for f in found]) - .05) < spread(.05, SIMULATIONS) + 0.005  # chi-square limit
    any_pair = np.mean([np.ptp(f.mean_ranks) > f.critical_difference for f in found])
    assert any_pair < .05 + spread(.05, SIMULATIONS)


def slow_holm(p):
    """Steps down: the k-th smallest times how many are left, never below the one before."""
    adjusted, so_far = [0.0] * len(p), 0.0
    for k, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        so_far = max(so_far, min(1.0, (len(p) - k) * p[i]))
        adjusted[i] = so_far
    return adjusted


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_corrections_are_the_slow_definitions(p):
    assert holm(p) == pytest.approx(slow_holm(p), abs=1e-12)
    m, order = len(p), sorted(range(len(p)), key=lambda i: p[i])
    slow = [min(min(1.0, p[order[j]] * m / (j + 1)) for j in range(order.index(i), m)) for i in range(m)]
    assert benjamini_hochberg(p) == pytest.approx(slow, abs=1e-12)
    assert (holm(p) >= benjamini_hochberg(p) - 1e-12).all() and (holm(p) >= np.array(p) - 1e-12).all()


def test_holm_keeps_the_chance_of_any_false_finding_at_5_of_100():
    p = np.random.default_rng(0).random((SIMULATIONS, 20))
    any_found = np.array([holm(row).min() < .05 for row in p])
    assert abs(any_found.mean() - (1 - .9975**20)) < spread(.05, SIMULATIONS) and (p.min(axis=1) < .05).mean() > .6
    with pytest.raises(ValueError, match="p-values from 0 to 1"):
        holm([0.1, nan])


def test_who_beats_whom():
    differences = np.array([[0, .1, .2], [-.1, 0, .1], [-.2, -.1, 0]])
    p = np.array([[1, .04, .001], [.04, 1, .2], [.001, .2, 1]])
    assert beats_matrix(differences, p).tolist() == [[0, 1, 1], [-1, 0, 0], [-1, 0, 0]]
    corrected = correct_matrix(p, holm)  # of three comparisons
    assert corrected == pytest.approx(np.array([[1, .08, .003], [.08, 1, .2], [.003, .2, 1]]))
    assert beats_matrix(differences, corrected).tolist() == [[0, 0, 1], [0, 0, 0], [-1, 0, 0]]
    assert beats_matrix(differences, p, alpha=.01).sum() == 0 and beats_matrix(differences, p, alpha=.01)[0, 2] == 1
    with pytest.raises(ValueError, match="differences that are antisymmetric"):
        beats_matrix(np.abs(differences), p)
    with pytest.raises(ValueError, match="p-values that are symmetric"):
        beats_matrix(differences, np.triu(p))
    with pytest.raises(ValueError, match="finite p-values"):
        correct_matrix([[1, nan], [nan, 1]], holm)
    with pytest.raises(ValueError, match="one shape"):
        beats_matrix(differences, np.ones((2, 2)))
