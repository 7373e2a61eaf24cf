"""Opinion scores from ratings: MOS, DMOS, z-scores, bias removal, score distributions and the SOS parameter.

Papers: ITU-R Rec. BT.500 (mean and confidence interval); ITU-T Rec. P.910 (hidden references) and P.913 (removal of
    subject bias); H. R. Sheikh, M. F. Sabir, A. C. Bovik, "A statistical evaluation of recent full reference image
    quality assessment algorithms", IEEE TIP 15(11):3440-3451, 2006 (z-scores and alignment study of LIVE); T. Hossfeld,
    R. Schatz, S. Egger, "SOS: The MOS is not enough!", QoMEX 2011; V. Hosu, H. Lin, T. Sziranyi, D. Saupe,
    "KonIQ-10k", IEEE TIP 29:4041-4056, 2020 (distributions).
Reference: Netflix/sureal at 526715c (MosModel, LiveDmosModel, BiasremvMosModel). BT.500, P.910 and P.913 were not at
    hand: their formulas are those of this code and of the spec.
Deviations: SUREAL subtracts the mean rating of the hidden reference, and so takes it as known without error;
    :func:`difference_ratings` subtracts each subject's own, as LIVE does. The DMOS is the same if nobody left a
    rating out. SUREAL keeps repeated ratings, :func:`ratings_matrix` averages them.
Chapter: 15
``ratings`` is everywhere a float array of shape (subjects, stimuli), NaN where a subject did not rate.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

COLUMNS = ("subject", "stimulus", "score")
LEVEL = 0.95


class RatingsTable(NamedTuple):
    """Ratings as a matrix, with the sorted labels of its rows and columns."""

    ratings: np.ndarray  # (subjects, stimuli), NaN = not rated
    subjects: np.ndarray
    stimuli: np.ndarray


class OpinionScores(NamedTuple):
    """Mean, sample standard deviation (n - 1) and number of ratings, each of shape (stimuli,)."""

    mos: np.ndarray  # in the unit and direction of the ratings
    mos_std: np.ndarray  # of the ratings, not of the mean; NaN where n is 1
    n_ratings: np.ndarray


def ratings_matrix(table: pd.DataFrame) -> RatingsTable:
    """Returns the matrix of a long table; several ratings of one stimulus by one subject are averaged.

    Args:
        table: one rating a row, columns subject, stimulus, score; a score of NaN means not rated.

    Raises:
        ValueError: a missing column, or a row without subject or stimulus.
    """
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise ValueError(f"Expected the columns {', '.join(COLUMNS)}, got no {missing}; rename the table's columns.")
    subject, stimulus, score = (table[name] for name in COLUMNS)
    if subject.isna().any() or stimulus.isna().any():
        raise ValueError(f"Expected a subject and a stimulus in each row, got none in "
                         f"{int((subject.isna() | stimulus.isna()).sum())} rows; leave them out.")
    means = score.astype(float).groupby([subject, stimulus]).mean().unstack()
    return RatingsTable(means.to_numpy(), means.index.to_numpy(), means.columns.to_numpy())


def opinion_scores(ratings: ArrayLike) -> OpinionScores:
    """Returns mean, sample standard deviation and number of the ratings of each stimulus.

    Raises:
        ValueError: not a matrix, infinite values, or a stimulus or a subject without a rating.
    """
    ratings, rated = check_ratings(ratings)
    n = rated.sum(0)
    mos = np.where(rated, ratings, 0).sum(0) / n
    squares = np.square(np.where(rated, ratings - mos, 0)).sum(0)
    return OpinionScores(mos, np.sqrt(_divide(squares, n - 1)), n)


def confidence_half_width(scores: OpinionScores, *, level: float = LEVEL) -> np.ndarray:
    """Returns half the width of Student's interval for each MOS, t s / sqrt(n), shape (stimuli,); NaN where n is 1.

    It takes the subjects as a random sample and their ratings of one stimulus as normal.
    """
    t = stats.t.ppf(_quantile(level), np.maximum(scores.n_ratings - 1, 1))
    return t * scores.mos_std / np.sqrt(scores.n_ratings)


def normal_half_width(scores: OpinionScores, *, level: float = LEVEL) -> np.ndarray:
    """Returns z s / sqrt(n), where z is 1.96 for 95 %, as BT.500 does: too narrow for few subjects."""
    return stats.norm.ppf(_quantile(level)) * scores.mos_std / np.sqrt(scores.n_ratings)


def difference_ratings(ratings: ArrayLike, references: ArrayLike) -> np.ndarray:
    """Returns each subject's rating of the hidden reference minus that of the stimulus, shape (subjects, stimuli).

    Their mean is the DMOS: 0 for a reference, larger is worse, as in LIVE; SUREAL gives 5 minus this. NaN where the
    subject left out either of the two. ``references`` are column numbers, shape (stimuli,); a reference has its own.
    """
    ratings, _ = check_ratings(ratings)
    references = np.asarray(references)
    n = ratings.shape[1]
    if references.shape != (n,) or references.dtype.kind not in "iu" or not np.isin(references, np.arange(n)).all():
        raise ValueError(f"Expected a column number 0..{n - 1} of a reference for each of {n} stimuli, got shape "
                         f"{references.shape}, {references.dtype}; number the columns of the ratings.")
    return ratings[:, references] - ratings


def z_scores(ratings: ArrayLike, *, sessions: ArrayLike = 0) -> np.ndarray:
    """Returns (rating - mean) / sample standard deviation of the subject's ratings in the session, same shape.

    Args:
        sessions: a label of each stimulus, shape (stimuli,), or of each rating, shape (subjects, stimuli).

    Raises:
        ValueError: a subject with one rating, or with equal ratings, in a session.
    """
    ratings, rated = check_ratings(ratings)
    sessions = np.broadcast_to(np.asarray(sessions), ratings.shape)
    z = np.full(ratings.shape, np.nan)
    for session in np.unique(sessions):
        inside = rated & (sessions == session)
        n = inside.sum(1, keepdims=True)
        centred = np.where(inside, ratings - _divide(np.where(inside, ratings, 0).sum(1, keepdims=True), n), 0)
        deviation = np.sqrt(_divide(np.square(centred).sum(1, keepdims=True), n - 1))
        constant = np.where(inside, ratings, -np.inf).max(1) == np.where(inside, ratings, np.inf).min(1)
        if constant.any():
            raise ValueError(f"Expected ratings that differ, got one value only from subjects "
                             f"{np.flatnonzero(constant)[:5].tolist()} in session {session}; leave them out there.")
        z[inside] = (centred / deviation)[inside]
    return z


def live_scale(z: ArrayLike) -> np.ndarray:
    """Returns 100 (z + 3) / 6: z-scores of -3..3, which hold 99.7 % of normal ones, on 0..100."""
    return 100 * (np.asarray(z, dtype=float) + 3) / 6


def realign(scores: ArrayLike, sessions: ArrayLike, anchors: ArrayLike, aligned: ArrayLike) -> np.ndarray:
    """Returns p1 score + p2 with one least-squares line a session, onto the scale of an alignment study.

    Z-scores of two sessions are not comparable if one held the worse images. LIVE therefore had some images of every
    session rated again in one study. That its realigned DMOS are such lines is verified on the released dmos.mat and
    dmos_realigned.mat of three distortions (largest residual 0.28 of 100); how LIVE weighted the anchors is not.

    Args:
        scores: mean z-score or DMOS of each stimulus, shape (stimuli,).
        sessions: session label of each stimulus, shape (stimuli,).
        anchors: numbers of the stimuli that the alignment study showed, shape (anchors,).
        aligned: their scores in that study, shape (anchors,); at least two different anchors a session.
    """
    scores, sessions, anchors = np.asarray(scores, dtype=float), np.asarray(sessions), np.asarray(anchors)
    aligned, out = np.asarray(aligned, dtype=float), np.empty(scores.shape)
    for session in np.unique(sessions):
        inside = sessions[anchors] == session
        x = scores[anchors[inside]]
        if len(np.unique(x)) < 2:
            raise ValueError(f"Expected two anchors of different score or more, got {len(x)} in session {session}.")
        line = stats.linregress(x, aligned[inside])
        out[sessions == session] = line.slope * scores[sessions == session] + line.intercept
    return out


def grade_counts(ratings: ArrayLike, grades: ArrayLike) -> np.ndarray:
    """Returns how often each stimulus got each grade, integers of shape (stimuli, grades): its score distribution."""
    ratings, rated = check_ratings(ratings)
    counts = (ratings[:, :, None] == np.asarray(grades, dtype=float)).sum(0)
    lost = int(rated.sum() - counts.sum())
    if lost:
        raise ValueError(f"Expected ratings among {list(grades)}, got {lost} others; round them or add grades.")
    return counts


def distribution_scores(votes: ArrayLike, grades: ArrayLike, *, n_ratings: ArrayLike | None = None) -> OpinionScores:
    """Returns the opinion scores behind a table of votes, as KonIQ (5 grades) and AVA (10 grades) publish it.

    Args:
        votes: counts, or fractions that sum to 1 if ``n_ratings`` is given, shape (images, grades).
        grades: value of each column, shape (grades,).
        n_ratings: number of votes of each image, shape (images,), for fractions.

    Raises:
        ValueError: another shape, a negative vote, no vote, counts that are not whole, fractions 1e-6 from a sum of 1.
    """
    votes, grades = np.asarray(votes, dtype=float), np.asarray(grades, dtype=float)
    if votes.ndim != 2 or grades.shape != votes.shape[1:]:
        raise ValueError(f"Expected votes (images, grades) and grades (grades,), got {votes.shape} and {grades.shape}.")
    totals = votes.sum(1)
    whole = np.abs(totals - 1) <= 1e-6 if n_ratings is not None else (votes == np.round(votes)).all(1) & (totals > 0)
    bad = np.flatnonzero(~whole | (votes < 0).any(1))  # NaN is neither whole nor near 1
    if len(bad):
        raise ValueError(f"Expected counts, or with n_ratings fractions of sum 1, got {votes[bad[0]].tolist()} and "
                         f"{len(bad) - 1} more such rows; give n_ratings for fractions, leave out empty rows.")
    n = totals if n_ratings is None else np.asarray(n_ratings, dtype=float)
    share = votes / totals[:, None]
    mos = share @ grades
    variance = (share * np.square(grades - mos[:, None])).sum(1)
    return OpinionScores(mos, np.sqrt(_divide(variance * n, n - 1)), n)


def sos_parameter(scores: OpinionScores, *, low: float, high: float) -> float:
    """Returns a of SD^2 = a (MOS - low) (high - MOS) by least squares (SOS hypothesis), 0 to about 1.

    0: everybody agrees; 1: all ratings are at the two ends of the scale, ``low`` and ``high``. Stimuli with one rating
    are left out.
    """
    mos, variance = scores.mos, np.square(scores.mos_std)
    spread = (mos - low) * (high - mos)
    if (spread < -1e-9).any() or not (spread > 0).any():
        raise ValueError(f"Expected MOS within {low:g} to {high:g}, not all at an end, got {mos.min():g} to "
                         f"{mos.max():g}; give the ends of the scale.")
    known = np.isfinite(variance)
    return float(variance[known] @ spread[known] / (spread[known] @ spread[known]))


def remove_bias(ratings: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ratings minus each subject's bias, and the biases, shape (subjects,), as P.913 does it.

    A bias is the mean difference from the MOS. If ratings are missing, the MOS hold the bias of those who rated;
    :func:`iqa_lab.subjective.subject_model.fit_subject_model` solves for both at once.
    """
    ratings, rated = check_ratings(ratings)
    bias = np.where(rated, ratings - opinion_scores(ratings).mos, 0).sum(1) / rated.sum(1)
    return ratings - bias[:, None], bias


def check_ratings(ratings: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ratings as a float matrix and where they are not NaN; errors as :func:`opinion_scores`."""
    ratings = np.asarray(ratings, dtype=float)
    if ratings.ndim != 2 or not ratings.size:
        raise ValueError(f"Expected ratings of shape (subjects, stimuli), got {ratings.shape}; see ratings_matrix.")
    if np.isinf(ratings).any():
        raise ValueError(f"Expected finite ratings or NaN, got {int(np.isinf(ratings).sum())} infinite ones.")
    rated = ~np.isnan(ratings)
    for axis, name in ((0, "stimulus"), (1, "subject")):
        empty = np.flatnonzero(~rated.any(axis))
        if len(empty):
            raise ValueError(f"Expected a rating for each {name}, got none for {name} {empty[:5].tolist()} "
                             f"({len(empty)} in all); leave them out.")
    return ratings, rated


def _divide(x: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Returns x / n, NaN where n is 0."""
    return np.divide(x, n, out=np.full(np.shape(x), np.nan), where=n > 0)


def _quantile(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"Expected a confidence level between 0 and 1, got {level:g}; 0.95 is 95 %.")
    return (1 + level) / 2
