"""PieAPP: perceptual error learned from choices between two images; the difference of two errors says who chooses which.

Paper: E. Prashnani, H. Cai, Y. Mostofi, P. Sen, "PieAPP: perceptual image-error assessment through pairwise preference",
    CVPR 2018, doi:10.1109/CVPR.2018.00194.
Reference: the authors' code, prashnani/PerceptualImageError at 0513613 (PieAPPv0pt1_PT.py, test_PieAPP_PT.py and the
    TensorFlow twins). Their training code is not public. Written from the code, the paper was not at hand.
Deviations: (1) Patches lie on a regular grid from the upper left corner, as the authors' scripts take them. These list
    the last row and column too, but only to divide large images into parts of 10 x 10 patches; where the number along a
    side is a multiple of 10, the last one then moves to the border: not reproduced. (2) The weight of a patch may
    be negative, as in the authors' PyTorch code; their TensorFlow code has a ReLU there. (3) Colours: the authors'
    scripts and pyiqa give blue first, piq red first, and both libraries say that they give the authors' numbers.
    ``bgr`` chooses. (4) First weights are He's: the authors' are not known. (5) ``width`` makes all layers narrower, for
    training without a GPU.
Chapter: 22
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.checkpoints import load_strictly, read_state
from iqa_lab.backbones.weights import find_weights
from iqa_lab.full_reference.wadiqam_fr import narrowed, weighted_mean
from iqa_lab.images import NETWORK_PIXELS, check_images, number_at_once

PATCH = 64  # test_PieAPP_PT.py: patch_size
DENSE, SPARSE = 6, 27  # test_PieAPP_PT.py: strides of the two ways of sampling; dense is the authors' default
CHANNELS = (64, 64, 64, 128, 128, 128, 256, 256, 256, 512, 512)  # conv1 to conv11
TAPS = (3, 5, 7, 9, 11)  # convolutions whose maps are features
HIDDEN = 512  # of the fully connected layers
SIGMOID = 0.01  # "the sigmoid coefficient" of the patch errors
EPSILON = 1e-6  # added to the patch weights

Features = tuple[torch.Tensor, torch.Tensor]


class PieAPP(nn.Module):
    """The perceptual error, lower is better: a mean of patch errors, weighted by the network itself.

    It is no distance: the two images play different parts, and an error can be below 0. Identical images get the same
    value whatever they show, 0 in the authors' network and after :meth:`calibrate`. The weights of the patches may be
    negative; where they sum to almost 0 the error has no meaning.

    Args:
        parameters: ``"pieapp_official"``, the authors' network (not shipped); a file with this module's state, which is
            their layout; or ``"random"`` for an untrained network.
        stride: of the patches; ``DENSE`` or ``SPARSE`` in the authors' scripts. Scores of different strides differ.
        bgr: give the network blue first, as the authors' scripts do.
        width: factor on the number of channels; 1 is the authors' network.

    Raises:
        FileNotFoundError: the parameter file is absent; the message says where it comes from.
        ValueError: the file holds other keys or shapes.
    """

    patch_size = PATCH

    def __init__(self, *, parameters: str | Path = "pieapp_official", stride: int = DENSE, bgr: bool = True,
                 width: float = 1.0) -> None:
        super().__init__()
        self.parameters_name, self.untrained = str(parameters), parameters == "random"
        self.stride, self.bgr, self.width = stride, bgr, width
        channels, hidden = [3, *(narrowed(number, width) for number in CHANNELS)], narrowed(HIDDEN, width)
        for k in range(1, len(channels)):
            self.add_module(f"conv{k}", nn.Conv2d(channels[k - 1], channels[k], 3, padding=1))
        sizes = [channels[k] * (PATCH >> k // 2)**2 for k in TAPS]  # 120,832 in all at width 1
        self.fc1_score, self.fc2_score = nn.Linear(sum(sizes), hidden), nn.Linear(hidden, 1)
        self.fc1_weight, self.fc2_weight = nn.Linear(sizes[-1], hidden), nn.Linear(hidden, 1)
        self.ref_score_subtract = nn.Linear(1, 1)
        if self.untrained:
            self.initialise()
        else:
            path = find_weights(parameters)
            state = read_state(path)
            factor = state.get("ref_score_subtract.weight")
            if factor is not None and factor.ndim == 1:  # in the authors' file, written by PyTorch 0.3
                state["ref_score_subtract.weight"] = factor[:, None]
            load_strictly(self, state, path)

    @classmethod
    def from_official(cls, path: str | Path) -> PieAPP:
        """Returns the network of the authors' PieAPPv0.1.pth, strictly loaded; checked by layout only.

        Raises:
            FileNotFoundError: no such file. ValueError: other names or shapes.
        """
        return cls(parameters=Path(path))

    def forward(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns the error, shape (N,); without gradients the memory does not depend on the number of patches.

        Args:
            distorted, reference: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 64 pixels.
        """
        check_images(distorted, reference, minimum_side=PATCH)
        grids = [grid_patches(image, self.stride) for image in (distorted, reference)]
        shape = grids[0].shape[:3]
        parts = []
        few = number_at_once(2 * PATCH**2, distorted.device, 2 * NETWORK_PIXELS)  # 16 pairs on a CPU: 65 MB
        for chosen in torch.arange(shape.numel(), device=distorted.device).split(few):
            place = torch.unravel_index(chosen, shape)
            parts.append(self.errors_and_weights(*self.features_of(*(grid[place] for grid in grids))))
        errors, weights = (torch.cat(part).view(len(distorted), -1) for part in zip(*parts, strict=True))
        return weighted_mean(errors, weights).to(distorted.dtype)

    def features(self, patches: torch.Tensor) -> Features:
        """Returns the features of all five taps, shape (P, 120832), and of the last one alone, (P, 2048), at width 1.

        Those of a reference can be kept, and compared with many distorted images.

        Args:
            patches: shape (P, C, 64, 64), RGB or gray in [0, 1].
        """
        x = 255 * patches.to(self.conv1.weight.dtype).expand(-1, 3, -1, -1)
        x = x.flip(1) if self.bgr else x
        taps = []
        for k in range(1, len(CHANNELS) + 1):
            x = F.relu(self.get_submodule(f"conv{k}")(x))
            if k in TAPS:
                taps.append(x.flatten(1))
            elif k > 1:
                x = F.max_pool2d(x, 2)
        return torch.cat(taps, 1), taps[-1]

    def features_of(self, *patches: torch.Tensor) -> tuple[Features, ...]:
        """Returns the features of equally many patches of several images, from one batch, or where some want a gradient and
        others none, from one for each image."""
        if torch.is_grad_enabled() and len({image.requires_grad for image in patches}) > 1:
            return tuple(self.features(image) for image in patches)
        return tuple(zip(*(part.chunk(len(patches)) for part in self.features(torch.cat(patches))), strict=True))

    def errors_and_weights(self, distorted: Features, reference: Features) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns error and weight of each pair of patches from their features, both of shape (P,), of either sign."""
        fine, coarse = (r - d for d, r in zip(distorted, reference, strict=True))
        errors = self.ref_score_subtract(SIGMOID * self.fc2_score(F.relu(self.fc1_score(fine))))
        weights = self.fc2_weight(F.relu(self.fc1_weight(coarse))) + EPSILON
        return errors.squeeze(1), weights.squeeze(1)

    def loss(self, first: torch.Tensor, second: torch.Tensor, reference: torch.Tensor,
             preferences: torch.Tensor) -> torch.Tensor:
        """Returns :func:`pairwise_loss` of two distorted images of one reference.

        Args:
            first, second, reference: shape (N, P, C, 64, 64): P patches of each of N images, from the same places.
            preferences: share of people who prefer the first, shape (N,), in [0, 1].
        """
        shape = first.shape[:2]
        a, b, r = self.features_of(*(image.flatten(0, 1) for image in (first, second, reference)))
        errors = [weighted_mean(*(part.view(shape) for part in self.errors_and_weights(x, r))) for x in (a, b)]
        return pairwise_loss(*errors, preferences)

    @torch.no_grad()
    def calibrate(self) -> None:
        """Moves all errors so that identical images get 0: a pair of images does not tell where the scale begins."""
        origin = self.ref_score_subtract(SIGMOID * self.fc2_score(F.relu(self.fc1_score.bias)))
        self.ref_score_subtract.bias.sub_(origin)

    def initialise(self) -> None:
        """Draws first weights: He's normal ones and no bias; errors are not moved or scaled."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.ones_(self.ref_score_subtract.weight)

    def extra_repr(self) -> str:
        untrained = " (UNTRAINED: random weights)" if self.untrained else ""
        return (f"parameters={Path(self.parameters_name).name!r}{untrained}, stride={self.stride}, bgr={self.bgr}, "
                f"width={self.width:g}")


def grid_patches(image: torch.Tensor, stride: int) -> torch.Tensor:
    """Returns a view of the patches of 64 x 64, shape (N, rows, columns, C, 64, 64).

    Args:
        image: shape (N, C, H, W), sides of at least 64.
        stride: from one patch to the next. Pixels behind the last whole patch are not looked at.
    """
    return image.unfold(2, PATCH, stride).unfold(3, PATCH, stride).permute(0, 2, 3, 1, 4, 5)


def pairwise_probability(s_a: torch.Tensor, s_b: torch.Tensor) -> torch.Tensor:
    """Returns the probability that A is preferred to B, 1 / (1 + exp(s_a - s_b)), of errors s_a and s_b."""
    return torch.sigmoid(s_b - s_a)


def pairwise_loss(s_a: torch.Tensor, s_b: torch.Tensor, preferences: torch.Tensor) -> torch.Tensor:
    """Returns the mean squared difference between predicted and observed preference, a scalar.

    Args:
        s_a, s_b: errors of two images with the same reference, shape (N,).
        preferences: share of people who prefer A, shape (N,), in [0, 1].
    """
    return F.mse_loss(pairwise_probability(s_a, s_b), preferences.to(s_a))
