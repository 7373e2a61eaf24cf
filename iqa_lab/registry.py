"""METRICS has every system of the package by name; create_metric makes a callable module of one."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from iqa_lab.systems.facts import Metric
from iqa_lab.systems.full_reference import FULL_REFERENCE
from iqa_lab.systems.no_reference import NO_REFERENCE

METRICS: dict[str, Metric] = FULL_REFERENCE | NO_REFERENCE
UNTRAINED = " (random weights)"  # behind the name of a network that was asked for with random weights


class FunctionMetric(nn.Module):
    """A training-free metric as a module: ``forward`` calls the function with the stored options."""

    def __init__(self, function: Callable[..., torch.Tensor], **options) -> None:
        super().__init__()
        self.function = partial(function, **options)

    def forward(self, *images: torch.Tensor) -> torch.Tensor:
        """Returns one score per image, shape (N,)."""
        return self.function(*images)

    def extra_repr(self) -> str:
        return ", ".join([self.function.func.__name__, *(f"{k}={v!r}" for k, v in self.function.keywords.items())])


def find_metric(name: str) -> Metric:
    """Returns the registry row of that name; ValueError with the nearest names otherwise."""
    if name not in METRICS:
        near = difflib.get_close_matches(name, METRICS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`iqa-lab list` prints the names."
        raise ValueError(f"Unknown metric {name!r}; {hint}")
    return METRICS[name]


def create_metric(name: str, device: torch.device | str = "cpu", **options) -> nn.Module:
    """Returns the metric as a module in evaluation mode on ``device``.

    Full-reference metrics are called ``metric(distorted, reference)``, no-reference ones ``metric(image)``; both take
    float images (N, C, H, W) in [0, 1] and return one score per image, shape (N,). The module carries the registry
    facts ``name``, ``kind`` and ``higher_is_better``. The name of a network that was asked for without its trained
    weights says so, and with it every table of scores.

    Args:
        name: a key of ``METRICS``.
        device: "cpu", "cuda", "cuda:1", ...
        options: keyword options of the metric, as its own documentation lists them.

    Raises:
        ValueError: unknown name. TypeError: unknown option. FileNotFoundError: parameter file absent, with the way to it.
    """
    row = find_metric(name)
    try:
        is_class = isinstance(unwrapped(row.create), type)
        module = row.create(**options) if is_class else FunctionMetric(row.create, **checked(row.create, options))
    except TypeError as error:
        raise TypeError(f"Metric {name!r}: {error}; see help(iqa_lab.METRICS[{name!r}].create).") from error
    untrained = UNTRAINED if any(getattr(part, "untrained", False) for part in module.modules()) else ""
    module.name, module.kind, module.higher_is_better = name + untrained, row.kind, row.higher_is_better
    return module.eval().to(device)


def unwrapped(create: Callable) -> Callable:
    """Returns the function or class behind a registry row, without the options that the row fixes."""
    return create.func if isinstance(create, partial) else create


def checked(function: Callable, options: dict) -> dict:
    """Returns the options; TypeError when the function does not know one (a partial would tell only when called)."""
    known = unwrapped(function).__kwdefaults__ or {}
    for option in options:
        if option not in known:
            raise TypeError(f"unknown option {option!r}, expected one of {sorted(known) or 'none'}")
    return options
