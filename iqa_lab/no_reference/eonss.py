"""EONSS: the quality branch of MEON alone, trained on synthetic scores of multiply distorted images.

Paper: Z. Wang, S. Athar, Z. Wang, "Blind quality assessment of multiply distorted images using deep neural networks",
    ICIAR 2019, doi:10.1007/978-3-030-27202-9_8. Only its abstract was at hand.
Reference: the authors' icbcbicc/EONSS-demo at 7e481ce, with the trained network, EONSS_model.pt.
Deviations: (1) The demo takes no patch of an image with a side of 235 pixels or less. Here such a side has one patch, and
    below 235 pixels (down to 118) the image is filled up with its mirror image. (2) The demo has no training part: the
    loss, the mean absolute error of MEON, is our choice, the first weights are those of its code.
Chapter: 28
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.checkpoints import load_strictly, read_state
from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.no_reference.meon import create_head, create_trunk, cut_patches  # MEON's network with one output
from iqa_lab.ops.gdn import GDN, project

PATCH, STRIDE = 235, 128  # TestModel.py: side of a patch, and the step of the grid
MINIMUM_SIDE = (PATCH + 1) // 2  # of an image: below, the mirror image would be most of what is looked at
HIDDEN = 256  # Network.py: of the fully connected layers
BETA, GAMMA = 1e-2, 1.0  # Network.py: first values of the normalisation, every gamma_ij
PIXELS = 32 * PATCH**2  # of patches scored at once on a CPU: the first maps, of half the side, take 14 MB


class EONSS(nn.Module):
    """Quality as the mean of patch scores; that of the authors' network is higher for better images.

    Args:
        parameters: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS` (``"eonss"``, the authors'); a file with this
            module's state or the authors' layout; or ``"random"`` for an untrained network.

    Raises:
        FileNotFoundError: the parameter file is absent; the message says where it comes from.
        ValueError: the file holds other keys or shapes.
    """

    patch_size = PATCH

    def __init__(self, *, parameters: str | Path = "eonss") -> None:
        super().__init__()
        self.parameters_name, self.untrained = str(parameters), parameters == "random"
        self.trunk, self.quality = create_trunk(), create_head(HIDDEN, 1)
        if self.untrained:
            self.initialise()
        else:
            path = find_weights(parameters)
            load_strictly(self, own_state(read_state(path)), path)

    @classmethod
    def from_official(cls, path: str | Path) -> EONSS:
        """Returns the network of a file in the layout of EONSS_model.pt, strictly loaded.

        Args:
            path: the file.

        Raises:
            FileNotFoundError: no such file. ValueError: it has other names or shapes.
        """
        return cls(parameters=Path(path))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the mean of the scores of all patches, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 118 pixels; what lies beyond the last patch
                is not looked at.
        """
        check_images(image, minimum_side=MINIMUM_SIDE)
        patches = grid_patches(image).flatten(0, 1)
        scores = torch.cat([self.patch_scores(few) for few, in few_at_a_time(patches, pixels=PIXELS)])
        return scores.view(len(image), -1).mean(1).to(image.dtype)

    def patch_scores(self, patches: torch.Tensor) -> torch.Tensor:
        """Returns the score of each patch, shape (P,), in the network's type.

        Args:
            patches: shape (P, C, 235, 235), RGB or gray in [0, 1].
        """
        x = patches.to(self.trunk.conv1.weight.dtype).expand(-1, 3, -1, -1)
        return self.quality(self.trunk(x)).squeeze(1)

    def loss(self, crops: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the mean absolute error of the scores of all crops; each has its image's opinion score.

        Args:
            crops: shape (N, P, C, 235, 235): P crops of each of N images.
            targets: opinion scores, shape (N,).
        """
        scores = self.patch_scores(crops.flatten(0, 1))
        return F.l1_loss(scores, targets.repeat_interleave(crops.shape[1]))

    @torch.no_grad()
    def rescale_output(self, mean: float, scale: float) -> None:
        """Makes the network return scale * score + mean, by changing its last layer."""
        self.quality.fc2.weight.mul_(scale)
        self.quality.fc2.bias.mul_(scale).add_(mean)

    def project(self) -> None:
        """Keeps the parameters of the normalisations valid; called after each step of training."""
        project(self)

    @torch.no_grad()
    def initialise(self) -> None:
        """Draws the first weights of Network.py: normal with variance 2 / outputs for each place of the kernel."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, GDN):
                module.beta.fill_(BETA)
                module.gamma.fill_(GAMMA)

    def extra_repr(self) -> str:
        untrained = " (UNTRAINED: random weights)" if self.untrained else ""
        return f"parameters={Path(self.parameters_name).name!r}{untrained}"


def grid_patches(image: torch.Tensor) -> torch.Tensor:
    """Returns the patches of each image (N, C, H, W) with stride 128, row by row, shape (N, P, C, 235, 235).

    A patch that would end exactly at the border is left out, as in the demo, unless it is the only one.
    """
    return cut_patches(image, PATCH, *(list(range(0, max(1, length - PATCH), STRIDE)) for length in image.shape[2:]))


def own_state(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the state of the authors' file in this module's layout; names of other layouts stay as they are."""
    if "st2_fc1.weight" not in state:
        return dict(state)
    renamed = {f"quality.{name.removeprefix('st2_')}" if name.startswith("st2_") else f"trunk.{name}": value
               for name, value in state.items()}
    return {name: value.T if name.endswith("gamma") else value for name, value in renamed.items()}  # theirs: column i
