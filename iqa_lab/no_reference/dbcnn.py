"""DB-CNN: a network that knows what is on the photo and one that knows distortions, joined by the products of their maps.

Paper: W. Zhang, K. Ma, J. Yan, D. Deng, Z. Wang, "Blind image quality assessment using a deep bilinear convolutional
    neural network", IEEE Transactions on Circuits and Systems for Video Technology 30(1), 2020,
    doi:10.1109/TCSVT.2018.2886771.
Reference: the authors' PyTorch code, zwx8981/DBCNN-PyTorch at 16c3156 (DBCNN.py). Written from the code, the paper was
    not at hand.
Deviations: (1) Other backbones by name, whose maps may have negative values: the root keeps their sign, as in the
    authors' MATLAB code of bilinear pooling; for VGG-16 nothing changes. (2) What is frozen keeps its batch statistics;
    the code lets those of S-CNN move even while only the last layer learns. (3) Opinion scores are standardised during
    training, and the last layer is scaled back afterwards; the code learns them as they are.
Chapter: 28

Training has two stages, each of 50 epochs with 8 images in a step: ``set_trainable("head")``, stochastic gradient descent,
rate 1e-3, momentum 0.9; then ``set_trainable("all")``, Adam, rate 1e-5; weight decay 5e-4 in both. The code keeps the
epoch that is best on the test images.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.checkpoints import check_names, load_strictly, read_state
from iqa_lab.backbones.features import FeatureExtractor, choose_trainable, few_images, load_backbone
from iqa_lab.backbones.networks import find_backbone
from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import check_images
from iqa_lab.no_reference.scnn import CHANNELS, SCNN, own_names

EPSILON = 1e-8  # DBCNN.py: under the root, whose slope at 0 is infinite
CROP = 448  # DBCNN.py: side of the crops of LIVE in the Wild; 432 for LIVE, whole images for CSIQ and TID2013
MINIMUM_SIDE = 16  # one position of the maps
NO_NETWORK = ("Expected parameters of DB-CNN, found none: its authors published S-CNN alone. The library pyiqa has networks "
              "in the same layout, such as DBCNN_KonIQ10k-2de81c0a.pth; give such a file to DBCNN.from_official. Or train "
              "one with iqa_lab.training.train and give its weights.pt, or ask for parameters='random'.")


class DBCNN(nn.Module):
    """Quality as a linear function of bilinearly pooled maps; the direction is that of the opinion scores it learned.

    At first only the last layer can be trained.

    Args:
        backbone, weights: as :class:`iqa_lab.backbones.features.FeatureExtractor`.
        layer: of the backbone, whose maps are multiplied with those of S-CNN.
        scnn: parameters of S-CNN, as :class:`iqa_lab.no_reference.scnn.SCNN` takes them; ``"random"`` shows what its
            training is good for.
        parameters: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`; a file with this module's state, or with
            its ``head`` alone (keys ``head.weight`` and ``head.bias``); or ``"random"`` for an untrained last layer.
            There is no default.
        patch_size: side of the crops to learn from.

    Raises:
        FileNotFoundError: no parameters given, or a file is absent; says where networks are.
        ValueError: unknown backbone or layer, or a file with other keys or shapes.
    """

    def __init__(self, *, backbone: str = "vgg16", layer: str = "relu5_3", weights: str | Path = "imagenet",
                 scnn: str | Path = "dbcnn_scnn", parameters: str | Path | None = None, patch_size: int = CROP) -> None:
        super().__init__()
        if parameters is None:
            raise FileNotFoundError(NO_NETWORK)
        self.parameters_name, self.untrained, self.patch_size = str(parameters), parameters == "random", patch_size
        self.backbone = FeatureExtractor(backbone, (layer,), weights=weights)
        self.scnn = SCNN(parameters=scnn).trunk
        channels = self.backbone(torch.zeros(1, 3, 64, 64))[layer].shape[1]
        self.head = nn.Linear(channels * CHANNELS[-1], 1)
        self.set_trainable("head")
        if self.untrained:
            nn.init.kaiming_normal_(self.head.weight)
            nn.init.zeros_(self.head.bias)
        else:
            self._load(find_weights(parameters))

    @classmethod
    def from_official(cls, path: str | Path) -> DBCNN:
        """Returns the network of a file in the authors' or in pyiqa's layout, which are the same, strictly loaded.

        Its names are ``features1.0.weight`` (VGG-16), ``features2.0.weight`` (S-CNN) and ``fc.weight``. Checked by layout
        only: no such file was at hand.

        Args:
            path: the file.

        Raises:
            FileNotFoundError: no such file. ValueError: another network.
        """
        path = Path(path)
        system, state = cls(weights="random", scnn="random", parameters="random"), read_state(path)
        parts = {"features1": {}, "features2": {}, "fc": {}}
        for key, value in state.items():
            parts.setdefault(key.split(".")[0], {})[key.partition(".")[2]] = value
        check_names(("features1", "features2", "fc"), parts, path)
        vgg16 = {f"features.{key}": value for key, value in parts["features1"].items()}
        load_backbone(system.backbone.network, vgg16, find_backbone("vgg16").layers(), path)
        scnn = own_names({f"features.{key}": value for key, value in parts["features2"].items()})
        load_strictly(system.scnn, {key.removeprefix("trunk."): value for key, value in scnn.items()}, path)
        load_strictly(system.head, parts["fc"], path)
        system._say_trained(path)
        return system

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the score of whole images, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 16 pixels.
        """
        check_images(image, minimum_side=MINIMUM_SIDE)
        scores = [self.head(self.pooled_products(part)).squeeze(1) for part in few_images(image)]
        return torch.cat(scores).to(image.dtype)

    def pooled_products(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the input of the last layer, shape (N, channels * 128), each row of length 1, in the network's type.

        While only the last layer learns, these can be kept.

        Args: as :meth:`forward`.
        """
        image = image.contiguous(memory_format=torch.channels_last)  # a third faster on a CPU
        (maps,) = self.backbone(image).values()
        return bilinear_pooling(maps, self.scnn(image))

    def loss(self, crops: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the mean squared error; every crop has its image's opinion score.

        Args:
            crops: shape (N, P, C, side, side), P crops of each of N images, in [0, 1].
            targets: opinion scores, shape (N,).
        """
        scores = self.head(self.pooled_products(crops.flatten(0, 1))).view(crops.shape[:2])
        return F.mse_loss(scores, targets[:, None].expand_as(scores))

    def set_trainable(self, part: str) -> None:
        """Chooses what is trained: ``"head"`` for the last layer, the first stage, or ``"all"``, the second one.

        Raises:
            ValueError: another word.
        """
        choose_trainable(part, self, self.backbone, self.scnn)

    @torch.no_grad()
    def rescale_output(self, mean: float, scale: float) -> None:
        """Makes the network return scale * score + mean, by changing its last layer."""
        self.head.weight.mul_(scale)
        self.head.bias.mul_(scale).add_(mean)

    def extra_repr(self) -> str:
        untrained = " (UNTRAINED: random weights)" if self.untrained else ""
        return f"parameters={Path(self.parameters_name).name!r}{untrained}, patch_size={self.patch_size}"

    def _load(self, path: Path) -> None:
        state = read_state(path)
        if any(not key.startswith("head.") for key in state):
            load_strictly(self, state, path)
            self._say_trained(path)
        else:
            load_strictly(self.head, {key.removeprefix("head."): value for key, value in state.items()}, path)

    def _say_trained(self, path: Path) -> None:
        """Notes that everything, the backbone too, came from this file."""
        self.parameters_name, self.backbone.weights = str(path), path
        self.untrained = self.backbone.untrained = self.scnn.untrained = False


def bilinear_pooling(maps: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Returns the products of all pairs of channels, averaged over positions, their signed roots, as vectors of length 1.

    Args:
        maps: shape (N, C, H, W).
        others: shape (N, D, H', W'), which are resized to (H, W) with corners on corners.

    Returns:
        Shape (N, C * D).
    """
    if maps.shape[2:] != others.shape[2:]:
        others = F.interpolate(others, maps.shape[2:], mode="bilinear", align_corners=True)
    products = (maps.flatten(2) @ others.flatten(2).mT / maps[0, 0].numel()).flatten(1)
    roots = (products.abs() + EPSILON).sqrt()
    return F.normalize(torch.where(products < 0, -roots, roots))
