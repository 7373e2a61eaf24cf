"""MEON: published sizes, slow twins of network, grid, vote and losses, and the demo's variables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from iqa_lab.no_reference import meon
from iqa_lab.no_reference.meon import CONVERSION, MEON, create_trunk, grid_patches
from iqa_lab.ops.gdn import GDN

#: The demo's variables: scope -> shape of the weights, and whether a normalisation follows.
VARIABLES = {"conv1": ((5, 5, 3, 8), True), "conv2": ((5, 5, 8, 16), True), "conv3": ((5, 5, 16, 32), True),
             "conv4": ((3, 3, 32, 64), True),
             "subtask1/fc1": ((1, 1, 64, 128), True), "subtask1/fc2": ((1, 1, 128, 5), False),
             "subtask2/fc1": ((1, 1, 64, 256), True), "subtask2/fc2": ((1, 1, 256, 5), False)}


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(seed: int = 0, **options) -> MEON:
    """Returns a float64 network whose normalisations mix the channels, and not symmetrically."""
    torch.manual_seed(seed)
    model = MEON(parameters="random", **options).double().eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, GDN):
                module.gamma.add_(0.01 * torch.rand_like(module.gamma))
    return model


def count(network: nn.Module, *kinds: type) -> int:
    return sum(p.numel() for layer in network.modules() if isinstance(layer, kinds) for p in layer.parameters())


def test_the_numbers_of_parameters_are_the_authors():
    model = MEON(parameters="random")
    assert count(model.trunk, nn.Conv2d) == 35_152 and count(model.trunk, GDN) == 5_560
    assert count(model.distortion, nn.Sequential) + count(model.quality, nn.Sequential) == 109_194
    assert count(model, MEON) == 149_906


def test_the_maps_have_the_sizes_of_the_table():
    x, found = torch.zeros(2, 3, 256, 256), {}
    for name, layer in create_trunk().named_children():
        x = layer(x)
        found[name] = tuple(x.shape[1:])
    assert [found[f"pool{k}"] for k in range(1, 5)] == [(8, 64, 64), (16, 16, 16), (32, 4, 4), (64, 1, 1)]


def slow_gdn(x: np.ndarray, beta: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """Channels last; row i of gamma divides channel i."""
    return x / np.sqrt(beta + np.einsum("ij,...j->...i", gamma, x**2))


def slow_patch(state: dict[str, np.ndarray], patch: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Returns p and s of one patch (3, 256, 256), channels last, layer by layer."""
    x = (255 * patch).numpy().transpose(1, 2, 0)
    for k in range(1, 5):
        weight, bias = (torch.from_numpy(state[f"trunk.conv{k}.{kind}"]) for kind in ("weight", "bias"))
        stride, padding = (2, 2) if k < 4 else (1, 0)
        x = F.conv2d(torch.from_numpy(x.transpose(2, 0, 1).copy())[None], weight, bias, stride=stride, padding=padding)
        x = slow_gdn(x[0].numpy().transpose(1, 2, 0), state[f"trunk.gdn{k}.beta"], state[f"trunk.gdn{k}.gamma"])
        rows, columns = (side // 2 for side in x.shape[:2])
        x = x[:2 * rows, :2 * columns].reshape(rows, 2, columns, 2, -1).max((1, 3))
    outputs = []
    for part in ("distortion", "quality"):
        hidden = state[f"{part}.fc1.weight"][..., 0, 0] @ x[0, 0] + state[f"{part}.fc1.bias"]
        hidden = slow_gdn(hidden, state[f"{part}.gdn1.beta"], state[f"{part}.gdn1.gamma"])
        outputs.append(state[f"{part}.fc2.weight"][..., 0, 0] @ hidden + state[f"{part}.fc2.bias"])
    exponentials = np.exp(outputs[0] - outputs[0].max())
    return exponentials / exponentials.sum(), outputs[1]


def state_of(model: MEON) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in model.state_dict().items()}


def slow_grid(height: int, width: int) -> list[tuple[int, int]]:
    """Top left corners, as the demo finds them."""
    sides = []
    for length in (height, width):
        starts = [128 * i for i in range((length - 256) // 128 + 1)]
        sides.append(starts + [length - 256] * (starts[-1] != length - 256))
    return [(top, left) for top in sides[0] for left in sides[1]]


@pytest.mark.parametrize("n_types", [5, 3])
def test_scores_equal_the_slow_network(n_types):
    batch, model = images(2, 3, 256, 300), network(n_types=n_types)
    for image, score, type_ in zip(batch, model(batch).tolist(), model.types(batch).tolist(), strict=True):
        corners = slow_grid(256, 300)
        parts = [slow_patch(state_of(model), image[:, top:top + 256, left:left + 256]) for top, left in corners]
        assert len(corners) == 2 and score == pytest.approx(np.mean([p @ s for p, s in parts]), rel=1e-9)
        assert type_ == stats.mode([p.argmax() for p, _ in parts]).mode


@settings(deadline=None, max_examples=15)
@given(st.integers(256, 700), st.integers(256, 700))
def test_the_grid_is_the_demos(height, width):
    image = torch.arange(height * width, dtype=torch.float64).view(1, 1, height, width)
    patches = grid_patches(image)
    assert patches[0, :, 0, 0, 0].tolist() == [top * width + left for top, left in slow_grid(height, width)]
    assert patches.shape[2:] == (1, 256, 256) and torch.equal(patches[0, -1], image[0, :, -256:, -256:])
    step = patches.new_tensor([[0, 1], [width, width + 1]])
    assert torch.equal(patches[0, 0, 0, 100:102, 200:202] - patches[0, 0, 0, 100, 200], step)


def test_small_images_are_filled_up_with_their_mirror_image():
    image = images(2, 3, 131, 255)
    filled = np.pad(image.numpy(), ((0, 0), (0, 0), (62, 63), (0, 1)), mode="symmetric")
    assert np.array_equal(grid_patches(image)[:, 0], filled)
    narrow = images(1, 1, 128, 300)
    filled = np.pad(narrow.numpy(), ((0, 0), (0, 0), (64, 64), (0, 0)), mode="symmetric")
    assert np.array_equal(grid_patches(narrow)[0, :, 0], np.stack([filled[0, 0, :, :256], filled[0, 0, :, 44:]]))
    with pytest.raises(ValueError, match="128 pixels"):
        network()(images(1, 3, 127, 300))


def test_a_gray_image_has_three_equal_channels():
    gray, model = images(1, 1, 256, 256), network()
    torch.testing.assert_close(model(gray), model(gray.expand(-1, 3, -1, -1)))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 5))
def test_the_type_is_the_vote_of_the_patches(seed, n_patches, n_types):
    p = images(3, n_patches, n_types, seed=seed)
    model = network()
    model.probabilities_and_qualities = lambda image: (p, p)
    assert model.types(images(3, 3, 256, 256)).tolist() == stats.mode(p.argmax(2).numpy(), axis=1).mode.tolist()


def test_losses_of_both_stages():
    crops, targets, types = images(2, 2, 3, 256, 256), torch.tensor([0.3, -2], dtype=torch.float64), torch.tensor([4, 1])
    model = network()
    parts = [slow_patch(state_of(model), crop) for crop in crops.flatten(0, 1)]
    entropy = -np.mean([np.log(p[t]) for (p, _), t in zip(parts, [4, 4, 1, 1], strict=True)])
    error = np.mean([abs(p @ s - y) for (p, s), y in zip(parts, [0.3, 0.3, -2, -2], strict=True)])
    assert model.type_loss(crops, types).item() == pytest.approx(entropy, rel=1e-9)
    assert model.loss(crops, targets, types).item() == pytest.approx(entropy + error, rel=1e-9)
    assert model.loss(crops, targets).item() == pytest.approx(error, rel=1e-9)
    unknown = torch.tensor([-1, -1])
    assert model.loss(crops, targets, unknown).item() == pytest.approx(error, rel=1e-9)
    first = -np.mean([np.log(p[4]) for p, _ in parts[:2]])
    assert model.type_loss(crops, torch.tensor([4, -1])).item() == pytest.approx(first, rel=1e-9)


def test_which_parts_learn_in_which_stage():
    crops, targets, types = images(1, 1, 3, 256, 256), torch.ones(1).double(), torch.tensor([2])

    def learning(loss: torch.Tensor, model: MEON) -> list[bool]:
        loss.backward()
        return [all(p.grad is not None and p.grad.any() for p in part.parameters())
                for part in (model.trunk, model.distortion, model.quality)]

    for stage, expected in (("type_loss", [True, True, False]), ("loss", [True, True, True])):
        model = network()
        arguments = (crops, types) if stage == "type_loss" else (crops, targets)
        assert learning(getattr(model, stage)(*arguments), model) == expected, stage  # the product reaches both heads


@pytest.mark.parametrize("stage", ["type_loss", "loss"])
def test_a_few_steps_lower_the_loss(stage):
    torch.manual_seed(0)
    model = MEON(parameters="random")
    contrasts, types = torch.tensor([0.1, 0.3, 0.5, 0.7, 1.0]), torch.arange(5)
    crops = images(5, 1, 3, 256, 256).float() * contrasts.view(5, 1, 1, 1, 1)
    arguments = (crops, types) if stage == "type_loss" else (crops, types.float() - 2, types)
    optimiser, losses = torch.optim.Adam(model.parameters(), 1e-3), []
    for _ in range(8):
        losses.append(getattr(model, stage)(*arguments))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
        model.project()
    assert losses[-1] < losses[0]
    gammas = [module.gamma for module in model.modules() if isinstance(module, GDN)]
    assert len(gammas) == 6 and all((gamma >= 0).all() and torch.equal(gamma, gamma.T) for gamma in gammas)


def test_neither_batch_nor_chunks_matter(monkeypatch):
    batch, model = images(2, 3, 256, 400), network()
    together = model(batch)
    torch.testing.assert_close(torch.cat([model(image[None]) for image in batch]), together)
    monkeypatch.setattr(meon, "PIXELS", 3 * 256**2)
    torch.testing.assert_close(model(batch), together)


def test_rescaling_moves_the_scores():
    image, model = images(1, 3, 256, 256), network()
    before = model(image)
    model.rescale_output(50.0, 20.0)
    torch.testing.assert_close(model(image), 20 * before + 50)


def test_gradcheck():
    model, image = network(), images(1, 3, 130, 140).requires_grad_()
    assert torch.autograd.gradcheck(model, image, eps=1e-7, atol=1e-4, fast_mode=True)


def test_first_weights_are_the_demos():
    torch.manual_seed(0)
    for name, value in MEON(parameters="random").state_dict().items():
        if name.endswith("weight"):
            deviation = 0.1 if "conv" in name else value.shape[1]**-0.5
            assert value.abs().max() <= 2 * deviation and value.std() > 0.7 * deviation, name
        elif "fc" in name or "conv" in name:
            assert (value == 1e-4).all()


def demo_variables() -> dict[str, np.ndarray]:
    """Returns arrays with the names and shapes of the demo's graph, roots of the normalisations below the bound too."""
    random, variables = np.random.default_rng(0), {}
    for scope, (shape, normalised) in VARIABLES.items():
        variables[f"{scope}/weights"] = random.normal(0, np.prod(shape[:3])**-0.5, shape)
        variables[f"{scope}/biases"] = random.normal(0, 0.1, shape[3])
        if normalised:
            variables[f"{scope}/gdn_x/reparam_beta"] = random.uniform(-0.1, 1.5, shape[3])
            variables[f"{scope}/gdn_x/reparam_gamma"] = random.uniform(-0.1, 0.5, (shape[3],) * 2)
    return {name: value.astype(np.float32) for name, value in variables.items()}


def tensorflow_score(variables: dict[str, np.ndarray], patch: np.ndarray) -> float:
    """The demo's graph in its own layout: channels last, kernels (height, width, inputs, outputs)."""
    def layer(x: np.ndarray, scope: str, stride: int, padding: int) -> np.ndarray:
        weights = variables[f"{scope}/weights"].astype(float)
        side = weights.shape[0]
        padded = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(0, 1))[::stride, ::stride]
        return np.einsum("hwiyx,yxio->hwo", windows, weights, optimize=True) + variables[f"{scope}/biases"]

    def gdn(x: np.ndarray, scope: str) -> np.ndarray:
        offset = 2.0**-18
        beta = np.maximum(variables[f"{scope}/gdn_x/reparam_beta"].astype(float), np.sqrt(1e-6 + offset**2))**2 - offset**2
        gamma = np.maximum(variables[f"{scope}/gdn_x/reparam_gamma"].astype(float), offset)**2 - offset**2
        return x / np.sqrt(x**2 @ gamma + beta)

    x = 255 * patch
    for k in range(1, 5):
        x = gdn(layer(x, f"conv{k}", *((2, 2) if k < 4 else (1, 0))), f"conv{k}")
        x = x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, -1).max((1, 3))
    logits, s = (layer(gdn(layer(x, f"{task}/fc1", 1, 0), f"{task}/fc1"), f"{task}/fc2", 1, 0).ravel()
                 for task in ("subtask1", "subtask2"))
    return np.exp(logits - np.logaddexp.reduce(logits)) @ s


def test_the_demos_variables_give_the_demos_graph(tmp_path):
    variables = demo_variables()
    np.savez(tmp_path / "meon.npz", **variables)
    model = MEON.from_official(tmp_path / "meon.npz").eval()
    assert "UNTRAINED" not in repr(model) and "meon.npz" in repr(model)
    image = images(1, 3, 256, 256)
    expected = tensorflow_score(variables, image[0].numpy().transpose(1, 2, 0))
    assert model.double()(image).item() == pytest.approx(expected, rel=1e-5)  # bounds and squares were taken in float32
    torch.save(model.float().state_dict(), tmp_path / "own.pt")
    assert torch.equal(MEON(parameters=tmp_path / "own.pt")(image.float()), model(image.float()))


def test_other_files_are_refused_by_name(tmp_path):
    variables = demo_variables()
    np.savez(tmp_path / "more.npz", **variables, global_step=np.zeros(1))
    with pytest.raises(ValueError, match="unexpected: global_step"):
        MEON.from_official(tmp_path / "more.npz")
    del variables["subtask2/fc1/gdn_x/reparam_beta"]
    np.savez(tmp_path / "less.npz", **variables)
    with pytest.raises(ValueError, match="missing: quality.gdn1.beta"):
        MEON.from_official(tmp_path / "less.npz")
    np.savez(tmp_path / "types.npz", **demo_variables())
    with pytest.raises(ValueError, match=r"distortion.fc2.weight \(5, 128, 1, 1\) instead of \(4, 128, 1, 1\)"):
        MEON.from_official(tmp_path / "types.npz", n_types=4)
    compile(CONVERSION, "conversion", "exec")


def test_no_network_is_taken_in_silence():
    with pytest.raises(FileNotFoundError, match="ece.uwaterloo.ca/~zduanmu/tip2018biqa.*parameters='random'"):
        MEON()
    with pytest.raises(FileNotFoundError, match="nowhere.pt"):
        MEON(parameters=Path("nowhere.pt"))
    assert "UNTRAINED" in repr(network())


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_flat_images_have_finite_scores_and_gradients(value):
    crops = torch.full((1, 1, 3, 256, 256), value, requires_grad=True)
    torch.manual_seed(0)
    loss = MEON(parameters="random").loss(crops, torch.zeros(1), torch.tensor([4]))
    loss.backward()
    assert loss.isfinite() and crops.grad.isfinite().all()
