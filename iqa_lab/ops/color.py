"""Colour conversions with named matrices. Inputs are RGB images of shape (N, 3, H, W) in [0, 1]."""

from __future__ import annotations

import torch

from iqa_lab.ops.rounding import round_half_up

#: Luma weights of ITU-R BT.601, as JPEG, YIQ and most quality papers print them.
LUMA_BT601 = (0.299, 0.587, 0.114)
#: MATLAB's rgb2gray: the first row of the inverse of the three-decimal YIQ matrix, not the rounded 0.2989 of its help.
LUMA_MATLAB = (0.298936021293775, 0.587043074451121, 0.114020904255103)
#: Pillow's convert("L"): BT.601 in 1/65536.
LUMA_PIL = (19595 / 65536, 38470 / 65536, 7471 / 65536)
#: Luma of BT.601 in studio range 16..235, per unit of R, G, B in [0, 1] (MATLAB's rgb2ycbcr).
LUMA_STUDIO = (65.481, 128.553, 24.966)


def weighted_sum(image: torch.Tensor, weights: tuple[float, float, float]) -> torch.Tensor:
    """Returns w_R R + w_G G + w_B B, shape (N, 1, H, W)."""
    red, green, blue = image.unbind(dim=1)
    return torch.add(red * weights[0], green, alpha=weights[1]).add(blue, alpha=weights[2])[:, None]


def rgb_to_luma(image: torch.Tensor) -> torch.Tensor:
    """Returns BT.601 luma in [0, 1], shape (N, 1, H, W); a gray image is returned unchanged.

    >>> rgb_to_luma(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)).item()  # doctest: +ELLIPSIS
    0.299...
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
