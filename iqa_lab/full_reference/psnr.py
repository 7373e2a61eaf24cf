"""MSE and PSNR: mean squared error and peak signal-to-noise ratio, in RGB and of the luma.

Paper: Z. Wang, A. C. Bovik, "Mean squared error: love it or leave it?", IEEE Signal Processing Magazine 26(1), 2009,
    doi:10.1109/MSP.2008.930649 (the definition is older than any paper).
Reference: the value files of the TID2013 release, PSNRc.txt (``psnr``: RGB, one mean over all pixels and channels) and
    PSNR.txt (``psnr_y``: luma as MATLAB's rgb2ycbcr gives it, 16 to 235, rounded).
Deviations: none.
Chapter: 02
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from iqa_lab.images import check_images
from iqa_lab.ops.color import Luma, rgb_to_luma_studio

STRIP_VALUES = 2**20  # values squared at once: what stays in cache is four times as fast as one map of a large batch


def mse(distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Returns the mean squared error over channels and pixels, MSE = mean (x - y)^2.

    Args:
        distorted, reference: shape (N, C, H, W), values in [0, 1].

    Returns:
        Shape (N,), range [0, 1], 0 for identical images; lower is better. Multiply by 255^2 for 8-bit units.
    """
    check_images(distorted, reference)
    x, y = distorted.flatten(1), reference.flatten(1)
    width = max(1, STRIP_VALUES // len(x))
    strips = zip(x.split(width, 1), y.split(width, 1), strict=True)
    return sum(F.mse_loss(a, b, reduction="none").sum(1) for a, b in strips) / x.shape[1]


def psnr(distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Returns PSNR = 10 log10(L^2 / MSE) in decibels, with L = 1.

    Args:
        distorted, reference: shape (N, C, H, W), values in [0, 1].

    Returns:
        Shape (N,), infinite for identical images; higher is better.
    """
    error = mse(distorted, reference)
    if not error.requires_grad:
        return -10 * torch.log10(error)
    identical = error == 0
    # Identical images would give 0/0 in the gradient; here it is 0, since the best score cannot get better.
    decibels = -10 * torch.log10(torch.where(identical, 1, error))
    return torch.where(identical, torch.inf, decibels)


def psnr_y(distorted: torch.Tensor, reference: torch.Tensor, *, luma: Luma = rgb_to_luma_studio) -> torch.Tensor:
    """Returns the PSNR of the luma, in decibels; the peak stays L = 1 whatever range the luma has.

    Blind to errors of colour that leave the luma alone.

    Args:
        distorted, reference: shape (N, C, H, W), values in [0, 1].
        luma: one of ``iqa_lab.ops.color.rgb_to_luma*``. The studio range of the default spreads 219 instead of 255
            steps, which gives 1.32 dB more than full range, up to rounding.

    Returns:
        Shape (N,), infinite for equal luma; higher is better.
    """
    check_images(distorted, reference)
    return psnr(luma(distorted), luma(reference))
