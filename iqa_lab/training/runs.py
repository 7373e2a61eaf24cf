"""The folder of a training run: what decides its result, who was in which part, and what came out.

``config.json`` (everything that decides the result), ``split.csv``, ``scores.csv`` and ``report.json`` of the test part.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from iqa_lab.databases import Database, quality
from iqa_lab.evaluation.protocols import agreement
from iqa_lab.evaluation.splits import PARTS, content_splits, official_split, train_validation_test
from iqa_lab.training.recipes import Recipe, RegressorRecipe


def split_parts(database: Database, seed: int) -> np.ndarray:
    """Returns "train", "validation" or "test" for each image; the versions of one content stay together.

    The release's own split is taken where it has one (its training part gives a fifth of its contents for validation
    if it names none), else the contents are split 60 : 20 : 20.
    """
    contents, column = database.index["content"], database.index["split"]
    if column.isna().all():
        rows = dict(zip(PARTS, train_validation_test(contents, seed=seed), strict=True))
    else:
        rows = official_split(column)
        if "validation" not in rows:
            (inner,) = content_splits(contents.iloc[rows["train"]], n_splits=1, test_share=0.2, seed=seed)
            rows["train"], rows["validation"] = (rows["train"][part] for part in inner)
    return name_parts(len(contents), rows)


def numbered_parts(database: Database, k: int) -> np.ndarray:
    """Returns the parts of split k, from 0, of the content-disjoint 80 : 20 splits that tables report.

    The test part is that of :func:`iqa_lab.evaluation.splits.content_splits` with seed 0; a fifth of the other contents
    is for validation.
    """
    contents = database.index["content"]
    train, test = content_splits(contents, n_splits=k + 1, test_share=0.2, seed=0)[k]
    (inner,) = content_splits(contents.iloc[train], n_splits=1, test_share=0.2, seed=k)
    return name_parts(len(contents), dict(zip(PARTS, (*(train[part] for part in inner), test), strict=True)))


def name_parts(n: int, rows: dict[str, np.ndarray]) -> np.ndarray:
    """Returns the name of the part of each of n images, of the positions of those in each part."""
    parts = np.empty(n, dtype=object)
    for part in PARTS:
        parts[rows[part]] = part
    return parts


def describe_run(model: nn.Module, database: Database, recipe: Recipe | RegressorRecipe) -> dict:
    """Returns what decides the result of a run, and what a reader of its numbers must know."""
    return {"model": describe_model(model), "database": database.name, "score_kind": database.facts.score_kind,
            "n_images": len(database.index), "index_sha256": index_hash(database),
            "recipe": asdict(recipe), "torch": torch.__version__}


def describe_model(model: nn.Module) -> list[str]:
    """Returns the modules of this package that state options, with these, and the SHA-256 of names and shapes of the state.

    PyTorch's own words for its modules are left out: another version of it has others.
    """
    own = [f"{name or 'model'}: {type(part).__name__}({part.extra_repr()})" for name, part in model.named_modules()
           if type(part).__module__.startswith("iqa_lab") and "extra_repr" in vars(type(part))]
    layout = [(name, tuple(value.shape)) for name, value in model.state_dict().items()]
    return [*own, f"layout: {hashlib.sha256(repr(layout).encode()).hexdigest()}"]


def index_hash(database: Database) -> str:
    """Returns the SHA-256 of the table of a database: which images, with which opinion scores."""
    return hashlib.sha256(database.index.to_csv(index=False).encode()).hexdigest()


def open_run(folder: Path, config: dict, database: Database, parts: np.ndarray) -> None:
    """Writes config.json and split.csv, or checks that the folder holds the same run.

    Raises:
        ValueError: another run lies there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.json"
    config = json.loads(json.dumps(config))  # tuples are lists in the file
    if file.is_file():
        found = json.loads(file.read_text(encoding="utf-8"))
        changed = sorted(key for key in config if key != "torch" and found.get(key) != config[key])
        changed += [] if list(pd.read_csv(folder / "split.csv")["part"]) == list(parts) else ["split"]
        if changed:
            raise ValueError(f"Expected an empty folder or the same run in {folder}, got a run with another "
                             f"{', '.join(changed)}; choose another folder or delete this one.")
        return
    pd.DataFrame({"image": database.index["image"], "part": parts}).to_csv(folder / "split.csv", index=False)
    write_whole(file, lambda path: path.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8"))


def write_results(folder: Path, database: Database, parts: np.ndarray, scores: np.ndarray, facts: dict, *,
                  higher_is_better: bool | None = None) -> None:
    """Writes scores.csv and report.json: the agreement with the opinion scores of the test part.

    Args:
        folder: of the run.
        database, parts: as :func:`split_parts` has them.
        scores: of the test images, in the order of the index.
        facts: what else the report says.
        higher_is_better: direction of the scores; None for that of the opinion scores they were learned from.
    """
    test = database.index[parts == "test"]
    table = pd.DataFrame({"image": test["image"].to_numpy(), "score": scores, "mos": test["mos"].to_numpy()})
    write_whole(folder / "scores.csv", lambda path: table.to_csv(path, index=False))
    turned = quality(database, scores) if higher_is_better is None else scores if higher_is_better else -scores
    write_report(folder, {"database": database.name, "score_kind": database.facts.score_kind, "part": "test",
                          **agreement(turned, quality(database, table["mos"].to_numpy())), **facts})


def write_report(folder: Path, facts: dict) -> None:
    """Writes report.json: the facts and the date."""
    text = json.dumps(facts | {"date": date.today().isoformat()}, indent=1) + "\n"
    write_whole(folder / "report.json", lambda path: path.write_text(text, encoding="utf-8"))


def save_array(path: Path, array: np.ndarray) -> None:
    """Writes an array of numbers under exactly this name; np.save would append .npy to it."""
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file under another name first: whoever kills the process leaves the old file or the new one, never a half.

    The name is that of the process, so that several may write the same file.
    """
    unfinished = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}.unfinished")
    write(unfinished)
    os.replace(unfinished, path)
