"""TID2013's published correlations, recomputed from its own files where they are; the committed table everywhere."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from iqa_lab.data_scripts.tid2013_official_metrics import SUBSETS, kendall_tau_a, recompute, with_differences

TABLE = Path(__file__).parent.parent / "results" / "tid2013_official_metrics.csv"
DATA = os.environ.get("IQA_LAB_DATA")
NAMES = ("srocc", "krocc", "tau_a")


@pytest.fixture(scope="module")
def committed():
    empty = {f"{name}_{part}": [""] for name in NAMES for part in ("published", "difference")}
    return pd.read_csv(TABLE, keep_default_na=False, na_values=empty)


def test_the_committed_table_has_every_metric_and_subset_once(committed):
    assert len(committed) == 14 * 7 and not committed.duplicated(["metric", "subset"]).any()
    sizes = committed.groupby("subset")["n"].unique().map(list).to_dict()
    assert sizes == {name: [125 * len(kinds)] for name, kinds in SUBSETS.items()}


def test_every_published_number_is_met_to_its_three_digits(committed):
    published = [committed[f"{name}_published"].notna().sum() for name in NAMES]
    assert published == [14, 14, 7]
    for name in NAMES:
        rows = committed[committed[f"{name}_published"].notna()]
        np.testing.assert_allclose(rows[name].round(3), rows[f"{name}_published"], atol=1e-9)
        np.testing.assert_allclose(rows[f"{name}_difference"], rows[name] - rows[f"{name}_published"], atol=1e-9)
    assert (committed["reproduced"] == "yes").sum() == 20 and "no" not in set(committed["reproduced"])


def test_the_readme_prints_tau_b_in_its_table_and_tau_a_in_its_example(committed):
    row = committed.set_index(["metric", "subset"]).loc[("FSIMc", "Full")]
    assert (row["krocc_published"], row["tau_a_published"]) == (0.667, 0.666)
    tau_a = committed[committed["subset"] == "Full"]["tau_a"].round(3)
    printed = committed[committed["subset"] == "Full"]["krocc_published"]
    assert (tau_a != printed).sum() >= 5  # so the agreement with tau-b is no accident


def test_a_number_that_is_not_met_is_said():
    row = {"metric": "X", "subset": "Full", "n": 3, "srocc": 0.8016, "srocc_published": 0.801, "krocc": 0.5,
           "krocc_published": np.nan, "tau_a": 0.5, "tau_a_published": np.nan}
    assert with_differences(pd.DataFrame([row]))["reproduced"].tolist() == ["no"]
    assert with_differences(pd.DataFrame([row | {"srocc": 0.8014}]))["reproduced"].tolist() == ["yes"]
    assert with_differences(pd.DataFrame([row | {"srocc_published": np.nan}]))["reproduced"].tolist() == [""]


def test_tau_a_is_tau_b_without_ties_and_smaller_with_them():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 50))
    assert kendall_tau_a(x, y) == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)
    x, y = np.array([1, 1, 2, 3]), np.array([1, 2, 3, 4])  # 5 of 6 pairs in order, one tied
    assert kendall_tau_a(x, y) == pytest.approx(5 / 6)


@pytest.mark.skipif(not DATA, reason="the official TID2013 files: set IQA_LAB_DATA")
def test_the_committed_table_is_what_the_official_files_give(committed):
    again = recompute(Path(DATA) / "images" / "tid2013").drop(columns="date")
    pd.testing.assert_frame_equal(again, committed.drop(columns="date"), check_dtype=False, atol=1e-9, rtol=0)
