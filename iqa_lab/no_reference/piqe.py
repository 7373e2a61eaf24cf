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
import torch.nn.functional as F

from iqa_lab.images import check_images
from iqa_lab.ops.blocks import to_blocks
from iqa_lab.ops.color import rgb_to_luma_matlab
from iqa_lab.ops.correlation import correlate_axis
from iqa_lab.ops.elementwise import TINY, round_half_up
from iqa_lab.ops.filters import symmetric_index
from iqa_lab.ops.statistics import WINDOW, mscn
from iqa_lab.ops.strips import Strip, few_images, map_strips, row_strips

BLOCK = 16  # blockSize
ACTIVE = 0.1  # activityThreshold: a block counts if the variance of its MSCN coefficients is larger
SEGMENT, IMPAIRED = 6, 0.1  # windowSize, blockImpairedThreshold: a segment of an edge with a smaller deviation is flat
MARGIN = WINDOW // 2  # rows and columns that the MSCN window reaches out
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
    maps = [_maps(part) for part in few_images(image)]
    variance, flat, noisy = (torch.cat(parts) for parts in zip(*maps, strict=True))
    active = variance > ACTIVE
    return PIQEBlocks(variance, active, active & (flat > 0), active & (noisy > 0))


def _maps(image: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Returns the variance of each block, and as 0 or 1 whether it has a flat segment and is noisy, of a few images."""
    x = _stretch(_whole_blocks(rgb_to_luma_matlab(image.double())))
    rows, = map_strips(_strip_maps, x, row_strips(x, MARGIN, BLOCK))
    return torch.cat(rows, 1).unbind(-1)


def _whole_blocks(x: torch.Tensor) -> torch.Tensor:
    """Returns ``x`` mirrored at the bottom and on the right, edge sample repeated, until whole blocks fill it."""
    for dim in (2, 3):
        missing = -x.shape[dim] % BLOCK
        if missing:
            x = x.index_select(dim, symmetric_index(x.shape[dim], 0, missing, x.device))
    return x


def _stretch(x: torch.Tensor) -> torch.Tensor:
    """Returns whole numbers 0..255, the brightest pixel of each image being 255."""
    return round_half_up(255 * x / x.amax((1, 2, 3), keepdim=True).clamp_min(TINY))


def _strip_maps(x: torch.Tensor, strip: Strip) -> tuple[torch.Tensor]:
    coefficients, _ = mscn(F.pad(x, strip.padding, mode="replicate"), "valid")
    rows = coefficients[:, 0].unflatten(1, (-1, BLOCK))  # N, rows of blocks, 16, W
    sums, squares = (total.sum(2).unflatten(-1, (-1, BLOCK)) for total in (rows, rows.square()))  # of each column
    variance, centre, surround = (_variance(sums[..., columns].sum(-1), squares[..., columns].sum(-1), BLOCK * n)
                                  for columns, n in ((slice(None), BLOCK), (CENTRE, len(CENTRE)), (SURROUND, len(SURROUND))))
    noisy = _is_noisy(*(v.detach().sqrt() for v in (variance, centre, surround)))
    flat = _has_flat_segment(to_blocks(coefficients.detach(), BLOCK))
    return (torch.stack((variance, flat.double(), noisy.double()), -1),)


def _variance(total: torch.Tensor, squares: torch.Tensor, n: int) -> torch.Tensor:
    """Returns the variance (divisor n - 1) of n samples around 0 from their sum and their sum of squares."""
    return ((squares - total.square() / n) / (n - 1)).clamp_min(0)


def _has_flat_segment(blocks: torch.Tensor) -> torch.Tensor:
    """Returns whether any six neighbours on one of the four edges deviate by less than 0.1: a noticeable distortion."""
    edges = torch.stack((blocks[..., 0, :], blocks[..., -1, :], blocks[..., 0], blocks[..., -1]))
    along = edges.movedim(-1, 0)  # 16, 4, N, rows, columns
    sums = correlate_axis(torch.stack((along, along.square())), (1.0,) * SEGMENT, 1, "valid")
    return _variance(*sums, SEGMENT).amin((0, 1)) < IMPAIRED**2


def _is_noisy(sigma: torch.Tensor, centre: torch.Tensor, surround: torch.Tensor) -> torch.Tensor:
    """Returns whether sigma > 2 beta; beta is the distance of centre / surround from sigma over the larger of both."""
    ratio = centre / surround.clamp_min(TINY)
    return sigma > 2 * (sigma - ratio).abs() / torch.maximum(sigma, ratio).clamp_min(TINY)
