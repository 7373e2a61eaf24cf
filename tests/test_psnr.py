"""PSNR and MSE against scikit-image, NumPy and gradcheck."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from iqa_lab.full_reference.psnr import mse, psnr, psnr_y
from iqa_lab.ops.color import LUMA_STUDIO, rgb_to_luma, rgb_to_luma_studio, weighted_sum


def batch(seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, 3, 20, 17, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equals_scikit_image_and_numpy_per_image():
    x, y = batch()
    for i in range(3):
        assert psnr(x, y)[i].item() == pytest.approx(peak_signal_noise_ratio(y[i].numpy(), x[i].numpy(), data_range=1))
        assert mse(x, y)[i].item() == pytest.approx(np.mean((x[i].numpy() - y[i].numpy()) ** 2))


def test_one_8_bit_step_everywhere_is_48_13_decibels():
    x = torch.full((1, 3, 8, 8), 100 / 255, dtype=torch.float64)
    assert psnr(x + 1 / 255, x).item() == pytest.approx(20 * math.log10(255))


def test_identical_images_are_infinite_with_zero_gradient():
    x = batch()[0].requires_grad_()
    scores = psnr(x, x.detach())
    scores.sum().backward()
    assert scores.isinf().all() and (x.grad == 0).all()


def test_an_identical_image_does_not_spoil_the_others_of_its_batch():
    x, y = batch()
    x[1] = y[1]
    x.requires_grad_()
    psnr(x, y)[[0, 2]].sum().backward()
    assert x.grad.isfinite().all() and x.grad[0].abs().sum() > 0


@pytest.mark.parametrize("function", [mse, psnr])
def test_gradcheck(function):
    x, y = batch()[:, :1, :, :5, :5]
    assert torch.autograd.gradcheck(function, (x.requires_grad_(), y.requires_grad_()))


def test_luma_psnr_is_blind_to_colour_and_knows_its_range():
    x, y = batch()
    assert torch.equal(psnr_y(x, y), psnr(rgb_to_luma_studio(x), rgb_to_luma_studio(y)))
    torch.testing.assert_close(psnr_y(x, y, luma=rgb_to_luma), psnr(rgb_to_luma(x), rgb_to_luma(y)))
    assert (psnr_y(x, y) - psnr_y(x, y, luma=rgb_to_luma)).mean().item() == pytest.approx(20 * math.log10(255 / 219), abs=0.01)
    turned = x.clone()
    turned[:, 0], turned[:, 1] = x[:, 0] + 0.1, x[:, 1] - 0.1 * 65.481 / 128.553  # luma stays
    assert psnr_y(turned, x, luma=lambda image: weighted_sum(image, LUMA_STUDIO)).min() > 200 and psnr(turned, x).max() < 30
