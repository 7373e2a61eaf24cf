"""SWDN: the distance of LPIPS, with each feature vector compared with the most similar one nearby.

Paper: J. Gu, H. Cai, H. Chen, X. Ye, J. Ren, C. Dong, "Image quality assessment for perceptual image restoration: a new
    dataset, benchmark and metric", arXiv:2011.15002, 2020: the space warping difference network, by the authors of PIPAL
    (ECCV 2020, doi:10.1007/978-3-030-58621-8_37).
Reference: none. The authors' HaomingCai/PIPAL-dataset at 4f3d8f3 holds neither the network nor its parameters.
Deviations: this is a reconstruction. Known from the abstract: L2 pooling layers, space warping difference layers, and the
    aim of tolerating misalignment. From memory: AlexNet, and heads trained as those of LPIPS. Our choices: the layers of
    LPIPS, the kernel of DISTS for the L2 pooling, matching by the squared distance of normalised vectors, the range of 1,
    the same in every layer, the soft minimum, and edge vectors repeated beyond the border. No trained heads exist:
    ``"uniform"`` weighs all maps alike, as LPIPS does without its heads.
Chapter: 24
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.checkpoints import load_strictly, read_state
from iqa_lab.backbones.features import FeatureExtractor, pair_scores
from iqa_lab.backbones.weights import find_weights
from iqa_lab.full_reference.dists import L2Pooling
from iqa_lab.full_reference.lpips import BACKBONES, unit_length
from iqa_lab.images import check_images

Maps = Mapping[str, torch.Tensor]


class SWDN(nn.Module):
    """Space warping difference network: LPIPS that looks for each vector's match within a few samples.

    Without trained heads it is a distance of features, not a model of human opinion. ``heads.requires_grad_(True)`` lets
    heads be trained, with the judge of LPIPS or otherwise.

    Args:
        backbone: ``"alexnet"``, ``"squeezenet"`` or ``"vgg16"``, with the layers of LPIPS; the authors' is ``"alexnet"``.
        weights: of the backbone, as in :class:`iqa_lab.backbones.features.FeatureExtractor`.
        parameters: one weight per map: ``"uniform"``, all 1, not trained; or heads by a name in
            :data:`iqa_lab.backbones.weights_table.WEIGHTS` (``"lpips_v0.1_alex"``: those of LPIPS, trained without
            warping); or a file in that layout, with the state of ``heads``, or written by a training.
        range: R; the match is sought among the (2 R + 1)^2 vectors around each position. 0 compares vectors in place.
        temperature: tau of the soft minimum, in squared distances of vectors of length 1; 0 takes the nearest one.
        anti_aliased: blurred L2 pooling in the place of max pooling. Without it and with ``range=0`` this is LPIPS.

    Raises:
        FileNotFoundError: a parameter file is absent; the message says where it comes from.
        ValueError: an unknown backbone, a negative range or temperature, or a file with other names or shapes.
    """

    def __init__(self, *, backbone: str = "alexnet", weights: str | Path = "imagenet", parameters: str | Path = "uniform",
                 range: int = 1, temperature: float = 0.0, anti_aliased: bool = True) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise ValueError(f"Expected a backbone of SWDN ({', '.join(BACKBONES)}), got {backbone!r}.")
        if range < 0 or temperature < 0:
            raise ValueError(f"Expected a range and a temperature of 0 or more, got {range} and {temperature}.")
        self.parameters_name, self.range, self.temperature = str(parameters), range, temperature
        self.facts = BACKBONES[backbone]
        self.heads = nn.ParameterDict([(layer, torch.ones(n)) for layer, n in self.facts.channels.items()])
        if parameters != "uniform":
            self._load(find_weights(parameters))
        self.extractor = FeatureExtractor(backbone, tuple(self.facts.channels), weights=weights,
                                          pooling=L2Pooling if anti_aliased else None)
        self.requires_grad_(False).eval()

    def forward(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns the distance of each pair; it is not symmetric, unless the range is 0.

        Args:
            distorted, reference: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 31 pixels for AlexNet, 17
                for SqueezeNet and 16 for VGG-16.

        Returns:
            Shape (N,), 0 for identical images at temperature 0 (above it their neighbours count), with uniform heads at
            most 2 for each layer; lower is better.

        Raises:
            TypeError, ValueError: as :func:`iqa_lab.images.check_images`.
        """
        check_images(distorted, reference, minimum_side=self.facts.minimum_side)
        return pair_scores(self, self.extractor, distorted, reference)

    def features(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Returns the maps by layer, with vectors of length 1 (or 0); those of a reference can be kept.

        Args:
            image: shape (N, C, H, W), as in :meth:`forward`.
        """
        check_images(image, minimum_side=self.facts.minimum_side)
        return {layer: unit_length(maps) for layer, maps in self.extractor(image).items()}

    def distance(self, distorted: Maps, reference: Maps) -> torch.Tensor:
        """Returns the distance of images whose :meth:`features` are given, shape (N,).

        Args:
            distorted, reference: of N images each, or of one image on one side that is compared with all on the other.
        """
        return sum(self.difference_map(distorted[layer], reference[layer], head).mean((1, 2))
                   for layer, head in self.heads.items())

    def difference_map(self, x: torch.Tensor, y: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
        """Returns the weighted squared difference of each vector of x and its match in y, shape (N, H, W).

        Args:
            x, y: maps of one layer, as :meth:`features` gives them.
            head: weights of the C maps.
        """
        plain, weighted = window_differences(x, y, head, self.range)
        return soft_minimum(plain, weighted, self.temperature)

    @torch.no_grad()
    def project(self) -> None:
        """Sets negative weights to 0, after each step of a training."""
        for head in self.heads.values():
            head.clamp_(min=0)

    def extra_repr(self) -> str:
        heads = "'uniform' (NOT TRAINED)" if self.parameters_name == "uniform" else repr(Path(self.parameters_name).name)
        return f"heads={heads}, range={self.range}, temperature={self.temperature:g}"

    def _load(self, path: Path) -> None:
        ours = {f"lin{i}.model.1.weight": layer for i, layer in enumerate(self.heads)}
        ours |= {f"metric.heads.{layer}": layer for layer in self.heads}  # of a training, whose backbone was frozen
        state = {ours.get(name, name): value.flatten() for name, value in read_state(path).items()
                 if not name.startswith(("judge.", "metric.extractor."))}
        load_strictly(self.heads, state, path)


def displacements(radius: int) -> list[tuple[int, int]]:
    """Returns the (2 R + 1)^2 displacements (rows, columns) of the window, the shortest first.

    >>> displacements(1)[:3]
    [(0, 0), (-1, 0), (0, -1)]
    """
    return sorted(itertools.product(range(-radius, radius + 1), repeat=2), key=lambda v: v[0] ** 2 + v[1] ** 2)


def window_differences(x: torch.Tensor, y: torch.Tensor, head: torch.Tensor,
                       radius: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns sum_c (x_c(p) - y_c(p + v))^2, and the same sum weighted by the head, for each displacement v.

    One displacement is taken at a time: the windows themselves would need (2 R + 1)^2 times the memory of y, and ten times
    as long.

    Args:
        x, y: shape (N, C, H, W); N may be 1 on one side. Beyond the border of y its edge vectors repeat.
        head: shape (C,).
        radius: R.

    Returns:
        Two tensors of shape ((2 R + 1)^2, N, H, W), in the order of :func:`displacements`.
    """
    height, width = y.shape[2:]
    padded = F.pad(y, (radius,) * 4, mode="replicate") if radius else y
    sums = torch.stack((torch.ones_like(head), head))[:, :, None, None]  # 2, C, 1, 1
    differences = (x - padded[:, :, radius + i:radius + i + height, radius + j:radius + j + width]
                   for i, j in displacements(radius))
    return torch.stack([F.conv2d(difference * difference, sums) for difference in differences]).unbind(2)


def soft_minimum(plain: torch.Tensor, weighted: torch.Tensor, temperature: float) -> torch.Tensor:
    """Returns the weighted differences averaged with weights proportional to exp(-plain / tau), or of the nearest match.

    Args:
        plain, weighted: shape (K, N, H, W).
        temperature: tau; 0 takes the one with the smallest plain difference, the shortest displacement among equals.

    Returns:
        Shape (N, H, W).
    """
    if temperature == 0:
        return weighted.gather(0, plain.argmin(0, keepdim=True)).squeeze(0)
    return (weighted * F.softmax(-plain / temperature, 0)).sum(0)
