"""Bootstrap: the same numbers as SciPy on the drawn images, intervals that hold what they say, and what is refused."""

from time import process_time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from simulated_shares import spread

from iqa_lab.evaluation.bootstrap import (
    bca_interval,
    bootstrap,
    differences,
    draw_counts,
    jackknife,
    p_values,
    percentile_interval,
)
from iqa_lab.evaluation.resampled import krocc_resampled, plcc_resampled, srocc_resampled

SCIPY = {srocc_resampled: stats.spearmanr, plcc_resampled: stats.pearsonr, krocc_resampled: stats.kendalltau}
SIMULATIONS = 500


def database(random, rho, *, contents=60, versions=1, shared=0.0):
    """Returns scores of two metrics and opinions that are correlated by rho; a share of the variance is the content's.

    Returns:
        scores (2, n), opinions (n,), contents (n,); the metrics are equally good and alike.
    """
    covariance = np.full((3, 3), rho) + (1 - rho) * np.eye(3)
    of_content = random.multivariate_normal(np.zeros(3), covariance, contents).repeat(versions, axis=0)
    own = random.multivariate_normal(np.zeros(3), covariance, contents * versions)
    x = np.sqrt(shared) * of_content + np.sqrt(1 - shared) * own
    return x[:, :2].T, x[:, 2], np.arange(contents).repeat(versions)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 40), st.sampled_from([2, 5, 1000]), st.sampled_from(list(SCIPY)))
def test_a_resample_has_scipy_s_criterion_of_the_drawn_images(seed, n, n_values, criterion):
    random = np.random.default_rng(seed)
    scores, opinions = random.integers(0, n_values, (2, n)).astype(float), random.integers(0, n_values, n).astype(float)
    counts = draw_counts(np.random.RandomState(seed), n, 5)
    assert (counts.sum(axis=1) == n).all()
    if not np.ptp(scores, axis=1).all() or not np.ptp(opinions):
        return  # refused from the start
    found = criterion(scores, opinions).of_counts(counts)
    for k, row in enumerate(counts):
        drawn = np.arange(n).repeat(row)
        for m in range(2):
            if np.ptp(scores[m, drawn]) and np.ptp(opinions[drawn]):
                slow = SCIPY[criterion](scores[m, drawn], opinions[drawn]).statistic
                assert found[k, m] == pytest.approx(slow, abs=1e-9)
            else:
                assert np.isnan(found[k, m])


@pytest.mark.parametrize("criterion", SCIPY)
def test_each_image_once_gives_the_plain_criterion_whatever_the_unit(criterion):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(1, 50)), random.normal(size=50)
    once = np.ones((1, 50), dtype=np.int32)
    plain = SCIPY[criterion](x[0], y).statistic
    for scale, zero in ((1, 0), (1e6, 1e9), (1e-6, 3)):
        tolerance = 1e-6 if zero > 1e6 else 1e-9  # digits that are lost in the scores themselves
        assert criterion(scale * x + zero, y).of_counts(once)[0, 0] == pytest.approx(plain, abs=tolerance)


def test_whole_contents_are_drawn_and_more_resamples_keep_the_first_ones():
    scores, opinions, contents = database(np.random.default_rng(0), .6, contents=6, versions=4)
    few, many, other = (bootstrap(srocc_resampled(scores, opinions), contents=contents, n_resamples=n, seed=seed)
                        for n, seed in ((5, 3), (30, 3), (5, 4)))
    assert (many[:5] == few).all() and (other != few).any()
    drawn = np.random.RandomState(3).randint(6, size=(3, 6))[2]
    rows = np.concatenate([np.flatnonzero(contents == content) for content in drawn])
    assert few[2, 0] == pytest.approx(stats.spearmanr(scores[0, rows], opinions[rows]).statistic, abs=1e-12)


def test_chunks_do_not_change_anything(monkeypatch):
    scores, opinions, _ = database(np.random.default_rng(0), .6)
    whole = bootstrap(krocc_resampled(scores, opinions), n_resamples=50)
    left_out = jackknife(krocc_resampled(scores, opinions))
    monkeypatch.setattr("iqa_lab.evaluation.bootstrap.CHUNK", 7 * 60)
    assert (bootstrap(krocc_resampled(scores, opinions), n_resamples=50) == whole).all()
    assert (jackknife(krocc_resampled(scores, opinions)) == left_out).all()


def test_intervals_hold_the_true_correlation_and_the_difference_as_often_as_they_say():
    rho, random = .7, np.random.default_rng(1)
    true = 6 / np.pi * np.arcsin(rho / 2)  # Spearman's correlation of a bivariate Gaussian
    held = {"percentile": [], "bca": [], "difference": [], "found": []}
    for simulation in range(SIMULATIONS):
        scores, opinions, _ = database(random, rho)
        values = bootstrap(srocc_resampled(scores, opinions), n_resamples=400, seed=simulation)
        low, high = percentile_interval(values)
        held["percentile"].append(low[0] < true < high[0])
        once = srocc_resampled(scores, opinions).of_counts(np.ones((1, 60), dtype=np.int32))[0]
        low, high = bca_interval(values, once, jackknife(srocc_resampled(scores, opinions)))
        held["bca"].append(low[0] < true < high[0])
        low, high = percentile_interval(differences(values))
        held["difference"].append(low[0, 1] < 0 < high[0, 1])
        held["found"].append(p_values(differences(values))[0, 1] <= .05)
    shares = {name: np.mean(column) for name, column in held.items()}
    for name in ("percentile", "bca", "difference"):
        # 60 images: the bootstrap's own deviation from 95 % is of order 1 / n, allowed beside the simulation's spread
        assert abs(shares[name] - .95) < spread(.95, SIMULATIONS) + 1 / 60, shares
    assert abs(shares["found"] - .05) < spread(.05, SIMULATIONS) + 1 / 60, shares


def test_images_of_a_few_contents_are_not_independent():
    random, held = np.random.default_rng(2), []
    true = 6 / np.pi * np.arcsin(.5 / 2)
    for simulation in range(SIMULATIONS):
        scores, opinions, contents = database(random, .5, contents=40, versions=6, shared=.8)
        row = []
        for groups in (contents, None):
            values = bootstrap(srocc_resampled(scores[:1], opinions), contents=groups, n_resamples=200, seed=simulation)
            low, high = percentile_interval(values[:, 0])
            row.append(low < true < high)
        held.append(row)
    of_contents, of_images = np.mean(held, axis=0)
    assert abs(of_contents - .95) < spread(.95, SIMULATIONS) + 1 / 40, (of_contents, of_images)
    assert of_images < .75, (of_contents, of_images)


def test_quantiles_and_p_values_by_hand():
    values = np.arange(101.0)[:, None] + [0, 1000]
    low, high = percentile_interval(values, level=0.9)
    assert low == pytest.approx([5, 1005]) and high == pytest.approx([95, 1095])
    d = differences(values)
    assert d.shape == (101, 2, 2) and (d[:, 1, 0] == 1000).all() and (d[:, 0, 0] == 0).all()
    assert p_values(d) == pytest.approx(np.array([[1, 2 / 102], [2 / 102, 1]]))
    assert p_values(np.r_[-1.0, np.ones(98)]) == pytest.approx(2 * 2 / 100)
    skewed = np.random.default_rng(0).exponential(size=(20000, 1))
    symmetric = bca_interval(skewed, np.median(skewed, axis=0), np.array([[-1.0], [0], [1]]))  # no bias, no skew
    assert np.ravel(symmetric) == pytest.approx(np.ravel(percentile_interval(skewed)), abs=0.02)
    assert bca_interval(skewed, np.array([1.5]), np.array([[-1.0], [0], [1]]))[0] > symmetric[0]


def test_bca_is_scipy_s():
    random = np.random.default_rng(5)
    scores, opinions, _ = database(random, .9, contents=40)
    once = plcc_resampled(scores, opinions).of_counts(np.ones((1, 40), dtype=np.int32))[0]
    values = bootstrap(plcc_resampled(scores, opinions), n_resamples=20000)
    low, high = bca_interval(values, once, jackknife(plcc_resampled(scores, opinions)))
    theirs = stats.bootstrap((scores[0], opinions), lambda x, y: stats.pearsonr(x, y).statistic, paired=True,
                             vectorized=False, n_resamples=5000, method="BCa", rng=random).confidence_interval
    # Both are random: the 2.5 % quantile of 5,000 values has a standard error of about 0.002 here.
    assert (low[0], high[0]) == pytest.approx(theirs, abs=0.008)
    assert abs(low[0] - percentile_interval(values)[0][0]) > 0.008  # which BCa really moves


def test_many_metrics_on_many_images_take_seconds():
    random = np.random.default_rng(0)
    scores, opinions = random.normal(size=(10, 10_000)), random.normal(size=10_000)
    start = process_time()
    values = bootstrap(srocc_resampled(scores, opinions), n_resamples=100)
    assert values.shape == (100, 10) and process_time() - start < 3  # 0.1 s where it was written, 0.85 s with sorts
    assert values.std(axis=0, ddof=1) == pytest.approx(np.full(10, 0.01), rel=0.35)  # 1 / sqrt(n), 100 resamples


@pytest.mark.parametrize("call, message", [
    (lambda: bootstrap(srocc_resampled([1, 2, 3], [1, 2, 3])), r"shape \(metrics, images\), got \(3,\)"),
    (lambda: bootstrap(srocc_resampled([[1, 2, 3, 4]], [1, 2, 3])), "one shape"),
    (lambda: bootstrap(srocc_resampled([[1, 2]], [1, 2])), "at least 3 images"),
    (lambda: bootstrap(srocc_resampled([[1, np.nan, 3]], [1, 2, 3])), "NaN"),
    (lambda: bootstrap(srocc_resampled([[2, 2, 2]], [1, 2, 3])), "differ"),
    (lambda: bootstrap(srocc_resampled([[1, 2, 3]], [1, 2, 3]), contents=["a"] * 3), "at least 2 contents"),
    (lambda: bootstrap(srocc_resampled([[1, 2, 3]], [1, 2, 3]), contents=["a", "b"]), "content for each of 3 images"),
    (lambda: bootstrap(plcc_resampled([[1, 2, 3]], [1, 3, 2])), "3 contents are too few"),
], ids=["shape", "lengths", "few", "nan", "constant", "content", "contents", "resample"])
def test_what_cannot_be_resampled_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
