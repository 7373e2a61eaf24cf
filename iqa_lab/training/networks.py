"""The networks that recipes train: with random weights, with those of their first stage, or with new heads."""

from __future__ import annotations

import json
from pathlib import Path

from torch import nn

from iqa_lab.databases import Database
from iqa_lab.full_reference.lpips_judge import TwoAFC
from iqa_lab.no_reference.scnn import SCNN
from iqa_lab.registry import create_metric
from iqa_lab.training.crops import type_numbers
from iqa_lab.training.recipes import Recipe


def types_of(model: str, database: Database) -> dict[str, int]:
    """Returns the option n_types of a model that learns distortion types too, where the database names some."""
    if model not in ("iqacnnpp", "meon", "scnn"):
        return {}
    kinds = int(type_numbers(database, with_levels=model == "scnn").max()) + 1
    return {"n_types": kinds} if kinds or model == "iqacnnpp" else {}


def options_of(weights: Path) -> dict[str, object]:
    """Returns the options of the network whose weights a run has written.

    Raises:
        FileNotFoundError: no config.json beside them.
    """
    config = weights.with_name("config.json")
    if not config.is_file():
        raise FileNotFoundError(f"Expected the weights.pt of a run, with its config.json beside, got {weights}.")
    return json.loads(config.read_text(encoding="utf-8"))["recipe"]["options"]


def new_network(model: str, recipe: Recipe, device: str = "cpu", variant: str = "heads",
                start: Path | None = None) -> nn.Module:
    """Returns the network that a recipe trains; a distance of LPIPS' kind with its judge, and with untrained heads.

    Args:
        model, recipe, device: a model and its recipe, and where it shall be trained.
        variant: of LPIPS.
        start: weights of the first stage; None for random ones.
    """
    if model == "scnn":  # gives no score, and is no row of the registry
        return SCNN(parameters=start or "random", **recipe.options).to(device)
    if model.startswith("lpips"):
        metric = create_metric(model, device, parameters="random", weights="random" if variant == "scratch" else "imagenet")
        metric.set_trainable(variant)
        return TwoAFC(metric)
    if model.startswith("swdn"):
        metric = create_metric(model, device)
        metric.heads.requires_grad_(True)
        return TwoAFC(metric)
    network = create_metric(model, device, parameters=start or "random", **recipe.options)
    if recipe.trainable:
        network.set_trainable(recipe.trainable)
    return network
