"""SSIM: the structural similarity index.

Paper: Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to
    structural similarity", IEEE Transactions on Image Processing 13(4), 2004, doi:10.1109/TIP.2003.819861.
Reference: the authors' ssim_index.m (no downsampling: ``ssim``) and their later ssim.m, which averages the images down
    to about 256 pixels first (``ssim_auto``).
Deviations: none. The authors' numbers on colour images stand on MATLAB's rgb2gray, which rounds to 8 bits; the default
    ``luma`` does the same and lets gradients through. ``luma=rgb_to_luma`` is BT.601 without rounding: up to 1e-3 apart.
Chapter: 02
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from iqa_lab.images import check_images
from iqa_lab.ops.color import Luma, rgb_to_luma_matlab
from iqa_lab.ops.filters import box_kernel, downsampling_factor, filter_separable, gaussian_kernel, pad

K1, K2, L = 0.01, 0.03, 1.0  # Section III-C, with the dynamic range L of images in [0, 1]
C1, C2 = (K1 * L) ** 2, (K2 * L) ** 2
C3 = C2 / 2
WINDOW, SIGMA = 11, 1.5  # the circular-symmetric Gaussian window, in pixels
STRIP_PIXELS = 2**17  # rows are taken in strips of about this many pixels, so that all maps of a strip stay in cache


def luminance_and_contrast_structure(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the two factors of eq. (13) as maps: luminance l, and contrast times structure c s.

    Args:
        x, y: gray images of shape (N, 1, H, W).

    Returns:
        Two tensors of shape (N, H - 10, W - 10).
    """
    # Eqs. (14)-(16) for s = x + y and d = x - y. Four filtered maps serve where x and y would need five, since
    # 2 mu_x mu_y = (mu_s^2 - mu_d^2) / 2, mu_x^2 + mu_y^2 = (mu_s^2 + mu_d^2) / 2, and likewise for the (co)variances.
    s, d = x + y, x - y
    maps = torch.stack((s, d, s * s, d * d), dim=-1)[:, 0].permute(0, 3, 1, 2)  # N, 4, H, W in channels-last order
    window = gaussian_kernel(WINDOW, SIGMA, maps.dtype, maps.device)
    mu_s, mu_d, s_squared, d_squared = filter_separable(maps, window).unbind(1)
    mu_s2, mu_d2 = mu_s * mu_s, mu_d * mu_d
    sigma_s2, sigma_d2 = s_squared - mu_s2, d_squared - mu_d2
    luminance = (mu_s2 - mu_d2 + 2 * C1) / (mu_s2 + mu_d2 + 2 * C1)
    return luminance, (sigma_s2 - sigma_d2 + 2 * C2) / (sigma_s2 + sigma_d2 + 2 * C2)


def mean_ssim_and_cs(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the means of the SSIM map and of its contrast-structure factor, each of shape (N,)."""
    n, _, height, width = x.shape
    rows = max(1, STRIP_PIXELS // (n * width))
    ssim_sum, cs_sum = x.new_zeros(n), x.new_zeros(n)
    for top in range(0, height - WINDOW + 1, rows):
        strip = slice(top, top + rows + WINDOW - 1)
        luminance, cs = luminance_and_contrast_structure(x[:, :, strip], y[:, :, strip])
        ssim_sum = ssim_sum + (luminance * cs).sum(dim=(1, 2))
        cs_sum = cs_sum + cs.sum(dim=(1, 2))
    positions = (height - WINDOW + 1) * (width - WINDOW + 1)
    return ssim_sum / positions, cs_sum / positions


def ssim_map(distorted: torch.Tensor, reference: torch.Tensor, *, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns the map of local SSIM values, eq. (13), where the window fits: shape (N, 1, H - 10, W - 10).

    Args and errors: as :func:`ssim`.
    """
    check_images(distorted, reference, minimum_side=WINDOW)
    luminance, cs = luminance_and_contrast_structure(luma(distorted), luma(reference))
    return (luminance * cs)[:, None]


def ssim_components(distorted: torch.Tensor, reference: torch.Tensor, *,
                    luma: Luma = rgb_to_luma_matlab) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the maps of luminance, contrast and structure comparison, eqs. (6), (9) and (10).

    Their product is :func:`ssim_map`. Args and errors: as :func:`ssim`.

    Returns:
        Three tensors of shape (N, 1, H - 10, W - 10).
    """
    check_images(distorted, reference, minimum_side=WINDOW)
    x, y = luma(distorted), luma(reference)
    window = gaussian_kernel(WINDOW, SIGMA, x.dtype, x.device)
    moments = filter_separable(torch.cat((x, y, x * x, y * y, x * y), dim=1), window)
    mu_x, mu_y, xx, yy, xy = moments.split(1, dim=1)
    sigma_x2, sigma_y2, sigma_xy = xx - mu_x**2, yy - mu_y**2, xy - mu_x * mu_y
    variances = sigma_x2 * sigma_y2
    positive = variances > 0  # rounding makes a flat window slightly negative; the root has no gradient at 0
    sigma_x_sigma_y = torch.where(positive, torch.where(positive, variances, 1).sqrt(), 0)
    luminance = (2 * mu_x * mu_y + C1) / (mu_x**2 + mu_y**2 + C1)  # eq. (6)
    contrast = (2 * sigma_x_sigma_y + C2) / (sigma_x2 + sigma_y2 + C2)  # eq. (9)
    structure = (sigma_xy + C3) / (sigma_x_sigma_y + C3)  # eq. (10)
    return luminance, contrast, structure


def ssim(distorted: torch.Tensor, reference: torch.Tensor, *, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns the mean SSIM index, eqs. (13) and (17), at the images' own resolution.

    Args:
        distorted, reference: shape (N, C, H, W), values in [0, 1], sides of 11 pixels or more.
        luma: gray conversion, one of ``iqa_lab.ops.color.rgb_to_luma*``. Gray images pass through it as well.

    Returns:
        Shape (N,), range [-1, 1], 1 for identical images; higher is better.

    Raises:
        TypeError, ValueError: as :func:`iqa_lab.images.check_images`.
    """
    check_images(distorted, reference, minimum_side=WINDOW)
    return mean_ssim_and_cs(luma(distorted), luma(reference))[0]


def ssim_auto(distorted: torch.Tensor, reference: torch.Tensor, *, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns SSIM after the authors' automatic downsampling by f = max(1, round(min(H, W) / 256)).

    Args, returns and errors: as :func:`ssim`.
    """
    check_images(distorted, reference, minimum_side=WINDOW)
    factor = downsampling_factor(*distorted.shape[2:])
    x, y = (downsample(luma(image), factor) for image in (distorted, reference))
    return mean_ssim_and_cs(x, y)[0]


def downsample(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Returns every ``factor``-th sample of the moving average, as ssim.m does it (imfilter with 'symmetric' borders)."""
    if factor == 1:
        return x
    if factor == 2:  # each window is a 2 x 2 block, and a mirrored last row or column averages to itself
        return F.avg_pool2d(x, 2, ceil_mode=True)
    padded = pad(x, (factor - 1) // 2, factor // 2, "symmetric")
    return filter_separable(padded, box_kernel(factor, x.dtype, x.device))[:, :, ::factor, ::factor]
