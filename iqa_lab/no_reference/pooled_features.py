"""Pooled features: means and deviations of a pretrained network's last maps, and one regressor. The mark for all others.

Paper: none; our baseline, no paper's model. The network is that of M. Tan, Q. V. Le, "EfficientNet: rethinking model
    scaling for convolutional neural networks", ICML 2019.
Reference: none.
Deviations: none.
Chapter: 30

Nothing in it was made for quality: what a method with the same network adds, it must add to this.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from iqa_lab.backbones.features import FeatureExtractor, few_images
from iqa_lab.images import check_images
from iqa_lab.no_reference.regression import load_fitting
from iqa_lab.ops.elementwise import safe_sqrt

MINIMUM_SIDE = 32  # one position of the last maps
NO_REGRESSOR = ("Expected parameters of the pooled features, found none. Train a regressor with `iqa-lab train "
                "pooled_efficientnet_lite0` and give parameters=Path('.../regressor.npz'), or ask for parameters='random'.")


class PooledFeatures(nn.Module):
    """Quality from mean and standard deviation of each map of whole images; lower is better.

    Args:
        backbone, weights: as :class:`iqa_lab.backbones.features.FeatureExtractor`.
        layer: of the backbone, whose maps are pooled.
        parameters: of the regressor, a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`; the path of an .npz file
            that ``iqa-lab train`` wrote; ``"untrained"`` for none; or ``"random"``. There is no default.

    Raises:
        FileNotFoundError: no parameters given, or a file is absent. ValueError: unknown backbone or layer, or a regressor
            of other features.
    """

    def __init__(self, *, backbone: str = "efficientnet_lite0", layer: str = "head", weights: str | Path = "imagenet",
                 parameters: str | Path | None = None) -> None:
        super().__init__()
        self.layer = layer
        self.backbone = FeatureExtractor(backbone, (layer,), weights=weights)
        channels = self.backbone(torch.zeros(1, 3, 64, 64))[layer].shape[1]
        self.regressor = load_fitting(parameters, (2 * channels,), NO_REGRESSOR)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the regressed score of each image, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 32 pixels.
        """
        return self.regressor(self.features(image)).to(image.dtype)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the means and then the standard deviations of all maps, in the network's type, shape (N, 2 C').

        Args: as :meth:`forward`.
        """
        check_images(image, minimum_side=MINIMUM_SIDE)
        image = image.contiguous(memory_format=torch.channels_last)  # faster on a CPU
        return torch.cat([mean_and_deviation(self.backbone(part)[self.layer]) for part in few_images(image)])


def mean_and_deviation(maps: torch.Tensor) -> torch.Tensor:
    """Returns the means and the standard deviations (divisor n) over the positions of maps (N, C, H, W), shape (N, 2 C)."""
    mean = maps.mean((2, 3), keepdim=True)
    variance = (maps - mean).square().mean((2, 3))  # four times as fast as torch.var_mean in torch.channels_last
    return torch.cat((mean.flatten(1), safe_sqrt(variance)), 1)
