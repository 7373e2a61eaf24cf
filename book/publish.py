"""Builds the site from a staging folder that holds the pages and the executed chapters.

The committed notebooks stay untouched: Sphinx reads book/_build/source, where the chapters are those that
book/execute.py has just run, the generated tables are written, and the package is linked for literal includes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import yaml

import pages

FETCHING_LINKS = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "preconnect", "dns-prefetch"}
EXTERNAL = re.compile(r"^\s*(https?:)?//")


def listed_pages(toc: Path) -> list[str]:
    """Returns every page of the table of contents as a path without suffix, in reading order."""
    table = yaml.safe_load(toc.read_text(encoding="utf-8"))
    return [table["root"]] + [chapter["file"] for part in table["parts"] for chapter in part["chapters"]]


def without_solutions(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Returns the student edition of a chapter: without the cells tagged ``solution``."""
    notebook.cells = [cell for cell in notebook.cells if "solution" not in cell.metadata.get("tags", [])]
    return notebook


def stage(root: Path, executed: Path, source: Path, *, edition: str) -> None:
    """Fills ``source`` with what Sphinx reads; ``executed`` is the folder of the chapters that have been run."""
    shutil.rmtree(source, ignore_errors=True)
    (source / "book").mkdir(parents=True)
    (source / "notebooks").mkdir()
    for name in ("iqa_lab", "results", "book/_static", "book/references.bib"):
        (source / name).symlink_to(root / name)
    for page in listed_pages(root / "book" / "_toc.yml"):
        if page.startswith("notebooks/"):
            notebook = nbformat.read(executed / f"{Path(page).name}.ipynb", as_version=4)
            if edition == "student":
                notebook = without_solutions(notebook)
            nbformat.write(notebook, source / f"{page}.ipynb")
        else:
            shutil.copy(root / f"{page}.md", source / f"{page}.md")
    pages.write_generated(root, source / "book" / "generated")


def run_jupyter_book(root: Path, source: Path, output: Path) -> None:
    """Builds with every warning an error; jupyter-book adds ``_build`` to ``output``."""
    # A page removed from the book must not survive from an earlier build.
    shutil.rmtree(output / "_build", ignore_errors=True)
    command = [Path(sys.executable).with_name("jupyter-book"), "build", source,
               "--config", root / "book" / "_config.yml", "--toc", root / "book" / "_toc.yml",
               "--path-output", output, "-W", "--keep-going", "-n", "--quiet"]
    done = subprocess.run([str(part) for part in command], cwd=root, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"The site does not build; Sphinx says:\n{done.stdout}{done.stderr}")


class _Requests(HTMLParser):
    """Collects what a browser would fetch from another machine when it opens the page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        fetches = tag != "link" or FETCHING_LINKS & set((attributes.get("rel") or "").split())
        names = ("href",) if tag == "link" else ("src", "srcset", "poster", "data")
        for value in (attributes.get(name) or "" for name in names):
            if fetches and EXTERNAL.match(value):
                self.found.append(value)


def external_requests(html: Path) -> list[str]:
    """Returns 'page: address' for each thing that the site would load from the network; must be empty."""
    found = []
    for page in sorted(html.rglob("*.html")):
        parser = _Requests()
        parser.feed(page.read_text(encoding="utf-8"))
        found += [f"{page.relative_to(html)}: {address}" for address in parser.found]
    for sheet in sorted(html.rglob("*.css")):
        addresses = re.findall(r"(?:url\(|@import\s+)['\"]?((?:https?:)?//[^'\")]+)", sheet.read_text(encoding="utf-8"))
        found += [f"{sheet.relative_to(html)}: {address}" for address in addresses]
    return found


def build_site(root: Path, executed: Path, *, edition: str = "full") -> Path:
    """Returns the folder of the finished site; exits with a message when a warning or an outside address is left."""
    build = root / "book" / "_build"
    output = build / "output" / edition
    html = build / ("html" if edition == "full" else f"html-{edition}")
    stage(root, executed, build / "source", edition=edition)
    run_jupyter_book(root, build / "source", output)
    found = external_requests(output / "_build" / "html")
    if found:
        sys.exit("The site must not load anything from the network, but would load:\n" + "\n".join(found))
    shutil.rmtree(html, ignore_errors=True)
    shutil.move(output / "_build" / "html", html)
    return html
