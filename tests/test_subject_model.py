"""Subject models: independent solutions, recovered parameters, measured coverage, collapse, and what is refused."""

from math import nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from iqa_lab.subjective.rating import opinion_scores, remove_bias
from iqa_lab.subjective.subject_model import (
    conditional_errors,
    confidence_intervals,
    deviation_interval,
    fit_content_model,
    fit_subject_model,
    model_fit,
    model_residuals,
    model_variance,
    standard_errors,
)


def experiment(draw, n_subjects, n_stimuli, *, missing=0.0, ambiguity=0.0):
    """Returns ratings, psi, bias (mean 0) and inconsistency of a simulated experiment."""
    psi, bias = draw.uniform(1, 5, n_stimuli), draw.normal(0, 0.4, n_subjects)
    bias, inconsistency = bias - bias.mean(), draw.uniform(0.3, 1.2, n_subjects)
    deviation = np.sqrt(np.square(inconsistency)[:, None] + np.square(ambiguity))
    ratings = psi + bias[:, None] + deviation * draw.normal(size=(n_subjects, n_stimuli))
    ratings[draw.uniform(size=ratings.shape) < missing] = nan
    return ratings, psi, bias, inconsistency


# Independent solutions


def slow_projection(ratings):
    """P.910's iteration, subject by subject and stimulus by stimulus, to the letter (no floor)."""
    n_subjects, n_stimuli = ratings.shape
    known = ~np.isnan(ratings)
    psi = [np.mean(ratings[known[:, j], j]) for j in range(n_stimuli)]
    bias = [np.mean([ratings[i, j] - psi[j] for j in np.flatnonzero(known[i])]) for i in range(n_subjects)]
    for _ in range(1000):
        before = list(psi)
        spread = [np.std([ratings[i, j] - psi[j] - bias[i] for j in np.flatnonzero(known[i])])
                  for i in range(n_subjects)]
        for j in range(n_stimuli):
            pairs = [(ratings[i, j] - bias[i], 1 / (spread[i] ** 2 + 1e-8)) for i in np.flatnonzero(known[:, j])]
            psi[j] = sum(x * w for x, w in pairs) / sum(w for _, w in pairs)
        bias = [np.mean([ratings[i, j] - psi[j] for j in np.flatnonzero(known[i])]) for i in range(n_subjects)]
        if np.linalg.norm(np.subtract(psi, before)) < 1e-8:
            break
    return np.add(psi, np.mean(bias)), np.subtract(bias, np.mean(bias)), np.array(spread)


def test_the_model_is_the_slow_iteration():
    ratings = experiment(np.random.default_rng(0), 8, 25, missing=0.2)[0]
    model = fit_subject_model(ratings, floor=0)
    psi, bias, spread = slow_projection(ratings)
    assert model.converged
    np.testing.assert_allclose(model.psi, psi, atol=1e-11)
    np.testing.assert_allclose(model.bias, bias, atol=1e-11)
    np.testing.assert_allclose(model.inconsistency, spread, atol=1e-11)


def design(rated):
    """Rows of the ratings, columns of the stimuli and of the subjects but one (whose bias the others' sum fixes)."""
    i, j = np.nonzero(rated)
    subjects = np.vstack((np.eye(len(rated) - 1), -np.ones(len(rated) - 1)))
    return np.hstack((np.eye(rated.shape[1])[j], subjects[i])), i


@pytest.mark.parametrize("restricted", [False, True])
def test_a_general_optimiser_finds_the_same_inconsistencies(restricted):
    ratings = experiment(np.random.default_rng(3), 14, 60, missing=0.1)[0]  # with fewer, plain likelihood collapses
    rated = ~np.isnan(ratings)
    x, subject = design(rated)
    y = ratings[rated]

    def minus_log_likelihood(log_variance):
        weight = np.exp(-log_variance)[subject]
        information = x.T @ (weight[:, None] * x)
        residual = y - x @ np.linalg.solve(information, x.T @ (weight * y))
        value = log_variance[subject].sum() + (weight * residual**2).sum()
        return value + restricted * np.linalg.slogdet(information)[1]

    # Bounded below: at variance 0 plain likelihood is infinite.
    found = optimize.minimize(minus_log_likelihood, np.zeros(14), bounds=[(-5, 3)] * 14, options={"ftol": 1e-14})
    model = fit_subject_model(ratings, restricted=restricted)
    np.testing.assert_allclose(model.inconsistency, np.exp(found.x / 2), rtol=1e-4)


def test_joint_errors_are_those_of_generalised_least_squares():
    ratings = experiment(np.random.default_rng(4), 6, 20, missing=0.2)[0]
    model, rated = fit_subject_model(ratings, restricted=True), ~np.isnan(ratings)
    x, subject = design(rated)
    weight = (rated / model_variance(model))[rated]
    covariance = np.linalg.inv(x.T @ (weight[:, None] * x))
    errors = standard_errors(ratings, model)
    biases = np.vstack((np.eye(5), -np.ones(5)))
    np.testing.assert_allclose(np.square(errors.bias), np.diag(biases @ covariance[20:, 20:] @ biases.T))
    # Of a subject by the inverse of the information about all variances, psi being known as well as it is.
    share = (rated / model_variance(model)) / (rated / model_variance(model)).sum(0)
    information = np.array([[(a * b).sum() for b in share] for a in share])
    for i in range(6):
        information[i, i] = np.square(1 - share[i][rated[i]]).sum() - 1
    freedom = 1 / np.linalg.inv(information).diagonal()
    meier = 1 + 4 * (share * (1 - share) / freedom[:, None]).sum(0)
    np.testing.assert_allclose(np.square(errors.psi), covariance.diagonal()[:20] * meier)
    np.testing.assert_allclose(errors.inconsistency, model.inconsistency / np.sqrt(2 * freedom))


@pytest.mark.parametrize("group", ["psi", "bias", "inconsistency", "ambiguity"])
def test_conditional_errors_are_the_second_differences_of_the_likelihood(group):
    draw = np.random.default_rng(5)
    contents = np.arange(24) % 3
    ratings = experiment(draw, 9, 24, missing=0.1, ambiguity=np.array([0.3, 0.6, 0.9])[contents])[0]
    model, step = fit_content_model(ratings, contents), 1e-4

    def log_likelihood(k, change):
        values = getattr(model, group).copy()
        values[k] += change
        changed = model._replace(**{group: values})
        return np.nansum(stats.norm.logpdf(model_residuals(ratings, changed), scale=np.sqrt(model_variance(changed))))

    errors = getattr(conditional_errors(ratings, model), group)
    assert np.isfinite(errors).sum() >= len(errors) - 1
    for k in np.flatnonzero(np.isfinite(errors)):
        curvature = (log_likelihood(k, step) - 2 * log_likelihood(k, 0) + log_likelihood(k, -step)) / step**2
        assert errors[k] == pytest.approx(1 / np.sqrt(-curvature), rel=1e-3)
    assert (np.isnan(errors) == (getattr(model, group) == 0)).all() or group in ("psi", "bias")


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_zero_unit_and_order_do_not_matter(seed, restricted):
    draw = np.random.default_rng(seed)
    ratings = experiment(draw, 6, 15)[0]
    shift, order = draw.normal(size=6), draw.permutation(6)
    shift -= shift.mean()
    model = fit_subject_model(ratings, restricted=restricted)
    changed = fit_subject_model(10 * (ratings + shift[:, None])[order] - 7, restricted=restricted)
    # A fit ends where psi changes by less than TOLERANCE, in whatever unit: of 6000 pairs the slowest, with 644 steps,
    # ended 4e-5 apart.
    np.testing.assert_allclose(changed.psi, 10 * model.psi - 7, atol=1e-3)
    np.testing.assert_allclose(changed.bias, 10 * (model.bias + shift)[order], atol=1e-3)
    np.testing.assert_allclose(changed.inconsistency, 10 * model.inconsistency[order], atol=1e-3)


def test_the_fit_is_the_mean_of_the_log_density_with_its_penalties():
    residuals = np.array([[0.5, -1, nan], [1, 2, 0.3]])
    variance = np.array([1, 4, 0.25])
    expected = np.nanmean(stats.norm.logpdf(residuals, scale=np.sqrt(variance)))
    found = model_fit(residuals, variance, n_parameters=3)
    assert found == pytest.approx((expected, 6 / 5 - 2 * expected, 3 * np.log(5) / 5 - 2 * expected))
    certain = model_fit([[0.0, 1], [0, -1]], [0, 1], n_parameters=0)  # the two ratings without variance add nothing
    assert certain.log_likelihood == pytest.approx(2 * stats.norm.logpdf(1) / 4)


# Recovery and coverage


def test_parameters_are_recovered_from_many_ratings():
    ratings, psi, bias, inconsistency = experiment(np.random.default_rng(6), 40, 400, missing=0.3)
    model = fit_subject_model(ratings)
    errors = (model.psi - psi) / standard_errors(ratings, model).psi
    assert np.abs(errors).max() < 4.5 and errors.std() == pytest.approx(1, abs=0.15)
    np.testing.assert_allclose(model.bias, bias, atol=0.2)
    np.testing.assert_allclose(model.inconsistency, inconsistency, rtol=0.2)
    error_of_mos = np.square(opinion_scores(ratings).mos - psi).mean()
    assert np.square(model.psi - psi).mean() < 0.6 * error_of_mos


def test_a_severe_subject_who_saw_only_some_stimuli_lowers_their_mos_and_not_their_psi():
    draw = np.random.default_rng(7)
    ratings = 3 + draw.normal(0, 0.3, (8, 40))
    ratings[0] -= 3
    ratings[0, 20:] = nan
    by_mean = opinion_scores(ratings).mos
    by_model = fit_subject_model(ratings).psi
    by_removal = opinion_scores(remove_bias(ratings)[0]).mos
    gaps = [abs(scores[:20].mean() - scores[20:].mean()) for scores in (by_mean, by_removal, by_model)]
    assert gaps[0] > 0.3 and gaps[2] < 0.05 < gaps[1]  # P.913's removal starts from the biased means


def coverage(n_subjects, n_stimuli, *, n_experiments=500, missing=0.0, restricted=True):
    """Share of the 95 % intervals of psi, bias and inconsistency, and of the conditional ones of psi, that cover."""
    draw, covered = np.random.default_rng(8), []
    for _ in range(n_experiments):
        ratings, *truth = experiment(draw, n_subjects, n_stimuli, missing=missing)
        model = fit_subject_model(ratings, restricted=restricted)
        intervals = confidence_intervals(ratings, model)[:3]
        inside = [((low < value) & (value < high)).mean() for (low, high), value in zip(intervals, truth, strict=True)]
        error = 1.959964 * conditional_errors(ratings, model).psi
        covered.append([*inside, (np.abs(model.psi - truth[0]) < error).mean()])
    return np.mean(covered, axis=0)


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_95_per_cent_of_the_intervals_cover_the_truth(missing):
    psi, bias, inconsistency, _ = coverage(24, 80, missing=missing)
    spread = np.sqrt(0.95 * 0.05 / (500 * np.array([80, 24, 24])))  # binomial: 0.0011, 0.0020
    assert (np.abs(np.array([psi, bias, inconsistency]) - 0.95) < 3 * spread).all()


def test_in_a_small_experiment_the_restricted_intervals_hold_and_the_conditional_ones_of_plain_likelihood_do_not():
    restricted, plain = coverage(15, 20), coverage(15, 20, restricted=False)
    # Student's t and the degrees of freedom are approximations; of bias they are a little wide, 0.958.
    assert restricted[:3] == pytest.approx(0.95, abs=0.01)
    assert plain[3] < 0.72 < coverage(24, 80, restricted=False)[3] < 0.935  # 0.67 and 0.92: SUREAL's errors


def test_the_interval_of_a_deviation_is_that_of_chi_square():
    low, high = deviation_interval([2.0], [10], level=0.9)
    assert (low[0], high[0]) == pytest.approx((2 * np.sqrt(10 / 18.307), 2 * np.sqrt(10 / 3.940)), abs=1e-3)


# Collapse


def test_plain_likelihood_collapses_on_a_small_matrix_the_floor_and_the_restricted_one_do_not():
    ratings = np.random.default_rng(0).integers(1, 6, (8, 6)).astype(float)
    letter, floored = fit_subject_model(ratings, floor=0), fit_subject_model(ratings)
    assert letter.inconsistency.min() < 1e-6  # this subject's votes are the scale
    k = letter.inconsistency.argmin()
    np.testing.assert_allclose(letter.psi + letter.bias[k], ratings[k], atol=1e-5)
    assert floored.converged and floored.inconsistency.min() > 0.09 * floored.inconsistency.mean()
    assert np.abs(floored.psi + floored.bias[k] - ratings[k]).max() > 0.05
    restricted = fit_subject_model(ratings, restricted=True)
    assert restricted.inconsistency.min() > 0.2 * restricted.inconsistency.mean()


def test_equal_ratings_have_a_result():
    model = fit_subject_model(np.full((4, 5), 3.0))
    assert model.psi.tolist() == [3] * 5 and model.bias.tolist() == model.inconsistency.tolist() == [0] * 4
    assert (standard_errors(np.full((4, 5), 3.0), model).psi < 1e-3).all()
    model = fit_content_model(np.full((4, 5), 3.0), list("aabbb"))
    assert model.psi.tolist() == [3] * 5 and not model.inconsistency.any() and not model.ambiguity.any()


# Content ambiguity


def test_variances_of_the_content_model_are_recovered_and_their_common_part_is_the_contents():
    draw, contents = np.random.default_rng(9), np.repeat(list("cab"), 200)
    ambiguity = np.repeat([0.9, 0.2, 0.5], 200)
    ratings, psi, bias, inconsistency = experiment(draw, 30, 600, ambiguity=ambiguity)
    model = fit_content_model(ratings, contents)
    assert model.converged and (np.array(list("abc"))[model.contents] == contents).all()
    assert model.inconsistency.min() == 0
    truth = np.square(inconsistency)[:, None] + np.square([0.2, 0.5, 0.9])
    found = np.square(model.inconsistency)[:, None] + np.square(model.ambiguity)
    np.testing.assert_allclose(found, truth, rtol=0.2, atol=0.05)
    np.testing.assert_allclose(model.bias, bias, atol=0.15)
    assert np.corrcoef(model.psi, psi)[0, 1] > 0.99
    assert np.isnan(confidence_intervals(ratings, model).inconsistency).all()
    plain = fit_subject_model(ratings)
    fits = [model_fit(model_residuals(ratings, m), model_variance(m), n_parameters=n).bic
            for m, n in ((model, 663), (plain, 660))]
    assert fits[0] < fits[1]


def test_the_likelihood_does_not_know_a_common_variance():
    draw, contents = np.random.default_rng(10), np.arange(30) % 5
    ratings = experiment(draw, 10, 30, ambiguity=0.5)[0]
    model = fit_content_model(ratings, contents)
    common = 0.5 * np.square(model.ambiguity).min()
    moved = model._replace(inconsistency=np.sqrt(np.square(model.inconsistency) + common),
                           ambiguity=np.sqrt(np.square(model.ambiguity) - common))
    fits = [model_fit(model_residuals(ratings, m), model_variance(m), n_parameters=0) for m in (model, moved)]
    assert fits[0].log_likelihood == pytest.approx(fits[1].log_likelihood, abs=1e-12)


def test_the_content_model_is_at_a_maximum_and_its_restricted_form_has_larger_variances():
    draw, contents = np.random.default_rng(11), np.arange(40) % 4
    ratings = experiment(draw, 12, 40, missing=0.1, ambiguity=np.array([0.2, 0.4, 0.8, 1.2])[contents])[0]
    model = fit_content_model(ratings, contents)

    def log_likelihood(m):
        return model_fit(model_residuals(ratings, m), model_variance(m), n_parameters=0).log_likelihood

    best = log_likelihood(model)
    for _ in range(200):
        moved = model._replace(psi=model.psi + draw.normal(0, 0.01, 40), bias=model.bias + draw.normal(0, 0.01, 12),
                               inconsistency=np.abs(model.inconsistency + draw.normal(0, 0.01, 12)),
                               ambiguity=model.ambiguity + draw.normal(0, 0.01, 4))
        assert log_likelihood(moved) < best
    restricted = fit_content_model(ratings, contents, restricted=True)
    assert model_variance(restricted).mean() > 1.05 * model_variance(model).mean()


# Refused

FULL = np.random.default_rng(12).normal(3, 1, (4, 6))
APART = np.block([[FULL, np.full((4, 6), nan)], [np.full((4, 6), nan), FULL]])
FEW = np.vstack((FULL, [1, 2, nan, nan, nan, nan]))


@pytest.mark.parametrize("call, message", [
    (lambda: fit_subject_model(FULL[0]), r"\(subjects, stimuli\)"),
    (lambda: fit_subject_model(FULL[:1]), r"others rated too, got fewer for subjects \[0\]"),
    (lambda: fit_subject_model(FEW), r"for subjects \[4\]"),
    (lambda: fit_subject_model(APART), "got 2 separate groups"),
    (lambda: fit_content_model(APART, range(12)), "got 2 separate groups"),
    (lambda: fit_content_model(FULL, [0, 1]), r"each of 6 stimuli, got shape \(2,\)"),
], ids=["shape", "one subject", "two ratings", "groups", "groups of contents", "contents"])
def test_what_cannot_be_fitted_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
