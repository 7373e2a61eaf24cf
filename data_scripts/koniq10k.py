"""KonIQ-10k: download, and from the official release to index.csv.

Hosu, Lin, Sziranyi, Saupe, KonIQ-10k: An ecologically valid database for deep learning of blind image quality
assessment, IEEE TIP 29, 2020. Layout: 1024x768/ or 512x384/ with the photographs, and
koniq10k_distributions_sets.csv (MOS from z-scores on 1 to 100, number of votes, official sets).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from iqa_lab.data_scripts.release_files import find_release, locate_images, make_table
from iqa_lab.downloads import download, extract_archive

SIZES = {(1024, 768), (512, 384)}
SCORES = "koniq10k_distributions_sets.csv"
SCORES_URL = f"https://raw.githubusercontent.com/subpic/koniq/master/metadata/{SCORES}"
IMAGES_URL = "https://datasets.vqa.mmsp-kn.de/archives/koniq10k_512x384.zip"


def fetch_release(folder: Path, images_url: str = IMAGES_URL, scores_url: str = SCORES_URL) -> Path:
    """Returns ``folder/release`` with the downloaded scores and photographs (0.8 GB at 512x384).

    The authors publish no SHA-256, so the one seen at the first download is recorded and checked from then on.

    Raises:
        ConnectionError, ValueError: as :func:`iqa_lab.downloads.download` and ``extract_archive``.
    """
    scores = download(scores_url, folder / SCORES, sha256=None)
    archive = download(images_url, folder / Path(images_url).name, sha256=None)
    release = folder / "release"
    if not release.is_dir():
        extract_archive(archive, release)
    if not (release / SCORES).is_file():
        (release / SCORES).write_bytes(scores.read_bytes())
    return release


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the release folder and one row per listed image: the index columns and ``present``.

    With both sizes there, the larger one is taken: it is the one that people rated.

    Raises:
        FileNotFoundError: the list is not there. ValueError: it has other columns.
    """
    release = find_release(source, SCORES)
    scores = pd.read_csv(release / SCORES, dtype={"image_name": str})
    expected = {"image_name", "c_total", "MOS", "set"}
    if not expected <= set(scores.columns):
        raise ValueError(f"Expected the columns {sorted(expected)} in {release / SCORES}, got {list(scores.columns)}.")
    folder = "1024x768" if (release / "1024x768").is_dir() else "512x384"
    names = scores["image_name"].tolist()
    images, there = locate_images(release, folder, names)
    return release, make_table({"image": images, "content": [Path(name).stem for name in names],
                                "mos": pd.to_numeric(scores["MOS"], errors="coerce"), "n_ratings": scores["c_total"],
                                "split": scores["set"], "present": there})
