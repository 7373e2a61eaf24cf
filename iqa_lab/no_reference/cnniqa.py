"""CNNIQA: a convolutional network that scores 32 x 32 patches, with global max and min pooling.

Paper: L. Kang, P. Ye, Y. Li, D. Doermann, "Convolutional neural networks for no-reference image quality assessment",
    CVPR 2014, doi:10.1109/CVPR.2014.224.
Reference: the authors published no code; the widely used PyTorch port lidq92/CNNIQA at fb36830, whose weights trained
    on LIVE are reproduced.
Deviations: (1) C of the local normalisation is a choice: the paper's images lie in 0..255 with "a positive constant", the
    port uses C = 1 on [0, 1], which hardly normalises. Here images are in 0..255; ``C=1`` is our own checkpoints',
    ``C=255`` is the port's. (2) The port leaves out the last row and column of patches when a side is a multiple of
    32; ``drop_last_patches`` does so too. (3) The paper applies dropout at the second fully connected layer; it stands
    between the first and the second, as in the port. (4) Opinion scores are standardised during training, and the
    last layer is scaled back afterwards, so that one learning rate serves databases of any score range.
Chapter: 04
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import NETWORK_PIXELS, check_images, few_at_a_time
from iqa_lab.ops.color import rgb_to_luma_pil
from iqa_lab.ops.elementwise import safe_sqrt
from iqa_lab.ops.filters import pad

PATCH = 32  # Section 3.1: side of a patch, and the stride of the grid
WINDOW = 3  # Section 3.1: P = Q = 3, the window of the local normalisation
KERNELS, KERNEL_SIDE = 50, 7  # Figure 1
HIDDEN = 800  # Figure 1: both fully connected layers
#: Scored at once on a CPU: the 50 maps of 128 patches take 17 MB and stay in the cache, twice as fast as those of 1024.
PIXELS = 2 * NETWORK_PIXELS


class CNNIQA(nn.Module):
    """Quality as the mean score of non-overlapping patches; the direction is that of the opinion scores it learned.

    Args:
        parameters: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`: ``"cnniqa_livec"`` (trained by this project on
            LIVE in the Wild; shipped) or ``"cnniqa_live"`` (the port's, LIVE release 2); a checkpoint file with this
            module's state; or ``"random"`` for an untrained network.
        C: stabilises the local normalisation of images in 0..255.
        drop_last_patches: leave out the last row and column of patches where the side is a multiple of 32.

    Raises:
        FileNotFoundError: the parameter file is absent; the message says where it comes from.
        ValueError: the file holds other keys or shapes.
    """

    patch_size = PATCH

    def __init__(self, *, parameters: str | Path = "cnniqa_livec", C: float = 1.0,
                 drop_last_patches: bool = False) -> None:
        super().__init__()
        self.parameters_name, self.C, self.drop_last_patches = str(parameters), C, drop_last_patches
        self.untrained = parameters == "random"
        self.conv1 = nn.Conv2d(1, KERNELS, KERNEL_SIDE)
        self.fc1 = nn.Linear(2 * KERNELS, HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, HIDDEN)
        self.fc3 = nn.Linear(HIDDEN, 1)
        if not self.untrained:
            self._load(find_weights(parameters))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the mean of the patch scores, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 32 pixels; what lies beyond the last
                whole patch is not looked at.
        """
        check_images(image, minimum_side=PATCH)
        patches = grid_patches(image, drop_last=self.drop_last_patches)
        scores = torch.cat([self.patch_scores(few) for few, in few_at_a_time(patches.flatten(0, 1), pixels=PIXELS)])
        return scores.view(len(image), -1).mean(1)

    def patch_scores(self, patches: torch.Tensor) -> torch.Tensor:
        """Returns the score of each patch, shape (P,).

        Args:
            patches: shape (P, C, 32, 32), RGB or gray in [0, 1].
        """
        x = local_normalisation(255 * rgb_to_luma_pil(patches), self.C)
        maps = self.conv1(x.to(self.conv1.weight.dtype))  # P, 50, 26, 26; linear: no ReLU before the pooling
        hidden = F.dropout(F.relu(self.fc1(largest_and_smallest(maps))), 0.5, self.training)
        return self.fc3(F.relu(self.fc2(hidden))).squeeze(1).to(patches.dtype)

    def loss(self, patches: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns eq. (5), the mean absolute error of the patch scores; every patch has its image's opinion score.

        Args:
            patches: as :meth:`patch_scores`.
            targets: shape (P,).
        """
        return F.l1_loss(self.patch_scores(patches), targets)

    @torch.no_grad()
    def rescale_output(self, mean: float, scale: float) -> None:
        """Makes the network return scale * score + mean, by changing its last layer."""
        self.fc3.weight.mul_(scale)
        self.fc3.bias.mul_(scale).add_(mean)

    def extra_repr(self) -> str:
        untrained = " (UNTRAINED: random weights)" if self.untrained else ""
        return f"parameters={Path(self.parameters_name).name!r}{untrained}, C={self.C:g}"

    def _load(self, path: Path) -> None:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = {key: value.float() for key, value in state.items()}  # shipped in half precision
        try:
            self.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"Expected a state of CNNIQA in {path}, got another one: {error}") from error


def grid_patches(image: torch.Tensor, *, drop_last: bool = False) -> torch.Tensor:
    """Returns the non-overlapping patches of each image, row by row, shape (N, P, C, 32, 32).

    Args:
        image: shape (N, C, H, W).
        drop_last: leave out the last row and column where the side is a multiple of 32, and longer than one patch.
    """
    rows, columns = (max(1, (side - drop_last) // PATCH) for side in image.shape[2:])
    cut = image[:, :, :rows * PATCH, :columns * PATCH]
    cells = cut.unflatten(2, (rows, PATCH)).unflatten(4, (columns, PATCH))  # N, C, rows, 32, columns, 32
    return cells.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def largest_and_smallest(maps: torch.Tensor) -> torch.Tensor:
    """Returns the largest and the smallest value of each map, Section 3.3, shapes (P, C, H, W) to (P, 2 C).

    The gradient goes to one position for each; that of ``amax`` is shared among equal ones, which takes five times as long.
    """
    if not torch.is_grad_enabled():
        return torch.cat((maps.amax((2, 3)), maps.amin((2, 3))), 1)
    values = maps.flatten(2)
    positions = torch.stack((values.argmax(2), values.argmin(2)), 2)
    return values.gather(2, positions).mT.flatten(1)


def local_normalisation(patches: torch.Tensor, C: float) -> torch.Tensor:
    """Returns eq. (1), (I - mu) / (sigma + C), with mu and sigma of the 3 x 3 window inside the patch.

    Args:
        patches: gray, shape (P, 1, 32, 32), in 0..255.
        C: positive constant.
    """
    # A shift changes nothing but the size of the rounding errors; by an integer, 8-bit values have none in float32.
    x = patches - patches.detach().mean((2, 3), keepdim=True).round()
    padded = pad(x, WINDOW // 2, WINDOW // 2, "symmetric")
    n = WINDOW**2
    total, squares = (F.avg_pool2d(sample, WINDOW, stride=1, divisor_override=1) for sample in (padded, padded * padded))
    sigma = safe_sqrt((n * squares - total * total).clamp_min(0)) / n
    return (x - total / n) / (sigma + C)
