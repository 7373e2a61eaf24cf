"""BRISQUE: the blind/referenceless image spatial quality evaluator, a regressor on natural scene statistics.

Paper: A. Mittal, A. K. Moorthy, A. C. Bovik, "No-reference image quality assessment in the spatial domain", IEEE
    Transactions on Image Processing 21(12), 2012, doi:10.1109/TIP.2012.2214050.
Reference: the authors' MATLAB release (brisque_feature.m, allmodel, allrange), evaluated in libsvm 3.
Deviations: (1) MSCN coefficients within 1e-9 of 0 are 0. In flat regions the release counts the signs of rounding
    errors, and what it prints depends on the order of its sums: of four published values of such images two are met
    within 0.002 points, one within 0.55 (local blocks), one within 2.2 (strong JPEG). (2) The release passes features
    through text files (six decimals, then six significant digits): up to 5e-4 points; so rounded, ours are the same.
    (3) Where the release divides by an empty side of a fit (NaN), that side has the width 0; a flat image has all
    shapes 0.2 and all widths 0.
Chapter: 03
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import check_images
from iqa_lab.no_reference.regression import SupportVectorRegressor, load_regressor, parse_libsvm_model, parse_libsvm_range
from iqa_lab.ops.color import rgb_to_luma_matlab
from iqa_lab.ops.elementwise import safe_sqrt
from iqa_lab.ops.resize import resize
from iqa_lab.ops.side_sums import neighbour_sums
from iqa_lab.ops.statistics import WINDOW, aggd_of_sums, gamma_ratio, ggd_of_means, mscn
from iqa_lab.ops.strips import Strip, few_images, map_strips, row_strips

OFFICIAL = "brisque_live"
N_SCALES = 2
MINIMUM_SIDE = WINDOW * 2 ** (N_SCALES - 1)  # the window fits into the smaller scale
MARGIN = WINDOW // 2


class BRISQUE(nn.Module):
    """Quality from 36 natural scene statistics by support vector regression; lower is better.

    Scores are nominally 0 (best) to 100 (worst) and not clipped.

    Args:
        parameters: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`: ``"brisque_livec"`` (trained by this project on
            LIVE in the Wild, 100 - MOS; shipped) or ``"brisque_live"`` (the authors', LIVE release 2, DMOS); or the path
            of a regressor that ``iqa-lab train brisque`` wrote.

    Raises:
        FileNotFoundError: the parameter file is absent; the message says where it comes from.
    """

    def __init__(self, *, parameters: str | Path = "brisque_livec") -> None:
        super().__init__()
        self.regressor = load_official() if parameters == OFFICIAL else load_regressor(parameters)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the regressed score of each image, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 14 pixels.
        """
        return self.regressor(self.features(image)).to(image.dtype)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Returns :func:`brisque_features`, which the regressor takes."""
        return brisque_features(image)


def brisque_features(image: torch.Tensor) -> torch.Tensor:
    """Returns the 36 features of Table I, float64 (N, 36): 18 at full and 18 at half resolution.

    Args:
        image: as :meth:`BRISQUE.forward`.
    """
    check_images(image, minimum_side=MINIMUM_SIDE)
    own, products = (torch.cat(sums) for sums in zip(*(_sums(part) for part in few_images(image)), strict=True))
    n = products[..., 0, :1]  # coefficients
    own = torch.stack(ggd_of_means(*(own / n).unbind(-1)), -1)  # alpha, sigma^2
    fit = aggd_of_sums(products)  # N, scales, 4
    beta = safe_sqrt(gamma_ratio(1 / fit.alpha, 3 / fit.alpha))
    eta = (fit.right - fit.left) * beta * gamma_ratio(2 / fit.alpha, 1 / fit.alpha)  # eq. (15), the mean
    paired = torch.stack((fit.alpha, eta, fit.left**2, fit.right**2), -1)
    return torch.cat((own, paired.flatten(2)), -1).flatten(1)


def load_official() -> SupportVectorRegressor:
    """Returns the authors' regressor from its two text files, that of the model and that of the scaling."""
    scaling = parse_libsvm_range(find_weights(f"{OFFICIAL}_range"))
    model = parse_libsvm_model(find_weights(OFFICIAL), len(scaling["feature_min"]))
    return SupportVectorRegressor(model | scaling)


def _sums(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns sum |x| and sum x^2 of the coefficients x of a few images, and side sums of their neighbours' products.

    Shapes (N, scales, 2) and (N, scales, 4, 6).
    """
    *full, halves = map_strips(_sums_and_half, image, row_strips(image, MARGIN, above=1))
    x = torch.cat(halves, 2)
    half = map_strips(_strip_sums, x, row_strips(x, MARGIN, above=1))
    own, products = zip(*(_image_sums(*results) for results in (full, half)), strict=True)
    return torch.stack(own, 1), torch.stack(products, 1)


def _sums_and_half(image: torch.Tensor, strip: Strip) -> tuple[torch.Tensor, ...]:
    gray = rgb_to_luma_matlab(image.double())
    return *_strip_sums(gray, strip), resize(gray, 0.5)[:, :, strip.half]


def _strip_sums(gray: torch.Tensor, strip: Strip) -> tuple[torch.Tensor, ...]:
    """Returns the sums of all rows but the first, the first row of coefficients and the last one."""
    coefficients = mscn(F.pad(255 * gray, strip.padding), "valid")[0][:, 0]
    return _own_sums(coefficients), neighbour_sums(coefficients), coefficients[:, :1], coefficients[:, -1:]


def _image_sums(own: tuple[torch.Tensor, ...], products: tuple[torch.Tensor, ...], first_rows: tuple[torch.Tensor, ...],
                last_rows: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the sums of all strips and of the first row, above which is the last one."""
    seam = torch.cat((last_rows[-1], first_rows[0]), 1)
    return sum(own) + _own_sums(seam), sum(products) + neighbour_sums(seam)


def _own_sums(coefficients: torch.Tensor) -> torch.Tensor:
    x = coefficients[:, 1:].flatten(1)
    return torch.stack((x.abs().sum(1), x.square().sum(1)), -1)
