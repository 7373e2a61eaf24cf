"""Normalised, whitened image patches and the codebooks that CORNIA and HOSA compare them with.

Paper: those of cornia.py and hosa.py; normalisation and whitening as in A. Coates, A. Y. Ng, H. Lee, "An analysis of
    single-layer networks in unsupervised feature learning", AISTATS 2011.
Reference: the authors' CORNIA_Fv.m, hosa_feature_extraction.m, CSIQ_whitening_param.mat.
Deviations: none in the arithmetic. The codebooks that ship with the package are not the authors': theirs were learned
    on CSIQ, ours on distorted Kodak photographs (data_scripts/learn_codebooks.py). Files of the authors can be loaded.
Chapter: 13
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.io import loadmat
from torch import nn

from iqa_lab.backbones.weights import find_weights
from iqa_lab.no_reference.regression import SupportVectorRegressor, Untrained, load_regressor

SIDE = 7  # BS in the authors' code: patches are 7 x 7
C = 10.0  # added to the variance of a patch, of pixels in 0..255
#: Added to the eigenvalues before whitening. The authors' P shows it: it has the eigenvalue 1 / sqrt(0.1) for the
#: constant patch, whose variance is 0 after normalisation.
EPSILON = 0.1
PATCHES_AT_ONCE = 2**14  # images are taken together up to this many patches

REQUIRED, MOMENTS = ("mean", "whitening", "codewords"), ("variance", "skewness")


class Codebook(nn.Module):
    """Codewords in the space of whitened patches.

    Args:
        arrays: ``mean`` (49,) and ``whitening`` (49, 49) of normalised patches, ``codewords`` (K, 49), and for HOSA
            ``variance`` and ``skewness`` (K, 49) of the patches nearest to each codeword.

    Raises:
        ValueError: other arrays or shapes.
    """

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__()
        check_codebook(arrays)
        for name, array in arrays.items():
            self.register_buffer(name, torch.tensor(np.asarray(array), dtype=torch.float64))

    @property
    def has_moments(self) -> bool:
        """Whether it has the variances and skewnesses that HOSA needs."""
        return "variance" in self._buffers

    def whiten(self, patches: torch.Tensor) -> torch.Tensor:
        """Returns the normalised patches minus their mean, times the whitening matrix, shape (..., 49).

        Args:
            patches: shape (..., 49), pixels in 0..255, in the order of the codebook.
        """
        return (normalise(patches).to(self.mean) - self.mean) @ self.whitening

    def extra_repr(self) -> str:
        return f"{len(self.codewords)} codewords" + ", variance, skewness" * self.has_moments


def normalise(patches: torch.Tensor) -> torch.Tensor:
    """Returns (p - mean(p)) / sqrt(var(p) + 10) of each patch; the variance has the divisor n - 1.

    Args:
        patches: shape (..., 49), pixels in 0..255.
    """
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return (patches - mean) / (variance + C).sqrt()


def take_patches(x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Returns the patches with all pairs of a row and a column as upper left corners, shape (N, rows * columns, 7, 7).

    Args:
        x: shape (N, 1, H, W).
        rows, columns: int64, positions from 0 to H - 7 and W - 7.
    """
    windows = x[:, 0].unfold(1, SIDE, 1).unfold(2, SIDE, 1)  # a view
    return windows[:, rows[:, None], columns].flatten(1, 2)


def fit_whitening(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean (49,) and the symmetric (ZCA) whitening matrix V (D + 0.1)^(-1/2) V^T (49, 49) of the patches.

    Args:
        patches: normalised, shape (n, 49).
    """
    eigenvalues, vectors = np.linalg.eigh(np.cov(patches, rowvar=False))
    return patches.mean(0), vectors / np.sqrt(eigenvalues.clip(0) + EPSILON) @ vectors.T


def load_codebook(source: str | Path) -> Codebook:
    """Returns a codebook of this project (.npz) or of the authors (.mat, with their whitening file beside it).

    Args:
        source: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS` or a path.

    Raises:
        FileNotFoundError: a file is absent. ValueError: it holds something else.
    """
    path = find_weights(source)
    if path.suffix == ".mat":
        return Codebook(parse_official_codebook(path))
    with np.load(path, allow_pickle=False) as arrays:
        return Codebook(dict(arrays))


def load_fitting_regressor(parameters: str | Path, n_features: int) -> SupportVectorRegressor | Untrained:
    """Returns the regressor after checking that it takes so many features.

    Raises:
        FileNotFoundError: the file is absent. ValueError: it was trained with another codebook size.
    """
    regressor = load_regressor(parameters)
    if isinstance(regressor, SupportVectorRegressor) and regressor.n_features != n_features:
        raise ValueError(f"Expected a regressor of the codebook's {n_features} features, got one of "
                         f"{regressor.n_features} in {parameters}; use the codebook it was trained with.")
    return regressor


def parse_official_codebook(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of CSIQ_codebook_BS7.mat (CORNIA) or codebook_hosa.mat (HOSA); codewords are columns there."""
    arrays = loadmat(path)
    if "codebook0" in arrays:
        found, beside = {"codewords": arrays["codebook0"]}, "CSIQ_whitening_param.mat"
    elif "codebook_hosa" in arrays:
        struct = arrays["codebook_hosa"].reshape(-1)[0]
        found, beside = {"codewords": struct["centroid_cb"], "variance": struct["variance_cb"],
                         "skewness": struct["skewness_cb"]}, "whitening_param.mat"
    else:
        raise ValueError(f"Expected codebook0 or codebook_hosa in {path}, got "
                         f"{', '.join(name for name in arrays if name[0] != '_') or 'nothing'}.")
    if not path.with_name(beside).is_file():
        raise FileNotFoundError(f"Expected the authors' whitening {beside} beside {path}; copy it from their release.")
    mean, whitening = parse_official_whitening(path.with_name(beside))
    return {"mean": mean, "whitening": whitening} | {name: array.T for name, array in found.items()}


def parse_official_whitening(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean (49,) and matrix (49, 49) from the M and P of the authors' whitening file."""
    arrays = loadmat(path)
    return arrays["M"].ravel(), arrays["P"]


def check_codebook(arrays: dict[str, np.ndarray]) -> None:
    """Raises ValueError unless the arrays make a codebook."""
    if set(arrays) not in (set(REQUIRED), set(REQUIRED + MOMENTS)):
        raise ValueError(f"Expected the arrays {', '.join(REQUIRED)} (and both of {', '.join(MOMENTS)}, or none), got "
                         f"{', '.join(sorted(arrays)) or 'none'}.")
    dimension, n = SIDE**2, len(arrays["codewords"])
    expected = {"mean": (dimension,), "whitening": (dimension, dimension)}
    for name, array in arrays.items():
        if array.shape != expected.get(name, (n, dimension)):
            raise ValueError(f"Expected {name} of shape {expected.get(name, (n, dimension))}, got {array.shape}.")
