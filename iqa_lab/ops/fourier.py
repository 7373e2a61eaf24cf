"""Log-Gabor filters in the frequency domain, and the phase congruency that is built from them.

Phase congruency: P. Kovesi, "Image features from phase congruency", Videre: Journal of Computer Vision Research 1(3),
1999, in the form of his phasecong2.m with the settings that FSIM's authors ship.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from iqa_lab.ops.elementwise import TINY


class LogGabor(NamedTuple):
    """What defines a bank of log-Gabor filters."""

    wavelengths: tuple[float, ...]  # of the centre of each scale, in pixels
    sigma_on_f: float  # standard deviation of the radial Gaussian over its centre frequency: the bandwidth
    orientations: int
    d_theta_on_sigma: float  # angle between orientations over the standard deviation of the angular Gaussian


BANK = LogGabor(wavelengths=(6, 12, 24, 48), sigma_on_f=0.55, orientations=4, d_theta_on_sigma=1.2)
CUTOFF, ORDER = 0.45, 15  # Butterworth low-pass that keeps the corners of the frequency plane out
K = 2.0  # noise threshold: so many standard deviations above the mean of what noise alone would give
RESCALING = 1.7  # empirical divisor of the noise threshold
EPSILON = 1e-4  # keeps the mean phase defined where all responses vanish
FLAT = 1e-3  # an image that spans fewer grey levels (of 255) is flat up to rounding


def frequencies(length: int) -> torch.Tensor:
    """Returns the frequencies of one axis in FFT order, cycles per pixel, float64, as Kovesi's code samples them.

    For an odd length they are k / (L - 1), so that they reach -0.5 and 0.5, where an FFT has k / L.

    >>> frequencies(4).tolist(), frequencies(5).tolist()
    ([0.0, 0.25, -0.5, -0.25], [0.0, 0.25, 0.5, -0.5, -0.25])
    """
    k = torch.fft.ifftshift(torch.arange(length, dtype=torch.float64) - length // 2)
    return k / max(1, length - length % 2)


def radius(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Returns the distance of each pair of frequencies from 0, shape (H, W)."""
    return torch.hypot(rows[:, None], columns)


def log_gabor(r: torch.Tensor, centre: float, bandwidth: float) -> torch.Tensor:
    """Returns exp(-ln(r / centre)^2 / (2 bandwidth^2)), the radial profile of a log-Gabor filter, and 0 at r = 0."""
    return torch.exp(-(r / centre).log().square() / (2 * bandwidth**2))


def angular_gaussian(rows: torch.Tensor, columns: torch.Tensor, angle: float, sigma: float) -> torch.Tensor:
    """Returns exp(-d^2 / (2 sigma^2)), d the angle between each frequency and ``angle`` (0: along columns), (H, W)."""
    theta = torch.atan2(-rows[:, None], columns)
    distance = torch.atan2((theta - angle).sin(), (theta - angle).cos())
    return torch.exp(-distance.square() / (2 * sigma**2))


def log_gabor_factors(bank: LogGabor, rows: torch.Tensor, columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the radial (S, H, W) and the angular (O, H, W) factors of a bank's transfer functions, float64.

    A filter is the product of one of each: real and (almost) one-sided, so that the inverse FFT of an image spectrum
    times a filter is complex. Its real part is the response of the even (cosine) filter, its imaginary part that of
    the odd (sine) filter, its modulus the local amplitude.

    Args:
        bank: scales, orientations and bandwidths.
        rows, columns: frequencies of the two axes in cycles per pixel, shapes (H,) and (W,), in FFT order.
    """
    r = radius(rows, columns)
    sigma = math.pi / bank.orientations / bank.d_theta_on_sigma
    radial = [log_gabor(r, 1 / wavelength, math.log(bank.sigma_on_f)) for wavelength in bank.wavelengths]
    angles = [o * math.pi / bank.orientations for o in range(bank.orientations)]
    return torch.stack(radial), torch.stack([angular_gaussian(rows, columns, angle, sigma) for angle in angles])


def even_part(filters: torch.Tensor) -> torch.Tensor:
    """Returns (H(f) + H(-f)) / 2 of transfer functions (..., H, W): the one whose response is the real part."""
    return (filters + filters.flip(-2, -1).roll((1, 1), (-2, -1))) / 2


@functools.lru_cache(maxsize=4)
@torch.inference_mode(False)  # a cached tensor must serve later training, whoever asks for it first
def phase_congruency_filters(height: int, width: int, dtype: torch.dtype = torch.float32,
                             device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the filters of :func:`phase_congruency`, complex (O, S, H, W), and T / sqrt(median A_1^2), shape (O,).

    The threshold T of one orientation is what noise of the strength seen at the smallest scale would give on average,
    plus K standard deviations. The squared response to white noise of power P is 2 P sum (sum_s a_s)^2, where a_s is
    the even filter in space; Parseval's theorem gives that sum from the transfer functions. P follows from the median
    of A_1^2, which noise distributes exponentially.

    Args:
        height, width: of the image.
        dtype: float32 or float64; the filters are stored as its complex type, since real times complex is slow.
        device: where to. The result is cached: do not change it in place.
    """
    rows, columns = frequencies(height), frequencies(width)
    low_pass = 1 / (1 + (radius(rows, columns) / CUTOFF) ** (2 * ORDER))
    radial, angular = log_gabor_factors(BANK, rows, columns)
    filters = angular[:, None] * (radial * low_pass)
    noise = even_part(filters.sum(1)).square().sum((1, 2)) / (math.log(2) * filters[:, 0].square().sum((1, 2)))
    threshold = noise.sqrt() * (math.sqrt(math.pi / 2) + K * math.sqrt(2 - math.pi / 2)) / RESCALING
    return filters.to(device, dtype.to_complex()), threshold.to(device, dtype)


def orientation_energies(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns local energy above the noise threshold and summed amplitude of each orientation, both (N, O, H, W).

    Per orientation, with responses z_s = (e_s, o_s) and the unit vector m of the mean phase, m = sum z_s / |sum z_s|,
    the energy is sum_s (z_s . m - |z_s x m|) - T, at least 0.

    Args:
        x: gray images (N, 1, H, W) on 0..255.
    """
    filters, thresholds = phase_congruency_filters(*x.shape[2:], x.dtype, x.device)
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    spectrum = torch.fft.fft2((x - low) * (high - low > FLAT))  # the filters are blind to the mean
    parts = [_energy_and_amplitude(torch.fft.ifft2(spectrum * orientation)) for orientation in filters]
    energies, amplitudes, smallest = (torch.stack(maps, 1) for maps in zip(*parts, strict=True))
    noise = thresholds * (median(smallest.flatten(2)) + TINY).sqrt()
    return F.relu(energies - noise[..., None, None]), amplitudes


def _energy_and_amplitude(response: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns energy before thresholding, amplitude, and squared amplitude of the smallest scale, each (N, H, W).

    Args:
        response: complex responses of one orientation at all scales, (N, S, H, W).
    """
    even, odd = (part.contiguous() for part in torch.view_as_real(response).unbind(-1))
    power = torch.addcmul(even * even, odd, odd)
    amplitude = (power + TINY).sqrt().sum(1)  # TINY: no effect but on the gradient at 0, and faster than a mask
    sum_even, sum_odd = even.sum(1, keepdim=True), odd.sum(1, keepdim=True)
    # With m = (sum_even, sum_odd) / (length + EPSILON), the dot products add up to length^2 / (length + EPSILON).
    length2 = torch.addcmul(sum_even * sum_even, sum_odd, sum_odd)[:, 0]
    cross = torch.addcmul(even * sum_odd, odd, sum_even, value=-1).abs().sum(1)
    return (length2 - cross) / ((length2 + TINY).sqrt() + EPSILON), amplitude, power[:, 0]


def median(x: torch.Tensor) -> torch.Tensor:
    """Returns the median of the last axis; of an even number of values the mean of the middle two, as in MATLAB.

    ``torch.median`` returns the smaller of the two instead.

    >>> median(torch.tensor([4.0, 1.0, 3.0, 2.0])).item()
    2.5
    """
    length = x.shape[-1]
    lower_half = x.topk(length // 2 + 1, largest=False, sorted=False).values
    return lower_half.topk(2 - length % 2).values.mean(-1)


def phase_congruency(x: torch.Tensor) -> torch.Tensor:
    """Returns phase congruency, the energy of all orientations over their amplitude: shape (N, 1, H, W), in [0, 1).

    It is near 1 where the waves of all scales are in phase (edges, lines), whatever their contrast, and 0 in an image
    without structure.

    Args:
        x: gray images (N, 1, H, W) on 0..255.
    """
    energies, amplitudes = orientation_energies(x)
    return energies.sum(1, keepdim=True) / amplitudes.sum(1, keepdim=True)
