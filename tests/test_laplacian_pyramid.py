"""The Laplacian pyramid against zeros put between samples and padded in NumPy, its exactness, and gradcheck."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iqa_lab.ops.laplacian_pyramid import enlarge, laplacian_pyramid, shrink

BINOM5 = np.sqrt(2) * np.array([1, 4, 6, 4, 1]) / 16


def image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def filter_rows(x: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((2, 2), (0, 0)), mode="reflect")
    return sum(tap * padded[k:k + len(x)] for k, tap in enumerate(BINOM5))


def enlarge_rows(x: np.ndarray, length: int) -> np.ndarray:
    spread = np.zeros((length, x.shape[1]))
    spread[::2] = x
    return filter_rows(spread)


@settings(max_examples=20, deadline=None)
@given(st.integers(12, 40), st.integers(12, 40), st.integers(0, 99))
def test_equals_filtering_with_zeros_in_between(height, width, seed):
    x = image(height, width, seed)
    bands = laplacian_pyramid(x, 3)
    current = x[0, 0].numpy()
    for band in bands[:-1]:
        low = filter_rows(filter_rows(current)[::2].T)[::2].T
        high = current - enlarge_rows(enlarge_rows(low, current.shape[0]).T, current.shape[1]).T
        np.testing.assert_allclose(band[0, 0].numpy(), high, atol=1e-13)
        current = low
    np.testing.assert_allclose(bands[-1][0, 0].numpy(), current, atol=1e-13)


@pytest.mark.parametrize("size", [(16, 16), (17, 16), (16, 17), (17, 17)])
def test_a_band_and_the_next_lowpass_image_give_the_image_back(size):
    x = image(*size)
    band, lowpass = laplacian_pyramid(x, 2)
    assert lowpass.shape[2:] == (-(-size[0] // 2), -(-size[1] // 2))
    torch.testing.assert_close(band + enlarge(lowpass, size), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_flat_8_bit_image_has_bands_that_are_exactly_zero(dtype):
    *bands, lowpass = laplacian_pyramid(torch.full((1, 1, 50, 41), 203, dtype=dtype), 4)
    assert all((band == 0).all() for band in bands)
    assert (lowpass == 8 * 203).all()  # every level doubles the brightness


def test_impulse_response():
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 4, 4] = 128
    torch.testing.assert_close(shrink(x)[0, 0, 1:4, 1:4], torch.tensor([[1.0, 6, 1], [6, 36, 6], [1, 6, 1]]))


def test_the_mirror_does_not_repeat_the_edge():
    column = torch.tensor([1.0, 2, 3, 4, 5, 6])[None, None, :, None].expand(1, 1, 6, 6)
    assert shrink(column)[0, 0, 0, 0].item() == pytest.approx(2 * (3 + 4 * 2 + 6 * 1 + 4 * 2 + 3) / 16)


def test_channels_and_batch_are_independent():
    x = torch.rand(2, 3, 20, 23, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    together = laplacian_pyramid(x, 3)
    alone = laplacian_pyramid(x[1:, 2:], 3)
    for all_bands, band in zip(together, alone, strict=True):
        torch.testing.assert_close(all_bands[1:, 2:], band)


def test_gradcheck():
    assert torch.autograd.gradcheck(lambda x: tuple(laplacian_pyramid(x, 3)), image(11, 12).requires_grad_())


def test_too_many_levels_are_refused():
    assert len(laplacian_pyramid(image(20, 20), 4)) == 4
    with pytest.raises(ValueError, match=r"got \(3, 3\) after 3; use fewer levels"):
        laplacian_pyramid(image(20, 20), 5)
