"""Every full-reference system gives the number of its authors' code (reference_values/<metric>.csv)."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic_images import synthetic_image

from iqa_lab import METRICS as REGISTRY
from iqa_lab import create_metric, load_database, load_image

FOLDER = Path(__file__).parent / "reference_values"
METRICS = tuple(name for name, row in REGISTRY.items() if row.kind != "NR" and (FOLDER / f"{name}.csv").exists())
ROWS = [(metric, row) for metric in METRICS for row in csv.DictReader((FOLDER / f"{metric}.csv").open())]


def read(name: str) -> torch.Tensor:
    """Returns the image of a reference row: synthetic:NAME, embedded:PATH, or a file under $IQA_LAB_DATA/golden."""
    kind, _, rest = name.partition(":")
    if kind == "synthetic":
        return torch.from_numpy(synthetic_image(rest).transpose(2, 0, 1) / 255)[None]
    if kind == "embedded":
        return load_image(load_database("embedded").root / rest).double()
    if "IQA_LAB_DATA" not in os.environ:
        pytest.skip("needs the golden images: set IQA_LAB_DATA")
    path = Path(os.environ["IQA_LAB_DATA"]) / "golden" / name
    if path.suffix == ".gif":  # the palette index is the gray value
        return torch.from_numpy(np.array(Image.open(path), dtype=float) / 255)[None, None]
    return load_image(path).double()


@pytest.fixture
def create(monkeypatch):
    """create_metric that downloads nothing: a system whose official weights are not on this machine is left out."""
    def offline(*_, **__):
        raise ConnectionError("tests download nothing")

    def at_hand(name: str) -> torch.nn.Module:
        try:
            return create_metric(name)
        except FileNotFoundError as error:
            pytest.skip(f"official weights are not here: {error}")

    monkeypatch.setattr("iqa_lab.downloads.download", offline)
    return at_hand


@pytest.mark.parametrize("metric, row", ROWS, ids=[f"{metric}-{row['distorted']}" for metric, row in ROWS])
def test_equals_the_authors_value(metric, row, create):
    score = create(metric)(read(row["distorted"]), read(row["reference"])).item()
    assert score == pytest.approx(float(row["value"]), abs=float(row["tolerance"]))


@pytest.mark.parametrize("metric", METRICS)
def test_float32_agrees_with_float64(metric, create):
    pair = read("synthetic:noise"), read("synthetic:ref")
    scores = [create(metric)(*(image.to(dtype) for image in pair)).item() for dtype in (torch.float32, torch.float64)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)
