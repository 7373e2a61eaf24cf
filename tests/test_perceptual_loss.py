"""Perceptual and style loss against plain NumPy sums over the same maps, what they cannot see, and their gradients."""

from pathlib import Path

import numpy as np
import pytest
import skimage
import torch

from iqa_lab import load_image
from iqa_lab.backbones.features import FeatureExtractor
from iqa_lab.backbones.weights import local_weights
from iqa_lab.distortions import distort
from iqa_lab.full_reference.perceptual_loss import PerceptualLoss, StyleLoss, feature_distance, gram, style_distance
from iqa_lab.images import read_pixels

PHOTO = Path(skimage.__file__).parent / "data" / "chelsea.png"
LAYERS = {"squeezenet": ("relu1", "fire3", "fire9"), "efficientnet_lite0": ("stem", "block4", "head")}


def random_pair(height: int, width: int, n: int = 2, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(2, n, 3, height, width, generator=torch.Generator().manual_seed(height), dtype=dtype)


@pytest.mark.parametrize("backbone", LAYERS)
def test_equals_plain_sums_over_the_maps(backbone):
    x, y = random_pair(64, 80)
    maps = FeatureExtractor(backbone, LAYERS[backbone])
    features = PerceptualLoss(backbone=backbone, layers=LAYERS[backbone]).layer_distances(x, y).numpy()
    styles = StyleLoss(backbone=backbone, layers=LAYERS[backbone]).layer_distances(x, y).numpy()
    for column, (of_x, of_y) in enumerate(zip(maps(x).values(), maps(y).values(), strict=True)):
        for image in range(2):
            f, g = (m[image].double().numpy() for m in (of_x, of_y))
            channels, height, width = f.shape
            assert features[image, column] == pytest.approx(((f - g) ** 2).sum() / (channels * height * width), rel=1e-4)
            grams = [sum(np.outer(m[:, i, j], m[:, i, j]) for i, j in np.ndindex(height, width)) / m.size for m in (f, g)]
            assert styles[image, column] == pytest.approx(((grams[0] - grams[1]) ** 2).sum(), rel=1e-3)


@pytest.mark.parametrize("metric", [PerceptualLoss, StyleLoss])
def test_the_score_is_the_sum_of_layers_symmetric_and_zero_for_identical_images(metric):
    x, y = random_pair(48, 40)
    both = metric(backbone="squeezenet", layers=("fire3", "fire5"))
    alone = [metric(backbone="squeezenet", layers=(layer,))(x, y) for layer in ("fire3", "fire5")]
    torch.testing.assert_close(both(x, y), alone[0] + alone[1])
    torch.testing.assert_close(both(x, y), both(y, x))
    assert both(x, y).min() > 0 and both(x, x).abs().max() < 1e-10


def test_style_forgets_where_things_are_and_features_do_not():
    maps = torch.rand(2, 6, 8, 9, dtype=torch.float64)
    shuffled = maps.flatten(2)[:, :, torch.randperm(72, generator=torch.Generator().manual_seed(3))].view_as(maps)
    assert style_distance(maps, shuffled).max() < 1e-25 and feature_distance(maps, shuffled).min() > 1e-3
    torch.testing.assert_close(gram(maps.repeat(1, 1, 2, 3)), gram(maps))  # C H W: the size of the map does not matter
    torch.testing.assert_close(gram(3 * maps), 9 * gram(maps))


@pytest.mark.parametrize("backbone, layer", [("squeezenet", "fire3"), ("efficientnet_lite0", "block4"),
                                             ("vgg16", "relu2_2")])
@pytest.mark.parametrize("distortion", ["gaussian_blur", "white_noise", "jpeg"])
def test_grows_with_the_distortion(backbone, layer, distortion):
    if backbone == "vgg16" and local_weights("vgg16_blocks_1_and_2") is None:
        pytest.skip("needs the folder of official weights, IQA_LAB_DATA or IQA_LAB_WEIGHTS")
    photo = read_pixels(PHOTO)[40:168, 100:228]
    images = [photo, *(distort(photo, distortion, level) for level in range(1, 6))]
    batch = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2)).float() / 255
    scores = PerceptualLoss(backbone=backbone, layers=(layer,))(batch, batch[:1].expand_as(batch))
    assert (scores.diff() > 0).all()


@pytest.mark.parametrize("metric", [PerceptualLoss, StyleLoss])
def test_gradcheck_with_random_weights(metric):
    torch.manual_seed(0)
    loss = metric(backbone="squeezenet", layers=("relu1", "fire2"), weights="random").double()
    x, y = (image.requires_grad_() for image in random_pair(16, 17, n=1, dtype=torch.float64))
    assert torch.autograd.gradcheck(loss, (x, y), fast_mode=True)


@pytest.mark.parametrize("metric", [PerceptualLoss, StyleLoss])
def test_gradients_are_finite_on_identical_and_flat_images(metric):
    loss = metric(backbone="squeezenet", layers=("fire3",))
    for value in (0.0, 0.4, 1.0):
        image = torch.full((1, 3, 32, 32), value, requires_grad=True)
        loss(image, image.detach()).sum().backward()
        assert image.grad.isfinite().all()


def test_defaults_are_the_papers_and_random_weights_are_said():
    torch.manual_seed(0)
    content, style = PerceptualLoss(weights="random"), StyleLoss(weights="random")
    assert content.network.backbone == style.network.backbone == "vgg16"
    assert content.network.layers == ("relu2_2",)
    assert style.network.layers == ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
    assert content.network.untrained and "UNTRAINED" in repr(style)


def test_type_gray_and_batch():
    loss, image = PerceptualLoss(backbone="squeezenet", layers=("fire3",)), load_image(PHOTO)[:, :, :96, :100]
    x, y = random_pair(96, 100)
    assert loss(x.double(), y.double()).dtype == torch.float64
    torch.testing.assert_close(loss(x[:, :1], y[:, :1]), loss(x[:, :1].expand_as(x), y[:, :1].expand_as(y)))
    together = loss(torch.cat((x, image)), torch.cat((y, y[:1])))
    alone = torch.cat((loss(x[:1], y[:1]), loss(x[1:], y[1:]), loss(image, y[:1])))
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=0)
