"""The fidelity loss: the specification's number, its ends, cross-entropy beside it, and a scale that it does not need."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from iqa_lab.subjective.ranking import preference, thurstone
from iqa_lab.training.fidelity import fidelity_loss, fit_linear_ranker, thurstone_probability

SHARES = st.floats(0, 1)
INNER = st.floats(0.01, 0.99)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_the_number_of_the_specification():
    assert fidelity_loss(tensor(0.7), tensor(0.9)).item() == pytest.approx(0.033069526, abs=5e-10)


@given(SHARES, SHARES)
def test_it_is_a_bounded_symmetric_distance(p, g):
    one, other, mirrored = (fidelity_loss(tensor(a), tensor(b)).item() for a, b in ((p, g), (g, p), (1 - p, 1 - g)))
    assert -1e-9 <= one <= 1
    assert other == pytest.approx(one, abs=1e-12) and mirrored == pytest.approx(one, abs=1e-7)  # 1 - p loses digits
    hellinger = ((np.sqrt([p, 1 - p]) - np.sqrt([g, 1 - g])) ** 2).sum() / 2
    assert one == pytest.approx(hellinger, abs=1e-7)


@given(SHARES)
def test_it_is_0_only_where_the_answer_is_met(p):
    same, end = fidelity_loss(tensor(p, 0), tensor(p, 1))
    assert same.item() == pytest.approx(0, abs=1e-9) and end.item() == pytest.approx(1)


@given(INNER, INNER)
def test_beside_cross_entropy(p, g):
    """A certain pair costs 1 - exp(-c / 2); in general the excess of cross-entropy is twice the loss or more."""
    p, g = tensor(p), tensor(g)
    certain = F.binary_cross_entropy(p, tensor(1))
    assert fidelity_loss(p, tensor(1)).item() == pytest.approx(1 - np.exp(-certain.item() / 2), abs=1e-9)
    excess = F.binary_cross_entropy(p, g) - F.binary_cross_entropy(g, g)
    assert excess.item() >= 2 * fidelity_loss(p, g).item() - 1e-9


def test_the_gradient_is_right_and_finite_at_both_ends():
    p, g = (torch.rand(8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.8 + 0.1 for seed in (0, 1))
    assert torch.autograd.gradcheck(fidelity_loss, (p.requires_grad_(), g))
    scores = torch.tensor([-40.0, -5, 0, 5, 40], requires_grad=True)  # float32, where p is 0 or 1
    for target in (0.0, 1.0):
        loss = fidelity_loss(thurstone_probability(scores, torch.zeros(5)), torch.full((5,), target))
        gradient, = torch.autograd.grad(loss.sum(), scores)
        assert gradient.isfinite().all() and gradient.abs().max() < 1
        assert (gradient[1:3] if target else -gradient[2:4]).max() < 0  # towards the answer


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.1, 30), st.floats(0.1, 30)), min_size=1))
def test_thurstones_probability(rows):
    m1, m2, s1, s2 = np.array(rows).T
    expected = norm.cdf((m1 - m2) / np.hypot(s1, s2))
    np.testing.assert_allclose(thurstone_probability(*map(torch.from_numpy, (m1, m2, s1, s2))), expected, atol=1e-12)
    np.testing.assert_allclose(thurstone_probability(*map(torch.from_numpy, (m2, m1, s2, s1))), 1 - expected, atol=1e-12)


def test_deviations_of_1_are_case_v_and_others_differentiate():
    scores = tensor(0, 0.4, 1.5, -2)
    ours = thurstone_probability(scores[:, None], scores)
    np.testing.assert_allclose(ours, preference(scores.numpy(), lambda d: thurstone(d, 2**0.5)), atol=1e-12)
    arguments = (tensor(0, 1, 3), tensor(0.5, 0, -1), tensor(1, 2, 0.5), tensor(1, 0.3, 2))
    assert torch.autograd.gradcheck(thurstone_probability, [x.requires_grad_() for x in arguments])


@given(st.floats(0.01, 100), st.floats(-1000, 1000))
def test_the_target_does_not_depend_on_the_scale_of_a_database(scale, shift):
    mos, deviations = tensor(20, 60, 45), tensor(18, 22, 25)
    one, other = (thurstone_probability(m[:-1], m[1:], s[:-1], s[1:])
                  for m, s in ((mos, deviations), (scale * mos + shift, scale * deviations)))
    np.testing.assert_allclose(one, other, atol=1e-9)


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"Expected one target for each probability, got shapes \(3, 1\) and \(3,\)"):
        fidelity_loss(torch.rand(3, 1), torch.rand(3))


def two_laboratories() -> tuple[torch.Tensor, ...]:
    """Returns true weights, features of both images of 2000 pairs within two laboratories with two scales, and targets."""
    random = torch.Generator().manual_seed(0)
    truth, x = tensor(1, -0.5, 0, 0.3, 0), torch.randn(300, 5, generator=random, dtype=torch.float64)
    scale = torch.where(torch.arange(300) < 150, 20.0, 3.0).double()
    opinions = scale * (x @ truth) + 7 * scale**2
    first, second = torch.cat([torch.randint(k, k + 150, (2, 1000), generator=random) for k in (0, 150)], 1)
    target = thurstone_probability(*(part[k] for part in (opinions, scale) for k in (first, second)))
    return truth, x[first], x[second], target


def test_a_ranking_is_learned_from_two_databases_with_different_scales():
    truth, *pairs = two_laboratories()
    np.testing.assert_allclose(fit_linear_ranker(*pairs, penalty=0), truth, atol=1e-3)  # the raters' spread is the unit
    shrunk = fit_linear_ranker(*pairs, penalty=0.1)
    assert shrunk.norm() < 0.8 * truth.norm() and torch.nn.functional.cosine_similarity(shrunk, truth, dim=0) > 0.95


def test_the_ranker_by_cross_entropy_is_a_logistic_regression_of_differences():
    _, first, second, target = two_laboratories()
    answers = (target > 0.5).double()
    ours = fit_linear_ranker(first, second, answers, cross_entropy=True, penalty=0.01)
    theirs = LogisticRegression(C=1 / (2 * 0.01 * len(answers)), fit_intercept=False, tol=1e-10).fit(first - second, answers)
    np.testing.assert_allclose(ours, theirs.coef_[0], atol=1e-4)


def test_the_ranker_has_come_to_rest():
    _, first, second, target = two_laboratories()
    weights = fit_linear_ranker(first, second, target, penalty=0.01).requires_grad_()
    losses = 2 * fidelity_loss(thurstone_probability(first @ weights, second @ weights), target)
    gradient, = torch.autograd.grad(losses.mean() + 0.01 * weights.square().sum(), weights)
    assert gradient.abs().max() < 1e-4
