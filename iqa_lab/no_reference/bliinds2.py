"""BLIINDS-II: statistics of local DCT coefficients, and a Gaussian model of features and opinion scores.

Paper: M. A. Saad, A. C. Bovik, C. Charrier, "Blind image quality assessment: a natural scene statistics approach in the
    DCT domain", IEEE Transactions on Image Processing 21(8), 2012, doi:10.1109/TIP.2012.2191563.
Reference: the authors' MATLAB release (bliinds2_feature_extraction.m, bliinds_prediction.m,
    parameters_from_training.mat), as in utlive/BLIINDS2 at 212d23b5.
Deviations: (1) The release reads the first channel of what it is given. Its own table of LIVE features was made from
    colour files, so from red: ``luma=first_channel`` gives that table to 5e-7. The default is MATLAB's rgb2gray, the
    release called with a gray image. (2) Every image is rounded to the 8 bits that the release reads: guards of
    1e-7 make the features sensitive to the last digits of float32. Gradients pass through the rounding. (3) The mode of
    the Gaussian model is computed in closed form instead of by trying 199 scores, which gives the same number, except
    where the density underflows at all of them (a grating of one frequency): there the release answers 0, this file
    the mode. (4) Flat windows have the rounding errors of a DCT, divided by 1e-7, in their spread, here and in the
    release: up to 1e-6 in the features of flat images.
Chapter: 12
"""

from __future__ import annotations

import functools
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.io import loadmat
from torch import nn

from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import check_images, few_at_a_time, number_at_once
from iqa_lab.no_reference.regression import UNTRAINED, load_regressor
from iqa_lab.ops.blocks import block_dct
from iqa_lab.ops.color import Luma, rgb_to_luma_matlab
from iqa_lab.ops.correlation import correlate_axis
from iqa_lab.ops.elementwise import round_half_up, safe_power
from iqa_lab.ops.filters import gaussian_kernel

BLOCK, BORDER = 3, 1  # blocks of 3 x 3 with one pixel more on each side: 5 x 5 windows that overlap by two
WINDOW = BLOCK + 2 * BORDER
N_SCALES = 3
MINIMUM_SIDE = BLOCK * 2 ** (N_SCALES - 1)  # a whole block at the smallest scale
SIGMA = 0.5  # of the 3 x 3 Gaussian before each halving: fspecial('gaussian', 3)
WORST = 10  # per cent of the blocks that make the second value of each feature
#: Which coefficients are which, row by row of the 5 x 5 window: three bands from low to high frequency, and
#: 1 above the diagonal (one direction of edges), 2 below it (the other), 3 along it.
BANDS = "01122 11222 12223 22233 22333"
DIRECTIONS = "01111 23111 22331 22333 22233"
EPSILON_SPREAD, EPSILON_BAND = 1e-7, 1e-8  # the release's guards of its quotients
SHAPE_MINIMUM, SHAPE_STEP, N_SHAPES = 0.03, 0.001, 9971  # gama_gen_gauss.m: shapes 0.03, 0.031, ..., 10
SHAPE_NOT_FOUND = 11.0  # of flat blocks, and of all whose ratio lies outside the table
LOWEST, HIGHEST, STEP = 1.0, 100.0, 0.5  # the scores that bliinds_prediction.m tries ...
SHIFT = 1.0  # ... and what it returns: the list of answers begins with 0, so each is one less than the score it tried
GAUSSIAN = ("live_mu", "live_sigma_inv")  # of parameters_from_training.mat: all distortions together
DECIMALS = 4  # with which bliinds_prediction.m has the numbers of the .mat file
BLOCKS_AT_ONCE = 2**13  # on a CPU: their 25 coefficients take 1.6 MB and stay in the cache


class BLIINDS2(nn.Module):
    """Score from 24 statistics of local DCT coefficients; lower is better.

    Args:
        parameters: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`: ``"bliinds2_livec"`` (support vector
            regression, trained by this project on LIVE in the Wild, 100 - MOS) or ``"bliinds2_live"`` (the authors'
            Gaussian model, LIVE release 2, DMOS); or the path of a file with either, such as ``iqa-lab train bliinds2``
            writes.
        luma: what of a colour image is looked at: ``rgb_to_luma_matlab``, or :func:`first_channel`, from which the
            authors' model was made.

    Raises:
        FileNotFoundError: the parameter file is absent; the message says where it comes from.
        ValueError: the file holds neither model.
    """

    def __init__(self, *, parameters: str | Path = "bliinds2_livec", luma: Luma = rgb_to_luma_matlab) -> None:
        super().__init__()
        self.luma = luma
        self.regressor = load_model(parameters)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the score of each image, shape (N,); the Gaussian model's are 0, 0.5, ..., 99.

        Args:
            image: as :func:`bliinds2_features`.
        """
        return self.regressor(self.features(image)).to(image.dtype)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Returns :func:`bliinds2_features`, which the model takes."""
        return bliinds2_features(image, luma=self.luma)


class ConditionalMode(nn.Module):
    """The most probable DMOS, given the features, under a (generalised) Gaussian of features and DMOS together.

    The density falls with a quadratic form, whatever its exponent, so its maximum over the DMOS lies on a straight
    line: mu_d - sum_f P_df (x_f - mu_f) / P_dd, where P is the inverse covariance. Gradients pass through the rounding
    to steps of 0.5 as if it were not there, and are 0 at both ends of the range.

    Args:
        mean: of the D features and the DMOS, shape (D + 1,).
        precision: inverse covariance, shape (D + 1, D + 1).
    """

    def __init__(self, mean: np.ndarray, precision: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("weights", torch.from_numpy(-precision[-1, :-1] / precision[-1, -1]))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Returns the score, float64 (N,), for features (N, D)."""
        mode = (features.to(self.mean) - self.mean[:-1]) @ self.weights + self.mean[-1]
        return STEP * round_half_up(mode.clamp(LOWEST, HIGHEST) / STEP) - SHIFT


def load_model(source: str | Path) -> nn.Module:
    """Returns the model in a parameter file: the authors' Gaussian, or a support vector regression of this project.

    Args:
        source: as ``parameters`` of :class:`BLIINDS2`.
    """
    path = source if source == UNTRAINED else find_weights(source)
    if Path(path).suffix != ".mat":
        return load_regressor(path)
    arrays = loadmat(path, variable_names=GAUSSIAN)
    if len(arrays.keys() & set(GAUSSIAN)) < len(GAUSSIAN):
        raise ValueError(f"Expected {' and '.join(GAUSSIAN)} in {path.name}; the release's file has them.")
    mean, precision = (np.round(arrays[name], DECIMALS) for name in GAUSSIAN)
    return ConditionalMode(mean.ravel(), precision)


def bliinds2_features(image: torch.Tensor, *, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns 24 features, float64 (N, 24): of each scale mean and worst tenth of the maps of :func:`block_maps`.

    Args:
        image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 12 pixels.
        luma: as :class:`BLIINDS2`.
    """
    check_images(image, minimum_side=MINIMUM_SIDE)
    return torch.cat([_features(round_half_up(255 * luma(part.double()))) for (part,) in few_at_a_time(image)])


def first_channel(image: torch.Tensor) -> torch.Tensor:
    """Returns the red channel of a colour image, or the gray image itself, shape (N, 1, H, W)."""
    return image[:, :1]


def block_maps(x: torch.Tensor) -> torch.Tensor:
    """Returns rho, gamma, R and orientation variance of every window, shape (N, 4, blocks), row by row.

    Args:
        x: gray images (N, 1, H, W) on 0..255, float64. There are ceil(H / 3) ceil(W / 3) windows; zeros stand beyond
            the border.
    """
    height, width = x.shape[2:]
    padded = F.pad(x, (BORDER, BORDER + -width % BLOCK, BORDER, BORDER + -height % BLOCK))
    rows_at_once = number_at_once(len(x) * math.ceil(width / BLOCK), x.device, BLOCKS_AT_ONCE)
    strips = [padded[:, :, top:top + BLOCK * rows_at_once + 2 * BORDER]
              for top in range(0, height, BLOCK * rows_at_once)]
    return torch.cat([_strip_maps(strip) for strip in strips], -1)


def shape_of_ratio(ratio: torch.Tensor) -> torch.Tensor:
    """Returns the shape g of the release's table with r(g) >= ratio > r(next g), and 11 where there is none.

    r(g) = G(1/g) G(3/g) / G(2/g)^2 is variance over squared mean deviation of a generalised Gaussian. Gradients are
    the slope of the table, 0 outside it.

    Args:
        ratio: any shape, float64.
    """
    shapes, rising, slopes = shape_table(ratio.device)
    value = ratio.detach()
    index = torch.searchsorted(rising, -value, right=True) - 1
    found = (index >= 0) & (index < N_SHAPES - 1)
    index = index.clamp(0, N_SHAPES - 2)
    return torch.where(found, shapes[index] + slopes[index] * (ratio - value), SHAPE_NOT_FOUND)


@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)  # a cached tensor must serve later training, whoever asks for it first
def shape_table(device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the shapes g, -r(g) (rising), and dg / dr between neighbours; float64."""
    shapes = SHAPE_MINIMUM + SHAPE_STEP * torch.arange(N_SHAPES, dtype=torch.float64)
    ratios = torch.exp(torch.lgamma(1 / shapes) + torch.lgamma(3 / shapes) - 2 * torch.lgamma(2 / shapes))
    return shapes.to(device), -ratios.to(device), (SHAPE_STEP / ratios.diff()).to(device)


@functools.lru_cache(maxsize=32)
@torch.inference_mode(False)  # a cached tensor must serve later training, whoever asks for it first
def positions(picture: str, label: str, device: torch.device) -> torch.Tensor:
    """Returns the places 0 to 24 of a label in ``BANDS`` or ``DIRECTIONS``."""
    return torch.tensor([k for k, sign in enumerate(picture.replace(" ", "")) if sign == label], device=device)


def _features(x: torch.Tensor) -> torch.Tensor:
    """Returns what :func:`bliinds2_features` documents, of a few gray images on 0..255."""
    taps = tuple(gaussian_kernel(3, SIGMA, torch.float64).tolist())
    pooled = []
    for scale in range(N_SCALES):
        if scale > 0:
            x = correlate_axis(correlate_axis(x, taps, 2), taps, 3)[..., 1::2, 1::2]  # MATLAB's 2:2:end
        rho, shape, energy, orientation = block_maps(x).unbind(1)
        for blocks, largest in ((rho, True), (shape, False), (energy, True), (orientation, True)):
            n_worst = math.ceil(blocks.shape[1] * WORST / 100)
            pooled += [blocks.mean(1), blocks.topk(n_worst, 1, largest=largest, sorted=False).values.mean(1)]
    return torch.stack(pooled, 1)


def _strip_maps(strip: torch.Tensor) -> torch.Tensor:
    """Returns what :func:`block_maps` documents, of a strip of whole windows."""
    windows = F.unfold(strip, WINDOW, stride=BLOCK).mT.unflatten(-1, (WINDOW, WINDOW))  # N, blocks, 5, 5
    dct = block_dct(windows).flatten(-2).mT.contiguous()  # N, 25, blocks: sums over coefficients add long rows
    varying = dct[:, 1:]
    deviation = (varying - varying.mean(1, keepdim=True)).abs().mean(1)
    shape = shape_of_ratio(_variance(varying) / (deviation.square() + EPSILON_SPREAD))
    low, middle, high = (_variance(dct[:, positions(BANDS, label, dct.device)]) for label in "123")
    below = (low + middle) / 2
    energy = (high - below).abs() / (high + below + EPSILON_BAND) / 2 + \
        (middle - low).abs() / (high + low + EPSILON_BAND) / 2
    size = dct.abs()
    directions = [_spread(size[:, positions(DIRECTIONS, label, dct.device)]) for label in "123"]
    return torch.stack((_spread(size[:, 1:]), shape, energy, _variance(torch.stack(directions, 1))), 1)


def _variance(x: torch.Tensor) -> torch.Tensor:
    """Returns the variance over dimension 1, divisor n - 1; several times as fast as torch.var there."""
    return (x - x.mean(1, keepdim=True)).square().sum(1) / (x.shape[1] - 1)


def _spread(x: torch.Tensor) -> torch.Tensor:
    """Returns standard deviation over mean along dimension 1."""
    return safe_power(_variance(x), 0.5) / (x.mean(1) + EPSILON_SPREAD)
