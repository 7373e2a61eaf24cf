"""Amirshahi 2016: histograms of feature maps over a spatial pyramid, compared by their intersection.

Paper: S. A. Amirshahi, M. Pedersen, S. X. Yu, "Image quality assessment by comparing CNN features between images",
    Journal of Imaging Science and Technology 60(6), 2016, doi:10.2352/J.ImagingSci.Technol.2016.60.6.060410.
Reference: none; the authors published no code, and only the abstract was at hand.
Deviations: this is a RECONSTRUCTION. From the abstract and from later accounts are known: a pretrained AlexNet, maps of
    both images compared at several layers, histogram intersection over a spatial pyramid, layer scores pooled to one. Ours
    are: what a histogram counts (``histograms``), three levels with the weights of Lazebnik's pyramid match, ReLU maps of
    five layers, their geometric mean, and images of their own size. None of the paper's numbers is claimed.
Chapter: 20
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.features import FeatureExtractor
from iqa_lab.images import check_images
from iqa_lab.ops.elementwise import safe_power

LAYERS = ("relu1", "relu2", "relu3", "relu4", "relu5")  # of AlexNet: what its five convolutions see
LEVELS = 3  # grids of 1, 2 x 2 and 4 x 4 cells
BINS = 32  # of a map's values
MINIMUM_SIDE = 64  # AlexNet's fifth layer then has 3 x 3 positions

Pair = tuple[torch.Tensor, torch.Tensor]


def cell_sums(values: torch.Tensor, cells: int) -> torch.Tensor:
    """Returns the sums over a grid of cells x cells, shape (N, rows, columns, C).

    Position i of an axis lies in cell floor(i cells / side). A map with fewer positions than cells has one row or column
    for each of them.

    Args:
        values: shape (N, C, H, W).
        cells: 1 or more.
    """
    rows, columns = (F.one_hot(_cells(side, cells, values.device)).T.to(values.dtype) for side in values.shape[2:])
    return torch.einsum("ih,nchw,jw->nijc", rows, values, columns)


def channel_masses(x: torch.Tensor, y: torch.Tensor, cells: int) -> Pair:
    """Returns one histogram for each cell, whose bins are the channels: how much each is active there.

    Args:
        x, y: maps of both images (N, C, H, W), 0 or more.
        cells: along each side of the grid.

    Returns:
        Two tensors (N, rows, columns, 1, C).
    """
    return cell_sums(x, cells)[..., None, :], cell_sums(y, cells)[..., None, :]


def value_counts(x: torch.Tensor, y: torch.Tensor, cells: int) -> Pair:
    """Returns one histogram for each cell and channel, of the positive values, in 32 bins up to the pair's largest.

    A value is shared by the two bins whose centres are next to it, so that there is a gradient.

    Args: as :func:`channel_masses`.

    Returns:
        Two tensors (N, rows, columns, C, 32).
    """
    top = torch.maximum(*(maps.amax((2, 3), keepdim=True) for maps in (x, y)))
    scale = BINS / torch.where(top > 0, top, 1)
    return _soft_counts(x, scale, cells), _soft_counts(y, scale, cells)


class Amirshahi2016(nn.Module):
    """The geometric mean of the layers' pyramid histogram intersections.

    Args:
        backbone, layers, weights: as :class:`iqa_lab.backbones.features.FeatureExtractor`.
        histograms: what is counted, :func:`channel_masses` or :func:`value_counts`.
        levels: of the pyramid; level L has 2^L x 2^L cells.
        layer_weights: exponents of the layer scores, None for a geometric mean.

    Raises:
        ValueError: unknown backbone or layer, or another number of weights than layers. FileNotFoundError: the weights are
            absent, with the way to them.
    """

    def __init__(self, *, backbone: str = "alexnet", layers: Sequence[str] = LAYERS, weights: str | Path = "imagenet",
                 histograms: Callable[[torch.Tensor, torch.Tensor, int], Pair] = channel_masses, levels: int = LEVELS,
                 layer_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.network = FeatureExtractor(backbone, layers, weights=weights)
        self.histograms, self.levels = histograms, levels
        self.layer_weights = tuple(layer_weights or [1 / len(layers)] * len(layers))
        if len(self.layer_weights) != len(layers):
            raise ValueError(f"Expected one weight for each of {len(layers)} layers, got {len(self.layer_weights)}.")

    def forward(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns the product of the layer scores to the power of their weights: (N,), in [0, 1], 1 for identical images.

        Args:
            distorted, reference: shape (N, C, H, W), RGB or gray in [0, 1], sides of 64 pixels or more.
        """
        scores = self.layer_scores(distorted, reference).unbind(1)
        return torch.stack([safe_power(*pair) for pair in zip(scores, self.layer_weights, strict=True)]).prod(0)

    def layer_scores(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns the weighted mean of the levels at each layer, shape (N, number of layers), in [0, 1]."""
        levels = self.level_scores(distorted, reference)
        return levels @ levels.new_tensor(level_weights(self.levels))

    def level_scores(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns the mean intersection at each layer and level, shape (N, layers, levels); arguments as :meth:`forward`."""
        check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
        maps = self.network(torch.cat((distorted, reference)))
        layers = [torch.stack([intersection(*self.histograms(*both.clamp_min(0).chunk(2), 2**level))
                               for level in range(self.levels)], 1) for both in maps.values()]
        return torch.stack(layers, 1).to(distorted.dtype)

    def extra_repr(self) -> str:
        weights = ", ".join(f"{weight:.3g}" for weight in self.layer_weights)
        return f"histograms={self.histograms.__name__}, levels={self.levels}, layer_weights=({weights})"


def level_weights(levels: int) -> list[float]:
    """Returns the weights of the pyramid match: 2^-M for level 0 and 2^-(M - L + 1) for level L, M the finest; sum 1.

    >>> level_weights(3)
    [0.25, 0.25, 0.5]
    """
    finest = levels - 1
    return [2.0**-finest, *(2.0 ** -(finest - level + 1) for level in range(1, levels))]


def intersection(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Returns the mean over cells of sum_b min(p_b, q_b), with p and q the histograms over their sums: shape (N,).

    Where both histograms are empty they agree (1), where one is they do not (0).

    Args:
        x, y: shape (N, rows, columns, histograms, bins), 0 or more.
    """
    sums = [histogram.sum(-1, keepdim=True) for histogram in (x, y)]
    p, q = (histogram / torch.where(total > 0, total, 1) for histogram, total in zip((x, y), sums, strict=True))
    overlap = 1 - (p - q).abs().sum(-1) / 2  # sum min(p, q) of histograms that sum to 1, and exactly 1 where p = q
    agree = ((sums[0] > 0) == (sums[1] > 0))[..., 0]
    return torch.where(agree, overlap, 0).flatten(1).mean(1)


def _cells(side: int, cells: int, device: torch.device) -> torch.Tensor:
    """Returns the cell of each position along an axis, shape (side,); cells without a position are not counted."""
    return (torch.arange(side, device=device) * cells // side).unique(return_inverse=True)[1]


def _soft_counts(maps: torch.Tensor, scale: torch.Tensor, cells: int) -> torch.Tensor:
    place = (maps * scale - 0.5).clamp(0, BINS - 1)  # in units of bins, from the centre of the first one
    lower = place.detach().floor().clamp_max(BINS - 2)
    rows, columns = (_cells(side, cells, maps.device) for side in maps.shape[2:])
    n_rows, n_columns = min(cells, len(rows)), min(cells, len(columns))
    bins = (BINS * (n_columns * rows[:, None] + columns) + lower.long()).flatten(2)
    upper_share = (place - lower).flatten(2)
    positive = (maps > 0).flatten(2)
    counts = maps.new_zeros(*maps.shape[:2], n_rows * n_columns * BINS)
    counts = counts.scatter_add(2, bins, (1 - upper_share) * positive).scatter_add(2, bins + 1, upper_share * positive)
    return counts.unflatten(2, (n_rows, n_columns, BINS)).permute(0, 2, 3, 1, 4)
