"""TID2013: from the official release to index.csv.

Ponomarenko et al., Image database TID2013: Peculiarities, results and perspectives, Signal Processing: Image
Communication 30, 2015. Layout: mos_with_names.txt ("5.51429 I01_01_1.bmp", in inconsistent case), mos_std.txt in the
same order, distorted_images/, reference_images/.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from iqa_lab.data_scripts.release_files import find_release, locate_images, make_table
from iqa_lab.database_facts import TID2013_DISTORTIONS

SIZES = {(512, 384)}
NAME = re.compile(r"(i\d\d)_(\d\d)_(\d)\.bmp", re.IGNORECASE)


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the release folder and one row per listed image: the index columns and ``present``.

    Raises:
        FileNotFoundError: the lists are not there. ValueError: they contradict each other.
    """
    release = find_release(source, "mos_with_names.txt")
    rows = [line.split() for line in (release / "mos_with_names.txt").read_text().splitlines() if line.strip()]
    names = [row[-1] for row in rows]
    deviations = (release / "mos_std.txt").read_text().split()
    if len(deviations) != len(rows):
        raise ValueError(f"Expected one line in mos_std.txt for each of the {len(rows)} of mos_with_names.txt, got "
                         f"{len(deviations)}; get the release again.")
    parts = [_parse_name(name) for name in names]
    images, there = locate_images(release, "distorted_images", names, (".png",))
    contents = [content for content, _, _ in parts]
    references, reference_there = locate_images(release, "reference_images", [f"{name}.BMP" for name in contents],
                                                (".png",))
    return release, make_table({
        "image": images, "reference": references, "content": contents,
        "distortion": [TID2013_DISTORTIONS[kind - 1] for _, kind, _ in parts], "level": [level for *_, level in parts],
        "mos": pd.to_numeric([row[0] if len(row) == 2 else None for row in rows], errors="coerce"),
        "mos_std": pd.to_numeric(deviations, errors="coerce"),
        "present": [image and reference for image, reference in zip(there, reference_there)]})


def _parse_name(name: str) -> tuple[str, int, int]:
    match = NAME.fullmatch(name)
    if not match or not 1 <= int(match[2]) <= len(TID2013_DISTORTIONS):
        raise ValueError(f"Expected image names like i01_05_3.bmp in mos_with_names.txt, got {name!r}.")
    return match[1].upper(), int(match[2]), int(match[3])
