"""The jobs of a table: each is independent of the others, has a name, and leaves one small result file.

A network is trained once for each split, which is one job. A regressor on given features, and a system that is not trained
here, are one job for all splits: their features or scores are computed once. A finished job is not run again, so a killed
table goes on where it stopped, and several machines need nothing in common but a folder.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path

import torch

from iqa_lab.databases import load_database
from iqa_lab.reproduction.running import N_SPLITS, create, rows_of
from iqa_lab.reproduction.tables import PublishedTable, base_of
from iqa_lab.training.recipes import RECIPES, Recipe, RegressorRecipe, find_recipe
from iqa_lab.training.runs import index_hash, write_whole

RESULT, ERROR = "result.json", "error.txt"
NETWORKS = {name for name, modes in RECIPES.items() if any(isinstance(recipe, Recipe) for recipe in modes.values())}


@dataclass(frozen=True)
class Job:
    """What one process does without knowing of the others.

    Attributes:
        protocol, database, trained_on: as the table and the cell have them.
        system: that runs, a key of ``METRICS`` or ``VARIANTS``.
        mode: of the recipe.
        split: the number of the only split, None for all of them or where there are none.
    """

    protocol: str
    system: str
    database: str
    trained_on: str
    mode: str
    split: int | None = None

    @property
    def name(self) -> str:
        """Unique among the jobs of one mode, also over tables."""
        parts = (self.trained_on, self.database, self.system, {"whole": "all", "pairs": "all"}.get(self.protocol, ""))
        return "-".join(filter(None, (*parts, "" if self.split is None else str(self.split))))

    @property
    def recipe(self) -> Recipe | RegressorRecipe | None:
        """The recipe that trains the system, None for one that is not trained here."""
        base, options = base_of(self.system)
        if self.protocol not in ("splits", "cross") or base not in RECIPES:
            return None
        recipe = find_recipe(base, self.mode)
        return recipe if isinstance(recipe, RegressorRecipe) else replace(recipe, seed=self.split or 0,
                                                                          options=recipe.options | options)

    def folder(self, output: Path) -> Path:
        """Returns where the result and the run are kept."""
        return output / self.mode / self.name


def jobs_of(table: PublishedTable, mode: str, *, instead: dict[str, str] | None = None) -> dict[tuple, list[Job]]:
    """Returns the jobs behind each place (system, database, trained on) of a table.

    Args:
        table: as ``TABLES`` has it.
        mode: of the recipes.
        instead: which system runs for one of the table, if another.

    Raises:
        ValueError: an unknown system.
    """
    instead = {} if instead is None else instead
    found = {}
    for cell in table.cells:
        system = instead.get(cell.system, cell.system)
        is_network = base_of(system)[0] in NETWORKS
        job = Job(table.protocol, system, cell.database, cell.trained_on, mode)
        splits = range(N_SPLITS) if is_network and table.protocol == "splits" else (None,)
        found[cell.system, cell.database, cell.trained_on] = [replace(job, split=k) for k in splits]
    return found


def what_is_missing(job: Job) -> str:
    """Returns what must be brought to this machine before the job can run, "" if nothing."""
    return missing_database(job.database) or missing_database(job.trained_on) or missing_system(replace(
        job, database="", trained_on="", split=None))


@cache
def missing_database(name: str) -> str:
    """Returns how to bring a database to this machine, "" if it is here, or for no name."""
    try:
        return "" if not name or load_database(name) else ""
    except (OSError, ValueError) as error:
        return str(error)


@cache
def missing_system(job: Job) -> str:
    """Returns why the system of a job cannot be made on this machine, "" if it can."""
    try:
        create(job.system, job.recipe, "cpu")
        return ""
    except (OSError, ValueError) as error:
        return str(error)


def finished(job: Job, output: Path) -> dict | None:
    """Returns the result of a job, None if there is none, or only one of other images or opinion scores than those here."""
    file = job.folder(output) / RESULT
    if not file.is_file():
        return None
    result = json.loads(file.read_text(encoding="utf-8"))
    changed = [name for name, sha256 in result["indexes"].items() if not missing_database(name) and hash_of(name) != sha256]
    return None if changed else result


@cache
def hash_of(name: str) -> str:
    """Returns the SHA-256 of the index of a database on this machine."""
    return index_hash(load_database(name))


def run_job(job: Job, output: Path, *, device: str = "cpu", progress: bool = True) -> dict:
    """Returns the result of a job, after running it if there is none yet.

    A failure is kept in the job's folder for the table, and raised.

    Args:
        job: from :func:`jobs_of`.
        output: folder of the table.
        device: where it runs.
        progress: show progress bars.

    Raises:
        FileNotFoundError: a database or parameters are not on this machine, with the way to them.
    """
    if (result := finished(job, output)) is not None:
        return result
    if reason := what_is_missing(job):
        raise FileNotFoundError(reason)
    folder, started = job.folder(output), time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        tested, learned = load_database(job.database), load_database(job.trained_on) if job.trained_on else None
        rows = rows_of(job.protocol, job.system, job.recipe, tested, folder, trained_on=learned, split=job.split,
                       device=device, progress=progress)
    except Exception as error:
        (folder / ERROR).write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")
        raise
    databases = [database for database in (tested, learned) if database]
    result = {"job": job.name, "rows": rows, "images": {database.name: len(database.index) for database in databases},
              "indexes": {database.name: index_hash(database) for database in databases},
              "seconds": round(time.perf_counter() - started, 1), "device": device, "torch": torch.__version__,
              "date": date.today().isoformat()}
    write_whole(folder / RESULT, lambda path: path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8"))
    (folder / ERROR).unlink(missing_ok=True)
    return result
