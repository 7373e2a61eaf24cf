"""Builds the book: python book/build.py [--jobs N] [--edition full|student]

Executes the changed chapters, checks all of them, compares them with their committed outputs and builds the site.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import check
import compare
import execute
import publish
from iqa_lab import load_database

STAGES: dict[str, float] = {}


@contextmanager
def stage(name: str):
    """Prints the name of a stage and notes how long it takes."""
    print(f"{name} ...", flush=True)
    started = time.perf_counter()
    yield
    STAGES[name] = time.perf_counter() - started


def print_times(runs: list[execute.Run], comparisons: list[execute.Run]) -> None:
    """Prints the time of each chapter and stage; a chapter that has not changed shows the numbers of its last run."""
    print(f"\n{'chapter':<40}{'papermill':>12}{'peak memory':>14}{'nbval':>10}")
    for run, comparison in zip(runs, comparisons):
        late = f"  over {execute.BUDGET_SECONDS} s" if run.seconds > execute.BUDGET_SECONDS else ""
        print(f"{run.chapter:<40}{run.seconds:>10.1f} s{run.peak_mb:>11.0f} MB{comparison.seconds:>8.1f} s{late}")
    print(f"\n{'stage':<40}{'this call':>12}")
    for name, seconds in STAGES.items():
        print(f"{name:<40}{seconds:>10.1f} s")


def check_chapters(chapters: list[Path], runs: list[execute.Run], comparisons: list[execute.Run]) -> list[str]:
    """Returns everything that is wrong with the chapters."""
    found = [f"{run.chapter}: {run.error}" for run in runs if run.error]
    found += [f"{run.chapter}: differs from its committed outputs:\n{run.error}" for run in comparisons if run.error]
    for path, run in zip(chapters, runs):
        found += check.faults(path)
        if not run.error:
            found += compare.picture_faults(path, execute.EXECUTED / path.name)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="chapters executed at the same time")
    parser.add_argument("--edition", choices=("full", "student"), default="full", help="student: without solutions")
    arguments = parser.parse_args()
    chapters = execute.select_chapters([])
    # Before the chapters, so that they do not wait for each other to build it and their times are their own.
    with stage("Embedded database"):
        load_database("embedded")
    with stage("Execute chapters"):
        runs = execute.execute_chapters(chapters, execute.EXECUTED, jobs=arguments.jobs, parameters={})
    with stage("Compare with committed outputs"):
        comparisons = compare.compare_texts(chapters, execute.EXECUTED, jobs=arguments.jobs)
    with stage("Check chapters"):
        found = check_chapters(chapters, runs, comparisons)
    if not any(run.error for run in runs):
        with stage("Build site"):
            html = publish.build_site(execute.ROOT, execute.EXECUTED, edition=arguments.edition)
    print_times(runs, comparisons)
    if found:
        print("\nThe book has faults:\n" + "\n".join(found), file=sys.stderr)
        return 1
    print(f"\nThe book is ready. Open {html / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
