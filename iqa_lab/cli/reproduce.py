"""``iqa-lab reproduce``: a paper's table on the databases that are here, beside what was published."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from iqa_lab.cli.failure import fail

if TYPE_CHECKING:
    from iqa_lab.reproduction.jobs import Job
    from iqa_lab.reproduction.tables import PublishedTable

WORKER = (sys.executable, "-m", "iqa_lab.cli")  # the same program, in a process of its own
WIDTH = 120


def reproduce(
    paper: Annotated[Optional[str], typer.Argument(help="Key in the bibliography, or what follows the year in it.")] = None,
    table: Annotated[Optional[str], typer.Argument(help="Name of the table; without one, the tables are listed.")] = None,
    output: Annotated[Optional[Path], typer.Option(help="Folder for results, runs and table.csv; what is finished in it is "
                                                        "not run again.")] = None,
    mode: Annotated[str, typer.Option(help="Of the recipes: fast (minutes on a CPU) or full.")] = "fast",
    instead: Annotated[Optional[list[str]], typer.Option(help="SYSTEM=OTHER: run another system for one of the table, "
                                                              "such as niqe_live=niqe; repeatable.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    jobs: Annotated[int, typer.Option(min=0, help="Worker processes on this machine; 0 runs nothing and prints the table of "
                                                  "what is finished.")] = 1,
    listed: Annotated[bool, typer.Option("--list", help="Print a command for each unfinished job, run nothing.")] = False,
    only: Annotated[Optional[list[str]], typer.Option(help="Run this job alone, and print no table; repeatable.")] = None,
) -> None:
    """Run a table of a paper on the databases that are here: published, ours, difference, and what is missing.

    Every job is independent and can run on another machine with the same folder: --list prints their commands, one a line.
    """
    from iqa_lab.reproduction.jobs import finished, jobs_of, run_job
    from iqa_lab.reproduction.published import find_table

    try:
        if paper is None or table is None:
            print_tables(paper)
            return
        published = find_table(paper, table)
        if output is None:
            raise ValueError("Expected a folder for the results, got none; give --output FOLDER.")
        places = jobs_of(published, mode, instead=pairs_of(instead, published))
        every = {job.name: job for place in places.values() for job in place}
        if unknown := [name for name in only or () if name not in every]:
            raise ValueError(f"Expected jobs of this table, got {unknown[0]!r}; --list prints their names.")
        waiting = [job for name, job in every.items() if (not only or name in only) and finished(job, output) is None]
        options = options_of(output, mode, instead, device)
        if listed:
            for job in waiting:
                print(shlex.join(["iqa-lab", *command(published, options, job)]))
            return
        if only:
            for job in waiting:
                print(f"{job.name}: {run_job(job, output, device=device)['seconds']} seconds")
            return
    except (OSError, ValueError, RuntimeError) as error:
        raise fail(error) from error
    run_all(published, options, waiting, output, jobs, device)
    show(published, places, output)


def print_tables(paper: str | None) -> None:
    """Prints the tables that can be reproduced, of one paper or of all."""
    from iqa_lab.reproduction.jobs import jobs_of
    from iqa_lab.reproduction.published import TABLES, of_paper

    grid = Table("paper", "table", "what", "numbers", "jobs", "protocol")
    for found in TABLES if paper is None else of_paper(paper):
        n_jobs = sum(map(len, jobs_of(found, "fast").values()))
        grid.add_row(found.paper, found.name, found.title, str(len(found.cells)), str(n_jobs), found.protocol)
    Console(width=max(WIDTH, Console().width)).print(grid)


def pairs_of(instead: list[str] | None, published: PublishedTable) -> dict[str, str]:
    """Returns the system of the table -> the one that runs; ValueError for what is no such pair."""
    systems = {cell.system for cell in published.cells}
    pairs = dict(pair.partition("=")[::2] for pair in instead or ())
    for old, new in pairs.items():
        if old not in systems or not new:
            raise ValueError(f"Expected --instead SYSTEM=OTHER with a system of the table ({', '.join(sorted(systems))}), "
                             f"got {old}={new}.")
    return pairs


def options_of(output: Path, mode: str, instead: list[str] | None, device: str) -> list[str]:
    """Returns the options that all jobs of a table have in common."""
    return ["--output", str(output), "--mode", mode, *(word for pair in instead or () for word in ("--instead", pair)),
            "--device", device]


def command(published: PublishedTable, options: list[str], job: Job) -> list[str]:
    """Returns the words behind ``iqa-lab`` that run one job."""
    return ["reproduce", published.paper, published.name, *options, "--only", job.name]


def run_all(published: PublishedTable, options: list[str], waiting: list[Job], output: Path, n_workers: int,
            device: str) -> None:
    """Runs the jobs for which nothing is missing, here or in several processes; one that fails does not stop the others."""
    from tqdm import tqdm

    from iqa_lab.reproduction.jobs import run_job, what_is_missing

    ready = [job for job in waiting if not what_is_missing(job)] if n_workers else []
    with tqdm(total=len(ready), unit="job", disable=not ready) as bar:
        if n_workers == 1:
            for job in ready:
                bar.set_description(job.name)
                try:
                    run_job(job, output, device=device, progress=False)
                except Exception as error:  # the table says why, and the others go on
                    tqdm.write(f"{job.name}: {error}", file=sys.stderr)
                bar.update()
            return
        threads = str(max(1, (os.cpu_count() or 1) // max(1, n_workers)))
        with ThreadPoolExecutor(max(1, n_workers)) as pool:  # each thread waits for one process after the other
            running = [pool.submit(run_worker, job, command(published, options, job), output, threads) for job in ready]
            for future in as_completed(running):
                if said := future.result():
                    tqdm.write(said, file=sys.stderr)
                bar.update()


def run_worker(job: Job, words: list[str], output: Path, threads: str) -> str:
    """Runs one job in a process of its own, and returns what went wrong, "" if nothing."""
    folder = job.folder(output)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("w", encoding="utf-8") as log:
        environment = os.environ | {"OMP_NUM_THREADS": threads}
        code = subprocess.run([*WORKER, *words], stdout=log, stderr=log, env=environment).returncode
    return f"{job.name}: ended with {code}, see {folder / 'log.txt'}" if code else ""


def show(published: PublishedTable, places: dict[tuple, list[Job]], output: Path) -> None:
    """Writes table.csv, and prints the table and what is missing."""
    from iqa_lab.reproduction.comparison import compare
    from iqa_lab.reproduction.tables import PROTOCOLS

    found = compare(published, places, output)
    output.mkdir(parents=True, exist_ok=True)
    found.to_csv(output / "table.csv", index=False, float_format="%.5g")
    console = Console(width=max(WIDTH, Console().width))
    console.print(f"{published.paper}, {published.name}: {published.title}. {PROTOCOLS[published.protocol].capitalize()}. "
                  f"Published: {published.source}. {published.note}", markup=False, highlight=False)
    columns = [name for name in found.columns if name != "missing" and not (found[name] == default(name)).all()]
    grid = Table(*columns)
    reasons = list(dict.fromkeys(filter(None, found["missing"])))
    for row in found.to_dict("records"):
        mark = f"missing [{reasons.index(row['missing']) + 1}]" if row["missing"] else ""
        row["note"] = "; ".join(filter(None, (row["note"], mark)))
        grid.add_row(*(escape(text(row[name])) for name in columns))
    console.print(grid)
    for number, reason in enumerate(reasons, 1):
        console.print(f"[{number}] {reason}", markup=False, highlight=False)
    console.print(f"Written: {output / 'table.csv'}", markup=False, highlight=False)


def default(column: str) -> str:
    """Returns the value of a column that need not be shown if all rows have it."""
    return "all" if column == "distortion" else ""


def text(value: object) -> str:
    """Returns a value as a cell of the printed table; nothing for NaN."""
    return ("" if value != value else f"{value:.3f}") if isinstance(value, float) else str(value)
