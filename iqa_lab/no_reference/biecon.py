"""BIECON: a network first learns the local SSIM of patches, which needs no people, and then the opinion of the image.

Paper: J. Kim, S. Lee, "Fully deep blind image quality predictor", IEEE Journal of Selected Topics in Signal Processing
    11(1), 2017, doi:10.1109/JSTSP.2016.2639328.
Reference: the authors' Theano code, jongyookim/IQA_BIECON_release at 9b94526; they published no trained network. Written
    from the code, the paper was not at hand.
Deviations: (1) The release pools patch features by their mean; ``pooling="mean and deviation"`` is what the paper is said
    to do, and a comment in the release. (2) The release trains on the patches of its grid; crops here lie anywhere, with
    two pixels around for the local normalisation of the whole image, and the most detailed 80 % of them count, as of the
    grid. A single patch always counts; there the release has none. (3) MATLAB may round an 8-bit image between columns and
    rows when it halves it for SSIM; here it is rounded once. (4) Their weight decay, 1e-4 times the sum of squared
    weights, biases left out, is the optimiser's: 2e-4 in torch. (5) ``width`` makes the trunk narrower, for CPUs.
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
from iqa_lab.full_reference.ssim import WINDOW, ssim_map
from iqa_lab.full_reference.wadiqam_fr import narrowed
from iqa_lab.images import NETWORK_PIXELS, check_images, few_at_a_time
from iqa_lab.ops.color import rgb_to_luma, round_to_8_bits
from iqa_lab.ops.elementwise import safe_sqrt
from iqa_lab.ops.filters import filter_separable, pad
from iqa_lab.ops.resize import resize

PATCH = 32  # NR_biecon.yaml: patch_size and patch_step
BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # local_normalize_1ch: its outer product is the window
RING = 2  # pixels around a patch that the window looks at
CONST, RESCALING = 127.0, 2 / 3  # local_normalize_1ch, for images in 0..255
KEPT = 0.8  # std_filt_r: share of the patches of an image, the most detailed ones
FR_MET_SCALE = 0.5  # gen_local_metric_scores.m: SSIM is taken of images of half the size
MAPS, KERNEL_SIDE = 64, 5  # BIECON_base.py: both convolutions
HIDDEN = (1024, 512, 256, 128)  # feat_fc
HEAD_HIDDEN = 128  # reg_loc and reg_mos
FIRST_BIAS = 0.5  # b_init of the last layer of both: targets lie in [0, 1]
WL_LOC, WL_MOS = 1e2, 1e2  # weights of the two losses
POOLINGS = {"mean": 1, "mean and deviation": 2}  # numbers per feature
NO_NETWORK = ("Expected parameters of BIECON, found none: its authors published no trained network. Train one with "
              "iqa_lab.training.train and give its weights.pt, or ask for parameters='random'.")


class BIECON(nn.Module):
    """Quality from the pooled features of the detailed patches; the direction is that of the opinion scores it learned.

    Args:
        parameters: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`; a file with this module's state; or
            ``"random"`` for an untrained network. There is no default, because there is no published network.
        pooling: ``"mean"`` of the patch features, or ``"mean and deviation"``.
        width: factor on the number of channels; 1 is the authors' network.

    Raises:
        FileNotFoundError: no parameters given, or the file is absent.
        ValueError: unknown pooling, or a file with other keys or shapes.
    """

    patch_size, targets_from_0_to_1 = PATCH + 2 * RING, True

    def __init__(self, *, parameters: str | Path | None = None, pooling: str = "mean", width: float = 1.0) -> None:
        super().__init__()
        if parameters is None:
            raise FileNotFoundError(NO_NETWORK)
        if pooling not in POOLINGS:
            raise ValueError(f"Expected the pooling {' or '.join(POOLINGS)}, got {pooling!r}.")
        self.parameters_name, self.untrained = str(parameters), parameters == "random"
        self.pooling, self.width = pooling, width
        self.trunk, features = create_trunk(width), narrowed(HIDDEN[-1], width)
        self.proxy, self.quality = create_head(features), create_head(POOLINGS[pooling] * features)
        if self.untrained:
            self.initialise()
        else:
            path = find_weights(parameters)
            load_strictly(self, read_state(path), path)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the score, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 32 pixels; the patches lie in its middle.
        """
        check_images(image, minimum_side=PATCH)
        patches = grid_patches(rgb_to_luma(image))
        return self.score(self.features(take(patches, most_detailed(patches)))).to(image.dtype)

    def proxy_map(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the local SSIM that the first stage expects of each patch, shape (N, H // 32, W // 32).

        Its last layers do not follow the second stage. Args: as :meth:`forward`.
        """
        check_images(image, minimum_side=PATCH)
        proxies = self.proxy(self.features(grid_patches(rgb_to_luma(image)))).to(image.dtype)
        return proxies.view(len(image), *(length // PATCH for length in image.shape[2:]))

    def features(self, patches: torch.Tensor) -> torch.Tensor:
        """Returns the features of each patch, shape (N, P, 128), in the network's type.

        Args:
            patches: shape (N, P, C, 36, 36), RGB or gray in [0, 1]: 32 x 32 and the pixels around.
        """
        normalised = local_normalisation(255 * rgb_to_luma(patches.flatten(0, 1))).to(self.trunk.conv1.weight.dtype)
        features = [self.trunk(few) for few, in few_at_a_time(normalised, pixels=NETWORK_PIXELS)]
        return torch.cat(features).unflatten(0, patches.shape[:2])

    def score(self, features: torch.Tensor) -> torch.Tensor:
        """Returns the score of each image, shape (N,), from the features (N, P, 128) of its patches."""
        pooled = features.mean(1)
        if self.pooling == "mean and deviation":
            pooled = torch.cat((pooled, safe_sqrt(features.var(1, correction=0))), 1)
        return self.quality(pooled).squeeze(1)

    def proxy_loss(self, patches: torch.Tensor, proxies: torch.Tensor) -> torch.Tensor:
        """Returns the loss of the first stage, which needs no opinions: 100 times the mean squared error of the proxies.

        Args:
            patches, proxies: as :func:`proxy_samples` returns them, shapes (N, P, C, 36, 36) and (N, P).
        """
        found = self.proxy(self.features(patches)).squeeze(2)
        return WL_LOC * F.mse_loss(found, proxies.to(found))

    def error_loss(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns :meth:`proxy_loss` of the samples in crops (N, P, C, H, W); the authors take whole images."""
        return self.proxy_loss(*proxy_samples(distorted.flatten(0, 1), reference.flatten(0, 1)))

    def loss(self, crops: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the loss of the second stage: 100 times the mean squared error of the images' scores.

        Args:
            crops: shape (N, P, C, 36, 36): P patches of each of N images, of which the most detailed 80 % count.
            targets: opinion scores in [0, 1], shape (N,).
        """
        scores = self.score(self.features(take(crops, most_detailed(crops))))
        return WL_MOS * F.mse_loss(scores, targets.to(scores))

    @torch.no_grad()
    def rescale_output(self, mean: float, scale: float) -> None:
        """Makes the network return scale * score + mean, by changing the last layer of the quality."""
        self.quality.fc2.weight.mul_(scale)
        self.quality.fc2.bias.mul_(scale).add_(mean)

    def initialise(self) -> None:
        """Draws the release's first weights: He's normal ones, no bias but 0.5 behind the last layers."""
        last = (self.proxy.fc2, self.quality.fc2)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear" if module in last else "relu")
                nn.init.constant_(module.bias, FIRST_BIAS if module in last else 0)

    def extra_repr(self) -> str:
        untrained = " (UNTRAINED: random weights)" if self.untrained else ""
        return (f"parameters={Path(self.parameters_name).name!r}{untrained}, pooling={self.pooling!r}, "
                f"width={self.width:g}")


def create_trunk(width: float) -> nn.Sequential:
    """Returns the layers from normalised patches (P, 1, 32, 32) to features (P, 128 width)."""
    layers, inputs, maps = OrderedDict(), 1, narrowed(MAPS, width)
    for k in (1, 2):
        layers[f"conv{k}"] = nn.Conv2d(inputs, maps, KERNEL_SIDE, padding=KERNEL_SIDE // 2)
        layers[f"conv{k}_relu"], layers[f"pool{k}"] = nn.ReLU(inplace=True), nn.MaxPool2d(2)
        inputs = maps
    layers["flatten"], inputs = nn.Flatten(), maps * (PATCH // 4)**2
    for k, outputs in enumerate((narrowed(hidden, width) for hidden in HIDDEN), 1):
        layers[f"fc{k}"], layers[f"fc{k}_relu"] = nn.Linear(inputs, outputs), nn.ReLU(inplace=True)
        if k < len(HIDDEN):
            layers[f"dropout{k}"] = nn.Dropout(0.5)
        inputs = outputs
    return nn.Sequential(layers)


def create_head(inputs: int) -> nn.Sequential:
    """Returns the layers from features to one number."""
    return nn.Sequential(OrderedDict(dropout=nn.Dropout(0.5), fc1=nn.Linear(inputs, HEAD_HIDDEN), relu=nn.ReLU(),
                                     fc2=nn.Linear(HEAD_HIDDEN, 1)))


def local_normalisation(gray: torch.Tensor) -> torch.Tensor:
    """Returns 2/3 (I - mu) / (sigma + 127) with mu and sigma under the 5 x 5 binomial window, where it fits.

    Args:
        gray: shape (N, 1, H, W), in 0..255; the result is (N, 1, H - 4, W - 4).
    """
    window = gray.new_tensor(BINOMIAL)
    mu, squares = filter_separable(torch.cat((gray, gray * gray), 1), window).split(1, 1)
    sigma = safe_sqrt(squares - mu * mu)
    return RESCALING * (gray[..., RING:-RING, RING:-RING] - mu) / (sigma + CONST)


def grid_start(image: torch.Tensor) -> tuple[int, int]:
    """Returns the first row and column of the grid, so that it lies in the middle (shift_center); both are even."""
    return tuple((length % PATCH + 1) // 2 // 2 * 2 for length in image.shape[2:])


def grid_patches(image: torch.Tensor) -> torch.Tensor:
    """Returns the patches of each image with the ring around them, row by row, shape (N, P, C, 36, 36).

    Args:
        image: shape (N, C, H, W); beyond its border its edge goes on.
    """
    top, left = grid_start(image)
    ringed = pad(image, RING, RING, "replicate")[..., top:, left:]
    cells = ringed.unfold(2, PATCH + 2 * RING, PATCH).unfold(3, PATCH + 2 * RING, PATCH)  # N, C, rows, columns, 36, 36
    return cells.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)


@torch.no_grad()
def most_detailed(patches: torch.Tensor) -> torch.Tensor:
    """Returns which patches of each image have the largest standard deviations, in their order, int64 of shape (N, K).

    Args:
        patches: shape (N, P, C, 36, 36); the ring does not count. K is 0.8 P, rounded down, at least 1.
    """
    inner = rgb_to_luma(patches.flatten(0, 1))[..., RING:-RING, RING:-RING]
    deviations = inner.flatten(1).std(1, correction=0).view(patches.shape[:2])
    kept = max(1, int(KEPT * patches.shape[1]))
    return deviations.argsort(dim=1, descending=True, stable=True)[:, :kept].sort(1).values


def take(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Returns values[n, chosen[n, k]] of shape (N, K, ...) for values of shape (N, P, ...)."""
    return values[torch.arange(len(values), device=values.device)[:, None], chosen]


@torch.no_grad()
def local_ssim(distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Returns the mean of the SSIM map, of half-size images with zeros around, on each patch of the grid, shape (N, P).

    Args:
        distorted, reference: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 32 pixels.
    """
    check_images(distorted, reference, minimum_side=PATCH)
    halves = (round_to_8_bits(resize(image, FR_MET_SCALE)).clamp(0, 1) for image in (distorted, reference))
    quality = ssim_map(*(F.pad(half, [WINDOW // 2] * 4) for half in halves))  # ssim_index.m there filters with 'same'
    top, left = grid_start(distorted)
    return F.avg_pool2d(quality[..., top // 2:, left // 2:], PATCH // 2).flatten(1)


def proxy_samples(distorted: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns what the first stage learns from: the detailed patches, gray, (N, K, 1, 36, 36), and their local SSIM (N, K).

    Args:
        distorted, reference: as :func:`local_ssim`.
    """
    proxies = local_ssim(distorted, reference)
    patches = grid_patches(rgb_to_luma(distorted))
    chosen = most_detailed(patches)
    return take(patches, chosen), take(proxies, chosen)
