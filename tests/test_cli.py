"""The command line on real files, as a user types it."""

import csv
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from iqa_lab import METRICS
from iqa_lab.cli import app
from iqa_lab.cli.score import DEFAULTS

run = CliRunner().invoke


@pytest.fixture
def photos(tmp_path):
    generator = np.random.default_rng(0)
    for folder in ("distorted", "reference"):
        (tmp_path / folder / "sub").mkdir(parents=True)
        for name, size in {"a.png": (200, 210, 3), "sub/b.png": (230, 200, 3)}.items():
            Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)).save(tmp_path / folder / name)
    return tmp_path


def rows(path):
    return list(csv.DictReader(path.open()))


def test_list_prints_every_system():
    result = run(app, ["list"])
    assert result.exit_code == 0 and all(name in result.output for name in ("ssim", "niqe", "cnniqa"))


@pytest.mark.parametrize("kind, more", [("NR", []), ("FR", ["--reference"])])
def test_without_a_metric_the_default_scores_and_the_output_says_what_it_means(photos, kind, more):
    image, output = str(photos / "distorted" / "a.png"), photos / "out.csv"
    result = run(app, ["score", image, "--output", str(output), *more, *([image] if more else [])])
    name, meaning = DEFAULTS[kind]
    assert result.exit_code == 0 and f"no --metric given: using {name!r} ({meaning})" in result.stderr
    assert "higher is better" in meaning and METRICS[name].higher_is_better and METRICS[name].kind == kind
    assert [row["metric"] for row in rows(output)] == [name]


def test_folders_with_references_are_paired_by_name(photos):
    result = run(app, ["score", str(photos / "distorted"), "--reference", str(photos / "reference"), "--metric", "psnr",
                       "--metric", "ssim", "--output", str(photos / "out.csv"), "--batch-size", "1"])
    assert result.exit_code == 0, result.output
    table = rows(photos / "out.csv")
    assert [row["metric"] for row in table] == ["psnr", "ssim"] * 2
    assert list(table[0]) == ["image", "reference", "metric", "score", "error"]
    assert table[2]["reference"].endswith("reference/sub/b.png") and not (photos / "out.csv.partial").exists()


def test_a_bad_file_fails_the_command_but_not_the_others(photos):
    (photos / "distorted" / "bad.jpg").write_text("no picture")
    result = run(app, ["score", str(photos / "distorted"), "--output", str(photos / "out.json")])
    table = json.loads((photos / "out.json").read_text())
    assert result.exit_code == 1 and "1 of 3 scores failed" in result.output
    assert [bool(row["error"]) for row in table] == [False, True, False]


@pytest.mark.parametrize("arguments, message", [
    (["score", "absent.png", "--metric", "ssimm"], "did you mean 'ssim'"),
    (["score", "absent.png", "--output", "table.xlsx"], ".csv or .json"),
    (["score", "absent.png", "--output", "nowhere/table.csv"], "create it first"),
    (["score", "absent.png", "--metric", "ssim"], "give references"),
    (["evaluate", "absent.csv", "--database", "livec_mini"], "absent.csv"),
], ids=["metric", "suffix", "folder", "reference", "scores"])
def test_mistakes_end_with_one_clear_line(arguments, message):
    result = run(app, arguments)
    assert result.exit_code == 2 and message in " ".join(result.output.split()) and "Traceback" not in result.output


def test_scores_are_evaluated_against_opinion_scores(tmp_path):
    from iqa_lab import create_metric, score

    score([create_metric("ssim"), create_metric("psnr")], "live_gblur_mini", progress=False).to_csv(tmp_path / "s.csv")
    result = run(app, ["evaluate", str(tmp_path / "s.csv"), "--database", "live_gblur_mini",
                       "--output", str(tmp_path / "t.csv")])
    assert result.exit_code == 0, result.output
    table = {row["metric"]: float(row["srocc"]) for row in rows(tmp_path / "t.csv")}
    assert table["ssim"] > 0.8  # DMOS is lower-better: the sign must have been corrected


def scores_of_gblur(path, **columns):
    """Writes scores that are the DMOS themselves (lower is better), with other columns instead where given."""
    from iqa_lab import load_database

    index = load_database("live_gblur_mini").index
    pd.DataFrame({"image": index["image"], "metric": "mse", "score": index["mos"], **columns}).to_csv(path, index=False)


def test_evaluation_knows_the_directions_of_metric_and_database_and_counts_what_it_leaves_out(tmp_path):
    scores_of_gblur(tmp_path / "s.csv", score=[np.nan, np.inf, *range(13)])
    result = run(app, ["evaluate", str(tmp_path / "s.csv"), "--database", "live_gblur_mini",
                       "--output", str(tmp_path / "t.csv")])
    assert result.exit_code == 0, result.output
    assert (rows(tmp_path / "t.csv")[0]["n"], rows(tmp_path / "t.csv")[0]["left_out"]) == ("13", "2")
    scores_of_gblur(tmp_path / "s.csv")
    run(app, ["evaluate", str(tmp_path / "s.csv"), "--database", "live_gblur_mini",
              "--output", str(tmp_path / "t.csv")])
    assert float(rows(tmp_path / "t.csv")[0]["srocc"]) == pytest.approx(1)
    scores_of_gblur(tmp_path / "s.csv", metric="my_metric")  # higher taken as better: these point the wrong way
    result = run(app, ["evaluate", str(tmp_path / "s.csv"), "--database", "live_gblur_mini",
                       "--output", str(tmp_path / "t.csv")])
    assert float(rows(tmp_path / "t.csv")[0]["srocc"]) == pytest.approx(-1) and "my_metric" in result.output


@pytest.mark.parametrize("columns, database, message", [
    ({}, "embedded", "has none"), ({}, "livec_mini", "images named as in the index of 'livec_mini'"),
    ({}, "live_gblur", "did you mean 'live_gblur_mini'"),
    ({"image": "gblur/img28.png"}, "live_gblur_mini", "got two of 'mse'"),
], ids=["no scores", "other database", "name", "twice"])
def test_scores_that_do_not_belong_to_the_database_end_with_one_clear_line(tmp_path, columns, database, message):
    scores_of_gblur(tmp_path / "s.csv", **columns)
    result = run(app, ["evaluate", str(tmp_path / "s.csv"), "--database", database])
    assert result.exit_code == 2 and message in " ".join(result.output.split()) and "Traceback" not in result.output


def test_a_table_without_scores_is_refused(tmp_path):
    (tmp_path / "s.csv").write_text("image,score\na.png,1\n")
    result = run(app, ["evaluate", str(tmp_path / "s.csv"), "--database", "livec_mini"])
    assert result.exit_code == 2 and "no metric" in " ".join(result.output.split())


def test_the_command_is_installed_and_quick_to_answer():
    result = subprocess.run([sys.executable, "-m", "iqa_lab.cli", "--help"], capture_output=True, text=True)
    assert result.returncode == 0 and "score" in result.stdout
    code = "import iqa_lab.cli, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0, "--help must not wait for torch"
