"""Rounding as MATLAB does it, with a gradient."""

from __future__ import annotations

import torch

#: What is added so that x.5 rounds up also when a sum of three products ends just below it. In float32 the sum itself
#: is inexact (half a unit at 255 and more); in float64 only an 8-bit value that came as float32 is, by 255 / 2^25 at
#: most, and the next value below a half is 1.4e-5 (MATLAB's luma) or 1.5e-5 (Pillow's) away.
TIE_GUARD = {torch.float32: 2e-5, torch.float64: 7.63e-6}


def round_half_up(x: torch.Tensor) -> torch.Tensor:
    """Returns floor(x + 0.5), MATLAB's ``round`` for x >= 0; the gradient is that of the identity.

    ``torch.round`` rounds halves to even instead.

    >>> round_half_up(torch.tensor([0.5, 1.5, 2.4]))
    tensor([1., 2., 2.])
    """
    rounded = (x.detach() + (0.5 + TIE_GUARD[x.dtype])).floor()
    return x + (rounded - x).detach() if x.requires_grad else rounded
