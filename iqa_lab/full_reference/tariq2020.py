"""Tariq 2020: which channels of a network are tuned like the eye, and a feature distance on those alone.

Paper: T. Tariq, O. T. Tursun, M. Kim, P. Didyk, "Why are deep representations good perceptual quality features?", ECCV
    2020, doi:10.1007/978-3-030-58621-8_26, arXiv:1812.00412.
Reference: none; no code was found, and of the paper its abstract and somebody's reading notes without the formulas.
Deviations: the scores are OUR OPERATIONAL DEFINITION of what the notes describe, with our display, contrast, window and
    contrast sensitivity function. Sensitivity mu_1: how fast a channel's mean activation changes with the frequency of a
    radially symmetric grating, where the eye is sensitive. Selectivity mu_2: how peaked it is over the orientation of a
    grating of the channel's best frequency. Efficacy: their product. The paper's constants may differ; its correlations
    are not claimed. The share of channels that the distance keeps is ours as well.
Chapter: 20
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from iqa_lab.backbones.features import FeatureExtractor
from iqa_lab.full_reference.perceptual_loss import FEATURE_LAYERS, MINIMUM_SIDE, feature_distance
from iqa_lab.images import check_images
from iqa_lab.ops.contrast_sensitivity import csf_mannos_sakrison1974

PIXELS_PER_DEGREE = 60.0
FREQUENCIES = tuple(float(f) for f in range(1, 16))  # cpd, to half the Nyquist frequency: above it samples beat
ORIENTATIONS = 12  # from -90 to 90 degrees
PHASES = 3  # a strided layer has few samples of a wave; beside the wave, ReLU makes even harmonics: three phases cancel all
# of them below the sixth, four phases leave the fourth
CONTRAST = 0.5
SIDE = 112  # pixels of a stimulus: several periods, and many receptive fields of the early layers
FLAT_RADIUS = 0.6  # of the half side: where the raised cosine begins to fall
CHUNK = 32  # stimuli in the network at once
SHARE = 0.5


class Tuning(NamedTuple):
    """What gratings say about the C channels of a layer, F frequencies and O orientations."""

    frequency_response: torch.Tensor  # F, C: mean activation for radial gratings
    orientation_response: torch.Tensor  # O, C: for gratings of the channel's best frequency
    sensitivity: torch.Tensor  # C: mu_1 per cpd, 0 for a dead channel
    selectivity: torch.Tensor  # C: mu_2 in [0, 1], 0 for a dead channel

    @property
    def efficacy(self) -> torch.Tensor:
        """mu_1 mu_2, shape (C,)."""
        return self.sensitivity * self.selectivity


def grating(frequency: torch.Tensor, phase: torch.Tensor, orientation: torch.Tensor | None = None, *, side: int = SIDE,
            dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Returns sinusoidal gratings of contrast 0.5 around mid gray, which fade out by a raised cosine: (K, 1, side, side).

    Args:
        frequency: cycles per degree at 60 pixels per degree, shape (K,).
        phase: in radians, shape (K,).
        orientation: direction in which the wave runs, in radians from the rows' direction, shape (K,); None makes rings.
        side: in pixels.
        dtype: float32 or float64.
    """
    axis = torch.arange(side, dtype=dtype) - (side - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    radius = torch.hypot(x, y)
    if orientation is None:
        place = radius[None]
    else:
        direction = orientation.to(dtype).view(-1, 1, 1)
        place = x * direction.cos() + y * direction.sin()
    wave = torch.cos(2 * math.pi * frequency.to(dtype).view(-1, 1, 1) / PIXELS_PER_DEGREE * place
                     + phase.to(dtype).view(-1, 1, 1))
    fall = ((2 * radius / side - FLAT_RADIUS) / (1 - FLAT_RADIUS)).clamp(0, 1)
    return (0.5 + 0.5 * CONTRAST * (1 + torch.cos(math.pi * fall)) / 2 * wave)[:, None]


def mean_activations(extractor: nn.Module, layer: str, frequency: torch.Tensor, orientation: torch.Tensor | None = None, *,
                     side: int = SIDE) -> torch.Tensor:
    """Returns the mean activation of each channel over positions and phases, shape (K, C).

    Args:
        extractor: returns maps (N, C, H, W) by layer, as :class:`iqa_lab.backbones.features.FeatureExtractor`; on the CPU.
        layer: one of its layers, whose activations are 0 or more: behind a ReLU.
        frequency, orientation, side: as :func:`grating`.
    """
    phase = torch.arange(PHASES).mul(2 * math.pi / PHASES).repeat(len(frequency))
    numbers = torch.arange(len(frequency)).repeat_interleave(PHASES)
    frequencies, orientations = frequency[numbers], None if orientation is None else orientation[numbers]
    means = []
    for start in range(0, len(numbers), CHUNK):
        part = slice(start, start + CHUNK)
        stimuli = grating(frequencies[part], phase[part], None if orientations is None else orientations[part], side=side)
        means.append(extractor(stimuli)[layer].mean((2, 3)))
    return torch.cat(means).unflatten(0, (-1, PHASES)).mean(1)


@torch.no_grad()
def probe(extractor: nn.Module, layer: str, *, frequencies: Sequence[float] = FREQUENCIES,
          orientations: int = ORIENTATIONS, side: int = SIDE) -> Tuning:
    """Returns how the channels of a layer are tuned to the frequency and the orientation of gratings.

    mu_1 = mean_f CSF(f) |da / df| / max_f a(f), with the sensitivity of Mannos and Sakrison, and
    mu_2 = 1 - mean_theta a(theta) / max_theta a(theta).

    Args:
        extractor, layer, side: as :func:`mean_activations`.
        frequencies: of the rings, in cpd, ascending.
        orientations: how many, evenly over half a turn.
    """
    f = torch.tensor(frequencies)
    rings = mean_activations(extractor, layer, f, side=side)
    best, column = rings.argmax(0).unique(return_inverse=True)  # stripes of these frequencies are enough
    theta = torch.arange(orientations) * math.pi / orientations - math.pi / 2
    stripes = mean_activations(extractor, layer, f[best].repeat_interleave(orientations), theta.repeat(len(best)), side=side)
    stripes = stripes.unflatten(0, (-1, orientations))[column, :, torch.arange(len(column))].T
    slope, = torch.gradient(rings, spacing=(f,), dim=0)
    csf = csf_mannos_sakrison1974(f)[:, None].to(rings.dtype)
    return Tuning(rings, stripes, _relative((csf * slope.abs()).mean(0), rings),
                  _relative((stripes.amax(0) - stripes.mean(0)).clamp_min(0), stripes))


@functools.lru_cache(maxsize=32)
def imagenet_tuning(backbone: str, layer: str) -> Tuning:
    """Returns :func:`probe` of a pretrained network, once per process: 1 s for SqueezeNet, 15 s for the first VGG-16 blocks.

    The result is cached: do not change it in place. Args and errors: as
    :class:`iqa_lab.backbones.features.FeatureExtractor`.
    """
    return probe(FeatureExtractor(backbone, (layer,)), layer)


def select_channels(efficacy: torch.Tensor, share: float) -> torch.Tensor:
    """Returns the numbers of the channels with the highest efficacy, ascending; at least one.

    Args:
        efficacy: shape (C,).
        share: of the channels, in (0, 1].

    Raises:
        ValueError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"Expected a share of channels in (0, 1], got {share}.")
    return efficacy.topk(max(1, round(share * len(efficacy)))).indices.sort().values


class ProbedDistance(nn.Module):
    """The feature distance of :class:`iqa_lab.full_reference.perceptual_loss.PerceptualLoss` on the best-tuned channels.

    The network is probed when the module is made. The selected channels are part of its state.

    Args:
        backbone, layers, weights: as :class:`iqa_lab.backbones.features.FeatureExtractor`.
        share: of the channels of each layer that are kept.

    Raises:
        ValueError: unknown backbone or layer, or a share outside (0, 1]. FileNotFoundError: the weights are absent, with
            the way to them.
    """

    def __init__(self, *, backbone: str = "vgg16", layers: Sequence[str] = FEATURE_LAYERS,
                 weights: str | Path = "imagenet", share: float = SHARE) -> None:
        super().__init__()
        self.network, self.share = FeatureExtractor(backbone, layers, weights=weights), share
        for layer in layers:
            tuning = imagenet_tuning(backbone, layer) if weights == "imagenet" else probe(self.network, layer)
            self.register_buffer(f"channels_{layer}", select_channels(tuning.efficacy, share))

    def forward(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns the sum over layers of ||x - y||^2 / (C' H W) on the C' selected channels: (N,), lower is better.

        Args:
            distorted, reference: shape (N, C, H, W), RGB or gray in [0, 1], sides of 16 pixels or more.

        Returns:
            Shape (N,), 0 for identical images.
        """
        check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
        maps = self.network(torch.cat((distorted, reference)))
        selected = [both[:, self.get_buffer(f"channels_{layer}")] for layer, both in maps.items()]
        return torch.stack([feature_distance(*both.chunk(2)) for both in selected]).sum(0).to(distorted.dtype)

    def extra_repr(self) -> str:
        return f"share={self.share:g}"


def _relative(amount: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
    """Returns the amount over the largest response of each channel, 0 where there is none."""
    largest = response.amax(0)
    return torch.where(largest > 0, amount / torch.where(largest > 0, largest, 1), 0)
