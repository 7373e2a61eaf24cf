"""The tables in results/: rows of one key are replaced when they are computed again."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

RESULTS = Path("results")


def replace_rows(file: Path, new: pd.DataFrame, *, key: Sequence[str], order: Sequence[object]) -> pd.DataFrame:
    """Writes the table with the rows of the same key replaced, and returns it.

    Args:
        file: CSV, may be absent.
        new: rows of one key.
        key: columns.
        order: the values of these columns as the rows shall follow each other.
    """
    table, key = new, list(key)
    if file.is_file():
        old = pd.read_csv(file)
        table = pd.concat([old[~old[key].eq(new[key].iloc[0]).all(axis=1)], new])
    places = {value: k for k, value in enumerate(order)}
    table = table.sort_values(key, key=lambda column: column.map(places), kind="stable")
    table.to_csv(file, index=False, float_format="%.5g")
    return table


def commit() -> str:
    """Returns the commit that is checked out."""
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
