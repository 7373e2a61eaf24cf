"""Colour matrices, rounding and filters against their prints and against slow, obvious lines."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate

from iqa_lab.ops import color
from iqa_lab.ops.filters import box_kernel, filter_separable, gaussian_kernel
from iqa_lab.ops.elementwise import round_half_up

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
