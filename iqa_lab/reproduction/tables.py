"""What a published table is, and which of our systems stands for each of its rows.

``iqa_lab.reproduction.published`` has the numbers. Correlations are positive for systems that agree with people, also where
the opinion score is a DMOS.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from iqa_lab.ops.color import rgb_to_luma_studio
from iqa_lab.registry import find_metric

PROTOCOLS = {
    "splits": "content-disjoint 80 : 20 splits; what is trained learns from the 80 %, a network keeps a fifth of their "
              "contents to choose its epoch",
    "cross": "trained on one whole database (a fifth of its contents chooses the epoch), tested on all images of another",
    "whole": "all images of the database, nothing is trained",
    "pairs": "all comparisons of the validation part, nothing is trained: share of people who agree (2AFC)"}


@dataclass(frozen=True)
class Cell:
    """One published number.

    Attributes:
        system: a key of ``METRICS`` or ``VARIANTS``.
        database: a key of ``DATABASES``, whose images are tested.
        criterion: "srocc", "krocc", "plcc" or "2afc".
        published: the number.
        trained_on: another database, of the protocol "cross"; else "".
        distortion: the images of one distortion of the database, "all" for all.
    """

    system: str
    database: str
    criterion: str
    published: float
    trained_on: str = ""
    distortion: str = "all"


@dataclass(frozen=True)
class PublishedTable:
    """A table of a paper, or a part of one.

    Attributes:
        paper: key in book/references.bib.
        name: ours; the paper's numbering where it is known.
        title: one line.
        protocol: a key of ``PROTOCOLS``.
        statistic: "median" or "mean" of the splits.
        source: where the numbers were read.
        note: how the published protocol differs from ours, or what of it is not known.
        cells: the numbers.
    """

    paper: str
    name: str
    title: str
    protocol: str
    source: str
    cells: tuple[Cell, ...]
    statistic: str = "median"
    note: str = ""


#: Systems under options that no row of ``METRICS`` has: name -> key of ``METRICS``, options.
VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "pqr_resnet50": ("pqr", {"backbone": "resnet50"}),
    "pqr_alexnet": ("pqr", {"backbone": "alexnet"}),
    "sqr": ("pqr", {"n_anchors": 1}),
    "sqr_resnet50": ("pqr", {"backbone": "resnet50", "n_anchors": 1}),
    "sqr_alexnet": ("pqr", {"backbone": "alexnet", "n_anchors": 1}),
    "sqr_efficientnet_lite0": ("pqr_efficientnet_lite0", {"n_anchors": 1}),
    **{f"{name}_{kept}": (name, options) for name in ("hyperiqa", "hyperiqa_efficientnet_lite0") for kept, options in (
        ("backbone", {"multi_scale": False, "hyper": False}), ("multi_scale", {"hyper": False}),
        ("hyper", {"multi_scale": False}))},
    **{f"deepbqa_tv_{weight:g}": ("deepbqa", {"tv_weight": weight}) for weight in (0.0, 1e-4, 1e-3, 1e-1)},
    **{f"{name}_studio": (name, {"luma": rgb_to_luma_studio})
       for name in ("ssim", "ms_ssim_mux", "fsim", "vifp", "psnr_hvs", "psnr_hvs_m")},
    **{f"{name}_cosine": (name, {"heads": False}) for name in ("lpips", "lpips_vgg", "lpips_squeeze")},
    "perceptual_loss_relu3_3": ("perceptual_loss", {"layers": ("relu3_3",)})}


def cells(criterion: str, columns: str, rows: dict[str, Iterable[float | None]], *, per_cent: bool = False,
          database: str = "") -> tuple[Cell, ...]:
    """Returns the cells of a table of one criterion.

    Args:
        criterion: of all cells.
        columns: databases, or with ``database`` distortions of it, in the order of the numbers, separated by blanks;
            "a>b" is trained on a and tested on b.
        rows: system -> its numbers, None where there is none.
        per_cent: the numbers are percentages.
        database: of all cells.
    """
    found = []
    for system, numbers in rows.items():
        for column, number in zip(columns.split(), numbers, strict=True):
            if number is None:
                continue
            trained_on, _, tested = column.rpartition(">")
            published = number / 100 if per_cent else number
            found.append(Cell(system, database, criterion, published, distortion=column) if database else
                         Cell(system, tested, criterion, published, trained_on))
    return tuple(found)


def base_of(system: str) -> tuple[str, dict[str, object]]:
    """Returns the row of ``METRICS`` behind a system, and its options; ValueError for an unknown one."""
    base, options = VARIANTS.get(system, (system, {}))
    find_metric(base)
    return base, options
