"""The patches of a database's images, kept in memory, and their order in each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from iqa_lab.images import read_pixels


@dataclass(frozen=True)
class PatchSet:
    """The grid patches of some images.

    Attributes:
        patches: uint8, shape (P, 3, side, side), image after image.
        image: position of each patch's image in the list it was made of, shape (P,).
    """

    patches: torch.Tensor
    image: np.ndarray


def load_patches(paths: Sequence[Path], side: int, *, progress: bool = True) -> PatchSet:
    """Returns all non-overlapping patches of the images; 3 bytes per pixel stay in memory.

    Args:
        paths: image files of 8 bits.
        side: of the square patches, in pixels.
        progress: show a progress bar.

    Raises:
        ValueError: an image cannot be decoded, is smaller than a patch, or has 16 bits.
    """
    with ThreadPoolExecutor(2) as pool:
        grids = list(tqdm(pool.map(lambda path: cut_patches(path, side), paths), total=len(paths), unit="image",
                          desc="reading", disable=not progress))
    image = np.repeat(np.arange(len(grids)), [len(grid) for grid in grids])
    return PatchSet(torch.from_numpy(np.concatenate(grids)), image)


def cut_patches(path: Path, side: int) -> np.ndarray:
    """Returns the grid patches of one image file, uint8 of shape (P, 3, side, side), row by row."""
    pixels = read_pixels(path)
    rows, columns = (length // side for length in pixels.shape[:2])
    if pixels.dtype != np.uint8 or not rows or not columns:
        raise ValueError(f"Expected an 8-bit image with sides of at least {side} pixels, got {pixels.dtype} of "
                         f"{pixels.shape[0]} x {pixels.shape[1]} in {path}; leave it out of the database's index.")
    cells = pixels[:rows * side, :columns * side].reshape(rows, side, columns, side, 3)
    return np.ascontiguousarray(cells.transpose(0, 2, 4, 1, 3)).reshape(-1, 3, side, side)


def epoch_batches(patches: PatchSet, per_image: int | None, batch_size: int,
                  random: np.random.Generator) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
    """Yields batches of one epoch in random order: float patches in [0, 1], and the position of each one's image.

    Args:
        patches: of the training images.
        per_image: how many patches of each image are drawn (all where it has fewer); None for all.
        batch_size: the last batch may be smaller.
        random: decides draw and order.
    """
    # Sorted by image and then by a random key, the first per_image of each image are a fair draw.
    order = np.lexsort((random.random(len(patches.image)), patches.image))
    first = np.searchsorted(patches.image, patches.image)  # images lie one after another
    drawn = order if per_image is None else order[np.arange(len(order)) - first < per_image]
    drawn = random.permutation(drawn)
    for start in range(0, len(drawn), batch_size):
        batch = drawn[start:start + batch_size]
        yield patches.patches[torch.from_numpy(batch)].float() / 255, patches.image[batch]
