"""Everything that can be wrong with a release gives its own clear error."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from tiny_releases import cache, release  # noqa: F401 - pytest finds these fixtures by name
from tiny_releases import LISTS, MAKERS, make_livec, make_tid2013, photo, rewrite, snapshot
from typer.testing import CliRunner

from iqa_lab import databases
from iqa_lab.cli.data import app
from iqa_lab.data_scripts.prepare import prepare
from iqa_lab.data_scripts.verify import verify
from iqa_lab.databases import DATABASES, load_database


def test_an_archive_is_unpacked_once_into_the_cache(release, tmp_path, cache):
    name, folder, _ = release
    archive = tmp_path / "release.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in snapshot(folder):
            opened.write(path, Path("some folder") / path.relative_to(folder))
    for _ in range(2):
        assert prepare(name, archive, progress=False).root.is_relative_to(cache)
    assert load_database(name).image_paths[0].is_file()


def test_an_archive_with_a_member_outside_is_refused(release, tmp_path, cache):
    name, folder, image = release
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as opened:
        opened.write(image, "../../evil.jpg")
    with pytest.raises(ValueError, match="Refused to unpack .*'../../evil.jpg'"):
        prepare(name, tmp_path / "evil.zip", progress=False)
    assert not list(cache.rglob("*.jpg"))


def test_a_missing_image_is_an_error_and_present_only_leaves_it_out(release):
    name, folder, image = release
    image.unlink()
    with pytest.raises(FileNotFoundError, match=f"1 are missing: .*{re.escape(image.stem)}.*--present-only"):
        prepare(name, folder, progress=False)
    made = prepare(name, folder, present_only=True, progress=False)
    assert (made.n_present, made.n_release) == (3, 4) and len(load_database(name).index) == 3


def test_a_missing_reference_takes_its_images_with_it(tmp_path):
    make_tid2013(tmp_path / "tid")
    (tmp_path / "tid" / "reference_images" / "i02.bmp").unlink()
    assert prepare("tid2013", tmp_path / "tid", present_only=True, progress=False).n_present == 2


@pytest.mark.parametrize("damage", ["corrupt", "truncated", "empty"])
def test_a_damaged_image_is_named(release, damage):
    name, folder, image = release
    whole = image.read_bytes()
    image.write_bytes({"corrupt": b"no image" * 99, "truncated": whole[:len(whole) * 2 // 3], "empty": b""}[damage])
    with pytest.raises(ValueError, match=f"Expected images that decode, got .*{re.escape(image.stem)}"):
        prepare(name, folder, present_only=True, progress=False)


@pytest.mark.parametrize("name", ["tid2013", "koniq10k"])
def test_an_image_of_another_size_is_named(tmp_path, name):
    MAKERS[name](tmp_path / "release")
    image = next(path for path in sorted(tmp_path.rglob("*")) if path.suffix in (".bmp", ".jpg"))
    photo(image, (100, 80))
    with pytest.raises(ValueError, match="size 100x80"):
        prepare(name, tmp_path / "release", progress=False)


@pytest.mark.parametrize("name, old, new", [
    ("tid2013", b"2.5 i01_24_5", b"i01_24_5"), ("tid2013", b"2.5 ", b"nan "), ("biq2021", b"jpg,0.75", b"jpg,"),
    ("koniq10k", b"100,20.5", b"100,"), ("koniq10k", b"100,20.5", b"100,none")])
def test_a_missing_score_is_named(tmp_path, name, old, new):
    MAKERS[name](tmp_path / "release")
    rewrite(tmp_path / "release", LISTS[name], old, new)
    with pytest.raises(ValueError, match="Expected a score for every image"):
        prepare(name, tmp_path / "release", progress=False)


def test_a_missing_livec_score_is_named(tmp_path):
    make_livec(tmp_path)
    path = tmp_path / "ChallengeDB_release" / "Data" / "AllMOS_release.mat"
    savemat(path, {"AllMOS_release": np.array([[*range(7), 50, np.nan, 60, 70]])})
    with pytest.raises(ValueError, match="Expected a score for every image .*11.JPG"):
        prepare("livec", tmp_path, progress=False)
    savemat(path, {"AllMOS_release": np.zeros((1, 10))})
    with pytest.raises(ValueError, match="10 MOS"):
        prepare("livec", tmp_path, progress=False)
    path.write_bytes(b"not a mat file")
    with pytest.raises(ValueError, match="Expected an intact MATLAB file"):
        prepare("livec", tmp_path, progress=False)


@pytest.mark.parametrize("name, old, new", [
    ("tid2013", b"i01_24_5", b"i01_01_1"), ("biq2021", b"ss03 (4).JPG", b"SS03 (3).jpg"),
    ("koniq10k", b"3.jpg", b"2.jpg")])
def test_a_duplicate_name_is_refused(tmp_path, name, old, new):
    MAKERS[name](tmp_path / "release")
    rewrite(tmp_path / "release", LISTS[name], old, new)
    with pytest.raises(ValueError, match="got duplicates"):
        prepare(name, tmp_path / "release", progress=False)


def test_a_score_outside_the_scale_a_short_list_and_strange_names_are_refused(tmp_path):
    make_tid2013(tmp_path / "a")
    rewrite(tmp_path / "a", "mos_with_names.txt", b"2.5 ", b"25 ")
    with pytest.raises(ValueError, match="scores from 0 to 9"):
        prepare("tid2013", tmp_path / "a", progress=False)
    rewrite(tmp_path / "a", "mos_with_names.txt", b"25 i01_24_5.bmp\r\n", b"")
    with pytest.raises(ValueError, match="one line in mos_std.txt"):
        prepare("tid2013", tmp_path / "a", progress=False)
    rewrite(tmp_path / "a", "mos_std.txt", b"0.1\n", b"")
    with pytest.raises(ValueError, match="Expected 4 images in the lists .* got 3"):
        prepare("tid2013", tmp_path / "a", progress=False)
    rewrite(tmp_path / "a", "mos_with_names.txt", b"_11_", b"_25_")
    with pytest.raises(ValueError, match="i02_25_3"):
        prepare("tid2013", tmp_path / "a", progress=False)


def test_nothing_there_says_where_to_apply_and_where_to_put_it(tmp_path):
    result = CliRunner().invoke(app, ["prepare", "livec"])
    assert result.exit_code == 2
    assert "Fill in the form" in result.output and "--source PATH" in result.output and "utexas.edu" in result.output
    with pytest.raises(FileNotFoundError, match="'mos_with_names.txt'"):
        prepare("tid2013", tmp_path)
    with pytest.raises(ValueError, match="needs no preparing"):
        prepare("livec_mini")


def test_a_changed_index_or_image_is_found_by_verify(release):
    name, folder, image = release
    prepare(name, folder, progress=False)
    whole = image.read_bytes()
    image.write_bytes(whole[:-len(whole) // 3])
    with pytest.raises(ValueError, match="1 do not"):
        verify(name)
    image.unlink()
    with pytest.raises(FileNotFoundError, match="1 are missing"):
        verify(name)
    image.write_bytes(whole)
    index = databases.index_folder(name) / "index.csv"
    index.write_text(index.read_text() + "\n")
    result = CliRunner().invoke(app, ["verify", name])
    assert result.exit_code == 2 and "has been changed" in result.output


def test_output_goes_to_the_given_folder(release, tmp_path, cache):
    name, folder, _ = release
    result = CliRunner().invoke(app, ["prepare", name, "--source", str(folder), "--output", str(tmp_path / "mine")])
    assert result.exit_code == 0 and "4 of 4 images" in result.output
    assert f"Cite {DATABASES[name].citation}" in result.output
    assert len(load_database(name, root=tmp_path / "mine").index) == 4 and not (cache / "databases").exists()


def test_list_names_every_database_with_its_direction(monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    output = CliRunner().invoke(app, ["list"]).output
    assert all(name in output for name in DATABASES)
    assert "DMOS 0 to 100, lower is better" in output and "proxy" in output
