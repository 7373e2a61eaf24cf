"""D-, L- and P-test: golden numbers, slow definitions, and pairs that are found without making all of them."""

from itertools import permutations
from time import process_time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from iqa_lab.evaluation.mapping import fit_mapping
from iqa_lab.evaluation.waterloo import (
    ImagePairs,
    d_test,
    discriminable_pairs,
    l_test,
    opinion_scale,
    p_curve,
    p_test,
    percent_scale,
)

few_values = st.lists(st.integers(0, 6), min_size=1, max_size=12)


def test_golden_d():
    found = d_test([.9, .8, .85, .7], [.75, .6, .4, .3, .2, .88, .5, .1])
    assert found == (.875, .7, 1.0, .75)


@settings(deadline=None)
@given(few_values, few_values)
def test_d_is_the_best_of_all_thresholds(pristine, distorted):
    x, y = np.array(pristine), np.array(distorted)
    slow = max(((x >= t).mean() + (y < t).mean()) / 2 for t in [*x, *y, x.max() + 1, y.max() + 1])
    found = d_test(x, y)
    assert found.d == pytest.approx(max(slow, .5), abs=1e-12) and .5 <= found.d <= 1
    assert found.share_pristine == (x >= found.threshold).mean()
    assert found.share_distorted == (y < found.threshold).mean()


def test_d_ignores_how_many_images_a_side_has_and_any_rising_curve():
    x, y = np.random.default_rng(0).normal(size=(2, 50)) + [[1], [0]]
    assert d_test(x, y).d == d_test(x.repeat(20), y).d == d_test(np.exp(x), np.exp(y)).d
    assert d_test([1, 1], [1, 1, 1]) == (.5, 1, 1, 0)  # equal scores: all are called pristine


LEVELS = np.tile([1, 2, 3, 4, 5], 4)
SCORES = [5, 4, 3, 2, 1, 5, 3, 4, 2, 1, 1, 2, 3, 4, 5, 5, 4, 4, 2, 1]


def test_golden_l():
    found = l_test(SCORES, np.repeat(["a", "b"], 10), np.tile(np.repeat(["blur", "noise"], 5), 2), LEVELS)
    assert found.groups["srocc"].to_numpy() == pytest.approx([1, .9, -1, .97468], abs=5e-6)
    assert found.srocc == pytest.approx(.46867, abs=5e-6) and found.krocc == pytest.approx(.43717, abs=5e-6)
    assert found.groups[["content", "distortion"]].to_numpy().tolist() == [
        ["a", "blur"], ["a", "noise"], ["b", "blur"], ["b", "noise"]]


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.sampled_from([2, 4, 1000]))
def test_l_is_scipy_s_of_each_group_in_any_order_of_rows(seed, n_levels, n_values):
    random = np.random.default_rng(seed)
    contents, distortions, levels = (index.ravel() for index in np.indices((3, 2, n_levels)))
    scores = random.integers(0, n_values, len(levels)).astype(float)
    order = random.permutation(len(levels))
    found = l_test(scores[order], contents[order], distortions[order], levels[order])
    slow = {"srocc": [], "krocc": []}
    for content in range(3):
        for distortion in range(2):
            group = scores[(contents == content) & (distortions == distortion)]
            constant = np.ptp(group) == 0
            slow["srocc"].append(0 if constant else stats.spearmanr(group, -np.arange(n_levels)).statistic)
            slow["krocc"].append(0 if constant else stats.kendalltau(group, -np.arange(n_levels)).statistic)
    for name, values in slow.items():
        assert found.groups[name].to_numpy() == pytest.approx(values, abs=1e-12)
        assert getattr(found, name) == pytest.approx(np.mean(values), abs=1e-12)


def test_scales():
    assert percent_scale([3, 1, 1, 9]).tolist() == [62.5, 25, 25, 87.5]
    q, dmos = np.linspace(20, 40, 30), np.linspace(90, 10, 30)
    mapping = fit_mapping(q, dmos, form="linear")
    assert opinion_scale([20, 30, 40, 60], mapping, worst=100, best=0) == pytest.approx([10, 50, 90, 100])
    assert opinion_scale([20, 40], fit_mapping(q, 5 - dmos / 25, form="linear"), worst=1, best=5) == pytest.approx(
        [10, 90])


def slow_pairs(quality, threshold):
    """Returns all pairs (better, worse) by definition."""
    n = quality.shape[1]
    return {(i, j) for i, j in permutations(range(n), 2) if (quality[:, i] - quality[:, j] > threshold).all()}


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(2, 15), st.sampled_from([0, 20, 40]))
def test_the_pairs_are_all_that_qualify(seed, n_models, n, threshold):
    quality = np.random.default_rng(seed).integers(0, 10, (n_models, n)) * 10.0
    slow = slow_pairs(quality, threshold)
    if not slow:
        with pytest.raises(ValueError, match="choose a smaller threshold"):
            discriminable_pairs(quality, threshold=threshold, n_pairs=10)
        return
    found = discriminable_pairs(quality, threshold=threshold, n_pairs=1000)
    assert set(zip(found.better.tolist(), found.worse.tolist())) == slow
    assert len(found.better) == len(slow) == found.n_all
    assert (found.gap == (quality[:, found.better] - quality[:, found.worse]).min(axis=0)).all()
    few = discriminable_pairs(quality, threshold=threshold, n_pairs=2)
    assert len(few.gap) == min(2, len(slow)) and few.better.tolist() == found.better[:2].tolist()


def test_drawn_pairs_are_uniform_and_their_number_is_estimated():
    quality = np.random.default_rng(0).uniform(0, 100, (2, 300))
    quality[1] = quality.mean(axis=0)
    slow = slow_pairs(quality, 20)
    found = discriminable_pairs(quality, threshold=20, n_pairs=4000, n_candidates=8000)
    assert len(found.gap) < len(slow) and set(zip(found.better.tolist(), found.worse.tolist())) <= slow
    assert len(set(zip(found.better, found.worse))) == len(found.gap)
    assert found.n_all == pytest.approx(len(slow), rel=0.05)
    all_pairs = np.array(sorted(slow))
    mean_gap = (quality[:, all_pairs[:, 0]] - quality[:, all_pairs[:, 1]]).min(axis=0)
    assert found.gap.mean() == pytest.approx(mean_gap.mean(), abs=4 * mean_gap.std() / np.sqrt(len(found.gap)))


def test_pairs_of_100_000_images_are_found_in_seconds_and_little_memory():
    random = np.random.default_rng(0)
    quality = np.clip(random.uniform(0, 100, 100_000) + random.normal(0, 5, (3, 100_000)), 0, 100)
    start = process_time()
    found = discriminable_pairs(quality, threshold=40, n_pairs=50_000)
    assert process_time() - start < 20  # 2.6 s where it was written
    assert len(found.gap) == 50_000 and found.gap.min() > 40 and 1e9 < found.n_all < 3e9
    good = quality.mean(axis=0)
    assert p_test(good, found).p == 1 and p_test(-good, found).p == 0
    assert p_test(random.normal(size=100_000), found).p == pytest.approx(.5, abs=.02)


def test_p_counts_ties_as_wrong_and_is_a_curve_over_the_threshold():
    pairs = ImagePairs(np.array([0, 1, 2, 3]), np.array([1, 2, 3, 0]), np.array([10.0, 20, 30, 40]), 4)
    scores = [3, 2, 2, 1]
    assert p_test(scores, pairs) == (.5, 2, 1, 4)
    curve = p_curve(scores, pairs, [0, 10, 25, 35, 40])
    assert curve == pytest.approx([2 / 4, 1 / 3, 1 / 2, 0, np.nan], nan_ok=True)


scores_with_infinities = st.lists(st.sampled_from([-np.inf, -1.5, 0.0, 2.0, np.inf]), min_size=12, max_size=12)


@given(scores_with_infinities)
def test_infinite_scores_are_ranks_like_any_other(scores):
    values = np.array(scores)
    ranks = np.unique(values, return_inverse=True)[1].astype(float)  # the same order and ties, all finite
    pairs = ImagePairs(np.arange(11), np.arange(1, 12), np.arange(11.0), 11)
    labels = np.repeat(["a", "b"], 6), np.tile(np.repeat(["blur", "noise"], 3), 2), np.tile([1, 2, 3], 4)
    d, expected = d_test(values[:5], values[5:]), d_test(ranks[:5], ranks[5:])
    assert (d.d, d.share_pristine, d.share_distorted) == (expected.d, *expected[2:])
    assert d.share_pristine == (values[:5] >= d.threshold).mean()
    assert l_test(values, *labels)[:2] == l_test(ranks, *labels)[:2]
    assert p_test(values, pairs) == p_test(ranks, pairs)
    assert (p_curve(values, pairs, [-1, 4, 8]) == p_curve(ranks, pairs, [-1, 4, 8])).all()
    assert (percent_scale(values) == percent_scale(ranks)).all()


def test_psnr_takes_part():
    assert d_test([np.inf, np.inf], [31.0, 44, 27]) == (1, np.inf, 1, 1)
    assert p_test([np.inf, np.inf, 30], ImagePairs(np.array([0, 0]), np.array([1, 2]), np.ones(2), 2)) == (.5, 1, 1, 2)


@pytest.mark.parametrize("call, message", [
    (lambda: d_test([], [1]), "at least 1 scores"),
    (lambda: d_test([np.nan], [1]), "1 NaN"),
    (lambda: p_test([np.inf, np.nan], ImagePairs(np.array([0]), np.array([1]), np.ones(1), 1)), "1 NaN"),
    (lambda: opinion_scale([1, np.inf], lambda q: q, worst=0, best=1), "got 1 infinite"),
    (lambda: l_test([1, 2, 3], "aaa", "bbb", [1, 2, 2]), "a level twice"),
    (lambda: l_test([1, 2, 3], list("aab"), list("bbb"), [1, 2, 1]), "got 1 to 2 images"),
    (lambda: l_test([1, 2], list("ab"), list("bb"), [1, 1]), "at least 2"),
    (lambda: discriminable_pairs([1, 2], threshold=1, n_pairs=1), r"quality\[None\]"),
    (lambda: discriminable_pairs([[1, 2]], threshold=5, n_pairs=1), "choose a smaller threshold"),
    (lambda: percent_scale([[1, 2]]), r"shape \(n,\)"),
], ids=["empty", "nan", "nan pair", "infinite opinion", "twice", "uneven", "one", "shape", "none", "table"])
def test_what_cannot_be_tested_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
