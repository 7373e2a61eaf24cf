"""Amirshahi 2016 (our reconstruction): plain NumPy twins, what the pyramid sees of a shift, empty histograms, gradients."""

from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from hypothesis import given
from hypothesis import strategies as st

from iqa_lab.backbones.features import FeatureExtractor
from iqa_lab.backbones.weights import local_weights
from iqa_lab.distortions import distort
from iqa_lab.full_reference.amirshahi2016 import (
    Amirshahi2016, cell_sums, channel_masses, intersection, level_weights, value_counts)
from iqa_lab.images import read_pixels

PHOTO = Path(skimage.__file__).parent / "data" / "chelsea.png"
LAYERS = {"squeezenet": ("relu1", "fire3", "fire5", "fire7", "fire9"),
          "efficientnet_lite0": ("stem", "block2", "block4", "head"),
          "alexnet": ("relu1", "relu2", "relu3", "relu4", "relu5")}
HISTOGRAMS = {"channels": channel_masses, "values": value_counts}


def photos(side: int, shift: int = 0) -> torch.Tensor:
    pixels = read_pixels(PHOTO)[40:40 + side, 100 + shift:100 + shift + side]
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None].float() / 255


def random_maps(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(shape))
    return tuple((torch.rand(2, *shape, generator=generator, dtype=torch.float64) - 0.4).clamp_min(0))


def cell_of(maps: np.ndarray, row: int, column: int, cells: int) -> np.ndarray:
    height, width = maps.shape[1:]
    rows = [i for i in range(height) if i * cells // height == row]
    columns = [j for j in range(width) if j * cells // width == column]
    return maps[:, rows][:, :, columns]


def plain_counts(values: np.ndarray, top: float) -> np.ndarray:
    """Returns 32 bins of the positive values, each shared linearly by the two nearest centres."""
    counts = np.zeros(32)
    for value in values[values > 0]:
        place = min(max(32 * value / top - 0.5, 0), 31)
        low = min(int(place), 30)
        counts[low] += low + 1 - place
        counts[low + 1] += place - low
    return counts


def plain_intersection(p: np.ndarray, q: np.ndarray) -> float:
    if p.sum() == 0 or q.sum() == 0:
        return float(p.sum() == q.sum())
    return np.minimum(p / p.sum(), q / q.sum()).sum()


@pytest.mark.parametrize("cells", [1, 2, 4])
@pytest.mark.parametrize("size", [(9, 14), (4, 5)])
def test_equals_a_plain_version(size, cells):
    x, y = random_maps(2, 3, *size)
    x[:, 1, :4, :4] = 0  # empty histograms in some cells
    found = {name: intersection(*histograms(x, y, cells)) for name, histograms in HISTOGRAMS.items()}
    for n in range(2):
        a, b = x[n].numpy(), y[n].numpy()
        masses, counts = [], []
        for row, column in np.ndindex(cells, cells):
            of_a, of_b = (cell_of(maps, row, column, cells) for maps in (a, b))
            masses.append(plain_intersection(of_a.sum((1, 2)), of_b.sum((1, 2))))
            tops = np.maximum(a.max((1, 2)), b.max((1, 2)))
            counts += [plain_intersection(plain_counts(of_a[c], tops[c]), plain_counts(of_b[c], tops[c])) for c in range(3)]
        assert found["channels"][n].item() == pytest.approx(np.mean(masses), abs=1e-12)
        assert found["values"][n].item() == pytest.approx(np.mean(counts), abs=1e-12)


@given(st.integers(1, 23), st.integers(1, 23), st.sampled_from([1, 2, 4, 8]))
def test_every_position_lies_in_one_cell(height, width, cells):
    maps = torch.ones(1, 1, height, width, dtype=torch.float64)
    sums = cell_sums(maps, cells)
    assert sums.shape == (1, min(height, cells), min(width, cells), 1) and sums.sum() == height * width and sums.min() >= 1


@pytest.mark.parametrize("levels", [1, 2, 3, 5])
def test_level_weights_sum_to_one_and_favour_fine_levels(levels):
    weights = level_weights(levels)
    assert len(weights) == levels and sum(weights) == 1 and weights == sorted(weights)


def test_empty_histograms_agree_only_with_each_other():
    empty, full = torch.zeros(1, 1, 1, 1, 4), torch.ones(1, 1, 1, 1, 4)
    assert intersection(empty, empty) == 1 and intersection(empty, full) == 0 and intersection(full, empty) == 0


def test_channel_masses_do_not_see_contrast_and_value_counts_do():
    x, _ = random_maps(1, 5, 8, 8)
    assert intersection(*channel_masses(x, x / 2, 2)).item() == pytest.approx(1, abs=1e-12)
    assert intersection(*value_counts(x, x / 2, 2)).item() < 0.9


@pytest.mark.parametrize("histograms", HISTOGRAMS.values(), ids=HISTOGRAMS)
@pytest.mark.parametrize("backbone", ["squeezenet", "efficientnet_lite0"])
def test_range_identity_symmetry_and_batch(backbone, histograms):
    metric = Amirshahi2016(backbone=backbone, layers=LAYERS[backbone], histograms=histograms)
    x, y = torch.rand(2, 2, 3, 80, 97, generator=torch.Generator().manual_seed(2))
    scores = metric(x, y)
    assert ((scores > 0) & (scores < 1)).all()
    torch.testing.assert_close(scores, metric(y, x))
    torch.testing.assert_close(scores, torch.cat([metric(x[i:i + 1], y[i:i + 1]) for i in range(2)]), rtol=0, atol=1e-5)
    torch.testing.assert_close(metric(x, x), torch.ones(2), rtol=0, atol=1e-6)
    assert metric(x.double(), y.double()).dtype == torch.float64


def test_the_score_is_made_of_layers_and_layers_of_levels():
    x, y = photos(96), photos(96, 5)
    layers = ("fire3", "fire5")
    maps = FeatureExtractor("squeezenet", layers)(torch.cat((x, y)))
    metric = Amirshahi2016(backbone="squeezenet", layers=layers)
    levels = metric.level_scores(x, y)
    for number, both in enumerate(maps.values()):
        for level in range(3):
            expected = intersection(*channel_masses(*both.chunk(2), 2**level))
            torch.testing.assert_close(levels[:, number, level], expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(metric.layer_scores(x, y), levels[..., 0] / 4 + levels[..., 1] / 4 + levels[..., 2] / 2)
    first, second = metric.layer_scores(x, y).unbind(1)
    torch.testing.assert_close(metric(x, y), (first * second).sqrt())
    weighted = Amirshahi2016(backbone="squeezenet", layers=layers, layer_weights=(0.2, 0.8))
    torch.testing.assert_close(weighted(x, y), first**0.2 * second**0.8)
    with pytest.raises(ValueError, match="one weight for each of 2 layers, got 3"):
        Amirshahi2016(backbone="squeezenet", layers=layers, layer_weights=(1, 1, 1))


@pytest.mark.parametrize("backbone", LAYERS)
@pytest.mark.parametrize("shift", [4, 16])
def test_a_shift_changes_fine_levels_more_than_the_whole(backbone, shift):
    if backbone == "alexnet" and local_weights("alexnet_features") is None:
        pytest.skip("needs the folder of official weights, IQA_LAB_DATA or IQA_LAB_WEIGHTS")
    levels = Amirshahi2016(backbone=backbone, layers=LAYERS[backbone]).level_scores(photos(128), photos(128, shift))[0]
    assert (levels[:, 0] > levels[:, 1]).all() and (levels[:, 1] > levels[:, 2]).all()


@pytest.mark.parametrize("histograms", HISTOGRAMS.values(), ids=HISTOGRAMS)
@pytest.mark.parametrize("backbone", LAYERS)
@pytest.mark.parametrize("distortion", ["gaussian_blur", "white_noise", "jpeg"])
def test_falls_with_the_distortion(backbone, distortion, histograms):
    if backbone == "alexnet" and local_weights("alexnet_features") is None:
        pytest.skip("needs the folder of official weights, IQA_LAB_DATA or IQA_LAB_WEIGHTS")
    photo = read_pixels(PHOTO)[40:168, 100:228]
    images = [photo, *(distort(photo, distortion, level) for level in (1, 3, 5))]
    batch = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2)).float() / 255
    metric = Amirshahi2016(backbone=backbone, layers=LAYERS[backbone], histograms=histograms)
    assert (metric(batch, batch[:1].expand_as(batch)).diff() < 0).all()


@pytest.mark.parametrize("histograms", HISTOGRAMS.values(), ids=HISTOGRAMS)
def test_gradients(histograms):
    torch.manual_seed(0)
    layers = ("relu1", "fire2")
    metric = Amirshahi2016(backbone="squeezenet", layers=layers, weights="random", histograms=histograms).double()
    x, y = torch.rand(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    assert torch.autograd.gradcheck(metric, (x.requires_grad_(), y.requires_grad_()), fast_mode=True)
    for image in (y.detach(), torch.zeros_like(y), torch.full_like(y, 0.4)):
        distorted = image.clone().requires_grad_()
        for reference in (image, x.detach()):
            metric(distorted, reference).sum().backward()
            assert distorted.grad.isfinite().all()


def test_an_untrained_network_says_so():
    metric = Amirshahi2016(weights="random")
    assert metric.network.backbone == "alexnet" and "UNTRAINED" in repr(metric) and "channel_masses" in repr(metric)
