"""Non-overlapping blocks of an image, and their discrete cosine transform as matrix products."""

from __future__ import annotations

import functools
import math

import torch


def to_blocks(x: torch.Tensor, size: int) -> torch.Tensor:
    """Returns the image cut into square blocks, shape (N, H // size, W // size, size, size).

    Rows and columns that do not fill a block, at the bottom and on the right, are left out.

    Args:
        x: shape (N, 1, H, W).
        size: side of a block.

    >>> to_blocks(torch.arange(20).view(1, 1, 4, 5), 2)[0, 1, 0]
    tensor([[10, 11],
            [15, 16]])
    """
    rows, columns = x.shape[2] // size, x.shape[3] // size
    whole = x[:, 0, :rows * size, :columns * size]
    return whole.reshape(-1, rows, size, columns, size).transpose(2, 3)


@functools.lru_cache(maxsize=16)
@torch.inference_mode(False)  # a cached tensor must serve later training, whoever asks for it first
def dct_matrix(size: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> torch.Tensor:
    """Returns the orthonormal DCT-II matrix, shape (size, size), one frequency a row. Do not change it in place.

    >>> (dct_matrix(2) * 2**0.5).round()
    tensor([[ 1.,  1.],
            [ 1., -1.]])
    """
    frequency, position = torch.arange(size, dtype=torch.float64)[:, None], torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi / size * frequency * (position + 0.5)) * math.sqrt(2 / size)
    matrix[0] = 1 / math.sqrt(size)
    return matrix.to(device=device, dtype=dtype)


def block_dct(blocks: torch.Tensor) -> torch.Tensor:
    """Returns the two-dimensional orthonormal DCT-II of every block, D X D^T: MATLAB's ``dct2``.

    Args:
        blocks: shape (..., K, K).

    Returns:
        The same shape; vertical frequency first, the constant part at [..., 0, 0].
    """
    matrix = dct_matrix(blocks.shape[-1], blocks.dtype, blocks.device)
    # One product of all blocks, as rows of K^2 values, with D (x) D: faster than many small products from both sides.
    return (blocks.flatten(-2) @ torch.kron(matrix, matrix).T).view(blocks.shape)
