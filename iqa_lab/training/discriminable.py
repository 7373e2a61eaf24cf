"""Pairs of images whose order is known without opinions, because full-reference metrics agree on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from iqa_lab.databases import Database
from iqa_lab.evaluation.waterloo import ImagePairs, discriminable_pairs, p_test, percent_scale
from iqa_lab.no_reference.dipiq import certainty
from iqa_lab.training.epoch import run_epoch
from iqa_lab.training.features import cached_features, cached_scores
from iqa_lab.training.recipes import Recipe

REFERENCES = ("ms_ssim", "vif", "gmsd")  # dipIQ, from memory
THRESHOLD = 20.0  # dipIQ, from memory; points of 0 to 100, here per cent of the images
MOST_PAIRS = 100_000


@dataclass(frozen=True)
class DiscriminablePairs:
    """Pairs of images that all full-reference metrics put in the same order, with the features of the images.

    Attributes:
        features: of each image, float32 (n, D).
        pairs: their order.
        certainty: of each pair, 0 to 1.
    """

    features: torch.Tensor
    pairs: ImagePairs
    certainty: np.ndarray
    criterion, targets = "accuracy", None

    def batches(self, recipe: Recipe, random: np.random.Generator) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yields the features of the better and of the worse images, (B, D), and how certain each pair is, (B,)."""
        order = random.permutation(len(self.pairs.gap))[:recipe.comparisons_per_epoch]
        sure = torch.from_numpy(self.certainty).float()
        for start in range(0, len(order), recipe.batch_size):
            batch = order[start:start + recipe.batch_size]
            yield self.features[self.pairs.better[batch]], self.features[self.pairs.worse[batch]], sure[batch]

    def validate(self, model: nn.Module) -> float:
        """Returns the share of pairs that the model puts in the same order."""
        return p_test(self.scores(model), self.pairs).p

    @torch.no_grad()
    def scores(self, model: nn.Module) -> np.ndarray:
        """Returns the model's score of each image."""
        model.eval()
        return model.quality(self.features.to(next(model.parameters()).device)).double().cpu().numpy()


def load_discriminable(model: nn.Module, database: Database, rows: np.ndarray, *, progress: bool = True) -> DiscriminablePairs:
    """Returns the pairs among some images of a database whose order three full-reference metrics agree on.

    The metrics' scores are brought to one scale by :func:`iqa_lab.evaluation.waterloo.percent_scale`, which needs no
    opinions. Scores and features are kept in the cache.

    Args:
        model: with ``features(image)``.
        database: with references.
        rows: positions of the images in its index.
        progress: show progress bars.

    Raises:
        ValueError: no such pair, or no references.
    """
    quality = np.stack([percent_scale(cached_scores(name, database, progress=progress)[rows]) for name in REFERENCES])
    features = cached_features(model, [database.image_paths[row] for row in rows], progress=progress)
    pairs = discriminable_pairs(quality, threshold=THRESHOLD, n_pairs=MOST_PAIRS)
    return DiscriminablePairs(torch.from_numpy(features).float(), pairs, certainty(pairs.gap))


def train_ranking(model: nn.Module, features: np.ndarray, pairs: ImagePairs, certainty: np.ndarray, *, epochs: int,
                  batch_size: int, learning_rate: float, seed: int = 0) -> list[float]:
    """Returns the mean loss of each epoch, after training the model by stochastic gradient descent with momentum.

    Args:
        model: with ``fit_scaling(features)`` and ``rank_loss(first, second, certainty)``; it ends in evaluation mode.
        features: of the images, shape (n, D).
        pairs: of :func:`iqa_lab.evaluation.waterloo.discriminable_pairs`.
        certainty: of each pair, 0 to 1.
        epochs: passes over the pairs.
        batch_size: pairs in a step.
        learning_rate: constant.
        seed: decides the order of the pairs.
    """
    samples = DiscriminablePairs(torch.from_numpy(features).float(), pairs, certainty)
    model.fit_scaling(samples.features[np.union1d(pairs.better, pairs.worse)])
    recipe = Recipe(epochs, batch_size, learning_rate, None, "the caller's", seed, "discriminable", "rank_loss")
    optimiser = torch.optim.SGD(model.parameters(), learning_rate, momentum=recipe.betas[0])
    history = [run_epoch(model, optimiser, samples, (0.0, 1.0), recipe, epoch) for epoch in range(epochs)]
    model.eval()
    return history
