"""LIVE in the Wild Image Quality Challenge Database: from the official release to index.csv.

Ghadiyaram and Bovik, Massive Online Crowdsourced Study of Subjective and Objective Picture Quality, IEEE TIP 25(1),
2016. Layout: ChallengeDB_release/Images/ and ChallengeDB_release/Data/All{Images,MOS,StdDev}_release.mat.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from iqa_lab.data_scripts.release_files import find_release, locate_images, make_table, read_matlab

SIZES = None  # 500 x 500 mostly, a few others
N_TRAINING = 7  # t1 to t7 only instructed the subjects; they come first in every list


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the release folder and one row per test image: the index columns and ``present``.

    Raises:
        FileNotFoundError: the lists are not there. ValueError: they contradict each other, or are damaged.
    """
    release = find_release(source, "Data/AllImages_release.mat")
    names, mos, deviations = (read_matlab(release / "Data" / f"All{kind}_release.mat", f"All{kind}_release")
                              for kind in ("Images", "MOS", "StdDev"))
    if not len(names) == len(mos) == len(deviations):
        raise ValueError(f"Expected lists of equal length in {release / 'Data'}, got {len(names)} names, {len(mos)} "
                         f"MOS and {len(deviations)} deviations; get the release again.")
    if any(not str(name).lower().startswith("t") for name in names[:N_TRAINING]):
        raise ValueError(f"Expected the training images t1 to t7 first in the lists of {release}, got {names[:7]}.")
    names = [str(name) for name in names[N_TRAINING:]]
    images, there = locate_images(release, "Images", names)
    return release, make_table({"image": images, "content": [Path(name).stem for name in names],
                                "mos": mos[N_TRAINING:].astype(float), "mos_std": deviations[N_TRAINING:].astype(float),
                                "present": there})
