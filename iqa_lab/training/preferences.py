"""Comparisons of two versions of one reference, as people made them or derived from what they rated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from iqa_lab.databases import Database, load_pairs, load_ratings
from iqa_lab.subjective.comparisons import within_rater_preferences
from iqa_lab.training.crops import ImageSet, apply_to_images, cut_crops, load_images
from iqa_lab.training.recipes import Recipe

#: How comparisons come from ratings, wherever their agreement is reported.
DERIVED = "derived: who rated both versions of a content prefers the one with the higher rating"


@dataclass(frozen=True)
class PreferenceSet:
    """Comparisons between some images of a database.

    Attributes:
        images: with their references.
        first, second: positions of the images compared, shape (n,).
        preference: share of people who preferred the first, 0 to 1, shape (n,).
    """

    images: ImageSet
    first: np.ndarray
    second: np.ndarray
    preference: np.ndarray
    criterion, targets = "2afc", None

    def batches(self, recipe: Recipe, random: np.random.Generator) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yields crops of the first images, the second ones and their references, (B, P, 3, side, side) each, at the same
        places, and the share that preferred the first, (B,)."""
        order = random.permutation(len(self.first))[:recipe.comparisons_per_epoch]
        for start in range(0, len(order), recipe.batch_size):
            batch = order[start:start + recipe.batch_size]
            cut = [cut_crops((self.images.images[self.first[k]], self.images.images[self.second[k]],
                              self.images.references[self.first[k]]), self.images.side, recipe, random) for k in batch]
            yield *map(torch.stack, zip(*cut)), torch.from_numpy(self.preference[batch])

    def validate(self, model: nn.Module) -> float:
        """Returns :func:`two_afc` of the model's scores."""
        scores = self.scores(model) * (1 if model.higher_is_better else -1)
        return two_afc(scores[self.first], scores[self.second], self.preference)

    def scores(self, model: nn.Module) -> np.ndarray:
        """Returns the score of each whole image, as users of the model compute it."""
        return apply_to_images(model, model, self.images.images, self.images.references)


def two_afc(first: np.ndarray, second: np.ndarray, preference: np.ndarray) -> float:
    """Returns the 2AFC score: the mean share of people who agree with the choice by scores, half of them at a tie.

    Args:
        first, second: scores of the images compared, higher is better, shape (n,).
        preference: share of people who preferred the first, shape (n,).
    """
    return float(np.mean(0.5 + np.sign(first - second) * (preference - 0.5)))


def load_preferences(database: Database, rows: np.ndarray, side: int, *, progress: bool = True) -> PreferenceSet:
    """Returns some images of a database and the comparisons between them; 3 bytes per pixel stay in memory.

    Args:
        database: with comparisons, or with the single ratings from which comparisons are derived.
        rows: positions of the images in its index.
        side: of the crops, in pixels.
        progress: show a progress bar.

    Raises:
        ValueError: no comparison between these images, or as :func:`iqa_lab.training.crops.load_images`.
        FileNotFoundError: neither comparisons nor single ratings are there.
    """
    names = database.index["image"].iloc[rows]
    pairs = load_pairs(database.name) if database.facts.score_kind == "pairs" else within_rater_preferences(
        load_ratings(database.name)[names], database.index["reference"].iloc[rows])
    position = pd.Series(np.arange(len(rows)), index=names)
    pairs = pairs[pairs["first"].isin(names) & pairs["second"].isin(names)]
    if not len(pairs):
        raise ValueError(f"Expected comparisons between {len(rows)} images of {database.name}, got none.")
    return PreferenceSet(load_images(database, rows, side, progress=progress), position[pairs["first"]].to_numpy(),
                         position[pairs["second"]].to_numpy(), pairs["preference"].to_numpy(float))
