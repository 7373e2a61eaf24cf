"""The steerable pyramid with filters in the pixel domain, as the matlabPyrTools of Simoncelli's laboratory build it.

E. P. Simoncelli, W. T. Freeman, "The steerable pyramid: a flexible architecture for multi-scale derivative
computation", IEEE ICIP 1995, doi:10.1109/ICIP.1995.537667. The taps in ``steerable_filters.json`` are those of
matlabPyrTools (``sp0Filters``, ``sp3Filters``, ``sp5Filters``), Copyright (c) Eero Simoncelli, MIT licence; the number
is the order of the derivative, so ``sp5`` has six orientations.
"""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from typing import NamedTuple

import torch
import torch.nn.functional as F

from iqa_lab.ops.filters import all_bits

BLOCK = 4  # of 2, 3, 4 and 6 the fastest


class SteerablePyramid(NamedTuple):
    """What :func:`steerable_pyramid` returns; levels from fine to coarse."""

    highpass: torch.Tensor  # (N, 1, H, W)
    bands: list[torch.Tensor]  # per level (N, O, H / 2^level, W / 2^level), sides rounded up
    lowpass: torch.Tensor  # (N, 1, H / 2^levels, W / 2^levels)


@functools.lru_cache(maxsize=32)
@torch.inference_mode(False)  # a cached tensor must serve later training, whoever asks for it first
def steerable_filters(name: str, dtype: torch.dtype = torch.float32,
                      device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
    """Returns the filters ``hi0``, ``lo0``, ``lo`` (1, 1, K, K) and ``bands`` (O, 1, K, K). Do not change in place.

    Args:
        name: ``"sp0"``, ``"sp3"`` or ``"sp5"``.
        dtype, device: of the result.
    """
    taps = json.loads((files("iqa_lab.ops") / "steerable_filters.json").read_text())
    if name not in taps:
        raise ValueError(f"Expected filters {', '.join(map(repr, taps))}, got {name!r}.")
    kernels = {key: torch.tensor(value, dtype=dtype, device=device) for key, value in taps[name].items()}
    return {key: kernel.reshape(-1, 1, *kernel.shape[-2:]) for key, kernel in kernels.items()}


def steerable_pyramid(x: torch.Tensor, levels: int, name: str = "sp5",
                      orientations: tuple[int, ...] | None = None) -> SteerablePyramid:
    """Returns the steerable pyramid of gray images.

    Args:
        x: shape (N, 1, H, W).
        levels: number of levels with oriented bands.
        name: filters, as in ``steerable_filters``.
        orientations: compute only these bands of each level, counted as in the filter file; default all.
    """
    filters = steerable_filters(name, x.dtype, x.device)
    *images, lowpass = lowpass_images(x, levels + 1, name)
    bands = [oriented_bands(image, name, orientations) for image in images]
    return SteerablePyramid(correlate_reflect(x, filters["hi0"]), bands, lowpass)


def lowpass_images(x: torch.Tensor, levels: int, name: str = "sp5") -> list[torch.Tensor]:
    """Returns the image without its highest frequencies, and that halved again and again: ``levels`` images.

    Args:
        x, name: as :func:`steerable_pyramid`.
        levels: 1 or more.
    """
    filters = steerable_filters(name, x.dtype, x.device)
    images = [correlate_reflect(x, filters["lo0"])]
    while len(images) < levels:
        images.append(correlate_reflect(images[-1], filters["lo"], stride=2))
    return images


def oriented_bands(image: torch.Tensor, name: str = "sp5", orientations: tuple[int, ...] | None = None) -> torch.Tensor:
    """Returns the bands of one level, (N, O, H, W), of one of the :func:`lowpass_images`.

    Args:
        image: shape (N, 1, H, W).
        name, orientations: as :func:`steerable_pyramid`.
    """
    kernels = steerable_filters(name, image.dtype, image.device)["bands"]
    return correlate_reflect(image, kernels if orientations is None else kernels[list(orientations)])


def maximum_levels(height: int, width: int, name: str = "sp5") -> int:
    """Returns how many levels an image can have: each halving leaves sides of at least the length of ``lo``."""
    side, taps, levels = min(height, width), steerable_filters(name)["lo"].shape[-1], 0
    while side >= taps:
        side, levels = side // 2, levels + 1
    return levels


def correlate_reflect(x: torch.Tensor, kernels: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """Returns the correlation of images with each kernel, mirrored at the border without repeating the edge.

    Args:
        x: shape (N, C, H, W), sides longer than half a kernel.
        kernels: shape (O, C, K, K), K odd.
        stride: keep every ``stride``-th row and column, the first one included.

    Returns:
        Shape (N, O, ceil(H / stride), ceil(W / stride)).
    """
    half = kernels.shape[-1] // 2
    padded = F.pad(x, (half, half, half, half), mode="reflect")
    # In float64 the automatic gradient is the faster one.
    return (_Correlation.apply if x.dtype == torch.float32 else _correlate)(padded, kernels, stride)


class _Correlation(torch.autograd.Function):
    """A correlation whose gradient is another: PyTorch's own takes four to seven times as long on a CPU."""

    @staticmethod
    def forward(ctx, x, kernels, stride):
        ctx.settings = x.shape[2:], kernels, stride
        return _correlate(x, kernels, stride)

    @staticmethod
    def backward(ctx, gradient):
        shape, kernels, stride = ctx.settings
        margin = kernels.shape[-1] - 1
        spread = _spread(gradient, tuple(side - margin for side in shape), stride)
        adjoint = kernels.flip(-2, -1).transpose(0, 1)
        return _Correlation.apply(F.pad(spread, (margin, margin, margin, margin)), adjoint, 1), None, None


def _correlate(x: torch.Tensor, kernels: torch.Tensor, stride: int) -> torch.Tensor:
    """Returns the correlation where the kernel fits into the image.

    A convolution on a CPU works on many output channels at a time, which is lost on one. Here each of BLOCK x BLOCK
    neighbouring results is a channel of its own, with the kernel shifted to its place: three to eight times as fast.
    """
    n_out, n_in, taps, _ = kernels.shape
    places = torch.eye(BLOCK**2, dtype=x.dtype, device=x.device).view(-1, 1, BLOCK, BLOCK)
    step, reach = stride * BLOCK, stride * (BLOCK - 1) + taps
    height, width = ((side - taps) // stride + 1 for side in x.shape[2:])
    bottom, right = (max(0, -(-n // BLOCK) * step - step + reach - side)
                     for n, side in zip((height, width), x.shape[2:], strict=True))
    with all_bits(x):
        shifted = F.conv_transpose2d(places, kernels.reshape(1, -1, taps, taps), stride=stride)  # BLOCK^2, O C, reach, reach
        shifted = shifted.unflatten(1, (n_out, n_in)).transpose(0, 1).flatten(0, 1)
        blocks = F.conv2d(F.pad(x, (0, right, 0, bottom)), shifted, stride=step)
    return F.pixel_shuffle(blocks, BLOCK)[..., :height, :width]


def _spread(x: torch.Tensor, size: tuple[int, int], stride: int) -> torch.Tensor:
    """Returns zeros of a size with ``x`` in every ``stride``-th row and column, the first one included."""
    if stride == 1:
        return x
    spread = x.new_zeros(*x.shape[:2], *size)
    spread[..., ::stride, ::stride] = x
    return spread


def reconstruct(pyramid: SteerablePyramid, name: str = "sp5") -> torch.Tensor:
    """Returns the image of a pyramid, shape (N, 1, H, W), close to the one that :func:`steerable_pyramid` took apart.

    The filters pass every frequency nearly once: inside, white noise comes back with a hundredth (``sp0``) to a
    fiftieth (``sp5``) of its standard deviation in error. Near the border the error is larger, since a mirror turns
    the sign of odd filters.

    Args:
        pyramid: with all orientations.
        name: filters, as in ``steerable_filters``.
    """
    filters = steerable_filters(name, pyramid.highpass.dtype, pyramid.highpass.device)
    image = pyramid.lowpass
    for bands in reversed(pyramid.bands):
        image = expand_reflect(image, filters["lo"], bands.shape[2:], stride=2)
        image = image + expand_reflect(bands, filters["bands"], bands.shape[2:])
    size = pyramid.highpass.shape[2:]
    return expand_reflect(image, filters["lo0"], size) + expand_reflect(pyramid.highpass, filters["hi0"], size)


def expand_reflect(x: torch.Tensor, kernels: torch.Tensor, size: tuple[int, int], stride: int = 1) -> torch.Tensor:
    """Returns the sum of the bands, each set apart by zeros, mirrored at the border and convolved with its kernel.

    This is the way back from :func:`correlate_reflect`; inside the image it is its adjoint. The mirror comes after the
    zeros, and without repeating the edge, as matlabPyrTools has it (``upConv`` with ``reflect1`` borders).

    Args:
        x: bands of shape (N, O, h, w).
        kernels: shape (O, 1, K, K), K odd.
        size: height and width of the result.
        stride: distance of the samples of ``x`` in the result, the first one at the first row and column.

    Returns:
        Shape (N, 1, H, W).
    """
    return correlate_reflect(_spread(x, size, stride), kernels.flip(-2, -1).transpose(0, 1))
