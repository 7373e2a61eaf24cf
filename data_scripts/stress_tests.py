"""D-, L- and P-test and gMAD among the no-reference systems, on the distortions of the embedded photographs.

``python -m iqa_lab.data_scripts.stress_tests``, run in the folder of the project after ``iqa-lab data prepare livec`` and
``no_reference_splits``, writes results/stress_tests.csv. No human score is involved: the P-test's pairs and the verdicts of
gMAD are those of full-reference metrics (MS-SSIM, GMSD, VIF), a proxy. Systems that learn have learned from LIVE in the
Wild: feature-based ones from all its photographs that are here, of a network it is the split with the median SROCC.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import torch

from iqa_lab import METRICS, load_database
from iqa_lab.data_scripts.network_runs import NETWORKS, finished_runs, median_run, network_scores
from iqa_lab.data_scripts.no_reference_splits import FIXED, REGRESSED, fixed_scores, regressor_scores
from iqa_lab.data_scripts.result_rows import RESULTS
from iqa_lab.databases import Database
from iqa_lab.evaluation import gmad, waterloo
from iqa_lab.training.features import cached_scores
from iqa_lab.training.runs import index_hash

LEARNED, DEFAULT = "livec", "dbcnn_linear_efficientnet_lite0"
JUDGES, THRESHOLD = ("ms_ssim", "gmsd", "vifp"), 40  # of the pairs, in percent of the images
PRIOR = 3.0  # standard deviation of the places in gMAD: a system without a win has one, too


def with_pristine(database: Database) -> Database:
    """Returns a database of distorted images with each content's reference as its level 0."""
    pristine = database.index.drop_duplicates("content").assign(distortion="pristine", level=0)
    index = pd.concat([pristine.assign(image=pristine["reference"]), database.index], ignore_index=True)
    return replace(database, facts=replace(database.facts, name=f"{database.name}_with_pristine"), index=index)


def scores_of(name: str, test: Database) -> np.ndarray:
    """Returns the scores of a system, higher is better, after it learned from LIVE in the Wild if it learns."""
    if name not in (*NETWORKS, *REGRESSED):
        return fixed_scores(name, test)
    learned = load_database(LEARNED)
    if name in REGRESSED:
        return regressor_scores(name, learned, test)
    return network_scores(name, NETWORKS[name], learned, median_run(finished_runs(name, learned)), test)[0]


def trained_on(name: str) -> str:
    """Returns what a system of the table has learned from, or how it is configured."""
    if name in REGRESSED:
        return f"{LEARNED}, all"
    return f"{LEARNED}, one split" if name in NETWORKS else METRICS[name].configuration


def places(scores: np.ndarray, proxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns aggressiveness and resistance of each system on one scale, by a proxy's verdicts on the pairs of gMAD.

    Args:
        scores: of M systems, shape (M, n), higher is better, on any scale.
        proxy: quality of each image, shape (n,), 0 to 100.
    """
    pairs = gmad.gmad_pairs(np.stack([waterloo.percent_scale(own) for own in scores]))
    matrices = gmad.aggressiveness_and_resistance(pairs, gmad.proxy_preference(pairs, proxy))
    return tuple(gmad.global_ranking(matrix, prior_std=PRIOR) for matrix in matrices)


def main() -> None:
    """Runs all systems and writes the table."""
    test = with_pristine(load_database("embedded"))
    distorted = (test.index["level"] > 0).to_numpy()
    about = test.index[distorted]
    names = (*FIXED, DEFAULT, *REGRESSED, *NETWORKS)
    scores = np.stack([scores_of(name, test) for name in names])
    judged = [waterloo.percent_scale(cached_scores(name, test)[distorted]) for name in JUDGES]
    pairs = waterloo.discriminable_pairs(judged, threshold=0, n_pairs=10**6)
    aggressive, resistant = places(scores[:, distorted], np.mean(judged, axis=0))
    rows = []
    for k, name in enumerate(names):
        pristine, own = scores[k][~distorted], scores[k][distorted]
        ordered = waterloo.l_test(own, about["content"], about["distortion"], about["level"])
        rows.append({"system": name, "trained_on": trained_on(name), "images": len(own), "D": waterloo.d_test(pristine, own).d,
                     "L": ordered.srocc, "P_all_pairs": waterloo.p_test(own, pairs).p,
                     "P_clear_pairs": waterloo.p_curve(own, pairs, [THRESHOLD])[0],
                     "gmad_aggressiveness_proxy": aggressive[k], "gmad_resistance_proxy": resistant[k]})
    table = pd.DataFrame(rows).assign(index_sha256=index_hash(test)[:16], torch=torch.__version__, device="cpu",
                                      date=date.today().isoformat())
    table.to_csv(RESULTS / "stress_tests.csv", index=False, float_format="%.4g")
    print(table.to_string())


if __name__ == "__main__":
    main()
