"""Regressors: features kept on disk, the search inside the training part, and a training run through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.svm import SVR
from torch import nn
from typer.testing import CliRunner

from iqa_lab import create_metric, load_database, load_image
from iqa_lab.cli import app
from iqa_lab.evaluation.splits import content_folds
from iqa_lab.training import features as features_module
from iqa_lab.training.features import cached_features, code_version
from iqa_lab.training.recipes import RECIPES, RegressorRecipe, find_recipe
from iqa_lab.training.regressors import fit_regressor, opinion_targets, predict, repeated_splits, train_regressor

RADIAL = RegressorRecipe("rbf", (1.0, 100.0), (0.1, 1.0), True, "tests", folds=3)
LINEAR = RegressorRecipe("linear", (0.1, 10.0), (), False, "tests", folds=3)


class Moments(nn.Module):
    """Stands for a system: mean and deviation of the three channels."""

    name = "moments"

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        self.calls = 0
        self.register_buffer("power", torch.tensor(power))

    def features(self, image: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return torch.cat((image.mean((2, 3)), image.std((2, 3))), 1).double() ** self.power


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("IQA_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, targets and contents of 60 rows, three of each content."""
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 4))
    return x, 50 + 20 * np.tanh(x[:, 0]) + 10 * x[:, 1] * x[:, 2], np.repeat(np.arange(20), 3)


def test_features_are_computed_once(cache):
    images = load_database("live_gblur_mini").image_paths[:4]
    metric = Moments()
    first = cached_features(metric, images, progress=False)
    np.testing.assert_allclose(first[1], metric.features(load_image(images[1]))[0])
    again = Moments()
    np.testing.assert_array_equal(cached_features(again, images[::-1], progress=False), first[::-1])
    assert again.calls == 0 and first.shape == (4, 6)


def test_other_code_or_constants_have_other_features(cache, tmp_path, monkeypatch):
    assert code_version(Moments()) == code_version(Moments()) != code_version(Moments(2.0))
    before = code_version(create_metric("brisque"))
    statistics = tmp_path / "statistics.py"  # a primitive that BRISQUE imports changes
    statistics.write_text(Path("iqa_lab/ops/statistics.py").resolve().read_text() + "# changed\n")
    changed = {"iqa_lab.ops.statistics": SimpleNamespace(origin=str(statistics))}
    monkeypatch.setattr("iqa_lab.training.features.find_spec", lambda name: changed.get(name) or find_spec(name))
    assert code_version(create_metric("brisque")) != before


def test_other_options_have_other_features():
    from iqa_lab.no_reference.bliinds2 import first_channel

    for name, options in {"cornia": {"n_patches": 500}, "bliinds2": {"luma": first_channel}}.items():
        plain = code_version(create_metric(name, parameters="untrained"))
        assert code_version(create_metric(name, parameters="untrained")) == plain
        assert code_version(create_metric(name, parameters="untrained", **options)) != plain


def test_the_regressor_does_not_decide_the_features():
    assert code_version(create_metric("brisque")) == code_version(create_metric("brisque", parameters="untrained"))


def test_the_version_does_not_depend_on_what_else_the_process_has_imported():
    code = ("from iqa_lab import create_metric; from iqa_lab.training.features import code_version as v; "
            "m = create_metric('brisque'); before = v(m); import iqa_lab.downloads, iqa_lab.data_scripts.prepare; "
            "print(before == v(m))")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "True"



def test_a_bad_image_is_named_and_the_work_before_it_is_kept(cache, tmp_path):
    images = load_database("live_gblur_mini").image_paths[:2]
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="broken.png"):
        cached_features(Moments(), [*images, tmp_path / "broken.png"], progress=False)
    metric = Moments()
    cached_features(metric, images, progress=False)
    assert metric.calls == 0


def test_a_killed_write_leaves_no_half_file(cache, monkeypatch):
    images = load_database("live_gblur_mini").image_paths[:1]

    def stop(path, features):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(features_module, "save_array", stop)
        with pytest.raises(KeyboardInterrupt):
            cached_features(Moments(), images, progress=False)
    assert cached_features(Moments(), images, progress=False).shape == (1, 6)


def test_folds_are_those_of_scikit_learn_and_keep_contents_together():
    folds = content_folds(np.arange(23), n_folds=5, seed=3)
    theirs = KFold(5, shuffle=True, random_state=3).split(np.arange(23))
    for (train, test), (their_train, their_test) in zip(folds, theirs, strict=True):
        np.testing.assert_array_equal(train, their_train)
        np.testing.assert_array_equal(test, their_test)
    contents = np.repeat(list("abcdefg"), 4)
    for train, test in content_folds(contents, n_folds=3):
        assert not set(contents[train]) & set(contents[test]) and len(train) + len(test) == 28
    with pytest.raises(ValueError, match="at least 5 contents"):
        content_folds(["a", "b", "c", "d"], n_folds=5)


def test_the_radial_fit_is_scikit_learns(table):
    x, y, contents = table
    low, high = x.min(0), x.max(0)
    arrays, search = fit_regressor(x, y, contents, RADIAL)
    theirs = GridSearchCV(SVR(epsilon=3.0), {"C": RADIAL.C, "gamma": RADIAL.gamma}, scoring="neg_mean_absolute_error",
                          cv=content_folds(contents, n_folds=3)).fit(2 * (x - low) / (high - low) - 1, y)
    np.testing.assert_allclose(predict(arrays, x), theirs.predict(2 * (x - low) / (high - low) - 1), rtol=1e-9)
    best = search.loc[search["mean_absolute_error"].idxmin()]
    assert len(search) == 4 and best["mean_absolute_error"] == pytest.approx(-theirs.best_score_)


def test_the_linear_fit_is_scikit_learns(table):
    x, y, contents = table
    arrays, search = fit_regressor(x, y, contents, LINEAR)
    best = search.loc[search["mean_absolute_error"].idxmin(), "C"]
    theirs = SVR(kernel="linear", C=best, epsilon=3.0).fit(x, y)
    np.testing.assert_allclose(predict(arrays, x), theirs.predict(x), atol=0.05)  # both stop at libsvm's tolerance 1e-3
    assert "gamma" not in search


def test_targets_run_from_best_to_worst():
    mos, dmos = load_database("livec_mini"), load_database("live_gblur_mini")
    np.testing.assert_allclose(opinion_targets(mos), 100 - mos.index["mos"])
    np.testing.assert_allclose(opinion_targets(dmos), dmos.index["mos"])
    with pytest.raises(ValueError, match="human scores"):
        opinion_targets(load_database("embedded"))


def test_splits_differ_and_more_of_them_do_not_change_the_first(table):
    database = load_database("livec_mini")
    features = np.random.default_rng(1).normal(size=(150, 3)) + database.index["mos"].to_numpy()[:, None] / 20
    three = list(repeated_splits(features, database, LINEAR, n_splits=3))
    assert three[:2] == list(repeated_splits(features, database, LINEAR, n_splits=2))
    assert len({row["srocc"] for row in three}) == 3 and min(row["srocc"] for row in three) > 0.7
    assert all(row["n"] == 30 for row in three)


def test_a_training_run_writes_its_folder_and_a_second_one_reads_it(cache, tmp_path):
    database = load_database("livec_mini")
    report = train_regressor(Moments(), database, RADIAL, tmp_path / "run", progress=False)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.json", "split.csv", "search.csv", "regressor.npz", "scores.csv", "report.json"}
    split = pd.read_csv(tmp_path / "run/split.csv")
    assert split["part"].value_counts().to_dict() == {"train": 120, "test": 30}
    scores = pd.read_csv(tmp_path / "run/scores.csv")
    assert set(scores["image"]) == set(split["image"][split["part"] == "test"])
    from scipy.stats import spearmanr

    assert report["srocc"] == pytest.approx(spearmanr(-scores["score"], scores["mos"])[0])
    assert train_regressor(Moments(), database, RADIAL, tmp_path / "run", progress=False) == report
    with pytest.raises(ValueError, match="another recipe"):
        train_regressor(Moments(), database, replace(RADIAL, seed=1), tmp_path / "run", progress=False)
    with pytest.raises(ValueError, match="another features_sha256"):
        train_regressor(Moments(2.0), database, RADIAL, tmp_path / "run", progress=False)


def test_the_command_line_trains_a_regressor_that_create_metric_loads(cache, tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES["brisque"], "fast", replace(RADIAL, folds=2))  # 2 contents to learn from
    arguments = ["train", "brisque", "--database", "live_gblur_mini", "--output", str(tmp_path / "run")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0 and "create_metric('brisque'" in " ".join(result.output.split()), result.output
    metric = create_metric("brisque", parameters=tmp_path / "run/regressor.npz")
    scores = pd.read_csv(tmp_path / "run/scores.csv")
    image = load_database("live_gblur_mini").root / scores["image"][0]
    assert metric(load_image(image)).item() == pytest.approx(scores["score"][0], rel=1e-5)
    assert json.loads((tmp_path / "run/config.json").read_text())["recipe"]["source"] == "tests"
    result = CliRunner().invoke(app, [*arguments[:-1], str(tmp_path / "other"), "--epochs", "3"])
    assert result.exit_code == 2 and "no --epochs" in " ".join(result.output.split())


def test_an_untrained_system_has_features_and_no_score():
    metric = create_metric("brisque", parameters="untrained")
    assert metric.features(torch.rand(1, 3, 40, 40)).shape == (1, 36) and "Untrained" in repr(metric)
    with pytest.raises(RuntimeError, match="iqa-lab train"):
        metric(torch.rand(1, 3, 40, 40))


def test_every_recipe_is_complete():
    for model in RECIPES:
        for mode in ("fast", "full"):
            recipe = find_recipe(model, mode)
            assert recipe.source
            if isinstance(recipe, RegressorRecipe):
                assert recipe.kernel in ("rbf", "linear", "pls") and bool(recipe.gamma) == (recipe.kernel == "rbf")
