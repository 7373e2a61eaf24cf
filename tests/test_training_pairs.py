"""Training on whole images with references, and on comparisons: the same places, the right direction, learning, resuming."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from iqa_lab import load_database
from iqa_lab.databases import quality
from iqa_lab.subjective.comparisons import within_rater_preferences
from iqa_lab.training import preferences
from iqa_lab.training.crops import ImageSet, load_images
from iqa_lab.training.loop import train
from iqa_lab.training.preferences import PreferenceSet
from iqa_lab.training.recipes import Recipe, find_recipe

CROPS = Recipe(epochs=3, batch_size=4, learning_rate=0.05, patches_per_image=2, source="tests", samples="crops")
PAIRS = replace(CROPS, samples="preferences", batch_size=8, comparisons_per_epoch=24)


class Sharpness(nn.Module):
    """A network with two parameters: how much sharper the reference is than the image, times a slope, plus an offset."""

    patch_size, higher_is_better = 32, False

    def __init__(self):
        super().__init__()
        self.slope, self.offset = nn.Parameter(torch.tensor(0.01)), nn.Parameter(torch.tensor(0.0))

    def forward(self, distorted, reference):
        def edges(image):
            return image.diff(dim=-1).abs().mean((-3, -2, -1))

        return self.slope * (edges(reference) - edges(distorted)) / edges(reference).clamp_min(1e-3) + self.offset

    def rescale_output(self, mean, scale):
        with torch.no_grad():
            self.slope *= scale
            self.offset.copy_(scale * self.offset + mean)

    def extra_repr(self):
        return "of tests"


class Regression(Sharpness):
    def loss(self, distorted, reference, targets):
        return (self(distorted, reference).mean(1) - targets).square().mean()


class Choice(Sharpness):
    def __init__(self):
        super().__init__()
        self.projected = 0

    def loss(self, first, second, reference, preference):
        ahead = self(second, reference).mean(1) - self(first, reference).mean(1)
        return nn.functional.binary_cross_entropy_with_logits(ahead, preference)

    def project(self):
        self.projected += 1
        with torch.no_grad():
            self.slope.clamp_(min=0)


@pytest.fixture(scope="module")
def blurred() -> ImageSet:
    return load_images(load_database("live_gblur_mini"), np.arange(15), 32, progress=False)


def test_references_are_read_once_and_targets_are_the_index(blurred):
    assert len(blurred.images) == 15 and len({id(reference) for reference in blurred.references}) == 3
    assert blurred.targets.tolist() == load_database("live_gblur_mini").index["mos"].tolist()


def test_crops_of_image_and_reference_are_from_the_same_place():
    image = torch.arange(40 * 50, dtype=torch.int64).view(1, 40, 50).expand(3, -1, -1) % 251
    images = ImageSet([image.to(torch.uint8)] * 6, [(250 - image).to(torch.uint8)] * 6, np.arange(6.0), 32)
    seen = []
    for mirrored in (False, True):
        recipe = replace(CROPS, patches_per_image=3, mirrored=mirrored)
        for distorted, reference, targets in images.batches(recipe, np.random.default_rng(1)):
            assert distorted.shape == (len(targets), 3, 3, 32, 32) and distorted.dtype == torch.uint8
            assert (distorted.int() + reference.int() == 250).all()
            rising = (distorted[:, :, 0, 0, 1].int() - distorted[:, :, 0, 0, 0].int()) % 251
            seen.append((mirrored, rising.unique().tolist()))
    assert {value for mirrored, values in seen if not mirrored for value in values} == {1}
    assert {value for mirrored, values in seen if mirrored for value in values} == {1, 250}


def test_an_epoch_shows_every_image_once_and_another_epoch_other_crops(blurred):
    epochs = [list(blurred.batches(CROPS, np.random.default_rng(seed))) for seed in (0, 0, 1)]
    targets = [torch.cat([batch[2] for batch in epoch]) for epoch in epochs]
    assert sorted(targets[0].tolist()) == sorted(blurred.targets.tolist())
    assert torch.equal(epochs[0][0][0], epochs[1][0][0]) and not torch.equal(epochs[0][0][0], epochs[2][0][0])


def test_scores_are_those_of_the_model_on_each_whole_image(blurred):
    model = Regression()
    scores = blurred.scores(model)
    alone = [model(image[None] / 255, reference[None] / 255).item() for image, reference in
             zip(blurred.images, blurred.references)]
    np.testing.assert_allclose(scores, alone, rtol=1e-5)
    assert blurred.validate(model) > 0.5, "more blur, a larger DMOS"


def test_a_network_learns_opinion_scores_of_pairs_of_images(tmp_path):
    report = train(Regression(), load_database("live_gblur_mini"), replace(CROPS, epochs=30), tmp_path, progress=False)
    assert report["srocc"] > 0.8 and report["rmse"] < 25
    history = pd.read_csv(tmp_path / "history.csv")
    assert list(history) == ["epoch", "loss", "validation_srocc", "test_srocc"] and len(history) == 30
    assert history["validation_srocc"][report["best_epoch"] - 1] == history["validation_srocc"].max()
    assert report["test_srocc_if_chosen_on_test"] == pytest.approx(history["test_srocc"].max())
    assert report["test_srocc"] == pytest.approx(report["srocc"])
    assert pd.read_csv(tmp_path / "scores.csv")["score"].between(0, 110).all(), "the scale of the opinion scores"


def test_the_two_afc_score_counts_people_who_agree(blurred):
    class Given(nn.Module):
        higher_is_better = False

        def __init__(self, values):
            super().__init__()
            self.values, self.device_of = values, nn.Parameter(torch.zeros(1))

    pairs = PreferenceSet(blurred, np.array([0, 1, 2]), np.array([1, 2, 0]), np.array([0.8, 0.8, 0.8]))
    object.__setattr__(pairs, "scores", lambda model: model.values)
    # Lower is better: right about the first pair, wrong about the second, undecided about the third.
    assert pairs.validate(Given(np.array([0.3, 0.5, 0.3]))) == pytest.approx((0.8 + 0.2 + 0.5) / 3)


def test_preferences_come_from_each_person_alone():
    ratings = pd.DataFrame([[10, 20, 30, 5], [90, 80, np.nan, 5], [50, 50, 60, 5]], columns=list("abcd"))
    pairs = within_rater_preferences(ratings, pd.Series(["x", "x", "x", "y"])).set_index(["first", "second"])
    assert len(pairs) == 3
    assert pairs.loc[("a", "b")].tolist() == [pytest.approx(1.5 / 3), 3]
    assert pairs.loc[("a", "c")].tolist() == [0, 2] and pairs.loc[("b", "c")].tolist() == [0, 2]
    stretched = ratings.mul([2, 0.1, 30], axis=0).add([0, 5, -7], axis=0)
    pd.testing.assert_frame_equal(within_rater_preferences(stretched, pd.Series(["x", "x", "x", "y"])).set_index(
        ["first", "second"]), pairs)


@pytest.fixture
def rated(monkeypatch):
    """live_gblur_mini as three simulated people would rate it, who differ in scale and zero alone."""
    database = load_database("live_gblur_mini")
    opinion = quality(database, database.index["mos"].to_numpy(float))
    ratings = pd.DataFrame([opinion, 0.5 * opinion + 3, 2 * opinion - 40], columns=database.index["image"])
    monkeypatch.setattr(preferences, "load_ratings", lambda name: ratings)
    return database


def test_comparisons_stay_inside_a_content_and_a_part(rated):
    rows = np.arange(2, 13)
    pairs = preferences.load_preferences(rated, rows, 32, progress=False)
    contents = rated.index["content"].to_numpy()[rows]
    assert (contents[pairs.first] == contents[pairs.second]).all() and len(pairs.first) < 11 * 10 / 2
    better = quality(rated, rated.index["mos"].to_numpy(float))[rows]
    assert (pairs.preference == (better[pairs.first] > better[pairs.second])).all()


def test_a_network_learns_from_comparisons_and_keeps_its_sign(rated, tmp_path):
    model = Choice()
    report = train(model, rated, replace(PAIRS, epochs=6), tmp_path, progress=False)
    assert report["test_2afc"] == 1 and report["srocc"] == pytest.approx(1) and model.slope > 0.1
    assert model.projected == 6 * -(-10 // 8), "after each step of each epoch"
    assert list(pd.read_csv(tmp_path / "history.csv")) == ["epoch", "loss", "validation_2afc", "test_2afc"]


def test_a_part_without_comparisons_is_refused(rated):
    with pytest.raises(ValueError, match="Expected comparisons between 1 images of live_gblur_mini, got none"):
        preferences.load_preferences(rated, np.array([0]), 32, progress=False)


def test_the_learning_rate_falls_at_the_end(rated, tmp_path, monkeypatch):
    from iqa_lab.training import loop

    rates, run_epoch = [], loop.run_epoch

    def watched(model, optimiser, *rest):
        loss = run_epoch(model, optimiser, *rest)
        rates.append(optimiser.param_groups[0]["lr"])
        return loss

    monkeypatch.setattr(loop, "run_epoch", watched)
    train(Choice(), rated, replace(PAIRS, epochs=6, learning_rate=1.0, decay_epochs=3), tmp_path, progress=False)
    assert rates == pytest.approx([1, 1, 1, 0.75, 0.5, 0.25])


def test_a_network_that_cannot_learn_standardised_scores_gets_them_from_0_to_1(tmp_path):
    class Shares(Regression):
        targets_from_0_to_1 = True
        seen = []

        def loss(self, distorted, reference, targets):
            self.seen.extend(targets.tolist())
            return super().loss(distorted, reference, targets)

    train(Shares(), load_database("live_gblur_mini"), replace(CROPS, epochs=1), tmp_path, progress=False)
    assert min(Shares.seen) == 0 and max(Shares.seen) == 1


@pytest.mark.parametrize("model", ["deepqa", "diqam_fr"])
def test_the_command_trains_networks_on_pairs_of_images(model, tmp_path):
    from typer.testing import CliRunner

    from iqa_lab import create_metric, load_image
    from iqa_lab.cli import app

    database = load_database("live_gblur_mini")
    result = CliRunner().invoke(app, ["train", model, "--database", "live_gblur_mini", "--epochs", "1", "--output", str(tmp_path)])
    assert result.exit_code == 0 and "weights.pt" in result.output, result.output
    options = find_recipe(model, "fast").options
    assert all(f"{name}={value!r}" in result.output for name, value in options.items())
    metric = create_metric(model, parameters=tmp_path / "weights.pt", **options)
    row = pd.read_csv(tmp_path / "scores.csv").iloc[0]
    reference = database.index.set_index("image").loc[row["image"], "reference"]
    score = metric(*(load_image(database.root / name) for name in (row["image"], reference)))
    assert score.item() == pytest.approx(row["score"], rel=1e-3) and "random" not in metric.name


def test_the_heads_of_lpips_are_trained_on_comparisons(rated, tmp_path):
    from iqa_lab import create_metric
    from iqa_lab.training.networks import new_network

    torch.manual_seed(0)
    recipe = replace(find_recipe("lpips_squeeze", "fast"), epochs=2, batch_size=10, decay_epochs=1)
    report = train(new_network("lpips_squeeze", recipe), rated, recipe, tmp_path, progress=False)
    assert report["test_2afc"] > 0.8, "five blurred versions, in order by any positive weights"
    metric = create_metric("lpips_squeeze", parameters=tmp_path / "weights.pt")
    assert metric.name == "lpips_squeeze" and all((head >= 0).all() for head in metric.heads.values())


def test_a_network_without_references_gets_crops_and_the_types_of_the_whole_database():
    from iqa_lab.training.loop import load_part
    from iqa_lab.training.networks import new_network, types_of

    database, photos = load_database("live_gblur_mini"), load_database("livec_mini")
    assert types_of("iqacnnpp", database) == {"n_types": 1} and types_of("iqacnnpp", photos) == {"n_types": 0}
    assert types_of("meon", photos) == types_of("wadiqam_nr", database) == {}
    named = replace(database, index=database.index.assign(distortion=["blur", "noise", None] * 5))
    recipe = replace(find_recipe("iqacnnpp", "fast"), patches_per_image=2, options=types_of("iqacnnpp", named))
    model = new_network("iqacnnpp", recipe)
    crops, targets, types = next(load_part(model, named, np.arange(3, 7), recipe, progress=False).batches(
        recipe, np.random.default_rng(0)))
    assert crops.shape == (4, 2, 3, 32, 32) and targets.shape == (4,) and sorted(types.tolist()) == [-1, 0, 0, 1]
    loss = model.loss(crops / 255, targets.float(), types)
    assert loss.isfinite()


class TwoGroups(Regression):
    def parameter_groups(self):
        return [{"params": [self.slope]}, {"params": [self.offset], "rate_ratio": 10}]


def test_groups_have_their_own_rates_and_the_rate_falls_to_a_tenth(tmp_path, monkeypatch):
    from iqa_lab.training import loop

    rates, run_epoch = [], loop.run_epoch

    def watched(model, optimiser, *rest):
        loss = run_epoch(model, optimiser, *rest)
        rates.append([group["lr"] for group in optimiser.param_groups])
        return loss

    monkeypatch.setattr(loop, "run_epoch", watched)
    recipe = replace(CROPS, epochs=5, tenth_every=2, learning_rate=1e-3, optimiser="sgd", betas=(0.9, 0.0))
    train(TwoGroups(), load_database("live_gblur_mini"), recipe, tmp_path, progress=False)
    np.testing.assert_allclose(rates, [[1e-3, 1e-2]] * 2 + [[1e-4, 1e-3]] * 2 + [[1e-5, 1e-4]])


def test_a_renewed_optimiser_forgets_its_second_group_after_the_first_epoch(tmp_path):
    offsets = []

    class Watched(TwoGroups):
        def loss(self, *batch):
            offsets.append(self.offset.item())
            return super().loss(*batch)

    recipe = replace(CROPS, epochs=3, batch_size=9, learning_rate=0.01, renewed_optimiser=True, chosen_on="test")
    report = train(Watched(), load_database("live_gblur_mini"), recipe, tmp_path, progress=False)
    assert offsets[0] != offsets[1] == offsets[2], "one step an epoch; the second and the third left it alone"
    assert report["chosen_on"] == "test" and report["test_srocc"] == report["test_srocc_if_chosen_on_test"]
