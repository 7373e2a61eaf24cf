"""The page of results: every CSV file of results/ as a table with a title and a sentence, long ones folded."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from tables import markdown_table

#: File -> title, and what it says. Every file of the folder but the ledger, which is a page of its own, must be here.
RESULTS = {
    "no_reference_summary": (
        "No reference: content-disjoint splits",
        "Medians and quartiles over 80 : 20 splits of the images that are here; trained on four fifths, tested on the rest. "
        "Systems without training here have 100 splits, regressors 10, networks as many as stated. Published medians are those "
        "of the whole databases."),
    "no_reference_cross": (
        "No reference: across databases", "Trained on one database, tested on all images of another; and the official split."),
    "first_stages": (
        "First stages, without opinions",
        "Learning curves on photographs that were not learned from: the share of types or of pairs that is right (accuracy), or "
        "the loss with a minus."),
    "scoring_cost": (
        "What a score costs",
        "Processor milliseconds of one thread for a photo of 512 x 384, and learned numbers (of networks and backbones)."),
    "stress_tests": (
        "D-, L- and P-test and gMAD, no reference",
        "On the distortions of seven pristine photographs, without human scores: the pairs of P and the verdicts of gMAD are those of "
        "MS-SSIM, GMSD and VIF, a proxy. Clear pairs are 40 percent of the images apart for all three."),
    "default_scorer": (
        "The default scorer", "What its parts bring, and what the size of a photo does to it."),
    "ablations": (
        "Ablations", "One thing changed at a time, on the same splits."),
    "srij_summary": (
        "Super-resolution (SRIJ): content-disjoint splits",
        "Medians over five splits; 2AFC on comparisons derived within raters, at best 0.82."),
    "srij_by_method": (
        "Super-resolution (SRIJ): each method by itself", "Systems that were not trained on SRIJ."),
    "deep_full_reference": (
        "Full reference: three databases", "With 95 % bootstrap intervals of SROCC. Trained systems have learned from SRIJ."),
    "shift_robustness": (
        "What a shift costs",
        "Mean score of photographs against themselves moved by so many pixels, and the standard deviation of the Gaussian blur "
        "that costs as much."),
    "native_against_256": (
        "Native size against 256 pixels", "SROCC, and the bootstrap interval of the difference."),
    "bliinds2_live_table": (
        "BLIINDS-II's table on LIVE", "From the features of the authors' release."),
    "tid2013_scores": (
        "TID2013: our scores and the release's", "The images that are here, image by image."),
    "tid2013_official_metrics": (
        "TID2013: the release's own table", "Published correlations and those of the values in the release."),
    "accuracy": (
        "Accuracy against the authors' code", "Relative errors of this package and of four others against the authors' values."),
}
#: Where and when a row was computed: said once below the table.
PROVENANCE = ("date", "device", "torch", "seed", "mapping")
LEFT_TO_THE_FILE = ("commit", "index_sha256", "mos_sha256", "table_sha256", "values_sha256")
OPEN_ROWS = 30  # a longer table is folded


def results_tables(folder: Path) -> str:
    """Returns a section for every CSV file of ``folder``.

    Raises:
        KeyError: a file that ``RESULTS`` does not describe.
    """
    files = {path.stem: path for path in folder.glob("*.csv") if path.stem != "ledger"}
    if unknown := sorted(set(files) - set(RESULTS)):
        raise KeyError(f"Expected a title and a sentence in book/result_tables.py for {', '.join(unknown)}.")
    sections = [section(files[name], *text) for name, text in RESULTS.items() if name in files]
    return "\n".join(sections) or "No result has been recorded yet.\n"


def section(file: Path, title: str, sentence: str) -> str:
    """Returns one file as Markdown: title, sentence, table with four digits, and what it was computed on."""
    table = pd.read_csv(file, keep_default_na=False, na_values=[""])
    facts = [f"{name} {' to '.join(map(str, dict.fromkeys((values.min(), values.max()))))}" for name in PROVENANCE
             if name in table and len(values := table[name].dropna().astype(str))]
    shown = table.drop(columns=[name for name in (*PROVENANCE, *LEFT_TO_THE_FILE) if name in table])
    rows = [[cell_text(cell) for cell in row] for row in shown.itertuples(index=False)]
    text = markdown_table([name.replace("_", " ") for name in shown], rows)
    if len(table) > OPEN_ROWS:
        text = f":::{{dropdown}} {len(table)} rows\n{text}:::\n"
    about = f"File: `results/{file.name}`" + "".join(f"; {fact}" for fact in facts)
    return f"## {title}\n\n{sentence}\n\n{text}\n{about}.\n"


def cell_text(cell: object) -> str:
    """Returns a number with four digits, text as it is, and nothing for a missing value."""
    if isinstance(cell, float):
        return "" if cell != cell else f"{cell:.4g}"
    return str(cell)
