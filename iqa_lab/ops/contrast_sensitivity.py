"""Contrast sensitivity functions: how small a contrast the eye still sees, as one over the threshold.

``frequency`` is the spatial frequency of a grating in cycles per degree of visual angle (cpd), any shape and 0 or more;
luminance in cd/m2 and area in square degrees are numbers, or tensors that broadcast with it.
"""

from __future__ import annotations

import math

import torch

from iqa_lab.ops.elementwise import safe_sqrt

Number = float | torch.Tensor

DALY_PEAK, DALY_EPSILON = 250.0, 0.9  # P, and the frequency scale epsilon
DALY_OBLIQUE = 0.78  # ob: how far the frequency scale shrinks along the diagonals
DALY_ECCENTRICITY = 0.24  # k, per degree

BARTEN_SNR = 3.0  # k: signal-to-noise ratio at the threshold
BARTEN_BLUR, BARTEN_ABERRATION = 0.5, 0.08  # sigma_0 in arc minutes, C_ab in arc minutes per mm of the pupil
BARTEN_TIME = 0.1  # T: integration time of the eye, s
BARTEN_FIELD, BARTEN_CYCLES = 12.0, 15.0  # X_max in degrees and N_max: what the eye integrates over at most
BARTEN_EFFICIENCY, BARTEN_PHOTONS = 0.03, 1.24e6  # eta; p in photons per s, deg2 and troland, of white light
BARTEN_NEURAL_NOISE = 3e-8  # Phi_0, s deg2
BARTEN_LATERAL = 7.0  # u_0 in cpd, above which lateral inhibition ceases


def csf_mannos_sakrison1974(frequency: torch.Tensor) -> torch.Tensor:
    """Returns the relative sensitivity A(f) = 2.6 (0.0192 + 0.114 f) exp(-(0.114 f)^1.1), at most 0.981, near 7.9 cpd.

    J. L. Mannos, D. J. Sakrison, "The effects of a visual fidelity criterion on the encoding of images", IEEE
    Transactions on Information Theory 20(4), 1974, doi:10.1109/TIT.1974.1055250. Fitted to one display, and relative:
    it knows no luminance.
    """
    scaled = 0.114 * frequency
    return 2.6 * (0.0192 + scaled) * torch.exp(-(scaled**1.1))


def csf_daly1993(frequency: torch.Tensor, luminance: Number, area: Number, *, distance: Number,
                 eccentricity: Number = 0.0, orientation: Number = 0.0) -> torch.Tensor:
    """Returns the sensitivity of the visible differences predictor, P min(S_1(f), S_1(f / (r_a r_e r_theta))).

    S. Daly, "The visible differences predictor: an algorithm for the assessment of image fidelity", in Digital Images
    and Human Vision, MIT Press, 1993.

    Args:
        frequency: cpd.
        luminance: adapting luminance, cd/m2.
        area: of the image, deg2.
        distance: to the image in metres, to which the eye accommodates: r_a = 0.856 d^0.14.
        eccentricity: angle from the line of sight, degrees.
        orientation: of the grating, degrees; multiples of 90 are seen best.
    """
    r_a = 0.856 * distance**0.14
    r_e = 1 / (1 + DALY_ECCENTRICITY * eccentricity)
    cosine = torch.cos(torch.deg2rad(4 * torch.as_tensor(orientation, dtype=frequency.dtype, device=frequency.device)))
    r_theta = (1 - DALY_OBLIQUE) / 2 * cosine + (1 + DALY_OBLIQUE) / 2
    return DALY_PEAK * torch.minimum(_daly_s1(frequency, luminance, area),
                                     _daly_s1(frequency / (r_a * r_e * r_theta), luminance, area))


def _daly_s1(frequency: torch.Tensor, luminance: Number, area: Number) -> torch.Tensor:
    """Returns ((3.23 (f^2 i^2)^-0.3)^5 + 1)^-0.2 A eps f exp(-B eps f) sqrt(1 + 0.06 exp(B eps f)); no overflow."""
    a = 0.801 * (1 + 0.7 / luminance) ** -0.2
    b = 0.3 * (1 + 100 / luminance) ** 0.15
    half_decay = torch.exp(-b * DALY_EPSILON * frequency / 2)
    size = area**0.3 / (3.23**5 + frequency**3 * area**1.5) ** 0.2  # times f^0.6
    return size * a * DALY_EPSILON * frequency**1.6 * half_decay * (half_decay**2 + 0.06) ** 0.5


def csf_barten1999(frequency: torch.Tensor, luminance: Number, area: Number) -> torch.Tensor:
    """Returns the sensitivity of both eyes to a static grating in the line of sight, by Barten's model.

    P. G. J. Barten, "Contrast Sensitivity of the Human Eye and Its Effects on Image Quality", SPIE Press, 1999,
    doi:10.1117/3.353254, with the constants of its typical observer:
    1 / S = (k / M_opt) sqrt((2 / T) (1 / X_0^2 + 1 / X_max^2 + u^2 / N_max^2) (1 / (eta p E) + Phi_0 / M_lat^2)),
    M_lat^2 = 1 - exp(-(u / u_0)^2).

    Args:
        frequency: u in cpd.
        luminance: mean luminance, cd/m2.
        area: of the grating, deg2; X_0 is the side of a square of that area.
    """
    diameter = pupil_diameter(luminance, area, like=frequency)
    blur = (BARTEN_BLUR**2 + (BARTEN_ABERRATION * diameter) ** 2) / 60**2  # sigma^2 in deg2
    optics = torch.exp(-2 * math.pi**2 * blur * frequency**2)
    field = 1 / area + BARTEN_FIELD**-2 + frequency**2 / BARTEN_CYCLES**2
    photon_noise = 1 / (BARTEN_EFFICIENCY * BARTEN_PHOTONS * retinal_illuminance(luminance, diameter))
    lateral = -torch.expm1(-((frequency / BARTEN_LATERAL) ** 2))
    return optics / BARTEN_SNR * safe_sqrt(
        BARTEN_TIME / 2 * lateral / (field * (photon_noise * lateral + BARTEN_NEURAL_NOISE)))


def pupil_diameter(luminance: Number, area: Number, *, like: torch.Tensor) -> torch.Tensor:
    """Returns Barten's pupil diameter in mm, 5 - 3 tanh(0.4 log10(L X_0^2 / 40^2)), in the type of ``like``."""
    adapting = torch.as_tensor(luminance * area / 40**2, dtype=like.dtype, device=like.device)
    return 5 - 3 * torch.tanh(0.4 * adapting.log10())


def retinal_illuminance(luminance: Number, diameter: torch.Tensor) -> torch.Tensor:
    """Returns E in trolands, pi d^2 / 4 L, less what the Stiles-Crawford effect takes from the rim of the pupil."""
    return math.pi / 4 * diameter**2 * luminance * (1 - (diameter / 9.7) ** 2 + (diameter / 12.4) ** 4)
