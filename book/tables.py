"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable


def markdown_table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Returns a Markdown table; a bar inside a cell is escaped."""
    lines = [list(header)] + [["---"] * len(list(header))] + [list(row) for row in rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"
