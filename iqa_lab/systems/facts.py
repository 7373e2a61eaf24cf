"""Metric: what a table of systems says about each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One system: how to make it, and the facts that tables and tests need.

    Attributes:
        create: a function of images (training-free) or a class or partial that returns an nn.Module.
        kind: "FR" (called with distorted, reference), "RR" (likewise) or "NR" (called with image).
        higher_is_better: direction of the score.
        score_range: smallest and largest possible score.
        paper: key in book/references.bib.
        chapter: number of the chapter that explains it.
        configuration: what exactly the name stands for, in words.
        identity: score of identical images, None where it is the better end of the range.
    """

    create: Callable
    kind: str
    higher_is_better: bool
    score_range: tuple[float, float]
    paper: str
    chapter: str
    configuration: str
    identity: float | None = None
