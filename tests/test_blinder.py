"""BLINDER: its levels, the extremes of every map, one regressor for each level; and ensembles of regressors in general."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.svm import SVR
from torch import nn

from iqa_lab import load_database, load_image
from iqa_lab.backbones.networks import layer_names
from iqa_lab.no_reference import regression
from iqa_lab.no_reference.blinder import LEVELS, BLINDER
from iqa_lab.no_reference.regression import RegressorEnsemble, SupportVectorRegressor, load_regressor
from iqa_lab.training.features import code_version
from iqa_lab.training.recipes import RegressorRecipe
from iqa_lab.training.regressors import fit_regressor, predict, repeated_splits, train_regressor

LITE0 = {"backbone": "efficientnet_lite0", "layers": ("block2", "block10", "fc")}
RADIAL = RegressorRecipe("rbf", (1.0, 100.0), (0.1, 1.0), True, "tests", folds=3)
LINEAR = RegressorRecipe("linear", (0.1, 10.0), (), True, "tests", folds=3)


@pytest.fixture(scope="module")
def system() -> BLINDER:
    return BLINDER(**LITE0, parameters="untrained").eval()


def photos(n: int = 3, side: int = 64) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))


def table(width: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(45, width))
    return x, 50 + 20 * np.tanh(x[:, 0]) + 10 * x[:, 4] * x[:, 5], np.repeat(np.arange(15), 3)


def test_the_levels_of_vgg16_are_what_stands_before_a_relu():
    names = layer_names("vgg16")
    assert set(LEVELS) == {names[names.index(name) - 1] for name in names if name.startswith("relu")} | {"fc8"}
    convolutions = BLINDER(layers=LEVELS[:13], weights="random", parameters="untrained")
    assert convolutions.parts == tuple(2 * n for n in (64, 64, 128, 128, 256, 256, 256, *[512] * 6))
    features = convolutions.features(photos(1, 32))
    assert features.shape == (1, 8448) and (features[0, :64] < 0).any()  # the ReLU behind has not written over it


def test_the_features_are_the_extremes_of_each_map(system):
    image = photos().contiguous(memory_format=torch.channels_last)  # as the system has it: other orders round differently
    maps = {name: level.numpy() for name, level in system.backbone(image).items()}
    expected = [part for name in ("block2", "block10") for part in (maps[name].min((2, 3)), maps[name].max((2, 3)))]
    np.testing.assert_allclose(system.features(photos()).numpy(), np.concatenate((*expected, maps["fc"]), 1), rtol=1e-4,
                               atol=1e-5)
    assert system.parts == (48, 224, 1000)
    means = BLINDER(**LITE0, pooling="mean", parameters="untrained")
    assert means.parts == (24, 112, 1000)
    np.testing.assert_allclose(means.features(photos())[:, :24].numpy(), maps["block2"].mean((2, 3)), rtol=1e-4, atol=1e-5)
    assert code_version(means) != code_version(system)


def test_an_image_alone_has_the_features_it_has_in_a_batch(system):
    alone = torch.cat([system.features(image[None]) for image in photos()])
    torch.testing.assert_close(system.features(photos()), alone, rtol=1e-4, atol=1e-4)


def test_the_score_is_the_mean_of_the_levels(system, tmp_path):
    features = system.features(photos(12)).numpy()
    arrays, search = fit_regressor(features, np.linspace(0, 100, 12), np.arange(12), LINEAR, parts=system.parts)
    np.savez(tmp_path / "regressor.npz", **arrays)
    trained = BLINDER(**LITE0, parameters=tmp_path / "regressor.npz").eval()
    levels = trained.level_scores(photos(12))
    assert levels.shape == (12, 3) and set(search["part"]) == {0, 1, 2}
    torch.testing.assert_close(trained(photos(12)), levels.mean(1))
    for k, (start, end) in enumerate(((0, 48), (48, 272), (272, 1272))):
        alone, _ = fit_regressor(features[:, start:end], np.linspace(0, 100, 12), np.arange(12), LINEAR)
        np.testing.assert_allclose(levels[:, k].numpy(), predict(alone, features[:, start:end]), rtol=1e-3, atol=1e-2)
    with pytest.raises(ValueError, match="Expected 2 regressors of 272 features in all, got 3 of 1272"):
        BLINDER(**LITE0 | {"layers": LITE0["layers"][:2]}, parameters=tmp_path / "regressor.npz")


def test_an_ensemble_is_the_mean_of_scikit_learns_regressors():
    x, y, contents = table()
    arrays, search = fit_regressor(x, y, contents, RADIAL, parts=(4, 3))
    predictions = []
    for k, part in enumerate((x[:, :4], x[:, 4:])):
        scaled = 2 * (part - part.min(0)) / np.ptp(part, axis=0) - 1
        best = search[search["part"] == k].sort_values("mean_absolute_error").iloc[0]
        predictions.append(SVR(C=best["C"], gamma=best["gamma"], epsilon=3.0).fit(scaled, y).predict(scaled))
    np.testing.assert_allclose(predict(arrays, x), np.mean(predictions, 0), rtol=1e-9)
    assert RegressorEnsemble(arrays).widths == (4, 3)


def test_distances_do_not_depend_on_how_many_are_computed_at_once(monkeypatch):
    x, y, contents = table()
    arrays, _ = fit_regressor(x, y, contents, RADIAL)
    together = predict(arrays, x)
    monkeypatch.setattr(regression, "DIFFERENCES_AT_ONCE", 1)
    np.testing.assert_array_equal(predict(arrays, x), together)


def test_other_arrays_are_refused():
    arrays = {"weights": np.ones(3), "bias": np.zeros(())}
    with pytest.raises(ValueError, match="regressors 0, 1, got 0, 2"):
        RegressorEnsemble({f"{k}.{name}": array for k in (0, 2) for name, array in arrays.items()})
    with pytest.raises(ValueError, match="got weights"):
        RegressorEnsemble({"0.weights": np.ones(3)})


class Colours(nn.Module):
    """Stands for a system with two levels: means and deviations of the channels."""

    name, parts = "colours", (3, 3)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat((image.mean((2, 3)), image.std((2, 3))), 1)


def test_a_training_run_writes_all_regressors_into_one_file(tmp_path, monkeypatch):
    monkeypatch.setenv("IQA_LAB_CACHE", str(tmp_path / "cache"))
    database = load_database("live_gblur_mini")
    report = train_regressor(Colours(), database, RegressorRecipe("linear", (0.1, 10.0), (), True, "tests", folds=2),
                             tmp_path / "run", progress=False)
    assert report["parts"] == 2 and {"part", "C"} < set(pd.read_csv(tmp_path / "run/search.csv"))
    scores, ensemble = pd.read_csv(tmp_path / "run/scores.csv"), load_regressor(tmp_path / "run/regressor.npz")
    assert isinstance(ensemble, RegressorEnsemble) and ensemble.widths == (3, 3)
    image = load_image(database.root / scores["image"][0])
    assert ensemble(Colours().features(image)).item() == pytest.approx(scores["score"][0], rel=1e-5)
    assert not isinstance(ensemble, SupportVectorRegressor)


def test_repeated_splits_take_the_parts():
    database = load_database("livec_mini")
    random, mos = np.random.default_rng(1), database.index["mos"].to_numpy()[:, None]
    features = np.hstack([random.normal(size=(150, 3)) + mos / 15, random.normal(size=(150, 2)) - mos / 15])
    rows = list(repeated_splits(features, database, LINEAR, n_splits=2, parts=(3, 2)))
    assert min(row["srocc"] for row in rows) > 0.6 and {row["parts"] for row in rows} == {2}


def test_it_says_what_it_is_missing_and_what_is_random():
    with pytest.raises(FileNotFoundError, match="iqa-lab train blinder"):
        BLINDER()
    with pytest.raises(ValueError, match="min_max or mean, got 'max'"):
        BLINDER(pooling="max", parameters="untrained")
    torch.manual_seed(0)
    random = BLINDER(**LITE0, parameters="random")
    image = photos(1).requires_grad_()
    random(image).sum().backward()
    assert "UNTRAINED" in repr(random) and image.grad.isfinite().all()
