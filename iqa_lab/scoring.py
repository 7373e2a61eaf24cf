"""Scores images with metrics: the only place where the two meet.

A bad image gets its error in its own row; everything else is computed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import pandas as pd
import torch
from PIL import Image
from torch import nn
from tqdm import tqdm

from iqa_lab.databases import Database, load_database, quality
from iqa_lab.images import load_image

COLUMNS = ["image", "reference", "metric", "score", "error"]
LOOK_AHEAD = 2  # batches decoded while the metric works on another


def score(metrics: nn.Module | Sequence[nn.Module], database: Database | str, *, batch_size: int = 8,
          device: torch.device | str = "cpu", progress: bool = True) -> pd.DataFrame:
    """Returns the scores of every image of a database.

    Args:
        metrics: one or several made by :func:`iqa_lab.create_metric`.
        database: as :func:`iqa_lab.load_database` returns it, or its name.
        batch_size: images of one size that are scored together.
        device: where the metrics run; they are moved there.
        progress: show a progress bar on stderr.

    Returns:
        A table with the columns ``image, reference, metric, score, error``, the index's paths and order, one row per
        image and metric. ``error`` is empty where the score is good.

    Raises:
        TypeError: a metric's name instead of the metric. ValueError: a full-reference metric on a database without
            references.
    """
    if isinstance(database, str):
        database = load_database(database)
    metrics = [metrics] if isinstance(metrics, (nn.Module, str)) else list(metrics)
    images, references, names = files_of(database)
    rows = score_files(metrics, images, references, batch_size=batch_size, device=device)
    bar = tqdm(rows, total=len(images) * len(metrics), unit="score", desc=database.name, disable=not progress)
    return to_table(renamed(bar, names))


def files_of(database: Database) -> tuple[list[Path], list[Path | None], list[dict]]:
    """Returns the image and the reference of each row of a database's index, and the names that the index has for them."""
    index = database.index[["image", "reference"]].astype(object)
    return database.image_paths, database.reference_paths, index.where(index.notna(), None).to_dict("records")


def renamed(rows: Iterable[dict], names: Sequence[dict]) -> Iterator[dict]:
    """Yields the rows of :func:`score_files` with the index's names of images and references."""
    return ({**row, **names[row["order"]]} for row in rows)


def score_files(metrics: Sequence[nn.Module], images: Sequence[Path], references: Sequence[Path | None], *,
                batch_size: int = 8, device: torch.device | str = "cpu") -> Iterator[dict]:
    """Yields one row ``{order, image, reference, metric, score, error}`` per image and metric, as they are computed.

    Images of one size are scored in batches, so the rows do not come in the order of ``images``;
    :func:`to_table` restores it.

    Args:
        metrics, batch_size, device: as :func:`score`.
        images: files.
        references: the file each image is compared with, or None; of the same length.

    Raises:
        TypeError, ValueError: as :func:`score`.
    """
    check_metrics(metrics, references)
    metrics = [metric.to(device) for metric in metrics]
    needs_reference = any(metric.kind != "NR" for metric in metrics)
    read_reference = lru_cache(maxsize=4)(load_image)  # the versions of one reference follow each other

    def read(batch: list[int]) -> list[tuple]:
        return [_read_item(i, images[i], references[i] if needs_reference else None, read_reference) for i in batch]

    for items in _ahead(read, _batches(images, batch_size)):
        # Items whose files cannot be read, or whose reference has another size, are scored (and fail) alone.
        for _, group in groupby(items, key=lambda item: item[3] or tuple(map(_shape, item[1:3]))):
            group = list(group)
            for metric in metrics:
                for (i, *_), (value, error) in zip(group, _score_group(metric, group, device)):
                    yield {"order": i, "image": str(images[i]), "reference": _text(references[i]),
                           "metric": metric.name, "score": value, "error": error}


def to_table(rows: Iterable[dict]) -> pd.DataFrame:
    """Returns the rows of :func:`score_files` as a table in the order of the images."""
    table = pd.DataFrame(list(rows), columns=["order", *COLUMNS])
    return table.sort_values("order", kind="stable")[COLUMNS].reset_index(drop=True)


def join_opinions(scores: pd.DataFrame, database: Database | str) -> pd.DataFrame:
    """Returns the scores with the opinion score of each image beside them, in the order of the scores.

    Args:
        scores: with the columns ``image``, ``metric`` and ``score``; images are named as in the index of the database.
        database: with human scores, or its name.

    Returns:
        The columns ``image, metric, score, quality, mos_std, n_ratings, content, distortion``. ``quality`` is the
        opinion score turned so that higher is better (:func:`iqa_lab.databases.quality`); the scores keep the direction
        of their metric.

    Raises:
        ValueError: no human scores, missing columns, an image of another database, or one scored twice by a metric.
    """
    database = load_database(database) if isinstance(database, str) else database
    opinions = database.index[["image", "mos_std", "n_ratings", "content", "distortion"]]
    opinions = opinions.assign(quality=quality(database, database.index["mos"]))
    missing = [column for column in ("image", "metric", "score") if column not in scores]
    if missing:
        raise ValueError(f"Expected the columns image, metric and score, got no {', '.join(missing)}; use the table "
                         "that `iqa-lab score --output FILE.csv` writes.")
    unknown = scores["image"][~scores["image"].isin(database.index["image"])]
    if len(unknown):
        raise ValueError(f"Expected images named as in the index of {database.name!r}, such as "
                         f"{database.index['image'].iloc[0]!r}, got {unknown.iloc[0]!r} and {len(unknown) - 1} more "
                         "that it does not have; score the database with iqa_lab.score.")
    twice = scores[scores.duplicated(["image", "metric"])]
    if len(twice):
        raise ValueError(f"Expected one score for each image and metric, got two of {twice['metric'].iloc[0]!r} "
                         f"for {twice['image'].iloc[0]!r}; leave one out.")
    joined = scores[["image", "metric", "score"]].merge(opinions, on="image", how="left")
    return joined[["image", "metric", "score", "quality", "mos_std", "n_ratings", "content", "distortion"]]


def check_metrics(metrics: Sequence[nn.Module], references: Sequence[Path | None]) -> None:
    """Raises the error that :func:`score` documents."""
    for metric in metrics:
        if not isinstance(metric, nn.Module) or not hasattr(metric, "kind"):
            raise TypeError(f"Expected a metric made by iqa_lab.create_metric, got {metric!r}; "
                            "use iqa_lab.create_metric(name).")
        if metric.kind != "NR" and all(reference is None for reference in references):
            raise ValueError(f"Metric {metric.name!r} compares with a reference, and there is none; give references, "
                             "or choose a no-reference metric such as 'niqe'.")


def _batches(images: Sequence[Path], batch_size: int) -> Iterator[list[int]]:
    """Yields positions of images of one size, in batches; a file whose size cannot be read stands under size None."""
    by_size: dict = {}
    for i, path in enumerate(images):
        by_size.setdefault(_size(path), []).append(i)
    for positions in by_size.values():
        yield from (positions[start:start + batch_size] for start in range(0, len(positions), batch_size))


def _size(path: Path) -> tuple[int, int] | None:
    try:
        with Image.open(path) as image:  # reads the header only
            return image.size
    except Exception:  # whatever is wrong with it, load_image says it in the row of that image
        return None


def _ahead(read, batches: Iterator[list[int]]) -> Iterator[list]:
    """Yields read(batch) for every batch, reading LOOK_AHEAD batches in the background."""
    with ThreadPoolExecutor(max_workers=LOOK_AHEAD) as pool:
        waiting: deque = deque()
        for batch in batches:
            waiting.append(pool.submit(read, batch))
            if len(waiting) > LOOK_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _read_item(i: int, path: Path, reference: Path | None, read_reference) -> tuple:
    """Returns (position, image, reference, error); the tensors are None where there is nothing or an error."""
    try:
        return i, load_image(path), None if reference is None else read_reference(reference), ""
    except (OSError, ValueError, MemoryError) as error:
        return i, None, None, str(error)


def _score_group(metric: nn.Module, group: list[tuple], device: torch.device | str) -> list[tuple[float, str]]:
    """Returns (score, error) of each item; when a batch fails, its items are tried one by one."""
    if group[0][3]:
        return [(math.nan, item[3]) for item in group]
    try:
        inputs = [torch.cat([item[1] for item in group])]
        if metric.kind != "NR":
            if group[0][2] is None:
                raise ValueError("No reference given; this metric compares with one.")
            inputs.append(torch.cat([item[2] for item in group]))
        with torch.no_grad():
            values = metric(*(tensor.to(device) for tensor in inputs)).double().cpu().tolist()
        return [(value, "the metric returned NaN" if math.isnan(value) else "") for value in values]
    except Exception as error:  # one bad image must not take the others with it
        if len(group) == 1:
            return [(math.nan, f"{error}")]
        return [result for item in group for result in _score_group(metric, [item], device)]


def _shape(tensor: torch.Tensor | None) -> tuple | None:
    return None if tensor is None else tuple(tensor.shape)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
