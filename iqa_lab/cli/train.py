"""``iqa-lab train``: train a model on a database with human scores, or its first stage on distorted photographs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from iqa_lab.cli.failure import fail
from iqa_lab.training.recipes import FIRST_STAGES, RECIPES

if TYPE_CHECKING:
    from iqa_lab.databases import Database
    from iqa_lab.training.recipes import Recipe, RegressorRecipe

MODEL = Annotated[str, typer.Argument(help=f"Model that can be trained: {', '.join(RECIPES | FIRST_STAGES)}.")]
FIRST = f"Only what needs no opinions, of {', '.join(FIRST_STAGES)}; then go on with --start OUTPUT/weights.pt."


def train(
    model: MODEL,
    output: Annotated[Path, typer.Option(help="Folder of this run; an unfinished run in it is resumed.")],
    database: Annotated[str, typer.Option(help="Database with human scores, see `iqa-lab data list`; for a first stage any "
                                               "with references.")] = "embedded",
    first_stage: Annotated[bool, typer.Option("--first-stage", help=FIRST)] = False,
    photographs: Annotated[Optional[list[Path]], typer.Option(help="Folder of pristine photographs for a first stage, in "
                                                                   "place of --database; repeatable.")] = None,
    start: Annotated[Optional[Path], typer.Option(help="weights.pt of the first stage.")] = None,
    mode: Annotated[str, typer.Option(help="fast (minutes on a CPU) or full.")] = "fast",
    seed: Annotated[int, typer.Option(min=0, help="Decides split, first weights and order.")] = 0,
    epochs: Annotated[Optional[int], typer.Option(min=1, help="Instead of the recipe's.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    precision: Annotated[str, typer.Option(help="float32, or bfloat16 for mixed precision.")] = "float32",
    compiled: Annotated[bool, typer.Option("--compile", help="Let torch.compile translate the loss.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write curves for TensorBoard into OUTPUT.")] = False,
    variant: Annotated[str, typer.Option(help="Of LPIPS: train its heads, tune the network too, or both from scratch.")] = "heads",
) -> None:
    """Train a model: content-disjoint 60:20:20, choices made on the validation part, report on the test part.

    Systems with a regressor need no validation part: its parameters are chosen by cross-validation on the 80 %.
    Several GPUs: torchrun --nproc-per-node 4 -m iqa_lab.cli train ... --device cuda
    """
    from iqa_lab import load_database
    from iqa_lab.training.distorted import distort_photographs
    from iqa_lab.training.networks import options_of, types_of
    from iqa_lab.training.processes import rank
    from iqa_lab.training.recipes import RegressorRecipe, find_recipe

    try:
        recipe = replace(find_recipe(model, mode, first_stage=first_stage), seed=seed)
        if photographs and not first_stage:
            raise ValueError("Expected --photographs with --first-stage, got them alone: nobody has judged them.")
        learned = distort_photographs(photographs) if photographs else load_database(database)
        if isinstance(recipe, RegressorRecipe):
            report, weights = run_regressor(model, learned, recipe, output, epochs, device)
        else:
            options = recipe.options | types_of(model, learned) | (options_of(start) if start else {})
            recipe = replace(recipe, epochs=epochs or recipe.epochs, precision=precision, compiled=compiled, options=options)
            report, weights = run_network(model, learned, recipe, output, device, variant, start, tensorboard)
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        raise fail(error) from error
    if rank():
        return  # of several processes one reports
    for name, value in report.items():
        typer.echo(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value}")
    if first_stage and model in RECIPES:
        typer.echo(f"weights: {weights}; go on with iqa-lab train ... --start {weights}")
        return
    options = "".join(f", {name}={value!r}" for name, value in getattr(recipe, "options", {}).items())
    typer.echo(f"weights: {weights}; score photos with iqa_lab.create_metric({model!r}, "
               f"parameters=pathlib.Path({str(weights)!r}){options})")


def run_network(model: str, database: Database, recipe: Recipe, output: Path, device: str, variant: str,
                start: Path | None, tensorboard: bool) -> tuple[dict, Path]:
    """Returns the report of a network's training and the path of its weights."""
    import torch

    from iqa_lab.training.loop import train as train_model
    from iqa_lab.training.networks import new_network
    from iqa_lab.training.processes import own_device

    torch.manual_seed(recipe.seed)
    network = new_network(model, recipe, own_device(device), variant, start)
    return train_model(network, database, recipe, output, tensorboard=tensorboard), output / "weights.pt"


def run_regressor(model: str, database: Database, recipe: RegressorRecipe, output: Path, epochs: int | None,
                  device: str) -> tuple[dict, Path]:
    """Returns the report of a regressor's training and the path of its arrays."""
    from iqa_lab import create_metric
    from iqa_lab.training.regressors import train_regressor

    if epochs:
        raise ValueError(f"Expected no --epochs for {model!r}, whose regressor is fitted in one step.")
    metric = create_metric(model, device, parameters="untrained")
    return train_regressor(metric, database, recipe, output), output / "regressor.npz"
