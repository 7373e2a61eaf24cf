"""Local moments, MSCN coefficients, moment fits, their sums and image strips against slow NumPy and SciPy lines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage, special

from iqa_lab.ops import strips
from iqa_lab.ops.resize import resize
from iqa_lab.ops.side_sums import neighbour_sums, side_sums
from iqa_lab.ops.statistics import (fit_aggd, fit_ggd, gamma_ratio, local_moments, mscn, neighbour_products,
                                    shape_from_ratio, shape_table)

GRID = np.arange(200, 10001) / 1000  # the authors' 0.2 : 0.001 : 10
RATIO = special.gamma(2 / GRID) ** 2 / (special.gamma(1 / GRID) * special.gamma(3 / GRID))


def window() -> np.ndarray:
    taps = np.exp(-np.arange(-3, 4) ** 2 / (2 * (7 / 6) ** 2))
    outer = np.outer(taps, taps)
    return outer / outer.sum()


@pytest.mark.parametrize("padding, mode", [("zeros", "constant"), ("replicate", "nearest")])
def test_mscn_is_the_two_dimensional_filters(padding, mode):
    x = np.random.default_rng(0).integers(0, 256, (2, 23, 31)).astype(float)
    mean = np.stack([ndimage.correlate(image, window(), mode=mode) for image in x])
    square = np.stack([ndimage.correlate(image**2, window(), mode=mode) for image in x])
    sigma = np.sqrt(np.abs(square - mean**2))
    coefficients, deviation = mscn(torch.from_numpy(x)[:, None], padding)
    np.testing.assert_allclose(deviation[:, 0].numpy(), sigma, rtol=1e-9)
    np.testing.assert_allclose(coefficients[:, 0].numpy(), (x - mean) / (sigma + 1), rtol=1e-9, atol=1e-12)


def random_image(*shape: int) -> torch.Tensor:
    return (255 * torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).round()


def test_valid_moments_are_those_of_places_with_a_whole_window():
    x = random_image(2, 1, 20, 31)
    for valid, same in zip(mscn(x, "valid"), mscn(x, "zeros"), strict=True):
        torch.testing.assert_close(valid, same[..., 3:-3, 3:-3], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("padding", ["zeros", "replicate", "symmetric", "valid"])
def test_gradient_of_the_moments_and_coefficients(padding):
    x = random_image(1, 1, 9, 11).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: local_moments(v, padding), x)
    assert torch.autograd.gradcheck(lambda v: mscn(v, padding), x)
    assert torch.autograd.gradcheck(lambda v: mscn(v, padding, window=5, width=1.0), x)


def test_a_flat_region_has_no_gradient():
    x = torch.full((1, 1, 20, 20), 77.0, dtype=torch.float64, requires_grad=True)
    for values in mscn(x, "replicate"):
        assert (torch.autograd.grad(values.sum(), x, retain_graph=True)[0].abs() < 1e-6).all()


def test_flat_regions_have_no_sign():
    """Without the dead zone the signs of rounding errors would be counted."""
    x = torch.full((1, 1, 40, 40), 77.0, dtype=torch.float64)
    x[..., 20:, :] = 91.3
    coefficients, _ = mscn(x, "replicate")
    assert (coefficients[..., :16, :] == 0).all() and (coefficients[..., 24:, :] == 0).all()
    assert (coefficients[..., 18:22, :] != 0).all()


def test_moments_of_large_values_keep_their_digits():
    x = torch.rand(1, 1, 30, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1e-2 + 250
    _, sigma = local_moments(x, "replicate")
    _, shifted = local_moments(x - 250, "replicate")
    torch.testing.assert_close(sigma, shifted, rtol=1e-4, atol=1e-7)


def slow_ggd(x: np.ndarray) -> float:
    """The authors' search: the grid entry whose G(1/a) G(3/a) / G(2/a)^2 is nearest to E[x^2] / E[|x|]^2."""
    return GRID[np.argmin(np.abs(1 / RATIO - np.mean(x**2) / np.mean(np.abs(x)) ** 2))]


def slow_aggd(x: np.ndarray) -> tuple[float, float, float]:
    left, right = np.sqrt(np.mean(x[x < 0] ** 2)), np.sqrt(np.mean(x[x > 0] ** 2))
    gamma = left / right
    ratio = np.mean(np.abs(x)) ** 2 / np.mean(x**2) * (gamma**3 + 1) * (gamma + 1) / (gamma**2 + 1) ** 2
    return GRID[np.argmin((RATIO - ratio) ** 2)], left, right


SAMPLES = arrays(float, st.integers(20, 200), elements=st.floats(0.001, 4) | st.floats(-4, -0.001))


@settings(max_examples=60, deadline=None)
@given(SAMPLES)
def test_ggd_fit_is_the_search_through_all_shapes(x):
    alpha, variance = fit_ggd(torch.from_numpy(x))
    assert alpha.item() == pytest.approx(slow_ggd(x), abs=1.001e-3) and variance.item() == pytest.approx(np.mean(x**2))


@settings(max_examples=60, deadline=None)
@given(SAMPLES.filter(lambda x: (x < 0).any() and (x > 0).any()))
def test_aggd_fit_is_the_search_through_all_shapes(x):
    fit = fit_aggd(torch.from_numpy(x))
    alpha, left, right = slow_aggd(x)
    assert fit.alpha.item() == pytest.approx(alpha, abs=1.001e-3)
    assert (fit.left.item(), fit.right.item()) == pytest.approx((left, right))
    assert (fit.n_left.item(), fit.n_right.item()) == ((x < 0).sum(), (x > 0).sum())


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 4.0])
def test_fits_find_the_shape_of_samples(alpha):
    random = np.random.default_rng(1)
    magnitude = random.gamma(1 / alpha, size=400_000) ** (1 / alpha)
    x = magnitude * random.choice([-1, 1], 400_000)
    assert fit_ggd(torch.from_numpy(x))[0].item() == pytest.approx(alpha, rel=0.03)
    skewed = magnitude * random.choice([-3, 1], 400_000, p=[0.75, 0.25])  # a side three times as wide has its mass
    assert fit_aggd(torch.from_numpy(skewed)).alpha.item() == pytest.approx(alpha, rel=0.03)


def test_the_grid_is_the_authors_and_each_entry_finds_itself():
    shapes, ratios, _ = shape_table(torch.device("cpu"))
    np.testing.assert_allclose(shapes.numpy(), GRID, atol=1e-12)
    np.testing.assert_allclose(ratios.numpy(), RATIO, rtol=1e-12)
    torch.testing.assert_close(shape_from_ratio(ratios), shapes, rtol=0, atol=1e-12)


def test_the_gradient_is_the_slope_of_the_table():
    ratio = torch.tensor([0.3, 0.5, 0.7], dtype=torch.float64, requires_grad=True)
    shape_from_ratio(ratio).sum().backward()
    values = shape_from_ratio(torch.tensor([[0.28, 0.48, 0.69], [0.32, 0.52, 0.71]], dtype=torch.float64))
    np.testing.assert_allclose(ratio.grad.numpy(), (values[1] - values[0]).numpy() / (0.04, 0.04, 0.02), rtol=0.05)


def test_constant_and_one_sided_samples_have_defined_fits():
    zeros = fit_aggd(torch.zeros(10, dtype=torch.float64))
    assert (zeros.alpha.item(), zeros.left.item(), zeros.right.item()) == pytest.approx((0.2, 0, 0), abs=1e-14)
    positive = fit_aggd(torch.linspace(1, 2, 10, dtype=torch.float64))
    assert positive.left < 1e-14 and positive.right > 0 and positive.alpha.isfinite() and positive.n_left == 0


def test_neighbour_products_wrap_like_circshift():
    x = torch.arange(12.0).view(3, 4)
    products = neighbour_products(x, ((0, 1), (1, 0)))
    np.testing.assert_array_equal(products[0].numpy(), x.numpy() * np.roll(x.numpy(), 1, axis=1))
    np.testing.assert_array_equal(products[1].numpy(), x.numpy() * np.roll(x.numpy(), 1, axis=0))


def test_gamma_ratio():
    a, b = torch.tensor([0.5, 3.0], dtype=torch.float64), torch.tensor([2.5, 1.5], dtype=torch.float64)
    np.testing.assert_allclose(gamma_ratio(a, b).numpy(), special.gamma(a.numpy()) / special.gamma(b.numpy()))


def slow_sums(x: np.ndarray) -> list[float]:
    return [x.size, np.abs(x).sum(), (x[x < 0] ** 2).sum(), (x < 0).sum(), (x[x > 0] ** 2).sum(), (x > 0).sum()]


@settings(max_examples=40, deadline=None)
@given(arrays(float, (2, 30), elements=st.sampled_from([-2.5, -1.0, 0.0, 1e-9, 3.0])))
def test_side_sums(x):
    sums = side_sums(torch.from_numpy(x))
    np.testing.assert_allclose(sums.numpy(), [slow_sums(row) for row in x], rtol=1e-14)
    parts = side_sums(torch.from_numpy(x[:, :7])) + side_sums(torch.from_numpy(x[:, 7:]))
    torch.testing.assert_close(parts, sums, rtol=1e-14, atol=0)


@pytest.mark.parametrize("last_shift", [(-1, 1), (1, -1)])
def test_neighbour_sums_are_those_of_the_products(last_shift):
    x = torch.randn(3, 8, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[0, 2:5, 1:4] = 0
    sums = neighbour_sums(torch.cat((x[:, -1:], x), 1))
    for k, shift in enumerate([(0, 1), (1, 0), (1, 1), last_shift]):
        products = x.numpy() * np.roll(x.numpy(), shift, (1, 2))
        np.testing.assert_allclose(sums[:, k].numpy(), [slow_sums(p) for p in products], rtol=1e-13)


def test_gradients_of_the_sums():
    x = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    moments = [1, 2, 4]  # counts have none
    assert torch.autograd.gradcheck(lambda v: side_sums(v)[..., moments], x)
    assert torch.autograd.gradcheck(lambda v: neighbour_sums(v)[..., moments], x)


def coefficients_and_half(x: torch.Tensor, strip: strips.Strip) -> tuple[torch.Tensor, torch.Tensor]:
    padded = torch.nn.functional.pad(x, strip.padding, mode="replicate")
    return mscn(padded, "valid")[0], resize(x, 0.5)[:, :, strip.half]


@pytest.mark.parametrize("height", [7, 16, 21, 37, 64])
@pytest.mark.parametrize("rows, step", [(1, 2), (7, 2), (8, 8), (1000, 2)])
def test_strips_give_what_the_whole_image_gives(height, rows, step, monkeypatch):
    monkeypatch.setattr(strips, "pixels_at_once", lambda x: rows * x.shape[0] * x.shape[3])
    x, weight = random_image(2, 1, height, 9).requires_grad_(), random_image(2, 1, height, 9)
    results = strips.map_strips(coefficients_and_half, x, strips.row_strips(x, 3, step))
    coefficients, half = (torch.cat(parts, 2) for parts in results)
    expected = mscn(x, "replicate")[0], resize(x, 0.5)
    torch.testing.assert_close(coefficients, expected[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(half, expected[1], rtol=1e-12, atol=1e-10)
    gradients = [torch.autograd.grad((first * weight).sum() + second.square().sum(), x)[0]
                 for first, second in ((coefficients, half), expected)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


def test_strips_may_have_the_row_above(monkeypatch):
    monkeypatch.setattr(strips, "pixels_at_once", lambda x: 6 * x.shape[3])
    x = random_image(1, 1, 21, 9)
    coefficients, _ = strips.map_strips(coefficients_and_half, x, strips.row_strips(x, 3, above=1))
    expected = mscn(x, "replicate")[0]
    for part, (top, bottom) in zip(coefficients, [(0, 6), (5, 12), (11, 18), (17, 21)], strict=True):
        torch.testing.assert_close(part, expected[:, :, top:bottom], rtol=1e-12, atol=1e-12)
