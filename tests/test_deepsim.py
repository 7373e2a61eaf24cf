"""DeepSim: similarity and poolings of the authors' MATLAB code, SciPy twins, dead maps, vectors and gradients."""

from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate2d

from iqa_lab.backbones.features import FeatureExtractor
from iqa_lab.distortions import distort
from iqa_lab.full_reference.deepsim import SQUEEZENET_MAPS, VGG16_MAPS, DeepSim, pooled, similarity_map
from iqa_lab.images import read_pixels
from iqa_lab.ops.resize import resize

PHOTO = Path(skimage.__file__).parent / "data" / "chelsea.png"
POOLINGS = ("SD", "MAD", "FD", *(p / 10 for p in range(1, 11)))  # in the order of the authors' 'All'
#: Layer scores of MSSIM.m and pooling.m of fei-aiart/deepsim at 54c7ada, run for this test in GNU Octave 7.3 on the maps of
#: :func:`integer_maps`, by channels, height and width; each pooling stands for both stages, as in their 'All'.
OFFICIAL = {
    (5, 13, 17): (
        0.00180162418987, 0.00100807993819, 0.00138247491696, 0.977603747284, 0.978888010558, 0.980232630146,
        0.98111718709, 0.98235775331, 0.983020470871, 0.98380019275, 0.984367931275, 0.987982510124, 0.988580106771),
    (4, 7, 7): (
        0.00173840866677, 0.000981444007251, 0.00133081101446, 0.980695931311, 0.981657897643, 0.983787693234,
        0.984275610435, 0.984821371484, 0.986041610918, 0.98655467531, 0.990277824281, 0.990640515953, 0.99097420913),
    (3, 2, 3): (
        0.00246838238087, 0.00142324284648, 0.00191035699803, 0.977569882751, 0.979741231996, 0.979741231996,
        0.983431507209, 0.983431507209, 0.984308794525, 0.990075177902, 0.990075177902, 0.990694304359,
        0.990694304359),
    (3, 1, 6): (
        0.00860147730906, 0.00527687286617, 0.00682822740943, 0.944734780772, 0.95241326249, 0.95241326249,
        0.966745776049, 0.966745776049, 0.971533324228, 0.983488678541, 0.983488678541, 0.985503537404,
        0.985503537404),
}
OFFICIAL_VECTOR = (0.266074216196, 0.187094061787, 0.226584138992, 0.123618805724, 0.378104018171, 0.535680958107,
                   0.601710698937, 0.66568760273, 0.712388961994, 0.754615263432, 0.776629393474, 0.801156541959,
                   0.821040887764)  # likewise, of a fully connected layer with the values of integer_vectors


def integer_maps(channels: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns distorted and reference activations, 0 or more; those of the first channel are all 0."""
    c, i, j = np.ogrid[:channels, :height, :width]
    base = (7 * i * i + 3 * j * j + 11 * i * j + 5 * c * (i + 1)) % 29 - 9
    maps = np.maximum(0, base + (i + 2 * j + c) % 5 - 2) * c / 4, np.maximum(0, base) * c / 4
    return tuple(torch.from_numpy(values)[None] for values in maps)


def integer_vectors() -> tuple[torch.Tensor, torch.Tensor]:
    k = np.arange(40)
    reference = (7 * k * k + 3 * k) % 31 - 12
    return tuple(torch.from_numpy(values.astype(float))[None] for values in (reference + 3 * k % 7 - 3, reference))


def small(**options) -> DeepSim:
    return DeepSim(backbone="squeezenet", layers=("relu1", "fire2"), **options)


def random_pair(height: int, width: int, n: int = 2, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(2, n, 3, height, width, generator=torch.Generator().manual_seed(height), dtype=dtype)


@pytest.mark.parametrize("shape", OFFICIAL, ids=str)
@pytest.mark.parametrize("number", range(13))
def test_layer_scores_are_those_of_the_authors_code(shape, number):
    metric = small(inside=POOLINGS[number], over_maps=POOLINGS[number])
    score = metric.layer_score(*integer_maps(*shape)).item()
    assert score == pytest.approx(OFFICIAL[shape][number], abs=1e-11)


@pytest.mark.parametrize("number", range(13))
def test_vectors_are_compared_as_by_the_authors_code(number):
    if POOLINGS[number] in (0.3, 0.6, 0.7):
        pytest.skip("in floating point 0.3 of 40 is above 12 for MATLAB's range 0.1:0.1:1, which then takes 13 values")
    x, y = integer_vectors()
    metric = small(inside=POOLINGS[number])
    for shape in ((1, 40), (1, 40, 1, 1)):
        assert metric.layer_score(x.view(shape), y.view(shape)).item() == pytest.approx(OFFICIAL_VECTOR[number], abs=1e-11)


@pytest.mark.parametrize("L, loudness", [(None, 40), (None, 0.6), (7.0, 40)])
def test_similarity_equals_a_plain_version(L, loudness):
    x, y = loudness * (torch.rand(2, 2, 3, 9, 14, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.25)
    t = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(t, t) / t.sum() ** 2
    found = similarity_map(x, y, L).numpy()
    for n, c in np.ndindex(2, 3):
        a, b = x[n, c].numpy(), y[n, c].numpy()
        dynamic_range = L or max(abs(a).max(), abs(b).max(), 1)
        C1, C2 = (0.01 * dynamic_range) ** 2, (0.03 * dynamic_range) ** 2
        mean_a, mean_b, aa, bb, ab = (correlate2d(m, window, "same") for m in (a, b, a * a, b * b, a * b))
        expected = ((2 * mean_a * mean_b + C1) * (2 * (ab - mean_a * mean_b) + C2)
                    / ((mean_a**2 + mean_b**2 + C1) * (aa - mean_a**2 + bb - mean_b**2 + C2)))
        np.testing.assert_allclose(found[n, c], expected, rtol=0, atol=1e-10)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.integers(1, 100))
def test_poolings_equal_plain_numpy(values, percent):
    x, n = torch.tensor(values, dtype=torch.float64), len(values)
    sd, mad = np.std(values, ddof=1) if n > 1 else 0, np.abs(np.array(values) - np.mean(values)).mean()
    assert pooled(x, "SD").item() == pytest.approx(sd, abs=1e-9)
    assert pooled(x, "MAD").item() == pytest.approx(mad, abs=1e-9)
    assert pooled(x, "FD").item() == pytest.approx((sd + mad) / 2, abs=1e-9)
    kept = -(-percent * n // 100)
    assert pooled(x, percent / 100).item() == pytest.approx(np.mean(sorted(values)[:kept]), abs=1e-9)
    assert pooled(x, 1.0).item() == pytest.approx(np.mean(values), abs=1e-9)


def test_a_share_is_not_rounded_up_by_floating_point():
    assert pooled(torch.arange(10.0), 0.7).item() == 3.0  # 0.7 * 10 = 7.000000000000001


def test_dead_maps_score_one_and_dilute_the_average():
    x, y = integer_maps(4, 9, 9)
    assert (similarity_map(x, y)[:, 0] == 1).all()
    alive = small().layer_score(x[:, 1:], y[:, 1:])
    torch.testing.assert_close(small().layer_score(x, y), (1 + 3 * alive) / 4)
    only_x = torch.cat((x[:, 1:2], torch.zeros_like(x[:, :1])))
    assert similarity_map(*only_x[:, None].unbind()).max() < 1


@pytest.mark.parametrize("backbone, layers", [("squeezenet", ("relu1", "fire5")),
                                              ("efficientnet_lite0", ("stem", "head", "fc"))])
def test_the_score_is_pooled_from_the_maps_of_the_network(backbone, layers):
    x, y = random_pair(60, 70)
    options = {"inside": 0.5, "over_maps": 0.3, "over_layers": 0.6}
    metric = DeepSim(backbone=backbone, layers=layers, **options)
    of_x, of_y = (FeatureExtractor(backbone, layers)(resize(image, size=(224, 224))) for image in (x, y))
    for n in range(2):
        scores = []
        for layer in layers:
            a, b = of_x[layer][n:n + 1], of_y[layer][n:n + 1]
            if a.ndim == 2:
                scores.append(pooled(similarity_map(a[:, None, :, None], b[:, None, :, None]).flatten(), 0.5))
            else:
                maps = [pooled(similarity_map(a[:, c:c + 1], b[:, c:c + 1]).flatten(), 0.5) for c in range(a.shape[1])]
                scores.append(pooled(torch.stack(maps), 0.3))
        torch.testing.assert_close(metric.layer_scores(x, y)[n], torch.stack(scores), rtol=0, atol=2e-5)
        torch.testing.assert_close(metric(x, y)[n], pooled(torch.stack(scores), 0.6), rtol=0, atol=2e-5)


def test_images_keep_their_size_on_demand():
    x, y = random_pair(224, 224, n=1)
    torch.testing.assert_close(small(size=None)(x, y), small()(x, y), rtol=1e-4, atol=1e-5)
    x, y = random_pair(100, 120, n=1)
    assert (small(size=None)(x, y) - small()(x, y)).abs() > 1e-4


@pytest.mark.parametrize("backbone, layers", [("squeezenet", SQUEEZENET_MAPS),
                                              ("efficientnet_lite0", ("stem", "block4", "head"))])
@pytest.mark.parametrize("distortion", ["gaussian_blur", "white_noise", "jpeg"])
def test_falls_with_the_distortion(backbone, layers, distortion):
    photo = read_pixels(PHOTO)[40:236, 100:310]
    images = [photo, *(distort(photo, distortion, level) for level in (1, 3, 5))]
    batch = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2)).float() / 255
    with torch.no_grad():
        scores = DeepSim(backbone=backbone, layers=layers)(batch, batch[:1].expand_as(batch))
        spread = DeepSim(backbone=backbone, layers=layers, inside="FD", over_maps="FD")(batch, batch[:1].expand_as(batch))
    assert scores[0].item() == pytest.approx(1, abs=1e-6) and (scores.diff() < 0).all() and scores.min() > -1
    assert spread[0] < 1e-6 < spread[1]


def test_symmetric_and_independent_of_the_batch():
    x, y = random_pair(64, 50, n=3)
    metric = small()
    torch.testing.assert_close(metric(x, y), metric(y, x))
    alone = torch.cat([metric(x[i:i + 1], y[i:i + 1]) for i in range(3)])
    torch.testing.assert_close(metric(x, y), alone, rtol=0, atol=1e-5)
    assert metric(x.double(), y.double()).dtype == torch.float64


def test_gradcheck_with_random_weights():
    torch.manual_seed(0)
    x, y = (image.requires_grad_() for image in random_pair(16, 17, n=1, dtype=torch.float64))
    for options in ({}, {"inside": 0.5, "over_maps": "SD"}, {"L": 5.0, "over_layers": "FD"}):
        metric = small(weights="random", size=20, **options).double()
        assert torch.autograd.gradcheck(metric, (x, y), fast_mode=True)


@pytest.mark.parametrize("pooling", ["SD", "MAD", "FD", 0.1, 1.0])
def test_gradients_are_finite_on_identical_and_flat_images(pooling):
    metric, photo = small(inside=pooling, over_maps=pooling, over_layers=pooling), random_pair(32, 32, n=1)[0]
    for image in (photo, torch.zeros_like(photo), torch.full_like(photo, 0.4)):
        for reference in (image, photo):
            distorted = image.clone().requires_grad_()
            metric(distorted, reference).sum().backward()
            assert distorted.grad.isfinite().all()


def test_layers_are_the_authors_up_to_the_last_pooling():
    assert len(VGG16_MAPS) == 31 and VGG16_MAPS[:5] == ("conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1")
    torch.manual_seed(0)
    metric = DeepSim(weights="random")
    assert metric.network.layers == VGG16_MAPS and "UNTRAINED" in repr(metric) and "size=224" in repr(metric)


@pytest.mark.parametrize("pooling", ["mean", 0, 1.5])
def test_unknown_poolings_are_refused(pooling):
    with pytest.raises(ValueError, match="'SD', 'MAD', 'FD' or a share"):
        small(over_maps=pooling)
