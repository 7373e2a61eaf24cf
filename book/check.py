"""Guards on the committed chapters, without running them: python book/check.py [CHAPTER ...]

Each guard takes a notebook and yields one sentence per fault.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

import execute

MAX_CHAPTER_LINES, MAX_CELL_LINES = 120, 15
MIN_ALT = 20  # characters; shorter texts name a picture but do not say what it shows
ABSOLUTE_PATH = re.compile(r"(?<![\w.~:/<-])(?:/(?:home|root|Users|tmp|mnt|opt|usr|var|media|srv|private)/\w"
                           r"|[A-Za-z]:\\\\?\w)")
INSTALL = re.compile(r"\b(?:pip3?|conda|mamba|uv|apt(?:-get)?)\s+(?:pip\s+)?install\b")
SILENCED = re.compile(r"\bwarnings\.(?:filterwarnings|simplefilter)\b")
# Alternative text in Markdown: ![text](file), :alt: of the directives, alt of an HTML tag.
MARKDOWN_PICTURES = (
    ("![](...)", re.compile(r"!\[(?P<alt>[^\]]*)\]\(")),
    ("{figure} or {image}", re.compile(r"(?:`{3,}|:{3,})\{(?:figure|image)\}(?P<body>.*?)(?:`{3,}|:{3,})", re.DOTALL)),
    ("<img>", re.compile(r"<img\b(?P<body>[^>]*)>")),
)


def code_cells(notebook: NotebookNode) -> list[tuple[int, NotebookNode]]:
    """Returns the code cells with their numbers, which count all cells from 1."""
    return [(number, cell) for number, cell in enumerate(notebook.cells, 1) if cell.cell_type == "code"]


def pictures(cell: NotebookNode) -> list[NotebookNode]:
    """Returns the outputs of a code cell that show a picture."""
    return [output for output in cell.outputs if any(kind.startswith("image/") for kind in output.get("data", {}))]


def code_lines(source: str) -> int:
    """Returns the number of lines that are neither blank nor only a comment."""
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in source.splitlines())


def check_executed(notebook: NotebookNode) -> Iterator[str]:
    """A stripped notebook passes nbval with nothing compared, so every cell must have been run, in order."""
    expected = 0
    for number, cell in code_cells(notebook):
        expected += 1
        if cell.execution_count != expected:
            yield (f"cell {number}: expected execution count {expected}, got {cell.execution_count}; "
                   "run python book/execute.py --update")
            return


def check_no_errors(notebook: NotebookNode) -> Iterator[str]:
    for number, cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"cell {number}: error output {output.ename}: {output.evalue}"
            if output.get("name") == "stderr":
                yield f"cell {number}: text on stderr: {output.text.strip()[:80]!r}; remove its cause"


def check_parameters_cell(notebook: NotebookNode) -> Iterator[str]:
    tagged = [number for number, cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", [])]
    first = [number for number, _ in code_cells(notebook)][:1]
    if tagged != first or not tagged:
        yield f"expected the first code cell, and only it, to be tagged 'parameters', got cells {tagged}"


def check_output_alternatives(notebook: NotebookNode) -> Iterator[str]:
    for number, cell in code_cells(notebook):
        shown, tags, settings = pictures(cell), cell.metadata.get("tags", []), cell.metadata.get("mystnb", {})
        alt = settings.get("image", {}).get("alt", "")
        if shown and len(alt.strip()) < MIN_ALT:
            yield f"cell {number}: its picture needs an alt text of {MIN_ALT} characters in metadata mystnb.image.alt"
        if len(shown) > 1 and "slider" not in tags:
            yield f"cell {number}: {len(shown)} pictures share one alt text; show one per cell, or tag it 'slider'"
        displayed = [output for output in cell.outputs if "data" in output]  # each gets the caption; printed text does not
        if "figure" in settings and shown and len(displayed) > len(shown):
            yield f"cell {number}: its table would get the picture's caption too; show it in a cell of its own, or print it"
        if "slider" in tags:
            labels = [output for output in cell.outputs if output.output_type == "stream"]
            if not 2 <= len(shown) == len(labels):
                yield f"cell {number}: a slider prints a label before each picture, got {len(labels)} and {len(shown)}"


def check_comparison_marks(notebook: NotebookNode) -> Iterator[str]:
    """nbval silently ignores a mark with more words in its line, and then compares what was not to be compared."""
    for number, cell in code_cells(notebook):
        if "NBVAL_" in cell.source:
            yield f"cell {number}: tag it 'nbval-ignore-output' instead of the comment, and say in the text why it varies"


def check_markdown_alternatives(notebook: NotebookNode) -> Iterator[str]:
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type != "markdown":
            continue
        for kind, pattern in MARKDOWN_PICTURES:
            for match in pattern.finditer(cell.source):
                groups = match.groupdict()
                found = re.search(r"(?::alt:\s*|alt\s*=\s*[\"'])([^\n\"']*)", groups.get("body", ""))
                alt = groups["alt"] if "alt" in groups else found.group(1) if found else ""
                if len(alt.strip()) < MIN_ALT:
                    yield f"cell {number}: {kind} needs an alt text of {MIN_ALT} characters"


def check_budgets(notebook: NotebookNode) -> Iterator[str]:
    counts = {number: code_lines(cell.source) for number, cell in code_cells(notebook)}
    for number, count in counts.items():
        if count > MAX_CELL_LINES:
            yield f"cell {number}: {count} code lines; at most {MAX_CELL_LINES}"
    if sum(counts.values()) > MAX_CHAPTER_LINES:
        yield f"{sum(counts.values())} code lines in the chapter; at most {MAX_CHAPTER_LINES}"


def check_portable(notebook: NotebookNode) -> Iterator[str]:
    """A chapter runs on any machine: no absolute path, no installation, no hidden warning, nothing that needs a CDN."""
    for number, cell in code_cells(notebook):
        kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
        texts = [cell.source] + [str(output.get("text") or output.get("data", {}).get("text/plain", ""))
                                 for output in cell.outputs]
        for fault, pattern in (("an absolute path", ABSOLUTE_PATH), ("an installation", INSTALL),
                               ("silenced warnings", SILENCED)):
            found = [match.group() for text in texts if (match := pattern.search(text))]
            if found:
                yield f"cell {number}: {fault}: {found[0]!r}"
        dead = sorted(kind for kind in kinds if "widget" in kind or "plotly" in kind)
        if dead:
            yield f"cell {number}: {dead[0]} is dead without a kernel and a network; use precomputed frames"


GUARDS = (check_executed, check_no_errors, check_parameters_cell, check_output_alternatives,
          check_comparison_marks, check_markdown_alternatives, check_budgets, check_portable)


def faults(path: Path) -> list[str]:
    """Returns every fault of one chapter, each with the chapter's name."""
    notebook = nbformat.read(path, as_version=4)
    return [f"{path.stem}: {fault}" for guard in GUARDS for fault in guard(notebook)]


def main() -> int:
    found = [fault for path in execute.select_chapters(sys.argv[1:]) for fault in faults(path)]
    print("\n".join(found) or "No fault found.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
