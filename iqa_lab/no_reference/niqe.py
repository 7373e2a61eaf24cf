"""NIQE: the natural image quality evaluator, the distance of an image's statistics from those of pristine photos.

Paper: A. Mittal, R. Soundararajan, A. C. Bovik, "Making a 'completely blind' image quality analyzer", IEEE Signal
    Processing Letters 20(3), 2013, doi:10.1109/LSP.2012.2227726.
Reference: the authors' MATLAB release (computequality.m, computefeature.m, estimatemodelparam.m), version 1.0.
Deviations: (1) MSCN coefficients within 1e-9 of 0 are 0. In flat regions the release counts the signs of rounding
    errors; its published values on images with such regions are met within 0.6 %, all others to the printed digits.
    (Octave gives 7.86 on the release's image3, sums in another order 7.68 to 7.98, this rule 7.63.)
    (2) A block in which some fit has an empty side is left out of mean and covariance (the release leaves it out of the
    covariance, and of the mean where the feature is NaN); an image of such blocks alone keeps them all, so that a flat
    image gets a large finite score. (3) One block has the covariance 0, as MATLAB's cov of one row.
    (4) (Sigma_p + Sigma_d) / 2 is positive definite, so a linear solve stands for the pseudo-inverse.
Chapter: 03
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.io import loadmat
from torch import nn

from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import check_images
from iqa_lab.ops.color import rgb_to_luma_matlab
from iqa_lab.ops.elementwise import safe_sqrt
from iqa_lab.ops.resize import resize
from iqa_lab.ops.side_sums import neighbour_sums, side_sums
from iqa_lab.ops.statistics import AGGD, WINDOW, aggd_of_sums, gamma_ratio, mscn
from iqa_lab.ops.strips import Strip, few_images, map_strips, pixels_at_once, row_strips

P = 96  # Section II-B: patch size in pixels at the first scale
SHARPNESS_THRESHOLD = 0.75  # T, Section II-B: share of the sharpest patch that a training patch must reach
MARGIN = WINDOW // 2


class NIQE(nn.Module):
    """Distance between the statistics of an image and the pristine model; lower is better, natural photos get 2 to 5.

    Args:
        parameters: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`: ``"niqe_pristine"`` (24 Kodak photos, shipped)
            or ``"niqe_live"`` (the authors' 125 photos).

    Raises:
        FileNotFoundError: the parameter file is absent; the message says where it comes from.
    """

    def __init__(self, *, parameters: str = "niqe_pristine") -> None:
        super().__init__()
        mean, covariance = load_niqe_parameters(find_weights(parameters))
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("covariance", torch.from_numpy(covariance))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns eq. (10), sqrt((nu_p - nu_d)^T ((Sigma_p + Sigma_d) / 2)^-1 (nu_p - nu_d)), shape (N,), >= 0.

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 96 pixels; rows and columns beyond the
                last whole 96 x 96 patch are not looked at.
        """
        features, complete, _ = niqe_features(image)
        mean, covariance = weighted_mean_and_covariance(features, complete)
        difference = self.mean - mean
        solution = torch.linalg.solve((self.covariance + covariance) / 2, difference)
        return safe_sqrt((difference * solution).sum(-1)).to(image.dtype)


def niqe_features(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the 36 features of each patch, whether all its fits had samples on both sides, and its sharpness.

    Args:
        image: as :meth:`NIQE.forward`.

    Returns:
        float64 (N, patches, 36), bool (N, patches), and mean sigma of the first scale (N, patches), eq. (11).
    """
    check_images(image, minimum_side=P)
    sharpness, sums = torch.cat([_sums(part) for part in few_images(image)]).split((1, 30), -1)
    fit = aggd_of_sums(sums.unflatten(-1, (5, 6)))  # N, patches, scales, 5
    return patch_statistics(fit).flatten(2), fit.has_both_sides().flatten(2).all(-1), sharpness[..., 0, 0]


def patch_statistics(fit: AGGD) -> torch.Tensor:
    """Returns the 18 features of one scale, shape (..., 18).

    Args:
        fit: of a patch's coefficients and their four products, shape (..., 5).
    """
    left, right = fit.widths()
    eta = (right - left) * gamma_ratio(2 / fit.alpha, 1 / fit.alpha)  # eq. (8), the mean
    own = torch.stack((fit.alpha[..., 0], (left + right)[..., 0] / 2), -1)
    paired = torch.stack((fit.alpha, eta, left, right), -1)[..., 1:, :].flatten(-2)
    return torch.cat((own, paired), -1)


def weighted_mean_and_covariance(features: torch.Tensor, keep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns mean (N, 36) and covariance (N, 36, 36; divisor n - 1) over the patches to keep, all if none is.

    Args:
        features: shape (N, patches, 36).
        keep: bool (N, patches).
    """
    weight = (keep | ~keep.any(1, keepdim=True)).to(features.dtype)[..., None]
    n = weight.sum(1)
    mean = (features * weight).sum(1) / n
    centred = (features - mean[:, None]) * weight
    return mean, centred.mT @ centred / (n - 1).clamp_min(1)[..., None]


def load_niqe_parameters(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean (36,) and covariance (36, 36) from this project's .npz or the authors' modelparameters.mat."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["mean"], arrays["covariance"]
    arrays = loadmat(path)
    return arrays["mu_prisparam"].astype(np.float64).ravel(), arrays["cov_prisparam"].astype(np.float64)


def _sums(image: torch.Tensor) -> torch.Tensor:
    """Returns mean sigma and the sums behind the features of the patches of a few images, (N, patches, scales, 31)."""
    height, width = (side - side % P for side in image.shape[2:])
    image = image[..., :height, :width]
    full, halves = map_strips(_sums_and_half, image, row_strips(image, MARGIN, P))
    x = torch.cat(halves, 2)
    half, = map_strips(partial(_strip_sums, side=P // 2), x, row_strips(x, MARGIN, P // 2))
    return torch.stack((torch.cat(full, 1), torch.cat(half, 1)), 2)


def _sums_and_half(image: torch.Tensor, strip: Strip) -> tuple[torch.Tensor, ...]:
    gray = rgb_to_luma_matlab(image.double())
    return *_strip_sums(gray, strip, P), resize(gray, 0.5)[:, :, strip.half]


def _strip_sums(gray: torch.Tensor, strip: Strip, side: int) -> tuple[torch.Tensor, ...]:
    """Returns mean sigma and sums of each patch of a strip, (N, patches, 31); wide strips in pieces."""
    x = F.pad(255 * gray, strip.padding, mode="replicate")
    rows = x.shape[2] - 2 * MARGIN  # one row of patches if they are wider than fits
    columns = side * max(1, pixels_at_once(x) // (x.shape[0] * rows * side))
    pieces = [x[..., left:left + columns + 2 * MARGIN] for left in range(0, gray.shape[3], columns)]
    return (torch.cat([_patch_sums(piece, side) for piece in pieces], 1),)


def _patch_sums(x: torch.Tensor, side: int) -> torch.Tensor:
    coefficients, sigma = (_patches(maps, side) for maps in mscn(x, "valid"))
    coefficients = torch.cat((coefficients[..., -1:, :], coefficients), -2)  # neighbours wrap around inside the patch
    own, products = side_sums(coefficients[..., 1:, :].flatten(-2)), neighbour_sums(coefficients)
    return torch.cat((sigma.mean((-2, -1))[..., None], own, products.flatten(-2)), -1)


def _patches(x: torch.Tensor, side: int) -> torch.Tensor:
    """Returns (N, 1, H, W) cut into (N, patches, side, side)."""
    return x.unflatten(3, (-1, side)).unflatten(2, (-1, side)).squeeze(1).transpose(2, 3).flatten(1, 2)
