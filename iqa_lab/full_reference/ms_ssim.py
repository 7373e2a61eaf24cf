"""MS-SSIM: multi-scale structural similarity, as its authors compute it and as the package MeTriX MuX does.

Paper: Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multi-scale structural similarity for image quality assessment",
    37th Asilomar Conference on Signals, Systems and Computers, 2003, doi:10.1109/ACSSC.2003.1292216.
Reference: the authors' msssim.m with its default method 'product' (``ms_ssim``), and mssim_index.m of MeTriX MuX 1.1
    (``ms_ssim_mux``), which wrote the file MSSIM.txt of the TID2013 release.
Deviations: a negative mean contrast-structure (anticorrelated images) counts as 0; the authors' code then returns a
    complex number. Colour is converted as in :mod:`iqa_lab.full_reference.ssim`.
Chapter: 02 and 06
"""

from __future__ import annotations

import torch

from iqa_lab.full_reference.ssim import WINDOW, downsample, mean_ssim_and_cs, ssim_components
from iqa_lab.images import check_images
from iqa_lab.ops.color import Luma, rgb_to_luma_matlab
from iqa_lab.ops.correlation import correlate_axis

SCALE_WEIGHTS_WANG2003 = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # beta_j = gamma_j and alpha_M, Section 3.2
MINIMUM_SIDE = WINDOW * 2 ** (len(SCALE_WEIGHTS_WANG2003) - 1)  # the window must fit at the coarsest scale: 176
#: Low-pass filter of the biorthogonal 9/7 wavelet, from its middle tap outwards (MeTriX MuX).
LOWPASS_9_7 = (0.852698679008890, 0.377402855612830, -0.110624404418440, -0.023849465019560, 0.037828455507260)
SMALLEST = 1e-12  # a negative mean becomes this: 0 up to rounding, but with a finite gradient


def ms_ssim(distorted: torch.Tensor, reference: torch.Tensor, *, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns MS-SSIM, eq. (7): the product over scales of mean contrast-structure, and of mean SSIM at the last.

    Args:
        distorted, reference: shape (N, C, H, W), values in [0, 1], sides of 176 pixels or more.
        luma: gray conversion, as in :func:`iqa_lab.full_reference.ssim.ssim`.

    Returns:
        Shape (N,), range [0, 1], 1 for identical images; higher is better.

    Raises:
        TypeError, ValueError: as :func:`iqa_lab.images.check_images`.
    """
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
    x, y = luma(distorted), luma(reference)
    means = []
    for _ in SCALE_WEIGHTS_WANG2003[:-1]:
        means.append(mean_ssim_and_cs(x, y)[1])
        x, y = downsample(x, 2), downsample(y, 2)
    means.append(mean_ssim_and_cs(x, y)[0])
    weights = x.new_tensor(SCALE_WEIGHTS_WANG2003)
    return (torch.stack(means, dim=-1).clamp_min(SMALLEST) ** weights).prod(dim=-1)


def ms_ssim_mux(distorted: torch.Tensor, reference: torch.Tensor, *, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns MS-SSIM in the form of MeTriX MuX: a wavelet's low-pass filter between the scales, and the means of
    luminance (at the last scale), contrast and structure taken apart before they are multiplied.

    Args, returns and errors: as :func:`ms_ssim`.
    """
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
    x, y, score = luma(distorted), luma(reference), 1
    taps = (*LOWPASS_9_7[:0:-1], *LOWPASS_9_7)
    taps = tuple(tap / sum(taps) for tap in taps)
    for scale, weight in enumerate(SCALE_WEIGHTS_WANG2003):
        if scale > 0:
            x, y = (correlate_axis(correlate_axis(image, taps, 2, "symmetric"), taps, 3, "symmetric")[:, :, ::2, ::2]
                    for image in (x, y))
        luminance, contrast, structure = (values.mean(dim=(1, 2, 3)) for values in ssim_components(x, y))
        score = score * (contrast * structure).clamp_min(SMALLEST) ** weight
    return score * luminance**SCALE_WEIGHTS_WANG2003[-1]
