"""KADID-10k: from the official release to index.csv.

Lin, Hosu, Saupe, KADID-10k: a large-scale artificially distorted IQA database, QoMEX 2019. Layout: images/ with the
references (I01.png) and their versions (I01_25_05.png), dmos.csv (dist_img, ref_img, dmos, var). The release calls the
score DMOS, but higher is better; var is the variance of the ratings.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from iqa_lab.data_scripts.release_files import both, find_release, locate_images, make_table
from iqa_lab.database_facts import KADID10K_DISTORTIONS

SIZES = {(512, 384)}
NAME = re.compile(r"(I\d\d)_(\d\d)_(\d\d)\.png", re.IGNORECASE)


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the release folder and one row per listed image: the index columns and ``present``.

    Raises:
        FileNotFoundError: the list is not there. ValueError: it has other columns or names.
    """
    release = find_release(source, "dmos.csv")
    scores = pd.read_csv(release / "dmos.csv", dtype={"dist_img": str, "ref_img": str})
    expected = ["dist_img", "ref_img", "dmos", "var"]
    if not set(expected) <= set(scores.columns):
        raise ValueError(f"Expected the columns {expected} in {release / 'dmos.csv'}, got {list(scores.columns)}.")
    parts = [_parse_name(name) for name in scores["dist_img"]]
    images, there = locate_images(release, "images", scores["dist_img"].tolist())
    references, reference_there = locate_images(release, "images", scores["ref_img"].tolist())
    return release, make_table({
        "image": images, "reference": references, "content": [content for content, _, _ in parts],
        "distortion": [KADID10K_DISTORTIONS[kind - 1] for _, kind, _ in parts], "level": [level for *_, level in parts],
        "mos": pd.to_numeric(scores["dmos"], errors="coerce"),
        "mos_std": np.sqrt(pd.to_numeric(scores["var"], errors="coerce")), "present": both(there, reference_there)})


def _parse_name(name: str) -> tuple[str, int, int]:
    match = NAME.fullmatch(str(name))
    if not match or not 1 <= int(match[2]) <= len(KADID10K_DISTORTIONS):
        raise ValueError(f"Expected image names like I01_25_05.png in dmos.csv, got {name!r}.")
    return match[1].upper(), int(match[2]), int(match[3])
