"""PieAPP: from the official release to index.csv and pairs.csv.

Prashnani, Cai, Mostofi, Sen, PieAPP: perceptual image-error assessment through pairwise preference, CVPR 2018. Layout,
from the release's readme: reference_images/, distorted_images/ with a folder for each reference, and
labels/{train,val,test}/ref_1_pairwise_labels.csv with the columns reference, image A, image B, share of people who
prefer A, and for training and validation the share after the authors' estimate of pairs nobody was asked about. That
reference_images/ and distorted_images/ have the folders train, val and test is a reconstruction from public code.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from iqa_lab.data_scripts.release_files import both, find_release, locate_images, make_table

SIZES = None
NAME = re.compile(r"distort_\d+_(.+)_(?:inter|intra)[^_]*_[^_]+\.png")
N_RATINGS = 40  # for each pair that people were asked about
COLUMNS = ("reference", "first", "second", "asked", "estimated")


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the release folder and one row per distorted image, without scores: the index columns and ``present``.

    Raises:
        FileNotFoundError: the lists are not there. ValueError: they have other columns or names.
    """
    release = find_release(source, "labels/train")
    labels = _read_labels(release)
    stacked = pd.concat([labels.assign(image=labels[side]) for side in ("first", "second")])
    table = stacked.drop_duplicates("image").sort_values("image", ignore_index=True)
    names = [Path(image).name for image in table["image"]]
    unknown = next((name for name in names if not NAME.fullmatch(name)), None)
    if unknown:
        raise ValueError(f"Expected image names like distort_1_blur_inter_3.png in {release / 'labels'}, got "
                         f"{unknown!r}.")
    images, there = locate_images(release, "", table["image"].tolist())
    references, reference_there = locate_images(release, "", table["reference"].tolist())
    return release, make_table({
        "image": images, "reference": references, "content": [Path(name).stem for name in references],
        "distortion": [NAME.fullmatch(name)[1] for name in names], "split": table["split"],
        "present": both(there, reference_there)})


def parse_pairs(release: Path) -> pd.DataFrame:
    """Returns the comparisons: first and second image, share of people who prefer the first, how many, split.

    Pairs with the reference itself, which test lists have too, are left out: a full-reference metric cannot miss them.
    """
    labels = _read_labels(release)
    asked, estimated = (pd.to_numeric(labels[column], errors="coerce") for column in ("asked", "estimated"))
    return labels.assign(preference=estimated.fillna(asked),
                         n_ratings=asked.notna().map({True: N_RATINGS, False: None}))


def _read_labels(release: Path) -> pd.DataFrame:
    return pd.concat([_read_list(path) for path in sorted(release.glob("labels/*/*_pairwise_labels.csv"))],
                     ignore_index=True)


def _read_list(path: Path) -> pd.DataFrame:
    split = path.parent.name
    table = pd.read_csv(path, skipinitialspace=True)
    if table.shape[1] < len(COLUMNS) - 1:
        raise ValueError(f"Expected the columns reference, A, B and preference in {path}, got {list(table.columns)}.")
    table = table.iloc[:, :len(COLUMNS)].set_axis(COLUMNS[:table.shape[1]], axis=1).reindex(columns=COLUMNS)
    table = table[~table[["first", "second"]].isin(set(table["reference"])).any(axis=1)]
    folder = table["reference"].str.removesuffix(".png")
    return table.assign(split=split, reference=f"reference_images/{split}/" + table["reference"],
                        **{side: f"distorted_images/{split}/" + folder + "/" + table[side]
                           for side in ("first", "second")})
