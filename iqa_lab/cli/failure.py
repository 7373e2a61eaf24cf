"""How a command ends that cannot do what was asked."""

from __future__ import annotations

import typer


def fail(message: object) -> typer.Exit:
    """Prints one clear line on stderr and returns the exception that ends the command with code 2."""
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(2)
