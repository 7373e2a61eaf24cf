"""Support vector regression of features to a score: the second stage of most opinion-aware systems, in PyTorch.

Paper: A. J. Smola, B. Schoelkopf, "A tutorial on support vector regression", Statistics and Computing 14(3), 2004,
    doi:10.1023/B:STCO.0000035301.49549.88.
Reference: libsvm 3 (C.-C. Chang, C.-J. Lin), whose models the authors of BRISQUE, GM-LOG and DIIVINE publish.
Deviations: none. Models are fitted by scikit-learn (iqa_lab.training.regressors), which is libsvm inside, and stored as
    plain arrays; partial least squares too, which gives a linear model. Several regressors make an ensemble.
Chapter: 03
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from iqa_lab.backbones.weights import find_weights

KERNELS = {frozenset({"support_vectors", "coefficients", "gamma", "bias"}): "RBF", frozenset({"weights", "bias"}): "linear"}
SCALING = frozenset({"feature_min", "feature_max"})
WORST = 100  # of the scale that every regressor is fitted to; 0 is the best
UNTRAINED = "untrained"
RBF, REGRESSIONS = 2, (3, 4)  # libsvm's numbers; epsilon- and nu-SVR predict alike
DIFFERENCES_AT_ONCE = 2**23  # between features and support vectors, in float64: 64 MB


class SupportVectorRegressor(nn.Module):
    """A fitted support vector regression with linear or radial kernel, in float64.

    Args:
        arrays: of a linear model ``weights`` (D,) and ``bias``; of a radial one ``support_vectors`` (S, D),
            ``coefficients`` (S,), ``gamma`` and ``bias``. In both, ``feature_min`` and ``feature_max`` (D,) if the
            features are scaled to [-1, 1] first, without clipping.

    Raises:
        ValueError: other arrays, or arrays that do not fit together.
    """

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__()
        check_arrays(arrays)
        for name, array in arrays.items():
            self.register_buffer(name, torch.tensor(np.asarray(array), dtype=torch.float64))
        self.is_linear, self.is_scaled = "weights" in arrays, "feature_min" in arrays
        self.widths = (self.n_features,)

    @property
    def n_features(self) -> int:
        """How many features it takes."""
        return (self.weights if self.is_linear else self.support_vectors).shape[-1]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Returns w f + b or sum_i coefficient_i exp(-gamma |f - sv_i|^2) + b over the features f, float64 (N,).

        Args:
            features: shape (N, D), or (N, P, D) of P crops of each image, whose scores are averaged.
        """
        if features.ndim == 3:
            return self(features.flatten(0, 1)).view(features.shape[:2]).mean(1)
        features = features.to(self.bias)
        if self.is_scaled:
            features = scale_features(features, self.feature_min, self.feature_max)
        if self.is_linear:
            return features @ self.weights + self.bias
        few = features.split(max(1, DIFFERENCES_AT_ONCE // self.support_vectors.numel()))
        distance = torch.cat([(some[:, None] - self.support_vectors).square().sum(-1) for some in few])  # N, S
        return torch.exp(-self.gamma * distance) @ self.coefficients + self.bias

    def extra_repr(self) -> str:
        kernel = "linear" if self.is_linear else f"{len(self.coefficients)} support vectors, gamma={self.gamma.item():g}"
        return f"{self.n_features} features, {kernel}"


class RegressorEnsemble(nn.Module):
    """Regressors of consecutive parts of the features; the score is the mean of theirs.

    Args:
        arrays: those of each :class:`SupportVectorRegressor` behind its number: ``0.weights``, ``0.bias``, ``1.weights``.
            ValueError if a number is left out, or if they make no regressor.
    """

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__()
        parts: dict[str, dict[str, np.ndarray]] = {}
        for key, array in arrays.items():
            number, _, name = key.partition(".")
            parts.setdefault(number, {})[name] = array
        names = [str(k) for k in range(len(parts))]
        if set(parts) != set(names):
            raise ValueError(f"Expected the arrays of the regressors {', '.join(names)}, got {', '.join(sorted(parts))}.")
        self.regressors = nn.ModuleList(SupportVectorRegressor(parts[name]) for name in names)
        self.widths = tuple(regressor.n_features for regressor in self.regressors)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Returns the mean score of the regressors, float64 (N,), of features (N, D) with D the sum of ``widths``."""
        return self.each(features).mean(1)

    def each(self, features: torch.Tensor) -> torch.Tensor:
        """Returns the score of each regressor, float64 (N, K), of the same features."""
        parts = features.split(self.widths, -1)
        return torch.stack([one(part) for one, part in zip(self.regressors, parts, strict=True)], 1)

    def extra_repr(self) -> str:
        return "UNTRAINED: random weights" * hasattr(self, "untrained")


def scale_features(features: torch.Tensor, feature_min: torch.Tensor, feature_max: torch.Tensor) -> torch.Tensor:
    """Returns the features with ``feature_min`` at -1 and ``feature_max`` at 1; those that were constant become 0."""
    span = feature_max - feature_min
    return torch.where(span > 0, 2 * (features - feature_min) / torch.where(span > 0, span, 1) - 1, 0)


class Untrained(nn.Module):
    """Stands where a regressor will be, so that a system can compute the features to train it with."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Raises RuntimeError."""
        raise RuntimeError("Expected a trained regressor, got none (parameters='untrained'); train one with `iqa-lab train` "
                           "and pass parameters=Path('.../regressor.npz').")


def load_regressor(source: str | Path) -> SupportVectorRegressor | RegressorEnsemble | Untrained:
    """Returns the regressor, or the ensemble of several, stored in an .npz file of this project.

    Args:
        source: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`, the path of a file that ``iqa-lab train`` wrote,
            or ``"untrained"`` for none.

    Raises:
        FileNotFoundError: the file is absent. ValueError: it holds something else.
    """
    if source == UNTRAINED:
        return Untrained()
    path = find_weights(source)
    if path.suffix != ".npz":
        raise ValueError(f"Expected a regressor in an .npz file, got {path.name}; `iqa-lab train` writes one.")
    with np.load(path, allow_pickle=False) as arrays:
        return create_regressor(dict(arrays))


def create_regressor(arrays: dict[str, np.ndarray]) -> SupportVectorRegressor | RegressorEnsemble:
    """Returns what the arrays make: an ensemble where their names begin with numbers."""
    return RegressorEnsemble(arrays) if any("." in name for name in arrays) else SupportVectorRegressor(arrays)


def load_fitting(source: str | Path | None, widths: Sequence[int], missing: str) -> nn.Module:
    """Returns what :func:`load_regressor` does, after checking that it takes such features.

    Args:
        source: as there; or ``"random"`` for untrained linear regressors from torch's random generator.
        widths: how many features each regressor takes.
        missing: the message where ``source`` is None, for systems without a default.

    Raises:
        FileNotFoundError: no source given, or the file is absent. ValueError: regressors of other features.
    """
    if source is None:
        raise FileNotFoundError(missing)
    if source == "random":
        return random_regressor(widths)
    regressor = load_regressor(source)
    if not isinstance(regressor, Untrained) and regressor.widths != tuple(widths):
        raise ValueError(f"Expected {len(widths)} regressors of {sum(widths)} features in all, got {len(regressor.widths)} "
                         f"of {sum(regressor.widths)} in {source}; use the options that they were trained with.")
    return regressor


def random_regressor(widths: Sequence[int]) -> RegressorEnsemble:
    """Returns untrained linear regressors of so many features, which say so."""
    arrays = {f"{k}.weights": torch.randn(width).numpy() / width**0.5 for k, width in enumerate(widths)}
    regressor = RegressorEnsemble(arrays | {f"{k}.bias": np.zeros(()) for k, _ in enumerate(widths)})
    regressor.untrained = True
    return regressor


def check_arrays(arrays: dict[str, np.ndarray]) -> None:
    """Raises ValueError unless the arrays make a regressor; the message names what is missing or does not fit."""
    names = frozenset(arrays)
    if names - SCALING not in KERNELS or len(names & SCALING) == 1:
        expected = " or ".join(", ".join(sorted(keys)) for keys in KERNELS)
        raise ValueError(f"Expected the arrays {expected} (and both of {', '.join(sorted(SCALING))}, or none), "
                         f"got {', '.join(sorted(names)) or 'none'}.")
    wide = {name: np.shape(arrays[name]) for name in sorted(names & (SCALING | {"weights", "support_vectors"}))}
    if len({shape[-1:] for shape in wide.values()}) > 1:
        raise ValueError(f"Expected one number of features, got the shapes {wide}.")
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"Expected finite numbers in a regressor, got others in {name}.")


def parse_libsvm_model(path: Path, n_features: int) -> dict[str, np.ndarray]:
    """Returns the arrays of a libsvm text model (epsilon-SVR with radial kernel).

    Args:
        path: file that ``svm-train`` wrote.
        n_features: how many features there are; the file leaves out zeros, and so may leave out the last one.
    """
    head, _, body = path.read_text().partition("\nSV\n")
    facts = dict(line.split(maxsplit=1) for line in head.splitlines())
    if (facts.get("svm_type"), facts.get("kernel_type")) != ("epsilon_svr", "rbf"):
        raise ValueError(f"Expected an epsilon_svr model with rbf kernel, got {facts.get('svm_type')} with "
                         f"{facts.get('kernel_type')} in {path}.")
    rows = [line.split() for line in body.splitlines() if line.strip()]
    support_vectors = np.zeros((len(rows), n_features))
    for vector, row in zip(support_vectors, rows, strict=True):
        for entry in row[1:]:
            index, value = entry.split(":")
            vector[int(index) - 1] = float(value)
    return {"support_vectors": support_vectors, "coefficients": np.array([float(row[0]) for row in rows]),
            "gamma": np.array(float(facts["gamma"])), "bias": np.array(-float(facts["rho"]))}


def parse_libsvm_range(path: Path) -> dict[str, np.ndarray]:
    """Returns feature_min and feature_max from a file of ``svm-scale`` to [-1, 1]."""
    head, target, *rows = path.read_text().splitlines()
    if (head.strip(), target.split()) != ("x", ["-1", "1"]):
        raise ValueError(f"Expected an svm-scale file that begins with 'x' and '-1 1', got {head!r}, {target!r} in {path}.")
    table = np.array([row.split() for row in rows], dtype=np.float64)  # feature number, min, max
    return {"feature_min": table[:, 1].copy(), "feature_max": table[:, 2].copy()}


def parse_libsvm_struct(struct: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the arrays of a libsvm regression as MATLAB's ``svmtrain`` returns it (with radial kernel).

    Args:
        struct: a 1 x 1 structure with the fields Parameters, rho, sv_coef and SVs, as ``scipy.io.loadmat`` reads it.
    """
    fields, arrays = parse_radial_struct(struct, REGRESSIONS)
    return arrays | {"coefficients": fields["sv_coef"].ravel().astype(np.float64),
                     "bias": np.array(-float(fields["rho"].item()))}


def parse_radial_struct(struct: np.ndarray, svm_types: tuple[int, ...]) -> tuple[np.void, dict[str, np.ndarray]]:
    """Returns the fields of a libsvm model with radial kernel, and its support vectors and gamma.

    Args:
        struct: as :func:`parse_libsvm_struct`.
        svm_types: libsvm's numbers of the expected types.
    """
    fields = struct.reshape(-1)[0]
    found, kernel, _, gamma = fields["Parameters"].ravel()[:4]
    if found not in svm_types or kernel != RBF:
        raise ValueError(f"Expected svm_type {' or '.join(map(str, svm_types))} and kernel_type {RBF} in Parameters, got "
                         f"{found:g} and {kernel:g}.")
    vectors = fields["SVs"]
    return fields, {"support_vectors": np.asarray(vectors.todense() if hasattr(vectors, "todense") else vectors,
                                                  dtype=np.float64), "gamma": np.array(float(gamma))}
