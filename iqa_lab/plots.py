"""Draws the figures of the book: arrays in, matplotlib axes out.

Only :func:`set_style` changes matplotlib's global settings; the others draw on the axes they are given and return them,
so that labels and limits stay with the caller. Lengths or shapes that do not fit raise ValueError.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle

import matplotlib
import numpy as np
from matplotlib import cycler
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

Curve = Callable[[np.ndarray], np.ndarray]
#: Okabe and Ito's colours, told apart by colour-blind readers; the strongest first, without the pale yellow.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # so that no figure needs its colours to be read
WIDTH, DPI = 7.0, 100  # inches and dots per inch: 700 pixels; the text column of the book has 704
STYLE = {
    "figure.dpi": DPI, "savefig.dpi": DPI, "figure.figsize": (WIDTH, 3.0), "figure.constrained_layout.use": True,
    "figure.facecolor": "white", "savefig.facecolor": "white",  # also on a dark page
    "font.size": 10, "axes.titlesize": 10, "axes.labelsize": 10, "legend.fontsize": 9, "legend.frameon": False,
    "xtick.labelsize": 9, "ytick.labelsize": 9, "axes.spines.top": False, "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=COLOURS), "lines.linewidth": 1.6, "lines.markersize": 4.5,
}


def set_style() -> None:
    """Sets the fonts, sizes and colours of all figures that follow."""
    matplotlib.rcParams.update(STYLE)


def plot_images(images: Sequence[ArrayLike], titles: Sequence[str] = (), *, columns: int | None = None,
                axes: Sequence[Axes] | None = None) -> np.ndarray:
    """Returns the axes, shape (n,), of images in a grid; they are scaled to fit, so do not judge quality by them.

    Args:
        images: arrays of shape (H, W) or (H, W, 3), floats in [0, 1] or uint8; ``titles`` one for each, or none.
        columns: of the grid, up to four if not given.
        axes: where to draw, one for each image, instead of a new figure.
    """
    pixels = [check_pixels(image) for image in images]
    if not pixels or len(titles) not in (0, len(pixels)):
        raise ValueError(f"Expected images, and one title for each or none, got {len(pixels)} and {len(titles)}.")
    if axes is None:
        columns = columns or min(len(pixels), 4)
        rows = -(-len(pixels) // columns)
        height = WIDTH / columns * pixels[0].shape[0] / pixels[0].shape[1] + (0.3 if titles else 0.05)
        figure = plt.figure(figsize=(WIDTH, rows * height))
        axes = [figure.add_subplot(rows, columns, place) for place in range(1, len(pixels) + 1)]
    if len(axes) != len(pixels):
        raise ValueError(f"Expected one axes for each image, got {len(axes)} axes and {len(pixels)} images.")
    for axis, image, title in zip(axes, pixels, titles or [""] * len(pixels)):
        axis.imshow(image, cmap="gray", vmin=0, vmax=1)  # the colour map acts on gray images only
        axis.set_title(title)
        axis.set_axis_off()
    return np.asarray(axes)


def plot_map(values: ArrayLike, axes: Axes, *, title: str = "", limits: tuple[float, float] | None = None,
             cmap: str = "viridis") -> Axes:
    """Returns the axes with a map of one value per pixel, shape (H, W), and its colour bar; NaN stays blank.

    ``limits`` are the values at the ends of the colour bar, the smallest and largest value if not given.
    """
    values = np.asarray(values)
    if values.ndim != 2:
        raise ValueError(f"Expected a map of shape (H, W), got {values.shape}; take one image and one channel of it.")
    low, high = limits or (None, None)
    axes.figure.colorbar(axes.imshow(values, cmap=cmap, vmin=low, vmax=high), ax=axes, fraction=0.046, pad=0.03)
    axes.set_title(title)
    axes.set_axis_off()
    return axes


def plot_histogram(samples: ArrayLike, axes: Axes, *, limits: tuple[float, float] | None = None,
                   label: str | None = None, curve: Curve | None = None) -> Axes:
    """Returns the axes with the histogram of finite samples as a density; call it again to lay another over it.

    Samples outside ``limits`` are not drawn, and count in the density all the same. ``label`` is for the legend, which
    the caller draws; ``curve``, a density, becomes a dashed line in the same colour.
    """
    samples = np.asarray(samples, dtype=float).ravel()
    if not len(samples) or not np.isfinite(samples).all():
        bad = int((~np.isfinite(samples)).sum())
        raise ValueError(f"Expected finite samples, got {len(samples)} with {bad} that are not; leave those out.")
    counts, edges = np.histogram(samples, bins=80, range=limits)
    drawn = axes.stairs(counts / (len(samples) * np.diff(edges)), edges, label=label, linewidth=1.4)
    if curve is not None:
        x = np.linspace(edges[0], edges[-1], 400)
        axes.plot(x, curve(x), linestyle="--", color=drawn.get_edgecolor())
    return axes


def plot_scatter(scores: ArrayLike, opinions: ArrayLike, axes: Axes, *, groups: ArrayLike | None = None,
                 curve: Curve | None = None, deviations: ArrayLike | None = None) -> Axes:
    """Returns the axes with one point per image: scores to the right, opinions upwards, both of shape (n,).

    Args:
        groups: label of each image; every group gets a colour and a marker of its own, and a legend says which.
        curve: a mapping from scores to opinions, drawn over the range of the scores.
        deviations: half the length of the error bar of each opinion.
    """
    given = {"scores": scores, "opinions": opinions, "groups": groups, "deviations": deviations}
    given = {name: np.asarray(values) for name, values in given.items() if values is not None}
    n = given["scores"].size
    if n == 0 or any(values.shape != (n,) for values in given.values()):
        shapes = ", ".join(f"{name} {values.shape}" for name, values in given.items())
        raise ValueError(f"Expected one value per image, shape (n,), in each, got {shapes}.")
    labels = given.get("groups", np.full(n, None))
    for label, marker in zip(dict.fromkeys(labels.tolist()), cycle(MARKERS)):
        x, y, bars = (given[name][labels == label] if name in given else None
                      for name in ("scores", "opinions", "deviations"))
        axes.errorbar(x, y, yerr=bars, fmt=marker, label=label, alpha=0.8, elinewidth=0.8, markeredgewidth=0)
    if curve is not None:
        x = np.linspace(given["scores"].min(), given["scores"].max(), 200)
        axes.plot(x, curve(x), color="black", linewidth=1.2)
    if groups is not None:
        axes.legend()
    return axes


def plot_levels(levels: ArrayLike, values: ArrayLike, axes: Axes, *, labels: Sequence[str] = ()) -> Axes:
    """Returns the axes with lines of a score against levels, shape (n,), or any other ordered cause.

    ``values`` has shape (n,) for one line or (lines, n); ``labels``, one for each line or none, make a legend.
    """
    levels, lines = np.asarray(levels), np.atleast_2d(np.asarray(values, dtype=float))
    if levels.ndim != 1 or lines.shape[1:] != levels.shape or len(labels) not in (0, len(lines)):
        raise ValueError(f"Expected one row for each line, with one value per level, and one label per row or none; "
                         f"got levels {levels.shape}, values {lines.shape} and {len(labels)} labels.")
    for line, label, marker in zip(lines, labels or [None] * len(lines), cycle(MARKERS)):
        axes.plot(levels, line, marker=marker, label=label)
    axes.set_xticks(levels)
    if labels:
        axes.legend()
    return axes


def plot_boxes(samples: Sequence[ArrayLike], labels: Sequence[str], axes: Axes) -> Axes:
    """Returns the axes with one horizontal box a label: median, quartiles, whiskers to the farthest sample within 1.5
    times the box, and each sample beyond; the first label on top.

    ``samples`` has one array of finite numbers for each label.
    """
    samples = [np.asarray(values, dtype=float).ravel() for values in samples]
    if len(samples) != len(labels) or not samples or not all(len(v) and np.isfinite(v).all() for v in samples):
        raise ValueError(f"Expected finite samples for each label, got {len(samples)} lists and {len(labels)} labels.")
    drawn = axes.boxplot(samples[::-1], orientation="horizontal", tick_labels=list(labels)[::-1], widths=0.6,
                         medianprops={"color": COLOURS[1], "linewidth": 2}, flierprops={"markersize": 3})
    for box in drawn["boxes"]:
        box.set_color(COLOURS[0])
    return axes


def plot_matrix(outcomes: ArrayLike, labels: Sequence[str], axes: Axes) -> Axes:
    """Returns the axes with the picture of who beats whom: row against column, "+" better, "-" worse, blank neither.

    ``outcomes`` are 1, 0 and -1, shape (M, M), as :func:`iqa_lab.evaluation.significance.beats_matrix` returns them.
    """
    outcomes = np.asarray(outcomes)
    if outcomes.shape != (len(labels),) * 2 or not np.isin(outcomes, (-1, 0, 1)).all():
        raise ValueError(f"Expected 1, 0 and -1 of shape ({len(labels)}, {len(labels)}), got shape {outcomes.shape}.")
    colours = matplotlib.colors.ListedColormap((COLOURS[1], "white", COLOURS[0]))
    axes.imshow(outcomes, cmap=colours, vmin=-1, vmax=1)
    for (i, j), outcome in np.ndenumerate(outcomes):
        axes.text(j, i, {1: "+", 0: "", -1: "\N{MINUS SIGN}"}[int(outcome)], color="white", ha="center", va="center")
    places = np.arange(len(labels))
    axes.set_xticks(places, labels, rotation=90)
    axes.set_yticks(places, labels)
    axes.set_xticks(places[1:] - 0.5, minor=True)
    axes.set_yticks(places[1:] - 0.5, minor=True)
    axes.grid(which="minor", color="0.8", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    return axes


def plot_rocs(curves: Sequence[tuple[ArrayLike, ArrayLike]], labels: Sequence[str], axes: Axes) -> Axes:
    """Returns the axes with one ROC curve a label, and the diagonal of chance.

    ``curves`` are false and true positive rates, both of shape (k,) and from 0 to 1.
    """
    if len(curves) != len(labels) or any(np.shape(x) != np.shape(y) for x, y in curves):
        raise ValueError(f"Expected one pair of rates of equal length a label, got {len(curves)} for {len(labels)} labels.")
    axes.plot((0, 1), (0, 1), color="0.6", linewidth=0.8, linestyle=":")
    for (false, true), label, style in zip(curves, labels, cycle(("-", "--", "-.", (0, (1, 1))))):
        axes.plot(false, true, label=label, linestyle=style)  # told apart without colour
    axes.set(xlim=(0, 1), ylim=(0, 1.005), aspect="equal", xlabel="false positive rate", ylabel="true positive rate")
    axes.legend(loc="lower right")
    return axes


def check_pixels(image: ArrayLike) -> np.ndarray:
    """Returns an image for :func:`plot_images` as floats; raises ValueError on another shape or range."""
    pixels = np.asarray(image)
    if pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)) or not pixels.size:
        raise ValueError(f"Expected an image of shape (H, W) or (H, W, 3), got {pixels.shape}; "
                         "use tensor[0].permute(1, 2, 0) for a tensor of shape (1, 3, H, W).")
    pixels = pixels / 255 if pixels.dtype == np.uint8 else pixels
    if not (pixels.min() >= 0 and pixels.max() <= 1):  # also true for NaN
        raise ValueError(f"Expected values in [0, 1], got {pixels.min():.6g} to {pixels.max():.6g}; "
                         "show other values with plot_map.")
    return pixels
