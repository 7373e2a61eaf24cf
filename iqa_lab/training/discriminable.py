"""Trains a ranking of images on pairs whose order is known without opinions, from features computed once."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from iqa_lab.evaluation.waterloo import ImagePairs

MOMENTUM = 0.9


def train_ranking(model: nn.Module, features: np.ndarray, pairs: ImagePairs, certainty: np.ndarray, *, epochs: int,
                  batch_size: int, learning_rate: float, seed: int = 0) -> list[float]:
    """Returns the mean loss of each epoch, after training the model by stochastic gradient descent with momentum.

    Args:
        model: with ``fit_scaling(features)`` and ``rank_loss(first, second, certainty)``; it ends in evaluation mode.
        features: of the images, shape (n, D).
        pairs: of :func:`iqa_lab.evaluation.waterloo.discriminable_pairs`.
        certainty: of each pair, 0 to 1.
        epochs: passes over the pairs.
        batch_size: pairs in a step.
        learning_rate: constant.
        seed: decides the order of the pairs.
    """
    device = next(model.parameters()).device
    features = torch.from_numpy(features).to(device)
    better, worse, certainty = (torch.from_numpy(part).to(device) for part in (pairs.better, pairs.worse, certainty))
    model.fit_scaling(features[torch.cat((better, worse)).unique()])
    optimiser = torch.optim.SGD(model.parameters(), learning_rate, momentum=MOMENTUM)
    random, history = torch.Generator().manual_seed(seed), []
    model.train()
    for _ in range(epochs):
        losses = []
        for batch in torch.randperm(len(better), generator=random).to(device).split(batch_size):
            loss = model.rank_loss(features[better[batch]], features[worse[batch]], certainty[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        history.append(torch.stack(losses).mean().item())
    model.eval()
    return history
