"""How far a share measured in simulations may lie from the true one."""

from __future__ import annotations

import numpy as np


def spread(share: float, n: int) -> float:
    """Returns 3.5 standard deviations of a binomial share of n simulations."""
    return 3.5 * np.sqrt(share * (1 - share) / n)
