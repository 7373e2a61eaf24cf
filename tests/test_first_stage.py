"""Training without opinions, distributions of opinions as targets, and what becomes of the files in between."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from iqa_lab import create_metric, load_database
from iqa_lab.cli import app
from iqa_lab.no_reference.diqa import DIQA
from iqa_lab.subjective.distributions import maximum_entropy_distributions
from iqa_lab.training import decoded
from iqa_lab.training.crops import load_images, opinion_distributions, type_numbers
from iqa_lab.training.distorted import distort_photographs
from iqa_lab.training.epoch import to_device
from iqa_lab.training.first_stage import MadeImages
from iqa_lab.training.loop import load_part, target_scaling, train
from iqa_lab.training.networks import new_network
from iqa_lab.training.recipes import FIRST_STAGES, RECIPES, Recipe, find_recipe
from iqa_lab.training.runs import numbered_parts

SMALL = Recipe(epochs=2, batch_size=5, learning_rate=1e-3, patches_per_image=1, samples="crops", source="a test")
BINS = np.arange(10)


@pytest.fixture
def photographs(tmp_path):
    """Three small photographs; what is made of them lies in a folder of the test."""
    random = np.random.RandomState(0)
    folder = tmp_path / "photographs"
    folder.mkdir()
    for k in range(3):
        coarse = Image.fromarray(random.randint(0, 256, (12, 16, 3), np.uint8))
        coarse.resize((160, 120), Image.Resampling.BICUBIC).save(folder / f"{k}.png")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch, request):
    if "photographs" in request.fixturenames:
        monkeypatch.setenv("IQA_LAB_CACHE", str(tmp_path / "cache"))


def test_photographs_are_distorted_once_and_the_same_everywhere(photographs):
    made = distort_photographs([photographs], distortions=("jpeg", "gaussian_blur"), progress=False)
    assert len(made.index) == 3 * 2 * 5 == made.facts.n_images and made.facts.score_kind == "proxy"
    assert made.index["mos"].isna().all() and set(made.index["level"]) == {1, 2, 3, 4, 5}
    assert all(path.is_file() for path in (*made.image_paths, *made.reference_paths))
    written = made.image_paths[0].stat().st_mtime_ns
    again = distort_photographs([photographs], distortions=("jpeg", "gaussian_blur"), progress=False)
    assert again.root == made.root and made.image_paths[0].stat().st_mtime_ns == written
    assert distort_photographs([photographs], distortions=("jpeg",), progress=False).root != made.root
    assert not list(made.root.parent.glob("*.building-*"))


def test_a_photograph_that_cannot_be_read_leaves_nothing(photographs, tmp_path):
    (photographs / "bad.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match="bad.png"):
        distort_photographs([photographs], progress=False)
    assert not list((tmp_path / "cache" / "databases").iterdir())


def test_types_are_numbered_over_the_whole_database():
    database = load_database("embedded")
    types, classes = type_numbers(database), type_numbers(database, with_levels=True)
    assert sorted(set(types)) == list(range(10)) and sorted(set(classes)) == list(range(50))
    names = database.index["distortion"]
    assert [names[types == k].unique().tolist() for k in range(10)] == [[name] for name in sorted(names.unique())]
    assert all(len(set(types[classes == k])) == 1 for k in range(50))
    assert (type_numbers(load_database("livec_mini")) == -1).all()


def test_the_first_stage_learns_errors_without_opinions(tmp_path):
    database = load_database("live_gblur_mini")
    unrated = replace(database, index=database.index.assign(mos=np.nan))
    torch.manual_seed(0)
    recipe = replace(SMALL, loss="error_loss", epochs=6, learning_rate=1e-2, batch_size=2)
    model = DIQA(parameters="random", width=0.1)
    report = train(model, unrated, recipe, tmp_path, progress=False)
    history = pd.read_csv(tmp_path / "history.csv")
    assert history["validation_negative_loss"].iloc[-1] > 0.9 * history["validation_negative_loss"].iloc[0]
    assert history["loss"].iloc[-1] < 0.7 * history["loss"].iloc[0]
    assert report["best_epoch"] == history["validation_negative_loss"].idxmax() + 1 and "srocc" not in report
    assert not (tmp_path / "scores.csv").exists()
    again = DIQA(parameters=tmp_path / "weights.pt", width=0.1)
    assert torch.equal(again.error.weight, model.error.weight)


def test_the_first_stage_counts_the_types_that_it_finds():
    database = load_database("embedded")
    recipe = replace(SMALL, loss="type_loss")
    model = new_network("scnn", replace(recipe, options={"n_types": 50}))
    samples = load_part(model, database, np.arange(0, 40), recipe, progress=False)
    assert isinstance(samples, MadeImages) and samples.criterion == "accuracy" and samples.targets is None
    crops, types = next(samples.batches(recipe, np.random.default_rng(0)))
    assert crops.shape == (5, 1, 3, 224, 224) and types.dtype == torch.int64
    truth = iter(samples.images.types)
    model.types = lambda images: torch.tensor([next(truth) for _ in images])
    assert samples.validate(model) == 1
    model.types = lambda images: torch.full((len(images),), -5)
    assert samples.validate(model) == 0


def test_each_model_with_a_first_stage_has_a_second_one_of_the_same_width():
    for name, modes in FIRST_STAGES.items():
        for mode, recipe in modes.items():
            assert recipe.source and recipe.loss in ("error_loss", "type_loss", "rank_loss")
            if name in RECIPES:  # DB-CNN takes the weights of S-CNN by an option, dipIQ needs no opinions at all
                assert RECIPES[name][mode].options.get("width") == recipe.options.get("width")
    with pytest.raises(ValueError, match="with a first stage"):
        find_recipe("cnniqa", "fast", first_stage=True)


def test_the_command_trains_both_stages(photographs, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    runner, few = CliRunner(), ["--epochs", "1"]
    done = runner.invoke(app, ["train", "diqa", "--first-stage", "--photographs", str(photographs), "--output", str(first),
                               *few])
    assert done.exit_code == 0, done.output
    assert "validation_negative_loss" in done.output and "--start" in done.output
    done = runner.invoke(app, ["train", "diqa", "--database", "live_gblur_mini", "--start", str(first / "weights.pt"),
                               "--output", str(second), *few])
    assert done.exit_code == 0 and "srocc" in done.output
    states = [torch.load(folder / "weights.pt", weights_only=True) for folder in (first, second)]
    assert torch.equal(states[0]["error.weight"], states[1]["error.weight"])  # the second stage has no use for it
    assert not torch.equal(states[0]["trunk.conv1.weight"], states[1]["trunk.conv1.weight"])
    done = runner.invoke(app, ["train", "diqa", "--photographs", str(photographs), "--output", str(tmp_path / "x")])
    assert done.exit_code == 2 and "--first-stage" in done.output
    done = runner.invoke(app, ["train", "diqa", "--database", "live_gblur_mini", "--start", str(photographs / "0.png"),
                               "--output", str(tmp_path / "x")])
    assert done.exit_code == 2 and "config.json" in done.output


def test_a_ranking_is_learned_from_what_full_reference_metrics_agree_on(tmp_path):
    database = load_database("live_gblur_mini")
    unrated = replace(database, index=database.index.assign(mos=np.nan))
    recipe = replace(find_recipe("dipiq_brisque", "fast", first_stage=True), batch_size=8)
    model = create_metric("dipiq_brisque", parameters="random")
    samples = load_part(model, unrated, np.arange(10), recipe, True, progress=False)
    torch.testing.assert_close(model.mean.float(), samples.features.mean(0), rtol=1e-4, atol=1e-4)
    level = database.index["level"].to_numpy() if database.index["level"].notna().all() else -database.index["mos"].to_numpy()
    better, worse = samples.pairs.better, samples.pairs.worse
    assert len(better) and (np.sign(level[worse] - level[better]) != 0).all()
    first, second, sure = next(samples.batches(recipe, np.random.default_rng(0)))
    assert first.shape == second.shape == (8, 36) and ((sure > 0) & (sure <= 1)).all()
    assert torch.equal(to_device(first, torch.device("cpu"), (5.0, 3.0)), first)  # the loop leaves features as they are
    report = train(model, unrated, recipe, tmp_path, progress=False)
    assert report["validation_accuracy"] > 0.7 and "srocc" not in report  # blur of an unseen photograph
    assert samples.validate(create_metric("dipiq_brisque", parameters=tmp_path / "weights.pt")) > 0.7


@given(st.floats(1, 10), st.floats(0, 6))
def test_distributions_of_maximum_entropy_have_their_moments(mean, deviation):
    (p,) = maximum_entropy_distributions([mean], [deviation], low=1, high=10)
    found = p @ (BINS + 1)
    assert p.min() >= 0 and p.sum() == pytest.approx(1) and abs(found - mean) < 0.03
    share, possible = mean % 1, (mean - 1) * (10 - mean)
    if share * (1 - share) + 0.1 < deviation**2 < 0.9 * possible and 1.1 < mean < 9.9:
        assert np.sqrt(p @ (BINS + 1 - found)**2) == pytest.approx(deviation, abs=1e-4)


def test_no_other_distribution_with_these_moments_has_more_entropy():
    (p,) = maximum_entropy_distributions([40.0], [20.0], low=0, high=100)
    random = np.random.RandomState(0)
    constraints = np.stack((np.ones(10), BINS, BINS**2)).astype(float)
    for _ in range(20):  # directions that change none of the moments
        direction = random.randn(10)
        direction -= np.linalg.pinv(constraints) @ (constraints @ direction)
        other = p + 0.01 * direction / np.abs(direction).max() * p.min()
        assert -(other * np.log(other)).sum() < -(p * np.log(p)).sum()


def test_opinions_spread_as_the_release_says():
    database = load_database("livec_mini")
    p = opinion_distributions(database, np.arange(150))
    mean = p @ np.linspace(0, 100, 10)
    np.testing.assert_allclose(mean, database.index["mos"], atol=0.1)
    np.testing.assert_allclose(np.sqrt((p * (np.linspace(0, 100, 10) - mean[:, None])**2).sum(1)), database.index["mos_std"],
                               atol=0.1)
    with pytest.raises(ValueError, match="how opinions spread"):
        opinion_distributions(replace(database, index=database.index.assign(mos_std=np.nan)), np.arange(3))
    with pytest.raises(ValueError, match="means from 0 to 100"):
        maximum_entropy_distributions([120.0], [3.0], low=0, high=100)


def test_a_network_of_distributions_gets_them_as_they_are_and_gives_scores_on_the_databases_scale(tmp_path):
    database = load_database("livec_mini")
    database = replace(database, index=database.index.iloc[:20].reset_index(drop=True))
    model = create_metric("nima_efficientnet_lite0", parameters="random")
    recipe = replace(SMALL, epochs=1, batch_size=4, squeezed=256)
    samples = load_part(model, database, np.arange(12), recipe, True, progress=False)
    assert {tuple(image.shape) for image in samples.images} == {(3, 256, 256)}
    crops, distributions = next(samples.batches(recipe, np.random.default_rng(0)))
    assert distributions.dtype == torch.float32  # which the loop does not scale
    torch.testing.assert_close(distributions.sum(1), torch.ones(4))
    mean, scale = target_scaling(model, samples)
    assert (mean + scale, mean + 10 * scale) == pytest.approx((0, 100))
    train(model, database, recipe, tmp_path, progress=False)
    torch.testing.assert_close(model.bins, torch.linspace(0, 100, 10))
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert scores["score"].between(0, 100).all()


def test_scores_that_are_regressed_from_vectors_are_fitted_to_the_training_part(tmp_path):
    database = load_database("live_gblur_mini")
    torch.manual_seed(0)
    model = create_metric("pqr", parameters="random")
    train(model, database, replace(SMALL, epochs=1, patches_per_image=4), tmp_path, progress=False)
    parts = pd.read_csv(tmp_path / "split.csv")["part"]
    samples = load_images(database, np.flatnonzero(parts == "train"), 64, progress=False)
    expected = create_metric("pqr", parameters=tmp_path / "weights.pt")
    with torch.no_grad():
        vectors = torch.cat([expected.vectors(image[None] / 255) for image in samples.images])
    model.fit_regression(vectors.double().numpy(), samples.targets)
    torch.testing.assert_close(expected.regression_weights, model.regression_weights, rtol=1e-3, atol=1e-3)


def test_images_on_disk_are_those_in_memory(monkeypatch, photographs, tmp_path):
    paths = sorted(photographs.iterdir())
    in_memory = decoded.decode(paths, 64, progress=False)
    assert not (tmp_path / "cache" / "images").exists()
    monkeypatch.setattr(decoded, "IN_MEMORY", 0)
    for _ in range(2):  # made, and read
        assert all(map(torch.equal, decoded.decode(paths, 64, progress=False), in_memory))
    assert len(list((tmp_path / "cache" / "images").iterdir())) == 3
    with pytest.raises(ValueError, match="at least 130 pixels"):
        decoded.decode(paths, 130, squeezed=32, progress=False)
    squeezed = decoded.decode(paths, 64, squeezed=32, progress=False)
    assert {tuple(image.shape) for image in squeezed} == {(3, 32, 32)}
    assert abs(squeezed[0].float().mean() - in_memory[0].float().mean()) < 1


def test_numbered_parts_are_those_of_the_tables():
    from iqa_lab.evaluation.splits import content_splits

    database = load_database("livec_mini")
    for k in (0, 3):
        parts = numbered_parts(database, k)
        _, test = content_splits(database.index["content"], n_splits=10)[k]
        assert (np.flatnonzero(parts == "test") == test).all()
        assert (parts == "validation").sum() == 24 and (parts == "train").sum() == 96


def test_curves_go_to_tensorboard_if_wanted(tmp_path, monkeypatch):
    """Another module in TensorBoard's place, which is no part of the installation, notes what would be plotted."""
    plotted = []

    class Writer:
        def __init__(self, folder):
            assert folder == tmp_path / "with"

        def add_scalar(self, name, value, epoch):
            plotted.append((name, round(float(value), 4), epoch))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            plotted.append("closed")

    database, recipe = load_database("live_gblur_mini"), replace(find_recipe("diqa", "fast"), epochs=2, options={"width": 0.1})
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    train(new_network("diqa", recipe), database, recipe, tmp_path / "with", tensorboard=True, progress=False)
    history = pd.read_csv(tmp_path / "with" / "history.csv")
    assert plotted == [(name, round(row[name], 4), row["epoch"]) for row in history.to_dict("records") for name in row
                       if name != "epoch"] + ["closed"]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ModuleNotFoundError, match="pip install tensorboard"):
        train(new_network("diqa", recipe), database, recipe, tmp_path / "without", tensorboard=True, progress=False)
