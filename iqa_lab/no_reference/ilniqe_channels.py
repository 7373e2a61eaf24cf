"""The feature maps of IL-NIQE: its 8-bit resize, colour channels, Gaussian derivatives and log-Gabor responses.

Numbers are those of the authors' release (doi:10.1109/TIP.2015.2426416): the symbol of computequality.m stands beside
each. What they are for, and every deviation, is in ``iqa_lab.no_reference.ilniqe``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import torch
from torch.nn.functional import hardshrink

from iqa_lab.ops.color import OPPONENT, RGB_TO_LMN, transform
from iqa_lab.ops.correlation import correlate_axis
from iqa_lab.ops.elementwise import round_half_up
from iqa_lab.ops.filters import gaussian_kernel
from iqa_lab.ops.fourier import angular_gaussian, even_part, frequencies, log_gabor, radius
from iqa_lab.ops.resize import resize
from iqa_lab.ops.statistics import DEAD_ZONE

SIDE = 524  # normalizedWidth: every image becomes 524 x 524
GAUSSIAN_COLOUR = (*OPPONENT, RGB_TO_LMN[0])  # O1, O2, O3: Geusebroek's opponent channels and luminance
K_LOG = 1e-5  # KforLog, on the scale 0..255: the logarithm of black
DERIVATIVE_SIGMA, DERIVATIVE_SCALING = 1.66, 0.28  # sigmaForGauDerivative, scaleFactorForGaussianDer
WAVELENGTH, WAVELENGTH_SCALING = 2.4, 0.87  # minWaveLength, scaleFactorForLoG
WAVELENGTH_FACTOR, WAVELENGTHS = 1.31, 3  # mult, nscale
SIGMA_ON_F, ORIENTATIONS, D_THETA_ON_SIGMA = 0.55, 4, 1.10  # sigmaOnf, norient, dThetaOnSigma
DOWNSAMPLING_SIGMA = 0.9  # sigmaForDownsample
DOWNSAMPLING_TAPS = math.ceil(6 * DOWNSAMPLING_SIGMA)


def resize_as_bytes(image: torch.Tensor) -> torch.Tensor:
    """Returns MATLAB's ``imresize`` of the 8-bit image, integers 0..255 in float64, shape (N, C, 524, 524).

    MATLAB resizes one side, clips and rounds to 8 bits, and only then resizes the other side. Without the rounding in
    between the score is up to 7 % off; ports that resize in floating point are 0.3 to 11 % off.

    Args:
        image: shape (N, C, H, W), values in [0, 1]; rounded to 8 bits here. Gradients pass all rounding unchanged.
    """
    pixels = round_half_up(255 * image.double())
    height, width = image.shape[2:]
    first = (SIDE, width) if height >= width else (height, SIDE)  # the smaller scale comes first
    for size in (first, (SIDE, SIDE)):
        pixels = _to_byte(resize(pixels, size=size))
    return pixels


def _to_byte(x: torch.Tensor) -> torch.Tensor:
    """Returns x clipped to 0..255 and rounded, exact halves up (``round_half_up`` also takes what is just below)."""
    x = x.clamp(0, 255)
    return x + ((x + 0.5).floor() - x).detach()


def gaussian_colour(rgb: torch.Tensor) -> torch.Tensor:
    """Returns O1, O2, O3 of an image (N, 3, H, W) or a gray one (N, 1, H, W), shape (N, 3, H, W)."""
    return transform(rgb, GAUSSIAN_COLOUR)


def logarithmic_opponent(rgb: torch.Tensor) -> torch.Tensor:
    """Returns Intensity, BY and RG of Ruderman, Cronin and Chiao 1998: logarithms without their mean, (N, 3, H, W)."""
    logs = (rgb + K_LOG).log().expand(-1, 3, -1, -1)
    red, green, blue = (logs - logs.mean((2, 3), keepdim=True)).unbind(1)
    return torch.stack(((red + green + blue) / 3**0.5, (red + green - 2 * blue) / 6**0.5, (red - green) / 2**0.5), 1)


def gaussian_derivatives(x: torch.Tensor, scale: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns x convolved with the horizontal and the vertical derivative of a Gaussian, t exp(-|t|^2 / 2 sigma^2).

    Zeros stand beyond the border, and results within 1e-9 of 0 become 0: flat regions have no sign.

    Args:
        x: shape (N, K, H, W).
        scale: 1 or 2; sigma is 1.66 / scale^0.28.
    """
    sigma = DERIVATIVE_SIGMA / scale**DERIVATIVE_SCALING
    reach = math.ceil(3 * sigma)
    even = tuple(math.exp(-t * t / (2 * sigma**2)) for t in range(-reach, reach + 1))
    odd = tuple(-t * value for t, value in zip(range(-reach, reach + 1), even, strict=True))  # convolution: flipped
    horizontal = correlate_axis(correlate_axis(x, even, 2), odd, 3)
    vertical = correlate_axis(correlate_axis(x, odd, 2), even, 3)
    return hardshrink(horizontal, DEAD_ZONE), hardshrink(vertical, DEAD_ZONE)


def log_gabor_responses(x: torch.Tensor, scale: int) -> Iterator[torch.Tensor]:
    """Yields real and imaginary part of each log-Gabor response, (N, 2, H, W); orientation changes fastest, then scale.

    Args:
        x: shape (N, 1, H, W).
        scale: 1 or 2; the smallest wavelength is 2.4 / scale^0.87 pixels.
    """
    size = x.shape[2:]
    spectrum = torch.fft.rfft2(x)
    radial, angular = log_gabor_halves(*size, scale, x.device)
    for profile in radial:
        band = spectrum * profile
        for direction in angular:
            yield hardshrink(torch.fft.irfft2(band * direction, s=size), DEAD_ZONE)


@functools.lru_cache(maxsize=4)
@torch.inference_mode(False)  # a cached tensor must serve later training, whoever asks for it first
def log_gabor_halves(height: int, width: int, scale: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the radial (3, H, W // 2 + 1) and angular (4, 2, H, W // 2 + 1) factors of the filters for ``rfft2``.

    A log-Gabor filter H is real and one-sided. The real part of its response is that of the even part of H; the
    imaginary part is that of -i times the odd part, and both can do with half the spectrum of a real image. The radial
    factor is even, so that the parts are those of the angular factor.
    """
    rows, columns = frequencies(height), frequencies(width)
    sigma = math.pi / ORIENTATIONS / D_THETA_ON_SIGMA
    angles = [o * math.pi / ORIENTATIONS for o in range(ORIENTATIONS)]
    angular = torch.stack([angular_gaussian(rows, columns, angle, sigma) for angle in angles])
    even = even_part(angular)
    wavelengths = [WAVELENGTH / scale**WAVELENGTH_SCALING * WAVELENGTH_FACTOR**s for s in range(WAVELENGTHS)]
    radial = torch.stack([log_gabor(radius(rows, columns), 1 / w, math.log(SIGMA_ON_F)) for w in wavelengths])
    half = slice(width // 2 + 1)
    parts = torch.stack((even, -1j * (angular - even)), 1)
    return radial[..., half].to(device, torch.complex128).contiguous(), parts[..., half].to(device).contiguous()


def downsample(rgb: torch.Tensor) -> torch.Tensor:
    """Returns every second pixel of the image blurred with a 6 x 6 Gaussian of sigma 0.9, edge pixels repeated."""
    taps = tuple(gaussian_kernel(DOWNSAMPLING_TAPS, DOWNSAMPLING_SIGMA, torch.float64).tolist())
    return correlate_axis(correlate_axis(rgb, taps, 2, "replicate", stride=2), taps, 3, "replicate", stride=2)
