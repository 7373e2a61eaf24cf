"""Images made by optimisation to tell two quality metrics apart: maximum differentiation (MAD) competition.

Z. Wang, E. P. Simoncelli, "Maximum differentiation (MAD) competition: a methodology for comparing computational models
of perceptual quantities", Journal of Vision 8(12):8, 2008, doi:10.1167/8.12.8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

FullReference = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
CORRECTIONS = 3  # Newton steps that bring the held metric back to its value after each move
SMALLEST = 1e-30  # keeps quotients by squared gradient norms finite


class Competition(NamedTuple):
    """What :func:`compete` returns: the images found, and both metrics along the way."""

    image: torch.Tensor  # (N, C, H, W)
    moved: torch.Tensor  # (steps + 1, N)
    held: torch.Tensor  # (steps + 1, N)


def compete(initial: torch.Tensor, reference: torch.Tensor, moved: FullReference, held: FullReference, *,
            increase: bool, steps: int = 50, step: float = 0.5 / 255) -> Competition:
    """Returns images of the same ``held`` score as ``initial`` with a score ``moved`` as high or as low as it gets.

    Each step follows the gradient of ``moved`` less its component along the gradient of ``held`` (the paper's
    projection), clips to [0, 1], and then goes along the gradient of ``held`` until its score is back. A step that
    does not improve ``moved`` is undone and the next one is half as long.

    Args:
        initial: distorted images to start from, shape (N, C, H, W), values in [0, 1].
        reference: shape (N, C, H, W).
        moved, held: full-reference metrics with gradients, called with (distorted, reference).
        increase: whether ``moved`` should rise.
        steps: number of steps.
        step: length of the first step, root mean square over the values of an image.

    Returns:
        The images and the two metrics after each step; scores of an undone step are those before it.
    """
    x, target = initial.detach(), held(initial, reference).detach()
    score, length = moved(x, reference).detach(), torch.full_like(target, step)
    history = [(score, target)]
    for _ in range(steps):
        gradient, normal = (gradient_of(metric, x, reference)[1] for metric in (moved, held))
        along = inner(gradient, normal) / inner(normal, normal).clamp_min(SMALLEST)
        direction = (gradient - column(along) * normal) * (1 if increase else -1)
        norm = inner(direction, direction).clamp_min(SMALLEST).sqrt() / direction[0].numel() ** 0.5
        candidate = restore(x + column(length / norm) * direction, reference, held, target)
        found = moved(candidate, reference).detach()
        better = found > score if increase else found < score
        x, score = torch.where(column(better), candidate, x), torch.where(better, found, score)
        length = torch.where(better, length, length / 2)
        history.append((score, held(x, reference).detach()))
    return Competition(x, *map(torch.stack, zip(*history, strict=True)))


def restore(x: torch.Tensor, reference: torch.Tensor, metric: FullReference, target: torch.Tensor) -> torch.Tensor:
    """Returns the images, clipped to [0, 1], moved along the gradient of ``metric`` until its score is ``target``.

    Clipping and curvature leave a small rest, which :func:`compete` records.

    Args:
        x, reference: shape (N, C, H, W).
        metric: as in :func:`compete`.
        target: shape (N,).
    """
    x = x.clamp(0, 1)
    for _ in range(CORRECTIONS):
        score, gradient = gradient_of(metric, x, reference)
        distance = (target - score) / inner(gradient, gradient).clamp_min(SMALLEST)
        x = (x + column(distance) * gradient).clamp(0, 1)
    return x


def gradient_of(metric: FullReference, x: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the scores, shape (N,), and their gradients with respect to ``x``, shape (N, C, H, W)."""
    x = x.detach().requires_grad_()
    scores = metric(x, reference)
    return scores.detach(), torch.autograd.grad(scores.sum(), x)[0]


def inner(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns the inner product of each image with its counterpart, shape (N,)."""
    return (a * b).flatten(1).sum(1)


def column(values: torch.Tensor) -> torch.Tensor:
    """Returns one value per image, shape (N,), as (N, 1, 1, 1)."""
    return values[:, None, None, None]
