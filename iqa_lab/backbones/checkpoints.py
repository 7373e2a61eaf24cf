"""Reads the parameter files of others safely, and loads them strictly: every missing and unexpected name is said."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

SHOWN = 8  # names listed in an error


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """Returns the tensors of a parameter file by name; nothing in the file is executed.

    Args:
        path: written by ``torch.save`` (a state, or a dict that holds one under ``state_dict``, ``model`` or ``params``;
            the prefix ``module.`` of ``DataParallel`` is taken off), or by ``np.savez``.

    Raises:
        FileNotFoundError: no such file. ValueError: not such a file, a damaged one, or one with code in it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a parameter file, found none at {path}; check the path.")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError, zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"Expected a file of tensors in {path}, which loads with weights_only=True, got {error}; get it "
                         "again from its source.") from error
    for wrapper in ("state_dict", "model", "params"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"Expected tensors by name in {path}, got {type(state).__name__}; take the file with the state.")
    return {key.removeprefix("module."): value for key, value in state.items()}


def load_strictly(module: nn.Module, state: Mapping[str, torch.Tensor], source: str | Path) -> None:
    """Puts the tensors of a state into the module.

    Args:
        module: with exactly these names and shapes.
        state: by the module's own names.
        source: for the message.

    Raises:
        ValueError: names that are missing or unexpected, or other shapes; all of them are named.
    """
    own = module.state_dict()
    check_names(own, state, source)
    shapes = [f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}" for key in own
              if key in state and state[key].shape != own[key].shape]
    if shapes:
        raise ValueError(f"Expected the tensors of {type(module).__name__} in {source}, got other shapes: "
                         f"{_listed(shapes)}; take the file made for this system.")
    counters = {key: torch.zeros_like(own[key]) for key in own if key not in state}
    module.load_state_dict({**state, **counters})


def load_without(module: nn.Module, state: Mapping[str, torch.Tensor], source: str | Path, part: str) -> bool:
    """Puts a state into the module that may lack one part, which the module then keeps; returns whether it was there.

    So a file need not repeat a backbone or a codebook that is shipped or installed.

    Args:
        module, state, source: as :func:`load_strictly`.
        part: how the names of its tensors begin, ``"backbone."`` say.

    Raises:
        ValueError: as :func:`load_strictly`, and where only some of the part's tensors are there.
    """
    own = {key: value for key, value in module.state_dict().items() if key.startswith(part)}
    there = any(key in own for key in state)
    load_strictly(module, state if there else own | state, source)
    return there


def check_names(expected: Iterable[str], found: Iterable[str], source: str | Path) -> None:
    """Raises ValueError that names what is missing and what is too many; ``num_batches_tracked`` counts for nothing."""
    expected, found = ({name for name in names if not name.endswith("num_batches_tracked")} for names in (expected, found))
    if expected != found:
        missing, unexpected = sorted(expected - found), sorted(found - expected)
        raise ValueError(f"Expected {len(expected)} tensors in {source}, got {len(found)}; missing: {_listed(missing)}; "
                         f"unexpected: {_listed(unexpected)}; take the file made for this system.")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more or "none"
