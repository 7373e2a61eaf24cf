"""``iqa-lab weights``: list, fetch and verify parameter files."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from iqa_lab.cli.failure import fail

app = typer.Typer(no_args_is_help=True, help="List, fetch and verify parameter files.")


@app.command("list")
def list_weights() -> None:
    """Print every known parameter file, what it was trained on, its licence, and whether it is on this machine."""
    from iqa_lab.backbones.weights_table import WEIGHTS

    table = Table("name", "trained on", "licence", "here")
    for name, row in WEIGHTS.items():
        table.add_row(name, escape(row.trained_on), escape(row.licence), escape(where(name)))
    Console().print(table)


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="Parameter file, see `iqa-lab weights list`.")]) -> None:
    """Download a parameter file to the cache, unless it is on this machine; an interrupted download is resumed."""
    from iqa_lab.backbones.weights import find_weights

    try:
        print(find_weights(name))
    except (OSError, ValueError) as error:
        raise fail(error) from error


@app.command()
def verify() -> None:
    """Check the content of every parameter file on this machine against its SHA-256."""
    from iqa_lab.backbones.weights_table import WEIGHTS

    places = {name: where(name) for name in WEIGHTS}
    wrong = {name: place for name, place in places.items() if place.startswith("WRONG")}
    absent = sum(place in ("absent", "to download") for place in places.values())
    for name, place in wrong.items():
        typer.echo(f"{name}: {place}", err=True)
    print(f"{len(places) - absent - len(wrong)} files have the expected content, {len(wrong)} have another, "
          f"{absent} are not on this machine.")
    raise typer.Exit(1 if wrong else 0)


def where(name: str) -> str:
    """Returns "shipped", "installed", the path, "to download", "absent", or "WRONG" and what is wrong with the file."""
    from iqa_lab.backbones.weights import local_weights
    from iqa_lab.backbones.weights_table import WEIGHTS
    from iqa_lab.embedded import SHIPPED

    try:
        path = local_weights(name)
    except ValueError as error:
        return f"WRONG: {error}"
    if path is None:
        return "to download" if WEIGHTS[name].url else "absent"
    return "installed" if WEIGHTS[name].package else "shipped" if path.is_relative_to(SHIPPED) else str(path)
