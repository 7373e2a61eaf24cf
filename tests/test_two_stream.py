"""Two-Stream: sizes of the port, a slow network, the gradient with and without borders, and the streams alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from iqa_lab.no_reference import two_stream
from iqa_lab.no_reference.two_stream import STREAMS, TwoStream, grid_patches, sobel_magnitude
from iqa_lab.ops.color import rgb_to_luma


def network(**options) -> TwoStream:
    torch.manual_seed(0)
    return TwoStream(parameters="random", **options).double().eval()


def photos(n: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height + width)
    return torch.rand(n, 3, height, width, generator=generator, dtype=torch.float64)


def whole_gradient(gray: np.ndarray) -> np.ndarray:
    """Returns scipy's Sobel magnitude; its mirror does not repeat the edge."""
    return np.hypot(*(ndimage.sobel(gray, axis, mode="mirror") for axis in (0, 1)))


@pytest.mark.parametrize("streams", STREAMS)
def test_the_numbers_of_parameters_are_the_ports(streams):
    """Counted from the port's shapes: convolutions, then the fully connected layers."""
    def tower(inputs: int) -> int:
        sizes = ((inputs, 32, 7), (32, 64, 5), (64, 128, 3), (128, 256, 3), (256, 216, 1))
        return sum(n * m * side**2 + m for n, m, side in sizes)

    features = 216 * len(STREAMS[streams])
    counted = sum(tower({"image": 3, "gradient": 1}[name]) for name in STREAMS[streams])
    counted += 512 * (features + 1) + 512 * 513 + 513
    assert sum(parameter.numel() for parameter in network(streams=streams).parameters()) == counted
    assert streams != "both" or counted == 1_442_801


def slow_score(model: TwoStream, image: torch.Tensor) -> float:
    """The gradient of the whole image first, then patch by patch and layer by layer."""
    gradient = torch.from_numpy(whole_gradient(rgb_to_luma(image[None])[0, 0].numpy()))[None]
    scores = []
    for top in range(0, image.shape[1] - 31, 32):
        for left in range(0, image.shape[2] - 31, 32):
            features = []
            for name, source in (("image", image), ("gradient", gradient)):
                if name not in model.towers:
                    continue
                x = source[None, :, top:top + 32, left:left + 32]
                for k in range(1, 6):
                    convolution = model.towers[name].get_submodule(f"conv{k}")
                    x = F.conv2d(x, convolution.weight, convolution.bias, padding=convolution.weight.shape[-1] // 2)
                    x = F.max_pool2d(F.relu(x), 2)
                features.append(x.detach().numpy().ravel())
            hidden = np.concatenate(features)
            for layer in (model.fc1, model.fc2, model.fc3):
                hidden = layer.weight.detach().numpy() @ hidden + layer.bias.detach().numpy()
                hidden = hidden if layer is model.fc3 else np.maximum(hidden, 0)
            scores.append(hidden.item())
    return np.mean(scores)


@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.parametrize("size", [(32, 32), (70, 100)])
def test_scores_equal_the_slow_network(streams, size):
    image, model = photos(2, *size), network(streams=streams)
    np.testing.assert_allclose(model(image).detach().numpy(), [slow_score(model, one) for one in image], rtol=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.integers(3, 40), st.integers(3, 40), st.integers(0, 2**32 - 1))
def test_the_gradient_is_scipys(height, width, seed):
    gray = np.random.default_rng(seed).random((height, width))
    found = sobel_magnitude(torch.from_numpy(gray)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(found, whole_gradient(gray)[1:-1, 1:-1], rtol=1e-9, atol=1e-12)


def test_the_gradient_lies_in_its_range():
    corner, step = torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 3, 3)
    corner[..., 2, 1:] = corner[..., 1, 2] = 1
    step[..., 1:] = 1
    assert sobel_magnitude(step).item() == 4
    assert sobel_magnitude(corner).item() == pytest.approx((3**2 + 3**2)**0.5)
    assert sobel_magnitude(torch.rand(64, 1, 34, 34).round()).max() <= 4 * 2**0.5


def test_no_patch_has_a_frame():
    """The patch gradients, put together again, are the gradient of the whole image."""
    image = photos(1, 70, 100)
    patches = grid_patches(image)
    assert patches.shape == (1, 6, 3, 34, 34)
    assert torch.equal(patches[0, 4], F.pad(image, (1, 1, 1, 1), mode="reflect")[0, :, 32:66, 32:66])
    pieces = sobel_magnitude(rgb_to_luma(patches[0])).view(2, 3, 32, 32)
    together = torch.cat([torch.cat(list(row), 1) for row in pieces]).numpy()
    np.testing.assert_allclose(together, whole_gradient(rgb_to_luma(image)[0, 0].numpy())[:64, :96], rtol=1e-9, atol=1e-12)
    ramp = torch.linspace(0, 1, 100, dtype=torch.float64).expand(1, 3, 70, 100)
    inside = sobel_magnitude(rgb_to_luma(grid_patches(ramp)[0, [1, 4]]))  # patches that touch neither side
    np.testing.assert_allclose(inside, 8 / 99, rtol=1e-9)


def test_training_sees_the_patches_that_are_scored():
    """A crop with its ring, cut out of an image, has the score of that patch of the whole image's grid."""
    image, model = photos(1, 96, 96), network()
    crop = image[..., 31:65, 31:65]
    torch.testing.assert_close(model.patch_scores(crop), model.patch_scores(grid_patches(image)[0])[4:5])
    target = torch.tensor([0.7], dtype=torch.float64)
    assert model.patch_size == 34
    assert model.loss(crop[None], target).item() == pytest.approx(abs(model.patch_scores(crop).item() - 0.7), rel=1e-12)


def test_what_lies_beyond_the_last_whole_patch_is_seen_for_one_pixel():
    image, model = photos(1, 70, 100), network()
    changed = image.clone()
    changed[..., 65:, :], changed[..., 97:] = 0, 1
    assert torch.equal(model(changed), model(image))
    changed[..., 64, :] = 0
    assert not torch.equal(model(changed), model(image))
    alone = network(streams="image")
    assert torch.equal(alone(changed), alone(image))


def test_each_stream_sees_its_own_input():
    image = photos(1, 64, 64)
    brighter = 0.5 * image + 0.3, 0.5 * image + 0.4
    by_gradient, by_image = network(streams="gradient"), network(streams="image")
    torch.testing.assert_close(*map(by_gradient, brighter), rtol=0, atol=1e-12)  # a constant has no gradient
    assert (by_image(brighter[0]) - by_image(brighter[1])).abs() > 1e-9
    gray = rgb_to_luma(image)
    torch.testing.assert_close(network()(gray), network()(gray.expand(-1, 3, -1, -1)), rtol=1e-9, atol=1e-12)


def test_both_towers_matter():
    image, model = photos(1, 64, 64), network()
    before = model(image)
    for name in ("image", "gradient"):
        other = network()
        torch.nn.init.zeros_(other.towers[name].conv5.weight)
        assert (other(image) - before).abs() > 1e-9


def test_the_loss_is_the_mean_error_of_the_patches():
    model, crops = network(), photos(6, 34, 34).view(2, 3, 3, 34, 34)
    scores = model.patch_scores(crops.flatten(0, 1)).detach().view(2, 3).numpy()
    targets = torch.tensor([np.median(scores[0]), -1.0], dtype=torch.float64)  # patches lie on both sides of the first one
    expected = np.abs(scores - targets.numpy()[:, None]).mean()
    assert model.loss(crops, targets).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("streams", STREAMS)
def test_learning_lowers_the_loss(streams):
    torch.manual_seed(0)
    model = TwoStream(parameters="random", streams=streams)
    crops = torch.rand(4, 2, 3, 34, 34) * torch.tensor([1.0, 1.0, 0.2, 0.2]).view(4, 1, 1, 1, 1)
    targets, losses = torch.tensor([1.0, 1.0, -1.0, -1.0]), []
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(25):
        losses.append(model.loss(crops, targets))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert min(losses[-3:]) < 0.7 * losses[0]


def test_neither_batch_nor_chunks_matter(monkeypatch):
    model, image = network(), photos(3, 64, 96)
    together = model(image)
    torch.testing.assert_close(torch.cat([model(image[i:i + 1]) for i in range(3)]), together)
    monkeypatch.setattr(two_stream, "NETWORK_PIXELS", 5 * 32**2)
    torch.testing.assert_close(model(image), together)


def test_gradcheck_and_flat_images():
    model = network()
    assert torch.autograd.gradcheck(sobel_magnitude, (photos(1, 5, 6)[:, :1]).requires_grad_())
    assert torch.autograd.gradcheck(model, photos(1, 32, 32).requires_grad_(), fast_mode=True)
    flat = torch.full((1, 2, 3, 34, 34), 0.4, dtype=torch.float64, requires_grad=True)
    model.loss(flat, torch.tensor([0.5], dtype=torch.float64)).backward()
    assert flat.grad.isfinite().all() and all(value.grad.isfinite().all() for value in model.parameters())


def test_rescaling_moves_the_scores():
    model, image = network(), photos(2, 32, 64)
    before = model(image)
    model.rescale_output(50.0, 20.0)
    torch.testing.assert_close(model(image), 20 * before + 50)


def test_a_saved_network_comes_back_and_others_are_refused(tmp_path):
    model, image = network().float(), photos(1, 64, 64).float()
    torch.save(model.state_dict(), tmp_path / "both.pt")
    again = TwoStream(parameters=tmp_path / "both.pt").eval()
    assert torch.equal(again(image), model(image)) and "UNTRAINED" not in repr(again)
    with pytest.raises(ValueError, match="unexpected: towers.gradient"):
        TwoStream(parameters=tmp_path / "both.pt", streams="image")


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(FileNotFoundError, match="no trained network is published.*iqa_lab.training.train"):
        TwoStream()
    with pytest.raises(FileNotFoundError, match="nowhere.pt"):
        TwoStream(parameters=Path("nowhere.pt"))
    with pytest.raises(ValueError, match="both, image, gradient, got 'luma'"):
        TwoStream(parameters="random", streams="luma")
    with pytest.raises(ValueError, match="32 pixels"):
        network()(photos(1, 31, 64))
    assert "UNTRAINED" in repr(network())
