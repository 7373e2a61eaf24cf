"""Each parser on its tiny release: every column that it fills, the pairs, and one clear error for what it reads."""

import statistics
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat
from tiny_releases import cache  # noqa: F401 - pytest finds this fixture by name
from tiny_releases import AVA_VOTES, MAKERS, cells, make_csiq, make_pieapp, photos, rewrite

from iqa_lab import databases
from iqa_lab.data_scripts import ava
from iqa_lab.data_scripts.prepare import prepare
from iqa_lab.data_scripts.release_files import find_sheet, locate_images, read_sheet
from iqa_lab.data_scripts.verify import verify
from iqa_lab.databases import PAIR_COLUMNS, index_folder, load_database, load_pairs, load_ratings, quality

AVA_MARKS = [[mark + 1 for mark, n in enumerate(map(int, line.split())) for _ in range(n)] for line in AVA_VOTES]

NAN = float("nan")
ROWS = {  # what the index of the tiny release says
    "live_r2": {"image": ["jp2k/img2.bmp", "jpeg/img1.bmp", "wn/img1.bmp", "fastfading/img1.bmp"],
                "reference": ["refimgs/rapids.bmp"] * 2 + ["refimgs/caps.bmp"] * 2,
                "distortion": ["jpeg2000", "jpeg", "white_noise", "fast_fading"], "mos": [20, 30, 111.5, -2.5],
                "mos_std": [2, 3, 4, 5]},
    "csiq": {"image": ["dst_imgs/awgn/1600.AWGN.1.png", "dst_imgs/jpeg2000/1600.jpeg2000.5.png",
                       "dst_imgs/blur/woman.BLUR.2.png", "dst_imgs/contrast/woman.contrast.4.png"],
             "reference": ["src_imgs/1600.png"] * 2 + ["src_imgs/woman.png"] * 2, "level": [1, 5, 2, 4],
             "distortion": ["white_noise", "jpeg2000", "gaussian_blur", "contrast_change"],
             "mos": [0.06, 0.9, 0.2, 1], "mos_std": [0.1, 0.2, 0.1, 0.2]},
    "tid2008": {"distortion": ["additive_gaussian_noise", "contrast_change", "additive_gaussian_noise", "jpeg2000"],
                "content": ["I01", "I01", "I02", "I02"], "level": [1, 4, 1, 3], "mos": [1.5, 2.5, 3.5, 4.5],
                "mos_std": [0.1, 0.2, 0.3, 0.4]},
    "live_md": {"image": ["Part 1/blurjpeg/oak_blur1.bmp", "Part 1/blurjpeg/oak_blur1_jpeg2.bmp",
                          "Part 2/blurnoise/oak_blur1.bmp", "Part 2/blurnoise/oak_noise3.bmp"],
                "distortion": ["gaussian_blur", "gaussian_blur_and_jpeg", "gaussian_blur", "white_noise"],
                "level": [1, NAN, 1, 3], "mos": [10, 40.5, 11, 41.5], "n_ratings": [19, 19, 18, 18]},
    "ivc": {"image": ["color/avion_j2000_r1.bmp", "color/avion_j2000_r2.bmp", "color/barba_flou_f1.bmp",
                      "color/barba_flou_f2.bmp"], "distortion": ["jpeg2000"] * 2 + ["blur"] * 2,
            "reference": ["color/avion.bmp"] * 2 + ["color/barba.bmp"] * 2, "level": [1, 2, 1, 2],
            "mos": [4.5, 3.5, 2, 1]},
    "mdid": {"content": ["img01", "img01", "img02", "img02"], "mos": [2.4855, 7.5241, 0.5816, 5], "mos_std": [NAN] * 4},
    "kadid10k": {"distortion": ["gaussian_blur", "contrast_change", "jpeg2000", "white_noise_colour"],
                 "level": [1, 5, 3, 2], "mos": [4.5, 3.5, 2.5, 1.5], "mos_std": [0, 0.5, 0.5 ** 0.5, 0.75 ** 0.5]},
    "cid2013": {"content": ["C01", "C02", "C01", "C08"], "mos": [-5, 15.5, 36, 56.5]},
    "bid": {"mos": [4, 1.5, 2, 0], "mos_std": [1, 0.5 ** 0.5, 0, 0], "n_ratings": [3, 2, 2, 3]},
    "spaq": {"image": [f"TestImage/0000{i}.jpg" for i in range(1, 5)], "mos": [20.5, 41, 61.5, 82]},
    "srij": {"image": ["images/bicubic-3-globe.png", "images/srgan-4-globe.png", "images/bicubic-3-coffee.png",
                       "images/srgan-4-coffee.png"], "distortion": ["bicubic", "srgan"] * 2, "level": [3, 4, 3, 4],
             "reference": ["ground_truth/HD-1-globe.png"] * 2 + ["ground_truth/HD-1-coffee.png"] * 2,
             "mos": [20.5, 41, 61.5, 82], "mos_std": [1.25, 2.25, 3.25, 4.25], "n_ratings": [36] * 4},
    "waterloo": {"image": [f"distort_images/{kind}/{kind}_00001_1.{ending}" for kind, ending in
                           [("jpg", "jpg"), ("jp2k", "jpg"), ("gblur", "bmp"), ("gnoise", "bmp")]],
                 "distortion": ["jpeg", "jpeg2000", "gaussian_blur", "white_noise"], "mos": [NAN] * 4},
    "pipal": {"image": ["Distortion_1/A0001_00_00.bmp", "Distortion_1/A0001_06_26.bmp", "Distortion_2/A0060_00_00.bmp",
                        "Distortion_2/A0060_03_02.bmp"], "mos": [1520.0648, 1257.06, 1400, 900.5],
              "distortion": ["group_00", "group_06", "group_00", "group_03"]},
    "pieapp": {"distortion": ["blur", "blur", "blur", "jpeg_artifacts"], "split": ["test", "test", "train", "train"],
               "content": ["ref_7", "ref_7", "ref_1", "ref_1"], "mos": [NAN] * 4},
    "bapps": {"image": ["train/cnn/p0/000000.png", "train/cnn/p1/000000.png", "val/superres/p0/000000.png",
                        "val/superres/p1/000000.png"], "distortion": ["cnn"] * 2 + ["superres"] * 2, "mos": [NAN] * 4},
    "ava": {"image": [f"images/{i}.jpg" for i in (953619, 953958, 954184, 954113)], "n_ratings": [124, 126, 80, 91],
            "mos": [statistics.mean(marks) for marks in AVA_MARKS],
            "mos_std": [statistics.stdev(marks) for marks in AVA_MARKS]},
}


@pytest.mark.parametrize("name", ROWS)
def test_what_the_index_says(name, tmp_path):
    MAKERS[name](tmp_path / "release")
    prepare(name, tmp_path / "release", progress=False)
    rows = load_database(name).index
    for column, values in ROWS[name].items():
        if isinstance(values[0], str):
            assert rows[column].tolist() == values
        else:
            np.testing.assert_allclose(rows[column].to_numpy(float), values, rtol=1e-8, err_msg=column)


PAIRS = {
    "pieapp": {("distort_1_blur_inter_0", "distort_1_jpeg_artifacts_inter_3", 0.8, -1, "train"),  # an estimate
               ("distort_1_jpeg_artifacts_inter_3", "distort_1_blur_inter_0", 0.2, 40, "train"),
               ("distort_7_blur_intra_0", "distort_7_blur_intra_1", 0.625, 40, "test")},  # not the one with ref_7
    "bapps": {("000000", "000000", 0.5, 2, "train"), ("000000", "000000", 0.2, 5, "val")},
}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_stand_beside_the_index(name, tmp_path):
    MAKERS[name](tmp_path / "release")
    prepare(name, tmp_path / "release", progress=False)
    pairs, images = load_pairs(name), set(load_database(name).index["image"])
    assert tuple(pairs.columns) == PAIR_COLUMNS and set(pairs["first"]) | set(pairs["second"]) <= images
    assert {(Path(row.first).stem, Path(row.second).stem, round(row.preference, 6), row.n_ratings, row.split)
            for row in pairs.fillna({"n_ratings": -1}).itertuples()} == PAIRS[name]
    if name == "bapps":
        assert pairs["first"].str.contains("/p0/").all() and pairs["second"].str.contains("/p1/").all()
    file = index_folder(name) / "pairs.csv"
    assert "as prepared" in verify(name)
    file.write_text(file.read_text() + "\n")
    with pytest.raises(ValueError, match="pairs.csv, it has been changed"):
        verify(name)


def test_single_ratings_stand_beside_the_index(tmp_path):
    MAKERS["srij"](tmp_path / "release")
    prepare("srij", tmp_path / "release", progress=False)
    ratings = load_ratings("srij")
    assert ratings.columns.tolist() == load_database("srij").index["image"].tolist()
    np.testing.assert_array_equal(ratings, [[10, 20, 30, 40], [45, 40, 35, 30], [NAN, 2, 3, 4]])
    assert "as prepared" in verify("srij")
    file = index_folder("srij") / "ratings.csv"
    file.write_text(file.read_text().replace("45", "54"))
    with pytest.raises(ValueError, match="ratings.csv, it has been changed"):
        verify("srij")
    MAKERS["csiq"](tmp_path / "other")
    prepare("csiq", tmp_path / "other", progress=False)
    with pytest.raises(FileNotFoundError, match="Expected the single ratings of database 'csiq'"):
        load_ratings("csiq")


def test_pairs_of_a_missing_image_are_left_out_and_other_databases_have_none(tmp_path, monkeypatch):
    make_pieapp(tmp_path / "release")
    (tmp_path / "release/distorted_images/test/ref_7/distort_7_blur_intra_1.png").unlink()
    prepare("pieapp", tmp_path / "release", present_only=True, output=tmp_path / "mine", progress=False)
    assert load_pairs("pieapp", root=tmp_path / "mine")["split"].tolist() == ["train", "train"]
    with pytest.raises(FileNotFoundError, match="iqa-lab data prepare pieapp"):
        load_pairs("pieapp")
    with pytest.raises(ValueError, match="Expected a database of pairs .pieapp, bapps., got 'tid2013'"):
        load_pairs("tid2013")
    with pytest.raises(ValueError, match="use load_pairs"):
        quality(databases.DATABASES["bapps"], np.zeros(2))
    (tmp_path / "mine" / "pairs.csv").write_text("first,second\na,b\n")
    with pytest.raises(ValueError, match="Expected the columns first, second, preference"):
        load_pairs("pieapp", root=tmp_path / "mine")


@pytest.mark.parametrize("name, file, old, new, message", [
    ("csiq", "csiq.DMOS.csv", b",image,", b",scene,", "Expected the columns"),
    ("csiq", "csiq.DMOS.csv", b"woman,6,", b"woman,7,", "dst_idx from 1 to 6"),
    ("csiq", "csiq.DMOS.csv", b"0.2,0.9", b"0.2,", "Expected a score for every image"),
    ("csiq", "csiq.DMOS.csv", b"0.2,0.9", b"0.2,9", "scores from 0 to 1"),
    ("tid2008", "mos_with_names.txt", b"i01_17_4", b"i01_18_4", "kinds 1 to 17 .* got 'i01_18_4.bmp'; is this TID2013"),
    ("tid2008", "mos_std.txt", b"0.1\n", b"", "one line in mos_std.txt for each of 4 images, got 3"),
    ("ivc", "MOS.csv", b"4.5\n", b"", "Expected 4 scores .* got 3"),
    ("mdid", "mos.txt", b"5\n", b"", "one line in mos.txt for each of 4 images, got 3"),
    ("mdid", "mos.txt", b"5\n", b"none\n", "Expected a score for every image"),
    ("kadid10k", "dmos.csv", b"dmos,var", b"mos,var", "Expected the columns"),
    ("kadid10k", "dmos.csv", b"I01_25_05.png", b"I01_26_05.png", "got 'I01_26_05.png'"),
    ("kadid10k", "dmos.csv", b"I01_25_05.png", b"i01_01_01.png", "got duplicates"),
    ("cid2013", "CID2013 data - version 12112014.csv", b"IS_IV_C01_D03", b"co1", "got 'co1'"),
    ("bid", "DatabaseGrades.csv", b"590,0", b"last,0", "a number in every row .* got 'last'"),
    ("spaq", "Annotations/MOS and Image attribute scores.csv", b"name,MOS", b"name,Score", "Expected the columns"),
    ("spaq", "Annotations/MOS and Image attribute scores.csv", b"00004.jpg", b"00001.jpg", "got duplicates"),
    ("pipal", "Train_Label/A0060.txt", b"A0060_03_02", b"B0060", "got 'B0060.bmp'"),
    ("pieapp", "labels/test/ref_7_pairwise_labels.csv", b"1.png,0.625", b"1.png,1.5", "shares of people from 0 to 1"),
    ("pieapp", "labels/test/ref_7_pairwise_labels.csv", b"1.png,0.625", b"1.png,", "shares of people from 0 to 1"),
    ("pieapp", "labels/test/ref_7_pairwise_labels.csv", b"ref_7.png,distort_7_blur_intra_0", b"ref_7.png,other",
     "got 'other.png'"),
    ("bapps", "val/superres/judge/000000.npy", b"NUMPY", b"NUMBY", "it cannot be read"),
    ("ava", "AVA.txt", b"1 22 1396\n", b"1 22\n", "15 numbers per line"),
    ("ava", "AVA.txt", b"0 0 0 0 0 0 0 0 0 80", b"0 0 0 0 0 0 0 0 0 0", "Expected a score for every image"),
])
def test_what_is_wrong_with_a_list_is_named(name, file, old, new, message, tmp_path):
    MAKERS[name](tmp_path / "release")
    rewrite(tmp_path / "release", file, old, new)
    with pytest.raises(ValueError, match=message):
        prepare(name, tmp_path / "release", progress=False)


@pytest.mark.parametrize("name, file, variable, values, message", [
    ("live_r2", "dmos_realigned.mat", "dmos_std", [[1, 2]], "intact MATLAB file with dmos_new"),
    ("live_r2", "refnames_all.mat", "refnames_all", cells(["caps.bmp"]), "Expected 5 entries .* got 1 references"),
    ("live_md", "Part 1/Scores.mat", "DMOSscores", [[10]], "a score for each of the 2 images .*Part 1, got 1"),
    ("live_md", "Part 2/Imagelists.mat", "distimgs", cells(["oak.bmp", "oak_noise3.bmp"]), "got 'oak.bmp'")])
def test_a_matlab_list_that_contradicts_the_others_is_refused(name, file, variable, values, message, tmp_path):
    MAKERS[name](tmp_path / "release")
    savemat(tmp_path / "release" / file, {variable: values})
    with pytest.raises(ValueError, match=message):
        prepare(name, tmp_path / "release", progress=False)


@pytest.mark.parametrize("name, folder", [("waterloo", "pristine_images"), ("pipal", "Train_Label")])
def test_a_release_without_its_lists_is_refused(name, folder, tmp_path):
    MAKERS[name](tmp_path / "release")
    for path in (tmp_path / "release" / folder).iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{folder}, found none"):
        prepare(name, tmp_path / "release", progress=False)


def test_a_csv_is_taken_before_a_workbook_and_a_workbook_says_what_it_needs(tmp_path, monkeypatch):
    make_csiq(tmp_path)
    (tmp_path / "csiq.DMOS.xlsx").write_bytes(b"no workbook")
    assert find_sheet(tmp_path, "csiq.DMOS").suffix == ".csv"
    assert len(read_sheet(find_sheet(tmp_path, "csiq.DMOS"), ("image", "dmos"))) == 4
    (tmp_path / "csiq.DMOS.csv").unlink()
    with pytest.raises(ValueError, match="save its sheet all_by_image as csiq.DMOS.csv beside it"):
        prepare("csiq", tmp_path, progress=False)

    def without_openpyxl(*_, **__):
        raise ImportError("Missing optional dependency 'openpyxl'.")

    monkeypatch.setattr(pd, "read_excel", without_openpyxl)
    with pytest.raises(ValueError, match="'openpyxl'.*install the package it needs, or save"):
        prepare("csiq", tmp_path, progress=False)
    with pytest.raises(FileNotFoundError, match="Expected 'DatabaseGrades.xlsx'"):
        prepare("bid", tmp_path, progress=False)


def test_a_workbook_is_read_like_its_csv(tmp_path):
    pytest.importorskip("openpyxl", reason="openpyxl is no dependency")
    make_csiq(tmp_path)
    pd.read_csv(tmp_path / "csiq.DMOS.csv", header=None).to_excel(tmp_path / "csiq.DMOS.xlsx", header=False,
                                                                 index=False, sheet_name="all_by_image")
    prepare("csiq", tmp_path, progress=False)
    from_csv = load_database("csiq").index
    (tmp_path / "csiq.DMOS.csv").unlink()
    prepare("csiq", tmp_path, progress=False)
    pd.testing.assert_frame_equal(load_database("csiq").index, from_csv)


def test_names_with_folders_match_whatever_their_case_and_ending(tmp_path):
    photos(tmp_path / "dst_imgs", ["AWGN/1600.AWGN.1.PNG", "blur/a.jpg"])
    names = ["awgn/1600.awgn.1.png", "blur/a.bmp", "blur/b.bmp"]
    assert locate_images(tmp_path, "dst_imgs", names, (".jpg",)) == (
        ["dst_imgs/AWGN/1600.AWGN.1.PNG", "dst_imgs/blur/a.jpg", "dst_imgs/blur/b.bmp"], [True, True, False])
    assert locate_images(tmp_path, "", ["DST_IMGS/blur/a.jpg"]) == (["dst_imgs/blur/a.jpg"], [True])
    assert locate_images(tmp_path, "nowhere", ["a.png"]) == (["nowhere/a.png"], [False])


@given(st.lists(st.lists(st.integers(0, 30), min_size=10, max_size=10).filter(lambda votes: sum(votes) > 1), min_size=1,
                max_size=5))
def test_summarised_votes_are_those_of_the_written_out_marks(votes):
    n, mean, deviation = ava.summarise_votes(np.array(votes, float))
    for row, line in enumerate(votes):
        marks = np.repeat(np.arange(1, 11), line)
        assert n[row] == len(marks) and mean[row] == pytest.approx(marks.mean())
        assert deviation[row] == pytest.approx(marks.std(ddof=1), abs=1e-6)
