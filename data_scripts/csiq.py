"""CSIQ: from the official release to index.csv.

Larson and Chandler, Most apparent distortion: full-reference image quality assessment and the role of strategy, Journal
of Electronic Imaging 19(1), 2010. Layout: src_imgs/, dst_imgs/ with a folder for each kind, csiq.DMOS.xlsx whose sheet
all_by_image has its names in the fourth row (image, dst_idx, dst_type, dst_lev, dmos_std, dmos). The names of files are
those in a public list of the database (github.com/zwx8981/LIQE); the kinds follow from dst_idx, because dst_type is
spelt differently from the files.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from iqa_lab.data_scripts.release_files import both, find_sheet, locate_images, make_table, read_sheet
from iqa_lab.database_facts import DATABASES

SIZES = None
FILES = ("awgn/{}.AWGN.{}.png", "jpeg/{}.JPEG.{}.png", "jpeg2000/{}.jpeg2000.{}.png", "fnoise/{}.fnoise.{}.png",
         "blur/{}.BLUR.{}.png", "contrast/{}.contrast.{}.png")  # for dst_idx 1 to 6


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the release folder and one row per listed image: the index columns and ``present``.

    Raises:
        FileNotFoundError: the table is not there. ValueError: it cannot be read, or names an unknown kind.
    """
    path = find_sheet(source, "csiq.DMOS")
    sheet = read_sheet(path, ("image", "dst_idx", "dst_lev", "dmos_std", "dmos"), sheet="all_by_image")
    kinds, levels = (pd.to_numeric(sheet[column], errors="coerce") for column in ("dst_idx", "dst_lev"))
    bad = ~kinds.isin(range(1, len(FILES) + 1)) | levels.isna()
    if bad.any():
        raise ValueError(f"Expected dst_idx from 1 to {len(FILES)} and a level in {path}, got "
                         f"{sheet.loc[bad, ['image', 'dst_idx', 'dst_lev']].iloc[0].tolist()}; save the sheet again.")
    kinds, levels, contents = kinds.astype(int), levels.astype(int), sheet["image"].str.strip()
    names = [FILES[kind - 1].format(content, level) for kind, content, level in zip(kinds, contents, levels)]
    images, there = locate_images(path.parent, "dst_imgs", names)
    references, reference_there = locate_images(path.parent, "src_imgs", [f"{content}.png" for content in contents])
    return path.parent, make_table({
        "image": images, "reference": references, "content": contents,
        "distortion": [DATABASES["csiq"].distortions[kind - 1] for kind in kinds], "level": levels,
        "mos": pd.to_numeric(sheet["dmos"], errors="coerce"),
        "mos_std": pd.to_numeric(sheet["dmos_std"], errors="coerce"), "present": both(there, reference_there)})
