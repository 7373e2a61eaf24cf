"""Training: the patches of an epoch, the recipe of a run, and a run that is killed and resumed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from iqa_lab import create_metric, load_database, load_image
from iqa_lab.no_reference.cnniqa import CNNIQA, grid_patches
from iqa_lab.training.loop import train
from iqa_lab.training.patches import PatchSet, cut_patches, epoch_order
from iqa_lab.training.recipes import RECIPES, Recipe, find_recipe
from iqa_lab.training.runs import split_parts

RECIPE = Recipe(epochs=2, batch_size=32, learning_rate=1e-3, patches_per_image=6, source="tests")


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    generator = np.random.default_rng(0)
    paths = []
    for name, size in {"a": (70, 100, 3), "b": (64, 40, 3), "c": (33, 130, 3)}.items():
        Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)).save(tmp_path / f"{name}.png")
        paths.append(tmp_path / f"{name}.png")
    return paths


def new_model(seed: int = 0) -> CNNIQA:
    torch.manual_seed(seed)
    return create_metric("cnniqa", parameters="random")


def test_patches_are_those_that_the_model_scores(photos):
    grids = [cut_patches(path, 32) for path in photos]
    assert [len(grid) for grid in grids] == [6, 2, 4]
    patches = PatchSet(torch.from_numpy(np.concatenate(grids)), np.repeat([0, 1, 2], [6, 2, 4]), np.zeros(3))
    expected = torch.cat([grid_patches(load_image(path))[0] for path in photos])
    torch.testing.assert_close(patches.patches.float() / 255, expected)
    model = new_model()
    alone = [model(load_image(path)).item() for path in photos]
    np.testing.assert_allclose(patches.scores(model), alone, rtol=1e-4, atol=1e-5)


def test_images_without_a_whole_patch_are_refused(tmp_path):
    Image.new("RGB", (31, 200)).save(tmp_path / "narrow.png")
    with pytest.raises(ValueError, match="at least 32 pixels, got uint8 of 200 x 31 in .*narrow.png"):
        cut_patches(tmp_path / "narrow.png", 32)


@pytest.mark.parametrize("per_image, expected", [(None, [5, 3, 1]), (3, [3, 3, 1]), (1, [1, 1, 1])])
def test_an_epoch_draws_so_many_patches_of_each_image_once(per_image, expected):
    image = np.repeat([0, 1, 2], [5, 3, 1])
    numbers = np.concatenate(list(epoch_order(image, per_image, 4, np.random.default_rng(0)))).tolist()
    assert len(set(numbers)) == len(numbers) == sum(expected)
    assert np.bincount(image[numbers]).tolist() == expected
    assert numbers != sorted(numbers) or per_image == 1
    drawn = {tuple(np.concatenate(list(epoch_order(image, 1, 9, np.random.default_rng(seed))))) for seed in range(30)}
    assert len(drawn) > 10, "the draw does not change from epoch to epoch"


def test_a_batch_has_the_opinion_score_of_each_patch():
    image, targets = np.repeat([0, 1], [3, 2]), np.array([10.0, 20])
    patches = PatchSet(torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1), image, targets)
    for batch, wanted in patches.batches(replace(RECIPE, batch_size=2), np.random.default_rng(0)):
        assert wanted.tolist() == targets[image[batch.flatten().numpy()]].tolist()


def test_the_parts_are_disjoint_in_content_and_follow_the_releases_own_split():
    database = load_database("live_gblur_mini")
    parts = split_parts(database, seed=0)
    contents = {part: set(database.index["content"][parts == part]) for part in ("train", "validation", "test")}
    assert all(contents.values()) and sum(map(len, contents.values())) == 3
    index = database.index.assign(split=["training"] * 10 + ["validation"] * 2 + ["test"] * 3)
    assert (split_parts(replace(database, index=index), seed=5) == ["train"] * 10 + ["validation"] * 2 + ["test"] * 3).all()


def test_a_split_without_validation_part_takes_it_from_the_training_part():
    database = load_database("livec_mini")
    index = database.index.assign(split=["train"] * 100 + ["test"] * 50)
    parts = split_parts(replace(database, index=index), seed=1)
    assert (parts[100:] == "test").all() and (parts[:100] == "validation").sum() == 20


def test_training_learns_and_writes_its_folder(tmp_path):
    """Blurred photographs with opinions: a few epochs order the blur of an unseen content."""
    database = load_database("live_gblur_mini")
    model = new_model()
    report = train(model, database, replace(RECIPE, epochs=6, patches_per_image=32), tmp_path, progress=False)
    assert report["srocc"] > 0.8 and report["n"] == 5 and report["part"] == "test"
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "split.csv", "history.csv", "checkpoint.pt",
                                                          "weights.pt", "scores.csv", "report.json"}
    scores = pd.read_csv(tmp_path / "scores.csv")
    again = CNNIQA(parameters=tmp_path / "weights.pt").eval()
    value = again(load_image(database.root / scores["image"][0])).item()
    assert value == pytest.approx(scores["score"][0], rel=1e-4)
    assert scores["score"].between(0, 100).all(), "the scores are on the scale of the opinion scores"
    loss = pd.read_csv(tmp_path / "history.csv")["loss"]
    assert loss.iloc[-1] < 0.8 * loss.iloc[0]


def test_one_seed_gives_one_result_and_another_seed_another(tmp_path):
    database = load_database("live_gblur_mini")
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(new_model(seed), database, replace(RECIPE, epochs=1, seed=seed), tmp_path / name, progress=False)
        weights.append(torch.load(tmp_path / name / "weights.pt", weights_only=True)["fc1.weight"])
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_another_run_in_the_folder_is_refused_and_a_finished_one_read(tmp_path):
    database = load_database("live_gblur_mini")
    report = train(new_model(), database, RECIPE, tmp_path, progress=False)
    written = (tmp_path / "weights.pt").stat().st_mtime_ns
    model = new_model(7)
    assert train(model, database, RECIPE, tmp_path, progress=False) == report
    assert (tmp_path / "weights.pt").stat().st_mtime_ns == written
    assert torch.equal(model.fc3.bias, torch.load(tmp_path / "weights.pt", weights_only=True)["fc3.bias"])
    with pytest.raises(ValueError, match="another recipe; choose another folder"):
        train(new_model(), database, replace(RECIPE, epochs=3), tmp_path, progress=False)


def test_a_database_without_human_scores_is_refused(tmp_path):
    with pytest.raises(ValueError, match="call it a proxy"):
        train(new_model(), load_database("embedded"), RECIPE, tmp_path, progress=False)


def test_a_killed_run_resumes_to_the_same_weights(tmp_path):
    """kill -9 after the first epochs, then the same command again: bit for bit the weights of an undisturbed run."""
    def command(name: str) -> list[str]:
        return [sys.executable, "-m", "iqa_lab.cli", "train", "cnniqa", "--database", "live_gblur_mini", "--epochs", "5",
                "--output", str(tmp_path / name)]

    subprocess.run(command("whole"), check=True, capture_output=True)
    killed = subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    history = tmp_path / "killed" / "history.csv"
    while not history.is_file() and killed.poll() is None:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "report.json").exists(), "the run ended before it could be killed"
    done = subprocess.run(command("killed"), check=True, capture_output=True, text=True)
    assert "srocc" in done.stdout and len(pd.read_csv(history)) == 5
    states = [torch.load(tmp_path / name / "weights.pt", weights_only=True) for name in ("whole", "killed")]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("whole", "killed")]
    assert reports[0] == reports[1]


def test_every_recipe_names_its_source_and_unknown_ones_get_a_hint():
    assert all(recipe.source for modes in RECIPES.values() for recipe in modes.values())
    with pytest.raises(ValueError, match="can be trained"):
        find_recipe("ssim", "fast")
    with pytest.raises(ValueError, match="fast or full"):
        find_recipe("cnniqa", "quick")
