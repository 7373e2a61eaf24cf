"""Perceptual loss and style loss: distances between the feature maps of two images, and between their Gram matrices.

Paper: J. Johnson, A. Alahi, L. Fei-Fei, "Perceptual losses for real-time style transfer and super-resolution", ECCV 2016,
    doi:10.1007/978-3-319-46475-6_43.
Reference: jcjohnson/fast-neural-style, the authors' Lua code.
Deviations: (1) The authors' VGG-16 is Caffe's, fed with BGR of 0..255 less the mean colour; ours is torchvision's, fed
    with normalised RGB, so that scores have another scale. (2) In the paper these are losses for training; as measures of
    quality they follow piq, which sums over layers without weights. Layers differ in scale, and the sum inherits it.
    (3) The style loss forgets where things are, so it measures texture and not the quality of an image.
Chapter: 20
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from iqa_lab.backbones.features import FeatureExtractor, pair_features
from iqa_lab.images import check_images

FEATURE_LAYERS = ("relu2_2",)  # Section 4: of style transfer and of super-resolution
STYLE_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")  # Section 4.1
MINIMUM_SIDE = 16  # leaves maps of 2 x 2 behind three poolings


class PerceptualLoss(nn.Module):
    """Feature reconstruction loss, eq. (2), summed over layers.

    Args:
        backbone, layers, weights: as :class:`iqa_lab.backbones.features.FeatureExtractor`.

    Raises:
        ValueError: unknown backbone or layer. FileNotFoundError: the weights are absent, with the way to them.
    """

    def __init__(self, *, backbone: str = "vgg16", layers: Sequence[str] = FEATURE_LAYERS,
                 weights: str | Path = "imagenet") -> None:
        super().__init__()
        self.network = FeatureExtractor(backbone, layers, weights=weights)

    def forward(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns the sum of :meth:`layer_distances`, shape (N,), 0 for identical images; lower is better."""
        return self.layer_distances(distorted, reference).sum(1)

    def layer_distances(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns the distance at each layer, shape (N, number of layers), 0 or more.

        Args:
            distorted, reference: shape (N, C, H, W), RGB or gray in [0, 1], sides of 16 pixels or more.
        """
        check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
        return compare_layers(self.network, feature_distance, distorted, reference)


class StyleLoss(nn.Module):
    """Style reconstruction loss, eq. (4), summed over layers.

    Args and errors: as :class:`PerceptualLoss`.
    """

    def __init__(self, *, backbone: str = "vgg16", layers: Sequence[str] = STYLE_LAYERS,
                 weights: str | Path = "imagenet") -> None:
        super().__init__()
        self.network = FeatureExtractor(backbone, layers, weights=weights)

    def forward(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns the sum of :meth:`layer_distances`, shape (N,), 0 for equal Gram matrices; lower is better."""
        return self.layer_distances(distorted, reference).sum(1)

    def layer_distances(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns the distance at each layer, shape (N, number of layers); arguments as :class:`PerceptualLoss`."""
        check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
        return compare_layers(self.network, style_distance, distorted, reference)


def compare_layers(network: FeatureExtractor, distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
                   distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Returns ``distance`` of the maps of both images at each layer, shape (N, number of layers), in the images' type."""
    x, y = pair_features(network, distorted, reference, large_maps=network.large_maps)
    return torch.stack([distance(x[layer], y[layer]) for layer in x], 1).to(distorted.dtype)


def feature_distance(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Returns eq. (2), ||x - y||^2 / (C H W), shape (N,).

    Args:
        x, y: feature maps (N, C, H, W).
    """
    return (x - y).square().flatten(1).mean(1)


def gram(maps: torch.Tensor) -> torch.Tensor:
    """Returns eq. (3), the products of all pairs of channels summed over positions, over C H W: shape (N, C, C).

    Args:
        maps: shape (N, C, H, W).
    """
    flat = maps.flatten(2)
    return flat @ flat.mT / flat[0].numel()


def style_distance(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Returns eq. (4), the squared Frobenius norm of the difference of the Gram matrices, shape (N,).

    Args:
        x, y: feature maps (N, C, H, W).
    """
    return (gram(x) - gram(y)).square().sum((1, 2))
