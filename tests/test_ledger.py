"""The ledger of published correlations: what counts as reproduced, and that no disagreement stands without a reason."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from iqa_lab.data_scripts import ledger

COMMITTED = pd.read_csv(Path(__file__).parent.parent / "results" / "ledger.csv", dtype={"published": str})


@pytest.mark.parametrize("published, ours, expected", [
    ("0.851", 0.85101, "reproduced"), ("0.851", 0.8505, "reproduced"), ("0.606", 0.60690, "reproduced"),  # rounded, or cut
    ("-0.606", -0.60690, "reproduced"), ("0.606", 0.6046, "last digit"), ("0.606", 0.6074, "last digit"),
    ("0.606", 0.603, "differs"), ("0.606", -0.606, "differs"), ("0.60", 0.604999, "reproduced"), ("0.6", 0.81, "differs")])
def test_status(published, ours, expected):
    assert ledger.status(published, ours) == expected


def test_every_disagreement_has_a_reason():
    disagree = COMMITTED[COMMITTED["status"] != "reproduced"]
    assert set(disagree["status"]) <= {"explained", "last digit", "differs"} and disagree["reason"].notna().all()
    explained = COMMITTED[COMMITTED["status"] == "explained"]
    assert [ledger.status(*pair) for pair in zip(explained["published"], explained["with_cause"])] == \
        ["reproduced"] * len(explained)


def test_statuses_follow_from_the_numbers_beside_them():
    rows = COMMITTED[COMMITTED["status"] != "explained"]
    assert [ledger.status(*pair) for pair in zip(rows["published"], rows["ours"])] == list(rows["status"])
    np.testing.assert_allclose(COMMITTED["difference"], COMMITTED["ours"] - COMMITTED["published"].astype(float), atol=2e-6)


@pytest.mark.skipif("IQA_LAB_DATA" not in os.environ, reason="needs the given score tables: set IQA_LAB_DATA")
def test_the_committed_ledger_is_what_the_script_writes():
    table = ledger.recompute(Path(os.environ["IQA_LAB_DATA"]))
    for column in ("metric", "published", "status", "values_sha256"):
        assert list(table[column]) == list(COMMITTED[column])
    np.testing.assert_allclose(table["ours"], COMMITTED["ours"], atol=2e-6)
