"""A first stage, which learns from how images were made instead of what people said: types, or errors to a reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from iqa_lab.training.crops import ImageSet, apply_to_images
from iqa_lab.training.epoch import to_device
from iqa_lab.training.recipes import Recipe

CHECK_SEED = 2**31  # of the crops on which an epoch is judged, always the same ones


@dataclass(frozen=True)
class MadeImages:
    """Distorted photographs with their references or their types, without opinions.

    Attributes:
        images: with types or with references.
        recipe: of this stage.
    """

    images: ImageSet
    recipe: Recipe
    targets = None

    @property
    def criterion(self) -> str:
        """Names what :meth:`validate` returns: the share of types that were found, or the loss with a minus."""
        return "accuracy" if self.recipe.loss == "type_loss" else "negative_loss"

    def batches(self, recipe: Recipe, random: np.random.Generator) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yields crops (B, P, 3, side, side) with those of the references at the same places or with the types (B,)."""
        return self.images.batches(recipe, random)

    @torch.no_grad()
    def validate(self, model: nn.Module) -> float:
        """Returns the criterion: of whole images the share of types, of fixed crops the mean loss of a step."""
        if self.recipe.loss == "type_loss":
            return float((self.scores(model) == self.images.types).mean())
        device = next(model.parameters()).device
        model.eval()
        losses = [getattr(model, self.recipe.loss)(*(to_device(part, device, (0.0, 1.0)) for part in batch))
                  for batch in self.images.batches(self.recipe, np.random.default_rng(CHECK_SEED))]
        return -torch.stack(losses).mean().item()

    def scores(self, model: nn.Module) -> np.ndarray:
        """Returns the type that the model finds in each whole image."""
        return apply_to_images(model.types, model, self.images.images)
