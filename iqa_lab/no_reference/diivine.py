"""DIIVINE: first which distortion it is, then how strong, from statistics of divisively normalised wavelet bands.

Paper: A. K. Moorthy, A. C. Bovik, "Blind image quality assessment: from natural scene statistics to perceptual
    quality", IEEE Transactions on Image Processing 20(12), 2011, doi:10.1109/TIP.2011.2147325. Class probabilities:
    T.-F. Wu, C.-J. Lin, R. C. Weng, "Probability estimates for multi-class classification by pairwise coupling",
    Journal of Machine Learning Research 5, 2004 (their second method, which libsvm has).
Reference: the authors' MATLAB release of 2010, version 1.1 (divine_feature_extract.m, data_live_trained.mat), with
    matlabPyrTools and libsvm 3.
Deviations: (1) A coefficient's neighbours in its own band are those above and below. The release means all eight of the
    3 x 3 block, and matlabPyrTools' ``shift`` gives them; but the models were trained with a ``shift`` that moves rows
    only: their support vectors are then our features of LIVE images in all 88 numbers, and else miss the variances by a
    factor 2. ``columns=(-1, 0, 1)`` is the block; scores move by 0.5 to 13 points. (2) The pyramid's masks are exact
    cosines where matlabPyrTools interpolates tables: 3e-4 points, 1.2e-3 at most; with finer tables the release gives
    these features to 2e-9, or 2e-5 if a sample is on the edge of a bin. (3) Coefficients within 1e-9 of 0 are 0, and
    eigenvalues below 1e-12 of the largest do not enter the pseudo-inverse: both are rounding errors of flat or striped
    images. Where the release divides 0 by 0, a band has variance 0, shape 0.2, correlation 0 and structure term 1.
    (4) As in the release: one of the six finest bands has no parent, squared multipliers are divided by 9 or 10 however
    many neighbours there are, correlations are taken at seven distances, and pairs of orientations at the finest scale.
Chapter: 12
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.io import loadmat
from torch import nn

from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.no_reference.diivine_statistics import (DISTANCES, GUARD_BAND, N_ORIENTATIONS, contrast_structure,
                                                     normalised_subbands, spatial_correlation)
from iqa_lab.no_reference.regression import SupportVectorRegressor, parse_libsvm_struct, parse_radial_struct
from iqa_lab.ops.color import rgb_to_luma_matlab
from iqa_lab.ops.resize import resize
from iqa_lab.ops.statistics import fit_ggd

#: The classes in the order of the probabilities, those of LIVE release 2.
DISTORTIONS = ("jpeg2000", "jpeg", "white_noise", "gaussian_blur", "fast_fading")
COLUMNS = (0,)  # what the stored support vectors were computed with, see Deviations (1)
MINIMUM_SIDE = 2 + 2 * GUARD_BAND + DISTANCES[-1] + 1  # the finest normalised band has a pair at the largest distance
C_SVC = 0  # libsvm's number
SMALLEST_PROBABILITY = 1e-7  # min_prob in libsvm's svm_predict_probability
COUPLING_ERROR, COUPLING_SWEEPS = 0.005, 100  # eps (over the number of classes) and max_iter of multiclass_probability


class DIIVINE(nn.Module):
    """Quality by five regressors, one for each distortion, weighted by how probable the distortion is; lower is better.

    Scores are nominally 0 (best) to 100 (worst) and not clipped.

    Args:
        parameters: ``"diivine_live"``, the authors' data_live_trained.mat (LIVE release 2, DMOS), or the path of a file
            of that form.
        columns: those of the 3 x 3 block around a coefficient that divisive normalisation looks at: ``(0,)``, which the
            authors' models were trained with, or ``(-1, 0, 1)``, as their release does with matlabPyrTools.

    Raises:
        FileNotFoundError: the parameter file is absent; the message says where it comes from.
        ValueError: it holds something else.
    """

    def __init__(self, *, parameters: str | Path = "diivine_live", columns: tuple[int, ...] = COLUMNS) -> None:
        super().__init__()
        self.columns = columns
        arrays = load_diivine_parameters(find_weights(parameters))
        self.classifier = SupportVectorClassifier(parse_libsvm_classifier(arrays["model_class"]))
        self.regressors = nn.ModuleList(SupportVectorRegressor(parse_libsvm_struct(struct))
                                        for struct in arrays["model_reg"].ravel())
        # Of the features, one row for each model, the classifier first.
        for name, rows in {"scale": "a", "offset": "b"}.items():
            self.register_buffer(name, torch.from_numpy(np.vstack((arrays[f"{rows}_class"], arrays[f"{rows}_reg"]))))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the score of each image, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 60 pixels.
        """
        return self.score(diivine_features(image, columns=self.columns)).to(image.dtype)

    def score(self, features: torch.Tensor) -> torch.Tensor:
        """Returns sum_i p_i q_i of :meth:`probabilities` and :meth:`qualities`, float64 (N,).

        Args:
            features: as :func:`diivine_features` returns them.
        """
        return (self.probabilities(features) * self.qualities(features)).sum(1)

    def probabilities(self, features: torch.Tensor) -> torch.Tensor:
        """Returns the probability of each of ``DISTORTIONS``, float64 (N, 5); rows sum to 1.

        Args:
            features: as :func:`diivine_features` returns them.
        """
        return self.classifier(self.scale[0] * features + self.offset[0])

    def qualities(self, features: torch.Tensor) -> torch.Tensor:
        """Returns the score under each of ``DISTORTIONS`` if that one it is, float64 (N, 5).

        Args:
            features: as :func:`diivine_features` returns them.
        """
        models = zip(self.regressors, self.scale[1:], self.offset[1:], strict=True)
        return torch.stack([model(scale * features + offset) for model, scale, offset in models], 1)


class SupportVectorClassifier(nn.Module):
    """Class probabilities of a support vector classification with radial kernel, as libsvm estimates them.

    Args:
        arrays: as :func:`parse_libsvm_classifier` returns them.
    """

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__()
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.asarray(array, dtype=np.float64)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Returns the probability of each class, float64 (N, K).

        Args:
            features: shape (N, D), scaled as in training.
        """
        distance = (features[:, None] - self.support_vectors).square().sum(-1)  # N, S
        decision = torch.exp(-self.gamma * distance) @ self.coefficients + self.bias  # N, pairs
        first_wins = torch.sigmoid(-(self.sigmoid_slope * decision + self.sigmoid_offset))
        return couple(first_wins.clamp(SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY))


def couple(first_wins: torch.Tensor) -> torch.Tensor:
    """Returns the class probabilities p that agree best with those of pairs, shape (N, K).

    They minimise sum_i sum_{j != i} (r_ji p_i - r_ij p_j)^2 = 2 p^T Q p where sum p = 1. A linear system has the exact
    solution, but libsvm sweeps over the classes and stops early, which moves scores by up to 0.05 points: so do we.

    Args:
        first_wins: r_ij, the probability of class i given i or j, for all pairs i < j in the order of
            ``torch.triu_indices``, shape (N, K (K - 1) / 2).
    """
    n_classes = (1 + round((1 + 8 * first_wins.shape[1])**0.5)) // 2
    first, second = torch.triu_indices(n_classes, n_classes, 1, device=first_wins.device)
    r = first_wins.new_zeros(len(first_wins), n_classes, n_classes)
    r[:, first, second], r[:, second, first] = first_wins, 1 - first_wins
    q = torch.diag_embed(r.square().sum(1)) - r * r.mT
    p = torch.full_like(r[:, 0], 1 / n_classes)
    for _ in range(COUPLING_SWEEPS):
        gradient = (q @ p[..., None])[..., 0]
        error = (gradient - (p * gradient).sum(1, keepdim=True)).abs().amax(1, keepdim=True)
        if (error < COUPLING_ERROR / n_classes).all():
            break
        p = torch.where(error < COUPLING_ERROR / n_classes, p, _sweep(p, q))
    return p


def _sweep(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Returns p after one exact step along each class in turn, renormalised after each (multiclass_probability)."""
    for k in range(p.shape[1]):
        gradient = (q @ p[..., None])[..., 0]
        step = ((p * gradient).sum(1) - gradient[:, k]) / q[:, k, k]
        p = (p + step[:, None] * torch.eye(p.shape[1], dtype=p.dtype, device=p.device)[k]) / (1 + step)[:, None]
    return p


def parse_libsvm_classifier(struct: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the arrays of a libsvm classifier with probabilities as MATLAB's ``svmtrain`` returns it.

    Args:
        struct: a 1 x 1 structure as ``scipy.io.loadmat`` reads it.

    Returns:
        ``support_vectors`` (S, D), ``gamma``, and for each pair of classes a column of ``coefficients`` (S, pairs) and
        an entry of ``bias``, ``sigmoid_slope`` and ``sigmoid_offset`` (pairs,).
    """
    fields, arrays = parse_radial_struct(struct, (C_SVC,))
    labels = fields["Label"].ravel().tolist()
    if labels != sorted(labels) or not fields["ProbA"].size:
        raise ValueError("Expected a classifier with ascending labels, trained with probabilities (-b 1), got the "
                         f"labels {labels} and {fields['ProbA'].size} entries in ProbA.")
    owner = np.repeat(np.arange(len(labels)), fields["nSV"].ravel().astype(int))  # class of each support vector
    # A support vector has one coefficient for each other class; its own class is skipped in the count.
    columns = [np.where(owner == i, fields["sv_coef"][:, j - 1], np.where(owner == j, fields["sv_coef"][:, i], 0))
               for i, j in zip(*np.triu_indices(len(labels), 1), strict=True)]
    return arrays | {"coefficients": np.stack(columns, 1), "bias": -fields["rho"].ravel(),
                     "sigmoid_slope": fields["ProbA"].ravel(), "sigmoid_offset": fields["ProbB"].ravel()}


def load_diivine_parameters(path: Path) -> dict[str, np.ndarray]:
    """Returns what the authors' .mat file holds: ``model_class``, ``model_reg`` and the scaling ``a_*``, ``b_*``."""
    arrays = loadmat(path)
    missing = {"model_class", "model_reg", "a_class", "b_class", "a_reg", "b_reg"} - arrays.keys()
    if missing:
        raise ValueError(f"Expected the parameters of DIIVINE, got {path.name} without {', '.join(sorted(missing))}.")
    return arrays


@torch.no_grad()
def diivine_features(image: torch.Tensor, *, columns: tuple[int, ...] = COLUMNS) -> torch.Tensor:
    """Returns the 88 features in the release's order, float64 (N, 88), without a gradient: some count samples in bins.

    Args:
        image: as :meth:`DIIVINE.forward`.
        columns: as :class:`DIIVINE`.

    Returns:
        Variances of the 12 bands, fine to coarse (columns 0-11), their shapes (12-23), shapes of both scales of an
        orientation (24-29) and of all (30), structure terms with the high-pass band (31-42), five numbers of the
        spatial correlation of each finest band (43-72), structure terms of pairs of finest bands (73-87).
    """
    check_images(image, minimum_side=MINIMUM_SIDE)
    return torch.cat([_features(part, columns) for (part,) in few_at_a_time(image)])


def _features(image: torch.Tensor, columns: tuple[int, ...]) -> torch.Tensor:
    """Returns the features of a few images."""
    highpass, (fine, coarse), normalised = normalised_subbands(255 * rgb_to_luma_matlab(image.double()), columns)
    samples = [maps.flatten(2) for maps in normalised]
    shapes, variances = (torch.cat(parts, 1) for parts in zip(*map(fit_ggd, samples), strict=True))
    both = torch.cat(samples, 2)
    pooled_shapes = torch.cat((fit_ggd(both)[0], fit_ggd(both.flatten(1))[0][:, None]), 1)
    maps = torch.cat((highpass, fine, resize(coarse, size=tuple(highpass.shape[2:]))), 1)
    number = torch.arange(1, maps.shape[1], device=maps.device)
    across_scales = contrast_structure(maps, torch.zeros_like(number), number)
    pairs = torch.triu_indices(N_ORIENTATIONS, N_ORIENTATIONS, 1, device=maps.device)
    across_orientations = contrast_structure(normalised[0], *pairs)
    correlation = spatial_correlation(normalised[0]).flatten(1)
    return torch.cat((variances, shapes, pooled_shapes, across_scales, correlation, across_orientations), 1)
