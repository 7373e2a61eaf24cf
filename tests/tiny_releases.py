"""Tiny releases in the official layouts, made where a test wants them, and the fixtures that use them."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from iqa_lab import databases
from iqa_lab.data_scripts import koniq10k
from iqa_lab.data_scripts.prepare import RELEASES
from iqa_lab.databases import DATABASES

NAMES = sorted(RELEASES)


def photo(path, size=(512, 384), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(small).resize(size).save(path, **({"format": "JPEG"} if path.suffix.lower() == ".jpg" else {}))


def make_tid2013(folder):
    names = ["I01_01_1.bmp", "i01_24_5.bmp", "i02_01_1.bmp", "i02_11_3.bmp"]
    folder.mkdir(parents=True)
    (folder / "mos_with_names.txt").write_text("".join(f"{i + 1.5} {name}\r\n" for i, name in enumerate(names)))
    (folder / "mos_std.txt").write_text("0.1\n0.2\n0.3\n0.4\n")
    for name in ["I01.BMP", "i02.bmp"]:
        photo(folder / "reference_images" / name)
    for i, name in enumerate(names):
        photo(folder / "distorted_images" / name, seed=i)


def make_livec(folder):
    names = [f"t{i}.bmp" for i in range(1, 8)] + ["10.bmp", "11.JPG", "12.bmp", "13.JPG"]
    (folder / "ChallengeDB_release" / "Data").mkdir(parents=True)
    cells = np.array([[np.array([name])] for name in names], dtype=object)
    save = {"Images": cells, "MOS": np.linspace(0, 100, 11)[None], "StdDev": np.linspace(10, 20, 11)[None]}
    for kind, values in save.items():
        key = f"All{kind}_release"
        savemat(folder / "ChallengeDB_release" / "Data" / f"{key}.mat", {key: values})
    for i, name in enumerate(names[7:]):
        photo(folder / "ChallengeDB_release" / "Images" / name, (500, 500), i)


def make_biq2021(folder):
    folder.mkdir(parents=True)
    train, test = (folder / f"{part} (Images and MOS).csv" for part in ("Train", "Test"))
    train.write_text("Image Name,MOS,,\nss01 (1).jpg,0.25,,\nss02 (2).jpg,0.5,,\n,,,\n")
    test.write_text("\ufeffImage Name,MOS\nss03 (3).jpg,0.75\nss03 (4).JPG,1\n", "utf-8")
    for i, name in enumerate(["ss01 (1).jpg", "ss02 (2).JPG", "ss03 (3).jpg", "ss03 (4).JPG"]):
        photo(folder / "Images" / name, (512, 512), i)


def make_koniq10k(folder):
    folder.mkdir(parents=True)
    rows = "".join(f"{i}.jpg,0,0,0.5,0.5,0,10{i},{20.5 + i},0.5,{part}\n"
                   for i, part in enumerate(["training", "training", "validation", "test"]))
    (folder / koniq10k.SCORES).write_text("image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set\n" + rows)
    for i in range(4):
        photo(folder / "512x384" / f"{i}.jpg", seed=i)


MAKERS = {"tid2013": make_tid2013, "livec": make_livec, "biq2021": make_biq2021, "koniq10k": make_koniq10k}
LISTS = {"tid2013": "mos_with_names.txt", "biq2021": "Test (Images and MOS).csv", "koniq10k": koniq10k.SCORES}


def rewrite(folder, file, old, new):
    text = (folder / file).read_bytes()
    assert old in text
    (folder / file).write_bytes(text.replace(old, new, 1))


def snapshot(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Keeps every test in folders of its own, and lets the tiny releases count as complete."""
    monkeypatch.setenv("IQA_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("IQA_LAB_DATA", raising=False)
    for name in NAMES:
        monkeypatch.setitem(databases.DATABASES, name, replace(DATABASES[name], n_images=4))
    return tmp_path / "cache"


@pytest.fixture(params=NAMES)
def release(request, tmp_path):
    """Returns (name, folder, an image file of it)."""
    folder = tmp_path / "official"
    MAKERS[request.param](folder)
    images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".bmp", ".jpg"))
    return request.param, folder, images[0]
