"""TID2008: from the official release to index.csv.

Ponomarenko et al., TID2008 - a database for evaluation of full-reference visual quality assessment metrics, Advances of
Modern Radioelectronics 10, 2009. Layout as TID2013, its successor: mos_with_names.txt, distorted_images/,
reference_images/; the first 17 kinds in the same order, four levels. That mos_std.txt exists here too is a
reconstruction: without it, mos_std is empty.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from iqa_lab.data_scripts.release_files import both, find_release, locate_images, make_table, read_numbers
from iqa_lab.database_facts import DATABASES

SIZES = {(512, 384)}
NAME = re.compile(r"(i\d\d)_(\d\d)_([1-4])\.bmp", re.IGNORECASE)


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the release folder and one row per listed image: the index columns and ``present``.

    Raises:
        FileNotFoundError: the list is not there. ValueError: it is of another database, or contradicts mos_std.txt.
    """
    release = find_release(source, "mos_with_names.txt")
    lines = (release / "mos_with_names.txt").read_text().splitlines()
    names = [line.split()[-1] for line in lines if line.strip()]
    parts = [_parse_name(name) for name in names]
    contents = [content for content, _, _ in parts]
    images, there = locate_images(release, "distorted_images", names)
    references, reference_there = locate_images(release, "reference_images", [f"{name}.BMP" for name in contents])
    return release, make_table({
        "image": images, "reference": references, "content": contents,
        "distortion": [kind for _, kind, _ in parts], "level": [level for *_, level in parts],
        "mos": read_numbers(release / "mos_with_names.txt", len(names)),
        "mos_std": read_numbers(release / "mos_std.txt", len(names), optional=True),
        "present": both(there, reference_there)})


def _parse_name(name: str) -> tuple[str, str, int]:
    kinds = DATABASES["tid2008"].distortions
    match = NAME.fullmatch(name)
    if not match or not 1 <= int(match[2]) <= len(kinds):
        raise ValueError(f"Expected image names like i01_05_3.bmp, kinds 1 to {len(kinds)} and levels 1 to 4, in "
                         f"mos_with_names.txt, got {name!r}; is this TID2013?")
    return match[1].upper(), kinds[int(match[2]) - 1], int(match[3])
