"""Several processes that train one network, one for each GPU, as ``torchrun`` starts them; alone, nothing here does anything.

Each process draws the same batches, computes the gradient of its share of every batch, and adds up what all have found: the
step is that of one process with the whole batch, but for dropout and batch statistics, which see a share.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn


@contextmanager
def joined() -> Iterator[None]:
    """Joins the processes that ``torchrun`` started, for the time of a ``with`` block."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """Returns the number of this process, from 0; 0 where it is alone."""
    return int(os.environ.get("RANK", "0"))


def own_device(device: str) -> str:
    """Returns the GPU of this process where ``"cuda"`` is asked for and ``torchrun`` started several, else ``device``."""
    local = os.environ.get("LOCAL_RANK")
    return f"cuda:{local}" if device == "cuda" and local is not None else device


def share(batch: tuple[torch.Tensor, ...]) -> tuple[tuple[torch.Tensor, ...], float]:
    """Returns this process's samples of a batch, and how large a part of it they are."""
    if not dist.is_initialized():
        return batch, 1.0
    own = tuple(part[rank()::dist.get_world_size()] for part in batch)
    return own, len(own[-1]) / len(batch[-1])


def add_up_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replaces the gradients by their sum over all processes, in one message; a missing one counts as 0."""
    if not dist.is_initialized():
        return
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    message = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(message)
    for p, gradient, part in zip(parameters, gradients, message.split([gradient.numel() for gradient in gradients])):
        p.grad = part.view_as(gradient)


def equalise(model: nn.Module) -> None:
    """Gives every process the parameters and buffers of the first."""
    if dist.is_initialized():
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, 0)


def wait_for_all() -> None:
    """Returns when every process has come here."""
    if dist.is_initialized():
        dist.barrier()
