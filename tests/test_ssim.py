"""SSIM against scikit-image, its own parts, a direct computation, and gradcheck."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate
from skimage.metrics import structural_similarity

from iqa_lab.full_reference import ms_ssim as ms_ssim_module
from iqa_lab.full_reference.ms_ssim import ms_ssim
from iqa_lab.full_reference.ssim import downsample, mean_ssim_and_cs, ssim, ssim_auto, ssim_components, ssim_map
from iqa_lab.ops.color import rgb_to_luma, rgb_to_luma_matlab
from iqa_lab.ops.filters import gaussian_kernel


def gray_pair(height: int, width: int, seed: int, noise: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    reference = torch.rand(1, 1, height, width, generator=generator, dtype=torch.float64)
    distorted = reference + noise * torch.randn(reference.shape, generator=generator, dtype=torch.float64)
    return distorted.clamp(0, 1), reference


@settings(max_examples=20, deadline=None)
@given(st.integers(11, 60), st.integers(11, 60), st.integers(0, 99), st.sampled_from([0.0, 0.05, 0.5]))
def test_equals_scikit_image_with_wang_settings(height, width, seed, noise):
    distorted, reference = gray_pair(height, width, seed, noise)
    _, theirs = structural_similarity(distorted[0, 0].numpy(), reference[0, 0].numpy(), data_range=1, sigma=1.5,
                                      gaussian_weights=True, use_sample_covariance=False, full=True)
    np.testing.assert_allclose(ssim_map(distorted, reference)[0, 0].numpy(), theirs[5:-5, 5:-5], atol=1e-9)
    assert ssim(distorted, reference).item() == pytest.approx(theirs[5:-5, 5:-5].mean(), abs=1e-9)


def test_the_map_is_the_product_of_luminance_contrast_and_structure():
    distorted, reference = gray_pair(40, 30, seed=1)
    luminance, contrast, structure = ssim_components(distorted, reference)
    torch.testing.assert_close(luminance * contrast * structure, ssim_map(distorted, reference))


def test_components_see_what_they_are_named_after():
    reference = gray_pair(40, 40, seed=2)[1] * 0.5
    brighter = ssim_components(reference + 0.3, reference)
    flatter = ssim_components(0.5 * reference + 0.5 * reference.mean(), reference)
    assert brighter[0].mean() < 0.95 and brighter[1].mean() > 0.999 and brighter[2].mean() > 0.999
    assert flatter[1].mean() < 0.85 < flatter[2].mean()


def test_mean_over_strips_is_the_mean_of_the_whole_map(monkeypatch):
    distorted, reference = gray_pair(57, 33, seed=3)
    expected = ssim_map(distorted, reference).mean()
    monkeypatch.setattr("iqa_lab.full_reference.ssim.STRIP_PIXELS", 33 * 7)  # strips of 7 rows, the last one shorter
    torch.testing.assert_close(mean_ssim_and_cs(distorted, reference)[0][0], expected)


@pytest.mark.parametrize("factor", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("side", [24, 25])
def test_downsampling_is_imfilter_symmetric_and_every_fth_sample(factor, side):
    image = gray_pair(side, side + 3, seed=4)[1]
    # SciPy's 'reflect' repeats the edge sample; origin moves the even window from i-f/2.. to MATLAB's i-(f/2-1)..
    filtered = correlate(image[0, 0].numpy(), np.full((factor, factor), factor**-2.0), mode="reflect",
                         origin=-1 if factor % 2 == 0 else 0)
    np.testing.assert_allclose(downsample(image, factor)[0, 0].numpy(), filtered[::factor, ::factor], atol=1e-12)


@pytest.mark.parametrize("side, factor", [(383, 1), (384, 2), (639, 2), (640, 3)])
def test_ssim_auto_rounds_halves_up_like_matlab(side, factor):
    distorted, reference = gray_pair(side, side, seed=5)
    expected = ssim(downsample(distorted, factor), downsample(reference, factor))
    torch.testing.assert_close(ssim_auto(distorted, reference), expected)


def test_luma_option_changes_colour_and_not_gray():
    colour = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    assert ssim(*colour, luma=rgb_to_luma) != ssim(*colour, luma=rgb_to_luma_matlab)
    gray = gray_pair(32, 32, seed=6)
    assert ssim(*gray, luma=rgb_to_luma) == ssim(*gray, luma=rgb_to_luma_matlab)


@pytest.mark.parametrize("function", [ssim, ssim_auto])
def test_gradcheck(function):
    distorted, reference = gray_pair(14, 13, seed=7)
    assert torch.autograd.gradcheck(function, (distorted.requires_grad_(), reference.requires_grad_()))


def test_ms_ssim_gradcheck(monkeypatch):
    monkeypatch.setattr(ms_ssim_module, "MINIMUM_SIDE", 22)  # two of the five scales, to keep the check small
    monkeypatch.setattr(ms_ssim_module, "SCALE_WEIGHTS_WANG2003", (0.4, 0.6))
    distorted, reference = gray_pair(24, 23, seed=8, noise=0.05)
    assert torch.autograd.gradcheck(ms_ssim, (distorted.requires_grad_(), reference))


def test_ms_ssim_of_a_negative_is_zero_with_a_finite_gradient():
    reference = gray_pair(180, 180, seed=9)[1]
    negative = (1 - reference).requires_grad_()
    score = ms_ssim(negative, reference)
    score.backward()
    assert 0 <= score.item() < 0.05 and negative.grad.isfinite().all()


def test_scale_weights_are_the_papers_table():
    assert ms_ssim_module.SCALE_WEIGHTS_WANG2003 == (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def test_window_equals_fspecial():
    kernel = gaussian_kernel(11, 1.5, torch.float64)
    window = torch.outer(kernel, kernel)
    assert window.sum().item() == pytest.approx(1)
    assert window[5, 5].item() == pytest.approx(0.070762237763947, abs=1e-12)  # fspecial('gaussian', 11, 1.5)
