"""Writes results/accuracy.csv: the authors' value of every reference image or pair, ours, and those of other libraries.

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
EMBEDDED = ("embedded:", "references/", "distorted/")  # images for which only our own values are stored
LIBRARIES = ("piq", "piqa", "pyiqa", "torchmetrics")
sys.path.insert(0, str(ROOT / "tests"))

from test_reference_values import read  # noqa: E402 - the one reader of the images that these files name


def compare() -> Iterator[dict]:
    """Yields one row per system and image (or pair) with a value of its authors."""
    for name, facts in METRICS.items():
        functions = None
        for row in reference_rows(name):
            functions = functions or {"ours": create_metric(name)} | {
                library: PEERS[library][1](name) for library in peers_of(name, backward=False) if library in LIBRARIES}
            images = [row["image"]] if facts.kind == "NR" else [row["distorted"], row["reference"]]
            yield {"metric": name, "image": Path(images[0]).stem, "authors": float(row["value"]), "source": row["source"],
                   **{library: value(function, images) for library, function in functions.items()}}


def reference_rows(name: str) -> Iterator[dict]:
    """Yields the rows of a system's file of reference values whose images are at hand."""
    file = VALUES / f"{name.removesuffix('_live').removesuffix('_authors')}.csv"  # rows with the authors' parameters
    for row in csv.DictReader(file.open()) if file.exists() else ():
        first = (row.get("distorted") or row["image"]).removeprefix("golden/")
        # No part of an image, no step left out, and no value of our own.
        whole = not set(" @") & set(first) and "without" not in row["source"] and not first.startswith(EMBEDDED)
        ours = METRICS[name].kind != "NR" or (row["metric"] == name and whole)
        file = first.lower().endswith((".bmp", ".png", ".jpg")) and "IQA_LAB_DATA" in os.environ
        if ours and (file or first.startswith("synthetic:")):
            yield row | ({"image": first} if METRICS[name].kind == "NR" else {})


def value(function, images: list[str]) -> float | str:
    """Returns the score in float32, as users of the libraries compute, or the error that a library raises."""
    tensors = [read(f"../{name}" if name.startswith(("weights/", "images/")) else name).float() for name in images]
    try:
        with torch.no_grad():
            return float(function(*tensors))
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
