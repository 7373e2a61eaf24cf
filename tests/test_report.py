"""The folder of tables and figures: every number in it is that of the functions behind it, and gaps are explained."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from iqa_lab.cli import app
from iqa_lab.evaluation.criteria import srocc
from iqa_lab.evaluation.krasula import rated_pairs, roc_analysis, score_differences
from iqa_lab.report import write_report, write_table

DIRECTIONS = {"good": True, "middling": False, "bad": True}


def joined(n_contents: int = 20, kinds: tuple[str, ...] = ("blur", "noise"), n_ratings: float = 15) -> pd.DataFrame:
    """Three metrics of different worth on versions of some contents; of the second one lower is better."""
    random, rows = np.random.RandomState(0), []
    for content in range(n_contents):
        for kind in kinds:
            for level in range(4):
                quality = 80 - 18 * level + 4 * random.standard_normal()
                scores = {"good": quality + 6 * random.standard_normal(), "middling": -quality + 25 * random.standard_normal(),
                          "bad": random.standard_normal()}
                rows += [{"image": f"{content}_{kind}_{level}.png", "metric": name, "score": score, "quality": quality,
                          "mos_std": 12.0, "n_ratings": n_ratings, "content": content, "distortion": kind}
                         for name, score in scores.items()]
    return pd.DataFrame(rows)


def test_a_full_report_has_every_table_in_three_forms_and_every_figure(tmp_path):
    assert write_report(joined(), DIRECTIONS, tmp_path) == []
    tables, figures = ("agreement", "by_distortion", "splits", "comparisons", "roc"), ("scatter", "splits", "comparisons", "roc")
    assert {path.name for path in tmp_path.iterdir()} == {"notes.md"} | {f"{name}.png" for name in figures} | {
        f"{name}.{suffix}" for name in tables for suffix in ("csv", "md", "tex")}
    for name in figures:
        with Image.open(tmp_path / f"{name}.png") as image:
            image.load()
            assert image.width <= 710


def test_numbers_are_those_of_the_evaluation(tmp_path):
    table = joined()
    write_report(table, DIRECTIONS, tmp_path)
    wide = table.pivot(index="image", columns="metric", values="score")[list(DIRECTIONS)]
    facts = table.drop_duplicates("image").set_index("image").loc[wide.index]
    scores, opinions = wide.to_numpy().T * np.array([[1], [-1], [1]]), facts["quality"].to_numpy()
    expected = [srocc(row, opinions) for row in scores]
    np.testing.assert_allclose(pd.read_csv(tmp_path / "agreement.csv")["srocc"], expected)
    by_kind = pd.read_csv(tmp_path / "by_distortion.csv", index_col="distortion")
    blur = (facts["distortion"] == "blur").to_numpy()
    np.testing.assert_allclose(by_kind.loc["blur"], [srocc(row[blur], opinions[blur]) for row in scores])
    compared = pd.read_csv(tmp_path / "comparisons.csv").set_index(["metric", "other"])
    assert compared.loc[("good", "bad"), "difference"] == pytest.approx(expected[0] - expected[2])
    assert (compared["low"] < compared["difference"]).all() and (compared["difference"] < compared["high"]).all()
    assert (compared["p_holm"] < 0.01).all()
    pairs = rated_pairs(opinions, facts["mos_std"], facts["n_ratings"])
    np.testing.assert_allclose(pd.read_csv(tmp_path / "roc.csv")["auc_ds"],
                               roc_analysis(score_differences(scores, pairs), pairs.outcome).auc_ds)


def test_what_cannot_be_done_is_left_out_with_a_reason(tmp_path):
    table = joined(kinds=("blur",), n_ratings=np.nan)
    notes = write_report(table[table["metric"] == "good"], DIRECTIONS, tmp_path)
    assert [note.partition(":")[0] for note in notes] == ["distortions", "comparisons", "roc"]
    assert all(note in (tmp_path / "notes.md").read_text() for note in notes)
    assert {path.stem for path in tmp_path.iterdir()} == {"agreement", "notes", "scatter", "splits"}
    with pytest.raises(ValueError, match="at least 3 images"):
        write_report(table.assign(score=np.nan), DIRECTIONS, tmp_path)


def test_images_that_one_metric_has_not_scored_are_left_out_of_comparisons(tmp_path):
    table = joined()
    table.loc[table["metric"].eq("bad") & table["content"].lt(3), "score"] = np.nan
    write_report(table, DIRECTIONS, tmp_path)
    agreement = pd.read_csv(tmp_path / "agreement.csv").set_index("metric")
    assert agreement.loc["bad", "left_out"] == 24 and agreement.loc["good", "left_out"] == 0
    kept = table[table["content"] >= 3]
    expected = [srocc(sign * part["score"], part["quality"]) for sign, part in
                ((1, kept[kept["metric"] == "good"]), (-1, kept[kept["metric"] == "middling"]))]
    first = pd.read_csv(tmp_path / "comparisons.csv").iloc[0]
    assert first["difference"] == pytest.approx(expected[0] - expected[1])


def test_tables_escape_what_latex_would_read(tmp_path):
    write_table(pd.DataFrame({"ms_ssim": [0.12345], "share": ["5 %"]}), tmp_path / "t")
    assert (tmp_path / "t.tex").read_text() == ("\\begin{tabular}{ll}\n\\hline\nms\\_ssim & share \\\\\n\\hline\n"
                                                "0.123 & 5 \\% \\\\\n\\hline\n\\end{tabular}\n")
    assert (tmp_path / "t.md").read_text().splitlines()[-1] == "| 0.123 | 5 % |"
    assert pd.read_csv(tmp_path / "t.csv")["ms_ssim"][0] == 0.12345


def test_from_a_database_to_a_report_on_the_command_line(tmp_path):
    run, scores = CliRunner(), str(tmp_path / "scores.csv")
    scored = run.invoke(app, ["score", "--database", "live_gblur_mini", "--metric", "ssim", "--metric", "psnr",
                              "--output", scores])
    assert scored.exit_code == 0, scored.output
    done = run.invoke(app, ["evaluate", scores, "--database", "live_gblur_mini", "--report", str(tmp_path / "report")])
    assert done.exit_code == 0 and "roc: left out" in done.output, done.output
    assert len(pd.read_csv(tmp_path / "report" / "agreement.csv")) == 2
    assert run.invoke(app, ["score", "--database", "live_gblur_mini", "x.png"]).exit_code == 2
    assert run.invoke(app, ["score"]).exit_code == 2
