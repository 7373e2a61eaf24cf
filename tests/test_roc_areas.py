"""Areas under ROC curves: scikit-learn's numbers, slow definitions, and tests that are wrong in 5 of 100."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from simulated_shares import spread
from sklearn.metrics import roc_auc_score

from iqa_lab.evaluation.roc_areas import (
    Areas,
    area_p_values,
    binomial_p_values,
    delong,
    fisher_p_values,
    hanley_mcneil,
    roc_curve,
    weighted_auc,
)

SIMULATIONS = 1000


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(2, 12), st.sampled_from([3, 1000]))
def test_areas_and_curves_are_scikit_learn_s(seed, n_positive, n_negative, n_values):
    random = np.random.default_rng(seed)
    x, y = random.integers(0, n_values, (2, n_positive)).astype(float), random.integers(0, n_values, (2, n_negative))
    labels = np.repeat([1, 0], [n_positive, n_negative])
    areas = delong(x, y)
    for m in range(2):
        assert areas.auc[m] == pytest.approx(roc_auc_score(labels, np.r_[x[m], y[m]]), abs=1e-12)
        assert np.trapezoid(*roc_curve(x[m], y[m])[::-1]) == pytest.approx(areas.auc[m], abs=1e-12)
    weights = random.integers(0, 3, (4, n_positive)) + 1, random.integers(0, 3, (4, n_negative)) + 1
    found = weighted_auc(x, y.astype(float), *weights)
    for k in range(4):
        cases = np.r_[x[1].repeat(weights[0][k]), y[1].repeat(weights[1][k])]
        slow = roc_auc_score(np.repeat([1, 0], [weights[0][k].sum(), weights[1][k].sum()]), cases)
        assert found[k, 1] == pytest.approx(slow, abs=1e-12)


def test_delong_s_covariance_is_the_slow_definition():
    random = np.random.default_rng(0)
    x, y = random.integers(0, 6, (2, 9)), random.integers(0, 5, (2, 7))
    kernel = (x[:, :, None] > y[:, None, :]) + 0.5 * (x[:, :, None] == y[:, None, :])
    slow = np.cov(kernel.mean(axis=2)) / 9 + np.cov(kernel.mean(axis=1)) / 7
    areas = delong(x, y)
    assert areas.covariance == pytest.approx(slow, abs=1e-14) and areas.auc == pytest.approx(kernel.mean(axis=(1, 2)))
    assert delong(x[:1], y[:1]).covariance == pytest.approx(slow[:1, :1])


def correlated(random, n, mean, simulations=SIMULATIONS):
    """Returns scores of two equally good metrics, correlated by 0.6, shape (simulations, 2, n)."""
    return random.multivariate_normal([mean, mean], [[1, .6], [.6, 1]], (simulations, n)).transpose(0, 2, 1)


def test_on_independent_cases_delong_and_hanley_mcneil_are_wrong_in_5_of_100():
    random = np.random.default_rng(0)
    cases = list(zip(correlated(random, 80, 1), correlated(random, 60, 0)))
    rates = [np.mean([area_p_values(areas(x, y))[0, 1] < .05 for x, y in cases]) for areas in (delong, hanley_mcneil)]
    # Hanley and McNeil's standard errors are not those of Gaussian scores, and tau is nearer to 0 than rho.
    assert abs(rates[0] - .05) < spread(.05, SIMULATIONS) and 0.01 < rates[1] < .05 + spread(.05, SIMULATIONS)


def test_tests_of_shares_are_right_for_independent_answers():
    random = np.random.default_rng(2)
    shares = random.binomial(200, .8, (SIMULATIONS, 2)) / 200
    rates = [np.mean([test(row, 200)[0, 1] < .05 for row in shares]) for test in (binomial_p_values, fisher_p_values)]
    assert abs(rates[0] - .05) < spread(.05, SIMULATIONS) and 0.005 < rates[1] < .05 + spread(.05, SIMULATIONS)  # Fisher's test is conservative
    assert binomial_p_values([1.0, 1.0], 10)[0, 1] == 1 and fisher_p_values([.5, .5], 10).tolist() == [[1, 1], [1, 1]]
    slow = stats.chi2_contingency([[150, 50], [170, 30]], correction=False).pvalue
    assert binomial_p_values([.75, .85], 200)[0, 1] == pytest.approx(slow, rel=1e-9)


def test_equal_metrics_and_a_metric_against_itself_have_p_1():
    x, y = np.random.default_rng(0).normal(size=(2, 1, 20))
    for areas in (delong([x[0] + 1] * 2, [y[0]] * 2), hanley_mcneil([x[0] + 1] * 2, [y[0]] * 2)):
        assert area_p_values(areas) == pytest.approx(np.ones((2, 2)))
    perfect = Areas(np.array([1.0, 0.9]), np.zeros((2, 2)))
    assert area_p_values(perfect)[0, 1] == 0
    assert np.isfinite(hanley_mcneil([[3, 4, 5], [3, 1, 5]], [[0, 1, 2], [0, 4, 2]]).covariance).all()


@pytest.mark.parametrize("call, message", [
    (lambda: delong([[1.0]], [[1.0, 2.0]]), "at least 2 of each"),
    (lambda: delong([[1.0, np.nan]], [[1.0, 2.0]]), "finite values"),
    (lambda: binomial_p_values([1.2], 10), "shares from 0 to 1"),
    (lambda: fisher_p_values([0.5], 0), "n >= 1"),
], ids=["few", "nan", "share", "none"])
def test_what_has_no_area_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
