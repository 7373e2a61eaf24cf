"""Logistic mappings: golden fits, what must hold for any scores, and the data on which simple fits fail."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares, nnls

from iqa_lab.evaluation.criteria import plcc, rmse, srocc
from iqa_lab.evaluation.mapping import FORMS, cubic, fit_mapping, linear, logistic_4, logistic_5

Q = np.array([20, 22, 25, 27, 30, 32, 35, 38, 40, 45.0])
S = np.array([12, 15, 26, 34, 52, 60, 72, 80, 83, 88.0])
# (form, parameters, PLCC, RMSE): from SciPy's curve_fit with several starts; linear from NumPy's corrcoef.
GOLDEN = [
    ("logistic_4", (89.21743, 2.88691, 29.16827, 4.11449), 0.9996420567, 0.7313885653),
    ("logistic_5", (66.37726, 0.2896913, 29.08358, 0.6125877, 27.91242), 0.9997201898, 0.6466679),
    ("linear", None, 0.9791489307, 5.5535),
]
SHAPES = {  # scores of images whose true quality is u in 0 to 1
    "like SSIM": lambda u: 1 - 0.4 * (1 - u) ** 3, "like PSNR": lambda u: 20 + 20 * u,
    "like MSE": lambda u: 10 ** (-4 * u),
    "like DMOS": lambda u: 100 * (1 - u), "tiny": lambda u: 1e-6 * u, "large": lambda u: 1e6 + 1e3 * u,
    "two groups": lambda u: np.where(u > 0.5, 0.9, 0.1) + 0.05 * u, "noise": lambda u: 0 * u,
}


def synthetic(shape, seed, n=60):
    """Returns scores of the shape with noise, and opinions from 1 to 5 that follow the quality by an S-shaped curve."""
    random = np.random.default_rng([seed, *shape.encode()])
    u = random.uniform(0, 1, n)
    scores = SHAPES[shape](u)
    spread = np.ptp(scores) or 1
    opinions = 1 + 4 / (1 + np.exp(-6 * (u - 0.5))) + 0.2 * random.normal(size=n)
    return scores + 0.03 * spread * random.normal(size=n), opinions


@pytest.mark.parametrize("form, parameters, correlation, error", GOLDEN, ids=[row[0] for row in GOLDEN])
def test_golden_fits(form, parameters, correlation, error):
    mapping = fit_mapping(Q, S, form=form)
    assert mapping.name == form and mapping.converged and mapping.monotonic
    if parameters:
        assert mapping.parameters == pytest.approx(parameters, rel=1e-5)
    assert plcc(mapping(Q), S) == pytest.approx(correlation, abs=1e-10)
    assert rmse(mapping(Q), S) == pytest.approx(error, abs=5e-5 if form == "linear" else 1e-7)
    assert mapping.sse == pytest.approx(np.square(mapping(Q) - S).sum(), rel=1e-9)


def test_the_formulas_at_hand_computed_places():
    q = np.array([0.0, 2.0])
    assert linear(q, 3, 1).tolist() == [1, 7]
    assert logistic_4(q, 10, 4, 0, 1) == pytest.approx([7, 4 + 6 / (1 + np.exp(-2))])
    assert logistic_4(q, 10, 4, 0, -1) == pytest.approx(logistic_4(q, 10, 4, 0, 1))  # |b4|
    assert logistic_5(q, 2, 1, 0, 3, 4) == pytest.approx([4, 2 * (0.5 - 1 / (1 + np.exp(2))) + 6 + 4])


def test_the_usual_start_values_run_away_where_ours_do_not():
    start = (S.max(), S.min(), Q.mean(), 0.1, 0.1)
    usual = least_squares(lambda b: logistic_5(Q, *b) - S, start, method="lm", max_nfev=20000).x
    assert plcc(logistic_5(Q, *usual), S) < 0.98 < 0.9997 < plcc(fit_mapping(Q, S, form="logistic_5")(Q), S)


@pytest.mark.parametrize("form", ["logistic_4", "logistic_5", "cubic"])
@pytest.mark.parametrize("shape", SHAPES)
def test_two_hundred_synthetic_sets_are_fitted(form, shape):
    for seed in range(25):  # eight shapes
        scores, opinions = synthetic(shape, seed)
        mapping = fit_mapping(scores, opinions, form=form)
        assert np.isfinite(mapping.parameters).all() and np.isfinite(mapping(scores)).all()
        assert plcc(mapping(scores), opinions) >= abs(plcc(scores, opinions)) - 1e-9
        assert mapping.name == form or not mapping.converged
        if form != "logistic_5":
            assert mapping.monotonic
        if shape not in ("noise", "like MSE"):  # MSE is too crowded near 0 for noise of one size
            assert plcc(mapping(scores), opinions) > 0.85, seed


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(sorted(SHAPES)), st.sampled_from(["logistic_4", "logistic_5", "cubic"]),
       st.floats(-3, 3), st.floats(-100, 100), st.booleans())
def test_a_fit_ignores_unit_zero_and_direction_of_the_scores(seed, shape, form, magnitude, zero, turned):
    scores, opinions = synthetic(shape, seed, n=25)
    scale = (-1 if turned else 1) * 10**magnitude / np.std(scores)
    mapping = fit_mapping(scores, opinions, form=form)
    again = fit_mapping(scale * scores + zero, opinions, form=form)
    assert again.sse == pytest.approx(mapping.sse, rel=1e-3)
    assert plcc(mapping(scores), opinions) >= abs(plcc(scores, opinions)) - 1e-9
    assert fit_mapping(scores, 7 * opinions - 3, form=form).sse == pytest.approx(49 * mapping.sse, rel=1e-3)


def test_lower_is_better_scores_get_a_falling_curve():
    mapping = fit_mapping(-Q, S)
    assert mapping.converged and (np.diff(mapping(-Q)) > 0).all() and mapping(-Q[0]) < mapping(-Q[-1])
    assert mapping.sse == pytest.approx(fit_mapping(Q, S).sse, rel=1e-8)


def test_a_monotonic_mapping_keeps_the_ranks():
    scores, opinions = synthetic("like SSIM", 3)
    assert srocc(fit_mapping(scores, opinions)(scores), opinions) == pytest.approx(srocc(scores, opinions), abs=1e-12)


def slow_monotonic_cubic(q, s):
    """Returns the squared error of the best monotonic cubic: its slope is a sum of (u - touch)^2 and u (1 - u).

    All slopes that stay >= 0 between 0 and 1 are such sums, with weights >= 0; here over a fine grid of touches.
    """
    u = (q - q.min()) / np.ptp(q)
    columns = np.c_[(u[:, None] - np.linspace(0, 1, 1001)) ** 3, u**2 - 2 * u**3 / 3]
    columns = columns - columns.mean(axis=0)
    columns /= np.linalg.norm(columns, axis=0)
    return min(nnls(columns, sign * (s - s.mean()))[1] ** 2 for sign in (1, -1))


def test_the_cubic_is_the_best_of_those_that_do_not_turn():
    turned = 0
    for shape, seed in [(shape, seed) for shape in SHAPES for seed in range(8)]:
        q, s = synthetic(shape, seed)
        mapping, slow = fit_mapping(q, s, form="cubic"), slow_monotonic_cubic(q, s)
        assert slow * (1 - 1e-4) < mapping.sse < slow * (1 + 1e-9)  # a better one may touch between two of the grid
        assert mapping.sse == pytest.approx(np.square(mapping(q) - s).sum(), rel=1e-9)
        u = (q - q.min()) / np.ptp(q)
        free = np.square(np.polyval(np.polyfit(u, s, 3), u) - s).sum()
        assert mapping.sse > free * (1 - 1e-9)
        turned += mapping.sse > free * (1 + 1e-6)
    assert 20 < turned < 64  # where the best cubic of all turns, it is another one


def test_a_cubic_that_does_not_turn_is_found_as_it_is():
    q = np.linspace(-1, 2, 20)
    for b in ((1, 0, 0.5, 3), (-2, 1, -0.3, 0)):
        mapping = fit_mapping(q, np.polyval(b, q), form="cubic")
        assert mapping.name == "cubic" and mapping.converged and mapping.monotonic
        assert mapping(q) == pytest.approx(np.polyval(b, q), abs=1e-9)
        middle = mapping.parameters[4]
        assert mapping.parameters[:4] == pytest.approx(np.poly1d(b)(np.poly1d([1, middle])).coeffs, abs=1e-9)
    assert cubic(np.array([3.0]), 2, -1, 4, 5, 1) == pytest.approx([2 * 8 - 4 + 8 + 5])


def test_a_curve_that_turns_is_said_to():
    q = np.linspace(-3, 3, 40)
    mapping = fit_mapping(q, logistic_5(q, 4, 3, 0, -0.5, 3), form="logistic_5")
    assert mapping.converged and not mapping.monotonic and mapping.sse < 1e-6


def test_where_no_logistic_is_better_the_straight_line_stands_in():
    mapping = fit_mapping(np.arange(8.0), 2 * np.arange(8.0) + 1)
    assert mapping.name == "linear" and not mapping.converged
    assert mapping.parameters == pytest.approx((2, 1)) and mapping.sse == pytest.approx(0, abs=1e-20)


def test_one_wild_score_does_not_ruin_the_fit():
    scores, opinions = synthetic("like PSNR", 0)
    scores[opinions.argmax()] = 1e9  # TID2013 writes 1e5 for the PSNR of an unchanged luma
    assert plcc(scores, opinions) < 0.4 < 0.9 < plcc(fit_mapping(scores, opinions)(scores), opinions)


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(ValueError, match="linear, logistic_4, logistic_5, cubic, got 'quadratic'"):
        fit_mapping(Q, S, form="quadratic")
    for form, (_, n_parameters) in FORMS.items():
        with pytest.raises(ValueError, match="at least 3" if form == "linear" else f"more than {n_parameters} images"):
            fit_mapping(Q[:n_parameters], S[:n_parameters], form=form)
    with pytest.raises(ValueError, match="differ"):
        fit_mapping(np.ones(10), S)
