"""Reads and writes images, and holds the one guard that every metric calls first.

Images are float tensors of shape (N, C, H, W), RGB or gray, with values in [0, 1].
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

#: A picture above this many pixels is refused: decoding it would take gigabytes (150 megapixels = 1.8 GB as float32).
MAX_PIXELS = 150_000_000
#: How many pixels are worked on together on a CPU, whose cache then holds the maps: by metrics made by hand, and by
#: networks, which have more maps (32 of them take 8 MB).
PIXELS_AT_ONCE, NETWORK_PIXELS = 2**19, 2**16
#: At least so many elsewhere: on a GPU the calls of a small part take longer than its work. 64 float32 maps take 1 GB; of
#: the metrics made by hand DIIVINE takes the most, 5 GB in all, then MAD, 2.4 GB.
PIXELS_ELSEWHERE = 2**22
#: What a folder is searched for.
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jp2", ".ppm", ".pgm"})


def load_image(path: str | Path) -> torch.Tensor:
    """Returns the image file as a float32 tensor of shape (1, 3, H, W) with values in [0, 1].

    Gray and palette images become three channels; 16-bit images keep their precision. The EXIF orientation is not
    applied: database releases are scored on their stored pixels, and so does MATLAB's ``imread``.

    Args:
        path: PNG, JPEG, BMP, TIFF, WebP, GIF (first frame), JPEG 2000, PPM or PGM file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not an image, corrupt, truncated, transparent, or more than ``MAX_PIXELS`` pixels.
    """
    array = read_pixels(path)
    scale = 65535.0 if array.dtype == np.uint16 else 255.0
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1))).float().div_(scale)[None]


def read_pixels(path: str | Path) -> np.ndarray:
    """Returns the image file as an integer array of shape (H, W, 3), uint8 or (for 16-bit files) uint16.

    Raises:
        FileNotFoundError, ValueError: as :func:`load_image`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected an image file, found none at {path}; check the name and the folder.")
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit below is the stricter one
            _check_size(image, path)
            return _to_rgb(image, path)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"Expected a complete image file, got {path} that cannot be decoded ({error}); "
                         "replace it by an intact copy.") from error


def save_image(image: torch.Tensor, path: str | Path) -> None:
    """Writes one image as an 8-bit file; the suffix of ``path`` chooses the format.

    Args and errors: as :func:`to_picture`.
    """
    to_picture(image).save(path)


def to_picture(image: torch.Tensor) -> Image.Image:
    """Returns one image as an 8-bit picture, rounding half up; Jupyter shows it pixel by pixel.

    Args:
        image: shape (1, C, H, W), values in [0, 1].

    Raises:
        ValueError: more than one image, or values outside [0, 1], which are not clipped.
    """
    check_images(image)
    if image.shape[0] != 1:
        raise ValueError(f"Expected one image (1, C, H, W), got {tuple(image.shape)}; take them one by one.")
    check_values(image)
    pixels = (255 * image[0].detach().cpu().double() + 0.5).floor().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)


def check_images(*images: torch.Tensor, minimum_side: int = 1) -> None:
    """Raises the one clear error for arguments that are not image batches of equal shape.

    It looks at shape and type only, so that it never makes the CPU wait for a GPU; :func:`check_values` looks at the
    numbers.

    Args:
        images: float32 or float64 tensors of shape (N, C, H, W), C = 1 or 3, all of one shape, type and device.
        minimum_side: smallest height and width the caller can work on, in pixels.

    Raises:
        TypeError: not a tensor, not float32 or float64, or tensors of different types.
        ValueError: wrong or different shapes, or a side below ``minimum_side``.
    """
    for image in images:
        if not isinstance(image, torch.Tensor):
            raise TypeError(f"Expected a torch.Tensor of shape (N, C, H, W), got {type(image).__name__}; "
                            "read files with iqa_lab.load_image.")
        shape = tuple(image.shape)
        if image.ndim == 3:
            raise ValueError(f"Expected shape (N, C, H, W), got {shape}; use image[None] for one image.")
        if image.ndim != 4:
            raise ValueError(f"Expected shape (N, C, H, W), got {shape}.")
        if shape[1] not in (1, 3):
            raise ValueError(f"Expected 1 (gray) or 3 (RGB) channels in shape (N, C, H, W), got {shape[1]} in {shape}; "
                             "channels come second: use image.permute(0, 3, 1, 2) if they are last.")
        if not image.is_floating_point():
            raise TypeError(f"Expected floating-point values in [0, 1], got {image.dtype}; divide by 255.")
        if image.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"Expected float32 or float64, got {image.dtype}; use image.float(): local variances lose "
                            "their digits in half precision.")
        if shape[0] < 1 or min(shape[2:]) < minimum_side:
            raise ValueError(f"Expected at least one image with sides of {minimum_side} pixels or more, got {shape}.")
    for image in images[1:]:
        if image.shape != images[0].shape:
            raise ValueError(f"Expected images of equal shape, got {tuple(images[0].shape)} and {tuple(image.shape)}; "
                             "crop or resize one of them yourself: the score depends on how.")
        if image.dtype != images[0].dtype or image.device != images[0].device:
            raise TypeError(f"Expected images of one type on one device, got {images[0].dtype} on {images[0].device} "
                            f"and {image.dtype} on {image.device}; use image.to(reference).")


def check_values(image: torch.Tensor) -> None:
    """Raises ValueError when a value is NaN, infinite or outside [0, 1]; on a GPU this waits for the result."""
    low, high = image.aminmax()
    if not (low >= 0 and high <= 1):  # also true for NaN
        raise ValueError(f"Expected values in [0, 1], got {low.item():.6g} to {high.item():.6g}; "
                         "divide 8-bit values by 255, and clamp what filtering has pushed outside.")


def few_at_a_time(*batches: torch.Tensor, pixels: int | None = None) -> list[tuple[torch.Tensor, ...]]:
    """Returns the batches (N, C, H, W), all of one shape, in parts of as many images as :func:`number_at_once` says.

    Maps that stay in the cache of a CPU are several times as fast as those of a large batch, which go through memory.

    Args:
        batches: images, crops or patches.
        pixels: of a part on a CPU; None for ``PIXELS_AT_ONCE``.
    """
    size = batches[0].shape[2] * batches[0].shape[3]
    number = number_at_once(size, batches[0].device, PIXELS_AT_ONCE if pixels is None else pixels)
    return list(zip(*(batch.split(number) for batch in batches), strict=True))


def number_at_once(size: int, device: torch.device, pixels: int) -> int:
    """Returns how many images of so many pixels to work on together, at least one.

    Args:
        size: pixels of one image.
        device: where the work is done.
        pixels: of all of them on a CPU, at most; elsewhere ``PIXELS_ELSEWHERE``, if that is more.

    >>> number_at_once(100, torch.device("cpu"), 350), number_at_once(100, torch.device("cuda"), 350)
    (3, 41943)
    """
    return max(1, (pixels if device.type == "cpu" else max(pixels, PIXELS_ELSEWHERE)) // size)


def find_images(path: str | Path) -> list[Path]:
    """Returns the image files of a folder in sorted order (subfolders included), or the file itself.

    Raises:
        FileNotFoundError: nothing there, or a folder without images.
    """
    path = Path(path)
    if not path.is_dir():
        return [path]  # a missing file is reported by load_image, in the row of that image
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise FileNotFoundError(f"Expected images in {path}, found none with the endings "
                                f"{', '.join(sorted(IMAGE_SUFFIXES))}.")
    return found


def _check_size(image: Image.Image, path: Path) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"Expected at most {MAX_PIXELS} pixels, got {image.width} x {image.height} in {path}; "
                         "crop or downscale it first.")


def _to_rgb(image: Image.Image, path: Path) -> np.ndarray:
    """Returns the decoded pixels as (H, W, 3); refuses transparency, which has no defined colour."""
    if image.mode.startswith("I;16") or image.mode == "I":
        gray = np.asarray(image)
        if gray.min() < 0 or gray.max() > 65535:
            raise ValueError(f"Expected 8-bit or 16-bit values, got {gray.min()} to {gray.max()} in {path}.")
        return np.repeat(gray.astype(np.uint16)[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise ValueError(f"Expected 8-bit or 16-bit values, got floating-point values in {path}; "
                         "HDR images have no defined [0, 1] range.")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        raise ValueError(f"Expected an opaque image, got transparent pixels in {path}; "
                         "compose it over a background first.")
    return np.asarray(image.convert("RGB"))
