"""The ledger: published correlations beside ours, cell by cell, from given per-image values and opinion scores.

``IQA_LAB_DATA=FOLDER python -m iqa_lab.data_scripts.ledger``, run in the folder of the project, writes
results/ledger.csv. No metric is run: the values of each image come from the authors of a metric or of a study, so that a
difference lies in the evaluation alone. A cell is "reproduced" if ours, rounded or cut, is what was printed, "last digit"
if it is one unit of the last printed digit away, and otherwise "differs". Where a difference has a cause that can be
computed, the number with that cause stands beside it, and if that one is reproduced the cell is "explained"; all other
differences have a reason in words. Correlations have the sign of the values as they are: a DMOS falls with quality.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import date
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.io import loadmat

from iqa_lab.data_scripts.tid2013 import parse_release
from iqa_lab.data_scripts.tid2013_official_metrics import SUBSETS, kendall_tau_a, read_published
from iqa_lab.database_facts import TID2013_DISTORTIONS
from iqa_lab.downloads import hash_file
from iqa_lab.evaluation.criteria import krocc, plcc, srocc
from iqa_lab.evaluation.krasula import rated_pairs, roc_analysis, score_differences
from iqa_lab.evaluation.mapping import fit_mapping

TID2013 = "N. Ponomarenko et al. 2015, readme of the release TID2013"
VQMT = "github.com/SmilingWolf/VQMTCrossVal at ab9d15b, README"
AVT = "S. Goering et al. 2023, table of the study (correlations.csv)"
PYMETRIKZ = "github.com/lucia15/Image-Quality-Assessment at 4b4eed7, result tables"
IW_SSIM = "github.com/Jack-guo-xy/Python-IW-SSIM, README: the authors' MATLAB code"
USUAL = "as usually printed; quoted in the source note of the per-image values, papers not at hand"
PSNR_HVS = "github.com/lyckantropen/psnr_hvsm at 441eb0d; published: N. Ponomarenko et al. 2015"
#: What PYMETRIKZ calls by the names of TID2013's subsets: found by trying all subsets that differ in up to three
#: distortions, and the only ones of these that reproduce eleven metrics to all printed digits.
THEIR_SUBSETS = {"Actual": ((1, 3, 4, 5, 6, 8, 9, 19, 21), "their subset leaves out JPEG and JPEG2000, types 10 and 11"),
                 "Color": ((2, 7, 10, 18, 23, 24), "their subset has type 24 instead of 22")}
REASONS = {
    (PYMETRIKZ, "CQ(1,1)"): "the values of CQ(1,1) in the file are not those of their subset tables: the other eleven metrics "
                            "are reproduced in the same columns, and CQ(1,1) on all images",
    (PSNR_HVS, "PSNRHMA"): "another implementation's values; with the release's own the cell is reproduced"}
KRASULA = "github.com/Netflix/vmaf at f85a853, asserted by its tests of Krasula's analysis"
KRASULA_TWO = "another implementation's numbers for the example of Krasula's code, in the source note of the data"
ROW = re.compile(r"^\| *(\w+) *\|(.+)\|$")  # of a table in Markdown


class Cell(NamedTuple):
    """One published number, as it was printed, and what it is recomputed from."""

    source: str
    database: str
    subset: str
    metric: str
    criterion: str
    published: str
    scores: np.ndarray
    opinions: np.ndarray
    file: Path
    cause: str = ""  # of a difference
    scores_with_cause: np.ndarray | None = None
    opinions_with_cause: np.ndarray | None = None


def plcc_mapped(scores: np.ndarray, opinions: np.ndarray) -> float:
    """Returns PLCC after the mapping with five parameters, as most tables of full-reference metrics have it."""
    return plcc(fit_mapping(scores, opinions, form="logistic_5")(scores), opinions)


CRITERIA: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "srocc": srocc, "krocc": krocc, "tau_a": kendall_tau_a, "plcc": plcc, "plcc_mapped": plcc_mapped}


def tid2013_readme(data: Path) -> Iterator[Cell]:
    """Yields tables III and IV, and the example run of the release's program kendall.exe."""
    release = data / "images" / "tid2013"
    mos, kinds = _tid2013_opinions(release)
    spearman, kendall, program = read_published(release)
    cells = [(metric, "Full", criterion, value) for criterion, table in (("srocc", spearman), ("krocc", kendall))
             for metric, value in table.items()]
    for metric, subset, criterion, value in cells + [("FSIMc", *item[:1], "tau_a", item[1]) for item in program.items()]:
        file, inside = release / "metrics_values" / f"{metric}.txt", np.isin(kinds, SUBSETS[subset])
        yield Cell(TID2013, "tid2013", subset, metric, criterion, f"{value:.3f}", np.loadtxt(file)[inside], mos[inside], file)


def vqmt_readme(data: Path) -> Iterator[Cell]:
    """Yields DSSIM, SSIMULACRA and Butteraugli on six databases."""
    folder = data / "scores" / "vqmt_crossval"
    files = {"CSIQ": "csiq", "IVC": "IVC", "JPEG XR": "JPEGXR", "KADID-10k": "kadid10k", "LIVE2": "LIVE2",
             "TID2013": "TID2013"}
    name, file, table = "", folder, pd.DataFrame()
    for line in (folder / "README_results.md").read_text(encoding="utf-8").splitlines():
        if line.rstrip(":") in files:
            name = line.rstrip(":")
            file = folder / f"{files[name]}.VQMT.csv"
            table = pd.read_csv(file)
        elif (row := ROW.match(line)) and row[1] in table:
            opinions = table[next(column for column in ("dmos_new", "dmos", "mos") if column in table)]
            for criterion, value in zip(("plcc", "srocc", "krocc"), row[2].replace("*", "").split("|"), strict=True):
                yield Cell(VQMT, name, "all", row[1], criterion, value.strip(), table[row[1]].to_numpy(), opinions.to_numpy(),
                           file)


def avt_table(data: Path) -> Iterator[Cell]:
    """Yields nine metrics of libvmaf on 371 images in UHD; the study printed all digits, six of them are asked for."""
    file = data / "scores" / "avt_image_quality_test" / "objective_metrics_and_mos_ci.csv"
    values = pd.read_csv(file)
    for row in pd.read_csv(file.with_name("correlations.csv"), index_col="metric").itertuples():
        for criterion, value in (("plcc", row.pearson), ("krocc", row.kendall), ("srocc", row.spearman)):
            yield Cell(AVT, "AVT image test", "all", row.Index, criterion, f"{value:.6f}", values[row.Index].to_numpy(),
                       values["mos"].to_numpy(), file)


def pymetrikz_tables(data: Path) -> Iterator[Cell]:
    """Yields twelve metrics on seven subsets of TID2013."""
    file = data / "scores" / "tid2013_pymetrikz_indices" / "data.csv"
    values = pd.read_csv(file)
    kinds = values["distortion"].astype(int).to_numpy()
    for criterion, name in (("srocc", "Spearman"), ("krocc", "Kendall")):
        table = pd.read_csv(file.with_name(f"{name}-correlation.csv"), index_col=0, dtype=str)
        for metric, subset in ((m, s) for m in table.index for s in table.columns):
            theirs, cause = THEIR_SUBSETS.get(subset, (SUBSETS[subset], ""))
            (x, y), (their_x, their_y) = (values.loc[np.isin(kinds, types), [metric, "MOS"]].to_numpy().T
                                          for types in (SUBSETS[subset], theirs))
            yield Cell(PYMETRIKZ, "tid2013", subset, metric, criterion, f"{float(table.loc[metric, subset]):.4f}", x, y,
                       file, cause, their_x, their_y)


def full_reference_tables(data: Path) -> Iterator[Cell]:
    """Yields the numbers that papers on full-reference metrics have for LIVE, TID2013 and LIVE MD."""
    folder = data / "scores" / "temel_boosting_live_tid2013_multi"
    opinions = {"live_r2": "dmos_realigned", "tid2013": "mos", "live_md": "dmos"}
    cells = [(IW_SSIM, database, "iw_ssim", criterion, value)
             for database, values in (("live_r2", ("0.9522", "0.9567")), ("tid2013", ("0.8319", "0.7779")),
                                      ("live_md", ("0.9109", "0.8836")))
             for criterion, value in zip(("plcc_mapped", "srocc"), values, strict=True)]
    usual = {"live_r2": {"psnr": "0.8756", "ssim": "0.9479", "ms_ssim": "0.9513", "iw_ssim": "0.9567", "sr_sim": "0.9619",
                         "fsimc": "0.9645"},
             "tid2013": {"ssim": "0.7417", "ms_ssim": "0.7859", "iw_ssim": "0.7779", "fsimc": "0.8510"}}
    cells += [(USUAL, database, metric, "srocc", value) for database, row in usual.items() for metric, value in row.items()]
    for source, database, metric, criterion, value in cells:
        file = folder / f"{database}.csv"
        table = pd.read_csv(file)
        sign = "-" if criterion == "srocc" and opinions[database].startswith("dmos") else ""  # printed without a sign
        yield Cell(source, database, "all", metric, criterion, sign + value, table[metric].to_numpy(),
                   table[opinions[database]].to_numpy(), file)


def psnr_hvs_family(data: Path) -> Iterator[Cell]:
    """Yields what TID2013's tables say of PSNR-HVS and its relatives, from another implementation's values."""
    file = data / "scores" / "tid2013_psnr_hvs_family" / "tid2013_psnr_hvs_family.csv"
    values = pd.read_csv(file)
    names = {"PSNRc": "psnr", "PSNRHVS": "psnr_hvs", "PSNRHVSM": "psnr_hvsm", "PSNRHA": "psnr_ha", "PSNRHMA": "psnr_hma"}
    for criterion, table in zip(("srocc", "krocc"), read_published(data / "images" / "tid2013"), strict=False):
        for metric, column in names.items():
            yield Cell(PSNR_HVS, "tid2013", "Full", metric, criterion, f"{table[metric]:.3f}", values[column].to_numpy(),
                       values["mos"].to_numpy(), file)


def _tid2013_opinions(release: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns MOS and number of the distortion of the 3000 images."""
    table = parse_release(release)[1]
    return table["mos"].to_numpy(float), table["distortion"].map(TID2013_DISTORTIONS.index).to_numpy() + 1


def krasula_rows(data: Path) -> Iterator[dict]:
    """Yields the areas of Krasula's analysis of PSNR and SSIM on Toyama, and their means over five metrics."""
    folder = data / "scores" / "krasula_toyama"
    golden = pd.read_csv(folder / "golden_auc.csv", index_col="quantity")
    example, five = loadmat(folder / "Example_Toyama.mat"), loadmat(folder / "data_Toyama.mat")
    pairs = rated_pairs(*(example[name].ravel() for name in ("MOS", "SD", "num_obs")))
    two = roc_analysis(score_differences(np.stack([example[name].ravel() for name in ("psnr", "ssim")]), pairs), pairs.outcome)
    mean = roc_analysis(five["objScoDif"], five["signif"].ravel())
    for quantity, of_two, of_five in (("AUC_DS", two.auc_ds, mean.auc_ds), ("AUC_BW", two.auc_bw, mean.auc_bw),
                                      ("CC_0", two.cc_0, mean.cc_0), ("THR", two.thr, mean.thr)):
        for metric, ours, file in (("psnr", of_two[0], "Example_Toyama"), ("ssim", of_two[1], "Example_Toyama"),
                                   ("mean_over_5_metrics", of_five.mean(), "data_Toyama")):
            source = KRASULA if file == "data_Toyama" else KRASULA_TWO
            facts = {"source": source, "database": "Toyama", "subset": "all", "n": 168, "metric": metric, "criterion": quantity}
            yield entry(facts, f"{golden.loc[quantity, metric]:.6f}", ours, folder / f"{file}.mat")


SOURCES = (tid2013_readme, vqmt_readme, avt_table, pymetrikz_tables, full_reference_tables, psnr_hvs_family)


def status(published: str, ours: float) -> str:
    """Returns "reproduced", "last digit" or "differs" for a number as printed and ours.

    >>> status("0.851", 0.85101), status("0.606", 0.60690), status("0.606", 0.6046), status("0.606", 0.603)
    ('reproduced', 'reproduced', 'last digit', 'differs')
    """
    printed, exact = Decimal(published), Decimal(repr(float(ours)))
    unit = Decimal(1).scaleb(printed.as_tuple().exponent)
    if printed in (exact.quantize(unit, ROUND_HALF_UP), exact.quantize(unit, ROUND_DOWN)):
        return "reproduced"
    return "last digit" if abs(exact.quantize(unit, ROUND_HALF_UP) - printed) == unit else "differs"


def recompute(data: Path) -> pd.DataFrame:
    """Returns one row per published cell: what was printed, ours, the difference, the status and the reason."""
    return pd.DataFrame([*(row(cell) for source in SOURCES for cell in source(data)), *krasula_rows(data)])


def row(cell: Cell) -> dict:
    """Returns the row of one cell."""
    ours = CRITERIA[cell.criterion](cell.scores, cell.opinions)
    found = {"status": status(cell.published, ours), "with_cause": None, "reason": ""}
    if found["status"] != "reproduced":
        found["reason"] = REASONS.get((cell.source, cell.metric), cell.cause)
        if cell.cause:
            found["with_cause"] = CRITERIA[cell.criterion](cell.scores_with_cause, cell.opinions_with_cause)
            if status(cell.published, found["with_cause"]) == "reproduced":
                found |= {"status": "explained", "reason": cell.cause}
    facts = {"source": cell.source, "database": cell.database, "subset": cell.subset, "n": len(cell.scores),
             "metric": cell.metric, "criterion": cell.criterion}
    return entry(facts, cell.published, ours, cell.file, **found)


def entry(facts: dict, published: str, ours: float, file: Path, **found: object) -> dict:
    """Returns one row of the ledger; without ``found`` (status, with_cause, reason) it follows from the two numbers."""
    found = found or {"status": status(published, ours), "with_cause": None, "reason": ""}
    return facts | {"published": published, "ours": ours, "difference": ours - float(published), **found,
                    "values_sha256": hash_file(file)[:16]}


def main() -> None:
    table = recompute(Path(os.environ["IQA_LAB_DATA"])).assign(date=date.today().isoformat())
    table.to_csv("results/ledger.csv", index=False, float_format="%.6f", lineterminator="\n")
    print(table.groupby(["source", "status"]).size().to_string())


if __name__ == "__main__":
    main()
