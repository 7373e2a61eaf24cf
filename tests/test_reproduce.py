"""Published tables and their jobs: the data is sound, and a small table is the same from one process and from several."""

import importlib.util
import inspect
import json
import os
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from iqa_lab import DATABASES, METRICS, load_database
from iqa_lab.cli import app
from iqa_lab.cli import reproduce as command
from iqa_lab.databases import quality
from iqa_lab.registry import unwrapped
from iqa_lab.reproduction import jobs, running
from iqa_lab.reproduction.published import TABLES, find_table, short_name
from iqa_lab.reproduction.tables import PROTOCOLS, VARIANTS, base_of, cells
from iqa_lab.training.recipes import RECIPES, Recipe

run = CliRunner().invoke
ROOT = Path(__file__).parent.parent
#: A small table as a program of its own, which workers run in the place of iqa-lab. KILLED names a job that dies untold.
TINY = '''
import os, signal, sys
from dataclasses import replace
from iqa_lab.cli import app
from iqa_lab.reproduction import comparison, jobs, published, running
from iqa_lab.reproduction.tables import PublishedTable, cells
from iqa_lab.training import recipes

SYSTEMS = {"psnr": (0.9, 0.8), "gm_log": (0.7, None), "diqa": (0.6, None)}
TABLE = PublishedTable("wang2004ssim", "tiny", "a test", "splits", "invented",
                       cells("srocc", "live_gblur_mini csiq", SYSTEMS))
FAST = {name: recipes.RECIPES[name]["fast"] for name in ("gm_log", "diqa")}
CHANGED = {"gm_log": {"fast": replace(FAST["gm_log"], C=(4.0,), gamma=(1.0,), folds=2)},
           "diqa": {"fast": replace(FAST["diqa"], epochs=1, patches_per_image=1, options={"width": 0.05})}}

def install(put):
    put(published, "TABLES", (TABLE,))
    for module in (recipes, jobs):
        put(module, "RECIPES", recipes.RECIPES | CHANGED)
    for module in (comparison, jobs, running):
        put(module, "N_SPLITS", 2)

if __name__ == "__main__":
    install(setattr)
    if os.environ.get("KILLED") in sys.argv:
        running.agreement_rows = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    app()
'''


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.paper}-{table.name}")
def test_a_table_names_only_what_exists(table):
    assert f"{{{table.paper}," in (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    assert table.protocol in PROTOCOLS and table.statistic in ("median", "mean") and table.source
    places = [(cell.system, cell.database, cell.criterion, cell.trained_on, cell.distortion) for cell in table.cells]
    assert len(set(places)) == len(places) > 0
    for cell in table.cells:
        base, options = base_of(cell.system)
        assert base in METRICS and set(options) <= set(inspect.signature(unwrapped(METRICS[base].create)).parameters)
        facts = DATABASES[cell.database]
        assert cell.distortion == "all" or cell.distortion in facts.distortions
        assert METRICS[base].kind == "NR" or facts.kind == "FR"
        assert bool(cell.trained_on) == (table.protocol == "cross") and (cell.trained_on or cell.database) in DATABASES
        assert cell.criterion in (("2afc",) if table.protocol == "pairs" else ("srocc", "krocc", "plcc"))
        assert 0.05 < cell.published < 1  # a share, not a percentage, and never the sign of a DMOS


def test_names_of_tables_and_variants_are_unique():
    assert len({(table.paper, table.name) for table in TABLES}) == len(TABLES)
    assert len({short_name(table.paper) for table in TABLES}) == len({table.paper for table in TABLES})
    assert not set(VARIANTS) & set(METRICS)
    assert {cell.system for table in TABLES for cell in table.cells} >= {name for name in VARIANTS if "lite0" not in name}


def test_numbers_stand_where_the_sources_print_them():
    def published(paper, name, system, database, criterion="srocc", trained_on="", distortion="all"):
        (cell,) = [cell for cell in find_table(paper, name).cells if cell.criterion == criterion and (
            cell.system, cell.database, cell.trained_on, cell.distortion) == (system, database, trained_on, distortion)]
        return cell.published

    assert published("hyperiqa", "comparison", "hyperiqa", "koniq10k") == 0.906
    assert published("hyperiqa", "cross", "dbcnn", "bid", trained_on="koniq10k") == 0.816
    assert published("hyperiqa", "types", "hyperiqa", "csiq", distortion="contrast_change") == 0.874
    assert published("pqr", "readme", "pqr_resnet50", "tid2013", "plcc") == 0.7980
    assert published("lpips", "table5", "lpips_vgg_cosine", "bapps", "2afc", distortion="deblur") == pytest.approx(0.59)


def test_cells_are_read_row_by_row():
    first, second = cells("srocc", "livec>bid livec csiq", {"psnr": (0.1, None, 0.3)})
    assert (first.trained_on, first.database, first.published) == ("livec", "bid", 0.1)
    assert (second.trained_on, second.database, second.published) == ("", "csiq", 0.3)
    with pytest.raises(ValueError):
        cells("srocc", "livec bid", {"psnr": (0.1,)})


def test_jobs_of_one_name_do_the_same_in_every_table():
    found = {}
    for table in TABLES:
        of_table = [job for place in jobs.jobs_of(table, "full").values() for job in place]
        for job in of_table:
            assert found.setdefault(job.name, job) == job and re.fullmatch(r"[\w.-]+", job.name)
    assert "livec-hyperiqa-3" in found and found["livec-hyperiqa-3"].recipe.seed == 3
    assert "livec-brisque" in found and "livec-bid-hyperiqa" in found and "tid2013-psnr-all" in found


def test_every_network_that_a_table_trains_is_trained_once_for_each_split():
    for table in TABLES:
        for (system, *_), of_place in jobs.jobs_of(table, "fast").items():
            trained = isinstance(RECIPES.get(base_of(system)[0], {}).get("fast"), Recipe) and table.protocol == "splits"
            assert [job.split for job in of_place] == (list(range(10)) if trained else [None])


def test_a_recipe_gets_the_options_of_a_variant():
    job = jobs.Job("splits", "hyperiqa_backbone", "livec", "", "full", 4)
    assert job.recipe.options["hyper"] is False and job.recipe.seed == 4
    assert jobs.Job("whole", "deepqa", "csiq", "", "fast").recipe is None  # scored as it is
    with pytest.raises(ValueError, match="mode"):
        jobs.Job("splits", "biecon", "csiq", "", "slow").recipe


def test_the_list_gives_commands_that_name_their_jobs(tmp_path):
    words = ["reproduce", "hyperiqa", "ablation", "--output", str(tmp_path / "a folder"), "--mode", "full",
             "--device", "cuda", "--instead", "hyperiqa=hyperiqa_efficientnet_lite0"]
    lines = run(app, [*words, "--list"]).stdout.splitlines()
    places = jobs.jobs_of(find_table("hyperiqa", "ablation"), "full", instead={"hyperiqa": "hyperiqa_efficientnet_lite0"})
    names = [job.name for place in places.values() for job in place]
    assert len(lines) == 80 and [shlex.split(line)[-1] for line in lines] == names
    again = run(app, [*shlex.split(lines[17])[1:], "--list"])
    assert again.exit_code == 0 and again.stdout.splitlines() == [lines[17]]
    assert not (tmp_path / "a folder").exists()


@pytest.mark.parametrize("words, said", [
    (["nobody"], "Expected a paper with tables"), (["hyperiqa", "table99", "--output", "x"], "comparison"),
    (["hyperiqa", "cross"], "--output"), (["hyperiqa", "cross", "--output", "x", "--only", "y"], "--list prints"),
    (["hyperiqa", "cross", "--output", "x", "--instead", "ssim=psnr"], "a system of the table"),
    (["hyperiqa", "cross", "--output", "x", "--instead", "dbcnn=dbcn", "--list"], "did you mean")])
def test_one_clear_line_for_what_does_not_exist(words, said):
    result = run(app, ["reproduce", *words])
    assert result.exit_code == 2 and said in result.stderr and result.stderr.startswith("error: ")


def test_papers_and_tables_are_listed():
    result = run(app, ["reproduce", "deepbqa"])
    assert result.exit_code == 0 and "tv_weight" in result.stdout and "hyperiqa" not in result.stdout
    assert all(table.paper in run(app, ["reproduce"]).stdout for table in TABLES)


@pytest.fixture
def tiny(tmp_path, tmp_path_factory, monkeypatch):
    """The small table in this process; returns a function that runs it into a folder."""
    file = tmp_path / "tiny.py"
    file.write_text(TINY)
    spec = importlib.util.spec_from_file_location("tiny", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.install(monkeypatch.setattr)
    monkeypatch.setattr(command, "WORKER", (sys.executable, str(file)))
    monkeypatch.setenv("IQA_LAB_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    for kept in (jobs.missing_database, jobs.missing_system, jobs.hash_of):
        kept.cache_clear()

    def reproduce(folder, *more):
        return run(app, ["reproduce", "wang2004ssim", "tiny", "--output", str(tmp_path / folder), *more])

    yield reproduce
    jobs.missing_database.cache_clear()


def results(folder):
    return {file.parent.name: file.stat().st_mtime_ns for file in folder.rglob("result.json")}


def test_two_processes_give_the_table_of_one_also_after_one_was_killed(tiny, tmp_path, monkeypatch):
    alone = tiny("alone")
    assert alone.exit_code == 0 and "iqa-lab data prepare csiq" in re.sub(r"\s+", " ", alone.stdout), alone.output
    monkeypatch.setenv("KILLED", "live_gblur_mini-diqa-1")
    killed = tiny("several", "--jobs", "2")
    assert killed.exit_code == 0 and "ended with -9" in killed.stderr
    table = pd.read_csv(tmp_path / "several" / "table.csv", keep_default_na=False).set_index(["system", "database"])
    assert table.loc[("diqa", "live_gblur_mini"), "splits"] == "1 of 2"
    assert "1 of 2 splits; not run yet" in table.loc[("diqa", "live_gblur_mini"), "note"]
    before = results(tmp_path / "several")
    assert set(before) == {"live_gblur_mini-psnr", "live_gblur_mini-gm_log", "live_gblur_mini-diqa-0"}
    monkeypatch.delenv("KILLED")
    assert tiny("several", "--jobs", "2").exit_code == 0
    after = results(tmp_path / "several")
    assert len(after) == 4 and before.items() <= after.items()  # nothing was run again
    assert (tmp_path / "several" / "table.csv").read_bytes() == (tmp_path / "alone" / "table.csv").read_bytes()


def test_numbers_of_the_table_are_those_of_the_runs(tiny, tmp_path):
    assert "seconds" in tiny("one", "--only", "live_gblur_mini-psnr").stdout
    assert tiny("one", "--jobs", "0").exit_code == 0
    table = pd.read_csv(tmp_path / "one" / "table.csv").set_index(["system", "database"])
    rows = json.loads((tmp_path / "one" / "fast" / "live_gblur_mini-psnr" / "result.json").read_text())["rows"]
    found = [row["srocc"] for row in rows if row["distortion"] == "all"]
    row = table.loc[("psnr", "live_gblur_mini")]
    assert len(found) == 2 and all(value > 0.7 for value in found)  # DMOS: the sign is that of agreement
    assert row["ours"] == pytest.approx(np.median(found)) and row["difference"] == pytest.approx(np.median(found) - 0.9)
    assert table.loc[("psnr", "csiq"), "missing"].startswith("Expected the index of database 'csiq'")
    assert table.loc[("diqa", "live_gblur_mini"), "note"] == "not run yet" and np.isnan(row["note"])


def test_a_failing_job_stands_in_the_table_with_its_error_and_is_tried_again(tiny, tmp_path, monkeypatch):
    with monkeypatch.context() as broken:
        def fail(*_, **__):
            raise RuntimeError("no memory left")
        broken.setattr(running, "train", fail)
        result = tiny("one")
    assert result.exit_code == 0 and "no memory left" in result.stderr
    table = pd.read_csv(tmp_path / "one" / "table.csv").set_index(["system", "database"])
    assert table.loc[("diqa", "live_gblur_mini"), "note"] == (
        "live_gblur_mini-diqa-0 failed: RuntimeError: no memory left")
    assert table.loc[("gm_log", "live_gblur_mini"), "note"] == "fast recipe"
    assert tiny("one", "--only", "live_gblur_mini-diqa-0").exit_code == 0
    assert "1 of 2 splits; live_gblur_mini-diqa-1 failed" in re.sub(r"[\s│]+", " ", tiny("one", "--jobs", "0").stdout)


def test_a_result_of_other_opinion_scores_is_no_result(tiny, tmp_path):
    tiny("one", "--only", "live_gblur_mini-psnr")
    job = jobs.Job("splits", "psnr", "live_gblur_mini", "", "fast")
    file = job.folder(tmp_path / "one") / "result.json"
    assert jobs.finished(job, tmp_path / "one")
    file.write_text(file.read_text().replace('"live_gblur_mini": "', '"live_gblur_mini": "0'))
    assert jobs.finished(job, tmp_path / "one") is None


def test_another_system_and_a_part_of_a_database_are_named_in_the_note(tiny, tmp_path, monkeypatch):
    facts = DATABASES["live_gblur_mini"]
    monkeypatch.setitem(DATABASES, "live_gblur_mini", type(facts)(**vars(facts) | {"n_images": 779}))
    tiny("one", "--only", "live_gblur_mini-ssim", "--instead", "psnr=ssim")
    tiny("one", "--jobs", "0", "--instead", "psnr=ssim")
    row = pd.read_csv(tmp_path / "one" / "table.csv").set_index(["database", "criterion"]).loc["live_gblur_mini"].iloc[0]
    assert row["system"] == "ssim" and row["note"] == "15 of 779 images of live_gblur_mini; ssim instead of psnr"


def test_two_databases_are_joined_on_one_scale():
    learned, tested = load_database("live_gblur_mini"), load_database("livec_mini")  # DMOS and MOS
    both, parts = running.joined(learned, tested)
    mos = both.index["mos"].to_numpy()
    assert all(path.is_file() for path in both.image_paths) and len(parts) == len(both.index) == 165
    assert np.allclose(quality(both, mos[15:]), tested.index["mos"].to_numpy() - 100)  # 0 is the best DMOS
    contents = [set(both.index["content"][parts == part]) for part in ("train", "validation", "test")]
    assert [len(part) for part in contents] == [2, 1, 150] and len(set().union(*contents)) == 153
    assert np.array_equal(parts == "test", np.arange(165) >= 15)


def test_agreement_of_pairs_is_that_of_each_family_and_their_mean(monkeypatch):
    database = load_database("live_gblur_mini")
    names = database.index["image"].to_numpy()
    index = database.index.assign(distortion=["blur"] * 4 + ["noise"] * 11)
    pairs = pd.DataFrame({"first": names[[0, 2, 4, 6]], "second": names[[1, 3, 5, 7]], "preference": [0.8, 0.2, 1.0, 0.5],
                          "split": ["val", "val", "val", "train"]})
    monkeypatch.setattr(running, "load_pairs", lambda _: pairs)
    monkeypatch.setattr(running, "scores_of", lambda metric, part, *_: -np.arange(len(part.index)))
    rows = running.pair_rows(None, type(database)(database.facts, database.root, index), "cpu", False)
    assert [(row["distortion"], row["n"], round(row["2afc"], 6)) for row in rows] == [
        ("blur", 2, 0.5), ("noise", 1, 1.0), ("all", 3, 0.75)]


def test_an_infinite_score_is_the_largest(monkeypatch):
    metric = type("Metric", (), {"higher_is_better": True})
    table = pd.DataFrame({"image": ["a", "b"], "score": [np.inf, 30.0], "error": ["", ""]})
    monkeypatch.setattr(running, "score", lambda *_, **__: table)
    assert running.scores_of(metric, None, "cpu", False).tolist() == [1e5, 30]
    table.loc[1, "error"] = "no picture"
    with pytest.raises(ValueError, match="for b: no picture"):
        running.scores_of(metric, None, "cpu", False)


def test_workers_share_the_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "WORKER", (sys.executable, "-c", "import os; print(os.environ['OMP_NUM_THREADS'])"))
    job = jobs.Job("whole", "psnr", "livec", "", "fast")
    assert command.run_worker(job, [], tmp_path, "3") == ""
    assert (job.folder(tmp_path) / "log.txt").read_text().strip() == "3" and os.environ.get("OMP_NUM_THREADS") != "3"
