"""REGRESSOR_RECIPES: how the regressors of feature-based systems are fitted, as plain data with their sources."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RegressorRecipe:
    """Everything that decides a support vector regression beside features and database.

    Opinion scores are turned into 0 (best end of the database's scale) to 100 (worst) first, so that C and epsilon mean
    the same everywhere and every model says "lower is better", as the papers do.

    Attributes:
        kernel: "rbf" or "linear" of a support vector regression, or "pls" for partial least squares.
        C, gamma: the values to search, the best pair by cross-validation on the training part; gamma of "rbf" only.
        scaled: features to [-1, 1] by their smallest and largest value in the training part.
        source: where the settings come from, and what differs.
        epsilon: half-width of the tube without loss, in points of 0 to 100.
        folds: of the cross-validation, content-disjoint.
        seed: decides split and folds.
        components: numbers of components to search, of "pls" only.
    """

    kernel: str
    C: tuple[float, ...]
    gamma: tuple[float, ...]
    scaled: bool
    source: str
    epsilon: float = 3.0  # far below the disagreement of people
    folds: int = 5
    seed: int = 0
    components: tuple[int, ...] = ()


def powers_of_two(first: int, last: int, step: int = 1) -> tuple[float, ...]:
    """Returns 2^first, 2^(first + step), ... up to 2^last."""
    return tuple(2.0**exponent for exponent in range(first, last + 1, step))


_RADIAL = "radial kernel on scaled features, C and gamma by cross-validation, as the paper; "
_RADIAL_RECIPES = {
    "fast": RegressorRecipe("rbf", powers_of_two(2, 11, 3), powers_of_two(-8, -2, 2), True,
                            _RADIAL + "a coarse grid of 16 pairs"),
    "full": RegressorRecipe("rbf", powers_of_two(1, 14), powers_of_two(-10, -1), True, _RADIAL + "140 pairs, 10 folds",
                            folds=10),
}
_GM_LOG = "radial kernel on the features as they are (probabilities), as the authors' code; "
_LINEAR = ("linear kernel on features scaled to [-1, 1], as the authors' code of CORNIA (HOSA's scales nothing), which "
           "names one C; here C by cross-validation")
_LINEAR_RECIPES = {
    "fast": RegressorRecipe("linear", powers_of_two(-13, -1, 2), (), True, _LINEAR),
    "full": RegressorRecipe("linear", powers_of_two(-14, 0), (), True, _LINEAR + ", 10 folds", folds=10),
}
_POOLED = "linear kernel on features scaled to [-1, 1], C by cross-validation; our choice"
_BILINEAR = "linear kernel on features as they are (rows of length 1), C by cross-validation; our choice"
_BLINDER = "radial kernel for each level, C and gamma by cross-validation (reconstruction); "
_BLINDER_RECIPES = {
    "fast": RegressorRecipe("rbf", (32.0, 256.0), powers_of_two(-13, -9, 2), True, _BLINDER + "6 pairs"),
    "full": RegressorRecipe("rbf", powers_of_two(2, 10, 2), powers_of_two(-15, -5, 2), True, _BLINDER + "30 pairs"),
}
_DEEPBIQ = "linear kernel on the features of crops, C by cross-validation over crops (reconstruction)"
_DEEPBIQ_RECIPES = {
    "fast": RegressorRecipe("linear", powers_of_two(-13, -5, 4), (), True, _DEEPBIQ, folds=3),
    "full": RegressorRecipe("linear", powers_of_two(-13, -1, 2), (), True, _DEEPBIQ),
}
_SFA = "authors' code: 10 components, features as they are (plsregress); their layer and weights are not chosen again"
_SFA_RECIPES = {mode: RegressorRecipe("pls", (), (), False, _SFA, components=(10,)) for mode in ("fast", "full")}

REGRESSOR_RECIPES: dict[str, dict[str, RegressorRecipe]] = {
    "brisque": _RADIAL_RECIPES,
    "bliinds2": _RADIAL_RECIPES,
    "gm_log": {
        "fast": RegressorRecipe("rbf", powers_of_two(2, 11, 3), powers_of_two(0, 4, 2), False,
                                _GM_LOG + "a coarse grid of 12 pairs"),
        "full": RegressorRecipe("rbf", powers_of_two(0, 16), powers_of_two(-4, 5), False,
                                _GM_LOG + "170 pairs around theirs, 10 folds", folds=10),
    },
    "cornia": _LINEAR_RECIPES,
    "hosa": _LINEAR_RECIPES,
    "pooled_efficientnet_lite0": {
        "fast": RegressorRecipe("linear", powers_of_two(-13, -1, 2), (), True, _POOLED),
        "full": RegressorRecipe("linear", powers_of_two(-14, 0), (), True, _POOLED + ", 10 folds", folds=10),
    },
    "dbcnn_linear_efficientnet_lite0": {
        "fast": RegressorRecipe("linear", powers_of_two(2, 9), (), False, _BILINEAR),
        "full": RegressorRecipe("linear", powers_of_two(2, 9), (), False, _BILINEAR + ", 10 folds", folds=10),
    },
    "blinder": _BLINDER_RECIPES,
    "blinder_efficientnet_lite0": _BLINDER_RECIPES,
    "deepbiq": _DEEPBIQ_RECIPES,
    "deepbiq_efficientnet_lite0": _DEEPBIQ_RECIPES,
    "sfa": _SFA_RECIPES,
    "sfa_efficientnet_lite0": _SFA_RECIPES,
}
