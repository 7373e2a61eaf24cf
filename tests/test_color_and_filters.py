"""Colour matrices, rounding and filters against their prints and against slow, obvious lines."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate
from scipy.signal import convolve2d
from skimage.color import rgb2lab

from iqa_lab.ops import color
from iqa_lab.ops.elementwise import real_power, round_half_up, safe_power, safe_sqrt, similarity
from iqa_lab.ops.filters import (
    all_bits,
    average_downsample,
    box_kernel,
    downsampling_factor,
    filter_separable,
    gaussian_kernel,
    gradient_magnitude,
)

SCIPY_MODES = {"zeros": "constant", "replicate": "nearest", "symmetric": "reflect"}


def test_luma_weights_sum_to_one():
    assert sum(color.LUMA_BT601) == pytest.approx(1)
    assert sum(color.LUMA_MATLAB) == pytest.approx(1, abs=1e-12)
    assert sum(color.LUMA_STUDIO) == pytest.approx(219)


def test_matlab_gray_is_the_first_row_of_the_inverse_yiq_matrix():
    yiq = np.array([[1, 0.956, 0.621], [1, -0.272, -0.647], [1, -1.106, 1.703]])
    np.testing.assert_allclose(np.linalg.inv(yiq)[0], color.LUMA_MATLAB, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matlab_gray_rounds_like_integers(dtype):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 200, 300))
    expected = np.floor(np.tensordot(color.LUMA_MATLAB, pixels, 1) + 0.5)
    luma = color.rgb_to_luma_matlab(torch.from_numpy(pixels)[None].to(dtype) / 255)
    assert (np.abs(255 * luma[0, 0].numpy() - expected) > 0.01).mean() < 1e-4  # exact ties of float32 alone


def test_gray_images_pass_through():
    gray = torch.rand(1, 1, 4, 4)
    assert color.rgb_to_luma(gray) is gray and color.rgb_to_luma_matlab(gray) is gray


def test_studio_luma_ends_at_16_and_235():
    black_and_white = torch.stack((torch.zeros(3, 2, 2), torch.ones(3, 2, 2)))
    assert (255 * color.rgb_to_luma_studio(black_and_white)).round().unique().tolist() == [16, 235]


def test_rounding_is_half_up_and_lets_gradients_through():
    x = torch.tensor([0.4, 0.5, 1.5, 2.5, 254.5], requires_grad=True)
    rounded = round_half_up(x)
    rounded.sum().backward()
    assert rounded.tolist() == [0, 1, 2, 3, 255] and x.grad.tolist() == [1] * 5


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 20), st.integers(3, 20), st.sampled_from([1, 2, 3, 5, 6]), st.sampled_from(sorted(SCIPY_MODES)),
       st.integers(0, 99))
def test_filter_equals_scipy_for_every_border(height, width, size, padding, seed):
    image = torch.rand(2, 2, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    kernel = torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if padding == "replicate" or size // 2 < min(height, width):
        ours = filter_separable(image, kernel, padding)
        for i, j in np.ndindex(2, 2):
            theirs = correlate(image[i, j].numpy(), np.outer(kernel, kernel), mode=SCIPY_MODES[padding],
                               origin=-1 if size % 2 == 0 else 0)
            np.testing.assert_allclose(ours[i, j].numpy(), theirs, atol=1e-10)


def test_valid_is_the_inside_of_any_border():
    image = torch.rand(1, 3, 12, 9, dtype=torch.float64)
    kernel = gaussian_kernel(5, 1.0, torch.float64)
    torch.testing.assert_close(filter_separable(image, kernel), filter_separable(image, kernel, "zeros")[:, :, 2:-2, 2:-2])


def test_kernels_sum_to_one():
    assert gaussian_kernel(7, 7 / 6).sum().item() == pytest.approx(1)
    assert box_kernel(6).sum().item() == pytest.approx(1)


def test_a_kernel_first_made_in_inference_mode_serves_training():
    with torch.inference_mode():
        kernel = gaussian_kernel(9, 1.2345)
    image = torch.rand(1, 1, 9, 9, requires_grad=True)
    filter_separable(image, kernel).sum().backward()
    assert image.grad.isfinite().all()


def test_unknown_padding_is_named():
    with pytest.raises(ValueError, match="'mirror'"):
        filter_separable(torch.rand(1, 1, 5, 5), box_kernel(3), "mirror")


@settings(max_examples=30, deadline=None)
@given(st.integers(6, 20), st.integers(6, 20), st.integers(1, 6), st.integers(0, 99))
def test_average_downsample_is_conv2_same_and_every_fth_sample(height, width, factor, seed):
    image = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for ours, x in zip(average_downsample(image, factor)[:, 0], image[:, 0].numpy(), strict=True):
        full, start = convolve2d(x, np.full((factor, factor), factor**-2.0)), factor // 2  # MATLAB's centre of 'same'
        same = full[start:start + height, start:start + width]
        np.testing.assert_allclose(ours.numpy(), same[::factor, ::factor], atol=1e-12)


@pytest.mark.parametrize("side, factor", [(100, 1), (383, 1), (384, 2), (639, 2), (640, 3)])
def test_downsampling_factor_rounds_halves_up(side, factor):
    assert downsampling_factor(side, 2000) == downsampling_factor(2000, side) == factor


@pytest.mark.parametrize("operator, kernel", [("prewitt", np.array([[1, 0, -1]] * 3) / 3),
                                              ("scharr", np.array([[3, 0, -3], [10, 0, -10], [3, 0, -3]]) / 16)])
def test_gradient_magnitude_is_two_convolutions(operator, kernel):
    image = torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    magnitude = gradient_magnitude(image, operator)
    for i, j in np.ndindex(2, 3):
        x = image[i, j].detach().numpy()
        expected = np.hypot(convolve2d(x, kernel, "same"), convolve2d(x, kernel.T, "same"))
        np.testing.assert_allclose(magnitude[i, j].detach().numpy(), expected, atol=1e-12)
    assert torch.autograd.gradcheck(lambda x: gradient_magnitude(x, operator), image)


def test_gradient_magnitude_of_a_flat_image_has_a_finite_gradient():
    flat = torch.full((1, 1, 8, 8), 0.5, requires_grad=True)
    magnitude = gradient_magnitude(flat, "scharr")
    magnitude.sum().backward()
    assert magnitude[..., 1:-1, 1:-1].max() < 1e-14 and flat.grad.isfinite().all()  # zeros stand beyond the border


@pytest.mark.parametrize("exponent", [0.02, 0.03, 0.5, 0.7])
def test_real_power_is_the_real_part_of_the_complex_power(exponent):
    x = torch.tensor([-3.0, -0.5, -1e-8, 0.0, 1e-8, 0.25, 1.0, 9.0], dtype=torch.float64, requires_grad=True)
    power = real_power(x, exponent)
    expected = (x.detach().numpy().astype(complex) ** exponent).real
    np.testing.assert_allclose(power.detach().numpy(), expected, rtol=1e-12, atol=1e-12)
    power.sum().backward()
    assert x.grad.isfinite().all() and x.grad[3] == 0
    assert torch.autograd.gradcheck(lambda x: real_power(x, exponent), x.detach()[x != 0].clamp(min=-3)[[0, 1, 4, 5]]
                                    .requires_grad_())


def test_similarity_is_one_for_equal_values_and_can_be_negative():
    a = torch.tensor([0.0, 1.0, -2.0])
    assert similarity(a, a, 0.5).tolist() == [1, 1, 1]
    assert similarity(a, -a, 0.5)[2].item() == pytest.approx((-8 + 0.5) / (8 + 0.5))


def test_roots_and_powers_have_a_finite_gradient_at_zero():
    x = torch.tensor([0.0, 0.25, 4.0], dtype=torch.float64, requires_grad=True)
    (safe_sqrt(x) + safe_power(x, 0.25)).sum().backward()
    expected = 0.5 * x.detach()[1:] ** -0.5 + 0.25 * x.detach()[1:] ** -0.75
    assert x.grad[0] == 0
    torch.testing.assert_close(x.grad[1:], expected)
    torch.testing.assert_close(safe_sqrt(x), x.sqrt(), atol=2e-15, rtol=0)
    torch.testing.assert_close(safe_power(x, 0.25), x**0.25)


def test_chroma_rows_sum_to_zero_and_gray_has_no_chroma():
    assert [sum(row) for row in color.RGB_TO_YIQ] == pytest.approx([1, 0, 0], abs=1e-12)
    gray = torch.rand(1, 1, 3, 4, dtype=torch.float64)
    yiq = color.rgb_to_yiq(gray.expand(1, 3, 3, 4))
    torch.testing.assert_close(yiq, torch.cat((gray, torch.zeros(1, 2, 3, 4, dtype=torch.float64)), 1))


def test_vsi_matrix_is_the_papers_table():
    assert color.RGB_TO_LMN == ((0.06, 0.63, 0.27), (0.30, 0.04, -0.35), (0.34, -0.60, 0.17))
    rgb = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    expected = np.einsum("kc,nchw->nkhw", color.RGB_TO_LMN, rgb.numpy())
    np.testing.assert_allclose(color.rgb_to_lmn(rgb).numpy(), expected, atol=1e-15)


@pytest.mark.parametrize("convert", [color.rgb_to_yiq, color.rgb_to_lmn, color.rgb_to_lab])
def test_gray_counts_as_three_equal_channels(convert):
    gray = torch.rand(2, 1, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(convert(gray), convert(gray.expand(2, 3, 4, 5)))


def test_lab_is_that_of_scikit_image_but_for_the_digits_of_its_matrix():
    rgb = torch.rand(2, 3, 30, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 2
    np.testing.assert_allclose(color.rgb_to_lab(rgb).numpy(), rgb2lab(rgb.numpy(), channel_axis=1), atol=0.01)


def test_lab_of_white_black_and_another_white_point():
    white = torch.ones(1, 3, 1, 1, dtype=torch.float64)
    assert color.rgb_to_lab(white).flatten().tolist() == pytest.approx([100, 0, 0], abs=2e-3)
    assert color.rgb_to_lab(0 * white).flatten().tolist() == pytest.approx([0, 0, 0])
    x, y, z = (np.cbrt(sum(row) / w) for row, w in zip(color.RGB_TO_XYZ, color.WHITE_D50, strict=True))
    expected = [116 * y - 16, 500 * (x - y), 200 * (y - z)]
    assert color.rgb_to_lab(white, color.WHITE_D50).flatten().tolist() == pytest.approx(expected)


def test_lab_is_continuous_with_finite_gradients():
    levels = torch.linspace(0, 1, 2001, dtype=torch.float64).view(1, 1, 1, -1).requires_grad_()
    lab = color.rgb_to_lab(levels.expand(1, 3, 1, -1))
    assert lab.diff(dim=-1).abs().max() < 0.1
    lab.sum().backward()
    assert levels.grad.isfinite().all()
    assert torch.autograd.gradcheck(color.rgb_to_lab, torch.rand(1, 3, 2, 3, dtype=torch.float64, requires_grad=True))


def test_all_bits_are_asked_for_on_a_gpu_alone_and_given_back():
    convolutions = torch.backends.cudnn.conv
    usual = convolutions.fp32_precision
    with all_bits(torch.zeros(1)):
        assert convolutions.fp32_precision == usual
    with pytest.raises(RuntimeError, match="inside"), all_bits(SimpleNamespace(is_cuda=True)):
        assert convolutions.fp32_precision == "ieee" != usual
        raise RuntimeError("inside")
    assert convolutions.fp32_precision == usual
