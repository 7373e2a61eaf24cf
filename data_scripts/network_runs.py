"""Trains no-reference networks on the splits of the result tables; runs are kept in the cache, and resumed.

``python -m iqa_lab.data_scripts.network_runs --photographs FOLDER ... [--only NAME ...]`` trains the first stages, which need
no opinions, on photographs distorted by ``iqa_lab.distortions``, and writes results/first_stages.csv: the learning curves on
contents that were not learned from.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from iqa_lab.data_scripts.result_rows import RESULTS, replace_rows
from iqa_lab.databases import Database, quality
from iqa_lab.embedded import cache_folder
from iqa_lab.scoring import score
from iqa_lab.training.distorted import distort_photographs
from iqa_lab.training.loop import train
from iqa_lab.training.networks import new_network, options_of, types_of
from iqa_lab.training.recipes import FIRST_STAGES, Recipe, find_recipe
from iqa_lab.training.runs import index_hash, numbered_parts, split_parts


@dataclass(frozen=True)
class Variant:
    """A network as a table has it: a system with its recipe, and what differs from it.

    Attributes:
        system: row of the registry.
        mode: of the recipe.
        two_stages: start from the weights of its first stage.
        options: of the model.
        changes: of the recipe.
    """

    system: str
    mode: str = "fast"
    two_stages: bool = False
    options: Mapping[str, object] = field(default_factory=dict)
    changes: Mapping[str, object] = field(default_factory=dict)


#: Name in the tables -> network.
NETWORKS = {name: Variant(name) for name in (
    "cnniqa", "iqacnnpp", "two_stream", "diqam_nr", "wadiqam_nr", "nima_efficientnet_lite0", "pqr", "pqr_efficientnet_lite0",
    "dbcnn_efficientnet_lite0", "hyperiqa_efficientnet_lite0")} | {
    name: Variant(name, two_stages=True) for name in ("biecon", "diqa", "deepbqa", "meon")}


#: What a row of the tables says of a run.
ROW = ("n", "srocc", "krocc", "plcc", "rmse", "mapping", "best_epoch", "test_srocc_if_chosen_on_test", "minutes", "device",
       "torch", "date")


def train_network(name: str, variant: Variant, database: Database, k: int | None,
                  device: str = "cpu") -> tuple[nn.Module, dict]:
    """Returns a network trained on split k, or on the release's own split, and its agreement on the test part.

    Args:
        name: of the folder.
        variant: what is trained.
        database: with human scores.
        k: number of a split of :func:`iqa_lab.training.runs.numbered_parts`, which is the seed too; None for the release's.
        device: where it is trained, if it is not yet.
    """
    parts, folder = (split_parts(database, 0) if k is None else numbered_parts(database, k)), run_folder(name, database, k)
    recipe, start = recipe_of(variant, database, k), first_stage(variant.system) if variant.two_stages else None
    torch.manual_seed(recipe.seed)
    network = new_network(variant.system, recipe, device, start=start)
    timed_training(network, database, recipe, folder, parts=parts)
    network.name, network.kind, network.higher_is_better = name, "NR", database.facts.higher_is_better
    return network, read_row(folder)


def network_row(name: str, variant: Variant, database: Database, k: int | None, device: str = "cpu") -> dict:
    """Returns the agreement of a network on the test part; it is trained if no finished run of the same recipe is there.

    Args:
        name, variant, database, k, device: as :func:`train_network`.
    """
    folder = run_folder(name, database, k)
    if (folder / "cost.json").is_file():
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        recipe = json.loads(json.dumps(asdict(recipe_of(variant, database, k))))  # tuples are lists in the file
        if config["recipe"] == recipe and config["index_sha256"] == index_hash(database):
            return read_row(folder)
    return train_network(name, variant, database, k, device)[1]


def recipe_of(variant: Variant, database: Database, k: int | None) -> Recipe:
    """Returns what a variant is trained with on split k of a database, or on the release's own."""
    recipe = find_recipe(variant.system, variant.mode)
    begun = options_of(first_stage(variant.system)) if variant.two_stages else {}
    options = recipe.options | types_of(variant.system, database) | begun | variant.options
    return replace(recipe, seed=k or 0, options=options, **variant.changes)


def read_row(folder: Path) -> dict:
    """Returns what the tables say of a finished run."""
    files = [json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("report", "cost")]
    return {key: (files[0] | files[1])[key] for key in ROW}


def timed_training(network: nn.Module, database: Database, recipe: Recipe, folder: Path, *,
                   parts: np.ndarray | None = None) -> dict:
    """Returns the report of a training, with where it ran and the minutes since its last start; a finished one is read.

    The minutes are those of all processors on a CPU, and those of the clock on a GPU.

    Args:
        network, database, recipe, folder, parts: as :func:`iqa_lab.training.loop.train` takes them.
    """
    device, file = next(network.parameters()).device, folder / "cost.json"
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    started = clock()
    report = train(network, database, recipe, folder, parts=parts, progress=False)
    if not file.is_file():
        name = "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)
        cost = {"minutes": round((clock() - started) / 60, 2), "device": name, "torch": torch.__version__}
        file.write_text(json.dumps(cost) + "\n", encoding="utf-8")
    return report | json.loads(file.read_text(encoding="utf-8"))


def finished_runs(name: str, database: Database) -> dict[int | None, float]:
    """Returns the SROCC of the finished trainings by their split, None for the release's own."""
    reports = {k: run_folder(name, database, k) / "report.json" for k in (None, *range(10))}
    return {k: json.loads(path.read_text(encoding="utf-8"))["srocc"] for k, path in reports.items() if path.is_file()}


def median_run(runs: dict[int | None, float]) -> int | None:
    """Returns the split with the median SROCC of :func:`finished_runs`."""
    return sorted(runs, key=runs.get)[len(runs) // 2]


def network_scores(name: str, variant: Variant, learned: Database, k: int | None, test: Database) -> tuple[np.ndarray, int]:
    """Returns the scores of another database's images, higher is better, kept beside the run; and how many images it saw."""
    file = run_folder(name, learned, k) / f"scores_{test.name}.csv"
    if not file.is_file():
        score(train_network(name, variant, learned, k)[0], test).to_csv(file, index=False)
    seen = (pd.read_csv(file.with_name("split.csv"))["part"] == "train").sum()
    return quality(learned, pd.read_csv(file)["score"].to_numpy()), seen


def run_folder(name: str, database: Database, k: int | None) -> Path:
    """Returns where the training of a network on split k, or on the release's own split, is kept."""
    return cache_folder() / "runs" / database.name / name / ("official" if k is None else f"split{k}")


def first_stage(system: str) -> Path:
    """Returns the weights of a first stage.

    Raises:
        FileNotFoundError: it is not trained yet.
    """
    weights = cache_folder() / "runs" / "first_stages" / system / "weights.pt"
    if not weights.is_file():
        raise FileNotFoundError(f"Expected the first stage of {system} in {weights.parent}, found none; train it by python -m "
                                "iqa_lab.data_scripts.network_runs --photographs FOLDER.")
    return weights


def train_first_stage(system: str, database: Database) -> pd.DataFrame:
    """Returns the learning curve of a first stage, with what it was trained on."""
    recipe = find_recipe(system, "fast", first_stage=True)
    recipe = replace(recipe, options=recipe.options | types_of(system, database))
    torch.manual_seed(recipe.seed)
    folder = cache_folder() / "runs" / "first_stages" / system
    report = train(new_network(system, recipe), database, recipe, folder)
    (criterion,) = (name.removeprefix("test_") for name in report if name.startswith("test_") and "_if_" not in name)
    curve = pd.read_csv(folder / "history.csv").rename(columns=lambda name: name.replace(f"_{criterion}", ""))
    curve.insert(0, "system", system)
    return curve.assign(criterion=criterion, chosen=curve["epoch"] == report["best_epoch"], photographs=database.facts.n_contents,
                        images=len(database.index), index_sha256=index_hash(database)[:16], seed=recipe.seed,
                        torch=torch.__version__, device="cpu", date=date.today().isoformat())


def main() -> None:
    """Trains the named first stages, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, nargs="+", required=True, help="folders of pristine photographs")
    parser.add_argument("--only", nargs="*", default=list(FIRST_STAGES), choices=FIRST_STAGES)
    arguments = parser.parse_args()
    database = distort_photographs(arguments.photographs)
    for system in arguments.only:
        curve = train_first_stage(system, database)
        replace_rows(RESULTS / "first_stages.csv", curve, key=("system",), order=tuple(FIRST_STAGES))
        print(curve.to_string(), flush=True)


if __name__ == "__main__":
    main()
