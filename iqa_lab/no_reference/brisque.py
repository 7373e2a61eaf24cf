"""BRISQUE: the blind/referenceless image spatial quality evaluator, a regressor on natural scene statistics.

Paper: A. Mittal, A. K. Moorthy, A. C. Bovik, "No-reference image quality assessment in the spatial domain", IEEE
    Transactions on Image Processing 21(12), 2012, doi:10.1109/TIP.2012.2214050.
Reference: the authors' MATLAB release (brisque_feature.m, allmodel, allrange), evaluated in libsvm 3.
Deviations: (1) MSCN coefficients within 1e-9 of 0 are 0. In flat regions the release counts the signs of rounding
    errors, and what it prints depends on the order of its sums: of four published values of such images two are met
    within 0.002 points, one within 0.55 (local blocks), one within 2.2 (strong JPEG). (2) The release passes features
    through text files (six decimals, then six significant digits): up to 5e-4 points; so rounded, ours are the same.
    (3) Where the release divides by an empty side of a fit (NaN), that side has the width 0; a flat image has all
    shapes 0.2 and all widths 0.
Chapter: 03
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.ops.color import rgb_to_luma_matlab
from iqa_lab.ops.elementwise import safe_sqrt
from iqa_lab.ops.resize import resize
from iqa_lab.ops.statistics import WINDOW, fit_aggd, fit_ggd, gamma_ratio, mscn, neighbour_products

N_SCALES = 2
MINIMUM_SIDE = WINDOW * 2 ** (N_SCALES - 1)  # the window fits into the smaller scale
SHIFTS = ((0, 1), (1, 0), (1, 1), (-1, 1))  # rows, columns: eqs. (7)-(10), horizontal, vertical and both diagonals


class BRISQUE(nn.Module):
    """Quality from 36 natural scene statistics by support vector regression; lower is better.

    Scores are nominally 0 (best) to 100 (worst) and not clipped.

    Args:
        parameters: a name in :data:`iqa_lab.backbones.weights.WEIGHTS`: ``"brisque_livec"`` (trained by this project on
            LIVE in the Wild, 100 - MOS; shipped) or ``"brisque_live"`` (the authors', LIVE release 2, DMOS).

    Raises:
        FileNotFoundError: the parameter file is absent; the message says where it comes from.
    """

    def __init__(self, *, parameters: str = "brisque_livec") -> None:
        super().__init__()
        for name, array in load_brisque_parameters(parameters).items():
            self.register_buffer(name, torch.from_numpy(array))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the regressed score of each image, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 14 pixels.
        """
        return self.regress(brisque_features(image)).to(image.dtype)

    def regress(self, features: torch.Tensor) -> torch.Tensor:
        """Returns sum_i coefficient_i exp(-gamma |f - sv_i|^2) + bias over the scaled features f, float64 (N,).

        Args:
            features: shape (N, 36), as :func:`brisque_features` returns them.
        """
        scaled = 2 * (features - self.feature_min) / (self.feature_max - self.feature_min) - 1
        distance = (scaled[:, None] - self.support_vectors).square().sum(-1)  # N, support vectors
        return torch.exp(-self.gamma * distance) @ self.coefficients + self.bias


def brisque_features(image: torch.Tensor) -> torch.Tensor:
    """Returns the 36 features of Table I, float64 (N, 36): 18 at full and 18 at half resolution.

    Args:
        image: as :meth:`BRISQUE.forward`.
    """
    check_images(image, minimum_side=MINIMUM_SIDE)
    return torch.cat([_features(part) for (part,) in few_at_a_time(image)])


def load_brisque_parameters(name: str) -> dict[str, np.ndarray]:
    """Returns support_vectors (S, 36), coefficients (S,), gamma, bias, feature_min (36,) and feature_max (36,).

    Args:
        name: in ``WEIGHTS``; the authors' model has its scaling in a second file, ``<name>_range``.
    """
    path = find_weights(name)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    return parse_libsvm_model(path) | parse_libsvm_range(find_weights(f"{name}_range"))


def parse_libsvm_model(path: Path) -> dict[str, np.ndarray]:
    """Returns support vectors, coefficients, gamma and bias of a libsvm text model (epsilon-SVR with RBF kernel)."""
    head, _, body = path.read_text().partition("\nSV\n")
    facts = dict(line.split(maxsplit=1) for line in head.splitlines())
    if (facts.get("svm_type"), facts.get("kernel_type")) != ("epsilon_svr", "rbf"):
        raise ValueError(f"Expected an epsilon_svr model with rbf kernel, got {facts.get('svm_type')} with "
                         f"{facts.get('kernel_type')} in {path}.")
    rows = [line.split() for line in body.splitlines() if line.strip()]
    support_vectors = np.zeros((len(rows), 36))
    for vector, row in zip(support_vectors, rows, strict=True):
        for entry in row[1:]:  # sparse: zeros are not written
            index, value = entry.split(":")
            vector[int(index) - 1] = float(value)
    return {"support_vectors": support_vectors, "coefficients": np.array([float(row[0]) for row in rows]),
            "gamma": np.array(float(facts["gamma"])), "bias": np.array(-float(facts["rho"]))}


def parse_libsvm_range(path: Path) -> dict[str, np.ndarray]:
    """Returns smallest and largest value of each feature from a file of svm-scale to [-1, 1]."""
    head, target, *rows = path.read_text().splitlines()
    if (head.strip(), target.split()) != ("x", ["-1", "1"]):
        raise ValueError(f"Expected an svm-scale file that begins with 'x' and '-1 1', got {head!r}, {target!r} in {path}.")
    table = np.array([row.split() for row in rows], dtype=np.float64)  # feature number, min, max
    return {"feature_min": table[:, 1].copy(), "feature_max": table[:, 2].copy()}


def _features(image: torch.Tensor) -> torch.Tensor:
    """Returns the features of a few images, (N, 36)."""
    x = 255 * rgb_to_luma_matlab(image.double())
    features = [_scale_features(x)]
    for _ in range(N_SCALES - 1):
        x = resize(x, 0.5)
        features.append(_scale_features(x))
    return torch.cat(features, 1)


def _scale_features(x: torch.Tensor) -> torch.Tensor:
    """Returns the 18 features of one scale, (N, 18)."""
    coefficients = mscn(x, "zeros")[0][:, 0]
    own = torch.stack(fit_ggd(coefficients.flatten(1)), -1)  # alpha, sigma^2
    fit = fit_aggd(neighbour_products(coefficients, SHIFTS).flatten(2))  # N, 4
    beta = safe_sqrt(gamma_ratio(1 / fit.alpha, 3 / fit.alpha))
    eta = (fit.right - fit.left) * beta * gamma_ratio(2 / fit.alpha, 1 / fit.alpha)  # eq. (15), the mean
    paired = torch.stack((fit.alpha, eta, fit.left**2, fit.right**2), -1)
    return torch.cat((own, paired.flatten(1)), 1)
