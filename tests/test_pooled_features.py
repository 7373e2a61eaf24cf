"""Pooled features: the statistics against NumPy, the regressor that takes them, and what the cache of features looks at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from iqa_lab.no_reference.pooled_features import PooledFeatures, mean_and_deviation
from iqa_lab.ops.filters import filter_separable, gaussian_kernel
from iqa_lab.training.features import code_version
from iqa_lab.training.regressor_recipes import RegressorRecipe, powers_of_two
from iqa_lab.training.regressors import fit_regressor, predict


def photos(n: int, side: int = 64, seed: int = 0) -> torch.Tensor:
    """Returns random textures, (n, 3, side, side), the first ones sharp and the last ones blurred."""
    noise = torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    blurred = [filter_separable(one[None], gaussian_kernel(9, 0.3 + 2 * i / n, one.dtype, one.device), "symmetric")
               for i, one in enumerate(noise)]
    flat = torch.cat(blurred)
    return (0.5 + 0.2 * (flat - 0.5) / flat.std((1, 2, 3), keepdim=True)).clamp(0, 1).float()


@pytest.fixture(scope="module")
def system() -> PooledFeatures:
    return PooledFeatures(parameters="untrained").eval()


def test_the_statistics_are_numpys(system):
    image = photos(2)
    maps = system.backbone(image)["head"].numpy()
    assert maps.shape == (2, 1280, 2, 2)
    expected = np.concatenate((maps.mean((2, 3)), maps.std((2, 3))), 1)
    np.testing.assert_allclose(system.features(image).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_gradcheck_and_equal_values():
    maps = torch.rand(2, 3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(mean_and_deviation, (maps,))
    flat = torch.ones(1, 2, 3, 3, requires_grad=True)
    mean_and_deviation(flat).sum().backward()
    assert flat.grad.isfinite().all()


def test_an_image_alone_has_the_features_it_has_in_a_batch(system):
    images = photos(3)
    together, alone = system.features(images), torch.cat([system.features(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_regressor_learns_blur_and_is_used_from_its_file(system, tmp_path):
    images, strength = photos(40), np.linspace(0, 100, 40)
    features = system.features(images).numpy()
    train, test = np.arange(40) % 4 != 0, np.arange(40) % 4 == 0
    recipe = RegressorRecipe("linear", powers_of_two(-13, -5, 4), (), True, "tests", folds=3)
    arrays, _ = fit_regressor(features[train], strength[train], np.arange(30), recipe)
    scores = predict(arrays, features[test])
    assert spearmanr(scores, strength[test])[0] > 0.8
    np.savez(tmp_path / "regressor.npz", **arrays)
    trained = PooledFeatures(parameters=tmp_path / "regressor.npz").eval()
    np.testing.assert_allclose(trained(images[test]).numpy(), scores, rtol=1e-4)
    assert trained(images[:1].double()).dtype == torch.float64
    assert code_version(trained) == code_version(system)  # one cache for every regressor
    with pytest.raises(ValueError, match="Expected 1 regressors of 640 features in all, got 1 of 2560"):
        PooledFeatures(layer="block15", parameters=tmp_path / "regressor.npz")


def test_other_maps_have_other_features(system):
    assert code_version(PooledFeatures(layer="block15", parameters="untrained")) != code_version(system)


def test_it_says_what_it_is_missing(system):
    with pytest.raises(FileNotFoundError, match="iqa-lab train pooled_efficientnet_lite0"):
        PooledFeatures()
    with pytest.raises(RuntimeError, match="trained regressor"):
        system(photos(1))
    with pytest.raises(FileNotFoundError):
        PooledFeatures(parameters=Path("absent.npz"))
    torch.manual_seed(0)
    random = PooledFeatures(parameters="random")
    assert "UNTRAINED" in repr(random) and random.regressor.untrained and random(photos(2)).shape == (2,)
