"""Writes results/accuracy.csv: the authors' value of every reference pair, ours, and those of other libraries.

    IQA_LAB_DATA=FOLDER python benchmarks/accuracy.py

The authors' values are those of tests/reference_values/. Every library gets the colour image, as its user would pass
it, with the settings of peers.py. Without IQA_LAB_DATA only the synthetic pairs are compared.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch

import measure
from iqa_lab import METRICS, create_metric
from peers import PEERS, peers_of

ROOT = Path(__file__).parent.parent
VALUES, OUTPUT = ROOT / "tests" / "reference_values", ROOT / "results" / "accuracy.csv"
LIBRARIES = ("piq", "piqa", "pyiqa", "torchmetrics")
sys.path.insert(0, str(ROOT / "tests"))

from test_reference_values import read  # noqa: E402 - the one reader of the images that these files name


def compare() -> Iterator[dict]:
    """Yields one row per full- or reduced-reference system and pair with a value of its authors."""
    for name, facts in METRICS.items():
        file = VALUES / f"{name}.csv"
        if facts.kind == "NR" or not file.exists():
            continue
        functions = {"ours": create_metric(name)}
        functions |= {library: PEERS[library][1](name) for library in peers_of(name, backward=False) if library in LIBRARIES}
        for row in csv.DictReader(file.open()):
            if row["distorted"].startswith("synthetic:") or "IQA_LAB_DATA" in os.environ:
                yield {"metric": name, "image": Path(row["distorted"]).stem, "authors": float(row["value"]),
                       "source": row["source"], **{library: value(function, row) for library, function in functions.items()}}


def value(function, row: dict) -> float | str:
    """Returns the score of one pair in float32, as users of the libraries compute, or the error a library raises."""
    pair = (read(row["distorted"]).float(), read(row["reference"]).float())
    try:
        with torch.no_grad():
            return float(function(*pair))
    except Exception as error:  # noqa: BLE001 - whatever a foreign library raises is a result of the comparison
        return type(error).__name__


def main() -> None:
    table = pd.DataFrame(compare())
    for library in ("ours", *LIBRARIES):
        numbers = pd.to_numeric(table[library], errors="coerce")
        known = numbers.notna() & (table["authors"] != 0)
        table[f"{library}_error"] = (numbers / table["authors"] - 1).abs().map("{:.1e}".format).where(known, "")
    facts = measure.describe_machine(LIBRARIES)
    table = table.assign(date=facts["date"], commit=facts["commit"])
    table.to_csv(OUTPUT, index=False, float_format="%.8g", lineterminator="\n")
    print(table.to_string())


if __name__ == "__main__":
    main()
