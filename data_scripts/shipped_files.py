"""Writes the small text files of a database that ships with the package."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from iqa_lab.databases import INDEX_COLUMNS
from iqa_lab.downloads import hash_file


def write_shipped(folder: Path, table: pd.DataFrame, source: str) -> None:
    """Writes index.csv, SOURCE.md and hashes.csv (SHA-256 of every image and of the index) into ``folder``."""
    table[list(INDEX_COLUMNS)].to_csv(folder / "index.csv", index=False, lineterminator="\n")
    (folder / "SOURCE.md").write_text(source, encoding="utf-8")
    files = sorted({*table["image"], *table["reference"].dropna(), "index.csv"})
    with (folder / "hashes.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("file", "sha256"), *((name, hash_file(folder / name)) for name in files)])
