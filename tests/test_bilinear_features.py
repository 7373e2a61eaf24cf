"""Bilinear features: products of maps against loops, the size of images, and the regressor that ships as the default."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from iqa_lab import create_metric, load_database, load_image
from iqa_lab.backbones.weights import find_weights
from iqa_lab.cli.score import DEFAULTS
from iqa_lab.no_reference import bilinear_features as module
from iqa_lab.no_reference.bilinear_features import PIXELS, BilinearFeatures, resized
from iqa_lab.training.features import code_version
from iqa_lab.training.recipes import find_recipe
from iqa_lab.training.regressors import fit_regressor, predict

NAME = DEFAULTS["NR"][0]
SMALL = {"backbone": "squeezenet", "layer": "fire3"}  # 128 maps


@pytest.fixture
def small_images(monkeypatch):
    """Images of about 60 x 60 instead of 500 x 500 go through the networks."""
    monkeypatch.setattr(module, "PIXELS", 60 * 60)


def photos(n: int, *size: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, *size, generator=torch.Generator().manual_seed(seed))


def slow_products(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Pair by pair for one image, whose maps have one size: mean product, root with its sign, length 1."""
    products = np.array([np.mean(first * second) for first in maps for second in others])
    roots = np.sign(products) * np.sqrt(np.abs(products) + 1e-8)
    return roots / np.sqrt(np.sum(roots**2))


def test_the_features_are_the_pooled_products_of_both_networks(monkeypatch):
    monkeypatch.setattr(module, "PIXELS", 64 * 48)
    system, image = BilinearFeatures(parameters="untrained", layer="block10"), photos(2, 64, 48)
    maps, others = system.backbone(image)["block10"], system.scnn(image)
    assert maps.shape == (2, 112, 4, 3) and others.shape == (2, 128, 4, 3)
    expected = np.stack([slow_products(*pair) for pair in zip(maps.numpy().astype(float), others.numpy().astype(float))])
    with torch.no_grad():
        np.testing.assert_allclose(system.features(image).numpy(), expected, atol=2e-5)
    assert (expected < 0).any()  # maps before an activation have both signs


@pytest.mark.parametrize("size, expected", [((500, 500), (500, 500)), ((384, 512), (433, 577)), ((768, 1024), (433, 577)),
                                            ((16, 16), (500, 500)), ((16, 40000), (10, 25000))])
def test_every_image_comes_to_the_same_number_of_pixels(size, expected):
    image = photos(1, *size)
    found = resized(image)
    assert found.shape == (1, 3, *expected) and abs(found[0, 0].numel() / PIXELS - 1) < 0.01
    assert found.min() >= 0 and found.max() <= 1 and (size != expected or found is image)


def test_an_enlarged_photo_keeps_its_score():
    system = create_metric(NAME)
    photo = load_image(load_database("livec_mini").image_paths[0])
    larger = torch.nn.functional.interpolate(photo, scale_factor=1.6, mode="bicubic", antialias=True).clamp(0, 1)
    with torch.no_grad():
        assert system(larger).item() == pytest.approx(system(photo).item(), abs=3)


def test_a_score_depends_neither_on_batch_nor_on_parts(small_images, monkeypatch):
    torch.manual_seed(0)
    model, images = BilinearFeatures(**SMALL, parameters="random").eval(), photos(3, 40, 50)
    with torch.no_grad():
        together = model(images)
        torch.testing.assert_close(torch.cat([model(image[None]) for image in images]), together, rtol=1e-4, atol=1e-5)
        monkeypatch.setattr("iqa_lab.backbones.features.NETWORK_PIXELS", 2 * 60 * 60)
        torch.testing.assert_close(model(images), together, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(images[:, :1]), model(images[:, :1].expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)
        assert model(images.double()).dtype == torch.float64
    assert "UNTRAINED" in repr(model)


def test_a_regressor_of_two_sizes_is_used_from_its_file_and_turned_to_higher_is_better(small_images, tmp_path):
    system, images = BilinearFeatures(**SMALL, parameters="untrained").eval(), photos(12, 60, 60)
    contrast = torch.linspace(0.2, 1, 12)
    images = 0.5 + contrast[:, None, None, None] * (images - 0.5)
    with torch.no_grad():
        features = np.stack([system.features(images).numpy(), system.features(images[..., ::2, ::2]).numpy()], 1)
    badness = 100 * (1 - contrast.numpy())
    arrays, _ = fit_regressor(features, badness, np.arange(12), find_recipe(NAME, "fast"))
    np.savez(tmp_path / "regressor.npz", **arrays)
    trained = BilinearFeatures(**SMALL, parameters=tmp_path / "regressor.npz").eval()
    with torch.no_grad():
        scores = trained(images).numpy()
    np.testing.assert_allclose(scores, 100 - predict(arrays, features[:, 0]), rtol=1e-4)
    assert np.corrcoef(scores, contrast)[0, 1] > 0.9
    assert code_version(trained) == code_version(system)  # one cache of features for every regressor
    with pytest.raises(ValueError, match="Expected 1 regressors of 163840 features in all, got 1 of 16384"):
        BilinearFeatures(parameters=tmp_path / "regressor.npz")


def test_it_says_what_it_is_missing(small_images):
    with pytest.raises(FileNotFoundError, match=f"iqa-lab train {NAME}"):
        BilinearFeatures()
    with pytest.raises(RuntimeError, match="trained regressor"):
        BilinearFeatures(**SMALL, parameters="untrained")(photos(1, 20, 20))
    with pytest.raises(FileNotFoundError):
        BilinearFeatures(parameters=Path("absent.npz"))
    with pytest.raises(ValueError, match="sides of 16"):
        BilinearFeatures(**SMALL, parameters="random")(photos(1, 15, 20))


def test_the_shipped_regressor_is_small_and_fits():
    path = find_weights("dbcnn_linear_livec")
    system = create_metric(NAME)
    assert path.stat().st_size < 1e6 and system.regressor.n_features == 1280 * 128 and system.higher_is_better
    assert "UNTRAINED" not in repr(system)


#: Scores of the shipped model on the machine that trained it. It learned from both photos: they say nothing about quality.
GOLDEN = {"Images/671.JPG": 9.224, "Images/781.JPG": 85.992}


@pytest.mark.parametrize("image", GOLDEN)
def test_the_shipped_model_gives_the_same_scores_everywhere(image):
    with torch.no_grad():
        score = create_metric(NAME)(load_image(load_database("livec_mini").root / image)).item()
    assert score == pytest.approx(GOLDEN[image], abs=0.05)  # decoders of JPEG may differ by a level here and there
