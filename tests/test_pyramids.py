"""The steerable pyramid against SciPy with mirrored borders, its way back, and its gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate
from scipy.signal import convolve2d

from iqa_lab.ops.pyramids import (
    correlate_reflect,
    expand_reflect,
    maximum_levels,
    reconstruct,
    steerable_filters,
    steerable_pyramid,
)

NAMES = ("sp0", "sp3", "sp5")


def image(height: int, width: int, seed: int, channels: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, channels, height, width, generator=generator, dtype=torch.float64).to(dtype)


def slow_pyramid(x: np.ndarray, levels: int, name: str) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """The definition, line by line, for one image."""
    filters = {key: kernels[:, 0].numpy() for key, kernels in steerable_filters(name, torch.float64).items()}
    lowpass, bands = correlate(x, filters["lo0"][0], mode="mirror"), []
    for _ in range(levels):
        bands.append(np.stack([correlate(lowpass, kernel, mode="mirror") for kernel in filters["bands"]]))
        lowpass = correlate(lowpass, filters["lo"][0], mode="mirror")[::2, ::2]
    return correlate(x, filters["hi0"][0], mode="mirror"), bands, lowpass


@settings(max_examples=30, deadline=None)
@given(st.integers(9, 40), st.integers(9, 40), st.sampled_from([1, 2, 3]),
       st.sampled_from(["hi0", "lo0", "lo", "bands"]), st.sampled_from(NAMES),
       st.sampled_from([torch.float32, torch.float64]))
def test_correlation_equals_scipy_with_mirrored_borders(height, width, stride, key, name, dtype):
    x, kernels = image(height, width, height + width, dtype=dtype), steerable_filters(name, dtype)[key]
    ours = correlate_reflect(x, kernels, stride)
    for i, o in np.ndindex(2, len(kernels)):
        theirs = correlate(x[i, 0].double().numpy(), kernels[o, 0].double().numpy(), mode="mirror")[::stride, ::stride]
        np.testing.assert_allclose(ours[i, o].numpy(), theirs, atol=1e-12 if dtype == torch.float64 else 1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("height, width", [(64, 48), (49, 37)])
def test_pyramid_equals_the_slow_one(name, height, width):
    x = image(height, width, seed=1)
    pyramid = steerable_pyramid(x, 2, name)
    for i in range(2):
        highpass, bands, lowpass = slow_pyramid(x[i, 0].numpy(), 2, name)
        np.testing.assert_allclose(pyramid.highpass[i, 0], highpass, atol=1e-12)
        np.testing.assert_allclose(pyramid.lowpass[i, 0], lowpass, atol=1e-12)
        for ours, theirs in zip(pyramid.bands, bands, strict=True):
            np.testing.assert_allclose(ours[i], theirs, atol=1e-12)


def test_selected_orientations_are_those_of_the_whole_pyramid():
    x = image(40, 40, seed=2)
    some, whole = steerable_pyramid(x, 2, "sp5", (0, 3)), steerable_pyramid(x, 2, "sp5")
    for few, all_ in zip(some.bands, whole.bands, strict=True):
        torch.testing.assert_close(few, all_[:, [0, 3]])
    torch.testing.assert_close(some.lowpass, whole.lowpass)


@settings(max_examples=25, deadline=None)
@given(st.integers(9, 30), st.integers(9, 30), st.sampled_from([1, 2]), st.sampled_from(["lo", "bands", "hi0"]))
def test_expansion_is_zeros_between_then_a_mirror_then_a_convolution(height, width, stride, key):
    kernels = steerable_filters("sp3", torch.float64)[key]
    x = image(-(-height // stride), -(-width // stride), seed=3, channels=len(kernels))
    ours, half = expand_reflect(x, kernels, (height, width), stride), kernels.shape[-1] // 2
    for i in range(2):
        total = np.zeros((height, width))
        for o, kernel in enumerate(kernels[:, 0].numpy()):
            spread = np.zeros((height, width))
            spread[::stride, ::stride] = x[i, o].numpy()
            total += convolve2d(np.pad(spread, half, mode="reflect"), kernel, mode="valid")
        np.testing.assert_allclose(ours[i, 0], total, atol=1e-12)


@pytest.mark.parametrize("key, stride", [("hi0", 1), ("lo", 2), ("bands", 1)])
def test_inside_the_image_expansion_is_the_adjoint_of_correlation(key, stride):
    kernels = steerable_filters("sp3", torch.float64)[key]
    x = torch.zeros(1, 1, 60, 60, dtype=torch.float64)
    y = torch.zeros(1, len(kernels), 60 // stride, 60 // stride, dtype=torch.float64)
    x[..., 20:-20, 20:-20] = torch.randn(20, 20, generator=torch.Generator().manual_seed(4))
    y[..., 10:-10, 10:-10] = torch.randn(y[..., 10:-10, 10:-10].shape, generator=torch.Generator().manual_seed(5))
    there = (correlate_reflect(x, kernels, stride) * y).sum()
    back = (x * expand_reflect(y, kernels, (60, 60), stride)).sum()
    torch.testing.assert_close(there, back)


@pytest.mark.parametrize("name, error", [("sp0", 0.01), ("sp3", 0.02), ("sp5", 0.03)])
@pytest.mark.parametrize("height, width", [(128, 128), (121, 134)])
def test_reconstruction_returns_the_image_but_for_the_border(name, error, height, width):
    x = image(height, width, seed=6)
    back = reconstruct(steerable_pyramid(x, 2, name), name)
    assert back.shape == x.shape
    assert (back - x)[..., 40:-40, 40:-40].square().mean().sqrt() < error


def test_reconstruction_without_levels_is_high_pass_and_low_pass():
    x, filters = image(20, 20, seed=7), steerable_filters("sp3", torch.float64)
    pyramid = steerable_pyramid(x, 0, "sp3")
    low, high = (expand_reflect(band, filters[key], (20, 20))
                 for band, key in ((pyramid.lowpass, "lo0"), (pyramid.highpass, "hi0")))
    torch.testing.assert_close(reconstruct(pyramid, "sp3"), low + high)


@pytest.mark.parametrize("name", NAMES)
def test_filters_keep_or_remove_the_mean(name):
    sums = {key: kernels.sum((1, 2, 3)) for key, kernels in steerable_filters(name, torch.float64).items()}
    assert sums["lo0"].item() == pytest.approx(1, abs=1e-3) and sums["lo"].item() == pytest.approx(2, abs=1e-3)
    assert sums["hi0"].item() == pytest.approx(0, abs=1e-3)
    if name != "sp0":  # whose one band passes all orientations
        assert sums["bands"].abs().max() < 1e-5


def test_oriented_bands_answer_to_their_orientation():
    rows = torch.sin(torch.arange(64, dtype=torch.float64) * torch.pi / 4)[:, None].expand(64, 64)
    energy = [steerable_pyramid(x[None, None], 1, "sp3").bands[0].square().mean((0, 2, 3)) for x in (rows, rows.mT)]
    assert energy[0].argmax() == 2 and energy[1].argmax() == 0  # the first band answers to vertical lines


@pytest.mark.parametrize("side, levels", [(16, 0), (17, 1), (33, 1), (34, 2), (384, 5)])
def test_levels_end_where_the_low_pass_filter_no_longer_fits(side, levels):
    assert maximum_levels(side, 500, "sp3") == levels


def test_unknown_filters_are_refused():
    with pytest.raises(ValueError, match="'sp3'"):
        steerable_filters("sp4")


def total_energy(x: torch.Tensor) -> torch.Tensor:
    pyramid = steerable_pyramid(x, 1, "sp3")
    everything = (pyramid.highpass, *pyramid.bands, pyramid.lowpass, reconstruct(pyramid, "sp3"))
    return sum((band**3).sum() for band in everything)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradcheck_there_and_back(stride):
    kernels = steerable_filters("sp3", torch.float64)["bands"]
    x = image(6, 5, seed=8)[:1].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: correlate_reflect(x, kernels, stride), x)
    bands = image(6 // stride, -(-5 // stride), seed=8, channels=4)[:1].requires_grad_()
    assert torch.autograd.gradcheck(lambda b: expand_reflect(b, kernels, (6, 5), stride), bands)


def test_first_and_second_gradients_in_float32_are_those_of_float64():
    results = []
    for dtype in (torch.float32, torch.float64):
        x = image(37, 42, seed=9, dtype=dtype).requires_grad_()
        (first,) = torch.autograd.grad(total_energy(x), x, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), x)
        results.append((first.detach().double(), second.double()))
    for single, double in zip(*results, strict=True):
        assert (single - double).abs().max() < 1e-5 * double.abs().max()
