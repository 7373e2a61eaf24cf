"""Trains the regressor of BRISQUE that ships with the package on LIVE in the Wild, without the photographs of livec_mini.

``python -m iqa_lab.data_scripts.train_brisque``, after ``iqa-lab data prepare livec``.

As the authors' release does it: features scaled to [-1, 1], epsilon-SVR with RBF kernel. C and gamma are chosen by
cross-validation on the training photographs alone; the target is 100 - MOS, so that lower is better as in the paper.
The 150 photographs of livec_mini test the result once.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.svm import SVR
from tqdm import tqdm

from iqa_lab import load_database, load_image
from iqa_lab.data_scripts.shipped_arrays import write_arrays
from iqa_lab.databases import Database
from iqa_lab.embedded import SHIPPED
from iqa_lab.evaluation.protocols import agreement
from iqa_lab.no_reference.brisque import brisque_features

GRID = {"C": 2.0 ** np.arange(1, 15), "gamma": 2.0 ** np.arange(-10, 0)}
EPSILON, N_FOLDS, SEED = 3.0, 10, 0  # epsilon in points of MOS: far below the disagreement of people
MOS_MAXIMUM = 100


def features_and_opinions(database: Database, images: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the 36 features, shape (n, 36), and 100 - MOS of those images of the database."""
    rows = database.index.set_index("image").loc[images]
    features = [brisque_features(load_image(database.root / image)) for image in tqdm(images, unit="image")]
    return torch.cat(features).numpy(), MOS_MAXIMUM - rows["mos"].to_numpy()


def scaled(features: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Returns the features with low at -1 and high at 1."""
    return 2 * (features - low) / (high - low) - 1


def main() -> None:
    """Trains, prints the agreement on livec_mini and writes iqa_lab/embedded/weights/brisque_livec.npz."""
    database, held_out = load_database("livec"), load_database("livec_mini")
    training = sorted(set(database.index["image"]) - set(held_out.index["image"]))
    features, targets = features_and_opinions(database, training)
    low, high = features.min(0), features.max(0)
    folds = KFold(N_FOLDS, shuffle=True, random_state=SEED)
    search = GridSearchCV(SVR(epsilon=EPSILON), GRID, scoring="neg_mean_absolute_error", cv=folds)
    model = search.fit(scaled(features, low, high), targets).best_estimator_
    test_features, test_targets = features_and_opinions(held_out, held_out.index["image"].tolist())
    found = agreement(-model.predict(scaled(test_features, low, high)), -test_targets)
    chosen = ", ".join(f"{name} {value:g}" for name, value in search.best_params_.items())
    print(f"{len(training)} photographs, {chosen}, {len(model.support_)} support vectors; on livec_mini: "
          + ", ".join(f"{name} {found[name]:.3f}" for name in ("srocc", "krocc", "plcc", "rmse")))
    write_arrays(SHIPPED / "weights" / "brisque_livec.npz", {
        "support_vectors": model.support_vectors_, "coefficients": model.dual_coef_[0],
        "gamma": np.array(search.best_params_["gamma"]), "bias": np.array(model.intercept_[0]),
        "feature_min": low, "feature_max": high})


if __name__ == "__main__":
    main()
