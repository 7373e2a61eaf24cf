"""LPIPS: learned perceptual image patch similarity, a weighted distance between the feature maps of a pretrained network.

Paper: R. Zhang, P. Isola, A. A. Efros, E. Shechtman, O. Wang, "The unreasonable effectiveness of deep features as a
    perceptual metric", CVPR 2018, doi:10.1109/CVPR.2018.00068.
Reference: the authors' richzhang/PerceptualSimilarity at 082bb24, with its released weights of the layers.
Deviations: (1) Images lie in [0, 1]. The authors' scaling of [-1, 1], minus (-.030, -.088, -.188) and divided by (.458,
    .448, .450), is then minus (.485, .456, .406), divided by (.229, .224, .225): the numbers of ImageNet, exactly. Version
    0.0 of the code forgot the scaling: its networks see [-1, 1]. (2) Where all channels are 0 the norm has the gradient
    0; the code's is not a number. (3) Dropout acts only while the weights are trained; in the code it also does so
    when somebody calls ``train()`` for another reason. (4) Weights that are trained anew start at 0 or above; the code
    draws them symmetrically around 0 and projects them after the first step. (5) The projection touches the weights of
    the layers only; the code's also clips every 1 x 1 convolution of a SqueezeNet that is tuned.
Chapter: 21
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.checkpoints import load_strictly, read_state
from iqa_lab.backbones.features import FeatureExtractor, initialise, pair_features, pair_scores
from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import check_images
from iqa_lab.ops.elementwise import safe_sqrt

EPSILON = 1e-10  # the code: added to the norm, not under the root
DROPOUT = 0.5  # the code: of the squared differences, in front of the weights
VERSIONS = ("0.0", "0.1")
VARIANTS = ("heads", "tune", "scratch")  # Section 4: "lin", "tune" and "scratch"


class Backbone(NamedTuple):
    """One of the networks: its name in the authors' files, the smallest side of an image, and the channels by layer."""

    official: str
    minimum_side: int
    channels: dict[str, int]


BACKBONES = {
    "alexnet": Backbone("alex", 31, {"relu1": 64, "relu2": 192, "relu3": 384, "relu4": 256, "relu5": 256}),
    "squeezenet": Backbone("squeeze", 17, {"relu1": 64, "fire3": 128, "fire5": 256, "fire6": 384, "fire7": 384,
                                           "fire8": 512, "fire9": 512}),
    "vgg16": Backbone("vgg", 16, {"relu1_2": 64, "relu2_2": 128, "relu3_3": 256, "relu4_3": 512, "relu5_3": 512}),
}

Features = Mapping[str, torch.Tensor]


class LPIPS(nn.Module):
    """Distance of two images, eq. (1): squared differences of normalised feature maps, weighted by channel.

    Args:
        backbone: ``"alexnet"`` (what the authors advise for judging), ``"squeezenet"`` or ``"vgg16"`` (for losses).
        version: of the authors' weights; ``"0.0"`` is their first release, whose networks see unscaled images.
        heads: False is the paper's baseline, with all weights 1.
        weights: of the backbone, as :class:`iqa_lab.backbones.features.FeatureExtractor` takes them.
        parameters: ``"official"`` for the authors' heads of this backbone and version (shipped); a file with the state
            of such a module, or of its ``heads`` alone; or ``"random"``. A whole state brings its backbone too, and
            ``weights`` may then be ``"random"``.

    Raises:
        ValueError: unknown backbone or version, parameters for no heads, or a file with other tensors.
        FileNotFoundError: no weights of the backbone, with the way to them.
    """

    def __init__(self, *, backbone: str = "alexnet", version: str = "0.1", heads: bool = True,
                 weights: str | Path = "imagenet", parameters: str | Path = "official") -> None:
        super().__init__()
        if backbone not in BACKBONES or version not in VERSIONS:
            raise ValueError(f"Expected a backbone ({', '.join(BACKBONES)}) and a version ({', '.join(VERSIONS)}), "
                             f"got {backbone!r} and {version!r}.")
        if not heads and parameters != "official":
            raise ValueError(f"Expected no parameters for heads=False, got {parameters!r}; take one of the two away.")
        self.facts, self.version = BACKBONES[backbone], version
        self.parameters_name = str(parameters) if heads else "none, all weights 1"
        self.untrained = parameters == "random"
        self.network = FeatureExtractor(backbone, tuple(self.facts.channels), weights=weights)
        if version == "0.0":
            self.network.mean.fill_(0.5)
            self.network.std.fill_(0.5)
        # Pairs, since ParameterDict sorts a dict; SqueezeNet's first layer would come last.
        self.heads = nn.ParameterDict([(layer, torch.ones(n)) for layer, n in self.facts.channels.items()])
        if self.untrained:
            self._draw_heads()
        elif isinstance(parameters, Path):
            self._load(parameters)
        elif heads:
            name = f"lpips_v{version}_{self.facts.official}" if parameters == "official" else parameters
            self._load_official(find_weights(name))
        self.requires_grad_(False).eval()

    @classmethod
    def from_official(cls, path: str | Path, *, backbone: str, version: str, weights: str | Path) -> LPIPS:
        """Returns the system with heads from a file in the layout of the authors (``lin0.model.1.weight``, ...).

        Args:
            path: such a file.
            backbone, version, weights: as for the class.

        Raises:
            ValueError: a file with other tensors, which are named.
        """
        system = cls(backbone=backbone, version=version, weights=weights, parameters="random")
        system._load_official(Path(path))
        system.parameters_name, system.untrained = str(path), False
        return system

    def forward(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns the distance, shape (N,), 0 for identical images; lower is better.

        Args:
            distorted, reference: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 31 pixels for AlexNet, 17
                for SqueezeNet and 16 for VGG-16.

        Raises:
            TypeError, ValueError: as :func:`iqa_lab.images.check_images`.
        """
        check_images(distorted, reference, minimum_side=self.facts.minimum_side)
        return pair_scores(self, self.network, distorted, reference)

    def spatial_map(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns where the images differ, shape (N, 1, H, W): each layer's distances, bilinearly enlarged, and added.

        Its mean is the score, or near it where a side is no multiple of a layer's stride. Args, errors: as :meth:`forward`.
        """
        check_images(distorted, reference, minimum_side=self.facts.minimum_side)
        d, r = pair_features(self.features, distorted, reference)
        maps = [((d[layer] - r[layer]).square() * head.view(-1, 1, 1)).sum(1, keepdim=True)
                for layer, head in self.heads.items()]
        enlarged = [F.interpolate(x, distorted.shape[2:], mode="bilinear", align_corners=False) for x in maps]
        return torch.stack(enlarged).sum(0).to(distorted.dtype)

    def features(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Returns the maps by layer, shape (N, C, H', W'), each pixel's channels divided by their Euclidean norm.

        Those of a reference can be kept for many distorted images.

        Args:
            image: shape (N, C, H, W), as in :meth:`forward`.
        """
        check_images(image, minimum_side=self.facts.minimum_side)
        return {layer: unit_length(maps) for layer, maps in self.network(image).items()}

    def distance(self, features: Features, reference_features: Features) -> torch.Tensor:
        """Returns the distance, shape (N,), of what :meth:`features` gave, in the type of the network.

        Args:
            features, reference_features: of N images each, or of one image, which is then compared with all others.
        """
        return self.layer_distances(features, reference_features).sum(1)

    def layer_distances(self, features: Features, reference_features: Features) -> torch.Tensor:
        """Returns the share of each layer in the distance, shape (N, layers).

        Args: as :meth:`distance`.
        """
        shares = []
        for layer, head in self.heads.items():
            difference = features[layer] - reference_features[layer]
            squares = F.dropout(difference * difference, DROPOUT, self.training)
            shares.append((squares.mean((2, 3)) * head).sum(1))
        return torch.stack(shares, 1)

    def set_trainable(self, variant: str) -> None:
        """Chooses what is trained; until then nothing is. ``requires_grad_(False)`` freezes all again.

        Args:
            variant: ``"heads"`` for the weights of the layers as they are; ``"tune"`` for the backbone as well;
                ``"scratch"`` for both, from random numbers.

        Raises:
            ValueError: another word.
        """
        if variant not in VARIANTS:
            raise ValueError(f"Expected one of {', '.join(VARIANTS)}, got {variant!r}.")
        if variant == "scratch":
            initialise(self.network.network)
            self._draw_heads()
            self.untrained = self.network.untrained = True
        self.heads.requires_grad_(True)
        self.network.requires_grad_(variant != "heads")

    @torch.no_grad()
    def project(self) -> None:
        """Sets negative weights to 0, after each step of a training (Section 4)."""
        for head in self.heads.values():
            head.clamp_(min=0)

    def train(self, mode: bool = True) -> LPIPS:
        """Keeps evaluation mode, without dropout, unless something of it is trained."""
        return super().train(mode and any(parameter.requires_grad for parameter in self.parameters()))

    def extra_repr(self) -> str:
        untrained = " (UNTRAINED: random weights)" if self.untrained else ""
        return f"version={self.version!r}, parameters={Path(self.parameters_name).name!r}{untrained}"

    @torch.no_grad()
    def _draw_heads(self) -> None:
        """Draws the heads as torch does a 1 x 1 convolution, and projects them."""
        for head in self.heads.values():
            head.uniform_(-len(head)**-0.5, len(head)**-0.5)
        self.project()

    def _load(self, path: Path) -> None:
        state = read_state(path)
        if any(key.startswith("judge.") for key in state):  # a training's state; the judge is thrown away
            state = {key.removeprefix("metric."): value for key, value in state.items() if not key.startswith("judge.")}
        if any(key.startswith("network.") for key in state):
            load_strictly(self, state, path)
            self.network.untrained = False
        else:
            load_strictly(self.heads, {key.removeprefix("heads."): value for key, value in state.items()}, path)

    def _load_official(self, path: Path) -> None:
        ours = {f"lin{i}.model.1.weight": layer for i, layer in enumerate(self.heads)}
        load_strictly(self.heads, {ours.get(key, key): value.flatten() for key, value in read_state(path).items()}, path)


def unit_length(maps: torch.Tensor) -> torch.Tensor:
    """Returns each pixel's channels divided by their Euclidean norm, 0 where all are 0.

    Args:
        maps: shape (N, C, H, W); overwritten unless a gradient is wanted.
    """
    norm = safe_sqrt((maps * maps).sum(1, keepdim=True)) + EPSILON
    return maps / norm if maps.requires_grad else maps.div_(norm)
