"""S-CNN: sizes of the paper, the published network's answers, a plain twin, and what it says about distorted photographs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage
from torch import nn

from iqa_lab.backbones.checkpoints import read_state
from iqa_lab.backbones.networks import IMAGENET_MEAN, IMAGENET_STD
from iqa_lab.backbones.weights import find_weights
from iqa_lab.no_reference.scnn import CHANNELS, CLASSES, SCNN, STRIDES, SyntheticClass

MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))


@pytest.fixture(scope="module")
def published() -> SCNN:
    return SCNN().eval()


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def official_features(state: dict[str, torch.Tensor]) -> nn.Sequential:
    """Returns the nine convolutions as the authors have them: one long list of three layers each."""
    layers, inputs = [], 3
    for outputs, stride in zip(CHANNELS, STRIDES):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
        inputs = outputs
    network = nn.Sequential(*layers).eval()
    network.load_state_dict({key.removeprefix("features."): value for key, value in state.items()
                             if key.startswith("features.")}, strict=False)
    return network


def test_sizes_are_those_of_the_papers_network(published):
    convolutions = [module for module in published.trunk.modules() if isinstance(module, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [48, 48, 64, 64, 64, 64, 128, 128, 128]
    assert sum(map(count, convolutions)) == 529_648
    norms = [module for module in published.modules() if isinstance(module, nn.BatchNorm2d)]
    assert count(published) - sum(map(count, norms)) == 638_487
    assert sum(value.numel() for value in read_state(find_weights("dbcnn_scnn")).values()) == 643_479
    assert published.features(torch.zeros(1, 3, 224, 224)).shape == (1, 128, 14, 14)
    assert published.features(torch.zeros(2, 1, 33, 47)).shape == (2, 128, 3, 3)


def test_the_published_network_gives_its_golden_values(published):
    middle = MEAN.expand(1, 3, 224, 224)  # zeros, once normalised
    ramp = ((torch.arange(3 * 224 * 224) % 251) / 250).view(1, 3, 224, 224)
    logits = published.logits(middle)
    assert logits.argmax().item() == 28 and logits.max().item() == pytest.approx(4.960649, abs=1e-4)
    pooled = published.features(middle).mean((2, 3), keepdim=True)
    assert pooled.mean().item() == pytest.approx(0.020243, abs=2e-6)
    assert published.projection(pooled).mean().item() == pytest.approx(0.332801, abs=1e-5)
    logits = published.logits(ramp)
    assert logits.argmax().item() == 18 and logits.max().item() == pytest.approx(13.801163, abs=1e-4)
    assert logits[0, :5].tolist() == pytest.approx([-3.201305, -0.781063, 4.138865, 2.844860, 1.210697], abs=1e-4)


def test_classes_are_in_the_recovered_order():
    assert len(CLASSES) == 39 == len(set(CLASSES))
    starts = {"blur": 0, "dithering": 5, "over_exposure": 10, "under_exposure": 12, "white_noise": 14, "jpeg": 19,
              "jpeg2000": 24, "contrast": 29, "pink_noise": 34}
    assert all(CLASSES[start] == SyntheticClass(kind, 1) for kind, start in starts.items())
    assert CLASSES[23] == ("jpeg", 5) and CLASSES[38] == ("pink_noise", 5)


def blur(pixels: np.ndarray, level: int) -> np.ndarray:
    size = (7, 15, 39, 91, 199)[level - 1]
    kernel = np.exp(-(np.arange(size) - size // 2)**2 / (2 * (size / 6)**2))
    for axis in (0, 1):
        pixels = ndimage.convolve1d(pixels.astype(float), kernel / kernel.sum(), axis=axis, mode="reflect")
    return pixels


def white_noise(pixels: np.ndarray, level: int) -> np.ndarray:
    variance = 2.0**(-10, -7.5, -5.5, -3.5, 0)[level - 1]
    return 255 * (pixels / 255 + variance**0.5 * np.random.RandomState(0).randn(*pixels.shape))


def jpeg(pixels: np.ndarray, level: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=(43, 12, 7, 4, 1)[level - 1])
    return np.asarray(Image.open(file))


def crop_of_224(pixels: np.ndarray) -> torch.Tensor:
    """Returns what the authors' loader makes of a square photograph."""
    picture = Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8)).resize((256, 256), Image.BILINEAR)
    return torch.from_numpy(np.asarray(picture.crop((16, 16, 240, 240))).transpose(2, 0, 1).copy()).float()[None] / 255


@pytest.mark.parametrize("distort", [blur, white_noise, jpeg])
def test_kind_and_level_are_recognised_on_a_photo(published, distort):
    with Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png") as photo:
        pixels = np.asarray(photo.convert("RGB"))
    crops = torch.cat([crop_of_224(distort(pixels, level)) for level in range(1, 6)])
    answers = [CLASSES[i] for i in published.logits(crops).argmax(1)]
    assert answers == [(distort.__name__, level) for level in range(1, 6)]


def test_maps_are_those_of_the_plain_layers(published):
    image = torch.rand(2, 3, 70, 51)
    expected = official_features(read_state(find_weights("dbcnn_scnn")))((image - MEAN) / STD)
    torch.testing.assert_close(published.features(image), expected, rtol=1e-4, atol=1e-5)
    assert published.features(image).min() == 0


def test_statistics_stay_while_the_trunk_is_frozen_and_move_while_it_learns():
    torch.manual_seed(0)
    model, image = SCNN().train(), torch.rand(2, 3, 32, 32)
    before = model.trunk[0][1].running_mean.clone()
    model.trunk.requires_grad_(False)
    model.train().features(image)
    assert not model.trunk.training and torch.equal(model.trunk[0][1].running_mean, before)
    model.trunk.requires_grad_(True)
    model.train().features(image)
    assert not torch.equal(model.trunk[0][1].running_mean, before)


def test_answers_do_not_depend_on_batch_gray_or_type(published):
    images = torch.rand(3, 1, 48, 40)
    together = published.logits(images)
    alone = torch.cat([published.logits(image[None]) for image in images])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(published.logits(images.expand(-1, 3, -1, -1)), together, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(published.logits(images.double()), together, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="sides of 16"):
        published.logits(torch.zeros(1, 3, 15, 20))


def test_every_crop_has_the_class_of_its_image(published):
    crops, classes = torch.rand(2, 3, 3, 32, 32), torch.tensor([4, 30])
    expected = [-F.log_softmax(published.logits(crop[None]), 1)[0, label].item()
                for image, label in zip(crops, classes) for crop in image]
    assert published.type_loss(crops, classes).item() == pytest.approx(np.mean(expected), rel=1e-4)


def test_it_learns_to_tell_two_distortions_apart():
    torch.manual_seed(0)
    model = SCNN(parameters="random").train()
    assert model.trunk.training
    noise = torch.rand(4, 2, 3, 32, 32)
    smooth = F.avg_pool2d(noise.flatten(0, 1), 5, 1, 2).view(noise.shape)
    crops, classes = torch.cat((noise, smooth)), torch.tensor([18] * 4 + [4] * 4)
    optimiser, losses = torch.optim.Adam(model.parameters(), 1e-3), []
    for _ in range(8):
        loss = model.type_loss(crops, classes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_files_are_loaded_strictly_and_random_weights_are_said(published, tmp_path):
    image = torch.rand(1, 3, 32, 32)
    torch.save(published.state_dict(), tmp_path / "own.pt")
    again = SCNN(parameters=tmp_path / "own.pt").eval()
    assert torch.equal(again.logits(image), published.logits(image)) and "own.pt" in repr(again)
    state = read_state(find_weights("dbcnn_scnn"))
    state["features.27.weight"] = state.pop("features.24.weight")
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="missing: trunk.8.0.weight; unexpected: trunk.9.0.weight"):
        SCNN(parameters=tmp_path / "other.pt")
    with pytest.raises(FileNotFoundError, match="none at"):
        SCNN(parameters=tmp_path / "absent.pt")
    untrained = SCNN(parameters="random")
    assert untrained.trunk.untrained and repr(untrained).count("UNTRAINED") == 2
    assert "UNTRAINED" not in repr(published)
