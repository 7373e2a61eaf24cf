"""Opinion scores by maximum likelihood: every subject has a bias and an inconsistency, every content an ambiguity.

Papers: ITU-T Rec. P.910 and P.913 (alternating projection); Z. Li, C. G. Bampis, L. Janowski, I. Katsavounidis, "A
    simple model for subject behavior in subjective experiments", HVEI 2020; Z. Li, C. G. Bampis, "Recover subjective
    quality scores from noisy measurements", DCC 2017 (content ambiguity); P. Meier, "Variance of a weighted mean",
    Biometrics 9:59-73, 1953 (estimated weights; from memory, checked by the coverage in the tests).
Reference: Netflix/sureal at 526715c (SubjectMLEModelProjectionSolver, MaximumLikelihoodEstimationModel).
Deviations: (1) An inconsistency is at least 0.1 of the mean one. The likelihood has no upper bound: a subject whose
    votes become the scale leaves no residual, and in small experiments SUREAL's iteration ends there. (2) The content
    model is solved by Fisher scoring of the variances. SUREAL steps in the deviations, of which 0 is always a
    stationary point, and in one of its tests leaves a second subject there, with the lower likelihood. (3) A variance
    common to all subjects cannot be told from one common to all contents: it goes to the contents. (4) The mean bias is
    0; SUREAL can leave it where its iteration ended. (5) :func:`conditional_errors` are SUREAL's errors.
Chapter: 15
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.sparse.csgraph import connected_components

from iqa_lab.subjective.rating import LEVEL, check_ratings

EPSILON, TOLERANCE = 1e-8, 1e-8  # as in P.910's code: of the variance, and the change of psi at which to stop
MAX_ITERATIONS, CONTENT_ITERATIONS = 1000, 10_000
FLOOR = 0.1  # of the mean inconsistency; 0 is P.910 to the letter


class SubjectModel(NamedTuple):
    """Rating of subject i and stimulus j ~ Normal(psi_j + bias_i, inconsistency_i^2 + ambiguity_content(j)^2)."""

    psi: np.ndarray  # (stimuli,), quality in the unit of the ratings
    bias: np.ndarray  # (subjects,), mean 0
    inconsistency: np.ndarray  # (subjects,), standard deviation
    ambiguity: np.ndarray  # (contents,), standard deviation; one 0 in P.910's model
    contents: np.ndarray  # (stimuli,), number of each stimulus's content, in sorted order of the labels
    n_iterations: int
    converged: bool


class Estimates(NamedTuple):
    """Standard errors of the parameters of a model, or the two ends of their intervals, of shape (2, n)."""

    psi: np.ndarray
    bias: np.ndarray
    inconsistency: np.ndarray
    ambiguity: np.ndarray


class ModelFit(NamedTuple):
    """Mean log-likelihood of a rating (larger is better); AIC and BIC by the number of ratings (smaller is better)."""

    log_likelihood: float
    aic: float
    bic: float


def fit_subject_model(ratings: ArrayLike, *, floor: float = FLOOR, restricted: bool = False) -> SubjectModel:
    """Returns P.910's model by alternating projection: psi, bias and inconsistency in turn, each given the others.

    Args:
        ratings: shape (subjects, stimuli), NaN = not rated.
        floor: smallest inconsistency as a share of the mean one, 0 to 1.
        restricted: divide a subject's squared residuals by the degrees of freedom that psi and bias leave
            (restricted maximum likelihood), not by their number: for intervals, and for small experiments, in which
            plain likelihood trusts some subjects far too much.

    Raises:
        ValueError: as :func:`iqa_lab.subjective.rating.opinion_scores`; a subject with fewer than three ratings that
            can be compared with others'; or two groups of subjects that share no stimulus.
    """
    ratings, rated = _check_comparable(ratings)
    n, lost = rated.sum(1), 0
    psi = _mean(ratings, rated, axis=0)
    bias = _mean(ratings - psi, rated, axis=1)
    for n_iterations in range(1, MAX_ITERATIONS + 1):
        previous = psi
        squares = np.square(np.where(rated, ratings - psi - bias[:, None], 0)).sum(1)
        inconsistency = np.sqrt(squares / (n - lost))
        inconsistency = np.maximum(inconsistency, floor * inconsistency.mean())
        weight = rated / (np.square(inconsistency) + EPSILON)[:, None]
        psi = _mean(ratings - bias[:, None], weight, axis=0)
        bias = _mean(ratings - psi, rated, axis=1)
        lost = (weight * _covariance(weight)[2]).sum(1) if restricted else 0
        if (change := np.linalg.norm(psi - previous)) < TOLERANCE:
            break
    return SubjectModel(psi + bias.mean(), bias - bias.mean(), inconsistency, np.zeros(1), np.zeros(len(psi), int),
                        n_iterations, bool(change < TOLERANCE))


def fit_content_model(ratings: ArrayLike, contents: ArrayLike, *, floor: float = 0,
                      restricted: bool = False) -> SubjectModel:
    """Returns the model of DCC 2017, in which the contents differ in how much people disagree about them.

    Args:
        ratings, floor, restricted: as :func:`fit_subject_model`. The ambiguity keeps the variance above 0. Where both
            vanish, for a subject and a content, the likelihood still has no upper bound: raise the floor.
        contents: label of each stimulus's content, shape (stimuli,).
    """
    ratings, rated = _check_comparable(ratings)
    _, codes = np.unique(np.asarray(contents), return_inverse=True)
    if codes.shape != ratings.shape[1:]:
        raise ValueError(f"Expected a content for each of {ratings.shape[1]} stimuli, got shape {codes.shape}.")
    members = codes[:, None] == np.arange(codes.max() + 1)  # stimuli, contents
    psi, bias = _mean(ratings, rated, axis=0), np.zeros(len(ratings))
    squares = np.square(np.where(rated, ratings - psi, 0))
    # Both start with the whole variance, as in SUREAL; the first step takes the common part off the subjects.
    subject, content = squares.sum(1) / rated.sum(1), squares.sum(0) @ members / (rated.sum(0) @ members)
    for n_iterations in range(1, CONTENT_ITERATIONS + 1):
        previous = np.concatenate((psi, bias, subject, content))
        weight = rated / (subject[:, None] + content[codes] + EPSILON)
        bias = _mean(ratings - psi, weight, axis=1)
        psi = _mean(ratings - bias[:, None], weight, axis=0)
        squares = np.square(np.where(rated, ratings - psi - bias[:, None], 0))
        kept = 1 - weight * _covariance(weight)[2] if restricted else 1
        score, information = _scoring(squares, kept, rated / (subject[:, None] + content[codes] + EPSILON))
        subject = np.maximum(subject + score.sum(1) / information.sum(1), (floor * np.sqrt(subject).mean()) ** 2)
        score, information = _scoring(squares, kept, rated / (subject[:, None] + content[codes] + EPSILON))
        content = np.maximum(content + score.sum(0) @ members / (information.sum(0) @ members), 0)
        if (change := np.abs(np.concatenate((psi, bias, subject, content)) - previous).max()) < TOLERANCE / 100:
            break  # variances are slower than psi
    return SubjectModel(psi + bias.mean(), bias - bias.mean(), np.sqrt(subject), np.sqrt(content), codes,
                        n_iterations, bool(change < TOLERANCE / 100))


def standard_errors(ratings: ArrayLike, model: SubjectModel) -> Estimates:
    """Returns the standard errors of the model's parameters, those of psi and bias from their joint information.

    Psi's include that the bias of the subjects is estimated too, and Meier's term for estimated weights. NaN for the
    deviations of a content model, which the ratings tell only up to a common variance.
    """
    return _errors_and_freedom(ratings, model)[0]


def confidence_intervals(ratings: ArrayLike, model: SubjectModel, *, level: float = LEVEL) -> Estimates:
    """Returns both ends of each parameter's interval, shape (2, n): Student's for psi and bias, else chi-square's.

    They hold what they promise for a fit with ``restricted=True``: 95 % of those of psi cover the truth, with 24
    subjects and 80 stimuli as with 15 and 20. After plain maximum likelihood, with SUREAL's errors, it is 92 and 67 %.
    """
    errors, freedom, of_psi = _errors_and_freedom(ratings, model)
    tails = np.array([[(1 - level) / 2], [(1 + level) / 2]])
    inconsistency = deviation_interval(model.inconsistency, freedom, level=level)
    return Estimates(model.psi + stats.t.ppf(tails, of_psi) * errors.psi,
                     model.bias + stats.t.ppf(tails, freedom) * errors.bias,
                     np.where(np.isnan(errors.inconsistency), np.nan, inconsistency), np.stack((errors.ambiguity,) * 2))


def deviation_interval(deviation: ArrayLike, freedom: ArrayLike, *, level: float = LEVEL) -> np.ndarray:
    """Returns both ends of the interval of a standard deviation with so many degrees of freedom, shape (2, n)."""
    tails = np.array([[(1 + level) / 2], [(1 - level) / 2]])
    return np.asarray(deviation) * np.sqrt(np.asarray(freedom) / stats.chi2.ppf(tails, freedom))


def conditional_errors(ratings: ArrayLike, model: SubjectModel) -> Estimates:
    """Returns SUREAL's errors, 1 / sqrt(-d2 log L) as if the other parameters were known; NaN for a deviation of 0."""
    rated, variance = check_ratings(ratings)[1], model_variance(model)
    squares = np.square(model_residuals(ratings, model))  # NaN where not rated
    own = np.square(model.inconsistency)[:, None], np.square(model.ambiguity)[model.contents]
    subject, content = ((variance - 2 * x) / variance**2 + squares * (4 * x - variance) / variance**3 for x in own)
    subject = np.nansum(subject, 1) * (model.inconsistency > 0)
    content = np.bincount(model.contents, np.nansum(content, 0)) * (model.ambiguity > 0)
    curvature = (rated / variance).sum(0), (rated / variance).sum(1), subject, content
    return Estimates(*(1 / np.sqrt(np.where(c > 0, c, np.nan)) for c in curvature))


def model_residuals(ratings: ArrayLike, model: SubjectModel) -> np.ndarray:
    """Returns rating - psi - bias, shape (subjects, stimuli), NaN where not rated."""
    return np.asarray(ratings, dtype=float) - model.psi - model.bias[:, None]


def model_variance(model: SubjectModel) -> np.ndarray:
    """Returns the variance of each rating, shape (subjects, stimuli)."""
    return np.square(model.inconsistency)[:, None] + np.square(model.ambiguity)[model.contents] + EPSILON


def model_fit(residuals: ArrayLike, variance: ArrayLike, *, n_parameters: int) -> ModelFit:
    """Returns how well normal ratings of this residual and variance fit; compare models of the same ratings only.

    Args:
        residuals: shape (subjects, stimuli), NaN = not rated.
        variance: broadcast to it. Ratings of variance 0 (all equal) add nothing, as in SUREAL.
        n_parameters: of the model: 2 x stimuli for MOS, stimuli + 2 x subjects for P.910, and the contents.
    """
    residuals, variance = np.broadcast_arrays(np.asarray(residuals, dtype=float), variance)
    n, counted = np.isfinite(residuals).sum(), np.isfinite(residuals) & (variance > 0)
    squares, variance = np.square(residuals[counted]), variance[counted]
    likelihood = -float((np.log(2 * np.pi * variance) + squares / variance).sum() / (2 * n))
    aic, bic = (float(penalty * n_parameters / n - 2 * likelihood) for penalty in (2, np.log(n)))
    return ModelFit(likelihood, aic, bic)


def _check_comparable(ratings: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ratings, 0 where not rated, and where they are rated."""
    ratings, rated = check_ratings(ratings)
    few = np.flatnonzero(rated[:, rated.sum(0) > 1].sum(1) < 3)
    if len(few):
        raise ValueError("Expected three ratings or more of each subject for stimuli that others rated too, got fewer "
                         f"for subjects {few[:5].tolist()}; leave them out, or use opinion_scores.")
    n_groups = connected_components(rated.astype(int) @ rated.T)[0]
    if n_groups > 1:
        raise ValueError(f"Expected subjects linked by common stimuli, got {n_groups} separate groups; fit each alone.")
    return np.where(rated, ratings, 0), rated


def _mean(values: np.ndarray, weight: np.ndarray, *, axis: int) -> np.ndarray:
    return (weight * values).sum(axis) / weight.sum(axis)


def _scoring(squares: np.ndarray, kept: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns twice the derivative of the log-likelihood by the variance, and twice its information, of each rating."""
    return weight**2 * squares - weight * kept, weight**2


def _covariance(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the variance of psi, of bias, and of psi + bias (subjects, stimuli), for biases of sum 0.

    Eliminating psi, whose information is diagonal, leaves a matrix over the subjects. A common shift is its null
    vector: a constant is added, and its part taken off the inverse.
    """
    share = weight / weight.sum(0)
    reduced = np.diag(weight.sum(1)) - share @ weight.T
    shift = np.trace(reduced) / len(reduced) ** 2
    bias = np.linalg.inv(reduced + shift) - 1 / (shift * len(reduced) ** 2)
    both = bias @ share
    psi = 1 / weight.sum(0) + (share * both).sum(0)
    return psi, bias.diagonal(), psi + bias.diagonal()[:, None] - 2 * both


def _errors_and_freedom(ratings: ArrayLike, model: SubjectModel) -> tuple[Estimates, np.ndarray, np.ndarray]:
    """Returns the standard errors and the degrees of freedom of each subject and of each psi.

    Those of a subject are 2 / (relative variance of inconsistency^2), by the information that is left beside psi.
    """
    rated = check_ratings(ratings)[1]
    weight = rated / model_variance(model)
    psi, bias, _ = _covariance(weight)
    share = weight / weight.sum(0)
    information = share @ share.T
    np.fill_diagonal(information, np.maximum(np.square(rated - share).sum(1) - 1, 1))  # 1 for the bias
    freedom = np.maximum(1 / np.linalg.inv(information).diagonal(), 1)
    meier = 1 + 4 * (share * (1 - share) / freedom[:, None]).sum(0)
    inconsistency = np.where(model.ambiguity.any(), np.nan, model.inconsistency / np.sqrt(2 * freedom))
    errors = Estimates(np.sqrt(psi * meier), np.sqrt(bias), inconsistency, np.full(len(model.ambiguity), np.nan))
    return errors, freedom, 1 / (np.square(share) / freedom[:, None]).sum(0)  # Satterthwaite
