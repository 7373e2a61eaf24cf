"""Our metrics give the numbers that the TID2013 release prints for its images (metrics_values/*.txt), digit by digit.

The release says neither which gray its values are made of nor which variant. What reproduces them is below: luma of
MATLAB's rgb2ycbcr for all but the two colour metrics, and for MSSIM the form of the MeTriX MuX package.
"""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from iqa_lab import load_image
from iqa_lab.full_reference.fsim import fsim, fsimc
from iqa_lab.full_reference.ms_ssim import ms_ssim, ms_ssim_mux
from iqa_lab.full_reference.psnr import psnr, psnr_y
from iqa_lab.full_reference.psnr_hvs import psnr_hvs, psnr_hvs_m
from iqa_lab.full_reference.ssim import ssim
from iqa_lab.full_reference.vif import vifp
from iqa_lab.ops.color import LUMA_STUDIO, rgb_to_luma_studio

PRINTED = 5.01e-5  # half of the last of four decimals, and float64 rounding
EVERY = 7  # every seventh image of the release that is here; all of them pass, with EVERY = 1 in two minutes


def rgb2ycbcr_y(image: torch.Tensor) -> torch.Tensor:
    """Returns Y in the order of MATLAB's products and sums.

    One pixel in 360 000 is a tie, and falls as the last bit has it; ``rgb_to_luma_studio`` rounds ties up.
    """
    red, green, blue = (255 * image).round().unbind(1)
    weights = [weight * (1 / 255) for weight in LUMA_STUDIO]
    y = weights[0] * red + weights[1] * green + weights[2] * blue + 16
    return (y + 0.5).floor()[:, None] / 255


#: value file -> what gives its numbers for (distorted, reference)
METRICS = {
    "PSNR": lambda x, y: psnr_y(x, y, luma=rgb2ycbcr_y),
    "PSNRc": psnr,
    "SSIM": lambda x, y: ssim(x, y, luma=rgb2ycbcr_y),
    "MSSIM": lambda x, y: ms_ssim_mux(x, y, luma=rgb2ycbcr_y),
    "PSNRHVS": lambda x, y: psnr_hvs(x, y, luma=rgb2ycbcr_y),
    "PSNRHVSM": lambda x, y: psnr_hvs_m(x, y, luma=rgb2ycbcr_y),
    "FSIM": lambda x, y: fsim(x, y, luma=rgb2ycbcr_y),
    "FSIMc": fsimc,
    "VIFP": lambda x, y: vifp(x, y, luma=rgb2ycbcr_y),
}

FOLDER = Path(os.environ.get("IQA_LAB_DATA", "")) / "images" / "tid2013"
pytestmark = pytest.mark.skipif("IQA_LAB_DATA" not in os.environ, reason="the official TID2013 files: set IQA_LAB_DATA")


@pytest.fixture(scope="module")
def images() -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
    """Returns row in the value files -> (distorted, reference)."""
    pairs = {}
    for row in list(csv.DictReader((FOLDER / "subset_index.csv").open()))[::EVERY]:
        content, distortion, level = int(row["ref"][-6:-4]), int(row["distortion"]), int(row["level"])
        pairs[(content - 1) * 120 + (distortion - 1) * 5 + level - 1] = tuple(
            load_image(FOLDER / row[name]).double() for name in ("file", "ref"))
    return pairs


def differences(name: str, metric, images) -> np.ndarray:
    """Returns our value minus the printed one; 100000 is how the release prints infinity."""
    printed = np.loadtxt(FOLDER / "metrics_values" / f"{name}.txt")
    ours = {row: metric(*pair).item() for row, pair in images.items()}
    return np.array([min(score, 1e5) - printed[row] for row, score in ours.items()])


@pytest.mark.parametrize("name", METRICS)
def test_equals_every_printed_digit(name, images):
    assert np.abs(differences(name, METRICS[name], images)).max() < PRINTED


@pytest.mark.parametrize("name, metric", [
    ("PSNR", psnr_y),
    ("SSIM", lambda x, y: ssim(x, y, luma=rgb_to_luma_studio)),
    ("PSNRHVS", lambda x, y: psnr_hvs(x, y, luma=rgb_to_luma_studio)),
    ("PSNRHVSM", lambda x, y: psnr_hvs_m(x, y, luma=rgb_to_luma_studio)),
])
def test_a_luma_that_rounds_ties_up_is_as_near_as_a_pixel_allows(name, metric, images):
    assert np.abs(differences(name, metric, images)).max() < 5e-4


def test_the_papers_ms_ssim_is_another_number(images):
    gap = np.abs(differences("MSSIM", lambda x, y: ms_ssim(x, y, luma=rgb2ycbcr_y), images))
    assert 0.01 < gap.max() < 0.04 and np.median(gap) < 2e-3
