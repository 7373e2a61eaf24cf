"""Rounding as MATLAB does it, with a gradient."""

from __future__ import annotations

import torch

#: Half a float32 unit at 255 and more: makes x.5 round up also when a sum of three products ends just below it.
TIE_GUARD = 2e-5


def round_half_up(x: torch.Tensor) -> torch.Tensor:
    """Returns floor(x + 0.5), MATLAB's ``round`` for x >= 0; the gradient is that of the identity.

    ``torch.round`` rounds halves to even instead.

    >>> round_half_up(torch.tensor([0.5, 1.5, 2.4]))
    tensor([1., 2., 2.])
    """
    rounded = (x.detach() + (0.5 + TIE_GUARD)).floor()
    return x + (rounded - x).detach() if x.requires_grad else rounded
