"""GMSD against a plain SciPy version, its constants, flat images and gradcheck."""

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from iqa_lab.full_reference.gmsd import gms_map, gmsd
from iqa_lab.ops.color import rgb_to_luma


def random_pair(height: int, width: int, channels: int = 1, n: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(height + width)
    return tuple(torch.rand(2, n, channels, height, width, generator=generator, dtype=torch.float64))


def gradient(gray: np.ndarray) -> np.ndarray:
    prewitt = np.array([[1, 0, -1]] * 3) / 3
    return np.hypot(convolve2d(gray, prewitt, "same"), convolve2d(gray, prewitt.T, "same"))


@pytest.mark.parametrize("size", [(16, 20), (17, 21), (6, 9)])
def test_equals_the_plain_version(size):
    x, y = random_pair(*size)
    for i in range(2):
        means = [convolve2d(255 * image[i, 0].numpy(), np.ones((2, 2)) / 4, "full")[1::2, 1::2] for image in (x, y)]
        g_x, g_y = map(gradient, means)
        gms = (2 * g_x * g_y + 170) / (g_x**2 + g_y**2 + 170)
        np.testing.assert_allclose(gms_map(x, y)[i, 0].numpy(), gms, rtol=1e-10)
        assert gmsd(x, y)[i].item() == pytest.approx(gms.std(ddof=1), rel=1e-9)


def test_symmetric_and_zero_for_identical_or_equally_flat_images():
    x, y = random_pair(24, 18, channels=3)
    torch.testing.assert_close(gmsd(x, y), gmsd(y, x))
    assert gmsd(x, x).max() < 1e-14
    flat = torch.full_like(x, 0.3)
    assert gmsd(flat, flat).max() < 1e-14


def test_the_gray_conversion_is_an_option():
    x, y = random_pair(24, 18, channels=3)
    assert gmsd(x, y, luma=rgb_to_luma).sub(gmsd(x, y)).abs().max() > 1e-6
    torch.testing.assert_close(gmsd(x, y, luma=rgb_to_luma), gmsd(rgb_to_luma(x), rgb_to_luma(y)))


def test_gradcheck():
    x, y = random_pair(8, 10)
    assert torch.autograd.gradcheck(gmsd, (x.requires_grad_(), y.requires_grad_()))
