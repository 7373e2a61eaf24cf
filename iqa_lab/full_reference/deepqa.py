"""DeepQA: a network learns where errors are seen, and a weighted mean of the log error becomes the score.

Paper: J. Kim, S. Lee, "Deep learning of human visual sensitivity in image quality assessment framework", CVPR 2017,
    pages 1676-1684.
Reference: the authors' Theano code, jongyookim/IQA_DeepQA_FR_release at 8f08765, model FR_sens_1; they published no
    trained network. Written from the code alone, the paper was not at hand.
Deviations: (1) Behind the last ReLU the score is moved to the scale of the opinion scores it was trained with, gain *
    score + offset; the authors keep [0, 1]. (2) First weights: theirs give the sensitivity map a bias of 1 beside random
    kernels, so that it starts anywhere between 0 and 1 and can be dead, and half of all networks start below the last
    ReLU. Here those kernels start at 0, so that the start is the plain mean of the log error, and the last layer is
    scaled so that equal images start at the middle of the targets, 0.5: drawn freely, and with a rate of 1e-3, the first
    steps closed the last ReLU for good in one of five trainings. (3) Their weight decay, 5e-3 times the sum of squared weights, biases left out, is the optimiser's:
    0.01 in torch.
Chapter: 23
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.checkpoints import load_strictly, read_state
from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.ops.color import rgb_to_luma

EPSILON = 1.0  # log_diff_fn as it is called: under the logarithm, for differences in 0..255
BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # laplacian_pyr.py
HALVINGS = 2  # of the low-frequency image, and of the error map: the size of the sensitivity map
LEAK = 0.1  # slope of the leaky ReLU
BORDER = 4  # ign: samples of the perceptual map left out at each side
PATCH, STRIDE = 112, 80  # configuration for LIVE: perceptual maps without their borders lie side by side
W_SUBJ, W_TV, BETA = 1e3, 1e-2, 3.0  # weights of the loss, and the exponent of the total variation as it is called
START = 0.5  # first score of equal images, the middle of the targets
MINIMUM_SIDE = 2**HALVINGS * 2 * BORDER + 1
NO_NETWORK = ("Expected parameters of DeepQA, found none: its authors published no trained network. Train one with "
              "iqa_lab.training.train and give its weights.pt, or ask for parameters='random'.")


class DeepQA(nn.Module):
    """Quality as a learned function of the mean perceptual error map; the direction is that of its opinion scores.

    Args:
        parameters: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`; a file with this module's state; or ``"random"``
            for an untrained network. There is no default, because there is no published network.
        patches: score patches of 112 x 112 with stride 80, as the authors do on LIVE, instead of the whole image.

    Raises:
        FileNotFoundError: no parameters given, or the file is absent.
        ValueError: the file holds other keys or shapes.
    """

    patch_size, targets_from_0_to_1 = PATCH, True

    def __init__(self, *, parameters: str | Path | None = None, patches: bool = False) -> None:
        super().__init__()
        if parameters is None:
            raise FileNotFoundError(NO_NETWORK)
        self.parameters_name, self.patches, self.untrained = str(parameters), patches, parameters == "random"
        self.image = nn.Sequential(*convolution(1, 32), *convolution(32, 32, stride=2))
        self.error = nn.Sequential(*convolution(1, 32), *convolution(32, 32, stride=2))
        self.joint = nn.Sequential(*convolution(64, 64), *convolution(64, 64, stride=2), *convolution(64, 64),
                                   nn.Conv2d(64, 1, 3, padding=1), nn.ReLU())
        self.fc1, self.fc2 = nn.Linear(1, 4), nn.Linear(4, 1)
        self.register_buffer("gain", torch.ones(()))
        self.register_buffer("offset", torch.zeros(()))
        if self.untrained:
            self.initialise()
        else:
            path = find_weights(parameters)
            load_strictly(self, read_state(path), path)

    def forward(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns the score, shape (N,); identical images have no special one.

        Args:
            distorted, reference: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 33 pixels, or 112 with
                ``patches``.
        """
        check_images(distorted, reference, minimum_side=PATCH if self.patches else MINIMUM_SIDE)
        scores = []
        for d, r in few_at_a_time(distorted, reference):
            if self.patches:
                perceptual = self.maps(grid_patches(d).flatten(0, 1), grid_patches(r).flatten(0, 1))[2]
            else:
                perceptual = self.maps(d, r)[2]
            scores.append(self.score(perceptual, len(d)))
        return torch.cat(scores).to(distorted.dtype)

    def maps(self, distorted: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the error map, the sensitivity map and their product, the perceptual error map.

        Args:
            distorted, reference: as :meth:`forward`.

        Returns:
            Each of shape (N, 1, ceil(H / 4), ceil(W / 4)), in the network's type. The error map is 1 where the images
            agree, and about 0 where they differ by 255; sensitivity is 0 or more.
        """
        check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
        d, r = (rgb_to_luma(image).to(self.gain.dtype) for image in (distorted, reference))
        error = log_error(d, r)
        branches = self.image(remove_low_frequencies(d)), self.error(error)
        sensitivity = self.joint(torch.cat(branches, 1))
        for _ in range(HALVINGS):
            error = shrink(error)
        return error, sensitivity, sensitivity * error

    def score(self, perceptual: torch.Tensor, images: int) -> torch.Tensor:
        """Returns the score of each image, shape (N,), from the mean of its perceptual maps without their borders.

        Args:
            perceptual: shape (N P, 1, h, w), the same number of maps for each image, image after image.
            images: N.
        """
        mean_error = perceptual[..., BORDER:-BORDER, BORDER:-BORDER].reshape(images, -1).mean(1, keepdim=True)
        hidden = F.leaky_relu(self.fc1(mean_error), LEAK)
        return self.gain * F.relu(self.fc2(hidden)).squeeze(1) + self.offset

    def loss(self, distorted: torch.Tensor, reference: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns 1000 times the mean squared error of the scores, and 0.01 times the variation of the sensitivity map.

        Args:
            distorted, reference: shape (N, P, C, H, W): P patches of each of N images; ``image[:, None]`` for whole ones.
            targets: opinion scores in [0, 1], shape (N,): below 0 the last ReLU could not follow.
        """
        _, sensitivity, perceptual = self.maps(distorted.flatten(0, 1), reference.flatten(0, 1))
        scores = self.score(perceptual, len(distorted))
        return W_SUBJ * F.mse_loss(scores, targets.to(scores)) + W_TV * total_variation(sensitivity)

    @torch.no_grad()
    def rescale_output(self, mean: float, scale: float) -> None:
        """Makes the network return scale * score + mean."""
        self.gain.mul_(scale)
        self.offset.mul_(scale).add_(mean)

    @torch.no_grad()
    def initialise(self) -> None:
        """Draws first weights: He's uniform ones, no bias; a sensitivity of 1 and the score 0.5 of equal images, see the head."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_uniform_(module.weight, a=0 if module is self.fc2 else LEAK)
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.joint[-2].weight)
        nn.init.ones_(self.joint[-2].bias)
        start = self.fc2(F.leaky_relu(self.fc1(torch.ones(1, 1)), LEAK))
        self.fc2.weight.mul_(START / start.abs().clamp_min(START / 10).copysign(start))

    def extra_repr(self) -> str:
        untrained = " (UNTRAINED: random weights)" if self.untrained else ""
        return f"parameters={Path(self.parameters_name).name!r}{untrained}, patches={self.patches}"


def convolution(inputs: int, outputs: int, *, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    """Returns a 3 x 3 convolution with zeros around the image, and the leaky ReLU behind it."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), nn.LeakyReLU(LEAK)


def log_error(distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Returns log(255^2 / (d^2 + eps)) / log(255^2 / eps) of the difference d of gray images in 0..255.

    Args:
        distorted, reference: shape (N, 1, H, W), in [0, 1].

    Returns:
        The same shape: 1 where the images agree, 0.94 for a difference of 1, 0.58 for 10, about 0 for 255.
    """
    d = 255 * (distorted - reference)
    return (2 * math.log(255) - torch.log(d * d + EPSILON)) / (2 * math.log(255) - math.log(EPSILON))


def remove_low_frequencies(image: torch.Tensor) -> torch.Tensor:
    """Returns the gray image (N, 1, H, W) less its binomial low-pass image, which is halved twice and enlarged again."""
    low, sizes = image, []
    for _ in range(HALVINGS):
        sizes.append(low.shape[2:])
        low = shrink(low)
    for size in reversed(sizes):
        low = enlarge(low, size)
    return image - low


def shrink(x: torch.Tensor) -> torch.Tensor:
    """Returns every second sample of the binomially filtered image (N, 1, H, W), zeros beyond the border."""
    return F.conv2d(x, binomial_kernel(x), stride=2, padding=2)


def enlarge(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Returns the image (N, 1, h, w) with zeros between its samples, filtered, at ``size``: the transpose of shrink."""
    extra = [length - (2 * side - 1) for length, side in zip(size, x.shape[2:], strict=True)]
    return F.conv_transpose2d(x, 4 * binomial_kernel(x), stride=2, padding=2, output_padding=extra)


def binomial_kernel(x: torch.Tensor) -> torch.Tensor:
    """Returns the 5 x 5 binomial kernel, shape (1, 1, 5, 5), in the type of ``x``."""
    taps = x.new_tensor(BINOMIAL)
    return torch.outer(taps, taps)[None, None]


def total_variation(x: torch.Tensor) -> torch.Tensor:
    """Returns the mean of (g_x^2 + g_y^2)^(3/2) with Sobel's filters, inside the map (N, 1, H, W); a scalar."""
    rows = x[..., :-2, :] + 2 * x[..., 1:-1, :] + x[..., 2:, :]
    columns = x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]
    g_x, g_y = rows[..., 2:] - rows[..., :-2], columns[..., 2:, :] - columns[..., :-2, :]
    return ((g_x * g_x + g_y * g_y) ** (BETA / 2)).mean()


def grid_patches(image: torch.Tensor) -> torch.Tensor:
    """Returns the patches of 112 x 112 with stride 80, in the middle of the image, shape (N, P, C, 112, 112).

    Args:
        image: shape (N, C, H, W), sides of at least 112. What is left over is shared by both sides, the smaller part
            first, and the grid begins at an even pixel.
    """
    spare = [(length - PATCH) % STRIDE for length in image.shape[2:]]
    top, left = ((length + 1) // 2 // 2 * 2 for length in spare)
    cells = image[..., top:, left:].unfold(2, PATCH, STRIDE).unfold(3, PATCH, STRIDE)  # N, C, rows, columns, 112, 112
    return cells.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)
