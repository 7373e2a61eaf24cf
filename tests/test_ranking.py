"""Scores from comparisons: golden numbers, a regression library, SUREAL's asserted values, and speed."""

import os
import time
from math import log
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from iqa_lab.subjective import ranking
from iqa_lab.subjective.comparisons import comparison_matrix, sparse_comparison_matrix
from iqa_lab.subjective.ranking import JOD_SIGMA, bradley_terry, fit_scale, jod, preference, thurstone
from iqa_lab.subjective.ranking_inference import difference_test, score_covariance

DATA = os.environ.get("IQA_LAB_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="comparisons and asserted values: set IQA_LAB_DATA")
WINS = np.array([[0, 3, 2, 7], [1, 0, 6, 3], [4, 3, 0, 0], [1, 2, 5, 0]])  # the example in SUREAL's code
connected = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).integers(1, 9, (5, 5)) * (
    1 - np.eye(5, dtype=int)))


def test_golden_numbers_of_three_models():
    scale = fit_scale(WINS, bradley_terry)
    assert scale.scores == pytest.approx([0.50989193, 0.07398440, -0.47040697, -0.11346936], abs=1e-8)
    strengths = np.exp(log_softmax(scale.scores))
    assert strengths == pytest.approx([0.39092801, 0.25280436, 0.14667577, 0.20959186], abs=1e-8)
    assert scale.log_likelihood == pytest.approx(-24.118918, abs=1e-6)
    scale = fit_scale(WINS, thurstone)
    assert scale.scores == pytest.approx([0.3074716, 0.0485362, -0.2815695, -0.0744383], abs=1e-7)
    assert scale.log_likelihood == pytest.approx(-24.145245, abs=1e-6)
    # 2e-6: these were computed with sigma = 1.4826, ours has all its digits.
    assert fit_scale(WINS, jod).scores == pytest.approx([0.4558574, 0.0719598, -0.4174549, -0.1103622], abs=2e-6)
    assert fit_scale(WINS, jod, zero_item=0).scores == pytest.approx([0, -0.3838976, -0.8733123, -0.5662196], abs=2e-6)


def test_one_jod_is_75_per_cent():
    wins = [[0, 25, 0], [75, 0, 25], [0, 75, 0]]  # the first example of pwcmp
    assert fit_scale(wins, jod, zero_item=0).scores == pytest.approx([0, 1, 2], abs=1e-9)
    assert JOD_SIGMA == pytest.approx(1.4826022, abs=1e-7)
    shares = preference([0, 0.5, 1, 2, 3], jod)
    assert shares[1:, 0] == pytest.approx([0.63203, 0.75, 0.91133, 0.97849], abs=5e-6)
    assert shares + shares.T == pytest.approx(np.ones((5, 5)))


@given(connected)
@settings(max_examples=25, deadline=None)
def test_bradley_terry_is_a_logistic_regression_without_a_constant(wins):
    first, second = np.nonzero(wins)
    design = np.zeros((len(first), 5))
    design[np.arange(len(first)), first], design[np.arange(len(first)), second] = 1, -1
    weights = wins[first, second]
    regression = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000)
    regression.fit(np.concatenate([design, -design])[:, 1:], np.repeat([1, 0], len(first)), np.tile(weights, 2))
    scores = fit_scale(wins, bradley_terry, zero_item=0).scores
    assert scores[1:] == pytest.approx(regression.coef_[0], abs=1e-5)


@pytest.mark.parametrize("prior_std", [None, 0.7])
def test_jod_is_the_maximum_of_a_slow_likelihood(prior_std):
    def loss(q):
        total = 0 if prior_std is None else sum(q**2) / (2 * prior_std**2)
        for i in range(4):
            for j in range(4):
                total -= WINS[i, j] * log(stats.norm.cdf(q[i] - q[j], scale=1.4826022185056018))
        return total

    slow = minimize(loss, np.zeros(4), tol=1e-12).x
    assert fit_scale(WINS, jod, prior_std=prior_std).scores == pytest.approx(slow - slow.mean(), abs=1e-6)


@given(connected, st.permutations(range(5)), st.sampled_from([bradley_terry, thurstone, jod]))
@settings(max_examples=25, deadline=None)
def test_scores_follow_the_items_and_turn_with_the_votes(wins, order, link):
    scores = fit_scale(wins, link).scores
    assert fit_scale(wins[np.ix_(order, order)], link).scores == pytest.approx(scores[order], abs=1e-9)
    assert fit_scale(wins.T, link).scores == pytest.approx(-scores, abs=1e-9)
    assert fit_scale(3 * wins, link).scores == pytest.approx(scores, abs=1e-9)  # more votes, same shares
    assert fit_scale(wins, link, zero_item=2).scores == pytest.approx(scores - scores[2], abs=1e-9)
    assert fit_scale(sparse.csr_array(wins), link).scores == pytest.approx(scores, abs=1e-12)


def test_a_prior_makes_unanimous_votes_finite_and_weakens():
    unanimous = [[0, 10], [0, 0]]
    assert np.ptp(fit_scale(unanimous, jod, prior_std=JOD_SIGMA).scores) == pytest.approx(2.61, abs=5e-3)
    spans = [np.ptp(fit_scale(WINS, jod, prior_std=std).scores) for std in (0.1, 1, 10, 1000)]
    assert spans == sorted(spans) and spans[-1] == pytest.approx(np.ptp(fit_scale(WINS, jod).scores), abs=1e-5)
    parts = np.kron(np.eye(2), [[0, 3], [1, 0]])  # two parts: the prior puts the mean of each at 0
    assert fit_scale(parts, jod, prior_std=1).scores.reshape(2, 2).sum(axis=1) == pytest.approx([0, 0], abs=1e-12)


def test_conjugate_gradients_find_what_dense_matrices_find(monkeypatch):
    rng = np.random.default_rng(0)
    chain = np.diag(rng.integers(1, 9, 59), 1) + np.diag(rng.integers(1, 9, 59), -1)  # the worst graph for them
    dense = [fit_scale(chain, link, prior_std=std).scores for link in (bradley_terry, jod) for std in (None, 2)]
    monkeypatch.setattr(ranking, "DENSE_ITEMS", 1)
    iterated = [fit_scale(chain, link, prior_std=std).scores for link in (bradley_terry, jod) for std in (None, 2)]
    assert np.stack(iterated) == pytest.approx(np.stack(dense), abs=1e-8)


def test_5000_items_with_200000_comparisons_in_seconds():
    rng = np.random.default_rng(0)
    true, first = rng.normal(size=5000), rng.integers(5000, size=200_000)
    second = (first + rng.integers(1, 5000, 200_000)) % 5000
    ahead = rng.random(200_000) < 1 / (1 + np.exp(true[second] - true[first]))
    wins = sparse_comparison_matrix(np.where(ahead, first, second), np.where(ahead, second, first))
    start = time.perf_counter()
    scale = fit_scale(wins, bradley_terry)
    assert time.perf_counter() - start < 20  # about 1 s alone on one core; issue: under a minute
    expected = np.asarray(preference(scale.scores, bradley_terry) * (wins + wins.T).toarray()).sum(axis=1)
    assert expected == pytest.approx(wins.sum(axis=1), abs=1e-4)  # at the maximum: expected wins are the wins
    assert np.corrcoef(scale.scores, true)[0, 1] > 0.95


def asserted(model, dataset, quantity):
    """Returns a number that SUREAL's test suite asserts to 4 places."""
    rows = pd.read_csv(Path(DATA) / "golden" / "sureal" / "asserted_values.csv")
    rows = rows[rows["model"].str.startswith(model) & (rows["dataset"] == dataset) & (rows["quantity"] == quantity)]
    return pytest.approx(rows["expected"].iloc[0], abs=5e-5)


def sharpening():
    """Returns the votes on sharpened images, and the content of each; contents were not compared with each other."""
    folder = Path(DATA) / "scores" / "pairwise"
    trials, stimuli = (pd.read_csv(folder / f"krasula_sharpening_{name}.csv") for name in ("pc", "stimuli"))
    return comparison_matrix(trials["asset_id"], trials["other_asset_id"]), stimuli["content_id"].to_numpy()


def scores_by_content(link, wins, contents):
    parts = [np.flatnonzero(contents == content) for content in np.unique(contents)]
    return parts, np.concatenate([fit_scale(wins[np.ix_(part, part)], link).scores for part in parts])


def zermelo(wins):
    """The iteration of SUREAL: p_i = wins_i / sum_j n_ij / (p_i + p_j), to a change of 1e-8."""
    n, p, change = wins + wins.T, np.full(len(wins), 1 / len(wins)), 1
    while change > 1e-8:
        new = wins.sum(axis=1) / (n / (p[:, None] + p)).sum(axis=1)
        change, p = np.linalg.norm(new / new.sum() - p), new / new.sum()
    return p


def bordered_inverse(second_derivatives):
    n = len(second_derivatives)
    return np.linalg.pinv(np.block([[-second_derivatives, np.ones((n, 1))], [np.ones((1, n)), 0]]))[:-1, :-1]


@needs_data
def test_bradley_terry_of_sureal_on_sharpened_images():
    (wins, contents), file = sharpening(), "lukas_pc_dataset.py"
    p = zermelo(wins)
    got = float(np.log(p).sum()), np.log(p).var(), stats.kurtosis(np.log(p)), stats.kurtosis(p)
    for value, quantity in zip(got, (
            "float(np.sum(result['quality_scores']))", "float(np.var(result['quality_scores']))",
            "st.kurtosis(result['quality_scores'])", "st.kurtosis(result['quality_scores_p'])")):
        assert value == asserted("BradleyTerryMle", file, quantity)
    parts, scores = scores_by_content(bradley_terry, wins, contents)
    for part in parts:  # 1e-4: their iteration stops early; the distance of contents is what it happens to stop at
        assert np.log(p[part]) - np.log(p[part]).mean() == pytest.approx(scores[part], abs=1e-4)
    scores[parts[-1]] -= scores[-1]  # their Newton iteration puts the last item at 0, and each other content's mean
    assert stats.kurtosis(scores) == pytest.approx(-0.05721221160408, abs=1e-12)
    assert stats.kurtosis(scores) == asserted("BradleyTerryNewton", file, "st.kurtosis(result['quality_scores'])")
    # Their errors have 2 n / (p_i + p_j) for n / (p_i + p_j)^2, as asserted; ours are not these numbers.
    n, pp = wins + wins.T, p[:, None] + p
    shipped = n / pp * 2 + np.diag((-wins / p[:, None]**2 + n / pp**2).sum(axis=1))
    errors = np.sqrt(np.diag(bordered_inverse(shipped))) / p
    assert errors.sum() == asserted("BradleyTerryMle", file, "float(np.sum(result['quality_scores_std']))")


@needs_data
def test_thurstone_of_sureal_on_sharpened_images():
    (wins, contents), file = sharpening(), "lukas_pc_dataset.py"
    _, scores = scores_by_content(thurstone, wins, contents)
    z = (scores - scores.mean()) / scores.std()
    for value, quantity in ((z[0], "result['quality_scores'][0]"), (z[-1], "result['quality_scores'][-1]"),
                            (stats.kurtosis(z), "st.kurtosis(result['quality_scores'])")):
        assert value == asserted("Thurstone", file, quantity)
    # Their second derivatives weight all n votes as if each had gone to the row's item; asserted, and not ours.
    d = scores[:, None] - scores
    phi, cdf = stats.norm.pdf(d), stats.norm.cdf(d)
    curvature = (wins + wins.T) * (d * phi * cdf + phi**2) / cdf**2
    errors = np.sqrt(np.diag(bordered_inverse(curvature - np.diag(curvature.sum(axis=1))))) / scores.std()
    assert errors.sum() == asserted("Thurstone", file, "float(np.sum(result['quality_scores_std']))")
    assert errors[0] == asserted("Thurstone", file, "result['quality_scores_std'][0]")


@needs_data
def test_bradley_terry_of_sureal_on_ratings_made_comparisons():
    table = pd.read_csv(Path(DATA) / "scores" / "sureal_raw" / "nflx_public.csv")
    ratings = table.pivot(index="asset_id", columns="subject", values="score").to_numpy()
    more, equal = ratings[:, None] > ratings, ratings[:, None] == ratings
    wins = (more + equal / 2).sum(axis=2) * (1 - np.eye(len(ratings)))
    scores, file = log_softmax(fit_scale(wins, bradley_terry).scores), "NFLX_dataset_public_raw.py"
    for value, quantity in ((scores.var(), "float(np.var(result['quality_scores']))"),
                            (stats.kurtosis(scores), "st.kurtosis(result['quality_scores'])"),
                            (stats.kurtosis(np.exp(scores)), "st.kurtosis(result['quality_scores_p'])")):
        assert value == asserted("BradleyTerryMle", file, quantity)
    assert np.log(zermelo(wins)).sum() == asserted("BradleyTerryMle", file, "float(np.sum(result['quality_scores']))")
    assert np.log(zermelo(wins)) == pytest.approx(scores, abs=1e-5)  # which ours is where theirs would end


@needs_data
def test_light_fields_of_14_scenes_are_scaled_in_the_order_of_their_levels():
    trials = pd.read_csv(Path(DATA) / "scores" / "pairwise" / "pwcmp_lf_quality_pwcmps.csv")
    assert len(trials) == 26_580 and trials["scene"].nunique() == 14
    for _, scene in trials.groupby("scene"):
        shown = [scene[f"dist_type{k}"] + " " + scene[f"dist_level{k}"].astype(str).str.zfill(2) for k in (1, 2)]
        codes, names = pd.factorize(np.concatenate(shown), sort=True)
        (a, b), ahead = codes.reshape(2, -1), scene["selected"].to_numpy() == 1
        scale = fit_scale(comparison_matrix(np.where(ahead, a, b), np.where(ahead, b, a)), jod)
        scores, kind = scale.scores, np.array([name.split()[0] for name in names])
        reference = int(np.flatnonzero(kind == "Reference")[0])
        rivals = np.delete(np.arange(25), reference)
        test = difference_test(scores, score_covariance(scale), rivals, reference)
        assert len(names) == 25 and not ((test.difference > 0) & (test.p_value < 0.05)).any()  # nothing beats it
        for one in set(kind) - {"Reference"}:  # names are sorted by level: at most one neighbouring pair is swapped
            assert stats.spearmanr(np.arange((kind == one).sum()), scores[kind == one]).statistic < -0.9
