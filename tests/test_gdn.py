"""GDN: the golden value, a pixel-by-pixel twin, its bounds, and parameters that stay valid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from iqa_lab.ops.gdn import BETA_MIN, GDN, project


def random_gdn(channels: int, seed: int = 0) -> GDN:
    """Returns a float64 layer whose gamma is not symmetric."""
    generator = torch.Generator().manual_seed(seed)
    gdn = GDN(channels).double().requires_grad_(False)
    gdn.beta.copy_(torch.rand(channels, generator=generator) + 0.1)
    gdn.gamma.copy_(torch.rand(channels, channels, generator=generator))
    return gdn


def random_maps(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_golden_value():
    gdn = GDN(3).double().requires_grad_(False)
    gdn.gamma.fill_(0.1)
    x = torch.tensor([1, -2, 0.5], dtype=torch.float64).view(1, 3, 1, 1)
    np.testing.assert_allclose(gdn(x).flatten(), [0.80977633, -1.61955266, 0.40488817], rtol=0, atol=5e-9)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 1000))
def test_each_pixel_equals_the_formula(channels, height, width, seed):
    gdn, x = random_gdn(channels, seed), random_maps(2, channels, height, width, seed=seed)
    y, beta, gamma, slow = gdn(x), gdn.beta.numpy(), gdn.gamma.numpy(), np.empty(x.shape)
    for n, row, column in np.ndindex(2, height, width):
        pixel = x[n, :, row, column].numpy()
        for i in range(channels):
            slow[n, i, row, column] = pixel[i] / np.sqrt(beta[i] + sum(gamma[i, j] * pixel[j]**2 for j in range(channels)))
    np.testing.assert_allclose(y, slow, rtol=1e-12)


def test_first_values_are_those_of_tensorflows_layer():
    x = random_maps(1, 4, 3, 3)
    torch.testing.assert_close(GDN(4).double()(x), x / (1 + 0.1 * x * x).sqrt(), rtol=1e-7, atol=0)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.floats(-6, 6))
def test_outputs_have_a_bound_and_keep_sign_and_order(seed, exponent):
    """Contrast is taken out: however large the input, channel i stays below 1 / sqrt(gamma_ii)."""
    gdn, x = random_gdn(4, seed), random_maps(1, 4, 5, 5, seed=seed)
    y, louder = gdn(x), gdn(10**abs(exponent) * x)
    assert (louder.abs() <= gdn.gamma.diagonal()[:, None, None]**-0.5 * (1 + 1e-12)).all()
    assert torch.equal(louder.sign(), x.sign()) and (louder.abs() >= y.abs() * (1 - 1e-12)).all()


def test_gradcheck_also_at_zero():
    gdn, x = random_gdn(3), random_maps(2, 3, 2, 3)
    x[0, :, 0] = 0
    inputs = [part.requires_grad_() for part in (x, gdn.beta, gdn.gamma)]

    def call(x: torch.Tensor, beta: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(gdn, {"beta": beta, "gamma": gamma}, x)

    assert torch.autograd.gradcheck(call, inputs)


def test_projection_gives_the_nearest_valid_parameters():
    gdn = GDN(3).requires_grad_(False)
    gdn.beta.copy_(torch.tensor([-1, 0.5, 0]))
    gdn.gamma.copy_(torch.tensor([[1.0, 3, -2], [1, -4, 0], [-2, 6, 2]]))
    gdn.project()
    torch.testing.assert_close(gdn.beta, torch.tensor([BETA_MIN, 0.5, BETA_MIN]))
    torch.testing.assert_close(gdn.gamma, torch.tensor([[1.0, 2, 0], [2, 0, 3], [0, 3, 2]]))
    before = {name: value.clone() for name, value in gdn.state_dict().items()}
    gdn.project()
    assert all(torch.equal(value, before[name]) for name, value in gdn.state_dict().items())


def test_every_layer_of_a_network_is_projected():
    network = nn.Sequential(GDN(2), nn.Sequential(nn.Conv2d(2, 2, 1), GDN(2))).requires_grad_(False)
    weight = network[1][0].weight.fill_(-1.0).clone()
    for gdn in (network[0], network[1][1]):
        gdn.gamma.fill_(-1.0)
    project(network)
    assert not network[0].gamma.any() and not network[1][1].gamma.any() and torch.equal(network[1][0].weight, weight)


@pytest.mark.parametrize("rate", [10.0, 100.0])
def test_training_with_projection_stays_finite(rate):
    torch.manual_seed(0)
    gdn, x = GDN(4), torch.randn(2, 4, 6, 6)
    x[1] = 0
    optimiser = torch.optim.SGD(gdn.parameters(), rate)
    for _ in range(20):
        optimiser.zero_grad()
        loss = -gdn(x).abs().mean()  # pushes beta and gamma down
        loss.backward()
        optimiser.step()
        gdn.project()
        assert loss.isfinite() and (gdn.beta >= BETA_MIN).all() and (gdn.gamma >= 0).all()
        assert torch.equal(gdn.gamma, gdn.gamma.T)
    assert (gdn.beta == BETA_MIN).any()
