"""PSNR-HVS and PSNR-HVS-M against one block at a time, their tables, what masks and what does not, and gradcheck."""

import math

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from iqa_lab.full_reference.psnr import psnr
from iqa_lab.full_reference.psnr_hvs import CSF, MASK, hvs_errors, hvs_m_errors, psnr_hvs, psnr_hvs_m
from iqa_lab.ops.color import rgb_to_luma, rgb_to_luma_matlab, rgb_to_luma_studio


def pair(height: int, width: int, seed: int = 0, noise: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (distorted, reference), smooth in some blocks and busy in others."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(height, dtype=torch.float64)[:, None]
    waves = torch.rand(1, 1, height, width, generator=generator, dtype=torch.float64) * (y > height / 2)
    reference = 0.3 + 0.4 * waves + 0.2 * (y / height)
    distorted = reference + noise * torch.randn(reference.shape, generator=generator, dtype=torch.float64)
    return distorted.clamp(0, 1), reference


def slow_decibels(distorted: torch.Tensor, reference: torch.Tensor) -> tuple[float, float]:
    """Returns PSNR-HVS and PSNR-HVS-M of gray images, block by block and coefficient by coefficient."""
    a, b = (255 * image[0, 0].numpy() for image in (distorted, reference))
    plain, masked, count = 0.0, 0.0, 0
    for top in range(0, a.shape[0] - 7, 8):
        for left in range(0, a.shape[1] - 7, 8):
            x, y = (image[top:top + 8, left:left + 8] for image in (a, b))
            x_dct, y_dct = dctn(x, norm="ortho"), dctn(y, norm="ortho")
            strength = max(slow_masking(x, x_dct), slow_masking(y, y_dct))
            for k, row in np.ndenumerate(np.abs(x_dct - y_dct)):
                visible = row if k == (0, 0) else max(row - strength / MASK[k[0]][k[1]], 0)
                plain += (row * CSF[k[0]][k[1]]) ** 2
                masked += (visible * CSF[k[0]][k[1]]) ** 2
                count += 1
    return tuple(10 * math.log10(255**2 / (error / count)) for error in (plain, masked))


def slow_masking(block: np.ndarray, coefficients: np.ndarray) -> float:
    energy = sum(value**2 * MASK[i][j] for (i, j), value in np.ndenumerate(coefficients) if i + j)
    scatter = np.var(block, ddof=1) * 64
    quarters = [block[i:i + 4, j:j + 4] for i in (0, 4) for j in (0, 4)]
    ratio = sum(np.var(quarter, ddof=1) * 16 for quarter in quarters) / scatter if scatter else 0
    return math.sqrt(energy * ratio) / 32


@pytest.mark.parametrize("size", [(8, 8), (24, 40), (31, 23)])
@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_equals_the_sum_block_by_block(size, noise):
    images = pair(*size, seed=1, noise=noise)
    expected = slow_decibels(*images)
    assert psnr_hvs(*images).item() == pytest.approx(expected[0], abs=1e-9)
    assert psnr_hvs_m(*images).item() == pytest.approx(expected[1], abs=1e-9)


def test_tables_are_those_the_authors_print():
    assert CSF[0] == (1.608443, 2.339554, 2.573509, 1.608443, 1.072295, 0.643377, 0.504610, 0.421887)
    assert CSF[3] == (1.838221, 1.513829, 1.169777, 0.887417, 0.504610, 0.295806, 0.321689, 0.415082)
    assert CSF[7] == (0.357432, 0.279729, 0.270896, 0.262603, 0.229778, 0.257351, 0.249855, 0.259950)
    assert MASK[0] == (0.390625, 0.826446, 1.0, 0.390625, 0.173611, 0.0625, 0.038447, 0.026874)
    assert MASK[5] == (0.173611, 0.081633, 0.033058, 0.024414, 0.015242, 0.009246, 0.007831, 0.011815)
    assert np.mean(np.square(CSF)) == pytest.approx(1, abs=1e-6)


def test_white_noise_has_the_psnr_hvs_of_its_psnr():
    generator = torch.Generator().manual_seed(2)
    reference = torch.full((1, 1, 256, 256), 0.5, dtype=torch.float64)
    distorted = reference + 0.02 * torch.randn(reference.shape, generator=generator, dtype=torch.float64)
    assert psnr_hvs(distorted, reference).item() == pytest.approx(psnr(distorted, reference).item(), abs=0.1)


def test_a_busy_block_hides_what_a_flat_one_shows():
    _, reference = pair(64, 64, seed=3)
    reference[:, :, :32] = 0.5
    speck = torch.zeros(8, 8, dtype=torch.float64)
    speck[2, 2], speck[5, 4] = 1 / 256, -1 / 256  # together no change of brightness, which would never be masked
    distorted = reference + speck.repeat(8, 8)
    errors = hvs_m_errors(distorted, reference)[0, 0]
    assert errors[:4].min() > 1e-3 and errors[4:].max() < 1e-20  # rounding
    assert (hvs_errors(distorted, reference) > 1e-3).all()
    assert psnr_hvs_m(distorted[:, :, 32:], reference[:, :, 32:]) > 200


def test_a_shift_of_brightness_is_never_masked():
    _, reference = pair(32, 32, seed=4)
    assert psnr_hvs_m(reference + 0.01, reference).item() == pytest.approx(psnr_hvs(reference + 0.01, reference).item())


def test_masking_can_only_hide_and_the_images_can_be_swapped():
    distorted, reference = pair(40, 40, seed=5, noise=0.05)
    plain, masked = hvs_errors(distorted, reference), hvs_m_errors(distorted, reference)
    assert plain.shape == masked.shape == (1, 1, 5, 5) and (masked < plain).all()
    for function in (psnr_hvs, psnr_hvs_m):
        assert function(distorted, reference).item() == pytest.approx(function(reference, distorted).item())


def test_what_does_not_fill_a_block_is_ignored():
    distorted, reference = pair(30, 33, seed=6)
    whole = distorted[..., :24, :32], reference[..., :24, :32]
    for function in (psnr_hvs, psnr_hvs_m):
        assert function(distorted, reference).item() == pytest.approx(function(*whole).item())


@pytest.mark.parametrize("function", [psnr_hvs, psnr_hvs_m])
def test_identical_images_are_infinitely_good_and_have_no_gradient(function):
    for reference in (pair(16, 16)[1], torch.full((1, 1, 16, 16), 0.7)):
        distorted = reference.clone().requires_grad_()
        score = function(distorted, reference)
        score.sum().backward()
        assert score.item() == math.inf and (distorted.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_flat_blocks_have_finite_gradients(dtype):
    images = [torch.full((1, 1, 16, 16), value, dtype=dtype).requires_grad_() for value in (0.3, 0.7)]
    score = psnr_hvs_m(*images)
    score.backward()
    assert score.item() == pytest.approx(-20 * math.log10(0.4 * CSF[0][0]), abs=1e-4)  # the constant coefficient alone
    assert all(image.grad.isfinite().all() for image in images)


@pytest.mark.parametrize("function", [psnr_hvs, psnr_hvs_m])
def test_luma_option_changes_colour(function):
    colour = torch.rand(2, 1, 3, 16, 16, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    scores = {function(*colour, luma=luma).item() for luma in (rgb_to_luma, rgb_to_luma_matlab, rgb_to_luma_studio)}
    assert len(scores) == 3
    assert function(*colour, luma=rgb_to_luma_matlab) == function(*colour)


@pytest.mark.parametrize("function", [psnr_hvs, psnr_hvs_m])
def test_gradcheck(function):
    distorted, reference = pair(8, 17, seed=8)
    assert torch.autograd.gradcheck(function, (distorted.requires_grad_(), reference.requires_grad_()))


def test_an_image_smaller_than_a_block_is_refused():
    with pytest.raises(ValueError, match="8 pixels or more"):
        psnr_hvs_m(*pair(7, 20))
