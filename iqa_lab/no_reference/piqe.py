"""PIQE: the perception-based image quality evaluator, the share and strength of distorted blocks; no training.

Paper: N. Venkatanath, D. Praneeth, M. Chandrasekhar Bh, S. S. Channappayya, S. S. Medasani, "Blind image quality
    evaluation using perception based features", National Conference on Communications (NCC) 2015,
    doi:10.1109/NCC.2015.7084843.
Reference: MATLAB's ``piqe`` (Image Processing Toolbox), through its documentation, its published values and the port
    michael-rutherford/pypiqe at 16bc40a, which says that it was tested against MATLAB.
Deviations: (1) A black image, for which the division by the maximum is 0 / 0, scores 100 like every image without an
    active block. (2) Images below 16 x 16 pixels are refused: most of their one block would be their mirror image.
    The port differs from MATLAB in gray values (OpenCV's) and in rounding halves to even; here both are MATLAB's.
    Sizes that are no multiple of 16 are mirrored up to the next one, as in the port (IQA-PyTorch mirrors size mod 16
    pixels instead, which leaves rows out or adds some).
Chapter: 11
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.ops.blocks import to_blocks
from iqa_lab.ops.color import rgb_to_luma_matlab
from iqa_lab.ops.elementwise import TINY, round_half_up
from iqa_lab.ops.filters import symmetric_index
from iqa_lab.ops.statistics import mscn

BLOCK = 16  # blockSize
ACTIVE = 0.1  # activityThreshold: a block counts if the variance of its MSCN coefficients is larger
SEGMENT, IMPAIRED = 6, 0.1  # windowSize, blockImpairedThreshold: a segment of an edge with a smaller deviation is flat
CENTRE = (7, 8)  # the two middle columns
#: All columns but the 8th and, counted after the 8th is gone, the 9th: the port's code keeps column 9 and drops 10.
SURROUND = tuple(column for column in range(BLOCK) if column not in (7, 9))
C = 1  # keeps the quotient defined without active blocks


class PIQEBlocks(NamedTuple):
    """What PIQE finds in the 16 x 16 blocks of each image, four tensors of shape (N, ceil(H / 16), ceil(W / 16))."""

    variance: torch.Tensor  # of the MSCN coefficients, float64
    active: torch.Tensor  # bool: busy enough to be looked at
    impaired: torch.Tensor  # bool: active, with a flat segment on an edge (blocking, blur); weighs 1 - variance
    noisy: torch.Tensor  # bool: active, with a centre as busy as its surround (noise); weighs variance


def piqe(image: torch.Tensor) -> torch.Tensor:
    """Returns 100 (sum of the distorted blocks' weights + 1) / (number of active blocks + 1), shape (N,).

    0 is best and 100 worst; MATLAB calls up to 20 excellent, 35 good, 50 fair, 80 poor. An image without an active
    block, such as a flat or a very blurred one, scores 100. The score jumps where a block changes its class; the
    gradient is that of the variances while all classes stay.

    Args:
        image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 16 pixels.
    """
    blocks = piqe_blocks(image)
    weight = blocks.impaired * (1 - blocks.variance) + blocks.noisy * blocks.variance
    return (100 * (weight.sum((1, 2)) + C) / (blocks.active.sum((1, 2)) + C)).to(image.dtype)


def piqe_blocks(image: torch.Tensor) -> PIQEBlocks:
    """Returns variance and classes of every block; blocks at the bottom and on the right may be part mirror image.

    Args:
        image: as :func:`piqe`.
    """
    check_images(image, minimum_side=BLOCK)
    parts = [_blocks(part) for (part,) in few_at_a_time(image)]
    return PIQEBlocks(*(torch.cat(maps) for maps in zip(*parts, strict=True)))


def _blocks(image: torch.Tensor) -> PIQEBlocks:
    """Returns what :func:`piqe_blocks` documents, of a few images."""
    coefficients, _ = mscn(_stretch(_whole_blocks(rgb_to_luma_matlab(image.double()))), "replicate")
    blocks = to_blocks(coefficients, BLOCK)  # N, rows, columns, 16, 16
    variance = blocks.flatten(-2).var(-1)
    active = variance > ACTIVE
    detached = blocks.detach()
    return PIQEBlocks(variance, active, active & _has_flat_segment(detached), active & _is_noisy(detached))


def _whole_blocks(x: torch.Tensor) -> torch.Tensor:
    """Returns ``x`` mirrored at the bottom and on the right, edge sample repeated, until whole blocks fill it."""
    for dim in (2, 3):
        x = x.index_select(dim, symmetric_index(x.shape[dim], 0, -x.shape[dim] % BLOCK, x.device))
    return x


def _stretch(x: torch.Tensor) -> torch.Tensor:
    """Returns whole numbers 0..255, the brightest pixel of each image being 255."""
    return round_half_up(255 * x / x.amax((1, 2, 3), keepdim=True).clamp_min(TINY))


def _has_flat_segment(blocks: torch.Tensor) -> torch.Tensor:
    """Returns whether any six neighbours on one of the four edges deviate by less than 0.1: a noticeable distortion."""
    edges = torch.stack((blocks[..., 0, :], blocks[..., -1, :], blocks[..., 0], blocks[..., -1]), -2)
    return edges.unfold(-1, SEGMENT, 1).std(-1).amin((-2, -1)) < IMPAIRED  # ..., 4, 11, 6


def _is_noisy(blocks: torch.Tensor) -> torch.Tensor:
    """Returns whether sigma > 2 beta; beta is the distance of centre / surround from sigma over the larger of both."""
    sigma = blocks.flatten(-2).std(-1)
    centre, surround = (blocks[..., list(columns)].flatten(-2).std(-1) for columns in (CENTRE, SURROUND))
    ratio = centre / surround.clamp_min(TINY)
    return sigma > 2 * (sigma - ratio).abs() / torch.maximum(sigma, ratio).clamp_min(TINY)
