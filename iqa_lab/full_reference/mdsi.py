"""MDSI: mean deviation similarity index.

Paper: H. Ziaei Nafchi, A. Shahkolaei, R. Hedjam, M. Cheriet, "Mean deviation similarity index: efficient and reliable
    full-reference image quality evaluator", IEEE Access 4, 2016, doi:10.1109/ACCESS.2016.2604042.
Reference: the authors' MDSI.m.
Deviations: none in the numbers. Their fourth root of a negative similarity is a complex number and stays one through
    the pooling; here magnitude and phase are carried in real arithmetic. Gray images count as three equal channels.
Chapter: 06
"""

from __future__ import annotations

import math

import torch

from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.ops.color import rgb_to_lhm
from iqa_lab.ops.elementwise import safe_power, safe_sqrt, similarity
from iqa_lab.ops.filters import average_downsample, downsampling_factor, gradient_magnitude

C1, C2, C3 = 140, 55, 550  # for values 0..255: of the gradients, of the gradients against the fused image, of chroma
ALPHA = 0.6  # weight of the gradient similarity in the sum
GAMMA, BETA = 0.2, 0.1  # exponents of gradient and chromaticity similarity in the product
Q, O = 1 / 4, 1 / 4  # deviation pooling: of GCS^q (rho = 1), and the power o of its mean
MINIMUM_SIDE = 3


def gradient_similarity(l_r: torch.Tensor, l_d: torch.Tensor) -> torch.Tensor:
    """Returns the map GS, the paper's fused one: similarity of the gradients, and of each with that of the fused luminance.

    Args:
        l_r, l_d: luminance of reference and distorted images, shape (N, 1, H, W), values 0..255.

    Returns:
        Shape (N, 1, H, W), range -1 to 2, 1 where the gradients are equal.
    """
    g_r, g_d, g_f = (gradient_magnitude(x, "prewitt") for x in (l_r, l_d, (l_r + l_d) / 2))
    return similarity(g_r, g_d, C1) + similarity(g_d, g_f, C2) - similarity(g_r, g_f, C2)


def chromaticity_similarity(hm_r: torch.Tensor, hm_d: torch.Tensor) -> torch.Tensor:
    """Returns the map CS: joint similarity of the two chromaticity channels.

    Args:
        hm_r, hm_d: channels H and M, shape (N, 2, H, W).

    Returns:
        Shape (N, 1, H, W), range -1 to 1.
    """
    product, squares = (hm_r * hm_d).sum(1, keepdim=True), (hm_r.square() + hm_d.square()).sum(1, keepdim=True)
    return (2 * product + C3) / (squares + C3)


def similarity_maps(distorted: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the maps GS and CS at about 256 pixels of the shorter side. Args and errors: as :func:`mdsi`."""
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
    factor = downsampling_factor(*reference.shape[2:])
    r, d = (rgb_to_lhm(255 * average_downsample(image, factor)) for image in (reference, distorted))
    return gradient_similarity(r[:, :1], d[:, :1]), chromaticity_similarity(r[:, 1:], d[:, 1:])


def pool(gs: torch.Tensor, cs: torch.Tensor, combination: str) -> torch.Tensor:
    """Returns the deviation pooling of the two maps, shape (N,)."""
    gs, cs = gs.flatten(1), cs.flatten(1)
    if combination == "sum":
        gcs = ALPHA * gs + (1 - ALPHA) * cs
        magnitude, phase = gcs.abs(), Q * math.pi * (gcs < 0).to(gcs)
    else:
        magnitude = safe_power(gs.abs(), GAMMA) * safe_power(cs.abs(), BETA)
        phase = Q * math.pi * (GAMMA * (gs < 0).to(gs) + BETA * (cs < 0).to(cs))
    root = safe_sqrt(safe_sqrt(magnitude))  # the power Q = 1 / 4, several times as fast
    real, imaginary = root * phase.cos(), root * phase.sin()
    squares = (real - real.mean(1, keepdim=True)) ** 2 + (imaginary - imaginary.mean(1, keepdim=True)) ** 2
    return safe_power((safe_sqrt(squares) * (squares > 0)).mean(1), O)


def mdsi(distorted: torch.Tensor, reference: torch.Tensor, *, combination: str = "sum") -> torch.Tensor:
    """Returns MDSI: the mean deviation of the fourth root of the combined similarity, its fourth root.

    Args:
        distorted, reference: shape (N, C, H, W), RGB, values in [0, 1].
        combination: ``"sum"`` (the authors' default) or ``"mult"``, the product.

    Returns:
        Shape (N,), 0 for identical images, lower is better.

    Raises:
        TypeError, ValueError: as :func:`iqa_lab.images.check_images`, or an unknown combination.
    """
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
    if combination not in ("sum", "mult"):
        raise ValueError(f"Expected combination 'sum' or 'mult', got {combination!r}.")
    parts = few_at_a_time(distorted, reference)
    return torch.cat([pool(*similarity_maps(*pair), combination) for pair in parts])
