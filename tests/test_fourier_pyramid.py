"""The Fourier steerable pyramid against a step by step version of buildSFpyr, and its partition of the frequencies."""

import math

import numpy as np
import pytest
import torch

from iqa_lab.ops.fourier_pyramid import (band_masks, fourier_pyramid, highpass_mask, level_size, lowpass_mask,
                                         oriented_bands)

SIZES = [(64, 96), (65, 97), (66, 71), (50, 47)]


def images(height: int, width: int, n: int = 1) -> torch.Tensor:
    return 255 * torch.rand(n, 1, height, width, generator=torch.Generator().manual_seed(height), dtype=torch.float64)


def slow_pyramid(image: np.ndarray, levels: int, n_orientations: int, entries: int) -> list[np.ndarray]:
    """The whole plane, zero frequency in the middle; cosines from tables; each level cut out of the one before."""
    shape, order = np.array(image.shape), n_orientations - 1
    centre = np.ceil((shape + 0.5) / 2).astype(int) - 1
    y, x = ((np.arange(n) - c) / (n / 2) for n, c in zip(shape, centre, strict=True))
    angle, radius = np.arctan2(y[:, None], x), np.hypot(y[:, None], x)
    radius[tuple(centre)] = radius[centre[0], centre[1] - 1]
    octaves = np.log2(radius)
    phase = np.pi * np.arange(-entries - 1, 2) / (2 * entries)
    rise = np.cos(phase) ** 2
    rise[0], rise[-1] = rise[1], rise[-2]
    knots, high, low = -0.5 + 2 / np.pi * (phase + np.pi / 4), np.sqrt(rise), np.sqrt(1 - rise)
    spectrum = np.fft.fftshift(np.fft.fft2(image))
    highpass = np.fft.ifft2(np.fft.ifftshift(spectrum * np.interp(octaves, knots, high))).real
    spectrum, found = spectrum * np.interp(octaves, knots, low), [highpass]
    turns = np.pi * np.arange(-8 * entries - 1, 4 * entries + 2) / (4 * entries)
    scale = math.sqrt(4**order * math.factorial(order) ** 2 / (n_orientations * math.factorial(2 * order)))
    for _ in range(levels):
        knots, bands = knots - 1, []
        for b in range(n_orientations):
            mask = np.interp(angle, turns + np.pi * b / n_orientations, scale * np.cos(turns) ** order)
            masked = (-1j) ** order * spectrum * mask * np.interp(octaves, knots, high)
            bands.append(np.fft.ifft2(np.fft.ifftshift(masked)).real)
        found.append(np.stack(bands))
        shape = np.array(spectrum.shape)
        small = np.ceil((shape - 0.5) / 2).astype(int)
        start = np.ceil((shape + 0.5) / 2).astype(int) - np.ceil((small + 0.5) / 2).astype(int)
        middle = tuple(slice(s, s + n) for s, n in zip(start, small, strict=True))
        octaves, angle, spectrum = octaves[middle], angle[middle], spectrum[middle]
        spectrum = spectrum * np.interp(octaves, knots, low)
    return [*found, np.fft.ifft2(np.fft.ifftshift(spectrum)).real]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n_orientations", [3, 4, 6])
@pytest.mark.parametrize("entries, tolerance", [(256, 1e-4), (2**16, 1e-8)])  # buildSFpyr's tables, and finer ones
def test_equals_the_step_by_step_version(size, n_orientations, entries, tolerance):
    image = images(*size)
    pyramid = fourier_pyramid(image, 3, n_orientations)
    ours = [pyramid.highpass[0, 0], *(bands[0] for bands in pyramid.bands), pyramid.lowpass[0, 0]]
    for mine, theirs in zip(ours, slow_pyramid(image[0, 0].numpy(), 3, n_orientations, entries), strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs, atol=tolerance * np.abs(theirs).std())


@pytest.mark.parametrize("size", SIZES)
def test_squares_of_all_masks_add_to_one(size):
    octaves = torch.linspace(-6, 1, 50)
    torch.testing.assert_close(highpass_mask(octaves) ** 2 + lowpass_mask(octaves) ** 2, torch.ones(50))
    for level in range(3):
        masks = band_masks(size, level, (0, 1, 2, 3), 4)
        radial = band_masks(size, level, (0,), 1)  # one orientation: no direction
        torch.testing.assert_close((masks**2).sum(0), (radial**2)[0])


def test_energy_is_kept():
    image = images(64, 96)
    pyramid = fourier_pyramid(image, 3)
    # From level to level a quarter as many coefficients, four times as large.
    energies = [bands.square().sum() / 4**level for level, bands in enumerate(pyramid.bands)]
    total = pyramid.highpass.square().sum() + sum(energies) + pyramid.lowpass.square().sum() / 4**3
    assert total.item() == pytest.approx(image.square().sum().item(), rel=1e-10)


def test_band_zero_sees_vertical_edges():
    columns = torch.arange(64).remainder(16).div(8, rounding_mode="floor").double().expand(1, 1, 64, 64)
    for image, strongest in ((columns, 0), (columns.mT, 2)):
        energy = fourier_pyramid(image, 3).bands[2].square().mean((0, 2, 3))
        assert energy.argmax() == strongest and energy[(strongest + 2) % 4] < 1e-20


def test_some_bands_are_those_of_the_whole_pyramid_and_a_batch_is_its_images():
    batch = images(48, 60, n=3)
    whole = fourier_pyramid(batch, 3).bands
    some = oriented_bands(batch, ((0, 2), (1, 3), (2,)))
    for level, chosen in enumerate(((0, 2), (1, 3), (2,))):
        torch.testing.assert_close(some[level], whole[level][:, list(chosen)])
        torch.testing.assert_close(some[level][1:2], oriented_bands(batch[1:2], ((0, 2), (1, 3), (2,)))[level])


@pytest.mark.parametrize("size, level, small", [((38, 51), 0, (38, 51)), ((38, 51), 1, (19, 26)), ((9, 7), 2, (3, 2))])
def test_sizes_round_up(size, level, small):
    assert level_size(size, level) == small


def test_float32_and_gradient():
    image = images(40, 44).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: fourier_pyramid(x, 2).bands[1], image, fast_mode=True)
    band = fourier_pyramid(image.detach().float(), 2).bands[1]
    assert band.dtype == torch.float32
    torch.testing.assert_close(band.double(), fourier_pyramid(image.detach(), 2).bands[1], rtol=1e-4, atol=1e-2)
