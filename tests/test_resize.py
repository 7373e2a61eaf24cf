"""MATLAB's imresize: printed values, a slow loop, and invariants."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iqa_lab.ops.resize import cubic, resize, resize_taps, triangle

RAMP = torch.arange(16, dtype=torch.float64).view(1, 1, 4, 4)


@pytest.mark.parametrize("options, expected", [
    ({"size": (3, 3)}, [[0.7506, 2.1004, 3.4503], [6.1501, 7.5, 8.8499], [11.5497, 12.8996, 14.2494]]),
    ({"scale": 0.5}, [[2.3047, 4.3828], [10.6172, 12.6953]]),
    ({"size": (3, 3), "method": "bilinear"}, [[1.3636, 2.5909, 3.8182], [6.2727, 7.5, 8.7273],
                                              [11.1818, 12.4091, 13.6364]])])
def test_printed_values_of_the_authors_function(options, expected):
    """imresize under GNU Octave 7.3 with MATLAB's antialiasing, four decimals."""
    np.testing.assert_allclose(resize(RAMP, **options)[0, 0].numpy(), expected, atol=5.1e-5)


def test_printed_values_of_one_row():
    row = torch.arange(8, dtype=torch.float64).view(1, 1, 1, 8).expand(1, 1, 8, 8)
    np.testing.assert_allclose(resize(row, 0.5)[0, 0, 0].numpy(), [0.4492, 2.4883, 4.5117, 6.5508], atol=5.1e-5)


def slow_axis(x: np.ndarray, size: int, scale: float, kernel, support: int) -> np.ndarray:
    """One axis, one output sample after another, one tap after another."""
    width, n = max(1, 1 / scale), len(x)
    result = []
    for i in range(size):
        u = (i + 0.5) / scale - 0.5
        taps = range(math.floor(u - support * width / 2) - 1, math.ceil(u + support * width / 2) + 2)
        weights = [kernel(torch.tensor((u - k) / width, dtype=torch.float64)).item() for k in taps]
        mirrored = [k % (2 * n) if k % (2 * n) < n else 2 * n - 1 - k % (2 * n) for k in taps]
        result.append(sum(w * x[k] for w, k in zip(weights, mirrored)) / sum(weights))
    return np.array(result)


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 30), st.sampled_from([1 / 2, 1 / 3, 0.7, 1.0, 1.6]), st.sampled_from(["bicubic", "bilinear"]))
def test_any_length_and_scale_is_the_slow_loop(length, scale, method):
    x = np.random.default_rng(length).normal(size=length)
    kernel, support = {"bicubic": (cubic, 4), "bilinear": (triangle, 2)}[method]
    image = torch.from_numpy(x).view(1, 1, 1, -1).expand(1, 1, length, length)
    result = resize(image, scale, method=method)
    assert result.shape[2:] == (math.ceil(scale * length),) * 2
    expected = slow_axis(x, math.ceil(scale * length), scale, kernel, support)
    np.testing.assert_allclose(result[0, 0, 0].numpy(), expected, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(2, 40))
def test_weights_of_every_sample_sum_to_one(length, size):
    np.testing.assert_allclose(resize_taps(length, size, size / length)[1].sum(0).numpy(), 1, atol=1e-12)


def test_batches_types_and_gradients():
    image = torch.rand(2, 3, 13, 10, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: resize(x, 0.5), image)
    assert torch.autograd.gradcheck(lambda x: resize(x, size=(7, 15)), image)
    both, alone = resize(image, 0.5), torch.cat([resize(image[i:i + 1], 0.5) for i in range(2)])
    torch.testing.assert_close(both, alone)
    torch.testing.assert_close(resize(image.float(), 0.5).double(), both, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("arguments, message", [
    ({}, "one of scale and size"), ({"scale": 0.5, "size": (2, 2)}, "one of scale and size"),
    ({"scale": -1}, "positive"), ({"size": (0, 3)}, "positive"), ({"scale": 2, "method": "lanczos"}, "'bicubic'")])
def test_mistakes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        resize(RAMP, **arguments)
