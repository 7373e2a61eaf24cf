"""FSIM and FSIMc against a plain SciPy version, defined values on flat images, gradients where others give NaN."""

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from test_fourier import plain_phase_congruency

from iqa_lab.full_reference import fsim as fsim_module
from iqa_lab.full_reference.fsim import chroma_similarity, downsample, fsim, fsimc, luma_similarity, weighted_mean
from iqa_lab.ops.color import rgb_to_luma_studio

YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
SCHARR = np.array([[3, 0, -3], [10, 0, -10], [3, 0, -3]]) / 16


def random_pair(height: int, width: int, n: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns images with colours so different that the chroma similarity gets negative in places."""
    generator = torch.Generator().manual_seed(height + width)
    x, noise = torch.rand(2, n, 3, height, width, generator=generator, dtype=torch.float64)
    return torch.where(noise[:, :1] < 0.3, 1 - x, 0.8 * x + 0.2 * noise), x


def plain_fsim(distorted: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """FSIM and FSIMc of two arrays (3, H, W) in [0, 1], as the authors' code reads."""
    height, width = reference.shape[1:]
    f = max(1, int(min(height, width) / 256 + 0.5))

    def channels(image):
        for row in YIQ:
            full = convolve2d(np.tensordot(row, 255 * image, 1), np.full((f, f), f**-2.0))
            yield full[f // 2:f // 2 + height:f, f // 2:f // 2 + width:f]

    def similar(a, b, c):
        return (2 * a * b + c) / (a**2 + b**2 + c)

    (y1, i1, q1), (y2, i2, q2) = channels(distorted), channels(reference)
    pc1, pc2 = (np.divide(*plain_phase_congruency(y)) for y in (y1, y2))
    g1, g2 = (np.hypot(convolve2d(y, SCHARR, "same"), convolve2d(y, SCHARR.T, "same")) for y in (y1, y2))
    s, weight = similar(pc1, pc2, 0.85) * similar(g1, g2, 160), np.maximum(pc1, pc2)
    s_c = ((similar(i1, i2, 200) * similar(q1, q2, 200)).astype(complex) ** 0.03).real
    return (s * weight).sum() / weight.sum(), (s * s_c * weight).sum() / weight.sum()


@pytest.mark.parametrize("size, n", [((40, 52), 2), ((41, 53), 2), ((385, 390), 1), ((640, 641), 1)])
def test_equals_the_plain_version(size, n):
    x, y = random_pair(*size, n)
    for i in range(len(x)):
        expected = plain_fsim(x[i].numpy(), y[i].numpy())
        assert fsim(x, y)[i].item() == pytest.approx(expected[0], rel=1e-10)
        assert fsimc(x, y)[i].item() == pytest.approx(expected[1], rel=1e-10)


def test_the_sample_has_negative_chroma_similarity():
    x, y = (fsim_module.rgb_to_yiq(downsample(image))[:, 1:] for image in random_pair(40, 52))
    assert fsim_module.similarity(x, y, 200).prod(1).min() < 0
    assert chroma_similarity(x, y).min() >= 0


def test_constants_are_the_authors():
    assert (fsim_module.T1, fsim_module.T2, fsim_module.T3, fsim_module.T4) == (0.85, 160, 200, 200)
    assert fsim_module.LAMBDA == 0.03


@pytest.mark.parametrize("function", [fsim, fsimc])
def test_symmetric_and_one_for_identical_images(function):
    x, y = random_pair(30, 34)
    torch.testing.assert_close(function(x, y), function(y, x))
    torch.testing.assert_close(function(x, x), torch.ones(2, dtype=torch.float64))
    assert (function(x, y) < 1).all()


def test_gray_images_have_no_chroma():
    x, y = (image[:, :1] for image in random_pair(30, 34))
    torch.testing.assert_close(fsimc(x, y), fsim(x, y))
    torch.testing.assert_close(fsim(x, y), fsim(x.expand(-1, 3, -1, -1), y.expand(-1, 3, -1, -1)))
    colour = random_pair(30, 34)
    assert (fsimc(*colour) - fsim(*colour)).abs().min() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("function", [fsim, fsimc])
def test_flat_images(function, dtype):
    x = random_pair(30, 34)[0].to(dtype).requires_grad_()
    gray, red = (torch.tensor(rgb, dtype=dtype).view(1, 3, 1, 1).expand(2, 3, 30, 34).clone().requires_grad_()
                 for rgb in ((0.4, 0.4, 0.4), (0.81, 0.13, 0.07)))
    assert function(gray, red).tolist() == function(gray, gray).tolist() == [1, 1]  # neither has any phase congruency
    one_flat = function(gray, x)
    assert ((one_flat > 0) & (one_flat < 0.9)).all()
    (function(gray, red) + function(gray, x) + function(x, red) + function(x, x)).sum().backward()
    assert all(image.grad.isfinite().all() for image in (x, gray, red))


def test_gradients_are_finite_where_the_chroma_similarity_is_zero():
    # I = 10 and -10 - 0 make 2 a b + 200 = 0 exactly: the power has no derivative there.
    iq_1 = torch.tensor([10.0, 1.0]).view(1, 2, 1, 1).requires_grad_()
    iq_2 = torch.tensor([-10.0, 1.0]).view(1, 2, 1, 1)
    similarity = chroma_similarity(iq_1, iq_2)
    similarity.sum().backward()
    assert similarity.item() == 0 and iq_1.grad.isfinite().all()


def test_gradients_are_finite_on_quantised_images():
    """8-bit images have many equal neighbours, whose gradient magnitude is exactly 0."""
    x, y = ((4 * image).round() / 4 for image in random_pair(48, 50))
    x.requires_grad_()
    fsimc(x, y).sum().backward()
    assert x.grad.isfinite().all() and x.grad.count_nonzero() > x.numel() / 2


def slopes_agree(function, x: torch.Tensor, y: torch.Tensor) -> bool:
    """Returns whether gradcheck agrees along three directions of both images; all pixels take too long."""
    directions = torch.randn(3, 2, *x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def along(t):
        return function(*(torch.stack((x, y)) + torch.einsum("k,k...->...", t, directions)))

    return torch.autograd.gradcheck(along, torch.zeros(3, dtype=torch.float64, requires_grad=True), eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("function", [fsim, fsimc])
def test_the_gradient_is_the_slope(function):
    assert slopes_agree(function, *random_pair(16, 18, n=1))


def test_maps_are_where_the_score_comes_from():
    x, y = (downsample(image[:, :1]) for image in random_pair(400, 300, n=1))
    maps = luma_similarity(x, y)
    assert all(values.shape == (1, 1, 400, 300) and values.min() >= 0 and values.max() <= 1 for values in maps)
    torch.testing.assert_close(weighted_mean(maps[0] * maps[1], maps[2]), fsim(x / 255, y / 255))


def test_weighted_mean_of_no_weight_is_one():
    values = torch.rand(2, 1, 3, 3)
    weights = torch.stack((torch.zeros(1, 3, 3), torch.ones(1, 3, 3)))
    torch.testing.assert_close(weighted_mean(values, weights), torch.stack((torch.tensor(1.0), values[1].mean())))


def test_small_images_are_refused():
    with pytest.raises(ValueError, match="sides of 16"):
        fsim(torch.zeros(1, 3, 15, 40), torch.zeros(1, 3, 15, 40))


def test_the_luma_is_an_option():
    x, y = random_pair(33, 40)
    torch.testing.assert_close(fsim(x, y, luma=rgb_to_luma_studio), fsim(rgb_to_luma_studio(x), rgb_to_luma_studio(y)))
    assert (fsim(x, y, luma=rgb_to_luma_studio) - fsim(x, y)).abs().max() > 1e-5
