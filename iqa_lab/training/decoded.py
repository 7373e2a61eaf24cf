"""The pixels of a database's images, decoded once: in memory while they fit there, else in files that are mapped."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from iqa_lab.embedded import cache_folder
from iqa_lab.images import read_pixels
from iqa_lab.training.runs import save_array, write_whole

IN_MEMORY = 2**32  # bytes of one part of a database; a larger one is kept on disk, in the folder "images" of the cache
READERS = 2  # threads


def decode(paths: Sequence[Path], minimum_side: int, *, squeezed: int = 0, progress: bool = True) -> list[torch.Tensor]:
    """Returns 8-bit images of shape (3, H, W), which must not be written to.

    Args:
        paths: of image files.
        minimum_side: that they must have, in pixels, before they are squeezed.
        squeezed: bring all to so many pixels on both sides, whatever their shape; 0 leaves them as they are.
        progress: show a progress bar.

    Raises:
        ValueError: an image cannot be decoded, has a side below ``minimum_side`` pixels, or 16 bits.
    """
    on_disk = squeezed > 0 or sum(3 * np.prod(_size(path)) for path in paths) > IN_MEMORY

    def read(path: Path) -> torch.Tensor:
        pixels = _mapped(path, minimum_side, squeezed) if on_disk else _planes(read_8_bit(path, minimum_side))
        return torch.from_numpy(pixels)

    with ThreadPoolExecutor(READERS) as pool:
        return list(tqdm(pool.map(read, paths), total=len(paths), unit="image", desc="reading", disable=not progress))


def read_8_bit(path: Path, minimum_side: int) -> np.ndarray:
    """Returns the pixels of one image file, uint8 of shape (H, W, 3).

    Raises:
        ValueError: it cannot be decoded, has a side below ``minimum_side`` pixels, or 16 bits.
    """
    pixels = read_pixels(path)
    if pixels.dtype != np.uint8 or min(pixels.shape[:2]) < minimum_side:
        raise ValueError(f"Expected an 8-bit image with sides of at least {minimum_side} pixels, got {pixels.dtype} of "
                         f"{pixels.shape[0]} x {pixels.shape[1]} in {path}; leave it out of the database's index.")
    return pixels


def _planes(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _mapped(path: Path, minimum_side: int, squeezed: int) -> np.ndarray:
    """Returns the pixels (3, H, W) from a file named by what the image file holds, made at the first time."""
    name = hashlib.sha256(path.read_bytes()).hexdigest()[:32] + (f"-{squeezed}" if squeezed else "")
    file = cache_folder() / "images" / f"{name}.npy"
    if not file.is_file():
        pixels = read_8_bit(path, minimum_side)
        if squeezed:
            pixels = np.asarray(Image.fromarray(pixels).resize((squeezed, squeezed), Image.Resampling.BILINEAR))
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, lambda unfinished: save_array(unfinished, _planes(pixels)))
    return np.load(file, mmap_mode="c", allow_pickle=False)  # "r" would make PyTorch warn


def _size(path: Path) -> tuple[int, int]:
    """Returns the size in the header of a file; (0, 0) where there is none, which reading it explains."""
    try:
        with Image.open(path) as image:
            return image.size
    except OSError:
        return 0, 0
