"""Krasula's analysis: the authors' example to all printed digits, the port's test values, and honest p-values."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.io import loadmat
from simulated_shares import spread

from iqa_lab.evaluation.bootstrap import differences, p_values, percentile_interval
from iqa_lab.evaluation.krasula import (
    JudgedPairs,
    better_worse,
    better_worse_areas,
    bootstrap_roc,
    compared_pairs,
    different_similar,
    rated_pairs,
    roc_analysis,
    score_differences,
)
from iqa_lab.evaluation.roc_areas import area_correlation, area_p_values, binomial_p_values, delong, hanley_mcneil

DATA = os.environ.get("IQA_LAB_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="the authors' example: set IQA_LAB_DATA")
SIMULATIONS = 1000


def folder():
    return Path(DATA) / "scores" / "krasula_toyama"


@pytest.fixture(scope="module")
def toyama():
    """Returns scores of PSNR and SSIM, and the pairs of 168 rated images."""
    mat = {key: value.ravel() for key, value in loadmat(folder() / "Example_Toyama.mat").items() if key[0] != "_"}
    return np.array([mat["psnr"], mat["ssim"]]), rated_pairs(mat["MOS"], mat["SD"], mat["num_obs"])


@needs_data
def test_toyama_to_all_printed_digits(toyama):
    scores, pairs = toyama
    found = roc_analysis(score_differences(scores, pairs), pairs.outcome)
    printed = pd.read_csv(folder() / "golden_auc.csv").set_index("quantity")
    assert (found.n_different, found.n_similar) == (11121, 2907)
    for name, column in (("AUC_DS", found.auc_ds), ("AUC_BW", found.auc_bw), ("CC_0", found.cc_0), ("THR", found.thr)):
        assert column == pytest.approx(printed.loc[name, ["psnr", "ssim"]].astype(float).to_numpy(), abs=1e-12)
    in_matlab = roc_analysis(score_differences(scores, pairs), pairs.outcome, method="hazen").thr
    assert in_matlab[0] == pytest.approx(10.64404, abs=5e-6)


@needs_data
def test_the_port_s_means_over_five_metrics():
    mat = loadmat(folder() / "data_Toyama.mat")
    found = roc_analysis(mat["objScoDif"], mat["signif"][0])
    assert [column.mean() for column in found[:4]] == pytest.approx(
        [0.69767003960902052, 0.94454700301894534, 0.88105386206276415, 3.899105581509778], abs=1e-12)


@needs_data
def test_the_pairs_depend_on_the_rule(toyama):
    mat = loadmat(folder() / "Example_Toyama.mat")
    for z, n_different in ((2, 10577), (1.96, 10648)):
        pairs = rated_pairs(mat["MOS"].ravel(), mat["SD"].ravel(), 16, confidence=stats.norm.cdf(z))
        assert (pairs.outcome != 0).sum() == n_different


@needs_data
def test_hanley_and_mcneil_subtract_where_the_released_code_adds(toyama):
    scores, pairs = toyama
    different, similar = different_similar(score_differences(scores, pairs), pairs.outcome)
    table = loadmat(folder() / "Hanley_McNeil.mat")
    r_axis, a_axis, r_table = table["rA_vec"].ravel(), table["AA_vec"].ravel(), table["Table_HM"]
    ours = np.array([[area_correlation(r, a) for a in a_axis] for r in r_axis])
    assert np.abs(ours - r_table).max() < 0.0215 and np.abs(ours - r_table).mean() < 0.0062  # which has two digits
    areas = hanley_mcneil(different, similar)
    tau = np.mean([stats.kendalltau(*part).statistic for part in (different, similar)])
    r = r_table[np.abs(r_axis - tau).argmin(), np.abs(a_axis - areas.auc.mean()).argmin()]

    def errors(d, s):
        a = areas.auc
        q1, q2 = a / (2 - a), 2 * a**2 / (1 + a)
        return np.sqrt((a * (1 - a) + (d - 1) * (q1 - a**2) + (s - 1) * (q2 - a**2)) / (d * s))

    def z(first, second, sign):
        return np.diff(areas.auc)[0] / np.sqrt(first**2 + second**2 + sign * 2 * r * first * second)

    d, s = different.shape[1], similar.shape[1]
    variance = areas.covariance
    ours = np.diff(areas.auc)[0] / np.sqrt(variance[0, 0] + variance[1, 1] - 2 * variance[0, 1])
    assert ours == pytest.approx(16.09718, abs=1e-5)
    assert z(*errors(d, s), -1) == pytest.approx(16.05306, abs=1e-5)  # with r = 0.14 of the table instead of 0.145
    assert z(*errors(d, s), 1) == pytest.approx(13.96387, abs=1e-5)  # the released sign
    assert z(*errors(s, d), 1) == pytest.approx(12.38375, abs=1e-5)  # and the released order of the counts


def port_pairs():
    """Returns all 16 ordered pairs of the port's four simulated images, the images with themselves too."""
    random = np.random.RandomState(1)
    ratings = random.normal(0, 1.0, [4, 10]) + np.arange(1, 5)[:, None]
    mean, error = ratings.mean(axis=1), ratings.var(axis=1, ddof=1) / 10
    z = (mean[:, None] - mean) / np.sqrt(error[:, None] + error)
    first, second = (index.ravel() for index in np.indices((4, 4)))
    return JudgedPairs(first, second, np.where(np.abs(z) > 2, np.sign(z), 0).ravel())


def test_the_port_s_simulated_example():
    pairs = port_pairs()
    d = score_differences([[1, 2, 3, 4], [3, 1, 2, 4]], pairs)
    found = roc_analysis(d, pairs.outcome)
    assert found.auc_bw == pytest.approx([1, .8125], abs=1e-12)
    assert found.auc_ds == pytest.approx([.9375, .625], abs=1e-12)
    assert found.cc_0 == pytest.approx([1, .75], abs=1e-12) and found.thr == pytest.approx([1, 2], abs=1e-12)
    assert area_p_values(delong(*different_similar(d, pairs.outcome)))[0, 1] == pytest.approx(.02746864, abs=5e-9)
    assert area_p_values(delong(*better_worse(d, pairs.outcome)))[0, 1] == pytest.approx(.06136883, abs=5e-9)
    twice = 2 * found.n_different  # the port counts both copies
    assert binomial_p_values(found.cc_0, twice)[0, 1] == pytest.approx(.03250944, abs=5e-9)


def test_pairs_of_ratings_are_the_slow_definition():
    mos, std, n = np.array([3, 3.5, 3, 1]), np.array([1, .5, 0, 0]), np.array([10, 20, 10, 10])
    pairs = rated_pairs(mos, std, n)
    for i, j, outcome in zip(*pairs):
        error = np.sqrt(std[i] ** 2 / n[i] + std[j] ** 2 / n[j]) or 1e-6
        z = (mos[i] - mos[j]) / error
        assert outcome == (np.sign(z) if stats.norm.cdf(abs(z)) >= .95 else 0)
    assert pairs.outcome.tolist() == [0, 0, 1, 1, 1, 1]


def test_no_difference_between_different_images_is_a_wrong_answer_and_half_an_area():
    found = roc_analysis(np.array([[0.0, 2, -1, 0, 1]]), np.array([1, 1, -1, -1, 0]))
    assert found.cc_0 == .5 and found.auc_bw == (2 * 4 + 2 * (2 + 1)) / 16 and found.thr == 1
    assert found.auc_ds == (0 + 1 + .5 + 0) / 4


def test_equal_images_are_called_different_in_10_of_100():
    random = np.random.default_rng(0)
    ratings = random.normal(0, 1, (40, 400))  # of 40 equal images: 780 pairs, one z each
    pairs = rated_pairs(ratings.mean(axis=1), ratings.std(axis=1, ddof=1), 400)
    share = (pairs.outcome != 0).mean()
    assert 0.05 < share < 0.15  # 0.10; the pairs share images, so a binomial spread would be too narrow


def test_pairs_of_comparisons_follow_the_binomial_test():
    wins = np.zeros((4, 4), dtype=int)
    wins[0, 1], wins[1, 0] = 15, 5
    wins[2, 0], wins[0, 2] = 14, 6
    wins[1, 3], wins[3, 1] = 3, 12
    pairs = compared_pairs(wins)
    assert list(zip(*(column.tolist() for column in pairs))) == [(0, 1, 1), (0, 2, 0), (1, 3, -1)]
    for won, n, outcome in ((15, 20, 1), (14, 20, 0), (12, 15, 1)):
        assert (stats.binomtest(won, n, alternative="greater").pvalue <= .05) == outcome
    strict = compared_pairs(wins, confidence=.999)
    assert not strict.outcome.any()


def test_better_worse_needs_the_doubled_variance():
    random = np.random.default_rng(1)
    rates = {"corrected": [], "released": []}
    for d in random.multivariate_normal([.8, .8], [[1, .6], [.6, 1]], (SIMULATIONS, 100)).transpose(0, 2, 1):
        outcome = np.ones(100, dtype=int)
        rates["corrected"].append(area_p_values(better_worse_areas(d, outcome))[0, 1] < .05)
        rates["released"].append(area_p_values(delong(*better_worse(d, outcome)))[0, 1] < .05)
    assert abs(np.mean(rates["corrected"]) - .05) < spread(.05, SIMULATIONS)
    assert abs(np.mean(rates["released"]) - 2 * stats.norm.sf(1.96 / np.sqrt(2))) < spread(.166, SIMULATIONS)  # 17 of 100


def experiment(random, n, *, versions=1):
    """Returns scores (2, n x versions), pairs of images rated by 20 people, and contents."""
    contents = np.arange(n).repeat(versions)
    quality = random.normal(0, 1, n * versions)
    ratings = quality[:, None] + random.normal(0, 1, (n * versions, 20))
    own = random.normal(0, 1, (2, n))[:, contents]  # each metric is deceived by the content
    return quality + own, rated_pairs(ratings.mean(axis=1), ratings.std(axis=1, ddof=1), 20), contents


def test_the_bootstrap_of_contents_knows_what_pairs_share_and_the_other_tests_do_not():
    random = np.random.default_rng(3)
    scores, pairs, _ = experiment(random, 3000)
    d = score_differences(scores, pairs)
    true = np.array([column.mean() for column in roc_analysis(d[:, ::7], pairs.outcome[::7])[:3]])
    held, found = [], {"bootstrap": [], "delong": []}
    for simulation in range(SIMULATIONS // 2):
        scores, pairs, contents = experiment(random, 30)
        resamples = bootstrap_roc(scores, pairs, contents, n_resamples=200, seed=simulation)
        low, high = np.transpose([percentile_interval(values[:, 0]) for values in resamples])
        held.append((low < true) & (true < high))
        found["bootstrap"].append(p_values(differences(resamples.auc_bw))[0, 1] <= .05)
        areas = better_worse_areas(score_differences(scores, pairs), pairs.outcome)
        found["delong"].append(area_p_values(areas)[0, 1] < .05)
    shares, rates = np.mean(held, axis=0), {name: np.mean(column) for name, column in found.items()}
    # 30 contents: percentile intervals of so few are a little short, by some 1 / 30, beside the simulation's spread.
    assert (np.abs(shares - .95) < spread(.95, SIMULATIONS // 2) + 1 / 30).all(), shares
    assert abs(rates["bootstrap"] - .05) < spread(.05, SIMULATIONS // 2) + 1 / 30, rates
    assert rates["delong"] > .4, rates  # where there is no difference


def test_a_resample_is_the_analysis_of_the_drawn_contents():
    random = np.random.default_rng(4)
    scores, pairs, contents = experiment(random, 8, versions=3)
    found = bootstrap_roc(scores, pairs, contents, n_resamples=4, seed=5)
    draws = np.random.RandomState(5).randint(8, size=(4, 8))
    d = score_differences(scores, pairs)
    for k, draw in enumerate(draws):
        rows = []
        for a, content in enumerate(draw):  # slow: copies as contents of their own, pairs of two copies of one left out
            for b, other in enumerate(draw[:a + 1]):
                for p, (i, j) in enumerate(zip(pairs.first, pairs.second)):
                    ends = {contents[i], contents[j]}
                    if (a == b and ends == {content}) or (a != b and content != other and ends == {content, other}):
                        rows.append(p)
        slow = roc_analysis(d[:, rows], pairs.outcome[rows])
        assert found.auc_ds[k] == pytest.approx(slow.auc_ds, abs=1e-12)
        assert found.auc_bw[k] == pytest.approx(slow.auc_bw, abs=1e-12)
        assert found.cc_0[k] == pytest.approx(slow.cc_0, abs=1e-12)


@pytest.mark.parametrize("call, message", [
    (lambda: rated_pairs([1, 2, np.nan], 1, 10), "finite MOS"),
    (lambda: rated_pairs([1, 2, 3], -1, 10), "deviation >= 0"),
    (lambda: compared_pairs([[0, 1.5], [1, 0]]), "Expected counts"),
    (lambda: compared_pairs([[0, np.inf], [1, 0]]), "Expected counts"),
    (lambda: compared_pairs([[0, 1, 2]]), r"shape \(1, 3\)"),
    (lambda: bootstrap_roc([[1, 2, 3]], rated_pairs([1, 1, 5], 1, 10), [0, 1]), "content for each of 3 images"),
    (lambda: score_differences([1, 2, 3], rated_pairs([1, 2, 3], 1, 10)), r"scores\[None\]"),
    (lambda: roc_analysis(np.ones((1, 3)), np.zeros(3)), "both different and similar pairs, got 0 and 3"),
    (lambda: bootstrap_roc([[1, 2, 3]], rated_pairs([1, 1, 5], 1, 10), [0, 1, 2]), "3 contents are too few"),
], ids=["nan", "deviation", "half", "infinite", "shape", "contents", "row", "similar", "resample"])
def test_what_cannot_be_analysed_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
