"""SRIJ, super-resolved images with the single ratings of 43 people: from the tables of its release to index.csv.

J. Beron, H. D. Benitez-Restrepo, A. C. Bovik, Blind image quality assessment for super resolution via optimal feature
selection, IEEE Access 8, 2020. Layout: mos.csv (file, content, ground_truth, method, scale, is_ground_truth, mos,
mos_std_over_kept_subjects, n_kept), raw_scores.csv (image, then a column for each person), images/, ground_truth/. The
repository keeps the same numbers in MATLAB files and the same pixels in TIFF.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from iqa_lab.data_scripts.release_files import both, find_release, locate_images, make_table

SIZES = {(528, 528)}
METHODS = {"bicubic": "bicubic", "Yang10": "yang2010", "Dong11": "dong2011", "Yang13": "yang2013", "Timo13": "timofte2013",
           "SRCNN": "srcnn", "srgan": "srgan"}
COLUMNS = ("file", "content", "ground_truth", "method", "scale", "is_ground_truth", "mos", "mos_std_over_kept_subjects",
           "n_kept")


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the release folder and one row per distorted image: the index columns and ``present``.

    Raises:
        FileNotFoundError: the tables are not there. ValueError: a column is missing, or a method is unknown.
    """
    release = find_release(source, "raw_scores.csv")
    table = pd.read_csv(release / "mos.csv")
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise ValueError(f"Expected the columns {', '.join(COLUMNS)} in {release / 'mos.csv'}, got no {', '.join(missing)}.")
    table = table[table["is_ground_truth"] == 0].reset_index(drop=True)
    unknown = sorted(set(table["method"]) - set(METHODS))
    if unknown:
        raise ValueError(f"Expected the methods {', '.join(METHODS)} in {release / 'mos.csv'}, got {', '.join(unknown)}.")
    images, there = locate_images(release, "", table["file"].tolist())
    references, reference_there = locate_images(release, "", table["ground_truth"].tolist())
    return release, make_table({
        "image": images, "reference": references, "content": table["content"], "distortion": table["method"].map(METHODS),
        "level": table["scale"], "mos": table["mos"], "mos_std": table["mos_std_over_kept_subjects"],
        "n_ratings": table["n_kept"], "present": both(there, reference_there)})


def parse_ratings(release: Path) -> pd.DataFrame:
    """Returns the single ratings, 0 to 100, of all 43 people: columns ``image, person, rating``.

    Raises:
        ValueError: the table has other images than mos.csv.
    """
    table, scores = pd.read_csv(release / "raw_scores.csv"), pd.read_csv(release / "mos.csv")
    paths = {Path(file).stem: file for file in scores["file"]}
    if set(table["image"]) != set(paths):
        raise ValueError(f"Expected the images of mos.csv in {release / 'raw_scores.csv'}, got others; get both again.")
    table = table.assign(image=locate_images(release, "", [paths[name] for name in table["image"]])[0])
    return table.melt("image", var_name="person", value_name="rating").dropna()
