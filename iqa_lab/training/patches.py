"""The patches of a database's images, kept in memory, and their order in each epoch: each has its image's opinion score."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from iqa_lab.databases import Database
from iqa_lab.evaluation.criteria import srocc
from iqa_lab.images import number_at_once
from iqa_lab.training.decoded import READERS, read_8_bit
from iqa_lab.training.recipes import Recipe

SCORING_BATCH = 128  # patches scored at once on a CPU; more would leave the cache


@dataclass(frozen=True)
class PatchSet:
    """The grid patches of some images.

    Attributes:
        patches: uint8, shape (P, 3, side, side), image after image.
        image: position of each patch's image in the list it was made of, shape (P,).
        targets: opinion score of each image.
    """

    patches: torch.Tensor
    image: np.ndarray
    targets: np.ndarray
    criterion = "srocc"

    def batches(self, recipe: Recipe, random: np.random.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yields patches (P, 3, side, side) in random order, and the opinion score of each one's image."""
        for batch in epoch_order(self.image, recipe.patches_per_image, recipe.batch_size, random):
            yield self.patches[torch.from_numpy(batch)], torch.from_numpy(self.targets[self.image[batch]])

    def validate(self, model: nn.Module) -> float:
        """Returns the SROCC of the images' scores; 0 where a network gives all of them the same."""
        scores = self.scores(model)
        return srocc(scores, self.targets) if np.ptp(scores) > 0 else 0.0

    @torch.no_grad()
    def scores(self, model: nn.Module) -> np.ndarray:
        """Returns the mean score of the patches of each image."""
        device, size = next(model.parameters()).device, self.patches[0, 0].numel()
        model.eval()
        scores = torch.cat([model.patch_scores(few.to(device).float() / 255) for few in
                            self.patches.split(number_at_once(size, device, SCORING_BATCH * size))]).double().cpu().numpy()
        return np.bincount(self.image, scores) / np.bincount(self.image)


def load_patches(database: Database, rows: np.ndarray, side: int, *, progress: bool = True) -> PatchSet:
    """Returns all non-overlapping patches of some images; 3 bytes per pixel stay in memory.

    Args:
        database: with opinion scores.
        rows: positions of the images in its index.
        side: of the square patches, in pixels.
        progress: show a progress bar.

    Raises:
        ValueError: an image cannot be decoded, is smaller than a patch, or has 16 bits.
    """
    paths = [database.image_paths[row] for row in rows]
    with ThreadPoolExecutor(READERS) as pool:
        grids = list(tqdm(pool.map(lambda path: cut_patches(path, side), paths), total=len(paths), unit="image",
                          desc="reading", disable=not progress))
    image = np.repeat(np.arange(len(grids)), [len(grid) for grid in grids])
    return PatchSet(torch.from_numpy(np.concatenate(grids)), image, database.index["mos"].to_numpy(float)[rows])


def cut_patches(path: Path, side: int) -> np.ndarray:
    """Returns the grid patches of one image file, uint8 of shape (P, 3, side, side), row by row."""
    pixels = read_8_bit(path, side)
    rows, columns = (length // side for length in pixels.shape[:2])
    cells = pixels[:rows * side, :columns * side].reshape(rows, side, columns, side, 3)
    return np.ascontiguousarray(cells.transpose(0, 2, 4, 1, 3)).reshape(-1, 3, side, side)


def epoch_order(image: np.ndarray, per_image: int | None, batch_size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Yields the positions of the patches of each batch of one epoch, in random order.

    Args:
        image: of each patch; the patches of one image lie one after another.
        per_image: how many patches of each image are drawn (all where it has fewer); None for all.
        batch_size: the last batch may be smaller.
        random: decides draw and order.
    """
    # Sorted by image and then by a random key, the first per_image of each image are a fair draw.
    order = np.lexsort((random.random(len(image)), image))
    first = np.searchsorted(image, image)
    drawn = order if per_image is None else order[np.arange(len(order)) - first < per_image]
    drawn = random.permutation(drawn)
    yield from (drawn[start:start + batch_size] for start in range(0, len(drawn), batch_size))
