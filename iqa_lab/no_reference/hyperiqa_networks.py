"""The networks of HyperIQA behind its backbone: content vector, hyper network, target network.

Paper, reference, deviations and chapter: see :mod:`iqa_lab.no_reference.hyperiqa`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

LDA_CHANNELS, LDA_GRIDS, LDA_OUTPUTS = (16, 32, 64), (8, 4, 2), 16  # likewise: of the first three taps
HYPER_CHANNELS, HYPER_GRID = 112, 7  # models.py, class HyperNet
WIDTHS = (224, 112, 56, 28, 14, 1)  # likewise: of the target network, from the content vector to the score
#: Lengths of the parts of the generated vector: four matrices, then four vectors, and the two of the last layer.
MATRICES = tuple(inputs * outputs for inputs, outputs in zip(WIDTHS[:4], WIDTHS[1:5]))
VECTORS = (*WIDTHS[1:5], WIDTHS[4] * WIDTHS[5], WIDTHS[5])
LAST = sum(VECTORS[-2:])  # numbers of the last layer, at the end


class ContentVector(nn.Module):
    """What the target network sees: four maps, pooled to grids of 8, 4, 2 and 1, as 16 + 16 + 16 + 176 numbers."""

    def __init__(self, channels: Sequence[int], *, multi_scale: bool = True) -> None:
        super().__init__()
        scales = list(zip(channels, LDA_CHANNELS, LDA_GRIDS)) if multi_scale else []
        self.reduce = nn.ModuleList(nn.Conv2d(inputs, outputs, 1, bias=False) for inputs, outputs, _ in scales)
        self.fc = nn.ModuleList(nn.Linear(outputs * grid**2, LDA_OUTPUTS) for _, outputs, grid in scales)
        self.fc.append(nn.Linear(channels[-1], WIDTHS[0] - LDA_OUTPUTS * len(scales)))
        draw(self)

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Returns the content vector, shape (P, 224); there is no activation.

        Args:
            maps: four of shape (P, C, H, W).
        """
        grids = [reduce(F.adaptive_avg_pool2d(x, grid)).flatten(1) for reduce, x, grid in zip(self.reduce, maps, LDA_GRIDS)]
        return torch.cat([fc(x) for fc, x in zip(self.fc, (*grids, maps[-1].mean((2, 3))), strict=True)], 1)


class HyperNetwork(nn.Module):
    """Writes the target network from the last maps: matrices by a convolution, the rest from the average."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(nn.Conv2d(channels, channels // 2, 1), nn.ReLU(inplace=True),
                                    nn.Conv2d(channels // 2, channels // 4, 1), nn.ReLU(inplace=True),
                                    nn.Conv2d(channels // 4, HYPER_CHANNELS, 1), nn.ReLU(inplace=True))
        self.matrices = nn.Conv2d(HYPER_CHANNELS, sum(MATRICES) // HYPER_GRID**2, 3, padding=1)
        self.vectors = nn.Linear(HYPER_CHANNELS, sum(VECTORS))
        draw(self.matrices, self.vectors)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Returns the weights, shape (P, 33545); of each output channel, the 7 x 7 positions are neighbours in a matrix.

        Args:
            maps: shape (P, C, H, W).
        """
        x = self.reduce(F.adaptive_avg_pool2d(maps, HYPER_GRID))
        return torch.cat((self.matrices(x).flatten(1), self.vectors(x.mean((2, 3)))), 1)

    def last_layer(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the tensors that the target network's last layer comes from, at their ends; the bias is the last one."""
        return self.vectors.weight, self.vectors.bias


class SameForAll(nn.Module):
    """Weights of the target network that are learned, in place of written ones."""

    def __init__(self) -> None:
        super().__init__()
        matrices = [nn.init.kaiming_normal_(torch.empty(outputs, inputs)) for inputs, outputs in zip(WIDTHS, WIDTHS[1:])]
        biases = [torch.zeros(outputs) for outputs in WIDTHS[1:]]
        parts = (*matrices[:4], *biases[:4], matrices[4], biases[4])
        self.weights = nn.Parameter(torch.cat([part.flatten() for part in parts]))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Returns the same weights for each of the maps (P, C, H, W), shape (P, 33545)."""
        return self.weights.expand(len(maps), -1)

    def last_layer(self) -> tuple[torch.Tensor]:
        """Returns the tensor that ends with the target network's last layer; the bias is the last number."""
        return (self.weights,)


def target_network(content: torch.Tensor, generated: torch.Tensor) -> torch.Tensor:
    """Returns the scores of five fully connected layers, each row with weights of its own, shape (P,).

    Args:
        content: shape (P, 224).
        generated: shape (P, 33545), in the order of ``MATRICES`` and ``VECTORS``.
    """
    *parts, w5, b5 = generated.split((*MATRICES, *VECTORS), 1)
    x = content[:, None]  # P, 1, 224
    for w, b in zip(parts[:4], parts[4:], strict=True):
        x = fully_connected(x, w, b).sigmoid()
    return fully_connected(x, w5, b5)[:, 0, 0]


def fully_connected(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns W x + b for each row, with weights of its own; shapes (P, 1, in), (P, out * in), (P, out) to (P, 1, out)."""
    return torch.baddbmm(b[:, None], x, w.unflatten(1, (b.shape[1], -1)).mT)


def draw(*networks: nn.Module) -> None:
    """Draws weights as the code does for new layers: He's normal ones; biases keep torch's."""
    for network in networks:
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)
