"""FeatureExtractor: the named feature maps of a pretrained network, for a whole batch, computed no further than asked.

Layers carry the names of the papers (``relu2_2``, ``fire5``, ``pool3``), not positions in somebody's list of modules.
Networks are torchvision's own modules, and a small one of ours (``efficientnet_lite0``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from iqa_lab.backbones.checkpoints import check_names, load_strictly, read_state
from iqa_lab.backbones.networks import Layer, find_backbone, layer_names
from iqa_lab.backbones.weights import find_weights, local_weights
from iqa_lab.backbones.weights_table import WEIGHTS
from iqa_lab.images import NETWORK_PIXELS, check_images, few_at_a_time

CROPS_AT_ONCE = 4  # of about 224 x 224, on a CPU, whose cache then holds the maps
PARTS = ("head", "all")
LARGEST_STRIDE = 64  # an image with longer sides leaves maps behind every layer


class FeatureExtractor(nn.Module):
    """The named feature maps of one network, in evaluation mode and frozen.

    Args:
        backbone: a key of :data:`iqa_lab.backbones.networks.BACKBONES`.
        layers: names of the maps wanted, in any order; ``layer_names`` lists those of a network.
        weights: ``"imagenet"``; a file in the layout of torchvision; or ``"random"`` for an untrained network, whose
            numbers come from torch's random generator.
        pooling: makes, from the number of channels, the module that takes the place of each max pooling.

    Raises:
        ValueError: unknown name, or a file with other tensors. FileNotFoundError: no weights, with the way to them.
    """

    def __init__(self, backbone: str, layers: Sequence[str], *, weights: str | Path = "imagenet",
                 pooling: Callable[[int], nn.Module] | None = None) -> None:
        super().__init__()
        row = find_backbone(backbone)
        with torch.device("meta"):  # only what is needed is then made
            all_layers = row.layers()
        names = [layer.name for layer in all_layers]
        unknown = [layer for layer in layers if layer not in names]
        if unknown or not layers:
            raise ValueError(f"Expected layers of {backbone} ({', '.join(names)}), got {', '.join(unknown) or 'none'}.")
        self.backbone, self.layers, self.weights, self.untrained = backbone, tuple(layers), weights, weights == "random"
        needed = all_layers[:max(names.index(layer) for layer in layers) + 1]
        first = next(part for part in needed[0].module.modules() if isinstance(part, nn.Conv2d))
        self.large_maps = first.stride == (1, 1)  # the first maps are as large as the image: VGG-16
        self.network = nn.ModuleDict({layer.name: layer.module for layer in needed}).to_empty(device="cpu")
        if self.untrained:
            initialise(self.network)
        else:
            path = Path(weights) if weights != "imagenet" else find_imagenet(backbone, needed[-1].name)
            load_backbone(self.network, row.official(read_state(path)), all_layers, path)
        if pooling:
            replace_pooling(self.network, pooling)
        self.register_buffer("mean", torch.tensor(row.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(row.std).view(3, 1, 1), persistent=False)
        self.write_in_place()
        self.requires_grad_(False).eval()

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Returns the wanted maps by layer, each of shape (N, C, H', W'), or (N, C) behind the pooling at the end.

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1].

        Raises:
            ValueError: an image that is too small for the layers.
        """
        check_images(image)
        # Not in torch.channels_last, though up to 1.8 times as fast on a CPU: maps would depend on the place in the batch,
        # and identical images would not have the distance 0.
        x = (image.to(self.mean.dtype) - self.mean) / self.std  # one gray channel becomes three
        found = {}
        for name, layer in self.network.items():
            try:
                x = layer(x)
            except RuntimeError as error:
                if "size" not in str(error) or min(image.shape[2:]) > LARGEST_STRIDE:
                    raise
                raise ValueError(f"Expected images large enough for {name} of {self.backbone}, got "
                                 f"{tuple(image.shape)}; its maps would be empty.") from error
            if name in self.layers:
                found[name] = x
        return {name: found[name] for name in self.layers}

    def train(self, mode: bool = True) -> FeatureExtractor:
        """Keeps evaluation mode unless the network itself is trained: frozen batch statistics stay as they are."""
        return super().train(mode and any(parameter.requires_grad for parameter in self.parameters()))

    def write_in_place(self) -> None:
        """Lets an activation write over its input, except where that input is wanted."""
        before = None
        for name, layer in self.network.items():
            if isinstance(layer, nn.ReLU):
                layer.inplace = before not in self.layers
            before = name

    def extra_repr(self) -> str:
        untrained = " (UNTRAINED: random weights)" if self.untrained else ""
        return f"{self.backbone!r}, {', '.join(self.layers)}, weights={Path(self.weights).name!r}{untrained}"


def choose_trainable(part: str, system: nn.Module, *networks: nn.Module) -> None:
    """Chooses what of a system is trained: ``"head"`` for all but its pretrained networks, or ``"all"``.

    Args:
        part: one of ``PARTS``.
        system: in training mode or not, which the networks follow when they are trained.
        networks: the pretrained ones.

    Raises:
        ValueError: another word.
    """
    if part not in PARTS:
        raise ValueError(f"Expected one of {', '.join(PARTS)}, got {part!r}.")
    for network in networks:
        network.requires_grad_(part == "all").train(part == "all" and system.training)


def few_images(image: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Returns the images (N, C, H, W) a few at a time; batches of 8 are up to 1.5 times as fast so on a CPU."""
    return tuple(part for part, in few_at_a_time(image, pixels=NETWORK_PIXELS))


def few_crops(crops: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Returns the crops (P, C, H, W) a few at a time, ``CROPS_AT_ONCE`` on a CPU."""
    return tuple(part for part, in few_at_a_time(crops, pixels=CROPS_AT_ONCE * crops[0, 0].numel()))


def few_pairs(distorted: torch.Tensor, reference: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Returns the pairs (N, C, H, W) a few at a time; all of them where the distorted images want a gradient, whose way
    back takes all maps."""
    together = torch.is_grad_enabled() and distorted.requires_grad
    return [(distorted, reference)] if together else few_at_a_time(distorted, reference, pixels=NETWORK_PIXELS)


def pair_features(features: Callable[[torch.Tensor], Mapping[str, torch.Tensor]], distorted: torch.Tensor,
                  reference: torch.Tensor, *,
                  large_maps: bool = False) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Returns the features of both images from one batch, or from two where only one image wants a gradient.

    Args:
        features: returns the maps of images by layer.
        distorted, reference: shape (N, C, H, W).
        large_maps: as :class:`FeatureExtractor` has it. On a CPU the maps of two images are then too large for memory that
            is used again (32 MB in the C library of Linux), and two batches are up to a sixth faster.
    """
    alone = torch.is_grad_enabled() and distorted.requires_grad != reference.requires_grad
    if alone or large_maps and distorted.device.type == "cpu":
        return features(distorted), features(reference)  # nothing is kept or computed for the other
    halves = {layer: maps.chunk(2) for layer, maps in features(torch.cat((distorted, reference))).items()}
    return {layer: half[0] for layer, half in halves.items()}, {layer: half[1] for layer, half in halves.items()}


def pair_scores(system: nn.Module, extractor: FeatureExtractor, distorted: torch.Tensor,
                reference: torch.Tensor) -> torch.Tensor:
    """Returns the distance of each pair, few pairs at a time, shape (N,), in the images' type.

    Args:
        system: with ``features(image)`` and ``distance(features, features)``.
        extractor: what its features come from.
        distorted, reference: shape (N, C, H, W).
    """
    scores = [system.distance(*pair_features(system.features, *pair, large_maps=extractor.large_maps))
              for pair in few_pairs(distorted, reference)]
    return torch.cat(scores).to(distorted.dtype)


def find_imagenet(backbone: str, last_layer: str) -> Path:
    """Returns a file with ImageNet weights of the layers up to ``last_layer``: one at hand, or the complete one.

    Raises:
        FileNotFoundError: none at hand, and the complete one cannot be downloaded; says how to get it.
    """
    names, candidates = layer_names(backbone), find_backbone(backbone).weights
    for name in candidates:
        end = WEIGHTS[name].last_layer
        if (not end or names.index(last_layer) <= names.index(end)) and (path := local_weights(name)):
            return path
    return find_weights(candidates[-1])


def load_backbone(network: nn.ModuleDict, official: Mapping[str, torch.Tensor], layers: Sequence[Layer], source: Path) -> None:
    """Puts a state in the publisher's layout into the first layers of a network, strictly.

    Args:
        network: the first of the layers, by name.
        official: may hold layers behind them as well.
        layers: all of the whole network.
        source: for the message.

    Raises:
        ValueError: tensors that are missing, unexpected or of another shape; they are named.
    """
    ours = {f"{layer.official}.{name}": f"{layer.name}.{name}" for layer in layers for name in layer.module.state_dict()}
    state = {ours.get(key, key): value for key, value in official.items()}
    needed = network.state_dict()
    behind = {key for key in state if key in ours.values()} - set(needed)
    check_names({*needed, *behind}, state, source)
    load_strictly(network, {key: value for key, value in state.items() if key in needed}, source)


def initialise(network: nn.Module) -> None:
    """Fills a network with random weights: He's for convolutions and fully connected layers, no bias."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def replace_pooling(network: nn.ModuleDict, pooling: Callable[[int], nn.Module]) -> None:
    """Puts ``pooling(channels)`` in the place of every max pooling."""
    channels = 0
    for name, module in network.items():
        if isinstance(module, nn.MaxPool2d):
            network[name] = pooling(channels)
        widths = [part.out_channels for part in module.modules() if isinstance(part, nn.Conv2d)]
        # A fire module ends with two convolutions side by side.
        channels = sum(widths[-2:]) if name.startswith("fire") else widths[-1] if widths else channels
