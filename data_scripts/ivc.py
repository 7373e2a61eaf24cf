"""IRCCyN/IVC image quality database: from the official release to index.csv.

Le Callet and Autrusseau, Subjective quality assessment IRCCyN/IVC database, 2005. Layout: color/ with ten references
and 185 distorted images (avion.bmp, avion_j2000_r1.bmp), monochrome/, readme.txt and MOS.xls. The sheet is a
reconstruction from a copy as text (MOS.txt in github.com/obartra/ssim): a column MOS of 185 numbers without names, in
alphabetical order of the distorted images of color/. All 185 agree with an independent list that has the names.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from iqa_lab.data_scripts.release_files import both, find_sheet, locate_images, make_table, read_sheet

SIZES = None
LEVELS = (1, 2, 3, 4, 5)
KINDS = {"flou": ("blur", "f"), "j2000": ("jpeg2000", "r"), "jpeg": ("jpeg", "r"),
         "jpeg_lumichr": ("jpeg_lumichr", "r"), "lar": ("lar_coding", "r")}  # flou: blurred; letter before the level
VERSIONS = {"avion": "j2000 jpeg", "barba": "flou j2000 jpeg jpeg_lumichr lar", "boats": "flou j2000 jpeg lar",
            "clown": "j2000 jpeg jpeg_lumichr lar", "fruit": "flou j2000 jpeg jpeg_lumichr lar",
            "house": "j2000 jpeg lar", "isabe": "j2000 jpeg jpeg_lumichr", "lenat": "flou j2000 jpeg lar",
            "mandr": "j2000 jpeg jpeg_lumichr lar", "pimen": "j2000 jpeg lar"}


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the release folder and one row per distorted colour image: the index columns and ``present``.

    Raises:
        FileNotFoundError: the sheet is not there. ValueError: it cannot be read, or has another number of scores.
    """
    path = find_sheet(source, "MOS")
    scores = read_sheet(path, ("MOS",))["MOS"]
    rows = sorted((f"{content}_{kind}_{KINDS[kind][1]}{level}.bmp", content, KINDS[kind][0], level)
                  for content, kinds in VERSIONS.items() for kind in kinds.split() for level in LEVELS)
    names, contents, distortions, levels = zip(*rows)
    if len(scores) != len(names):
        raise ValueError(f"Expected {len(names)} scores in {path}, one for each colour image, got {len(scores)}; get "
                         "the release again.")
    images, there = locate_images(path.parent, "color", names)
    references, reference_there = locate_images(path.parent, "color", [f"{content}.bmp" for content in contents])
    return path.parent, make_table({
        "image": images, "reference": references, "content": contents, "distortion": distortions, "level": levels,
        "mos": pd.to_numeric(scores, errors="coerce"), "present": both(there, reference_there)})
