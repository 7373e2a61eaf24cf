"""The evaluation of several metrics on one database as a folder of tables and figures.

Tables are written as CSV, Markdown and LaTeX, figures as PNG. What a database does not allow (figures on one metric,
opinions without deviations, too few contents) is left out, and notes.md says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from iqa_lab import plots
from iqa_lab.evaluation.bootstrap import bootstrap, differences, p_values, percentile_interval
from iqa_lab.evaluation.criteria import srocc
from iqa_lab.evaluation.krasula import better_worse, different_similar, rated_pairs, roc_analysis, score_differences
from iqa_lab.evaluation.mapping import fit_mapping
from iqa_lab.evaluation.protocols import MAPPING, agreement, agreement_by_group, agreement_by_metric, over_splits
from iqa_lab.evaluation.resampled import srocc_resampled
from iqa_lab.evaluation.roc_areas import roc_curve
from iqa_lab.evaluation.significance import beats_matrix, correct_matrix, holm
from iqa_lab.evaluation.splits import content_splits

N_SPLITS, N_RESAMPLES = 100, 2000
ROC_PAIRS = 2_000_000  # more pairs of images than these are not compared
PER_ROW = 3  # scatter plots


class Evaluated(NamedTuple):
    """The images that every metric has scored."""

    metrics: list[str]
    scores: np.ndarray  # (M, n), higher is better
    images: pd.DataFrame  # (n,) quality, mos_std, n_ratings, content, distortion


def write_report(joined: pd.DataFrame, higher_is_better: Mapping[str, bool], folder: Path, *, seed: int = 0) -> list[str]:
    """Returns what was left out and why, after writing all tables and figures into the folder.

    - agreement: :func:`iqa_lab.evaluation.protocols.agreement` of each metric; scatter.png with the fitted mapping.
    - by_distortion: SROCC of each metric on each distortion.
    - splits: median and quartiles over 100 content-disjoint test parts of 20 %; splits.png. Nothing is trained.
    - comparisons: differences of SROCC with bootstrap intervals over contents and p-values corrected by Holm;
      comparisons.png, who beats whom.
    - roc: Krasula's analysis, and roc.png.

    Args:
        joined: from :func:`iqa_lab.scoring.join_opinions`.
        higher_is_better: direction of each metric; one that is not in it is taken as it is.
        folder: made if it does not exist; files of the same names are written over.
        seed: of splits and resamples.

    Raises:
        ValueError: fewer than 3 images that all metrics have scored.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_table(agreement_by_metric(joined, higher_is_better).drop(columns="error"), folder / "agreement")
    data, notes = common_images(joined, higher_is_better), []
    for part in (write_scatter, write_distortions, write_splits, write_comparisons, write_roc):
        try:
            part(data, folder, seed)
        except ValueError as error:
            notes.append(f"{part.__name__.removeprefix('write_')}: left out. {error}")
    (folder / "notes.md").write_text("\n".join(f"- {note}" for note in notes) + "\n" if notes else "Nothing was left out.\n",
                                     encoding="utf-8")
    return notes


def common_images(joined: pd.DataFrame, higher_is_better: Mapping[str, bool]) -> Evaluated:
    """Returns the scores of the images that every metric has scored, all metrics in one direction."""
    table = joined.pivot(index="image", columns="metric", values="score")[list(dict.fromkeys(joined["metric"]))]
    images = joined.drop_duplicates("image").set_index("image").loc[table.index]
    usable = np.isfinite(table.astype(float)).all(axis=1) & np.isfinite(images["quality"].astype(float))
    if usable.sum() < 3:
        raise ValueError(f"Expected at least 3 images with an opinion that all metrics have scored, got {int(usable.sum())}.")
    signs = np.array([1 if higher_is_better.get(name, True) else -1 for name in table.columns])
    return Evaluated(list(table.columns), signs[:, None] * table[usable].to_numpy(float).T, images[usable])


def write_scatter(data: Evaluated, folder: Path, seed: int) -> None:
    """Draws the scores of each metric against the opinions, with the mapping."""
    opinions = data.images["quality"].to_numpy(float)
    rows = -(-len(data.metrics) // PER_ROW)
    figure, axes = plt.subplots(rows, PER_ROW, figsize=(plots.WIDTH, 2.4 * rows), squeeze=False, sharey=True)
    for axis, name, scores in zip(axes.flat, data.metrics, data.scores):
        plots.plot_scatter(scores, opinions, axis, curve=fit_mapping(scores, opinions, form=MAPPING))
        axis.set_title(name)
    for axis in axes.flat[len(data.metrics):]:
        axis.set_axis_off()
    figure.supylabel("opinion, higher is better", fontsize=10)
    figure.supxlabel("score, with a minus where lower is better", fontsize=10)
    save(figure, folder / "scatter.png")


def write_distortions(data: Evaluated, folder: Path, seed: int) -> None:
    """Writes by_distortion: SROCC of each metric on each distortion, and on all images."""
    kinds = data.images["distortion"]
    if kinds.nunique() < 2:
        raise ValueError(f"Expected two distortions or more, got {kinds.nunique()}.")
    opinions = data.images["quality"].to_numpy(float)
    columns = [agreement_by_group(scores, opinions, kinds.fillna("none"))["srocc"] for scores in data.scores]
    table = pd.concat(columns, axis=1, keys=data.metrics)
    write_table(table.rename_axis("distortion").reset_index(), folder / "by_distortion")


def write_splits(data: Evaluated, folder: Path, seed: int) -> None:
    """Writes splits: each metric over the test parts of content-disjoint splits."""
    opinions, contents = data.images["quality"].to_numpy(float), data.images["content"]
    tests = [test for _, test in content_splits(contents, n_splits=N_SPLITS, seed=seed)]
    rows = [[agreement(scores[test], opinions[test]) for test in tests] for scores in data.scores]
    table = pd.concat([over_splits(part) for part in rows], keys=data.metrics, names=["metric", "criterion"])
    write_table(table.reset_index(), folder / "splits")
    figure, axis = plt.subplots(figsize=(plots.WIDTH, 0.9 + 0.35 * len(data.metrics)))
    plots.plot_boxes([[row["srocc"] for row in part] for part in rows], data.metrics, axis)
    axis.set_xlabel(f"SROCC on {N_SPLITS} test parts")
    save(figure, folder / "splits.png")


def write_comparisons(data: Evaluated, folder: Path, seed: int) -> None:
    """Writes comparisons: who beats whom in SROCC, by a bootstrap over contents."""
    if len(data.metrics) < 2:
        raise ValueError("Expected two metrics or more, got 1.")
    opinions = data.images["quality"].to_numpy(float)
    values = bootstrap(srocc_resampled(data.scores, opinions), contents=data.images["content"], n_resamples=N_RESAMPLES,
                       seed=seed)
    resampled = differences(values)
    estimates = np.array([srocc(scores, opinions) for scores in data.scores])
    difference, corrected = estimates[:, None] - estimates, correct_matrix(p_values(resampled), holm)
    low, high = percentile_interval(resampled)
    i, j = np.triu_indices(len(estimates), 1)
    names = np.array(data.metrics)
    write_table(pd.DataFrame({"metric": names[i], "other": names[j], "difference": difference[i, j], "low": low[i, j],
                              "high": high[i, j], "p_holm": corrected[i, j]}), folder / "comparisons")
    order = np.argsort(-estimates)
    figure, axis = plt.subplots(figsize=(1.5 + 0.4 * len(names),) * 2)
    plots.plot_matrix(beats_matrix(difference, corrected)[np.ix_(order, order)], names[order], axis)
    save(figure, folder / "comparisons.png")


def write_roc(data: Evaluated, folder: Path, seed: int) -> None:
    """Writes roc: Krasula's analysis, if the database says how much the raters differed, and how many they were."""
    facts = data.images[["quality", "mos_std", "n_ratings"]].astype(float)
    if facts.isna().any(axis=None) or len(facts) ** 2 > 2 * ROC_PAIRS:
        raise ValueError(f"Expected a deviation and a number of ratings for each of at most {round((2 * ROC_PAIRS) ** 0.5)} "
                         f"images, got {int(facts.notna().all(axis=1).sum())} of {len(facts)} images with both.")
    pairs = rated_pairs(*facts.to_numpy().T)
    delta = score_differences(data.scores, pairs)
    found = roc_analysis(delta, pairs.outcome)
    write_table(pd.DataFrame({"metric": data.metrics, **found._asdict()}), folder / "roc")
    figure, axes = plt.subplots(1, 2, figsize=(plots.WIDTH, 3.6))
    for axis, title, cases in zip(axes, ("different / similar", "better / worse"),
                                  (different_similar(delta, pairs.outcome), better_worse(delta, pairs.outcome))):
        plots.plot_rocs([roc_curve(*rows) for rows in zip(*cases)], data.metrics, axis)
        axis.set_title(title)
    save(figure, folder / "roc.png")


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Writes a table as path.csv, with all digits, and as path.md and path.tex with three."""
    table.to_csv(path.with_suffix(".csv"), index=False, lineterminator="\n")
    cells = [[f"{value:.3f}" if isinstance(value, float) else str(value) for value in row]
             for row in table.itertuples(index=False)]
    lines = [list(table.columns), ["---"] * table.shape[1], *cells]
    path.with_suffix(".md").write_text("".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines), encoding="utf-8")
    rows = [" & ".join(str(cell).replace("_", r"\_").replace("%", r"\%") for cell in line) + r" \\" for line in
            [list(table.columns), *cells]]
    text = "\n".join([rf"\begin{{tabular}}{{{'l' * table.shape[1]}}}", r"\hline", rows[0], r"\hline", *rows[1:], r"\hline",
                      r"\end{tabular}"])
    path.with_suffix(".tex").write_text(text + "\n", encoding="utf-8")


def save(figure: plt.Figure, path: Path) -> None:
    """Writes a figure and frees it."""
    figure.savefig(path)
    plt.close(figure)
