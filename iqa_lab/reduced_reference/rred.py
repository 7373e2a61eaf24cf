"""RRED: reduced-reference entropic differencing, between all and one of a subband's scaled local entropies.

Paper: R. Soundararajan, A. C. Bovik, "RRED indices: reduced reference entropic differencing for image quality
    assessment", IEEE Transactions on Image Processing 21(2), 2012.
Reference: the authors' video release STRRED (extract_info.m, est_params.m), whose spatial half is RRED on the vertical
    band of the coarsest level, number 4 of its list: the paper's RRED_M^N takes N numbers of band M. Only the full
    form (``cell=1``) and the single number (``cell=None``) are in that release.
Deviations: (1) As in :mod:`iqa_lab.full_reference.vif`, the covariance of a subband gets a ridge of 1e-12 of its trace,
    and a subband that varies by less than 3e-4 gray levels is flat: all its entropies weigh 0. (2) A cell that the
    border cuts off averages the blocks that it has, and counts like a whole one.
    Colour is converted as in :mod:`iqa_lab.full_reference.ssim`.
Chapter: 09
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from iqa_lab.full_reference.vif import FILTERS, LEVELS, MINIMUM_SIDE, L, M, gsm_parameters
from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.ops.color import Luma, rgb_to_luma_matlab
from iqa_lab.ops.pyramids import lowpass_images, oriented_bands

ORIENTATION = 3  # extract_info.m: "vertically oriented", band 4 of the list from coarse to fine, here counted from 0
SIGMA_N2 = 0.1  # extract_info.m: sigma_nsq, the variance of the visual noise


def coarsest_band(gray: torch.Tensor) -> torch.Tensor:
    """Returns the vertical band of the coarsest level of the steerable pyramid, (N, 1, ceil(H / 8), ceil(W / 8)).

    Args:
        gray: images (N, 1, H, W) on 0..255.
    """
    return oriented_bands(lowpass_images(gray, LEVELS, FILTERS)[-1], FILTERS, (ORIENTATION,))


def scaled_entropies(band: torch.Tensor) -> torch.Tensor:
    """Returns gamma h for each M x M block: its entropy h in visual noise, weighted by its local variance.

    The release adds natural logarithms, ln(2 pi e), to binary ones, which the score inherits.

    Args:
        band: subband (N, 1, H, W).

    Returns:
        Shape (N, 1, H // 3, W // 3), float64.
    """
    s_squared, eigenvalues = gsm_parameters(band)
    variances = s_squared[..., None] * eigenvalues[..., None, None, :] + SIGMA_N2
    entropy = (variances.log2() + math.log(2 * math.pi * math.e)).sum(-1)
    return entropy * s_squared.log1p() / math.log(2)


def rred_features(image: torch.Tensor, *, cell: int | None = 1, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns what the sender transmits of a reference, and what the receiver computes of the image that arrived.

    Args:
        image: shape (N, C, H, W), values in [0, 1], sides of 72 pixels or more.
        cell: entropies are averaged over cells of cell x cell blocks; 1 keeps them all, None averages all of them.
        luma: gray conversion, as in :func:`iqa_lab.full_reference.ssim.ssim`.

    Returns:
        float64 (N, K) with K = :func:`reference_numbers`.

    Raises:
        TypeError, ValueError: as :func:`iqa_lab.images.check_images`.
    """
    check_images(image, minimum_side=MINIMUM_SIDE)
    # In double precision throughout: the differences that matter are up to 1e5 times smaller than the entropies.
    parts = few_at_a_time(image)
    entropies = torch.cat([scaled_entropies(coarsest_band(L * luma(part.double()))) for part, in parts])
    size = entropies.shape[2:] if cell is None else cell
    return F.avg_pool2d(entropies, size, ceil_mode=True).flatten(1)


def rred_distance(distorted_features: torch.Tensor, reference_features: torch.Tensor) -> torch.Tensor:
    """Returns the mean absolute difference of two images' features (N, K), shape (N,)."""
    return (distorted_features - reference_features).abs().mean(1)


def rred(distorted: torch.Tensor, reference: torch.Tensor, *, cell: int | None = 1,
         luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns RRED: the mean absolute difference of scaled entropies of reference and distorted image.

    Args:
        distorted, reference: shape (N, C, H, W), values in [0, 1], sides of 72 pixels or more.
        cell, luma: as :func:`rred_features`. ``cell=1`` is the paper's full form, ``cell=None`` its single number.

    Returns:
        Shape (N,), >= 0, 0 for identical images; lower is better.

    Raises:
        TypeError, ValueError: as :func:`iqa_lab.images.check_images`.
    """
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
    features = (rred_features(image, cell=cell, luma=luma) for image in (distorted, reference))
    return rred_distance(*features).to(distorted.dtype)


def reference_numbers(height: int, width: int, *, cell: int | None = 1) -> int:
    """Returns how many numbers of a reference of this size RRED needs.

    >>> reference_numbers(384, 512), reference_numbers(384, 512, cell=4), reference_numbers(384, 512, cell=None)
    (336, 24, 1)
    """
    if cell is None:
        return 1
    rows, columns = (-(-side // 2 ** (LEVELS - 1)) // M for side in (height, width))
    return -(-rows // cell) * -(-columns // cell)
