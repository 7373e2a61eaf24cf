"""PieAPP: the authors' sizes and layout, slow twins of grid and pooling, choices between pairs, published numbers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab import load_image
from iqa_lab.backbones.weights import local_weights
from iqa_lab.full_reference import pieapp
from iqa_lab.full_reference.pieapp import (DENSE, SPARSE, PieAPP, grid_patches, pairwise_loss, pairwise_probability)

SMALL = 1 / 32
#: PieAPPv0pt1_PT.py, with the one vector that its file holds instead of a matrix.
OFFICIAL_SHAPES = {
    **{f"conv{k}.weight": (outputs, inputs, 3, 3) for k, inputs, outputs in (
        (1, 3, 64), (2, 64, 64), (3, 64, 64), (4, 64, 128), (5, 128, 128), (6, 128, 128), (7, 128, 256), (8, 256, 256),
        (9, 256, 256), (10, 256, 512), (11, 512, 512))},
    "fc1_score.weight": (512, 120832), "fc2_score.weight": (1, 512), "fc1_weight.weight": (512, 2048),
    "fc2_weight.weight": (1, 512), "ref_score_subtract.weight": (1,)}


def pair(height: int, width: int, n: int = 1, channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(height + width)
    reference = torch.rand(n, channels, height, width, generator=generator, dtype=torch.float64)
    noise = torch.randn(reference.shape, generator=generator, dtype=torch.float64)
    return (reference + 0.1 * noise).clamp(0, 1), reference


def network(*, width: float = SMALL, stride: int = SPARSE, **options) -> PieAPP:
    """Returns a float64 network with biases everywhere, as a trained one has."""
    torch.manual_seed(0)
    model = PieAPP(parameters="random", width=width, stride=stride, **options).double().eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.uniform_(parameter, -0.5, 0.5)
    return model


def official_state() -> dict[str, torch.Tensor]:
    """Returns tensors of the authors' names and shapes; each is one number repeated, so that the file stays small."""
    shapes = OFFICIAL_SHAPES | {name.replace("weight", "bias") if not name.endswith("_weight.weight") else
                                name.removesuffix("weight") + "bias": shape[:1] for name, shape in OFFICIAL_SHAPES.items()}
    return {name: torch.full((1,), (i + 1) / 1024).expand(shape) for i, (name, shape) in enumerate(sorted(shapes.items()))}


def slow_score(model: PieAPP, d: torch.Tensor, r: torch.Tensor) -> float:
    """Patch by patch, layer by layer."""
    errors, weights = [], []
    for top in range(0, d.shape[1] - 63, model.stride):
        for left in range(0, d.shape[2] - 63, model.stride):
            taps = []
            for image in (d, r):
                x = 255 * image[None, [2, 1, 0], top:top + 64, left:left + 64]
                taps.append([])
                for k in range(1, 12):
                    x = F.relu(F.conv2d(x, model.get_parameter(f"conv{k}.weight"), model.get_parameter(f"conv{k}.bias"),
                                        padding=1))
                    if k in (2, 4, 6, 8, 10):
                        x = F.max_pool2d(x, 2)
                    elif k > 1:
                        taps[-1].append(x.detach().numpy().ravel())
            fine, coarse = (np.concatenate(taps[1][part]) - np.concatenate(taps[0][part])
                            for part in (slice(None), slice(4, None)))
            values = []
            for features, kind in ((fine, "score"), (coarse, "weight")):
                w1, b1, w2, b2 = (model.get_parameter(f"{layer}_{kind}.{part}").detach().numpy()
                                  for layer in ("fc1", "fc2") for part in ("weight", "bias"))
                values.append((w2 @ np.maximum(w1 @ features + b1, 0) + b2).item())
            scale, shift = (parameter.item() for parameter in model.ref_score_subtract.parameters())
            errors.append(scale * 0.01 * values[0] + shift)
            weights.append(values[1] + 1e-6)
    return np.dot(weights, errors) / np.sum(weights)


@pytest.fixture(scope="module")
def full_network(tmp_path_factory) -> PieAPP:
    path = tmp_path_factory.mktemp("official") / "PieAPPv0.1.pth"
    torch.save(official_state(), path)
    return PieAPP.from_official(path)


def test_the_authors_layout_is_loaded_strictly(full_network):
    assert "UNTRAINED" not in repr(full_network) and not full_network.untrained
    for name, value in official_state().items():
        loaded = full_network.get_parameter(name)
        assert (loaded == value.flatten()[0]).all(), name
    assert full_network.ref_score_subtract.weight.shape == (1, 1)


def test_the_sizes_are_the_authors(full_network):
    assert sum(p.numel() for name, p in full_network.named_parameters() if name.startswith("conv")) == 5_459_968
    assert sum(p.numel() for p in full_network.parameters()) == 68_376_580
    with torch.no_grad():
        fine, coarse = full_network.features(torch.zeros(1, 3, 64, 64))
    assert fine.shape == (1, 120_832) and coarse.shape == (1, 2_048)


def test_other_files_are_refused_by_name(tmp_path):
    state = official_state()
    state["conv12.bias"] = state.pop("conv3.bias")
    torch.save(state, tmp_path / "strange.pth")
    with pytest.raises(ValueError, match="missing: conv3.bias; unexpected: conv12.bias"):
        PieAPP.from_official(tmp_path / "strange.pth")
    del state["conv12.bias"], state["ref_score_subtract.weight"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(ValueError, match="missing: conv3.bias, ref_score_subtract.weight; unexpected: none"):
        PieAPP.from_official(tmp_path / "part.pth")
    with pytest.raises(FileNotFoundError, match="nowhere.pth"):
        PieAPP.from_official(Path("nowhere.pth"))


@pytest.mark.parametrize("stride, size", [(SPARSE, (64, 64)), (SPARSE, (95, 120)), (40, (130, 143))])
def test_scores_equal_the_slow_network(stride, size):
    d, r = pair(*size, n=2)
    model = network(stride=stride)
    expected = [slow_score(model, *images) for images in zip(d, r)]
    np.testing.assert_allclose(model(d, r).detach().numpy(), expected, rtol=1e-8)


@pytest.mark.parametrize("stride, size, rows, columns", [
    (DENSE, (384, 512), 54, 75), (SPARSE, (384, 512), 12, 17), (SPARSE, (256, 256), 8, 8), (DENSE, (256, 256), 33, 33)])
def test_the_grids_of_the_two_ways_of_sampling(stride, size, rows, columns):
    image = torch.arange(float(size[0] * size[1])).view(1, 1, *size)
    grid = grid_patches(image, stride)
    assert grid.shape == (1, rows, columns, 1, 64, 64)
    tops = range(0, size[0] - 63, stride)
    assert grid[0, :, 0, 0, 0, 0].tolist() == [top * size[1] for top in tops]
    assert torch.equal(grid[0, -1, 1, 0], image[0, 0, tops[-1]:tops[-1] + 64, stride:stride + 64])
    assert grid.untyped_storage().data_ptr() == image.untyped_storage().data_ptr()  # a view: no memory


def test_neither_batch_nor_chunks_matter(monkeypatch):
    d, r = pair(95, 120, n=3)
    model = network()
    together = model(d, r)
    torch.testing.assert_close(torch.cat([model(d[i:i + 1], r[i:i + 1]) for i in range(3)]), together)
    assert torch.equal(together, model(d, r))
    monkeypatch.setattr(pieapp, "NETWORK_PIXELS", 4 * pieapp.PATCH**2)  # across the borders of images
    torch.testing.assert_close(model(d, r), together)


def test_blue_or_red_first():
    d, r = pair(64, 64)
    blue, red = network(), network(bgr=False)
    torch.testing.assert_close(blue(d, r), red(d.flip(1), r.flip(1)))
    assert (blue(d, r) - red(d, r)).abs() > 1e-6


def test_identical_images_get_one_value_whatever_they_show():
    model = network()
    first, second = (model(image, image).item() for image in pair(95, 120))
    assert first == pytest.approx(second, rel=1e-9) and abs(first) > 1e-6
    model.calibrate()
    assert model(*[pair(95, 120)[0]] * 2).item() == pytest.approx(0, abs=1e-12)


def test_calibration_changes_no_difference():
    (d, r), model = pair(64, 64, n=2), network()
    before = model(d, r).diff()
    model.calibrate()
    torch.testing.assert_close(model(d, r).diff(), before)


def test_it_is_no_distance():
    d, r = pair(64, 64)
    model = network()
    assert (model(d, r) - model(r, d)).abs() > 1e-6


def test_weights_may_be_negative():
    d, r = (image.expand(8, -1, -1, -1) * torch.linspace(0.2, 1, 8).view(8, 1, 1, 1) for image in pair(64, 64))
    model = network()
    with torch.no_grad():
        model.fc2_weight.weight.fill_(-1)
    weights = model.errors_and_weights(*model.features_of(d, r))[1]
    assert weights.max() < 0.6 and weights.min() < -1


def test_features_of_a_reference_can_be_kept():
    d, r = pair(64, 64, n=3)
    model = network()
    kept = model.features(r)
    errors, weights = model.errors_and_weights(model.features(d), kept)
    torch.testing.assert_close(errors, model(d, r))
    for found, again in zip((errors, weights), model.errors_and_weights(*model.features_of(d, r)), strict=True):
        torch.testing.assert_close(found, again)


def test_the_probability_of_a_choice():
    s_a, s_b = torch.tensor([0.0, 1.0, 3.0, 5000.0], dtype=torch.float64), torch.tensor([0.0, 3.0, 1.0, 0.0])
    found = pairwise_probability(s_a, s_b)
    np.testing.assert_allclose(found[:3].numpy(), 1 / (1 + np.exp([0, -2, 2])), rtol=1e-12)
    assert found[3] == 0  # no overflow
    torch.testing.assert_close(found + pairwise_probability(s_b, s_a), torch.ones_like(found))
    torch.testing.assert_close(pairwise_probability(s_a + 7, s_b + 7), found)  # the origin is not learned


def test_the_loss_of_choices():
    s_a, s_b, p = (torch.rand(5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) for _ in range(3))
    expected = np.mean((1 / (1 + np.exp(s_a.numpy() - s_b.numpy())) - p.numpy())**2)
    assert pairwise_loss(s_a, s_b, p).item() == pytest.approx(expected, rel=1e-12)
    assert pairwise_loss(torch.tensor([30.0]), torch.tensor([0.0]), torch.tensor([0.0])).item() < 1e-12
    assert torch.autograd.gradcheck(pairwise_loss, (s_a.requires_grad_(), s_b.requires_grad_(), p))


def test_training_compares_two_images_with_one_reference():
    a, r = (image.view(2, 2, 3, 64, 64) for image in pair(64, 64, n=4))
    b = (a + 1) / 2
    model, preferences = network(), torch.tensor([0.9, 0.2], dtype=torch.float64)
    errors = []
    for image in (a, b):
        found = [model.errors_and_weights(*model.features_of(x, y)) for x, y in zip(image, r, strict=True)]
        errors.append(torch.stack([(w * e).sum() / w.sum() for e, w in found]))
    torch.testing.assert_close(model.loss(a, b, r, preferences), pairwise_loss(*errors, preferences))
    torch.testing.assert_close(model.loss(b, a, r, 1 - preferences), model.loss(a, b, r, preferences))


def test_types_and_gray():
    d, r = pair(64, 91, channels=1)
    model = network()
    torch.testing.assert_close(model(d, r), model(d.expand(-1, 3, -1, -1), r.expand(-1, 3, -1, -1)))
    assert network().float()(d, r).dtype == torch.float64 and network().float()(d.float(), r.float()).dtype == torch.float32


@pytest.mark.parametrize("case", ["identical", "flat", "black and white"])
def test_gradients_are_finite_where_nothing_varies(case):
    flat = torch.full((1, 1, 3, 64, 64), 0.4, dtype=torch.float64)
    d, r = {"identical": [pair(64, 64)[0][None]] * 2, "flat": (flat, flat),
            "black and white": (torch.zeros_like(flat), torch.ones_like(flat))}[case]
    model, d = network(), d.clone().requires_grad_()
    loss = model.loss(d, r, r, torch.tensor([0.3], dtype=torch.float64))
    loss.backward()
    assert loss.isfinite() and d.grad.isfinite().all()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())


def test_gradcheck():
    model = network(width=1 / 64)
    images = [image.requires_grad_() for image in pair(64, 91)]
    assert torch.autograd.gradcheck(model, images, fast_mode=True)


def test_a_small_network_comes_back_from_its_file(tmp_path):
    d, r = pair(64, 64)
    model = network().float()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    loaded = PieAPP(parameters=tmp_path / "weights.pt", width=SMALL, stride=SPARSE).eval()
    assert torch.equal(loaded(d, r), model(d, r)) and "UNTRAINED" in repr(model)
    with pytest.raises(ValueError, match="other shapes"):
        PieAPP(parameters=tmp_path / "weights.pt", width=2 * SMALL)


def test_what_cannot_be_answered_is_refused(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="64 pixels"):
        network()(*pair(63, 80))
    monkeypatch.delenv("IQA_LAB_DATA", raising=False)
    monkeypatch.setenv("IQA_LAB_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("IQA_LAB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match="PieAPPv0.1.pth.*ucsb.edu.*non-commercial.*IQA_LAB_WEIGHTS"):
        PieAPP()


#: (distorted, reference, blue first, value, tolerance): piq's test ("the original code"), pyiqa's table of four digits.
PUBLISHED = [("i01_01_5", "i01", False, 2.2393305, 1e-4), ("i03_11_5", "i03", True, 4.2976, 2e-4),
             ("i04_18_5", "i04", True, 3.9088, 2e-4), ("i06_18_3", "i06", True, 2.2620, 2e-4)]


@pytest.mark.parametrize("distorted, reference, bgr, value, tolerance", PUBLISHED)
def test_the_authors_network_gives_the_published_values(distorted, reference, bgr, value, tolerance):
    if "IQA_LAB_DATA" not in os.environ or local_weights("pieapp_official") is None:
        pytest.skip("needs the golden images (IQA_LAB_DATA) and PieAPPv0.1.pth, which is not shipped")
    folder = Path(os.environ["IQA_LAB_DATA"]) / "golden" / "tid2013_pairs"
    images = load_image(folder / "distorted" / f"{distorted}.bmp"), load_image(folder / "reference" / f"{reference}.bmp")
    with torch.no_grad():
        assert PieAPP(stride=SPARSE, bgr=bgr)(*images).item() == pytest.approx(value, abs=tolerance)
