"""VIF and VIFp: visual information fidelity, the share of the reference's information that reaches the viewer.

Paper: H. R. Sheikh, A. C. Bovik, "Image information and visual quality", IEEE Transactions on Image Processing 15(2),
    2006, doi:10.1109/TIP.2005.859378.
Reference: the authors' two releases: vifvec.m (``vif``: steerable pyramid, vectors of nine coefficients) and
    vifp_mscale.m (``vifp``: pixels at four scales, scalars). The first takes two of six orientations at each of four
    levels, by its own note not the subbands of the paper; constants without another source are theirs.
Deviations: (1) A reference without any information, flat at every scale, has the score 1; the releases divide 0 by 0.
    (2) The covariance of the vectors gets a ridge of 1e-12 of its trace; the release inverts a singular matrix where
    the reference is a pure pattern. A subband that varies by less than 3e-4 gray levels carries no information.
    (3) In float32 the test of ``vif`` for a window without variance allows for the rounding errors of the subbands.
    ``vifp`` has five digits in float32, three where a noisy image has a reference that is mostly flat.
    (4) Where the releases set the gain to 0 they change the noise variance as well, which then has no effect.
    Colour is converted as in :mod:`iqa_lab.full_reference.ssim`.
Chapter: 06
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.ops.color import Luma, rgb_to_luma_matlab
from iqa_lab.ops.correlation import correlate_axis
from iqa_lab.ops.filters import filter_separable, gaussian_kernel
from iqa_lab.ops.pyramids import lowpass_images, oriented_bands

L = 255  # pixels are 0..255; both noise variances below are defined on this range
M = 3  # a vector holds M x M neighbouring coefficients
SIGMA_N2 = 0.4  # sigma_n^2, the variance of the visual noise
LEVELS, FILTERS, ORIENTATIONS = 4, "sp5", (0, 3)  # subbands 4, 7, 10, 13, 16, 19, 22, 25 of the release's list
WINDOWS = (17, 9, 5, 3)  # side of the window in which gain and noise of the distortion are estimated, fine to coarse
MINIMUM_SIDE = 72  # four levels of a 9-tap filter
#: A window sum of squares below this is none: the release's value, and what rounding leaves of a flat region.
NO_VARIANCE = {torch.float64: 1e-15, torch.float32: 1e-7}
FLAT = 1e-6  # sum of the M^2 variances below which a subband counts as flat
RIDGE = 1e-12  # of the trace of the covariance
PIXEL_SIGMA_N2 = 2  # sigma_n^2 of the pixel version
PIXEL_SCALES = 4  # windows of 17, 9, 5 and 3 pixels
PIXEL_EPSILON = 1e-10  # a window's variance below this is none
PIXEL_MINIMUM_SIDE = 41  # so that the window of the last scale fits

Information = tuple[torch.Tensor, torch.Tensor]  # bits that reach the viewer of the distorted image, of the reference


def gsm_parameters(bands: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the Gaussian scale mixture s U of M x M vectors: the field s^2 and the eigenvalues of the covariance C_U.

    Both are float64: neighbouring coefficients are nearly equal, so that C_U is nearly singular.

    Args:
        bands: subbands (N, O, H, W), sides of at least M.

    Returns:
        s^2 of each whole block, (N, O, H // M, W // M), and the eigenvalues in rising order, (N, O, M^2).
    """
    height, width = (side - side % M for side in bands.shape[2:])
    y = bands[..., :height, :width].double()
    overlapping = torch.stack([y[..., i:i + height - M + 1, j:j + width - M + 1]
                               for i in range(M) for j in range(M)], 2).flatten(3)
    mean = overlapping.mean(-1, keepdim=True)
    covariance = overlapping @ overlapping.mT / overlapping.shape[-1] - mean @ mean.mT
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    identity = torch.eye(M * M, dtype=y.dtype, device=y.device)
    invertible = torch.where(trace > FLAT, covariance + RIDGE * trace * identity, identity)
    blocks = F.pixel_unshuffle(y[:, :, None], M).flatten(3)  # N, O, M^2, places; their means stay in
    s_squared = (blocks * torch.linalg.solve(invertible, blocks)).sum(2) / M**2 * (trace > FLAT)[..., 0]
    return s_squared.unflatten(-1, (height // M, width // M)), torch.linalg.eigvalsh(covariance).clamp_min(0)


def channel_parameters(x: torch.Tensor, y: torch.Tensor, window: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns gain g and noise variance sigma_v^2 of the distortion channel y = g x + v, by local regression.

    Args:
        x, y: subbands (N, O, H, W) of reference and distorted image.
        window: side of the window around the centre of each M x M block. Blocks whose window does not fit are left out.

    Returns:
        Two tensors (N, O, H // M - 2 b, W // M - 2 b), where b is :func:`border_blocks`.
    """
    height, width = (side - side % M for side in x.shape[2:])
    x, y = (band[..., :height, :width] for band in (x, y))
    maps = torch.cat((x, y, x * x, y * y, x * y), 1)
    taps, b = (1 / window,) * window, border_blocks(window)
    means = correlate_axis(correlate_axis(maps, taps, 2, stride=M), taps, 3, stride=M)[..., b:-b, b:-b]
    mu_x, mu_y, xx, yy, xy = means.chunk(5, 1)
    sigma_x2, sigma_y2, sigma_xy = (xx - mu_x**2).clamp_min(0), (yy - mu_y**2).clamp_min(0), xy - mu_x * mu_y
    none = NO_VARIANCE[x.dtype] / window**2
    g = (sigma_xy / (sigma_x2 + none)).clamp_min(0) * ((sigma_x2 >= none) & (sigma_y2 >= none))
    return g, (sigma_y2 - g * sigma_xy).clamp_min(NO_VARIANCE[torch.float64])


def border_blocks(window: int) -> int:
    """Returns how many M x M blocks at each border are left out so that the window around the next one fits."""
    return math.ceil((window - 1) / 2 / M)


def subband_information(x: torch.Tensor, y: torch.Tensor, window: int) -> Information:
    """Returns the information in each block of the subbands of one level, the summands of the mutual informations.

    Args:
        x, y, window: as :func:`channel_parameters`.

    Returns:
        Two tensors shaped as those of :func:`channel_parameters`.
    """
    s_squared, eigenvalues = (parameter.to(x.dtype) for parameter in gsm_parameters(x))
    g, sigma_v2 = channel_parameters(x, y, window)
    b = border_blocks(window)
    variances = s_squared[..., b:-b, b:-b, None] * eigenvalues[..., None, None, :]
    received = bits(variances * (g * g / (sigma_v2 + SIGMA_N2))[..., None]).sum(-1)
    return received, bits(variances / SIGMA_N2).sum(-1)


def pixel_information(x: torch.Tensor, y: torch.Tensor, window: torch.Tensor) -> Information:
    """Returns the information at each place of one scale of the pixel version.

    Args:
        x, y: gray reference and distorted image (N, 1, H, W) on 0..255, shifted or not.
        window: a Gaussian kernel (K,).

    Returns:
        Two tensors (N, H - K + 1, W - K + 1).
    """
    maps = torch.stack((x, y, x * x, y * y, x * y), dim=-1)[:, 0].permute(0, 3, 1, 2)  # channels-last, as ssim.py
    mu_x, mu_y, xx, yy, xy = filter_separable(maps, window).unbind(1)
    sigma_x2, sigma_y2, sigma_xy = (xx - mu_x * mu_x).clamp_min(0), (yy - mu_y * mu_y).clamp_min(0), xy - mu_x * mu_y
    g = (sigma_xy / (sigma_x2 + PIXEL_EPSILON)).clamp_min(0)
    sigma_v2 = (sigma_y2 - g * sigma_xy).clamp_min(PIXEL_EPSILON)
    sigma_x2 = sigma_x2 * (sigma_x2 >= PIXEL_EPSILON)
    return bits(g * g * sigma_x2 / (sigma_v2 + PIXEL_SIGMA_N2)), bits(sigma_x2 / PIXEL_SIGMA_N2)


def bits(signal_to_noise: torch.Tensor) -> torch.Tensor:
    """Returns log2(1 + ratio), the information through a Gaussian channel; its factor 1/2 would cancel in VIF."""
    return signal_to_noise.log1p() / math.log(2)


def vif_levels(distorted: torch.Tensor, reference: torch.Tensor, *,
               luma: Luma = rgb_to_luma_matlab) -> Iterator[Information]:
    """Yields :func:`subband_information` of each level, fine to coarse.

    Args and errors: as :func:`vif`.
    """
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
    pyramids = (lowpass_images(gray, LEVELS, FILTERS) for gray in _centred_gray(distorted, reference, luma))
    for *images, window in zip(*pyramids, WINDOWS, strict=True):
        yield subband_information(*(oriented_bands(image, FILTERS, ORIENTATIONS) for image in images), window)


def vifp_scales(distorted: torch.Tensor, reference: torch.Tensor, *,
                luma: Luma = rgb_to_luma_matlab) -> Iterator[Information]:
    """Yields :func:`pixel_information` of each scale, fine to coarse.

    Args and errors: as :func:`vifp`.
    """
    check_images(distorted, reference, minimum_side=PIXEL_MINIMUM_SIDE)
    pair = torch.cat(_centred_gray(distorted, reference, luma), dim=1)
    for scale in range(PIXEL_SCALES):
        size = 2 ** (PIXEL_SCALES - scale) + 1
        window = gaussian_kernel(size, size / 5, pair.dtype, pair.device)
        if scale > 0:
            pair = filter_separable(pair, window)[..., ::2, ::2]
        yield pixel_information(*pair.split(1, dim=1), window)


def vif(distorted: torch.Tensor, reference: torch.Tensor, *, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns VIF in the wavelet domain: information of the distorted image over information of the reference.

    Args:
        distorted, reference: shape (N, C, H, W), values in [0, 1], sides of 72 pixels or more.
        luma: gray conversion, as in :func:`iqa_lab.full_reference.ssim.ssim`.

    Returns:
        Shape (N,), >= 0: 1 for identical images, 0 if no information is left, above 1 if contrast was added; higher
        is better.

    Raises:
        TypeError, ValueError: as :func:`iqa_lab.images.check_images`.
    """
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
    parts = few_at_a_time(distorted, reference)
    return torch.cat([_fidelity(vif_levels(*part, luma=luma)) for part in parts])


def vifp(distorted: torch.Tensor, reference: torch.Tensor, *, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns VIF in the pixel domain, the authors' fast version.

    Args:
        distorted, reference: shape (N, C, H, W), values in [0, 1], sides of 41 pixels or more.
        luma: gray conversion, as in :func:`iqa_lab.full_reference.ssim.ssim`.

    Returns and errors: as :func:`vif`.
    """
    check_images(distorted, reference, minimum_side=PIXEL_MINIMUM_SIDE)
    parts = few_at_a_time(distorted, reference)
    return torch.cat([_fidelity(vifp_scales(*part, luma=luma)) for part in parts])


def _centred_gray(distorted: torch.Tensor, reference: torch.Tensor, luma: Luma) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the gray reference and distorted image, less a constant that changes no variance but spares digits."""
    x, y = L * luma(reference), L * luma(distorted)
    constant = x.detach().mean((1, 2, 3), keepdim=True)
    return x - constant, y - constant


def _fidelity(scales: Iterator[Information]) -> torch.Tensor:
    """Returns all received information divided by all information of the reference, 1 if that has none."""
    totals = [torch.stack([part.flatten(1).sum(1) for part in pair]) for pair in scales]
    received, sent = torch.stack(totals).sum(0)
    informative = sent > 0
    return torch.where(informative, received / torch.where(informative, sent, 1), 1)
