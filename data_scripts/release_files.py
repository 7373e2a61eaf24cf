"""Finds and reads the files of a release: names that differ from its own lists in case or ending, sheets, MATLAB files.

Sheets: pandas reads .xlsx with openpyxl and .xls with xlrd, which are no dependencies of iqa-lab. So a sheet saved as
CSV under the same name is taken first; without it and without the package, the error says both ways out.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from iqa_lab.embedded.build import INDEX_COLUMNS

SHEET_ENDINGS = (".csv", ".xlsx", ".xls")


def find_release(source: Path, marker: str) -> Path:
    """Returns the folder that holds ``marker``: ``source`` or one below it.

    Raises:
        FileNotFoundError: it is nowhere below ``source``.
        ValueError: it is in several places.
    """
    if (source / marker).exists():
        return source
    found = sorted(path for path in source.rglob(marker) if "__MACOSX" not in path.parts)
    if not found:
        raise FileNotFoundError(f"Expected {marker!r} in {source} or below, found none; give the folder or archive of "
                                "the official release.")
    if len(found) > 1:
        raise ValueError(f"Expected one {marker!r} below {source}, got {len(found)}; give the folder of one release.")
    return found[0].parents[len(Path(marker).parts) - 1]


def find_sheet(source: Path, name: str) -> Path:
    """Returns the file of a table that the release calls ``name`` (without ending): a CSV if there is one.

    Raises:
        FileNotFoundError, ValueError: as :func:`find_release`.
    """
    there = [name + ending for ending in SHEET_ENDINGS if next(source.rglob(name + ending), None)]
    file = next(iter(there), f"{name}.xlsx")
    return find_release(source, file) / file


def read_sheet(path: Path, columns: Iterable[str], *, sheet: str | int = 0) -> pd.DataFrame:
    """Returns the rows of a sheet below the first row that holds all of ``columns``, as text, empty rows left out.

    Args:
        path: as :func:`find_sheet` returns it.
        columns: names that must be there; the table may have others.
        sheet: name or number of the sheet in an Excel file.

    Raises:
        ValueError: it cannot be read, or no row holds the names.
    """
    columns = list(columns)
    try:
        cells = (pd.read_csv(path, header=None, dtype=str, encoding="utf-8-sig") if path.suffix == ".csv" else
                 pd.read_excel(path, sheet_name=sheet, header=None, dtype=str))
    except (ImportError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"Expected a sheet that can be read, got {path} ({error}); install the package it needs, or "
                         f"save its sheet {sheet} as {path.stem}.csv beside it.") from error
    rows = [[str(cell).strip() for cell in row] for row in cells.to_numpy()]
    head = next((i for i, row in enumerate(rows) if set(columns) <= set(row)), None)
    if head is None:
        raise ValueError(f"Expected the columns {columns} in {path}, got {rows[0]}; save the right sheet.")
    return cells[head + 1:].set_axis(rows[head], axis=1).dropna(how="all").reset_index(drop=True)


def read_matlab(path: Path, name: str) -> np.ndarray:
    """Returns the variable ``name`` of a MATLAB file in one dimension; cells of text become text.

    Raises:
        FileNotFoundError: no such file. ValueError: it cannot be read, or has no such variable.
    """
    try:
        values = loadmat(path)[name].ravel()
    except (ValueError, TypeError, KeyError, NotImplementedError, MatReadError, zlib.error) as error:
        raise ValueError(f"Expected an intact MATLAB file with {name}, got {path} that cannot be read "
                         f"({error}).") from error
    return np.array([str(np.ravel(value)[0]) for value in values]) if values.dtype == object else values


def read_numbers(path: Path, n: int, *, optional: bool = False) -> np.ndarray:
    """Returns the first word of each line of a text file as a number, NaN where it is none.

    Args:
        path: a list in the order of the images.
        n: how many lines are expected.
        optional: a file that is not there gives NaN.

    Raises:
        FileNotFoundError: no such file. ValueError: another number of lines.
    """
    if optional and not path.is_file():
        return np.full(n, np.nan)
    words = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
    if len(words) != n:
        raise ValueError(f"Expected one line in {path.name} for each of {n} images, got {len(words)}; get the release "
                         "again.")
    return pd.to_numeric(pd.Series(words), errors="coerce").to_numpy(float)


def locate_images(release: Path, folder: str, names: list[str], endings: tuple[str, ...] = ()) -> tuple[list, list]:
    """Returns the path of each listed image relative to the release, and whether it is there.

    Names, which may begin with folders, match exactly, else without regard to case, else with one of the ``endings``
    in place of their own; an image that is not there keeps the listed name. ``folder`` may be "", the release itself.
    """
    base = release / folder
    files = sorted(path.relative_to(base).as_posix() for path in base.rglob("*"))
    by_name = {name.lower(): name for name in files} | {name: name for name in files}

    def find(name: str) -> str | None:
        stem = name.rpartition(".")[0].lower()
        candidates = [name, name.lower(), *(stem + ending for ending in endings)]
        return next((by_name[candidate] for candidate in candidates if candidate in by_name), None)

    found = [find(name) for name in names]
    paths = [PurePosixPath(folder, file or name).as_posix() for file, name in zip(found, names)]
    return paths, [file is not None for file in found]


def make_table(columns: dict) -> pd.DataFrame:
    """Returns the index columns, empty where not given, and ``present``."""
    table = pd.DataFrame(columns)
    return table.reindex(columns=[*INDEX_COLUMNS, "present"])


def both(there: list[bool], reference_there: list[bool]) -> list[bool]:
    """Returns whether an image counts as there: it and its reference are."""
    return [image and reference for image, reference in zip(there, reference_there)]
