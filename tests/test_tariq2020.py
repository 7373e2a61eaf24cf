"""Probing channels with gratings: a bank of Gabor filters with known tuning, dead channels, and the restricted distance."""

import math

import pytest
import torch
from torch import nn

from iqa_lab.backbones.features import FeatureExtractor
from iqa_lab.full_reference.perceptual_loss import PerceptualLoss, feature_distance
from iqa_lab.full_reference.tariq2020 import (
    CONTRAST, FREQUENCIES, PIXELS_PER_DEGREE, ProbedDistance, grating, probe, select_channels)
from iqa_lab.ops.contrast_sensitivity import csf_mannos_sakrison1974

ANGLES = torch.arange(12) * math.pi / 12 - math.pi / 2  # those of the probe


class GaborBank(nn.Module):
    """Half-wave rectified Gabor filters without a mean, as an extractor.

    Args:
        frequencies, angles, lengths, widths: lists of one number for each filter: cpd, radians, and the deviations of the
            envelope in pixels along the stripes and across them.
        sign: -1 turns the filters' polarity.
    """

    def __init__(self, frequencies, angles, lengths, widths, sign=1):
        super().__init__()
        axis = torch.arange(41, dtype=torch.float64) - 20
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        kernels = []
        for f, angle, length, width in zip(frequencies, angles, lengths, widths, strict=True):
            across, along = (x * math.cos(angle) + y * math.sin(angle), -x * math.sin(angle) + y * math.cos(angle))
            envelope = torch.exp(-((across / width) ** 2 + (along / length) ** 2) / 2)
            wave = torch.cos(2 * math.pi * f / PIXELS_PER_DEGREE * across)
            kernels.append(sign * envelope * (wave - (envelope * wave).sum() / envelope.sum()))
        self.kernels, self.x, self.y = torch.stack(kernels), x, y

    def forward(self, images):
        return {"gabor": torch.conv2d(images, self.kernels[:, None].float()).relu().double()}

    def gain(self, frequency, angle):
        """Returns |G| at one frequency (cpd) and angle, for each filter: its mean response to stripes is proportional."""
        turn = 2 * math.pi * frequency / PIXELS_PER_DEGREE * (self.x * math.cos(angle) + self.y * math.sin(angle))
        return torch.hypot((self.kernels * turn.cos()).sum((1, 2)), (self.kernels * turn.sin()).sum((1, 2)))


def same_but_for(**changes) -> GaborBank:
    n = len(next(iter(changes.values())))
    usual = {"frequencies": [8.0] * n, "angles": [0.0] * n, "lengths": [4.0] * n, "widths": [4.0] * n}
    return GaborBank(**usual | changes)


@pytest.mark.parametrize("frequency, angle", [(3, 0.0), (8, math.pi / 4), (15, -math.pi / 2)])
def test_gratings_have_their_frequency_direction_contrast_and_gray_border(frequency, angle):
    wave = torch.tensor([frequency]), torch.tensor([0.3])
    stripes, rings = (grating(*wave, orientation, side=120, dtype=torch.float64)[0, 0]
                      for orientation in (torch.tensor([angle]), None))
    power = torch.fft.fft2(stripes - stripes.mean()).abs()
    row, column = divmod(power[:, :61].argmax().item(), 61)
    peak = torch.tensor([column, row if row <= 60 else row - 120]) / 120 * PIXELS_PER_DEGREE  # cpd along x and y
    expected = torch.tensor([frequency * math.cos(angle), frequency * math.sin(angle)])
    assert min((peak - expected).norm(), (peak + expected).norm()) < 0.6  # the grid has steps of half a cycle per degree
    for image in (stripes, rings):
        assert image.min() >= 0.5 - CONTRAST / 2 and image.max() <= 0.5 + CONTRAST / 2
        assert image.max() - image.min() > 0.85 * CONTRAST  # four samples a period may miss its peaks
        assert (image[[0, 0, -1, -1], [0, -1, 0, -1]] == 0.5).all() and (image[:, 0] - 0.5).abs().max() < 1e-3
    torch.testing.assert_close(rings, rings.rot90())
    torch.testing.assert_close(rings, rings.flip(0))


def test_the_best_frequency_and_angle_of_gabor_filters_are_found():
    angles = [ANGLES[k].item() for k in (0, 3, 6, 8, 11)]
    bank = same_but_for(frequencies=[3.0, 5.0, 8.0, 10.0, 13.0], angles=angles, lengths=[6.0] * 5, widths=[6.0] * 5)
    tuning = probe(bank, "gabor")
    assert [FREQUENCIES[k] for k in tuning.frequency_response.argmax(0)] == [3, 5, 8, 10, 13]
    assert ANGLES[tuning.orientation_response.argmax(0)].tolist() == angles


def test_the_responses_of_gabor_filters_are_those_of_theory():
    """A rectified linear filter answers stripes with gain / pi on average, and rings with the mean of that over angles."""
    bank = same_but_for(frequencies=[4.0, 8.0, 11.0], angles=[0.0, ANGLES[2].item(), ANGLES[9].item()])
    tuning, many = probe(bank, "gabor"), torch.arange(360) * math.pi / 360
    rings = torch.stack([torch.stack([bank.gain(f, a) for a in many.tolist()]).mean(0) for f in FREQUENCIES])
    stripes = torch.stack([torch.stack([bank.gain(FREQUENCIES[best], a)[c] for a in ANGLES.tolist()])
                           for c, best in enumerate(tuning.frequency_response.argmax(0))], 1)
    for found, truth in ((tuning.frequency_response, rings), (tuning.orientation_response, stripes)):
        assert (found / found.amax(0) - truth / truth.amax(0)).abs().max() < 0.08  # border, middle of the rings
    slopes, = torch.gradient(rings, dim=0)  # frequencies are one cpd apart
    csf = csf_mannos_sakrison1974(torch.tensor(FREQUENCIES, dtype=torch.float64))[:, None]
    torch.testing.assert_close(tuning.sensitivity, (csf * slopes.abs()).mean(0) / rings.amax(0), rtol=0.1, atol=0)
    torch.testing.assert_close(tuning.selectivity, 1 - stripes.mean(0) / stripes.amax(0), rtol=0.05, atol=0)


def test_selectivity_grows_with_the_length_of_the_envelope():
    selectivity = probe(same_but_for(lengths=[1.0, 2.0, 4.0, 6.0, 8.0]), "gabor").selectivity
    assert (selectivity.diff() > 0.01).all() and 0 <= selectivity[0] and selectivity[-1] < 1


def test_sensitivity_comes_from_the_edges_of_the_band_where_the_eye_is_sensitive():
    response = probe(same_but_for(widths=[8.0], lengths=[8.0]), "gabor").frequency_response[:, 0]
    slope, = torch.gradient(response)
    at_peak = response.argmax()
    assert slope[at_peak].abs() < 0.25 * slope.abs().max() and abs(slope.abs().argmax() - at_peak) in (1, 2)
    flat_to_narrow = probe(same_but_for(widths=[1.5, 3.0, 6.0]), "gabor").sensitivity
    assert (flat_to_narrow.diff() > 0).all()


def test_neither_polarity_nor_gain_matters():
    lengths, usual = [2.0, 5.0], {"frequencies": [6.0, 9.0], "angles": [0.0, ANGLES[4].item()], "widths": [4.0, 3.0]}
    bank = GaborBank(lengths=lengths, **usual)
    tuning, turned = probe(bank, "gabor"), probe(GaborBank(lengths=lengths, sign=-1, **usual), "gabor")
    bank.kernels = 100 * bank.kernels
    louder = probe(bank, "gabor")
    for other in (turned, louder):
        torch.testing.assert_close(other.efficacy, tuning.efficacy, rtol=0.02, atol=0)


def test_dead_and_constant_channels_score_zero():
    class Blind(nn.Module):
        def forward(self, images):
            return {"blind": torch.cat((torch.zeros_like(images), torch.ones_like(images), images), 1)}

    tuning = probe(Blind(), "blind")
    assert tuning.sensitivity[:2].tolist() == tuning.selectivity[:2].tolist() == tuning.efficacy[:2].tolist() == [0, 0]
    assert all(part.isfinite().all() for part in tuning)


def test_a_pretrained_network_has_tuned_channels_and_few_phases_are_enough(monkeypatch):
    network = FeatureExtractor("squeezenet", ("relu1",))
    tuning = probe(network, "relu1")
    monkeypatch.setattr("iqa_lab.full_reference.tariq2020.PHASES", 11)
    finer = probe(network, "relu1")
    assert torch.corrcoef(torch.stack((tuning.efficacy, finer.efficacy)))[0, 1] > 0.99
    assert ((tuning.selectivity >= 0) & (tuning.selectivity <= 1)).all() and tuning.selectivity.max() > 0.5


@pytest.mark.parametrize("share, expected", [(0.01, [2]), (0.5, [0, 2]), (0.75, [0, 2, 3]), (1.0, [0, 1, 2, 3])])
def test_the_best_channels_are_selected(share, expected):
    assert select_channels(torch.tensor([0.3, 0.0, 0.9, 0.2]), share).tolist() == expected


@pytest.mark.parametrize("share", [0, -1, 1.01])
def test_impossible_shares_are_refused(share):
    with pytest.raises(ValueError, match=r"share of channels in \(0, 1\]"):
        select_channels(torch.rand(4), share)


@pytest.mark.parametrize("backbone, layers", [("squeezenet", ("relu1", "fire3")), ("efficientnet_lite0", ("stem",))])
def test_the_distance_is_that_of_the_selected_channels(backbone, layers):
    x, y = torch.rand(2, 2, 3, 48, 50, generator=torch.Generator().manual_seed(5))
    network = FeatureExtractor(backbone, layers)
    expected = 0
    for layer in layers:
        channels = select_channels(probe(network, layer).efficacy, 0.25)
        expected = expected + feature_distance(network(x)[layer][:, channels], network(y)[layer][:, channels])
    metric = ProbedDistance(backbone=backbone, layers=layers, share=0.25)
    torch.testing.assert_close(metric(x, y), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(metric(x, y), metric(y, x))
    torch.testing.assert_close(metric(x, y)[1:], metric(x[1:], y[1:]), rtol=1e-5, atol=0)
    assert metric(x, x).max() < 1e-10 and metric(x.double(), y.double()).dtype == torch.float64


def test_all_channels_make_the_perceptual_loss():
    x, y = torch.rand(2, 2, 3, 40, 40, generator=torch.Generator().manual_seed(6))
    options = {"backbone": "squeezenet", "layers": ("fire2",)}
    torch.testing.assert_close(ProbedDistance(share=1.0, **options)(x, y), PerceptualLoss(**options)(x, y))


def test_gradients():
    torch.manual_seed(0)
    metric = ProbedDistance(backbone="squeezenet", layers=("relu1",), weights="random").double()
    assert "UNTRAINED" in repr(metric) and "share=0.5" in repr(metric)
    x, y = torch.rand(2, 1, 3, 16, 17, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    assert torch.autograd.gradcheck(metric, (x.requires_grad_(), y.requires_grad_()), fast_mode=True)
    for value in (0.0, 0.4):
        flat = torch.full_like(x, value).requires_grad_()
        metric(flat, flat.detach()).sum().backward()
        assert flat.grad.isfinite().all()
