"""Synthetic pages with text, and a reader that says how much of a photographed page is still legible.

Nothing here is real: the pages are drawn and their text is random. ``legible_share`` is a proxy label, the success of
one simple program; no human has judged a page. Text stands in cells of one size, so that reading is one matrix product.
Random numbers come from NumPy's ``RandomState``; the glyphs are those of Pillow's own font.
Chapter: 14
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from iqa_lab.distortions.capture import BT601, check_bytes
from iqa_lab.distortions.rounding import to_bytes

ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"  # without I and O, which look like 1 and 0
HEIGHT, WIDTH = 288, 432  # of a page, in pixels
CELL_HEIGHT, CELL_WIDTH = 16, 12  # of a character; capitals are 9 pixels high
OVERSAMPLING = 8  # glyphs are drawn larger and averaged, so that no hinting of the font's size matters
PORTRAIT = (64, 20, 96, 120)  # top, left, width and height of the picture on the page
FIELDS = ("NAME", "NUMBER", "PLACE", "ISSUED", "VALID")
FIELD_TOPS, FIELD_LEFT = (64, 94, 124, 154, 184), 140
FOOT_TOPS, FOOT_LEFT, FOOT_LENGTH = (234, 256), 24, 32  # two lines over the whole width
WAVE_PERIODS = np.array([9.0, 14.0, 23.0])  # pixels: the waves of the background


class Page(NamedTuple):
    """A drawn page: ``image`` uint8 (H, W, 3), ``text`` indices into ``ALPHABET`` (n,), ``cells`` top, left (n, 2)."""

    image: np.ndarray
    text: np.ndarray
    cells: np.ndarray


def document_page(seed: int, portrait: np.ndarray) -> Page:
    """Returns a page of random text that nobody has filled in, with its own tint, ink and background.

    Args:
        seed: 0 to 2**32 - 1; decides text and colours.
        portrait: uint8, shape (H, W, 3), any size; it is fitted into the frame.
    """
    check_bytes(portrait)
    random = np.random.RandomState(seed)
    image = background(random)
    ink = 0.05 + 0.3 * random.random_sample(3) * random.random_sample()
    cells = layout(random)
    text = random.randint(len(ALPHABET), size=len(cells))
    top, left, *size = PORTRAIT
    fitted = ImageOps.fit(Image.fromarray(portrait), size, Image.Resampling.LANCZOS)
    image[top:top + size[1], left:left + size[0]] = np.asarray(fitted) / 255
    for coverage in (furniture(), written(text, cells)):
        image = image + coverage[..., None] * (ink - image)
    return Page(to_bytes(255 * image), text, cells)


def legible_share(photo: np.ndarray, page: Page) -> float:
    """Returns the share of the page's characters that :func:`read_characters` reads, 0 to 1: a proxy label."""
    return float(np.mean(read_characters(photo, page.cells) == page.text))


def read_characters(photo: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Returns the best correlated character of each cell as an index into ``ALPHABET``, (n,). Args: as correlations."""
    return np.argmax(correlations(photo, cells), axis=1)


def correlations(photo: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Returns the correlation of each cell's darkness with the ink of each glyph, shape (n, 34), 0 for a flat cell.

    Args:
        photo: uint8, shape (H, W, 3), on the grid of the page.
        cells: top and left of each cell, shape (n, 2).
    """
    ink = normalised(-(photo @ BT601)[pixels_of(cells)].reshape(len(cells), -1))
    return ink @ normalised(glyphs().reshape(len(ALPHABET), -1)).T


def normalised(rows: np.ndarray) -> np.ndarray:
    """Returns the rows with mean 0 and length 1; flat ones become 0."""
    centred = rows - rows.mean(1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)


@lru_cache(maxsize=1)
def glyphs() -> np.ndarray:
    """Returns the ink of each character of ``ALPHABET`` in its cell, 0 to 1, shape (34, 16, 12)."""
    size = (CELL_WIDTH * OVERSAMPLING, CELL_HEIGHT * OVERSAMPLING)
    return np.stack([drawn(character, CELL_WIDTH, size, "mm") for character in ALPHABET])


def drawn(text: str, font_size: int, size: tuple[int, int], anchor: str) -> np.ndarray:
    """Returns the ink of a text drawn ``OVERSAMPLING`` times as large, into a picture of ``size``, and averaged."""
    picture = Image.new("L", size)
    place = (size[0] // 2, size[1] // 2) if anchor == "mm" else (0, size[1] // 2)
    ImageDraw.Draw(picture).text(place, text, 255, ImageFont.load_default(font_size * OVERSAMPLING), anchor=anchor)
    blocks = np.asarray(picture).reshape(size[1] // OVERSAMPLING, OVERSAMPLING, size[0] // OVERSAMPLING, OVERSAMPLING)
    return blocks.mean((1, 3)) / 255


def layout(random: np.random.RandomState) -> np.ndarray:
    """Returns top and left of all character cells, shape (n, 2): fields of random length and two full lines."""
    starts = [(top + 10, FIELD_LEFT, random.randint(8, 23)) for top in FIELD_TOPS]
    starts += [(top, FOOT_LEFT, FOOT_LENGTH) for top in FOOT_TOPS]
    return np.concatenate([np.stack((np.full(n, top), left + CELL_WIDTH * np.arange(n)), axis=1)
                           for top, left, n in starts])


def written(text: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Returns the ink of the characters in their cells, shape (HEIGHT, WIDTH)."""
    ink = np.zeros((HEIGHT, WIDTH))
    ink[pixels_of(cells)] = glyphs()[text]
    return ink


def pixels_of(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows (n, 16, 1) and columns (n, 1, 12) of the pixels of each cell."""
    return cells[:, 0, None, None] + np.arange(CELL_HEIGHT)[:, None], cells[:, 1, None, None] + np.arange(CELL_WIDTH)


@lru_cache(maxsize=1)
def furniture() -> np.ndarray:
    """Returns the ink that all pages share, shape (HEIGHT, WIDTH): title, labels and lines."""
    ink = np.zeros((HEIGHT, WIDTH))
    ink[16:44, 20:300] = drawn("SPECIMEN CARD", 20, (280 * OVERSAMPLING, 28 * OVERSAMPLING), "lm")
    for top, name in zip(FIELD_TOPS, FIELDS):
        label = drawn(name, 8, (80 * OVERSAMPLING, 10 * OVERSAMPLING), "lm")
        ink[top:top + 10, FIELD_LEFT:FIELD_LEFT + 80] = label
        ink[top + 26, FIELD_LEFT:WIDTH - 20] = 0.5
    ink[50, 20:WIDTH - 20] = 1
    return ink


def background(random: np.random.RandomState) -> np.ndarray:
    """Returns tinted paper with faint crossing waves, shape (HEIGHT, WIDTH, 3), 0 to 1."""
    tint = 0.8 + 0.18 * random.random_sample(3)
    strength = 0.04 * random.random_sample()
    angles, phases = np.pi * random.random_sample((2, len(WAVE_PERIODS)))
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    waves = sum(np.sin(2 * np.pi * (np.cos(angle) * columns + np.sin(angle) * rows) / period + phase)
                for angle, phase, period in zip(angles, phases, WAVE_PERIODS))
    return np.clip(tint + strength * waves[..., None], 0, 1)
