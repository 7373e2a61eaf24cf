"""Colour conversions with named matrices. Inputs are RGB images of shape (N, 3, H, W) in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable

import torch

from iqa_lab.ops.elementwise import round_half_up

#: Luma weights of ITU-R BT.601, as JPEG, YIQ and most quality papers print them.
LUMA_BT601 = (0.299, 0.587, 0.114)
#: MATLAB's rgb2gray: the first row of the inverse of the three-decimal YIQ matrix, not the rounded 0.2989 of its help.
LUMA_MATLAB = (0.298936021293775, 0.587043074451121, 0.114020904255103)
#: Pillow's convert("L"): BT.601 in 1/65536.
LUMA_PIL = (19595 / 65536, 38470 / 65536, 7471 / 65536)
#: Luma of BT.601 in studio range 16..235, per unit of R, G, B in [0, 1] (MATLAB's rgb2ycbcr).
LUMA_STUDIO = (65.481, 128.553, 24.966)
#: The two opponent channels of the Gaussian colour model of Geusebroek et al. 2001.
OPPONENT = ((0.30, 0.04, -0.35), (0.34, -0.60, 0.17))
#: Luminance and the two chromaticity channels of MDSI.
RGB_TO_LHM = ((0.2989, 0.5870, 0.1140), *OPPONENT)
#: YIQ as FSIM prints it, eq. (13): luma and two chromaticities that are 0 for gray.
RGB_TO_YIQ = (LUMA_BT601, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
#: Luminance and two opponent channels of VSI, eq. (11).
RGB_TO_LMN = ((0.06, 0.63, 0.27), *OPPONENT)
#: Linear sRGB to CIE XYZ (D65).
RGB_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
#: White points X, Y, Z for :func:`rgb_to_lab`.
WHITE_D50, WHITE_D65 = (0.9642, 1.0, 0.8251), (0.95047, 1.0, 1.08883)
LAB_EPSILON, LAB_KAPPA = 0.008856, 903.3  # CIE 1976: where the cube root of L*a*b* becomes a line, and its slope

#: A gray conversion: (N, 3, H, W) or (N, 1, H, W) to (N, 1, H, W), one of the functions rgb_to_luma* below.
Luma = Callable[[torch.Tensor], torch.Tensor]


def weighted_sum(image: torch.Tensor, weights: tuple[float, float, float]) -> torch.Tensor:
    """Returns w_R R + w_G G + w_B B, shape (N, 1, H, W)."""
    red, green, blue = image.unbind(dim=1)
    return torch.add(red * weights[0], green, alpha=weights[1]).add(blue, alpha=weights[2])[:, None]


def rgb_to_luma(image: torch.Tensor) -> torch.Tensor:
    """Returns BT.601 luma in [0, 1], shape (N, 1, H, W); a gray image is returned unchanged.

    >>> round(rgb_to_luma(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)).item(), 6)
    0.299
    """
    return image if image.shape[1] == 1 else weighted_sum(image, LUMA_BT601)


def rgb_to_luma_matlab(image: torch.Tensor) -> torch.Tensor:
    """Returns MATLAB's ``rgb2gray`` of an 8-bit image, in [0, 1]: luma rounded half up to a multiple of 1/255.

    Authors' numbers are made this way. The rounding passes gradients through unchanged, and a gray image is returned
    as it is.

    >>> (255 * rgb_to_luma_matlab(torch.tensor([10, 20, 30]).view(1, 3, 1, 1) / 255)).item()
    18.0
    """
    return image if image.shape[1] == 1 else round_to_8_bits(weighted_sum(image, LUMA_MATLAB))


def rgb_to_luma_pil(image: torch.Tensor) -> torch.Tensor:
    """Returns Pillow's ``convert("L")`` of an 8-bit image, in [0, 1]: luma rounded half up to a multiple of 1/255.

    Gradients and gray images pass as in :func:`rgb_to_luma_matlab`. In float32 a colour within 2e-5 of a half
    goes up: one in 65536 is a level above Pillow's.
    """
    return image if image.shape[1] == 1 else round_to_8_bits(weighted_sum(image, LUMA_PIL))


def rgb_to_luma_studio(image: torch.Tensor) -> torch.Tensor:
    """Returns MATLAB's ``rgb2ycbcr`` Y of an 8-bit image, divided by 255: 16/255 for black, 235/255 for white.

    The value files of the TID2013 release are made this way.
    """
    luma = 219 * image if image.shape[1] == 1 else weighted_sum(image, LUMA_STUDIO)
    return round_half_up(luma + 16) / 255


def round_to_8_bits(image: torch.Tensor) -> torch.Tensor:
    """Returns the image rounded half up to multiples of 1/255; gradients pass through unchanged."""
    return round_half_up(255 * image) / 255


def rgb_to_lhm(image: torch.Tensor) -> torch.Tensor:
    """Returns luminance L and chromaticities H, M of MDSI, shape (N, 3, H, W); gray counts as R = G = B."""
    return transform(image, RGB_TO_LHM)


def rgb_to_yiq(image: torch.Tensor) -> torch.Tensor:
    """Returns luma Y in [0, 1] and chromaticities I, Q, which are 0 for gray, shape (N, 3, H, W)."""
    return transform(image, RGB_TO_YIQ)


def rgb_to_lmn(image: torch.Tensor) -> torch.Tensor:
    """Returns luminance L and opponent channels M, N of VSI, shape (N, 3, H, W); gray counts as R = G = B."""
    return transform(image, RGB_TO_LMN)


def srgb_to_linear(image: torch.Tensor) -> torch.Tensor:
    """Returns the linear light of sRGB values (IEC 61966-2-1), both in [0, 1].

    >>> round(srgb_to_linear(torch.tensor(0.5)).item(), 4)
    0.214
    """
    dark = image <= 0.04045
    return torch.where(dark, image / 12.92, ((torch.where(dark, 1, image) + 0.055) / 1.055) ** 2.4)


def rgb_to_lab(image: torch.Tensor, white: tuple[float, float, float] = WHITE_D65) -> torch.Tensor:
    """Returns CIE L*a*b* of an sRGB image, shape (N, 3, H, W), L* in [0, 100]; a gray image counts as R = G = B.

    Args:
        image: shape (N, 3, H, W) or (N, 1, H, W), in [0, 1].
        white: X, Y, Z of the reference white. With any other white than D65 gray is not neutral.
    """
    xyz = transform(srgb_to_linear(image), RGB_TO_XYZ) / image.new_tensor(white).view(3, 1, 1)
    root = xyz.clamp_min(LAB_EPSILON) ** (1 / 3)
    x, y, z = torch.where(xyz > LAB_EPSILON, root, (LAB_KAPPA * xyz + 16) / 116).split(1, dim=1)
    return torch.cat((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=1)


def transform(image: torch.Tensor, matrix: tuple[tuple[float, float, float], ...]) -> torch.Tensor:
    """Returns the colours multiplied by a 3 x 3 matrix, shape (N, 3, H, W); a gray image counts as R = G = B."""
    if image.shape[1] == 1:
        return image * image.new_tensor(matrix).sum(1).view(-1, 1, 1)
    return torch.cat([weighted_sum(image, row) for row in matrix], dim=1)
