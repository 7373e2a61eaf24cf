"""Features and scores of every image of a database, computed once and kept on disk.

One small file per image, named by the SHA-256 of the image file, in a folder named by the system and the SHA-256 of its
code and constants: changed code never meets old features, and a killed run goes on where it stopped.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from iqa_lab.databases import Database
from iqa_lab.embedded import cache_folder
from iqa_lab.images import load_image
from iqa_lab.registry import create_metric
from iqa_lab.scoring import score
from iqa_lab.training.runs import save_array, write_whole

#: What finds and reads parameter files, whose content is among the buffers, and what works on the features.
WITHOUT_EFFECT = {"iqa_lab.no_reference.regression", "iqa_lab.backbones.weights", "iqa_lab.backbones.weights_table", "iqa_lab.downloads", "iqa_lab.embedded"}
FACTS = {"name", "kind", "higher_is_better", "training"}  # attributes of a metric that do not change its features


@torch.no_grad()
def cached_features(metric: nn.Module, images: Sequence[Path], *, progress: bool = True) -> np.ndarray:
    """Returns the features of each image, shape (n, D), from the cache where they are there.

    Args:
        metric: made by :func:`iqa_lab.create_metric`, with ``features(image)`` -> (1, D); on the device where new
            features shall be computed.
        images: files.
        progress: show a progress bar.

    Raises:
        ValueError: an image that cannot be read or is too small; the features of those before it are kept.
    """
    folder = cache_folder() / "features" / f"{metric.name}-{code_version(metric)[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    device = next(iter(metric.buffers()), torch.empty(0)).device
    rows = [_features(metric, path, folder, device) for path in tqdm(images, unit="image", desc=metric.name,
                                                                     disable=not progress)]
    return np.stack(rows)


def cached_scores(name: str, database: Database, *, progress: bool = True, **options: object) -> np.ndarray:
    """Returns the scores of a system for all images of a database, higher is better, shape (n,), kept in the cache.

    Args:
        name: row of the registry whose parameters are at hand, or given among the options.
        database: with references for a full-reference system; a part of one is served from the scores of the whole.
        progress: show a progress bar.
        options: as :func:`iqa_lab.create_metric` takes them.
    """
    metric = create_metric(name, **options)
    file = cache_folder() / "scores" / f"{database.name}-{name}-{code_version(metric)[:12]}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    table, images = pd.read_csv(file, dtype={"image": str}) if file.is_file() else None, database.index["image"]
    if table is None or not images.isin(table["image"]).all():
        table = score(metric, database, progress=progress)
        write_whole(file, lambda unfinished: table.to_csv(unfinished, index=False))
    scores = table.set_index("image")["score"].loc[images].to_numpy()
    return scores if metric.higher_is_better else -scores


def code_version(metric: nn.Module) -> str:
    """Returns the SHA-256 of what decides the features: the source of the system and of all it imports, options, buffers.

    The regressor's buffers are left out: it works on the features.
    """
    options = {key: getattr(value, "__qualname__", value) for key, value in vars(metric).items()
               if key[0] != "_" and key not in FACTS}
    digest = hashlib.sha256(repr(sorted(options.items())).encode())
    for file in _sources(type(metric).__module__):
        digest.update(file.read_bytes())
    for name, buffer in sorted(metric.state_dict().items()):
        if not name.startswith("regressor."):
            digest.update(name.encode() + buffer.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _features(metric: nn.Module, path: Path, folder: Path, device: torch.device) -> np.ndarray:
    file = folder / f"{hashlib.sha256(path.read_bytes()).hexdigest()[:32]}.npy"
    if file.is_file():
        return np.load(file, allow_pickle=False)
    try:
        features = metric.features(load_image(path).to(device))[0].cpu().numpy()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: {error}") from error
    write_whole(file, lambda unfinished: save_array(unfinished, features))
    return features


def _sources(module: str, seen: dict[str, Path] | None = None) -> list[Path]:
    """Returns the files of a module and of everything of this package that it imports, directly or not."""
    seen = {} if seen is None else seen
    # Found without being imported: what a function imports later must not change the version.
    spec = find_spec(module) if module not in {*seen, *WITHOUT_EFFECT} and module.startswith("iqa_lab.") else None
    if spec is not None:
        seen[module] = Path(spec.origin)
        for node in ast.walk(ast.parse(seen[module].read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                _sources(node.module, seen)
    return [seen[name] for name in sorted(seen)]
