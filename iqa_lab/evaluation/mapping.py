"""Mappings from scores to opinion scores, fitted before PLCC, RMSE and outlier ratio are computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares
from scipy.special import expit

from iqa_lab.evaluation.criteria import check_scores, srocc


def linear(q: np.ndarray, b1: float, b2: float) -> np.ndarray:
    """Returns b1 q + b2."""
    return b1 * q + b2


def logistic_4(q: np.ndarray, b1: float, b2: float, b3: float, b4: float) -> np.ndarray:
    """Returns (b1 - b2) / (1 + exp(-(q - b3) / |b4|)) + b2: monotonic, from b2 to b1 (VQEG 2003)."""
    return (b1 - b2) * expit((q - b3) / max(abs(b4), NARROWEST)) + b2


def logistic_5(q: np.ndarray, b1: float, b2: float, b3: float, b4: float, b5: float) -> np.ndarray:
    """Returns b1 (1/2 - 1/(1 + exp(b2 (q - b3)))) + b4 q + b5: it may turn (Sheikh, Sabir, Bovik 2006)."""
    return b1 * (expit(b2 * (q - b3)) - 0.5) + b4 * q + b5


#: name -> (function, number of parameters)
FORMS: dict[str, tuple[Callable[..., np.ndarray], int]] = {
    "linear": (linear, 2), "logistic_4": (logistic_4, 4), "logistic_5": (logistic_5, 5)}
NARROWEST = 1e-12  # a step instead of a division by zero
SLOPES = (0.5, 1.5, 4.0, 12.0)  # starts: of the logistic, per unit of the standardised scores
CENTRES = (-1.0, 0.0, 1.0)  # starts: about the 16 %, 50 % and 84 % quantiles
MAX_EVALUATIONS = 300  # of the curve, per start; a fit that needs more is running away
GAIN = 1 - 1e-9  # a logistic must beat the straight line by more than rounding to be kept


@dataclass(frozen=True)
class Mapping:
    """A fitted mapping: call it with scores to get predicted opinion scores.

    Attributes:
        name: "linear", "logistic_4" or "logistic_5": the form of this curve. It is "linear" although another form was
            asked for, with ``converged`` False, where no logistic was found that is better than the straight line.
        parameters: b1, b2, ... of the form, for scores in the unit given.
        sse: sum of squared errors on the data of the fit, never larger than that of the straight line.
        converged: the form asked for was found, and the best of its fits had come to rest.
        monotonic: the curve does not turn between the smallest and the largest score of the fit.
    """

    name: str
    parameters: tuple[float, ...]
    sse: float
    converged: bool
    monotonic: bool

    def __call__(self, scores: ArrayLike) -> np.ndarray:
        """Returns predicted opinion scores, of the shape of ``scores``."""
        return FORMS[self.name][0](np.asarray(scores, dtype=float), *self.parameters)


def fit_mapping(scores: ArrayLike, opinions: ArrayLike, *, form: str = "logistic_4") -> Mapping:
    """Returns the least-squares mapping of the scores to the opinion scores.

    The scores are standardised, and the fit starts from twelve places, since from the start values that the literature
    prints it often runs away without a word. The best result is kept.

    Args:
        scores: shape (n,), any direction.
        opinions: shape (n,), of one database; more values than the form has parameters.
        form: "linear", "logistic_4" (monotonic) or "logistic_5".

    Raises:
        ValueError: as :func:`iqa_lab.evaluation.criteria.srocc`, an unknown form, or too few values.
    """
    if form not in FORMS:
        raise ValueError(f"Expected the form {', '.join(FORMS)}, got {form!r}.")
    q, s = check_scores(scores, opinions)
    n_parameters = FORMS[form][1]
    if len(q) <= n_parameters:
        raise ValueError(f"Expected more than {n_parameters} images for {form}, got {len(q)}; use a form with fewer "
                         "parameters.")
    # Opinions are standardised too, so that the optimiser's tolerances mean the same in every unit.
    q_unit, s_unit = middle_and_spread(q), middle_and_spread(s)
    z, t = (q - q_unit[0]) / q_unit[1], (s - s_unit[0]) / s_unit[1]
    line = np.polyfit(z, t, 1)
    name, b, error, at_rest = "linear", line, float(np.square(linear(z, *line) - t).sum()), form == "linear"
    if form != "linear":
        fits = [fit_from(FORMS[form][0], z, t, start) for start in starts(t, form, rising=srocc(z, t) >= 0)]
        best = min(fits, key=lambda fit: fit.cost)
        if 2 * best.cost < error * GAIN:
            name, b, error, at_rest = form, best.x, float(2 * best.cost), best.status > 0
    monotonic = is_monotonic(FORMS[name][0], b, z)
    return Mapping(name, rescaled(name, b, q_unit, s_unit), error * s_unit[1] ** 2, at_rest, monotonic)


def middle_and_spread(values: np.ndarray) -> tuple[float, float]:
    """Returns median and half the distance of the 16 % and 84 % quantiles: one infinite-like PSNR must not decide them."""
    low, middle, high = np.quantile(values, (0.16, 0.5, 0.84))
    return middle, (high - low) / 2 or np.ptp(values)


def fit_from(function: Callable[..., np.ndarray], z: np.ndarray, t: np.ndarray, start: tuple[float, ...]):
    """Returns SciPy's result of one Levenberg-Marquardt fit."""
    return least_squares(lambda b: function(z, *b) - t, start, method="lm", max_nfev=MAX_EVALUATIONS)


def starts(t: np.ndarray, form: str, *, rising: bool) -> list[tuple[float, ...]]:
    """Returns start values: over the range of the opinions, rising or falling as the correlation does."""
    low, high = (t.min(), t.max()) if rising else (t.max(), t.min())
    if form == "logistic_4":
        return [(high, low, centre, 1 / slope) for slope in SLOPES for centre in CENTRES]
    return [(high - low, slope, centre, 0.0, 0.0) for slope in SLOPES for centre in CENTRES]


def rescaled(name: str, b: np.ndarray, q_unit: tuple[float, float], s_unit: tuple[float, float]) -> tuple[float, ...]:
    """Returns the parameters for scores and opinions in their own units, from those for standardised ones."""
    (q_mean, q_scale), (s_mean, s_scale) = q_unit, s_unit
    if name == "linear":
        b1 = s_scale * b[0] / q_scale
        values = b1, s_mean + s_scale * b[1] - b1 * q_mean
    elif name == "logistic_4":
        values = s_mean + s_scale * b[0], s_mean + s_scale * b[1], q_mean + q_scale * b[2], q_scale * abs(b[3])
    else:
        b4 = s_scale * b[3] / q_scale
        values = s_scale * b[0], b[1] / q_scale, q_mean + q_scale * b[2], b4, s_mean + s_scale * b[4] - b4 * q_mean
    return tuple(float(value) for value in values)


def is_monotonic(function: Callable[..., np.ndarray], b: np.ndarray, z: np.ndarray) -> bool:
    """Returns whether the curve does not turn between the smallest and the largest score."""
    steps = np.diff(function(np.linspace(z.min(), z.max(), 1001), *b))
    rounding = 1e-9 * np.abs(steps).max()
    return bool((steps >= -rounding).all() or (steps <= rounding).all())
