"""LIVE Image Quality Assessment Database, release 2: from the official release to index.csv.

Sheikh, Sabir, Bovik, A statistical evaluation of recent full reference image quality assessment algorithms, IEEE TIP
15(11), 2006. Layout, from the release's readme: refnames_all.mat (reference of each image), the folders below with
img1.bmp, img2.bmp, ..., and refimgs/. All lists join the folders in this order. dmos_realigned.mat (dmos_new, dmos_std,
orgs) was added later; where ``orgs`` is 1, the image is a copy of its reference and is left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from iqa_lab.data_scripts.release_files import both, find_release, locate_images, make_table, read_matlab

SIZES = None  # most are 768 x 512
COUNTS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}  # images in each folder
KINDS = {"jp2k": "jpeg2000", "jpeg": "jpeg", "wn": "white_noise", "gblur": "gaussian_blur",
         "fastfading": "fast_fading"}


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the release folder and one row per distorted image: the index columns and ``present``.

    Raises:
        FileNotFoundError: the lists are not there. ValueError: they contradict each other, or are damaged.
    """
    release = find_release(source, "refnames_all.mat")
    references = read_matlab(release / "refnames_all.mat", "refnames_all")
    dmos, deviations, copies = (read_matlab(release / "dmos_realigned.mat", key)
                                for key in ("dmos_new", "dmos_std", "orgs"))
    folders = [(folder, i) for folder, count in COUNTS.items() for i in range(1, count + 1)]
    if not len(references) == len(dmos) == len(deviations) == len(copies) == len(folders):
        raise ValueError(f"Expected {len(folders)} entries in the lists of {release}, got {len(references)} references "
                         f"and {len(dmos)}, {len(deviations)}, {len(copies)} in dmos_realigned.mat; get them again.")
    distorted = np.flatnonzero(copies == 0)
    images, there = locate_images(release, "", [f"{folders[i][0]}/img{folders[i][1]}.bmp" for i in distorted])
    names, reference_there = locate_images(release, "refimgs", references[distorted].tolist())
    return release, make_table({
        "image": images, "reference": names, "content": [Path(name).stem for name in references[distorted]],
        "distortion": [KINDS[folders[i][0]] for i in distorted], "mos": dmos[distorted].astype(float),
        "mos_std": deviations[distorted].astype(float), "present": both(there, reference_there)})
