"""GMSD: gradient magnitude similarity deviation.

Paper: W. Xue, L. Zhang, X. Mou, A. C. Bovik, "Gradient magnitude similarity deviation: a highly efficient perceptual
    image quality index", IEEE Transactions on Image Processing 23(2), 2014, doi:10.1109/TIP.2013.2293423.
Reference: the authors' GMSD.m.
Deviations: none. Their numbers on colour images stand on MATLAB's rgb2gray, which rounds to 8 bits; ``luma`` as in
    :mod:`iqa_lab.full_reference.ssim`.
Chapter: 06
"""

from __future__ import annotations

import torch

from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.ops.color import Luma, rgb_to_luma_matlab
from iqa_lab.ops.elementwise import safe_sqrt
from iqa_lab.ops.filters import average_downsample, gradient_energy

T = 170  # eq. (4): c, called T in the code, for gray values 0..255
DOWNSAMPLING = 2  # Section II-C: always, whatever the size
MINIMUM_SIDE = 3 * DOWNSAMPLING  # one whole gradient window after downsampling


def gms_map(distorted: torch.Tensor, reference: torch.Tensor, *, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns the map of gradient magnitude similarity, eq. (4), at half the resolution.

    Args and errors: as :func:`gmsd`.

    Returns:
        Shape (N, 1, ceil(H / 2), ceil(W / 2)), range (0, 1], 1 where the gradient magnitudes agree.
    """
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
    d, r = (gradient_energy(255 * average_downsample(luma(image), DOWNSAMPLING), "prewitt")
            for image in (distorted, reference))  # m_d^2 and m_r^2 of eqs. (2) and (3)
    return (2 * safe_sqrt(d * r) + T) / (d + r + T)


def gmsd(distorted: torch.Tensor, reference: torch.Tensor, *, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns GMSD, eq. (6): the standard deviation of the gradient magnitude similarity.

    Args:
        distorted, reference: shape (N, C, H, W), values in [0, 1], sides of 6 pixels or more.
        luma: gray conversion, as in :func:`iqa_lab.full_reference.ssim.ssim`.

    Returns:
        Shape (N,), 0 for identical images, below 0.58 and rarely above 0.35; lower is better.

    Raises:
        TypeError, ValueError: as :func:`iqa_lab.images.check_images`.
    """
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
    maps = (gms_map(*pair, luma=luma).flatten(1) for pair in few_at_a_time(distorted, reference))
    return safe_sqrt(torch.cat([gms.var(dim=1) for gms in maps]))  # MATLAB's std2: number of pixels less one
