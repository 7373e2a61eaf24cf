"""DeepBIQ: its grid of crops, the classes of quality it learns first, and the regressor of crops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.svm import SVR

from iqa_lab.no_reference.deepbiq import CLASSES, DeepBIQ, crop_starts, grid_crops, quality_classes
from iqa_lab.ops.resize import resize
from iqa_lab.training import regressors
from iqa_lab.training.features import code_version
from iqa_lab.training.recipes import RegressorRecipe
from iqa_lab.training.regressors import crop_rows, fit_regressor, predict

LITE0 = {"backbone": "efficientnet_lite0", "layer": "pool", "crops_per_side": 2}
RECIPE = RegressorRecipe("rbf", (10.0,), (0.5,), True, "tests", folds=2)


def photos(n: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def system() -> DeepBIQ:
    return DeepBIQ(**LITE0, parameters="untrained").eval()


def random_network(**options) -> DeepBIQ:
    torch.manual_seed(0)
    return DeepBIQ(**LITE0 | {"crops_per_side": 1} | options, parameters="random").eval()


def test_alexnet_gives_4096_features_and_five_classes():
    torch.manual_seed(0)
    network = DeepBIQ(weights="random", parameters="random")
    assert sum(p.numel() for p in network.backbone.parameters()) == 57_003_840  # AlexNet without its last layer
    assert sum(p.numel() for p in network.classes.parameters()) == 5 * 4096 + 5
    features = network.features(photos(1, 64, 70))
    assert features.shape == (1, 25, 4096) and (features >= 0).all()
    assert network.untrained and "UNTRAINED" in repr(network) and 0 < network(photos(1, 64, 70)).item() < 1


@given(st.integers(1, 3000), st.integers(2, 9))
def test_the_crops_reach_from_border_to_border(side, count):
    starts = crop_starts(side, count)
    assert len(starts) == count and starts[0] == 0 and starts[-1] == max(side - 224, 0)
    assert max(np.diff(starts)) - min(np.diff(starts)) <= 1 + 1e-9


def test_the_grid_is_cut_row_by_row_and_what_coincides_is_cut_once():
    image = photos(2, 240, 230)
    crops, order = grid_crops(image, 3)
    assert crops.shape == (2, 9, 3, 224, 224) and order == list(range(9))
    for number, (top, left) in enumerate((top, left) for top in (0, 8, 16) for left in (0, 3, 6)):
        torch.testing.assert_close(crops[:, number], image[:, :, top:top + 224, left:left + 224], rtol=0, atol=0)
    crops, order = grid_crops(photos(1, 100, 225), 3)
    assert crops.shape == (1, 2, 3, 100, 224) and order == [0, 0, 1] * 3
    crops, order = grid_crops(photos(1, 300, 80), 1)
    torch.testing.assert_close(crops[0, 0], photos(1, 300, 80)[0, :, 38:262])


def test_the_features_are_those_of_the_crops(system):
    image = photos(2, 64, 240)
    features = system.features(image)
    assert features.shape == (2, 4, 1280)
    for k, left in enumerate((0, 16, 0, 16)):
        alone = system.backbone(image[1:, :, :, left:left + 224])["pool"]
        torch.testing.assert_close(features[1:, k], alone, rtol=1e-4, atol=1e-5)
    pooled = DeepBIQ(**LITE0, pooled="features", parameters="untrained")
    torch.testing.assert_close(pooled.features(image), features.mean(1), rtol=1e-4, atol=1e-5)
    maps = DeepBIQ(**LITE0 | {"layer": "head"}, parameters="untrained")
    torch.testing.assert_close(maps.features(image), features, rtol=1e-4, atol=1e-5)
    versions = {code_version(one) for one in (system, pooled, maps)}
    assert len(versions) == 3


def test_the_whole_image_is_one_resized_crop(system):
    whole = DeepBIQ(**LITE0 | {"crops_per_side": None}, parameters="untrained")
    image = photos(1, 100, 130)
    expected = system.backbone(resize(image, size=(224, 224)).clamp(0, 1))["pool"]
    torch.testing.assert_close(whole.features(image)[:, 0], expected, rtol=1e-4, atol=1e-5)


def table(n: int = 12, crops: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    targets = random.uniform(0, 100, n)
    return targets[:, None, None] / 50 + random.normal(size=(n, crops, 3)), targets, np.arange(n) // 2


def test_every_crop_is_a_row_and_an_image_gets_the_mean_score():
    x, y, contents = table()
    rows = x.reshape(60, 3)
    scaled = 2 * (rows - rows.min(0)) / np.ptp(rows, axis=0) - 1
    theirs = SVR(C=10.0, gamma=0.5, epsilon=3.0).fit(scaled, np.repeat(y, 5)).predict(scaled)
    arrays, _ = fit_regressor(x, y, contents, RECIPE)
    np.testing.assert_allclose(predict(arrays, x), theirs.reshape(12, 5).mean(1), rtol=1e-6)


def test_of_many_images_some_crops_are_taken_and_all_places_occur(monkeypatch):
    monkeypatch.setattr(regressors, "MOST_ROWS", 25)
    x = np.arange(60.0).reshape(12, 5, 1)
    rows, targets, contents = crop_rows(x, np.arange(12.0), np.arange(12) // 2)
    assert rows.shape == (24, 1) and set(rows.ravel() % 5) == {0, 1, 2, 3, 4}
    np.testing.assert_array_equal(rows.ravel() // 5, targets)  # rows carry the target and the content of their image
    np.testing.assert_array_equal(targets // 2, contents)
    assert len(np.unique(rows)) == 24


def test_the_classes_are_fifths():
    targets = torch.tensor([0.0, 0.1, 0.2, 0.21, 0.4, 0.5, 0.6, 0.7, 0.9, 1.0])
    assert quality_classes(targets).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 4, 4]


def test_fine_tuning_lowers_the_loss():
    network = random_network()
    crops, targets = photos(6, 64, 64).unflatten(0, (3, 2)), torch.tensor([0.1, 0.5, 0.9])
    features = network.crop_features(crops.flatten(0, 1))
    expected = -network.classes(features).log_softmax(1)[torch.arange(6), [0, 0, 2, 2, 4, 4]].mean()
    first = network.loss(crops, targets)
    torch.testing.assert_close(first, expected)
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 3e-3)
    for _ in range(6):
        optimiser.zero_grad()
        loss = network.loss(crops, targets)
        loss.backward()
        optimiser.step()
    assert loss < 0.9 * first
    assert {name for name, p in network.named_parameters() if p.requires_grad} == {"classes.weight", "classes.bias"}
    network.set_trainable("all")
    network.loss(crops, targets).backward()
    assert network.backbone.network["stem"][0].weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="head, all"):
        network.set_trainable("tail")


def test_the_classes_give_a_score_on_the_scale_of_the_opinions():
    network, image = random_network(), photos(2, 64, 64)
    before = network(image)
    probabilities = network.classes(network.features(image)[:, 0]).softmax(1).numpy(force=True)
    np.testing.assert_allclose(before.numpy(force=True), probabilities @ (np.arange(CLASSES) + 0.5) / 5, rtol=1e-5)
    network.rescale_output(20.0, 60.0)
    torch.testing.assert_close(network(image), 60 * before + 20)


def test_a_fine_tuned_network_scores_alone_or_gives_features_to_a_regressor(tmp_path, system):
    network, image = random_network(weights="random"), photos(2, 64, 64)
    network.rescale_output(20.0, 60.0)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    again = DeepBIQ(**LITE0, weights="random", parameters=tmp_path / "weights.pt").eval()
    torch.testing.assert_close(again(image), network(image))
    assert not again.untrained and not again.backbone.untrained and "UNTRAINED" not in repr(again)
    np.savez(tmp_path / "regressor.npz", weights=np.ones(1280), bias=np.zeros(()))
    both = DeepBIQ(**LITE0, tuned=tmp_path / "weights.pt", parameters=tmp_path / "regressor.npz").eval()
    torch.testing.assert_close(both.features(image)[:, :1], network.features(image))
    torch.testing.assert_close(both(image).double(), network.features(image).double().sum((1, 2)), rtol=1e-4, atol=1e-4)
    assert code_version(both) != code_version(system)
    with pytest.raises(ValueError, match="missing: "):
        torch.save({"classes.weight": torch.ones(5, 1280)}, tmp_path / "other.pt")
        DeepBIQ(**LITE0, parameters=tmp_path / "other.pt")


def test_it_says_what_it_is_missing(system):
    with pytest.raises(FileNotFoundError, match="iqa-lab train deepbiq"):
        DeepBIQ()
    with pytest.raises(ValueError, match="scores or features, got 'max'"):
        DeepBIQ(pooled="max", parameters="untrained")
    with pytest.raises(RuntimeError, match="trained regressor"):
        system(photos(1, 64, 64))
    with pytest.raises(ValueError, match="sides of"):
        system.features(photos(1, 60, 64))
