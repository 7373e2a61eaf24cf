"""BIECON: sizes of the release, its normalisation, grid, selection and local targets written out slowly, both stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from iqa_lab.no_reference import biecon
from iqa_lab.no_reference.biecon import (BIECON, POOLINGS, grid_patches, grid_start, local_normalisation, local_ssim,
                                         most_detailed, proxy_samples, take)
from iqa_lab.ops.color import rgb_to_luma, rgb_to_luma_matlab
from iqa_lab.ops.resize import resize

SMALL = 1 / 16
TAPS = np.array([1, 4, 6, 4, 1]) / 16
SIZES = [(32, 32), (64, 95), (65, 70), (97, 131)]


def photos(n: int, height: int, width: int, channels: int = 3) -> torch.Tensor:
    """Returns noise whose contrast differs from place to place."""
    generator = torch.Generator().manual_seed(height + width)
    contrast = F.interpolate(torch.rand(n, 1, 4, 5, generator=generator, dtype=torch.float64), (height, width))
    return 0.5 + contrast * (torch.rand(n, channels, height, width, generator=generator, dtype=torch.float64) - 0.5)


def network(*, width: float = SMALL, **options) -> BIECON:
    torch.manual_seed(0)
    return BIECON(parameters="random", width=width, **options).double().eval()


def slow_normalisation(gray: np.ndarray) -> np.ndarray:
    """Returns the release's local normalisation of a whole image in 0..255."""
    mu, squares = (ndimage.convolve(x, np.outer(TAPS, TAPS), mode="nearest") for x in (gray, gray * gray))
    return 2 * (gray - mu) / (np.sqrt(np.abs(squares - mu * mu)) + 127) / 3


def slow_grid(height: int, width: int) -> list[tuple[int, int]]:
    """Returns the corners of the patches as the release's loader computes them."""
    corners = []
    for length in (height, width):
        count = (length - 32) // 32 + 1
        shift = (length - (32 * (count - 1) + 32) + 1) // 2
        corners.append([32 * k + shift - shift % 2 for k in range(count)])
    return [(top, left) for top in corners[0] for left in corners[1]]


def slow_choice(gray: np.ndarray) -> list[int]:
    """Returns which patches of the grid the release keeps."""
    deviations = [np.std(gray[top:top + 32, left:left + 32]) for top, left in slow_grid(*gray.shape)]
    order = sorted(range(len(deviations)), key=lambda k: deviations[k], reverse=True)
    return sorted(order[:max(1, int(len(order) * 0.8))])


def slow_layers(layers: torch.nn.Sequential, x: np.ndarray) -> np.ndarray:
    for name in ("fc1", "fc2", "fc3", "fc4"):
        if hasattr(layers, name):
            weight, bias = (p.detach().numpy() for p in layers.get_submodule(name).parameters())
            last = not hasattr(layers, "fc4") and name == "fc2"
            x = weight @ x + bias if last else np.maximum(weight @ x + bias, 0)
    return x


def slow_features(model: BIECON, patch: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(patch)[None, None]
    for name in ("conv1", "conv2"):
        convolution = model.trunk.get_submodule(name)
        x = F.max_pool2d(F.conv2d(x, convolution.weight, convolution.bias, padding=2).clamp_min(0), 2)
    return slow_layers(model.trunk, x.detach().numpy().ravel())


def slow_score(model: BIECON, image: torch.Tensor) -> float:
    gray = 255 * rgb_to_luma(image[None])[0, 0].numpy()
    normalised, corners = slow_normalisation(gray), slow_grid(*gray.shape)
    chosen = [corners[k] for k in slow_choice(gray)]
    features = np.stack([slow_features(model, normalised[top:top + 32, left:left + 32]) for top, left in chosen])
    pooled = features.mean(0)
    if model.pooling == "mean and deviation":
        pooled = np.concatenate((pooled, features.std(0)))
    return slow_layers(model.quality, pooled).item()


def test_the_numbers_of_parameters_are_the_releases():
    """Counted from the shapes in BIECON_base.py."""
    shapes = [(25, 64), (25 * 64, 64), (64 * 64, 1024), (1024, 512), (512, 256), (256, 128)]
    trunk, head = (sum((n + 1) * m for n, m in sizes) for sizes in (shapes, [(128, 128), (128, 1)]))
    model = BIECON(parameters="random")
    assert sum(p.numel() for p in model.trunk.parameters()) == trunk == 4_988_480
    assert sum(p.numel() for p in model.parameters()) == trunk + 2 * head == 5_021_762
    both = BIECON(parameters="random", pooling="mean and deviation", width=SMALL)
    assert both.quality.fc1.in_features == 2 * both.proxy.fc1.in_features == 16


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("size", SIZES)
def test_scores_equal_the_slow_release(size, pooling):
    image, model = photos(2, *size), network(pooling=pooling)
    expected = [slow_score(model, one) for one in image]
    np.testing.assert_allclose(model(image).detach().numpy(), expected, rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_the_normalisation_is_the_releases(height, width, seed):
    gray = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(float)
    ringed = F.pad(torch.from_numpy(gray)[None, None], (2, 2, 2, 2), mode="replicate")
    found = local_normalisation(ringed)[0, 0].numpy()
    np.testing.assert_allclose(found, slow_normalisation(gray), rtol=0, atol=1e-6)  # a root of rounding errors
    single = local_normalisation(ringed.float())[0, 0].numpy()
    np.testing.assert_allclose(single, found, rtol=0, atol=2e-4)


def test_the_normalisation_of_a_step():
    """Black beside white: mu is 255 x 5/16 in the last black column, sigma^2 is mu (255 - mu)."""
    step = torch.zeros(1, 1, 5, 6, dtype=torch.float64)
    step[..., 3:] = 255
    mu = 255 * 5 / 16
    expected = -mu / (np.sqrt(mu * (255 - mu)) + 127) * 2 / 3
    assert local_normalisation(step)[0, 0, 0, 0].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("size", [*SIZES, (63, 127), (384, 512)])
def test_patches_lie_where_the_releases_do(size):
    image = photos(1, *size)
    patches = grid_patches(image)
    corners = slow_grid(*size)
    assert patches.shape == (1, len(corners), 3, 36, 36) and grid_start(image) == corners[0]
    for patch, (top, left) in zip(patches[0], corners, strict=True):
        assert torch.equal(patch[:, 2:-2, 2:-2], image[0, :, top:top + 32, left:left + 32])


@pytest.mark.parametrize("patches, kept", [(1, 1), (2, 1), (5, 4), (9, 7), (10, 8), (384, 307)])
def test_the_detailed_patches_are_kept_in_their_order(patches, kept):
    """int(0.8 P); of equals the first ones."""
    contrast = torch.arange(patches).roll(patches // 3).view(1, patches, 1, 1, 1) / patches
    noise = torch.rand(1, 1, 1, 36, 36)
    chosen = most_detailed(contrast * noise)
    assert chosen.shape == (1, kept)
    assert chosen[0].tolist() == sorted(contrast.flatten().argsort(descending=True)[:kept].tolist())
    assert most_detailed(noise.expand(2, patches, 3, 36, 36)).tolist() == [list(range(kept))] * 2
    ring = torch.zeros(1, 2, 1, 36, 36)
    ring[0, 1, :, 0], ring[0, 0, :, 5, 5] = 1, 0.1  # what lies in the ring does not count
    assert most_detailed(ring).tolist() == [[0]]


def slow_local_ssim(distorted: torch.Tensor, reference: torch.Tensor) -> list[float]:
    """The release's MATLAB script and loader: images halved, SSIM 'same' with zeros around, 16 x 16 of it for each patch."""
    x, y = (255 * rgb_to_luma_matlab(((255 * resize(image[None], 0.5)).round() / 255).clamp(0, 1))[0, 0].numpy()
            for image in (distorted, reference))
    t = np.exp(-np.arange(-5, 6)**2 / 4.5)
    window = np.outer(t, t) / t.sum()**2
    mu_x, mu_y, xx, yy, xy = (ndimage.correlate(z, window, mode="constant") for z in (x, y, x * x, y * y, x * y))
    c1, c2 = 2.55**2, 7.65**2
    quality = ((2 * mu_x * mu_y + c1) * (2 * (xy - mu_x * mu_y) + c2)
               / ((mu_x**2 + mu_y**2 + c1) * (xx - mu_x**2 + yy - mu_y**2 + c2)))
    corners = [(int((top + 1) * 0.5), int((left + 1) * 0.5)) for top, left in slow_grid(*distorted.shape[1:])]
    assert quality.shape == tuple(int((length + 1) * 0.5) for length in distorted.shape[1:])
    return [quality[top:top + 16, left:left + 16].mean() for top, left in corners]


@pytest.mark.parametrize("size", SIZES)
def test_local_targets_equal_the_slow_release(size):
    reference = photos(2, *size)
    distorted = (reference + 0.1 * torch.randn(reference.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    expected = [slow_local_ssim(d, r) for d, r in zip(distorted, reference, strict=True)]
    np.testing.assert_allclose(local_ssim(distorted, reference).numpy(), expected, rtol=1e-8)


def test_a_local_target_belongs_to_its_patch():
    reference = photos(1, 102, 166)
    patches = grid_patches(reference)
    assert torch.equal(local_ssim(reference, reference), torch.ones(1, 15, dtype=torch.float64))
    (top, left), distorted = slow_grid(102, 166)[7], reference.clone()
    distorted[..., top:top + 32, left:left + 32] = distorted[..., top:top + 32, left:left + 32].flip(-1)
    found = local_ssim(distorted, reference).view(3, 5)
    assert found.argmin() == 7 and (found[:, ::4] == 1).all() and found[1, 2] < 0.7
    assert (found[1, 1] - found[1, 2]).abs() > 0.2  # neighbours see it through the window only
    samples, proxies = proxy_samples(distorted, reference)
    chosen = most_detailed(patches)
    assert samples.shape == (1, 12, 1, 36, 36) and torch.equal(proxies, take(found.view(1, 15), most_detailed(
        grid_patches(distorted))))
    assert torch.equal(samples, take(grid_patches(rgb_to_luma(distorted)), most_detailed(grid_patches(distorted))))
    assert chosen.shape == (1, 12)


def test_training_sees_the_patches_that_are_scored():
    """The crops of the whole grid, cut out of an image, have the score of the image."""
    image, model = photos(1, 100, 164), network()
    crops = torch.stack([image[0, :, top - 2:top + 34, left - 2:left + 34] for top, left in slow_grid(100, 164)])
    target = torch.tensor([0.7], dtype=torch.float64)
    assert model.patch_size == 36 and len(crops) == 15
    expected = 100 * (model(image).item() - 0.7)**2
    assert model.loss(crops[None], target).item() == pytest.approx(expected, rel=1e-9)


def test_the_loss_of_the_first_stage():
    model, patches = network(), photos(6, 36, 36).view(2, 3, 3, 36, 36)
    proxies = torch.tensor([[0.1, 0.5, 0.9], [1.0, 0.7, -0.2]], dtype=torch.float64)
    gray = [255 * rgb_to_luma(one[None])[0, 0].numpy() for one in patches.flatten(0, 1)]
    found = [slow_layers(model.proxy, slow_features(model, slow_normalisation(one)[2:-2, 2:-2])).item() for one in gray]
    expected = 100 * np.mean((np.array(found) - proxies.flatten().numpy())**2)
    assert model.proxy_loss(patches, proxies).item() == pytest.approx(expected, rel=1e-9)


def test_the_proxy_map_lies_as_the_image_does():
    image, model = photos(2, 100, 164), network()
    before = model.proxy_map(image)
    assert before.shape == (2, 3, 5)
    changed = image.clone()
    changed[..., 40:60, 70:90] = 0  # second row, third column, away from its border
    assert (model.proxy_map(changed)[0] != before[0]).nonzero().tolist() == [[1, 2]]


def test_learning_lowers_both_losses():
    torch.manual_seed(0)
    model = BIECON(parameters="random", width=0.125)
    crops = torch.rand(4, 5, 3, 36, 36) * torch.tensor([1.0, 1.0, 0.2, 0.2]).view(4, 1, 1, 1, 1)
    targets = torch.tensor([1.0, 1.0, 0.0, 0.0])
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for loss_of in (lambda: model.proxy_loss(crops, targets[:, None].expand(4, 5)), lambda: model.loss(crops, targets)):
        losses = []
        for _ in range(30):
            losses.append(loss_of())
            optimiser.zero_grad()
            losses[-1].backward()
            optimiser.step()
        assert min(losses[-3:]) < 0.5 * losses[0]


def test_each_stage_trains_its_own_last_layers():
    model, crops = network(), photos(6, 36, 36).view(2, 3, 3, 36, 36)
    proxies = torch.zeros(2, 3, dtype=torch.float64)
    for loss, learning, other in ((model.proxy_loss(crops, proxies), model.proxy, model.quality),
                                  (model.loss(crops, proxies[:, 0]), model.quality, model.proxy)):
        model.zero_grad()
        loss.backward()
        assert all(p.grad is None for p in other.parameters())
        assert all(p.grad.abs().max() > 0 for p in (*learning.parameters(), *model.trunk.parameters()))


def test_first_weights_are_the_releases():
    torch.manual_seed(0)
    model = BIECON(parameters="random")
    assert model.quality.fc2.bias.item() == model.proxy.fc2.bias.item() == 0.5 and (model.trunk.fc1.bias == 0).all()
    assert model.trunk.fc1.weight.std().item() == pytest.approx((2 / 4096)**0.5, rel=0.05)
    assert model.quality.fc2.weight.std().item() == pytest.approx((1 / 128)**0.5, rel=0.4)


def test_neither_batch_nor_chunks_matter(monkeypatch):
    model, image = network(), photos(3, 64, 96)
    together = model(image)
    torch.testing.assert_close(torch.cat([model(image[i:i + 1]) for i in range(3)]), together)
    monkeypatch.setattr(biecon, "NETWORK_PIXELS", 5 * 32**2)
    torch.testing.assert_close(model(image), together)
    single = network().float()
    assert single(image).dtype == torch.float64 and single(image.float()).dtype == torch.float32
    torch.testing.assert_close(single(image), together, rtol=1e-3, atol=1e-3)
    assert model.train()(image).ne(together).all()  # dropout


@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradcheck_and_flat_images(pooling):
    model = network(pooling=pooling)
    assert torch.autograd.gradcheck(local_normalisation, (255 * photos(1, 6, 7, 1)).requires_grad_())
    assert torch.autograd.gradcheck(model, photos(1, 64, 64).requires_grad_(), fast_mode=True)
    flat = torch.full((1, 2, 3, 36, 36), 0.4, requires_grad=True)
    model.float().loss(flat, torch.tensor([0.9])).backward()
    assert flat.grad.isfinite().all() and all(p.grad.isfinite().all() for p in model.quality.parameters())


def test_rescaling_moves_the_scores():
    model, image = network(), photos(2, 64, 64)
    before, proxies = model(image), model.proxy_map(image)
    model.rescale_output(50.0, 20.0)
    torch.testing.assert_close(model(image), 20 * before + 50)
    torch.testing.assert_close(model.proxy_map(image), proxies)


def test_a_saved_network_comes_back_and_others_are_refused(tmp_path):
    model, image = network().float(), photos(1, 64, 64).float()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    again = BIECON(parameters=tmp_path / "weights.pt", width=SMALL).eval()
    assert torch.equal(again(image), model(image)) and "UNTRAINED" in repr(model) and "UNTRAINED" not in repr(again)
    with pytest.raises(ValueError, match="quality.fc1.weight"):
        BIECON(parameters=tmp_path / "weights.pt", width=SMALL, pooling="mean and deviation")


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(FileNotFoundError, match="no trained network.*random"):
        BIECON()
    with pytest.raises(FileNotFoundError, match="nowhere.pt"):
        BIECON(parameters=Path("nowhere.pt"))
    with pytest.raises(ValueError, match="mean or mean and deviation, got 'max'"):
        BIECON(parameters="random", pooling="max")
    with pytest.raises(ValueError, match="32 pixels"):
        network()(photos(1, 31, 40))
    with pytest.raises(ValueError, match="equal shape"):
        local_ssim(photos(1, 32, 40), photos(1, 32, 41))
