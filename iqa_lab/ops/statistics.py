"""Statistics of natural scenes: local moments, MSCN coefficients, and moment fits of (asymmetric) Gaussians.

The fits read the shape off the authors' grid 0.2 : 0.001 : 10 by bisection, which gives the same entry as their search
through all 9801 values. A grid has no gradient, so the slope of the inverse table is passed back instead.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from iqa_lab.ops.correlation import correlate_axis, correlate_axis_adjoint
from iqa_lab.ops.elementwise import TINY, safe_sqrt
from iqa_lab.ops.filters import gaussian_kernel
from iqa_lab.ops.side_sums import side_sums

WINDOW, SIGMA = 7, 7 / 6  # the circular-symmetric Gaussian window, "sampled out to 3 standard deviations"
C = 1.0  # keeps the quotient stable where the image is flat; pixels are 0..255
#: |x - mu| / (sigma + C) below this is rounding error of a flat neighbourhood (seen: 1e-13), never a grey value (1e-4).
DEAD_ZONE = 1e-9
SHAPE_STEP = 0.001


class AGGD(NamedTuple):
    """An asymmetric generalised Gaussian: shape alpha, root mean squares of its negative and positive samples."""

    alpha: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor
    n_left: torch.Tensor  # how many samples stood behind each side
    n_right: torch.Tensor

    def widths(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns beta_l and beta_r, the scales of both sides in the density; ``left`` and ``right`` are deviations."""
        beta = safe_sqrt(gamma_ratio(1 / self.alpha, 3 / self.alpha))  # width per standard deviation
        return self.left * beta, self.right * beta

    def has_both_sides(self) -> torch.Tensor:
        """Returns whether there were samples on both sides."""
        return (self.n_left > 0) & (self.n_right > 0)


def local_moments(x: torch.Tensor, padding: str, *, window: int = WINDOW,
                  width: float = SIGMA) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns local mean mu and standard deviation sigma under the Gaussian window, both of the shape of ``x``.

    Args:
        x: gray images (N, 1, H, W) on 0..255, float64: sigma is a small difference of large numbers.
        padding: border rule, ``"zeros"`` or ``"replicate"``; or ``"valid"``: H and W shrink by ``window`` - 1.
        window, width: side and standard deviation of the window, in pixels.
    """
    taps = tuple(gaussian_kernel(window, width, torch.float64).tolist())
    moments = correlate_axis(correlate_axis(torch.stack((x, x * x)), taps, -2, padding), taps, -1, padding)
    mu, mean_square = moments.unbind()
    variance = torch.addcmul(mean_square, mu, mu, value=-1).abs_().clamp_min_(TINY)
    return mu, variance * variance.rsqrt()  # half the time of torch.sqrt in float64


def mscn(x: torch.Tensor, padding: str, *, window: int = WINDOW,
         width: float = SIGMA) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the mean-subtracted contrast-normalised coefficients (x - mu) / (sigma + C), and sigma.

    Coefficients within ``DEAD_ZONE`` become 0: in a flat neighbourhood their sign is that of a rounding error, and the
    one-sided fits below count signs.

    Args:
        x, padding, window, width: as :func:`local_moments`.

    Returns:
        Two tensors of the shape of the local moments.
    """
    return _MSCN.apply(x, padding, window, width)


class _MSCN(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, padding, window, width):
        mu, sigma = local_moments(x, padding, window=window, width=width)
        coefficients = F.hardshrink((_centres(x, mu) - mu) / (sigma + C), DEAD_ZONE)
        ctx.save_for_backward(x, mu, sigma, coefficients)
        ctx.settings = padding, window, width
        return coefficients, sigma

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient, for_sigma):
        (x, mu, sigma, coefficients), (padding, window, width) = ctx.saved_tensors, ctx.settings
        taps = tuple(gaussian_kernel(window, width, torch.float64).tolist())
        for_centred = torch.where(coefficients == 0, 0, gradient) / (sigma + C)
        for_variance = torch.addcmul(for_sigma, for_centred, coefficients, value=-1) / (2 * sigma)
        for_variance = torch.where(sigma > 2 * TINY**0.5, for_variance, 0)
        for_mu = torch.addcmul(for_centred, for_variance, mu, value=2).neg_()
        rows = correlate_axis_adjoint(torch.stack((for_mu, for_variance)), taps, -1, x.shape[-1], padding)
        for_x, for_square = correlate_axis_adjoint(rows, taps, -2, x.shape[-2], padding)
        for_x = torch.addcmul(for_x, for_square, x, value=2)
        _centres(for_x, mu).add_(for_centred)
        return for_x, None, None, None


def _centres(x: torch.Tensor, mu: torch.Tensor) -> torch.Tensor:
    """Returns the view of those places of x whose local mean is in mu."""
    top, left = (x.shape[-2] - mu.shape[-2]) // 2, (x.shape[-1] - mu.shape[-1]) // 2
    return x[..., top:top + mu.shape[-2], left:left + mu.shape[-1]]


def neighbour_products(x: torch.Tensor, shifts: tuple[tuple[int, int], ...]) -> torch.Tensor:
    """Returns x times itself shifted, for each shift, shape (..., len(shifts), H, W).

    Args:
        x: shape (..., H, W).
        shifts: rows down and columns right, as MATLAB's ``circshift``: what leaves on one side enters on the other.
    """
    return torch.stack([x * x.roll(shift, (-2, -1)) for shift in shifts], dim=-3)


def fit_ggd(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns shape alpha and variance of a zero-mean generalised Gaussian fitted to the samples of the last axis.

    The moment fit of Sharifi and Leon-Garcia (1995): E[x^2] / E[|x|]^2 = G(1/alpha) G(3/alpha) / G(2/alpha)^2.
    Samples that are all zero have alpha 0.2, the most peaked shape of the grid, and variance 0.

    Args:
        x: shape (..., P), float64.
    """
    return ggd_of_means(x.abs().mean(-1), x.square().mean(-1))


def ggd_of_means(absolute: torch.Tensor, square: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns :func:`fit_ggd` of samples with the given E[|x|] and E[x^2]."""
    ratio = absolute.square() / square.clamp_min(TINY)
    return shape_from_ratio(ratio, nearest_in_inverse=True), square


def fit_aggd(x: torch.Tensor) -> AGGD:
    """Returns the asymmetric generalised Gaussian fitted to the samples of the last axis.

    The moment fit of Lasmar, Stitou and Berthoumieu (2009). A side without samples has the width 0.

    Args:
        x: shape (..., P), float64.

    Returns:
        Five tensors of shape (...).
    """
    return aggd_of_sums(side_sums(x))


def aggd_of_sums(sums: torch.Tensor) -> AGGD:
    """Returns :func:`fit_aggd` of samples with the given sums, see :func:`iqa_lab.ops.side_sums.side_sums`, shape (..., 6)."""
    n, absolute, squares_left, n_left, squares_right, n_right = sums.unbind(-1)
    left, right = safe_sqrt(squares_left / n_left.clamp_min(1)), safe_sqrt(squares_right / n_right.clamp_min(1))
    ratio = (absolute / n).square() / ((squares_left + squares_right) / n).clamp_min(TINY)
    # With g = left / right this is ratio * (g^3 + 1)(g + 1) / (g^2 + 1)^2, also where one side is empty.
    asymmetry = (left**3 + right**3) * (left + right) / (left**2 + right**2).square().clamp_min(TINY**2)
    return AGGD(shape_from_ratio(ratio * asymmetry), left, right, n_left, n_right)


def shape_from_ratio(ratio: torch.Tensor, *, nearest_in_inverse: bool = False) -> torch.Tensor:
    """Returns the alpha of the grid 0.2 : 0.001 : 10 with r(alpha) = G(2/alpha)^2 / (G(1/alpha) G(3/alpha)) nearest ratio.

    Gradients are those of the linearly interpolated inverse table, and 0 beyond its ends.

    Args:
        ratio: any shape, float64: neighbouring r differ by 2e-6 at alpha = 10.
        nearest_in_inverse: measure nearness in 1 / r, as the authors' fit of the symmetric Gaussian does.

    >>> shape_from_ratio(torch.tensor([0.5, 2 / torch.pi], dtype=torch.float64))  # Laplace and Gauss
    tensor([1., 2.], dtype=torch.float64)
    """
    shapes, ratios, slopes = shape_table(ratio.device)
    value = ratio.detach()
    above = torch.searchsorted(ratios, value).clamp(1, ratios.numel() - 1)
    low, high = ratios[above - 1], ratios[above]
    # |1/value - 1/low| <= |1/high - 1/value|, times low high value > 0
    nearer_low = (low - value).abs() * high <= (high - value).abs() * low if nearest_in_inverse else \
        (value - low).abs() <= (high - value).abs()
    index = above - nearer_low.to(above.dtype)
    inside = (value > ratios[0]) & (value < ratios[-1])
    return shapes[index] + torch.where(inside, slopes[above - 1], 0) * (ratio - value)


@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)  # a cached tensor must serve later training, whoever asks for it first
def shape_table(device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the grid of alpha, r(alpha) on it (increasing), and d alpha / d r between neighbours; float64."""
    shapes = 0.2 + SHAPE_STEP * torch.arange(9801, dtype=torch.float64)
    ratios = torch.exp(2 * torch.lgamma(2 / shapes) - torch.lgamma(1 / shapes) - torch.lgamma(3 / shapes))
    return shapes.to(device), ratios.to(device), (SHAPE_STEP / ratios.diff()).to(device)


def gamma_ratio(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns G(a) / G(b) of positive numbers."""
    return torch.exp(torch.lgamma(a) - torch.lgamma(b))
