"""SWDN against LPIPS, a slow version of the warping, its limits; what it does to a shifted image."""

from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torchvision import models

from iqa_lab import load_image
from iqa_lab.backbones.checkpoints import read_state
from iqa_lab.backbones.weights import find_weights
from iqa_lab.full_reference.lpips import BACKBONES, LPIPS
from iqa_lab.full_reference.swdn import SWDN, displacements, soft_minimum, window_differences

PHOTOS = Path(skimage.__file__).parent / "data"
TORCHVISION = {"alexnet": models.alexnet, "squeezenet": models.squeezenet1_1, "vgg16": models.vgg16}
#: the positions of the layers of LPIPS among torchvision's features
TAPS = {"alexnet": (1, 4, 7, 9, 11), "squeezenet": (1, 4, 7, 9, 10, 11, 12), "vgg16": (3, 8, 15, 22, 29)}


def random_maps(seed: int, shape: tuple[int, ...] = (2, 4, 5, 6)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(2, *shape, generator=generator, dtype=torch.float64))


def random_pair(height: int, width: int, n: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(image.float() for image in random_maps(height + width, (n, 3, height, width)))


def crop(image: torch.Tensor, rows: int, columns: int, side: int = 160) -> torch.Tensor:
    """Returns a crop of the photo that is displaced: no border moves in."""
    return image[:, :, 60 + rows:60 + rows + side, 100 + columns:100 + columns + side]


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    return load_image(PHOTOS / "chelsea.png")


@pytest.fixture(scope="module")
def by_range() -> list[SWDN]:
    """R = 0 to 3 with one and the same network, the shipped SqueezeNet."""
    return [SWDN(backbone="squeezenet", range=radius) for radius in range(4)]


@pytest.mark.parametrize("backbone", TORCHVISION)
def test_range_zero_without_blurred_pooling_is_lpips(backbone, tmp_path):
    torch.manual_seed(0)
    network = TORCHVISION[backbone](weights=None).eval().requires_grad_(False)
    torch.save(network.state_dict(), tmp_path / "official.pth")
    name = f"lpips_v0.1_{BACKBONES[backbone].official}"
    heads = list(read_state(find_weights(name)).values())
    x, y = random_pair(64, 80)
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected, maps = 0, [(image - mean) / std for image in (x, y)]
    for i, layer in enumerate(network.features):
        maps = [layer(image) for image in maps]
        if i in TAPS[backbone]:
            a, b = (image / (image.square().sum(1, keepdim=True).sqrt() + 1e-10) for image in maps)
            expected = expected + F.conv2d((a - b).square(), heads[TAPS[backbone].index(i)]).mean((1, 2, 3))
    options = {"backbone": backbone, "weights": tmp_path / "official.pth"}
    found = SWDN(**options, parameters=name, range=0, anti_aliased=False)(x, y)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(found, LPIPS(**options)(x, y), rtol=1e-5, atol=1e-8)
    baseline = SWDN(**options, range=0, anti_aliased=False)(x, y)
    torch.testing.assert_close(baseline, LPIPS(**options, heads=False)(x, y), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("radius", range(3))
def test_equals_the_slow_version(radius):
    x, y = random_maps(radius)
    head = torch.rand(4, dtype=torch.float64)
    plain, weighted = window_differences(x, y, head, radius)
    hard, soft = soft_minimum(plain, weighted, 0), soft_minimum(plain, weighted, 0.3)
    for n, i, j in np.ndindex(2, 5, 6):
        window = [y[n, :, min(max(i + a, 0), 4), min(max(j + b, 0), 5)] for a, b in displacements(radius)]
        costs = np.array([((x[n, :, i, j] - q)**2).sum().item() for q in window])
        np.testing.assert_allclose(plain[:, n, i, j], costs)
        values = np.array([(head * (x[n, :, i, j] - q)**2).sum().item() for q in window])
        shares = np.exp(-costs / 0.3) / np.exp(-costs / 0.3).sum()
        assert hard[n, i, j].item() == pytest.approx(values[costs.argmin()])
        assert soft[n, i, j].item() == pytest.approx((shares * values).sum())


@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_temperature_goes_from_the_nearest_match_to_the_mean(seed, radius):
    x, y = random_maps(seed)
    plain, weighted = window_differences(x, y, torch.ones(4, dtype=torch.float64), radius)
    hard = soft_minimum(plain, weighted, 0)
    torch.testing.assert_close(hard, plain.amin(0))
    torch.testing.assert_close(soft_minimum(plain, weighted, 1e-9), hard, rtol=0, atol=1e-7)
    torch.testing.assert_close(soft_minimum(plain, weighted, 1e9), weighted.mean(0), rtol=1e-6, atol=1e-6)
    assert (soft_minimum(plain, weighted, 0.5) >= hard - 1e-12).all()  # the nearest is the least where heads are uniform


@given(st.integers(0, 2**32 - 1))
def test_a_wider_range_is_never_farther_with_uniform_heads(seed):
    x, y = random_maps(seed)
    head = torch.ones(4, dtype=torch.float64)
    maps = [soft_minimum(*window_differences(x, y, head, radius), 0) for radius in range(4)]
    assert all((wide <= narrow).all() for narrow, wide in zip(maps, maps[1:]))


@given(st.integers(0, 2**32 - 1), st.integers(-3, 3), st.integers(-3, 3))
def test_a_displacement_within_the_range_costs_nothing_inside(seed, rows, columns):
    _, y = random_maps(seed, (1, 3, 12, 13))
    x = torch.roll(y, (rows, columns), (2, 3))
    radius = max(abs(rows), abs(columns))
    difference = soft_minimum(*window_differences(x, y, torch.ones(3, dtype=torch.float64), radius), 0)
    assert difference[:, 3:-3, 3:-3].max() == 0
    narrower = soft_minimum(*window_differences(x, y, torch.ones(3, dtype=torch.float64), max(radius - 1, 0)), 0)
    assert (narrower[:, 3:-3, 3:-3].min() > 0) == (radius > 0)


def test_among_equal_matches_the_nearest_position_wins():
    assert displacements(0) == [(0, 0)] and displacements(2)[0] == (0, 0) and len(set(displacements(2))) == 25
    assert {max(map(abs, v)) for v in displacements(2)[:9]} == {0, 1}
    plain, weighted = window_differences(*(torch.ones(1, 2, 4, 4),) * 2, torch.ones(2), 1)
    weighted = weighted + torch.arange(9).view(9, 1, 1, 1)
    assert soft_minimum(plain, weighted, 0).equal(torch.zeros(1, 4, 4))


def test_shifted_photo_by_range(photo, by_range):
    """For every shift the distance falls with the range, and the identical image has none."""
    reference = crop(photo, 0, 0)
    shifted = torch.cat([crop(photo, 0, shift) for shift in range(5)])
    scores = torch.stack([metric(shifted, reference.expand_as(shifted)) for metric in by_range])  # R, shift
    assert scores[:, 0].eq(0).all() and (scores[:, 1:] > 0).all()
    assert (scores[1:, 1:] < scores[:-1, 1:]).all()
    assert (scores[0, 2:] > scores[0, 1:2]).all()  # in place, one pixel is the smallest shift


def test_a_shift_by_the_stride_is_a_shift_of_the_first_maps(photo, by_range):
    pair = (by_range[1].features(crop(photo, 2 * rows, -2)) for rows in (0, 1))
    x, y = (maps["relu1"] for maps in pair)  # the first convolution of SqueezeNet takes every other pixel
    inside = slice(2, -2)
    in_place, warped = (metric.difference_map(x, y, metric.heads["relu1"])[:, inside, inside] for metric in by_range[:2])
    assert warped.max() < 1e-10 < 1e-3 < in_place.max()


def test_the_minimum_is_not_symmetric(by_range):
    x, y = random_pair(64, 80)
    torch.testing.assert_close(by_range[0](x, y), by_range[0](y, x))
    noisy, flat = x[:1], torch.full_like(x[:1], 0.5)
    there, back = by_range[1](noisy, flat).item(), by_range[1](flat, noisy).item()
    assert abs(there - back) > 0.01 * there


def test_temperature_leaves_a_distance_of_the_neighbours(photo):
    image = crop(photo, 0, 0)
    hard, soft = (SWDN(backbone="squeezenet", temperature=tau) for tau in (0, 0.1))
    assert hard(image, image).item() == 0 < soft(image, image).item()
    assert SWDN(backbone="squeezenet", temperature=0.1, range=0)(image, image).item() == 0


@pytest.mark.parametrize("backbone", BACKBONES)
def test_blurred_pooling_is_an_option(backbone):
    torch.manual_seed(0)
    blurred = SWDN(backbone=backbone, weights="random")
    plain = SWDN(backbone=backbone, weights="random", anti_aliased=False)
    plain.load_state_dict(blurred.state_dict())
    x, y = random_pair(64, 80)
    scores = blurred(x, y), plain(x, y)
    assert all(((0 < score) & (score < 2 * len(blurred.heads))).all() for score in scores)
    assert (scores[0] - scores[1]).abs().min() > 1e-4
    assert "NOT TRAINED" in repr(blurred) and "UNTRAINED: random weights" in repr(blurred)


def test_features_of_a_reference_can_be_kept(by_range):
    x, y = random_pair(48, 64, 3)
    kept = by_range[1].features(y[:1])
    expected = by_range[1](x, y[:1].expand(3, -1, -1, -1))
    torch.testing.assert_close(by_range[1].distance(by_range[1].features(x), kept), expected)


@pytest.mark.parametrize("temperature", [0, 0.2])
def test_gradients(temperature):
    x, y = (maps.requires_grad_() for maps in random_maps(5, (1, 3, 4, 4)))
    head = torch.rand(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *inputs: soft_minimum(*window_differences(*inputs, 1), temperature), (x, y, head))
    metric = SWDN(backbone="squeezenet", temperature=temperature)
    metric.heads.requires_grad_(True)
    image = torch.rand(1, 3, 40, 48, requires_grad=True)
    for reference in (image.detach(), torch.full_like(image, 0.5)):
        metric(image, reference).sum().backward()
        assert image.grad.isfinite().all()
    assert all(head.grad.isfinite().all() for head in metric.heads.values()) and metric.heads["fire9"].grad.abs().sum() > 0


def test_heads_that_were_trained_are_loaded(tmp_path, by_range):
    trained = SWDN(backbone="squeezenet")
    for head in trained.heads.values():
        head.uniform_()
    torch.save(trained.heads.state_dict(), tmp_path / "heads.pth")
    x, y = random_pair(48, 64)
    loaded = SWDN(backbone="squeezenet", parameters=tmp_path / "heads.pth")
    assert loaded(x, y).equal(trained(x, y)) and (loaded(x, y) - by_range[1](x, y)).abs().min() > 1e-3
    assert "NOT TRAINED" not in repr(loaded) and "heads.pth" in repr(loaded)
    with pytest.raises(ValueError, match="unexpected: fire3"):
        SWDN(weights="random", parameters=tmp_path / "heads.pth")


@pytest.mark.parametrize("options, message", [({"range": -1}, "got -1"), ({"temperature": -0.1}, "got 1 and -0.1"),
                                              ({"backbone": "resnet50"}, "Expected a backbone of SWDN")])
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SWDN(weights="random", **options)
