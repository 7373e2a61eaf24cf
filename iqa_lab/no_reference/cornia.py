"""CORNIA: the codebook representation for no-reference image assessment, the strongest response to each codeword.

Paper: P. Ye, J. Kumar, L. Kang, D. Doermann, "Unsupervised feature learning framework for no-reference image quality
    assessment", CVPR 2012, doi:10.1109/CVPR.2012.6247789.
Reference: the authors' MATLAB release (CORNIA_Fv.m, encoder 'soft'), whose constants these are; run with our codebooks
    on all patches of a small image it gives our features.
Deviations: (1) The codebook that ships is not the authors' (see codebooks.py), and the regressor was trained by this
    project on LIVE in the Wild: scores are not the release's. (2) The release draws 10,000 patches at random, new ones
    at each call; here they lie on a regular grid, so that an image has one score. On photographs such features differ
    from those of a random draw as much as two draws differ, without bias; over draws, a score of 0 to 100 has a
    standard deviation of 1. (3) Which patch responds most is searched in float32, its response computed in float64.
    (4) Of an image with one patch the release returns the maximum over the codewords, by an accident of MATLAB's max.
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

N_PATCHES = 10000  # numPatch in the authors' code
ROWS_AT_ONCE = 128  # patches multiplied with all codewords at once on a CPU: 5 MB of responses stay in the cache


class CORNIA(nn.Module):
    """Quality from two responses per codeword by linear support vector regression; lower is better.

    Args:
        parameters: of the regressor, a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS` or the path of an .npz file.
        codebook: a name in ``WEIGHTS``, or the path of a codebook of this project (.npz) or of the authors (.mat).
        n_patches: at most so many patches are looked at. Features are maxima and grow with this number (with a quarter
            as many a score is worse by 10), so that a regressor holds for the number it was trained with, and images
            of fewer than 10,000 patches (106 x 106 pixels) score worse than larger ones.

    Raises:
        FileNotFoundError: a file is absent; the message says where it comes from.
        ValueError: a regressor of another number of features.
    """

    def __init__(self, *, parameters: str | Path = "cornia_livec", codebook: str | Path = "cornia_codebook",
                 n_patches: int = N_PATCHES) -> None:
        super().__init__()
        self.codebook, self.n_patches = load_codebook(codebook), n_patches
        self.regressor = load_fitting_regressor(parameters, 2 * len(self.codebook.codewords))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the regressed score of each image, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 7 pixels.
        """
        return self.regressor(self.features(image)).to(image.dtype)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Returns :func:`cornia_features` with this codebook, which the regressor takes."""
        return cornia_features(image, self.codebook, n_patches=self.n_patches)


def cornia_features(image: torch.Tensor, codebook: Codebook, *, n_patches: int = N_PATCHES) -> torch.Tensor:
    """Returns the largest max(z, 0) and the largest max(-z, 0) over the patches for each codeword, float64 (N, 2 K).

    z is the inner product of whitened patch and codeword of unit length.

    Args:
        image: as :meth:`CORNIA.forward`.
        codebook: for patches read column by column.
        n_patches: at most so many patches are looked at.
    """
    check_images(image, minimum_side=SIDE)
    rows, columns = even_grid(*image.shape[2:], n_patches, image.device)
    codewords = nn.functional.normalize(codebook.codewords, eps=1e-20)
    parts = image.split(max(1, PATCHES_AT_ONCE // (len(rows) * len(columns))))
    return torch.cat([_features(part, rows, columns, codebook, codewords) for part in parts])


def even_grid(height: int, width: int, n_patches: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns rows and columns of the upper left corners of at most ``n_patches`` patches, evenly spaced.

    The spacing is about the same in both directions and seldom a whole number, so that all phases of the 8 x 8 blocks
    of JPEG occur.
    """
    sides = height - SIDE + 1, width - SIDE + 1
    shrink = min(1.0, math.sqrt(n_patches / (sides[0] * sides[1])))
    n_rows = min(n_patches, max(1, math.floor(sides[0] * shrink + 0.5)))
    numbers = n_rows, min(sides[1], n_patches // n_rows)
    return tuple((2 * torch.arange(number, device=device) + 1) * side // (2 * number)
                 for side, number in zip(sides, numbers, strict=True))


def strongest_patches(patches: torch.Tensor, codewords: torch.Tensor) -> torch.Tensor:
    """Returns which patch has the largest and which the smallest inner product with each codeword, int64 (N, 2 K).

    Args:
        patches: float32, shape (N, P, 49).
        codewords: float32, shape (K, 49).
    """
    best, index, start = None, None, 0
    rows = ROWS_AT_ONCE if patches.device.type == "cpu" else PATCHES_AT_ONCE  # 0.7 GB of responses to 10,000 codewords
    for some in patches.split(max(1, rows // len(patches)), 1):
        responses = some @ codewords.T  # N, some, K
        (high, highest), (low, lowest) = responses.max(1), responses.min(1)
        found, where = torch.cat((high, -low), 1), torch.cat((highest, lowest), 1) + start
        if best is None:
            best, index = found, where
        index, best = torch.where(found > best, where, index), torch.maximum(found, best)
        start += some.shape[1]
    return index


def encode(patches: torch.Tensor, codewords: torch.Tensor) -> torch.Tensor:
    """Returns the strongest positive and the strongest negative response to each codeword, both >= 0, shape (N, 2 K).

    Args:
        patches: whitened, shape (N, P, 49).
        codewords: of unit length, shape (K, 49).
    """
    with torch.no_grad():
        index = strongest_patches(patches.float(), codewords.float())
    chosen = patches.gather(1, index[..., None].expand(-1, -1, patches.shape[-1]))
    return (chosen * torch.cat((codewords, -codewords))).sum(-1).clamp_min(0)


def _features(image: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, codebook: Codebook,
              codewords: torch.Tensor) -> torch.Tensor:
    """Returns the features of a few images, (N, 2 K)."""
    patches = take_patches(255 * rgb_to_luma_matlab(image.double()), rows, columns).mT.flatten(-2)  # column by column
    return encode(codebook.whiten(patches), codewords)
