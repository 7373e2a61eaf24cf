"""AVA: from the official lists and the photographs to index.csv.

Murray, Marchesotti, Perronnin, AVA: a large-scale database for aesthetic visual analysis, CVPR 2012. Layout, from the
release's readme: AVA.txt with 15 numbers per line (index, image, votes for 1 to 10, two tags, contest). The release has
no photographs; copies keep them as images/953619.jpg or image/953619.jpg, a reconstruction from public code.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from iqa_lab.data_scripts.release_files import find_release, locate_images, make_table

SIZES = None
FOLDERS = ("images", "image")
MARKS = np.arange(1, 11)
N_COLUMNS = 15


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the release folder and one row per listed photograph: the index columns and ``present``.

    ``mos`` is the mean and ``mos_std`` the standard deviation (n - 1) of the votes.

    Raises:
        FileNotFoundError: the list is not there. ValueError: it has another number of columns.
    """
    release = find_release(source, "AVA.txt")
    lists = pd.read_csv(release / "AVA.txt", sep=r"\s+", header=None, names=range(N_COLUMNS + 1))
    n_found = lists.notna().sum(axis=1)
    if (n_found != N_COLUMNS).any():
        line = (n_found != N_COLUMNS).idxmax()
        raise ValueError(f"Expected {N_COLUMNS} numbers per line in {release / 'AVA.txt'}, got {n_found[line]} in line "
                         f"{line + 1}; get the list again.")
    identities = lists[1].astype(str).tolist()
    n_ratings, mos, deviations = summarise_votes(lists.loc[:, 2:11].to_numpy(float))
    folder = next((name for name in FOLDERS if (release / name).is_dir()), FOLDERS[0])
    images, there = locate_images(release, folder, [f"{identity}.jpg" for identity in identities])
    return release, make_table({"image": images, "content": identities, "mos": mos, "mos_std": deviations,
                                "n_ratings": n_ratings, "present": there})


def summarise_votes(votes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns number, mean and standard deviation (n - 1) of votes for 1 to 10, shape (N, 10); NaN without votes."""
    n = votes.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = votes @ MARKS / n
        variance = (votes * (MARKS - mean[:, None]) ** 2).sum(axis=1) / (n - 1)
    return n.astype(int), mean, np.sqrt(variance)
