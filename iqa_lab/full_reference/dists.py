"""DISTS: texture and structure compared by the global means and (co)variances of every feature map of VGG-16.

Paper: K. Ding, K. Ma, S. Wang, E. P. Simoncelli, "Image quality assessment: unifying structure and texture similarity",
    IEEE Transactions on Pattern Analysis and Machine Intelligence 44(5), 2022, doi:10.1109/TPAMI.2020.3045810.
    Its text was not at hand: letters are the paper's, equation numbers are left out.
Reference: the authors' DISTS_pytorch/DISTS_pt.py at dingkeyan93/DISTS 1267d8cb, and its weights.pt (alpha and beta).
Deviations: (1) The authors' demo shrinks 8-bit images with Pillow's antialiased bilinear filter, which rounds to 8 bits
    twice; ``resize=True`` is the same filter on real numbers. Their class itself, piq, pyiqa and torchmetrics do not
    resize: ``resize=False``. (2) 1 - l and 1 - s are added up instead of l and s, which is the same sum and exactly 0 for
    identical images. (3) Other backbones with uniform weights are this project's; they are not the authors' model.
Chapter: 24
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.checkpoints import load_strictly, read_state
from iqa_lab.backbones.features import FeatureExtractor, pair_scores
from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import check_images

C1, C2 = 1e-6, 1e-6  # c_1 and c_2 of l and s
HANNING = (1, 2, 1)  # np.hanning(5) without its zeros, times 2
POOLING_EPSILON = 1e-12  # under the root of the L2 pooling
SHORTER_SIDE = 256  # of the authors' demo
MINIMUM_SIDE = 16  # one sample of the deepest maps, behind four halvings
PIXELS = "image"  # the name of the "layer" that is the image itself
#: backbone -> the last layer of each resolution, before each max pooling, and its number of maps
LAYERS = {
    "vgg16": {"relu1_2": 64, "relu2_2": 128, "relu3_3": 256, "relu4_3": 512, "relu5_3": 512},
    "alexnet": {"relu1": 64, "relu2": 192, "relu5": 256},
    "squeezenet": {"relu1": 64, "fire3": 128, "fire5": 256, "fire9": 512},
}

Maps = Mapping[str, torch.Tensor]


class L2Pooling(nn.Module):
    """Blurred L2 pooling, sqrt(g * x^2) at every other sample: halves a map without aliasing.

    It takes the place of each max pooling, whatever window that had.

    Args:
        channels: of the maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        side = torch.tensor(HANNING) / sum(HANNING)
        kernel = torch.outer(side, side).expand(channels, 1, -1, -1)
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns maps of shape (N, C, ceil(H / 2), ceil(W / 2)); beyond the border are zeros."""
        energy = F.conv2d(x * x, self.kernel, stride=2, padding=1, groups=len(self.kernel))
        return (energy + POOLING_EPSILON).sqrt()


class DISTS(nn.Module):
    """Deep image structure and texture similarity: D = 1 - sum_j (alpha_j l_j + beta_j s_j) over all maps j.

    l_j compares the means of a map over the whole plane (texture), s_j its covariance with the variances (structure). The
    image itself is the first layer. Only alpha and beta were learned; ``requires_grad_`` on these two lets them be trained.

    Args:
        backbone: a key of ``LAYERS``; the authors' is ``"vgg16"``.
        weights: of the backbone, as in :class:`iqa_lab.backbones.features.FeatureExtractor`.
        parameters: alpha and beta: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS` (``"dists_alpha_beta"``, the
            authors', shipped); a file in their layout; or ``"uniform"``, one weight for all, where their training began.
        resize: shrink images whose shorter side is above 256 to 256 first, as the authors' demo does.

    Raises:
        FileNotFoundError: a parameter file is absent; the message says where it comes from.
        ValueError: an unknown backbone, or a file with other names or shapes.
    """

    def __init__(self, *, backbone: str = "vgg16", weights: str | Path = "imagenet",
                 parameters: str | Path = "dists_alpha_beta", resize: bool = True) -> None:
        super().__init__()
        if backbone not in LAYERS:
            raise ValueError(f"Expected a backbone of DISTS ({', '.join(LAYERS)}), got {backbone!r}.")
        self.parameters_name, self.resize = str(parameters), resize
        self.widths = {PIXELS: 3, **LAYERS[backbone]}
        uniform = torch.full((sum(self.widths.values()),), 1 / (2 * sum(self.widths.values())))
        self.alpha, self.beta = nn.Parameter(uniform), nn.Parameter(uniform.clone())
        if parameters != "uniform":
            self._load(find_weights(parameters))
        self.extractor = FeatureExtractor(backbone, tuple(LAYERS[backbone]), weights=weights, pooling=L2Pooling)
        self.requires_grad_(False).eval()

    @classmethod
    def from_official(cls, path: str | Path, *, weights: str | Path = "imagenet", resize: bool = True) -> DISTS:
        """Returns the authors' model with alpha and beta of a file in the layout of their weights.pt.

        Args:
            path: a state with ``alpha`` and ``beta``, each of 1475 numbers.
            weights, resize: as in the class.

        Raises:
            FileNotFoundError, ValueError: as in the class.
        """
        return cls(parameters=Path(path), weights=weights, resize=resize)

    def forward(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns the distance of each pair.

        Args:
            distorted, reference: shape (N, C, H, W), RGB or gray in [0, 1], sides of 16 pixels or more.

        Returns:
            Shape (N,), 0 for identical images, at most 1.13 with the authors' weights, 1.5 with uniform ones; lower is
            better.

        Raises:
            TypeError, ValueError: as :func:`iqa_lab.images.check_images`.
        """
        check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
        return pair_scores(self, self.extractor, distorted, reference)

    def features(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Returns the compared maps by layer, the image itself first; those of a reference can be kept.

        Args:
            image: shape (N, C, H, W), as in :meth:`forward`.
        """
        check_images(image, minimum_side=MINIMUM_SIDE)
        pixels = image.to(self.alpha.dtype).expand(-1, 3, -1, -1)
        pixels = shrink(pixels) if self.resize else pixels
        return {PIXELS: pixels, **self.extractor(pixels)}

    def distance(self, distorted: Maps, reference: Maps) -> torch.Tensor:
        """Returns the distance of images whose :meth:`features` are given, shape (N,).

        Args:
            distorted, reference: of N images each, or of one image on one side that is compared with all on the other.
        """
        differences = [texture_and_structure(distorted[layer], reference[layer]) for layer in self.widths]
        texture, structure = (torch.cat(parts, 1) for parts in zip(*differences, strict=True))  # N, J
        return (texture @ self.alpha + structure @ self.beta) / (self.alpha.sum() + self.beta.sum())

    def shares(self) -> dict[str, tuple[float, float]]:
        """Returns by layer the parts of the whole weight that lie on texture (alpha) and on structure (beta)."""
        total = (self.alpha.sum() + self.beta.sum()).item()
        sums = [[part.sum().item() / total for part in weight.split(list(self.widths.values()))]
                for weight in (self.alpha, self.beta)]
        return dict(zip(self.widths, zip(*sums, strict=True), strict=True))

    def extra_repr(self) -> str:
        return f"parameters={Path(self.parameters_name).name!r}, resize={self.resize}"

    def _load(self, path: Path) -> None:
        """Reads alpha and beta, (1, J, 1, 1) in the authors' file; at this moment they are all that the module has."""
        load_strictly(self, {name: value.flatten() for name, value in read_state(path).items()}, path)


def texture_and_structure(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns 1 - l and 1 - s of each map, with means, variances and covariances over the whole plane.

    l = (2 mu_x mu_y + c_1) / (mu_x^2 + mu_y^2 + c_1), s = (2 sigma_xy + c_2) / (sigma_x^2 + sigma_y^2 + c_2), with the
    moments of the population. Neither is clipped.

    Args:
        x, y: shape (N, C, H, W); N may be 1 on one side.

    Returns:
        Two tensors of shape (N, C), the first in [0, 1] for maps without negative values, the second in [0, 2].
    """
    # With a = x + y and d = x - y the numerators of 1 - l and 1 - s are mu_d^2 and sigma_d^2, and the sums of squares are
    # half of those of a and d: four moments instead of five, and no difference of nearly equal numbers.
    (mean_a, variance_a), (mean_d, variance_d) = (moments(maps) for maps in (x + y, x - y))
    mean_a2, mean_d2 = mean_a * mean_a, mean_d * mean_d
    texture = mean_d2 / ((mean_a2 + mean_d2) / 2 + C1)
    return texture, variance_d / ((variance_a + variance_d) / 2 + C2)


def moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns mean and population variance of each map (N, C, H, W), both of shape (N, C); ``x`` is overwritten."""
    x = x.flatten(2)
    mean = x.mean(2, keepdim=True)
    x -= mean
    return mean.squeeze(2), torch.linalg.vector_norm(x, dim=2).square() / x.shape[2]  # several times as fast as torch.var


def shrink(image: torch.Tensor) -> torch.Tensor:
    """Returns the image (N, C, H, W) with a shorter side of 256 pixels at most, bilinear and antialiased.

    The longer side is rounded down, as in torchvision's ``resize`` of a picture.
    """
    shorter = min(image.shape[2:])
    if shorter <= SHORTER_SIDE:
        return image
    size = tuple(side * SHORTER_SIDE // shorter for side in image.shape[2:])
    return F.interpolate(image, size, mode="bilinear", antialias=True)
