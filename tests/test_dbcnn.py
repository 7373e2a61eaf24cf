"""DB-CNN: bilinear pooling against slow loops, the authors' forward pass, both stages of training, files of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from test_scnn import MEAN, STD, official_features
from torch import nn
from torchvision import models

from iqa_lab.backbones.checkpoints import read_state
from iqa_lab.backbones.weights import find_weights
from iqa_lab.no_reference.dbcnn import DBCNN, bilinear_pooling

SMALL = {"backbone": "squeezenet", "layer": "fire3"}


def network(**options) -> DBCNN:
    torch.manual_seed(0)
    return DBCNN(**SMALL | {"parameters": "random"} | options).eval()


def maps(n: int, channels: int, height: int, width: int, *, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, channels, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def slow_resize(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with corners on corners, one axis after the other, by NumPy's interpolation."""
    for axis, size in enumerate((height, width)):
        places = np.linspace(0, values.shape[axis] - 1, size)
        values = np.apply_along_axis(lambda line: np.interp(places, np.arange(len(line)), line), axis, values)
    return values


def slow_pooling(v: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Pair by pair, for one image."""
    products = []
    for first in v:
        for second in s:
            product = np.mean(first * slow_resize(second, *first.shape))
            products.append(np.copysign(np.sqrt(abs(product) + 1e-8), product))
    return np.array(products) / np.linalg.norm(products)


@pytest.mark.parametrize("size", [(4, 5), (3, 7), (8, 2)])
def test_pooling_equals_slow_loops(size):
    v, s = maps(2, 3, 4, 5), maps(2, 4, *size, seed=1)
    expected = np.stack([slow_pooling(*pair) for pair in zip(v.numpy(), s.numpy())])
    np.testing.assert_allclose(bilinear_pooling(v, s).numpy(), expected, rtol=1e-9, atol=1e-12)
    assert (expected < 0).any()  # the root keeps the sign


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(0, 1000))
def test_where_something_is_does_not_matter(channels, others, side, seed):
    v, s = maps(1, channels, side, side, seed=seed).abs(), maps(1, others, side, side, seed=seed + 1).abs()
    order = torch.randperm(side**2, generator=torch.Generator().manual_seed(seed))
    shuffled = [x.flatten(2)[:, :, order].view_as(x) for x in (v, s)]
    pooled = bilinear_pooling(v, s)
    torch.testing.assert_close(bilinear_pooling(*shuffled), pooled)
    assert pooled.shape == (1, channels * others) and pooled.norm().item() == pytest.approx(1)


def test_gradcheck_and_dead_maps():
    v, s = (0.5 + maps(2, 2, 3, 3, seed=seed).abs() for seed in (0, 1))
    assert torch.autograd.gradcheck(bilinear_pooling, (v.requires_grad_(), s.requires_grad_()))
    dead = torch.zeros(1, 2, 3, 3, requires_grad=True)
    pooled = bilinear_pooling(dead, torch.zeros(1, 2, 3, 3))
    pooled.sum().backward()
    assert dead.grad.isfinite().all() and pooled.isfinite().all()


@pytest.fixture(scope="module")
def official(tmp_path_factory) -> tuple[Path, dict[str, torch.Tensor]]:
    """A file in the authors' layout: VGG-16 without its last pooling, S-CNN's convolutions, the last layer."""
    torch.manual_seed(0)
    vgg16 = models.vgg16(weights=None).features[:-1]
    scnn = {key: value for key, value in read_state(find_weights("dbcnn_scnn")).items() if key.startswith("features.")}
    state = {**{f"features1.{key}": 1.5 * value for key, value in vgg16.state_dict().items()},
             **{f"features2.{key.removeprefix('features.')}": value for key, value in scnn.items()},
             "fc.weight": torch.randn(1, 512 * 128), "fc.bias": torch.randn(1)}
    path = tmp_path_factory.mktemp("dbcnn") / "official.pkl"
    torch.save({f"module.{key}": value for key, value in state.items()}, path)
    return path, state


def authors_forward(state: dict[str, torch.Tensor], image: torch.Tensor) -> torch.Tensor:
    """The steps of the code, with torchvision's VGG-16 and a plain S-CNN."""
    vgg16 = models.vgg16(weights=None).features[:-1].eval()
    part = {key.removeprefix("features1."): value for key, value in state.items() if key.startswith("features1.")}
    vgg16.load_state_dict(part)
    x = (image - MEAN) / STD
    v, s = vgg16(x), official_features({key.replace("features2.", "features."): value for key, value in state.items()})(x)
    if v.shape[2:] != s.shape[2:]:
        s = F.interpolate(s, v.shape[2:], mode="bilinear", align_corners=True)
    products = torch.einsum("nchw,ndhw->ncd", v, s) / v[0, 0].numel()
    roots = torch.sqrt(products.flatten(1) + 1e-8)
    return (roots / roots.norm(dim=1, keepdim=True)) @ state["fc.weight"][0] + state["fc.bias"]


def test_the_authors_layout_gives_the_authors_forward_pass(official):
    path, state = official
    system = DBCNN.from_official(path).eval()
    assert count(system.backbone) == 14_714_688 and count(system.head) == 65_537
    assert count(system.scnn) == 529_648 + 2 * 736  # batch normalisation of 736 channels
    assert "UNTRAINED" not in repr(system) and "official.pkl" in repr(system)
    for size in ((48, 64), (50, 77)):  # maps of S-CNN of the same size, and larger ones
        image = torch.rand(2, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(system(image), authors_forward(state, image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("change, message", [
    (lambda s: s.pop("fc.bias"), "missing: bias"),
    (lambda s: s.update({"features1.30.weight": s.pop("features1.28.weight")}),
     "missing: conv5_3.weight.*features.30.weight"),
    (lambda s: s.update({"features2.28.bias": s.pop("features2.24.bias")}), "missing: 8.0.bias; unexpected: 9.1.bias"),
    (lambda s: s.update({"features3.0.bias": s["fc.bias"]}), "unexpected: features3"),
    (lambda s: s.update({"fc.weight": s["fc.weight"][:, :128]}), r"\(1, 128\) instead of \(1, 65536\)")])
def test_files_of_other_networks_are_refused(official, tmp_path, change, message):
    state = dict(official[1])
    change(state)
    torch.save(state, tmp_path / "other.pkl")
    with pytest.raises(ValueError, match=message):
        DBCNN.from_official(tmp_path / "other.pkl")


def test_a_score_depends_neither_on_batch_nor_parts(monkeypatch):
    model, images = network(), torch.rand(3, 3, 40, 50)
    together = model(images)
    torch.testing.assert_close(torch.cat([model(image[None]) for image in images]), together, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr("iqa_lab.backbones.features.NETWORK_PIXELS", 2 * 40 * 50)
    torch.testing.assert_close(model(images), together, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(images[:, :1]), model(images[:, :1].expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)
    assert model(images.double()).dtype == torch.float64
    with pytest.raises(ValueError, match="sides of 16"):
        model(images[..., :15])


def test_the_loss_is_the_squared_error_of_every_crop_and_the_output_can_be_rescaled():
    model, crops, targets = network(), torch.rand(2, 3, 3, 32, 32), torch.tensor([-0.5, 1.0])
    scores = model(crops.flatten(0, 1)).view(2, 3)
    expected = np.mean([(y.item() - t.item())**2 for row, t in zip(scores, targets) for y in row])
    assert model.loss(crops, targets).item() == pytest.approx(expected, rel=1e-4)
    model.rescale_output(50.0, 20.0)
    torch.testing.assert_close(model(crops.flatten(0, 1)).view(2, 3), 20 * scores + 50, rtol=1e-4, atol=1e-3)


def test_both_stages_train_what_they_say():
    model, crops = network(), torch.rand(2, 1, 3, 32, 32)
    for part, trained in (("head", {"head"}), ("all", {"head", "backbone", "scnn"})):
        model.train().set_trainable(part)
        assert model.backbone.training == model.scnn.training == (part == "all")
        before = {key: value.clone() for key, value in model.state_dict().items()}
        optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-3)
        model.loss(crops, torch.tensor([0.0, 1.0])).backward()
        optimiser.step()
        changed = {key.split(".")[0] for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
        assert changed == trained
    model.set_trainable("head")
    assert not model.backbone.training and not model.train().scnn.training
    with pytest.raises(ValueError, match="head, all"):
        model.set_trainable("fc")


def test_the_last_layer_learns_which_crops_are_blurred():
    model = network().train()
    sharp = torch.rand(6, 2, 3, 32, 32)
    blurred = F.avg_pool2d(sharp.flatten(0, 1), 5, 1, 2).view(sharp.shape)
    crops, targets = torch.cat((sharp, blurred)), torch.tensor([1.0] * 6 + [-1.0] * 6)
    optimiser, losses = torch.optim.Adam(model.head.parameters(), 1e-2), []
    for _ in range(8):
        loss = model.loss(crops, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 4
    scores = model.eval()(torch.cat((sharp[:, 0], blurred[:, 0])))
    assert scores[:6].min() > scores[6:].max()


def test_a_head_alone_and_a_whole_state_are_loaded(tmp_path):
    model, image = network(), torch.rand(1, 3, 40, 40)
    head = {key: value for key, value in model.state_dict().items() if key.startswith("head.")}
    torch.save(head, tmp_path / "head.pt")
    torch.save(model.state_dict(), tmp_path / "whole.pt")
    assert (tmp_path / "head.pt").stat().st_size < 5e6
    own = network(parameters=tmp_path / "head.pt")
    whole = network(parameters=tmp_path / "whole.pt", weights="random", scnn="random")
    assert torch.equal(own(image), model(image)) and torch.equal(whole(image), model(image))
    assert "UNTRAINED" not in repr(own) + repr(whole) and "head.pt" in repr(own)
    torch.save({"head.weight": head["head.weight"]}, tmp_path / "half.pt")
    with pytest.raises(ValueError, match="missing: bias"):
        network(parameters=tmp_path / "half.pt")


def test_what_is_random_is_said_and_what_is_missing_explained():
    with pytest.raises(FileNotFoundError, match="S-CNN alone.*from_official.*parameters='random'"):
        DBCNN()
    assert "UNTRAINED" in repr(network()) and "UNTRAINED" in repr(network(scnn="random").scnn)
    assert network(scnn="random").scnn.untrained and not network().scnn.untrained
    image = torch.rand(1, 3, 32, 32)
    assert not torch.allclose(network(scnn="random").pooled_products(image), network().pooled_products(image), atol=1e-4)
    assert network(patch_size=96).patch_size == 96 and network().patch_size == 448


def test_the_row_with_the_installed_backbone_has_a_small_head():
    model = DBCNN(backbone="efficientnet_lite0", layer="head", parameters="random").eval()
    assert count(model.head) == 1280 * 128 + 1
    pooled = model.pooled_products(torch.rand(1, 3, 64, 64))
    assert pooled.min() > 0 and pooled.norm().item() == pytest.approx(1, rel=1e-5)  # both maps end with an activation
    linear = DBCNN(backbone="efficientnet_lite0", layer="block15", parameters="random").eval()
    assert linear.pooled_products(torch.rand(1, 3, 64, 64)).min() < 0
