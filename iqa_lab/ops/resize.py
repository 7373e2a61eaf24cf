"""MATLAB's imresize: separable cubic or triangle kernel, widened when shrinking (antialiasing), mirrored borders."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch

from iqa_lab.ops.correlation import correlate_axis


def cubic(t: torch.Tensor) -> torch.Tensor:
    """Returns Keys' cubic kernel with a = -0.5 (support -2..2), which MATLAB calls bicubic."""
    t = t.abs()
    inner = 1.5 * t**3 - 2.5 * t**2 + 1
    outer = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return torch.where(t <= 1, inner, torch.where(t <= 2, outer, 0))


def triangle(t: torch.Tensor) -> torch.Tensor:
    """Returns the triangle kernel (support -1..1), which MATLAB calls bilinear."""
    return (1 - t.abs()).clamp_min(0)


#: name -> kernel and the length of its support
KERNELS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], int]] = {"bicubic": (cubic, 4), "bilinear": (triangle, 2)}


def resize(image: torch.Tensor, scale: float | None = None, *, size: tuple[int, int] | None = None,
           method: str = "bicubic") -> torch.Tensor:
    """Returns MATLAB's ``imresize(image, scale)`` or ``imresize(image, size)`` of a double image.

    Values are neither clipped nor rounded: bicubic overshoot stays.

    Args:
        image: shape (N, C, H, W), float32 or float64.
        scale: factor for both sides; the result has ceil(scale H) x ceil(scale W) pixels.
        size: height and width of the result instead of ``scale``.
        method: ``"bicubic"`` or ``"bilinear"``.

    Raises:
        ValueError: not exactly one of ``scale`` and ``size``, not positive, or an unknown method.
    """
    if (scale is None) == (size is None):
        raise ValueError(f"Expected one of scale and size, got scale={scale}, size={size}.")
    if min(size or (scale,)) <= 0:
        raise ValueError(f"Expected a positive scale or size, got scale={scale}, size={size}.")
    if method not in KERNELS:
        raise ValueError(f"Expected method {' or '.join(map(repr, KERNELS))}, got {method!r}.")
    scales = (scale, scale) if size is None else (size[0] / image.shape[2], size[1] / image.shape[3])
    sizes = tuple(math.ceil(s * n) for s, n in zip(scales, image.shape[2:], strict=True)) if size is None else size
    for axis in sorted((0, 1), key=lambda axis: scales[axis]):  # MATLAB takes the smaller scale first
        image = _resize_axis(image, axis + 2, sizes[axis], scales[axis], method)
    return image


def _resize_axis(image: torch.Tensor, dim: int, size: int, scale: float, method: str) -> torch.Tensor:
    factor = round(1 / scale)
    if scale < 1 and factor * scale == 1 and size == -(-image.shape[dim] // factor):
        # One row of weights serves every output sample.
        return correlate_axis(image, shrinking_taps(factor, method), dim, "symmetric", stride=factor)
    if dim == 3:  # copying rows is several times as fast as picking columns
        return _resize_axis(image.mT.contiguous(), 2, size, scale, method).mT.contiguous()
    sources, weights = resize_taps(image.shape[2], size, scale, method)
    sources, weights = sources.to(image.device), weights.to(image)[..., None]
    return sum(image.index_select(2, source) * weight for source, weight in zip(sources, weights, strict=True))


@functools.lru_cache(maxsize=64)
def shrinking_taps(factor: int, method: str = "bicubic") -> tuple[float, ...]:
    """Returns the weights of the input samples around an output sample when the scale is 1 / factor; they sum to 1."""
    kernel, support = KERNELS[method]
    n_taps = support * factor - factor % 2
    t = torch.arange(n_taps, dtype=torch.float64) - (n_taps - 1) / 2
    weights = kernel(t / factor)
    return tuple((weights / weights.sum()).tolist())


@functools.lru_cache(maxsize=16)
@torch.inference_mode(False)  # a cached tensor must serve later training, whoever asks for it first
def resize_taps(length: int, size: int, scale: float, method: str = "bicubic") -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the input sample behind each tap of each output sample, and its float64 weight, both (taps, size).

    The weights of an output sample sum to 1. Do not change the tensors in place.

    Args:
        length, size: samples of input and output.
        scale: factor of the axis; ``size / length``, or what the caller has rounded up to get ``size``.
        method: a key of ``KERNELS``.
    """
    kernel, support = KERNELS[method]
    widening = max(1.0, 1 / scale)  # the kernel is stretched when shrinking, which is the antialiasing
    # MATLAB counts from 1, in this order: its rounding errors then are ours, also where they decide a tie.
    centre = torch.arange(1, size + 1, dtype=torch.float64) / scale + 0.5 * (1 - 1 / scale)
    n_taps = math.ceil(support * widening) + 2
    index = (centre - support * widening / 2).floor() + torch.arange(n_taps)[:, None]
    weights = kernel((centre - index) / widening)
    period = (index.long() - 1) % (2 * length)
    sources = torch.where(period < length, period, 2 * length - 1 - period)  # mirror, the edge sample repeats
    used = (weights != 0).any(1)
    return sources[used], (weights / weights.sum(0))[used]
