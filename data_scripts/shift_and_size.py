"""Measures two things that a full-reference score may hide: what a shift of a few pixels costs, and what a resize changes.

``python -m iqa_lab.data_scripts.shift_and_size [LIVE_BLUR_FOLDER]``, run in the folder of the project, writes

- results/shift_robustness.csv: mean score of the embedded photographs against themselves moved by 0 to 4 pixels, and the
  standard deviation of the Gaussian blur that costs as much: a measure in one unit for all systems. No opinions are
  involved. Every system that compares and whose weights are here.
- results/native_against_256.csv: SROCC of LPIPS and the recipe of DISTS at the images' own size, and with the shorter side
  shrunk to 256 pixels, over SRIJ, LIVE blur and TID2013 where they are prepared; with the bootstrap interval of the
  difference (contents, or images where there is one content).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from iqa_lab import METRICS, create_metric, load_database, load_image
from iqa_lab.data_scripts.deep_full_reference import live_blur
from iqa_lab.databases import Database, quality
from iqa_lab.distortions.blur import gaussian_filter
from iqa_lab.evaluation.bootstrap import bootstrap, differences, percentile_interval
from iqa_lab.evaluation.criteria import srocc
from iqa_lab.evaluation.resampled import srocc_resampled
from iqa_lab.full_reference.dists import shrink
from iqa_lab.training.runs import index_hash

SHIFTS = range(5)
SIGMAS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0)
MARGIN = 32  # cut off around every picture, so that no shift and no blur meets the border
RESIZED = {"lpips_squeeze": {}, "lpips": {}, "dists_like_squeezenet": {"resize": False}}


def shift_rows(names: list[str]) -> Iterator[dict]:
    """Yields the cost of each shift under each system."""
    photographs = [photograph(path) for path in sorted((load_database("embedded").root / "references").glob("*.png"))]
    for name in tqdm(names, unit="system"):
        try:
            metric = create_metric(name)
        except FileNotFoundError:
            continue  # its weights are not here
        sign = 1 if metric.higher_is_better else -1
        blurred = sign * np.mean([scores(metric, blur_versions(photo), photo) for photo in photographs], 0)
        shifted = sign * np.mean([scores(metric, shift_versions(photo), photo) for photo in photographs], 0)
        for shift, cost in zip(SHIFTS, shifted):
            yield {"system": name, "shift": shift, "score": sign * cost, "equal_blur": equal_blur(cost, shifted[0], blurred)}


def photograph(path: Path) -> np.ndarray:
    """Returns the pixels in [0, 1], shape (H, W, 3)."""
    return load_image(path)[0].permute(1, 2, 0).double().numpy()


def blur_versions(photo: np.ndarray) -> list[np.ndarray]:
    return [gaussian_filter(photo, sigma, math.ceil(4 * sigma)) for sigma in SIGMAS]


def shift_versions(photo: np.ndarray) -> list[np.ndarray]:
    """Returns the photograph moved to the left by each number of pixels; what enters on the right is cut off later."""
    return [np.roll(photo, -shift, axis=1) for shift in SHIFTS]


@torch.no_grad()
def scores(metric: nn.Module, versions: list[np.ndarray], photo: np.ndarray) -> np.ndarray:
    """Returns the score of each version, without the margins."""
    cut = [torch.from_numpy(image[MARGIN:-MARGIN, MARGIN:-MARGIN]).permute(2, 0, 1).float() for image in (photo, *versions)]
    reference = cut[0][None]
    return np.array([metric(version[None].clamp(0, 1), reference).item() for version in cut[1:]])


def equal_blur(cost: float, identical: float, blurred: np.ndarray) -> float:
    """Returns the standard deviation of the blur with the same score, in pixels; inf where none of ``SIGMAS`` costs as much.

    Args:
        cost: score of the shifted photograph, higher is better.
        identical: score of the photograph itself; an infinite one is put a little above the weakest blur's.
        blurred: scores of the blurred ones, by rising sigma.
    """
    falling = np.minimum.accumulate(blurred)
    top = identical if np.isfinite(identical) else 2 * falling[0] - falling[1]
    if cost >= top:
        return 0.0
    if cost < falling[-1]:
        return math.inf
    return float(np.interp(-cost, -np.concatenate([[top], falling]), [0, *SIGMAS]))


def size_rows(database: Database, label: str) -> Iterator[dict]:
    """Yields the agreement of each system at both sizes."""
    opinions = quality(database, database.index["mos"].to_numpy(float))
    contents = database.index["content"] if database.index["content"].nunique() > 1 else None
    for name, options in RESIZED.items():
        metric = create_metric(name, **options)
        found = -np.array([both_sizes(metric, *paths) for paths in tqdm(
            list(zip(database.image_paths, database.reference_paths)), unit="image", desc=f"{label} {name}")]).T
        values = bootstrap(srocc_resampled(found, opinions), contents=contents)
        low, high = percentile_interval(differences(values)[:, 0, 1])
        yield {"system": name, "database": label, "n": len(opinions), "srocc_native": srocc(found[0], opinions),
               "srocc_256": srocc(found[1], opinions), "difference_low": low, "difference_high": high,
               "index_sha256": index_hash(database)[:16]}


@torch.no_grad()
def both_sizes(metric: nn.Module, image: Path, reference: Path) -> tuple[float, float]:
    """Returns the distance at the images' own size, and with a shorter side of 256 pixels."""
    pair = load_image(image), load_image(reference)
    return metric(*pair).item(), metric(*map(shrink, pair)).item()


def write(rows: Iterator[dict], file: Path) -> None:
    table = pd.DataFrame(rows).assign(torch=torch.__version__, device="cpu", date=date.today().isoformat())
    table.to_csv(file, index=False, float_format="%.5g")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("live_blur", type=Path, nargs="?", help="folder with index_present.csv, refimgs/ and gblur/")
    arguments = parser.parse_args()
    compared = [name for name, row in METRICS.items() if row.kind != "NR"]
    write(shift_rows(compared), Path("results/shift_robustness.csv"))
    if arguments.live_blur:
        databases = {"srij": load_database("srij"), "live_blur": live_blur(arguments.live_blur), "tid2013": load_database("tid2013")}
        write((row for label, database in databases.items() for row in size_rows(database, label)),
              Path("results/native_against_256.csv"))


if __name__ == "__main__":
    main()
