"""The batched Weibull fit against SciPy: its own fit, and the root of the likelihood equation by Brent's method."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import optimize, stats

from iqa_lab.ops.weibull import fit_weibull


def exact(x: np.ndarray) -> tuple[float, float]:
    """Returns scale and shape where the derivative of the log-likelihood vanishes, in the order of ``fit_weibull``."""
    y = np.log(x) - np.log(x).max()

    def equation(k: float) -> float:
        return (y * np.exp(k * y)).sum() / np.exp(k * y).sum() - y.mean() - 1 / k

    shape = optimize.brentq(equation, 1e-3 / np.ptp(y), 1e5 / np.ptp(y), xtol=1e-300, rtol=1e-14)
    return x.max() * np.mean(np.exp(shape * y)) ** (1 / shape), shape


@pytest.mark.parametrize("shape, scale", [(0.4, 5.0), (1.0, 0.01), (1.7, 300.0), (12.0, 2.0)])
def test_is_scipys_fit(shape, scale):
    """SciPy climbs the likelihood with the simplex method and stops within about 1e-4."""
    x = stats.weibull_min.rvs(shape, scale=scale, size=500, random_state=np.random.default_rng(7))
    scipy_shape, _, scipy_scale = stats.weibull_min.fit(x, floc=0)
    ours = [value.item() for value in fit_weibull(torch.from_numpy(x))]
    assert ours == pytest.approx([scipy_scale, scipy_shape], rel=3e-4)
    likelihood = stats.weibull_min.logpdf(x, ours[1], scale=ours[0]).sum()
    assert likelihood >= stats.weibull_min.logpdf(x, scipy_shape, scale=scipy_scale).sum() - 1e-9


@settings(max_examples=100, deadline=None)
@given(arrays(float, st.integers(2, 60), elements=st.floats(1e-16, 1e6)).filter(lambda x: np.ptp(np.log(x)) > 1e-3))
def test_solves_the_likelihood_equation(x):
    assert [value.item() for value in fit_weibull(torch.from_numpy(x))] == pytest.approx(exact(x), rel=1e-9)


@pytest.mark.parametrize("n_flat", [1, 300, 3500, 6900, 7055])
def test_a_block_that_is_flat_in_part(n_flat):
    """Two clusters 36 apart in ln x."""
    x = np.random.default_rng(1).weibull(1.5, 7056)
    x[:n_flat] = 2.0**-52
    assert [value.item() for value in fit_weibull(torch.from_numpy(x))] == pytest.approx(exact(x), rel=1e-9)


@pytest.mark.parametrize("counts, logs", [((1014, 3), (-0.3, -8.0)), ((4912, 25), (-3.4, -52.0)),
                                          ((3828, 1), (-0.7, -183.1))])
def test_where_newtons_method_alone_never_ends(counts, logs):
    x = np.exp(np.append(np.repeat(logs, counts), 0))
    assert [value.item() for value in fit_weibull(torch.from_numpy(x))] == pytest.approx(exact(x), rel=1e-9)


def test_rows_are_fitted_apart_and_a_factor_changes_the_scale_alone():
    x = torch.rand(2, 3, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.01
    x[0, 1] = x[0, 1] ** 9
    scale, shape = fit_weibull(x)
    assert scale.shape == shape.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            alone = fit_weibull(x[i, j])
            torch.testing.assert_close((scale[i, j], shape[i, j]), alone, rtol=1e-13, atol=0)
    scaled = fit_weibull(1e-3 * x)
    torch.testing.assert_close(scaled, (1e-3 * scale, shape), rtol=1e-12, atol=0)


def test_equal_samples_have_an_infinite_shape_and_no_gradient():
    x = torch.full((2, 40), 3.0, dtype=torch.float64)
    x[1, 0] = 2
    x.requires_grad_()
    scale, shape = fit_weibull(x)
    assert scale[0].item() == pytest.approx(3) and shape[0].isposinf() and shape[1].isfinite()
    scale.sum().backward()
    assert x.grad.isfinite().all()


def test_the_gradient_is_that_of_the_solution():
    x = torch.rand(3, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64) + 0.05
    assert torch.autograd.gradcheck(fit_weibull, x.requires_grad_(), atol=1e-6)
