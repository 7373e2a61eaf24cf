"""``iqa-lab train``: train a model on a database with human scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Optional

import typer

MODEL = Annotated[str, typer.Argument(help="Model that can be trained: cnniqa.")]


def train(
    model: MODEL,
    database: Annotated[str, typer.Option(help="Database with human scores, see `iqa-lab data list`.")],
    output: Annotated[Path, typer.Option(help="Folder of this run; an unfinished run in it is resumed.")],
    mode: Annotated[str, typer.Option(help="fast (minutes on a CPU) or full.")] = "fast",
    seed: Annotated[int, typer.Option(min=0, help="Decides split, first weights and order.")] = 0,
    epochs: Annotated[Optional[int], typer.Option(min=1, help="Instead of the recipe's.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
) -> None:
    """Train a model: content-disjoint 60:20:20, epoch chosen on the validation part, report on the test part."""
    import torch

    from iqa_lab import create_metric, load_database
    from iqa_lab.training.loop import train as train_model
    from iqa_lab.training.recipes import find_recipe

    try:
        recipe = replace(find_recipe(model, mode), seed=seed)
        recipe = replace(recipe, epochs=epochs) if epochs else recipe
        torch.manual_seed(seed)
        report = train_model(create_metric(model, device, parameters="random"), load_database(database), recipe, output)
    except (OSError, ValueError, RuntimeError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    for name, value in report.items():
        typer.echo(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value}")
    typer.echo(f"weights: {output / 'weights.pt'}; score photos with iqa_lab.create_metric({model!r}, "
               f"parameters=pathlib.Path({str(output / 'weights.pt')!r}))")
