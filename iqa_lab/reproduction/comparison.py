"""A table of a paper beside what the finished jobs have found, and what is missing for the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from iqa_lab.databases import find_facts
from iqa_lab.reproduction.jobs import ERROR, Job, finished, what_is_missing
from iqa_lab.reproduction.running import N_SPLITS
from iqa_lab.reproduction.tables import Cell, PublishedTable

COLUMNS = ("system", "trained_on", "database", "distortion", "criterion", "published", "ours", "difference", "splits",
           "note", "missing")


def compare(table: PublishedTable, jobs: dict[tuple, list[Job]], output: Path) -> pd.DataFrame:
    """Returns published, ours and their difference for each cell, and what a reader of the difference must know.

    Args:
        table: as ``TABLES`` has it.
        jobs: of each place of the table, from :func:`iqa_lab.reproduction.jobs.jobs_of`.
        output: folder with the results.

    Returns:
        The columns ``system, trained_on, database, distortion, criterion, published, ours, difference, splits, note,
        missing``. ``ours`` is the table's statistic over the splits so far, which ``splits`` counts ("3 of 10"; "" where
        there are none). ``note`` has what sets our number apart from the published one, ``missing`` what must be brought to
        this machine before the rest can run.
    """
    results = {job: finished(job, output) for place in jobs.values() for job in place}
    rows = [compare_cell(table, cell, jobs[cell.system, cell.database, cell.trained_on], results, output)
            for cell in table.cells]
    return pd.DataFrame(rows, columns=COLUMNS)


def compare_cell(table: PublishedTable, cell: Cell, jobs: list[Job], results: dict[Job, dict | None], output: Path) -> dict:
    """Returns one row of :func:`compare`."""
    done = [results[job] for job in jobs if results[job]]
    rows = [row for result in done for row in result["rows"] if row["distortion"] == cell.distortion]
    values = [row[cell.criterion] for row in rows if row.get(cell.criterion) is not None]
    ours = getattr(np, table.statistic)(values) if values else np.nan
    expected = N_SPLITS if table.protocol == "splits" else 1
    waiting = [job for job in jobs if not results[job]]
    missing = next(filter(None, map(what_is_missing, waiting)), "")
    notes = [*(described(jobs[0], done) if values else ()), *differing(cell, jobs[0])]
    if 0 < len(values) < expected:
        notes.append(f"{len(values)} of {expected} splits")
    if waiting and not missing:
        notes.append(failure(waiting, output) or "not run yet")
    splits = f"{len(values)} of {expected}" if table.protocol == "splits" and values else ""
    return {"system": jobs[0].system, "trained_on": cell.trained_on, "database": cell.database,
            "distortion": cell.distortion, "criterion": cell.criterion, "published": cell.published, "ours": ours,
            "difference": ours - cell.published, "splits": splits, "note": "; ".join(notes), "missing": missing}


def described(job: Job, results: list[dict]) -> list[str]:
    """Returns what is smaller in our run than in the published one."""
    notes = [] if job.recipe is None or job.mode == "full" else [f"{job.mode} recipe"]
    for name, n in results[0]["images"].items():
        if n < (whole := find_facts(name).n_images):
            notes.append(f"{n} of {whole} images of {name}")
    return notes


def differing(cell: Cell, job: Job) -> list[str]:
    """Returns that another system runs than the table's, if so."""
    return [] if job.system == cell.system else [f"{job.system} instead of {cell.system}"]


def failure(jobs: list[Job], output: Path) -> str:
    """Returns why the first job failed that did, "" if none has."""
    for job in jobs:
        if (file := job.folder(output) / ERROR).is_file():
            return f"{job.name} failed: {file.read_text(encoding='utf-8').strip().splitlines()[0]}"
    return ""
