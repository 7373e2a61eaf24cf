"""Simulated recaptures: a photograph of a screen or of a print that shows a photograph.

Everything here is simulated from a few stated causes, and no real device was measured: the stripes of a display's
pixels, whose beat with the camera's is the moire; the dots of a halftone; less contrast, less colour, paper, glare.
What a detector learns from these images says nothing about its rate of detection on real attacks.
Moire is not painted on: each camera pixel averages the stripes over its own width, in closed form, and the aliases of
the result are the moire. Random numbers come from NumPy's ``RandomState``.
Chapter: 14
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import ndimage

from iqa_lab.distortions.capture import BT601, LIGHT, check_bytes, develop, lighting, spot
from iqa_lab.distortions.warps import pixel_grid

FOOTPRINT = 1.3  # width that a camera pixel averages over, lens included, in camera pixels
LIT, GAP = 0.8, 0.05  # lit share of a display pixel's height; dark border of a stripe, as a share of the pixel's width
TURN = 3  # degrees: the camera is held at up to this angle to the screen or the paper
SCREEN_ANGLES = (15, 75, 0)  # degrees: of the halftones of cyan, magenta and yellow
SUBPIXELS = (-FOOTPRINT / 3, 0, FOOTPRINT / 3)  # places in a camera pixel where a print is looked at
BANDS = (0.1, 0.2, 0.3, 0.4, 0.5)  # cycles per pixel: edges of the rings in which peaks are looked for
MINIMUM_SIDE = 32  # with enough frequencies in each ring for a median
FIBRES = 1.2  # pixels: standard deviation of the filter that makes paper of noise
SHARPNESS, NOISE, QUALITY = (0.4, 0.8), (0.01, 0.03), (75, 96)  # ranges of the camera, for all images alike


@dataclass(frozen=True)
class Screen:
    """A display in front of the camera.

    Attributes:
        pitch: width of a display pixel in the photograph, in camera pixels.
        black: light of a black pixel, as a share of white.
        glare: peak of a reflection, as a share of white.
    """

    pitch: float
    black: float = 0.01
    glare: float = 0.1


@dataclass(frozen=True)
class Printer:
    """A print in front of the camera.

    Attributes:
        period: distance of the halftone's dots in the photograph, in camera pixels; 0 for continuous tone.
        black: light from full ink, as a share of white.
        gain: how much larger than intended a dot of half coverage gets.
        texture: standard deviation of the paper's light, as a share of its mean.
    """

    period: float
    black: float = 0.06
    gain: float = 0.1
    texture: float = 0.015


#: Eight devices, none of them real: the names only help to remember the sizes.
SCREENS = {"phone": Screen(0.75), "laptop": Screen(1.15), "tablet": Screen(1.6), "monitor": Screen(2.3)}
PRINTERS = {"photo lab": Printer(0), "offset": Printer(1.6), "inkjet": Printer(2.3), "laser": Printer(3.2)}


def all_shots(scene: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Returns a photograph of the scene, ``"bona fide"``, and one of each device that shows another photograph of it.

    Args:
        scene: uint8, shape (H, W, 3).
        seed: 0 to 2**31 - 1.
    """
    stolen = capture_scene(scene, seed + 2**31)  # what the attacker has
    return ({"bona fide": capture_scene(scene, seed)}
            | {name: screen_recapture(stolen, screen, seed) for name, screen in SCREENS.items()}
            | {name: print_recapture(stolen, printer, seed) for name, printer in PRINTERS.items()})


def capture_scene(image: np.ndarray, seed: int) -> np.ndarray:
    """Returns a simulated photograph of the scene that ``image`` stands for, uint8 (H, W, 3): no attack.

    Args:
        image: uint8, shape (H, W, 3).
        seed: decides lighting, sharpness, noise and the quality of the JPEG file.
    """
    check_bytes(image)
    return camera(LIGHT[image], np.random.RandomState(seed))


def screen_recapture(image: np.ndarray, screen: Screen, seed: int) -> np.ndarray:
    """Returns a simulated photograph of a screen that shows ``image``, uint8 (H, W, 3).

    The picture fills the frame as before, and so has only as much detail as the display has pixels.

    Args:
        image: uint8, shape (H, W, 3).
        screen: what stands in front of the camera.
        seed: decides angle, phase, glare and the camera as :func:`capture_scene`.
    """
    check_bytes(image)
    random = np.random.RandomState(seed)
    height, width = image.shape[:2]
    size = (max(1, round(width / screen.pitch)), max(1, round(height / screen.pitch)))
    shown = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
    light = screen.black + (1 - screen.black) * LIGHT[shown]
    rows, columns = turned_grid(image, random)
    rows, columns = rows * size[1] / height, columns * size[0] / width
    averaged = FOOTPRINT / screen.pitch
    stripes = np.stack([coverage(columns, c / 3 + GAP, (c + 1) / 3 - GAP, averaged) for c in range(3)], axis=-1)
    grid = stripes * coverage(rows, 0.5 - LIT / 2, 0.5 + LIT / 2, averaged)[..., None]
    seen = np.stack([ndimage.map_coordinates(light[..., c], (rows - 0.5, columns - 0.5), order=1, mode="nearest")
                     for c in range(3)], axis=-1)
    return camera(seen * grid + screen.glare * random.random_sample() * spot(image.shape[:2], random), random)


def print_recapture(image: np.ndarray, printer: Printer, seed: int) -> np.ndarray:
    """Returns a simulated photograph of a print of ``image``, uint8 (H, W, 3).

    Args:
        image: uint8, shape (H, W, 3).
        printer: what stands in front of the camera.
        seed: decides angle, phase, paper and the camera as :func:`capture_scene`.
    """
    check_bytes(image)
    random = np.random.RandomState(seed)
    ink = 1 - LIGHT[image]
    ink = np.clip(ink + 4 * printer.gain * ink * (1 - ink), 0, 1)
    rows, columns = turned_grid(image, random)
    if printer.period > 0:
        ink = np.stack([dots(ink[..., c], rows, columns, printer.period, angle)
                        for c, angle in enumerate(SCREEN_ANGLES)], axis=-1)
    light = 1 - (1 - printer.black) * ink
    light = 0.9 * light + 0.1 * (light @ BT601)[..., None]  # inks absorb some of the colours they should let pass
    fibres = ndimage.gaussian_filter(random.normal(size=image.shape[:2]), FIBRES)
    return camera(light * (1 + printer.texture * fibres / fibres.std())[..., None], random)


def camera(light: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Returns the photograph that the last camera makes of linear light (H, W, 3): the same step for all images."""
    sharpness, noise = random.uniform(*SHARPNESS), random.uniform(*NOISE)
    light = ndimage.gaussian_filter(light * lighting(light.shape[:2], random), (sharpness, sharpness, 0))
    return develop(light, noise, random.randint(*QUALITY), random)


def grid_peaks(photo: np.ndarray) -> np.ndarray:
    """Returns how far the spectrum's peaks stand out of their rings, in powers of e, shape (8,): traces of a grid.

    Four rings of spatial frequency, each for luma and for red minus blue: the logarithm of the largest amplitude minus
    the median of the ring. Scenes have broad spectra; the pixels of a screen and the dots of a print have peaks.

    Args:
        photo: uint8, shape (H, W, 3), sides of at least 32 pixels.
    """
    check_bytes(photo)
    if min(photo.shape[:2]) < MINIMUM_SIDE:
        raise ValueError(f"Expected sides of {MINIMUM_SIDE} pixels or more, got {photo.shape}; take a larger image.")
    spectrum = log_spectrum(np.stack((photo @ BT601, photo[..., 0] - photo[..., 2].astype(np.float64))))
    radius = np.hypot(np.fft.fftfreq(photo.shape[0])[:, None], np.fft.rfftfreq(photo.shape[1]))
    rings = [spectrum[:, (radius >= low) & (radius < high)] for low, high in zip(BANDS, BANDS[1:])]
    return np.stack([ring.max(1) - np.median(ring, axis=1) for ring in rings], axis=1).ravel()


def log_spectrum(channels: np.ndarray) -> np.ndarray:
    """Returns ln(1 + amplitude) of the spectrum of channels (C, H, W) under a Hann window, (C, H, W // 2 + 1)."""
    centred = channels - channels.mean((1, 2), keepdims=True)
    window = np.hanning(channels.shape[1])[:, None] * np.hanning(channels.shape[2])
    return np.log1p(np.abs(np.fft.rfft2(centred * window)))


def turned_grid(image: np.ndarray, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Returns row and column of each pixel's centre, shape (H, W), on an object turned by up to ``TURN`` degrees."""
    angle = np.radians(random.uniform(-TURN, TURN))
    rows, columns = pixel_grid(image)
    middle = np.array(image.shape[:2]) / 2
    y, x = rows + 0.5 - middle[0], columns + 0.5 - middle[1]
    shift = random.random_sample(2)
    return (np.cos(angle) * y + np.sin(angle) * x + middle[0] + shift[0],
            np.cos(angle) * x - np.sin(angle) * y + middle[1] + shift[1])


def coverage(places: np.ndarray, start: float, end: float, width: float) -> np.ndarray:
    """Returns how much of stripes, lit from ``start`` to ``end`` of each unit, a window sees; the mean is 1.

    Args:
        places: centres of the windows, any shape.
        start, end: 0 <= start < end <= 1.
        width: of the windows, in units.
    """
    def lit_until(t):
        return np.floor(t) * (end - start) + np.clip(t - np.floor(t) - start, 0, end - start)

    return (lit_until(places + width / 2) - lit_until(places - width / 2)) / (width * (end - start))


def dots(ink: np.ndarray, rows: np.ndarray, columns: np.ndarray, period: float, degrees: float) -> np.ndarray:
    """Returns the halftone of the ink as camera pixels average it, shape (H, W), 0 to 1.

    There is ink where the wave (cos 2 pi u + cos 2 pi v) / 2 lies below a level that it stays below on as large a share
    of the plane as the ink covers. A pixel looks at 3 x 3 places in its footprint.

    Args:
        ink: share of the paper that is to be covered, shape (H, W).
        rows, columns: of the pixels' centres, in camera pixels.
        period: of the wave, in camera pixels; ``degrees`` is its angle.
    """
    level = wave_levels()[np.rint(1024 * ink).astype(np.int64)]
    turn = 2 * np.pi / period * np.exp(1j * np.radians(degrees))
    u, v = turn.real * columns + turn.imag * rows, turn.real * rows - turn.imag * columns
    wave_u, wave_v = np.exp(1j * u), np.exp(1j * v)
    total = np.zeros(ink.shape)
    for down in SUBPIXELS:
        for right in SUBPIXELS:
            step_u, step_v = turn.real * right + turn.imag * down, turn.real * down - turn.imag * right
            total += (wave_u * np.exp(1j * step_u)).real + (wave_v * np.exp(1j * step_v)).real < 2 * level
    return total / len(SUBPIXELS) ** 2


@lru_cache(maxsize=1)
def wave_levels() -> np.ndarray:
    """Returns the levels below which the wave stays on 0 to 100 % of the plane, in equal steps, shape (1025,)."""
    cosine = np.cos(2 * np.pi * (np.arange(256) + 0.5) / 256)
    levels = np.sort((cosine[:, None] + cosine).ravel() / 2)[::64]
    return np.concatenate(([-1.001], levels[1:], [1.001]))
