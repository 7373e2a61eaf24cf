"""BLINDER: every level of a pretrained network has an opinion, a regressor on the extremes of its maps; their mean counts.

Paper: F. Gao, J. Yu, S. Zhu, Q. Huang, Q. Han, "Blind image quality prediction by exploiting multi-level deep
    representations", Pattern Recognition 81, 2018, doi:10.1016/j.patcog.2018.04.016.
Reference: none; no code was found.
Deviations: a reconstruction from the paper's abstract and notes on it, not from its text. Said there: a VGG network as it
    is, many levels, minimum and maximum of every map, one support vector regressor for each level, the mean of their
    scores; rectified and pooled maps tell less than the convolutions before them. Ours: whole images, not patches; the
    levels are the outputs of all convolutions and fully connected layers, for what lies below zero is lost behind a ReLU
    and its minima are almost always 0; features scaled to [-1, 1]; ``pooling="mean"`` for comparison.
Chapter: 30
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from iqa_lab.backbones.features import FeatureExtractor, few_images
from iqa_lab.backbones.networks import VGG16_BLOCKS
from iqa_lab.images import check_images
from iqa_lab.no_reference.regression import load_fitting

#: Of VGG-16: 13 convolutions and 3 fully connected layers, all before their ReLU.
LEVELS = (*(f"conv{block}_{i}" for block, n in enumerate(VGG16_BLOCKS, 1) for i in range(1, n + 1)), "fc6", "fc7", "fc8")
POOLINGS = {"min_max": lambda maps: torch.cat((maps.amin((2, 3)), maps.amax((2, 3))), 1),
            "mean": lambda maps: maps.mean((2, 3))}
MINIMUM_SIDE = 32  # one position of the last maps
NO_REGRESSOR = ("Expected parameters of BLINDER, found none: no regressors are published. Train them with `iqa-lab train "
                "blinder` and give parameters=Path('.../regressor.npz'), or ask for parameters='random'.")


class BLINDER(nn.Module):
    """Quality as the mean score of one regressor for each level of a network; lower is better.

    Args:
        backbone, weights: as :class:`iqa_lab.backbones.features.FeatureExtractor`.
        layers: the levels.
        pooling: ``"min_max"``, the extremes of each map, or ``"mean"``.
        parameters: of the regressors, a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`; the path of an .npz file
            that ``iqa-lab train`` wrote; ``"untrained"`` for none; or ``"random"``. There is no default.

    Raises:
        FileNotFoundError: no parameters given, or a file is absent. ValueError: unknown backbone, layer or pooling, or
            regressors of other features.
    """

    def __init__(self, *, backbone: str = "vgg16", layers: Sequence[str] = LEVELS, pooling: str = "min_max",
                 weights: str | Path = "imagenet", parameters: str | Path | None = None) -> None:
        super().__init__()
        if parameters is None:
            raise FileNotFoundError(NO_REGRESSOR)
        if pooling not in POOLINGS:
            raise ValueError(f"Expected the pooling {' or '.join(POOLINGS)}, got {pooling!r}.")
        self.layers, self.pooling = tuple(layers), pooling
        self.backbone = FeatureExtractor(backbone, layers, weights=weights)
        #: How many features each level has.
        self.parts = tuple(pooled.shape[1] for pooled in self._levels(torch.zeros(1, 3, 64, 64)))
        self.regressor = load_fitting(parameters, self.parts, NO_REGRESSOR)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the mean of the levels' scores, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 32 pixels.
        """
        return self.regressor(self.features(image)).to(image.dtype)

    def level_scores(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the score of each level, shape (N, levels). Args: as :meth:`forward`."""
        return self.regressor.each(self.features(image)).to(image.dtype)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the pooled maps of all levels one after the other, in the network's type, shape (N, sum(parts)).

        ``parts`` says where a level ends. Args: as :meth:`forward`.
        """
        check_images(image, minimum_side=MINIMUM_SIDE)
        image = image.contiguous(memory_format=torch.channels_last)  # faster on a CPU
        return torch.cat([torch.cat(self._levels(part), 1) for part in few_images(image)])

    def extra_repr(self) -> str:
        return f"{len(self.layers)} levels, pooling={self.pooling!r}"

    def _levels(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Returns the features of each level; the outputs of fully connected layers stay as they are."""
        pool = POOLINGS[self.pooling]
        return [pool(maps) if maps.ndim == 4 else maps for maps in self.backbone(image).values()]
