"""Correlation along one axis against NumPy, with its gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iqa_lab.ops.correlation import correlate_axis

MODES = {"zeros": "constant", "replicate": "edge", "symmetric": "symmetric"}


@settings(max_examples=60, deadline=None)
@given(st.integers(4, 20), st.integers(1, 7), st.sampled_from(list(MODES)), st.integers(1, 3))
def test_is_numpys_correlate(length, n_taps, padding, stride):
    if n_taps < stride or (n_taps - stride) % 2:
        return
    random = np.random.default_rng(length)
    x, taps = random.normal(size=length), random.normal(size=n_taps)
    before = (n_taps - stride) // 2
    padded = np.pad(x, (before, n_taps + stride), MODES[padding])
    expected = np.correlate(padded, taps, "valid")[::stride][:-(-length // stride)]
    result = correlate_axis(torch.from_numpy(x), tuple(taps), 0, padding, stride)
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("padding", MODES)
@pytest.mark.parametrize("dim", [1, -1])
def test_gradcheck(padding, dim):
    x = torch.rand(2, 7, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: correlate_axis(v, (0.2, -0.5, 1.0), dim, padding), x)
    assert torch.autograd.gradcheck(lambda v: correlate_axis(v, (0.2, -0.5, 1.0, 0.3), dim, padding, 2), x)


def test_unknown_padding_is_refused():
    with pytest.raises(ValueError, match="'symmetric'"):
        correlate_axis(torch.zeros(3), (1.0,), 0, "mirror")
