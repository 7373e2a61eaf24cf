"""Whole images with their opinion scores, kept in memory as 8 bits, cut at random places in each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from iqa_lab.databases import Database
from iqa_lab.evaluation.criteria import srocc
from iqa_lab.training.patches import read_8_bit
from iqa_lab.training.recipes import Recipe

SCORING_BATCH = 4  # whole images scored at once


@dataclass(frozen=True)
class ImageSet:
    """Some images of a database, with their references if it has them.

    Attributes:
        images: uint8, each of shape (3, H, W).
        references: the reference of each, shared between the versions of one content; None without references.
        targets: opinion score of each.
        side: of the square crops, in pixels.
        types: number of each one's distortion, int64, for a model that learns it as well; None for the others.
    """

    images: Sequence[torch.Tensor]
    references: Sequence[torch.Tensor] | None
    targets: np.ndarray | None
    side: int
    types: np.ndarray | None = None
    criterion = "srocc"

    def batches(self, recipe: Recipe, random: np.random.Generator) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yields crops (B, P, 3, side, side) of the distorted images, of their references at the same places if there
        are any, the opinion scores (B,), and the types (B,) if there are any; B images in a step, P crops of each."""
        order = random.permutation(len(self.images))
        sources = [self.images] if self.references is None else [self.images, self.references]
        for start in range(0, len(order), recipe.batch_size):
            batch = order[start:start + recipe.batch_size]
            cut = [cut_crops([source[i] for source in sources], self.side, recipe, random) for i in batch]
            labels = [self.targets] if self.types is None else [self.targets, self.types]
            yield *map(torch.stack, zip(*cut)), *(torch.from_numpy(label[batch]) for label in labels)

    def validate(self, model: nn.Module) -> float:
        """Returns the SROCC of the images' scores; 0 where a network gives all of them the same."""
        scores = self.scores(model)
        return srocc(scores, self.targets) if np.ptp(scores) > 0 else 0.0

    def scores(self, model: nn.Module) -> np.ndarray:
        """Returns the score of each whole image, as users of the model compute it."""
        return score_images(model, self.images, self.references)


@torch.no_grad()
def score_images(model: nn.Module, images: Sequence[torch.Tensor],
                 references: Sequence[torch.Tensor] | None) -> np.ndarray:
    """Returns the model's score of each 8-bit image; neighbours of one size are scored together."""
    device = next(model.parameters()).device
    model.eval()
    found = []
    for _, group in groupby(range(len(images)), key=lambda i: images[i].shape):
        group = list(group)
        for start in range(0, len(group), SCORING_BATCH):
            batch = group[start:start + SCORING_BATCH]
            sources = [images] if references is None else [images, references]
            found.append(model(*(torch.stack([source[i] for i in batch]).to(device).float() / 255 for source in sources)))
    return torch.cat(found).double().cpu().numpy()


def cut_crops(images: Sequence[torch.Tensor], side: int, recipe: Recipe, random: np.random.Generator) -> list[torch.Tensor]:
    """Returns crops of the same random places of images of one size, each (P, 3, side, side), mirrored if so is decided."""
    height, width = images[0].shape[1:]
    tops = random.integers(0, height - side + 1, recipe.patches_per_image)
    lefts = random.integers(0, width - side + 1, recipe.patches_per_image)
    crops = [torch.stack([image[:, top:top + side, left:left + side] for top, left in zip(tops, lefts)]) for image in images]
    return [crop.flip(-1) for crop in crops] if recipe.mirrored and random.random() < 0.5 else crops


def load_images(database: Database, rows: np.ndarray, side: int, *, with_references: bool = True, with_types: bool = False,
                progress: bool = True) -> ImageSet:
    """Returns some images of a database; 3 bytes per pixel stay in memory.

    Args:
        database: with opinion scores.
        rows: positions of the images in its index.
        side: of the crops, in pixels.
        with_references: read the references too, where the database has them.
        with_types: number the distortions of the whole database in alphabetical order; -1 where none is named.
        progress: show a progress bar.

    Raises:
        ValueError: an image cannot be decoded, has 16 bits, is smaller than a crop, or differs in size from its reference.
    """
    images = read_all([database.image_paths[row] for row in rows], side, progress=progress)
    references = None
    if with_references and database.facts.kind == "FR":
        paths = [database.reference_paths[row] for row in rows]
        once = dict(zip(unique := sorted(set(paths)), read_all(unique, side, progress=False)))
        references = [once[path] for path in paths]
        for row, image, reference in zip(rows, images, references):
            if image.shape != reference.shape:
                raise ValueError(f"Expected images of the size of their reference, got {tuple(image.shape)} and "
                                 f"{tuple(reference.shape)} for {database.image_paths[row]}; leave it out of the index.")
    targets = database.index["mos"].to_numpy(float)[rows] if database.index["mos"].notna().all() else None
    types = database.index["distortion"].astype("category").cat.codes.to_numpy(np.int64)[rows] if with_types else None
    return ImageSet(images, references, targets, side, types)


def read_all(paths: Sequence[Path], side: int, *, progress: bool) -> list[torch.Tensor]:
    """Returns 8-bit images of shape (3, H, W), read by two threads."""
    def read(path: Path) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(read_8_bit(path, side).transpose(2, 0, 1)))

    with ThreadPoolExecutor(2) as pool:
        return list(tqdm(pool.map(read, paths), total=len(paths), unit="image", desc="reading", disable=not progress))
