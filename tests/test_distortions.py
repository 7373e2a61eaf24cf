"""Distortions: same bytes everywhere, graded levels, any size."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from iqa_lab.distortions import DISTORTIONS, N_LEVELS, distort, to_bytes
from iqa_lab.embedded import build
from iqa_lab.embedded.photographs import PHOTOGRAPHS, load_photograph

CHELSEA = next(photo for photo in PHOTOGRAPHS if photo.name == "chelsea")
SMALL_IMAGES = st.tuples(st.integers(1, 33), st.integers(1, 33)).flatmap(lambda size: arrays(np.uint8, (*size, 3)))


def mse(a, b):
    return np.mean((a.astype(float) - b) ** 2)


def test_there_are_ten_with_five_levels_each():
    assert len(DISTORTIONS) == 10 and all(len(distortion.values) == N_LEVELS for distortion in DISTORTIONS.values())


@pytest.mark.parametrize("photo", PHOTOGRAPHS, ids=lambda photo: photo.name)
@pytest.mark.parametrize("name", DISTORTIONS)
def test_a_stronger_level_is_further_from_the_original(photo, name):
    image = load_photograph(photo)
    errors = [mse(distort(image, name, level, build.seed_of(photo.name, name, level)), image) for level in range(1, 6)]
    assert errors[0] > 1 and errors == sorted(errors) and errors[4] > 2 * errors[0], errors


@pytest.mark.parametrize("name", DISTORTIONS)
def test_the_bytes_are_the_stored_ones(name):
    image, stored = load_photograph(CHELSEA), build.read_hashes()
    found = {path: build.hash_pixels(distort(image, name, level, build.seed_of("chelsea", name, level)))
             for level in range(1, 6) for path in [build.image_name("chelsea", name, level)]}
    build.check_hashes(found, {path: stored[path] for path in found})


@given(SMALL_IMAGES, st.sampled_from(sorted(DISTORTIONS)), st.integers(1, 5), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_any_image_keeps_shape_and_type_is_untouched_and_repeats(image, name, level, seed):
    before = image.copy()
    result = distort(image, name, level, seed)
    assert result.shape == image.shape and result.dtype == np.uint8
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(result, distort(image, name, level, seed))


@given(value=st.integers(0, 255), name=st.sampled_from(["gaussian_blur", "motion_blur", "colour_shift"]))
@settings(deadline=None)
def test_a_flat_image_has_nothing_to_blur_or_move(value, name):
    flat = np.full((17, 23, 3), value, np.uint8)
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
