"""Maximum-likelihood fit of the Weibull distribution, of many sets of samples at once.

The density is (k / s) (x / s)^(k - 1) exp(-(x / s)^k). The best scale for a shape k is s = mean(x^k)^(1/k). With it in
place, the derivative of the likelihood is 0 where k D(k) = 1, D the mean of ln x under the weights x^k less its plain
mean. D grows with k, and lies between mean-to-maximum distance and that less ln(P) / k, which brackets the solution.
"""

from __future__ import annotations

import math

import torch
from torch.linalg import vecdot

from iqa_lab.ops.elementwise import TINY

#: A Newton step of ln k below this needs one more only, whose error is about its square.
TOLERANCE = 1e-5
MAXIMUM_STEPS = 50  # a step is at most half the one before, so that 25 always do


def fit_weibull(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns scale s and shape k of the Weibull distribution under which the samples of the last axis are likeliest.

    MATLAB's ``wblfit``, up to rounding error. Samples that are all equal have the shape infinity. Gradients are those
    of the exact solution.

    Args:
        x: shape (..., P), positive, float64.

    Returns:
        Two tensors of shape (...).

    >>> scale, shape = fit_weibull(torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64))
    >>> round(scale.item(), 4), round(shape.item(), 4)
    (2.8287, 2.4532)
    """
    logs = x.log()
    top = logs.detach().amax(-1, keepdim=True)
    y = logs - top  # at most 0: no power overflows. A factor of x changes the scale alone
    squares = y.detach().square()
    log_shape = _log_shape(y.detach(), squares)
    value, slope = _equation(y, squares, log_shape)
    shape = (log_shape - value / slope.detach()).exp()  # with the gradient of the implicit function
    scale = (top[..., 0] + (y * shape[..., None]).exp_().mean(-1).log() / shape).exp()
    return scale, torch.where(squares.any(-1), shape, math.inf)


def _log_shape(y: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    """Returns ln k within ``TOLERANCE``: Newton's method, and bisection where it does not halve its steps."""
    mean = y.mean(-1)
    low = -(-mean).clamp_min(TINY).log()
    high = low + math.log(1 + math.log(y.shape[-1]))
    variance = (squares.mean(-1) - mean.square()).clamp_min(TINY)
    u = (math.log(math.pi / math.sqrt(6)) - variance.log() / 2).clamp(low, high)  # the variance of ln x is pi^2 / 6 k^2
    size = high - low
    for _ in range(MAXIMUM_STEPS):
        value, slope = _equation(y, squares, u)
        low, high = torch.where(value < 0, u, low), torch.where(value < 0, high, u)
        step = -value / slope
        good = (step.abs() <= size / 2) & (u + step >= low) & (u + step <= high)
        step = torch.where(good, step, (low + high) / 2 - u)
        u, size = u + step, step.abs()
        if (size < TOLERANCE).all():
            break
    return u


def _equation(y: torch.Tensor, squares: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns u + ln D(e^u), which is 0 at u = ln k and grows with u, and its slope."""
    shape = u.exp()
    weights = (y * shape[..., None]).exp_()  # in place: memory fresh from the system would take most of the time
    total = weights.sum(-1)
    mean = vecdot(weights, y) / total
    variance = (vecdot(weights, squares) / total - mean.square()).clamp_min(0)
    distance = (mean - y.mean(-1)).clamp_min(TINY)
    return u + distance.log(), 1 + shape * variance / distance
