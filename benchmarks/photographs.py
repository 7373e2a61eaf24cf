"""Input of the benchmarks: photographs with noise.

Uniform random pixels would not do: natural scene statistics branch on values that such images never have."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from skimage import data

PHOTOGRAPHS = (data.astronaut, data.coffee, data.chelsea, data.rocket)  # ship inside scikit-image
NOISE = 8  # standard deviation of the distortion in 8-bit steps
SEED = 0


def image_pairs(n: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns distorted and reference photographs, each (n, 3, height, width), 8-bit values divided by 255.

    Photograph i of the batch is number i modulo 4, turned by 180 degrees in every second group of four; each has noise
    of its own.
    """
    generator = np.random.default_rng(SEED)
    references = np.stack([_photograph(i, height, width) for i in range(n)])
    noisy = references + generator.normal(0, NOISE, references.shape)
    distorted = np.clip(np.round(noisy), 0, 255)
    return tuple(torch.from_numpy(images.transpose(0, 3, 1, 2) / 255).float().contiguous()
                 for images in (distorted, references))


def image_versions(n: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns n distorted versions (n, 3, height, width) of one photograph, with different noise, and it (1, ...)."""
    reference = image_pairs(1, height, width)[1]
    noise = NOISE * torch.randn((n, *reference.shape[1:]), generator=torch.Generator().manual_seed(SEED))
    return (255 * reference + noise).round().clamp(0, 255) / 255, reference


def _photograph(index: int, height: int, width: int) -> np.ndarray:
    image = Image.fromarray(PHOTOGRAPHS[index % len(PHOTOGRAPHS)]())
    if index // len(PHOTOGRAPHS) % 2:
        image = image.transpose(Image.Transpose.ROTATE_180)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
