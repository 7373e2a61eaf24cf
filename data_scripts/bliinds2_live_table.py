"""Repeats the regression of BLIINDS-II on its authors' own table: 24 features and DMOS of the 982 images of LIVE.

``python -m iqa_lab.data_scripts.bliinds2_live_table``, run in the folder of the project, writes
results/bliinds2_live_table.csv: correlations in the test parts of 1000 splits by reference image, median and quartiles.
It needs the authors' parameter file (``bliinds2_live``), which holds the table, and LIVE's list of images with DMOS
(MOS_NAME_REF.txt, dmos_realigned.mat), which names the reference of each row.

Two models learn from a training part: the Gaussian of the release (mean and covariance of features and DMOS) and
support vector regression with a radial kernel. Its two numbers are chosen once, by cross-validation over the references
in the training part of the first split; images that other splits test have taken part in that choice.

What the table holds is checked when it is read. Its DMOS is a mixture: as published with release 2 for JPEG 2000 and
fast fading, realigned for JPEG, noise and blur. A fifth of its rows are the 29 references, seven times each, with
DMOS 0; they raise the correlation. On which rows and which DMOS the paper's medians stand is not known here. So each
model is fitted with these rows and without, and with the table's DMOS and the realigned DMOS of all five distortions.
Rows with ``training`` = own are Gaussians of one distortion, such as the release has too.

PLCC is of the predictions as they are, without a logistic mapping: they are in the unit of the DMOS.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.io import loadmat
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVR
from tqdm import tqdm

from iqa_lab.backbones.weights import find_weights
from iqa_lab.downloads import hash_file
from iqa_lab.evaluation.protocols import agreement, over_splits
from iqa_lab.evaluation.splits import content_splits
from iqa_lab.no_reference.bliinds2 import ConditionalMode

DISTORTIONS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}  # rows of each, in this order
REALIGNED = ("jpeg", "wn", "gblur")  # where the table's DMOS is the realigned one
N_SPLITS, TEST_SHARE, SEED = 1000, 0.2, 0
GRID = {"svr__C": 2.0 ** np.arange(2, 13, 2), "svr__gamma": 2.0 ** np.arange(-9, 1, 2)}
EPSILON, N_FOLDS = 1.0, 5  # epsilon in points of DMOS
#: Medians over all distortions that the literature quotes from the paper; the paper itself was not at hand.
QUOTED = {("gaussian", "srocc"): 0.9202, ("svr", "srocc"): 0.9306, ("svr", "plcc"): 0.9302}
CRITERIA = ("srocc", "krocc", "plcc")

#: Learns from features and DMOS of the training part and returns the predicted DMOS of the test part.
Model = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class LiveTable:
    """The authors' table: one row per image of LIVE release 2, references included seven times.

    Attributes:
        features: shape (n, 24).
        dmos: opinion scores by name: "table" (the authors' mixture) and "realigned"; lower is better.
        references: name of the reference image of each row.
        distortions: a key of ``DISTORTIONS`` for each row.
        copies: whether the row is a copy of its reference.
    """

    features: np.ndarray
    dmos: dict[str, np.ndarray]
    references: np.ndarray
    distortions: np.ndarray
    copies: np.ndarray


def read_table(parameters: Path, live: Path) -> LiveTable:
    """Returns the table after checking that its rows are LIVE's images in LIVE's order.

    Args:
        parameters: parameters_from_training.mat of the release.
        live: folder with MOS_NAME_REF.txt and dmos_realigned.mat.

    Raises:
        ValueError: DMOS of both files differ, or copies of one reference have different features.
    """
    arrays, other = loadmat(parameters), loadmat(live / "dmos_realigned.mat")
    published, _, references = np.loadtxt(live / "MOS_NAME_REF.txt", dtype=str, unpack=True)
    realigned, copies = other["dmos_new"].ravel(), other["orgs"].ravel() == 1
    distortions = np.repeat(list(DISTORTIONS), list(DISTORTIONS.values()))
    features, dmos = arrays["live_features"], arrays["live_dmos"].ravel()
    expected = np.where(np.isin(distortions, REALIGNED), realigned, published.astype(float))
    wrong = np.abs(dmos - expected) > 1e-6  # the text file has six decimals
    if wrong.any():
        raise ValueError(f"Expected the DMOS of {live} in {parameters.name}, got {wrong.sum()} others, the first in "
                         f"row {wrong.argmax()}; use the files of LIVE release 2.")
    spread = pd.DataFrame(features[copies]).groupby(references[copies]).agg(np.ptp).to_numpy().max()
    if spread > 0:
        raise ValueError(f"Expected equal features for the copies of one reference, got a difference of {spread:g}; "
                         "the list of names is in another order than the table.")
    return LiveTable(features, {"table": dmos, "realigned": realigned}, references, distortions, copies)


def gaussian(features: np.ndarray, dmos: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Returns the mode of the DMOS of the test images, given features, under the Gaussian of the training images."""
    joint = np.column_stack((features, dmos))
    model = ConditionalMode(joint.mean(0), np.linalg.inv(np.cov(joint, rowvar=False)))
    return model(torch.from_numpy(test)).numpy()


def pipeline() -> Pipeline:
    """Returns scaling of the training features to [-1, 1] and support vector regression."""
    return make_pipeline(MinMaxScaler((-1, 1)), SVR(epsilon=EPSILON))


def choose(features: np.ndarray, dmos: np.ndarray, references: np.ndarray) -> dict[str, float]:
    """Returns C and gamma with the smallest absolute error in a cross-validation over references."""
    search = GridSearchCV(pipeline(), GRID, scoring="neg_mean_absolute_error", cv=GroupKFold(N_FOLDS))
    return search.fit(features, dmos, groups=references).best_params_


def support_vectors(chosen: dict[str, float]) -> Model:
    """Returns support vector regression with these settings as a model."""
    return lambda features, dmos, test: pipeline().set_params(**chosen).fit(features, dmos).predict(test)


def correlations(model: Model, table: LiveTable, opinions: str, rows: np.ndarray, splits: list) -> Iterator[dict]:
    """Yields the agreement in the test part of each split, for all distortions together and each alone.

    Args:
        rows: which rows of the table take part; ``splits`` counts within them.
    """
    features, dmos, distortions = table.features[rows], table.dmos[opinions][rows], table.distortions[rows]
    for train, test in tqdm(splits, unit="split", leave=False):
        predicted = model(features[train], dmos[train], features[test])
        for distortion in (*pd.unique(distortions), "all"):
            part = (distortions[test] == distortion) | (distortion == "all")
            yield {"distortion": distortion} | agreement(-predicted[part], -dmos[test][part], form="linear")


def summary(rows: Iterator[dict], facts: dict) -> Iterator[dict]:
    """Yields one row of the result per distortion: the facts, then median and quartiles of each criterion."""
    for distortion, part in pd.DataFrame(rows).groupby("distortion", sort=False):
        quantiles = over_splits(part[list(CRITERIA)].to_dict("records"))
        row = facts | {"distortion": distortion, "n_test": int(part["n"].median())}
        for name in CRITERIA:
            median, q1, q3 = quantiles.loc[name, ["median", "q1", "q3"]].round(5)
            row |= {name: median, f"{name}_q1": q1, f"{name}_q3": q3}
        for name in ("srocc", "plcc"):
            row[f"{name}_quoted"] = QUOTED.get((facts["model"], name)) if distortion == "all" else None
        yield row


def run(table: LiveTable, n_splits: int = N_SPLITS) -> pd.DataFrame:
    """Returns the result, one row per model, opinion scores, use of the references, training and distortion."""
    results = []
    for opinions in table.dmos:
        for copies in ("with", "without"):
            rows = np.flatnonzero(~table.copies | (copies == "with"))
            splits = content_splits(table.references[rows], n_splits=n_splits, test_share=TEST_SHARE, seed=SEED)
            first = rows[splits[0][0]]
            chosen = choose(table.features[first], table.dmos[opinions][first], table.references[first])
            for name, model in (("gaussian", gaussian), ("svr", support_vectors(chosen))):
                settings = {key.removeprefix("svr__"): value for key, value in chosen.items() if name == "svr"}
                facts = {"model": name, "dmos": opinions, "references": copies, "training": "all"} | settings
                results += summary(correlations(model, table, opinions, rows, splits), facts)
    return pd.DataFrame([*results, *run_own(table, n_splits)]).assign(n_splits=n_splits, seed=SEED)


def run_own(table: LiveTable, n_splits: int) -> Iterator[dict]:
    """Yields rows of the result for Gaussians that learn from one distortion and are tested on it."""
    for distortion in DISTORTIONS:
        rows = np.flatnonzero(table.distortions == distortion)
        splits = content_splits(table.references[rows], n_splits=n_splits, test_share=TEST_SHARE, seed=SEED)
        facts = {"model": "gaussian", "dmos": "table", "references": "with", "training": "own"}
        found = (row for row in correlations(gaussian, table, "table", rows, splits) if row["distortion"] != "all")
        yield from summary(found, facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=Path, help="parameters_from_training.mat, if elsewhere")
    parser.add_argument("--live", type=Path, default=Path(os.environ.get("IQA_LAB_DATA", ".")) / "scores" / "live_dmos",
                        help="folder with MOS_NAME_REF.txt and dmos_realigned.mat")
    parser.add_argument("--output", type=Path, default=Path("results/bliinds2_live_table.csv"))
    arguments = parser.parse_args()
    parameters = arguments.parameters or find_weights("bliinds2_live")
    result = run(read_table(parameters, arguments.live))
    result = result.assign(table_sha256=hash_file(parameters)[:16], date=date.today().isoformat())
    result.to_csv(arguments.output, index=False, lineterminator="\n")
    print(result[result["distortion"] == "all"][["model", "dmos", "references", *CRITERIA]].to_string(index=False))


if __name__ == "__main__":
    main()
