"""Checks a database on this machine against what was recorded when it was made."""

from __future__ import annotations

import csv
import json

import numpy as np
from PIL import Image

from iqa_lab.data_scripts.prepare import RELEASES, undecodable
from iqa_lab.databases import Database, index_folder, load_database
from iqa_lab.downloads import check_file, hash_file
from iqa_lab.embedded.build import check_hashes, hash_pixels, read_hashes


def verify(name: str) -> str:
    """Returns a line that says what was checked and found right.

    Checked are: for ``embedded`` the pixels of every image; for shipped databases the bytes of every file; for
    prepared ones the index, the pairs, the single ratings, downloaded archives, and that every image still decodes.

    Raises:
        FileNotFoundError: the database, or a file of it, is not there. ValueError, RuntimeError: a difference.
    """
    database = load_database(name)
    files = {*database.index["image"], *database.index["reference"].dropna()}
    missing = sorted(file for file in files if not (database.root / file).is_file())
    if missing:
        raise FileNotFoundError(f"Expected {len(files)} images of {name!r} in {database.root}, {len(missing)} are "
                                f"missing, the first is {missing[0]}.")
    check = _verify_embedded if name == "embedded" else _verify_prepared if name in RELEASES else _verify_shipped
    return f"{name}: {check(database, sorted(files))}"


def _verify_embedded(database: Database, files: list[str]) -> str:
    def pixels(file: str) -> np.ndarray:
        with Image.open(database.root / file) as image:
            return np.asarray(image)

    check_hashes({file: hash_pixels(pixels(file)) for file in files}, read_hashes())
    return f"{len(files)} images have the published pixels"


def _verify_shipped(database: Database, files: list[str]) -> str:
    with (database.root / "hashes.csv").open(newline="") as file:
        stored = {row["file"]: row["sha256"] for row in csv.DictReader(file)}
    wrong = [file for file in [*files, "index.csv"] if stored.get(file) != hash_file(database.root / file)]
    if wrong:
        raise ValueError(f"Expected the files that hashes.csv describes in {database.root}, {len(wrong)} differ, the "
                         f"first is {wrong[0]}; install iqa-lab again.")
    return f"{len(files)} images and index.csv have the shipped bytes"


def _verify_prepared(database: Database, files: list[str]) -> str:
    folder = index_folder(database.name)
    source = json.loads((folder / "source.json").read_text(encoding="utf-8"))
    again = f"run `iqa-lab data prepare {database.name}` again"
    for table in ("index", "pairs", "ratings"):
        if f"{table}_sha256" in source and hash_file(folder / f"{table}.csv") != source[f"{table}_sha256"]:
            raise ValueError(f"Expected the table that was prepared in {folder / table}.csv, it has been changed; {again}.")
    for record in folder.glob("downloads/*.sha256"):
        if record.with_suffix("").is_file():
            check_file(record.with_suffix(""), None)
    bad = undecodable(database.root, files, RELEASES[database.name].SIZES)
    if bad:
        raise ValueError(f"Expected images that decode in {database.root}, {len(bad)} do not, the first is {bad[0]}.")
    return f"{len(files)} images decode, {source['n_present']} of {source['n_release']} are in the index as prepared"
