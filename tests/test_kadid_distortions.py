"""The 25 distortions of KADID-10k: the official images where we have them, and the steps they are made of."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import optimize
from skimage import color
from synthetic_images import synthetic_image

from iqa_lab.distortions import DISTORTIONS, blur, colour, compression, distort, noise, spatial, tone
from iqa_lab.distortions.lab import lab_to_rgb, rgb_to_lab
from iqa_lab.distortions.palette import best_cut, colour_moments, minimum_variance_palette, spread
from iqa_lab.distortions.rounding import stretch, to_bytes
from iqa_lab.distortions.thresholds import otsu_thresholds, simplex_search

KADID = [name for name in DISTORTIONS if name.startswith("kadid_")]
IMAGE = np.ascontiguousarray(synthetic_image("ref")[:90, :120])
UNIT = stretch(IMAGE / 255)


def psnr(a, b):
    error = np.mean((a.astype(float) - b) ** 2)
    return np.inf if error == 0 else 10 * np.log10(255**2 / error)


@pytest.mark.parametrize("official, name, lowest", [
    ("I01_01_02", "kadid_gaussian_blur", np.inf),  # every byte is equal, because of the stretch
    ("I01_01_05", "kadid_gaussian_blur", np.inf),
    ("I01_06_05", "kadid_colour_quantisation", 17.5),  # the same eight colours, another pattern of dither
    ("I01_15_05", "kadid_denoise", 21.0),  # the official noise is another, and so is the denoiser
])
def test_is_close_to_the_official_image(official, name, lowest):
    if "IQA_LAB_DATA" not in os.environ:
        pytest.skip("needs the golden images: set IQA_LAB_DATA")
    folder = Path(os.environ["IQA_LAB_DATA"]) / "golden" / "kadid10k_pairs"
    reference, expected = (np.asarray(Image.open(folder / f"{stem}.png").convert("RGB")) for stem in ("I01", official))
    assert KADID.index(name) + 1 == int(official[4:6])
    found = distort(reference, name, int(official[-1]))
    assert psnr(found, expected) >= lowest
    if name == "kadid_colour_quantisation":
        ours, theirs = (np.unique(image.reshape(-1, 3), axis=0).astype(int) for image in (found, expected))
        assert len(ours) == len(theirs) == 8
        assert max(np.abs(theirs - colour).max(axis=1).min() for colour in ours) <= 2  # of 255


def test_these_steps_of_the_database_change_nothing():
    image = to_bytes(255 * UNIT)
    unchanged = {(name, level) for name in KADID for level in range(1, 6)
                 if np.array_equal(distort(image, name, level), image)}
    assert unchanged == {("kadid_gaussian_blur", 1), ("kadid_motion_blur", 1), ("kadid_colour_saturation_2", 1),
                         ("kadid_mean_shift", 3)}


def test_the_result_uses_the_whole_range_and_a_low_contrast_is_stretched_first():
    for name in KADID:
        result = distort(IMAGE, name, 4)
        assert result.max() - result.min() >= 254, name  # JPEG rounds before the stretch
    faint = (100 + IMAGE // 8).astype(np.uint8)
    np.testing.assert_array_equal(distort(faint, "kadid_mean_shift", 3), to_bytes(255 * stretch(faint / 255)))
    np.testing.assert_array_equal(stretch(np.array([3.0, 3.0 + 1e-9])), [3.0, 3.0 + 1e-9])


def test_disk_kernel_is_that_of_fspecial():
    expected = [[0.02507853, 0.14534484, 0.02507853], [0.14534484, 0.31830989, 0.14534484],
                [0.02507853, 0.14534484, 0.02507853]]  # areas of the unit disk over pi, in closed form
    np.testing.assert_allclose(blur.disk_kernel(1), expected, atol=2e-5)
    kernel = blur.disk_kernel(6)
    assert kernel.shape == (13, 13) and kernel.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-6)
    assert kernel[6, 6] == pytest.approx(1 / (36 * np.pi), rel=1e-4)


def test_line_kernel_is_that_of_fspecial():
    np.testing.assert_allclose(blur.line_kernel(1, 77), [[1]])
    np.testing.assert_allclose(blur.line_kernel(4, 0)[2], [0.125, 0.25, 0.25, 0.25, 0.125], atol=1e-12)
    np.testing.assert_allclose(blur.line_kernel(6, 90), blur.line_kernel(6, 0).T, atol=1e-12)
    rising = blur.line_kernel(10, 30)
    assert rising[:5, 6:].sum() > 0.1 and rising[:5, :4].sum() == 0  # the first row is on top
    np.testing.assert_allclose(rising, rising[::-1, ::-1], atol=1e-12)


def test_convolve_and_gaussian_filter_equal_the_slow_sum_with_repeated_edges():
    random = np.random.RandomState(0)
    image, kernel = random.random_sample((6, 7, 3)), random.random_sample((3, 5))
    padded = np.pad(image, ((1, 1), (2, 2), (0, 0)), mode="edge")
    slow = sum(kernel[2 - i, 4 - j] * padded[i:i + 6, j:j + 7] for i in range(3) for j in range(5))
    np.testing.assert_allclose(blur.convolve(image, kernel), slow, atol=1e-12)
    taps = np.exp(-np.arange(-2, 3.0) ** 2 / 2)
    square = np.outer(taps, taps) / taps.sum() ** 2
    np.testing.assert_allclose(blur.gaussian_filter(image, 1, 2), blur.convolve(image, square), atol=1e-12)


def test_lab_is_that_of_scikit_image_and_comes_back():
    np.testing.assert_allclose(rgb_to_lab(UNIT), color.rgb2lab(UNIT), atol=0.02)  # its matrix has six digits
    np.testing.assert_allclose(lab_to_rgb(rgb_to_lab(UNIT)), UNIT, atol=1e-9)
    np.testing.assert_allclose(rgb_to_lab(np.ones((1, 1, 3))), [[[100, 0, 0]]], atol=1e-12)


def test_saturation_is_that_of_hsv():
    for factor in (0.4, 0):
        expected = color.hsv2rgb(color.rgb2hsv(UNIT) * (1, factor, 1))
        np.testing.assert_allclose(colour.kadid_colour_saturation_1(UNIT, factor, None), expected, atol=1e-12)
    turned = colour.kadid_colour_saturation_1(np.array([[[0.5, 0.25, 0.0]]]), -0.4, None)
    np.testing.assert_allclose(turned, [[[0.5, 0.6, 0.7]]])
    strong, same = (colour.kadid_colour_saturation_2(UNIT, factor, None) for factor in (3, 1))
    np.testing.assert_allclose(same, UNIT, atol=1e-9)
    assert np.ptp(strong, axis=2).mean() > 1.5 * np.ptp(UNIT, axis=2).mean()


def test_colour_shift_moves_green_near_edges_only():
    step = np.zeros((40, 60, 3))
    step[:, 30:] = 1
    edges = colour.edge_map(step)
    assert edges.shape == (40, 60) and edges[20, 29] == 1 and edges[20, 5] == 0
    shifted = colour.kadid_colour_shift(step, 12, np.random.RandomState(1))
    np.testing.assert_array_equal(shifted[..., [0, 2]], step[..., [0, 2]])
    assert (shifted[20, :, 1] != step[20, :, 1]).any() and np.array_equal(shifted[:, :15], step[:, :15])


def test_palette_cuts_are_the_best_and_few_colours_stay():
    random = np.random.RandomState(3)
    few = random.randint(0, 256, (3, 3)).astype(np.uint8)[random.randint(0, 3, (20, 20))]
    assert {tuple(c) for c in minimum_variance_palette(few, 8)} == {tuple(c) for c in few.reshape(-1, 3)}
    moments = colour_moments(IMAGE)
    whole, halves = best_cut(moments, ((0, 32),) * 3)
    pixels = IMAGE.reshape(-1, 3).astype(float)
    assert whole == pytest.approx(((pixels - pixels.mean(axis=0)) ** 2).sum())
    sums = {}
    for axis, level in itertools.product(range(3), range(8, 256, 8)):
        below = pixels[:, axis] < level
        if 0 < below.sum() < len(pixels):
            sums[axis, level] = sum(((part - part.mean(axis=0)) ** 2).sum() for part in (pixels[below], pixels[~below]))
    best = min(sums, key=sums.get)
    assert halves[0][best[0]] == (0, best[1] // 8) and halves[1][best[0]] == (best[1] // 8, 32)
    assert float(spread(moments.sum(axis=(1, 2, 3)))) == pytest.approx(whole)
    assert len(np.unique(distort(IMAGE, "kadid_colour_quantisation", 5).reshape(-1, 3), axis=0)) == 8


def test_thresholds_lie_between_separate_values_and_the_search_is_nelder_and_meads():
    histogram = np.zeros(256, int)
    histogram[[40, 100, 200, 230]] = 50
    thresholds = otsu_thresholds(histogram, 3)
    assert 40 <= thresholds[0] < 100 <= thresholds[1] < 200 <= thresholds[2] < 230

    def bowl(point):
        return float(((point - (100, 30)) ** 2 * (1, 2)).sum())
    found = simplex_search(bowl, np.array([50.0, 60.0]))
    simplex = np.array([[50.0, 60.0], [52.5, 60.0], [50.0, 63.0]])
    expected = optimize.minimize(bowl, simplex[0], method="Nelder-Mead",
                                 options={"xatol": 1, "fatol": 1e-4, "initial_simplex": simplex}).x
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_quantisation_leaves_one_value_more_than_thresholds():
    for level, n_thresholds in ((1, 20), (5, 7)):
        assert len(np.unique(distort(IMAGE, "kadid_quantisation", level))) == n_thresholds + 1
    few = (IMAGE // 64 * 85).astype(np.uint8)
    np.testing.assert_array_equal(distort(few, "kadid_quantisation", 5), stretched_bytes(few))


def stretched_bytes(image):
    return to_bytes(255 * stretch(image / 255))


def test_curves_go_through_their_points():
    points = np.array([0, 0.3, 0.5, 0.7, 1])
    np.testing.assert_allclose(tone.kadid_contrast_change(points, -0.4, None), [0, 0.35, 0.5, 0.65, 1], atol=1e-12)
    np.testing.assert_allclose(tone.kadid_contrast_change(points, -0.2, None), points, atol=1e-12)
    np.testing.assert_allclose(tone.kadid_darken(points[[0, 2, 4]], 0.4, None), [0, 0.3, 1], atol=1e-12)
    gray = np.repeat(points[[0, 2, 4]], 3).reshape(1, 3, 3)
    lightness = rgb_to_lab(gray)[0, 1, 0] / 100
    lifted = lab_to_rgb(np.array([[[100 * tone.parabola(lightness, 0.6), 0, 0]]]))[0, 0]
    np.testing.assert_allclose(tone.kadid_brighten(gray, 0.2, None)[0], [[0] * 3, (2 * 0.6 + lifted) / 3, [1] * 3],
                               atol=1e-9)
    assert tone.kadid_brighten(gray, 1.1, None).max() <= 1


def test_noises_have_the_stated_variance():
    gray = np.full((300, 301, 3), 0.5)
    for function, variance, expected in ((noise.kadid_white_noise, 0.003, 0.003),
                                         (noise.kadid_multiplicative_noise, 0.02, 0.02 / 4)):
        change = function(gray, variance, np.random.RandomState(2)) - gray
        assert change.var() == pytest.approx(expected, rel=0.02) and abs(change.mean()) < 1e-3
    changed = noise.kadid_impulse_noise(gray, 0.03, np.random.RandomState(2))
    assert [np.mean(changed == end) for end in (0, 1)] == pytest.approx([0.015, 0.015], rel=0.05)
    coloured = noise.kadid_white_noise_colour(gray, 0.001, np.random.RandomState(2)) - gray
    np.testing.assert_allclose((coloured @ noise.RGB_TO_YCBCR.T).var(axis=(0, 1)), 0.001, rtol=0.03)
    np.testing.assert_allclose(noise.RGB_TO_YCBCR.sum(axis=1), [219 / 255, 0, 0], atol=1e-12)


def test_denoiser_keeps_everything_without_threshold_and_removes_most_of_a_noise():
    np.testing.assert_allclose(noise.threshold_cosines(UNIT[:41, :53], 0), UNIT[:41, :53], atol=1e-12)
    flat = np.full((64, 64, 3), 0.5)
    noisy = noise.kadid_white_noise(flat, 0.01, np.random.RandomState(0))
    left = noise.kadid_denoise(flat, 0.01, np.random.RandomState(0))
    assert (left - flat).var() < 0.1 * (noisy - flat).var()


def test_each_round_of_jitter_has_the_stated_displacement(monkeypatch):
    rows, columns = np.indices((80, 80)) / 1.0
    image = np.stack((rows, columns, rows), axis=2)
    assert spatial.JITTERS == 5
    monkeypatch.setattr(spatial, "JITTERS", 1)
    moved = (spatial.kadid_jitter(image, 0.5, np.random.RandomState(0)) - image)[9:-9, 9:-9]
    assert moved[..., 0].std() == pytest.approx(0.5, rel=0.05) and moved[..., 1].std() == pytest.approx(0.5, rel=0.05)
    np.testing.assert_array_equal(moved[..., 0], moved[..., 2])


def test_patches_and_blocks_have_their_sizes():
    blocks = spatial.kadid_colour_block(np.full((200, 210, 3), -1.0), 1, np.random.RandomState(0))
    rows, columns = np.nonzero(blocks[..., 0] >= 0)
    assert len(rows) == 32**2 and np.ptp(rows) == np.ptp(columns) == 31
    numbers = np.repeat(np.arange(60 * 70.0).reshape(60, 70, 1), 3, axis=2)
    copied = spatial.kadid_non_eccentricity_patch(numbers, 1, np.random.RandomState(4))
    rows, columns = np.nonzero(copied[..., 0] != numbers[..., 0])
    assert np.ptp(rows) <= 15 and np.ptp(columns) <= 15 and len(rows) == 16 * 16
    source = copied[rows, columns, 0] - numbers[rows, columns, 0]
    down, right = divmod(int(source[0]) + 35, 70)
    assert len(set(source)) == 1 and abs(down) <= 8 and abs(right - 35) <= 8
    smallest = numbers[:48, :48]  # where only one patch leaves room to move
    copied = spatial.kadid_non_eccentricity_patch(smallest, 1, np.random.RandomState(4))
    moved = copied[copied != smallest]
    assert len(moved) == 3 * 16 * 16 and set(moved) == set(smallest[15:31, 15:31].ravel())


def test_pixelate_takes_the_nearest_pixel_twice():
    image, scale = UNIT[:23, :31], 0.95 - 0.2**0.6
    small = [int(np.ceil(scale * side)) for side in image.shape[:2]]
    source = [[min(int((int((i + 0.5) * n / side) + 0.5) / scale), side - 1) for i in range(side)]
              for side, n in zip(image.shape[:2], small, strict=True)]
    np.testing.assert_array_equal(spatial.kadid_pixelate(image, 0.2, None), image[np.ix_(*source)])


def test_codecs_see_bytes_and_jpeg2000_transforms_colours():
    np.testing.assert_array_equal(compression.kadid_jpeg(IMAGE / 255, 24, None) * 255,
                                  compression.jpeg(IMAGE, 24, None))
    with_transform = compression.kadid_jpeg2000(IMAGE / 255, 45, None) * 255
    assert psnr(with_transform, IMAGE) > psnr(compression.jpeg2000(IMAGE, 45, None), IMAGE)
