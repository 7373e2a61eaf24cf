"""Photographs of the user's own, spoilt in known ways: what first stages learn from, without anybody's opinion."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from iqa_lab.database_facts import DATABASES
from iqa_lab.databases import Database, read_index
from iqa_lab.distortions import N_LEVELS, distort
from iqa_lab.embedded import cache_folder
from iqa_lab.embedded.build import EMBEDDED_DISTORTIONS, INDEX_COLUMNS, built_whole, seed_of
from iqa_lab.images import find_images, read_pixels

LARGEST_SIDE = 768  # pixels; larger photographs are made smaller first, which also hides how they were compressed


def distort_photographs(sources: Sequence[str | Path], *, distortions: Sequence[str] = EMBEDDED_DISTORTIONS,
                        progress: bool = True) -> Database:
    """Returns photographs and five levels of each distortion as a database without opinion scores.

    It is made once, in a folder of the cache that is named by what goes into it. Every photograph is one content.

    Args:
        sources: files or folders of pristine photographs.
        distortions: keys of ``iqa_lab.distortions.DISTORTIONS``.
        progress: show a progress bar.

    Raises:
        FileNotFoundError: no images there. ValueError: an image that cannot be read, or an unknown distortion.
    """
    files = [file for source in sources for file in find_images(source)]
    digest = hashlib.sha256(repr((tuple(distortions), N_LEVELS, LARGEST_SIDE)).encode())
    for file in files:
        digest.update(file.read_bytes())
    folder = cache_folder() / "databases" / f"distorted-{digest.hexdigest()[:12]}"
    if not (folder / "index.csv").is_file():
        _build(folder, files, distortions, progress)
    facts = replace(DATABASES["embedded"], name=folder.name, title="photographs of the user's own, distorted",
                    n_contents=len(files), n_images=len(files) * len(distortions) * N_LEVELS, distortions=tuple(distortions),
                    licence="that of the photographs", how_to_get="")
    return Database(facts, folder, read_index(folder / "index.csv"))


def _build(folder: Path, files: Sequence[Path], distortions: Sequence[str], progress: bool) -> None:
    """Writes the images and index.csv, all of it or nothing."""
    with built_whole(folder) as unfinished, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        jobs = pool.map(lambda numbered: _write(unfinished, *numbered, distortions), enumerate(files))
        rows = [row for rows in tqdm(jobs, total=len(files), unit="photo", desc="distorting", disable=not progress)
                for row in rows]
        pd.DataFrame(rows).reindex(columns=INDEX_COLUMNS).to_csv(unfinished / "index.csv", index=False)


def _write(folder: Path, number: int, file: Path, distortions: Sequence[str]) -> list[dict]:
    """Writes one photograph and all its versions, and returns their rows of the index."""
    content = f"{number:05d}_{file.stem}"
    photograph = Image.fromarray(read_pixels(file))
    photograph.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    photograph.save(folder / f"{content}.png", compress_level=1)
    pristine, rows = np.asarray(photograph), []
    for distortion in distortions:
        for level in range(1, N_LEVELS + 1):
            name = f"{content}_{distortion}_{level}.png"
            pixels = distort(pristine, distortion, level, seed_of(content, distortion, level))
            Image.fromarray(pixels).save(folder / name, compress_level=1)
            rows.append({"image": name, "reference": f"{content}.png", "content": content, "distortion": distortion,
                         "level": level})
    return rows
