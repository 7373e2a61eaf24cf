"""The fidelity loss: learns from how probably the first image of a pair is the better one, whatever the scale of opinions.

Paper: M.-F. Tsai, T.-Y. Liu, T. Qin, H.-H. Chen, W.-Y. Ma, "FRank: a ranking method with fidelity loss", SIGIR 2007,
    doi:10.1145/1277741.1277808 (the loss); W. Zhang, K. Ma, G. Zhai, X. Yang, "Uncertainty-aware blind image quality
    assessment in the laboratory and wild", IEEE Transactions on Image Processing, 2021, arXiv:2005.13983 (UNIQUE: opinions
    of several databases by pairs within each of them).
Reference: zwx8981/UNIQUE at 908f528 (MNL_Loss.py, TrainModel.py). The papers were not at hand, so no equation numbers.
Deviations: (1) The code adds 1e-8 under both roots, so that a pair that is learned perfectly costs -1e-4; here it costs 0,
    and the gradient is 0 where that of a root is infinite. (2) The network is not here, nor the hinge that keeps predicted
    deviations in the order of the raters': ``torch.nn.functional.margin_ranking_loss`` with a margin of 0.025 in the code.
Chapter: 29
"""

from __future__ import annotations

import torch

from iqa_lab.ops.elementwise import safe_sqrt


def thurstone_probability(first: torch.Tensor, second: torch.Tensor, first_deviation: torch.Tensor | float = 1.0,
                          second_deviation: torch.Tensor | float = 1.0) -> torch.Tensor:
    """Returns p = Phi((m1 - m2) / sqrt(s1^2 + s2^2)): how probably the first image is the better one, shape (n,).

    Thurstone's model: each image makes an impression of Gaussian distribution, and the better impression is preferred.
    With mean opinion scores and their deviations it is the target; with a network's scores it is the prediction. UNIQUE
    predicts the deviations too, and gives them here detached: they learn from a loss of their own.

    Args:
        first, second: m1 and m2, higher is better, shape (n,).
        first_deviation, second_deviation: s1 and s2, above 0, in the unit of the scores, shape (n,) or one number. Both 1
            is Case V; then the unit of the scores follows.

    >>> thurstone_probability(torch.tensor([0.0, 3.0]), torch.tensor([0.0, 0.0])).round(decimals=4)
    tensor([0.5000, 0.9831])
    """
    return torch.special.ndtr((first - second) / (first_deviation**2 + second_deviation**2) ** 0.5)


def fidelity_loss(probability: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Returns 1 - sqrt(p g) - sqrt((1 - p)(1 - g)) of each pair, shape (n,): 0 where p = g, 1 where sure and wrong.

    It is the squared Hellinger distance of the two answers' distributions. For a certain pair, g = 1, it is
    1 - exp(-c / 2) with the cross-entropy c, which has no upper end.

    Args:
        probability: p, predicted, that the first image is the better one, 0 to 1, shape (n,).
        target: g, the same by opinions or by another source, shape (n,).

    Raises:
        ValueError: shapes that differ.

    >>> fidelity_loss(torch.tensor([0.7, 1.0]), torch.tensor([0.9, 0.0])).round(decimals=4)
    tensor([0.0331, 1.0000])
    """
    if probability.shape != target.shape:
        raise ValueError(f"Expected one target for each probability, got shapes {tuple(probability.shape)} and "
                         f"{tuple(target.shape)}; give both as (n,).")
    return 1 - safe_sqrt(probability * target) - safe_sqrt((1 - probability) * (1 - target))
