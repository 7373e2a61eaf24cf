"""Trains a network that ships with the package on LIVE in the Wild, without the photographs of livec_mini.

``python -m iqa_lab.data_scripts.train_shipped_networks NAME RUN_FOLDER [--mode full] [--start WEIGHTS]``, after
``iqa-lab data prepare livec``. MEON starts from the weights.pt of ``iqa-lab train meon --first-stage --photographs KODAK``:
of photographs that may be used for whatever one likes, as a file that ships demands.

80 % of the other photographs train, 20 % choose the epoch, and the 150 of livec_mini test it once. A run that was
killed goes on where it stopped. Weights are shipped in half precision, without a backbone that is
installed and did not learn.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import nn

from iqa_lab import create_metric, load_database
from iqa_lab.data_scripts.network_runs import Variant, recipe_of, timed_training
from iqa_lab.databases import Database
from iqa_lab.embedded import SHIPPED
from iqa_lab.evaluation.protocols import agreement
from iqa_lab.scoring import score
from iqa_lab.training.networks import new_network, options_of
from iqa_lab.training.recipes import Recipe
from iqa_lab.training.runs import write_whole

NAMES = ("cnniqa", "iqacnnpp", "meon", "hyperiqa_efficientnet_lite0")
VALIDATION_SHARE, SEED = 0.2, 0


def with_livec_mini_as_test(database: Database) -> Database:
    """Returns the database with its column ``split`` filled: livec_mini tests, a seeded fifth of the rest validates."""
    index = database.index.copy()
    shipped = set(load_database("livec_mini").index["image"])
    index["split"] = ["test" if image in shipped else "train" for image in index["image"]]
    rest = np.flatnonzero(index["split"] == "train")
    chosen = np.random.RandomState(SEED).permutation(rest)[:round(VALIDATION_SHARE * len(rest))]
    index.loc[index.index[chosen], "split"] = "validation"
    return replace(database, index=index)


def write_shipped(name: str, recipe: Recipe, network: nn.Module) -> Path:
    """Writes the weights in half precision to iqa_lab/embedded/weights/NAME_livec.pt, and returns where that is."""
    installed = () if recipe.trainable == "all" else ("backbone.",)
    state = {key: value.half() if value.is_floating_point() else value for key, value in network.state_dict().items()
             if not key.startswith(installed)}
    file, content = SHIPPED / "weights" / f"{name}_livec.pt", BytesIO()
    torch.save(state, content)  # into a file it would write that file's name too
    write_whole(file, lambda path: path.write_bytes(content.getvalue()))
    return file


def srocc_of_file(name: str, recipe: Recipe, file: Path) -> float:
    """Returns the SROCC on livec_mini of the network in the file."""
    database = load_database("livec_mini")
    scores = score(create_metric(name, parameters=file, **recipe.options), database)
    return agreement(scores["score"].to_numpy(), database.index["mos"].to_numpy())["srocc"]


def main() -> None:
    """Trains, writes the file, and prints the report with the SROCC of the file itself."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=NAMES, help="row of the registry")
    parser.add_argument("folder", type=Path, help="folder of the run")
    parser.add_argument("--mode", choices=("fast", "full"), default="fast")
    parser.add_argument("--start", type=Path, help="weights.pt of its first stage")
    arguments = parser.parse_args()
    variant = Variant(arguments.name, arguments.mode, options=options_of(arguments.start) if arguments.start else {})
    database = with_livec_mini_as_test(load_database("livec"))
    recipe = replace(recipe_of(variant, database, None), seed=SEED)
    torch.manual_seed(SEED)
    network = new_network(arguments.name, recipe, start=arguments.start)
    report = timed_training(network, database, recipe, arguments.folder)
    file = write_shipped(arguments.name, recipe, network)
    print(json.dumps(report | {"srocc_of_file": srocc_of_file(arguments.name, recipe, file)}, indent=1))


if __name__ == "__main__":
    main()
