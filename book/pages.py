"""Writes the tables of the reference pages from the package itself, so that page and code cannot disagree.

``python book/pages.py`` writes the table of systems into README.md.
"""

from __future__ import annotations

import csv
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import iqa_lab
from iqa_lab import DATABASES, METRICS
from iqa_lab.database_facts import DatabaseFacts
from result_tables import results_tables
from tables import markdown_table

BEGIN, END = "<!-- systems: begin -->", "<!-- systems: end -->"  # the table in README.md
#: Page of the reference -> parts of the package; all others stand on the first page, api.
API_PAGES = {"api_full_reference": ("full_reference", "reduced_reference"), "api_no_reference": ("no_reference",),
             "api_primitives": ("ops", "images", "distortions", "synthesis", "backbones"),
             "api_evaluation": ("evaluation", "report", "plots"), "api_subjective": ("subjective",)}
LEDGER, STATUSES = "ledger.csv", ("reproduced", "explained", "last digit", "differs")  # a page of its own
# The command line shows its own help; scripts and bundled files are no API.
NOT_API = ("iqa_lab.cli", "iqa_lab.experiment", "iqa_lab.data_scripts", "iqa_lab.embedded")


def systems_table() -> str:
    """Returns the registry as a table: one row per system."""
    rows = ([f"`{name}`", metric.kind, "higher" if metric.higher_is_better else "lower",
             "{} to {}".format(*(f"{value:g}".replace("inf", "∞") for value in metric.score_range)),
             metric.configuration, f"{{cite:t}}`systems-{metric.paper}`"] for name, metric in METRICS.items())
    return markdown_table(("name", "kind", "better", "range", "configuration", "paper"), rows)


def readme_table() -> str:
    """Returns the registry as a table for the README, where there are no citations."""
    rows = ([f"`{name}`", metric.kind, "higher" if metric.higher_is_better else "lower", metric.configuration]
            for name, metric in METRICS.items())
    return markdown_table(("name", "kind", "better", "what the name stands for"), rows)


def with_readme_table(text: str) -> str:
    """Returns the text of the README with the table of systems between its two marks."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"Expected the marks {BEGIN!r} and {END!r} in README.md; put them back.")
    return head + begin + "\n" + readme_table() + end + tail


def databases_table() -> str:
    """Returns the facts about the databases as a table."""
    rows = ([f"`{facts.name}`", facts.title, facts.year, facts.kind, _scores(facts), facts.n_contents, facts.n_images,
             facts.n_distortions or "as taken", facts.method, facts.ratings_per_image, facts.licence,
             f"{{cite:t}}`databases-{facts.citation}`" if facts.citation else ""] for facts in DATABASES.values())
    notes = (f"- `{facts.name}`: {facts.how_to_get}{'' if facts.how_to_get.endswith('.') else '.'} {facts.notes}"
             for facts in DATABASES.values())
    return markdown_table(("name", "title", "year", "kind", "scores", "contents", "images", "distortions", "method",
                           "ratings an image", "licence", "paper"), rows) + "\n## How to get them, and what to know\n\n" + \
        "\n".join(notes) + "\n"


def _scores(facts: DatabaseFacts) -> str:
    """Returns kind, range and direction of the opinion scores in words."""
    if facts.score_range is None:
        return facts.score_kind
    return "{} {:g} to {:g}, {} is better".format(facts.score_kind, *facts.score_range,
                                                  "higher" if facts.higher_is_better else "lower")


def ledger_tables(file: Path) -> str:
    """Returns the ledger as a table of counts, and one of the cells of each source, folded away."""
    with file.open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    by_source = {source: [row for row in rows if row["source"] == source] for source in dict.fromkeys(r["source"] for r in rows)}
    counts = ([source, len(cells), *(sum(row["status"] == status for row in cells) for status in STATUSES)]
              for source, cells in by_source.items())
    parts = [f"File: `results/{LEDGER}`, written by `python -m iqa_lab.data_scripts.ledger`, {rows[0]['date']}.\n",
             markdown_table(("source", "cells", *STATUSES), counts)]
    columns = ("database", "subset", "n", "metric", "criterion", "published", "ours", "status", "with_cause", "reason")
    for source, cells in by_source.items():
        parts.append(f":::{{dropdown}} {source}\n" + markdown_table(columns, ([row[c] for c in columns] for row in cells)) + ":::\n")
    return "\n".join(parts)


def api_section(name: str) -> str:
    """Returns the documentation of one module: its first line, then its public tables, functions and classes."""
    module = importlib.import_module(name)
    own = {key: value for key, value in vars(module).items()
           if key[0] != "_" and getattr(value, "__module__", name) == name}
    functions = sorted((inspect.getsourcelines(value)[1], key, value) for key, value in own.items()
                       if inspect.isfunction(value) or inspect.isclass(value))
    # Not autodata: it would print the docstring of dict, or the whole table.
    directives = [f".. py:data:: {name}.{key}\n\n   A dict with {len(value)} entries.\n\n" for key, value in own.items()
                  if isinstance(value, dict) and re.search(rf"^{key}\b", inspect.getsource(module), re.MULTILINE)]
    directives += [_autoclass(f"{name}.{key}", value) if inspect.isclass(value)
                   else f".. autofunction:: {name}.{key}\n" for _, key, value in functions]
    summary = (module.__doc__ or "").strip().split("\n")[0]
    return f"## {name}\n\n{summary}\n\n{eval_rst(directives)}" if directives else ""


def _autoclass(name: str, value: type) -> str:
    """Returns the directive of a class; fields that its docstring describes as attributes are not listed again."""
    fields = ", ".join(getattr(value, "_fields", ())) if "Attributes:" in (value.__doc__ or "") else ""
    return f".. autoclass:: {name}\n   :members:\n" + (f"   :exclude-members: {fields}\n" if fields else "")


def eval_rst(directives: list[str]) -> str:
    """Returns reStructuredText directives in a Markdown fence."""
    return "```{eval-rst}\n" + "".join(directives) + "```\n"


def entry_points() -> str:
    """Returns the names that can be imported from ``iqa_lab`` itself, each with a link to its home."""
    directives = []
    for name in iqa_lab.__all__:
        home = iqa_lab._HOMES[name]  # the package's own table of where its lazy names live
        kind, role = ("data", "data") if name.isupper() else ("function", "func")
        directives.append(f".. py:{kind}:: iqa_lab.{name}\n\n   Is :py:{role}:`{home}.{name}`.\n\n")
    return "## iqa_lab\n\nWhat most programs need can be imported from here.\n\n" + eval_rst(directives)


def api_pages() -> dict[str, str]:
    """Returns the documentation of every module of the package, by the name of its page."""
    modules = sorted(info.name for info in pkgutil.walk_packages(iqa_lab.__path__, "iqa_lab."))
    sections = {name: api_section(name) for name in modules if not name.startswith(NOT_API)}
    pages = {"api": [entry_points()]} | {page: [] for page in API_PAGES}
    for name, section in sections.items():
        part = name.split(".")[1]
        pages[next((page for page, parts in API_PAGES.items() if part in parts), "api")].append(section)
    return {page: "\n".join(filter(None, texts)) for page, texts in pages.items()}


def write_generated(root: Path, folder: Path) -> None:
    """Writes the tables into ``folder``, from where the reference pages include them."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"systems": systems_table(), "databases": databases_table(), "results": results_tables(root / "results"),
              "ledger": ledger_tables(root / "results" / LEDGER)} | api_pages()
    for name, table in tables.items():
        (folder / f"{name}.md").write_text(table, encoding="utf-8")


if __name__ == "__main__":
    README = Path(__file__).parent.parent / "README.md"
    README.write_text(with_readme_table(README.read_text(encoding="utf-8")), encoding="utf-8")
