"""Two-Stream: one tower of convolutions looks at the image, a second one at its gradient; both score each patch together.

Paper: Q. Yan, D. Gong, Y. Zhang, "Two-stream convolutional networks for blind image quality assessment", IEEE
    Transactions on Image Processing 28(5), 2019, doi:10.1109/TIP.2018.2883741.
Reference: the authors published no code, and the paper was not at hand: a reconstruction from the unofficial PyTorch port
    lllllllllllll-llll/TwoStreamIQA at 88ea7c6 (network.py, IQADataset.py, train.py). No trained network is published.
Deviations: (1) The port has no activation between its fully connected layers, which so are one linear map; here a ReLU
    stands between them. The region-based layers of the paper are in neither. (2) The gradient is the Euclidean magnitude
    of Sobel's two derivatives of luma; the port takes half the sum of their absolute values, of R, G and B apart and
    saturated at 1, which its network of one gradient channel cannot read. (3) The gradient is that of the whole image, as in
    the port, so that no patch has a frame of its own: training crops have a ring of one pixel around the 32 x 32 that are
    scored, and an image is mirrored at its border without repeating the edge (OpenCV's default). (4) The port leaves out
    the last row and column of patches where a side is a multiple of 32; here all whole patches count. (5) Opinion scores
    are standardised during training, and the last layer is scaled back afterwards.
Chapter: 26
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.checkpoints import load_strictly, read_state
from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import NETWORK_PIXELS, check_images, number_at_once
from iqa_lab.ops.color import rgb_to_luma
from iqa_lab.ops.elementwise import safe_sqrt

PATCH = 32  # config of the port: side of a patch, and the stride of the grid
RING = 1  # pixels around a patch that Sobel's filters look at
LAYERS = ((32, 7), (64, 5), (128, 3), (256, 3), (9 * 24, 1))  # network.py: kernels and their side, max pooling behind each
HIDDEN = 512  # network.py: both fully connected layers
STREAMS = {"both": ("image", "gradient"), "image": ("image",), "gradient": ("gradient",)}
CHANNELS = {"image": 3, "gradient": 1}
NO_NETWORK = ("Expected parameters of Two-Stream, found none: no trained network is published. Train one with "
              "iqa_lab.training.train and give its weights.pt, or ask for parameters='random'.")


class TwoStream(nn.Module):
    """Quality as the mean score of non-overlapping patches; the direction is that of the opinion scores it learned.

    Args:
        parameters: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`; a file with this module's state; or
            ``"random"`` for an untrained network. There is no default, because there is no published network.
        streams: ``"both"``, or one of ``"image"`` and ``"gradient"`` alone.

    Raises:
        FileNotFoundError: no parameters given, or the file is absent.
        ValueError: unknown streams, or a file with other keys or shapes.
    """

    patch_size = PATCH + 2 * RING

    def __init__(self, *, parameters: str | Path | None = None, streams: str = "both") -> None:
        super().__init__()
        if parameters is None:
            raise FileNotFoundError(NO_NETWORK)
        if streams not in STREAMS:
            raise ValueError(f"Expected the streams {', '.join(STREAMS)}, got {streams!r}.")
        self.parameters_name, self.untrained, self.streams = str(parameters), parameters == "random", streams
        self.towers = nn.ModuleDict({name: create_tower(CHANNELS[name]) for name in STREAMS[streams]})
        features = len(self.towers) * LAYERS[-1][0]
        self.fc1, self.fc2, self.fc3 = nn.Linear(features, HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 1)
        if not self.untrained:
            path = find_weights(parameters)
            load_strictly(self, read_state(path), path)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the mean of the patch scores, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 32 pixels; what lies beyond the last whole
                patch is not looked at, but for one pixel of its gradient.
        """
        check_images(image, minimum_side=PATCH)
        patches = grid_patches(image).flatten(0, 1)
        few = number_at_once(PATCH**2, image.device, NETWORK_PIXELS)
        scores = torch.cat([self.patch_scores(part) for part in patches.split(few)])
        return scores.view(len(image), -1).mean(1)

    def patch_scores(self, patches: torch.Tensor) -> torch.Tensor:
        """Returns the score of each patch, shape (P,).

        Args:
            patches: shape (P, C, 34, 34), RGB or gray in [0, 1]: the patch and the pixels around it.
        """
        x = patches.to(self.fc1.weight.dtype)
        inputs = {"image": x[..., RING:-RING, RING:-RING].expand(-1, 3, -1, -1), "gradient": sobel_magnitude(rgb_to_luma(x))}
        features = torch.cat([tower(inputs[name]) for name, tower in self.towers.items()], 1)
        hidden = F.relu(self.fc2(F.relu(self.fc1(features))))
        return self.fc3(hidden).squeeze(1).to(patches.dtype)

    def loss(self, crops: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the mean absolute error of the patch scores; every patch has its image's opinion score.

        Args:
            crops: shape (N, P, C, 34, 34): P patches of each of N images, with the pixels around them.
            targets: opinion scores, shape (N,).
        """
        scores = self.patch_scores(crops.flatten(0, 1)).view(crops.shape[:2])
        return F.l1_loss(scores, targets[:, None].expand_as(scores))

    @torch.no_grad()
    def rescale_output(self, mean: float, scale: float) -> None:
        """Makes the network return scale * score + mean, by changing its last layer."""
        self.fc3.weight.mul_(scale)
        self.fc3.bias.mul_(scale).add_(mean)

    def extra_repr(self) -> str:
        untrained = " (UNTRAINED: random weights)" if self.untrained else ""
        return f"parameters={Path(self.parameters_name).name!r}{untrained}, streams={self.streams!r}"


def create_tower(inputs: int) -> nn.Sequential:
    """Returns the five convolutions of one stream, from patches (P, inputs, 32, 32) to features (P, 216)."""
    layers = OrderedDict()
    for k, (kernels, side) in enumerate(LAYERS, 1):
        layers[f"conv{k}"] = nn.Conv2d(inputs, kernels, side, padding=side // 2)
        layers[f"relu{k}"], layers[f"pool{k}"] = nn.ReLU(inplace=True), nn.MaxPool2d(2)
        inputs = kernels
    layers["flatten"] = nn.Flatten()
    return nn.Sequential(layers)


def grid_patches(image: torch.Tensor) -> torch.Tensor:
    """Returns the patches of 32 x 32 of each image with the ring around them, row by row, shape (N, P, C, 34, 34).

    Args:
        image: shape (N, C, H, W); beyond its border lies its mirror image, the edge not repeated.
    """
    side = PATCH + 2 * RING
    cells = F.pad(image, [RING] * 4, mode="reflect").unfold(2, side, PATCH).unfold(3, side, PATCH)
    return cells.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)  # from N, C, rows, columns, 34, 34


def sobel_magnitude(gray: torch.Tensor) -> torch.Tensor:
    """Returns the gradient magnitude with Sobel's filters (1, 2, 1), not normalised, without the border.

    Args:
        gray: shape (P, 1, H, W), in [0, 1].

    Returns:
        Shape (P, 1, H - 2, W - 2), from 0 to 4 sqrt(2); where it is 0 its own gradient is taken as 0.
    """
    rows = gray[..., :-2, :] + 2 * gray[..., 1:-1, :] + gray[..., 2:, :]
    columns = gray[..., :-2] + 2 * gray[..., 1:-1] + gray[..., 2:]
    g_x, g_y = rows[..., 2:] - rows[..., :-2], columns[..., 2:, :] - columns[..., :-2, :]
    return safe_sqrt(g_x * g_x + g_y * g_y)
