"""Distortions: same bytes everywhere, graded levels, any size."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import __version__ as pillow_version
from synthetic_images import synthetic_image

from iqa_lab.distortions import DISTORTIONS, N_LEVELS, distort, tone, warps
from iqa_lab.distortions.rounding import stretch, to_bytes
from iqa_lab.distortions.spatial import CELL, RAMP, cell_weights
from iqa_lab.embedded import build
from iqa_lab.embedded.photographs import PHOTOGRAPHS, load_photograph

CHELSEA = next(photo for photo in PHOTOGRAPHS if photo.name == "chelsea")
EMBEDDED = build.EMBEDDED_DISTORTIONS
LATER = [name for name in DISTORTIONS if name not in EMBEDDED]
WARPS = ["translation", "subpixel_shift", "rotation", "zoom", "elastic_warp", "perspective"]
SEEDED = {"white_noise", "impulse_noise", "elastic_warp", "texture_resampling", "kadid_motion_blur", "kadid_denoise",
          "kadid_colour_shift", "kadid_white_noise", "kadid_white_noise_colour", "kadid_impulse_noise", "kadid_jitter",
          "kadid_multiplicative_noise", "kadid_non_eccentricity_patch", "kadid_colour_block"}
#: Kinds whose level 5 need not be further from the image than level 1, and why.
NOT_GRADED = {
    "kadid_mean_shift": "levels run from +0.15 over 0 to -0.15",
    "kadid_contrast_change": "levels run from more contrast to less",
}
HASHES = Path(__file__).parent / "distortion_hashes.csv"  # made by stored_rows() on the versions it names
SMALL_IMAGES = st.tuples(st.integers(1, 33), st.integers(1, 33)).flatmap(lambda size: arrays(np.uint8, (*size, 3)))


def mse(a, b):
    return np.mean((a.astype(float) - b) ** 2)


def stored_rows():
    """Returns the rows of distortion_hashes.csv as this machine makes them."""
    image = np.ascontiguousarray(synthetic_image("ref")[100:196, 200:328])
    return [[name, level, build.hash_pixels(distort(image, name, level, seed=level)), depends_on(name)]
            for name in LATER for level in (1, 3, 5)]


def depends_on(name):
    return f"pillow {pillow_version}" if name == "kadid_colour_quantisation" else build.codec_of(f"chelsea_{name}_1")


def test_there_are_43_kinds_with_five_levels_each():
    assert len(EMBEDDED) == 10 and tuple(DISTORTIONS)[:10] == EMBEDDED
    assert [name.startswith("kadid_") for name in LATER] == [True] * 25 + [False] * 8
    assert all(len(distortion.values) == N_LEVELS for distortion in DISTORTIONS.values())
    assert all(distortion.kadid == name.startswith("kadid_") for name, distortion in DISTORTIONS.items())
    assert all(distortion.function.__name__ == name for name, distortion in DISTORTIONS.items())


@pytest.mark.parametrize("photo", PHOTOGRAPHS, ids=lambda photo: photo.name)
@pytest.mark.parametrize("name", EMBEDDED)
def test_a_stronger_level_is_further_from_the_original(photo, name):
    image = load_photograph(photo)
    errors = [mse(distort(image, name, level, build.seed_of(photo.name, name, level)), image) for level in range(1, 6)]
    assert errors[0] > 1 and errors == sorted(errors) and errors[4] > 2 * errors[0], errors


@pytest.mark.parametrize("name", LATER)
def test_the_strongest_level_is_further_from_the_original_than_the_weakest(name):
    for image in (load_photograph(CHELSEA)[:200, :241], synthetic_image("ref")[:150, :200]):
        start = to_bytes(255 * stretch(image / 255)) if DISTORTIONS[name].kadid else image
        errors = [mse(distort(image, name, level), start) for level in (1, 5)]
        assert errors[0] < errors[1] or name in NOT_GRADED, errors


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_bytes_are_the_stored_ones(name):
    image, stored = load_photograph(CHELSEA), build.read_hashes()
    found = {path: build.hash_pixels(distort(image, name, level, build.seed_of("chelsea", name, level)))
             for level in range(1, 6) for path in [build.image_name("chelsea", name, level)]}
    build.check_hashes(found, {path: stored[path] for path in found})


def test_the_bytes_of_later_kinds_are_the_stored_ones():
    with HASHES.open(newline="") as file:
        stored = {(row["distortion"], int(row["level"])): row for row in csv.DictReader(file)}
    found = stored_rows()
    assert len(found) == len(stored) == 3 * 33
    for name, level, value, codec in found:
        row = stored[name, level]
        assert value == row["sha256"] or codec != row["codec"], f"{name} {level}: other bytes than stored"


@given(SMALL_IMAGES, st.sampled_from(sorted(DISTORTIONS)), st.integers(1, 5), st.integers(0, 2**32 - 1))
@settings(max_examples=250, deadline=None)
def test_any_image_keeps_shape_and_type_is_untouched_and_repeats(image, name, level, seed):
    side = DISTORTIONS[name].minimum_side
    if min(image.shape[:2]) < side:
        with pytest.raises(ValueError, match=f"sides of {side} pixels or more for {name}"):
            distort(image, name, level, seed)
        image = np.resize(image, (max(side, image.shape[0]), max(side, image.shape[1]), 3))
    before = image.copy()
    result = distort(image, name, level, seed)
    assert result.shape == image.shape and result.dtype == np.uint8
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(result, distort(image, name, level, seed))


@pytest.mark.parametrize("name", [name for name, distortion in DISTORTIONS.items() if distortion.minimum_side == 1])
def test_an_image_may_be_one_pixel_high_or_wide(name):
    image = synthetic_image("ref")[:1, :37]
    assert distort(image, name, 5).shape == image.shape
    assert distort(image.transpose(1, 0, 2), name, 5).shape == (37, 1, 3)
    assert distort(image[:, :1], name, 5).shape == (1, 1, 3)


@pytest.mark.parametrize("name", DISTORTIONS)
def test_only_the_kinds_with_random_numbers_depend_on_the_seed(name):
    image = synthetic_image("ref")[:96, :101]
    results = [distort(image, name, 5, seed) for seed in (1, 2)]
    assert np.array_equal(*results) == (name not in SEEDED)


@given(value=st.integers(0, 255), name=st.sampled_from(
    ["gaussian_blur", "motion_blur", "colour_shift", *WARPS, "texture_resampling", "luminance_preserving_contrast",
     *(f"kadid_{name}" for name in ("gaussian_blur", "lens_blur", "motion_blur", "colour_shift", "jitter", "pixelate",
                                    "non_eccentricity_patch", "quantisation", "high_sharpen", "colour_quantisation"))]))
@settings(max_examples=60, deadline=None)
def test_a_flat_image_has_nothing_to_blur_or_move(value, name):
    flat = np.full((49, 53, 3), value, np.uint8)
    np.testing.assert_array_equal(distort(flat, name, 5), flat)


def test_noise_has_the_stated_strength():
    gray = np.full((300, 301, 3), 128, np.uint8)
    noise = distort(gray, "white_noise", 2, seed=3) - 128.0
    assert noise.std() == pytest.approx(DISTORTIONS["white_noise"].values[1], rel=0.01) and abs(noise.mean()) < 0.1
    changed = distort(gray, "impulse_noise", 4, seed=3)
    share = DISTORTIONS["impulse_noise"].values[3]
    assert np.mean(changed == 0) == pytest.approx(share / 2, rel=0.05)
    assert np.mean(changed == 255) == pytest.approx(share / 2, rel=0.05)
    assert not np.array_equal(changed, distort(gray, "impulse_noise", 4, seed=4))


def test_simple_distortions_equal_their_definition():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    quantised = distort(ramp, "colour_quantisation", 5)
    assert sorted(set(quantised[0, :, 0].tolist())) == [0, 85, 170, 255]
    low = distort(ramp, "contrast_change", 1)[0, :, 0].astype(int)
    assert (low.min(), low.max()) == (26, 230)  # 127.5 -+ 0.8 * 127.5 = 25.5 and 229.5, halves up
    grid = np.repeat(ramp, 9, axis=0)
    blurred = distort(grid, "motion_blur", 1)
    np.testing.assert_array_equal(blurred[4, 1:-1], grid[4, 1:-1])  # the mean of a ramp is itself
    moved = distort(grid, "colour_shift", 3)
    np.testing.assert_array_equal(moved[5, 4:, 1], grid[5, :-4, 1])
    np.testing.assert_array_equal(moved[..., [0, 2]], grid[..., [0, 2]])
    dark = distort(np.full((1, 1, 3), 188, np.uint8), "darkening", 2)[0, 0, 0]  # 188 is half of the light of 255
    assert dark == int(255 * (1.055 * (((188 / 255 + 0.055) / 1.055) ** 2.4 * 2**-1.2) ** (1 / 2.4) - 0.055) + 0.5)


def test_translation_and_subpixel_shift_move_down_and_right_by_the_stated_pixels():
    image = synthetic_image("ref")[:40, :50]
    np.testing.assert_array_equal(distort(image, "translation", 3)[4:, 4:], image[:-4, :-4])
    np.testing.assert_array_equal(distort(image, "translation", 3), np.pad(image, ((4, 0), (4, 0), (0, 0)),
                                                                           mode="symmetric")[:40, :50])
    ramp = np.add.outer(10 * np.arange(9), 20 * np.arange(7)).astype(np.uint8)[..., None].repeat(3, axis=2)
    np.testing.assert_array_equal(distort(ramp, "subpixel_shift", 1)[2:-1, 2:-1], ramp[2:-1, 2:-1] - 3)  # 0.1 (10 + 20)


def test_rotation_zoom_and_perspective_send_the_corner_where_geometry_says():
    rows, columns = np.indices((101, 101)).astype(float)
    places = np.stack((rows, columns, 0 * rows), axis=2)  # an image of its own coordinates shows where a pixel is from
    y, x = 20.0, -30.0  # from the centre
    degrees = np.radians(3)
    expected = {"rotation": (y * np.cos(degrees) - 30 * np.sin(degrees), -30 * np.cos(degrees) - y * np.sin(degrees)),
                "zoom": (y / 1.08, x / 1.08), "perspective": (y / (1 + 0.08 * y / 50.5), x / (1 + 0.08 * y / 50.5))}
    for name, source in expected.items():
        distortion = DISTORTIONS[name]
        found = distortion.function(places, distortion.values[3], None)[70, 20, :2]
        np.testing.assert_array_equal(found, to_bytes(np.array(source) + 50), err_msg=name)


@given(arrays(np.float64, (5, 6, 1), elements=st.floats(0, 1)), st.floats(-9, 14), st.floats(-9, 14))
@settings(deadline=None)
def test_sample_equals_its_slow_twin(image, row, column):
    def keys(t):  # Keys 1981, eq. (15)
        t = abs(t)
        inner, outer = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
        return inner if t <= 1 else outer if t <= 2 else 0
    padded = np.pad(image[..., 0], 16, mode="symmetric")
    expected = sum(keys(row - r) * keys(column - c) * padded[r + 16, c + 16]
                   for r in range(-12, 18) for c in range(-12, 18))
    found = warps.sample(image, np.array([[row]]), np.array([[column]]))
    assert found.shape == (1, 1, 1) and found.item() == pytest.approx(expected, abs=1e-12)


def test_elastic_warp_has_the_stated_displacement_on_average():
    rows, columns = np.indices((150, 140)).astype(float)
    found = distort(to_bytes(np.stack((rows, columns, 0 * rows), axis=2)), "elastic_warp", 3, seed=5)[..., :2]
    inside = slice(10, -10)
    moved = (found - np.stack((rows, columns), axis=2))[inside, inside]
    assert np.sqrt(np.mean(moved**2)) == pytest.approx(2, rel=0.2)


def test_texture_resampling_moves_the_inside_of_a_cell_and_weights_sum_to_1():
    weights = cell_weights(3 * CELL + 21)
    assert weights.shape == (3, 213) and np.all(weights.sum(axis=0) == 1) and np.all(weights >= 0)
    image = synthetic_image("noise")[:2 * CELL, :2 * CELL]
    result, inside = distort(image, "texture_resampling", 3), slice(RAMP // 2, CELL - RAMP // 2)
    padded = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode="symmetric")
    moves = [(down, right) for down in (0, 8, 16) for right in (0, 8, 16)
             if np.array_equal(result[inside, inside], padded[down:, right:][inside, inside])]
    assert len(moves) == 1 and moves != [(8, 8)]


@given(SMALL_IMAGES, st.sampled_from([1.15, 1.5, 2.1]))
@settings(deadline=None, max_examples=60)
def test_luminance_preserving_contrast_keeps_the_mean_luma(image, factor):
    result = tone.luminance_preserving_contrast(image, factor, None)
    assert abs(((result.astype(int) - image) @ tone.BT601).mean()) <= 500.001  # half a level, in thousandths


def test_luminance_preserving_contrast_raises_the_contrast():
    image = load_photograph(CHELSEA)
    spreads = [distort(image, "luminance_preserving_contrast", level).std() for level in range(1, 6)]
    assert image.std() < spreads[0] and spreads == sorted(spreads)


def test_rounding_is_half_up_with_a_margin_and_clips():
    np.testing.assert_array_equal(to_bytes(np.array([0.5, 1.5 - 1e-9, 2.49, -3.0, 300.0])), [1, 2, 2, 0, 255])


def test_hash_covers_shape_and_bytes():
    flat = np.zeros((2, 3, 3), np.uint8)
    assert build.hash_pixels(flat) != build.hash_pixels(flat.reshape(3, 2, 3))
    assert build.hash_pixels(flat) == hashlib.sha256(b"(2, 3, 3)" + bytes(18)).hexdigest()


def test_wrong_arguments_are_refused():
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(TypeError, match="uint8"):
        distort(image / 255, "jpeg", 1)
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        distort(image[..., 0], "jpeg", 1)
    with pytest.raises(ValueError, match="Unknown distortion 'jpg'"):
        distort(image, "jpg", 1)
    for level in (0, 6, 2.5):
        with pytest.raises(ValueError, match="from 1 to 5"):
            distort(image, "jpeg", level)
