"""Ablations of the no-reference networks: one thing changed at a time, on the same splits, with the same budget.

``python -m iqa_lab.data_scripts.ablations [--only NAME ...] [--splits N] [--device cuda]``, run in the folder of the project
after ``iqa-lab data prepare`` of livec and srij, and after the first stages of ``network_runs``, writes

- results/splits/ablations.csv: agreement on the test part of each 80 : 20 split, with the epoch chosen on validation.
- results/ablations.csv: median SROCC of each variant and its mean difference to the first of its ablation, with the 95 %
  interval of Nadeau and Bengio's corrected t over the splits.

Trainings are kept in the cache, and resumed; a variant that the tables of ``no_reference_splits`` have is trained once.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import NamedTuple

import pandas as pd
import torch

from iqa_lab import create_metric, load_database
from iqa_lab.data_scripts.network_runs import NETWORKS, Variant, network_row
from iqa_lab.data_scripts.no_reference_splits import regressor_rows
from iqa_lab.data_scripts.result_rows import RESULTS, replace_rows
from iqa_lab.evaluation.over_splits import corrected_resampled_interval
from iqa_lab.training.runs import index_hash

N_SPLITS = 5
HYPER, MINMAX, NIMA = "hyperiqa_efficientnet_lite0", "blinder_efficientnet_lite0", "nima_efficientnet_lite0"


class Ablation(NamedTuple):
    """Variants that are compared with the first of them, on one database; a mapping of options is a regressor's."""

    database: str
    system: str
    variants: dict[str, Variant | dict[str, object]]


def full(system: str) -> dict[str, Variant]:
    """Returns the reduced recipe of a system, and that of its paper."""
    return {"fast": NETWORKS[system], "full": replace(NETWORKS[system], mode="full")}


def direct(system: str, **options: object) -> dict[str, Variant]:
    """Returns the training in two stages, and the second one from random weights."""
    return {"two stages": NETWORKS[system], "second stage alone": Variant(system, options=options)}


def scalar(system: str) -> dict[str, Variant]:
    """Returns PQR with its anchors, and the regression of a scalar."""
    return {"five anchors": NETWORKS[system], "scalar (SQR)": Variant(system, options={"n_anchors": 1})}


DISTANCES = {"squared EMD": NETWORKS[NIMA], "cross-entropy": Variant(NIMA, options={"cross_entropy": True})}
ABLATIONS = {
    "HyperIQA's parts": Ablation("livec", HYPER, {
        "both": NETWORKS[HYPER],
        "multi-scale alone": Variant(HYPER, options={"hyper": False}),
        "hyper network alone": Variant(HYPER, options={"multi_scale": False}),
        "backbone": Variant(HYPER, options={"hyper": False, "multi_scale": False})}),
    "total variation of the sensitivity": Ablation("livec", "deepbqa", {
        "0.01": NETWORKS["deepbqa"]} | {
        weight: Variant("deepbqa", two_stages=True, options={"tv_weight": float(weight)}) for weight in
        ("0", "0.0001", "0.001", "0.1")}),
    "anchors or a scalar": Ablation("livec", "pqr", scalar("pqr")),
    "anchors or a scalar, pretrained": Ablation("livec", "pqr_efficientnet_lite0", scalar("pqr_efficientnet_lite0")),
    "distance of distributions": Ablation("livec", NIMA, DISTANCES),
    "distance of distributions, single ratings": Ablation("srij", NIMA, DISTANCES),
    "weights of patches": Ablation("livec", "wadiqam_nr", {
        "weighted": NETWORKS["wadiqam_nr"], "plain mean": NETWORKS["diqam_nr"]}),
    "type and quality": Ablation("srij", "iqacnnpp", {
        "both tasks": NETWORKS["iqacnnpp"], "quality alone": Variant("iqacnnpp", options={"n_types": 0})}),
    "types before qualities": Ablation("livec", "meon", direct("meon", n_types=5)),
    "proxies before opinions (BIECON)": Ablation("livec", "biecon", direct("biecon")),
    "errors before opinions (DIQA)": Ablation("livec", "diqa", direct("diqa")),
    "errors before opinions (DeepBQA)": Ablation("livec", "deepbqa", direct("deepbqa")),
    "minimum and maximum": Ablation("livec", MINMAX, {"min and max": {}, "mean": {"pooling": "mean"}}),
    "recipe of CNNIQA": Ablation("livec", "cnniqa", full("cnniqa")),
    "recipe of IQA-CNN++": Ablation("livec", "iqacnnpp", full("iqacnnpp")),
    "recipe of the two streams": Ablation("livec", "two_stream", full("two_stream")),
    "recipe of MEON": Ablation("livec", "meon", full("meon")),
    "recipe of PQR": Ablation("livec", "pqr_efficientnet_lite0", full("pqr_efficientnet_lite0")),
    "recipe of NIMA": Ablation("livec", NIMA, full(NIMA)),
    "recipe of DB-CNN": Ablation("livec", "dbcnn_efficientnet_lite0", full("dbcnn_efficientnet_lite0")),
    "recipe of HyperIQA": Ablation("livec", HYPER, full(HYPER)),
    "slips in HyperIQA's code": Ablation("livec", HYPER, {
        "as published": Variant(HYPER, mode="full"), "authors' code": Variant(HYPER, mode="authors")}),
}


def folder_name(label: str, variant: Variant) -> str:
    """Returns the name of the folder of a variant's runs: that of its system, if the tables have the same training."""
    return variant.system if variant in NETWORKS.values() else f"{variant.system}-{label}"


def split_rows(ablation: Ablation, label: str, n_splits: int, device: str) -> Iterator[dict]:
    """Yields the agreement of a variant on the test part of each split."""
    database, variant = load_database(ablation.database), ablation.variants[label]
    if isinstance(variant, Variant):
        yield from (network_row(folder_name(label, variant), variant, database, k, device) for k in range(n_splits))
    else:
        metric = create_metric(ablation.system, parameters="untrained", **variant)
        yield from regressor_rows(metric, ablation.system, database, n_splits)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the median of each variant, and its mean difference to the first one with the interval."""
    rows = []
    for name, part in table.groupby("ablation", sort=False):
        first = next(iter(ABLATIONS[name].variants))
        of_split = part.pivot(index="split", columns="variant", values="srocc")
        for variant, values in part.groupby("variant", sort=False):
            row = {"ablation": name, "system": ABLATIONS[name].system, "database": ABLATIONS[name].database,
                   "variant": variant, "splits": len(values), "srocc": values["srocc"].median()}
            differences = (of_split[variant] - of_split[first]).dropna().to_numpy()
            low, high = corrected_resampled_interval(differences, test_to_train=0.25)
            found = {"difference": differences.mean(), "difference_low": low, "difference_high": high}
            row |= found if variant != first else dict.fromkeys(found)
            row |= {f"{name}_median": values[name].median() for name in ("test_srocc_if_chosen_on_test", "minutes")}
            rows.append(row | values.iloc[0][["device", "torch", "date", "index_sha256"]].to_dict())
    return pd.DataFrame(rows)


def main() -> None:
    """Runs the named ablations, or all, and puts their rows in the place of older ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=list(ABLATIONS), choices=ABLATIONS)
    parser.add_argument("--splits", type=int, default=N_SPLITS)
    parser.add_argument("--device", default="cpu", help="where networks are trained that are not yet, such as cuda")
    arguments = parser.parse_args()
    facts = {"seed": 0, "device": "cpu", "torch": torch.__version__, "date": date.today().isoformat()}
    for name in arguments.only:
        ablation = ABLATIONS[name]
        about = facts | {"index_sha256": index_hash(load_database(ablation.database))[:16]}
        rows = [{"ablation": name, "variant": label, "split": k} | about | row for label in ablation.variants
                for k, row in enumerate(split_rows(ablation, label, arguments.splits, arguments.device))]
        file = RESULTS / "splits" / "ablations.csv"
        found = summary(replace_rows(file, pd.DataFrame(rows), key=("ablation",), order=tuple(ABLATIONS)))
        found.to_csv(RESULTS / "ablations.csv", index=False, float_format="%.4g")
        print(found.query("ablation == @name").to_string(), flush=True)


if __name__ == "__main__":
    main()
