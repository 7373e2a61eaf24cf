"""Working through an image in strips of rows, so that the maps of a strip stay in the cache of a CPU.

For results that are sums over the image, or belong to rows of it. Maps in memory take several times as long as maps in
the cache, and a large image has maps of many megabytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.autograd.function import once_differentiable

#: Pixels of a strip for each thread of a CPU (a map is half a megabyte), and on other devices, where calls cost more.
PIXELS, PIXELS_ELSEWHERE = 2**16, 2**22
HALO = 4  # even; bicubic halving looks at 3 rows above an even row and at 4 below it


class Strip(NamedTuple):
    """A strip with the rows around it that a window and the halving of the image look at."""

    rows: slice  # of the image
    padding: tuple[int, int, int, int]  # for F.pad, also negative: what a "valid" window then needs around these rows
    half: slice  # rows of the strip itself after halving


#: Makes results of the rows of a strip, which come with the strip itself.
StripFunction = Callable[[torch.Tensor, Strip], tuple[torch.Tensor, ...]]


def row_strips(x: torch.Tensor, margin: int, step: int = 2, *, above: int = 0) -> list[Strip]:
    """Returns the strips of an image.

    Args:
        x: shape (N, C, H, W).
        margin: rows and columns that the window reaches out, at most ``HALO - above``.
        step: strips begin at multiples of this even number of rows.
        above: 1 if all strips but the first one need the results of the window in the row above them, too.
    """
    height = x.shape[2]
    rows = step * max(1, pixels_at_once(x) // (x.shape[0] * x.shape[3] * step))
    strips = []
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        first, last = max(0, top - HALO), min(height, bottom + HALO)
        upper, lower = margin + (above if top else 0) - (top - first), margin - (last - bottom)
        half = slice((top - first) // 2, (bottom - first + 1) // 2)
        strips.append(Strip(slice(first, last), (margin, margin, upper, lower), half))
    return strips


def map_strips(function: StripFunction, x: torch.Tensor, strips: list[Strip]) -> list[tuple[torch.Tensor, ...]]:
    """Returns for each result of ``function(x[:, :, strip.rows], strip)`` those of all strips.

    The backward pass makes the results a second time: what gradients need is kept of one strip only.
    """
    results = _MapStrips.apply(x, function, strips)
    n = len(results) // len(strips)
    return [results[i::n] for i in range(n)]


class _MapStrips(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, function, strips):
        ctx.save_for_backward(x)
        ctx.settings = function, strips
        return tuple(result for strip in strips for result in function(x[:, :, strip.rows], strip))

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        (x,), (function, strips) = ctx.saved_tensors, ctx.settings
        total, n = torch.zeros_like(x), len(gradients) // len(strips)
        for i, strip in enumerate(strips):
            with torch.enable_grad():
                part = x[:, :, strip.rows].detach().requires_grad_()
                results = function(part, strip)
            total[:, :, strip.rows] += torch.autograd.grad(results, part, gradients[i * n:(i + 1) * n])[0]
        return total, None, None


def few_images(image: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Returns the batch (N, C, H, W) in parts of so few images that strips of them are not too flat."""
    return image.split(max(1, pixels_at_once(image) // (image.shape[2] * image.shape[3])))


def pixels_at_once(x: torch.Tensor) -> int:
    """Returns how many pixels to work on at a time."""
    return PIXELS * torch.get_num_threads() if x.device.type == "cpu" else PIXELS_ELSEWHERE
