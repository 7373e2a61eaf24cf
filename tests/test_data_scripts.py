"""What each official release becomes: on tiny releases in the official layout, and on the real subsets."""

import http.server
import os
import threading
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_releases import cache, release  # noqa: F401 - pytest finds these fixtures by name
from tiny_releases import make_biq2021, make_koniq10k, make_livec, make_tid2013, photo, snapshot

from iqa_lab import databases
from iqa_lab.data_scripts import koniq10k
from iqa_lab.data_scripts.prepare import prepare
from iqa_lab.data_scripts.verify import verify
from iqa_lab.databases import DATABASES, load_database

DATA = os.environ.get("IQA_LAB_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="set IQA_LAB_DATA to the folder with the databases")


def test_a_release_becomes_a_database(release):
    name, folder, _ = release
    before = snapshot(folder)
    made = prepare(name, folder, progress=False)
    assert (made.n_present, made.n_release) == (4, 4) and snapshot(folder) == before  # the release is only read
    database = load_database(name)
    assert all(path.is_file() for path in [*database.image_paths, *filter(None, database.reference_paths)])
    assert (database.index["mos"].notna() == (database.facts.score_range is not None)).all()
    assert database.index["reference"].notna().all() == (database.facts.kind == "FR")
    if database.facts.distortions:
        assert set(database.index["distortion"]) <= set(database.facts.distortions)
    assert database.index["image"].is_unique and verify(name).endswith("4 of 4 are in the index as prepared")


def test_tid2013_names_match_whatever_their_case(tmp_path):
    make_tid2013(tmp_path / "tid")
    prepare("tid2013", tmp_path / "tid", progress=False)
    rows = load_database("tid2013").index
    assert rows["reference"].tolist() == ["reference_images/I01.BMP"] * 2 + ["reference_images/i02.bmp"] * 2
    assert rows["distortion"].tolist() == ["additive_gaussian_noise", "sparse_sampling_and_reconstruction",
                                           "additive_gaussian_noise", "jpeg2000"]
    assert rows["content"].tolist() == ["I01", "I01", "I02", "I02"] and rows["level"].tolist() == [1, 5, 1, 3]
    assert rows["mos"].tolist() == [1.5, 2.5, 3.5, 4.5] and rows["mos_std"].tolist() == [0.1, 0.2, 0.3, 0.4]


def test_livec_leaves_out_the_training_images(tmp_path):
    make_livec(tmp_path / "livec")
    prepare("livec", tmp_path / "livec", progress=False)
    rows = load_database("livec").index
    assert rows["image"].tolist() == ["Images/10.bmp", "Images/11.JPG", "Images/12.bmp", "Images/13.JPG"]
    assert rows["mos"].tolist() == [70, 80, 90, 100] and rows["mos_std"].tolist() == [17, 18, 19, 20]


def test_biq2021_keeps_the_official_split_and_the_name_on_disk(tmp_path):
    make_biq2021(tmp_path / "biq")
    prepare("biq2021", tmp_path / "biq", progress=False)
    rows = load_database("biq2021").index
    assert rows["image"].tolist()[1] == "Images/ss02 (2).JPG" and rows["mos"].tolist() == [0.25, 0.5, 0.75, 1]
    assert rows["split"].tolist() == ["train", "train", "test", "test"]


def test_koniq10k_takes_the_larger_photographs_if_they_are_there(tmp_path):
    make_koniq10k(tmp_path / "koniq")
    prepare("koniq10k", tmp_path / "koniq", progress=False)
    rows = load_database("koniq10k").index
    assert rows["n_ratings"].tolist() == [100, 101, 102, 103] and rows["mos_std"].isna().all()
    assert rows["split"].tolist() == ["training", "training", "validation", "test"]
    for i in range(4):
        photo(tmp_path / "koniq" / "1024x768" / f"{i}.jpg", (1024, 768))
    prepare("koniq10k", tmp_path / "koniq", progress=False)
    assert load_database("koniq10k").index["image"].str.startswith("1024x768/").all()


def test_koniq10k_is_downloaded_once_and_checked_later(tmp_path, cache, monkeypatch):
    make_koniq10k(tmp_path / "server")
    with zipfile.ZipFile(tmp_path / "server" / "koniq10k_512x384.zip", "w") as opened:
        for i in range(4):
            opened.write(tmp_path / "server" / "512x384" / f"{i}.jpg", f"512x384/{i}.jpg")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "server")
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        fetch = partial(koniq10k.fetch_release, images_url=f"{url}/koniq10k_512x384.zip",
                        scores_url=f"{url}/{koniq10k.SCORES}")
        monkeypatch.setattr(koniq10k, "fetch_release", fetch)
        assert prepare("koniq10k", progress=False).n_present == 4
        server.shutdown()
    assert prepare("koniq10k", progress=False).n_present == 4  # now without the server
    downloads = cache / "databases" / "koniq10k" / "downloads"
    with (downloads / "koniq10k_512x384.zip").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="Expected SHA-256"):
        verify("koniq10k")


REAL = {  # images present, images listed, the first present one, its MOS and standard deviation
    "tid2013": (116, 3000, "distorted_images/I01_01_5.png", 3.86486, 0.10229),
    "livec": (537, 1162, "Images/533.JPG", 73.623529, 20.401576),
    "biq2021": (1300, 12000, None, None, None),
}


@needs_data
@pytest.mark.parametrize("name", REAL)
def test_the_real_subsets(name, monkeypatch):
    n_present, n_release, first, mos, deviation = REAL[name]
    monkeypatch.setitem(databases.DATABASES, name, replace(DATABASES[name], n_images=n_release))
    monkeypatch.setenv("IQA_LAB_DATA", DATA)
    with pytest.raises(FileNotFoundError, match=f"{n_release - n_present} are missing"):
        prepare(name, progress=False)
    made = prepare(name, present_only=True, progress=False)
    assert (made.n_present, made.n_release) == (n_present, n_release)
    rows = load_database(name).index
    low, high = DATABASES[name].score_range
    assert len(rows) == n_present and rows["mos"].between(low, high).all() and rows["image"].is_unique
    if first:
        assert rows.loc[0, "image"] == first
        assert (rows.loc[0, "mos"], rows.loc[0, "mos_std"]) == pytest.approx((mos, deviation), abs=1e-6)


@needs_data
@pytest.mark.parametrize("name, listed, columns", [
    ("tid2013", "subset_index.csv", {"file": "image", "ref": "reference", "level": "level", "mos": "mos",
                                     "mos_std": "mos_std"}),
    ("livec", "present.csv", {"image": "image", "mos": "mos", "std": "mos_std"}),
    ("biq2021", "present.csv", {"image": "image", "mos": "mos", "split": "split"})])
def test_the_real_subsets_agree_with_the_tables_made_beside_them(name, listed, columns):
    """These tables were joined by other code when the subsets were made."""
    source = Path(DATA) / "images" / name
    expected = pd.read_csv(source / listed)
    prepare(name, source, present_only=True, progress=False)
    rows = load_database(name).index
    if name != "tid2013":
        rows["image"] = rows["image"].str.removeprefix("Images/")
    expected = expected[expected[{v: k for k, v in columns.items()}["image"]].isin(rows["image"])]
    key = next(iter(columns))
    rows, expected = rows.set_index("image"), expected.set_index(key)
    for theirs, ours in list(columns.items())[1:]:
        found = rows.loc[expected.index, ours]
        if expected[theirs].dtype.kind in "if":
            np.testing.assert_allclose(found, expected[theirs], atol=1e-6)
        else:
            assert found.tolist() == expected[theirs].tolist()
    assert len(expected) == len(rows)


@needs_data
def test_koniq10k_real_score_list():
    _, table = koniq10k.parse_release(Path(DATA) / "scores" / "koniq10k")
    assert len(table) == 10073 and not table["present"].any() and table["mos"].between(1, 100).all()
    assert table["split"].value_counts().to_dict() == {"training": 7058, "test": 2015, "validation": 1000}
    assert table.loc[0, "image"] == "512x384/10004473376.jpg" and table.loc[0, "mos"] == pytest.approx(77.3836206897)
    assert table.loc[0, "n_ratings"] == 105


@needs_data
def test_the_shipped_dmos_are_the_releases():
    given = pd.read_csv(Path(DATA) / "images" / "live_gblur" / "index_present.csv").set_index("image")
    for row in load_database("live_gblur_mini").index.itertuples():
        source = given.loc[Path(row.image).name]
        assert (row.mos, row.mos_std) == (source.dmos_realigned, source.dmos_std)
        assert Path(row.reference).name == source.reference
        with Image.open(Path(DATA) / "images/live_gblur/gblur" / Path(row.image).name) as image:
            with Image.open(load_database("live_gblur_mini").root / row.image) as shipped:
                assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(shipped))
