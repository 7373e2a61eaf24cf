"""BIQ2021: from the official repository to index.csv.

Ahmed and Asif, BIQ2021: a large-scale blind image quality assessment database, Journal of Electronic Imaging 31(5),
2022. Layout: Images/, "Train (Images and MOS).csv" and "Test (Images and MOS).csv"; one name differs in case.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from iqa_lab.data_scripts.release_files import find_release, locate_images, make_table

SIZES = None  # 512 x 512, but at least one image is 502 x 503
LISTS = {"train": "Train (Images and MOS).csv", "test": "Test (Images and MOS).csv"}


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the release folder and one row per listed image: the index columns and ``present``.

    Raises:
        FileNotFoundError: a list is not there. ValueError: a list has other columns.
    """
    release = find_release(source, LISTS["train"])
    lists = pd.concat([_read(release / file).assign(split=split) for split, file in LISTS.items()], ignore_index=True)
    names = lists["Image Name"].tolist()
    images, there = locate_images(release, "Images", names)
    return release, make_table({"image": images, "content": [Path(name).stem for name in names],
                                "mos": pd.to_numeric(lists["MOS"], errors="coerce"), "split": lists["split"],
                                "present": there})


def _read(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, encoding="utf-8-sig").dropna(how="all")
    if not {"Image Name", "MOS"} <= set(table.columns):
        raise ValueError(f"Expected the columns 'Image Name' and 'MOS' in {path}, got {list(table.columns)}.")
    return table
