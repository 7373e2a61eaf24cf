"""Blocks against slices, and the block DCT against SciPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn

from iqa_lab.ops.blocks import block_dct, dct_matrix, to_blocks


def image(n: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 1, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(8, 40), st.integers(8, 40), st.sampled_from([2, 4, 7, 8]))
def test_blocks_are_slices_and_what_is_left_over_is_left_out(n, height, width, size):
    x = image(n, height, width)
    blocks = to_blocks(x, size)
    assert blocks.shape == (n, height // size, width // size, size, size)
    for i in range(height // size):
        for j in range(width // size):
            assert torch.equal(blocks[:, i, j], x[:, 0, i * size:(i + 1) * size, j * size:(j + 1) * size])


@pytest.mark.parametrize("size", [2, 3, 8, 16])
def test_dct_equals_scipy_on_every_block(size):
    blocks = to_blocks(image(2, 40, 35), size)
    expected = dctn(blocks.numpy(), axes=(-2, -1), norm="ortho")
    np.testing.assert_allclose(block_dct(blocks).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_the_dct_matrix_is_orthonormal(size):
    matrix = dct_matrix(size, torch.float64)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(size, dtype=torch.float64))


def test_a_flat_block_has_its_sum_at_the_constant_coefficient():
    coefficients = block_dct(torch.full((8, 8), 100.0, dtype=torch.float64))
    assert coefficients[0, 0].item() == pytest.approx(800)
    assert coefficients.flatten()[1:].abs().max() < 1e-10


def test_horizontal_waves_have_the_frequency_of_their_column():
    wave = torch.cos(torch.pi / 8 * 3 * (torch.arange(8, dtype=torch.float64) + 0.5)).expand(8, 8)
    coefficients = block_dct(wave)
    assert coefficients.abs().argmax().item() == 3 and coefficients[0, 3].item() == pytest.approx(32**0.5)


def test_gradcheck():
    assert torch.autograd.gradcheck(lambda x: block_dct(to_blocks(x, 4)), image(1, 9, 10).requires_grad_())
