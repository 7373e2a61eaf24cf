"""DIQaM-FR and WaDIQaM-FR: published sizes, slow twins of grid, fusion, pooling and losses, and the files of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.full_reference import wadiqam_fr
from iqa_lab.full_reference.wadiqam_fr import CONVERSION, HDF5, WaDIQaMFR, create_head, create_trunk, grid_patches

SMALL = 1 / 16


def pair(height: int, width: int, n: int = 1, channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(height + width)
    reference = torch.rand(n, channels, height, width, generator=generator, dtype=torch.float64)
    noise = torch.randn(reference.shape, generator=generator, dtype=torch.float64)
    return (reference + 0.1 * noise).clamp(0, 1), reference


def network(*, width: float = SMALL, **options) -> WaDIQaMFR:
    """Returns a float64 network whose patches have different weights."""
    torch.manual_seed(0)
    model = WaDIQaMFR(parameters="random", width=width, **options).double().eval()
    if model.importance is not None:
        nn.init.normal_(model.importance.fc2.weight, std=0.1)
    return model


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_numbers_of_parameters_are_the_papers():
    trunk, small_head = count(create_trunk()), count(create_head(512))
    assert trunk == 4_712_224
    assert trunk + small_head == 4_975_393 and trunk + 2 * small_head == 5_238_562  # without a reference
    assert count(WaDIQaMFR(parameters="random", weighted=False)) == 5_499_681
    assert count(WaDIQaMFR(parameters="random")) == 6_287_138
    assert create_trunk()(torch.zeros(2, 3, 32, 32)).shape == (2, 512)
    assert create_trunk(0.25)(torch.zeros(2, 3, 32, 32)).shape == (2, 128)


def slow_head(head: nn.Sequential, features: np.ndarray) -> float:
    w1, b1, w2, b2 = (parameter.detach().numpy() for parameter in head.parameters())
    return (w2 @ np.maximum(w1 @ features + b1, 0) + b2).item()


def slow_score(model: WaDIQaMFR, d: torch.Tensor, r: torch.Tensor) -> float:
    """Patch by patch, the trunk layer by layer."""
    scores, weights = [], []
    for top in range(0, d.shape[1] - 31, 32):
        for left in range(0, d.shape[2] - 31, 32):
            features = []
            for image in (d, r):
                x = 255 * image[None, :, top:top + 32, left:left + 32]
                for k in range(1, 11):
                    convolution = model.trunk.get_submodule(f"conv{k}")
                    x = F.relu(F.conv2d(x, convolution.weight, convolution.bias, padding=1))
                    x = F.max_pool2d(x, 2) if k % 2 == 0 else x
                features.append(x.detach().numpy().ravel())
            fused = np.concatenate((features[0] - features[1], *features))
            scores.append(slow_head(model.quality, fused))
            weights.append(max(0, slow_head(model.importance, fused)) + 1e-6 if model.importance is not None else 1)
    return np.dot(weights, scores) / np.sum(weights)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("size", [(32, 32), (70, 100)])
def test_scores_equal_the_slow_network(weighted, size):
    d, r = pair(*size, n=2)
    model = network(weighted=weighted)
    expected = [slow_score(model, *images) for images in zip(d, r)]
    np.testing.assert_allclose(model(d, r).detach().numpy(), expected, rtol=1e-9)


def test_what_lies_beyond_the_last_whole_patch_is_not_looked_at():
    d, r = pair(70, 100)
    model = network()
    before = model(d, r)
    d[..., 64:, :], r[..., 96:] = 0, 1
    assert torch.equal(model(d, r), before)
    assert grid_patches(d).shape == (1, 6, 3, 32, 32)
    assert torch.equal(grid_patches(d)[0, 4], d[0, :, 32:64, 32:64])  # row by row


def test_equal_weights_give_the_plain_mean():
    d, r = pair(64, 96, n=2)
    weighted, plain = network(), network(weighted=False)
    plain.load_state_dict({name: value for name, value in weighted.state_dict().items() if "importance" not in name})
    assert (weighted(d, r) - plain(d, r)).abs().min() > 1e-6
    with torch.no_grad():
        weighted.importance.fc2.weight.zero_()
    for bias in (-1.0, 0.0, 2.5):  # dead, dead, alive
        nn.init.constant_(weighted.importance.fc2.bias, bias)
        torch.testing.assert_close(weighted(d, r), plain(d, r))


@pytest.mark.parametrize("seed", range(6))
def test_every_network_starts_with_equal_weights_that_can_learn(seed):
    torch.manual_seed(seed)
    model = WaDIQaMFR(parameters="random", width=SMALL)
    d, r = (image.float().view(2, 2, 3, 32, 32) for image in pair(32, 32, n=4))
    weights = model.patch_scores_and_weights(d.flatten(0, 1), r.flatten(0, 1))[1]
    assert (weights == 1 + 1e-6).all()
    model.loss(d, r, torch.tensor([0.0, 1.0])).backward()
    assert model.importance.fc2.weight.grad.abs().max() > 0


def test_weights_are_never_negative():
    d, r = pair(32, 32, n=16)
    model = network()
    before = model.patch_scores_and_weights(d, r)[1].detach()
    with torch.no_grad():  # the middle of the weights becomes 0
        model.importance.fc2.bias.sub_(before.median())
    weights = model.patch_scores_and_weights(d, r)[1]
    torch.testing.assert_close(weights, (before - before.median()).clamp_min(1e-6), rtol=0, atol=2e-6)
    assert weights.min().item() == pytest.approx(1e-6) and weights.max() > 1e-3


def test_a_patch_without_weight_does_not_count():
    scores, weights = torch.tensor([[1.0, 5.0, 3.0]]), torch.tensor([[1.0, 0.0, 3.0]])
    assert wadiqam_fr.weighted_mean(scores, weights).item() == 2.5


def test_losses_of_images_and_of_patches():
    d, r = (image.view(2, 3, 3, 32, 32) for image in pair(32, 32, n=6))
    targets = torch.tensor([0.2, 3.0], dtype=torch.float64)
    for weighted in (True, False):
        model = network(weighted=weighted)
        scores, weights = (part.detach().view(2, 3).numpy() for part in
                           model.patch_scores_and_weights(d.flatten(0, 1), r.flatten(0, 1)))
        errors = [abs(np.average(y, weights=w) - t) if weighted else np.mean(np.abs(y - t))
                  for y, w, t in zip(scores, weights, targets.numpy())]
        assert model.loss(d, r, targets).item() == pytest.approx(np.mean(errors), rel=1e-12)


def test_the_order_of_the_features_and_the_peak_are_options():
    d, r = pair(32, 32)
    official, other = network(), network(fusion="pyiqa")
    n = official.quality.fc1.in_features // 3
    with torch.no_grad():  # the same network, with its inputs moved to the other order
        for head, moved in ((official.quality, other.quality), (official.importance, other.importance)):
            difference, distorted, reference = head.fc1.weight.split(n, 1)
            moved.fc1.weight.copy_(torch.cat((reference, distorted, difference), 1))
    torch.testing.assert_close(other(d, r), official(d, r))
    assert (official(d, r) - official(r, d)).abs() > 1e-6
    unit = network(peak=1)
    torch.testing.assert_close(unit(d, r), official(d / 255, r / 255))


def test_it_is_no_distance():
    first, second = pair(32, 32)
    model = network()
    assert (model(first, first) - model(second, second)).abs() > 1e-9  # identical images, two scores


def test_neither_batch_nor_chunks_matter(monkeypatch):
    d, r = pair(64, 96, n=3)
    model = network()
    together = model(d, r)
    torch.testing.assert_close(torch.cat([model(d[i:i + 1], r[i:i + 1]) for i in range(3)]), together)
    monkeypatch.setattr(wadiqam_fr, "NETWORK_PIXELS", 5 * 32**2)
    torch.testing.assert_close(model(d, r), together)


def test_dropout_is_for_training_alone():
    d, r = pair(32, 32)
    model = network(weighted=False)
    assert torch.equal(model(d, r), model(d, r))
    model.train()
    assert len({model(d, r).item() for _ in range(8)}) > 1


def test_types_and_gray():
    d, r = pair(32, 64, channels=1)
    model = network()
    torch.testing.assert_close(model(d, r), model(d.expand(-1, 3, -1, -1), r.expand(-1, 3, -1, -1)))
    assert network().float()(d, r).dtype == torch.float64 and network().float()(d.float(), r.float()).dtype == torch.float32


@pytest.mark.parametrize("case", ["identical", "flat", "black and white"])
def test_gradients_are_finite_where_nothing_varies(case):
    flat = torch.full((1, 2, 3, 32, 32), 0.4, dtype=torch.float64)
    d, r = {"identical": [pair(32, 64)[0].view_as(flat)] * 2, "flat": (flat, flat),
            "black and white": (torch.zeros_like(flat), torch.ones_like(flat))}[case]
    model, d = network(), d.clone().requires_grad_()
    loss = model.loss(d, r, torch.tensor([0.5], dtype=torch.float64))
    loss.backward()
    assert loss.isfinite() and d.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("weighted", [True, False])
def test_gradcheck(weighted):
    model = network(width=1 / 128, weighted=weighted, peak=1)
    images = [image.requires_grad_() for image in pair(32, 64)]
    assert torch.autograd.gradcheck(model, images, fast_mode=True)


def test_rescaling_moves_the_scores():
    d, r = pair(32, 64)
    model = network()
    before = model(d, r)
    model.rescale_output(50.0, 20.0)
    torch.testing.assert_close(model(d, r), 20 * before + 50)


def authors_state(*, weighted: bool) -> dict[str, np.ndarray]:
    """Returns arrays under the names that Chainer gives them, in exactly the shapes of fr_model.py."""
    sizes = (3, 32, 32, 64, 64, 128, 128, 256, 256, 512, 512)
    shapes = {f"conv{k}": (sizes[k], sizes[k - 1], 3, 3) for k in range(1, 11)} | {"fc1": (512, 1536), "fc2": (1, 512)}
    shapes |= {"fc1_a": (512, 1536), "fc2_a": (1, 512)} if weighted else {}
    random = np.random.default_rng(0)
    weights = {f"{name}/W": random.normal(0, np.prod(shape[1:])**-0.5, shape).astype(np.float32)
               for name, shape in shapes.items()}
    return weights | {f"{name}/b": np.full(shape[0], 0.1, np.float32) for name, shape in shapes.items()}


def pyiqa_name(name: str) -> str:
    """Returns pyiqa's name of one of the authors' layers, counted along its list of modules."""
    if name.startswith("conv"):
        positions = [i for i, module in enumerate("CRCRP" * 5) if module == "C"]
        return f"features.{positions[int(name[4:]) - 1]}"
    return {"fc1": "fc_q.0", "fc2": "fc_q.3", "fc1_a": "fc_w.0", "fc2_a": "fc_w.3"}[name]


@pytest.mark.parametrize("weighted", [True, False])
def test_three_layouts_give_the_same_network(weighted, tmp_path):
    state = authors_state(weighted=weighted)
    np.savez(tmp_path / "authors.npz", **state)
    tensors = {name.replace("/W", ".weight").replace("/b", ".bias"): torch.from_numpy(value)
               for name, value in state.items()}
    torch.save(tensors, tmp_path / "port.pth")
    renamed = {".".join((pyiqa_name(name.split(".")[0]), name.split(".")[1])): value for name, value in tensors.items()}
    torch.save({"params": renamed}, tmp_path / "pyiqa.pth")
    models = [WaDIQaMFR.from_official(tmp_path / name, weighted=weighted).eval()
              for name in ("authors.npz", "port.pth", "pyiqa.pth")]
    np.testing.assert_array_equal(models[0].trunk.conv4.weight.detach().numpy(), state["conv4/W"])
    np.testing.assert_array_equal(models[0].quality.fc1.weight.detach().numpy(), state["fc1/W"])
    d, r = (image.float() for image in pair(32, 64))
    assert len({model(d, r).item() for model in models}) == 1
    assert "UNTRAINED" not in repr(models[0])
    torch.save(models[0].state_dict(), tmp_path / "own.pt")
    assert torch.equal(WaDIQaMFR(parameters=tmp_path / "own.pt", weighted=weighted).eval()(d, r), models[0](d, r))


def test_other_files_are_refused_by_name(tmp_path):
    state = authors_state(weighted=False)
    np.savez(tmp_path / "diqam.npz", **state)
    with pytest.raises(ValueError, match="missing: importance.fc1.bias"):
        WaDIQaMFR.from_official(tmp_path / "diqam.npz")
    state["conv11/W"] = state.pop("conv3/W")
    np.savez(tmp_path / "strange.npz", **state)
    with pytest.raises(ValueError, match="missing: trunk.conv3.weight; unexpected: conv11.weight"):
        WaDIQaMFR.from_official(tmp_path / "strange.npz", weighted=False)
    state["conv3/W"] = state.pop("conv11/W")[:3]
    np.savez(tmp_path / "short.npz", **state)
    with pytest.raises(ValueError, match="trunk.conv3.weight .* instead of"):
        WaDIQaMFR.from_official(tmp_path / "short.npz", weighted=False)
    (tmp_path / "fr_live_weighted.model").write_bytes(HDF5 + b"...")
    with pytest.raises(ValueError, match=r"HDF5 in .*h5py.File\('fr_live_weighted.model'\)"):
        WaDIQaMFR.from_official(tmp_path / "fr_live_weighted.model")
    compile(CONVERSION, "conversion", "exec")


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(FileNotFoundError, match="fr_live_weighted.model.*github.com/dmaniry/deepIQA.*parameters=Path"):
        WaDIQaMFR()
    with pytest.raises(FileNotFoundError, match="nowhere.npz"):
        WaDIQaMFR(parameters=Path("nowhere.npz"))
    with pytest.raises(ValueError, match="official or pyiqa, got 'sum'"):
        WaDIQaMFR(parameters="random", fusion="sum")
    with pytest.raises(ValueError, match="32 pixels"):
        network()(*pair(31, 64))
    assert "UNTRAINED" in repr(network())
