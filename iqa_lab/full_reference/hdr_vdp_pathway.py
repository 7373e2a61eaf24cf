"""The visual pathway of HDR-VDP-2.2.1: from light in cd/m2 to oriented bands of responses in just visible steps (JND).

Paper: R. Mantiuk, K. J. Kim, A. G. Rempel, W. Heidrich, "HDR-VDP-2: a calibrated visual metric for visibility and
    quality predictions in all luminance conditions", ACM Transactions on Graphics 30(4), 2011,
    doi:10.1145/2010324.1964935; here its optical and retinal pathway, multi-scale decomposition and neural noise.
Reference: the authors' HDR-VDP 2.2.1 (hdrvdp_visual_pathway.m, hdrvdp_mtf.m, hdrvdp_joint_rod_cone_sens.m,
    hdrvdp_rod_sens.m, hdrvdp_ncsf.m); the names beside the constants are those of its hdrvdp_parse_options.m.
Deviations: listed in hdr_vdp.py, which compares two images behind this pathway.
Chapter: 08
"""

from __future__ import annotations

import functools
import math

import torch

from iqa_lab.ops.pyramids import maximum_levels, steerable_pyramid

_P1, _P2 = 0.061466549455263, 0.99727370023777070  # par
MTF_A = (_P2 * 0.426, _P2 * 0.574, (1 - _P2) * _P1, (1 - _P2) * (1 - _P1))  # mtf_params_a, which sum to 1
MTF_B = (0.028, 0.37, 37.0, 360.0)  # mtf_params_b
SURROUND = 1e-5  # surround_l, cd/m2: almost complete darkness around the image
RETINAL_LIGHT = (1e-5, 1e10)  # what the light behind the optics is clamped to, in hdrvdp_visual_pathway.m

#: Response of L cones, M cones and rods to one unit of each channel: the integral over 360..780 nm of the channel's
#: spectrum times the cone sensitivities of Smith and Pokorny (1975) or the CIE scotopic curve. Computed from the tables
#: of the release (d65.csv, emission_spectra_*.csv, log_cone_smith_pokorny_1975.csv, cie_scotopic_lum.txt) in its way,
#: with pchip interpolation and the trapezoidal rule. L + M is luminance, but 0.9186 of it under the release's D65.
D65 = ((0.60184715, 0.31670830, 0.90467065),)  # of luminance
RGB_DISPLAYS = {
    "ccfl-lcd": ((0.198996120, 0.0410058604, 0.0143773686), (0.404762607, 0.254923306, 0.480920841),
                 (0.0543906193, 0.0500122490, 0.454275896)),
    "led-lcd": ((0.178717471, 0.0472952893, 0.0688682732), (0.441718418, 0.264952932, 0.584439209),
                (0.0372989838, 0.0340675162, 0.330973587)),
    "crt": ((0.193521439, 0.0450532091, 0.0470736662), (0.414224011, 0.256275196, 0.538454768),
            (0.0507166363, 0.0452380197, 0.400413942)),
}

JOINT_SENSITIVITY = (30.162, 4.0627, 1.6596, 0.2712)  # csf_sa
ROD_SENSITIVITY = (1.1732, 1.1478, 1.2167, 0.5547, 2.9899, 1.1414)  # csf_sr_par
SMALLEST_CONE_SENSITIVITY = 1e-3  # create_pn_jnd in hdrvdp_visual_pathway.m
SENSITIVITY_CORRECTION = 0.006894596 / 10**-2.4  # sensitivity_correction
LOG_RANGE, RESPONSE_STEPS, CSF_STEPS = (-5.0, 5.0), 2048, 256  # logspace(-5, 5, .) for responses and for the CSF

NCSF_LUMINANCES = (0.002, 0.02, 0.2, 2.0, 20.0, 150.0)  # csf_lums, cd/m2
NCSF_PARAMETERS = ((0.991265, 3.74038, 0.50722, 4.46044), (0.800889, 3.54104, 0.682505, 4.94958),
                   (0.476505, 4.37453, 0.750315, 5.28678), (0.405782, 4.40602, 0.935314, 5.61425),
                   (0.334278, 3.79542, 1.07327, 6.4635), (0.394533, 2.7755, 1.16577, 7.45665))  # csf_params(:,2:5)
NCSF_FREQUENCY = 7.0  # cycles per degree, in hdrvdp_ncsf.m
FILTERS = "sp3"  # steerpyr_filter: four orientations
BASE_BAND_STRETCH = math.sqrt(2)  # of the base band's frequencies, in hdrvdp_visual_pathway.m


def optical_mtf(frequency: torch.Tensor) -> torch.Tensor:
    """Returns the modulation transfer function of the eye's optics, sum_k a_k exp(-b_k rho), 1 at rho = 0.

    Args:
        frequency: rho in cycles per degree, any shape.
    """
    return sum(a * torch.exp(-b * frequency) for a, b in zip(MTF_A, MTF_B, strict=True))


def joint_sensitivity(luminance: torch.Tensor) -> torch.Tensor:
    """Returns s_A, the peak contrast sensitivity of cones and rods together at each luminance in cd/m2."""
    peak, drop, transition, slope = JOINT_SENSITIVITY
    return peak * ((drop / luminance) ** transition + 1) ** -slope


def rod_sensitivity(luminance: torch.Tensor) -> torch.Tensor:
    """Returns s_R, the peak contrast sensitivity of the rods at each luminance in cd/m2."""
    peak, low, low_exponent, high, high_exponent, scale = ROD_SENSITIVITY
    distance = (luminance / peak).log10().abs()
    drop = torch.where(luminance > peak, distance**high_exponent / high, distance**low_exponent / low)
    return 10**scale * torch.exp(-drop)


@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)  # a cached tensor must serve later training, whoever asks for it first
def response_tables(device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the responses of a cone and of the rods, in JND, at RESPONSE_STEPS luminances; float64.

    A response is the integral of the sensitivity over ln L, so that a just visible contrast makes one step.
    """
    log_luminance = torch.linspace(*LOG_RANGE, RESPONSE_STEPS, dtype=torch.float64)
    luminance = 10**log_luminance
    rod = rod_sensitivity(luminance)
    cones = (joint_sensitivity(luminance) - rod).clamp_min(SMALLEST_CONE_SENSITIVITY)
    doubled = (2 * luminance).clamp_max(luminance[-1])  # s_L(l) = s_M(l) = (s_A - s_R)(2 l) / 2
    above = torch.searchsorted(luminance, doubled).clamp(1, RESPONSE_STEPS - 1)
    weight = (doubled - luminance[above - 1]) / (luminance[above] - luminance[above - 1])
    cone = torch.lerp(cones[above - 1], cones[above], weight) / 2
    integrals = (torch.cumulative_trapezoid(s * math.log(10), log_luminance) for s in (cone, rod))
    return tuple((SENSITIVITY_CORRECTION * torch.cat((s.new_zeros(1), s))).to(device) for s in integrals)


def neural_csf(frequency: torch.Tensor, luminance: torch.Tensor) -> torch.Tensor:
    """Returns the contrast sensitivity without that of optics and receptors, nCSF = CSF / (MTF s_A).

    Args:
        frequency: rho in cycles per degree.
        luminance: adapting luminance in cd/m2, of a shape that broadcasts with ``frequency``.
    """
    grid, table = luminance.new_tensor(NCSF_LUMINANCES).log10(), luminance.new_tensor(NCSF_PARAMETERS)
    x = luminance.log10().clamp(grid[0], grid[-1])
    above = torch.searchsorted(grid, x.detach()).clamp(1, len(grid) - 1)
    weight = (x - grid[above - 1]) / (grid[above] - grid[above - 1])
    p1, p2, p3, p4 = torch.lerp(table[above - 1], table[above], weight[..., None]).unbind(-1)
    rise = -torch.expm1(-((frequency / NCSF_FREQUENCY) ** 2))  # 0 at rho = 0, where the sensitivity is 0
    return p4 * rise ** (p3 / 2) * (1 + (p1 * frequency) ** p2) ** -0.5


@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)  # a cached tensor must serve later training, whoever asks for it first
def csf_table(band_frequencies: tuple[float, ...], device: torch.device | str = "cpu") -> torch.Tensor:
    """Returns the neural CSF of each band at CSF_STEPS luminances, float64, shape (B, CSF_STEPS)."""
    luminance = 10 ** torch.linspace(*LOG_RANGE, CSF_STEPS, dtype=torch.float64)
    frequency = torch.tensor(band_frequencies, dtype=torch.float64)[:, None]
    return neural_csf(frequency, luminance).to(device)


def interpolate(table: torch.Tensor, log_luminance: torch.Tensor) -> torch.Tensor:
    """Returns entries of a table that covers LOG_RANGE in even steps, linearly interpolated, constant beyond its ends.

    Args:
        table: shape (T,).
        log_luminance: log10 of cd/m2, any shape.
    """
    low, high = LOG_RANGE
    last = len(table) - 1
    position = ((log_luminance - low) * (last / (high - low))).clamp(0, last)
    index = position.detach().int().clamp_max(last - 1)
    entry, slope = (values.index_select(0, index.flatten()).view_as(index) for values in (table, table.diff()))
    return torch.addcmul(entry, position - index, slope)


@torch.inference_mode(False)  # what the callers cache must serve later training
def frequency_grid(height: int, width: int, nyquist: float) -> torch.Tensor:
    """Returns rho at the coefficients of a real FFT of 2 H x 2 W samples, transposed: float64, shape (W + 1, 2 H).

    Args:
        height, width: of the image.
        nyquist: the highest frequency along an axis, in cycles per degree.
    """
    vertical = torch.fft.fftfreq(2 * height, 0.5 / nyquist, dtype=torch.float64)
    horizontal = torch.fft.rfftfreq(2 * width, 0.5 / nyquist, dtype=torch.float64)
    return torch.hypot(vertical, horizontal[:, None])


@functools.lru_cache(maxsize=4)
@torch.inference_mode(False)  # a cached tensor must serve later training, whoever asks for it first
def optics(height: int, width: int, pixels_per_degree: float, device: torch.device | str = "cpu") -> torch.Tensor:
    """Returns the MTF on the frequency grid of an image, float64. Do not change it in place."""
    return optical_mtf(frequency_grid(height, width, pixels_per_degree / 2)).to(device)


def filter_surrounded(x: torch.Tensor, response: torch.Tensor, surround: torch.Tensor) -> torch.Tensor:
    """Returns images filtered in the Fourier domain of twice their size; right of and below them is the surround.

    Args:
        x: shape (N, H, W).
        response: of the filter on the :func:`frequency_grid`, shape (W + 1, 2 H) or (N, W + 1, 2 H).
        surround: shape (N, 1, 1).
    """
    height, width = x.shape[1:]
    # Of a constant the filter leaves response(0) times itself, so zeros can stand for the surround. One axis after the
    # other, the second one transposed into memory order and without the lines that are zero or dropped: twice as fast.
    columns = torch.fft.rfft(x - surround, 2 * width).mT.contiguous()
    columns = torch.fft.ifft(torch.fft.fft(columns, 2 * height) * response)[..., :height]
    return torch.fft.irfft(columns.mT.contiguous(), 2 * width)[..., :width] + surround * response[..., :1, :1]


def achromatic_response(light: torch.Tensor, pixels_per_degree: float, surround: torch.Tensor,
                        rgb_display: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the response of all receptors in JND, less its mean, and the luminance L + M they are adapted to.

    Args:
        light: shape (N, C, H, W), float64, in cd/m2: luminance (C = 1) or the three channels of a display.
        pixels_per_degree: of the image.
        surround: light around the image, shape (N, C, 1, 1).
        rgb_display: spectrum of the three channels, a key of RGB_DISPLAYS.

    Returns:
        Two tensors of shape (N, 1, H, W), float64.
    """
    if rgb_display not in RGB_DISPLAYS:
        raise ValueError(f"Expected rgb_display {', '.join(map(repr, RGB_DISPLAYS))}, got {rgb_display!r}.")
    spectra = D65 if light.shape[1] == 1 else RGB_DISPLAYS[rgb_display]
    mtf, (cone, rod) = optics(*light.shape[2:], pixels_per_degree, light.device), response_tables(light.device)
    # Channel by channel and receptor by receptor, so that few maps are in use at a time.
    retina = [filter_surrounded(channel, mtf, around).clamp(*RETINAL_LIGHT)
              for channel, around in zip(light.unbind(1), surround.unbind(1), strict=True)]
    long, medium, scotopic = (sum(w * channel for w, channel in zip(weights, retina, strict=True))
                              for weights in zip(*spectra, strict=True))
    response = interpolate(cone, long.log10()) + interpolate(cone, medium.log10()) + interpolate(rod, scotopic.log10())
    return (response - response.mean((1, 2), keepdim=True))[:, None], (long + medium)[:, None]


def visual_pathway(light: torch.Tensor, pixels_per_degree: float, surround: torch.Tensor,
                   rgb_display: str) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Returns the bands of the responses, fine to coarse, and log10 of the adapting luminance.

    Args:
        light: shape (2 N, C, H, W): the distorted images, then their references.
        pixels_per_degree, surround, rgb_display: as :func:`achromatic_response`.

    Returns:
        High-pass band (2 N, 1, H, W), levels (2 N, 4, H / 2^level, W / 2^level), base band (2 N, 1, h, w), all of the
        type of ``light``; and (N, 1, H, W), of the mean of an image and its reference.
    """
    response, adaptation = achromatic_response(light.double(), pixels_per_degree, surround.double(), rgb_display)
    levels = maximum_levels(*light.shape[2:], FILTERS)
    pyramid = steerable_pyramid(response.to(light.dtype), levels, FILTERS)
    base = pyramid.lowpass[:, 0]
    grid = frequency_grid(*base.shape[1:], BASE_BAND_STRETCH * band_frequencies(levels + 2, pixels_per_degree)[-1])
    csf = neural_csf(grid.to(light.device), adaptation.mean((2, 3))[..., None])
    around = base[len(base) // 2:].mean((1, 2), keepdim=True).repeat(2, 1, 1)  # the reference's mean for both
    base = filter_surrounded(base, csf.to(light.dtype), around)
    log_adaptation = sum(adaptation.chunk(2)).div(2).log10().clamp(*LOG_RANGE)
    return [pyramid.highpass, *pyramid.bands, base[:, None]], log_adaptation.to(light.dtype)


def band_frequencies(count: int, pixels_per_degree: float) -> tuple[float, ...]:
    """Returns the frequency of each band in cycles per degree: the Nyquist frequency, its half, its quarter and so on.

    >>> band_frequencies(3, 30.0)
    (15.0, 7.5, 3.75)
    """
    return tuple(pixels_per_degree / 2 / 2**band for band in range(count))
