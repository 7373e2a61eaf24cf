"""VIF and VIFp against plain NumPy versions of the releases, published values, flat images, and gradcheck."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate
from scipy.signal import convolve2d

from iqa_lab import images as images_module
from iqa_lab import load_image
from iqa_lab.full_reference.vif import (WINDOWS, border_blocks, channel_parameters, gsm_parameters, vif, vif_levels,
                                        vifp, vifp_scales)
from iqa_lab.ops.color import rgb_to_luma, rgb_to_luma_studio
from iqa_lab.ops.pyramids import steerable_filters

DATA = os.environ.get("IQA_LAB_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="needs the databases: set IQA_LAB_DATA")


def smooth_pair(height: int, width: int, channels: int = 1, n: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """A reference with a smooth and a flat part, and a noisy version of it, in 8-bit steps."""
    random = np.random.default_rng(height + width)
    waves = np.cumsum(random.normal(size=(n, channels, height, width)), -1)
    waves[..., : width // 4] = waves[..., :1, :1]
    reference = 0.5 + 0.4 * waves / np.abs(waves).max()
    distorted = 0.7 * reference + 0.1 + 0.03 * random.normal(size=reference.shape)
    distorted[..., height // 2:, width // 2:] = 0.3
    return tuple(torch.from_numpy(np.clip(image, 0, 1) * 255).round() / 255 for image in (distorted, reference))


def slow_vifp(y: np.ndarray, x: np.ndarray) -> float:
    received = sent = 0.0
    for scale in range(1, 5):
        n = 2 ** (5 - scale) + 1
        taps = np.exp(-((np.arange(n) - n // 2) ** 2) / (2 * (n / 5) ** 2))
        window = np.outer(taps, taps) / taps.sum() ** 2
        if scale > 1:
            x, y = (convolve2d(image, window, "valid")[::2, ::2] for image in (x, y))
        mu_x, mu_y, xx, yy, xy = (convolve2d(image, window, "valid") for image in (x, y, x * x, y * y, x * y))
        var_x, var_y, cov = np.maximum(xx - mu_x**2, 0), np.maximum(yy - mu_y**2, 0), xy - mu_x * mu_y
        g = cov / (var_x + 1e-10)
        noise = var_y - g * cov
        special = var_x < 1e-10
        g[special], noise[special], var_x[special] = 0, var_y[special], 0
        special = var_y < 1e-10
        g[special], noise[special] = 0, 0
        special = g < 0
        noise[special], g[special] = var_y[special], 0
        noise[noise <= 1e-10] = 1e-10
        received += np.log10(1 + g**2 * var_x / (noise + 2)).sum()
        sent += np.log10(1 + var_x / 2).sum()
    return received / sent


def slow_bands(x: np.ndarray) -> list[np.ndarray]:
    """Two bands of each of four levels, fine to coarse, by full correlations."""
    filters = {name: kernels[:, 0].numpy() for name, kernels in steerable_filters("sp5", torch.float64).items()}
    x, bands = correlate(x, filters["lo0"][0], mode="mirror"), []
    for _ in range(4):
        bands.append([correlate(x, filters["bands"][b], mode="mirror") for b in (0, 3)])
        x = correlate(x, filters["lo"][0], mode="mirror")[::2, ::2]
    return bands


def slow_gsm(band: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height, width = (side // 3 * 3 for side in band.shape)
    windows = np.lib.stride_tricks.sliding_window_view(band[:height, :width], (3, 3))
    covariance = np.cov(windows.reshape(-1, 9).T, bias=True)
    blocks = windows[::3, ::3].reshape(height // 3, width // 3, 9)
    s2 = np.einsum("ija,ab,ijb->ij", blocks, np.linalg.inv(covariance), blocks) / 9
    return s2, np.linalg.eigvalsh(covariance)


def slow_vif(y: np.ndarray, x: np.ndarray) -> float:
    received = sent = 0.0
    for level, (x_bands, y_bands) in enumerate(zip(slow_bands(x), slow_bands(y), strict=True)):
        side = 2 ** (4 - level) + 1
        for band, other in zip(x_bands, y_bands, strict=True):
            s2, eigenvalues = slow_gsm(band)
            height, width = (n // 3 * 3 for n in band.shape)
            a, b = band[:height, :width], other[:height, :width]
            box = np.full((side, side), side**-2.0)
            means = (correlate(v, box, mode="mirror")[1::3, 1::3] for v in (a, b, a * a, b * b, a * b))
            mu_a, mu_b, aa, bb, ab = means
            var_a, var_b = np.maximum(side**2 * (aa - mu_a**2), 0), np.maximum(side**2 * (bb - mu_b**2), 0)
            cov = side**2 * (ab - mu_a * mu_b)
            g = cov / (var_a + 1e-15)
            noise = (var_b - g * cov) / side**2
            noise[var_a < 1e-15], g[var_a < 1e-15] = var_b[var_a < 1e-15], 0
            g[var_b < 1e-15], noise[var_b < 1e-15] = 0, 0
            noise[g < 0], g[g < 0] = var_b[g < 0], 0
            noise[noise <= 1e-15] = 1e-15
            frame = int(np.ceil((side - 1) / 2 / 3))
            inner = (slice(frame, -frame), slice(frame, -frame))
            for eigenvalue in eigenvalues:
                received += np.log2(1 + g**2 * s2 * eigenvalue / (noise + 0.4))[inner].sum()
                sent += np.log2(1 + s2 * eigenvalue / 0.4)[inner].sum()
    return received / sent


@pytest.mark.parametrize("size", [(41, 41), (48, 61), (70, 53)])
def test_vifp_equals_the_plain_version(size):
    distorted, reference = smooth_pair(*size)
    expected = slow_vifp(255 * distorted[0, 0].numpy(), 255 * reference[0, 0].numpy())
    assert vifp(distorted, reference).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("size", [(72, 72), (73, 85), (96, 80)])
def test_vif_equals_the_plain_version(size):
    distorted, reference = smooth_pair(*size)
    expected = slow_vif(255 * distorted[0, 0].numpy(), 255 * reference[0, 0].numpy())
    assert vif(distorted, reference).item() == pytest.approx(expected, rel=1e-7)


def test_gsm_parameters_equal_numpy_and_explain_the_mean_block():
    bands = torch.randn(2, 2, 31, 26, generator=torch.Generator().manual_seed(0), dtype=torch.float64).cumsum(-1)
    s_squared, eigenvalues = gsm_parameters(bands)
    for n, band in np.ndindex(2, 2):
        expected, spectrum = slow_gsm(bands[n, band].numpy())
        np.testing.assert_allclose(s_squared[n, band].numpy(), expected, rtol=1e-7)
        np.testing.assert_allclose(eigenvalues[n, band].numpy(), spectrum, rtol=1e-8)
    white = torch.randn(1, 1, 300, 300, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert gsm_parameters(white)[0].mean().item() == pytest.approx(1, abs=0.02)


def test_a_pure_pattern_and_a_flat_band_have_finite_parameters():
    stripes = torch.arange(30, dtype=torch.float64).sin().expand(1, 1, 24, 30)
    s_squared, eigenvalues = gsm_parameters(torch.cat((stripes, torch.full_like(stripes, 1e-7)), 1))
    assert s_squared.isfinite().all() and (eigenvalues >= 0).all()
    assert (s_squared[:, 1] == 0).all()


@pytest.mark.parametrize("window", WINDOWS)
def test_the_channel_is_found(window):
    x = torch.randn(1, 2, 57, 60, generator=torch.Generator().manual_seed(window), dtype=torch.float64)
    g, noise = channel_parameters(x, 0.6 * x, window)
    assert g.shape == (1, 2, 19 - 2 * border_blocks(window), 20 - 2 * border_blocks(window))
    torch.testing.assert_close(g, torch.full_like(g, 0.6))
    assert (noise < 1e-12).all()
    g, noise = channel_parameters(x, -x, window)
    assert (g == 0).all() and noise.mean().item() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("metric", [vif, vifp])
def test_identity_contrast_noise_and_order(metric):
    distorted, reference = smooth_pair(90, 100)
    assert metric(reference, reference).item() == pytest.approx(1, abs=1e-9)
    contrasts = [metric(reference.mean() + gain * (reference - reference.mean()), reference) for gain in (0.9, 1.1)]
    assert contrasts[0] < 1 < contrasts[1]
    assert 0 < metric(distorted, reference) < 0.9
    assert metric(distorted, reference) != metric(reference, distorted)


@pytest.mark.parametrize("metric", [vif, vifp])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_flat_images(metric, dtype):
    photo, flat = smooth_pair(80, 80)[1].to(dtype), torch.full((1, 1, 80, 80), 0.4, dtype=dtype)
    assert metric(flat, flat) == 1 and metric(photo, flat) == 1  # the reference has nothing to lose
    assert metric(flat, photo).item() == pytest.approx(0, abs=1e-9)
    for distorted, reference in ((flat, photo), (photo, flat), (flat, flat), (photo, photo)):
        leaves = distorted.clone().requires_grad_(), reference.clone().requires_grad_()
        metric(*leaves).backward()
        assert all(leaf.grad.isfinite().all() for leaf in leaves)


@pytest.mark.parametrize("metric, amplitude", [(vif, 1e-11), (vifp, 1e-8)])
def test_variations_below_the_thresholds_of_the_releases_carry_nothing(metric, amplitude):
    distorted, reference = smooth_pair(96, 100)
    distorted[..., :25] = distorted[..., 70:95]
    disturbed = reference.clone()
    disturbed[..., :25] += amplitude * torch.rand(96, 25, generator=torch.Generator().manual_seed(0))
    assert metric(distorted, disturbed).item() == pytest.approx(metric(distorted, reference).item(), rel=1e-7)


def test_a_reference_that_varies_by_millionths_of_a_gray_level_is_flat():
    pattern = torch.rand(1, 1, 60, 60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert vifp(0.5 + 0.3 * pattern, 0.5 + 1e-8 * pattern) == 1


@pytest.mark.parametrize("metric, on_flat", [(vif, 1e-5), (vifp, 1e-3)])  # vifp: faint variances are small differences
def test_float32(metric, on_flat):
    distorted, reference = smooth_pair(96, 96)
    white = reference.clone()
    white[..., :, :60] = 1
    checkers = torch.kron(torch.eye(2, dtype=torch.float64).repeat(2, 2), torch.ones(24, 24))[None, None] * 0.6 + 0.2
    noisy = checkers + distorted - reference
    for pair, tolerance in (((distorted, reference), 1e-5), ((white, distorted), 5e-5), ((distorted, white), on_flat),
                            ((noisy, checkers), on_flat)):
        assert metric(*(image.float() for image in pair)).item() == pytest.approx(metric(*pair).item(), rel=tolerance)


@pytest.mark.parametrize("metric", [vif, vifp])
def test_luma_option_and_batches_in_parts(metric, monkeypatch):
    distorted, reference = smooth_pair(76, 80, channels=3, n=3)
    scores = metric(distorted, reference)
    assert (scores != metric(distorted, reference, luma=rgb_to_luma)).all()
    monkeypatch.setattr(images_module, "PIXELS_AT_ONCE", 1)
    torch.testing.assert_close(metric(distorted, reference), scores, rtol=1e-10, atol=0)


def test_maps_have_one_value_per_block_or_place():
    pair = smooth_pair(76, 90)
    assert [tuple(sent.shape[1:]) for _, sent in vif_levels(*pair)] == [(2, 19, 24), (2, 8, 11), (2, 4, 5), (2, 1, 2)]
    assert [tuple(sent.shape[1:]) for _, sent in vifp_scales(*pair)] == [(60, 74), (26, 33), (11, 15), (5, 7)]


def test_gradcheck():
    for metric, side in ((vif, 72), (vifp, 41)):
        pair = [image.requires_grad_() for image in smooth_pair(side, side + 1)]
        pair = [(0.9 * image + 0.02 * torch.rand_like(image)).detach().requires_grad_() for image in pair]
        assert torch.autograd.gradcheck(metric, pair, fast_mode=True)


@pytest.mark.parametrize("metric, side", [(vif, 71), (vifp, 40)])
def test_small_images_are_refused(metric, side):
    image = torch.zeros(1, 1, side, 100)
    with pytest.raises(ValueError, match=f"sides of {side + 1} pixels"):
        metric(image, image)


@needs_data
def test_vifp_equals_the_values_in_the_tid2013_release():
    """To their four digits, on the Y of rgb2ycbcr; all 116 given images of I01 do, five of them are tried here."""
    folder = Path(DATA) / "images" / "tid2013"
    values = np.loadtxt(folder / "metrics_values" / "VIFP.txt")
    names = [line.split()[1].lower() for line in (folder / "mos_with_names.txt").read_text().splitlines()]
    reference = load_image(folder / "reference_images" / "I01.png")
    for file in sorted((folder / "distorted_images").iterdir())[::25]:
        score = vifp(load_image(file), reference, luma=rgb_to_luma_studio).item()
        assert score == pytest.approx(values[names.index(file.stem.lower() + ".bmp")], abs=5.1e-5)


@needs_data
def test_vif_equals_the_values_published_with_a_super_resolution_database():
    """SRIJ gives double precision for gray images; 300 of its images are here, four of them are tried."""
    folder = Path(DATA) / "images" / "srij"
    rows = [row for row in csv.DictReader((folder / "mos.csv").open())
            if row["is_ground_truth"] == "0" and (folder / row["file"]).exists()]
    for row in rows[::90]:
        distorted, reference = (load_image(folder / row[name]).double()[:, :1] for name in ("file", "ground_truth"))
        assert vif(distorted, reference).item() == pytest.approx(float(row["pub_VIF"]), rel=1e-7)


@needs_data
def test_vifp_on_bt601_luma_equals_the_value_of_a_matlab_run():
    folder = Path(DATA) / "golden" / "tid2013_pairs"
    pair = load_image(folder / "distorted" / "i01_01_5.bmp"), load_image(folder / "reference" / "i01.bmp")
    assert vifp(*pair, luma=rgb_to_luma).item() == pytest.approx(0.3147, abs=5e-5)
