"""PSNR: peak signal-to-noise ratio.

Paper: Z. Wang, A. C. Bovik, "Mean squared error: love it or leave it?", IEEE Signal Processing Magazine 26(1), 2009,
    doi:10.1109/MSP.2008.930649 (the definition is older than any paper).
Reference: the value file PSNRc.txt of the TID2013 release (RGB, one mean over all pixels and channels).
Deviations: none.
Chapter: 02
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from iqa_lab.images import check_images

STRIP_VALUES = 2**19  # values squared at once: what stays in cache is four times as fast as one map of a large batch


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
    identical = error == 0
    # Identical images would give 0/0 in the gradient; here it is 0, since the best score cannot get better.
    decibels = -10 * torch.log10(torch.where(identical, 1, error))
    return torch.where(identical, torch.inf, decibels)
