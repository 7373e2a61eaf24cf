"""BRISQUE and NIQE on images that break other implementations: flat, tiny, saturated, odd, gray."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from test_statistics import slow_aggd, slow_ggd, window

from iqa_lab import create_metric, load_database, load_image
from iqa_lab.no_reference.brisque import brisque_features
from iqa_lab.no_reference.niqe import NIQE, P, niqe_features, weighted_mean_and_covariance
from iqa_lab.ops import strips
from iqa_lab.ops.color import rgb_to_luma_matlab
from iqa_lab.ops.resize import resize
from iqa_lab.ops.statistics import gamma_ratio

SMALLEST = {"brisque": 14, "niqe": 96}


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    return load_image(load_database("embedded").root / "references/chelsea.png")[..., :200, :230]


@pytest.mark.parametrize("name", SMALLEST)
@pytest.mark.parametrize("case", ["black", "white", "gray", "one pixel", "ramp", "checkerboard", "noise", "saturated"])
def test_difficult_images_have_a_finite_score(name, case, photo):
    side = 200
    flat = torch.full((1, 3, side, side), {"black": 0.0, "white": 1.0}.get(case, 0.5))
    if case == "one pixel":
        flat[..., 100, 100] = 1
    ramp = torch.linspace(0, 1, side).expand(1, 3, side, side)
    board = (torch.arange(side)[:, None] + torch.arange(side)).remainder(2).float().expand(1, 3, side, side)
    generator = torch.Generator().manual_seed(0)
    image = {"ramp": ramp, "checkerboard": board, "noise": torch.rand(1, 3, side, side, generator=generator),
             "saturated": (2 * photo - 0.3).clamp(0, 1)}.get(case, flat)
    assert create_metric(name)(image).isfinite().all()


@pytest.mark.parametrize("name, side", SMALLEST.items())
def test_the_smallest_image_is_scored_and_a_smaller_one_refused(name, side, photo):
    assert create_metric(name)(photo[..., :side, :side]).isfinite().all()
    with pytest.raises(ValueError, match=f"sides of {side} pixels"):
        create_metric(name)(photo[..., :side - 1, :side])


@pytest.mark.parametrize("name", SMALLEST)
@pytest.mark.parametrize("height, width", [(191, 193), (97, 229), (200, 101)])
def test_odd_sizes(name, height, width, photo):
    assert create_metric(name)(photo[..., :height, :width]).isfinite().all()


@pytest.mark.parametrize("name", SMALLEST)
def test_a_gray_image_is_its_own_luma(name, photo):
    gray = rgb_to_luma_matlab(photo.double())
    metric = create_metric(name)
    torch.testing.assert_close(metric(gray), metric(photo.double()))
    torch.testing.assert_close(metric(gray), metric(gray.expand(-1, 3, -1, -1)))


def test_niqe_looks_only_at_whole_patches(photo):
    changed = photo.clone()
    changed[..., 2 * P:, :] = 0
    changed[..., 2 * P:] = 0
    niqe = create_metric("niqe")
    assert torch.equal(niqe(photo), niqe(changed))


def test_niqe_is_the_distance_of_the_definition(photo):
    """Eq. (10) with numpy.linalg.pinv and numpy.cov, as the release writes it."""
    niqe = NIQE()
    features, complete, sharpness = niqe_features(photo)
    assert features.shape == (1, 4, 36) and complete.all() and sharpness.shape == (1, 4)
    patches = features[0].numpy()
    difference = niqe.mean.numpy() - patches.mean(0)
    pooled = (niqe.covariance.numpy() + np.cov(patches, rowvar=False)) / 2
    assert niqe(photo).item() == pytest.approx(np.sqrt(difference @ np.linalg.pinv(pooled) @ difference), rel=1e-6)


def test_incomplete_patches_are_left_out_unless_none_is_complete():
    features = torch.rand(2, 5, 36, dtype=torch.float64)
    keep = torch.tensor([[True, True, True, False, True], [False] * 5])
    mean, covariance = weighted_mean_and_covariance(features, keep)
    torch.testing.assert_close(mean[0], features[0, keep[0]].mean(0))
    torch.testing.assert_close(covariance[0], torch.cov(features[0, keep[0]].T))
    torch.testing.assert_close(covariance[1], torch.cov(features[1].T))


def test_the_shipped_model_of_niqe_is_a_covariance():
    niqe = NIQE()
    assert torch.equal(niqe.covariance, niqe.covariance.T) and torch.linalg.eigvalsh(niqe.covariance).min() > 0


def slow_mscn(x: np.ndarray, mode: str) -> tuple[np.ndarray, np.ndarray]:
    mean, square = (ndimage.correlate(v, window(), mode=mode) for v in (x, x**2))
    sigma = np.sqrt(np.abs(square - mean**2))
    return (x - mean) / (sigma + 1), sigma


def slow_pairs(x: np.ndarray) -> list[tuple[float, float, float, float]]:
    """Shape, left and right root mean square, width per root mean square, of four products on a torus."""
    fits = [slow_aggd((x * np.roll(x, shift, (0, 1))).ravel()) for shift in ((0, 1), (1, 0), (1, 1), (-1, 1))]
    return [(*fit, gamma(1, fit[0], 3) ** 0.5) for fit in fits]


def gamma(a: int, alpha: float, b: int) -> float:
    return gamma_ratio(*(torch.tensor(k / alpha, dtype=torch.float64) for k in (a, b))).item()


def gray_scales(photo: torch.Tensor) -> list[np.ndarray]:
    gray = 255 * rgb_to_luma_matlab(photo.double())
    return [gray[0, 0].numpy(), resize(gray, 0.5)[0, 0].numpy()]


def slow_brisque_features(photo: torch.Tensor) -> list[float]:
    features = []
    for x in gray_scales(photo):
        coefficients, _ = slow_mscn(x, "constant")
        features += slow_ggd(coefficients.ravel()), np.mean(coefficients**2)
        for alpha, left, right, beta in slow_pairs(coefficients):
            features += alpha, (right - left) * beta * gamma(2, alpha, 1), left**2, right**2
    return features


def slow_niqe_features(photo: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Features and sharpness of the patches of an image whose sides are multiples of 96."""
    columns, sharpness = [], []
    for x, side in zip(gray_scales(photo), (96, 48), strict=True):
        maps = slow_mscn(x, "nearest")
        patches, sigmas = ([m[i:i + side, j:j + side] for i in range(0, x.shape[0], side)
                            for j in range(0, x.shape[1], side)] for m in maps)
        rows = []
        for patch in patches:
            alpha, left, right = slow_aggd(patch.ravel())
            row = [alpha, (left + right) / 2 * gamma(1, alpha, 3) ** 0.5]
            for alpha, left, right, beta in slow_pairs(patch):
                row += alpha, (right - left) * beta * gamma(2, alpha, 1), left * beta, right * beta
            rows.append(row)
        columns.append(rows)
        sharpness.append([sigma.mean() for sigma in sigmas])
    return np.concatenate(columns, 1), np.array(sharpness[0])


@pytest.mark.parametrize("pixels", [1, 2**11, 96 * 96, 2**14, 2**22])
def test_features_in_strips_are_those_of_the_definition(pixels, photo, monkeypatch):
    monkeypatch.setattr(strips, "PIXELS", pixels)
    small = photo[..., :75, :62]
    np.testing.assert_allclose(brisque_features(small)[0].numpy(), slow_brisque_features(small), rtol=1e-9, atol=1e-9)
    whole = photo[..., :2 * P, :2 * P]
    features, complete, sharpness = niqe_features(whole)
    expected, expected_sharpness = slow_niqe_features(whole)
    np.testing.assert_allclose(features[0].numpy(), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(sharpness[0].numpy(), expected_sharpness, rtol=1e-12)
    assert complete.all()


@pytest.mark.parametrize("features", [brisque_features, lambda image: niqe_features(image)[0]])
def test_strips_change_neither_features_nor_gradient(features, photo, monkeypatch):
    image = torch.cat((photo, photo.flip(2))).double()
    results = []
    for pixels in (2**11, 2**22):
        monkeypatch.setattr(strips, "PIXELS", pixels)
        leaf = image.clone().requires_grad_()
        values = features(leaf)
        results.append((values.detach(), torch.autograd.grad(values.square().sum(), leaf)[0]))
    (few, few_gradient), (many, many_gradient) = results
    torch.testing.assert_close(few, many, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(few_gradient, many_gradient, rtol=1e-8, atol=1e-9)
