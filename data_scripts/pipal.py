"""PIPAL, the public training part: from the official release to index.csv.

Gu et al., PIPAL: a large-scale image quality assessment dataset for perceptual image restoration, ECCV 2020. Layout:
Train_Ref/A0001.bmp, Distortion_1/ to Distortion_4/ with A0001_00_00.bmp (reference, group of distortions, number),
Train_Label/A0001.txt with "A0001_00_00.bmp,1520.0648" per line. What the seven groups are is not stated with the files.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from iqa_lab.data_scripts.release_files import both, find_release, locate_images, make_table

SIZES = None
NAME = re.compile(r"(A\d{4})_(\d\d)_\d\d\.bmp")


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the release folder and one row per listed image: the index columns and ``present``.

    Raises:
        FileNotFoundError: the lists are not there. ValueError: they have other names.
    """
    release = find_release(source, "Train_Label")
    lists = sorted((release / "Train_Label").glob("A*.txt"))
    if not lists:
        raise FileNotFoundError(f"Expected lists like A0001.txt in {release / 'Train_Label'}, found none; get the "
                                "release again.")
    scores = pd.concat([pd.read_csv(path, header=None, names=["image", "mos"]) for path in lists], ignore_index=True)
    groups = [_parse_name(name) for name in scores["image"]]
    folders = {path.name: path.parent.name for path in release.glob("Distortion_*/*")}
    names = [f"{folders.get(name, 'Distortion_1')}/{name}" for name in scores["image"]]
    images, there = locate_images(release, "", names)
    references, reference_there = locate_images(release, "Train_Ref", [f"{content}.bmp" for content, _ in groups])
    return release, make_table({
        "image": images, "reference": references, "content": [content for content, _ in groups],
        "distortion": [f"group_{group}" for _, group in groups], "mos": pd.to_numeric(scores["mos"], errors="coerce"),
        "present": both(there, reference_there)})


def _parse_name(name: str) -> tuple[str, str]:
    match = NAME.fullmatch(str(name))
    if not match:
        raise ValueError(f"Expected image names like A0001_03_14.bmp in Train_Label, got {name!r}.")
    return match[1], match[2]
