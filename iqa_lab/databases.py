"""Image quality databases on this machine: their images with opinion scores as a table.

Every database comes as ``index.csv``: one row per rated image, opinion scores in the database's own unit and direction.
:func:`quality` is the one place where directions meet. Where people compared two images instead, ``pairs.csv`` beside
the index has one row per comparison; where a release has the single ratings, ``ratings.csv`` has one row for each.
``iqa_lab.database_facts`` has what is known about every database.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from iqa_lab.database_facts import DATABASES, DatabaseFacts
from iqa_lab.embedded import SHIPPED, cache_folder
from iqa_lab.embedded.build import HASHES, INDEX_COLUMNS, build_embedded

TEXT_COLUMNS = ("image", "reference", "content", "distortion", "split")
PAIR_COLUMNS = ("first", "second", "preference", "n_ratings", "split")
RATING_COLUMNS = ("image", "person", "rating")


@dataclass(frozen=True)
class Database:
    """A database on this machine: its facts, the folder of its images, and its index."""

    facts: DatabaseFacts
    root: Path
    index: pd.DataFrame

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def image_paths(self) -> list[Path]:
        return [self.root / image for image in self.index["image"]]

    @property
    def reference_paths(self) -> list[Path | None]:
        """The pristine image of each row, None where the database has none."""
        return [self.root / name if isinstance(name, str) else None for name in self.index["reference"]]


def load_database(name: str, *, root: str | Path | None = None) -> Database:
    """Returns a database.

    Args:
        name: a key of ``DATABASES``. ``embedded`` is built on first use, ``*_mini`` ship with the package, the others
            are prepared once from their official release: ``iqa-lab data prepare NAME``.
        root: the folder that ``prepare --output`` wrote, if not the usual one.

    Returns:
        Its index has the columns ``image, reference, content, distortion, level, mos, mos_std, n_ratings, split``
        (paths relative to ``root``), empty where the release has no such fact.

    Raises:
        ValueError: unknown name. FileNotFoundError: not prepared, or its images have been moved.
    """
    facts = find_facts(name)
    folder = index_folder(name) if root is None else Path(root)
    if name == "embedded" and not (folder / "index.csv").is_file():
        build_embedded(folder)
    if not (folder / "index.csv").is_file():
        raise FileNotFoundError(f"Expected the index of database {name!r} in {folder}, found none; make it with "
                                f"`iqa-lab data prepare {name} --source FOLDER_OR_ARCHIVE`. {facts.how_to_get}")
    images = image_folder(folder)
    if not images.is_dir():
        raise FileNotFoundError(f"Expected the images of {name!r} in {images}, where they were when it was prepared; "
                                f"move them back or run `iqa-lab data prepare {name} --source FOLDER` again.")
    return Database(facts, images, read_index(folder / "index.csv"))


def load_pairs(name: str, *, root: str | Path | None = None) -> pd.DataFrame:
    """Returns the comparisons of a database whose people compared two images.

    Args:
        name: a database of the score kind "pairs", prepared on this machine.
        root: as for :func:`load_database`.

    Returns:
        Columns ``first, second`` (images of the index, with one reference), ``preference`` (share of people from 0 to
        1 who found the first image closer to the reference), ``n_ratings`` (empty where the share is an estimate of
        the authors) and ``split``.

    Raises:
        ValueError: unknown name, a database with a score per image, or other columns. FileNotFoundError: not prepared.
    """
    facts = find_facts(name)
    if facts.score_kind != "pairs":
        kinds = ", ".join(facts.name for facts in DATABASES.values() if facts.score_kind == "pairs")
        raise ValueError(f"Expected a database of pairs ({kinds}), got {name!r}; use load_database.")
    path = (index_folder(name) if root is None else Path(root)) / "pairs.csv"
    if not path.is_file():
        raise FileNotFoundError(f"Expected the pairs of database {name!r} in {path.parent}, found none; make them with "
                                f"`iqa-lab data prepare {name} --source FOLDER_OR_ARCHIVE`. {facts.how_to_get}")
    return _read_table(path, PAIR_COLUMNS, ("first", "second", "split"))


def load_ratings(name: str, *, root: str | Path | None = None) -> pd.DataFrame:
    """Returns the single ratings behind the opinion scores of a database, where its release has them.

    Args:
        name: a database prepared on this machine.
        root: as for :func:`load_database`.

    Returns:
        A row for each person, a column for each image of the index in its order, NaN where not rated.

    Raises:
        ValueError: unknown name, or other columns. FileNotFoundError: not prepared, or no single ratings in the release.
    """
    folder = index_folder(find_facts(name).name) if root is None else Path(root)
    path = folder / "ratings.csv"
    if not path.is_file():
        raise FileNotFoundError(f"Expected the single ratings of database {name!r} in {folder}, found none: the release has "
                                "none, or it was prepared by an older version; run `iqa-lab data prepare` again.")
    table = _read_table(path, RATING_COLUMNS, ("image", "person"))
    ratings = table.pivot(index="person", columns="image", values="rating")
    return ratings.reindex(columns=read_index(folder / "index.csv")["image"]).rename_axis(columns=None)


def find_facts(name: str) -> DatabaseFacts:
    """Returns the facts of a database; ValueError with a suggestion when there is none of that name."""
    if name not in DATABASES:
        close = difflib.get_close_matches(str(name), DATABASES, 1)
        raise ValueError(f"Unknown database {name!r}; " + (f"did you mean {close[0]!r}?" if close else
                                                           f"choose one of {', '.join(DATABASES)}."))
    return DATABASES[name]


def index_folder(name: str) -> Path:
    """Returns where the index of a database is kept if nobody says otherwise."""
    if (SHIPPED / name / "index.csv").is_file():
        return SHIPPED / name
    if name == "embedded":  # another version of the package may describe other images
        name = f"embedded-{hashlib.sha256(HASHES.read_bytes()).hexdigest()[:8]}"
    return cache_folder() / "databases" / name


def image_folder(folder: Path) -> Path:
    """Returns the folder that the paths of an index start from: the one beside it, or named in ``source.json``."""
    source = folder / "source.json"
    return Path(json.loads(source.read_text(encoding="utf-8"))["root"]) if source.is_file() else folder


def read_index(path: Path) -> pd.DataFrame:
    """Returns an index.csv as a table.

    Raises:
        ValueError: columns are missing.
    """
    return _read_table(path, INDEX_COLUMNS, TEXT_COLUMNS)


def _read_table(path: Path, columns: tuple[str, ...], text_columns: tuple[str, ...]) -> pd.DataFrame:
    # Not every version of pandas reads the last digit of a number as it was written; Python does.
    exact = dict.fromkeys([name for name in ("mos", "mos_std") if name in columns], lambda text: float(text or "nan"))
    table = pd.read_csv(path, dtype=dict.fromkeys(text_columns, str), converters=exact, encoding="utf-8")
    if list(table.columns) != list(columns):
        raise ValueError(f"Expected the columns {', '.join(columns)} in {path}, got {', '.join(table.columns)}.")
    return table


def quality(database: Database | DatabaseFacts, values: np.ndarray | pd.Series) -> np.ndarray | pd.Series:
    """Returns opinion scores so that higher means better: unchanged, or with the sign turned (DMOS).

    Raises:
        ValueError: a database without a human score per image has no direction.
    """
    facts = database.facts if isinstance(database, Database) else database
    if facts.score_kind == "pairs":
        raise ValueError(f"Expected a database with a score per image, got {facts.name!r}, whose people compared "
                         "images; use load_pairs.")
    if facts.higher_is_better is None:
        raise ValueError(f"Expected a database with human scores, got {facts.name!r}, which has none; use the levels "
                         "or a named proxy, and call it a proxy.")
    return values if facts.higher_is_better else -values
