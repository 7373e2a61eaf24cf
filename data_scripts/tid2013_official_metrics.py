"""Recomputes the correlations that TID2013's readme prints, from the metric values and MOS of the same release.

``python -m iqa_lab.data_scripts.tid2013_official_metrics FOLDER_OF_THE_RELEASE``, run in the folder of the project,
writes results/tid2013_official_metrics.csv. The published numbers are read from the readme itself: table III (Spearman)
and table IV (Kendall) on all 3000 images, and the example run of its program kendall.exe for FSIMc on seven subsets.
The tables are tau-b, the program computes tau-a.
"""

from __future__ import annotations

import argparse
import re
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from iqa_lab.data_scripts.tid2013 import parse_release
from iqa_lab.database_facts import TID2013_DISTORTIONS
from iqa_lab.downloads import hash_file
from iqa_lab.evaluation.criteria import krocc, srocc

#: Numbers of the distortions in each subset: table II of the readme.
SUBSETS = {
    "Full": tuple(range(1, 25)), "Noise": (*range(1, 10), 19, 21), "Actual": (1, 3, 4, 5, 6, 8, 9, 10, 11, 19, 21),
    "Simple": (1, 8, 10), "Exotic": (12, 13, 14, 15, 16, 17, 20, 23, 24), "New": tuple(range(18, 25)),
    "Color": (2, 7, 10, 18, 22, 23)}
ROW = re.compile(r"^ *\d+ +([A-Za-z][\w-]*) +(0\.\d{3})\s*$", re.MULTILINE)  # " 1      FSIMc           0.851"
EXAMPLE = re.compile(r"^(\w+) *: (0\.\d{3})\s*$", re.MULTILINE)  # "Noise  : 0.722"


def read_published(release: Path) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Returns what the readme prints: SROCC and KROCC by metric, and the program's tau of FSIMc by subset.

    Raises:
        ValueError: the readme has no such tables.
    """
    text = (release / "readme").read_text(encoding="latin-1")
    text, _, kendall = text.partition("TABLE IV.")
    text, _, spearman = text.partition("TABLE III.")
    example = text.partition("kendall.exe mos.txt FSIMc.txt")[2]
    tables = [{name.replace("-", ""): float(value) for name, value in ROW.findall(part)}
              for part in (spearman, kendall)]
    program = {subset: float(value) for subset, value in EXAMPLE.findall(example)}
    if len(tables[0]) != 14 or len(tables[1]) != 14 or set(program) != set(SUBSETS):
        raise ValueError(f"Expected tables of 14 metrics and an example of 7 subsets in {release / 'readme'}, got "
                         f"{len(tables[0])}, {len(tables[1])} and {len(program)}; get the release again.")
    return tables[0], tables[1], program


def kendall_tau_a(x: np.ndarray, y: np.ndarray) -> float:
    """Returns Kendall's tau-a: pairs in the same order minus pairs in opposite order, divided by all pairs."""
    same = np.sign(np.subtract.outer(x, x)) * np.sign(np.subtract.outer(y, y))
    return float(same.sum() / (len(x) * (len(x) - 1)))


def recompute(release: Path) -> pd.DataFrame:
    """Returns one row per metric and subset: published and recomputed correlations, NaN where none is published.

    ``reproduced`` says that every number published for the row is met to its three digits; it is empty without one.
    """
    index = parse_release(release)[1]
    kinds = index["distortion"].map(TID2013_DISTORTIONS.index).to_numpy() + 1
    mos, (spearman, kendall, program) = index["mos"].to_numpy(float), read_published(release)
    rows = []
    for metric in spearman:
        file = release / "metrics_values" / f"{metric}.txt"
        values = np.loadtxt(file)
        for subset, numbers in SUBSETS.items():
            x, y = values[np.isin(kinds, numbers)], mos[np.isin(kinds, numbers)]
            full, example = subset == "Full", metric == "FSIMc"
            rows.append({
                "metric": metric, "subset": subset, "n": len(x),
                "srocc_published": spearman[metric] if full else np.nan, "srocc": srocc(x, y),
                "krocc_published": kendall[metric] if full else np.nan, "krocc": krocc(x, y),
                "tau_a_published": program[subset] if example else np.nan, "tau_a": kendall_tau_a(x, y),
                "source": "readme of the release", "values_sha256": hash_file(file)[:16]})
    return with_differences(pd.DataFrame(rows))


def with_differences(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the table with the differences to the published numbers, whether all of a row are met, and the date."""
    table, names = table.round(5), ("srocc", "krocc", "tau_a")
    for name in names:
        table.insert(table.columns.get_loc(name) + 1, f"{name}_difference", table[name] - table[f"{name}_published"])
    differences = table[[f"{name}_difference" for name in names]].round(5)
    table[differences.columns] = differences
    met = ((differences.abs() <= 5e-4) | differences.isna()).all(axis=1)
    table.insert(3, "reproduced", met.map({True: "yes", False: "no"}).where(differences.notna().any(axis=1), ""))
    return table.assign(date=date.today().isoformat())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", type=Path, help="folder with mos_with_names.txt, readme and metrics_values/")
    parser.add_argument("--output", type=Path, default=Path("results/tid2013_official_metrics.csv"))
    arguments = parser.parse_args()
    table = recompute(arguments.release)
    table.to_csv(arguments.output, index=False, lineterminator="\n")
    print(f"{(table['reproduced'] == 'yes').sum()} of {(table['reproduced'] != '').sum()} rows with published numbers "
          f"reproduced, {len(table)} rows in {arguments.output.name}")


if __name__ == "__main__":
    main()
