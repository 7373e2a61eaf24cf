"""HyperIQA: one network looks at a photo and writes the weights of a second one, which judges it.

Paper: S. Su, Q. Yan, Y. Zhu, C. Zhang, X. Ge, J. Sun, Y. Zhang, "Blindly assess image quality in the wild guided by a
    self-adaptive hyper network", CVPR 2020, doi:10.1109/CVPR42600.2020.00372.
Reference: the authors' code, SSL92/hyperIQA at 685d4af (models.py, HyerIQASolver.py). Written from the code, the paper was
    not at hand: the networks without ``multi_scale`` or ``hyper`` are our reading of its ablation.
Deviations: (1) The code scores 25 random crops, other ones each time; here they lie on a grid from border to border.
    (2) Images smaller than a crop are taken as they are, and pooled to the same grids; the code refuses them. (3) The
    maps are pooled before the 1 x 1 convolutions and not behind them, and the weights of all layers come from one
    convolution: the same numbers but for rounding. (4) Batch statistics stay as they are while the backbone is frozen.
    (5) Opinion scores are standardised during training, and the last layer is scaled back afterwards. (6) First
    weights are He's, as in the code; the paper has Xavier's.
Chapter: 32

Training: Adam, rate 2e-5, ten times that for what ``parameter_groups`` says, weight decay 5e-4, 25 crops of
each image, 96 crops in a step, all images mirrored at random. The paper has 15 epochs and divides the rate by 10 after
each 5; the code has 16 and divides after each 6, but its optimiser is made anew after each epoch from an iterator that is
empty by then: the hyper network learns in the first epoch alone, and the rate of the backbone never falls. The code
reports the epoch that is best on the test images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.checkpoints import load_strictly, load_without, read_state
from iqa_lab.backbones.features import FeatureExtractor, choose_trainable, few_crops
from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import check_images
from iqa_lab.no_reference.hyperiqa_networks import LAST, ContentVector, HyperNetwork, SameForAll, target_network

SIDE = 224  # of the crops
TAPS = ("layer1", "layer2", "layer3", "layer4")  # models.py, class ResNetBackbone: of ResNet-50
RATE_RATIO = 10  # HyerIQASolver.py: learning rate of the hyper network over that of the backbone
MINIMUM_SIDE = 32
#: The layer's name here -> in the authors' files, in pyiqa's; ResNet-50 is ``res`` or ``base_model`` there.
LAYER_NAMES = {
    **{f"content.reduce.{k}": (f"res.lda{k + 1}_pool.0", f"lda_modules.{k}.0") for k in range(3)},
    **{f"content.fc.{k}": (f"res.lda{k + 1}_fc", f"lda_modules.{k}.{3 if k < 3 else 2}") for k in range(4)},
    **{f"rules.reduce.{k}": (f"conv1.{k}",) for k in (0, 2, 4)}}
#: Layers that are one here, and several in both.
JOINED_LAYERS = {
    "rules.matrices": ([f"fc{k}w_conv" for k in range(1, 5)], [f"fc_w_modules.{k}" for k in range(4)]),
    "rules.vectors": ([*(f"fc{k}b_fc" for k in range(1, 5)), "fc5w_fc", "fc5b_fc"],
                      [*(f"fc_b_modules.{k}.2" for k in range(4)), "fc_w_modules.4.2", "fc_b_modules.4.2"])}
NO_NETWORK = ("Expected parameters of HyperIQA, found none. The authors' koniq_pretrained.pkl (trained on KonIQ-10k) is "
              "linked in the README of github.com/SSL92/hyperIQA, pyiqa has HyperIQA-resnet50-koniq10k-c96c41b1.pth; give "
              "such a file to HyperIQA.from_official. Or train one with iqa_lab.training.train and give its weights.pt, or "
              "ask for parameters='random'.")


class HyperIQA(nn.Module):
    """Quality as the mean score of crops; the direction is that of the opinion scores it learned.

    At first the backbone is frozen.

    Args:
        backbone, weights: as :class:`iqa_lab.backbones.features.FeatureExtractor`.
        layers: four of the backbone, from large maps to small ones; for crops of 224 best of 56, 28, 14 and 7 pixels.
        multi_scale: the content vector comes from all four maps, by the local distortion aware modules; False: from the
            last one.
        hyper: the target network's weights are written for each crop; False: they are learned, the same for all. With
            neither it is the backbone with a plain head.
        crops_per_side: 5 is a grid of 25 crops, 1 is the crop in the middle. Places that coincide are taken once.
        parameters: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`; a file with this module's state, with or
            without that of its backbone; or ``"random"`` for an untrained head. There is no default.

    Raises:
        FileNotFoundError: no parameters given, or a file is absent; says where the authors' is.
        ValueError: unknown backbone, not four layers, or a file with other keys or shapes.
    """

    patch_size = SIDE

    def __init__(self, *, backbone: str = "resnet50", layers: Sequence[str] = TAPS, multi_scale: bool = True,
                 hyper: bool = True, crops_per_side: int = 5, weights: str | Path = "imagenet",
                 parameters: str | Path | None = None) -> None:
        super().__init__()
        if parameters is None:
            raise FileNotFoundError(NO_NETWORK)
        if len(layers) != len(TAPS):
            raise ValueError(f"Expected {len(TAPS)} layers, got {len(layers)}: {', '.join(layers)}.")
        self.multi_scale, self.hyper, self.crops_per_side = multi_scale, hyper, crops_per_side
        self.parameters_name, self.untrained = str(parameters), parameters == "random"
        self.backbone = FeatureExtractor(backbone, layers, weights=weights)
        channels = [maps.shape[1] for maps in self.backbone(torch.zeros(1, 3, 64, 64)).values()]
        self.content = ContentVector(channels, multi_scale=multi_scale)
        self.rules = HyperNetwork(channels[-1]) if hyper else SameForAll()
        if not self.untrained:
            self._load(find_weights(parameters))

    @classmethod
    def from_official(cls, path: str | Path) -> HyperIQA:
        """Returns the network of a file in the layout of the authors or of pyiqa, strictly loaded.

        Their names are ``res.conv1.weight`` and ``fc1w_conv.weight``, or ``base_model.conv1.weight`` and
        ``fc_w_modules.0.weight``. Checked by layout only: no such file was at hand.

        Args:
            path: the file.

        Raises:
            FileNotFoundError: no such file. ValueError: another network.
        """
        path = Path(path)
        system = cls(weights="random", parameters="random")
        load_strictly(system, own_names(read_state(path)), path)
        system._say_trained(path)
        return system

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the mean score of a grid of crops of 224 x 224, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 32 pixels.
        """
        check_images(image, minimum_side=MINIMUM_SIDE)
        crops = grid_crops(image, self.crops_per_side).flatten(0, 1)
        scores = torch.cat([self.crop_scores(few) for few in few_crops(crops)])
        return scores.view(len(image), -1).mean(1).to(image.dtype)

    def crop_scores(self, crops: torch.Tensor) -> torch.Tensor:
        """Returns the score of each crop, shape (P,), in the type of the network.

        Args:
            crops: shape (P, C, 224, 224), RGB or gray in [0, 1]; other sizes from 32 pixels on work as well.
        """
        maps = list(self.backbone(crops.contiguous(memory_format=torch.channels_last)).values())  # faster on a CPU
        return target_network(self.content(maps), self.rules(maps[-1]))

    def generated_weights(self, image: torch.Tensor) -> torch.Tensor:
        """Returns what is written for the crop in the middle: all weights and biases of its target network.

        Args: as :meth:`forward`.

        Returns:
            Shape (N, 33545), in the type of the network; without ``hyper`` all rows are the same.
        """
        check_images(image, minimum_side=MINIMUM_SIDE)
        *_, last = self.backbone(grid_crops(image, 1)[:, 0]).values()
        return self.rules(last)

    def loss(self, crops: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the mean absolute error; every crop has its image's opinion score.

        Args:
            crops: shape (N, P, C, 224, 224), P crops of each of N images, in [0, 1].
            targets: opinion scores, shape (N,).
        """
        scores = self.crop_scores(crops.flatten(0, 1)).view(crops.shape[:2])
        return F.l1_loss(scores, targets[:, None].expand_as(scores))

    def set_trainable(self, part: str) -> None:
        """Chooses what is trained: ``"head"`` for all but the backbone, or ``"all"``, as the paper does.

        Raises:
            ValueError: another word.
        """
        choose_trainable(part, self, self.backbone)

    def parameter_groups(self) -> list[dict]:
        """Returns the groups of an optimiser; ``rate_ratio`` is how many times the learning rate each has.

        As in the code, the local distortion aware modules belong to the slow group, with the backbone.
        """
        slow = [p for part in (self.backbone, self.content) for p in part.parameters() if p.requires_grad]
        return [{"params": slow, "rate_ratio": 1}, {"params": list(self.rules.parameters()), "rate_ratio": RATE_RATIO}]

    @torch.no_grad()
    def rescale_output(self, mean: float, scale: float) -> None:
        """Makes the network return scale * score + mean, by changing what the target network's last layer comes from."""
        tensors = self.rules.last_layer()
        for tensor in tensors:
            tensor[-LAST:].mul_(scale)
        tensors[-1][-1].add_(mean)  # the bias of the bias

    def extra_repr(self) -> str:
        untrained = " (UNTRAINED: random weights)" if self.untrained else ""
        return (f"parameters={Path(self.parameters_name).name!r}{untrained}, multi_scale={self.multi_scale}, "
                f"hyper={self.hyper}, crops_per_side={self.crops_per_side}")

    def _load(self, path: Path) -> None:
        if load_without(self, read_state(path), path, "backbone."):
            self._say_trained(path)

    def _say_trained(self, path: Path) -> None:
        """Notes that everything, the backbone too, came from this file."""
        self.parameters_name, self.backbone.weights = str(path), path
        self.untrained = self.backbone.untrained = False


def grid_crops(image: torch.Tensor, per_side: int) -> torch.Tensor:
    """Returns crops of 224 x 224 of each image, evenly spread from border to border, row by row.

    Args:
        image: shape (N, C, H, W); a side below 224 is taken whole.
        per_side: rows and columns of crops; 1 is the middle.

    Returns:
        Shape (N, P, C, min(H, 224), min(W, 224)); places that coincide come once.
    """
    rows, columns = (crop_places(side, per_side, image.device) for side in image.shape[2:])
    crops = image[:, :, rows[:, None, :, None], columns[None, :, None, :]]  # N, C, rows, columns, side, side
    return crops.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)


def crop_places(side: int, count: int, device: torch.device) -> torch.Tensor:
    """Returns the pixels of each crop along one side, shape (count or less, min(side, 224))."""
    room = max(side - SIDE, 0)
    starts = sorted({round(room * i / (count - 1)) for i in range(count)}) if count > 1 else [room // 2]
    return torch.tensor(starts, device=device)[:, None] + torch.arange(min(side, SIDE), device=device)


def own_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the state of either layout under this module's names; unknown names stay as they are."""
    ours = {other: layer for layer, others in LAYER_NAMES.items() for other in others}
    renamed = {}
    for key, value in state.items():
        layer, _, kind = key.rpartition(".")
        network, _, rest = key.partition(".")
        new = f"backbone.network.{rest}" if network in ("res", "base_model") else key
        renamed[f"{ours[layer]}.{kind}" if layer in ours else new] = value
    for joined, layouts in JOINED_LAYERS.items():
        for keys in ([f"{layer}.{kind}" for layer in layers] for layers in layouts for kind in ("weight", "bias")):
            if all(key in renamed for key in keys):
                renamed[f"{joined}.{keys[0].rpartition('.')[2]}"] = torch.cat([renamed.pop(key) for key in keys])
    return renamed
