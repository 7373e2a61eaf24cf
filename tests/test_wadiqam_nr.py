"""DIQaM-NR and WaDIQaM-NR: published sizes, slow twins of maps, pooling and losses, and the files of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.full_reference.wadiqam_fr import CONVERSION, HDF5
from iqa_lab.no_reference import wadiqam_nr
from iqa_lab.no_reference.wadiqam_nr import WaDIQaMNR

SMALL = 1 / 16
#: The fully connected layers of quality and weight, two each, as three publishers call them.
HEADS = {"authors": ("fc1", "fc2", "fc1_a", "fc2_a"), "port": ("fc1q_nr", "fc2q_nr", "fc1w_nr", "fc2w_nr"),
         "pyiqa": ("fc_q.0", "fc_q.3", "fc_w.0", "fc_w.3")}


def photos(n: int, height: int, width: int, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height + width)
    return torch.rand(n, channels, height, width, generator=generator, dtype=torch.float64)


def network(*, width: float = SMALL, **options) -> WaDIQaMNR:
    """Returns a float64 network whose patches have different weights."""
    torch.manual_seed(0)
    model = WaDIQaMNR(parameters="random", width=width, **options).double().eval()
    if model.importance is not None:
        nn.init.normal_(model.importance.fc2.weight, std=0.1)
    return model


def test_the_numbers_of_parameters_are_the_papers():
    def count(**options) -> int:
        return sum(parameter.numel() for parameter in WaDIQaMNR(parameters="random", **options).parameters())

    assert count(weighted=False) == 4_975_393 and count() == 5_238_562
    assert count(width=0.25) < 0.07 * count()


def slow_head(head: nn.Sequential, features: np.ndarray) -> float:
    w1, b1, w2, b2 = (parameter.detach().numpy() for parameter in head.parameters())
    return (w2 @ np.maximum(w1 @ features + b1, 0) + b2).item()


def slow_maps(model: WaDIQaMNR, image: torch.Tensor) -> np.ndarray:
    """Returns scores and weights (2, rows, columns), patch by patch, the trunk layer by layer."""
    rows, columns = (side // 32 for side in image.shape[1:])
    maps = np.ones((2, rows, columns))
    for row in range(rows):
        for column in range(columns):
            x = 255 * image[None, :, 32 * row:32 * row + 32, 32 * column:32 * column + 32]
            for k in range(1, 11):
                convolution = model.trunk.get_submodule(f"conv{k}")
                x = F.relu(F.conv2d(x, convolution.weight, convolution.bias, padding=1))
                x = F.max_pool2d(x, 2) if k % 2 == 0 else x
            features = x.detach().numpy().ravel()
            maps[0, row, column] = slow_head(model.quality, features)
            if model.importance is not None:
                maps[1, row, column] = max(0, slow_head(model.importance, features)) + 1e-6
    return maps


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("size", [(32, 32), (70, 100)])
def test_maps_and_scores_equal_the_slow_network(weighted, size):
    image, model = photos(2, *size), network(weighted=weighted)
    expected = np.stack([slow_maps(model, one) for one in image])
    found = torch.stack(model.maps(image), 1).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    means = [np.average(scores, weights=weights) for scores, weights in expected]
    np.testing.assert_allclose(model(image).detach().numpy(), means, rtol=1e-9)


def test_maps_lie_as_the_image_does():
    image, model = photos(1, 70, 100), network()
    before = model.maps(image)
    assert before[0].shape == before[1].shape == (1, 2, 3)
    changed = image.clone()
    changed[..., 32:64, 64:96] = 0  # second row, third column
    for old, new in zip(before, model.maps(changed), strict=True):
        assert (old != new).nonzero().tolist() == [[0, 1, 2]]
    changed = image.clone()
    changed[..., 64:, :], changed[..., 96:] = 0, 1  # beyond the last whole patch
    assert torch.equal(model(changed), model(image))


def test_equal_weights_give_the_plain_mean():
    image = photos(2, 64, 96)
    weighted, plain = network(), network(weighted=False)
    plain.load_state_dict({name: value for name, value in weighted.state_dict().items() if "importance" not in name})
    torch.testing.assert_close(plain(image), plain.maps(image)[0].mean((1, 2)))
    assert (weighted(image) - plain(image)).abs().min() > 1e-6
    with torch.no_grad():
        weighted.importance.fc2.weight.zero_()
    for bias in (-1.0, 0.0, 2.5):  # dead, dead, alive
        nn.init.constant_(weighted.importance.fc2.bias, bias)
        torch.testing.assert_close(weighted(image), plain(image))


@pytest.mark.parametrize("seed", range(6))
def test_every_network_starts_with_equal_weights_that_can_learn(seed):
    torch.manual_seed(seed)
    model = WaDIQaMNR(parameters="random", width=SMALL)
    crops = photos(4, 32, 32).float().view(2, 2, 3, 32, 32)
    assert (model.patch_scores_and_weights(crops.flatten(0, 1))[1] == 1 + 1e-6).all()
    model.loss(crops, torch.tensor([0.0, 1.0])).backward()
    assert model.importance.fc2.weight.grad.abs().max() > 0


def test_weights_are_never_negative():
    patches, model = photos(16, 32, 32), network()
    before = model.patch_scores_and_weights(patches)[1].detach()
    with torch.no_grad():  # the middle of the weights becomes 0
        model.importance.fc2.bias.sub_(before.median())
    weights = model.patch_scores_and_weights(patches)[1]
    torch.testing.assert_close(weights, (before - before.median()).clamp_min(1e-6), rtol=0, atol=2e-6)
    assert weights.min().item() == pytest.approx(1e-6) and weights.max() > 1e-3


def test_losses_of_images_and_of_patches():
    crops = photos(6, 32, 32).view(2, 3, 3, 32, 32)
    for weighted in (True, False):
        model = network(weighted=weighted)
        scores, weights = (part.detach().view(2, 3).numpy() for part in model.patch_scores_and_weights(crops.flatten(0, 1)))
        # Patches lie on both sides of the first one.
        targets = torch.tensor([np.median(scores[0]), 3.0], dtype=torch.float64)
        errors = [abs(np.average(y, weights=w) - t) if weighted else np.mean(np.abs(y - t))
                  for y, w, t in zip(scores, weights, targets.numpy())]
        assert model.loss(crops, targets).item() == pytest.approx(np.mean(errors), rel=1e-12)


@pytest.mark.parametrize("weighted", [True, False])
def test_learning_lowers_the_loss(weighted):
    torch.manual_seed(0)
    model = WaDIQaMNR(parameters="random", weighted=weighted, width=0.25, peak=1)
    crops = torch.rand(4, 4, 3, 32, 32) * torch.tensor([1.0, 1.0, 0.2, 0.2]).view(4, 1, 1, 1, 1)
    targets, losses = torch.tensor([1.0, 1.0, -1.0, -1.0]), []
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(40):
        losses.append(model.loss(crops, targets))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert min(losses[-3:]) < 0.7 * losses[0]


def test_the_peak_is_an_option():
    image = photos(2, 32, 64)
    torch.testing.assert_close(network(peak=1)(image), network()(image / 255))
    gray = image[:, :1]
    torch.testing.assert_close(network()(gray), network()(gray.expand(-1, 3, -1, -1)))


def test_neither_batch_nor_chunks_matter(monkeypatch):
    image, model = photos(3, 64, 96), network()
    together = model(image)
    torch.testing.assert_close(torch.cat([model(image[i:i + 1]) for i in range(3)]), together)
    monkeypatch.setattr(wadiqam_nr, "NETWORK_PIXELS", 5 * 32**2)
    torch.testing.assert_close(model(image), together)


def test_dropout_is_for_training_alone():
    image, model = photos(1, 32, 32), network(weighted=False)
    assert torch.equal(model(image), model(image))
    model.train()
    assert len({model(image).item() for _ in range(8)}) > 1


@pytest.mark.parametrize("shade", [0.0, 0.4, 1.0])
def test_gradients_are_finite_where_nothing_varies(shade):
    crops, model = torch.full((1, 2, 3, 32, 32), shade, dtype=torch.float64, requires_grad=True), network()
    model.loss(crops, torch.tensor([0.5], dtype=torch.float64)).backward()
    assert crops.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("weighted", [True, False])
def test_gradcheck(weighted):
    model = network(width=1 / 128, weighted=weighted, peak=1)
    torch.manual_seed(0)
    assert torch.autograd.gradcheck(model, photos(1, 32, 64).requires_grad_(), fast_mode=True)


def test_rescaling_moves_the_scores_and_not_the_weights():
    image, model = photos(2, 32, 64), network()
    nn.init.constant_(model.quality.fc2.bias, 0.3)
    before, weights = model(image), model.maps(image)[1]
    model.rescale_output(50.0, 20.0)
    torch.testing.assert_close(model(image), 20 * before + 50)
    assert torch.equal(model.maps(image)[1], weights)


def published_state(publisher: str) -> dict[str, np.ndarray]:
    """Returns arrays under a publisher's names, in exactly the shapes of nr_model.py: always with both parts."""
    sizes = (3, 32, 32, 64, 64, 128, 128, 256, 256, 512, 512)
    positions = [i for i, module in enumerate("CRCRP" * 5) if module == "C"]  # along pyiqa's list of modules
    names = {k: f"features.{positions[k - 1]}" if publisher == "pyiqa" else f"conv{k}" for k in range(1, 11)}
    shapes = {names[k]: (sizes[k], sizes[k - 1], 3, 3) for k in range(1, 11)}
    shapes |= dict(zip(HEADS[publisher], ((512, 512), (1, 512)) * 2, strict=True))
    kinds = ("/W", "/b") if publisher == "authors" else (".weight", ".bias")
    random = np.random.default_rng(0)
    weights = {name + kinds[0]: random.normal(0, np.prod(shape[1:])**-0.5, shape).astype(np.float32)
               for name, shape in shapes.items()}
    return weights | {name + kinds[1]: np.full(shape[0], 0.1, np.float32) for name, shape in shapes.items()}


def published_file(publisher: str, folder: Path) -> Path:
    state = published_state(publisher)
    if publisher == "authors":
        np.savez(folder / "nr_live.npz", **state)
        return folder / "nr_live.npz"
    tensors = {name: torch.from_numpy(value) for name, value in state.items()}
    torch.save({"params": tensors} if publisher == "pyiqa" else tensors, folder / f"{publisher}.pth")
    return folder / f"{publisher}.pth"


@pytest.mark.parametrize("weighted", [True, False])
def test_three_layouts_give_the_same_network(weighted, tmp_path):
    """Also where authors and port keep the part that a DIQaM does not use."""
    models = [WaDIQaMNR.from_official(published_file(publisher, tmp_path), weighted=weighted).eval() for publisher in HEADS]
    state, image = published_state("authors"), photos(1, 32, 64).float()
    np.testing.assert_array_equal(models[0].trunk.conv4.weight.detach().numpy(), state["conv4/W"])
    np.testing.assert_array_equal(models[0].quality.fc1.weight.detach().numpy(), state["fc1/W"])
    if weighted:
        np.testing.assert_array_equal(models[1].importance.fc1.weight.detach().numpy(), state["fc1_a/W"])
    assert len({model(image).item() for model in models}) == 1 and "UNTRAINED" not in repr(models[0])
    torch.save(models[0].state_dict(), tmp_path / "own.pt")
    assert torch.equal(WaDIQaMNR(parameters=tmp_path / "own.pt", weighted=weighted).eval()(image), models[0](image))
    unit = WaDIQaMNR.from_official(published_file("port", tmp_path), weighted=weighted, peak=1).eval()
    torch.testing.assert_close(unit(image), models[1](image / 255))


def test_other_files_are_refused_by_name(tmp_path):
    model = network().float()
    torch.save(model.state_dict(), tmp_path / "own.pt")
    with pytest.raises(ValueError, match="unexpected: importance.fc1.bias"):
        WaDIQaMNR(parameters=tmp_path / "own.pt", weighted=False, width=SMALL)
    state = published_state("authors")
    state["conv11/W"] = state.pop("conv3/W")
    np.savez(tmp_path / "strange.npz", **state)
    with pytest.raises(ValueError, match="missing: trunk.conv3.weight; unexpected: conv11.weight"):
        WaDIQaMNR.from_official(tmp_path / "strange.npz")
    state["conv3/W"] = state.pop("conv11/W")
    del state["fc2_a/b"]
    np.savez(tmp_path / "short.npz", **state)
    with pytest.raises(ValueError, match="missing: importance.fc2.bias"):
        WaDIQaMNR.from_official(tmp_path / "short.npz")
    state |= {"fc1/W": np.zeros((512, 1536), np.float32), "fc1_a/W": np.zeros((512, 1536), np.float32)}
    np.savez(tmp_path / "fr.npz", **state)
    with pytest.raises(ValueError, match=r"quality.fc1.weight \(512, 1536\) instead of \(512, 512\)"):
        WaDIQaMNR.from_official(tmp_path / "fr.npz", weighted=False)
    (tmp_path / "nr_live_weighted.model").write_bytes(HDF5 + b"...")
    with pytest.raises(ValueError, match=r"HDF5 in .*h5py.File\('nr_live_weighted.model'\)"):
        WaDIQaMNR.from_official(tmp_path / "nr_live_weighted.model")


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(FileNotFoundError, match="nr_live_weighted.model.*dmaniry/deepIQA.*parameters=Path") as caught:
        WaDIQaMNR()
    assert CONVERSION in str(caught.value)
    with pytest.raises(FileNotFoundError, match="nowhere.npz"):
        WaDIQaMNR(parameters=Path("nowhere.npz"))
    with pytest.raises(ValueError, match="32 pixels"):
        network()(photos(1, 31, 64))
    assert "UNTRAINED" in repr(network())
