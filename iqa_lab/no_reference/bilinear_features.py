"""Bilinear features: the pooled products of DB-CNN's two networks, and one linear regressor. `iqa-lab score`'s default.

Paper: none has this system. The products are those of W. Zhang, K. Ma, J. Yan, D. Deng, Z. Wang, "Blind image quality
    assessment using a deep bilinear convolutional neural network", IEEE Transactions on Circuits and Systems for Video
    Technology 30(1), 2020, doi:10.1109/TCSVT.2018.2886771.
Reference: none.
Deviations: from DB-CNN: (1) EfficientNet-Lite0 instead of VGG-16. (2) Both networks stay as they are; a support vector
    regression on whole images takes the place of the last layer and of both stages of training. (3) Images are resized
    to about 500 x 500 pixels, keeping their shape: the size of the photos that the shipped regressor learned from.
Chapter: 28
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.features import FeatureExtractor, few_images
from iqa_lab.images import check_images
from iqa_lab.no_reference.dbcnn import bilinear_pooling
from iqa_lab.no_reference.regression import WORST, load_fitting
from iqa_lab.no_reference.scnn import CHANNELS, SCNN

PIXELS = 500 * 500  # of the photos of LIVE in the Wild
MINIMUM_SIDE = 16  # one position of S-CNN's maps
NO_REGRESSOR = ("Expected parameters of the bilinear features, found none. Train a regressor with `iqa-lab train "
                "dbcnn_linear_efficientnet_lite0` and give parameters=Path('.../regressor.npz'), or ask for "
                "parameters='random'.")


class BilinearFeatures(nn.Module):
    """Quality from the products of a classifier's maps with S-CNN's; about 0 to 100, higher is better.

    Args:
        backbone, weights: as :class:`iqa_lab.backbones.features.FeatureExtractor`.
        layer: of the backbone, whose maps are multiplied with those of S-CNN.
        scnn: parameters of S-CNN, as :class:`iqa_lab.no_reference.scnn.SCNN` takes them; ``"random"`` shows what its
            training is good for.
        parameters: of the regressor, a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`; the path of an .npz file
            that ``iqa-lab train`` wrote; ``"untrained"`` for none; or ``"random"``. There is no default.

    Raises:
        FileNotFoundError: no parameters given, or a file is absent. ValueError: unknown backbone or layer, or a regressor
            of other features.
    """

    def __init__(self, *, backbone: str = "efficientnet_lite0", layer: str = "head", weights: str | Path = "imagenet",
                 scnn: str | Path = "dbcnn_scnn", parameters: str | Path | None = None) -> None:
        super().__init__()
        self.layer = layer
        self.backbone = FeatureExtractor(backbone, (layer,), weights=weights)
        self.scnn = SCNN(parameters=scnn).trunk.requires_grad_(False)
        channels = self.backbone(torch.zeros(1, 3, 64, 64))[layer].shape[1]
        self.regressor = load_fitting(parameters, (channels * CHANNELS[-1],), NO_REGRESSOR)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the score of each image, 100 minus what the regressor says, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 16 pixels.
        """
        return (WORST - self.regressor(self.features(image))).to(image.dtype)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the pooled products, each row of length 1, in the networks' type, shape (N, 128 C').

        Args: as :meth:`forward`.
        """
        check_images(image, minimum_side=MINIMUM_SIDE)
        return torch.cat([self.pooled_products(part) for part in few_images(resized(image))])

    def pooled_products(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the same without resizing, all images at once. Args: as :meth:`forward`."""
        image = image.contiguous(memory_format=torch.channels_last)  # a third faster on a CPU
        return bilinear_pooling(self.backbone(image)[self.layer], self.scnn(image))


def resized(image: torch.Tensor) -> torch.Tensor:
    """Returns the image (N, C, H, W) with about ``PIXELS`` pixels and the same shape, bicubic and antialiased, in [0, 1]."""
    scale = math.sqrt(PIXELS / image[0, 0].numel())
    size = tuple(max(1, round(scale * side)) for side in image.shape[2:])
    if size == image.shape[2:]:
        return image
    return F.interpolate(image, size, mode="bicubic", antialias=True).clamp(0, 1)
