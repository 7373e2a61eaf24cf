"""Sums over negative and over positive samples: all that fits of asymmetric Gaussians look at.

Sums of parts of an image add up, so that it can be worked through in strips.
"""

from __future__ import annotations

import torch
from torch.autograd.function import once_differentiable


def side_sums(x: torch.Tensor) -> torch.Tensor:
    """Returns n, sum |x|, then sum x^2 and number of the negative samples, and both of the positive ones.

    Args:
        x: shape (..., P), the n = P samples in the last axis.

    Returns:
        Shape (..., 6). The sums of two sets of samples add up to those of their union.
    """
    return _SideSums.apply(x)


def neighbour_sums(x: torch.Tensor) -> torch.Tensor:
    """Returns :func:`side_sums` of the products of coefficients with four neighbours; the products are not kept.

    The shifts (rows, columns) are (0, 1), (1, 0), (1, 1) and (-1, 1), eqs. (7)-(10) of the BRISQUE paper: horizontal,
    vertical and both diagonals. The last one has the same products as (1, -1), which NIQE's release has instead.

    Args:
        x: shape (..., R + 1, W): R rows, and before them the row above. Columns wrap around.

    Returns:
        Shape (..., 4, 6).
    """
    return _NeighbourSums.apply(x)


class _SideSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.stack(_side_sums(x), -1)

    @staticmethod
    def backward(ctx, gradient):
        return _through_side_sums(gradient[..., None, :], *ctx.saved_tensors)


class _NeighbourSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        sums = [torch.stack(_side_sums((a * b).flatten(-2)), -1) for a, b in _neighbours(x, x.roll(1, -1))]
        return torch.stack(sums, -2)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, = ctx.saved_tensors
        pairs = _neighbours(x, x.roll(1, -1))
        for_x, for_shifted = torch.zeros_like(x), torch.zeros_like(x)
        targets = _neighbours(for_x, for_shifted)
        for (a, b), (for_a, for_b), part in zip(pairs, targets, gradient[..., None, None, :].unbind(-4), strict=True):
            for_product = _through_side_sums(part, a * b)
            for_a.addcmul_(for_product, b)
            for_b.addcmul_(for_product, a)
        return for_x.add_(for_shifted.roll(-1, -1))


def _neighbours(x: torch.Tensor, shifted: torch.Tensor) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
    """Returns views of the two factors of each product; ``shifted`` has the left neighbours of ``x``."""
    here, above, left, corner = x[..., 1:, :], x[..., :-1, :], shifted[..., 1:, :], shifted[..., :-1, :]
    return (here, left), (here, above), (here, corner), (left, above)


def _side_sums(x: torch.Tensor) -> list[torch.Tensor]:
    side = x.abs()  # one buffer for all: what stays in the cache is several times as fast
    sums = [x.new_full(x.shape[:-1], x.shape[-1]), side.sum(-1)]
    for clamp in torch.clamp_max, torch.clamp_min:
        clamp(x, 0, out=side).square_()
        sums += side.sum(-1), side.sign_().sum(-1)
    return sums


def _through_side_sums(gradient: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Returns the gradient for the samples x from that for their sums."""
    _, absolute, squares_left, _, squares_right, _ = gradient.unbind(-1)
    for_x = x.sign() * absolute
    return for_x.addcmul_(x, squares_right + squares_left).addcmul_(x.abs(), squares_right - squares_left)
