"""Makes the shipped database livec_mini from the official release of LIVE in the Wild (LIVEC).

``python -m iqa_lab.data_scripts.make_livec_mini RELEASE``

150 of the release's .JPG photographs (untouched files), spread evenly over the MOS range: of 15 equal steps of MOS,
each gives 10 photographs; what a step with fewer lacks is spread over the others. Within a step a seeded draw
picks from the three quarters with the smaller files, to keep the package small.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from iqa_lab.data_scripts.livec import parse_release
from iqa_lab.data_scripts.shipped_files import write_shipped
from iqa_lab.embedded import SHIPPED

N_IMAGES, N_STEPS, SEED = 150, 15, 2015
SOURCE = """# livec_mini: 150 photographs of the LIVE In the Wild Image Quality Challenge Database

- Original source: Laboratory for Image and Video Engineering (LIVE, http://live.ece.utexas.edu) at the University of
  Texas at Austin; http://live.ece.utexas.edu/research/ChallengeDB/index.html
- Copyright notice and terms: README.txt in this folder, the release's own, in full.
- Cite: D. Ghadiyaram and A. C. Bovik, "Massive Online Crowdsourced Study of Subjective and Objective Picture Quality",
  IEEE Transactions on Image Processing 25(1), 2016; D. Ghadiyaram and A. C. Bovik, "LIVE In the Wild Image Quality
  Challenge Database", 2015.
- Here: {n} of the 1162 test images, chosen by data_scripts/make_livec_mini.py to cover the range of MOS evenly
  ({low:.1f} to {high:.1f}); files untouched. index.csv holds MOS (0 to 100, higher is better) and the standard
  deviation of the ratings from Data/*.mat.
- Left out: the other {rest} test images (all stored as .bmp among them), the seven training images, the .mat files.
- Because the choice is even over MOS, and favours small files, correlations measured here are not those of the whole
  database.
"""


def choose(table: pd.DataFrame, sizes: np.ndarray) -> pd.DataFrame:
    """Returns the chosen rows in the order of the release.

    Args:
        table: rows of the photographs that are there, with column ``mos``.
        sizes: bytes of each one's file.
    """
    random = np.random.RandomState(SEED)
    edges = np.linspace(table["mos"].min(), table["mos"].max(), N_STEPS + 1)
    step = np.clip(np.searchsorted(edges, table["mos"], side="right") - 1, 0, N_STEPS - 1)
    chosen: list[int] = []
    for k, quota in enumerate(quotas(np.bincount(step, minlength=N_STEPS))):
        rows = np.flatnonzero(step == k)
        smaller = rows[np.argsort(sizes[rows], kind="stable")][:max(quota, len(rows) * 3 // 4)]
        chosen += random.permutation(smaller)[:quota].tolist()
    return table.iloc[sorted(chosen)]


def quotas(available: np.ndarray) -> np.ndarray:
    """Returns how many images each step gives: as even as the available numbers allow, N_IMAGES in all."""
    given = np.zeros(len(available), int)
    while given.sum() < N_IMAGES:
        open_steps = np.flatnonzero(given < available)
        given[open_steps[np.argmin(given[open_steps])]] += 1
    return given


def main(source: Path) -> None:
    """Copies the chosen photographs, the release's README.txt, and writes index, hashes and SOURCE.md."""
    release, table = parse_release(source)
    table = table[table["present"] & table["image"].str.endswith(".JPG")].reset_index(drop=True)
    sizes = np.array([(release / image).stat().st_size for image in table["image"]])
    table = choose(table, sizes)
    folder = SHIPPED / "livec_mini"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "Images").mkdir(parents=True)
    for image in table["image"]:
        shutil.copyfile(release / image, folder / image)
    shutil.copyfile(release / "README.txt", folder / "README.txt")
    note = SOURCE.format(n=len(table), low=table["mos"].min(), high=table["mos"].max(), rest=1162 - len(table))
    write_shipped(folder, table, note)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
