"""MDSI against a plain NumPy version in complex numbers, flat images, options and gradcheck."""

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from iqa_lab.full_reference.mdsi import mdsi, similarity_maps

LUMINANCE, H, M = np.array([[0.2989, 0.5870, 0.1140], [0.30, 0.04, -0.35], [0.34, -0.60, 0.17]])


def random_pair(height: int, width: int, n: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns images so different that both similarities get negative, where powers turn complex."""
    generator = torch.Generator().manual_seed(height + width)
    x, y = torch.rand(2, n, 3, height, width, generator=generator, dtype=torch.float64)
    return x, torch.where(torch.rand(y.shape, generator=generator) < 0.3, 1 - x, y)


def plain_maps(distorted: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    def similar(a, b, c):
        return (2 * a * b + c) / (a**2 + b**2 + c)

    def gradient(gray):
        prewitt = np.array([[1, 0, -1]] * 3) / 3
        return np.hypot(convolve2d(gray, prewitt, "same"), convolve2d(gray, prewitt.T, "same"))

    d, r = (255 * image.transpose(1, 2, 0) for image in (distorted, reference))
    g_r, g_d, g_f = gradient(r @ LUMINANCE), gradient(d @ LUMINANCE), gradient((r + d) @ LUMINANCE / 2)
    gs = similar(g_r, g_d, 140) + similar(g_d, g_f, 55) - similar(g_r, g_f, 55)
    cross = (r @ H) * (d @ H) + (r @ M) * (d @ M)
    return gs, (2 * cross + 550) / ((r @ H)**2 + (d @ H)**2 + (r @ M)**2 + (d @ M)**2 + 550)


def plain_mdsi(gs: np.ndarray, cs: np.ndarray, combination: str) -> float:
    gs, cs = gs.astype(complex), cs.astype(complex)
    root = (0.6 * gs + 0.4 * cs if combination == "sum" else gs**0.2 * cs**0.1) ** 0.25
    return np.abs(root - root.mean()).mean() ** 0.25


@pytest.mark.parametrize("combination", ["sum", "mult"])
def test_equals_complex_arithmetic(combination):
    x, y = random_pair(20, 26)
    scores = mdsi(x, y, combination=combination)
    for i, (distorted, reference) in enumerate(zip(x.numpy(), y.numpy(), strict=True)):
        gs, cs = plain_maps(distorted, reference)
        assert gs.min() < 0 and cs.min() < 0 and (0.6 * gs + 0.4 * cs).min() < 0
        for ours, plain in zip(similarity_maps(x, y), (gs, cs), strict=True):
            np.testing.assert_allclose(ours[i, 0].numpy(), plain, rtol=1e-9, atol=1e-12)
        assert scores[i].item() == pytest.approx(plain_mdsi(gs, cs, combination), rel=1e-9)


@pytest.mark.parametrize("combination", ["sum", "mult"])
def test_zero_with_finite_gradient_for_identical_and_flat_images(combination):
    photo = random_pair(16, 16)[0]
    for image in (photo, torch.full_like(photo, 0.5), torch.zeros_like(photo)):
        distorted = image.clone().requires_grad_()
        score = mdsi(distorted, image, combination=combination)
        score.sum().backward()
        assert (score < 1e-3).all() and distorted.grad.isfinite().all()


def test_gray_counts_as_three_equal_channels():
    x, y = (image[:, :1] for image in random_pair(16, 18))
    torch.testing.assert_close(mdsi(x, y), mdsi(x.expand(-1, 3, -1, -1), y.expand(-1, 3, -1, -1)))


def test_an_unknown_combination_is_refused():
    x, y = random_pair(16, 18)
    with pytest.raises(ValueError, match="'sum' or 'mult'"):
        mdsi(x, y, combination="product")


@pytest.mark.parametrize("combination", ["sum", "mult"])
def test_gradcheck(combination):
    generator = torch.Generator().manual_seed(1)
    x, y = torch.rand(2, 1, 3, 6, 7, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x, y: mdsi(x, y, combination=combination),
                                    (x.requires_grad_(), y.requires_grad_()))
