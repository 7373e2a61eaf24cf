"""VSI: the visual saliency induced index, and SDSP, the saliency map that it compares and weights with.

Paper: L. Zhang, Y. Shen, H. Li, "VSI: A visual saliency-induced index for perceptual image quality assessment", IEEE
    Transactions on Image Processing 23(10), 2014, doi:10.1109/TIP.2014.2346028. Saliency: L. Zhang, Z. Gu, H. Li,
    "SDSP: A novel saliency detection method by combining simple priors", IEEE International Conference on Image
    Processing, 2013.
Reference: the authors' VSI.m with SDSP.m.
Deviations: none in the numbers. A gray image counts as R = G = B; their code wants colour. Where their code divides 0
    by 0, a chromaticity that is constant over the image counts as 0: a flat image has no saliency, and two images
    without any saliency have the score 1.
Chapter: 07
"""

from __future__ import annotations

import functools

import torch

from iqa_lab.full_reference.fsim import downsample, weighted_mean
from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.ops.color import WHITE_D50, rgb_to_lab, rgb_to_lmn
from iqa_lab.ops.elementwise import real_power, safe_sqrt, similarity
from iqa_lab.ops.filters import average_downsample, downsampling_factor, gradient_magnitude
from iqa_lab.ops.fourier import frequencies, log_gabor, radius
from iqa_lab.ops.resize import resize

SIGMA_F, OMEGA_0 = 1.34, 0.0210  # band-pass of SDSP: bandwidth, and centre in cycles per pixel
SIGMA_D, SIGMA_C = 145, 0.001  # widths of the location prior, in pixels, and of the colour prior
SIDE = 256  # SDSP looks at images of this size
C1, C2, C3 = 1.27, 386, 130  # of saliency, gradient and chroma; values are 0..255
ALPHA, BETA = 0.40, 0.020  # exponents of gradient and chroma similarity
FLAT = 1e-3  # a* or b* that spans less is constant up to rounding
MINIMUM_SIDE = 16


@functools.lru_cache(maxsize=4)
@torch.inference_mode(False)  # a cached tensor must serve later training, whoever asks for it first
def band_pass(dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> torch.Tensor:
    """Returns SDSP's isotropic log-Gabor filter for ``rfft2``, shape (256, 129), 0 above 0.5 cycles per pixel."""
    r = radius(frequencies(SIDE), frequencies(SIDE)[:SIDE // 2 + 1])
    return (log_gabor(r, OMEGA_0, SIGMA_F) * (r <= 0.5)).to(device, dtype)


def frequency_prior(lab: torch.Tensor) -> torch.Tensor:
    """Returns SF, the length of the band-passed vector (L*, a*, b*) of each pixel, shape (N, 1, 256, 256)."""
    filtered = torch.fft.irfft2(torch.fft.rfft2(lab) * band_pass(lab.dtype, lab.device), s=(SIDE, SIDE))
    return safe_sqrt(filtered.square().sum(1, keepdim=True))


def location_prior(dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> torch.Tensor:
    """Returns SD, a Gaussian around the centre of the image, shape (256, 256)."""
    distance = torch.arange(1, SIDE + 1, dtype=dtype, device=device) - SIDE / 2  # MATLAB counts from 1
    gaussian = torch.exp(-(distance / SIGMA_D).square())
    return gaussian[:, None] * gaussian


def colour_prior(lab: torch.Tensor) -> torch.Tensor:
    """Returns SC, 0 where a* and b* both have their minimum (greenest, bluest), else almost 1, (N, 1, 256, 256)."""
    distance = stretch(lab[:, 1:], FLAT).square().sum(1, keepdim=True)
    return -torch.expm1(-distance / SIGMA_C**2)


def stretch(x: torch.Tensor, flat: float = 0.0) -> torch.Tensor:
    """Returns each channel (N, C, H, W) mapped linearly onto 0..1, and 0 if it spans ``flat`` or less."""
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    varied = high - low > flat
    return (x - low) * (varied / torch.where(varied, high - low, 1))


def sdsp_saliency(image: torch.Tensor) -> torch.Tensor:
    """Returns the SDSP saliency map, the product of its three priors stretched to 0..1, shape (N, 1, H, W).

    Args:
        image: shape (N, C, H, W), RGB or gray in [0, 1].

    Raises:
        TypeError, ValueError: as :func:`iqa_lab.images.check_images`.
    """
    check_images(image)
    lab = rgb_to_lab(resize(image, size=(SIDE, SIDE), method="bilinear"), WHITE_D50)
    saliency = frequency_prior(lab) * location_prior(lab.dtype, lab.device) * colour_prior(lab)
    return stretch(resize(saliency, size=tuple(image.shape[2:]), method="bilinear"))


def vsi_maps(distorted: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Returns S_VS, S_G and S_C, the similarities of saliency, gradient and chroma, and the weight VS_m.

    Args and errors: as :func:`vsi`.

    Returns:
        Four maps (N, 1, h, w), at about 256 pixels of the shorter side. VS_m is the larger saliency of the two.
    """
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
    factor = downsampling_factor(*reference.shape[2:])
    vs_1, vs_2 = (average_downsample(sdsp_saliency(image), factor) for image in (distorted, reference))
    (l_1, m_1, n_1), (l_2, m_2, n_2) = (rgb_to_lmn(downsample(image)).split(1, 1) for image in (distorted, reference))
    s_g = similarity(gradient_magnitude(l_1, "scharr"), gradient_magnitude(l_2, "scharr"), C2)
    s_c = similarity(m_1, m_2, C3) * similarity(n_1, n_2, C3)
    return similarity(vs_1, vs_2, C1), s_g, s_c, torch.maximum(vs_1, vs_2)


def vsi(distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Returns VSI, sum(S_VS S_G^alpha S_C^beta VS_m) / sum(VS_m), at about 256 pixels of the shorter side.

    S_C^beta is the real part of the power where opposite hues make S_C negative.

    Args:
        distorted, reference: shape (N, C, H, W), RGB or gray in [0, 1], sides of 16 pixels or more.

    Returns:
        Shape (N,), range (0, 1], 1 for identical images; higher is better.

    Raises:
        TypeError, ValueError: as :func:`iqa_lab.images.check_images`.
    """
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
    scores = []
    for pair in few_at_a_time(distorted, reference):
        s_vs, s_g, s_c, vs_m = vsi_maps(*pair)
        scores.append(weighted_mean(s_vs * s_g**ALPHA * real_power(s_c, BETA), vs_m))
    return torch.cat(scores)
