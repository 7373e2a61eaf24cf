"""gMAD: pairs by slow search, matrices by hand, places of models that are known, and what is refused."""

from time import process_time
from tracemalloc import get_traced_memory, start, stop

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize

from iqa_lab.evaluation.gmad import (
    aggressiveness_and_resistance,
    global_ranking,
    gmad_pairs,
    likelihood,
    proxy_preference,
    random_pairs,
)
from iqa_lab.subjective.ranking import fit_scale, thurstone


def test_golden_pair():
    pairs = gmad_pairs([[50, 50, 50], [10, 90, 40]], n_levels=1)
    row = pairs[(pairs["attacker"] == 1) & (pairs["defender"] == 0)].iloc[0]
    assert (row["better"], row["worse"], row["gap"], row["defender_gap"], row["n_images"]) == (1, 0, 80, 0, 3)


def slow_levels(own, n_levels, half_width):
    step = (own.max() - own.min()) / n_levels
    for level in range(n_levels):
        centre = own.min() + step * 0.5 + level * step
        yield level, [i for i in range(len(own)) if centre - half_width < own[i] < centre + half_width]


def slow_gap(a, rows, contents):
    """Returns the largest difference of two images of different contents, or None."""
    gaps = [a[i] - a[j] for i in rows for j in rows if i != j and contents[i] != contents[j]]
    return max(gaps) if gaps else None


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([5, 101]), st.sampled_from([None, 2, 4]))
def test_pairs_are_the_best_of_all(seed, n_values, n_contents):
    random = np.random.default_rng(seed)
    scores = random.integers(0, n_values, (3, 14)) * (100 / (n_values - 1))
    contents = None if n_contents is None else random.integers(0, n_contents, 14)
    pairs = gmad_pairs(scores, n_levels=4, half_width=15.5, contents=contents)
    rows = {(r.attacker, r.defender, r.level): r for r in pairs.itertuples()}
    assert len(rows) == len(pairs)
    labels, expected = (np.arange(14) if contents is None else contents), 0
    for defender in range(3):
        for level, members in slow_levels(scores[defender], 4, 15.5):
            for attacker in {0, 1, 2} - {defender}:
                gap = slow_gap(scores[attacker], members, labels)
                if gap is None:
                    assert (attacker, defender, level) not in rows
                    continue
                row, expected = rows[attacker, defender, level], expected + 1
                assert row.gap == gap == scores[attacker, row.better] - scores[attacker, row.worse]
                assert row.better in members and row.worse in members and labels[row.better] != labels[row.worse]
                assert row.n_images == len(members)
                assert row.defender_gap == scores[defender, row.better] - scores[defender, row.worse]
                assert abs(row.defender_gap) < 2 * 15.5
    assert expected == len(pairs)


def test_an_equal_model_finds_no_gap_beyond_the_level_and_ties_go_to_the_first_image():
    own = np.random.default_rng(0).uniform(0, 100, 500)
    pairs = gmad_pairs([own, own])
    assert pairs["gap"].max() < 2 * 9 and len(pairs) == 12
    pairs = gmad_pairs([[0.0] * 4, [5.0, 9, 9, 5]], n_levels=1)
    assert pairs.loc[1, ["better", "worse"]].tolist() == [1, 0]
    assert pairs.loc[0, ["better", "worse", "gap"]].tolist() == [0, 1, 0]  # a constant attacker


def test_the_random_control_is_seeded_and_gentler_than_the_attack():
    random = np.random.default_rng(1)
    scores = np.clip(random.uniform(0, 100, 2000) + random.normal(0, 8, (3, 2000)), 0, 100)
    attack, control = gmad_pairs(scores), random_pairs(scores, seed=3)
    assert (control["gap"] >= 0).all() and control["gap"].mean() < attack["gap"].mean() / 3
    keys = ["attacker", "defender", "level", "n_images"]
    pd.testing.assert_frame_equal(control[keys], attack[keys])
    pd.testing.assert_frame_equal(control, random_pairs(scores, seed=3))
    assert (control["better"] != random_pairs(scores, seed=4)["better"]).any()
    assert (control["better"] != control["worse"]).all()


def hand_made():
    return pd.DataFrame({"attacker": [0, 0, 1, 1], "defender": [1, 1, 0, 0], "level": [0, 1, 0, 1],
                         "n_images": [10, 30, 5, 5], "better": [0, 1, 2, 0], "worse": [1, 2, 1, 2]})


def test_matrices_by_hand():
    aggressiveness, resistance = aggressiveness_and_resistance(hand_made(), [80, 40, -60, 20])
    assert aggressiveness.tolist() == [[0, 50], [0, 0]]  # (10 x 80 + 30 x 40) / 40; (-60 + 20) / 2 is floored
    assert resistance.tolist() == [[0, 60], [50, 0]]  # of 0 against 1: (40 + 80) / 2; of 1: (10 x 20 + 30 x 60) / 40
    assert proxy_preference(hand_made(), [90, 20, 50]).tolist() == [70, -30, 30, 40]


def test_the_model_nearest_to_the_proxy_wins_the_competition():
    random = np.random.default_rng(2)
    truth = random.uniform(0, 100, 20_000)
    scores = np.clip(truth + np.array([[3], [8], [16]]) * random.normal(0, 1, (3, 20_000)), 0, 100)
    pairs = gmad_pairs(scores)
    aggressiveness, resistance = aggressiveness_and_resistance(pairs, proxy_preference(pairs, truth))
    assert aggressiveness[0, 2] > aggressiveness[2, 0] and resistance[0, 2] > resistance[2, 0]
    for matrix in (aggressiveness, resistance):
        assert np.argsort(-global_ranking(matrix)).tolist() == [0, 1, 2]


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 8))
def test_places_are_those_of_another_optimiser(seed, m):
    wins = np.random.default_rng(seed).uniform(0, 100, (m, m)) + 1
    places = global_ranking(wins)
    assert places.sum() == pytest.approx(0, abs=1e-9)

    def loss(s):
        shares = stats.norm.logcdf(s[:, None] - s)
        np.fill_diagonal(shares, 0)
        return -(wins * shares).sum() / wins.sum()

    other = minimize(loss, np.zeros(m), tol=1e-9).x
    assert places == pytest.approx(other - other.mean(), abs=1e-4)
    assert loss(places) <= loss(other) + 1e-12
    assert global_ranking(7 * wins) == pytest.approx(places, abs=1e-8)


def test_the_likelihood_has_the_derivatives_that_are_given():
    random = np.random.default_rng(0)
    wins, places = random.uniform(0, 1, (4, 4)), random.normal(size=4)
    np.fill_diagonal(wins, 0)
    value, gradient, hessian = likelihood(places, wins, 0.7)
    prior = stats.norm(0, 0.7**-0.5)
    assert value == pytest.approx((wins * stats.norm.logcdf(places[:, None] - places)).sum()
                                  + (prior.logpdf(places) - prior.logpdf(0)).sum(), rel=1e-12)
    for i, step in enumerate(1e-5 * np.eye(4)):
        (up, up_gradient, _), (down, down_gradient, _) = (likelihood(places + sign * step, wins, 0.7) for sign in (1, -1))
        assert (up - down) / 2e-5 == pytest.approx(gradient[i], abs=1e-7)
        assert (up_gradient - down_gradient) / 2e-5 == pytest.approx(hessian[i], abs=1e-7)


def test_known_places_are_recovered_and_extreme_ones_found():
    random = np.random.default_rng(0)
    true = np.array([-1.0, -.3, 0, .4, .9])
    share = stats.norm.cdf(true[:, None] - true)
    n = 4000
    wins = np.zeros((5, 5))
    for i, j in zip(*np.triu_indices(5, 1)):
        wins[i, j] = random.binomial(n, share[i, j])
        wins[j, i] = n - wins[i, j]
    assert global_ranking(wins) == pytest.approx(true, abs=4 / np.sqrt(4 * n / 1.6))  # four standard errors, about
    apart = global_ranking([[0, 1e6], [1, 0]])
    assert apart[0] - apart[1] == pytest.approx(stats.norm.ppf(1e6 / (1e6 + 1)), abs=1e-6)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.sampled_from([0.3, 1.0, 4.0]))
def test_the_prior_is_that_of_fit_scale_and_places_models_without_a_win(seed, m, prior_std):
    wins = np.random.default_rng(seed).uniform(0, 100, (m, m)) * (1 - np.eye(m))
    wins[0] = 0  # model 0 never wins
    places = global_ranking(wins, prior_std=prior_std)
    assert places == pytest.approx(fit_scale(wins, thurstone, prior_std=prior_std).scores, abs=1e-6)
    with pytest.raises(ValueError, match="leave them out, or give prior_std"):
        global_ranking(wins)


def test_a_wide_prior_changes_nothing_and_without_wins_it_is_all_there_is():
    wins = np.random.default_rng(0).uniform(10, 100, (5, 5))
    assert global_ranking(wins, prior_std=1e4) == pytest.approx(global_ranking(wins), abs=1e-6)
    assert global_ranking(np.zeros((3, 3)), prior_std=1).tolist() == [0, 0, 0]
    near, far = (np.ptp(global_ranking([[0, 80], [0, 0]], prior_std=std)) for std in (1, 3))
    assert 0 < near < far


def test_100_000_images_and_30_models_stay_within_time_and_memory():
    random = np.random.default_rng(0)
    scores = np.clip(random.uniform(0, 100, 100_000) + random.normal(0, 8, (30, 100_000)), 0, 100)
    start()
    begin = process_time()
    pairs = gmad_pairs(scores)
    seconds, (_, peak) = process_time() - begin, get_traced_memory()
    stop()
    assert len(pairs) == 30 * 29 * 6 and seconds < 20  # 0.8 s where it was written
    assert peak < 1.5 * scores.nbytes


@pytest.mark.parametrize("call, message", [
    (lambda: gmad_pairs([[1, 2, 3]]), "at least 2 models"),
    (lambda: gmad_pairs([[1, np.nan], [1, 2]]), "Expected finite scores"),
    (lambda: gmad_pairs([[0, 100], [0, 100]]), "wider levels"),
    (lambda: gmad_pairs([[1, 2], [1, 2]], contents=["a"]), "content for each of 2 images"),
    (lambda: gmad_pairs([[1, 2], [1, 2]], contents=["a", None]), "missing"),
    (lambda: gmad_pairs([[1, 2], [1, 2]], contents=["a", "a"]), "two images, got none"),
    (lambda: proxy_preference(hand_made(), [1, 2]), "proxy score for each image"),
    (lambda: aggressiveness_and_resistance(hand_made(), [1, 2, 3, 101]), "from -100 to 100"),
    (lambda: aggressiveness_and_resistance(hand_made()[:2], [1, 2]), "every attacker with every defender"),
    (lambda: global_ranking([[0, 1], [0, 0]]), "2 groups"),
    (lambda: global_ranking([[0, 0], [0, 0]]), "2 groups"),
    (lambda: global_ranking([[0, 1], [1, 0]], prior_std=0), "positive prior_std"),
    (lambda: global_ranking([[0, -1], [1, 0]]), "values >= 0"),
    (lambda: global_ranking([[1]]), "M >= 2"),
], ids=["one", "nan", "levels", "contents", "missing", "same", "proxy", "preference", "cell", "beaten", "apart",
        "prior", "negative", "single"])
def test_what_cannot_compete_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
