"""BRISQUE and NIQE on images that break other implementations: flat, tiny, saturated, odd, gray."""

from __future__ import annotations

import pytest
import torch

from iqa_lab import create_metric, load_database, load_image
from iqa_lab.no_reference.niqe import NIQE, P, niqe_features, weighted_mean_and_covariance

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
    from iqa_lab.ops.color import rgb_to_luma_matlab

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
    import numpy as np

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
