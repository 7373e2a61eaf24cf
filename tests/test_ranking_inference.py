"""Errors of scales: golden numbers, second derivatives by differences, and coverage measured on simulated observers."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize

from iqa_lab.subjective.davidson import fit_davidson
from iqa_lab.subjective.ranking import bradley_terry, fit_scale, jod, preference, thurstone
from iqa_lab.subjective.ranking_inference import (
    bootstrap_scores, confidence_intervals, difference_test, goodness_of_fit, observer_covariance, percentile_intervals,
    score_covariance)

WINS = np.array([[0, 3, 2, 7], [1, 0, 6, 3], [4, 3, 0, 0], [1, 2, 5, 0]])
TRUE = np.array([-1.2, -0.6, 0.0, 0.3, 1.5])  # mean 0
SIMULATIONS = 600
SPREAD = np.sqrt(0.95 * 0.05 / SIMULATIONS)  # binomial standard deviation of a measured 95 %


def simulate(link, n_votes, seed, true=TRUE):
    """Returns votes of SIMULATIONS experiments in which every pair was compared n_votes times."""
    rng = np.random.default_rng(seed)
    first, second = np.triu_indices(len(true), 1)
    wins = np.zeros((SIMULATIONS, len(true), len(true)))
    ahead = rng.binomial(n_votes, preference(true, link)[first, second], (SIMULATIONS, len(first)))
    wins[:, first, second], wins[:, second, first] = ahead, n_votes - ahead
    return wins


def test_golden_standard_errors_with_the_first_item_fixed():
    scale = fit_scale(WINS, jod, zero_item=0)
    errors = np.sqrt(np.diag(score_covariance(scale)))
    assert errors == pytest.approx([0, 0.5762, 0.5387, 0.5370], abs=6e-5)  # four digits are printed
    interval = confidence_intervals(scale.scores, score_covariance(scale))
    assert interval[:, 1] == pytest.approx(scale.scores + 1.959964 * errors, abs=1e-6) and (interval[0] == 0).all()


@pytest.mark.parametrize("link", [bradley_terry, thurstone, jod])
@pytest.mark.parametrize("prior_std", [None, 0.8])
def test_covariance_is_the_inverse_of_second_differences(link, prior_std):
    scale = fit_scale(WINS, link, prior_std=prior_std, zero_item=3)

    def loss(scores):
        prior = 0 if prior_std is None else np.square(scores).sum() / (2 * prior_std**2)
        return prior - (WINS * link(scores[:, None] - scores)[0]).sum()

    step, units = 1e-4, np.eye(4) * 1e-4
    centre = scale.scores - scale.scores.mean()
    second = np.array([[loss(centre + a + b) - loss(centre + a - b) - loss(centre - a + b) + loss(centre - a - b)
                        for a in units] for b in units]) / (4 * step**2)
    to_last = np.eye(4) - np.eye(4)[3]  # scores minus the last one
    expected = to_last @ np.linalg.pinv(second) @ to_last.T
    assert score_covariance(scale) == pytest.approx(expected, abs=1e-5)


def test_the_zero_changes_errors_of_scores_but_not_of_differences():
    free, fixed = fit_scale(WINS, jod), fit_scale(WINS, jod, zero_item=0)
    tests = [difference_test(s.scores, score_covariance(s), [0, 0, 2], [1, 3, 3]) for s in (free, fixed)]
    for a, b in zip(*tests):
        assert a == pytest.approx(b, abs=1e-12)
    assert np.trace(score_covariance(free)) < np.trace(score_covariance(fixed))
    assert tests[1].p_value[0] == pytest.approx(2 * stats.norm.sf(0.38389818 / 0.57615944), abs=1e-7)
    assert difference_test([0, 1], np.eye(2), 0, 1).p_value == difference_test([0, 1], np.eye(2), 1, 0).p_value
    with pytest.raises(ValueError, match="an item twice"):
        difference_test(free.scores, score_covariance(free), [0, 1], [1, 1])


@pytest.mark.parametrize("link", [bradley_terry, jod])
def test_95_per_cent_intervals_contain_the_truth_95_times_in_100(link):
    covered, rejected = [], []
    true = TRUE.copy()
    true[1] = true[0]  # two equal items, for the test of their difference
    true -= true.mean()
    for wins in simulate(link, 60, seed=0, true=true):
        scale = fit_scale(wins, link)
        interval = confidence_intervals(scale.scores, score_covariance(scale))
        covered.append((interval[:, 0] <= true) & (true <= interval[:, 1]))
        rejected.append(difference_test(scale.scores, score_covariance(scale), 0, 1).p_value < 0.05)
    # 3.5 standard deviations: six shares are looked at, for two models.
    assert np.mean(covered, axis=0) == pytest.approx(np.full(5, 0.95), abs=3.5 * SPREAD)
    assert np.mean(rejected) == pytest.approx(0.05, abs=3.5 * SPREAD)


def observer_votes(rng, n_observers, disagreement):
    """Returns votes, (K, n, n), of observers who each see qualities of their own around TRUE (deviations in JOD)."""
    seen = TRUE + disagreement * rng.standard_normal((n_observers, len(TRUE)))
    noise = rng.standard_normal((n_observers, len(TRUE), len(TRUE)))
    difference = seen[:, :, None] - seen[:, None] + 1.4826 * noise
    upper = np.triu(np.ones(2 * TRUE.shape), 1)
    return (difference > 0) * upper + ((difference <= 0) * upper).transpose(0, 2, 1)


def test_intervals_over_observers_cover_where_observers_differ():
    rng = np.random.default_rng(1)
    # Qualities that vary by 1 JOD widen each difference: the truth of the group is a scale shrunk by this ratio.
    group = TRUE * 1.4826 / np.hypot(1.4826, np.sqrt(2))
    covered = {"observers": [], "bootstrap": [], "percentiles": [], "votes": []}
    for seed in range(SIMULATIONS):
        votes = observer_votes(rng, 60, 1.0)
        scale = fit_scale(votes.sum(axis=0), jod)
        samples = bootstrap_scores(votes, jod, n_resamples=200, seed=seed)
        intervals = {"percentiles": percentile_intervals(samples)}
        covariances = {"observers": observer_covariance(scale, votes, jod), "bootstrap": np.cov(samples.T),
                       "votes": score_covariance(scale)}
        for name, covariance in covariances.items():
            intervals[name] = confidence_intervals(scale.scores, covariance, degrees_of_freedom=59)
        for name, interval in intervals.items():
            covered[name].append((interval[:, 0] <= group) & (group <= interval[:, 1]))
    share = {name: np.mean(record, axis=0) for name, record in covered.items()}
    assert share["observers"] == pytest.approx(np.full(5, 0.95), abs=3.5 * SPREAD)
    assert share["bootstrap"] == pytest.approx(np.full(5, 0.95), abs=3.5 * SPREAD)
    assert (share["percentiles"] < share["observers"] + 0.005).all() and share["percentiles"].mean() < 0.94  # too short
    assert (share["votes"] < 0.92).all()  # as if all votes were independent


def test_the_covariance_over_observers_is_the_slow_sandwich():
    votes = observer_votes(np.random.default_rng(2), 12, 0.5)
    votes[3] = 0  # an observer without answers is one of the 12
    scale = fit_scale(votes.sum(axis=0), thurstone, zero_item=1)
    step = 1e-6

    def loss(shift, votes):
        scores = scale.scores + shift
        return -(votes * stats.norm.logcdf(scores[:, None] - scores)).sum()

    slopes = [[(loss(step * unit, one) - loss(-step * unit, one)) / (2 * step) for unit in np.eye(5)[[0, 2, 3, 4]]]
              for one in votes]
    inverse = score_covariance(scale)[np.ix_([0, 2, 3, 4], [0, 2, 3, 4])]
    expected = inverse @ np.transpose(slopes) @ np.array(slopes) @ inverse * 12 / 11
    got = observer_covariance(scale, votes, thurstone)
    assert got[np.ix_([0, 2, 3, 4], [0, 2, 3, 4])] == pytest.approx(expected, abs=1e-8) and (got[1] == 0).all()


def test_bootstrap_is_the_slow_resampling():
    votes = observer_votes(np.random.default_rng(2), 12, 0.5)
    samples = bootstrap_scores(votes, jod, n_resamples=7, seed=3, prior_std=1)
    weights = np.random.RandomState(3).multinomial(12, np.full(12, 1 / 12), 7)
    for sample, weight in zip(samples, weights):
        chosen = sum(votes[k] for k in range(12) for _ in range(weight[k]))
        assert sample == pytest.approx(fit_scale(chosen, jod, prior_std=1).scores, abs=1e-9)


def test_goodness_of_fit_accepts_its_model_and_refuses_another():
    p_values = np.array([goodness_of_fit(fit_scale(wins, bradley_terry)).p_value
                         for wins in simulate(bradley_terry, 60, seed=4)])
    assert (p_values < 0.05).mean() == pytest.approx(0.05, abs=3.5 * SPREAD)
    assert p_values.mean() == pytest.approx(0.5, abs=3.5 * np.sqrt(1 / 12 / SIMULATIONS))
    circle = np.array([[0, 30, 10], [10, 0, 30], [30, 10, 0]])  # no scores explain a circle
    fit = goodness_of_fit(fit_scale(circle, jod))
    by_hand = 2 * 3 * (30 * np.log(0.75 / 0.5) + 10 * np.log(0.25 / 0.5))
    assert fit == pytest.approx((by_hand, 1, stats.chi2.sf(by_hand, 1)), rel=1e-9)
    with pytest.raises(ValueError, match="nothing to test"):
        goodness_of_fit(fit_scale([[0, 1], [2, 0]], jod))


def tied_votes(rng, true, tie_parameter, n_votes):
    wins, ties = np.zeros((2, len(true), len(true)))
    for i, j in zip(*np.triu_indices(len(true), 1)):
        weights = np.exp([true[i], true[j], np.log(tie_parameter) + (true[i] + true[j]) / 2])
        wins[i, j], wins[j, i], ties[i, j] = rng.multinomial(n_votes, weights / weights.sum())
    return wins, ties + ties.T


def test_davidson_is_the_maximum_of_a_slow_likelihood():
    wins, ties = tied_votes(np.random.default_rng(5), TRUE, 0.8, 40)

    def loss(x):
        total = 0
        for i, j in zip(*np.triu_indices(5, 1)):
            p = np.exp([x[i], x[j], x[5] + (x[i] + x[j]) / 2])
            total -= np.log(p / p.sum()) @ [wins[i, j], wins[j, i], ties[i, j]]
        return total

    slow = minimize(loss, np.zeros(6), tol=1e-10)
    fit = fit_davidson(wins, ties, zero_item=4)
    assert fit.scores == pytest.approx(slow.x[:5] - slow.x[4], abs=1e-5)
    assert fit.tie_parameter == pytest.approx(np.exp(slow.x[5]), abs=1e-5)
    assert fit.log_likelihood == pytest.approx(-slow.fun, abs=1e-9)
    few = fit_davidson(wins, np.eye(5)[::-1] * (1 - np.eye(5)) * 1e-7)  # next to no ties: Bradley-Terry
    assert few.scores == pytest.approx(fit_scale(wins, bradley_terry).scores, abs=1e-4)


def test_davidson_recovers_scores_and_its_intervals_cover():
    rng, covered, ties = np.random.default_rng(6), [], []
    for _ in range(SIMULATIONS):
        fit = fit_davidson(*tied_votes(rng, TRUE, 0.8, 60))
        error = 1.96 * np.sqrt(np.diag(fit.covariance))
        covered.append(np.abs(fit.scores - TRUE) <= error)
        ties.append(fit.tie_parameter)
    assert np.mean(covered, axis=0) == pytest.approx(np.full(5, 0.95), abs=3.5 * SPREAD)
    assert np.mean(ties) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("call, message", [
    (lambda: confidence_intervals([0, 1], np.eye(2), level=95), "between 0 and 1, such as 0.95, got 95"),
    (lambda: bootstrap_scores(WINS[None], jod), "at least 2 observers"),
    (lambda: observer_covariance(fit_scale(WINS, jod), np.stack([WINS, WINS]), jod), "split by observer"),
    (lambda: bootstrap_scores(np.array([[[0, 1], [0, 0]], [[0, 0], [1, 0]]]), jod), "won or lost everything"),
    (lambda: percentile_intervals(np.zeros((9, 2)), level=1), "between 0 and 1"),
], ids=["level", "one observer", "others", "resample", "percentile"])
def test_what_has_no_interval_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
