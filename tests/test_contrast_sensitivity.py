"""Contrast sensitivity functions against the papers' formulas in NumPy, and what they are known for."""

import numpy as np
import pytest
import torch

from iqa_lab.ops import contrast_sensitivity
from iqa_lab.ops.contrast_sensitivity import (
    csf_barten1999,
    csf_daly1993,
    csf_mannos_sakrison1974,
    pupil_diameter,
    retinal_illuminance,
)

F = np.geomspace(0.05, 60, 50)
FREQUENCY = torch.from_numpy(F)
ALL = {"mannos": csf_mannos_sakrison1974, "daly": lambda f: csf_daly1993(f, 50.0, 4.0, distance=0.7),
       "barten": lambda f: csf_barten1999(f, 50.0, 4.0)}


def test_mannos_sakrison_is_the_printed_formula_with_its_peak():
    printed = 2.6 * (0.0192 + 0.114 * F) * np.exp(-((0.114 * F) ** 1.1))
    np.testing.assert_allclose(csf_mannos_sakrison1974(FREQUENCY), printed)
    fine = torch.linspace(0, 60, 60001, dtype=torch.float64)
    a = csf_mannos_sakrison1974(fine)
    assert a.max().item() == pytest.approx(0.9809, abs=1e-4)
    assert fine[a.argmax()].item() == pytest.approx(7.891, abs=1e-3)


def slow_daly(f, luminance, area, distance, eccentricity, orientation):
    a, b = 0.801 * (1 + 0.7 / luminance) ** -0.2, 0.3 * (1 + 100 / luminance) ** 0.15

    def s1(f):
        size = ((3.23 * (f**2 * area) ** -0.3) ** 5 + 1) ** -0.2
        return size * a * 0.9 * f * np.exp(-b * 0.9 * f) * np.sqrt(1 + 0.06 * np.exp(b * 0.9 * f))

    r_theta = 0.11 * np.cos(4 * np.deg2rad(orientation)) + 0.89
    r = 0.856 * distance**0.14 / (1 + 0.24 * eccentricity) * r_theta
    return 250 * np.minimum(s1(f), s1(f / r))


@pytest.mark.parametrize("luminance, area, distance, eccentricity, orientation",
                         [(100, 1, 0.5, 0, 0), (0.1, 25, 2, 0, 45), (3, 0.2, 10, 7, 20)])
def test_daly_is_the_printed_formula(luminance, area, distance, eccentricity, orientation):
    ours = csf_daly1993(FREQUENCY, luminance, area, distance=distance, eccentricity=eccentricity,
                        orientation=orientation)
    np.testing.assert_allclose(ours, slow_daly(F, luminance, area, distance, eccentricity, orientation))


def test_daly_sees_diagonals_and_the_side_worse():
    straight, diagonal, aside = (csf_daly1993(FREQUENCY[30:], 100.0, 4.0, distance=0.5, **options)
                                 for options in ({}, {"orientation": 45.0}, {"eccentricity": 10.0}))
    assert (diagonal < straight).all() and (aside < diagonal).all()
    turned = csf_daly1993(FREQUENCY, 100.0, 4.0, distance=0.5, orientation=90.0)
    torch.testing.assert_close(turned, csf_daly1993(FREQUENCY, 100.0, 4.0, distance=0.5))


def slow_barten(u, luminance, area, diameter=None, photons=1.24e6):
    x0 = np.sqrt(area)
    d = 5 - 3 * np.tanh(0.4 * np.log10(luminance * x0**2 / 40**2)) if diameter is None else diameter
    e = np.pi * d**2 / 4 * luminance * (1 - (d / 9.7) ** 2 + (d / 12.4) ** 4)
    sigma = np.hypot(0.5 / 60, 0.08 / 60 * d)
    m_opt, m_lat2 = np.exp(-2 * np.pi**2 * sigma**2 * u**2), 1 - np.exp(-((u / 7) ** 2))
    noise = 1 / (0.03 * photons * e) + 3e-8 / m_lat2
    return m_opt / 3 / np.sqrt(2 / 0.1 * (1 / x0**2 + 1 / 12**2 + (u / 15) ** 2) * noise)


@pytest.mark.parametrize("luminance, area", [(100.0, 1.0), (0.1, 400.0), (3000.0, 10.0)])
def test_barten_is_the_printed_formula(luminance, area):
    np.testing.assert_allclose(csf_barten1999(FREQUENCY, luminance, area), slow_barten(F, luminance, area))


def test_barten_gives_the_values_that_colour_science_documents(monkeypatch):
    # colour.contrast: retinal_illuminance_Barten1999(100, 2.1), and the sensitivity at 4 cpd for its own photon factor,
    # 20 cd/m2, a pupil of 2.1 mm and a field of 60 degrees
    diameter = torch.tensor(2.1, dtype=torch.float64)
    assert retinal_illuminance(100.0, diameter).item() == pytest.approx(330.4115803, abs=1e-7)
    monkeypatch.setattr(contrast_sensitivity, "pupil_diameter", lambda *_, **__: diameter)
    monkeypatch.setattr(contrast_sensitivity, "BARTEN_PHOTONS", 1.2274e6)
    four = torch.tensor(4.0, dtype=torch.float64)
    assert csf_barten1999(four, 20.0, 60.0**2).item() == pytest.approx(360.8691122, abs=1e-7)


def test_the_pupil_narrows_in_bright_light_between_8_and_2_mm():
    diameters = [pupil_diameter(luminance, 400.0, like=FREQUENCY).item() for luminance in (1e-6, 1.0, 100.0, 1e6)]
    assert diameters == sorted(diameters, reverse=True) and 7.9 < diameters[0] < 8 and 2 < diameters[-1] < 2.1


@pytest.mark.parametrize("function", [csf_barten1999, lambda f, l, a: csf_daly1993(f, l, a, distance=0.5)])
def test_light_raises_sensitivity_and_moves_its_peak_up(function):
    curves = [function(FREQUENCY, luminance, 100.0) for luminance in (0.1, 1.0, 10.0, 100.0)]
    peaks, places = [curve.max().item() for curve in curves], [curve.argmax().item() for curve in curves]
    assert peaks == sorted(peaks) and places == sorted(places) and places[0] < places[-1]
    assert (function(FREQUENCY, 10.0, 100.0) >= function(FREQUENCY, 10.0, 1.0)).all()  # more periods are seen better


@pytest.mark.parametrize("name", ALL)
def test_zero_and_large_frequencies_are_finite_with_finite_gradients(name):
    for dtype in (torch.float32, torch.float64):
        frequency = torch.tensor([0.0, 1e-6, 1.0, 300.0, 1e4], dtype=dtype, requires_grad=True)
        sensitivity = ALL[name](frequency)
        sensitivity.sum().backward()
        assert sensitivity.dtype == dtype and sensitivity.isfinite().all() and frequency.grad.isfinite().all()
        at_zero = 2.6 * 0.0192 if name == "mannos" else 0
        assert sensitivity[0].item() == pytest.approx(at_zero, abs=1e-9) and sensitivity[-1] == 0


@pytest.mark.parametrize("name", ALL)
def test_gradcheck(name):
    assert torch.autograd.gradcheck(ALL[name], FREQUENCY[::7].clone().requires_grad_())


def test_luminance_and_area_may_be_maps():
    luminance = torch.tensor([[1.0], [100.0]], dtype=torch.float64, requires_grad=True)
    ours = csf_barten1999(FREQUENCY, luminance, 4.0)
    torch.testing.assert_close(ours[1], csf_barten1999(FREQUENCY, 100.0, 4.0))
    assert torch.autograd.gradcheck(lambda v: csf_daly1993(FREQUENCY[::9], v, 4.0, distance=0.5), luminance)
