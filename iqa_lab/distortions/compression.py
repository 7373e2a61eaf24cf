"""Lossy codecs, as Pillow brings them: the pixels depend on the versions of libjpeg-turbo and OpenJPEG.

Of KADID-10k: ``kadid_jpeg`` equals the official images where libjpeg is the same; ``kadid_jpeg2000`` goes through
OpenJPEG instead of MATLAB's encoder, at the same ratios.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from iqa_lab.distortions.rounding import to_bytes


def jpeg(image: np.ndarray, quality: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image after JPEG with the given quality of the Independent JPEG Group's tables, chroma 4:2:0."""
    return through_codec(image, format="JPEG", quality=int(quality), subsampling="4:2:0")


def jpeg2000(image: np.ndarray, ratio: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image after lossy JPEG 2000 (wavelet 9/7, on R, G, B) at the given ratio of raw to compressed."""
    return through_jpeg2000(image, ratio, colour_transform=0)


def kadid_jpeg(image: np.ndarray, quality: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image after JPEG with the given quality, chroma 4:2:0."""
    return jpeg(to_bytes(255 * image), quality, random) / 255


def kadid_jpeg2000(image: np.ndarray, ratio: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image after lossy JPEG 2000 (wavelet 9/7, on Y, Cb, Cr) at the given ratio."""
    return through_jpeg2000(to_bytes(255 * image), ratio, colour_transform=1) / 255


def through_jpeg2000(image: np.ndarray, ratio: float, colour_transform: int) -> np.ndarray:
    """Returns the image after JPEG 2000, which spends its bits better after a transform of the colours."""
    resolutions = min(6, min(image.shape[:2]).bit_length())  # a wavelet level halves; tiny images have fewer
    return through_codec(image, format="JPEG2000", quality_mode="rates", quality_layers=[ratio], irreversible=True,
                         num_resolutions=resolutions, mct=colour_transform)


def through_codec(image: np.ndarray, **options) -> np.ndarray:
    """Returns the image written to memory with Pillow's options for ``save`` and read again."""
    file = BytesIO()
    Image.fromarray(image).save(file, **options)
    with Image.open(file) as decoded:
        return np.asarray(decoded.convert("RGB"))
