"""DeepQA: published numbers of the error map, every stage against slow twins, an honest start, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from iqa_lab.full_reference.deepqa import (DeepQA, grid_patches, log_error, remove_low_frequencies, shrink,
                                           total_variation)

TAPS = np.array([1, 4, 6, 4, 1]) / 16


def pair(height: int, width: int, n: int = 1, channels: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(height + width)
    reference = torch.rand(n, channels, height, width, generator=generator, dtype=torch.float64)
    noise = torch.randn(reference.shape, generator=generator, dtype=torch.float64)
    return (reference + 0.05 * noise).clamp(0, 1), reference


def network(*, trained: bool = True, **options) -> DeepQA:
    """Returns a float64 network; a "trained" one has another sensitivity in every place."""
    torch.manual_seed(0)
    model = DeepQA(parameters="random", **options).double().eval()
    if trained:
        torch.nn.init.normal_(model.joint[-2].weight, std=0.05)
    return model


def halved(x: np.ndarray) -> np.ndarray:
    return ndimage.convolve(x, np.outer(TAPS, TAPS), mode="constant")[::2, ::2]


def doubled(x: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    spread = np.zeros(shape)
    spread[::2, ::2] = x
    return ndimage.convolve(spread, 4 * np.outer(TAPS, TAPS), mode="constant")


def layer(x: np.ndarray, module: torch.nn.Conv2d, stride: int, slope: float) -> np.ndarray:
    weight, bias = module.weight.detach().numpy(), module.bias.detach().numpy()
    maps = np.stack([sum(ndimage.correlate(plane, kernel, mode="constant") for plane, kernel in zip(x, kernels)) + b
                     for kernels, b in zip(weight, bias)])[:, ::stride, ::stride]
    return np.where(maps > 0, maps, slope * maps)


def test_the_number_of_parameters_is_the_papers():
    assert sum(parameter.numel() for parameter in DeepQA(parameters="random").parameters()) == 130_510


@pytest.mark.parametrize("difference, expected", [(0, 1), (1, 0.937456), (10, 0.583568), (255, -1.4e-6)])
def test_the_error_map_of_single_differences(difference, expected):
    image = torch.full((1, 1, 1, 1), difference / 255, dtype=torch.float64)
    zero = torch.zeros_like(image)
    assert log_error(image, zero).item() == pytest.approx(expected, abs=5e-7)
    assert log_error(zero, image).item() == log_error(image, zero).item()


@pytest.mark.parametrize("size", [(40, 44), (41, 43), (42, 47)])
def test_halving_and_the_removal_of_low_frequencies_equal_the_plain_versions(size):
    x = pair(*size)[1]
    plain = x[0, 0].numpy()
    np.testing.assert_allclose(shrink(x)[0, 0].numpy(), halved(plain), rtol=1e-12)
    once = halved(plain)
    low = doubled(doubled(halved(once), once.shape), plain.shape)
    np.testing.assert_allclose(remove_low_frequencies(x)[0, 0].numpy(), plain - low, rtol=1e-9, atol=1e-12)


def test_maps_and_score_equal_a_slow_network():
    """The same layers written out with scipy and NumPy."""
    d, r = pair(38, 41)
    model = network()
    error = 1 - np.log((255 * (d - r)[0, 0].numpy())**2 + 1) / (2 * np.log(255))
    low = halved(d[0, 0].numpy())
    high = d[0, 0].numpy() - doubled(doubled(halved(low), low.shape), d.shape[2:])
    branches = []
    for image, branch in ((high, model.image), (error, model.error)):
        branches.append(layer(layer(image[None], branch[0], 1, 0.1), branch[2], 2, 0.1))
    x = np.concatenate(branches)
    for position, stride, slope in ((0, 1, 0.1), (2, 2, 0.1), (4, 1, 0.1), (6, 1, 0)):
        x = layer(x, model.joint[position], stride, slope)
    small = halved(halved(error))
    found = model.maps(d, r)
    for found_map, expected in zip(found, (small, x[0], x[0] * small), strict=True):
        np.testing.assert_allclose(found_map[0, 0].detach().numpy(), expected, rtol=1e-8, atol=1e-10)
    value = (x[0] * small)[4:-4, 4:-4].mean()
    w1, b1, w2, b2 = (p.detach().numpy() for p in (*model.fc1.parameters(), *model.fc2.parameters()))
    hidden = w1[:, 0] * value + b1
    expected = max(0, w2[0] @ np.where(hidden > 0, hidden, 0.1 * hidden) + b2[0])
    assert model(d, r).item() == pytest.approx(expected, rel=1e-9)


def test_the_start_is_the_plain_mean_of_the_log_error():
    d, r = pair(60, 70, n=3)
    model = network(trained=False)
    error, sensitivity, perceptual = model.maps(d, r)
    assert (sensitivity == 1).all() and torch.equal(perceptual, error)
    inside = error[..., 4:-4, 4:-4].mean((1, 2, 3))
    torch.testing.assert_close(model(d, r) / inside, model(r, r))  # a line through 0, identical = 1


@pytest.mark.parametrize("seed", range(12))
def test_no_network_starts_below_its_last_relu(seed):
    torch.manual_seed(seed)
    assert DeepQA(parameters="random")(*(image.float() for image in pair(40, 40))).item() > 0


def test_training_reaches_both_branches():
    d, r = pair(48, 48, n=4)
    model = network(trained=False)
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(2):  # the kernels that start at 0 hide the others in the first step
        optimiser.zero_grad()
        model.loss(d[:, None], r[:, None], torch.tensor([0.2, 0.4, 0.6, 0.8])).backward()
        optimiser.step()
    assert all((value != before[name]).any() for name, value in model.named_parameters())


def slow_patches(image: torch.Tensor) -> list[torch.Tensor]:
    """The patches as the authors' loader cuts them, one by one."""
    corners = []
    for length in image.shape[2:]:
        count = (length - 112) // 80 + 1
        left_over = length - (80 * (count - 1) + 112)
        shift = (left_over + 1) // 2
        corners.append([80 * k + shift - shift % 2 for k in range(count)])
    return [image[..., top:top + 112, left:left + 112] for top in corners[0] for left in corners[1]]


@pytest.mark.parametrize("size", [(112, 112), (191, 192), (193, 287), (384, 512)])
def test_patches_are_those_of_the_authors_loader(size):
    image = pair(*size, n=2, channels=3)[0]
    assert torch.equal(grid_patches(image), torch.stack(slow_patches(image), 1))


def test_scores_of_patches_come_from_the_mean_over_all_of_them():
    d, r = pair(200, 115)
    whole, cut = network(), network(patches=True)
    maps = [whole.maps(*patches)[2][..., 4:-4, 4:-4] for patches in zip(slow_patches(d), slow_patches(r), strict=True)]
    mean = torch.stack([part.mean() for part in maps]).mean()
    assert len(maps) == 2
    expected = whole.score(mean.expand(1, 1, 9, 9), 1)
    torch.testing.assert_close(cut(d, r), expected)
    assert (cut(d, r) - whole(d, r)).abs() > 1e-6
    torch.testing.assert_close(cut(d[..., :112, :112], r[..., :112, :112]), whole(d[..., :112, :112], r[..., :112, :112]))


def test_the_loss_equals_the_slow_one():
    d, r = pair(112, 112, n=6)
    model, targets = network(), torch.tensor([0.3, 0.9], dtype=torch.float64)
    _, sensitivity, perceptual = model.maps(d, r)
    s = sensitivity.detach().numpy()
    g_x, g_y = (np.stack([ndimage.sobel(plane[0], axis)[1:-1, 1:-1] for plane in s]) for axis in (0, 1))
    variation = np.mean(np.hypot(g_x, g_y)**3)
    scores = [model.score(part, 1).item() for part in perceptual.split(3)]
    expected = 1e3 * np.mean((np.array(scores) - targets.numpy())**2) + 1e-2 * variation
    loss = model.loss(d.view(2, 3, 1, 112, 112), r.view(2, 3, 1, 112, 112), targets)
    assert variation > 1e-6 and loss.item() == pytest.approx(expected, rel=1e-9)


def test_the_total_variation_of_flat_maps_and_ramps():
    flat = torch.full((1, 1, 8, 9), 0.7, dtype=torch.float64, requires_grad=True)
    total_variation(flat).backward()
    assert total_variation(flat) == 0 and (flat.grad == 0).all()
    ramp = torch.arange(9.0).expand(1, 1, 8, 9)
    assert total_variation(ramp).item() == pytest.approx(8**3)  # Sobel's answer to a slope of 1 is 8


@pytest.mark.parametrize("case", ["identical", "flat", "black and white"])
def test_loss_and_gradients_are_finite_where_nothing_varies(case):
    flat = torch.full((1, 1, 40, 40), 0.4)
    d, r = {"identical": [pair(40, 40)[1].float()] * 2, "flat": (flat, flat),
            "black and white": (torch.zeros_like(flat), torch.ones_like(flat))}[case]
    d = d.clone().requires_grad_()
    model = network(trained=False).float()
    loss = model.loss(d[:, None], r[:, None], torch.tensor([0.5]))
    loss.backward()
    assert loss.isfinite() and all(x.grad.isfinite().all() for x in (d, *model.parameters()))


def test_gradcheck():
    d, r = pair(34, 35)
    model = network()
    with torch.no_grad():  # away from the last ReLU
        model.fc2.bias.fill_(1)
    assert torch.autograd.gradcheck(model, (d.requires_grad_(), r.requires_grad_()), fast_mode=True)


def test_scores_keep_type_and_do_not_depend_on_the_batch():
    d, r = pair(64, 72, n=3, channels=3)
    model = network()
    together = model(d, r)
    torch.testing.assert_close(together, torch.cat([model(d[i:i + 1], r[i:i + 1]) for i in range(3)]))
    assert torch.equal(together, model(d, r))
    single = network().float()(d, r)
    assert single.dtype == torch.float64 and network().float()(d.float(), r.float()).dtype == torch.float32
    torch.testing.assert_close(single, together, rtol=1e-4, atol=1e-5)


def test_rescaling_moves_the_scores():
    d, r = pair(40, 40, n=2)
    model = network()
    before = model(d, r)
    model.rescale_output(2.0, 3.0)
    model.rescale_output(10.0, 0.5)
    torch.testing.assert_close(model(d, r), 0.5 * (3 * before + 2) + 10)


def test_a_trained_network_comes_back_from_its_file(tmp_path):
    d, r = pair(40, 40)
    model = network().float()
    model.rescale_output(2.0, 3.0)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    loaded = DeepQA(parameters=tmp_path / "weights.pt")
    assert torch.equal(loaded(d, r), model(d, r))
    assert "UNTRAINED" in repr(model) and "UNTRAINED" not in repr(loaded)
    state = model.state_dict()
    state["fc9.bias"] = state.pop("fc2.bias")
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="missing: fc2.bias; unexpected: fc9.bias"):
        DeepQA(parameters=tmp_path / "other.pt")


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(FileNotFoundError, match="no trained network.*random"):
        DeepQA()
    with pytest.raises(FileNotFoundError, match="nowhere.pt"):
        DeepQA(parameters=Path("nowhere.pt"))
    model = network()
    assert model(*pair(33, 33)).isfinite()
    with pytest.raises(ValueError, match="33 pixels"):
        model(*pair(32, 40))
    with pytest.raises(ValueError, match="112 pixels"):
        network(patches=True)(*pair(111, 130))
