"""Simulated photographs: every fault has the size that is asked for, and every measure follows its cause."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_images import synthetic_image

from iqa_lab.distortions import capture, documents
from iqa_lab.distortions.capture import FAULTS, MEASURES, Capture, photograph

PAGE = documents.document_page(0, np.ascontiguousarray(synthetic_image("ref")[:200, :160])).image
GRAY = np.full((96, 128, 3), 128, dtype=np.uint8)


def measures(photo):
    return dict(zip(MEASURES, capture.photo_measures(photo)))


def test_a_photograph_is_repeatable_and_leaves_the_page_alone():
    before = PAGE.copy()
    faulty = Capture(blur=1.5, motion=4, darkness=1, reflection=0.5)
    first, second, other = (photograph(PAGE, faulty, seed) for seed in (1, 1, 2))
    assert first.dtype == np.uint8 and first.shape == before.shape
    assert np.array_equal(first, second) and not np.array_equal(first, other)
    assert np.array_equal(before, PAGE)


def test_darkness_counts_in_stops_of_light():
    bright, dark = (photograph(GRAY, Capture(darkness=stops, noise=0, quality=100), 0) for stops in (0, 2))
    light = [np.mean((photo / 255.0) ** 2.2) for photo in (bright, dark)]
    assert light[0] / light[1] == pytest.approx(4, rel=0.02)


def test_lighting_falls_from_one_to_six_tenths_and_a_spot_is_one_at_its_centre():
    slope = capture.lighting((90, 120), np.random.RandomState(0))
    assert slope.max() == pytest.approx(1) and slope.min() == pytest.approx(0.6)
    bright = capture.spot((200, 300), np.random.RandomState(0))
    assert 0.999 < bright.max() <= 1 and bright.min() < 1e-6


@pytest.mark.parametrize("light", [0.1, 0.5])
def test_noise_has_the_stated_variance(light, monkeypatch):
    monkeypatch.setattr(capture, "through_codec", lambda image, **options: image)
    photo = capture.develop(np.full((300, 300, 3), light), 0.02, 100, np.random.RandomState(0))
    slope = 255 * light ** (1 / 2.2 - 1) / 2.2  # of the gamma curve
    variance = 0.02**2 * (0.1 + 0.9 * light) * slope**2 + 1 / 12  # of the noise, and of rounding
    assert photo.var() == pytest.approx(variance, rel=0.03)


def test_measures_follow_their_causes():
    page = PAGE
    steady = measures(photograph(page, Capture(), 0))
    assert measures(photograph(page, Capture(blur=2), 0))["sharpness"] < steady["sharpness"] - 0.5
    assert measures(photograph(page, Capture(reflection=1.5), 0))["clipped"] > steady["clipped"] + 2
    assert measures(photograph(page, Capture(quality=6), 0))["blocks"] > steady["blocks"] + 0.5
    assert measures(photograph(page, Capture(noise=0.1), 0))["noise"] > steady["noise"] + 0.5
    dark = measures(photograph(page, Capture(darkness=2), 0))
    assert dark["brightness"] - steady["brightness"] == pytest.approx(-2 * np.log(2) / 2.2, abs=0.03)
    assert dark["contrast"] < steady["contrast"] - 0.4


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(20, 33), st.integers(20, 33))
def test_measures_are_what_they_say(seed, height, width):
    photo = np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)
    luma = (0.299 * photo[..., 0] + 0.587 * photo[..., 1] + 0.114 * photo[..., 2]) / 255
    ordered, padded = np.sort(luma.ravel()), np.pad(luma, 1, mode="symmetric")
    ink, paper = (np.interp(share * (luma.size - 1), np.arange(luma.size), ordered) for share in (0.01, 0.75))
    laplacian = [abs(padded[y, x + 1] + padded[y + 2, x + 1] + padded[y + 1, x] + padded[y + 1, x + 2]
                     - 4 * padded[y + 1, x + 1]) / (paper - ink + 1 / 255) for y, x in np.ndindex(height, width)]
    borders, middles = (np.mean([abs(luma[:, x + 1] - luma[:, x]).mean() + 1e-4 for x in range(start, width - 1, 8)])
                        for start in (7, 3))
    expected = [paper + 1 / 255, paper - ink + 1 / 255, (luma > 0.97).mean() + 1e-3,
                np.percentile(laplacian, 99) + 1e-3, np.median(laplacian) + 1e-3, borders / middles]
    np.testing.assert_allclose(capture.photo_measures(photo), np.log(expected))


@pytest.mark.parametrize("value", [0, 128, 255])
def test_measures_of_a_flat_photo_are_finite(value):
    assert np.isfinite(capture.photo_measures(np.full((33, 47, 3), value, dtype=np.uint8))).all()


def test_random_captures_have_one_main_fault_and_mild_others():
    drawn = [capture.random_capture(np.random.RandomState(seed)) for seed in range(200)]
    assert {name for _, name in drawn} == set(FAULTS)
    for shot, name in drawn:
        strengths = (shot.blur / 3, shot.darkness / 8, shot.reflection / 2, 1 - ((shot.quality - 3) / 92) ** (2 / 3))
        order = np.sort(strengths)
        assert 0 <= order[0] and order[2] <= 0.31 and order[3] <= 1 and shot.quality >= 3
        assert order[3] - strengths[FAULTS.index(name)] < 0.02  # the quality is a whole number
        assert (shot.motion, shot.noise) == (1, 0.02)


@pytest.mark.parametrize("image", [GRAY / 255, GRAY[..., 0], GRAY[None], "a.png"], ids=["float", "gray", "4-D", "name"])
def test_other_images_are_refused(image):
    for function in (capture.photo_measures, lambda x: photograph(x, Capture(), 0)):
        with pytest.raises(ValueError, match="Expected a uint8 array of shape"):
            function(image)
