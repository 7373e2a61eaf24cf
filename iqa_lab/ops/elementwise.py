"""Functions of single values that several papers share, with a finite value and gradient everywhere."""

from __future__ import annotations

import math

import torch

#: What is added so that x.5 rounds up also when a sum of three products ends just below it. In float32 the sum itself
#: is inexact (half a unit at 255 and more); in float64 only an 8-bit value that came as float32 is, by 255 / 2^25 at
#: most, and the next value below a half is 1.4e-5 (MATLAB's luma) or 1.5e-5 (Pillow's) away.
TIE_GUARD = {torch.float32: 2e-5, torch.float64: 7.63e-6}

TINY = 1e-30  # under roots and quotients: below every square that means something, above the smallest float32


def round_half_up(x: torch.Tensor) -> torch.Tensor:
    """Returns floor(x + 0.5), MATLAB's ``round`` for x >= 0; the gradient is that of the identity.

    ``torch.round`` rounds halves to even instead.

    >>> round_half_up(torch.tensor([0.5, 1.5, 2.4]))
    tensor([1., 2., 2.])
    """
    return _RoundHalfUp.apply(x)


class _RoundHalfUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return (x + (0.5 + TIE_GUARD[x.dtype])).floor_()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def safe_sqrt(x: torch.Tensor) -> torch.Tensor:
    """Returns the square root; for x < 1e-30 it is 1e-15 with gradient 0, where that of the root is infinite.

    >>> safe_sqrt(torch.tensor([4.0, 0.0]))
    tensor([2.0000e+00, 1.0000e-15])
    """
    return x.clamp_min(TINY).sqrt()


def similarity(a: torch.Tensor, b: torch.Tensor, c: float) -> torch.Tensor:
    """Returns (2 a b + c) / (a^2 + b^2 + c): 1 where a = b, the comparison that SSIM, FSIM, GMSD and others share.

    >>> similarity(torch.tensor(3.0), torch.tensor(1.0), 2.0).item()
    0.6666666865348816
    """
    return (2 * a * b + c) / (a * a + b * b + c)


def real_power(x: torch.Tensor, exponent: float) -> torch.Tensor:
    """Returns the real part of the complex power x^exponent, as MATLAB code that says ``real(x .^ exponent)``.

    For x < 0 that is |x|^exponent cos(pi exponent). At x = 0 the value is 0 and the gradient is taken as 0.

    Args:
        x: any shape.
        exponent: a positive number.

    >>> real_power(torch.tensor([8.0, -8.0]), 1 / 3).round(decimals=4)
    tensor([2., 1.])
    """
    nonzero = x != 0
    magnitude = torch.where(nonzero, x, 1).abs() ** exponent * nonzero
    return torch.where(x < 0, math.cos(math.pi * exponent) * magnitude, magnitude)


def safe_power(x: torch.Tensor, exponent: float) -> torch.Tensor:
    """Returns x^exponent for x >= 0 and a positive exponent, with gradient 0 instead of infinity at x = 0.

    >>> safe_power(torch.tensor([0.0, 16.0]), 0.25)
    tensor([0., 2.])
    """
    positive = x > 0
    return torch.where(positive, x, 1) ** exponent * positive
