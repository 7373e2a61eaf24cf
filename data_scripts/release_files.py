"""Finds the files of a release whose names differ from its own lists in case or ending."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from iqa_lab.embedded.build import INDEX_COLUMNS


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


def locate_images(release: Path, folder: str, names: list[str], endings: tuple[str, ...] = ()) -> tuple[list, list]:
    """Returns the path of each listed image relative to the release, and whether it is there.

    Names match exactly, else without regard to case, else with one of the ``endings`` in place of their own; an
    image that is not there keeps the listed name.
    """
    base = release / folder
    files = sorted(path.name for path in base.iterdir()) if base.is_dir() else []
    by_name = {name.lower(): name for name in files} | {name: name for name in files}

    def find(name: str) -> str | None:
        stem = name.rpartition(".")[0].lower()
        candidates = [name, name.lower(), *(stem + ending for ending in endings)]
        return next((by_name[candidate] for candidate in candidates if candidate in by_name), None)

    found = [find(name) for name in names]
    return [f"{folder}/{file or name}" for file, name in zip(found, names)], [file is not None for file in found]


def make_table(columns: dict) -> pd.DataFrame:
    """Returns the index columns, empty where not given, and ``present``."""
    table = pd.DataFrame(columns)
    return table.reindex(columns=[*INDEX_COLUMNS, "present"])
