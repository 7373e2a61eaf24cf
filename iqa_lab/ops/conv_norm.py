"""Convolution with batch normalisation, which are one step where nothing is trained."""

from __future__ import annotations

import torch
from torch import nn


class ConvNorm(nn.Sequential):
    """A convolution, its batch normalisation, and what follows, if anything.

    In evaluation mode the normalisation is a factor and a constant for each channel. On a CPU they go into the weights,
    which saves a network of such layers up to half of its time; on a GPU that would take longer than it saves.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the maps of the last layer, shape (N, C', H', W')."""
        convolution, norm, *behind = self
        if norm.training or x.is_cuda:
            x = norm(convolution(x))
        else:
            factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
            constant = norm.bias - norm.running_mean * factor
            if convolution.bias is not None:
                constant = constant + convolution.bias * factor
            x = convolution._conv_forward(x, convolution.weight * factor.view(-1, 1, 1, 1), constant)
        for layer in behind:
            x = layer(x)
        return x
