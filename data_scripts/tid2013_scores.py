"""Scores the TID2013 images that are there with every training-free FR and RR system, beside the release's values.

``python -m iqa_lab.data_scripts.tid2013_scores FOLDER_OF_THE_RELEASE``, run in the folder of the project, writes
results/tid2013_scores.csv: rank correlations with the opinion scores over these images, and, where the release has
values of its own, how far ours are from them and how those rank the same images.
"""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from iqa_lab import METRICS, create_metric
from iqa_lab.data_scripts.tid2013 import parse_release
from iqa_lab.downloads import hash_file
from iqa_lab.evaluation.criteria import krocc, srocc
from iqa_lab.ops.color import rgb_to_luma_studio
from iqa_lab.registry import unwrapped
from iqa_lab.scoring import score_files, to_table

#: System -> value file of the release, and the options under which ours is the same configuration.
OFFICIAL = {
    "psnr": ("PSNRc", {}), "psnr_y": ("PSNR", {}), "ssim": ("SSIM", {"luma": rgb_to_luma_studio}),
    "ms_ssim_mux": ("MSSIM", {"luma": rgb_to_luma_studio}), "fsim": ("FSIM", {"luma": rgb_to_luma_studio}),
    "fsimc": ("FSIMc", {}), "vifp": ("VIFP", {"luma": rgb_to_luma_studio}),
    "psnr_hvs": ("PSNRHVS", {"luma": rgb_to_luma_studio}), "psnr_hvs_m": ("PSNRHVSM", {"luma": rgb_to_luma_studio})}
#: The systems that are functions of images; networks, whose weights may be absent, have no row here.
SYSTEMS = [name for name, row in METRICS.items() if row.kind != "NR" and not isinstance(unwrapped(row.create), type)]
LARGEST = 1e5  # what the release writes for an infinite PSNR


def compare(release: Path) -> pd.DataFrame:
    """Returns one row per system: n, SROCC and KROCC with MOS, those of the official values, and the differences.

    Args:
        release: folder with mos_with_names.txt, metrics_values/ and at least some of the images.
    """
    folder, index = parse_release(release)
    present = index["present"].to_numpy(bool)
    images, references = ([folder / name for name in index.loc[present, column]] for column in ("image", "reference"))
    mos, rows = index.loc[present, "mos"].to_numpy(float), []
    for name in SYSTEMS:
        row, sign = {"metric": name, "n": len(mos)}, 1 if METRICS[name].higher_is_better else -1
        row |= agreement(sign * scores_of(create_metric(name), images, references), mos)
        if name in OFFICIAL:
            file, options = OFFICIAL[name]
            values = np.loadtxt(release / "metrics_values" / f"{file}.txt")[present]
            ours = scores_of(create_metric(name, **options), images, references)
            difference = np.abs(np.minimum(ours, LARGEST) - values)
            row |= {"official_file": f"{file}.txt", "options": " ".join(f"{k}={v.__name__}" for k, v in options.items()),
                    "largest_difference": difference.max(), "median_difference": np.median(difference)}
            row |= {f"{key}_official": value for key, value in agreement(sign * values, mos).items()}
        rows.append(row)
        print(row, flush=True)
    return pd.DataFrame(rows).assign(
        mos_sha256=hash_file(release / "mos_with_names.txt")[:16], torch=torch.__version__, device="cpu",
        date=date.today().isoformat())


def scores_of(metric: torch.nn.Module, images: list[Path], references: list[Path]) -> np.ndarray:
    """Returns the score of each pair of files; a score that could not be computed stops everything."""
    table = to_table(score_files([metric], images, references))
    failed = table[table["error"] != ""]
    if len(failed):
        raise ValueError(f"Expected scores for all images, got for {failed['image'].iloc[0]}: {failed['error'].iloc[0]}")
    return table["score"].to_numpy(float)


def agreement(scores: np.ndarray, mos: np.ndarray) -> dict[str, float]:
    """Returns SROCC and KROCC, to five digits; infinite scores take part as the largest."""
    finite = np.clip(scores, -LARGEST, LARGEST)
    return {"srocc": round(srocc(finite, mos), 5), "krocc": round(krocc(finite, mos), 5)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", type=Path, help="folder with mos_with_names.txt, metrics_values/ and images")
    parser.add_argument("--output", type=Path, default=Path("results/tid2013_scores.csv"))
    arguments = parser.parse_args()
    columns = ["metric", "n", "srocc", "srocc_official", "krocc", "krocc_official", "official_file", "options",
               "largest_difference", "median_difference", "mos_sha256", "torch", "device", "date"]
    compare(arguments.release)[columns].to_csv(arguments.output, index=False, float_format="%.6g", lineterminator="\n")


if __name__ == "__main__":
    main()
