"""The composed tables: directions, groups, several metrics, repeated splits."""

import numpy as np
import pandas as pd
import pytest

from iqa_lab.evaluation.criteria import krocc, outlier_ratio, plcc, rmse, srocc
from iqa_lab.evaluation.mapping import fit_mapping
from iqa_lab.evaluation.protocols import agreement, agreement_by_group, agreement_by_metric, over_splits


@pytest.fixture
def scores_and_opinions():
    random = np.random.default_rng(1)
    opinions = random.uniform(1, 5, 50)
    return np.exp(opinions) + random.normal(size=50), opinions


def test_agreement_is_composed_of_the_criteria(scores_and_opinions):
    scores, opinions = scores_and_opinions
    predictions = fit_mapping(scores, opinions)(scores)
    assert agreement(scores, opinions, np.full(50, 0.1)) == {
        "n": 50, "srocc": srocc(scores, opinions), "krocc": krocc(scores, opinions),
        "plcc": plcc(predictions, opinions), "rmse": rmse(predictions, opinions),
        "outlier_ratio": outlier_ratio(predictions, opinions, np.full(50, 0.1)),
        "mapping": "logistic_4"}


def test_scores_that_point_the_wrong_way_stay_negative(scores_and_opinions):
    scores, opinions = scores_and_opinions
    right, wrong = agreement(scores, opinions), agreement(-scores, opinions)
    for name in ("srocc", "krocc", "plcc"):
        assert right[name] > 0.8 and wrong[name] == pytest.approx(-right[name], abs=1e-6)
    assert wrong["rmse"] == pytest.approx(right["rmse"], rel=1e-6)


def test_one_wild_score_does_not_turn_the_sign():
    scores, opinions = np.append(np.arange(29.0), -500), np.append(np.arange(29.0), 25)
    assert plcc(scores, opinions) < 0 < srocc(scores, opinions)
    mapped = plcc(fit_mapping(scores, opinions)(scores), opinions)
    assert mapped > 0 and agreement(scores, opinions)["plcc"] == pytest.approx(mapped)
    assert agreement(-scores, opinions)["plcc"] == pytest.approx(-mapped, rel=1e-6)


def test_too_few_images_for_the_curve_get_a_straight_line():
    assert agreement([1, 2, 3, 5], [1, 2, 4, 4])["mapping"] == "linear"
    assert agreement([1, 2, 3, 5, 6], [1, 2, 2, 4, 5], form="logistic_5")["mapping"] == "linear"


def test_groups_are_compared_alone_and_together(scores_and_opinions):
    scores, opinions = scores_and_opinions
    groups = np.array(["blur", "noise"] * 24 + ["rare", "rare"])
    table = agreement_by_group(scores, opinions, groups)
    assert list(table.index) == ["blur", "noise", "all"] and table["n"].tolist() == [24, 24, 50]
    blur = groups == "blur"
    assert table.loc["blur", "srocc"] == srocc(scores[blur], opinions[blur])


def test_metrics_are_turned_by_their_direction_and_bad_rows_counted(scores_and_opinions):
    scores, quality = scores_and_opinions
    broken = np.where(np.arange(50) < 4, [np.nan, np.inf] * 25, scores)
    table = pd.concat([
        pd.DataFrame({"metric": "error", "score": 100 - scores, "quality": quality}),
        pd.DataFrame({"metric": "own", "score": broken, "quality": quality}),
        pd.DataFrame({"metric": "flat", "score": 1.0, "quality": quality})])
    rows = agreement_by_metric(table, {"error": False, "unused": True}).set_index("metric")
    assert rows.loc["error", "srocc"] == pytest.approx(srocc(scores, quality)) and rows.loc["error", "error"] == ""
    assert rows.loc["own", ["n", "left_out"]].tolist() == [46, 4]
    assert rows.loc["own", "srocc"] == pytest.approx(srocc(scores[4:], quality[4:]))
    assert "differ" in rows.loc["flat", "error"] and np.isnan(rows.loc["flat", "srocc"])


def test_repeated_splits_are_summed_up_by_quantiles():
    rows = [{"n": 5, "srocc": value, "rmse": 10 * value, "mapping": "linear"} for value in (0.5, 0.9, 0.7, 0.8, 0.6)]
    table = over_splits(rows)
    assert table.loc["srocc"].to_dict() == pytest.approx(
        {"median": 0.7, "q1": 0.6, "q3": 0.8, "min": 0.5, "max": 0.9, "n_splits": 5})
    assert list(table.index) == ["srocc", "rmse"]
