"""Screening of observers: the golden table of the spec, slow counts, planted raters, and what is refused."""

import os
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from iqa_lab.subjective.rating import opinion_scores
from iqa_lab.subjective.screening import (
    pearson_with_mos,
    samviq_threshold,
    screen_counts,
    screen_samviq,
    screen_vqeg,
    screen_vqeg_conditions,
    spearman_with_mos,
)

DATA = os.environ.get("IQA_LAB_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="SUREAL's sample ratings: set IQA_LAB_DATA")


@pytest.fixture(scope="module")
def sample():
    """79 stimuli and 26 subjects, of whom the first five are scrambled; subject 7 left one out."""
    return pd.read_csv(Path(DATA) / "scores" / "sureal_raw" / "bt500_sample_data.csv", header=None).to_numpy(float).T


def panel(seed, *, n_subjects=20, n_stimuli=60):
    draw = np.random.default_rng(seed)
    quality = draw.uniform(1, 5, n_stimuli)
    return draw, quality, quality + draw.normal(0, 0.5, (n_subjects, n_stimuli))


@needs_data
@pytest.mark.parametrize("ddof, high, low, rejected", [
    (0, [6, 5, 4, 5, 10, 0], [4, 7, 1, 2, 2, 1], [0, 1]),
    (1, [6, 4, 4, 4, 10, 0], [3, 6, 1, 2, 2, 1], [1]),
])
def test_the_golden_counts_depend_on_the_standard_deviation(sample, ddof, high, low, rejected):
    screening = screen_counts(sample, ddof=ddof)
    assert screening.high[:6].tolist() == high and screening.low[:6].tolist() == low
    assert np.flatnonzero(screening.rejected).tolist() == rejected
    assert screening.n_ratings.tolist() == [79] * 7 + [78] + [79] * 18


@needs_data
def test_correlation_finds_all_five_scrambled_raters_of_the_sample(sample):
    screening = screen_vqeg(sample)
    assert np.round(screening.correlation[:5], 3).tolist() == [0.073, 0.151, 0.166, 0.060, 0.113]
    assert np.flatnonzero(screening.rejected).tolist() == [0, 1, 2, 3, 4] and screening.threshold == 0.75
    assert screening.correlation[5:].min() >= 0.77
    adaptive = screen_samviq(sample)
    assert np.flatnonzero(adaptive.rejected).tolist() == [0, 1, 2, 3, 4]
    assert adaptive.threshold == samviq_threshold(adaptive.correlation) < 0.5  # five of 26 pull it down


def slow_counts(ratings, ddof):
    """BT.500 stimulus by stimulus and vote by vote."""
    high, low = np.zeros(len(ratings), int), np.zeros(len(ratings), int)
    for column in ratings.T:
        known = column[~np.isnan(column)]
        if len(set(known)) > 1:
            factor = 2 if 2 <= stats.kurtosis(known, fisher=False) <= 4 else np.sqrt(20)
            for i, vote in enumerate(column):
                high[i] += vote >= known.mean() + factor * known.std(ddof=ddof)
                low[i] += vote <= known.mean() - factor * known.std(ddof=ddof)
    n = (~np.isnan(ratings)).sum(1)
    rejected = [(p + q) / m > 0.05 and abs(p - q) / (p + q) < 0.3 for p, q, m in zip(high, low, n, strict=True)]
    return high, low, rejected


@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1]))
def test_counts_are_the_slow_ones(seed, ddof):
    draw, _, ratings = panel(seed, n_subjects=9, n_stimuli=15)
    ratings[:2] = draw.normal(3, 3, (2, 15))
    ratings[draw.uniform(size=ratings.shape) < 0.1] = nan
    ratings[0], ratings[:, 0] = draw.normal(3, 3, 15), 3.3  # a stimulus that all rate alike
    screening = screen_counts(ratings, ddof=ddof)
    high, low, rejected = slow_counts(ratings, ddof)
    assert screening.high.tolist() == high.tolist() and screening.low.tolist() == low.tolist()
    assert screening.rejected.tolist() == rejected
    kurtosis = stats.kurtosis(ratings[:, 1:], axis=0, fisher=False, nan_policy="omit")
    np.testing.assert_allclose(screening.kurtosis[1:], kurtosis)
    assert np.isnan(screening.kurtosis[0])


def test_unanimous_stimuli_count_for_nobody():
    screening = screen_counts(np.full((5, 8), 4.1))
    assert not screening.rejected.any() and not screening.high.any() and not screening.low.any()
    assert np.isnan(screening.kurtosis).all()


def found_at_random(n_random, screen):
    """Share of raters who answer at random, among 20, that a rule finds, and of the others, over 60 experiments."""
    shares = []
    for seed in range(60):
        draw, _, ratings = panel(seed)
        ratings[:n_random] = draw.uniform(1, 5, (n_random, 60))
        rejected = screen(ratings).rejected
        shares.append((rejected[:n_random].mean(), rejected[n_random:].mean()))
    return np.mean(shares, axis=0)


def test_bt500_finds_one_random_rater_more_often_than_eight_and_correlation_finds_all():
    one, eight = found_at_random(1, screen_counts), found_at_random(8, screen_counts)
    assert one[0] > 0.65 and eight[0] < 0.55  # 0.75 and 0.43: many at random widen the spread that judges them
    assert one[1] < 0.01 and eight[1] < 0.01
    for n_random in (1, 8):
        assert found_at_random(n_random, screen_vqeg).tolist() == [1, 0]


def test_neither_rule_minds_a_rater_who_is_severe_throughout():
    _, _, ratings = panel(1)
    ratings[7] -= 2
    screening = screen_counts(ratings)
    assert screening.low[7] > 5 and screening.high[7] == 0 and not screening.rejected.any()
    assert not screen_vqeg(ratings).rejected.any()


@pytest.mark.parametrize("n_subjects, reached", [(21, False), (22, True)])
def test_the_wider_limit_cannot_be_reached_by_fewer_than_22_subjects(n_subjects, reached):
    ratings = np.zeros((n_subjects, 3))
    ratings[0] = 1e6  # as far out as can be: (n - 1) / sqrt(n) standard deviations, with a large kurtosis
    screening = screen_counts(ratings)
    assert (screening.kurtosis > 4).all() and (screening.high[0] == 3) == reached


def test_the_narrow_limit_needs_a_kurtosis_of_two():
    column = np.r_[np.ones(9), -np.ones(10)]
    for outlier, kurtosis, far in ((2.6, 1.8, 0), (3.2, 2.6, 1)):  # 2.1 and 2.4 standard deviations
        ratings = np.repeat(np.r_[column, outlier][:, None], 3, axis=1)
        screening = screen_counts(ratings)
        assert screening.kurtosis == pytest.approx([kurtosis] * 3, abs=0.1)
        assert (outlier - column.sum() / 20) / np.std(ratings[:, 0], ddof=1) > 2 and screening.high[-1] == 3 * far


def test_samviq_judges_by_the_smaller_correlation():
    ratings = np.round(panel(4)[2] ** 3)
    pearson, spearman = pearson_with_mos(ratings), spearman_with_mos(ratings)
    assert (pearson < spearman).any() and (spearman < pearson).any()
    assert screen_samviq(ratings).correlation.tolist() == np.minimum(pearson, spearman).tolist()


@given(st.integers(0, 2**32 - 1))
def test_correlations_are_scipys_over_the_stimuli_that_the_subject_rated(seed):
    draw, _, ratings = panel(seed, n_subjects=5, n_stimuli=12)
    ratings = np.round(ratings)  # ties
    ratings[draw.uniform(size=ratings.shape) < 0.2] = nan
    ratings[:, :4], ratings[0] = [1, 2, 3, 4], np.arange(12) % 5 + 1
    mos = opinion_scores(ratings).mos
    for i, row in enumerate(ratings):
        known = ~np.isnan(row)
        assert pearson_with_mos(ratings)[i] == pytest.approx(stats.pearsonr(row[known], mos[known]).statistic)
        assert spearman_with_mos(ratings)[i] == pytest.approx(stats.spearmanr(row[known], mos[known]).statistic)


def test_the_adaptive_threshold_is_at_most_070():
    assert samviq_threshold([0.9, 0.95, 0.92]) == 0.7
    assert samviq_threshold([0.9, 0.3]) == pytest.approx(0.6 - 0.3)
    assert samviq_threshold([0.9, 0.3], ddof=1) == pytest.approx(0.6 - 0.3 * np.sqrt(2))
    correlations = screen_samviq(panel(0)[2])
    assert correlations.threshold == 0.7 and not correlations.rejected.any()


def test_a_subject_must_miss_both_limits_of_the_multimedia_plan():
    draw, quality, ratings = panel(2)
    conditions = np.argsort(np.argsort(quality)) // 10  # ten stimuli of similar quality each
    ratings[0] = draw.permutation(ratings[0])
    ratings[1] = quality + draw.normal(0, 1.6, 60)  # noisy, yet right on average
    rejected, over_stimuli, over_conditions = screen_vqeg_conditions(ratings, conditions)
    assert np.flatnonzero(rejected).tolist() == [0]
    assert over_stimuli[1] < 0.75 and over_conditions[1] > 0.8
    means = np.array([[row[conditions == c].mean() for c in range(6)] for row in ratings])
    expected = [np.corrcoef(row, means.mean(0))[0, 1] for row in means]
    np.testing.assert_allclose(over_conditions, expected)


@pytest.mark.parametrize("call, message", [
    (lambda r: screen_counts(r[0]), r"\(subjects, stimuli\)"),
    (lambda r: pearson_with_mos(np.vstack((r, np.full(60, 2.1)))), r"subjects \[20\]; leave them out"),
    (lambda r: spearman_with_mos(np.vstack((r, np.full(60, 2.1)))), r"subjects \[20\]"),
    (lambda r: screen_samviq(np.vstack((r, [1.0] + [nan] * 59))), r"subjects \[20\]"),  # with one rating
    (lambda r: screen_vqeg_conditions(np.vstack((r, [1.0] + [nan] * 59)), range(60)), "59 missing"),
    (lambda r: screen_vqeg_conditions(r, range(59)), "59 conditions, 60 stimuli"),
], ids=["shape", "constant", "ranks", "single", "missing", "conditions"])
def test_what_cannot_be_screened_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(panel(3)[2])


def test_one_subject_agrees_with_himself_and_is_not_rejected():
    ratings = np.array([[1.0, 3, 2]])
    assert screen_samviq(ratings).correlation == pytest.approx([1]) and not screen_samviq(ratings).rejected.any()
    assert not screen_counts(ratings).rejected.any()
