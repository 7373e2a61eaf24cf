"""The committed chapters keep the guards, and each guard can fail."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
sys.path.insert(0, str(BOOK))

import check  # noqa: E402
import compare  # noqa: E402
import execute  # noqa: E402
import pages  # noqa: E402
import publish  # noqa: E402
import result_tables  # noqa: E402
import run_chapter  # noqa: E402

CHAPTERS = execute.select_chapters([])
PNG = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def listed_chapters() -> list[str]:
    return [page for page in publish.listed_pages(BOOK / "_toc.yml") if page.startswith("notebooks/")]


def picture() -> nbformat.NotebookNode:
    return nbformat.v4.new_output("display_data", {"image/png": PNG, "text/plain": "<Figure>"})


def table() -> nbformat.NotebookNode:
    return nbformat.v4.new_output("execute_result", {"text/html": "<table>", "text/plain": "a"}, execution_count=2)


def printed(text: str, name: str = "stdout") -> nbformat.NotebookNode:
    return nbformat.v4.new_output("stream", name=name, text=text)


def code(source: str, count: int | None, *outputs, **metadata) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(source, execution_count=count, outputs=list(outputs), metadata=metadata)


def notebook(*cells) -> nbformat.NotebookNode:
    """Returns a faultless notebook with ``cells`` after its parameters cell."""
    first = code("SEED = 0", 1, tags=["parameters"])
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title"), first, *cells], metadata=kernel)


CAPTIONED = {"figure": {"caption": "A curve."}, "image": {"alt": "A curve that rises from left to right."}}
ALT = {"image": {"alt": "A curve that rises from left to right."}}
BROKEN = {
    "unexecuted cell": (notebook(code("1 + 1", None)), check.check_executed, "expected execution count 2"),
    "stale order": (notebook(code("1 + 1", 7)), check.check_executed, "got 7"),
    "error output": (notebook(code("1 / 0", 2, nbformat.v4.new_output("error", ename="ZeroDivisionError"))),
                     check.check_no_errors, "ZeroDivisionError"),
    "warning": (notebook(code("f()", 2, printed("UserWarning: x", "stderr"))), check.check_no_errors, "stderr"),
    "no parameters cell": (nbformat.v4.new_notebook(cells=[code("SEED = 0", 1)]), check.check_parameters_cell,
                           "tagged"),
    "second parameters cell": (notebook(code("A = 1", 2, tags=["parameters"])), check.check_parameters_cell, "[2, 3]"),
    "picture without alt text": (notebook(code("plot()", 2, picture())), check.check_output_alternatives, "alt text"),
    "two pictures": (notebook(code("plot()", 2, picture(), picture(), mystnb=ALT)), check.check_output_alternatives,
                     "2 pictures"),
    "table and picture": (notebook(code("table", 2, picture(), table(), mystnb=CAPTIONED)),
                          check.check_output_alternatives, "the picture's caption too"),
    "slider without labels": (notebook(code("plot()", 2, picture(), picture(), mystnb=ALT, tags=["slider"])),
                              check.check_output_alternatives, "label"),
    "mark that nbval ignores": (notebook(code("# NBVAL_IGNORE_OUTPUT: trained here\nf()", 2)), check.check_comparison_marks,
                                "nbval-ignore-output"),
    "markdown picture": (notebook(nbformat.v4.new_markdown_cell("![](photo.png)")), check.check_markdown_alternatives,
                         "![](...)"),
    "figure directive": (notebook(nbformat.v4.new_markdown_cell("```{figure} photo.png\n:name: x\n```")),
                         check.check_markdown_alternatives, "{figure}"),
    "html picture": (notebook(nbformat.v4.new_markdown_cell("<img src='photo.png'>")),
                     check.check_markdown_alternatives, "<img>"),
    "long cell": (notebook(code("\n".join(["x = 1"] * 16), 2)), check.check_budgets, "16 code lines"),
    "long chapter": (notebook(*(code("\n".join(["x = 1"] * 15), 2 + i) for i in range(8))), check.check_budgets,
                     "121 code lines"),
    "absolute path": (notebook(code("open('/home/me/photo.png')", 2)), check.check_portable, "absolute path"),
    "path in an output": (notebook(code("f()", 2, printed("saved in /home/me/x.png"))), check.check_portable,
                          "absolute path"),
    "installation": (notebook(code("!pip install numpy", 2)), check.check_portable, "an installation"),
    "silenced warnings": (notebook(code("warnings.filterwarnings('ignore')", 2)), check.check_portable, "silenced"),
    "widget": (notebook(code("w", 2, nbformat.v4.new_output(
        "display_data", {"application/vnd.jupyter.widget-view+json": {}}))), check.check_portable, "dead without"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_guard_finds_its_fault(name):
    broken, guard, expected = BROKEN[name]
    assert any(expected in fault for fault in guard(broken)), list(guard(broken))


def test_a_faultless_notebook_has_no_fault(tmp_path):
    cells = [code("plot()", 2, printed("a\n"), picture(), mystnb=CAPTIONED),
             code("show()", 3, printed("a\n"), picture(), printed("b\n"), picture(), mystnb=ALT, tags=["slider"]),
             nbformat.v4.new_markdown_cell("![A curve that rises from left to right.](x.png) and a/home/b, 1/2")]
    path = tmp_path / "99_good.ipynb"
    nbformat.write(notebook(*cells), path)
    assert check.faults(path) == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_committed_chapter_keeps_the_guards(path):
    assert check.faults(path) == []


def test_the_table_of_contents_lists_every_chapter():
    assert sorted(listed_chapters()) == [f"notebooks/{path.stem}" for path in CHAPTERS]


def test_unknown_parameter_and_missing_cell_are_refused(tmp_path):
    path = tmp_path / "99_toy.ipynb"
    nbformat.write(notebook(), path)
    run_chapter.check_parameters(path, {"SEED": 1})
    with pytest.raises(ValueError, match="no parameter SEDE; it has SEED"):
        run_chapter.check_parameters(path, {"SEDE": 1})
    nbformat.write(nbformat.v4.new_notebook(cells=[code("SEED = 0", 1)]), path)
    with pytest.raises(ValueError, match="expected one cell tagged 'parameters', got 0"):
        run_chapter.check_parameters(path, {})


def test_the_key_follows_source_package_and_parameters_but_not_outputs(tmp_path):
    def key(*cells, package="p", parameters=None):
        for number, cell in enumerate(cells):
            cell["id"] = f"cell-{number}"
        nbformat.write(notebook(*cells), tmp_path / "99_toy.ipynb")
        return execute.chapter_key(tmp_path / "99_toy.ipynb", package, parameters or {})

    same = key(code("x = 1", 2))
    assert key(code("x = 1", 5, printed("hello"))) == same
    assert len({same, key(code("x = 2", 2)), key(code("x = 1", 2), package="q"),
                key(code("x = 1", 2), parameters={"SEED": 1})}) == 4


def test_a_failing_chapter_is_named_and_the_others_finish(tmp_path):
    good, bad = tmp_path / "01_good.ipynb", tmp_path / "02_bad.ipynb"
    nbformat.write(notebook(code("print('ran')", None)), good)
    nbformat.write(notebook(code("missing_name", None)), bad)
    runs = execute.execute_chapters([bad, good], tmp_path / "executed", jobs=2, parameters={})
    assert "cell 3: NameError: name 'missing_name' is not defined" in runs[0].error
    assert runs[1].error == "" and runs[1].peak_mb > 10 and runs[1].seconds > 0
    assert "ran" in (tmp_path / "executed" / good.name).read_text()
    before = (tmp_path / "executed" / good.name).stat().st_mtime_ns
    execute.execute_chapters([good], tmp_path / "executed", jobs=1, parameters={})
    assert (tmp_path / "executed" / good.name).stat().st_mtime_ns == before, "an unchanged chapter ran again"
    execute.write_clean(tmp_path / "executed" / good.name, good)
    assert check.faults(good) == [] and "papermill" not in good.read_text()


def test_strict_nbval_finds_a_changed_output(tmp_path):
    path = tmp_path / "01_toy.ipynb"
    nbformat.write(notebook(code("print(SEED)", 2, printed("0\n"))), path)
    assert compare.run_nbval(path, "key").error == ""
    nbformat.write(notebook(code("print(SEED)", 2, printed("1\n"))), path)
    assert "mismatch" in compare.run_nbval(path, "key").error


def test_a_changed_picture_is_found():
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    changed = photo.copy()
    changed[16:48, 16:48] = 0
    assert compare.picture_similarity(photo, photo) >= compare.MIN_SSIM
    assert compare.picture_similarity(changed, photo) < compare.MIN_SSIM
    assert compare.picture_similarity(photo[:32], photo) == 0


def test_picture_faults_names_the_cell(tmp_path):
    paths = [tmp_path / "01_toy.ipynb", tmp_path / "executed.ipynb"]
    nbformat.write(notebook(code("plot()", 2, picture(), mystnb=ALT)), paths[0])
    nbformat.write(notebook(code("plot()", 2)), paths[1])
    assert "1 committed pictures, 0 in the new run" in compare.picture_faults(*paths)[0]
    assert compare.picture_faults(paths[0], paths[0]) == []


def test_a_picture_that_follows_from_a_training_must_be_there_and_may_differ(tmp_path, monkeypatch):
    paths = [tmp_path / "01_toy.ipynb", tmp_path / "executed.ipynb"]
    monkeypatch.setattr(compare, "picture_similarity", lambda new, old: 0.5)
    for tags, faults in (([], 1), ([compare.VARIES], 0)):
        for path in paths:
            nbformat.write(notebook(code("plot()", 2, picture(), mystnb=ALT, tags=tags)), path)
        assert len(compare.picture_faults(*paths)) == faults
    nbformat.write(notebook(code("plot()", 2, tags=[compare.VARIES])), paths[1])
    assert "0 in the new run" in compare.picture_faults(*paths)[0]


def test_the_student_edition_has_no_solutions():
    book = notebook(code("answer = 42", 2, tags=["solution"]), nbformat.v4.new_markdown_cell("Question"))
    text = json.dumps(publish.without_solutions(book))
    assert "answer" not in text and "Question" in text


def test_external_requests_are_found(tmp_path):
    (tmp_path / "page.html").write_text('<a href="https://example.org">a link is no request</a>'
                                        '<script src="https://example.org/x.js"></script>'
                                        '<link rel="stylesheet" href="//example.org/x.css"><img src="local.png">')
    (tmp_path / "style.css").write_text("@font-face { src: url('https://example.org/x.woff') }")
    assert len(publish.external_requests(tmp_path)) == 3


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_each_citation_has_an_entry_and_the_chapters_prefix(path):
    entries = set(re.findall(r"^@\w+\{([^,\s]+),", (BOOK / "references.bib").read_text(encoding="utf-8"), re.MULTILINE))
    prefix = f"ch{path.stem[:2]}-"
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    keys = [key.strip() for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text) for key in keys.split(",")]
    assert {key for key in keys if not key.startswith(prefix)} == set()
    assert {key.removeprefix(prefix) for key in keys} <= entries


def test_the_readme_has_the_registry_s_table():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert pages.with_readme_table(text) == text, "run python book/pages.py"
    with pytest.raises(ValueError, match="put them back"):
        pages.with_readme_table("no marks")


def test_the_site_is_told_to_load_nothing_from_outside():
    settings = yaml.safe_load((BOOK / "_config.yml").read_text(encoding="utf-8"))["sphinx"]["config"]
    assert (BOOK / "_static" / settings["mathjax_path"]).stat().st_size > 10**6
    assert "sphinx_thebe" not in settings["extensions"]


def test_every_result_has_a_title_and_its_numbers(tmp_path):
    text = result_tables.results_tables(ROOT / "results")
    for file in (ROOT / "results").glob("*.csv"):
        assert file.stem == "ledger" or f"File: `results/{file.name}`" in text, file.name
    (tmp_path / "accuracy.csv").write_text("metric,ours,date\npsnr,21.11363421,2026-01-01\nssim,,2026-02-01\n")
    found = result_tables.results_tables(tmp_path)
    assert "| psnr | 21.11 |" in found and "| ssim |  |" in found and "date 2026-01-01 to 2026-02-01" in found
    (tmp_path / "new.csv").write_text("a\n1\n")
    with pytest.raises(KeyError, match="new"):
        result_tables.results_tables(tmp_path)
