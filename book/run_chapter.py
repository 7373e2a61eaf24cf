"""Executes one chapter: python book/run_chapter.py NOTEBOOK OUTPUT PARAMETERS_AS_JSON; prints its record as JSON.

A program of its own, started by execute.py once per chapter, because the peak memory of the kernel is read as that of
this process's children. It must stay small: a child begins with the memory of its parent.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import nbformat
import papermill

CELL_TIMEOUT = 300  # a cell that hangs must not hang the build


def check_parameters(path: Path, parameters: dict[str, object]) -> None:
    """Raises ValueError where papermill would be silent: no parameters cell, or a parameter it does not have."""
    tags = [tag for cell in nbformat.read(path, as_version=4).cells for tag in cell.metadata.get("tags", [])]
    if tags.count("parameters") != 1:
        raise ValueError(f"{path.name}: expected one cell tagged 'parameters', got {tags.count('parameters')}.")
    known = papermill.inspect_notebook(str(path))
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ValueError(f"{path.name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}.")


def merge_streams(path: Path) -> None:
    """Joins neighbouring pieces of printed text, whose borders depend on timing."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        merged: list = []
        for output in cell.get("outputs", []):
            if merged and output.output_type == "stream" and merged[-1].get("name") == output.name:
                merged[-1].text += output.text
            else:
                merged.append(output)
        if cell.cell_type == "code":
            cell.outputs = merged
    nbformat.write(notebook, path)


def describe(error: Exception) -> str:
    """Returns the failing cell and its error in a few lines."""
    if isinstance(error, papermill.PapermillExecutionError):
        first_lines = "\n".join("    " + line for line in error.source.splitlines()[:3])
        return f"cell {error.cell_index + 1}: {error.ename}: {error.evalue}\n{first_lines}"
    return f"{type(error).__name__}: {error}"


def run_chapter(path: Path, output: Path, parameters: dict[str, object]) -> dict[str, object]:
    """Executes one chapter in a new kernel and returns seconds, peak memory and the error, empty when there is none."""
    started, error = time.perf_counter(), ""
    try:
        check_parameters(path, parameters)
        papermill.execute_notebook(str(path), str(output), parameters=parameters, cwd=str(path.parent),
                                   progress_bar=False, start_timeout=CELL_TIMEOUT, execution_timeout=CELL_TIMEOUT,
                                   extra_arguments=["--IPKernelApp.log_level=40"])
        merge_streams(output)
    except Exception as failure:  # whatever a chapter does, the others still run and the record says what it was
        error = describe(failure)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    peak_mb = peak / (2**20 if sys.platform == "darwin" else 2**10)
    return {"seconds": round(time.perf_counter() - started, 1), "peak_mb": round(peak_mb), "error": error}


if __name__ == "__main__":
    notebook, target, values = sys.argv[1:]
    print(json.dumps(run_chapter(Path(notebook), Path(target), json.loads(values))))
