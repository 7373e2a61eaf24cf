"""Builds the database ``embedded``: photographs x 10 distortions x 5 levels, checked against stored hashes."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, features
from tqdm import tqdm

from iqa_lab.distortions import N_LEVELS, distort
from iqa_lab.embedded import SHIPPED
from iqa_lab.embedded.photographs import PHOTOGRAPHS, load_photograph

#: The kinds that the database is made of. Those that iqa_lab.distortions got later do not enter it.
EMBEDDED_DISTORTIONS = ("gaussian_blur", "motion_blur", "white_noise", "impulse_noise", "jpeg", "jpeg2000",
                        "contrast_change", "colour_quantisation", "darkening", "colour_shift")
HASHES = SHIPPED / "embedded_hashes.csv"
ABANDONED_AFTER = 3600  # seconds; a half-built folder older than this was left by a killed process
INDEX_COLUMNS = ("image", "reference", "content", "distortion", "level", "mos", "mos_std", "n_ratings", "split")


def build_embedded(folder: Path) -> None:
    """Writes the database into ``folder``: all of it, or nothing.

    Raises:
        RuntimeError: a picture is not the one that the stored hashes describe (see :func:`check_hashes`).
        FileNotFoundError: a photograph is missing from an installed package.
    """
    with built_whole(folder) as unfinished:
        for sub in ("references", "distorted"):
            (unfinished / sub).mkdir()
        check_hashes(write_images(unfinished), read_hashes())
        with (unfinished / "index.csv").open("w", newline="") as file:
            csv.writer(file).writerows([INDEX_COLUMNS, *index_rows()])


@contextmanager
def built_whole(folder: Path) -> Iterator[Path]:
    """Gives a folder beside ``folder`` to build a database in, which takes its place at the end; it ends with index.csv.

    So a killed process leaves no half database, and of two processes that build at the same time one wins and the other
    uses its result.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}.building-", dir=folder.parent))
    try:
        yield unfinished
        unfinished.chmod(0o755)  # mkdtemp makes it private
        if folder.exists() and not (folder / "index.csv").is_file():
            shutil.rmtree(folder)  # damaged: somebody has deleted a part of it
        unfinished.rename(folder)
    except OSError:
        if not (folder / "index.csv").is_file():  # otherwise another process has just finished the same work
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def index_rows() -> list[tuple]:
    """Returns the rows of index.csv; the opinion columns stay empty, because nobody has rated these images."""
    return [(image_name(photo.name, distortion, level), f"references/{photo.name}.png", photo.name, distortion, level,
             "", "", "", "")
            for photo in PHOTOGRAPHS for distortion in EMBEDDED_DISTORTIONS for level in range(1, N_LEVELS + 1)]


def image_name(photograph: str, distortion: str, level: int) -> str:
    """Returns the path of one distorted image inside the database."""
    return f"distorted/{photograph}_{distortion}_{level}.png"


def seed_of(photograph: str, distortion: str, level: int) -> int:
    """Returns the seed of one image's noise, 0 to 2**32 - 1, from a hash that is the same everywhere."""
    return int.from_bytes(hashlib.sha256(f"{photograph}/{distortion}/{level}".encode()).digest()[:4], "big")


def write_images(folder: Path, progress: bool = True) -> dict[str, str]:
    """Writes all images as PNG and returns the hash of each one's pixels by its path."""
    photographs = {photo.name: load_photograph(photo) for photo in PHOTOGRAPHS}

    def write(job: tuple[str, str, int]) -> tuple[str, str]:
        name, distortion, level = job
        if distortion:
            pixels, path = distort(photographs[name], distortion, level, seed_of(*job)), image_name(*job)
        else:
            pixels, path = photographs[name], f"references/{name}.png"
        Image.fromarray(pixels).save(folder / path, compress_level=1)  # a fast build is worth a larger cache
        return path, hash_pixels(pixels)

    jobs = [(name, "", 0) for name in photographs]
    jobs += [(name, kind, level)
             for name in photographs for kind in EMBEDDED_DISTORTIONS for level in range(1, N_LEVELS + 1)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return dict(tqdm(pool.map(write, jobs), total=len(jobs), unit="image", desc="building 'embedded'",
                         disable=not progress))


def hash_pixels(pixels: np.ndarray) -> str:
    """Returns the SHA-256 of an image's shape and decoded bytes; how the file is compressed does not matter."""
    return hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def codec_of(path: str) -> str:
    """Returns the library and version that the pixels of one image depend on, or "" where arithmetic decides alone."""
    photo = next(photo for photo in PHOTOGRAPHS if Path(path).stem.startswith(photo.name))
    used = []
    if photo.file.endswith(".jpg") or "_jpeg_" in path:
        kind = "libjpeg_turbo" if features.check_feature("libjpeg_turbo") else "jpg"
        used.append(f"{'libjpeg-turbo' if kind == 'libjpeg_turbo' else 'libjpeg'} {features.version(kind)}")
    if "_jpeg2000_" in path:
        used.append(f"openjpeg {features.version('jpg_2000')}")
    return " + ".join(used)


def read_hashes() -> dict[str, tuple[str, str]]:
    """Returns the stored (hash, codec) of every image by its path."""
    with HASHES.open(newline="") as file:
        return {row["image"]: (row["sha256"], row["codec"]) for row in csv.DictReader(file)}


def check_hashes(found: dict[str, str], stored: dict[str, tuple[str, str]]) -> None:
    """Compares the hashes of built images with the stored ones.

    A difference is an error, unless the image went through a codec of another version than the stored one: then it
    is a warning, because another libjpeg or OpenJPEG may rightly produce other pixels.

    Raises:
        RuntimeError: images are missing, or differ though the same code made them.
    """
    differing = [image for image, (value, _) in stored.items() if found.get(image) != value]
    excused = [image for image in differing if image in found and codec_of(image) != stored[image][1]]
    wrong = [image for image in differing if image not in excused] + sorted(set(found) - set(stored))
    if wrong:
        raise RuntimeError(
            f"Expected the images that {HASHES.name} describes, got others for {len(wrong)} of {len(stored)} "
            f"({', '.join(wrong[:3])}, ...; codec here: {codec_of(wrong[0]) or 'none involved'}); install the versions "
            "in requirements.lock, and report this if it stays.")
    if excused:
        codecs = sorted({f"{codec_of(image)} instead of {stored[image][1]}" for image in excused})
        warnings.warn(f"{len(excused)} of {len(stored)} images of 'embedded' differ from the published ones, because "
                      f"this Pillow uses {'; '.join(codecs)}. Results on them may differ in the last digits.",
                      stacklevel=2)


def remove_abandoned(folder: Path) -> None:
    """Removes half-built folders of processes that were killed."""
    for old in folder.parent.glob(f"{folder.name}.building-*"):
        if time.time() - old.stat().st_mtime > ABANDONED_AFTER:
            shutil.rmtree(old, ignore_errors=True)
