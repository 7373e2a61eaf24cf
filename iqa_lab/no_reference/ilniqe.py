"""IL-NIQE: NIQE with features of colour, gradients and log-Gabor responses, and a distance for each block.

Paper: L. Zhang, L. Zhang, A. C. Bovik, "A feature-enriched completely blind image quality evaluator", IEEE Transactions
    on Image Processing 24(8), 2015, doi:10.1109/TIP.2015.2426416.
Reference: the authors' MATLAB release (computequality.m, computefeature.m, training.m, templateModel.mat).
Deviations: (1) Images are rounded to 8 bits, as the release reads them; gradients pass that unchanged. (2) MSCN
    coefficients, derivatives and filter responses within 1e-9 of 0 are 0; in flat regions the release counts the signs
    of rounding errors (seen: 2e-4 of a score). A block in which some fit has an empty side then takes the mean of the
    others, as a block with a NaN does in the release; where no block is left, the release's constant 2000 stands for
    mean and covariance, so that a flat image gets about sqrt(4000) = 63.2 from any model. (3) Weibull fits are exact;
    the release's stop within 1e-6 (5e-6 of a score). (4) A linear solve stands for the pseudo-inverse. (5) A gray
    image counts as R = G = B; the release takes colour only.
Chapter: 11
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.io import loadmat
from torch import nn

from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.no_reference.ilniqe_channels import (
    downsample,
    gaussian_colour,
    gaussian_derivatives,
    log_gabor_responses,
    logarithmic_opponent,
    resize_as_bytes,
)
from iqa_lab.no_reference.niqe import patch_statistics
from iqa_lab.ops.blocks import to_blocks
from iqa_lab.ops.elementwise import safe_sqrt
from iqa_lab.ops.statistics import fit_aggd, mscn, neighbour_products
from iqa_lab.ops.weibull import fit_weibull

P = 84  # blocksizerow: side of a block in pixels at the first scale
WINDOW, SIGMA = 5, 5 / 6  # window: the Gaussian of the MSCN coefficients
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))  # rows, columns: shifts in computefeature.m
EPS = 2.0**-52  # eps: keeps the logarithm of a gradient magnitude defined
INFINITE, UNDEFINED = 1e4, 2e3  # infConst, nanConst
SHARPNESS_THRESHOLD = 0.78  # sh_th: share of the sharpest block that a training block must exceed
RESERVED_RATIO = 0.92  # reservedRatio: share of the axes, in number, that the PCA keeps


class ILNIQE(nn.Module):
    """Mean distance of an image's blocks from a model of pristine photos; lower is better, good photos get about 20.

    Args:
        parameters: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`: ``"ilniqe_pristine"`` (24 Kodak photos,
            shipped) or ``"ilniqe_authors"`` (the authors' template); or a file of either form.

    Raises:
        FileNotFoundError: the parameter file is absent; the message says where it comes from.
    """

    def __init__(self, *, parameters: str | Path = "ilniqe_pristine") -> None:
        super().__init__()
        path = find_weights(parameters)
        for name, array in load_ilniqe_parameters(path).items():
            self.register_buffer(name, torch.from_numpy(array))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the mean over the blocks of sqrt((d - nu)^T ((Sigma + Sigma') / 2)^-1 (d - nu)), shape (N,), >= 0.

        d are the features of a block along the model's axes, nu and Sigma mean and covariance of the model, Sigma' is
        the covariance of the image's blocks.

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 84 pixels. It is resized to 524 x 524.
        """
        features, complete, _ = ilniqe_features(image)
        return self.distance(features, complete).to(image.dtype)

    def distance(self, features: torch.Tensor, complete: torch.Tensor) -> torch.Tensor:
        """Returns the score, float64 (N,).

        Args:
            features: shape (N, blocks, 468).
            complete: bool (N, blocks): whether no feature of the block is undefined.
        """
        x = (features - self.centre) @ self.basis
        weight = complete.to(x.dtype)[..., None]
        n = weight.sum(1, keepdim=True)
        mean = torch.where(n > 0, (x * weight).sum(1, keepdim=True) / n.clamp_min(1), UNDEFINED)
        centred = (x - mean) * weight
        covariance = torch.where(n > 0, centred.mT @ centred / (n - 1).clamp_min(1), UNDEFINED)
        difference = torch.where(complete[..., None], x, mean) - self.mean
        solution = torch.linalg.solve((self.covariance + covariance) / 2, difference.mT).mT
        return safe_sqrt((difference * solution).sum(-1)).mean(-1)


def ilniqe_features(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the features of each of the 36 blocks, whether all of them are defined, and the block's sharpness.

    Args:
        image: as :meth:`ILNIQE.forward`.

    Returns:
        As :func:`block_features`.
    """
    check_images(image, minimum_side=P)
    return block_features(resize_as_bytes(image))


def block_features(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the 468 features of each block, 234 a scale, in the release's order.

    Args:
        pixels: shape (N, C, H, W), values 0..255 in float64; what lies beyond the last whole block is not looked at.

    Returns:
        float64 (N, blocks, 468), bool (N, blocks), and mean sigma of the first scale, (N, blocks).
    """
    parts = zip(*(_features(part) for (part,) in few_at_a_time(pixels)), strict=True)
    return tuple(torch.cat(values) for values in parts)


def load_ilniqe_parameters(path: Path) -> dict[str, np.ndarray]:
    """Returns centre (468,), basis (468, D), and mean (D,), covariance (D, D) of the model along the basis.

    Args:
        path: this project's .npz, whose model is its own principal axes (mean 0, diagonal covariance), or the authors'
            templateModel.mat.
    """
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {"mean": np.zeros_like(arrays["variance"]), "covariance": np.diag(arrays["variance"]),
                    "centre": arrays["centre"], "basis": arrays["basis"]}
    mean, covariance, centre, basis = loadmat(path)["templateModel"][0]
    return {"mean": mean.ravel(), "covariance": covariance, "centre": centre.ravel(), "basis": basis}


def _features(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns what :func:`block_features` documents, of a few images."""
    height, width = (side - side % P for side in pixels.shape[2:])
    pixels = pixels[..., :height, :width]
    first, complete, sharpness = _scale_features(pixels, 1)
    second, complete_too, _ = _scale_features(downsample(pixels), 2)
    return torch.cat((first, second), -1), complete & complete_too, sharpness


def _scale_features(rgb: torch.Tensor, scale: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the 234 features of each block at one scale, whether all are defined, and the block's mean sigma."""
    side = P // scale
    opponent = gaussian_colour(rgb)
    coefficients, sigma = mscn(opponent[:, 2:], "replicate", window=WINDOW, width=SIGMA)
    own, own_defined = _mscn_features(_blocks(coefficients, side))
    colour = _blocks(logarithmic_opponent(rgb), side).flatten(-2)
    partials, magnitudes, partials_defined = _derivative_features(opponent, scale)
    responses = [_response_features(maps, scale) for maps in log_gabor_responses(opponent[:, 2:], scale)]
    amplitudes, all_partials, all_magnitudes, defined = zip(*responses, strict=True)
    features = torch.cat((own, magnitudes, _interleave(colour.mean(-1), colour.var(-1)), partials,
                          *amplitudes, *all_partials, *all_magnitudes), -1)
    complete = torch.stack((own_defined, partials_defined, *defined)).all(0)
    return features, complete, _blocks(sigma, side).mean((-3, -2, -1))


def _response_features(maps: torch.Tensor, scale: int) -> tuple[torch.Tensor, ...]:
    """Returns the features of both parts of a response, of their derivatives and magnitudes, and whether defined."""
    amplitudes, defined = _aggd_features(_blocks(maps, P // scale))
    partials, magnitudes, partials_defined = _derivative_features(maps, scale)
    return amplitudes, partials, magnitudes, defined & partials_defined


def _derivative_features(maps: torch.Tensor, scale: int) -> tuple[torch.Tensor, ...]:
    """Returns the features of both derivatives of each map and of their magnitude, and whether they are defined."""
    horizontal, vertical = gaussian_derivatives(maps, scale)
    partials, defined = _aggd_features(_blocks(torch.stack((horizontal, vertical), 2).flatten(1, 2), P // scale))
    magnitude = (horizontal.square() + vertical.square() + EPS**2).sqrt()  # sqrt(.) + eps, with a gradient at 0
    weibull = _interleave(*fit_weibull(_blocks(magnitude, P // scale).flatten(-2)))
    return partials, torch.where(weibull.isinf(), INFINITE, weibull), defined


def _mscn_features(blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the 18 features that NIQE has, of blocks (N, blocks, 1, side, side), and whether they are defined."""
    products = neighbour_products(blocks[:, :, 0], SHIFTS)  # shifted inside the block
    fit = fit_aggd(torch.cat((blocks, products), 2).flatten(-2))
    return patch_statistics(fit), fit.has_both_sides().all(-1)


def _aggd_features(blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns shape and mean width of each map in each block, (N, blocks, 2 K), and whether they are defined."""
    fit = fit_aggd(blocks.flatten(-2))
    left, right = fit.widths()
    return _interleave(fit.alpha, (left + right) / 2), fit.has_both_sides().all(-1)


def _interleave(*values: torch.Tensor) -> torch.Tensor:
    """Returns V tensors (N, blocks, K) as (N, blocks, K V), all values of a map side by side."""
    return torch.stack(values, -1).flatten(2)


def _blocks(maps: torch.Tensor, side: int) -> torch.Tensor:
    """Returns maps (N, K, H, W) cut into blocks, (N, blocks, K, side, side)."""
    n, k = maps.shape[:2]
    return to_blocks(maps.flatten(0, 1)[:, None], side).reshape(n, k, -1, side, side).transpose(1, 2)
