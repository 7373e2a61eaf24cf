"""HDR-VDP-2.2.1: the authors' numbers, its stages against SciPy and plain NumPy lines, and what a viewer would say."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import cumulative_trapezoid
from scipy.ndimage import uniform_filter
from test_reference_values import read

from iqa_lab import images
from iqa_lab.full_reference import hdr_vdp as module
from iqa_lab.full_reference import hdr_vdp_pathway as pathway
from iqa_lab.full_reference.hdr_vdp import (
    K_SELF,
    K_XN,
    K_XO,
    MASK_P,
    MASK_Q,
    Visibility,
    hdr_vdp,
    hdr_vdp_luminance,
    hdr_vdp_visibility,
    mutual_masking,
    neighbouring_masking,
    quality_weight,
    visibility,
    visible_difference,
)
from iqa_lab.ops.display import to_light

#: distorted, reference -> Q with luma-display, and mean of P_map with sRGB-display; release 2.2.1 in GNU Octave 7.3,
#: 30 pixels per degree, gray rounded to 8 bits
OFFICIAL = {("tid2013_pairs/distorted/i03_11_5.bmp", "tid2013_pairs/reference/i03.bmp"): (41.760817, 0.987852),
            ("tid2013_pairs/distorted/i01_01_5.bmp", "tid2013_pairs/reference/i01.bmp"): (50.870968, 0.999334),
            ("synthetic:quant", "synthetic:ref"): (64.274066, 0.983938),
            ("synthetic:noise", "synthetic:ref"): (61.121222, 0.997767)}
LUMINANCES = np.geomspace(1e-4, 1e5, 40)
VIEWING = (30.0, 1e-5, "ccfl-lcd")


def tensor(values: np.ndarray | list) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.float64)


def random_images(height: int, width: int, seed: int, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, channels, height, width, generator=generator, dtype=torch.float64)


def luminance_pattern() -> tuple[torch.Tensor, torch.Tensor]:
    """Returns a 5 % pattern on a ramp of 0.1 to 1000 cd/m2, and the ramp."""
    t = torch.arange(256, dtype=torch.float64)
    ramp = (0.1 * 10 ** (4 * t / 255))[:, None].expand(1, 1, 256, 256)
    wave = 2 * math.pi * t / 8
    return ramp * (1 + 0.05 * torch.sin(wave) * torch.cos(wave)[:, None]), ramp


# the authors' numbers

@pytest.mark.parametrize("pair", OFFICIAL)
def test_luma_display_and_probability_map_equal_the_authors_values(pair):
    distorted, reference = map(read, pair)
    score, probability = OFFICIAL[pair]
    assert hdr_vdp(distorted, reference, encoding="luma-display").item() == pytest.approx(score, abs=1e-6)
    assert hdr_vdp_visibility(distorted, reference).P_map.mean().item() == pytest.approx(probability, abs=1e-6)


def test_absolute_luminance_equals_the_authors_values():
    pattern, ramp = luminance_pattern()
    assert hdr_vdp_luminance(pattern, ramp).item() == pytest.approx(71.419691, abs=1e-6)
    maps = visibility(pattern, ramp, *VIEWING)
    assert maps.P_det.item() == pytest.approx(0.999999, abs=1e-6)
    assert maps.C_max.item() == pytest.approx(20.342273, abs=1e-6)
    assert maps.P_map.mean().item() == pytest.approx(0.151823, abs=1e-6)


def test_float32_keeps_the_digits_over_four_decades_of_luminance():
    pattern, ramp = luminance_pattern()
    single = hdr_vdp_luminance(pattern.float(), ramp.float())
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(hdr_vdp_luminance(pattern, ramp).item(), rel=1e-5)


def test_the_full_csf_is_what_another_project_prints_of_it():
    two, hundred = tensor(2), tensor(100)  # 8.6 CSF(2 cpd, 100 cd/m2) = 244.6
    csf = pathway.neural_csf(two, hundred) * pathway.optical_mtf(two) * pathway.joint_sensitivity(hundred)
    assert 8.6 * csf.item() == pytest.approx(244.6, abs=0.05)


# optics

def test_the_optics_pass_the_mean_and_scatter_the_rest():
    assert sum(pathway.MTF_A) == pytest.approx(1, abs=1e-15)
    rho = np.array([0.0, 1.0, 10.0, 30.0])
    share = 0.99727370023777070  # of the light that is not scattered far
    expected = share * (0.426 * np.exp(-0.028 * rho) + 0.574 * np.exp(-0.37 * rho))
    expected[0] = 1
    np.testing.assert_allclose(pathway.optical_mtf(tensor(rho)), expected, rtol=1e-12)


@pytest.mark.parametrize("height, width", [(6, 5), (5, 8)])
def test_frequencies_are_those_of_linspace_lines(height, width):
    def axis(n):  # of 2 n samples
        step = 15 / n
        return np.concatenate((np.linspace(0, 15 - step, n), np.linspace(-15, -step, n)))
    expected = np.hypot(*np.meshgrid(axis(width), axis(height)))
    np.testing.assert_allclose(pathway.frequency_grid(height, width, 15.0), expected[:, :width + 1].T, atol=1e-12)


@pytest.mark.parametrize("height, width", [(12, 9), (7, 16)])
def test_filtering_is_an_fft_of_the_padded_image(height, width):
    x = random_images(height, width, 1, channels=2)[0]
    surround = torch.tensor([3.0, -2.0], dtype=torch.float64).view(2, 1, 1)
    grid = pathway.frequency_grid(height, width, 20.0)
    ours = pathway.filter_surrounded(x, pathway.optical_mtf(grid), surround)
    half = grid.T.numpy()
    full = pathway.optical_mtf(tensor(np.hstack((half, half[:, width - 1:0:-1])))).numpy()  # symmetric: both halves
    for image, value, filtered in zip(x.numpy(), (3.0, -2.0), ours, strict=True):
        padded = np.pad(image, ((0, height), (0, width)), constant_values=value)
        theirs = np.fft.ifft2(np.fft.fft2(padded) * full).real[:height, :width]
        np.testing.assert_allclose(filtered, theirs, atol=1e-12)


# receptors and nerves

def test_receptor_weights_give_luminance():
    assert sum(pathway.D65[0][:2]) == pytest.approx(0.91855545)
    for rows in pathway.RGB_DISPLAYS.values():
        assert sum(row[0] + row[1] for row in rows) == pytest.approx(1, abs=6e-3)


def slow_sensitivities(luminance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    joint = 30.162 * ((4.0627 / luminance) ** 1.6596 + 1) ** -0.2712
    distance = np.abs(np.log10(luminance / 1.1732))
    bright = luminance > 1.1732
    rod = np.where(bright, np.exp(-(distance**2.9899) / 0.5547), np.exp(-(distance**1.2167) / 1.1478)) * 10**1.1414
    return joint, rod


def test_sensitivities_are_the_printed_formulas():
    joint, rod = slow_sensitivities(LUMINANCES)
    np.testing.assert_allclose(pathway.joint_sensitivity(tensor(LUMINANCES)), joint)
    np.testing.assert_allclose(pathway.rod_sensitivity(tensor(LUMINANCES)), rod)


def test_response_tables_are_integrals_of_sensitivity():
    log_luminance = np.linspace(-5, 5, 2048)
    luminance = 10**log_luminance
    joint, rod = slow_sensitivities(luminance)
    cone = 0.5 * np.interp(np.minimum(2 * luminance, luminance[-1]), luminance, np.maximum(joint - rod, 1e-3))
    for ours, sensitivity in zip(pathway.response_tables(), (cone, rod), strict=True):
        integral = cumulative_trapezoid(sensitivity * math.log(10), log_luminance, initial=0)
        np.testing.assert_allclose(ours, 0.006894596 / 10**-2.4 * integral, rtol=1e-12)


def test_a_just_visible_step_is_one_unit_of_all_receptors_together():
    # dP / d ln L of two cones at half the luminance each and of the rods is s_A, times the correction
    (cone, rod), at, ratio = pathway.response_tables(), math.log10(20), 1 + 1e-3
    step = sum((pathway.interpolate(table, tensor(at + shift + math.log10(ratio)))
                - pathway.interpolate(table, tensor(at + shift))).item()
               for table, shift in ((cone, -math.log10(2)), (cone, -math.log10(2)), (rod, 0)))
    sensitivity = pathway.SENSITIVITY_CORRECTION * pathway.joint_sensitivity(tensor(20)).item()
    assert step / math.log(ratio) == pytest.approx(sensitivity, rel=5e-3)


def test_interpolation_equals_numpy_also_beyond_the_ends():
    table, x = np.random.default_rng(2).normal(size=50), np.array([-7, -5, -4.9, 0.01, 3.3, 4.99, 5, 8])
    ours = pathway.interpolate(tensor(table), tensor(x))
    np.testing.assert_allclose(ours, np.interp(x, np.linspace(-5, 5, 50), table), atol=1e-12)


def test_neural_csf_interpolates_its_table_over_log_luminance():
    frequency = np.array([0.0, 0.5, 4.0, 30.0])
    for luminance in (1e-4, 0.002, 0.05, 7.0, 150.0, 1e4):
        logs, columns = np.log10(pathway.NCSF_LUMINANCES), zip(*pathway.NCSF_PARAMETERS, strict=True)
        p1, p2, p3, p4 = (np.interp(np.log10(luminance), logs, column) for column in columns)
        with np.errstate(divide="ignore"):
            expected = p4 / np.sqrt((1 + (p1 * frequency) ** p2) / (1 - np.exp(-((frequency / 7) ** 2))) ** p3)
        np.testing.assert_allclose(pathway.neural_csf(tensor(frequency), tensor(luminance)), expected, rtol=1e-12)


def test_a_uniform_field_makes_no_response():
    light = torch.full((2, 1, 20, 24), 50.0, dtype=torch.float64)
    bands, log_adaptation = pathway.visual_pathway(light, 30.0, torch.full((2, 1, 1, 1), 50.0).double(), "ccfl-lcd")
    assert max(band.abs().max() for band in bands) < 1e-9
    torch.testing.assert_close(log_adaptation, torch.full((1, 1, 20, 24), math.log10(0.91855545 * 50)).double())


# masking

def test_mutual_masking_is_a_mean_over_9_with_zeros_around():
    t, r = torch.randn(2, 1, 4, 9, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    smaller = np.minimum(np.abs(t[0].numpy()), np.abs(r[0].numpy()))
    theirs = uniform_filter(smaller, (1, 3, 3), mode="constant")
    np.testing.assert_allclose(mutual_masking(t, r)[0], theirs, atol=1e-14)


def test_neighbours_are_the_bands_before_and_after_but_never_the_base_band():
    sizes = [(1, 16, 12), (4, 16, 12), (4, 8, 6), (1, 4, 3)]
    masking = [torch.full((1, *size), 2.0**b * (b + 1), dtype=torch.float64) for b, size in enumerate(sizes)]
    masking[1][:, 1:] = 0  # only the first orientation masks bands of one orientation
    means = [neighbouring_masking(masking, band) for band in range(4)]
    assert [tuple(m.shape[1:]) for m in means] == [(1, 16, 12), (4, 16, 12), (4, 8, 6), (1, 4, 3)]
    assert means[0].mean().item() == pytest.approx(2) and means[1].mean().item() == pytest.approx(1 + 3)
    assert means[2][:, 0].mean().item() == pytest.approx(2) and means[2][:, 1:].abs().max() == 0
    assert means[3].mean().item() == pytest.approx(3)


def test_visible_difference_is_the_printed_formula():
    rng = np.random.default_rng(4)
    difference, own = rng.normal(size=(4, 5, 5)), rng.gamma(1, 2, size=(4, 5, 5))
    before, sensitivity = rng.gamma(1, 2, size=(1, 5, 5)), rng.gamma(2, 1, size=(1, 5, 5))
    band, n = 1, 2.0
    ours = visible_difference(*(tensor(difference)[None], [tensor(before)[None], tensor(own)[None], tensor(own)[None]]),
                              band, tensor(sensitivity)[None])[0].numpy()
    for o, i, j in np.ndindex(4, 5, 5):
        noise = 1 / sensitivity[0, i, j]
        others = own[:, i, j].sum() - own[o, i, j]
        mask = n * (K_SELF * (own[o, i, j] / (noise * n)) ** MASK_Q + K_XO * (others / (noise * n)) ** MASK_Q
                    + K_XN * (before[0, i, j] / noise) ** MASK_Q)
        d = difference[o, i, j]
        expected = n * np.sign(d) * abs(d / n) ** MASK_P / math.sqrt(noise ** (2 * MASK_P) + mask**2)
        assert ours[o, i, j] == pytest.approx(expected)


# pooling

def test_quality_weights_equal_linear_interpolation_over_frequency():
    for frequency in (0.01, 0.1172, 0.2, 1.3, 7.5, 22.0, 45.0, 60.0, 100.0):
        expected = np.interp(frequency, module.QUALITY_FREQUENCIES[::-1], module.QUALITY_WEIGHTS[::-1])
        assert quality_weight(frequency) == pytest.approx(expected, abs=1e-12)


def test_at_the_threshold_half_the_viewers_see_it():
    pattern, ramp = luminance_pattern()
    maps = visibility(pattern, ramp, *VIEWING)
    torch.testing.assert_close(maps.P_map, 1 - 0.5**maps.C_map)
    for whole, most in ((maps.P_map, maps.P_det), (maps.C_map, maps.C_max)):
        torch.testing.assert_close(whole.amax((1, 2, 3)), most)


def test_darkness_and_distance_hide_a_difference():
    pattern, ramp = luminance_pattern()
    assert hdr_vdp_luminance(pattern / 1e4, ramp / 1e4) > hdr_vdp_luminance(pattern, ramp) + 5
    grating = 0.5 + 0.02 * torch.sin(torch.arange(64, dtype=torch.float64) * math.pi / 2).expand(1, 1, 64, 64)
    near, middle, far = (hdr_vdp_visibility(grating, torch.full_like(grating, 0.5), pixels_per_degree=ppd).C_max.item()
                         for ppd in (20.0, 60.0, 120.0))  # 5, 15 and 30 cycles per degree
    assert near > 10 * middle > 10 and far < 1


def test_options_matter():
    distorted, reference = random_images(40, 36, 7), random_images(40, 36, 8)
    default = hdr_vdp(distorted, reference).item()
    for options in ({"encoding": "luma-display"}, {"pixels_per_degree": 60.0}, {"rgb_display": "led-lcd"},
                    {"rgb_display": "crt"}):
        assert hdr_vdp(distorted, reference, **options).item() != pytest.approx(default, abs=1e-3)
    light = to_light(distorted, "sRGB-display"), to_light(reference, "sRGB-display")
    assert hdr_vdp_luminance(*light).item() == pytest.approx(default, abs=1e-12)
    assert hdr_vdp_luminance(*light, surround=None).item() != pytest.approx(default, abs=1e-3)


def test_the_surround_of_none_is_the_geometric_mean_of_the_reference():
    distorted, reference = 10 ** random_images(24, 24, 9, channels=1), 10 ** random_images(24, 24, 10, channels=1)
    mean = np.exp(np.log(reference.numpy()).mean())
    expected = hdr_vdp_luminance(distorted, reference, surround=mean)
    torch.testing.assert_close(hdr_vdp_luminance(distorted, reference, surround=None), expected)


def test_no_difference_scores_100_and_is_invisible_wherever_the_eye_is_adapted():
    for light in (torch.zeros(1, 1, 20, 20), torch.full((1, 1, 20, 20), 1e6), 10 ** (8 * torch.rand(1, 1, 20, 20) - 4)):
        assert hdr_vdp_luminance(light, light).item() == 100
    image = random_images(20, 20, 11)
    maps = hdr_vdp_visibility(image, image)
    assert isinstance(maps, Visibility) and maps.P_det.item() == maps.C_max.item() == 0


def test_total_darkness_in_the_reference_is_finite():
    light = (10 * random_images(20, 20, 12, channels=1)).requires_grad_()
    darkness = torch.zeros_like(light, requires_grad=True)
    score = hdr_vdp_luminance(light, darkness, surround=None)
    score.sum().backward()
    assert 0 < score.item() < 100 and light.grad.isfinite().all() and darkness.grad.isfinite().all()


def test_pixels_that_differ_by_a_thousandth_do_not_count():
    _, ramp = luminance_pattern()
    assert hdr_vdp_luminance(ramp * 1.0009, ramp).item() == 100
    assert hdr_vdp_luminance(ramp * 1.0011, ramp).item() < 100


def test_large_batches_give_the_scores_and_gradients_of_small_ones(monkeypatch):
    distorted = torch.cat([random_images(20, 22, seed) for seed in (13, 14, 15)]).requires_grad_()
    reference = torch.cat([random_images(20, 22, seed) for seed in (16, 17, 18)])

    def all_numbers():
        scores, maps = hdr_vdp(distorted, reference), hdr_vdp_visibility(distorted, reference)
        (gradient,) = torch.autograd.grad(scores.sum() + maps.C_map.mean(), distorted)
        return (scores, *maps, gradient)

    together = all_numbers()
    monkeypatch.setattr(images, "PIXELS_AT_ONCE", 20 * 22 * 2)  # two pairs, then one
    monkeypatch.setattr(module, "GRAPH_PIXELS", 1)
    for ours, theirs in zip(together, all_numbers(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("encoding", ["sRGB-display", "luma-display"])
def test_gradcheck(encoding):
    channels = 3 if encoding == "sRGB-display" else 1  # the rounding of gray passes gradients it does not have
    pair = [random_images(17, 17, seed, channels=channels)[:, :1].requires_grad_() for seed in (19, 20)]
    weights = torch.linspace(0.5, 1, 17 * 17, dtype=torch.float64).view(1, 1, 17, 17)

    def numbers(*pair):
        maps = hdr_vdp_visibility(*pair, encoding=encoding)
        return hdr_vdp(*pair, encoding=encoding), (maps.C_map.log1p() * weights).mean()

    assert torch.autograd.gradcheck(numbers, pair, fast_mode=True)


@pytest.mark.parametrize("options, message", [({"encoding": "XYZ"}, "sRGB-display"),
                                              ({"rgb_display": "oled"}, "led-lcd")])
def test_unknown_options_are_refused(options, message):
    image = random_images(20, 20, 21)
    with pytest.raises(ValueError, match=message):
        hdr_vdp(image, image, **options)
    with pytest.raises(ValueError, match="17 pixels"):
        hdr_vdp(image[..., :16], image[..., :16])
