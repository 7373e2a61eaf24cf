"""RECIPES: how each model is trained, as plain data with its source."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result of a training beside model and database.

    Attributes:
        epochs: passes over the training images.
        batch_size: patches per step.
        learning_rate: of Adam, constant.
        patches_per_image: how many patches of the grid each image gives per epoch, drawn anew; None for all.
        source: where the settings come from, and what differs.
        seed: decides the split, the first weights, the order of the patches and dropout.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    patches_per_image: int | None
    source: str
    seed: int = 0


RECIPES: dict[str, dict[str, Recipe]] = {
    "cnniqa": {
        "fast": Recipe(epochs=15, batch_size=64, learning_rate=1e-3, patches_per_image=16,
                       source="reduced for CPUs: fewer epochs, and some patches of each image instead of all"),
        "full": Recipe(epochs=40, batch_size=128, learning_rate=1e-3, patches_per_image=None,
                       source="optimiser, rate and batch of the port lidq92/CNNIQA (the authors' code is not public); "
                              "40 epochs as in the paper, where the port takes 500"),
    },
}


def find_recipe(model: str, mode: str) -> Recipe:
    """Returns the recipe of a model; ValueError with the known names otherwise."""
    if model not in RECIPES:
        raise ValueError(f"Expected a model that can be trained ({', '.join(RECIPES)}), got {model!r}.")
    if mode not in RECIPES[model]:
        raise ValueError(f"Expected the mode {' or '.join(RECIPES[model])}, got {mode!r}.")
    return RECIPES[model][mode]
