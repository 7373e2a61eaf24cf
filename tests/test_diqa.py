"""DIQA: published numbers of its maps, sizes of its layers, slow twins of every part, and both stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from iqa_lab import images
from iqa_lab.no_reference.diqa import (DIQA, average_reliability, error_map, reliability_map, split_frequencies,
                                       weighted_error)
from iqa_lab.ops.color import rgb_to_luma

SMALL = 1 / 16
BINOMIAL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
STRIDES = (1, 2, 1, 2, 1, 1, 1, 1)


def photos(n: int, height: int, width: int, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height + width)
    return torch.rand(n, channels, height, width, generator=generator, dtype=torch.float64)


def network(*, width: float = SMALL, **options) -> DIQA:
    torch.manual_seed(0)
    return DIQA(parameters="random", width=width, **options).double().eval()


def full(value: float, side: int = 8) -> torch.Tensor:
    return torch.full((1, 1, side, side), value, dtype=torch.float64)


def slow_low(gray: np.ndarray) -> np.ndarray:
    """Returns the low-frequency image, from binomial filters on a far larger mirrored image."""
    low = np.pad(gray, 40, mode="symmetric")
    sizes = [low.shape]
    for _ in range(2):
        low = ndimage.convolve(low, BINOMIAL, mode="constant")[::2, ::2]
        sizes.append(low.shape)
    for size in (sizes[1], sizes[0]):
        spread = np.zeros(size)
        spread[::2, ::2] = low
        low = ndimage.convolve(spread, 4 * BINOMIAL, mode="constant")
    return low[40:-40, 40:-40]


def blocks(x: np.ndarray) -> np.ndarray:
    return x.reshape(x.shape[0] // 4, 4, x.shape[1] // 4, 4).mean((1, 3))


def slow_features(trunk: torch.nn.Sequential, high: np.ndarray) -> np.ndarray:
    x = high[None]
    for k, stride in enumerate(STRIDES, 1):
        weight, bias = (p.detach().numpy() for p in trunk.get_submodule(f"conv{k}").parameters())
        x = np.stack([sum(ndimage.correlate(plane, kernel, mode="constant") for plane, kernel in zip(x, kernels)) + b
                      for kernels, b in zip(weight, bias)])[:, ::stride, ::stride].clip(0)
    return x


def test_the_numbers_of_parameters_are_the_papers():
    def count(module: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    model = DIQA(parameters="random")
    assert [count(part) for part in (model.trunk, model.error, model.quality)] == [381_200, 129, 16_897]
    assert count(DIQA(parameters="random", handcrafted=False).quality) == 16_897 - 2 * 128


@pytest.mark.parametrize("difference, expected", [(0, 0), (0.01, 0.398107), (0.1, 0.630957), (0.5, 0.870551), (1, 1)])
def test_the_error_map_of_single_differences(difference, expected):
    for sign in (-1, 1):
        assert error_map(full(sign * difference), full(0))[0, 0, 0, 0].item() == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize("high, expected", [(0, 0), (0.1, 0.049958), (0.5, 0.244919), (2, 0.761594)])
def test_the_reliability_map_of_single_values(high, expected):
    for sign in (-1, 1):
        assert reliability_map(full(sign * high), 1.0)[0, 0, 0, 0].item() == pytest.approx(expected, abs=5e-7)
    assert reliability_map(full(high), 2.0).max() > reliability_map(full(high), 1.0).max() or high == 0


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 1), st.floats(0.01, 300))
def test_the_reliability_is_the_formula(high, alpha):
    found = reliability_map(full(high), alpha).max().item()
    assert found == pytest.approx(2 / (1 + np.exp(-alpha * high)) - 1, abs=1e-12) and 0 <= found <= 1


@pytest.mark.parametrize("size", [(16, 20), (40, 44), (60, 28)])
def test_low_frequencies_are_those_of_an_image_that_goes_on(size):
    image = photos(2, *size)
    high, low = split_frequencies(image, torch.float64)
    for one, h, l in zip(image, high, low, strict=True):
        gray = rgb_to_luma(one[None])[0, 0].numpy()
        np.testing.assert_allclose(l[0].numpy(), slow_low(gray), rtol=1e-9)
        np.testing.assert_allclose((h + l)[0].numpy(), gray, rtol=1e-12)


def test_there_is_no_frame():
    """A flat image has no high frequencies, at its border neither."""
    high, low = split_frequencies(full(0.6, 32), torch.float64)
    assert high.abs().max() < 1e-12 and (low - 0.6).abs().max() < 1e-12


def test_the_average_reliability_has_the_mean_1_and_is_0_in_flat_images():
    high, _ = split_frequencies(photos(3, 40, 48), torch.float64)
    high[1] *= 0.01
    found = average_reliability(high, 1.0)
    assert found.shape == (3, 1, 10, 12)
    torch.testing.assert_close(found.mean((1, 2, 3)), torch.ones(3, dtype=torch.float64))
    r = np.tanh(np.abs(high[0, 0].numpy()) / 2)
    np.testing.assert_allclose(found[0, 0].numpy(), blocks(r) / r.mean(), rtol=1e-9)
    assert average_reliability(split_frequencies(full(0.3, 32).float(), torch.float32)[0], 1.0).max() < 0.1
    assert (average_reliability(torch.zeros(1, 1, 8, 8), 1.0) == 0).all()


def test_alpha_decides_only_where_it_saturates():
    """In [0, 1] alpha = 1 is as good as none: the reliability is proportional to the high frequencies."""
    high, _ = split_frequencies(photos(1, 40, 48), torch.float64)
    proportional = torch.nn.functional.avg_pool2d(high.abs(), 4) / high.abs().mean()
    spread = {alpha: average_reliability(high, alpha) for alpha in (0.01, 1.0, 255.0)}
    torch.testing.assert_close(spread[0.01], proportional, rtol=1e-4, atol=0)
    torch.testing.assert_close(spread[1.0], proportional, rtol=0.03, atol=0)
    assert spread[255.0].std() < 0.5 * proportional.std()


@pytest.mark.parametrize("handcrafted", [True, False])
@pytest.mark.parametrize("size", [(16, 16), (43, 30)])
def test_maps_and_score_equal_a_slow_network(size, handcrafted):
    image, model = photos(1, *size), network(handcrafted=handcrafted)
    gray = rgb_to_luma(image)[0, 0, :size[0] // 4 * 4, :size[1] // 4 * 4].numpy()
    low = slow_low(gray)
    features = slow_features(model.trunk, gray - low)
    reliability = np.tanh(np.abs(gray - low) / 2)
    error, found_reliability = model.maps(image)
    weight, bias = (p.detach().numpy() for p in model.error.parameters())
    np.testing.assert_allclose(error[0, 0].detach().numpy(), np.tensordot(weight[0, :, 0, 0], features, 1) + bias, rtol=1e-8)
    np.testing.assert_allclose(found_reliability[0, 0].numpy(), blocks(reliability) / reliability.mean(), rtol=1e-8)
    v = np.concatenate((features.mean((1, 2)), [reliability.mean(), low.std()] if handcrafted else []))
    w1, b1, w2, b2 = (p.detach().numpy() for p in model.quality.parameters())
    assert model(image).item() == pytest.approx((w2 @ np.maximum(w1 @ v + b1, 0) + b2).item(), rel=1e-8)


def test_what_lies_beyond_the_last_block_is_not_looked_at():
    image, model = photos(1, 43, 34), network()
    changed = image.clone()
    changed[..., 40:, :], changed[..., 32:] = 0, 1
    assert torch.equal(model(changed), model(image)) and torch.equal(model.maps(changed)[0], model.maps(image)[0])
    assert model.maps(image)[0].shape == model.maps(image)[1].shape == (1, 1, 10, 8)


def test_maps_lie_as_the_image_does():
    """A black square in a gray image is found in its place, and nowhere far from it."""
    flat, model = full(0.5, 128), network()
    image = flat.clone()
    image[..., 32:40, 80:88] = 0  # rows 8 and 9 of the maps, columns 20 and 21
    error, reliability = (part[0, 0].detach() for part in model.maps(image))
    change = (error - model.maps(flat)[0][0, 0]).abs()
    for found, blur, reach in ((reliability, 1, 3.5), (change, 4, 11)):
        weight, places = found / found.sum(), torch.arange(32.0)
        assert abs((weight.sum(1) * places).sum() - 8.5) < blur and abs((weight.sum(0) * places).sum() - 20.5) < blur
        far = ((places[:, None] - 8.5).abs() > reach) | ((places - 20.5).abs() > reach)
        assert found[far].max() < 1e-6 * found.max()


def test_the_loss_of_the_first_stage_equals_the_slow_one():
    distorted, reference = photos(4, 20, 24), photos(4, 24, 20).mT
    model = network()
    errors = []
    for d, r in zip(distorted, reference, strict=True):
        gray_d, gray_r = (rgb_to_luma(one[None])[0, 0].numpy() for one in (d, r))
        high_d, high_r = gray_d - slow_low(gray_d), gray_r - slow_low(gray_r)
        reliability = np.tanh(np.abs(high_d) / 2)
        predicted = model.maps(d[None])[0][0, 0].detach().numpy()
        errors.append(((predicted - blocks(np.abs(high_d - high_r)**0.2)) * blocks(reliability) / reliability.mean())**2)
    found = model.error_loss(distorted.view(2, 2, 3, 20, 24), reference.view(2, 2, 3, 20, 24))
    assert found.item() == pytest.approx(np.mean(errors), rel=1e-8)


def test_targets_and_reliability_do_not_learn():
    """The infinite derivative of |x|^0.2 at 0 reaches nothing."""
    model, crops = network(), photos(2, 16, 16)[:, None].requires_grad_()
    loss = model.error_loss(crops, crops.clone())
    loss.backward()
    assert crops.grad.isfinite().all() and all(p.grad.isfinite().all() for p in model.trunk.parameters())
    high = torch.randn(1, 1, 8, 8, requires_grad=True)
    predicted = torch.zeros(1, 1, 2, 2, requires_grad=True)
    weighted_error(predicted, high, high.detach(), 1.0).backward()
    assert high.grad is None and predicted.grad.abs().max() == 0  # e = e_gt = 0


def test_the_loss_of_the_second_stage():
    model, crops = network(), photos(6, 16, 20).view(2, 3, 3, 16, 20)
    targets = torch.tensor([0.2, -1.0], dtype=torch.float64)
    scores = model(crops.flatten(0, 1)).view(2, 3)
    expected = (scores - targets[:, None]).square().mean().item()
    loss = model.loss(crops, targets)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    loss.backward()
    assert model.error.weight.grad is None and model.trunk.conv1.weight.grad.abs().max() > 0


def test_learning_lowers_both_losses():
    torch.manual_seed(0)
    model = DIQA(parameters="random", width=0.125)
    reference = torch.rand(4, 2, 1, 16, 16)
    strength = torch.tensor([0.5, 0.5, 0.02, 0.02]).view(4, 1, 1, 1, 1)
    distorted, targets = reference + strength * torch.randn(reference.shape), torch.tensor([1.0, 1.0, -1.0, -1.0])
    optimiser = torch.optim.NAdam(model.parameters(), 2e-3)
    for loss_of in (lambda: model.error_loss(distorted, reference), lambda: model.loss(distorted, targets)):
        losses = []
        for _ in range(30):
            losses.append(loss_of())
            optimiser.zero_grad()
            losses[-1].backward()
            optimiser.step()
        assert min(losses[-3:]) < 0.6 * losses[0]


def test_neither_batch_nor_parts_matter(monkeypatch):
    model, image = network(), photos(3, 32, 40)
    together = model(image)
    torch.testing.assert_close(torch.cat([model(image[i:i + 1]) for i in range(3)]), together)
    monkeypatch.setattr(images, "PIXELS_AT_ONCE", 2 * 32 * 40)
    torch.testing.assert_close(model(image), together)
    single = network().float()
    assert single(image).dtype == torch.float64 and single(image.float()).dtype == torch.float32
    torch.testing.assert_close(single(image), together, rtol=1e-4, atol=1e-5)
    gray = rgb_to_luma(image)
    torch.testing.assert_close(model(gray), together)


def test_gradcheck_and_flat_images():
    model = network()
    assert torch.autograd.gradcheck(model, photos(1, 16, 16).requires_grad_(), fast_mode=True)
    flat = torch.full((1, 2, 3, 16, 16), 0.4, requires_grad=True)
    model.float()
    (model.loss(flat, torch.tensor([0.5])) + model.error_loss(flat, flat.detach())).backward()
    assert flat.grad.isfinite().all() and all(p.grad.isfinite().all() for p in model.parameters())


def test_rescaling_moves_the_scores():
    model, image = network(), photos(2, 16, 24)
    before = model(image)
    model.rescale_output(50.0, 20.0)
    torch.testing.assert_close(model(image), 20 * before + 50)


def test_a_saved_network_comes_back_and_others_are_refused(tmp_path):
    model, image = network().float(), photos(1, 16, 24).float()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    again = DIQA(parameters=tmp_path / "weights.pt", width=SMALL)
    assert torch.equal(again(image), model(image)) and "UNTRAINED" in repr(model) and "UNTRAINED" not in repr(again)
    with pytest.raises(ValueError, match="quality.fc1.weight"):
        DIQA(parameters=tmp_path / "weights.pt", width=SMALL, handcrafted=False)


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(FileNotFoundError, match="no trained network.*random"):
        DIQA()
    with pytest.raises(FileNotFoundError, match="nowhere.pt"):
        DIQA(parameters=Path("nowhere.pt"))
    for call in (network(), network().maps):
        with pytest.raises(ValueError, match="16 pixels"):
            call(photos(1, 15, 40))
