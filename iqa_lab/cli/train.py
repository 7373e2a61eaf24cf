"""``iqa-lab train``: train a model on a database with human scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from iqa_lab.cli.failure import fail
from iqa_lab.training.recipes import RECIPES

if TYPE_CHECKING:
    from torch import nn

    from iqa_lab.training.recipes import Recipe, RegressorRecipe

MODEL = Annotated[str, typer.Argument(help=f"Model that can be trained: {', '.join(RECIPES)}.")]


def train(
    model: MODEL,
    database: Annotated[str, typer.Option(help="Database with human scores, see `iqa-lab data list`.")],
    output: Annotated[Path, typer.Option(help="Folder of this run; an unfinished run in it is resumed.")],
    mode: Annotated[str, typer.Option(help="fast (minutes on a CPU) or full.")] = "fast",
    seed: Annotated[int, typer.Option(min=0, help="Decides split, first weights and order.")] = 0,
    epochs: Annotated[Optional[int], typer.Option(min=1, help="Instead of the recipe's.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    precision: Annotated[str, typer.Option(help="float32, or bfloat16 for mixed precision.")] = "float32",
    compiled: Annotated[bool, typer.Option("--compile", help="Let torch.compile translate the loss.")] = False,
    variant: Annotated[str, typer.Option(help="Of LPIPS: train its heads, tune the network too, or both from scratch.")] = "heads",
) -> None:
    """Train a model: content-disjoint 60:20:20, choices made on the validation part, report on the test part.

    Systems with a regressor need no validation part: its parameters are chosen by cross-validation on the 80 %.
    Several GPUs: torchrun --nproc-per-node 4 -m iqa_lab.cli train ... --device cuda
    """
    from iqa_lab.training.processes import rank
    from iqa_lab.training.recipes import RegressorRecipe, find_recipe

    try:
        recipe = replace(find_recipe(model, mode), seed=seed)
        if isinstance(recipe, RegressorRecipe):
            report, weights = run_regressor(model, database, recipe, output, epochs, device)
        else:
            recipe = replace(recipe, epochs=epochs or recipe.epochs, precision=precision, compiled=compiled,
                             options=recipe.options | types_of(model, database))
            report, weights = run_network(model, database, recipe, output, device, variant)
    except (OSError, ValueError, RuntimeError) as error:
        raise fail(error) from error
    if rank():
        return  # of several processes one reports
    for name, value in report.items():
        typer.echo(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value}")
    options = "".join(f", {name}={value!r}" for name, value in getattr(recipe, "options", {}).items())
    typer.echo(f"weights: {weights}; score photos with iqa_lab.create_metric({model!r}, "
               f"parameters=pathlib.Path({str(weights)!r}){options})")


def run_network(model: str, database: str, recipe: Recipe, output: Path, device: str, variant: str) -> tuple[dict, Path]:
    """Returns the report of a network's training and the path of its weights."""
    import torch

    from iqa_lab import load_database
    from iqa_lab.training.loop import train as train_model
    from iqa_lab.training.processes import own_device

    device = own_device(device)
    torch.manual_seed(recipe.seed)
    return train_model(untrained_network(model, recipe, device, variant), load_database(database), recipe,
                       output), output / "weights.pt"


def types_of(model: str, database: str) -> dict[str, int]:
    """Returns the option n_types of a model that learns distortion types too, where the database names some."""
    from iqa_lab import load_database

    if model not in ("iqacnnpp", "meon"):
        return {}
    kinds = load_database(database).index["distortion"].nunique()
    return {"n_types": kinds} if kinds or model == "iqacnnpp" else {}


def untrained_network(model: str, recipe: Recipe, device: str, variant: str) -> nn.Module:
    """Returns the network that a recipe trains; a distance of LPIPS' kind with its judge, and with untrained heads."""
    from iqa_lab import create_metric
    from iqa_lab.full_reference.lpips_judge import TwoAFC

    if model.startswith("lpips"):
        metric = create_metric(model, device, parameters="random", weights="random" if variant == "scratch" else "imagenet")
        metric.set_trainable(variant)
        return TwoAFC(metric)
    if model.startswith("swdn"):
        metric = create_metric(model, device)
        metric.heads.requires_grad_(True)
        return TwoAFC(metric)
    network = create_metric(model, device, parameters="random", **recipe.options)
    if recipe.trainable:
        network.set_trainable(recipe.trainable)
    return network


def run_regressor(model: str, database: str, recipe: RegressorRecipe, output: Path, epochs: int | None,
                  device: str) -> tuple[dict, Path]:
    """Returns the report of a regressor's training and the path of its arrays."""
    from iqa_lab import create_metric, load_database
    from iqa_lab.training.regressors import train_regressor

    if epochs:
        raise ValueError(f"Expected no --epochs for {model!r}, whose regressor is fitted in one step.")
    metric = create_metric(model, device, parameters="untrained")
    return train_regressor(metric, load_database(database), recipe, output), output / "regressor.npz"
