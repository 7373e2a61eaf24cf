"""Executes chapters with papermill: python book/execute.py [CHAPTER ...] [-p NAME=VALUE ...] [--update] [--jobs N]

A chapter is named by the beginning of its file name (``02``). Only chapters whose notebook, package source, lock file
or parameters have changed run again; the executed notebooks and their records lie in book/_build/executed.
``--update`` also writes the outputs, cleaned, into notebooks/: the command for authors after a change.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
RUNNER = Path(__file__).with_name("run_chapter.py")
EXECUTED = ROOT / "book" / "_build" / "executed"
BUDGET_SECONDS = 60  # some 35 chapters must fit twice (papermill and nbval) into one CI run
# What differs between two runs of the same code and says nothing about it.
NOISE = ("metadata.papermill metadata.widgets metadata.language_info.version "
         "cell.metadata.papermill cell.metadata.execution")


@dataclass
class Run:
    """The record of one executed chapter; ``error`` is empty when it ran through."""

    chapter: str
    key: str
    seconds: float
    peak_mb: float
    error: str = ""


def select_chapters(names: list[str], folder: Path = ROOT / "notebooks") -> list[Path]:
    """Returns the notebooks whose names begin with one of ``names``; all of them without names."""
    chapters = sorted(folder.glob("[0-9]*.ipynb"))
    for name in names:
        if not any(path.name.startswith(name) for path in chapters):
            raise ValueError(f"No chapter begins with {name!r}; there are {', '.join(path.stem for path in chapters)}.")
    return [path for path in chapters if path.name.startswith(tuple(names) or "")]


def package_hash(root: Path = ROOT) -> str:
    """Returns one hash over the package, the results, the lock and the code that executes chapters."""
    files = [path for path in sorted((root / "iqa_lab").rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    digest = hashlib.sha256()
    files += sorted((root / "results").rglob("*.csv"))  # chapters show them
    for path in [*files, root / "requirements.lock", RUNNER]:
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def chapter_key(path: Path, package: str, parameters: dict[str, object]) -> str:
    """Returns the key under which an execution stays valid: what the chapter says, runs on and is given."""
    cells = [(cell.cell_type, cell.source, cell.metadata) for cell in nbformat.read(path, as_version=4).cells]
    text = json.dumps([cells, package, parameters], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def kernel_environment(parameters: dict[str, object]) -> dict[str, str]:
    """Returns the environment of the kernels.

    One thread, so that printed digits do not depend on the number of cores. Without parameters of the reader's own the
    chapters see what a fresh clone has: no real databases and no official weights.
    """
    hidden = () if parameters else ("IQA_LAB_DATA", "IQA_LAB_WEIGHTS")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


def run_in_process(path: Path, output: Path, parameters: dict[str, object], key: str) -> Run:
    """Executes one chapter in a process of its own: its peak memory is then the kernel's, and a crash stays there."""
    command = [sys.executable, str(RUNNER), str(path), str(output), json.dumps(parameters)]
    done = subprocess.run(command, env=kernel_environment(parameters), capture_output=True, text=True)
    if done.returncode:
        return Run(path.stem, key, 0, 0, f"the process ended with {done.returncode}: {done.stderr[-500:]}")
    return Run(path.stem, key, **json.loads(done.stdout.splitlines()[-1]))


def read_record(path: Path, key: str) -> dict | None:
    """Returns the record when it has this key and no error, else None."""
    if not path.exists():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    return record if record["key"] == key and not record["error"] else None


def execute_chapters(chapters: list[Path], folder: Path, *, jobs: int, parameters: dict[str, object]) -> list[Run]:
    """Executes the changed ones of ``chapters``, ``jobs`` at a time, and returns all records in order."""
    folder.mkdir(parents=True, exist_ok=True)
    package = package_hash()
    runs, waiting = {}, {}
    with ThreadPoolExecutor(jobs) as pool:
        for path in chapters:
            key = chapter_key(path, package, parameters)
            record = read_record(folder / f"{path.stem}.json", key)
            if record and (folder / path.name).exists():
                runs[path] = Run(**record)
            else:
                waiting[path] = pool.submit(run_in_process, path, folder / path.name, parameters, key)
        for path, future in waiting.items():
            runs[path] = future.result()
            (folder / f"{path.stem}.json").write_text(json.dumps(asdict(runs[path]), indent=1), encoding="utf-8")
            print(f"  {path.stem}: {runs[path].error or f'executed in {runs[path].seconds} s'}", flush=True)
    return [runs[path] for path in chapters]


def write_clean(executed: Path, committed: Path) -> None:
    """Writes an executed chapter to ``committed`` without what differs from run to run."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / committed.name
        shutil.copy(executed, copy)
        subprocess.run([sys.executable, "-m", "nbstripout", "--keep-output", "--keep-count", "--keep-id",
                        "--extra-keys", NOISE, str(copy)], check=True)
        shutil.copy(copy, committed)


def parse_parameters(pairs: list[str]) -> dict[str, object]:
    """Returns ``NAME=VALUE`` pairs as a dict; a value that is a Python literal becomes one."""
    parameters: dict[str, object] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator:
            raise ValueError(f"Expected a parameter as NAME=VALUE, got {pair!r}.")
        try:
            parameters[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parameters[name] = value
    return parameters


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", help="beginnings of file names; all chapters without")
    parser.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--jobs", type=int, default=2, help="chapters at the same time")
    parser.add_argument("--update", action="store_true", help="write the outputs into notebooks/")
    arguments = parser.parse_args()
    try:
        chapters, parameters = select_chapters(arguments.chapters), parse_parameters(arguments.parameter)
    except ValueError as error:
        parser.error(str(error))
    if arguments.update and parameters:
        parser.error("committed outputs are made with the default parameters; leave out --update or -p")
    runs = execute_chapters(chapters, EXECUTED, jobs=arguments.jobs, parameters=parameters)
    for path, run in zip(chapters, runs):
        if arguments.update and not run.error:
            write_clean(EXECUTED / path.name, path)
        warning = f"; over the budget of {BUDGET_SECONDS} s" if run.seconds > BUDGET_SECONDS else ""
        print(f"{run.chapter}: {run.error or f'{run.seconds:.1f} s, {run.peak_mb:.0f} MB{warning}'}")
    return int(any(run.error for run in runs))


if __name__ == "__main__":
    sys.exit(main())
