"""A Sphinx extension of a few lines: lets docstrings write absolute values as in the papers, |x|."""

from __future__ import annotations

import re


def escape_bars(app, what, name, object_, options, lines: list[str]) -> None:
    """Escapes bars outside literals in place; reStructuredText would take ``|x|`` as a substitution."""
    lines[:] = [re.sub(r"(``.*?``)|\|", lambda match: match.group(1) or r"\|", line) for line in lines]


def setup(app) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", escape_bars)
    return {"parallel_read_safe": True}
