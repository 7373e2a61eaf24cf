"""Tests over repeated splits: slow definitions, SciPy without overlap, and how often they are wrong on simulated data."""

import numpy as np
import pytest
from scipy import stats
from simulated_shares import spread

from iqa_lab.evaluation.over_splits import corrected_resampled_interval, corrected_resampled_t


def test_without_overlap_the_corrected_t_is_the_plain_one():
    d = np.random.default_rng(0).normal(0.3, 1, size=(4, 10))
    found = corrected_resampled_t(d, test_to_train=1e-12)
    plain = stats.ttest_1samp(d, 0, axis=1)
    assert found.statistic == pytest.approx(plain.statistic, rel=1e-9)
    assert found.p_value == pytest.approx(plain.pvalue, rel=1e-9)
    slow = d[0].mean() / np.sqrt((1 / 10 + .25) * d[0].var(ddof=1))
    assert corrected_resampled_t(d[0], test_to_train=.25).statistic == pytest.approx(slow, rel=1e-12)
    assert corrected_resampled_t([0.0, 0.0], test_to_train=.25).p_value == 1
    assert corrected_resampled_t([1.0, 1.0], test_to_train=.25).p_value == 0
    with pytest.raises(ValueError, match="at least 2 splits"):
        corrected_resampled_t([0.1], test_to_train=.25)
    with pytest.raises(ValueError, match="positive ratio"):
        corrected_resampled_t([0.1, 0.2], test_to_train=0)


def test_the_corrected_interval_holds_zero_where_the_test_finds_nothing():
    d = np.random.default_rng(0).normal(0.3, 1, size=(200, 6))
    low, high = corrected_resampled_interval(d, test_to_train=.25)
    found = corrected_resampled_t(d, test_to_train=.25).p_value < .05
    np.testing.assert_array_equal(found, (low > 0) | (high < 0))
    assert 0 < found.mean() < 1 and (low + high) / 2 == pytest.approx(d.mean(1))
    plain = stats.ttest_1samp(d[0], 0).confidence_interval(0.9)
    assert corrected_resampled_interval(d[0], test_to_train=1e-12, alpha=0.1) == pytest.approx(tuple(plain))


def test_over_splits_of_one_database_the_plain_t_finds_far_too_much_and_the_corrected_one_does_not():
    """Two learners that predict a mean or a median of 40 of 50 Gaussians, tested on the other 10, in 10 splits.

    Their errors differ by chance only around a small true difference, which the mean over many databases removes.
    """
    random = np.random.default_rng(0)
    databases = 1000
    y = random.normal(size=(databases, 1, 50))
    order = random.permuted(np.tile(np.arange(50), (databases, 10, 1)), axis=-1)
    shuffled = np.take_along_axis(np.broadcast_to(y, order.shape), order, axis=-1)
    train, test = shuffled[..., :40], shuffled[..., 40:]
    errors = [np.square(test - center[..., None]).mean(axis=-1) for center in (train.mean(-1), np.median(train, -1))]
    d = errors[0] - errors[1]
    d -= d.mean()
    plain = (stats.ttest_1samp(d, 0, axis=1).pvalue < .05).mean()
    corrected = (corrected_resampled_t(d, test_to_train=.25).p_value < .05).mean()
    assert plain > .15 and corrected < .05 + spread(.05, databases)
