"""Trains the CNNIQA that ships with the package on LIVE in the Wild, without the photographs of livec_mini.

``python -m iqa_lab.data_scripts.train_cnniqa RUN_FOLDER [--mode full]``, after ``iqa-lab data prepare livec``.

80 % of the other photographs train, 20 % choose the epoch, and the 150 of livec_mini test it once. A run that was
killed goes on where it stopped. Weights are shipped in half precision.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from iqa_lab import create_metric, load_database
from iqa_lab.databases import Database
from iqa_lab.embedded import SHIPPED
from iqa_lab.training.loop import train, write_whole
from iqa_lab.training.recipes import find_recipe

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


def main() -> None:
    """Trains, prints the report and writes iqa_lab/embedded/weights/cnniqa_livec.pt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the run")
    parser.add_argument("--mode", choices=("fast", "full"), default="full")
    arguments = parser.parse_args()
    recipe = replace(find_recipe("cnniqa", arguments.mode), seed=SEED)
    torch.manual_seed(SEED)
    model = create_metric("cnniqa", parameters="random")
    report = train(model, with_livec_mini_as_test(load_database("livec")), recipe, arguments.folder)
    print(json.dumps(report, indent=1))
    state = {key: value.half() for key, value in model.state_dict().items()}
    write_whole(SHIPPED / "weights" / "cnniqa_livec.pt", lambda path: torch.save(state, path))


if __name__ == "__main__":
    main()
