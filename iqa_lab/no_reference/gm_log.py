"""GM-LOG: a regressor on joint statistics of gradient magnitude and Laplacian of Gaussian.

Paper: W. Xue, X. Mou, L. Zhang, A. C. Bovik, X. Feng, "Blind image quality assessment using joint statistics of
    gradient magnitude and Laplacian features", IEEE Transactions on Image Processing 23(11), 2014,
    doi:10.1109/TIP.2014.2355716.
Reference: the authors' MATLAB function Grad_LOG_CP_TIP.m and their trained model Learned_SVR_model_on_LIVE.mat.
Deviations: none in the features. Of the three published models only M3, all 40 features, is offered. It is not what the
    authors' script says: its support vectors hold the features with the halves swapped (independency first), and its
    gamma is 3, not 2. So read, the features of 35 of the 50 blurred images of LIVE at hand are support vectors to
    the last digit, and the score of unbounded ones is their DMOS plus or minus epsilon = 0.1. Fed as the script does
    it, the model gives the pristine images of LIVE 78 to 123 and does not rank the blurred ones.
Chapter: 12
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from scipy.io import loadmat
from torch import nn

from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.no_reference.regression import SupportVectorRegressor, load_regressor, parse_libsvm_struct
from iqa_lab.ops.color import rgb_to_luma_matlab
from iqa_lab.ops.correlation import correlate_axis
from iqa_lab.ops.filters import gaussian_kernel

OFFICIAL = "gm_log_live"
SIGMA = 0.5  # sigma: scale of both operators, in pixels
RADIUS = 2  # ceil(3 sigma): they reach over 5 x 5 pixels
RATIO = 2.5  # ratio: mean gradient magnitude per mean Laplacian on LIVE
SIGMA_N, WINDOW_N = 2 * SIGMA, 7  # sigmaN, 2 ceil(3 sigmaN) + 1: the Gaussian window of the normalisation
C0 = 0.2  # c0: stabilises the normalisation of images in 0..255
CROP = 2  # ceil(3 sigmaN) - 1: pixels cut off at each border
STEP, LEVELS = 0.2, 10  # step1 = step2, ctrs: ten levels; the last takes what is above
ALPHA = 0.0001  # alpha1: keeps the conditional probability of an empty level finite

#: A filter as a sum of outer products: pairs of the taps down a column and along a row.
Terms = tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]


class GMLOG(nn.Module):
    """Quality from 40 joint statistics of gradient and Laplacian by support vector regression; lower is better.

    Scores are nominally 0 (best) to 100 (worst) and not clipped. They have no gradient: a histogram is constant almost
    everywhere.

    Args:
        parameters: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`: ``"gm_log_livec"`` (trained by this project on
            LIVE in the Wild, 100 - MOS; shipped) or ``"gm_log_live"`` (the authors', LIVE release 2, DMOS); or the path
            of a regressor that ``iqa-lab train gm_log`` wrote.

    Raises:
        FileNotFoundError: the parameter file is absent; the message says where it comes from.
    """

    def __init__(self, *, parameters: str | Path = "gm_log_livec") -> None:
        super().__init__()
        self.regressor = load_official() if parameters == OFFICIAL else load_regressor(parameters)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the regressed score of each image, shape (N,).

        Args:
            image: as :func:`gm_log_features`.
        """
        return self.regressor(self.features(image)).to(image.dtype)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Returns :func:`gm_log_features`, which the regressor takes."""
        return gm_log_features(image)


def gm_log_features(image: torch.Tensor) -> torch.Tensor:
    """Returns P_G, P_L, Q_G and Q_L, ten probabilities each, float64 (N, 40).

    P are the marginal distributions of gradient magnitude and Laplacian; Q average the distribution of one over the
    levels of the other, all levels weighing the same, so that Q = P if they are independent.

    Args:
        image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 7 pixels.
    """
    check_images(image, minimum_side=WINDOW_N)
    image = image.detach()  # counting has no gradient: keep no maps for one
    return torch.cat([_features(part) for (part,) in few_at_a_time(image)])


def gm_log_maps(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns gradient magnitude and absolute Laplacian over their joint local energy, shape (N, 1, H - 4, W - 4).

    The contrast of the scene is divided out, which the paper calls joint adaptive normalisation; what remains lies
    between 0 and 3.6. Beyond the border the image is 0: the edge this makes is cut off, but weighs in the energy of the
    three outer pixels that stay.

    Args:
        x: gray images (N, 1, H, W) on 0..255, float64.
    """
    horizontal, vertical, laplacian = (_filter(x, terms) for terms in operators())
    gradient, laplacian = torch.hypot(horizontal, vertical) / RATIO, laplacian.abs()
    window = tuple(gaussian_kernel(WINDOW_N, SIGMA_N, torch.float64).tolist())
    normaliser = _filter((gradient.square() + laplacian.square()) / 2, ((window, window),)).sqrt() + C0
    inside = (..., slice(CROP, -CROP), slice(CROP, -CROP))
    return (gradient / normaliser)[inside], (laplacian / normaliser)[inside]


def joint_histogram(gradient: torch.Tensor, laplacian: torch.Tensor) -> torch.Tensor:
    """Returns K, the share of pixels at each pair of levels, gradient first, float64 (N, 10, 10).

    Args:
        gradient, laplacian: as :func:`gm_log_maps` returns them. Level k has the values in ((k - 1) / 5, k / 5]; 0 is
            in the first and everything above 2 in the last.
    """
    first, second = ((m.flatten(1) / STEP).ceil().clamp(1, LEVELS).long() - 1 for m in (gradient, laplacian))
    n, cells = len(first), LEVELS**2
    cell = torch.arange(n, device=first.device)[:, None] * cells + first * LEVELS + second  # one range of bins an image
    counts = torch.bincount(cell.flatten(), minlength=n * cells).view(n, LEVELS, LEVELS)
    return counts.double() / first.shape[1]


def distributions(joint: torch.Tensor) -> torch.Tensor:
    """Returns what :func:`gm_log_features` documents, shape (N, 40).

    Args:
        joint: K as :func:`joint_histogram` returns it.
    """
    p_gradient, p_laplacian = joint.sum(2), joint.sum(1)
    q_gradient = (joint / (p_laplacian[:, None] + ALPHA)).sum(2)
    q_laplacian = (joint / (p_gradient[:, :, None] + ALPHA)).sum(1)
    q = (q / q.sum(1, keepdim=True) for q in (q_gradient, q_laplacian))
    return torch.cat((p_gradient, p_laplacian, *q), 1)


@functools.lru_cache(maxsize=1)
def operators() -> tuple[Terms, Terms, Terms]:
    """Returns the horizontal and the vertical Gaussian derivative and the Laplacian of Gaussian as separable terms.

    The absolute values of each 5 x 5 filter sum to 1.
    """
    longer = gaussian_kernel(2 * RADIUS + 3, SIGMA, torch.float64)
    smooth, slope = longer[1:-1] / longer[1:-1].sum(), longer[1:-1] - longer[2:]  # each sample less its neighbour
    slope = slope / slope.abs().sum()
    g = gaussian_kernel(2 * RADIUS + 1, SIGMA, torch.float64)
    curved = g * (torch.arange(-RADIUS, RADIUS + 1) ** 2 - SIGMA**2) / SIGMA**4  # second derivative of g
    one = torch.ones_like(g)
    mean = 2 * curved.sum() / len(g) ** 2  # of the Laplacian g'' g + g g''; taken off, as fspecial('log') does
    total = (torch.outer(g, curved) + torch.outer(curved, g) - mean).abs().sum()
    log = (g, curved / total), (curved / total, g), (one, -mean / total * one)
    return tuple(tuple(tuple(tuple(taps.tolist()) for taps in pair) for pair in terms)
                 for terms in (((smooth, slope),), ((slope, smooth),), log))


def load_official() -> SupportVectorRegressor:
    """Returns the authors' model M3 from Learned_SVR_model_on_LIVE.mat."""
    arrays = parse_libsvm_struct(loadmat(find_weights(OFFICIAL), variable_names=["LIVE_SVR_M3"])["LIVE_SVR_M3"])
    independency, marginal = np.split(arrays["support_vectors"], 2, axis=1)  # swapped: see the head of this file
    return SupportVectorRegressor(arrays | {"support_vectors": np.concatenate((marginal, independency), axis=1)})


def _features(image: torch.Tensor) -> torch.Tensor:
    """Returns the features of a few images, (N, 40)."""
    return distributions(joint_histogram(*gm_log_maps(255 * rgb_to_luma_matlab(image.double()))))


def _filter(x: torch.Tensor, terms: Terms) -> torch.Tensor:
    """Returns the sum of separable correlations of (N, 1, H, W), zeros beyond the border."""
    return sum(correlate_axis(correlate_axis(x, rows, 2), columns, 3) for rows, columns in terms)
