"""PQR: the probabilistic quality representation. A network learns how near a score is to five anchors, then a regression.

Paper: H. Zeng, L. Zhang, A. C. Bovik, "A probabilistic quality representation approach to deep blind image quality
    prediction", arXiv:1708.08190, 2017; in short at ICIP 2018.
Reference: the authors' MATLAB code, HuiZeng/BIQA_Toolbox at 39d6065 (TrainModel.m, NetIntial_S_CNN.m, myLoss.m,
    cnn_train_dag_modified.m, processOneImage_CNN.m). No trained network is published. Written from the code, the paper was
    not at hand.
Deviations: (1) The code subtracts the mean image of the training patches, here the mean colour of ImageNet is subtracted.
    (2) S_CNN has no batch normalisation in the code's own runs, which never switch it on; ``batch_norm`` does. (3) Scores
    are brought to 0..1 by the smallest and largest of the training part; the code takes those of the whole database, the
    test images too. (4) The grid of patches goes on to the last one that fits; the code leaves that one out where it ends
    at the border. (5) Until ``PQR.fit_regression`` was called, the score is the mean of the anchors under the
    probabilities. (6) AlexNet and ResNet-50 are torchvision's, with crops of 224 pixels, taken whole where an image is
    smaller; they are frozen at first, where the code trains all layers. (7) Anchors by Lloyd-Max, an option of the code
    that its runs do not use, are left out.
Chapter: 31

Training: 40 epochs with momentum .9, weight decay 5e-4 and a rate from 1e-2 to 1e-3, 1024 patches in a step, 500 of each
image. The code reports the epoch that is best on the test images.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import nn

from iqa_lab.backbones.checkpoints import load_strictly, load_without, read_state
from iqa_lab.backbones.features import FeatureExtractor, choose_trainable
from iqa_lab.backbones.networks import IMAGENET_MEAN
from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import NETWORK_PIXELS, check_images, number_at_once

N_ANCHORS, BETA = 5, 64.0  # training_testing_CNNs.m
CHANNELS, LAST_CHANNELS = (32, 64, 128, 256), 512  # NetIntial_S_CNN.m
DROPOUT = 0.5
HEAD_DEVIATION = math.sqrt(2) / 100  # of the last layer's first weights, whatever the number of anchors
STRIDE = 64  # processOneImage_CNN.m: of the patches of an image that is scored
S_CNN = "s_cnn"
#: What the last layer sees of each network, and the side of the patches.
LAYERS = {S_CNN: None, "alexnet": "relu7", "resnet50": "pool", "mobilenet": "pool", "efficientnet_lite0": "pool"}
SIDE, PRETRAINED_SIDE = 64, 224
PIXELS = 4 * NETWORK_PIXELS  # looked at together on a CPU, whose cache holds the maps of 64 small patches
NO_NETWORK = ("Expected parameters of PQR, found none: its authors published no trained network. Train one with "
              "iqa_lab.training.train and give its weights.pt, or ask for parameters='random'.")


class PQR(nn.Module):
    """Quality regressed from probabilities of quality anchors; the direction is that of the opinion scores it learned.

    Args:
        backbone: ``"s_cnn"``, the authors' small network, which learns from scratch; or a pretrained one in ``LAYERS``.
        n_anchors: K; 1 is the baseline SQR, which learns the score itself.
        batch_norm: of the S_CNN, behind its four 3 x 3 convolutions.
        weights: of a pretrained backbone, as :class:`iqa_lab.backbones.features.FeatureExtractor` takes them.
        parameters: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`; a file with this module's state, with or
            without that of a pretrained backbone; or ``"random"``. There is no default.

    Raises:
        FileNotFoundError: no parameters given, or a file is absent.
        ValueError: unknown backbone, or a file with other keys or shapes.
    """

    targets_from_0_to_1 = True

    def __init__(self, *, backbone: str = S_CNN, n_anchors: int = N_ANCHORS, batch_norm: bool = False,
                 weights: str | Path = "imagenet", parameters: str | Path | None = None) -> None:
        super().__init__()
        if parameters is None:
            raise FileNotFoundError(NO_NETWORK)
        if backbone not in LAYERS:
            raise ValueError(f"Expected a backbone ({', '.join(LAYERS)}), got {backbone!r}.")
        self.n_anchors, self.layer = n_anchors, LAYERS[backbone]
        self.patch_size = PRETRAINED_SIDE if self.layer else SIDE
        self.parameters_name, self.untrained = str(parameters), parameters == "random"
        if self.layer:
            self.backbone = FeatureExtractor(backbone, (self.layer,), weights=weights)
        else:
            self.backbone = create_s_cnn(batch_norm)
        channels = self._features(torch.zeros(1, 3, SIDE, SIDE)).shape[1] if self.layer else LAST_CHANNELS
        self.head = nn.Linear(channels, n_anchors)
        nn.init.normal_(self.head.weight, std=HEAD_DEVIATION)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("regression_weights", anchors(n_anchors).float() if n_anchors > 1 else torch.ones(1))
        self.register_buffer("regression_bias", torch.zeros(()))
        if not self.untrained:
            self._load(find_weights(parameters))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the score regressed from the mean probabilities, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 64 pixels.
        """
        vectors = self.vectors(image)
        return (vectors @ self.regression_weights + self.regression_bias).to(image.dtype)

    def vectors(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the mean over a grid of patches of :meth:`patch_vectors`, shape (N, K), in the type of the network.

        Args: as :meth:`forward`.
        """
        check_images(image, minimum_side=SIDE)
        height, width = (min(side, self.patch_size) for side in image.shape[2:])
        windows = image.unfold(2, height, STRIDE).unfold(3, width, STRIDE).permute(0, 2, 3, 1, 4, 5)  # a view
        places = torch.cartesian_prod(*(torch.arange(n, device=image.device) for n in windows.shape[:3]))
        few = number_at_once(height * width, image.device, PIXELS)
        found = [self.patch_vectors(windows[tuple(part.T)]) for part in places.split(few)]
        return torch.cat(found).view(len(image), -1, self.n_anchors).mean(1)

    def patch_vectors(self, patches: torch.Tensor) -> torch.Tensor:
        """Returns the probability of each anchor, shape (P, K); of SQR the score on the scale it learned, 0..1, (P, 1).

        Args:
            patches: shape (P, C, H, W), RGB or gray in [0, 1]; 64 x 64 for the S_CNN.
        """
        logits = self.logits(patches)
        return logits.softmax(1) if self.n_anchors > 1 else logits

    def logits(self, patches: torch.Tensor) -> torch.Tensor:
        """Returns what the last layer gives, shape (P, K). Args: as :meth:`patch_vectors`."""
        return self.head(F.dropout(self._features(patches), DROPOUT, self.training))

    def loss(self, crops: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the mean Kullback-Leibler divergence of label and probabilities; of SQR half the mean squared error.

        Args:
            crops: shape (N, P, C, side, side), P patches of each of N images, in [0, 1].
            targets: opinion scores in [0, 1], shape (N,); every patch has its image's.
        """
        logits = self.logits(crops.flatten(0, 1))
        targets = targets.to(logits).repeat_interleave(crops.shape[1])
        if self.n_anchors == 1:
            return F.mse_loss(logits.squeeze(1), targets) / 2
        return F.kl_div(logits.log_softmax(1), soft_labels(targets, n_anchors=self.n_anchors), reduction="batchmean")

    def fit_regression(self, vectors: ArrayLike, scores: ArrayLike) -> None:
        """Fits the linear nu support vector regression of the release (nu = 0.5, C = 1 for scores from 0 to 1).

        It takes the place of what :meth:`rescale_output` left, and its scores come on the scale of these.

        Args:
            vectors: of training images by :meth:`vectors`, or of training patches as the release, shape (n, K).
            scores: opinion scores on any scale, shape (n,).
        """
        from sklearn.svm import NuSVR  # slow to import

        scores = np.asarray(scores, dtype=float)
        low, span = scores.min(), np.ptp(scores)
        svr = NuSVR(kernel="linear", nu=0.5, C=1.0).fit(np.asarray(vectors, dtype=float), (scores - low) / span)
        self.regression_weights.copy_(torch.from_numpy(span * svr.coef_[0]))
        self.regression_bias.fill_(low + span * svr.intercept_.item())

    def set_trainable(self, part: str) -> None:
        """Chooses what is trained: ``"head"`` for all but the backbone, or ``"all"``, as the code does.

        Raises:
            ValueError: another word.
        """
        choose_trainable(part, self, self.backbone)

    @torch.no_grad()
    def rescale_output(self, mean: float, scale: float) -> None:
        """Makes the network return scale * score + mean, by changing the regression."""
        self.regression_weights.mul_(scale)
        self.regression_bias.mul_(scale).add_(mean)

    def extra_repr(self) -> str:
        untrained = " (UNTRAINED: random weights)" if self.untrained else ""
        return f"parameters={Path(self.parameters_name).name!r}{untrained}, n_anchors={self.n_anchors}"

    def _features(self, patches: torch.Tensor) -> torch.Tensor:
        if self.layer:
            return self.backbone(patches.contiguous(memory_format=torch.channels_last))[self.layer]  # faster on a CPU
        first = self.backbone[0].weight
        mean = torch.tensor(IMAGENET_MEAN, dtype=first.dtype, device=first.device).view(3, 1, 1)
        return self.backbone(255 * (patches.to(first.dtype) - mean)).flatten(1)  # one gray channel becomes three

    def _load(self, path: Path) -> None:
        if not self.layer:
            load_strictly(self, read_state(path), path)
        elif load_without(self, read_state(path), path, "backbone."):
            self.backbone.weights, self.backbone.untrained = path, False


def anchors(n_anchors: int) -> torch.Tensor:
    """Returns c_k, the middles of K equal parts of 0..1, float64 (K,): 0.1, 0.3, 0.5, 0.7, 0.9 for five."""
    return (torch.arange(n_anchors, dtype=torch.float64) + 0.5) / n_anchors


def soft_labels(scores: torch.Tensor, *, n_anchors: int = N_ANCHORS, beta: float = BETA) -> torch.Tensor:
    """Returns exp(-beta (s - c_k)^2) over the sum of all k, shape (n, K): how much each anchor has of a score.

    Args:
        scores: s, in [0, 1], shape (n,).
        n_anchors: K.
        beta: how soon an anchor's share falls with the distance.
    """
    return (-beta * (scores[:, None] - anchors(n_anchors).to(scores)).square()).softmax(1)


def create_s_cnn(batch_norm: bool) -> nn.Sequential:
    """Returns the S_CNN without its last layer, untrained: RGB patches (P, 3, 64, 64) minus a mean to (P, 512, 1, 1)."""
    layers: list[nn.Module] = []
    inputs = 3
    for outputs in CHANNELS:  # sides 62, 31; 29, 14; 12, 6; 4, 2: nothing is padded
        norm = [nn.BatchNorm2d(outputs)] if batch_norm else []
        layers += [nn.Conv2d(inputs, outputs, 3, bias=not batch_norm), *norm, nn.MaxPool2d(2), nn.ReLU(inplace=True)]
        inputs = outputs
    network = nn.Sequential(*layers, nn.Conv2d(inputs, LAST_CHANNELS, 2), nn.ReLU(inplace=True))
    for module in network:
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=math.sqrt(2 / (module.out_channels * module.weight[0, 0].numel())) / 2)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
