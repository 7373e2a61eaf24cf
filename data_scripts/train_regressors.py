"""Trains the regressors that ship with the package on LIVE in the Wild, without the photographs of livec_mini.

``python -m iqa_lab.data_scripts.train_regressors [SYSTEM ...]``, after ``iqa-lab data prepare livec``.

The "full" recipe of each system, fitted to 100 - MOS, so that lower is better as in the papers. Kernel parameters are
chosen by cross-validation on the training photographs alone; the 150 photographs of livec_mini test the result once.
"""

from __future__ import annotations

import sys

import numpy as np

from iqa_lab import create_metric, load_database
from iqa_lab.data_scripts.shipped_arrays import write_arrays
from iqa_lab.databases import Database, quality
from iqa_lab.embedded import SHIPPED
from iqa_lab.evaluation.protocols import agreement
from iqa_lab.training.features import cached_features
from iqa_lab.training.recipes import RECIPES, RegressorRecipe, find_recipe
from iqa_lab.training.regressors import best_pair, fit_regressor, opinion_targets, predict

SYSTEMS = tuple(name for name, modes in RECIPES.items() if isinstance(modes["full"], RegressorRecipe))


def training_part() -> Database:
    """Returns the photographs of LIVE in the Wild that are not in livec_mini, in the order of their names."""
    database, held_out = load_database("livec"), load_database("livec_mini").index["image"]
    index = database.index[~database.index["image"].isin(held_out)].sort_values("image")
    return Database(database.facts, database.root, index.reset_index(drop=True))


def train(name: str) -> None:
    """Trains one system, prints the agreement on livec_mini and writes iqa_lab/embedded/weights/<name>_livec.npz."""
    metric = create_metric(name, parameters="untrained")
    database, held_out = training_part(), load_database("livec_mini")
    features = cached_features(metric, database.image_paths)
    contents = database.index["content"]
    arrays, search = fit_regressor(features, opinion_targets(database), contents, find_recipe(name, "full"))
    if "weights" in arrays:  # of thousands of features: half the size, and a score changes in its seventh digit
        arrays = {key: array.astype(np.float32) for key, array in arrays.items()}
    write_arrays(SHIPPED / "weights" / f"{name}_livec.npz", arrays)
    scores = predict(arrays, cached_features(metric, held_out.image_paths))
    found = agreement(-scores, quality(held_out, held_out.index["mos"].to_numpy()))
    chosen = ", ".join(f"{key} {value:g}" for key, value in best_pair(search).items())
    print(f"{name}: {len(contents)} photographs, {chosen}, {len(arrays.get('coefficients', ()))} support vectors; on "
          "livec_mini: " + ", ".join(f"{key} {found[key]:.3f}" for key in ("srocc", "krocc", "plcc", "rmse")))


if __name__ == "__main__":
    for system in sys.argv[1:] or SYSTEMS:
        train(system)
