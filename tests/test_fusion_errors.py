"""Errors of a unified scale: second derivatives by differences, special cases, and coverage on simulated data."""

from math import nan

import numpy as np
import pytest
from scipy import stats

from iqa_lab.subjective import fusion
from iqa_lab.subjective.comparisons import to_pairs
from iqa_lab.subjective.fusion import summarise, unify
from iqa_lab.subjective.fusion_errors import second_derivatives, unified_covariance
from iqa_lab.subjective.ranking import JOD_SIGMA, fit_scale, jod
from iqa_lab.subjective.ranking_inference import confidence_intervals, score_covariance

TRUE = np.array([0, 0.8, 1.7, 2.5, 0.3, 1.1, 2.2, 3])
DATASETS = np.repeat([0, 1], 4)
A, B, C = np.array([[1, 20], [3, 40], [0.8, 1.2]])[:, DATASETS]
SIMULATIONS = 500
SPREAD = np.sqrt(0.95 * 0.05 / SIMULATIONS)


def simulate(rng, n_votes, n_raters):
    """Returns votes on all pairs and ratings of 8 items in two datasets."""
    first, second = np.triu_indices(8, 1)
    wins = np.zeros((8, 8))
    wins[first, second] = rng.binomial(n_votes, stats.norm.cdf((TRUE[first] - TRUE[second]) / JOD_SIGMA))
    wins[second, first] = n_votes - wins[first, second]
    noise = (A * C * JOD_SIGMA / np.sqrt(2))[:, None] * rng.standard_normal((8, n_raters))
    return wins, (A * TRUE + B)[:, None] + noise


def test_second_derivatives_are_differences_of_the_first():
    rng = np.random.default_rng(0)
    wins, ratings = simulate(rng, 6, 5)
    ratings[2] = nan
    pairs, summary = to_pairs(wins), summarise(ratings, DATASETS)

    def first(x):
        _, by_scores, by_line = fusion._loss(x[:8], x[8:].reshape(3, 2), pairs, summary, 1.0)
        return np.concatenate([by_scores, by_line.ravel()])

    for _ in range(5):
        x = rng.normal(size=14) / 2
        slow = np.array([(first(x + step) - first(x - step)) / 2e-5 for step in 1e-5 * np.eye(14)])
        got = second_derivatives(x[:8], x[8:].reshape(3, 2), pairs, summary)
        assert got == pytest.approx(slow, abs=1e-6 * np.abs(slow).max())


def test_without_ratings_it_is_the_covariance_of_comparisons():
    wins, _ = simulate(np.random.default_rng(1), 2000, 1)  # so many that the two priors do not matter
    nothing = np.full((8, 1), nan), np.zeros(8, dtype=int)
    scale = unify(wins, *nothing)
    expected = score_covariance(fit_scale(wins, jod, zero_item=0))
    assert unified_covariance(scale, wins, *nothing) == pytest.approx(expected, rel=0.01, abs=1e-9)


def test_ratings_make_scores_surer_and_zero_items_are_known():
    wins, ratings = simulate(np.random.default_rng(2), 6, 20)
    data = wins, ratings, DATASETS
    errors = np.diag(unified_covariance(unify(*data), *data))
    without = wins, np.full((8, 1), nan), DATASETS
    assert (errors[1:] < np.diag(unified_covariance(unify(*without), *without))[1:]).all() and errors[0] == 0
    both = np.diag(unified_covariance(unify(*data, zero_items=(0, 4)), *data))
    assert (both[[0, 4]] == 0).all() and (np.delete(both, [0, 4]) > 0).all()
    with pytest.raises(ValueError, match="scale of 8 items"):
        unified_covariance(unify(*data), *data[:1], ratings[:7], DATASETS[:7])


def test_95_per_cent_intervals_contain_the_truth_95_times_in_100():
    rng, covered = np.random.default_rng(3), []
    for _ in range(SIMULATIONS):
        wins, ratings = simulate(rng, 20, 20)
        scale = unify(wins, ratings, DATASETS)
        interval = confidence_intervals(scale.scores, unified_covariance(scale, wins, ratings, DATASETS))
        covered.append((interval[1:, 0] <= TRUE[1:]) & (TRUE[1:] <= interval[1:, 1]))
    # 0.01 more: a, c and the scores are maxima for 8 items, and the prior draws the scores in by about 1 %.
    assert np.mean(covered, axis=0) == pytest.approx(np.full(7, 0.95), abs=3.5 * SPREAD + 0.01)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)
