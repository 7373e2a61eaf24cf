"""RRED against a plain NumPy version of the release, its options, sender and receiver, flat images, and gradcheck."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

from iqa_lab import images as images_module
from iqa_lab.ops.color import rgb_to_luma
from iqa_lab.ops.pyramids import steerable_filters, steerable_pyramid
from iqa_lab.reduced_reference.rred import (coarsest_band, reference_numbers, rred, rred_distance, rred_features,
                                            scaled_entropies)


def pair(height: int, width: int, channels: int = 1, n: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(height * width)
    waves = np.cumsum(np.cumsum(random.normal(size=(n, channels, height, width)), -1), -2)
    reference = 0.5 + 0.5 * waves / np.abs(waves).max()
    distorted = np.clip(reference + 0.05 * random.normal(size=reference.shape), 0, 1)
    return torch.from_numpy(distorted), torch.from_numpy(reference)


def slow_entropies(image: np.ndarray) -> np.ndarray:
    """The subband, its blocks and their entropies one by one."""
    filters = {name: kernels[:, 0].numpy() for name, kernels in steerable_filters("sp5", torch.float64).items()}
    lowpass = correlate(image, filters["lo0"][0], mode="mirror")
    for _ in range(3):
        lowpass = correlate(lowpass, filters["lo"][0], mode="mirror")[::2, ::2]
    band = correlate(lowpass, filters["bands"][3], mode="mirror")
    rows, columns = band.shape[0] // 3, band.shape[1] // 3
    band = band[:3 * rows, :3 * columns]
    windows = np.lib.stride_tricks.sliding_window_view(band, (3, 3)).reshape(-1, 9)
    covariance = np.cov(windows.T, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    positive = np.maximum(values, 0)
    values = positive * values.sum() / positive.sum()
    inverse = np.linalg.inv(vectors @ np.diag(values) @ vectors.T)
    entropies = np.empty((rows, columns))
    for i in range(rows):
        for j in range(columns):
            block = band[3 * i:3 * i + 3, 3 * j:3 * j + 3].ravel()
            s2 = block @ inverse @ block / 9
            entropy = sum(math.log2(s2 * value + 0.1) + math.log(2 * math.pi * math.e) for value in values)
            entropies[i, j] = entropy * math.log2(1 + s2)
    return entropies


@pytest.mark.parametrize("size", [(96, 104), (101, 130)])
def test_equals_the_plain_version(size):
    distorted, reference = pair(*size)
    difference = slow_entropies(255 * reference[0, 0].numpy()) - slow_entropies(255 * distorted[0, 0].numpy())
    assert rred(distorted, reference).item() == pytest.approx(np.abs(difference).mean(), rel=1e-6)
    assert rred(distorted, reference, cell=None).item() == pytest.approx(abs(difference.mean()), rel=1e-6)
    cells = [np.abs(difference[i:i + 2, j:j + 2].mean()) for i in range(0, difference.shape[0], 2)
             for j in range(0, difference.shape[1], 2)]
    assert rred(distorted, reference, cell=2).item() == pytest.approx(np.mean(cells), rel=1e-6)


def test_the_band_is_that_of_the_whole_pyramid():
    gray = 255 * pair(88, 96)[1]
    torch.testing.assert_close(coarsest_band(gray), steerable_pyramid(gray, 4, "sp5").bands[3][:, 3:4])


@pytest.mark.parametrize("size, cell, expected", [((384, 512), 1, 336), ((384, 512), None, 1), ((384, 512), 4, 24),
                                                  ((383, 509), 3, 42), ((72, 72), 1, 9), ((73, 75), 2, 4)])
def test_as_many_numbers_as_announced(size, cell, expected):
    assert reference_numbers(*size, cell=cell) == expected
    assert rred_features(pair(*size)[1], cell=cell).shape == (1, expected)


def test_sender_and_receiver_make_the_score():
    distorted, reference = pair(90, 100, channels=3, n=3)
    for cell in (1, 2, None):
        sent, computed = rred_features(reference, cell=cell), rred_features(distorted, cell=cell)
        torch.testing.assert_close(rred_distance(computed, sent), rred(distorted, reference, cell=cell))


def test_fewer_numbers_see_less():
    """Differences of opposite sign cancel in an average."""
    distorted, reference = pair(160, 200)
    scores = [rred(distorted, reference, cell=cell).item() for cell in (1, 2, 4, None)]
    assert scores == sorted(scores, reverse=True) and scores[0] > 1.5 * scores[-1]


def test_identical_is_zero_and_noise_counts():
    distorted, reference = pair(96, 96)
    assert rred(reference, reference) == 0 < rred(0.5 * (distorted + reference), reference) < rred(distorted, reference)


@pytest.mark.parametrize("cell", [1, None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_flat_images(cell, dtype):
    photo, flat = pair(80, 80)[1].to(dtype), torch.full((1, 1, 80, 80), 0.4, dtype=dtype)
    assert rred(flat, 0.5 * flat, cell=cell) == 0 < rred(flat, photo, cell=cell)
    assert (scaled_entropies(coarsest_band(flat.double())) == 0).all()
    for distorted, reference in ((flat, photo), (photo, flat), (flat, flat), (photo, photo)):
        leaves = distorted.clone().requires_grad_(), reference.clone().requires_grad_()
        score = rred(*leaves, cell=cell)
        score.backward()
        assert score.dtype == dtype and all(leaf.grad.isfinite().all() for leaf in leaves)


def test_float32_luma_option_and_batches_in_parts(monkeypatch):
    distorted, reference = ((255 * image).round() / 255 for image in pair(80, 90, channels=3, n=3))
    scores = rred(distorted, reference)
    torch.testing.assert_close(rred(distorted.float(), reference.float()).double(), scores, rtol=1e-6, atol=0)
    assert (scores != rred(distorted, reference, luma=rgb_to_luma)).all()
    monkeypatch.setattr(images_module, "PIXELS_AT_ONCE", 1)
    torch.testing.assert_close(rred(distorted, reference), scores, rtol=1e-9, atol=0)


@pytest.mark.parametrize("cell", [1, 2, None])
def test_gradcheck(cell):
    images = [image.requires_grad_() for image in pair(72, 75)]
    assert torch.autograd.gradcheck(lambda d, r: rred(d, r, cell=cell), images, fast_mode=True)


def test_small_images_are_refused():
    with pytest.raises(ValueError, match="sides of 72 pixels"):
        rred_features(torch.zeros(1, 1, 71, 100))
    with pytest.raises(ValueError, match="equal shape"):
        rred(torch.zeros(1, 1, 80, 80), torch.zeros(1, 1, 80, 81))
