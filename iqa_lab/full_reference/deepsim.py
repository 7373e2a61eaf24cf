"""DeepSim: SSIM between the activation maps of two images, layer by layer.

Paper: F. Gao, Y. Wang, P. Li, M. Tan, J. Yu, Y. Zhu, "DeepSim: deep similarity for image quality assessment",
    Neurocomputing 257, 2017, doi:10.1016/j.neucom.2017.01.054.
Reference: fei-aiart/deepsim at 54c7ada, the authors' MATLAB code (FR_DeepSim.m, MSSIM.m, pooling.m); the paper itself was
    not at hand.
Deviations: (1) VGG-16 is torchvision's, with normalised RGB, where the authors' (MatConvNet) takes 0..255 less the average
    image; their third input mode, raw pixels, fits no network of torchvision. Activations are then smaller, and the 1 in
    L of MSSIM.m weighs more. (2) The authors' 37 layers end with a softmax; the default here ends at pool5, since the fully
    connected layers tell objects apart and hold nine tenths of 553 MB. ``layers`` may name them. (3) The authors' function
    takes the standard deviation over the maps whenever a single pooling is asked for, so that their demo averages
    deviations of maps and means of vectors. Here each stage does what it is told.
Chapter: 20
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.features import FeatureExtractor
from iqa_lab.backbones.networks import VGG16_BLOCKS
from iqa_lab.images import PIXELS_AT_ONCE, check_images, number_at_once
from iqa_lab.ops.elementwise import safe_sqrt
from iqa_lab.ops.filters import filter_separable, gaussian_kernel
from iqa_lab.ops.resize import resize

K1, K2 = 0.01, 0.03  # MSSIM.m
SMALLEST_L = 1.0  # MSSIM.m: L = max(|x|, |y|, 1) over both maps; a map that is 0 in both images scores 1
WINDOW, SIGMA = 11, 1.5  # MSSIM.m: for maps of every size, with zeros beyond the border
ALPHA = 0.5  # pooling.m: share of the standard deviation in 'FD'
SIZE = 224  # ResizeFlag = 1: side of the network's input
VGG16_MAPS = tuple(name for block, convolutions in enumerate(VGG16_BLOCKS, 1) for name in (
    *(f"{kind}{block}_{i}" for i in range(1, convolutions + 1) for kind in ("conv", "relu")), f"pool{block}"))
SQUEEZENET_MAPS = ("conv1", "relu1", "pool1", "fire2", "fire3", "pool3", "fire4", "fire5", "pool5", "fire6", "fire7",
                   "fire8", "fire9")


class DeepSim(nn.Module):
    """The pooled SSIM of activation maps: inside each map, then over the maps of a layer, then over layers.

    Args:
        backbone, layers, weights: as :class:`iqa_lab.backbones.features.FeatureExtractor`.
        size: side to which both images are resized (the authors' mode 1), or None to keep theirs (mode -1).
        inside, over_maps, over_layers: three poolings, each as :func:`pooled` has them. With "SD", "MAD" or "FD" as
            ``inside`` or ``over_maps`` the score is a spread of similarities, 0 for identical images, and lower is better.
        L: dynamic range of the activations in SSIM's constants, None for the authors' rule.

    Raises:
        ValueError: unknown backbone, layer or pooling. FileNotFoundError: the weights are absent, with the way to them.
    """

    def __init__(self, *, backbone: str = "vgg16", layers: Sequence[str] = VGG16_MAPS, weights: str | Path = "imagenet",
                 size: int | None = SIZE, inside: str | float = 1.0, over_maps: str | float = 1.0,
                 over_layers: str | float = 1.0, L: float | None = None) -> None:
        super().__init__()
        for pooling in (inside, over_maps, over_layers):
            check_pooling(pooling)
        self.network = FeatureExtractor(backbone, layers, weights=weights)
        self.size, self.inside, self.over_maps, self.over_layers, self.L = size, inside, over_maps, over_layers, L

    def forward(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns the pooled layer scores, shape (N,), range [-1, 1], 1 for identical images; higher is better.

        Args:
            distorted, reference: shape (N, C, H, W), RGB or gray in [0, 1], sides of 11 pixels or more.
        """
        return pooled(self.layer_scores(distorted, reference), self.over_layers)

    def layer_scores(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns the score of each layer, shape (N, number of layers); arguments as :meth:`forward`."""
        check_images(distorted, reference, minimum_side=WINDOW)
        images = torch.cat((distorted, reference))
        maps = self.network(images if self.size is None else resize(images, size=(self.size, self.size)))
        return torch.stack([self.layer_score(*both.chunk(2)) for both in maps.values()], 1).to(distorted.dtype)

    def layer_score(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Returns the similarity of the activations of one layer, shape (N,).

        Args:
            x, y: maps (N, C, H, W), or vectors (N, C) and (N, C, 1, 1), which are taken as one signal and pooled once.
        """
        if x[0, 0].numel() == 1:
            x, y = (values.reshape(len(values), 1, -1, 1) for values in (x, y))
        few = number_at_once(x[:, 0].numel(), x.device, PIXELS_AT_ONCE)  # a third of the time on a CPU
        inside = torch.cat([pooled(similarity_map(*maps, self.L).flatten(2), self.inside)
                            for maps in zip(x.split(few, 1), y.split(few, 1), strict=True)], 1)  # N, C
        return inside[:, 0] if inside.shape[1] == 1 else pooled(inside, self.over_maps)

    def extra_repr(self) -> str:
        return (f"size={self.size}, inside={self.inside!r}, over_maps={self.over_maps!r}, over_layers={self.over_layers!r}, "
                f"L={self.L}")


def similarity_map(x: torch.Tensor, y: torch.Tensor, L: float | None = None) -> torch.Tensor:
    """Returns the SSIM of every position of every map, shape (N, C, H, W).

    Args:
        x, y: maps (N, C, H, W).
        L: dynamic range; None takes for each map the largest magnitude in both images, and at least 1.
    """
    if L is None:
        L = torch.maximum(*(maps.abs().amax((2, 3), keepdim=True) for maps in (x, y))).clamp_min(SMALLEST_L)
    C1, C2 = (K1 * L) ** 2, (K2 * L) ** 2
    s, d = x + y, x - y  # as in ssim.py: four filtered maps serve where x and y would need five
    mu_s, mu_d, s_squared, d_squared = local_means(torch.cat((s, d, s * s, d * d))).chunk(4)
    mu_s2, mu_d2 = mu_s * mu_s, mu_d * mu_d
    sigma_s2, sigma_d2 = s_squared - mu_s2, d_squared - mu_d2
    luminance = (mu_s2 - mu_d2 + 2 * C1) / (mu_s2 + mu_d2 + 2 * C1)
    return luminance * (sigma_s2 - sigma_d2 + 2 * C2) / (sigma_s2 + sigma_d2 + 2 * C2)


def local_means(maps: torch.Tensor) -> torch.Tensor:
    """Returns the Gaussian means of MATLAB's ``filter2(window, map, 'same')``, same shape.

    For a map of one row or column MSSIM.m lays its window along the rows. A signal is a column there, so that each of its
    values is only multiplied by the middle of the window.
    """
    window = gaussian_kernel(WINDOW, SIGMA, maps.dtype, maps.device)
    if 1 in maps.shape[2:]:
        return F.conv2d(maps.flatten(0, 1)[:, None], window.view(1, 1, 1, -1), padding=(0, WINDOW // 2)).view_as(maps)
    return filter_separable(maps, window, "zeros")


def pooled(values: torch.Tensor, pooling: str | float) -> torch.Tensor:
    """Returns the last axis pooled as pooling.m does it.

    Args:
        values: shape (..., n).
        pooling: "SD", the standard deviation (n - 1); "MAD", the mean absolute deviation; "FD", the mean of both; or a
            share p in (0, 1], the mean of the lowest ceil(p n) values, and 1 is the average.
    """
    if not isinstance(pooling, str):
        count = max(1, math.ceil(round(pooling * values.shape[-1], 9)))  # 0.7 of 10 is 7, also in floating point
        return (values if count == values.shape[-1] else values.topk(count, largest=False).values).mean(-1)
    deviations = values - values.mean(-1, keepdim=True)
    sd = safe_sqrt(deviations.square().sum(-1) / max(1, values.shape[-1] - 1))
    mad = deviations.abs().mean(-1)
    return {"SD": sd, "MAD": mad, "FD": ALPHA * sd + (1 - ALPHA) * mad}[pooling]


def check_pooling(pooling: str | float) -> None:
    """Raises ValueError for what :func:`pooled` does not know."""
    if pooling not in ("SD", "MAD", "FD") and (isinstance(pooling, str) or not 0 < pooling <= 1):
        raise ValueError(f"Expected pooling 'SD', 'MAD', 'FD' or a share in (0, 1], got {pooling!r}.")
