"""How many answers a way of choosing pairs needs: simulated experiments against known scores.

Paper: A. Mikhailiuk, C. Wilmot, M. Perez-Ortiz, D. Yue, R. K. Mantiuk, "Active sampling for pairwise comparisons via
    approximate message passing and information gain maximization", ICPR 2020, arXiv:2004.05691 (its simulations).
Reference: gfxdisp/asap at 90082a3.
Deviations: all samplers are judged by one estimate, the JOD scale with a Gaussian prior. Observers are independent and
    all alike, as the models assume; real ones are not.
Chapter: 16
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from iqa_lab.subjective.active_sampling import Sampler
from iqa_lab.subjective.ranking import fit_scale, jod, preference

PRIOR_STD = 3.0  # JOD; wide, so that it matters at the beginning only


class Campaign(NamedTuple):
    """How the estimate improves from batch to batch."""

    trials: np.ndarray  # (T,) answers given after each batch
    rmse: np.ndarray  # (R, T) of each run, in JOD, both scales with mean 0
    srocc: np.ndarray  # (R, T)


def simulate_campaign(true_scores: ArrayLike, sampler: Sampler, *, n_trials: int, n_runs: int = 1,
                      seed: int = 0) -> Campaign:
    """Returns the error of the estimated scores after each batch of pairs that the sampler chose.

    Args:
        true_scores: in JOD, shape (n,), n >= 3, not all equal; 1 JOD apart, 75 % of answers are right.
        sampler: one of ``iqa_lab.subjective.active_sampling``.
        n_trials: a run ends with the batch in which it reaches this number of answers.
        n_runs: R, independent experiments.
        seed: run r has ``RandomState([seed, r])``.

    Raises:
        ValueError: fewer than 3 scores, all of them equal or not finite, or fewer than 1 trial or run.
    """
    true = np.asarray(true_scores, dtype=float)
    if true.ndim != 1 or len(true) < 3 or not np.isfinite(true).all() or true.min() == true.max():
        raise ValueError(f"Expected at least 3 finite scores in JOD that differ, got shape {true.shape}.")
    if n_trials < 1 or n_runs < 1:
        raise ValueError(f"Expected at least 1 trial and 1 run, got {n_trials} and {n_runs}.")
    runs = [_run(true - true.mean(), sampler, n_trials, np.random.RandomState([seed, run])) for run in range(n_runs)]
    trials, rmse, srocc = (np.stack(part) for part in zip(*runs))
    return Campaign(trials[0], rmse, srocc)


def trials_needed(campaign: Campaign, *, rmse: float = np.inf, srocc: float = -1.0) -> float:
    """Returns after how many answers the means over the runs are at these targets and stay there; NaN for never.

    Args:
        campaign: of :func:`simulate_campaign`.
        rmse: at most, in JOD.
        srocc: at least.
    """
    missed = np.flatnonzero((campaign.rmse.mean(axis=0) > rmse) | (campaign.srocc.mean(axis=0) < srocc))
    first = missed[-1] + 1 if len(missed) else 0
    return float(campaign.trials[first]) if first < len(campaign.trials) else float("nan")


def _run(true: np.ndarray, sampler: Sampler, n_trials: int, random: np.random.RandomState) -> list[np.ndarray]:
    """Returns answers, RMSE and SROCC after each batch, three arrays of shape (T,)."""
    chances, wins, records = preference(true, jod), np.zeros((len(true), len(true))), []
    while wins.sum() < n_trials:
        first, second = sampler(wins, random).T
        ahead = random.random_sample(len(first)) < chances[first, second]
        np.add.at(wins, (np.where(ahead, first, second), np.where(ahead, second, first)), 1)
        scores = fit_scale(wins, jod, prior_std=PRIOR_STD).scores
        records.append((wins.sum(), np.sqrt(np.square(scores - true).mean()), stats.spearmanr(scores, true).statistic))
    return [np.array(column) for column in zip(*records)]
