"""NIMA: a classification network learns how the ratings of people spread over ten bins, not their mean alone.

Paper: H. Talebi, P. Milanfar, "NIMA: neural image assessment", IEEE Transactions on Image Processing 27(8), 2018,
    doi:10.1109/TIP.2018.2831899.
Reference: the authors published neither code nor a trained network, and the paper was not at hand: a reconstruction from
    two ports, kentsyx/Neural-IMage-Assessment at ac2e508 and idealo/image-quality-assessment at dceaf7c.
Deviations: (1) The last layer of the backbone is replaced, as the paper is quoted: of VGG-16 fc6 and fc7 stay. The port of
    kentsyx takes them away (``layer="flatten"``), idealo's averages the maps (``layer="pool5"`` does so here). (2) Images
    are squeezed to 224 x 224 by bilinear interpolation with smoothing; the port of idealo picks the nearest pixel, the
    other one cuts a random crop. (3) The backbone is frozen at first; both ports train it too, that of kentsyx at a
    tenth of the rate. (4) The standard deviation is sqrt(sum p (bin - mean)^2); the test script of kentsyx adds up the root
    of each term. (5) Inception-v2 and MobileNet v1, two of the paper's three networks, are not among our backbones.
Chapter: 31
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.checkpoints import load_without, read_state
from iqa_lab.backbones.features import FeatureExtractor, choose_trainable
from iqa_lab.backbones.networks import find_backbone
from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import NETWORK_PIXELS, check_images, few_at_a_time
from iqa_lab.ops.elementwise import safe_power, safe_sqrt
from iqa_lab.subjective.distributions import N_BINS

SIDE = 224  # of an image that is squeezed, and of the crops in training
DROPOUT = 0.75  # in front of the last layer
R_TRAINING, R_REPORTED = 2, 1  # r of the earth mover's distance: as the loss, and in tables
#: What the last layer sees of each backbone; maps are averaged.
LAYERS = {"vgg16": "relu7", "alexnet": "relu7", "resnet50": "pool", "mobilenet": "pool", "efficientnet_lite0": "pool",
          "squeezenet": "fire9"}
MINIMUM_SIDE = 32
PIXELS = 4 * NETWORK_PIXELS  # looked at together on a CPU, whose cache holds the maps of five squeezed images
NO_NETWORK = ("Expected parameters of NIMA, found none: its authors published no trained network. Train one with "
              "iqa_lab.training.train on distributions of ratings and give its weights.pt, or ask for parameters='random'.")


class NIMA(nn.Module):
    """The mean of a predicted distribution of ratings; the direction is that of the ratings it learned.

    Args:
        backbone, weights: as :class:`iqa_lab.backbones.features.FeatureExtractor`.
        layer: of the backbone, what the last layer of NIMA sees; None: the one in ``LAYERS``.
        squeezed: bring every image to 224 x 224, whatever its shape; False: look at the whole image as it is.
        cross_entropy: learn by cross-entropy, which does not know that bins have an order, for comparison.
        parameters: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`; a file with this module's state, with or
            without that of its backbone; or ``"random"`` for an untrained last layer. There is no default.

    Raises:
        FileNotFoundError: no parameters given, or a file is absent.
        ValueError: unknown backbone or layer, or a file with other keys or shapes.
    """

    patch_size, learns_distributions = SIDE, True

    def __init__(self, *, backbone: str = "vgg16", layer: str | None = None, squeezed: bool = True,
                 cross_entropy: bool = False, weights: str | Path = "imagenet",
                 parameters: str | Path | None = None) -> None:
        super().__init__()
        if parameters is None:
            raise FileNotFoundError(NO_NETWORK)
        find_backbone(backbone)  # raises for an unknown one
        self.layer, self.squeezed, self.cross_entropy = layer or LAYERS[backbone], squeezed, cross_entropy
        self.parameters_name, self.untrained = str(parameters), parameters == "random"
        self.backbone = FeatureExtractor(backbone, (self.layer,), weights=weights)
        self.head = nn.Linear(self._pooled(torch.zeros(1, 3, 64, 64)).shape[1], N_BINS)
        self.register_buffer("bins", torch.arange(1.0, N_BINS + 1))
        if not self.untrained:
            self._load(find_weights(parameters))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the mean rating, shape (N,), 1 to 10 unless :meth:`rescale_output` changed the bins.

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 32 pixels.
        """
        return self.mean_and_deviation(image)[0]

    def mean_and_deviation(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns mean and standard deviation of the predicted ratings, both of shape (N,).

        Args: as :meth:`forward`.
        """
        return mean_and_deviation(self.distribution(image), self.bins)

    def distribution(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the predicted share of ratings in each bin, shape (N, 10); rows sum to 1.

        Args: as :meth:`forward`.
        """
        check_images(image, minimum_side=MINIMUM_SIDE)
        if self.squeezed:
            image = F.interpolate(image, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
        logits = [self.logits(few) for few, in few_at_a_time(image, pixels=PIXELS)]
        return torch.cat(logits).softmax(1).to(image.dtype)

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the logarithm of each bin's share but for a constant, (N, 10), of images as they are (N, C, H, W)."""
        return self.head(F.dropout(self._pooled(image), DROPOUT, self.training))

    def loss(self, crops: torch.Tensor, distributions: torch.Tensor) -> torch.Tensor:
        """Returns the mean distance of predicted and true distributions; every crop has its image's.

        The distance is :func:`emd` with r = 2, or the cross-entropy.

        Args:
            crops: shape (N, P, C, H, W), P crops of each of N images, in [0, 1].
            distributions: shape (N, 10); rows sum to 1, as those of
                :func:`iqa_lab.subjective.distributions.rating_distributions`.
        """
        logits = self.logits(crops.flatten(0, 1))
        targets = distributions.to(logits).repeat_interleave(crops.shape[1], 0)
        if self.cross_entropy:
            return F.cross_entropy(logits, targets)
        return emd(logits.softmax(1), targets, r=R_TRAINING).mean()

    def set_trainable(self, part: str) -> None:
        """Chooses what is trained: ``"head"`` for all but the backbone, or ``"all"``, as the paper does.

        Raises:
            ValueError: another word.
        """
        choose_trainable(part, self, self.backbone)

    @torch.no_grad()
    def rescale_output(self, mean: float, scale: float) -> None:
        """Makes the network return scale * score + mean, by moving the bins.

        For ratings on a scale from low to high, given to
        :func:`iqa_lab.subjective.distributions.rating_distributions`, scores come on that scale with
        scale = (high - low) / 9 and mean = low - scale.
        """
        self.bins.mul_(scale).add_(mean)

    def extra_repr(self) -> str:
        untrained = " (UNTRAINED: random weights)" if self.untrained else ""
        return (f"parameters={Path(self.parameters_name).name!r}{untrained}, squeezed={self.squeezed}, "
                f"cross_entropy={self.cross_entropy}")

    def _pooled(self, image: torch.Tensor) -> torch.Tensor:
        features = self.backbone(image.contiguous(memory_format=torch.channels_last))[self.layer]  # faster on a CPU
        return features.mean((2, 3)) if features.ndim == 4 else features

    def _load(self, path: Path) -> None:
        if load_without(self, read_state(path), path, "backbone."):
            self.backbone.weights, self.backbone.untrained = path, False


def emd(p: torch.Tensor, q: torch.Tensor, *, r: float = R_REPORTED) -> torch.Tensor:
    """Returns ((1/K) sum_k |P_k - Q_k|^r)^(1/r) with the cumulative P and Q, shape (N,); 0 where p = q, else above.

    For one-dimensional bins that is the earth mover's distance: how much must be moved, how far.

    Args:
        p, q: distributions over the same K bins, shape (N, K); rows sum to 1.
        r: 1 to report, in bins times the share moved, over K; 2 to learn.
    """
    return safe_power(((p - q).cumsum(-1).abs() ** r).mean(-1), 1 / r)


def mean_and_deviation(distributions: torch.Tensor, bins: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns mean m = sum p b and standard deviation sqrt(sum p (b - m)^2) of each distribution, both of shape (N,).

    Args:
        distributions: p, shape (N, K); rows sum to 1.
        bins: b, the rating that each bin stands for, shape (K,).
    """
    bins = bins.to(distributions)
    mean = distributions @ bins
    return mean, safe_sqrt((distributions * (bins - mean[:, None]).square()).sum(1))
