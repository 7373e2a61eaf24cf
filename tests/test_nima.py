"""NIMA: the specification's and published numbers of its distances, real votes as distributions, and the network's parts."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import wasserstein_distance
from torch import nn

from iqa_lab.backbones import features
from iqa_lab.no_reference import nima
from iqa_lab.no_reference.nima import NIMA, emd, mean_and_deviation
from iqa_lab.subjective.distributions import rating_distributions

SMALL = {"backbone": "squeezenet", "layer": "pool1", "weights": "random"}  # one convolution, 64 maps
BINS = torch.arange(1.0, 11, dtype=torch.float64)
GOLDEN_P = torch.tensor([[0, 0, 0.1, 0.2, 0.4, 0.2, 0.1, 0, 0, 0]], dtype=torch.float64)
GOLDEN_Q = torch.tensor([[0, 0.05, 0.1, 0.25, 0.3, 0.15, 0.1, 0.05, 0, 0]], dtype=torch.float64)
COUNTS = st.lists(st.integers(0, 50), min_size=10, max_size=10).filter(any)


def network(**options) -> NIMA:
    torch.manual_seed(0)
    return NIMA(**SMALL | {"parameters": "random"} | options).double().eval()


def photos(n: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height + width)
    return torch.rand(n, 3, height, width, generator=generator, dtype=torch.float64)


def shares(counts: list[int]) -> torch.Tensor:
    return torch.tensor([counts], dtype=torch.float64) / sum(counts)


@pytest.fixture(scope="module")
def labels() -> Path:
    if "IQA_LAB_DATA" not in os.environ:
        pytest.skip("the published labels and predictions are not on this machine: IQA_LAB_DATA is not set")
    return Path(os.environ["IQA_LAB_DATA"]) / "weights" / "nima_labels"


def test_the_numbers_of_the_specification():
    assert emd(GOLDEN_P, GOLDEN_Q, r=2).item() == pytest.approx(0.044721360, abs=5e-10)
    assert emd(GOLDEN_P, GOLDEN_Q).item() == pytest.approx(0.03, abs=1e-12)
    mean, deviation = mean_and_deviation(GOLDEN_P, BINS)
    assert mean.item() == pytest.approx(5) and deviation.item() == pytest.approx(1.09545, abs=5e-6)


@given(COUNTS, COUNTS)
def test_distances_of_any_two_distributions(first, second):
    p, q = shares(first), shares(second)
    moved = wasserstein_distance(BINS, BINS, first, second)
    assert emd(p, q).item() == pytest.approx(moved / 10, abs=1e-9)
    gaps = [sum(p[0, :k + 1].tolist()) - sum(q[0, :k + 1].tolist()) for k in range(10)]
    assert emd(p, q, r=2).item() == pytest.approx((sum(gap**2 for gap in gaps) / 10) ** 0.5, abs=1e-9)
    assert emd(p, p).item() == emd(p, p, r=2).item() == 0


@given(COUNTS)
def test_mean_and_deviation_are_those_of_the_single_votes(counts):
    votes = np.repeat(np.arange(1, 11), counts)
    mean, deviation = mean_and_deviation(shares(counts), BINS)
    assert mean.item() == pytest.approx(votes.mean(), abs=1e-9)
    assert deviation.item() == pytest.approx(votes.std(), abs=1e-6)


def test_the_distance_knows_the_order_of_the_bins_and_its_gradient_is_finite():
    one, next_to_it, far = (F.one_hot(torch.tensor([k]), 10).double() for k in (0, 1, 9))
    assert emd(one, far).item() == pytest.approx(9 * emd(one, next_to_it).item()) == pytest.approx(0.9)
    for r in (1, 2):
        p = GOLDEN_P.clone().requires_grad_()
        emd(p, GOLDEN_P, r=r).sum().backward()
        assert p.grad.isfinite().all()
        assert torch.autograd.gradcheck(lambda p, r=r: emd(p, GOLDEN_Q, r=r), (GOLDEN_P.roll(2) + 0.01).requires_grad_())


def test_the_means_that_a_port_printed_for_ava(labels):
    """Means of 1277 images' votes, printed with three decimals beside the predictions of a VGG-16 (preds.txt)."""
    votes = {row["image_id"]: row["label"] for row in json.loads((labels / "ava_labels_test.json").read_text())}
    printed = re.findall(r"(\d+) mean: \S+ \| std: \S+ \| GT: (\S+)", (labels / "preds.txt").read_text())
    common = [(votes[image], float(mean)) for image, mean in printed if image in votes]
    counts = torch.tensor([count for count, _ in common], dtype=torch.float64)
    mean, _ = mean_and_deviation(counts / counts.sum(1, keepdim=True), BINS)
    assert len(common) == 1277
    np.testing.assert_allclose(mean, [value for _, value in common], rtol=0, atol=5.1e-4)  # rounded to three decimals


def test_the_labels_that_a_port_made_for_tid2013_count_from_0(labels):
    """Their mean is the official MOS over the bins 0 to 9; over 1 to 10 it is one too large."""
    lines = (labels.parent.parent / "images" / "tid2013" / "mos_with_names.txt").read_text().split()
    official = {name.lower().removesuffix(".bmp"): float(mos) for mos, name in zip(lines[::2], lines[1::2], strict=True)}
    rows = [row for part in ("test", "train") for row in json.loads((labels / f"tid_labels_{part}.json").read_text())]
    distributions = torch.tensor([row["label"] for row in rows], dtype=torch.float64)
    expected = torch.tensor([official[row["image_id"].lower()] for row in rows], dtype=torch.float64)
    assert len(rows) == 3000
    torch.testing.assert_close(mean_and_deviation(distributions, BINS - 1)[0], expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(mean_and_deviation(distributions, BINS)[0], expected + 1, rtol=0, atol=1e-4)


@given(st.lists(COUNTS, min_size=1, max_size=3))
def test_votes_from_1_to_10_are_counted(rows):
    votes = [np.repeat(np.arange(1.0, 11), counts) for counts in rows]
    ratings = np.full((max(map(len, votes)), len(rows)), np.nan)  # persons, images
    for image, given_votes in enumerate(votes):
        ratings[:len(given_votes), image] = given_votes
    expected = [np.array(counts) / sum(counts) for counts in rows]
    np.testing.assert_allclose(rating_distributions(ratings, low=1, high=10), expected, atol=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(-100, 100), st.floats(0.5, 100))
def test_distributions_keep_the_mean_on_any_scale(shares_of_scale, low, span):
    ratings = low + span * np.array(shares_of_scale)
    ratings = ratings.clip(low, low + span)
    found = rating_distributions(ratings[:, None], low=low, high=low + span)
    assert found.shape == (1, 10) and found.min() >= 0 and found.sum() == pytest.approx(1)
    model_bins = low + span / 9 * (BINS - 1)  # as rescale_output(low - span / 9, span / 9) makes them
    mean, deviation = mean_and_deviation(torch.from_numpy(found), model_bins)
    assert mean.item() == pytest.approx(ratings.mean(), abs=1e-9 * (1 + abs(low) + span))
    extra = deviation.item() ** 2 - ratings.var()  # at most that of a rating half-way between two bins
    assert -1e-6 * (1 + low**2 + span**2) <= extra <= (span / 18) ** 2 + 1e-6 * (1 + low**2 + span**2)


def test_ratings_that_make_no_distribution_are_refused():
    with pytest.raises(ValueError, match="nobody rated"):
        rating_distributions([[1.0, np.nan], [2.0, np.nan]], low=1, high=5)
    with pytest.raises(ValueError, match=r"\(persons, images\)"):
        rating_distributions([1.0, 2.0], low=1, high=5)
    with pytest.raises(ValueError, match="from 1 to 5, got 0.5 to 2"):
        rating_distributions([[0.5], [2.0]], low=1, high=5)


def test_what_the_last_layer_sees_of_each_backbone(monkeypatch):
    monkeypatch.setattr(features, "initialise", lambda network: None)  # VGG-16 has 138 million numbers; none matters here
    sizes = {("vgg16", None): 4096, ("vgg16", "flatten"): 25_088, ("vgg16", "pool5"): 512,
             ("efficientnet_lite0", None): 1280, ("squeezenet", None): 512}
    for (backbone, layer), size in sizes.items():
        model = NIMA(backbone=backbone, layer=layer, weights="random", parameters="random")
        assert sum(parameter.numel() for parameter in model.head.parameters()) == 10 * (size + 1), backbone
    assert NIMA.__init__.__kwdefaults__["backbone"] == "vgg16"


def test_a_distribution_of_a_slow_network():
    image, model = photos(2, 40, 52), network(squeezed=False)
    maps = model.backbone(image)["pool1"].numpy()
    weight, bias = (part.detach().numpy() for part in (model.head.weight, model.head.bias))
    for one, found, mean in zip(maps, model.distribution(image).detach().numpy(), model(image), strict=True):
        powers = np.exp(weight @ one.reshape(64, -1).mean(1) + bias)
        np.testing.assert_allclose(found, powers / powers.sum(), rtol=1e-10)
        assert mean.item() == pytest.approx(np.arange(1, 11) @ powers / powers.sum(), rel=1e-6)


def test_images_are_squeezed_as_pillow_squeezes_them():
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    picture = np.asarray(Image.fromarray(pixels).resize((224, 224), Image.Resampling.BILINEAR))
    whole, small = (torch.from_numpy(array / 255).permute(2, 0, 1)[None] for array in (pixels, picture))
    squeezed, not_squeezed = network(), network(squeezed=False)
    expected = not_squeezed.distribution(small)
    torch.testing.assert_close(squeezed.distribution(whole), expected, rtol=0, atol=1e-3)  # Pillow rounds to 8 bits
    torch.testing.assert_close(squeezed.distribution(small), expected)
    assert (not_squeezed.distribution(whole) - expected).abs().max() > 1e-3


def test_both_losses():
    crops, model = photos(6, 32, 32).view(2, 3, 3, 32, 32), network()
    p = model.logits(crops.flatten(0, 1)).softmax(1).detach().view(2, 3, 10).numpy()
    q = torch.cat((GOLDEN_P, GOLDEN_Q)).numpy()
    distances = [np.sqrt(np.mean((np.cumsum(p[i, j]) - np.cumsum(q[i])) ** 2)) for i in range(2) for j in range(3)]
    assert model.loss(crops, torch.from_numpy(q)).item() == pytest.approx(np.mean(distances), rel=1e-10)
    surprise = np.mean([-(q[i] * np.log(p[i, j])).sum() for i in range(2) for j in range(3)])
    assert network(cross_entropy=True).loss(crops, torch.from_numpy(q)).item() == pytest.approx(surprise, rel=1e-10)


@pytest.mark.parametrize("cross_entropy", [False, True])
def test_learning_lowers_the_loss(cross_entropy):
    model = network(cross_entropy=cross_entropy).float()
    crops = photos(8, 32, 32).float().view(4, 2, 3, 32, 32) * torch.tensor([1.0, 1.0, 0.2, 0.2]).view(4, 1, 1, 1, 1)
    targets = torch.cat((GOLDEN_P.roll(3), GOLDEN_P.roll(3), GOLDEN_P.roll(-2), GOLDEN_P.roll(-2))).float()
    optimiser, losses = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 0.1), []
    for _ in range(40):
        losses.append(model.loss(crops, targets))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert min(losses[-3:]) < 0.8 * losses[0]
    bright, dark = model(crops[:2, 0]), model(crops[2:, 0])
    assert bright.min() > dark.max()


def test_dropout_and_what_is_trained():
    image, model = photos(1, 32, 32), network()
    assert torch.equal(model(image), model(image))
    model.train()
    assert len({model(image).item() for _ in range(8)}) > 1 and not model.backbone.training
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == ["head.weight", "head.bias"]
    model.set_trainable("all")
    assert all(parameter.requires_grad for parameter in model.parameters()) and model.backbone.training
    with pytest.raises(ValueError, match="head, all"):
        model.set_trainable("bins")


def test_rescaling_moves_mean_and_deviation():
    image, model = photos(2, 64, 64), network()
    mean, deviation = model.mean_and_deviation(image)
    assert torch.equal(model(image), mean)
    model.rescale_output(-10.0, 12.0)
    torch.testing.assert_close(model(image), 12 * mean - 10)
    torch.testing.assert_close(model.mean_and_deviation(image)[1], 12 * deviation)


def test_neither_batch_nor_parts_matter(monkeypatch):
    image, model = photos(3, 64, 96), network(squeezed=False)
    together = model.distribution(image)
    torch.testing.assert_close(torch.cat([model.distribution(image[i:i + 1]) for i in range(3)]), together)
    monkeypatch.setattr(nima, "PIXELS", 1)
    torch.testing.assert_close(model.distribution(image), together)
    torch.testing.assert_close(model(image[:, :1]), model(image[:, :1].expand(-1, 3, -1, -1)))


@pytest.mark.parametrize("squeezed", [True, False])
def test_gradients_reach_the_image(squeezed):
    model = network(squeezed=squeezed)
    nn.init.normal_(model.head.weight, std=0.5)
    torch.manual_seed(0)
    assert torch.autograd.gradcheck(model, photos(1, 32, 33).requires_grad_(), fast_mode=True)
    flat = torch.full((1, 3, 40, 40), 0.4, dtype=torch.float64, requires_grad=True)
    model(flat).sum().backward()
    assert flat.grad.isfinite().all()


def test_a_file_needs_no_backbone_but_may_have_one(tmp_path):
    torch.manual_seed(0)
    model = NIMA(**SMALL, parameters="random").eval()
    model.rescale_output(3.0, 2.0)
    state, image = model.state_dict(), photos(1, 64, 64).float()
    torch.save(state, tmp_path / "whole.pt")
    loaded = NIMA(**SMALL, parameters=tmp_path / "whole.pt").eval()
    assert torch.equal(loaded(image), model(image)) and "UNTRAINED" not in repr(loaded)
    head = {key: value for key, value in state.items() if not key.startswith("backbone.")}
    assert set(head) == {"head.weight", "head.bias", "bins"}
    torch.save(head, tmp_path / "head.pt")
    loaded = NIMA(**SMALL, parameters=tmp_path / "head.pt").eval()
    assert torch.equal(loaded.bins, model.bins) and not torch.equal(loaded(image), model(image))  # another random backbone
    assert "UNTRAINED" in repr(loaded) and not loaded.untrained and loaded.backbone.untrained
    torch.save({**head, "strange": torch.zeros(1)}, tmp_path / "strange.pt")
    with pytest.raises(ValueError, match="unexpected: strange"):
        NIMA(**SMALL, parameters=tmp_path / "strange.pt")


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(FileNotFoundError, match="published no trained network"):
        NIMA()
    with pytest.raises(ValueError, match="vgg15"):
        NIMA(backbone="vgg15", parameters="random")
    with pytest.raises(ValueError, match="32 pixels"):
        network()(photos(1, 31, 64))
    assert "UNTRAINED" in repr(network())
