"""Waterloo Exploration Database: from the official release to index.csv, without scores, which it has not.

Ma et al., Waterloo Exploration Database: new challenges for image quality assessment models, IEEE TIP 26(2), 2017.
Layout: pristine_images/00001.bmp to 04744.bmp, and MATLAB code that makes the distorted images. Where it writes them is
a reconstruction from public code that reads them: distort_images/jp2k/jp2k_00001_5.jpg and so on, of any ending.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from iqa_lab.data_scripts.release_files import find_release, locate_images, make_table

SIZES = None
KINDS = {"jpg": "jpeg", "jp2k": "jpeg2000", "gblur": "gaussian_blur", "gnoise": "white_noise"}
LEVELS = (1, 2, 3, 4, 5)


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the release folder and one row per distorted image of each pristine one: the index columns, ``present``.

    Raises:
        FileNotFoundError: no pristine images.
    """
    release = find_release(source, "pristine_images")
    pristine = sorted(path.name for path in (release / "pristine_images").glob("*.bmp"))
    if not pristine:
        raise FileNotFoundError(f"Expected images like 00001.bmp in {release / 'pristine_images'}, found none; get the "
                                "release again.")
    rows = [(name, Path(name).stem, kind, level) for name in pristine for kind in KINDS for level in LEVELS]
    references, contents, kinds, levels = zip(*rows)
    names = [f"{kind}/{kind}_{content}_{level}.bmp" for content, kind, level in zip(contents, kinds, levels)]
    images, there = locate_images(release, "distort_images", names, (".jpg", ".jp2", ".png"))
    return release, make_table({
        "image": images, "reference": [f"pristine_images/{name}" for name in references], "content": contents,
        "distortion": [KINDS[kind] for kind in kinds], "level": levels, "present": there})
