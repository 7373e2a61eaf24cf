"""Mappings from scores to opinion scores, fitted before PLCC, RMSE and outlier ratio are computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeResult, least_squares, minimize_scalar, nnls
from scipy.special import expit

from iqa_lab.evaluation.criteria import check_scores


def linear(q: np.ndarray, b1: float, b2: float) -> np.ndarray:
    """Returns b1 q + b2."""
    return b1 * q + b2


def logistic_4(q: np.ndarray, b1: float, b2: float, b3: float, b4: float) -> np.ndarray:
    """Returns (b1 - b2) / (1 + exp(-(q - b3) / |b4|)) + b2: monotonic, from b2 to b1 (VQEG 2003)."""
    return (b1 - b2) * expit((q - b3) / max(abs(b4), NARROWEST)) + b2


def logistic_5(q: np.ndarray, b1: float, b2: float, b3: float, b4: float, b5: float) -> np.ndarray:
    """Returns b1 (1/2 - 1/(1 + exp(b2 (q - b3)))) + b4 q + b5: it may turn (Sheikh, Sabir, Bovik 2006)."""
    return b1 * (expit(b2 * (q - b3)) - 0.5) + b4 * q + b5


def cubic(q: np.ndarray, b1: float, b2: float, b3: float, b4: float, middle: float) -> np.ndarray:
    """Returns b1 d^3 + b2 d^2 + b3 d + b4, d = q - middle, which is not fitted: without it large scores lose digits."""
    d = q - middle
    return ((b1 * d + b2) * d + b3) * d + b4


#: name -> (function, number of fitted parameters)
FORMS: dict[str, tuple[Callable[..., np.ndarray], int]] = {
    "linear": (linear, 2), "logistic_4": (logistic_4, 4), "logistic_5": (logistic_5, 5), "cubic": (cubic, 4)}
NARROWEST = 1e-12  # a step instead of a division by zero
# Steepness is per standardised score; the search starts from these, at centres at these quantiles of the scores.
STEEPNESS = np.geomspace(0.1, 50, 10)
QUANTILES = np.linspace(0, 1, 13)
FLATTEST, STEEPEST = 0.02, 1000.0  # a flatter curve is a line, a steeper one a step
OUTSIDE = 6.0  # over the steepness: with its centre further outside the scores, the curve is an exponential function
REFINED = 4  # starts, of different steepness, that are followed to the end
TOLERANCE = 1e-12  # relative: on a flat valley floor SciPy's 1e-8 stops early
# Rising cubics of 0 to 1 with a slope of 2 u (1 - u), u^2 and (1 - u)^2, and how many places of a touch are tried.
FLAT_ENDS, FLAT_AT_0, FLAT_AT_1, TOUCHES = (-2 / 3, 1, 0, 0), (1 / 3, 0, 0, 0), (1 / 3, -1, 1, 0), 100
GAIN = 1 - 1e-9  # a curve must beat the straight line by more than rounding to be kept


@dataclass(frozen=True)
class Mapping:
    """A fitted mapping: call it with scores to get predicted opinion scores.

    Attributes:
        name: the form of this curve. It is "linear" although another form was asked for, with ``converged`` False,
            where no curve was found that is better than the straight line.
        parameters: b1, b2, ... of the form, for scores in the unit given.
        sse: sum of squared errors on the data of the fit, never larger than that of the straight line.
        converged: the form asked for was found, and the search for it had come to rest.
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

    Once steepness and centre of the logistic part are given, the other parameters follow by linear least squares. So
    only these two are searched, from a grid, within wide bounds; all parameters at once, from the start values that are
    usual in code, often run away without a word. The cubic polynomial of VQEG and ITU-T P.1401 is the best one among
    those that do not turn between the smallest and the largest score; beyond them it may.

    Args:
        scores: shape (n,), any direction.
        opinions: shape (n,), of one database; more values than the form has parameters.
        form: "linear", "logistic_4" (monotonic), "logistic_5" or "cubic" (monotonic within the scores of the fit).

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
    if form == "cubic":
        curve = monotonic_cubic(z, t)
        curve_error = float(np.square(cubic(z, *curve) - t).sum())
        if curve_error < error * GAIN:
            name, b, error, at_rest = form, curve, curve_error, True
    elif form != "linear":
        best = search(form, z, t)
        if 2 * best.cost < error * GAIN:
            name, b, error, at_rest = form, all_parameters(form, best.x, z, t), float(2 * best.cost), best.status > 0
    monotonic = is_monotonic(FORMS[name][0], b, z)
    return Mapping(name, rescaled(name, b, q_unit, s_unit), float(error * s_unit[1] ** 2), at_rest, monotonic)


def middle_and_spread(values: np.ndarray) -> tuple[float, float]:
    """Returns the median, and half the distance of the 16 % and 84 % quantiles: no single wild score decides them."""
    low, middle, high = np.quantile(values, (0.16, 0.5, 0.84))
    return middle, (high - low) / 2 or np.ptp(values)


def search(form: str, z: np.ndarray, t: np.ndarray) -> OptimizeResult:
    """Returns SciPy's result of the best search over x = (logarithm of the steepness, centre)."""
    def residuals(x: np.ndarray) -> np.ndarray:
        columns = logistic_columns(form, x, z)
        return columns @ np.linalg.lstsq(columns, t, rcond=None)[0] - t

    starts = []
    for steepness in STEEPNESS:
        reach = OUTSIDE / steepness
        centres = (z.min() - reach, *np.quantile(z, QUANTILES), z.max() + reach)
        row = [(np.log(steepness), centre) for centre in centres]
        starts.append(min((float(np.square(residuals(x)).sum()), x) for x in row))
    bounds = (np.log(FLATTEST), -np.inf), (np.log(STEEPEST), np.inf)
    found = [least_squares(residuals, x, bounds=bounds) for _, x in sorted(starts)[:REFINED]]
    return min(found, key=lambda result: result.cost)


def steepness_and_centre(x: np.ndarray, z: np.ndarray) -> tuple[float, float]:
    """Returns both for a place in the search, where the centre may lie anywhere."""
    steepness = np.exp(x[0])
    return steepness, np.clip(x[1], z.min() - OUTSIDE / steepness, z.max() + OUTSIDE / steepness)


def logistic_columns(form: str, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Returns what the form is a weighted sum of, shape (n, 2) or (n, 3)."""
    steepness, centre = steepness_and_centre(x, z)
    s_curve = expit(steepness * (z - centre))
    columns = (s_curve, np.ones_like(z)) if form == "logistic_4" else (s_curve - 0.5, z, np.ones_like(z))
    return np.stack(columns, axis=1)


def all_parameters(form: str, x: np.ndarray, z: np.ndarray, t: np.ndarray) -> tuple[float, ...]:
    """Returns b1, b2, ... for the steepness and centre in x."""
    weights = np.linalg.lstsq(logistic_columns(form, x, z), t, rcond=None)[0]
    steepness, centre = steepness_and_centre(x, z)
    if form == "logistic_4":
        return weights[0] + weights[1], weights[1], centre, 1 / steepness
    return weights[0], steepness, centre, weights[1], weights[2]


def monotonic_cubic(z: np.ndarray, t: np.ndarray) -> tuple[float, ...]:
    """Returns the parameters of the best cubic polynomial whose slope keeps its sign between smallest and largest z.

    The squared error is convex in the parameters, and so is the set of rising cubics. So if the best cubic of all
    turns, the best rising one lies on the edge of that set, where the slope touches 0: at an end of the range or inside
    it. The same holds for falling ones.
    """
    low, width = z.min(), np.ptp(z)
    u = (z - low) / width  # 0 to 1
    best = np.polyfit(u, t, 3)
    turns = np.roots(np.polyder(best))
    if (np.isreal(turns) & (0 < turns.real) & (turns.real < 1)).any():
        edges = (np.array([FLAT_ENDS, FLAT_AT_0]), np.array([FLAT_ENDS, FLAT_AT_1]), touching_inside(u, t))
        fits = [signed_fit(edge, sign, u, t) for edge in edges for sign in (1, -1)]
        best = min(fits, key=lambda curve: np.square(np.polyval(curve, u) - t).sum())
    in_z = np.poly1d(best)(np.poly1d([1 / width, -low / width])).coeffs
    return *np.pad(in_z, (4 - len(in_z), 0)), 0.0


def touching_inside(u: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Returns the best of the cubics (u - touch)^3, whose slope is 0 at one place inside, as coefficients, (1, 4)."""
    def error(touch: float) -> float:
        column = (u - touch) ** 3
        column = column - column.mean()
        return -((column @ t) ** 2) / (column @ column)

    step = 1 / TOUCHES
    start = step * min(range(TOUCHES + 1), key=lambda k: error(step * k))
    touch = minimize_scalar(error, bounds=(max(start - step, 0), min(start + step, 1)), method="bounded",
                            options={"xatol": TOLERANCE}).x
    return np.array([[1, -3 * touch, 3 * touch**2, 0]])


def signed_fit(curves: np.ndarray, sign: int, u: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Returns the best sum of a constant and the curves, weighted with numbers of that sign, as coefficients, (4,)."""
    columns = np.vander(u, 4) @ curves.T
    weights, _ = nnls(columns - columns.mean(axis=0), sign * (t - t.mean()))
    fit = sign * weights @ curves
    return fit + [0, 0, 0, t.mean() - np.polyval(fit, u).mean()]


def rescaled(name: str, b: np.ndarray, q_unit: tuple[float, float], s_unit: tuple[float, float]) -> tuple[float, ...]:
    """Returns the parameters for scores and opinions in their own units, from those for standardised ones."""
    (q_mean, q_scale), (s_mean, s_scale) = q_unit, s_unit
    if name == "linear":
        b1 = s_scale * b[0] / q_scale
        values = b1, s_mean + s_scale * b[1] - b1 * q_mean
    elif name == "cubic":
        powers = s_scale / q_scale ** np.arange(3, -1, -1)
        values = *(powers * b[:4] + [0, 0, 0, s_mean]), q_mean
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
