"""Tiny releases in the official layouts, made where a test wants them, and the fixtures that use them."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from iqa_lab import databases
from iqa_lab.data_scripts import ivc, koniq10k, live_r2, mdid, waterloo
from iqa_lab.data_scripts.prepare import RELEASES
from iqa_lab.databases import DATABASES

NAMES = sorted(RELEASES)
TID_NAMES = {"tid2013": ["I01_01_1.bmp", "i01_24_5.bmp", "i02_01_1.bmp", "i02_11_3.bmp"],
             "tid2008": ["I01_01_1.bmp", "i01_17_4.bmp", "i02_01_1.bmp", "i02_11_3.bmp"]}
AVA_VOTES = ["0 1 5 17 38 36 15 6 5 1", "10 7 15 26 26 21 10 8 1 2", "0 0 0 0 0 0 0 0 0 80", "90 0 0 0 0 0 0 0 0 1"]
#: Counts that a parser knows, for releases of four images.
PATCHES = [(live_r2, "COUNTS", {"jp2k": 2, "jpeg": 1, "wn": 1, "gblur": 0, "fastfading": 1}),
           (ivc, "VERSIONS", {"avion": "j2000", "barba": "flou"}), (ivc, "LEVELS", (1, 2)),
           (mdid, "N_REFERENCES", 2), (mdid, "N_VERSIONS", 2), (waterloo, "LEVELS", (1,))]


def photo(path, size=(512, 384), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(small).resize(size).save(path, **({"format": "JPEG"} if path.suffix.lower() == ".jpg" else {}))


def photos(folder, names, size=(64, 48)):
    for i, name in enumerate(names):
        photo(folder / name, size, i)


def cells(names):
    return np.array([[np.array([name])] for name in names], dtype=object)


def make_tid2013(folder, names=TID_NAMES["tid2013"]):
    folder.mkdir(parents=True)
    (folder / "mos_with_names.txt").write_text("".join(f"{i + 1.5} {name}\r\n" for i, name in enumerate(names)))
    (folder / "mos_std.txt").write_text("0.1\n0.2\n0.3\n0.4\n")
    for name in ["I01.BMP", "i02.bmp"]:
        photo(folder / "reference_images" / name)
    photos(folder / "distorted_images", names, (512, 384))


def make_livec(folder):
    names = [f"t{i}.bmp" for i in range(1, 8)] + ["10.bmp", "11.JPG", "12.bmp", "13.JPG"]
    (folder / "ChallengeDB_release" / "Data").mkdir(parents=True)
    save = {"Images": cells(names), "MOS": np.linspace(0, 100, 11)[None], "StdDev": np.linspace(10, 20, 11)[None]}
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


def make_live_r2(folder):
    names = ["jp2k/img1.bmp", "jp2k/img2.bmp", "jpeg/img1.bmp", "wn/img1.bmp", "fastfading/img1.bmp"]
    photos(folder, names + ["refimgs/rapids.bmp", "refimgs/caps.bmp"])
    references = ["caps.bmp", "rapids.bmp", "rapids.bmp", "caps.bmp", "caps.bmp"]
    savemat(folder / "refnames_all.mat", {"refnames_all": cells(references).T})
    savemat(folder / "dmos_realigned.mat", {"dmos_new": [[0, 20, 30, 111.5, -2.5]], "dmos_std": [[0, 2, 3, 4, 5]],
                                            "orgs": [[1, 0, 0, 0, 0]]})


def make_csiq(folder):
    files = ["awgn/1600.AWGN.1.png", "jpeg2000/1600.jpeg2000.5.png", "blur/woman.BLUR.2.png",
             "contrast/woman.contrast.4.png"]
    photos(folder, [f"dst_imgs/{name}" for name in files] + ["src_imgs/1600.png", "src_imgs/woman.png"])
    rows = ["1600,1,noise,1,0.1,0.06", "1600,3,jpeg 2000,5,0.2,0.9", "woman,5,blur,2,0.1,0.2",
            "woman,6,contrast,4,0.2,1"]
    lines = [",,,,,,,,", ",,,scores by scene,,,,,", ",,,,,,,,", ",,,image,dst_idx,dst_type,dst_lev,dmos_std,dmos"]
    (folder / "csiq.DMOS.csv").write_text("\n".join([*lines, *(f",,,{row}" for row in rows)]) + "\n")


def make_tid2008(folder):
    make_tid2013(folder, TID_NAMES["tid2008"])


def make_live_md(folder):
    parts = {"Part 1": ("blurjpeg", ["oak_blur1.bmp", "oak_blur1_jpeg2.bmp"]),
             "Part 2": ("blurnoise", ["oak_blur1.bmp", "oak_noise3.bmp"])}
    for i, (part, (sub, names)) in enumerate(parts.items()):
        photos(folder / part / sub, [*names, "oak.bmp"], (1280, 720))
        savemat(folder / part / "Imagelists.mat", {"distimgs": cells(names)})
        savemat(folder / part / "Scores.mat", {"DMOSscores": [[10 + i, 40.5 + i]]})


def make_ivc(folder):
    photos(folder / "color", ["avion.bmp", "avion_j2000_r1.bmp", "avion_j2000_r2.bmp", "barba.bmp", "barba_flou_f1.bmp",
                              "barba_flou_f2.bmp"])
    (folder / "MOS.csv").write_text("MOS\n4.5\n3.5\n2\n1\n")


def make_mdid(folder):
    photos(folder / "reference_images", ["img01.bmp", "img02.bmp"])
    photos(folder / "distortion_images", ["img01_01.bmp", "img01_02.bmp", "img02_01.bmp", "img02_02.bmp"])
    (folder / "mos.txt").write_text("2.4855\n7.5241\n0.5816\n5\n")


def make_kadid10k(folder):
    names = ["I01_01_01.png", "I01_25_05.png", "I02_09_03.png", "I02_12_02.png"]
    photos(folder / "images", ["I01.png", "I02.png", *names], (512, 384))
    rows = "".join(f"{name},{name[:3]}.png,{4.5 - i},{0.25 * i}\n" for i, name in enumerate(names))
    (folder / "dmos.csv").write_text("dist_img,ref_img,dmos,var\n" + rows)


def make_cid2013(folder):
    names = ["IS_I_C01_D01", "IS_I_C02_D02", "IS_IV_C01_D03", "IS_VI_C08_D14"]
    paths = ["IS1/co1/", "IS1/co2/", "IS4/co1/", "IS6/co8/"]
    photos(folder, [f"{path}{name}.jpg" for path, name in zip(paths, names)])
    rows = "".join(f"{name},50,{20.5 * i - 5}\n" for i, name in enumerate(names))
    (folder / "CID2013 data - version 12112014.csv").write_text("Source_ID,MOS,Realigned MOS\n" + rows)


def make_bid(folder):
    photos(folder / "ImageDatabase", [f"DatabaseImage{i:04d}.JPG" for i in (1, 3, 4, 590)])
    (folder / "DatabaseGrades.csv").write_text(
        "Image Number,Average Subjective Grade,Number of Grades,Grade #1,Grade #2,Grade #3\n"
        "1,4,3,3,4,5\n3,1.5,2,1,2,\n4,2,2,2,2,\n590,0,3,0,0,0\n")


def make_spaq(folder):
    photos(folder / "TestImage", [f"0000{i}.jpg" for i in range(1, 5)])
    (folder / "Annotations").mkdir()
    rows = "".join(f"0000{i}.jpg,{20.5 * i},50\n" for i in range(1, 5))
    (folder / "Annotations" / "MOS and Image attribute scores.csv").write_text("Image name,MOS,Brightness\n" + rows)


def make_waterloo(folder):
    photos(folder, ["pristine_images/00001.bmp", *(f"distort_images/{kind}/{kind}_00001_1.{ending}" for kind, ending in
                                                   zip(waterloo.KINDS, ("jpg", "jpg", "bmp", "bmp")))])


def make_pipal(folder):
    photos(folder, ["Train_Ref/A0001.bmp", "Train_Ref/A0060.bmp", "Distortion_1/A0001_00_00.bmp",
                    "Distortion_1/A0001_06_26.bmp", "Distortion_2/A0060_00_00.bmp", "Distortion_2/A0060_03_02.bmp"])
    (folder / "Train_Label").mkdir()
    (folder / "Train_Label" / "A0001.txt").write_text("A0001_00_00.bmp,1520.0648\nA0001_06_26.bmp,1257.06\n")
    (folder / "Train_Label" / "A0060.txt").write_text("A0060_00_00.bmp,1400\nA0060_03_02.bmp,900.5\n")


def make_pieapp(folder):
    names = {1: ["distort_1_blur_inter_0.png", "distort_1_jpeg_artifacts_inter_3.png"],
             7: ["distort_7_blur_intra_0.png", "distort_7_blur_intra_1.png"]}
    for split, (reference, (a, b)) in zip(("train", "test"), names.items()):
        photos(folder, [f"reference_images/{split}/ref_{reference}.png",
                        *(f"distorted_images/{split}/ref_{reference}/{name}" for name in (a, b))])
        (folder / "labels" / split).mkdir(parents=True)
        head = "ref. image, distorted image A, distorted image B, raw preference for A"
        text = (f"{head}, processed preference for A\nref_1.png,{a},{b}, ,0.8\nref_1.png,{b},{a},0.25,0.2\n"
                if split == "train" else f"{head}\nref_7.png,ref_7.png,{b},1\nref_7.png,{a},{b},0.625\n")
        (folder / "labels" / split / f"ref_{reference}_pairwise_labels.csv").write_text(text)


def make_bapps(folder):
    for triplet, judgement in {"train/cnn": 0.5, "val/superres": 0.8}.items():
        photos(folder / triplet, ["ref/000000.png", "p0/000000.png", "p1/000000.png"])
        (folder / triplet / "judge").mkdir()
        np.save(folder / triplet / "judge" / "000000.npy", np.array([judgement], np.float32))


def make_ava(folder):
    photos(folder / "images", ["953619.jpg", "953958.jpg", "954184.jpg", "954113.jpg"])
    rows = [f"{i + 1} {name} {line} 1 22 1396\n" for i, (name, line) in
            enumerate(zip((953619, 953958, 954184, 954113), AVA_VOTES))]
    (folder / "AVA.txt").write_text("".join(rows))


def make_srij(folder):
    names = [f"{method}-{scale}-{scene}" for scene in ("globe", "coffee") for method, scale in (("bicubic", 3), ("srgan", 4))]
    photos(folder, [*(f"images/{name}.png" for name in names), "ground_truth/HD-1-globe.png", "ground_truth/HD-1-coffee.png"],
           (528, 528))
    rows = [f"images/{name}.png,{name[-4:]},ground_truth/HD-1-{name.split('-')[-1]}.png,{name.split('-')[0]},"
            f"{name.split('-')[1]},0,{20.5 * i},{i}.25,36" for i, name in enumerate(names, 1)]
    rows += [f"ground_truth/HD-1-{scene}.png,{scene},ground_truth/HD-1-{scene}.png,HD,1,1,90,5,36" for scene in ("globe", "coffee")]
    (folder / "mos.csv").write_text("\n".join([
        "file,content,ground_truth,method,scale,is_ground_truth,mos,mos_std_over_kept_subjects,n_kept", *rows]) + "\n")
    scores = [f"{name},{10 * i},{50 - 5 * i},{i if i > 1 else ''}" for i, name in enumerate(names, 1)]
    (folder / "raw_scores.csv").write_text("\n".join(["image,s02,s03,s04", *scores, "HD-1-globe,99,98,97",
                                                       "HD-1-coffee,99,98,97"]) + "\n")


MAKERS = {name: globals()[f"make_{name}"] for name in NAMES}
LISTS = {"tid2013": "mos_with_names.txt", "tid2008": "mos_with_names.txt", "biq2021": "Test (Images and MOS).csv",
         "koniq10k": koniq10k.SCORES}
#: A rated image of each, to spoil.
RATED = {"ava": "images/953619.jpg", "bapps": "val/superres/p0/000000.png",
         "bid": "ImageDatabase/DatabaseImage0001.JPG", "biq2021": "Images/ss01 (1).jpg",
         "cid2013": "IS1/co1/IS_I_C01_D01.jpg", "csiq": "dst_imgs/blur/woman.BLUR.2.png",
         "ivc": "color/barba_flou_f1.bmp", "kadid10k": "images/I01_01_01.png", "koniq10k": "512x384/0.jpg",
         "live_md": "Part 1/blurjpeg/oak_blur1.bmp", "live_r2": "jp2k/img2.bmp",
         "livec": "ChallengeDB_release/Images/10.bmp", "mdid": "distortion_images/img01_01.bmp",
         "pieapp": "distorted_images/train/ref_1/distort_1_blur_inter_0.png", "pipal": "Distortion_1/A0001_00_00.bmp",
         "spaq": "TestImage/00001.jpg", "srij": "images/bicubic-3-globe.png", "tid2008": "distorted_images/I01_01_1.bmp",
         "tid2013": "distorted_images/I01_01_1.bmp", "waterloo": "distort_images/gblur/gblur_00001_1.bmp"}


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
    for module, constant, value in PATCHES:
        monkeypatch.setattr(module, constant, value)
    return tmp_path / "cache"


@pytest.fixture(params=NAMES)
def release(request, tmp_path):
    """Returns (name, folder, a rated image of it)."""
    folder = tmp_path / "official"
    MAKERS[request.param](folder)
    return request.param, folder, folder / RATED[request.param]
