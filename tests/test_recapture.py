"""Simulated recaptures: the physics that they state, and the same last camera for every image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_images import synthetic_image

from iqa_lab.distortions import recapture
from iqa_lab.distortions.recapture import Printer, Screen, capture_scene, print_recapture, screen_recapture

SCENE = np.ascontiguousarray(synthetic_image("ref")[60:180, 100:260])
SHOTS = {
    "scene": capture_scene,
    "screen": lambda image, seed: screen_recapture(image, Screen(1.6), seed),
    "fine screen": lambda image, seed: screen_recapture(image, Screen(0.75), seed),
    "print": lambda image, seed: print_recapture(image, Printer(2.3), seed),
    "continuous print": lambda image, seed: print_recapture(image, Printer(0), seed),
}


@pytest.fixture
def bare(monkeypatch):
    """The light that reaches the camera, at an angle of 0."""
    monkeypatch.setattr(recapture, "TURN", 0)
    monkeypatch.setattr(recapture, "camera", lambda light, random: light)


def strongest_frequency(wave):
    return np.fft.rfftfreq(len(wave))[1 + np.argmax(np.abs(np.fft.rfft(wave))[1:])]


@pytest.mark.parametrize("name", SHOTS)
def test_a_recapture_is_repeatable_and_leaves_the_image_alone(name):
    before, image = SCENE.copy(), SCENE[:99, :131]
    first, second, other = (SHOTS[name](image, seed) for seed in (5, 5, 6))
    assert first.dtype == np.uint8 and first.shape == image.shape
    assert np.array_equal(first, second) and not np.array_equal(first, other)
    assert np.array_equal(before, SCENE)


def test_all_shots_are_of_one_size_and_all_different():
    shots = recapture.all_shots(SCENE, 3)
    assert list(shots) == ["bona fide", *recapture.SCREENS, *recapture.PRINTERS]
    assert {shot.shape for shot in shots.values()} == {SCENE.shape} and len({s.tobytes() for s in shots.values()}) == 9
    assert np.array_equal(shots["bona fide"], capture_scene(SCENE, 3))
    stolen = capture_scene(SCENE, 3 + 2**31)
    assert np.array_equal(shots["tablet"], screen_recapture(stolen, recapture.SCREENS["tablet"], 3))
    assert np.array_equal(shots["laser"], print_recapture(stolen, recapture.PRINTERS["laser"], 3))


@pytest.mark.parametrize("name", SHOTS)
def test_the_last_camera_is_the_same_for_all(name, monkeypatch):
    calls = []
    monkeypatch.setattr(recapture, "develop", lambda *parts: calls.append(parts[1:3]) or SCENE)
    SHOTS[name](SCENE, 1)
    (noise, quality), = calls
    assert 0.01 <= noise <= 0.03 and 75 <= quality < 96


@settings(max_examples=30, deadline=None)
@given(st.floats(-5, 5), st.floats(0, 0.4), st.floats(0.1, 0.6), st.floats(0.05, 3))
def test_coverage_is_the_mean_over_a_window(place, start, length, width):
    t = place + width * ((np.arange(100000) + 0.5) / 100000 - 0.5)
    lit = (t - np.floor(t) >= start) & (t - np.floor(t) < start + length)
    found = recapture.coverage(np.array(place), start, start + length, width)
    assert found == pytest.approx(lit.mean() / length, abs=2e-3)


def test_a_window_of_whole_units_sees_no_stripes():
    np.testing.assert_allclose(recapture.coverage(np.linspace(0, 3, 50), 0.1, 0.3, 2), 1, atol=1e-12)


@pytest.mark.parametrize("pitch", [0.75, 1.4, 1.6, 2.5])
def test_moire_has_the_frequency_of_the_alias(pitch, bare):
    light = screen_recapture(np.full((120, 480, 3), 200, np.uint8), Screen(pitch, glare=0), 0)
    cycles = 1 / pitch  # of display pixels in a camera pixel
    assert strongest_frequency(light[60, :, 0]) == pytest.approx(abs(cycles - round(cycles)), abs=0.005)


def test_a_screen_keeps_mean_colour_and_raises_black(bare):
    image = np.full((96, 96, 3), (200, 100, 50), np.uint8)
    light = screen_recapture(image, Screen(1.6, black=0.1, glare=0), 0)
    np.testing.assert_allclose(light.mean((0, 1)), 0.1 + 0.9 * (image[0, 0] / 255) ** 2.2, rtol=0.02)


def test_a_display_pixel_has_three_stripes_with_dark_borders(bare, monkeypatch):
    monkeypatch.setattr(recapture, "FOOTPRINT", 0.01)  # a camera that sees points
    light = screen_recapture(np.full((300, 300, 3), 255, np.uint8), Screen(9.7, glare=0), 0)
    lit = light > light.max() / 2
    np.testing.assert_allclose(lit.mean((0, 1)), 0.8 * (1 / 3 - 0.1), rtol=0.1)
    assert lit.sum(2).max() == 1  # no place has two colours


def test_glare_adds_light_somewhere(bare):
    dark = screen_recapture(np.zeros((96, 96, 3), np.uint8), Screen(1.6, black=0, glare=0.2), 0)
    assert 0 <= dark.min() < 0.01 < dark.max() <= 0.2


def test_a_continuous_print_has_the_stated_gain_and_texture(bare):
    light = print_recapture(np.full((200, 200, 3), 128, np.uint8), Printer(0, black=0.06, gain=0.1, texture=0.02), 0)
    ink = 1 - (128 / 255) ** 2.2
    mean = 1 - 0.94 * (ink + 0.4 * ink * (1 - ink))
    assert light.mean() == pytest.approx(mean, rel=0.005) and light.std() == pytest.approx(0.02 * mean, rel=0.005)


def test_a_print_has_less_contrast_than_its_scene(bare):
    steps = np.repeat(np.array([0, 255], np.uint8), 60)[None, :, None].repeat(96, 0).repeat(3, 2)
    light = print_recapture(steps, Printer(2.3, black=0.1, texture=0), 0)
    assert light[:, :58].mean() == pytest.approx(0.1, abs=1e-6) and light[:, 62:].mean() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("share", [0, 0.1, 0.4, 0.9, 1])
@pytest.mark.parametrize("period, degrees", [(1.6, 15), (3.2, 75)])
def test_dots_cover_the_share_that_was_asked_for(share, period, degrees):
    rows, columns = np.mgrid[:200, :200].astype(float)
    found = recapture.dots(np.full((200, 200), share), rows, columns, period, degrees)
    assert found.mean() == pytest.approx(share, abs=0.004)


def test_dots_are_a_threshold_of_two_waves():
    rows, columns = np.mgrid[:12, :15] + 0.3
    ink = np.linspace(0.05, 0.95, 180).reshape(12, 15)
    phases = np.arange(0, 2 * np.pi, 0.02)
    waves = np.sort([(np.cos(a) + np.cos(b)) / 2 for a in phases for b in phases])
    found, step = recapture.dots(ink, rows, columns, 3.2, 15), recapture.FOOTPRINT / 3
    for y, x in np.ndindex(12, 15):
        c, s = np.cos(np.radians(15)), np.sin(np.radians(15))
        places = [(y + 0.3 + i * step, x + 0.3 + j * step) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        wave = [(np.cos(2 * np.pi * (c * b + s * a) / 3.2) + np.cos(2 * np.pi * (c * a - s * b) / 3.2)) / 2
                for a, b in places]
        expected = np.mean([np.searchsorted(waves, w) / len(waves) < ink[y, x] for w in wave])
        assert found[y, x] == pytest.approx(expected, abs=0.12)  # one of nine places may lie on the edge


def test_a_turned_grid_keeps_distances():
    rows, columns = recapture.turned_grid(SCENE, np.random.RandomState(3))
    assert rows.shape == SCENE.shape[:2]
    np.testing.assert_allclose(np.hypot(np.diff(rows, axis=1), np.diff(columns, axis=1)), 1)
    turn = np.degrees(np.arctan2(rows[0, 1] - rows[0, 0], columns[0, 1] - columns[0, 0]))
    assert 0 < abs(turn) <= recapture.TURN


@pytest.mark.parametrize("cycles, ring", [(0.15, 0), (0.25, 1), (0.35, 2), (0.45, 3)])
def test_a_grating_stands_out_in_its_ring(cycles, ring):
    grating = 128 + 40 * np.cos(2 * np.pi * cycles * np.arange(128))
    noise = np.random.RandomState(0).normal(0, 5, (128, 128))
    peaks = recapture.grid_peaks(np.repeat((grating + noise)[..., None], 3, axis=2).astype(np.uint8))
    assert peaks.shape == (8,) and np.argmax(peaks[:4]) == ring
    assert peaks[ring] > np.delete(peaks[:4], ring).max() + 2
    assert peaks[4:].max() == 0  # red is blue


def test_peaks_stand_above_the_median_of_their_ring():
    photo = np.random.RandomState(1).randint(0, 256, (40, 50, 3)).astype(float)
    window = np.outer(np.hanning(40), np.hanning(50))
    expected = []
    for channel in (photo @ (0.299, 0.587, 0.114), photo[..., 0] - photo[..., 2]):
        amplitude = np.abs(np.fft.fft2((channel - channel.mean()) * window))
        rings = [[] for _ in range(4)]
        for y, x in np.ndindex(40, 26):
            radius = np.hypot(min(y, 40 - y) / 40, x / 50)
            for ring in range(4):
                if recapture.BANDS[ring] <= radius < recapture.BANDS[ring + 1]:
                    rings[ring].append(np.log(1 + amplitude[y, x]))
        expected += [max(ring) - np.median(ring) for ring in rings]
    np.testing.assert_allclose(recapture.grid_peaks(photo.astype(np.uint8)), expected)


def test_peaks_are_finite_on_flat_images_and_see_the_simulated_devices():
    assert np.array_equal(recapture.grid_peaks(np.full((40, 40, 3), 7, np.uint8)), np.zeros(8))
    shots = (SHOTS[name](SCENE, 0) for name in ("scene", "screen", "print"))
    bona_fide, screen, halftone = (recapture.grid_peaks(shot).max() for shot in shots)
    assert min(screen, halftone) > bona_fide + 0.5


def test_wrong_images_are_refused():
    for function in (*SHOTS.values(), lambda image, seed: recapture.grid_peaks(image)):
        with pytest.raises(ValueError, match="Expected a uint8 array of shape"):
            function(SCENE / 255, 0)
    with pytest.raises(ValueError, match="sides of 32 pixels"):
        recapture.grid_peaks(SCENE[:31])
