"""HyperIQA: the paper's sizes, the authors' forward pass layer by layer, crops, ablation, and the files of others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from test_scnn import MEAN, STD
from torch import nn
from torchvision import models

from iqa_lab.no_reference.hyperiqa import HyperIQA, crop_places, grid_crops
from iqa_lab.no_reference.hyperiqa_networks import MATRICES, VECTORS, WIDTHS, SameForAll, target_network

LITE0 = {"backbone": "efficientnet_lite0", "layers": ("block2", "block4", "block10", "block15")}
ABLATION = [{"multi_scale": scales, "hyper": hyper} for scales in (False, True) for hyper in (False, True)]


def network(**options) -> HyperIQA:
    torch.manual_seed(0)
    return HyperIQA(**LITE0 | {"parameters": "random", "crops_per_side": 2} | options).eval()


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def head(model: HyperIQA) -> dict[str, torch.Tensor]:
    return {key: value for key, value in model.state_dict().items() if not key.startswith("backbone.")}


def test_the_numbers_of_parameters_are_the_papers():
    model = HyperIQA(weights="random", parameters="random")
    writers = model.rules.matrices, model.rules.vectors
    assert count(model.content) == 475_360 and count(model.rules.reduce) == 2_680_432 and count(*writers) == 711_545
    assert count(model) - count(model.backbone) == 3_867_337
    assert count(model.backbone) == 23_508_032  # ResNet-50 without its classifier
    assert MATRICES == (25_088, 6_272, 1_568, 392) and sum(MATRICES) + sum(VECTORS) == 33_545
    image = torch.rand(1, 3, 224, 224)
    assert [tuple(maps.shape[1:]) for maps in model.backbone(image).values()] == [
        (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]
    assert model.generated_weights(image).shape == (1, 33_545)


@pytest.mark.parametrize("options", ABLATION, ids=str)
def test_the_ablation_takes_away_what_it_says(options):
    model = network(**options)
    assert len(model.content.fc) == (4 if options["multi_scale"] else 1)
    assert count(model.content) == (94_048 if options["multi_scale"] else 321 * 224)
    assert count(model.rules) == (784_857 if options["hyper"] else 33_545)
    one, other = torch.rand(2, 1, 3, 64, 64)
    weights, same, others = (model.generated_weights(image) for image in (one, one, other))
    assert torch.equal(weights, same)
    assert torch.equal(weights, others) != options["hyper"]
    assert not torch.equal(model(one), model(other)) and str(options["hyper"]) in repr(model)


def slow_target(content: np.ndarray, w: list[np.ndarray], b: list[np.ndarray]) -> float:
    """One crop, layer by layer."""
    x = content
    for k in range(5):
        x = w[k].reshape(len(b[k]), -1) @ x + b[k]
        x = 1 / (1 + np.exp(-x)) if k < 4 else x
    return x.item()


def test_the_target_network_equals_a_slow_one():
    random = np.random.default_rng(0)
    content = random.normal(size=(3, 224))
    w = [random.normal(size=(3, a * b)) / a**0.5 for a, b in zip(WIDTHS, WIDTHS[1:])]
    b = [random.normal(size=(3, n)) for n in WIDTHS[1:]]
    generated = torch.from_numpy(np.concatenate((*w[:4], *b[:4], w[4], b[4]), 1))
    expected = [slow_target(content[i], [x[i] for x in w], [x[i] for x in b]) for i in range(3)]
    np.testing.assert_allclose(target_network(torch.from_numpy(content), generated).numpy(), expected, rtol=1e-10)


def test_gradcheck_of_the_target_network():
    content = torch.rand(2, 224, dtype=torch.float64).requires_grad_()
    generated = (0.1 * torch.randn(2, 33_545, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(target_network, (content, generated), fast_mode=True)


def authors_state() -> dict[str, torch.Tensor]:
    """Returns random tensors with the names and shapes of the authors' file."""
    torch.manual_seed(0)
    resnet = models.resnet50(weights=None)
    state = {f"res.{key}": 0.2 * value if key.endswith("bn3.weight") else value  # or activations grow beyond all sigmoids
             for key, value in resnet.state_dict().items() if not key.startswith("fc.")}
    layers = {f"res.lda{k}_pool.0": nn.Conv2d(2**(7 + k), 2**(3 + k), 1, bias=False) for k in (1, 2, 3)}
    layers |= {f"res.lda{k}_fc": nn.Linear(n, 16 if k < 4 else 176) for k, n in ((1, 1024), (2, 512), (3, 256), (4, 2048))}
    layers |= {"conv1.0": nn.Conv2d(2048, 1024, 1), "conv1.2": nn.Conv2d(1024, 512, 1), "conv1.4": nn.Conv2d(512, 112, 1)}
    for k in range(1, 5):
        layers |= {f"fc{k}w_conv": nn.Conv2d(112, MATRICES[k - 1] // 49, 3, padding=1),
                   f"fc{k}b_fc": nn.Linear(112, WIDTHS[k])}
    layers |= {"fc5w_fc": nn.Linear(112, 14), "fc5b_fc": nn.Linear(112, 1)}
    gains = {"res": 10, "conv1": 3}  # so that every number matters for the score
    return state | {f"{name}.{key}": gains.get(name.split(".")[0], 5) * value for name, layer in layers.items()
                    for key, value in layer.state_dict().items()}


def authors_forward(s: dict[str, torch.Tensor], crop: torch.Tensor) -> float:
    """The steps of models.py for one crop of 224, each layer of the hyper network apart."""
    resnet = models.resnet50(weights=None).eval()
    resnet.load_state_dict({key.removeprefix("res."): value for key, value in s.items()}, strict=False)
    x, content = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1((crop - MEAN) / STD)))), []
    for k in (1, 2, 3, 4):
        x = getattr(resnet, f"layer{k}")(x)
        pooled = F.avg_pool2d(F.conv2d(x, s[f"res.lda{k}_pool.0.weight"]) if k < 4 else x, 7, stride=7)
        content.append(F.linear(pooled.reshape(1, -1), s[f"res.lda{k}_fc.weight"], s[f"res.lda{k}_fc.bias"]))
    for k in (0, 2, 4):
        x = F.relu(F.conv2d(x, s[f"conv1.{k}.weight"], s[f"conv1.{k}.bias"]))
    mean = x.mean((2, 3))
    w = [F.conv2d(x, s[f"fc{k}w_conv.weight"], s[f"fc{k}w_conv.bias"], padding=1).numpy() for k in (1, 2, 3, 4)]
    w.append(F.linear(mean, s["fc5w_fc.weight"], s["fc5w_fc.bias"]).numpy())
    b = [F.linear(mean, s[f"fc{k}b_fc.weight"], s[f"fc{k}b_fc.bias"])[0].numpy() for k in range(1, 6)]
    return slow_target(torch.cat(content, 1)[0].numpy(), w, b)


def pyiqa_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the same tensors by pyiqa's names."""
    names = {**{f"res.lda{k}_pool.0": f"lda_modules.{k - 1}.0" for k in (1, 2, 3)},
             **{f"res.lda{k}_fc": f"lda_modules.{k - 1}.{3 if k < 4 else 2}" for k in (1, 2, 3, 4)},
             **{f"fc{k}w_conv": f"fc_w_modules.{k - 1}" for k in (1, 2, 3, 4)}, "fc5w_fc": "fc_w_modules.4.2",
             **{f"fc{k}b_fc": f"fc_b_modules.{k - 1}.2" for k in (1, 2, 3, 4, 5)}}
    renamed = {}
    for key, value in state.items():
        layer, _, kind = key.rpartition(".")
        renamed[f"{names[layer]}.{kind}" if layer in names else key.replace("res.", "base_model.", 1)] = value
    return renamed


@torch.no_grad()
def test_both_known_layouts_give_the_authors_forward_pass(tmp_path):
    state, crops = authors_state(), torch.rand(2, 3, 224, 224)
    expected = [authors_forward(state, crop[None]) for crop in crops]
    torch.save(state, tmp_path / "koniq_pretrained.pkl")
    torch.save({"params": pyiqa_state(state)}, tmp_path / "pyiqa.pth")
    for file in ("koniq_pretrained.pkl", "pyiqa.pth"):
        model = HyperIQA.from_official(tmp_path / file).eval()
        np.testing.assert_allclose(model(crops).numpy(), expected, rtol=1e-4, atol=1e-5)
        assert "UNTRAINED" not in repr(model) and file in repr(model)
    assert abs(expected[0] - expected[1]) > 1e-3
    state["fc1w_convolution.weight"] = state.pop("fc1w_conv.weight")
    torch.save(state, tmp_path / "other.pkl")
    with pytest.raises(ValueError, match="missing: rules.matrices.weight; unexpected: fc1w_convolution.weight, fc2w_conv"):
        HyperIQA.from_official(tmp_path / "other.pkl")


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_crops_lie_from_border_to_border(count):
    image = torch.arange(2 * 300 * 401, dtype=torch.float64).view(2, 1, 300, 401)
    crops = grid_crops(image, count)
    assert crops.shape == (2, count**2, 1, 224, 224)
    if count == 1:
        assert torch.equal(crops[:, 0], image[:, :, 38:262, 88:312])
        return
    assert torch.equal(crops[:, 0], image[:, :, :224, :224]) and torch.equal(crops[:, -1], image[:, :, -224:, -224:])
    assert torch.equal(crops[:, count - 1], image[:, :, :224, -224:])  # row by row


@given(st.integers(32, 700), st.integers(1, 6))
def test_crops_are_evenly_spread_and_none_comes_twice(side, count):
    places = crop_places(side, count, torch.device("cpu"))
    starts = places[:, 0]
    assert places.shape[1] == min(side, 224) and (places.diff(dim=1) == 1).all()
    assert starts.unique().numel() == len(starts) == min(count, max(side - 224, 0) + 1)
    assert starts.min() >= 0 and places.max() < side
    steps = starts.diff()
    assert len(steps) == 0 or steps.max() - steps.min() <= 1


def test_the_score_is_the_mean_of_the_crops_and_depends_neither_on_batch_nor_parts(monkeypatch):
    model, images = network(), torch.rand(2, 3, 230, 226)
    together = model(images)
    alone = [[model.crop_scores(crop[None]) for crop in grid_crops(image[None], 2)[0]] for image in images]
    means = torch.stack([torch.cat(scores).mean() for scores in alone])
    torch.testing.assert_close(together, means, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr("iqa_lab.backbones.features.CROPS_AT_ONCE", 3)
    torch.testing.assert_close(model(images), together, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(images.double()), together.double(), rtol=1e-4, atol=1e-5)


def test_small_and_gray_images_are_taken_whole():
    model, image = network(), torch.rand(2, 1, 64, 96)
    torch.testing.assert_close(model(image), model.crop_scores(image.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="sides of 32"):
        model(torch.rand(1, 3, 31, 64))


def test_the_loss_is_the_absolute_error_of_every_crop():
    model, crops, targets = network(), torch.rand(2, 3, 3, 64, 64), torch.tensor([-0.5, 1.0])
    scores = model.crop_scores(crops.flatten(0, 1)).view(2, 3)
    expected = np.mean([abs(y.item() - t.item()) for row, t in zip(scores, targets) for y in row])
    assert model.loss(crops, targets).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("hyper", [True, False])
def test_rescaling_the_output_scales_the_scores(hyper):
    model, crops = network(hyper=hyper), torch.rand(3, 3, 64, 64)
    before = model.crop_scores(crops)
    model.rescale_output(50.0, 20.0)
    torch.testing.assert_close(model.crop_scores(crops), 20 * before + 50, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("options", ABLATION, ids=str)
def test_it_learns_which_crops_are_blurred(options):
    model = network(**options).train()
    assert not model.backbone.training
    sharp = torch.rand(3, 2, 3, 64, 64)
    blurred = F.avg_pool2d(sharp.flatten(0, 1), 5, 1, 2).view(sharp.shape)
    crops, targets = torch.cat((sharp, blurred)), torch.tensor([1.0] * 3 + [-1.0] * 3)
    optimiser, losses = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 3e-3), []
    for _ in range(20):
        loss = model.loss(crops, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_what_is_trained_is_chosen_and_every_parameter_has_its_rate():
    model, crops = network().train(), torch.rand(1, 2, 3, 64, 64)
    for part, trained in (("head", {"content", "rules"}), ("all", {"content", "rules", "backbone"})):
        model.set_trainable(part)
        assert model.backbone.training == (part == "all")
        groups = model.parameter_groups()
        chosen = [parameter for group in groups for parameter in group["params"]]
        assert {id(p) for p in chosen} == {id(p) for p in model.parameters() if p.requires_grad}
        assert len(chosen) == len({id(p) for p in chosen})
        assert [group["rate_ratio"] for group in groups] == [1, 10]
        assert {id(p) for p in groups[1]["params"]} == {id(p) for p in model.rules.parameters()}
        before = {key: value.clone() for key, value in model.state_dict().items()}
        optimiser = torch.optim.Adam(groups, 1e-4)
        model.loss(crops, torch.tensor([1.0])).backward()
        optimiser.step()
        changed = {key.split(".")[0] for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
        assert changed == trained
    with pytest.raises(ValueError, match="head, all"):
        model.set_trainable("hyper")


def test_a_state_with_or_without_its_backbone_is_loaded(tmp_path):
    model, image = network(), torch.rand(1, 3, 64, 64)
    torch.save(head(model), tmp_path / "head.pt")
    torch.save(model.state_dict(), tmp_path / "whole.pt")
    assert (tmp_path / "head.pt").stat().st_size < 5e6
    own = network(parameters=tmp_path / "head.pt")
    whole = network(parameters=tmp_path / "whole.pt", weights="random")
    assert torch.equal(own(image), model(image)) and torch.equal(whole(image), model(image))
    assert "UNTRAINED" not in repr(own) + repr(whole) and "head.pt" in repr(own)
    for options in ({"hyper": False}, {"multi_scale": False}):
        with pytest.raises(ValueError, match="missing|other shapes"):
            network(parameters=tmp_path / "head.pt", **options)


def test_learned_weights_start_as_those_of_five_layers():
    torch.manual_seed(0)
    weights = SameForAll().weights.detach()
    parts = weights.split((*MATRICES, *VECTORS))
    deviations = [part.std().item() for part in parts[:4]]
    assert deviations == pytest.approx([(2 / inputs)**0.5 for inputs in WIDTHS[:4]], rel=0.15)
    assert all((part == 0).all() for part in (*parts[4:8], parts[9])) and (parts[8] != 0).all()


def test_random_weights_are_said_and_what_is_missing_explained():
    with pytest.raises(FileNotFoundError, match="koniq_pretrained.pkl.*from_official.*parameters='random'"):
        HyperIQA()
    with pytest.raises(ValueError, match="Expected 4 layers, got 2: layer3, layer4"):
        HyperIQA(layers=("layer3", "layer4"), parameters="random")
    assert "UNTRAINED" in repr(network()) and network().untrained
