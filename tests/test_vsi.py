"""VSI and SDSP saliency against a plain NumPy version, gray and flat images, gradients."""

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from test_fsim import SCHARR, random_pair, slopes_agree

from iqa_lab.full_reference import vsi as vsi_module
from iqa_lab.full_reference.fsim import weighted_mean
from iqa_lab.full_reference.vsi import (
    band_pass,
    colour_prior,
    frequency_prior,
    location_prior,
    sdsp_saliency,
    stretch,
    vsi,
    vsi_maps,
)

XYZ = np.array([[0.4124564, 0.3575761, 0.1804375],
                [0.2126729, 0.7151522, 0.0721750],
                [0.0193339, 0.1191920, 0.9503041]])
LMN = np.array([[0.06, 0.63, 0.27], [0.30, 0.04, -0.35], [0.34, -0.60, 0.17]])


def resizing_matrix(n: int, size: int) -> np.ndarray:
    """imresize with the triangle kernel: one output sample after another, one tap after another."""
    matrix, scale = np.zeros((size, n)), min(1, size / n)
    for i in range(size):
        u = (i + 0.5) * n / size - 0.5
        taps = range(int(np.floor(u - 1 / scale)), int(np.ceil(u + 1 / scale)) + 1)
        weights = np.array([max(0, 1 - abs(scale * (u - k))) for k in taps])
        for k, weight in zip(taps, weights / weights.sum(), strict=True):
            matrix[i, -k - 1 if k < 0 else 2 * n - 1 - k if k >= n else k] += weight
    return matrix


def plain_lab(rgb: np.ndarray) -> np.ndarray:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    t = np.tensordot(XYZ, linear, 1) / np.array([0.9642, 1, 0.8251])[:, None, None]
    f = np.where(t > 0.008856, np.cbrt(t), (903.3 * t + 16) / 116)
    return np.stack((116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])))


def plain_band_pass() -> np.ndarray:
    u = (np.arange(1, 257) - 129) / 256
    r = np.hypot(u[:, None], u)
    r[r**2 > 0.25] = 0
    with np.errstate(divide="ignore"):
        return np.fft.ifftshift(np.exp(-np.log(r / 0.021) ** 2 / (2 * 1.34**2)))


def plain_saliency(image: np.ndarray) -> np.ndarray:
    """SDSP of an array (3, H, W) in [0, 1], as the authors' code reads."""
    height, width = image.shape[1:]
    lab = plain_lab(resizing_matrix(height, 256) @ image @ resizing_matrix(width, 256).T)
    sf = np.sqrt((np.fft.ifft2(np.fft.fft2(lab) * plain_band_pass()).real ** 2).sum(0))
    k = np.arange(1, 257)
    sd = np.exp(-((k[:, None] - 128) ** 2 + (k - 128) ** 2) / 145**2)
    a, b = ((c - c.min()) / (c.max() - c.min()) for c in lab[1:])
    saliency = sf * sd * (1 - np.exp(-(a**2 + b**2) / 0.001**2))
    saliency = resizing_matrix(256, height) @ saliency @ resizing_matrix(256, width).T
    return (saliency - saliency.min()) / (saliency.max() - saliency.min())


def plain_vsi(distorted: np.ndarray, reference: np.ndarray) -> float:
    height, width = reference.shape[1:]
    f = max(1, int(min(height, width) / 256 + 0.5))

    def channels(image):
        for channel in (plain_saliency(image), *np.tensordot(LMN, 255 * image, 1)):
            full = convolve2d(channel, np.full((f, f), f**-2.0))
            yield full[f // 2:f // 2 + height:f, f // 2:f // 2 + width:f]

    def similar(a, b, c):
        return (2 * a * b + c) / (a**2 + b**2 + c)

    (v1, l1, m1, n1), (v2, l2, m2, n2) = channels(distorted), channels(reference)
    g1, g2 = (np.hypot(convolve2d(x, SCHARR, "same"), convolve2d(x, SCHARR.T, "same")) for x in (l1, l2))
    s_c = ((similar(m1, m2, 130) * similar(n1, n2, 130)).astype(complex) ** 0.02).real
    s, weight = similar(v1, v2, 1.27) * similar(g1, g2, 386) ** 0.4 * s_c, np.maximum(v1, v2)
    return (s * weight).sum() / weight.sum()


@pytest.mark.parametrize("size, n", [((60, 300), 2), ((257, 131), 1), ((400, 390), 1)])
def test_equals_the_plain_version(size, n):
    x, y = random_pair(*size, n)
    for i in range(n):
        np.testing.assert_allclose(sdsp_saliency(x)[i, 0].numpy(), plain_saliency(x[i].numpy()), atol=1e-10)
        assert vsi(x, y)[i].item() == pytest.approx(plain_vsi(x[i].numpy(), y[i].numpy()), rel=1e-10)


def test_constants_are_the_authors():
    assert (vsi_module.SIGMA_F, vsi_module.OMEGA_0, vsi_module.SIGMA_D, vsi_module.SIGMA_C) == (1.34, 0.021, 145, 0.001)
    assert (vsi_module.C1, vsi_module.C2, vsi_module.C3) == (1.27, 386, 130)
    assert (vsi_module.ALPHA, vsi_module.BETA) == (0.4, 0.02)


def test_band_pass_is_the_left_half_of_a_symmetric_filter_without_corners_and_mean():
    full = plain_band_pass()
    np.testing.assert_allclose(band_pass(torch.float64).numpy(), full[:, :129], atol=1e-12)
    np.testing.assert_allclose(full[1:, 1:], full[:0:-1, :0:-1])
    assert full[0, 0] == 0 and full[110, 110] == 0


def test_priors_see_what_they_are_named_after():
    prior = location_prior()
    assert divmod(prior.argmax().item(), 256) == (127, 127)  # MATLAB's pixel 128
    blob = torch.zeros(1, 3, 256, 256)
    blob[..., 60:70, 60:70] = 50
    frequency = frequency_prior(blob)
    assert frequency[..., 60:70, 60:70].mean() > 5 * frequency[..., 150:250, 150:250].mean()
    lab = torch.zeros(1, 3, 256, 256)
    lab[:, 1:, :, 100:] = 20.0
    colour = colour_prior(lab)
    assert colour[..., :100].max() == 0 and colour[..., 100:].min() == 1


def test_symmetric_and_one_for_identical_images():
    x, y = random_pair(60, 70)
    forth, back = vsi(x, y), vsi(y, x)
    torch.testing.assert_close(forth, back)
    torch.testing.assert_close(vsi(x, x), torch.ones(2, dtype=torch.float64))
    assert (forth < 0.95).all()


def test_gray_counts_as_three_equal_channels():
    x, y = (image[:, :1] for image in random_pair(60, 70, n=1))
    score, colour = vsi(x, y), (x.expand(-1, 3, -1, -1), y.expand(-1, 3, -1, -1))
    torch.testing.assert_close(score, vsi(*colour))
    assert score.item() == pytest.approx(plain_vsi(colour[0][0].numpy(), colour[1][0].numpy()), rel=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_flat_images_have_no_saliency(dtype):
    x = random_pair(60, 70, n=1)[0].to(dtype).requires_grad_()
    gray, red = (torch.tensor(rgb, dtype=dtype).view(1, 3, 1, 1).expand(1, 3, 60, 70).clone().requires_grad_()
                 for rgb in ((0.4, 0.4, 0.4), (0.81, 0.13, 0.07)))
    assert sdsp_saliency(gray).count_nonzero() == sdsp_saliency(red).count_nonzero() == 0
    both_flat, one_flat = vsi(gray, red), vsi(gray, x)
    assert both_flat.item() == 1 and 0 < one_flat.item() < 0.95
    (both_flat + one_flat + vsi(x, red) + vsi(x, x)).sum().backward()
    assert all(image.grad.isfinite().all() for image in (x, gray, red))


def test_one_constant_chromaticity_counts_as_zero():
    lab = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lab[:, 2] = 7.5
    expected = 1 - torch.exp(-((lab[:, 1] - lab[:, 1].min()) / (lab[:, 1].max() - lab[:, 1].min())) ** 2 / 1e-6)
    torch.testing.assert_close(colour_prior(lab)[:, 0], expected)


def test_rounding_errors_are_no_colour():
    errors = 1e-4 * torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    assert colour_prior(30 + errors).count_nonzero() == 0 and colour_prior(30 + 1e4 * errors).min() >= 0


def test_stretch():
    x = torch.tensor([[2.0, 4.0], [3.0, 2.0]]).expand(1, 2, 2, 2)
    assert stretch(x)[0, 0].tolist() == [[0, 1], [0.5, 0]] and stretch(x, 2.0).count_nonzero() == 0
    assert stretch(torch.ones(1, 1, 2, 2)).count_nonzero() == 0


def test_gradients_are_finite_on_quantised_images():
    x, y = ((4 * image).round() / 4 for image in random_pair(60, 70, n=1))
    x.requires_grad_()
    vsi(x, y).sum().backward()
    assert x.grad.isfinite().all() and x.grad.count_nonzero() > x.numel() / 2


def test_the_gradient_is_the_slope():
    assert slopes_agree(vsi, *random_pair(16, 18, n=1))


def test_maps_are_where_the_score_comes_from():
    x, y = random_pair(384, 400)
    s_vs, s_g, s_c, vs_m = vsi_maps(x, y)
    assert s_vs.shape == s_g.shape == s_c.shape == vs_m.shape == (2, 1, 192, 200)
    assert s_c.min() < 0
    power = torch.from_numpy((s_c.numpy().astype(complex) ** 0.02).real)
    torch.testing.assert_close(weighted_mean(s_vs * s_g**0.4 * power, vs_m), vsi(x, y))


def test_small_images_are_refused():
    with pytest.raises(ValueError, match="sides of 16"):
        vsi(torch.zeros(1, 3, 15, 40), torch.zeros(1, 3, 15, 40))
