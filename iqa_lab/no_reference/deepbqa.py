"""DeepBQA: DeepQA without a reference. One network predicts the error map, a second one where errors are seen.

Paper: J. Kim, W. Kim, S. Lee, "Deep blind image quality assessment by learning sensitivity map", ICASSP 2018.
Reference: the authors published neither code nor a trained network, and the paper was not at hand: a reconstruction from
    their slides (formulas, the study of w_TV) and from their code for DeepQA, jongyookim/IQA_DeepQA_FR_release at 8f08765.
Deviations: (1) The layers of both networks are figures in the slides that cannot be read: both are DIQA's here. What comes
    behind the mean, the ReLU of the sensitivity, beta = 3 and w_subj = 1000 are DeepQA's; but nothing stands behind the
    last layer, so that no network starts dead. (2) w_TV = 0.01 by default, the best of the slides' study on LIVE (0,
    0.0001, 0.001, 0.01, 0.1); their page of formulas says 0.001. (3) Sensitivity starts at 1 everywhere, as in
    ``deepqa.py``, and the score of a middling error at 0.5: else the first steps move all scores at once, and may leave no
    place sensitive; other first weights are He's. (4) Low frequencies, alpha and shrinking as in ``diqa.py``, and the same
    ``width``.
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
from iqa_lab.full_reference.deepqa import LEAK, W_SUBJ, total_variation
from iqa_lab.full_reference.wadiqam_fr import narrowed
from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.no_reference.diqa import (ALPHA, CONVOLUTIONS, MINIMUM_SIDE, PATCH, average_reliability, create_trunk,
                                       initialise, split_frequencies, weighted_error)

START = 0.5  # of a mean perceptual error, and the score that it gets before training
W_TV = 1e-2  # weight of the total variation
HIDDEN = 4  # of the two layers behind the mean perceptual error
NO_NETWORK = ("Expected parameters of DeepBQA, found none: its authors published no trained network. Train one with "
              "iqa_lab.training.train and give its weights.pt, or ask for parameters='random'.")


class DeepBQA(nn.Module):
    """Quality as a learned function of the mean perceptual error map; the direction is that of its opinion scores.

    Args:
        parameters: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`; a file with this module's state; or
            ``"random"`` for an untrained network. There is no default, because there is no published network.
        tv_weight: w_TV, how much the total variation of the sensitivity map counts in training.
        alpha: how soon the reliability saturates with the high frequencies, which are those of an image in [0, 1].
        width: factor on the number of channels; 1 is DIQA's network, twice.

    Raises:
        FileNotFoundError: no parameters given, or the file is absent.
        ValueError: the file holds other keys or shapes.
    """

    patch_size, targets_from_0_to_1 = PATCH, True

    def __init__(self, *, parameters: str | Path | None = None, tv_weight: float = W_TV, alpha: float = ALPHA,
                 width: float = 1.0) -> None:
        super().__init__()
        if parameters is None:
            raise FileNotFoundError(NO_NETWORK)
        self.parameters_name, self.untrained = str(parameters), parameters == "random"
        self.tv_weight, self.alpha, self.width = tv_weight, alpha, width
        self.error, self.sensitivity = create_map_network(width), create_map_network(width)
        self.quality = nn.Sequential(OrderedDict(fc1=nn.Linear(1, HIDDEN), relu=nn.LeakyReLU(LEAK),
                                                 fc2=nn.Linear(HIDDEN, 1)))
        if self.untrained:
            initialise(self)
            nn.init.zeros_(self.sensitivity.map.weight)
            nn.init.ones_(self.sensitivity.map.bias)
            start_in_the_middle(self)
        else:
            path = find_weights(parameters)
            load_strictly(self, read_state(path), path)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the score, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 16 pixels.
        """
        check_images(image, minimum_side=MINIMUM_SIDE)
        return torch.cat([self.score(self.maps(part)[3]) for part, in few_at_a_time(image)]).to(image.dtype)

    def maps(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns error e, sensitivity s, reliability r^ and their product, the perceptual error map.

        Args:
            image: as :meth:`forward`.

        Returns:
            Each of shape (N, 1, H // 4, W // 4), in the network's type. Sensitivity is 0 or more; reliability has the mean 1
            in each image that is not flat, and is 0 in a flat one.
        """
        check_images(image, minimum_side=MINIMUM_SIDE)
        high, _ = split_frequencies(image, self.error.map.weight.dtype)
        error, sensitivity = self.error(high), F.relu(self.sensitivity(high))
        reliability = average_reliability(high, self.alpha)
        return error, sensitivity, reliability, sensitivity * error * reliability

    def score(self, perceptual: torch.Tensor) -> torch.Tensor:
        """Returns the score of each image, shape (N,), from the mean of its perceptual error map (N, 1, h, w)."""
        return self.quality(perceptual.mean((2, 3))).squeeze(1)

    def error_loss(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns the loss of the first stage, which needs no opinions; only the network of the error map learns.

        Args:
            distorted, reference: shape (N, P, C, H, W), in [0, 1]: P crops of each of N images, of the same places.
        """
        dtype = self.error.map.weight.dtype
        d, r = (split_frequencies(crops.flatten(0, 1), dtype)[0] for crops in (distorted, reference))
        return weighted_error(self.error(d), d, r, self.alpha)

    def loss(self, crops: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the loss of the second stage, in which everything learns.

        That is 1000 times the mean squared error of the scores of all crops, each with its image's opinion score, and w_TV
        times the total variation of the sensitivity maps.

        Args:
            crops: shape (N, P, C, H, W), in [0, 1]: P crops of each of N images.
            targets: opinion scores in [0, 1], shape (N,).
        """
        _, sensitivity, _, perceptual = self.maps(crops.flatten(0, 1))
        scores = self.score(perceptual)
        error = F.mse_loss(scores, targets.to(scores).repeat_interleave(crops.shape[1]))
        return W_SUBJ * error + self.tv_weight * total_variation(sensitivity)

    @torch.no_grad()
    def rescale_output(self, mean: float, scale: float) -> None:
        """Makes the network return scale * score + mean, by changing its last layer."""
        self.quality.fc2.weight.mul_(scale)
        self.quality.fc2.bias.mul_(scale).add_(mean)

    def extra_repr(self) -> str:
        untrained = " (UNTRAINED: random weights)" if self.untrained else ""
        return (f"parameters={Path(self.parameters_name).name!r}{untrained}, tv_weight={self.tv_weight:g}, "
                f"alpha={self.alpha:g}, width={self.width:g}")


@torch.no_grad()
def start_in_the_middle(network: DeepBQA) -> None:
    """Moves the scores so that those of the first step lie among the targets, which are 0 to 1."""
    network.quality.fc2.bias.add_(START - network.quality(torch.full((1, 1), START))[0])


def create_map_network(width: float) -> nn.Sequential:
    """Returns DIQA's network with one map, from high frequencies (N, 1, H, W) to (N, 1, H / 4, W / 4)."""
    return nn.Sequential(OrderedDict(trunk=create_trunk(width), map=nn.Conv2d(narrowed(CONVOLUTIONS[-1][0], width), 1, 1)))
