"""The Laplacian pyramid of matlabPyrTools: ``buildLpyr`` with its defaults, binomial filter and mirrored borders.

P. J. Burt, E. H. Adelson, "The Laplacian pyramid as a compact image code", IEEE Transactions on Communications 31(4),
1983, doi:10.1109/TCOM.1983.1095851. The filter [1 4 6 4 1] / 16 is scaled by sqrt(2) per axis, when shrinking and when
enlarging, so that a lowpass image is twice as bright as the one before it. The axes are filtered one after the other on
the even and odd samples apart, which is faster than a convolution and in float64 ten times as fast.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

TAPS = 5  # a side must be at least this long to be halved


def laplacian_pyramid(x: torch.Tensor, levels: int) -> list[torch.Tensor]:
    """Returns ``levels`` bands from fine to coarse: bandpass images, and the lowpass image as the last one.

    Args:
        x: shape (N, C, H, W).
        levels: number of bands; the sides of band j are those of the image divided by 2^j, rounded up.

    Raises:
        ValueError: a side shorter than the filter before the last halving.

    >>> [tuple(band.shape[2:]) for band in laplacian_pyramid(torch.zeros(1, 1, 23, 32), 3)]
    [(23, 32), (12, 16), (6, 8)]
    """
    bands = []
    for _ in range(levels - 1):
        if min(x.shape[2:]) < TAPS:
            raise ValueError(f"Expected sides that can be halved {levels - 1} times from {TAPS} pixels or more, got "
                             f"{tuple(x.shape[2:])} after {len(bands)}; use fewer levels or a larger image.")
        lowpass = shrink(x)
        bands.append(x - enlarge(lowpass, x.shape[2:]))
        x = lowpass
    return [*bands, x]


def shrink(x: torch.Tensor) -> torch.Tensor:
    """Returns every second sample, the first one included, of the filtered image; the mirror does not repeat the edge.

    Args:
        x: shape (N, C, H, W), sides of 3 or more.
    """
    padded = F.pad(x, (2, 2, 2, 2), mode="reflect")
    return _shrink_axis(_shrink_axis(padded, 2), 3) / 128  # 2 / 16^2: exact in binary, unlike sqrt(2) twice


def enlarge(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Returns the image with zeros put between its samples, mirrored in that form, and filtered.

    Args:
        x: shape (N, C, h, w), sides of 2 or more.
        size: height and width of the result, 2 h or 2 h - 1 and 2 w or 2 w - 1.
    """
    for dim, length in ((2, size[0]), (3, size[1])):
        x = _enlarge_axis(x, dim, length)
    return x / 128


def _shrink_axis(padded: torch.Tensor, dim: int) -> torch.Tensor:
    even, odd = _every_second(padded, dim, 0), _every_second(padded, dim, 1)
    n = even.shape[dim] - 2
    outer = even.narrow(dim, 0, n) + even.narrow(dim, 2, n)
    return outer + 6 * even.narrow(dim, 1, n) + 4 * (odd.narrow(dim, 0, n) + odd.narrow(dim, 1, n))


def _enlarge_axis(x: torch.Tensor, dim: int, length: int) -> torch.Tensor:
    n = x.shape[dim]
    # Mirroring with the zeros in place: the second sample comes before the first; behind the last one it depends on
    # whether the mirror stands on a sample (odd length) or on the zero after it.
    first, last = x.narrow(dim, 1, 1), x.narrow(dim, n - 1 - length % 2, 1)
    padded = torch.cat((first, x, last), dim)
    middle, right = padded.narrow(dim, 1, n), padded.narrow(dim, 2, n)
    even = padded.narrow(dim, 0, n) + 6 * middle + right
    return torch.stack((even, 4 * (middle + right)), dim + 1).flatten(dim, dim + 1).narrow(dim, 0, length)


def _every_second(x: torch.Tensor, dim: int, start: int) -> torch.Tensor:
    index = [slice(None)] * x.ndim
    index[dim] = slice(start, None, 2)
    return x[tuple(index)]
