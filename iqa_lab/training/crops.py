"""Whole images with what is known of them, kept as 8 bits, cut at random places in each epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import nn

from iqa_lab.databases import Database, load_ratings
from iqa_lab.evaluation.criteria import srocc
from iqa_lab.images import number_at_once
from iqa_lab.subjective.distributions import maximum_entropy_distributions, rating_distributions
from iqa_lab.training.decoded import decode
from iqa_lab.training.recipes import Recipe

SCORING_BATCH = 4  # whole images scored at once on a CPU


@dataclass(frozen=True)
class ImageSet:
    """Some images of a database, with their references if it has them.

    Attributes:
        images: uint8, each of shape (3, H, W).
        references: the reference of each, shared between the versions of one content; None without references.
        targets: opinion score of each.
        side: of the square crops, in pixels.
        types: number of each one's distortion, int64, for a model that learns it as well; None for the others.
        distributions: of each one's ratings over bins, float32 of shape (n, K), for a model that learns them in place of
            the scores; None for the others.
        scale: ends of that of the opinions: what the first and the last of these bins stand for.
    """

    images: Sequence[torch.Tensor]
    references: Sequence[torch.Tensor] | None
    targets: np.ndarray | None
    side: int
    types: np.ndarray | None = None
    distributions: np.ndarray | None = None
    scale: tuple[float, float] | None = None
    criterion = "srocc"

    def batches(self, recipe: Recipe, random: np.random.Generator) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yields crops (B, P, 3, side, side) of the distorted images, of their references at the same places, the opinion
        scores (B,) or their distributions (B, K), and the types (B,), of all these what there is; B images in a step, P
        crops of each."""
        order = random.permutation(len(self.images))
        sources = [self.images] if self.references is None else [self.images, self.references]
        targets = self.targets if self.distributions is None else self.distributions
        labels = [label for label in (targets, self.types) if label is not None]
        for start in range(0, len(order), recipe.batch_size):
            batch = order[start:start + recipe.batch_size]
            cut = [cut_crops([source[i] for source in sources], self.side, recipe, random) for i in batch]
            yield *map(torch.stack, zip(*cut)), *(torch.from_numpy(label[batch]) for label in labels)

    def validate(self, model: nn.Module) -> float:
        """Returns the SROCC of the images' scores; 0 where a network gives all of them the same."""
        scores = self.scores(model)
        return srocc(scores, self.targets) if np.ptp(scores) > 0 else 0.0

    def scores(self, model: nn.Module) -> np.ndarray:
        """Returns the score of each whole image, as users of the model compute it."""
        return apply_to_images(model, model, self.images, self.references)


@torch.no_grad()
def apply_to_images(function: Callable[..., torch.Tensor], model: nn.Module, images: Sequence[torch.Tensor],
                    references: Sequence[torch.Tensor] | None = None) -> np.ndarray:
    """Returns what the model, or one of its methods, makes of each 8-bit image; neighbours of one size go together."""
    device = next(model.parameters()).device
    model.eval()
    found = []
    for (_, height, width), group in groupby(range(len(images)), key=lambda i: images[i].shape):
        group = list(group)
        step = number_at_once(height * width, device, SCORING_BATCH * height * width)
        for start in range(0, len(group), step):
            batch = group[start:start + step]
            sources = [images] if references is None else [images, references]
            found.append(function(*(torch.stack([source[i] for i in batch]).to(device).float() / 255 for source in sources)))
    return torch.cat(found).double().cpu().numpy()


def cut_crops(images: Sequence[torch.Tensor], side: int, recipe: Recipe, random: np.random.Generator) -> list[torch.Tensor]:
    """Returns crops of the same random places of images of one size, each (P, 3, side, side), mirrored if so is decided."""
    height, width = images[0].shape[1:]
    tops = random.integers(0, height - side + 1, recipe.patches_per_image)
    lefts = random.integers(0, width - side + 1, recipe.patches_per_image)
    crops = [torch.stack([image[:, top:top + side, left:left + side] for top, left in zip(tops, lefts)]) for image in images]
    return [crop.flip(-1) for crop in crops] if recipe.mirrored and random.random() < 0.5 else crops


def type_numbers(database: Database, *, with_levels: bool = False) -> np.ndarray:
    """Returns the number of each image's distortion, int64 (n,): its place in alphabetical order, -1 where none is named.

    Args:
        database: whole, so that every part of it has the same numbers.
        with_levels: number each level of each distortion by itself.
    """
    names = database.index["distortion"]
    if with_levels:
        names = names + " " + database.index["level"].astype(str)
    return names.astype("category").cat.codes.to_numpy(np.int64)


def load_images(database: Database, rows: np.ndarray, side: int, *, with_references: bool = True,
                types: np.ndarray | None = None, with_distributions: bool = False, squeezed: int = 0, progress: bool = True) -> ImageSet:
    """Returns some images of a database.

    Args:
        database: with opinion scores, or without for a model that needs none.
        rows: positions of the images in its index.
        side: of the crops, in pixels.
        with_references: read the references too, where the database has them.
        types: number of the distortion of each image of the database, as :func:`type_numbers`.
        with_distributions: of the ratings, by :func:`opinion_distributions`.
        squeezed: as :func:`iqa_lab.training.decoded.decode`.
        progress: show a progress bar.

    Raises:
        ValueError: an image cannot be decoded, has 16 bits, is smaller than a crop, or differs in size from its reference;
            or there is no spread of opinions to learn.
    """
    images = decode([database.image_paths[row] for row in rows], side, squeezed=squeezed, progress=progress)
    references = None
    if with_references and database.facts.kind == "FR":
        paths = [database.reference_paths[row] for row in rows]
        once = dict(zip(unique := sorted(set(paths)), decode(unique, side, squeezed=squeezed, progress=False)))
        references = [once[path] for path in paths]
        for row, image, reference in zip(rows, images, references):
            if image.shape != reference.shape:
                raise ValueError(f"Expected images of the size of their reference, got {tuple(image.shape)} and "
                                 f"{tuple(reference.shape)} for {database.image_paths[row]}; leave it out of the index.")
    targets = database.index["mos"].to_numpy(float)[rows] if database.index["mos"].notna().all() else None
    distributions = opinion_distributions(database, rows).astype(np.float32) if with_distributions else None
    return ImageSet(images, references, targets, side, None if types is None else types[rows], distributions, database.facts.score_range)


def opinion_distributions(database: Database, rows: np.ndarray) -> np.ndarray:
    """Returns the distribution of the ratings of some images over 10 bins between the ends of the scale, float64 (n, 10).

    From the single ratings where the release has them, else of maximum entropy with the mean and the standard deviation
    that it gives, as NIMA's authors did for TID2013.

    Args:
        database: with ratings or with ``mos_std``.
        rows: positions of the images in its index.

    Raises:
        ValueError: the release says nothing about the spread of opinions, or scores lie outside its scale.
    """
    low, high = database.facts.score_range
    index = database.index.iloc[rows]
    try:
        return rating_distributions(load_ratings(database.name)[index["image"]], low=low, high=high)
    except FileNotFoundError:
        if index["mos_std"].isna().any():
            raise ValueError(f"Expected single ratings or standard deviations (mos_std) in {database.name}, got neither: its "
                             "release does not say how opinions spread; choose another database.") from None
        return maximum_entropy_distributions(index["mos"], index["mos_std"], low=low, high=high)
