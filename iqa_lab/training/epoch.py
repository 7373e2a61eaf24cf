"""One epoch of a training: batches made ahead of the network, in mixed precision or compiled if the recipe says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import numpy as np
import torch
from torch import nn

from iqa_lab.training import processes
from iqa_lab.training.recipes import Recipe

AHEAD = 4  # batches waiting while the network learns from another


class Samples(Protocol):
    """The images and judgements of one part of a database, as a recipe wants them.

    ``criterion`` names what :meth:`validate` returns; ``targets`` are opinion scores, or None where people compared.
    """

    criterion: str
    targets: np.ndarray | None

    def batches(self, recipe: Recipe, random: np.random.Generator):
        """Yields the arguments of the model's loss: images as 8-bit tensors, opinion scores as float64."""

    def validate(self, model: nn.Module) -> float:
        """Returns how well the model agrees with people, higher is better."""

    def scores(self, model: nn.Module) -> np.ndarray:
        """Returns the model's score of each image."""


def run_epoch(model: nn.Module, optimiser: torch.optim.Optimizer, samples: Samples, scaling: tuple[float, float],
              recipe: Recipe, epoch: int) -> float:
    """Returns the mean loss of one epoch over the training part; of several processes, over this one's share of it.

    Args:
        model, optimiser, samples, recipe: as :func:`iqa_lab.training.loop.train` has them.
        scaling: mean and scale of the targets; the network learns (target - mean) / scale.
        epoch: from 0; decides the random numbers, with the recipe's seed, and the learning rate.

    Raises:
        ValueError: an epoch that the recipe does not have.
    """
    if not 0 <= epoch < recipe.epochs:
        raise ValueError(f"Expected an epoch from 0 to {recipe.epochs - 1}, as the recipe has them, got {epoch}.")
    device = next(model.parameters()).device
    random = np.random.default_rng([recipe.seed, epoch])
    rate = recipe.learning_rate * min(1, (recipe.epochs - epoch) / (recipe.decay_epochs + 1))
    rate *= 0.1**(epoch // recipe.tenth_every) if recipe.tenth_every else 1
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("rate_ratio", 1)
    learned = [p for group in optimiser.param_groups for p in group["params"]]
    loss_of = getattr(model, recipe.loss)
    loss_of = torch.compile(loss_of) if recipe.compiled else loss_of
    losses = []
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(int(random.integers(2**62)) + processes.rank())  # dropout
        for batch in made_ahead(samples.batches(recipe, random)):
            own, part = processes.share(batch)
            optimiser.zero_grad()
            if part:
                with number_format(recipe.precision, device):
                    loss = loss_of(*(to_device(tensor, device, scaling) for tensor in own))
                (part * loss).backward()
                losses.append(loss.detach())
            processes.add_up_gradients(learned)
            optimiser.step()
            if hasattr(model, "project"):
                model.project()
    return torch.stack(losses).float().mean().item()


def number_format(precision: str, device: torch.device) -> AbstractContextManager:
    """Returns the context in which a network computes: float32, or mixed with "bfloat16".

    The latter has the range of float32, so that no loss must be scaled as with half precision.

    Raises:
        ValueError: another precision.
    """
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"Expected the precision float32 or bfloat16, got {precision!r}.")
    return nullcontext() if precision == "float32" else torch.autocast(device.type, torch.bfloat16)


def made_ahead(batches: Iterable[tuple[torch.Tensor, ...]]) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yields the batches in their order, while a thread of its own makes the next ``AHEAD``."""
    batches = iter(batches)
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(next, batches, None) for _ in range(AHEAD)]
        while (batch := waiting.pop(0).result()) is not None:
            waiting.append(pool.submit(next, batches, None))
            yield batch


def to_device(part: torch.Tensor, device: torch.device, scaling: tuple[float, float]) -> torch.Tensor:
    """Returns 8-bit images as float in [0, 1], float64 on the scale that the network learns, anything else as it is."""
    if part.dtype == torch.uint8:
        return part.to(device, non_blocking=True).float() / 255
    if part.dtype != torch.float64:
        return part.to(device)
    mean, scale = scaling
    return ((part - mean) / scale).to(device, torch.float32)
