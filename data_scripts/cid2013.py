"""CID2013, the camera image database: from the official release to index.csv.

Virtanen, Nuutinen, Vaahteranoksa, Oittinen, Hakkinen, CID2013: a database for evaluating no-reference image quality
assessment algorithms, IEEE TIP 24(1), 2015. Layout: IS1/co1/IS_I_C01_D01.jpg and so on (image set, scene, device), and
"CID2013 data - version 12112014.xlsx", whose sheet "CID2013 MOS" has the columns Source_ID and Realigned MOS. The
names of the columns are a reconstruction from public code that reads them.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from iqa_lab.data_scripts.release_files import find_sheet, locate_images, make_table, read_sheet

SIZES = None
NAME = re.compile(r"IS_(I|II|III|IV|V|VI)_C0(\d)_D\d\d", re.IGNORECASE)
SETS = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6}


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the release folder and one row per listed image: the index columns and ``present``.

    ``content`` is the scene, which several image sets share.

    Raises:
        FileNotFoundError: the sheet is not there. ValueError: it cannot be read, or has other columns or names.
    """
    path = find_sheet(source, "CID2013 data - version 12112014")
    sheet = read_sheet(path, ("Source_ID", "Realigned MOS"), sheet="CID2013 MOS").dropna(subset=["Source_ID"])
    names, contents = zip(*(_parse_name(name) for name in sheet["Source_ID"]))
    images, there = locate_images(path.parent, "", list(names))
    return path.parent, make_table({"image": images, "content": contents, "present": there,
                                    "mos": pd.to_numeric(sheet["Realigned MOS"], errors="coerce").to_numpy()})


def _parse_name(name: str) -> tuple[str, str]:
    match = NAME.fullmatch(name.strip().removesuffix(".jpg"))
    if not match:
        raise ValueError(f"Expected names like IS_IV_C03_D12 in the column Source_ID, got {name!r}.")
    return f"IS{SETS[match[1].upper()]}/co{match[2]}/{match[0]}.jpg", f"C0{match[2]}"
