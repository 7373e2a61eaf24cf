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
import torch.nn.functional as F

TINY = 1e-30  # under the roots: far below every product that means something
MAX_STEPS = 200  # of L-BFGS; some 50 are enough for 36 features


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
    both = (probability * target).clamp_min(TINY).sqrt() + ((1 - probability) * (1 - target)).clamp_min(TINY).sqrt()
    return 1 - both


def fit_linear_ranker(first: torch.Tensor, second: torch.Tensor, target: torch.Tensor, *, cross_entropy: bool = False,
                      penalty: float = 1e-3) -> torch.Tensor:
    """Returns w, shape (D,), of the score f(x) = w . x that answers the pairs best, by L-BFGS.

    It minimises penalty |w|^2 plus the mean of twice the fidelity loss, with both deviations 1; twice, because small errors
    then cost as much as by cross-entropy. A constant in f would cancel.

    Args:
        first, second: features of the images of each pair, about standardised, shape (n, D).
        target: how probably the first is the better one, 0 to 1, shape (n,).
        cross_entropy: take RankNet's loss instead, the cross-entropy with p = 1 / (1 + exp(f2 - f1)).
        penalty: on the squared length of w.
    """
    weights = torch.zeros_like(first[0]).requires_grad_()
    optimiser = torch.optim.LBFGS([weights], max_iter=MAX_STEPS, line_search_fn="strong_wolfe")

    def objective() -> torch.Tensor:
        optimiser.zero_grad()
        if cross_entropy:
            losses = F.binary_cross_entropy_with_logits((first - second) @ weights, target, reduction="none")
        else:
            losses = 2 * fidelity_loss(thurstone_probability(first @ weights, second @ weights), target)
        value = losses.mean() + penalty * weights.square().sum()
        value.backward()
        return value

    optimiser.step(objective)
    return weights.detach()
