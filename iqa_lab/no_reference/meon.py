"""MEON: one network names the distortion of a patch, and weights with it the quality under each distortion.

Paper: K. Ma, W. Liu, K. Zhang, Z. Duanmu, Z. Wang, W. Zuo, "End-to-end blind image quality assessment using deep neural
    networks", IEEE Transactions on Image Processing 27(3), 2018, doi:10.1109/TIP.2017.2774045.
Reference: the authors' TensorFlow demo, found in other people's repositories (class MEON_eval), with TensorFlow's layer
    gdn; their page, ece.uwaterloo.ca/~zduanmu/tip2018biqa, was not reached. Network, patches and first weights are
    written from that code. It has no training part and the paper was not at hand: the losses, cross entropy and mean
    absolute error with lambda = 1, are a reconstruction from memory.
Deviations: (1) TensorFlow's layer keeps the square roots of beta and gamma; here both are projected after each step,
    which also makes gamma symmetric, as in the published network of EONSS, by the same group. (2) The demo takes no
    image smaller than a patch: here one with sides of 128 pixels or more is filled up to 256 with its mirror image.
    (3) A gray image has three equal channels; the demo puts them on the wrong axis. (4) Where a database names no
    distortions, the second stage learns the quality alone.
Chapter: 28
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.checkpoints import load_strictly, read_state
from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.no_reference.iqacnnpp import type_loss
from iqa_lab.ops.filters import symmetric_index
from iqa_lab.ops.gdn import BETA_MIN, GDN, project

PATCH, STRIDE = 256, 128  # the demo: side of a patch, and the step of the grid
MINIMUM_SIDE = PATCH // 2  # of an image: below, the mirror image would be most of what is looked at
PEAK = 255.0  # the demo: 8-bit values go in as they are
CONVOLUTIONS = ((8, 5, 2, 2), (16, 5, 2, 2), (32, 5, 2, 2), (64, 3, 1, 0))  # outputs, side, stride and padding
HIDDEN_DISTORTION, HIDDEN_QUALITY = 128, 256  # of sub-network I and sub-network II
TYPES = 5  # T: the demo's network knows four distortions and the pristine image
LAMBDA = 1.0  # weight of the quality in the second stage
PIXELS = 32 * PATCH**2  # of patches scored at once on a CPU: the first maps, of half the side, take 17 MB
OFFSET = 2.0**-18  # TensorFlow's gdn: of the square roots that it stores
#: From the demo's variables to the names here.
RENAMING = (("^conv", "trunk.conv"), ("^subtask1/", "distortion."), ("^subtask2/", "quality."), ("/weights$", ".weight"),
            ("/biases$", ".bias"), (r"(conv|fc)(\d)/gdn_x/reparam_(beta|gamma)$", r"gdn\2.\3"))
CONVERSION = ("import numpy, tensorflow as tf; c = tf.train.load_checkpoint('FOLDER'); n = c.get_variable_to_shape_map(); "
              "numpy.savez('meon', **{k: c.get_tensor(k) for k in n if k.endswith(('weights', 'biases', 'beta', 'gamma'))})")
NO_NETWORK = ("Expected parameters of MEON, found none. The authors' network is a TensorFlow checkpoint in their demo, "
              f"ece.uwaterloo.ca/~zduanmu/tip2018biqa; make an .npz of it with: python -c \"{CONVERSION}\", and give "
              "parameters=Path('meon.npz'); train one with iqa_lab.training.train; or ask for parameters='random'.")


class MEON(nn.Module):
    """Quality as the mean of patch scores p . s; the direction is that of the opinion scores it learned.

    Sub-network I gives the probability p of each type of distortion, sub-network II the quality s under each type.

    Args:
        parameters: a file with this module's state, or as :meth:`from_official` takes it; a name in
            :data:`iqa_lab.backbones.weights_table.WEIGHTS`; or ``"random"`` for an untrained network. There is no default.
        n_types: T, the number of types of distortion, the pristine image among them.

    Raises:
        FileNotFoundError: no parameters given, or the file is absent; says where the authors' are.
        ValueError: the file holds other keys or shapes.
    """

    patch_size = PATCH

    def __init__(self, *, parameters: str | Path | None = None, n_types: int = TYPES) -> None:
        super().__init__()
        if parameters is None:
            raise FileNotFoundError(NO_NETWORK)
        self.parameters_name, self.untrained, self.n_types = str(parameters), parameters == "random", n_types
        self.trunk = create_trunk()
        self.distortion = create_head(HIDDEN_DISTORTION, n_types)
        self.quality = create_head(HIDDEN_QUALITY, n_types)
        if self.untrained:
            initialise(self)
        else:
            path = find_weights(parameters)
            load_strictly(self, own_state(read_state(path)), path)

    @classmethod
    def from_official(cls, path: str | Path, *, n_types: int = TYPES) -> MEON:
        """Returns the network of the authors' TensorFlow checkpoint, made an .npz, strictly loaded.

        ``CONVERSION`` is the command that makes the file. Checked by layout only: the authors' was not at hand. Its scores
        are like DMOS, lower is better.

        Args:
            path, n_types: the file, and as in the class.

        Raises:
            FileNotFoundError: no such file. ValueError: it has other variables or shapes.
        """
        return cls(parameters=Path(path), n_types=n_types)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the mean of the scores of all patches, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 128 pixels.
        """
        check_images(image, minimum_side=MINIMUM_SIDE)
        p, s = self.probabilities_and_qualities(image)
        return (p * s).sum(2).mean(1).to(image.dtype)

    def types(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the type that most patches have, the first of those in a draw, int64 of shape (N,).

        Args:
            image: as :meth:`forward`.
        """
        check_images(image, minimum_side=MINIMUM_SIDE)
        p, _ = self.probabilities_and_qualities(image)
        return F.one_hot(p.argmax(2), p.shape[2]).sum(1).argmax(1)

    def probabilities_and_qualities(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns p and s of all patches, row by row, both of shape (N, P, T), in the network's type.

        Args:
            image: as :meth:`forward`.
        """
        patches = grid_patches(image).flatten(0, 1)
        parts = [self.logits_and_qualities(few) for few, in few_at_a_time(patches, pixels=PIXELS)]
        logits, s = (torch.cat(part).unflatten(0, (len(image), -1)) for part in zip(*parts, strict=True))
        return logits.softmax(2), s

    def logits_and_qualities(self, patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns what the softmax makes p of, and s, both of shape (P, T).

        Args:
            patches: shape (P, C, 256, 256), RGB or gray in [0, 1].
        """
        features = self.trunk((PEAK * patches.to(self.trunk.conv1.weight.dtype)).expand(-1, 3, -1, -1))
        return self.distortion(features), self.quality(features)

    def type_loss(self, crops: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        """Returns the cross entropy of the types of all crops: the first stage, which needs no opinions.

        Args:
            crops: shape (N, P, C, 256, 256): P crops of each of N images.
            types: int64 of shape (N,), from 0 to T - 1, or -1 where the type is unknown.
        """
        logits, _ = self.logits_and_qualities(crops.flatten(0, 1))
        return type_loss(logits.unflatten(0, crops.shape[:2]), types)

    def loss(self, crops: torch.Tensor, targets: torch.Tensor, types: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the loss of the second stage: cross entropy of the types plus the mean absolute error of the scores.

        Each crop has score and type of its image. Sub-network I learns from both parts.

        Args:
            crops, types: as :meth:`type_loss`; without types only the error of the scores counts.
            targets: opinion scores, shape (N,).
        """
        logits, s = self.logits_and_qualities(crops.flatten(0, 1))
        error = LAMBDA * F.l1_loss((logits.softmax(1) * s).sum(1), targets.repeat_interleave(crops.shape[1]))
        return error if types is None else type_loss(logits.unflatten(0, crops.shape[:2]), types) + error

    @torch.no_grad()
    def rescale_output(self, mean: float, scale: float) -> None:
        """Makes the network return scale * score + mean, by changing the last layer of the qualities."""
        self.quality.fc2.weight.mul_(scale)
        self.quality.fc2.bias.mul_(scale).add_(mean)  # the probabilities sum to 1

    def project(self) -> None:
        """Keeps the parameters of the normalisations valid; called after each step of training."""
        project(self)

    def extra_repr(self) -> str:
        untrained = " (UNTRAINED: random weights)" if self.untrained else ""
        return f"parameters={Path(self.parameters_name).name!r}{untrained}, n_types={self.n_types}"


def create_trunk() -> nn.Sequential:
    """Returns the four convolutions that both sub-networks share, from patches (P, 3, 256, 256) to (P, 64, 1, 1)."""
    layers, inputs = OrderedDict(), 3
    for k, (outputs, side, stride, padding) in enumerate(CONVOLUTIONS, 1):
        layers[f"conv{k}"] = nn.Conv2d(inputs, outputs, side, stride=stride, padding=padding)
        layers[f"gdn{k}"], layers[f"pool{k}"] = GDN(outputs), nn.MaxPool2d(2)
        inputs = outputs
    return nn.Sequential(layers)


def create_head(hidden: int, outputs: int) -> nn.Sequential:
    """Returns two fully connected layers, as 1 x 1 convolutions, from features (P, 64, 1, 1) to (P, outputs)."""
    return nn.Sequential(OrderedDict(fc1=nn.Conv2d(CONVOLUTIONS[-1][0], hidden, 1), gdn1=GDN(hidden),
                                     fc2=nn.Conv2d(hidden, outputs, 1), flatten=nn.Flatten()))


def initialise(network: nn.Module) -> None:
    """Draws the demo's first weights: normal, cut at two deviations of 0.1, or of 1 / sqrt(inputs) if fully connected."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            deviation = 0.1 if module.kernel_size[0] > 1 else module.in_channels**-0.5
            nn.init.trunc_normal_(module.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
            nn.init.constant_(module.bias, 1e-4)


def grid_patches(image: torch.Tensor) -> torch.Tensor:
    """Returns patches with stride 128, the last at the border: from (N, C, H, W), row by row, to (N, P, C, 256, 256)."""
    sizes = (max(PATCH, length) for length in image.shape[2:])
    return cut_patches(image, PATCH, *(sorted({*range(0, size - PATCH + 1, STRIDE), size - PATCH}) for size in sizes))


def cut_patches(image: torch.Tensor, side: int, tops: list[int], lefts: list[int]) -> torch.Tensor:
    """Returns the patches at all pairs of tops and lefts, row by row, shape (N, P, C, side, side).

    Args:
        image: shape (N, C, H, W); a smaller side than that of a patch is filled up with the mirror image at both ends.
        side: of a patch.
        tops, lefts: first row and column of the patches in the image, or in the filled one.
    """
    for axis, starts in ((2, tops), (3, lefts)):
        length = image.shape[axis]
        missing = max(0, side - length)
        places = torch.tensor(starts)[:, None] + torch.arange(side)  # patches, side
        index = symmetric_index(length, missing // 2, missing - missing // 2)[places.flatten()]
        image = image.index_select(axis, index.to(image.device))
    cells = image.unflatten(3, (len(lefts), side)).unflatten(2, (len(tops), side))  # N, C, tops, side, lefts, side
    return cells.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def own_state(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the demo's variables in this module's layout; unknown names stay as they are, with their values."""
    renamed = {}
    for theirs, value in state.items():
        ours = theirs
        for pattern, replacement in RENAMING:
            ours = re.sub(pattern, replacement, ours)
        renamed[ours] = own_value(theirs, value)
    return renamed


def own_value(name: str, value: torch.Tensor) -> torch.Tensor:
    """Returns what a variable of the demo stands for: kernels with the outputs first, and beta and gamma themselves."""
    if name.endswith("/weights") and value.ndim == 4:
        return value.permute(3, 2, 0, 1)
    if name.endswith("/reparam_beta"):
        return value.clamp_min((BETA_MIN + OFFSET**2)**0.5)**2 - OFFSET**2
    if name.endswith("/reparam_gamma"):
        return value.clamp_min(OFFSET).T**2 - OFFSET**2  # its column i divides channel i
    return value
