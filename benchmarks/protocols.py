"""Measures how the time and memory of evaluation and scaling grow with the data: results/protocols.csv.

    python benchmarks/protocols.py [--quick]

Peers run the same task in the same run where they can: SciPy's spearmanr once per metric and resample, choix's iterative
spectral estimate of Bradley-Terry. A peer that would take minutes does a part of the task, and the row says which.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

import measure
from iqa_lab.evaluation.bootstrap import bootstrap
from iqa_lab.evaluation.gmad import gmad_pairs
from iqa_lab.evaluation.resampled import srocc_resampled
from iqa_lab.evaluation.waterloo import discriminable_pairs
from iqa_lab.subjective.comparisons import sparse_comparison_matrix
from iqa_lab.subjective.ranking import bradley_terry, fit_scale

RESULTS = Path(__file__).parent / "results" / "protocols.csv"
N_METRICS, N_RESAMPLES, N_MODELS = 50, 1000, 30
IMAGES, ITEMS, N_COMPARISONS, MANY_IMAGES = (1000, 3000, 10_000), (500, 1000, 2000, 5000), 200_000, (10_000, 30_000, 100_000)
PEER_RESAMPLES = 2  # of all metrics
PEER_ITEMS = 1000  # above, the peer's dense matrices take minutes


def tasks(quick: bool) -> Iterator[tuple[str, str, Callable, str, Callable | None, float]]:
    """Yields task, size, ours, name of the peer, the peer, and the share of the task that the peer does."""
    random = np.random.RandomState(0)
    for n in IMAGES[:1] if quick else IMAGES:
        opinions = random.standard_normal(n)
        scores = opinions + random.standard_normal((N_METRICS, n))
        yield ("bootstrap of SROCC", f"{N_METRICS} metrics, {n} images, {N_RESAMPLES} resamples",
               partial(resample, scores, opinions), "scipy", partial(resample_with_scipy, scores, opinions),
               PEER_RESAMPLES / N_RESAMPLES)
    for n in ITEMS[:1] if quick else ITEMS:
        winners, losers = compared(n, random)
        yield ("Bradley-Terry", f"{n} items, {N_COMPARISONS} comparisons", partial(scale, winners, losers, n), "choix",
               partial(scale_with_choix, winners, losers, n) if n <= PEER_ITEMS else None, 1)
    for n in MANY_IMAGES[:1] if quick else MANY_IMAGES:
        quality = random.uniform(0, 100, n)
        scores = np.clip(quality + 10 * random.standard_normal((N_MODELS, n)), 0, 100)
        yield ("gMAD pairs", f"{N_MODELS} models, {n} images", partial(gmad_pairs, scores), "", None, 1)
        yield ("discriminable pairs", f"{n} images, 3 metrics, 1000000 pairs",
               partial(discriminable_pairs, scores[:3], threshold=20, n_pairs=1_000_000), "", None, 1)


def resample(scores: np.ndarray, opinions: np.ndarray) -> np.ndarray:
    return bootstrap(srocc_resampled(scores, opinions), n_resamples=N_RESAMPLES)


def resample_with_scipy(scores: np.ndarray, opinions: np.ndarray) -> None:
    random = np.random.RandomState(0)
    for _ in range(PEER_RESAMPLES):
        drawn = random.randint(len(opinions), size=len(opinions))
        for row in scores:
            stats.spearmanr(row[drawn], opinions[drawn])


def compared(n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Returns winners and losers of random pairs of items with known scores."""
    worth = random.standard_normal(n)
    first = random.randint(n, size=N_COMPARISONS)
    second = (first + random.randint(1, n, size=N_COMPARISONS)) % n
    ahead = random.random_sample(N_COMPARISONS) < 1 / (1 + np.exp(worth[second] - worth[first]))
    return np.where(ahead, first, second), np.where(ahead, second, first)


def scale(winners: np.ndarray, losers: np.ndarray, n: int) -> np.ndarray:
    return fit_scale(sparse_comparison_matrix(winners, losers, n_items=n), bradley_terry).scores


def scale_with_choix(winners: np.ndarray, losers: np.ndarray, n: int) -> np.ndarray:
    import choix

    return choix.ilsr_pairwise(n, list(zip(winners.tolist(), losers.tolist())))


def row(task: str, size: str, ours: Callable, peer: str, peer_call: Callable | None, share: float) -> dict:
    """Returns seconds and memory of one task, and how long the peer takes for the whole of it."""
    ours()  # what is made on first use is there
    start = time.perf_counter()
    memory = measure.peak_memory(ours)
    found = {"task": task, "size": size, "seconds": time.perf_counter() - start, "memory_mb": memory, "peer": peer}
    if peer_call is not None:
        try:
            found |= {"peer_seconds": measure.duration(peer_call, 1) / share, "peer_did": f"{share:.1%}"}
            found["ratio"] = found["peer_seconds"] / found["seconds"]
        except ModuleNotFoundError:
            found["peer"] = f"{peer} (not installed)"
    print({key: f"{value:.4g}" if isinstance(value, float) else value for key, value in found.items()}, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of evaluation and scaling over growing data.")
    parser.add_argument("--quick", action="store_true", help="the smallest size of each task; writes no file")
    quick = parser.parse_args().quick
    table = pd.DataFrame([row(*task) for task in tasks(quick)])
    if not quick:
        table.to_csv(RESULTS, index=False, float_format="%.4g", lineterminator="\n")
        RESULTS.with_suffix(".json").write_text(json.dumps(measure.describe_machine(("scipy", "choix")), indent=2) + "\n")


if __name__ == "__main__":
    main()
