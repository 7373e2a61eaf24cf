"""``iqa-lab data``: list, prepare and verify databases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from iqa_lab.cli.failure import fail

app = typer.Typer(no_args_is_help=True, help="List, prepare and verify databases.")
NAME = Annotated[str, typer.Argument(help="Database, see `iqa-lab data list`.")]


@app.command("list")
def list_databases() -> None:
    """Print every known database, its scores, and whether it is ready on this machine."""
    from iqa_lab.data_scripts.prepare import status
    from iqa_lab.databases import DATABASES

    table = Table("name", "kind", "scores", "images", "licence", "here")
    for facts in DATABASES.values():
        scores = facts.score_kind
        if facts.score_range:
            low, high = facts.score_range
            scores += f" {low:g} to {high:g}, {'higher' if facts.higher_is_better else 'lower'} is better"
        table.add_row(facts.name, facts.kind, scores, str(facts.n_images), facts.licence, escape(status(facts.name)))
    Console().print(table)


@app.command()
def prepare(
    name: NAME,
    source: Annotated[Optional[Path], typer.Option(help="Folder or archive of the official release.")] = None,
    present_only: Annotated[bool, typer.Option("--present-only", help="Leave out images that are missing.")] = False,
    output: Annotated[Optional[Path], typer.Option(help="Folder for index.csv, default in the cache.")] = None,
) -> None:
    """Make index.csv from an official release, after checking every score and image."""
    from iqa_lab.data_scripts.prepare import prepare as prepare_database
    from iqa_lab.databases import DATABASES

    try:
        made = prepare_database(name, source, present_only=present_only, output=output)
    except (OSError, ValueError) as error:
        raise fail(error) from error
    facts = DATABASES[name]
    print(f"{name}: {made.n_present} of {made.n_release} images, index in {made.index}")
    print(f"Licence: {facts.licence}. Cite {facts.citation}, {facts.homepage}")


@app.command()
def verify(name: NAME) -> None:
    """Check a database against the hashes and counts recorded when it was made."""
    from iqa_lab.data_scripts.verify import verify as verify_database

    try:
        print(verify_database(name))
    except (OSError, ValueError, RuntimeError) as error:
        raise fail(error) from error
