"""FSIM and FSIMc: the feature similarity index, which compares phase congruency and gradient, and FSIMc also chroma.

Paper: L. Zhang, L. Zhang, X. Mou, D. Zhang, "FSIM: A feature similarity index for image quality assessment", IEEE
    Transactions on Image Processing 20(8), 2011, doi:10.1109/TIP.2011.2109730.
Reference: the authors' FeatureSIM.m.
Deviations: none in the numbers. Where their code divides 0 by 0, the phase congruency of a flat image is 0, and two
    images without any phase congruency have the score 1. A gray image has I = Q = 0, so that FSIMc is FSIM, as there.
    float32 is within 1e-6 on photos; flat regions of graphics, whose amplitudes are near rounding errors, make it 3e-4.
Chapter: 07
"""

from __future__ import annotations

import torch

from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.ops.color import Luma, rgb_to_luma, rgb_to_yiq
from iqa_lab.ops.elementwise import real_power, similarity
from iqa_lab.ops.filters import average_downsample, downsampling_factor, gradient_magnitude
from iqa_lab.ops.fourier import phase_congruency

T1, T2, T3, T4 = 0.85, 160, 200, 200  # of phase congruency, gradient, I and Q; values are 0..255
LAMBDA = 0.03  # exponent of chroma similarity
MINIMUM_SIDE = 16


def downsample(image: torch.Tensor) -> torch.Tensor:
    """Returns the image on 0..255, averaged down to about 256 pixels of the shorter side."""
    return 255 * average_downsample(image, downsampling_factor(*image.shape[2:]))


def luma_similarity(y_1: torch.Tensor, y_2: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns S_PC and S_G, the similarities of phase congruency and of gradient, and the weight PC_m.

    Args:
        y_1, y_2: luma of the two images, shape (N, 1, H, W), values 0..255.

    Returns:
        Three maps of the same shape, in (0, 1]; PC_m is the larger phase congruency of the two.
    """
    pc_1, pc_2 = phase_congruency(y_1), phase_congruency(y_2)
    g_1, g_2 = gradient_magnitude(y_1, "scharr"), gradient_magnitude(y_2, "scharr")
    return similarity(pc_1, pc_2, T1), similarity(g_1, g_2, T2), torch.maximum(pc_1, pc_2)


def chroma_similarity(iq_1: torch.Tensor, iq_2: torch.Tensor) -> torch.Tensor:
    """Returns S_C = (S_I S_Q)^lambda, its real part where opposite hues make S_I S_Q negative, shape (N, 1, H, W).

    Args:
        iq_1, iq_2: channels I and Q of the two images, shape (N, 2, H, W), on the scale of 0..255.
    """
    s_i, s_q = similarity(iq_1[:, :1], iq_2[:, :1], T3), similarity(iq_1[:, 1:], iq_2[:, 1:], T4)
    return real_power(s_i * s_q, LAMBDA)


def weighted_mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Returns sum(values weights) / sum(weights) of each map (N, 1, H, W), shape (N,); 1 where all weights are 0."""
    total = weights.sum((1, 2, 3))
    positive = total > 0
    return torch.where(positive, (values * weights).sum((1, 2, 3)) / torch.where(positive, total, 1), 1)


def fsim(distorted: torch.Tensor, reference: torch.Tensor, *, luma: Luma = rgb_to_luma) -> torch.Tensor:
    """Returns FSIM, sum(S_PC S_G PC_m) / sum(PC_m), of the luma at about 256 pixels of the shorter side.

    Args:
        distorted, reference: shape (N, C, H, W), RGB or gray in [0, 1], sides of 16 pixels or more.
        luma: gray conversion; the authors' code takes BT.601 without rounding, whoever wrote the file FSIM.txt of the
            TID2013 release gave it gray images of ``rgb_to_luma_studio``.

    Returns:
        Shape (N,), range (0, 1], 1 for identical images; higher is better.

    Raises:
        TypeError, ValueError: as :func:`iqa_lab.images.check_images`.
    """
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
    scores = []
    for pair in few_at_a_time(distorted, reference):
        s_pc, s_g, pc_m = luma_similarity(*(downsample(luma(image)) for image in pair))
        scores.append(weighted_mean(s_pc * s_g, pc_m))
    return torch.cat(scores)


def fsimc(distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Returns FSIMc, sum(S_PC S_G S_C PC_m) / sum(PC_m), at about 256 pixels of the shorter side.

    Args, returns and errors: as :func:`fsim`; the luma is that of YIQ.
    """
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
    scores = []
    for pair in few_at_a_time(distorted, reference):
        yiq_1, yiq_2 = (rgb_to_yiq(downsample(image)) for image in pair)
        s_pc, s_g, pc_m = luma_similarity(yiq_1[:, :1], yiq_2[:, :1])
        scores.append(weighted_mean(s_pc * s_g * chroma_similarity(yiq_1[:, 1:], yiq_2[:, 1:]), pc_m))
    return torch.cat(scores)
