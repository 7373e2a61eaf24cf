"""Tests what `iqa-lab score` uses for photos alone: its parts, other image sizes, other databases; and trains what ships.

``python -m iqa_lab.data_scripts.default_scorer [--ship]``, run in the folder of the project after ``iqa-lab data prepare``
of livec, biq2021 and tid2013. About 20 minutes of one core and 4 GB of cache. It writes

- results/default_scorer.csv: median and quartiles over 10 content-disjoint 80 : 20 splits of LIVE in the Wild, of the system
  and of controls, at the photos' own size and at others; then one number for each test of a single model.
- with --ship: iqa_lab/embedded/weights/dbcnn_linear_livec.npz, learned from all photos of LIVE in the Wild that are here.

It learns from every photo twice, at its own size and at half of it, with the same opinion score. That choice was made by
cross-validation inside the training parts. C is chosen there too.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps

from iqa_lab import create_metric, load_database
from iqa_lab.data_scripts.result_rows import RESULTS, commit
from iqa_lab.data_scripts.shipped_arrays import write_arrays
from iqa_lab.databases import Database, quality
from iqa_lab.embedded import SHIPPED, cache_folder
from iqa_lab.evaluation.protocols import agreement
from iqa_lab.evaluation.splits import content_splits
from iqa_lab.images import read_pixels
from iqa_lab.training.features import cached_features
from iqa_lab.training.recipes import find_recipe
from iqa_lab.training.regressors import fit_regressor, opinion_targets, predict
from iqa_lab.training.runs import index_hash

NAME, SEED = "dbcnn_linear_efficientnet_lite0", 0
FILE = SHIPPED / "weights" / "dbcnn_linear_livec.npz"
TRAINED_AT = ("own", "0.5")
SIZES = ("own", "0.5", "0.75", "1.5", "2", "1024x768", "shorter side 224")
#: What is compared at the photos' own size: label -> system and its options.
CONTROLS = {f"{NAME}, learned at the photos' own size": (NAME, {}),
            f"{NAME}, likewise, random S-CNN": (NAME, {"scnn": "random"}),
            f"{NAME}, likewise, maps of block15": (NAME, {"layer": "block15"}),
            "pooled_efficientnet_lite0": ("pooled_efficientnet_lite0", {})}
Fitted = list[tuple[dict[str, np.ndarray], np.ndarray]]


def features_at(database: Database, size: str) -> np.ndarray:
    """Returns the features of all photos, of files of another size where one is asked for, shape (n, D)."""
    metric = create_metric(NAME, parameters="untrained")
    return cached_features(metric, database.image_paths if size == "own" else resized_copies(database, size))


def resized_copies(database: Database, size: str) -> list[Path]:
    """Returns files of the photos in another size, written once: Lanczos, widened when shrinking, 8 bits, no loss."""
    folder, files = cache_folder() / "resized" / f"{database.name}-{size}", []
    folder.mkdir(parents=True, exist_ok=True)
    for path in database.image_paths:
        files.append(folder / f"{path.stem}.png")
        if not files[-1].is_file():
            unfinished = files[-1].with_suffix(".part")
            resized(Image.fromarray(read_pixels(path)), size).save(unfinished, "png", compress_level=1)
            unfinished.rename(files[-1])
    return files


def resized(photo: Image.Image, size: str) -> Image.Image:
    """Returns the photo enlarged by a factor, with a shorter side of 224, or its middle at 1024x768."""
    if size == "1024x768":
        return ImageOps.fit(photo, (1024, 768), Image.Resampling.LANCZOS)
    factor = 224 / min(photo.size) if size == "shorter side 224" else float(size)
    return ImageOps.scale(photo, factor, Image.Resampling.LANCZOS)


def fit_on_splits(features: np.ndarray, database: Database, name: str) -> Fitted:
    """Returns the regressor of each split's training part, and the rows of its test part.

    Args:
        features: shape (n, D), or (n, P, D) of P sizes of each photo.
    """
    targets, contents = opinion_targets(database), database.index["content"]
    return [(fit_regressor(features[train], targets[train], contents.iloc[train], find_recipe(name, "fast"))[0], test)
            for train, test in content_splits(contents, seed=SEED)]


def test_row(fitted: Fitted, features: np.ndarray, database: Database, **about: str) -> dict:
    """Returns median and quartiles of the agreement on the test parts, and prints the SROCC."""
    opinions = quality(database, database.index["mos"].to_numpy(float))
    table = pd.DataFrame([agreement(-predict(arrays, features[test]), opinions[test]) for arrays, test in fitted])
    row = about | {"database": database.name, "tested": int(table["n"].median()), "splits": len(fitted)}
    for criterion in ("srocc", "plcc", "krocc"):
        median, q1, q3 = table[criterion].quantile([0.5, 0.25, 0.75])
        row |= {criterion: median} | ({f"{criterion}_q1": q1, f"{criterion}_q3": q3} if len(fitted) > 1 else {})
    print(*about.values(), row["database"], round(row["srocc"], 3), flush=True)
    return row | {"index_sha256": index_hash(database)[:16]}


def control_rows(database: Database) -> list[dict]:
    """Returns the rows of all controls."""
    rows = []
    for label, (name, options) in CONTROLS.items():
        torch.manual_seed(SEED)  # for what is random
        features = cached_features(create_metric(name, parameters="untrained", **options), database.image_paths)
        rows.append(test_row(fit_on_splits(features, database, name), features, database, system=label, size="own"))
    return rows


def size_rows(database: Database, both: np.ndarray) -> list[dict]:
    """Returns the rows of the system, and of one that learned at the photos' own size, on every size."""
    fitted = {NAME: fit_on_splits(both, database, NAME), next(iter(CONTROLS)): fit_on_splits(both[:, 0], database, NAME)}
    rows = []
    for size in SIZES:
        features = features_at(database, size)
        rows += [test_row(models, features, database, system=label, size=size) for label, models in fitted.items()
                 if (label, size) != (next(iter(CONTROLS)), "own")]
    return rows


def single_rows(livec: Database, both: np.ndarray, arrays: dict[str, np.ndarray], tested: Sequence[str]) -> list[dict]:
    """Returns the rows of single models: without livec_mini tested on it, and of all photos tested on other databases."""
    held_out = load_database("livec_mini")
    learned = ~livec.index["image"].isin(held_out.index["image"]).to_numpy()
    without, _ = fit(both[learned], Database(livec.facts, livec.root, livec.index[learned]))
    label = f"{NAME}, one model of {{}} photos"
    rows = [test_row([(without, np.arange(len(held_out.index)))], features_at(held_out, "own"), held_out,
                     system=label.format(learned.sum()), size="own")]
    for other in map(load_database, tested):
        rows.append(test_row([(arrays, np.arange(len(other.index)))], features_at(other, "own"), other,
                             system=label.format(len(learned)), size="own"))
    return rows


def fit(both: np.ndarray, database: Database) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Returns the regressor of all photos of a database in single precision, and the table of its search."""
    arrays, search = fit_regressor(both, opinion_targets(database), database.index["content"], find_recipe(NAME, "full"))
    return {key: array.astype(np.float32) for key, array in arrays.items()}, search


def main() -> None:
    """Runs everything and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ship", action="store_true", help="write the regressor that ships")
    arguments = parser.parse_args()
    livec = load_database("livec")
    both = np.stack([features_at(livec, size) for size in TRAINED_AT], axis=1)  # n, sizes, D
    arrays, search = fit(both, livec)
    print(search.to_string())
    if arguments.ship:
        write_arrays(FILE, arrays)
    rows = control_rows(livec) + size_rows(livec, both) + single_rows(livec, both, arrays, ("biq2021", "tid2013"))
    table = pd.DataFrame(rows).assign(seed=SEED, torch=torch.__version__, device="cpu", commit=commit(),
                                      date=date.today().isoformat())
    table.to_csv(RESULTS / "default_scorer.csv", index=False, float_format="%.4f")


if __name__ == "__main__":
    main()
