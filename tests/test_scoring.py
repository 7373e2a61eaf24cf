"""Scoring files: order, mixed sizes, references, and bad images that do not take others with them."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from iqa_lab import create_metric, score
from iqa_lab.databases import Database, find_facts
from iqa_lab.images import load_image
from iqa_lab.scoring import score_files, to_table


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    for name, (height, width) in {"a": (40, 30), "b": (20, 50), "c": (40, 30), "d": (20, 50)}.items():
        pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        Image.fromarray(255 - pixels).save(tmp_path / f"{name}_ref.png")
    return tmp_path


def table(folder, names, metrics=("ssim",), **options):
    images = [folder / f"{name}.png" for name in names]
    references = [folder / f"{name}_ref.png" for name in names]
    return to_table(score_files([create_metric(metric) for metric in metrics], images, references, **options))


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_mixed_sizes_come_back_in_order_whatever_the_batch(folder, batch_size):
    rows = table(folder, "abcd", ("ssim", "psnr"), batch_size=batch_size)
    assert [(row.image[-5], row.metric) for row in rows.itertuples()] == [(n, m) for n in "abcd" for m in ("ssim", "psnr")]
    expected = [create_metric(row.metric)(load_image(row.image), load_image(row.reference)).item() for row in rows.itertuples()]
    np.testing.assert_allclose(rows["score"], expected, rtol=1e-5)
    assert (rows["error"] == "").all()


def test_a_bad_image_gets_its_error_and_the_rest_is_done(folder):
    (folder / "bad.png").write_bytes((folder / "a.png").read_bytes()[:200])
    (folder / "bad_ref.png").write_bytes((folder / "a_ref.png").read_bytes())
    rows = table(folder, ["a", "bad", "c", "absent", "b"]).set_index(pd.Index(["a", "bad", "c", "absent", "b"]))
    assert rows.loc[["a", "c", "b"], "score"].notna().all() and (rows.loc[["a", "c", "b"], "error"] == "").all()
    assert "intact copy" in rows.loc["bad", "error"] and "none at" in rows.loc["absent", "error"]
    assert rows.loc[["bad", "absent"], "score"].isna().all()


def test_a_reference_of_another_size_fails_alone(folder):
    Image.new("RGB", (31, 40)).save(folder / "c_ref.png")
    rows = table(folder, "ac")
    assert rows.loc[0, "error"] == "" and "equal shape" in rows.loc[1, "error"]


def test_an_image_too_small_for_one_metric_is_scored_by_the_other(folder):
    rows = table(folder, "a", ("ms_ssim", "ssim"))
    assert "176 pixels" in rows.loc[0, "error"] and math.isfinite(rows.loc[1, "score"])


def test_a_nan_score_is_an_error(folder):
    class Broken(torch.nn.Module):
        name, kind, higher_is_better = "broken", "NR", True

        def forward(self, image):
            return image.flatten(1).mean(1) * math.nan

    rows = to_table(score_files([Broken()], [folder / "a.png"], [None]))
    assert rows.loc[0, "error"] == "the metric returned NaN"


def test_an_interrupted_run_has_yielded_what_was_computed(folder):
    rows = score_files([create_metric("ssim")], [folder / "a.png", folder / "b.png"],
                       [folder / "a_ref.png", folder / "b_ref.png"], batch_size=1)
    assert math.isfinite(next(rows)["score"])
    rows.close()


def test_names_instead_of_metrics_and_missing_references_are_refused(folder):
    with pytest.raises(TypeError, match="create_metric"):
        list(score_files(["ssim"], [folder / "a.png"], [None]))
    with pytest.raises(ValueError, match="no-reference"):
        list(score_files([create_metric("ssim")], [folder / "a.png"], [None]))


def test_a_database_is_scored_with_its_own_paths():
    rows = score([create_metric("ssim"), create_metric("psnr")], "live_gblur_mini", progress=False)
    assert list(rows.columns) == ["image", "reference", "metric", "score", "error"]
    assert (rows["error"] == "").all() and not rows["image"].str.startswith("/").any()
    assert isinstance(rows.loc[0, "reference"], str)


def test_database_index_without_references_is_refused_for_full_reference(folder):
    index = pd.DataFrame({"image": ["a.png"], "reference": [None]})
    database = Database(find_facts("livec_mini"), folder, index)
    with pytest.raises(ValueError, match="references"):
        score(create_metric("ssim"), database, progress=False)
