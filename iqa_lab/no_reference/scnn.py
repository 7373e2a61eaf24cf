"""S-CNN: the branch of DB-CNN that has learned to tell synthetic distortions, and how strong they are, apart.

Paper: W. Zhang, K. Ma, J. Yan, D. Deng, Z. Wang, "Blind image quality assessment using a deep bilinear convolutional
    neural network", IEEE Transactions on Circuits and Systems for Video Technology 30(1), 2020,
    doi:10.1109/TCSVT.2018.2886771.
Reference: the authors' PyTorch code, zwx8981/DBCNN-PyTorch at 16c3156 (SCNN.py), with its trained network, which ships
    with this package. Written from the code, the paper was not at hand.
Deviations: (1) Images of any size: the average takes in all positions, where the code has one window of 14 x 14 for
    crops of 224. (2) In evaluation mode on a CPU the batch normalisation is part of the convolution before it: the same
    numbers but for rounding, in half the time. (3) The classes carry no names in the code, which numbers the folders of
    its authors' disk; the names here were recovered from what the network says about distorted photographs. The two
    levels of each exposure are in doubt.
Chapter: 28
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.checkpoints import load_strictly, read_state
from iqa_lab.backbones.networks import IMAGENET_MEAN, IMAGENET_STD
from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import check_images
from iqa_lab.ops.conv_norm import ConvNorm

CHANNELS = (48, 48, 64, 64, 64, 64, 128, 128, 128)  # SCNN.py, class SCNN: of the 3 x 3 convolutions
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 2)  # likewise
PROJECTION = 256  # likewise: both 1 x 1 convolutions behind the average
STRIDE = 16  # of the maps


class SyntheticClass(NamedTuple):
    """What was done to an image: the kind of distortion, and its level from 1 (weak)."""

    distortion: str
    level: int


#: The 39 classes in the order of the logits; there is none for images without a distortion.
CLASSES = tuple(SyntheticClass(distortion, level) for distortion, levels in (
    ("blur", 5), ("dithering", 5), ("over_exposure", 2), ("under_exposure", 2), ("white_noise", 5), ("jpeg", 5),
    ("jpeg2000", 5), ("contrast", 5), ("pink_noise", 5)) for level in range(1, levels + 1))


class SCNN(nn.Module):
    """A classifier of 39 synthetic distortions and levels, whose maps DB-CNN uses; it gives no quality score.

    Args:
        parameters: ``"dbcnn_scnn"``, the authors' (shipped); another name in
            :data:`iqa_lab.backbones.weights_table.WEIGHTS`; a file in their layout or with this module's state; or
            ``"random"`` for an untrained network.
        n_types: how many classes it tells apart, a type and a level each.

    Raises:
        FileNotFoundError: the file is absent. ValueError: it holds other keys or shapes.
    """

    patch_size, learns_levels = 224, True  # SCNN.py: crops of images whose shorter side was resized to 256

    def __init__(self, *, parameters: str | Path = "dbcnn_scnn", n_types: int = len(CLASSES)) -> None:
        super().__init__()
        self.parameters_name, self.n_types = str(parameters), n_types
        self.trunk = Trunk()
        self.projection = nn.Sequential(block(CHANNELS[-1], PROJECTION, 1), block(PROJECTION, PROJECTION, 1))
        self.classifier = nn.Linear(PROJECTION, n_types)
        self.trunk.untrained = parameters == "random"
        if self.trunk.untrained:
            initialise(self)
        else:
            path = find_weights(parameters)
            load_strictly(self, own_names(read_state(path)), path)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the maps of the last 3 x 3 convolution, 0 or more, shape (N, 128, ceil(H / 16), ceil(W / 16)).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 16 pixels.
        """
        check_images(image, minimum_side=STRIDE)
        return self.trunk(image)

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """Returns one number for each class, shape (N, n_types), in the type of the network; the largest is its answer.

        Args: as :meth:`features`. The network was trained on crops of 224 of images that were resized to 256 pixels on
            the shorter side.
        """
        pooled = self.features(image).mean((2, 3), keepdim=True)
        return self.classifier(self.projection(pooled).flatten(1))

    def types(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the class of each image, int64 of shape (N,). Args: as :meth:`logits`."""
        return self.logits(image).argmax(1)

    def type_loss(self, crops: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Returns the mean cross-entropy of the classes; no opinion score is needed.

        Args:
            crops: shape (N, P, C, side, side), P crops of each of N images, in [0, 1].
            classes: what was done to each image, int64 of shape (N,); position in ``CLASSES`` for the authors' 39.
        """
        return F.cross_entropy(self.logits(crops.flatten(0, 1)), classes.repeat_interleave(crops.shape[1]))

    def extra_repr(self) -> str:
        untrained = " (UNTRAINED: random weights)" if self.trunk.untrained else ""
        return f"parameters={Path(self.parameters_name).name!r}{untrained}, n_types={self.n_types}"


def block(inputs: int, outputs: int, kernel: int, stride: int = 1) -> ConvNorm:
    """Returns a convolution with batch normalisation and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
    return ConvNorm(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Trunk(nn.Sequential):
    """The nine 3 x 3 convolutions, from images in [0, 1] to maps with a 16th of their side."""

    def __init__(self) -> None:
        super().__init__(*(block(inputs, outputs, 3, stride) for inputs, outputs, stride in
                           zip((3, *CHANNELS), CHANNELS, STRIDES)))
        self.untrained = True
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the maps, shape (N, 128, ceil(H / 16), ceil(W / 16))."""
        x = (image.to(self.mean.dtype) - self.mean) / self.std  # one gray channel becomes three
        return super().forward(x.contiguous(memory_format=torch.channels_last))  # faster on a CPU

    def train(self, mode: bool = True) -> Trunk:
        """Keeps evaluation mode unless the network itself is trained: frozen batch statistics stay as they are."""
        return super().train(mode and any(parameter.requires_grad for parameter in self.parameters()))

    def extra_repr(self) -> str:
        return "UNTRAINED: random weights" if self.untrained else ""


def initialise(network: nn.Module) -> None:
    """Fills a network with the code's first weights: He's normal ones, no bias."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)


def own_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the state by this module's names: the authors' ``features.4.weight`` is ``trunk.1.1.weight``."""
    def renamed(key: str) -> str:
        found = re.fullmatch(r"(features|projection)\.(\d+)\.(\w+)", key)
        if not found:
            return key
        part, position = found[1].replace("features", "trunk"), int(found[2])
        return f"{part}.{position // 3}.{position % 3}.{found[3]}"

    return {renamed(key): value for key, value in state.items()}
