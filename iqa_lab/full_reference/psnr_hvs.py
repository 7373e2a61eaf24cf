"""PSNR-HVS and PSNR-HVS-M: PSNR of DCT coefficients weighted by contrast sensitivity, without and with masking.

Paper: K. Egiazarian, J. Astola, N. Ponomarenko, V. Lukin, F. Battisti, M. Carli, "New full-reference quality metrics
    based on HVS", 2nd International Workshop on Video Processing and Quality Metrics, 2006 (PSNR-HVS).
    N. Ponomarenko, F. Silvestri, K. Egiazarian, M. Carli, J. Astola, V. Lukin, "On between-coefficient contrast masking
    of DCT basis functions", 3rd International Workshop on Video Processing and Quality Metrics, 2007 (PSNR-HVS-M).
Reference: the authors' psnrhvsm.m with its default step of 8, and the value files PSNRHVS.txt and PSNRHVSM.txt of the
    TID2013 release (there with ``luma=rgb_to_luma_studio``).
Deviations: without a visible error the score is infinite, where the authors' code returns 100000; its gradient is 0.
    Colour is converted as in :mod:`iqa_lab.full_reference.ssim`.
Chapter: 07
"""

from __future__ import annotations

import torch

from iqa_lab.images import check_images
from iqa_lab.ops.blocks import block_dct, to_blocks
from iqa_lab.ops.color import Luma, rgb_to_luma_matlab
from iqa_lab.ops.elementwise import safe_sqrt

L = 255
BLOCK = 8
#: The luminance quantisation table of the JPEG standard (ISO/IEC 10918-1, Table K.1), vertical frequency downwards.
Q_JPEG = ((16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
          (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
          (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99))
#: The two tables of the authors' code to all their printed digits. The mean of CSF^2 is 1, so that white noise has the
#: same PSNR-HVS as PSNR; MASK is the sensitivity with which a coefficient masks the others.
CSF = tuple(tuple(round(25.73509 / q, 6) for q in row) for row in Q_JPEG)
MASK = tuple(tuple(round((10 / q) ** 2, 6) for q in row) for row in Q_JPEG)
NORMALISATION = 32  # sqrt(16 * 64): masking is a sixteenth of the energy, per coefficient


def masking(blocks: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
    """Returns the masking strength E of each block: its weighted energy, less where the block holds an edge.

    E^2 = sum_AC MASK X^2 * p / 32^2; p compares the variances of the four quarters with that of the block.

    Args:
        blocks, coefficients: gray values on 0..255 and their DCT, shape (..., 8, 8).

    Returns:
        Shape (...).
    """
    ac2 = coefficients.flatten(-2)[..., 1:].square()
    energy = ac2 @ ac2.new_tensor(MASK).flatten()[1:]
    variance = ac2.sum(dim=-1) * 64 / 63  # Parseval: times 64, and with n - 1 = 63 below the sum, as MATLAB's var
    quarters = blocks.unflatten(-1, (2, 4)).unflatten(-3, (2, 4))
    deviations = quarters - quarters.mean(dim=(-3, -1), keepdim=True)
    p = deviations.square().sum(dim=(-4, -3, -2, -1)) * 16 / 15 / torch.where(variance > 0, variance, 1)
    return safe_sqrt(energy * p) / NORMALISATION


def hvs_errors(distorted: torch.Tensor, reference: torch.Tensor, *, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns the mean squared error of each 8 x 8 block with coefficients weighted by ``CSF``, in grey levels squared.

    Args and errors: as :func:`psnr_hvs`.

    Returns:
        Shape (N, 1, H // 8, W // 8).
    """
    check_images(distorted, reference, minimum_side=BLOCK)
    difference = block_dct(to_blocks(L * luma(distorted) - L * luma(reference), BLOCK))
    return (difference * difference.new_tensor(CSF)).square().mean(dim=(-2, -1))[:, None]


def hvs_m_errors(distorted: torch.Tensor, reference: torch.Tensor, *, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns :func:`hvs_errors` after every coefficient error but the constant one is reduced by what is masked.

    Args, returns and errors: as :func:`hvs_errors`.
    """
    check_images(distorted, reference, minimum_side=BLOCK)
    x, y = (to_blocks(L * luma(image), BLOCK) for image in (distorted, reference))
    y_dct, difference = block_dct(y), block_dct(x - y)
    strength = torch.maximum(masking(x, y_dct + difference), masking(y, y_dct))[..., None, None]
    threshold = strength / strength.new_tensor(MASK)
    threshold = threshold * (torch.arange(BLOCK**2, device=threshold.device).view(BLOCK, BLOCK) > 0)
    visible = (difference.abs() - threshold).clamp_min(0)
    return (visible * visible.new_tensor(CSF)).square().mean(dim=(-2, -1))[:, None]


def psnr_hvs(distorted: torch.Tensor, reference: torch.Tensor, *, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns PSNR-HVS = 10 log10(255^2 / S) in decibels, S the mean of :func:`hvs_errors`.

    Args:
        distorted, reference: shape (N, C, H, W), values in [0, 1], sides of 8 pixels or more.
        luma: gray conversion, as in :func:`iqa_lab.full_reference.ssim.ssim`.

    Returns:
        Shape (N,), infinite for identical images; higher is better.

    Raises:
        TypeError, ValueError: as :func:`iqa_lab.images.check_images`.
    """
    return decibels(hvs_errors(distorted, reference, luma=luma))


def psnr_hvs_m(distorted: torch.Tensor, reference: torch.Tensor, *, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns PSNR-HVS-M = 10 log10(255^2 / S) in decibels, S the mean of :func:`hvs_m_errors`.

    Args and errors: as :func:`psnr_hvs`.

    Returns:
        Shape (N,), infinite for identical images, above 100 where every error is masked; higher is better.
    """
    return decibels(hvs_m_errors(distorted, reference, luma=luma))


def decibels(errors: torch.Tensor) -> torch.Tensor:
    """Returns the peak signal-to-noise ratio, shape (N,), of error maps (N, 1, h, w); infinite without error."""
    error = errors.mean(dim=(1, 2, 3))
    invisible = error == 0
    return torch.where(invisible, torch.inf, 10 * torch.log10(L**2 / torch.where(invisible, 1, error)))
