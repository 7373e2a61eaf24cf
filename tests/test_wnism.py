"""WNISM stage by stage: histograms, model, divergence, fit, 162 bits, receiver, each against a slow version."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from scipy.optimize import fmin

from iqa_lab import load_database, load_image
from iqa_lab import images as images_module
from iqa_lab.ops.color import rgb_to_luma
from iqa_lab.ops.fourier_pyramid import fourier_pyramid
from iqa_lab.reduced_reference import wnism as module
from iqa_lab.reduced_reference.wnism import (D0, MIN_EXPONENTS, REFERENCE_BITS, divergence, fit_ggd_histogram,
                                             from_bits, ggd_histogram, reference_numbers, subband_histograms, to_bits,
                                             wnism, wnism_distance, wnism_features)

WIDTHS = np.array([2.0, 2, 8, 8, 32, 32])
STEP = 9 / 256


def double(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.fixture(scope="module")
def references() -> torch.Tensor:
    folder = load_database("embedded").root / "references"
    return torch.cat([load_image(folder / f"{name}.png")[..., :300, :450] for name in ("chelsea", "coffee")]).double()


def noisy(image: torch.Tensor, strength: float) -> torch.Tensor:
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0), dtype=image.dtype)
    return ((image + strength * noise).clamp(0, 1) * 255).round() / 255


def slow_model(s: float, p: float, width: float) -> np.ndarray:
    """ggd_hist.m: thirty samples of the density in each bin, all bins filled if every sample vanishes."""
    x = (np.arange(101 * 30) + 0.5) * width / 30 - 101 * width / 2
    bins = np.exp(-((np.abs(x) / s) ** p)).reshape(101, 30).sum(1)
    return bins / bins.sum() if bins.any() else np.full(101, 1 / 101)


def slow_divergence(model: np.ndarray, observed: np.ndarray) -> float:
    total = mass = 0.0
    for q, p in zip(model, observed, strict=True):
        if q > 0 and p > 0:
            total, mass = total + q * math.log(q / p), mass + q
    return abs(total / mass)


def slow_transmission(features: np.ndarray) -> tuple[str, np.ndarray]:
    """feature_quantization.m and feature_dequantization.m, number by number."""
    texts, received = ["", "", "", ""], np.empty((6, 3))
    for band, ((s, p, d), lowest) in enumerate(zip(features, MIN_EXPONENTS, strict=True)):
        exponent = math.floor(math.log10(s))
        codes = [math.floor((s / 10**exponent - 1) / STEP + 0.5), exponent - lowest,
                 min(255, max(0, math.floor((p - 0.05) / 0.00625 + 0.5))), min(255, math.floor(d / 0.00025 + 0.5))]
        texts = [text + format(code, f"0{bits}b") for text, code, bits in zip(texts, codes, (8, 3, 8, 8), strict=True)]
        received[band] = (1 + STEP * codes[0]) * 10**exponent, 0.05 + 0.00625 * codes[2], 0.00025 * codes[3]
    return "".join(texts), received


def test_histograms_count_as_matlab_does(references):
    found = subband_histograms(references[:1], rgb_to_luma)[0]
    bands = fourier_pyramid(255 * rgb_to_luma(references[:1]), 3).bands
    chosen = [(0, 0), (0, 2), (1, 1), (1, 3), (2, 0), (2, 2)]  # bands 1, 3, 6, 8, 9 and 11 of twelve
    for histogram, (level, orientation), width in zip(found, chosen, WIDTHS, strict=True):
        guard = (16, 8, 4)[level]
        inside = bands[level][0, orientation, guard:-guard, guard:-guard].numpy().ravel()
        edges = (np.arange(100) - 49.5) * width
        counts = np.bincount(np.searchsorted(edges, inside, side="left"), minlength=101)
        np.testing.assert_allclose(histogram.numpy(), counts / inside.size, atol=1e-12)


def test_histograms_of_integers_put_upper_edges_into_the_bin(monkeypatch):
    values = torch.zeros(1, 2, 40, 40, dtype=torch.float64)
    values[0, 0, 20, 16:24] = double([1, -1, 1.001, -1.001, 500, -500, 99, 99.001])
    monkeypatch.setattr(module, "oriented_bands", lambda *_: [values, values, values])
    counts = subband_histograms(torch.zeros(1, 1, 40, 40))[0, 0] * 64
    assert counts[[0, 49, 50, 51, 99, 100]].tolist() == pytest.approx([1, 2, 57, 1, 1, 2])


@settings(max_examples=30, deadline=None)
@given(st.floats(2, 200), st.floats(0.2, 3), st.sampled_from([2.0, 8.0, 32.0]))
def test_the_model_is_the_sampled_density(s, p, width):
    """For any scale that the code can carry; far below, all samples of the authors' code vanish and it fills all bins."""
    np.testing.assert_allclose(ggd_histogram(double(s / width), double(p)).numpy(), slow_model(s, p, width), atol=1e-12)


def test_the_model_is_near_the_integral_of_the_density():
    s, p = 3.0, 0.7
    upper = special.gammainc(1 / p, ((np.arange(51) + 0.5) / s) ** p) / 2  # P(0 < x < edge)
    exact = np.concatenate((np.diff(upper)[::-1], [2 * upper[0]], np.diff(upper)))
    np.testing.assert_allclose(ggd_histogram(double(s), double(p)).numpy(), exact / exact.sum(), atol=2e-3)


def test_a_model_narrower_than_its_samples_fills_the_middle_bin():
    model = ggd_histogram(double([1e-6, 1e-5]), double([1.6, 0.9]))
    assert (model[:, 50] == 1).all() and model.isfinite().all()


def test_divergence_leaves_empty_bins_out():
    random = np.random.default_rng(0)
    model, observed = random.dirichlet(np.ones(101), 4), random.dirichlet(np.ones(101), 4)
    observed[1:, ::3] = 0
    for i, value in enumerate(divergence(torch.from_numpy(model), torch.from_numpy(observed))):
        assert value.item() == pytest.approx(slow_divergence(model[i], observed[i]), rel=1e-9)
    assert divergence(torch.from_numpy(model), torch.from_numpy(model)).abs().max() < 1e-15


def test_divergence_is_the_absolute_value_of_a_sum_that_can_be_negative():
    model, observed = torch.full((101,), 1 / 101), torch.zeros(101)
    observed[:50] = 1 / 50
    assert divergence(model, observed).item() == pytest.approx(math.log(101 / 50), rel=1e-6)


def test_the_fit_equals_fminsearch(references):
    """SciPy's Nelder-Mead is that of MATLAB's fminsearch, from the release's start and to its tolerance."""
    observed = subband_histograms(references)
    scales, shapes = fit_ggd_histogram(observed)
    values = divergence(ggd_histogram(scales, shapes), observed)
    assert (values > 1e-6).all()  # so that there is one minimum
    for n, band in np.ndindex(len(references), 6):
        target, width = observed[n, band].numpy(), WIDTHS[band]
        s, p = np.abs(fmin(lambda v, width=width, target=target: slow_divergence(slow_model(*np.abs(v), width), target),
                           [2, 0.6], xtol=1e-4, ftol=1e-4, disp=False))
        assert scales[n, band].item() * width == pytest.approx(s, rel=5e-3)
        assert shapes[n, band].item() == pytest.approx(p, abs=1e-3)
        assert values[n, band].item() <= slow_divergence(slow_model(s, p, width), target) + 1e-12


def test_the_fit_reaches_zero_where_empty_bins_allow_it():
    small = load_image(load_database("embedded").root / "references" / "astronaut.png")[..., :180, :200]
    observed = subband_histograms(small)
    values = divergence(ggd_histogram(*fit_ggd_histogram(observed)), observed)[0]
    assert (values < 1e-6).tolist() == [False, False, True, False, True, True]


@settings(max_examples=30, deadline=None)
@given(st.floats(2, 8), st.floats(0.5, 1.6))
def test_the_fit_finds_the_parameters_of_a_model(s, p):
    """From the width of a bin on: below it the histogram is one high bin and its neighbours, which two numbers overfit."""
    scale, shape = fit_ggd_histogram(ggd_histogram(double([s]), double([p])))
    assert scale.item() == pytest.approx(s, rel=1e-3) and shape.item() == pytest.approx(p, rel=1e-3)


def test_the_fit_of_each_histogram_stands_alone_and_is_always_finite():
    random = torch.Generator().manual_seed(1)
    strange = torch.rand(20, 101, generator=random, dtype=torch.float64) ** 8
    strange[:5] *= torch.rand(5, 101, generator=random, dtype=torch.float64) > 0.7
    single = torch.eye(101, dtype=torch.float64)[[0, 50, 100]]
    observed = torch.cat((strange / strange.sum(-1, keepdim=True), single))
    together = torch.stack(fit_ggd_histogram(observed))
    alone = torch.cat([torch.stack(fit_ggd_histogram(one)) for one in observed.split(1)], 1)
    assert together.isfinite().all() and (together > 0).all()
    torch.testing.assert_close(together, alone)


def test_the_budget_is_that_of_the_paper():
    assert REFERENCE_BITS == 162 and reference_numbers(384, 512) == reference_numbers(33, 33) == 18


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-3, 2.9), st.floats(0, 2), st.floats(0, 0.1)), min_size=6, max_size=6))
def test_bits_equal_the_release(numbers):
    features = np.array([[10 ** (logarithm + lowest + 3), p, d]
                         for (logarithm, p, d), lowest in zip(numbers, MIN_EXPONENTS, strict=True)])
    expected, received = slow_transmission(features)
    if len(expected) > 162:
        return  # the release's mantissa overflows; see the next test
    bits = to_bits(torch.from_numpy(features)[None])
    assert "".join(map(str, bits[0].tolist())) == expected
    np.testing.assert_allclose(from_bits(bits)[0].numpy(), received, rtol=1e-12)
    assert torch.equal(to_bits(from_bits(bits)), bits)


def test_any_bits_come_back():
    bits = torch.randint(0, 2, (50, 162), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    assert torch.equal(to_bits(from_bits(bits)), bits)


def test_scales_at_the_ends_of_their_range():
    features = torch.zeros(1, 6, 3, dtype=torch.float64)
    features[0, :, 0] = double([9.99, 0.0, 1e9, 1e-9, 1000.0, 99.99])
    received = from_bits(to_bits(features))[0, :, 0]
    expected = double([10, 1e-6, (1 + 255 * STEP) * 10**2, 1e-5, 1000, 100])
    torch.testing.assert_close(received, expected, rtol=1e-12, atol=0)


def test_features_are_what_arrives(references):
    features = wnism_features(references)
    assert features.shape == (2, 6, 3) and features.dtype == torch.float64
    torch.testing.assert_close(from_bits(to_bits(features)), features)
    scale, shape = fit_ggd_histogram(subband_histograms(references))
    torch.testing.assert_close(features[..., 0], scale * torch.from_numpy(WIDTHS), rtol=STEP / 2, atol=0)
    torch.testing.assert_close(features[..., 1], shape, rtol=0, atol=0.00625 / 2)


def test_the_receiver_needs_the_features_only(references):
    distorted = noisy(references, 0.05)
    features = from_bits(to_bits(wnism_features(references)))
    torch.testing.assert_close(wnism_distance(distorted, features), wnism(distorted, references))
    observed = subband_histograms(distorted)[0].numpy()
    changes = [abs(slow_divergence(slow_model(s, p, width), histogram) - d)
               for (s, p, d), width, histogram in zip(features[0].numpy(), WIDTHS, observed, strict=True)]
    assert wnism(distorted, references)[0].item() == pytest.approx(math.log2(1 + sum(changes) / D0), rel=1e-9)


def test_identical_photographs_score_about_one_and_noise_counts(references):
    scores = [wnism(noisy(references, strength), references) for strength in (0.0, 0.02, 0.05, 0.2)]
    assert (scores[0] >= 0).all() and (scores[0] < 1.5).all()
    assert all((weaker < stronger).all() for weaker, stronger in zip(scores, scores[1:], strict=False))


def test_scales_that_cannot_be_written_are_not_fitted():
    flower = load_image(load_database("embedded").root / "references" / "flower.png")  # before a black background
    assert wnism(flower, flower) < 4


def test_float32_luma_option_and_batches_in_parts(references, monkeypatch):
    distorted = noisy(references, 0.03)
    scores = wnism(distorted, references)
    single = wnism(distorted.float(), references.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), scores, rtol=1e-6, atol=0)
    assert (scores != wnism(distorted, references, luma=rgb_to_luma)).any()
    monkeypatch.setattr(images_module, "PIXELS_AT_ONCE", 1)
    torch.testing.assert_close(wnism(distorted, references), scores)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_flat_images_are_finite(references, dtype):
    photo, flat = references[:1].to(dtype), torch.full((1, 3, 300, 450), 0.4, dtype=dtype)
    assert wnism(torch.cat((flat, 0 * flat)), torch.cat((flat, flat))).abs().max() < 1e-6
    assert wnism(flat, photo).isfinite() and wnism(photo, flat).isfinite() and wnism(flat, photo) > 5


def test_the_score_carries_no_gradient(references):
    assert not wnism(references[:1].clone().requires_grad_(), references[:1]).requires_grad


def test_small_images_are_refused():
    assert wnism(torch.rand(1, 1, 33, 40), torch.rand(1, 1, 33, 40)).isfinite()
    with pytest.raises(ValueError, match="sides of 33 pixels"):
        wnism_features(torch.zeros(1, 1, 32, 40))
    with pytest.raises(ValueError, match="equal shape"):
        wnism(torch.zeros(1, 1, 40, 40), torch.zeros(1, 1, 40, 41))
