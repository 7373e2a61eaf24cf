"""The databases a fresh clone has: facts, shipped files, and the build of 'embedded'."""

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from iqa_lab import databases
from iqa_lab.data_scripts import make_livec_mini
from iqa_lab.data_scripts.prepare import RELEASES
from iqa_lab.data_scripts.verify import verify
from iqa_lab.databases import DATABASES, INDEX_COLUMNS, load_database, quality
from iqa_lab.embedded import SHIPPED, build, cache_folder
from iqa_lab.embedded.photographs import PHOTOGRAPHS, load_photograph


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IQA_LAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield load_database("embedded")


@pytest.mark.parametrize("facts", DATABASES.values(), ids=DATABASES)
def test_facts_are_complete(facts):
    assert facts.kind in ("FR", "NR") and facts.licence and facts.title and facts.how_to_get and facts.method
    assert facts.score_kind in ("MOS", "DMOS", "pairs", "proxy") and 1 <= facts.n_contents <= facts.n_images
    scored = facts.score_kind in ("MOS", "DMOS")
    assert scored == (facts.score_range is not None) == (facts.higher_is_better is not None)
    assert (facts.score_kind == "proxy") == (facts.method == "none") == (not facts.ratings_per_image)
    assert (facts.n_distortions > 0) == (facts.kind == "FR")
    if facts.name != "embedded":
        bibliography = (Path(__file__).parent.parent / "book" / "references.bib").read_text(encoding="utf-8")
        assert re.search(r"^@\w+\{" + facts.citation + ",", bibliography, re.MULTILINE)
        assert facts.homepage.startswith("http")
    if facts.score_range:
        assert facts.score_range[0] < facts.score_range[1]
        assert facts.higher_is_better == (facts.score_kind == "MOS" or facts.name == "kadid10k")  # DMOS by name only


def test_every_database_that_does_not_ship_has_a_parser():
    assert set(RELEASES) == set(DATABASES) - {"embedded", "livec_mini", "live_gblur_mini"}
    for name, module in RELEASES.items():
        assert hasattr(module, "parse_pairs") == (DATABASES[name].score_kind == "pairs") and hasattr(module, "SIZES")


def test_kinds_of_distortion_are_counted_by_name_or_by_the_paper():
    assert {name: DATABASES[name].n_distortions for name in ("tid2008", "tid2013", "kadid10k", "pipal", "pieapp")} == {
        "tid2008": 17, "tid2013": 24, "kadid10k": 25, "pipal": 40, "pieapp": 75}
    assert len(DATABASES["pipal"].distortions) == 7 and not DATABASES["pieapp"].distortions


def test_embedded_holds_every_photograph_distortion_and_level(embedded):
    index = embedded.index
    assert list(index.columns) == list(INDEX_COLUMNS) and len(index) == embedded.facts.n_images == 350
    assert set(index["content"]) == {photo.name for photo in PHOTOGRAPHS}
    assert set(index["distortion"]) == set(build.EMBEDDED_DISTORTIONS)
    levels = index.groupby(["content", "distortion"])["level"].apply(list)
    assert len(levels) == 70 and all(level == [1, 2, 3, 4, 5] for level in levels)
    assert index["mos"].isna().all()  # nobody has rated these
    for image, reference in list(zip(embedded.image_paths, embedded.reference_paths))[::35]:
        with Image.open(image) as distorted, Image.open(reference) as original:
            assert distorted.size == original.size and distorted.mode == original.mode == "RGB"


def test_embedded_has_the_stored_pixels(embedded, monkeypatch):
    monkeypatch.setenv("IQA_LAB_CACHE", str(embedded.root.parent.parent))
    assert verify("embedded") == "embedded: 357 images have the published pixels"
    victim = embedded.root / "distorted/coffee_white_noise_1.png"
    whole = victim.read_bytes()
    Image.fromarray(np.zeros((400, 512, 3), np.uint8)).save(victim)
    with pytest.raises(RuntimeError, match="coffee_white_noise_1"):
        verify("embedded")
    victim.write_bytes(whole)


def test_photographs_are_at_most_512_and_even():
    for photo in PHOTOGRAPHS:
        height, width, channels = load_photograph(photo).shape
        assert channels == 3 and max(height, width) <= 512 and height % 2 == width % 2 == 0
        assert photo.licence and photo.source
    assert len(PHOTOGRAPHS) >= 7


def test_another_codec_version_warns_and_anything_else_is_an_error():
    stored = build.read_hashes()
    found = {image: value for image, (value, _) in stored.items()}
    build.check_hashes(found, stored)
    jpeg = "distorted/coffee_jpeg_1.png"
    other = {**stored, jpeg: ("0" * 64, "libjpeg-turbo 0.0")}
    with pytest.warns(UserWarning, match="instead of libjpeg-turbo 0.0"):
        build.check_hashes(found, other)
    with pytest.raises(RuntimeError, match="coffee_jpeg_1"):
        build.check_hashes(found, {**stored, jpeg: ("0" * 64, build.codec_of(jpeg))})
    noise = "distorted/coffee_white_noise_1.png"
    with pytest.raises(RuntimeError, match="none involved"):
        build.check_hashes(found, {**stored, noise: ("0" * 64, "")})
    with pytest.raises(RuntimeError, match="1 of 357"):
        build.check_hashes({image: value for image, value in found.items() if image != jpeg}, stored)


def test_codecs_are_named_where_pixels_depend_on_them():
    assert build.codec_of("distorted/coffee_white_noise_1.png") == ""
    assert build.codec_of("distorted/coffee_jpeg2000_1.png") == f"openjpeg {features.version('jpg_2000')}"
    assert "jpeg" in build.codec_of("references/china.png")  # the photograph itself is a JPEG file
    assert " + openjpeg" in build.codec_of("distorted/china_jpeg2000_1.png")


@pytest.fixture
def tiny_build(monkeypatch):
    """Replaces the images of the build by one, slow enough for two builds to overlap."""
    def write_images(folder):
        (folder / "distorted" / "a.png").write_bytes(b"a")
        time.sleep(0.2)
        return {}

    monkeypatch.setattr(build, "write_images", write_images)
    monkeypatch.setattr(build, "read_hashes", dict)


def test_two_builds_at_once_both_succeed(tiny_build, tmp_path):
    errors = []

    def run():
        try:
            build.build_embedded(tmp_path / "embedded")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert errors == [] and [path.name for path in tmp_path.iterdir()] == ["embedded"]
    assert (tmp_path / "embedded" / "distorted" / "a.png").is_file()


def test_a_killed_build_leaves_nothing_that_counts(tiny_build, tmp_path, monkeypatch):
    code = ("import sys, time; from pathlib import Path; from iqa_lab.embedded import build\n"
            "build.write_images = lambda folder: (print('writing', flush=True), time.sleep(60))\n"
            "build.build_embedded(Path(sys.argv[1]))")
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "embedded")], stdout=subprocess.PIPE)
    process.stdout.readline()
    process.kill()
    process.communicate()
    assert not (tmp_path / "embedded").exists() and len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(build, "ABANDONED_AFTER", 0)
    build.build_embedded(tmp_path / "embedded")
    assert [path.name for path in tmp_path.iterdir()] == ["embedded"]


def test_a_failed_build_leaves_nothing_and_a_damaged_folder_is_made_again(tiny_build, tmp_path, monkeypatch):
    (tmp_path / "embedded").mkdir()
    (tmp_path / "embedded" / "left.png").write_bytes(b"")
    build.build_embedded(tmp_path / "embedded")
    assert (tmp_path / "embedded" / "index.csv").is_file() and not (tmp_path / "embedded" / "left.png").exists()
    monkeypatch.setattr(build, "read_hashes", lambda: {"distorted/coffee_white_noise_1.png": ("0", "")})
    with pytest.raises(RuntimeError):
        build.build_embedded(tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["embedded"]


@pytest.mark.parametrize("name", ["livec_mini", "live_gblur_mini"])
def test_shipped_databases_are_whole_with_their_notice(name):
    database = load_database(name)
    assert database.root == SHIPPED / name and len(database.index) == database.facts.n_images
    assert verify(name).endswith("have the shipped bytes")
    low, high = database.facts.score_range
    assert database.index["mos"].between(low, high).all() and (database.index["mos_std"] > 0).all()
    assert all(path.is_file() and path.stat().st_size < 5e6 for path in database.image_paths)
    notice = "README.txt" if name == "livec_mini" else "LIVE_Copyright_Notice.txt"
    text = (SHIPPED / name / notice).read_text(encoding="utf-8", errors="replace")
    assert "COPYRIGHT NOTICE STARTS" in text and "COPYRIGHT NOTICE ENDS" in text
    assert "Left out" in (SHIPPED / name / "SOURCE.md").read_text()
    for column in ("content", "distortion", "level", "reference"):
        assert database.index[column].isna().all() == (name == "livec_mini" and column != "content")


def test_livec_mini_covers_the_mos_range_evenly():
    counts, _ = np.histogram(load_database("livec_mini").index["mos"], 10)
    assert counts.sum() == 150 and counts.min() >= 10 and counts.max() <= 20


def test_quotas_are_as_even_as_the_numbers_allow():
    quotas = make_livec_mini.quotas(np.array([3, 100, 100, 0]))
    assert quotas.tolist() == [3, 74, 73, 0]


def test_live_gblur_mini_pairs_each_dmos_with_its_image():
    database = load_database("live_gblur_mini")
    row = database.index.set_index("image").loc["gblur/img17.png"]
    assert (row["reference"], row["mos"], row["mos_std"]) == ("refimgs/rapids.png", 88.253415, 1.747535)
    for _, group in database.index.groupby("content"):
        assert len(group) == 5 and group.sort_values("level")["mos"].is_monotonic_increasing  # DMOS
    for image, reference in zip(database.image_paths, database.reference_paths):
        with Image.open(image) as blurred, Image.open(reference) as sharp:
            a, b = np.asarray(blurred, float), np.asarray(sharp, float)
        assert a.shape == b.shape and np.diff(a, axis=1).std() < np.diff(b, axis=1).std()
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.7  # the same scene


def test_quality_turns_dmos_and_refuses_databases_without_scores():
    values = np.array([1.0, 2.0])
    np.testing.assert_array_equal(quality(DATABASES["live_gblur_mini"], values), [-1, -2])
    np.testing.assert_array_equal(quality(load_database("livec_mini"), values), values)
    with pytest.raises(ValueError, match="call it a proxy"):
        quality(DATABASES["embedded"], values)


def test_unknown_unprepared_and_moved_databases_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("IQA_LAB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="did you mean 'tid2013'"):
        load_database("tid2031")
    with pytest.raises(FileNotFoundError, match="iqa-lab data prepare tid2013 --source"):
        load_database("tid2013")
    folder = tmp_path / "databases" / "livec"
    folder.mkdir(parents=True)
    (folder / "index.csv").write_text(",".join(INDEX_COLUMNS) + "\n")
    (folder / "source.json").write_text('{"root": "%s"}' % (tmp_path / "moved"))
    with pytest.raises(FileNotFoundError, match="move them back"):
        load_database("livec")
    (folder / "source.json").unlink()
    (folder / "index.csv").write_text("image,mos\na.png,1\n")
    with pytest.raises(ValueError, match="Expected the columns"):
        load_database("livec")


def test_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("IQA_LAB_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("IQA_LAB_CACHE")
    assert cache_folder().name == "iqa_lab"


def test_databases_work_without_torch():
    code = "import sys, iqa_lab; iqa_lab.load_database('livec_mini'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert databases.__doc__
