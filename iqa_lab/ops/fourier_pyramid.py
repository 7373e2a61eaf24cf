"""The steerable pyramid with filters in the Fourier domain: any number of orientations, circular borders.

J. Portilla, E. P. Simoncelli, "A parametric texture model based on joint statistics of complex wavelet coefficients",
International Journal of Computer Vision 40(1), 2000, doi:10.1023/A:1026553619983, gives the masks; the bands are those
of ``buildSFpyr`` in matlabPyrTools, including its scale: coefficients grow by four from level to level. That code reads
its cosines from tables of 256 and 1024 entries, which differ from these by 1e-5 at most.
"""

from __future__ import annotations

import functools
import math

import torch

from iqa_lab.ops.pyramids import SteerablePyramid


def fourier_pyramid(x: torch.Tensor, levels: int, n_orientations: int = 4) -> SteerablePyramid:
    """Returns the whole steerable pyramid of gray images; the squares of its masks add to 1 at every frequency.

    Args:
        x: shape (N, 1, H, W).
        levels: number of levels with oriented bands, at most log2 of the shorter side less 2.
        n_orientations: bands per level; their filters are derivatives of order ``n_orientations - 1``.
    """
    spectrum, size = torch.fft.rfft2(x), tuple(x.shape[2:])
    small = level_size(size, levels)
    highpass = spectrum * highpass_mask(_octaves(size, 0)).to(x)
    lowpass = _crop(spectrum, small) * lowpass_mask(_octaves(size, levels) + levels).to(x)
    bands = oriented_bands(x, (tuple(range(n_orientations)),) * levels, n_orientations)
    return SteerablePyramid(torch.fft.irfft2(highpass, s=size), bands, torch.fft.irfft2(lowpass, s=small))


def oriented_bands(x: torch.Tensor, orientations: tuple[tuple[int, ...], ...],
                   n_orientations: int = 4) -> list[torch.Tensor]:
    """Returns some bands of the pyramid.

    Args:
        x: shape (N, 1, H, W).
        orientations: for each level, fine to coarse, which of its bands are wanted. Band b of K looks along the
            direction b pi / K: band 0 responds to vertical edges.
        n_orientations: K, bands per level of the pyramid.

    Returns:
        For each level (N, bands, H / 2^level, W / 2^level), sides rounded up.
    """
    spectrum = torch.fft.rfft2(x) * (-1j) ** (n_orientations - 1)
    size, bands = tuple(x.shape[2:]), []
    for level, chosen in enumerate(orientations):
        masks = band_masks(size, level, chosen, n_orientations).to(x)
        smaller = level_size(size, level)
        bands.append(torch.fft.irfft2(_crop(spectrum, smaller) * masks, s=smaller))
    return bands


@functools.lru_cache(maxsize=12)
@torch.inference_mode(False)  # a cached tensor must serve later training, whoever asks for it first
def band_masks(size: tuple[int, int], level: int, chosen: tuple[int, ...], n_orientations: int) -> torch.Tensor:
    """Returns the masks of a level's bands on its half-plane of frequencies, float64 (bands, h, w // 2 + 1).

    Args:
        size: of the image.
        level: 0 is the finest.
        chosen, n_orientations: which bands of how many.
    """
    octaves, angle = _octaves(size, level), torch.atan2(*_frequencies(size, level))
    radial = lowpass_mask(octaves + level) * highpass_mask(octaves + level + 1)
    order = n_orientations - 1
    scale = 2**order * math.factorial(order) / math.sqrt(n_orientations * math.factorial(2 * order))
    return torch.stack([scale * radial * torch.cos(angle - math.pi * b / n_orientations) ** order for b in chosen])


def highpass_mask(octaves: torch.Tensor) -> torch.Tensor:
    """Returns the raised cosine that rises from 0 at -1 octave to 1 at 0 and stays there."""
    return torch.cos(math.pi / 2 * octaves.clamp(-1, 0))


def lowpass_mask(octaves: torch.Tensor) -> torch.Tensor:
    """Returns the complement of :func:`highpass_mask`: their squares add to 1."""
    return torch.sin(-math.pi / 2 * octaves.clamp(-1, 0))


def level_size(size: tuple[int, int], level: int) -> tuple[int, int]:
    """Returns height and width of a level, 0 being the finest: halved and rounded up for each one below.

    >>> level_size((384, 511), 2)
    (96, 128)
    """
    return -(-size[0] // 2**level), -(-size[1] // 2**level)


def _octaves(size: tuple[int, int], level: int) -> torch.Tensor:
    """Returns log2 of each frequency's radius on a level's half-plane; 0 is the Nyquist frequency of the image."""
    return torch.log2(torch.hypot(*_frequencies(size, level)))


def _frequencies(size: tuple[int, int], level: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns vertical (h, 1) and horizontal (1, w // 2 + 1) frequencies of a level, 1 being the image's Nyquist."""
    height, width = level_size(size, level)
    vertical = torch.fft.fftfreq(height, 1 / height, dtype=torch.float64) / (size[0] / 2)
    horizontal = torch.fft.rfftfreq(width, 1 / width, dtype=torch.float64) / (size[1] / 2)
    return vertical[:, None], horizontal[None]


def _crop(spectrum: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Returns the low frequencies of a half-plane that make an image of a smaller size."""
    height, width = size
    if height == spectrum.shape[-2]:
        return spectrum
    top, bottom = spectrum[..., :(height + 1) // 2, :], spectrum[..., spectrum.shape[-2] - height // 2:, :]
    return torch.cat((top, bottom), -2)[..., :width // 2 + 1]
