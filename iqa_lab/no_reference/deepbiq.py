"""DeepBIQ: a classification network learns five classes of quality; a regressor scores the features of each crop.

Paper: S. Bianco, L. Celona, P. Napoletano, R. Schettini, "On the use of deep learning for blind image quality assessment",
    Signal, Image and Video Processing 12(2), 2018, doi:10.1007/s11760-017-1166-8.
Reference: no code of the authors; the unofficial port fyqgit/deepbiq at add0217 (AlexNet, crops of 224, its fine-tuning).
Deviations: a reconstruction from the abstract, the port and notes, not from the paper's text. (1) The authors' network is
    Caffe's AlexNet on crops of 227, also trained on places; here it is torchvision's, on crops of 224. (2) The crops are a
    grid from border to border; the port's ends before the right and the lower border. Smaller images are taken as they
    are. (3) Features come from behind the ReLU of the last hidden layer; the port's from before it (``layer="fc7"``).
    (4) Classes are equal fifths of the training part's range of opinions. (5) ``parameters`` from the fine-tuning alone
    give a score too: the middle of each class, weighted by its probability. (6) A regressor learns from at most about
    4000 crops.
Chapter: 30

Fine-tuning in the port: stochastic gradient descent, rate 0.1, divided by 10 after every 100 of 300 epochs, momentum 0.9,
weight decay 1e-4, batches of 256 random crops, mirrored at random.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.checkpoints import load_strictly, read_state
from iqa_lab.backbones.features import FeatureExtractor, choose_trainable, few_crops
from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import check_images
from iqa_lab.no_reference.regression import UNTRAINED, load_fitting
from iqa_lab.ops.resize import resize

SIDE = 224  # of the crops
CLASSES = 5  # bad, poor, fair, good, excellent
MINIMUM_SIDE = 64  # one position of AlexNet's last maps
POOLED = ("scores", "features")
NO_REGRESSOR = ("Expected parameters of DeepBIQ, found none: nothing is published. Train a regressor with `iqa-lab train "
                "deepbiq` and give parameters=Path('.../regressor.npz'), or fine-tune the network with "
                "iqa_lab.training.train and give its weights.pt, or ask for parameters='random'.")


class DeepBIQ(nn.Module):
    """Quality as the mean score of crops; lower is better, with a fine-tuned network's classes as the opinions it learned.

    Args:
        backbone, weights: as :class:`iqa_lab.backbones.features.FeatureExtractor`.
        layer: of the backbone, with the features.
        crops_per_side: 5 is a grid of 25 crops; None for the whole image resized to one.
        pooled: ``"scores"`` averages the scores of the crops, ``"features"`` their features, of which one score is made.
        tuned: the state of this module after fine-tuning, whose features are then taken.
        parameters: the path of a regressor that ``iqa-lab train`` wrote (.npz) or a name in
            :data:`iqa_lab.backbones.weights_table.WEIGHTS`; a state after fine-tuning (.pt), whose classes are the score
            then; ``"untrained"`` for features alone; or ``"random"`` for untrained classes. There is no default.

    Raises:
        FileNotFoundError: no parameters given, or a file is absent. ValueError: unknown backbone, layer or word, or a file
            with other tensors.
    """

    patch_size, targets_from_0_to_1 = SIDE, True

    def __init__(self, *, backbone: str = "alexnet", layer: str = "relu7", crops_per_side: int | None = 5,
                 pooled: str = "scores", weights: str | Path = "imagenet", tuned: str | Path | None = None,
                 parameters: str | Path | None = None) -> None:
        super().__init__()
        if parameters is None:
            raise FileNotFoundError(NO_REGRESSOR)
        if pooled not in POOLED:
            raise ValueError(f"Expected pooled {' or '.join(POOLED)}, got {pooled!r}.")
        self.layer, self.crops_per_side, self.pooled = layer, crops_per_side, pooled
        self.backbone = FeatureExtractor(backbone, (layer,), weights=weights)
        width = self.crop_features(torch.zeros(1, 3, SIDE, SIDE)).shape[1]
        source = None if parameters in (UNTRAINED, "random") else find_weights(parameters)
        by_class = parameters == "random" or source is not None and source.suffix != ".npz"
        self.classes = QualityClasses(width) if by_class or tuned else None
        if tuned or by_class and source:
            self._load(source if by_class else find_weights(tuned))
        self.untrained = parameters == "random"
        self.regressor = None if by_class else load_fitting(parameters, (width,), NO_REGRESSOR)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the score of each image, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 64 pixels.
        """
        features = self.features(image)
        scores = self.regressor(features) if self.regressor else self.classes.scores(features).view(len(image), -1).mean(1)
        return scores.to(image.dtype)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Returns what the regressor takes, in the network's type: shape (N, P, D) of P crops, or (N, D) of their mean.

        Args: as :meth:`forward`.
        """
        check_images(image, minimum_side=MINIMUM_SIDE)
        if self.crops_per_side is None:
            crops, order = resize(image, size=(SIDE, SIDE)).clamp(0, 1)[:, None], [0]
        else:
            crops, order = grid_crops(image, self.crops_per_side)
        features = torch.cat([self.crop_features(some) for some in few_crops(crops.flatten(0, 1))]).unflatten(0, crops.shape[:2])[:, order]
        return features if self.pooled == "scores" else features.mean(1)

    def crop_features(self, crops: torch.Tensor) -> torch.Tensor:
        """Returns the features of each crop, the mean over the positions where there are several, shape (P, D).

        Args:
            crops: shape (P, C, H, W), RGB or gray in [0, 1].
        """
        features = self.backbone(crops.contiguous(memory_format=torch.channels_last))[self.layer]  # faster on a CPU
        return features.mean((2, 3)) if features.ndim == 4 else features

    def loss(self, crops: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the cross-entropy of the classes of quality; every crop has its image's class.

        Args:
            crops: shape (N, P, C, 224, 224), P crops of each of N images, in [0, 1].
            targets: opinion scores in [0, 1], shape (N,).
        """
        logits = self.classes(self.crop_features(crops.flatten(0, 1)))
        return F.cross_entropy(logits, quality_classes(targets).repeat_interleave(crops.shape[1]))

    def set_trainable(self, part: str) -> None:
        """Chooses what is fine-tuned: ``"head"`` for the last layer alone, as at first, or ``"all"``, as in the port.

        Raises:
            ValueError: another word.
        """
        choose_trainable(part, self, self.backbone)

    @torch.no_grad()
    def rescale_output(self, mean: float, scale: float) -> None:
        """Makes the classes give scale * score + mean."""
        self.classes.middles.mul_(scale).add_(mean)

    def extra_repr(self) -> str:
        untrained = "UNTRAINED: random weights, " if self.untrained else ""
        return f"{untrained}crops_per_side={self.crops_per_side}, pooled={self.pooled!r}"

    def _load(self, path: Path) -> None:
        load_strictly(self, read_state(path), path)
        self.backbone.untrained, self.backbone.weights = False, path


class QualityClasses(nn.Linear):
    """The last layer of the fine-tuned network: how likely each class of quality is, before the softmax."""

    def __init__(self, features: int) -> None:
        super().__init__(features, CLASSES)
        self.register_buffer("middles", (torch.arange(CLASSES) + 0.5) / CLASSES)  # of the classes, on the opinions' scale

    def scores(self, features: torch.Tensor) -> torch.Tensor:
        """Returns the expected middle of the class, shape (...), from features (..., D)."""
        return self(features).softmax(-1) @ self.middles


def quality_classes(targets: torch.Tensor) -> torch.Tensor:
    """Returns the class of each opinion score, int64: 0 up to and with 0.2, 1 up to and with 0.4, and so on to 4.

    Args:
        targets: in [0, 1].
    """
    edges = torch.arange(1, CLASSES, device=targets.device, dtype=targets.dtype) / CLASSES
    return torch.bucketize(targets, edges)


def grid_crops(image: torch.Tensor, per_side: int) -> tuple[torch.Tensor, list[int]]:
    """Returns the different crops of a grid, evenly spread from border to border, and which of them is at each place.

    Args:
        image: shape (N, C, H, W); a side below 224 is taken whole.
        per_side: rows and columns of the grid; 1 is the middle.

    Returns:
        Crops of shape (N, P', C, min(H, 224), min(W, 224)), and the numbers of per_side^2 crops, row by row.
    """
    starts = [crop_starts(side, per_side) for side in image.shape[2:]]
    (rows, first), (columns, second) = ((sorted(set(some)), [sorted(set(some)).index(start) for start in some])
                                        for some in starts)
    top, left = (torch.tensor(some, device=image.device)[:, None] + torch.arange(min(side, SIDE), device=image.device)
                 for some, side in zip((rows, columns), image.shape[2:]))
    crops = image[:, :, top[:, None, :, None], left[None, :, None, :]]  # N, C, rows, columns, side, side
    return crops.permute(0, 2, 3, 1, 4, 5).flatten(1, 2), [i * len(columns) + j for i in first for j in second]


def crop_starts(side: int, count: int) -> list[int]:
    """Returns where the crops along one side begin."""
    room = max(side - SIDE, 0)
    return [round(room * i / (count - 1)) for i in range(count)] if count > 1 else [room // 2]
