"""DIQA: a network first learns the map of errors, for which it needs the reference but no people, and then the opinion.

Paper: J. Kim, A.-D. Nguyen, S. Lee, "Deep CNN-based blind image quality predictor", IEEE Transactions on Neural Networks
    and Learning Systems 30(1), 2019, doi:10.1109/TNNLS.2018.2829819.
Reference: the authors published neither code nor a trained network, and the paper was not at hand: a reconstruction from
    two ports, the PyTorch code lllllllllllll-llll/DIQA at 5534cfe and the TensorFlow notebook train-diqa-base of
    ocampor/image-quality, and from the authors' slides on DeepBQA, which has the same first stage. The two features beside
    those of the network are in neither port.
Deviations: (1) The low-frequency image is that of the authors' code for DeepQA (binomial filters, halved twice and
    enlarged), with mirrored borders; the ports take a box or a Gaussian and other interpolations. (2) Luma lies in [0, 1],
    as in the PyTorch port. There alpha = 1 saturates nowhere: the reliability is proportional to \\|I^\\|. ``alpha=255`` is
    alpha = 1 for 8-bit values, as in the notebook, which also has 0.2. (3) The ports shrink target and reliability by
    picking samples; here blocks of 4 x 4 are averaged, and up to three last rows and columns of an image are left out.
    (4) Stage 2 has a ReLU between its two layers, as the notebook, and minimises the squared error of each crop; the PyTorch
    port has neither. (5) First weights are He's. (6) ``width`` makes all layers narrower, for training without a GPU.
Chapter: 27
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.checkpoints import load_strictly, read_state
from iqa_lab.backbones.weights import find_weights
from iqa_lab.full_reference.deepqa import remove_low_frequencies
from iqa_lab.full_reference.wadiqam_fr import narrowed
from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.ops.color import rgb_to_luma
from iqa_lab.ops.elementwise import safe_sqrt
from iqa_lab.ops.filters import pad

P = 0.2  # exponent of the error map
ALPHA = 1.0  # of the reliability map
SHRINKING = 4  # pixels to a place of the maps, on each side
#: Kernels and stride of each convolution of 3 x 3.
CONVOLUTIONS = ((48, 1), (48, 2), (64, 1), (64, 2), (64, 1), (64, 1), (128, 1), (128, 1))
HIDDEN = 128  # of the fully connected layer
PATCH = 112  # config.yaml of the PyTorch port
MINIMUM_SIDE = 16  # of an image: maps of 4 x 4
BORDER = 12  # mirrored pixels around an image: the filters of the low-frequency image reach 10 of them
NOISE = 1e-6  # a mean reliability below it is rounding: the image is flat
NO_NETWORK = ("Expected parameters of DIQA, found none: its authors published no trained network. Train one with "
              "iqa_lab.training.train and give its weights.pt, or ask for parameters='random'.")


class DIQA(nn.Module):
    """Quality from the mean features of a network that predicts the error map; the direction is that of its opinion scores.

    Args:
        parameters: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`; a file with this module's state; or
            ``"random"`` for an untrained network. There is no default, because there is no published network.
        alpha: how soon the reliability saturates with the high frequencies, which are those of an image in [0, 1].
        handcrafted: let the score also see the mean reliability and the deviation of the low-frequency image.
        width: factor on the number of channels; 1 is the paper's network.

    Raises:
        FileNotFoundError: no parameters given, or the file is absent.
        ValueError: the file holds other keys or shapes.
    """

    patch_size = PATCH

    def __init__(self, *, parameters: str | Path | None = None, alpha: float = ALPHA, handcrafted: bool = True,
                 width: float = 1.0) -> None:
        super().__init__()
        if parameters is None:
            raise FileNotFoundError(NO_NETWORK)
        self.parameters_name, self.untrained = str(parameters), parameters == "random"
        self.alpha, self.handcrafted, self.width = alpha, handcrafted, width
        features, hidden = narrowed(CONVOLUTIONS[-1][0], width), narrowed(HIDDEN, width)
        self.trunk, self.error = create_trunk(width), nn.Conv2d(features, 1, 1)
        self.quality = nn.Sequential(OrderedDict(fc1=nn.Linear(features + 2 * handcrafted, hidden), relu=nn.ReLU(),
                                                 fc2=nn.Linear(hidden, 1)))
        if self.untrained:
            initialise(self)
        else:
            path = find_weights(parameters)
            load_strictly(self, read_state(path), path)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the score, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 16 pixels.
        """
        check_images(image, minimum_side=MINIMUM_SIDE)
        return torch.cat([self.scores(part) for part, in few_at_a_time(image)]).to(image.dtype)

    def scores(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the score of each image, shape (N,), in the network's type; a batch that fits into memory."""
        high, low = split_frequencies(image, self.error.weight.dtype)
        features = self.trunk(high).mean((2, 3))
        if self.handcrafted:
            reliability = reliability_map(high, self.alpha).mean((2, 3))
            deviation = safe_sqrt(low.var((2, 3), correction=0))
            features = torch.cat((features, reliability, deviation), 1)
        return self.quality(features).squeeze(1)

    def maps(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the predicted error map and the reliability map, as far as the first stage goes.

        Args:
            image: as :meth:`forward`.

        Returns:
            Each of shape (N, 1, H // 4, W // 4). Errors lie about between 0 and 1; reliability has the mean 1 in each image
            that is not flat, and is 0 in a flat one.
        """
        check_images(image, minimum_side=MINIMUM_SIDE)
        high, _ = split_frequencies(image, self.error.weight.dtype)
        return self.error(self.trunk(high)).to(image.dtype), average_reliability(high, self.alpha).to(image.dtype)

    def error_loss(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns the loss of the first stage, which needs no opinions: see :func:`weighted_error`.

        Args:
            distorted, reference: shape (N, P, C, H, W), in [0, 1]: P crops of each of N images, of the same places.
        """
        d, r = (split_frequencies(crops.flatten(0, 1), self.error.weight.dtype)[0] for crops in (distorted, reference))
        return weighted_error(self.error(self.trunk(d)), d, r, self.alpha)

    def loss(self, crops: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the loss of the second stage: the mean squared error of the scores of all crops.

        Each crop has its image's opinion score. The whole network learns but the layer of the error map.

        Args:
            crops: shape (N, P, C, H, W), in [0, 1]: P crops of each of N images.
            targets: opinion scores, shape (N,).
        """
        scores = self.scores(crops.flatten(0, 1))
        return F.mse_loss(scores, targets.to(scores).repeat_interleave(crops.shape[1]))

    @torch.no_grad()
    def rescale_output(self, mean: float, scale: float) -> None:
        """Makes the network return scale * score + mean, by changing its last layer."""
        self.quality.fc2.weight.mul_(scale)
        self.quality.fc2.bias.mul_(scale).add_(mean)

    def extra_repr(self) -> str:
        untrained = " (UNTRAINED: random weights)" if self.untrained else ""
        return (f"parameters={Path(self.parameters_name).name!r}{untrained}, alpha={self.alpha:g}, "
                f"handcrafted={self.handcrafted}, width={self.width:g}")


def create_trunk(width: float) -> nn.Sequential:
    """Returns the eight convolutions, from high frequencies (N, 1, H, W) to features (N, 128 width, H / 4, W / 4)."""
    layers, inputs = OrderedDict(), 1
    for k, (kernels, stride) in enumerate(CONVOLUTIONS, 1):
        outputs = narrowed(kernels, width)
        layers[f"conv{k}"] = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        layers[f"relu{k}"], inputs = nn.ReLU(inplace=True), outputs
    return nn.Sequential(layers)


def initialise(network: nn.Module) -> None:
    """Draws He's normal first weights, and no bias."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear" if len(module.weight) == 1 else "relu")
            nn.init.zeros_(module.bias)


def split_frequencies(image: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the normalised image I^, luma less its low-frequency image, and the latter; both (N, 1, 4 h, 4 w).

    Args:
        image: shape (N, C, H, W), RGB or gray in [0, 1]; h = H // 4 and w = W // 4.
        dtype: of the result.
    """
    height, width = (length // SHRINKING * SHRINKING for length in image.shape[2:])
    gray = rgb_to_luma(image[..., :height, :width]).to(dtype)
    high = remove_low_frequencies(pad(gray, BORDER, BORDER, "symmetric"))[..., BORDER:-BORDER, BORDER:-BORDER]
    return high, gray - high


def error_map(distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Returns the objective error map |I^_r - I^_d|^p with p = 0.2, which spreads small errors.

    Only a target: where there is no error, its gradient is infinite.
    """
    return (reference - distorted).abs() ** P


def reliability_map(high: torch.Tensor, alpha: float) -> torch.Tensor:
    """Returns r = 2 / (1 + exp(-alpha |I^_d|)) - 1, in [0, 1): flat places are not to be relied on."""
    return torch.tanh(alpha * high.abs() / 2)  # the same


def average_reliability(high: torch.Tensor, alpha: float) -> torch.Tensor:
    """Returns the reliability map at the size of the error map, divided by its mean, shape (N, 1, H / 4, W / 4)."""
    reliability = F.avg_pool2d(reliability_map(high, alpha), SHRINKING)
    return reliability / reliability.mean((2, 3), keepdim=True).clamp_min(NOISE)


def weighted_error(predicted: torch.Tensor, distorted: torch.Tensor, reference: torch.Tensor, alpha: float) -> torch.Tensor:
    """Returns the mean of ((e - e_gt) r^)^2: how well a network predicts the error map where the image is reliable.

    Args:
        predicted: e, shape (N, 1, H / 4, W / 4).
        distorted, reference: normalised images I^, shape (N, 1, H, W); the reliability is that of the distorted one.
        alpha: of the reliability.
    """
    with torch.no_grad():
        target = F.avg_pool2d(error_map(distorted, reference), SHRINKING)
        reliability = average_reliability(distorted, alpha)
    return ((predicted - target) * reliability).square().mean()
