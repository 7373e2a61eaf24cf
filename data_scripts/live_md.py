"""LIVE Multiply Distorted Image Quality Database: from the official release to index.csv.

Jayaraman, Mittal, Moorthy, Bovik, Objective quality assessment of multiply distorted images, Asilomar Conference 2012.
Layout, reconstructed from public code that reads it: "Part 1/blurjpeg" and "Part 2/blurnoise" with the images and their
references, each part with Imagelists.mat (distimgs) and Scores.mat (DMOSscores). Scores.mat also has the subjects'
difference scores; how they lead to DMOS is not verified, so mos_std is empty.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from iqa_lab.data_scripts.release_files import both, find_release, locate_images, make_table, read_matlab

SIZES = {(1280, 720)}
PARTS = {"Part 1": ("blurjpeg", 19), "Part 2": ("blurnoise", 18)}  # folder, subjects
#: Every DMOS of part 1 is a multiple of 1/19, of part 2 of 1/18: the subjects follow from the scores.
NAME = re.compile(r"([^_]+)(?:_blur(\d))?(?:_(jpeg|noise)(\d))?\.bmp", re.IGNORECASE)
KINDS = {"jpeg": "jpeg", "noise": "white_noise"}


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the release folder and one row per listed image: the index columns and ``present``.

    ``level`` is empty where an image has two distortions.

    Raises:
        FileNotFoundError: the lists are not there. ValueError: they contradict each other, or are damaged.
    """
    release = find_release(source, "Part 1/Imagelists.mat")
    return release, pd.concat([_parse_part(release, part) for part in PARTS], ignore_index=True)


def _parse_part(release: Path, part: str) -> pd.DataFrame:
    folder, subjects = PARTS[part]
    names = read_matlab(release / part / "Imagelists.mat", "distimgs").tolist()
    dmos = read_matlab(release / part / "Scores.mat", "DMOSscores")
    if len(names) != len(dmos):
        raise ValueError(f"Expected a score for each of the {len(names)} images of {release / part}, got {len(dmos)}; "
                         "get the release again.")
    contents, kinds, levels = zip(*(_parse_name(name) for name in names))
    images, there = locate_images(release, f"{part}/{folder}", names)
    references, reference_there = locate_images(release, f"{part}/{folder}", [f"{name}.bmp" for name in contents])
    return make_table({"image": images, "reference": references, "content": contents, "distortion": kinds,
                       "level": levels, "mos": dmos.astype(float), "n_ratings": subjects,
                       "present": both(there, reference_there)})


def _parse_name(name: str) -> tuple[str, str, float]:
    match = NAME.fullmatch(name)
    if not match or not (match[2] or match[3]):
        raise ValueError(f"Expected image names like bikerace_blur1_jpeg2.bmp in Imagelists.mat, got {name!r}.")
    kinds = ["gaussian_blur"] * bool(match[2]) + [KINDS[kind.lower()] for kind in (match[3],) if kind]
    level = float("nan") if len(kinds) == 2 else int(match[2] or match[4])
    return match[1], "_and_".join(kinds), level
