"""The display model: light of white, black and gray, and the geometry of looking at it."""

import math

import numpy as np
import pytest
import torch

from iqa_lab.ops import display
from iqa_lab.ops.display import display_light, pixels_per_degree, reflected_light, srgb_to_linear, to_light


def test_srgb_equals_a_slow_line_per_value():
    values = np.concatenate((np.arange(256) / 255, [0.04045, 0.0404501]))
    slow = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    np.testing.assert_allclose(srgb_to_linear(torch.from_numpy(values)).numpy(), slow, rtol=1e-14)


def test_the_two_pieces_of_srgb_meet():
    below, above = srgb_to_linear(torch.tensor([0.04045, 0.04045 + 1e-9], dtype=torch.float64))
    assert (above - below).abs() < 1e-7


def test_gradcheck_on_both_pieces_and_finite_gradients_at_the_ends():
    values = torch.tensor([0.01, 0.03, 0.05, 0.5, 0.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(srgb_to_linear, values)
    ends = torch.tensor([0.0, 0.04045, 1.0], requires_grad=True)
    srgb_to_linear(ends).sum().backward()
    assert ends.grad.isfinite().all()


@pytest.mark.parametrize("encoding, channels", [("sRGB-display", 3), ("luma-display", 1)])
def test_hdr_vdp_encodings_reach_from_1_to_100(encoding, channels):
    black_and_white = torch.stack((torch.zeros(3, 2, 2), torch.ones(3, 2, 2)))
    light = to_light(black_and_white, encoding)
    assert light.shape == (2, channels, 2, 2)
    torch.testing.assert_close(light[0], torch.full_like(light[0], 1))
    torch.testing.assert_close(light[1], torch.full_like(light[1], 100))


def test_luma_encoding_is_the_authors_formula_on_8_bit_gray():
    gray = torch.arange(256, dtype=torch.float64).view(1, 1, 16, 16) / 255
    torch.testing.assert_close(to_light(gray, "luma-display"), 99 * gray**2.2 + 1)
    colour = torch.tensor([10, 20, 30], dtype=torch.float64).view(1, 3, 1, 1) / 255  # MATLAB's gray is 18
    assert to_light(colour, "luma-display").item() == pytest.approx(99 * (18 / 255) ** 2.2 + 1)


def test_gray_counts_as_equal_channels_on_an_srgb_display():
    gray = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(to_light(gray, "sRGB-display"), to_light(gray.repeat(1, 3, 1, 1), "sRGB-display"))


def test_unknown_encodings_are_refused():
    with pytest.raises(ValueError, match="'sRGB-display' or 'luma-display'"):
        to_light(torch.zeros(1, 3, 4, 4), "luminance")


def test_reflections_lift_black_and_white_alike():
    linear = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    dark_room = display_light(linear, peak=200.0, black=0.2)
    lit_room = display_light(linear, peak=200.0, black=0.2, reflected=reflected_light(500.0, 0.01))
    assert dark_room.tolist() == pytest.approx([0.2, 0.2 + 0.25 * 199.8, 200.0])
    assert (lit_room - dark_room).tolist() == pytest.approx([5 / math.pi] * 3)


def test_pixels_per_degree_of_the_authors_example_and_of_a_small_angle():
    # hdrvdp_pix_per_deg(24, [1920 1200], 0.5): 323.1 mm high, 35.81 degrees
    assert pixels_per_degree((1920, 1200), 24.0, 0.5) == pytest.approx(1200 / 35.8099, rel=1e-4)
    far = pixels_per_degree((1920, 1080), 24.0, 50.0)  # there a degree is its sine
    millimetres_per_pixel = 24 * display.MM_PER_INCH / math.hypot(1920, 1080)
    assert far == pytest.approx(50_000 * math.radians(1) / millimetres_per_pixel, rel=1e-4)
