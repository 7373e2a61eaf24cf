"""BACKBONES: the pretrained networks, their layers by the names of the papers, and how files name their tensors.

Networks are torchvision's own modules, and a small one of ours (``efficientnet_lite0``). torchvision is imported where it
is needed: it is slow to import, and most of the package works without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from iqa_lab.backbones.efficientnet_lite import efficientnet_lite0_modules, rename_official

State = Mapping[str, torch.Tensor]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of RGB in [0, 1]
VGG16_BLOCKS = (2, 2, 3, 3, 3)  # convolutions before each pooling
CLASSIFIER = ("fc6", "relu6", "fc7", "relu7", "fc8")  # of AlexNet and VGG-16; their dropout does nothing after training


class Layer(NamedTuple):
    """One named layer; it works on the output of the one before."""

    name: str  # the paper's
    official: str  # how the names of its tensors begin in the files of its publisher
    module: nn.Module


@dataclass(frozen=True)
class Backbone:
    """One network.

    Attributes:
        layers: returns its layers in order.
        weights: rows of ``WEIGHTS`` with its ImageNet weights, the smallest file first; the last one is complete.
        official: turns the tensors of any of these files into the publisher's layout.
        mean, std: subtracted from RGB in [0, 1], and divided by.
    """

    layers: Callable[[], list[Layer]]
    weights: tuple[str, ...]
    official: Callable[[State], State]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


def alexnet() -> list[Layer]:
    """conv1, relu1, pool1 to pool5, flatten, fc6 to fc8, with 64, 192, 384, 256 and 256 maps."""
    from torchvision import models

    network = models.alexnet(weights=None)
    names = "conv1 relu1 pool1 conv2 relu2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5".split()
    return [*_features(names, network), *_classifier(network, (1, 2, 4, 5, 6))]


def vgg16() -> list[Layer]:
    """conv1_1, relu1_1, conv1_2, relu1_2, pool1 to pool5, flatten, fc6 to fc8."""
    from torchvision import models

    network = models.vgg16(weights=None)
    names = [name for block, n in enumerate(VGG16_BLOCKS, 1)
             for name in (*(f"{kind}{block}_{i}" for i in range(1, n + 1) for kind in ("conv", "relu")), f"pool{block}")]
    return [*_features(names, network), *_classifier(network, (0, 1, 3, 4, 6))]


def squeezenet() -> list[Layer]:
    """Version 1.1: conv1, relu1, pool1, fire2, fire3, pool3, fire4, fire5, pool5, fire6 to fire9, conv10, relu10, pool10."""
    from torchvision import models

    network = models.squeezenet1_1(weights=None)
    names = "conv1 relu1 pool1 fire2 fire3 pool3 fire4 fire5 pool5 fire6 fire7 fire8 fire9".split()
    _, conv10, relu10, pool10 = network.classifier
    return [*_features(names, network), Layer("conv10", "classifier.1", conv10), Layer("relu10", "", relu10),
            Layer("pool10", "", nn.Sequential(pool10, nn.Flatten()))]


def resnet50() -> list[Layer]:
    """conv1, bn1, relu1, pool1, layer1 to layer4 (conv2_x to conv5_x of the paper), pool, fc."""
    from torchvision import models

    *parts, (_, pool), (_, fc) = models.resnet50(weights=None).named_children()
    names = {"relu": "relu1", "maxpool": "pool1"}
    return [*(Layer(names.get(name, name), name, module) for name, module in parts),
            Layer("pool", "", nn.Sequential(pool, nn.Flatten())), Layer("fc", "fc", fc)]


def mobilenet() -> list[Layer]:
    """Version 2: stem, block1 to block17, head, pool, fc."""
    from torchvision import models

    network = models.mobilenet_v2(weights=None)
    names = ["stem", *(f"block{i}" for i in range(1, len(network.features) - 1)), "head"]
    return [*_features(names, network), Layer("pool", "", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())),
            Layer("fc", "classifier.1", network.classifier[1])]


def efficientnet_lite0() -> list[Layer]:
    """stem, block0 to block15, head, pool, fc."""
    return [Layer(name, name, module) for name, module in efficientnet_lite0_modules().items()]


def whole_or_features(state: State) -> State:
    """Returns torchvision's layout of a state that may hold the features alone: ``3.weight`` is ``features.3.weight``."""
    return {f"features.{key}" if key[0].isdigit() else key: value for key, value in state.items()}


def unfolded(state: State) -> State:
    """Returns torchvision's layout of a MobileNetV2 whose batch normalisation was folded into its convolutions.

    Each normalisation gets the convolution's bias and otherwise does nothing. A state in torchvision's layout is left
    as it is.
    """
    if "conv_0.weight" not in state:
        return state
    numbers = sorted({int(key.split("_")[1].split(".")[0]) for key in state if key.startswith("conv_")})
    with torch.device("meta"):
        modules = [(f"{layer.official}.{name}", module) for layer in mobilenet() for name, module in layer.module.named_modules()]
    convolutions = [name for name, module in modules if isinstance(module, nn.Conv2d)]
    norms = [(name, module.eps) for name, module in modules if isinstance(module, nn.BatchNorm2d)]
    whole = {"classifier.1.weight": state["classifier.weight_int8dequant"], "classifier.1.bias": state["classifier.bias"]}
    for number, convolution, (norm, epsilon) in zip(numbers, convolutions, norms, strict=True):
        bias = state[f"conv_{number}.bias"]
        whole |= {f"{convolution}.weight": state[f"conv_{number}.weight"], f"{norm}.bias": bias,
                  f"{norm}.weight": torch.ones_like(bias), f"{norm}.running_mean": torch.zeros_like(bias),
                  f"{norm}.running_var": torch.full_like(bias, 1 - epsilon)}
    return whole


def _features(names: list[str], network: nn.Module) -> list[Layer]:
    return [Layer(name, f"features.{i}", module) for i, (name, module) in
            enumerate(zip(names, network.features, strict=True))]


def _classifier(network: nn.Module, positions: tuple[int, ...]) -> list[Layer]:
    flatten = Layer("flatten", "", nn.Sequential(network.avgpool, nn.Flatten()))
    return [flatten, *(Layer(name, f"classifier.{i}", network.classifier[i]) for name, i in zip(CLASSIFIER, positions, strict=True))]


BACKBONES: dict[str, Backbone] = {
    "alexnet": Backbone(alexnet, ("alexnet_features", "alexnet_imagenet"), whole_or_features),
    "squeezenet": Backbone(squeezenet, ("squeezenet_features", "squeezenet_imagenet"), whole_or_features),
    "vgg16": Backbone(vgg16, ("vgg16_blocks_1_and_2", "vgg16_imagenet"), whole_or_features),
    "resnet50": Backbone(resnet50, ("resnet50_imagenet",), dict),
    "mobilenet": Backbone(mobilenet, ("mobilenet_folded", "mobilenet_imagenet"), unfolded),
    "efficientnet_lite0": Backbone(efficientnet_lite0, ("efficientnet_lite0_imagenet",), rename_official,
                                   mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
}


def find_backbone(name: str) -> Backbone:
    """Returns the row of that name; ValueError with the known ones otherwise."""
    if name not in BACKBONES:
        raise ValueError(f"Expected a backbone ({', '.join(BACKBONES)}), got {name!r}.")
    return BACKBONES[name]


def layer_names(backbone: str) -> list[str]:
    """Returns the names of a network's layers in order; ValueError for an unknown network."""
    row = find_backbone(backbone)
    with torch.device("meta"):  # no memory, no random numbers
        return [layer.name for layer in row.layers()]
