"""MDID, the multiply distorted image database: from the official release to index.csv.

Sun, Zhou, Liao, MDID: a multiply distorted image database for image quality assessment, Pattern Recognition 61, 2017.
Layout, reconstructed from public code that reads it: reference_images/img01.bmp to img20.bmp, distortion_images/ with
80 versions of each (img01_01.bmp), mos.txt with one number per version in this order. mos_std.txt is a guess: without
it, mos_std is empty.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from iqa_lab.data_scripts.release_files import both, find_release, locate_images, make_table, read_numbers

SIZES = None
N_REFERENCES, N_VERSIONS = 20, 80


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the release folder and one row per listed image: the index columns and ``present``.

    Raises:
        FileNotFoundError: the list is not there. ValueError: it has another number of scores.
    """
    release = find_release(source, "mos.txt")
    contents = [f"img{i + 1:02d}" for i in range(N_REFERENCES) for _ in range(N_VERSIONS)]
    names = [f"{content}_{i % N_VERSIONS + 1:02d}.bmp" for i, content in enumerate(contents)]
    images, there = locate_images(release, "distortion_images", names)
    references, reference_there = locate_images(release, "reference_images", [f"{name}.bmp" for name in contents])
    return release, make_table({
        "image": images, "reference": references, "content": contents, "distortion": "multiple",
        "mos": read_numbers(release / "mos.txt", len(names)),
        "mos_std": read_numbers(release / "mos_std.txt", len(names), optional=True),
        "present": both(there, reference_there)})
