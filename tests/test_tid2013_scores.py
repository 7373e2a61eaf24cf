"""The committed table of scores on TID2013 images: complete, and at the release's own values where it has some."""

from pathlib import Path

import pandas as pd
import pytest

from iqa_lab.data_scripts.tid2013_scores import LARGEST, OFFICIAL, SYSTEMS, agreement

TABLE = Path(__file__).parent.parent / "results" / "tid2013_scores.csv"


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(TABLE).set_index("metric")


def test_every_training_free_system_with_a_reference_has_its_row(table):
    assert list(table.index) == SYSTEMS and len(SYSTEMS) >= 20
    assert (table["n"] == 116).all() and table["srocc"].between(0.4, 0.95).all()


def test_the_official_values_are_met_to_their_four_digits(table):
    rows = table.loc[list(OFFICIAL)]
    assert (rows["official_file"] == [f"{file}.txt" for file, _ in OFFICIAL.values()]).all()
    assert (rows["median_difference"] < 5e-5).all()
    assert (rows["largest_difference"] < 3e-4).all()  # a pixel whose luma ends in .5 may be rounded up instead of down
    assert table.drop(index=list(OFFICIAL))["official_file"].isna().all()


def test_an_infinite_score_ranks_first():
    values = agreement([1.0, float("inf"), 2.0], [1, 3, 2])
    assert values == {"srocc": 1.0, "krocc": 1.0} and LARGEST > 1000
