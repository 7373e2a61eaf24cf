"""Dependent correlations: golden numbers, and how often intervals and tests are wrong on simulated databases."""

from math import nan

import numpy as np
import pytest
from scipy import stats
from simulated_shares import spread

from iqa_lab.evaluation.dependent_correlations import (
    SPEARMAN,
    correlation_interval,
    dunn_clark,
    hittner,
    independent,
    meng,
    steiger,
    williams,
    zou_interval,
)

# (r1, r2, r12, n): Williams t and p, Steiger z and p, Hittner z and p, Meng z, Zou, Fisher z and p, calculated from
# the formulas of the cocor documentation outside this package.
GOLDEN = [
    ((.95, .93, .90, 100), (1.662707, .099599), (1.653945, .098139), (1.650667, .098807), 1.653727, (-.003748, .048719),
     (1.2075, .2272)),
    ((.921, .903, .95, 300), (2.583091, .010270), (2.563094, .010374), (2.558008, .010527), 2.562581,
     (.004297, .033703), (1.3080, .1909)),
    ((.5, .3, .4, 103), (2.096666, .038546), (2.066098, .038819), (2.063129, .039100), 2.058465, (.010862, .389857),
     (1.6955, .0900)),
]
DEPENDENT = [williams, dunn_clark, steiger, hittner, meng]
SIMULATIONS = 4000


def simulated_correlations(r1, r2, r12, n=60, measure=lambda x: x, seed=0):
    """Returns the three correlations in each of many simulated databases of n images, shape (3, SIMULATIONS)."""
    covariance = [[1, r1, r2], [r1, 1, r12], [r2, r12, 1]]
    x = measure(np.random.default_rng(seed).multivariate_normal(np.zeros(3), covariance, (SIMULATIONS, n)))
    x = x - x.mean(axis=1, keepdims=True)
    x = x / np.sqrt(np.square(x).sum(axis=1, keepdims=True))
    correlations = np.einsum("sni,snj->sij", x, x)
    return correlations[:, [0, 0, 1], [1, 2, 2]].T


@pytest.mark.parametrize("given_, t, z_steiger, z_hittner, z_meng, interval, fisher", GOLDEN)
def test_golden_tests_of_dependent_correlations(given_, t, z_steiger, z_hittner, z_meng, interval, fisher):
    assert williams(*given_) == pytest.approx(t, abs=1e-6)
    assert steiger(*given_) == pytest.approx(z_steiger, abs=1e-6)
    assert hittner(*given_) == pytest.approx(z_hittner, abs=1e-6)
    assert meng(*given_).statistic == pytest.approx(z_meng, abs=1e-6)
    assert zou_interval(*given_) == pytest.approx(interval, abs=1e-6)
    assert independent(given_[0], given_[1], given_[3], given_[3]) == pytest.approx(fisher, abs=5e-5)


def test_golden_intervals_of_one_correlation():
    assert correlation_interval(.9, 160) == pytest.approx((.86573, .92587), abs=5e-6)
    assert correlation_interval(.95, 779) == pytest.approx((.94266, .95642), abs=5e-6)
    ours = stats.pearsonr(*np.random.default_rng(0).normal(size=(2, 30)))
    low, high = ours.confidence_interval(0.9)
    assert correlation_interval(ours.statistic, 30, level=0.9) == pytest.approx((low, high), abs=1e-12)


def test_intervals_hold_the_true_correlation_as_often_as_they_say():
    for level in (0.8, 0.95):
        low, high = correlation_interval(simulated_correlations(.85, .5, .4)[0], 60, level=level)
        assert abs(((low < .85) & (.85 < high)).mean() - level) < spread(level, SIMULATIONS)
    r1, r2, r12 = simulated_correlations(.85, .7, .75)
    low, high = zou_interval(r1, r2, r12, 60)
    # Zou's interval is an approximation: 0.01 beside the spread of the simulation.
    assert abs(((low < .15) & (.15 < high)).mean() - .95) < spread(.95, SIMULATIONS) + 0.01


def test_fieller_s_factor_gives_the_interval_of_a_rank_correlation():
    rho = .7
    true = 6 / np.pi * np.arcsin(rho / 2)  # Spearman's correlation of a bivariate Gaussian
    r = simulated_correlations(rho, .5, .4, measure=lambda x: stats.rankdata(x, axis=1))[0]
    covered = []
    for factor in (SPEARMAN, 1.0):
        low, high = correlation_interval(r, 60, factor=factor)
        covered.append(((low < true) & (true < high)).mean())
    assert abs(covered[0] - .95) < spread(.95, SIMULATIONS) + 0.005  # the mean of r is a little nearer to 0 than the true value
    assert covered[1] < covered[0]


@pytest.mark.parametrize("test", DEPENDENT)
def test_dependent_tests_find_a_difference_that_is_not_there_in_5_of_100(test):
    r1, r2, r12 = simulated_correlations(.8, .8, .75)
    p = test(r1, r2, r12, 60).p_value
    assert abs((p < .05).mean() - .05) < spread(.05, SIMULATIONS)


@pytest.mark.parametrize("test", DEPENDENT[1:])
def test_fieller_s_factor_keeps_the_size_for_rank_correlations(test):
    r1, r2, r12 = simulated_correlations(.8, .8, .75, measure=lambda x: stats.rankdata(x, axis=1))
    rates = [(test(r1, r2, r12, 60, factor=factor).p_value < .05).mean() for factor in (SPEARMAN, 1.0)]
    # The formulas are for Gaussian values. For ranks they are approximate: 0.062 to 0.066 here, 0.072 to 0.075 without.
    assert abs(rates[0] - .064) < spread(.064, SIMULATIONS) and rates[1] > .064


def test_the_test_for_independent_samples_is_far_too_weak_on_the_same_images():
    r1, r2, r12 = simulated_correlations(.8, .8, .75)
    assert (independent(r1, r2, 60, 60).p_value < .05).mean() < 0.01
    r1, r2, r12 = simulated_correlations(.85, .75, .8)
    powers = [(p < .05).mean() for p in (steiger(r1, r2, r12, 60).p_value, independent(r1, r2, 60, 60).p_value)]
    assert powers[0] > 2 * powers[1]
    one, other = (simulated_correlations(.8, .5, .4, seed=seed)[0] for seed in (0, 1))  # on other images it is right
    assert abs((independent(one, other, 60, 60).p_value < .05).mean() - .05) < spread(.05, SIMULATIONS)


@pytest.mark.parametrize("test", DEPENDENT)
def test_all_pairs_of_metrics_at_once_are_the_single_tests(test):
    random = np.random.default_rng(3)
    x = random.normal(size=(50, 1)) + random.normal(size=(50, 5)) * [9, .3, .5, 1, 2]
    correlations = np.corrcoef(x, rowvar=False)
    r, between = correlations[0, 1:], correlations[1:, 1:]
    found = test(r[:, None], r, between, 50)
    assert np.diag(found.p_value).tolist() == [1, 1, 1, 1] and np.diag(found.statistic).tolist() == [0, 0, 0, 0]
    assert found.statistic == pytest.approx(-found.statistic.T, abs=1e-9)
    assert found.p_value[0, 2] == pytest.approx(test(r[0], r[2], between[0, 2], 50).p_value, abs=1e-14)


def test_what_cannot_be_a_correlation_is_refused():
    for call in (lambda: correlation_interval(1.0, 50), lambda: steiger(.5, nan, .5, 50)):
        with pytest.raises(ValueError, match="inside -1 to 1"):
            call()
    with pytest.raises(ValueError, match="at least 4 images, got 3"):
        williams(.5, .4, .3, 3)
    with pytest.raises(ValueError, match="positive semidefinite"):
        meng(.95, -.95, .9, 50)
    with pytest.raises(ValueError, match="level between 0 and 1"):
        correlation_interval(.5, 50, level=95)
