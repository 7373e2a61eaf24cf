"""``iqa-lab list | score | evaluate``: the systems, scores of files and databases, and their agreement with opinions."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.console import Console
from rich.table import Table

from iqa_lab.cli.failure import fail

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["image", "reference", "metric", "score", "error"]
#: What scores images where no metric is named, without and with a reference, and what its number means.
DEFAULTS = {"NR": ("dbcnn_linear_efficientnet_lite0",
                   "photos alone: about 0 to 100, higher is better, learned from opinions on 537 photos of LIVE in the Wild"),
            "FR": ("ssim", "with a reference: up to 1, higher is better, 1 is an identical image")}


def list_systems() -> None:
    """Print every system with its kind, direction, range and what its name stands for."""
    from iqa_lab.registry import METRICS  # here, so that --help does not wait for torch

    table = Table("name", "kind", "better", "range", "what the name stands for")
    for name, metric in METRICS.items():
        low, high = metric.score_range
        table.add_row(name, metric.kind, "higher" if metric.higher_is_better else "lower",
                      f"{low:g} to {high:g}", metric.configuration)
    Console().print(table)


def score(
    images: Annotated[Optional[list[Path]], typer.Argument(help="Image files or folders.")] = None,
    database: Annotated[Optional[str], typer.Option(help="Instead of images: a database, see `iqa-lab data list`.")] = None,
    metric: Annotated[Optional[list[str]], typer.Option(help="System, see `iqa-lab list`; repeatable.")] = None,
    reference: Annotated[Optional[Path], typer.Option(help="Reference file, or folder with files of the same names.")] = None,
    output: Annotated[Optional[Path], typer.Option(help="Write a table: FILE.csv or FILE.json.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    batch_size: Annotated[int, typer.Option(min=1, help="Images of one size scored together.")] = 8,
) -> None:
    """Score images, or a whole database; a bad image gets its error in its row, and the exit code is then 1.

    Without --metric the recommended system for photos is used, or SSIM where there is a reference; it says so.
    """
    from iqa_lab import scoring
    from iqa_lab.databases import load_database
    from iqa_lab.images import find_images
    from iqa_lab.registry import create_metric
    from tqdm import tqdm

    default, meaning = DEFAULTS["NR" if reference is None else "FR"]
    names = metric or [default]
    if not metric:
        print(f"no --metric given: using {default!r} ({meaning})", file=sys.stderr)
    try:
        check_output(output)
        if bool(images) == bool(database):
            raise ValueError("Expected images or --database, got " + ("both." if images else "neither."))
        metrics = [create_metric(name, device) for name in dict.fromkeys(names)]
        if database:
            files, references, names_in_index = scoring.files_of(load_database(database))
        else:
            files = [file for path in images for file in find_images(path)]
            references, names_in_index = [find_reference(file, images, reference) for file in files], None
        rows = scoring.score_files(metrics, files, references, batch_size=batch_size, device=device)
        rows = scoring.renamed(rows, names_in_index) if names_in_index else rows
        rows = kept(rows, output) if output else rows
        table = scoring.to_table(tqdm(rows, total=len(files) * len(metrics), unit="score"))
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise fail(error) from error
    report(table.to_dict("records"), output)


def evaluate(
    scores: Annotated[Path, typer.Argument(help="Table with the columns image, metric, score, as `score` writes it.")],
    database: Annotated[str, typer.Option(help="Database with opinion scores, see `iqa-lab data list`.")],
    output: Annotated[Optional[Path], typer.Option(help="Write the table as FILE.csv.")] = None,
    report: Annotated[Optional[Path], typer.Option(help="Folder for all tables (CSV, Markdown, LaTeX) and figures: "
                                                        "scatter with mapping, distortions, splits, who beats whom, "
                                                        "ROC.")] = None,
) -> None:
    """Compare scores with the opinion scores of a database: SROCC, KROCC, PLCC and RMSE of every metric.

    Correlations are positive for scores that point the right way. PLCC and RMSE are those after a 4-parameter logistic
    mapping. Rows without a finite score are left out and counted.
    """
    import pandas as pd
    from iqa_lab.evaluation.protocols import agreement_by_metric
    from iqa_lab.registry import METRICS
    from iqa_lab.scoring import join_opinions

    try:
        if output is not None and output.suffix != ".csv":
            raise ValueError(f"Expected an --output that ends in .csv, got {output.name}.")
        check_output(output)
        joined = join_opinions(pd.read_csv(scores, dtype={"image": str, "metric": str}), database)
    except (OSError, ValueError) as error:
        raise fail(error) from error
    directions = {name: metric.higher_is_better for name, metric in METRICS.items()}
    table = agreement_by_metric(joined, directions)
    for metric in table["metric"][~table["metric"].isin(list(METRICS))]:
        print(f"{metric!r} is no system of iqa-lab: taking higher scores as better", file=sys.stderr)
    shown = table.drop(columns="error") if (table["error"] == "").all() else table
    Console(width=max(120, Console().width)).print(shown.to_string(index=False, float_format="{:.4f}".format))
    if output:
        table.to_csv(output, index=False)
    if report:
        print_report(joined, directions, report)
    if (table["error"] != "").any():
        raise typer.Exit(1)


def print_report(joined: pd.DataFrame, directions: dict[str, bool], folder: Path) -> None:
    """Writes the folder of tables and figures, and says what it had to leave out."""
    import matplotlib
    from iqa_lab.plots import set_style
    from iqa_lab.report import write_report

    matplotlib.use("agg")  # no window
    set_style()
    try:
        notes = write_report(joined, directions, folder)
    except (OSError, ValueError) as error:
        raise fail(error) from error
    for note in notes:
        print(note, file=sys.stderr)
    print(f"Written: {len(list(folder.iterdir()))} files in {folder}")


def check_output(output: Path | None) -> None:
    """Raises ValueError now, not after the work, when the table could not be written."""
    if output is None:
        return
    if output.suffix not in (".csv", ".json"):
        raise ValueError(f"Expected an --output that ends in .csv or .json, got {output.name}.")
    if not output.parent.is_dir():
        raise ValueError(f"Expected an existing folder for --output, got {output.parent}; create it first.")


def find_reference(image: Path, arguments: list[Path], reference: Path | None) -> Path | None:
    """Returns the reference of one image: the file itself, or the file of the same relative name in the folder."""
    if reference is None or not reference.is_dir():
        return reference
    base = next((folder for folder in arguments if folder.is_dir() and image.is_relative_to(folder)), image.parent)
    return reference / image.relative_to(base)


def kept(rows: Iterable[dict], output: Path) -> Iterator[dict]:
    """Passes the rows on and writes each to ``output.partial`` at once, so that a crash loses nothing computed."""
    partial = output.with_name(output.name + ".partial")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            writer.writerow(row)
            file.flush()
            yield row


def report(rows: list[dict], output: Path | None) -> None:
    """Writes the rows to ``output``, or prints them, and ends the command with code 1 when a row has an error."""
    if output is None:
        table = Table(*COLUMNS)
        for row in rows:
            table.add_row(row["image"], row["reference"] or "", row["metric"], f"{row['score']:.6g}", row["error"])
        Console().print(table)
    elif output.suffix == ".json":  # JSON has no NaN and no infinity
        finite = [{**row, "score": row["score"] if math.isfinite(row["score"]) else str(row["score"])} for row in rows]
        output.write_text(json.dumps(finite, indent=1) + "\n")
    else:
        with output.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    if output:
        output.with_name(output.name + ".partial").unlink()
    bad = sum(bool(row["error"]) for row in rows)
    if bad:
        print(f"{bad} of {len(rows)} scores failed; the column 'error' says why", file=sys.stderr)
        raise typer.Exit(1)
