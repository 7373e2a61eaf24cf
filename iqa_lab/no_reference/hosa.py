"""HOSA: high order statistics aggregation, how the patches near each codeword differ from it in three moments.

Paper: J. Xu, P. Ye, Q. Li, H. Du, Y. Liu, D. Doermann, "Blind image quality assessment based on high order statistics
    aggregation", IEEE Transactions on Image Processing 25(9), 2016, doi:10.1109/TIP.2016.2585880.
Reference: the authors' MATLAB release (hosa_feature_extraction.m, compute_patches.m), whose constants these are; run
    with our codebooks it gives our features.
Deviations: (1) The codebook that ships is not the authors' (see codebooks.py), and the regressor was trained by this
    project on LIVE in the Wild: scores are not the release's. (2) Moments are made of weighted sums of powers.
    Kept from the release: a codeword with one patch has its mean difference multiplied by the weight of this patch's
    fifth nearest codeword, whichever this codeword is (an index left over from a loop); a codeword without patches, and
    the variance and skewness of equal patches (all of a flat image), have differences of 0.
Chapter: 13
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import nn

from iqa_lab.images import check_images
from iqa_lab.no_reference.codebooks import (
    PATCHES_AT_ONCE,
    SIDE,
    Codebook,
    load_codebook,
    load_fitting_regressor,
    take_patches,
)
from iqa_lab.ops.color import rgb_to_luma_matlab
from iqa_lab.ops.elementwise import safe_power, safe_sqrt

N_PATCHES = 10000  # of the regular grid, about
BORDER = 2  # pixels left out on each side
GAMMA = 0.05  # gamma in the authors' code: of the kernel exp(-gamma d^2)
R = 5  # r in the authors' code: nearest codewords of a patch
SPREAD_GUARD = 1e-8  # patches of a smaller total variance count as equal: no variance and skewness difference
SKEWNESS_GUARD = 1e-4  # added to sigma^3
POWER = 0.2  # power in the authors' example.m
MINIMUM_SIDE = SIDE + 2 * BORDER


class HOSA(nn.Module):
    """Quality from 147 statistics per codeword by linear support vector regression; lower is better.

    Args:
        parameters: of the regressor, a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS` or the path of an .npz file.
        codebook: a name in ``WEIGHTS``, or the path of a codebook of this project (.npz) or of the authors (.mat).

    Raises:
        FileNotFoundError: a file is absent; the message says where it comes from.
        ValueError: a codebook without variance and skewness, or a regressor of another number of features.
    """

    def __init__(self, *, parameters: str | Path = "hosa_livec", codebook: str | Path = "hosa_codebook") -> None:
        super().__init__()
        self.codebook = load_codebook(codebook)
        check_moments(self.codebook)
        self.regressor = load_fitting_regressor(parameters, 3 * self.codebook.codewords.numel())

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the regressed score of each image, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 11 pixels.
        """
        return self.regressor(self.features(image)).to(image.dtype)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Returns :func:`hosa_features` with this codebook, which the regressor takes."""
        return hosa_features(image, self.codebook)


def hosa_features(image: torch.Tensor, codebook: Codebook) -> torch.Tensor:
    """Returns the differences of mean, variance, skewness, to the power 0.2, of unit length, float64 (N, 3 * 49 * K).

    Args:
        image: as :meth:`HOSA.forward`.
        codebook: with variance and skewness, for patches read row by row.
    """
    check_images(image, minimum_side=MINIMUM_SIDE)
    check_moments(codebook)
    rows, columns = grid(*image.shape[2:], image.device)
    parts = image.split(max(1, PATCHES_AT_ONCE // (len(rows) * len(columns))))
    return torch.cat([_features(part, rows, columns, codebook) for part in parts])


def check_moments(codebook: Codebook) -> None:
    """Raises ValueError when the codebook is one of CORNIA."""
    if not codebook.has_moments:
        raise ValueError("Expected a codebook with variance and skewness, got one of codewords alone; "
                         "HOSA needs its own, such as hosa_codebook.")


def grid(height: int, width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns rows and columns of the upper left corners of the patches, floor(sqrt(H W / 10000)) pixels apart."""
    step = max(1, math.floor(math.sqrt(height * width / N_PATCHES)))
    return tuple(torch.arange(BORDER, side - BORDER - SIDE + 1, step, device=device) for side in (height, width))


def aggregate(patches: torch.Tensor, codebook: Codebook) -> torch.Tensor:
    """Returns the differences of mean, variance and skewness from each codeword's, shape (N, 3, K, 49).

    Args:
        patches: whitened, shape (N, P, 49).
        codebook: with variance and skewness.
    """
    weights, fifth = soft_assignment(patches, codebook.codewords)
    member = (weights > 0).to(weights)  # N, P, K
    n = member.sum(1)[..., None]  # N, K, 1
    share = weights / weights.sum(1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    powers = torch.cat((patches, patches**2, patches**3), -1)
    mean, second, third = (share.mT @ powers).split(SIDE**2, -1)
    variance = second - mean**2
    skewness = (third - 3 * mean * second + 2 * mean**3) / (variance * safe_sqrt(variance) + SKEWNESS_GUARD)
    factor = torch.where(n == 1, (fifth @ member).mT, n > 0)  # the release's index, see the file head
    spread = total_variance(patches, member, n) > SPREAD_GUARD
    return torch.stack((factor * (mean - codebook.codewords), spread * (variance - codebook.variance),
                        spread * (skewness - codebook.skewness)), 1)


def soft_assignment(patches: torch.Tensor, codewords: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the weights of the patches for the codewords, 0 but for the five nearest, and those of the fifth nearest.

    Args:
        patches: shape (N, P, 49).
        codewords: shape (K, 49).

    Returns:
        Shapes (N, P, K), whose sum over K is 1, and (N, 1, P).
    """
    distance = patches.square().sum(-1, keepdim=True) - 2 * patches @ codewords.T + codewords.square().sum(-1)
    nearest, index = distance.topk(R, largest=False)
    weights = torch.softmax(-GAMMA * nearest, -1)
    return torch.zeros_like(distance).scatter(-1, index, weights), weights[..., None, :, -1]


def total_variance(patches: torch.Tensor, member: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    """Returns the variance (divisor n - 1) of each codeword's patches, summed over the dimensions, shape (N, K, 1).

    Args:
        patches: shape (N, P, 49).
        member: 1 for a codeword's patches, else 0, shape (N, P, K).
        n: how many they are, shape (N, K, 1).
    """
    total, squares = member.mT @ patches, member.mT @ patches.square().sum(-1, keepdim=True)
    return (squares - total.square().sum(-1, keepdim=True) / n.clamp_min(1)) / (n - 1).clamp_min(1)


def _features(image: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, codebook: Codebook) -> torch.Tensor:
    """Returns the features of a few images, (N, 3 * K * 49)."""
    patches = take_patches(255 * rgb_to_luma_matlab(image.double()), rows, columns).flatten(-2)  # row by row
    differences = aggregate(codebook.whiten(patches), codebook).flatten(1)
    features = differences.sign() * safe_power(differences.abs(), POWER)
    return features / safe_sqrt(features.square().sum(1, keepdim=True))
