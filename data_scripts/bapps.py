"""BAPPS, the two-alternative forced choices: from the official release to index.csv and pairs.csv.

Zhang, Isola, Efros, Shechtman, Wang, The unreasonable effectiveness of deep features as a perceptual metric, CVPR 2018.
Layout, from the authors' repository: 2afc/{train,val}/FAMILY/{ref,p0,p1}/000000.png and judge/000000.npy, the share of
people for whom p1 is closer to the reference. Training sets have two judgements for a triplet, validation sets five.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from iqa_lab.data_scripts.release_files import find_release, make_table

SIZES = None
N_RATINGS = {"train": 2, "val": 5}


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the folder 2afc and one row per distorted patch, without scores: the index columns and ``present``.

    Raises:
        FileNotFoundError: no judgements.
    """
    release = find_release(source, "val/superres/judge")
    there = {path.relative_to(release).as_posix() for path in release.rglob("*.png")}
    triplets = [path.relative_to(release) for path in _judgements(release)]
    rows = pd.DataFrame([{"image": _patch(triplet, side), "reference": _patch(triplet, "ref"),
                          "content": (triplet.parents[1] / triplet.stem).as_posix(), "split": triplet.parts[0],
                          "distortion": triplet.parts[1]} for triplet in triplets for side in ("p0", "p1")])
    return release, make_table(rows.assign(present=rows["image"].isin(there) & rows["reference"].isin(there)))


def parse_pairs(release: Path) -> pd.DataFrame:
    """Returns the comparisons: first and second patch, share of people who prefer the first, how many, split.

    Raises:
        ValueError: a judgement cannot be read.
    """
    triplets = [path.relative_to(release) for path in _judgements(release)]
    preference = [1 - _read_judgement(release / triplet) for triplet in triplets]
    return pd.DataFrame({"first": [_patch(triplet, "p0") for triplet in triplets],
                         "second": [_patch(triplet, "p1") for triplet in triplets], "preference": preference,
                         "n_ratings": [N_RATINGS[triplet.parts[0]] for triplet in triplets],
                         "split": [triplet.parts[0] for triplet in triplets]})


def _judgements(release: Path) -> list[Path]:
    return sorted(path for part in N_RATINGS for path in release.glob(f"{part}/*/judge/*.npy"))


def _patch(triplet: Path, side: str) -> str:
    return (triplet.parents[1] / side / f"{triplet.stem}.png").as_posix()


def _read_judgement(path: Path) -> float:
    try:
        return float(np.load(path).item())
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"Expected one number in {path}, it cannot be read ({error}); get the release "
                         "again.") from error
