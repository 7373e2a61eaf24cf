"""RECIPES: every model that can be trained, and how."""

from __future__ import annotations

from iqa_lab.training.first_stage_recipes import FIRST_STAGES
from iqa_lab.training.network_recipes import NETWORK_RECIPES, Recipe
from iqa_lab.training.regressor_recipes import REGRESSOR_RECIPES, RegressorRecipe

#: Model -> mode -> recipe.
RECIPES: dict[str, dict[str, Recipe | RegressorRecipe]] = NETWORK_RECIPES | REGRESSOR_RECIPES


def find_recipe(model: str, mode: str, *, first_stage: bool = False) -> Recipe | RegressorRecipe:
    """Returns the recipe of a model, or that of its first stage; ValueError with the known names otherwise."""
    recipes = FIRST_STAGES if first_stage else RECIPES
    if model not in recipes:
        what = "with a first stage" if first_stage else "that can be trained"
        raise ValueError(f"Expected a model {what} ({', '.join(recipes)}), got {model!r}.")
    if mode not in recipes[model]:
        raise ValueError(f"Expected the mode {' or '.join(recipes[model])}, got {mode!r}.")
    return recipes[model][mode]
