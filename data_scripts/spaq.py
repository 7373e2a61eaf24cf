"""SPAQ: from the official release to index.csv.

Fang, Zhu, Zeng, Ma, Wang, Perceptual quality assessment of smartphone photography, CVPR 2020. Layout: TestImage/ with
00001.jpg to 11125.jpg, and "MOS and Image attribute scores.xlsx" (Image name, MOS, Brightness, ...) in Annotations/ or
beside the photographs, as public code finds it.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from iqa_lab.data_scripts.release_files import find_sheet, locate_images, make_table, read_sheet

SIZES = None
FOLDER = "TestImage"


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the release folder and one row per listed image: the index columns and ``present``.

    Raises:
        FileNotFoundError: the sheet is not there. ValueError: it cannot be read, or has other columns.
    """
    path = find_sheet(source, "MOS and Image attribute scores")
    sheet = read_sheet(path, ("Image name", "MOS"))
    release = path.parent if (path.parent / FOLDER).is_dir() else path.parent.parent
    names = sheet["Image name"].str.strip().tolist()
    images, there = locate_images(release, FOLDER, names)
    return release, make_table({"image": images, "content": [Path(name).stem for name in names],
                                "mos": pd.to_numeric(sheet["MOS"], errors="coerce"), "present": there})
