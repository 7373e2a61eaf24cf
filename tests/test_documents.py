"""Synthetic pages, and the reader: what is drawn can be read, and what is badly photographed cannot."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_images import synthetic_image

from iqa_lab.distortions import documents
from iqa_lab.distortions.capture import Capture, photograph
from iqa_lab.distortions.documents import ALPHABET, HEIGHT, WIDTH

PORTRAIT = np.ascontiguousarray(synthetic_image("ref")[:200, :160])
PAGES = [documents.document_page(seed, PORTRAIT) for seed in range(4)]


def mean_share(capture):
    return np.mean([documents.legible_share(photograph(page.image, capture, seed), page)
                    for seed, page in enumerate(PAGES)])


@pytest.mark.parametrize("seed", range(20))
def test_every_character_of_a_page_can_be_read(seed):
    page = documents.document_page(seed, PORTRAIT)
    assert page.image.dtype == np.uint8 and page.image.shape == (HEIGHT, WIDTH, 3)
    assert len(page.text) == len(page.cells) >= 100 and page.text.max() < len(ALPHABET)
    assert documents.legible_share(page.image, page) == 1


def test_no_character_stands_on_another_or_outside_the_page():
    ink = np.zeros((HEIGHT, WIDTH), dtype=int)
    for top, left in PAGES[0].cells:
        ink[top:top + 16, left:left + 12] += 1
    assert ink.max() == 1 and ink.sum() == 16 * 12 * len(PAGES[0].cells)


def test_a_seed_means_one_page_and_another_seed_another():
    again = documents.document_page(3, PORTRAIT)
    assert all(np.array_equal(a, b) for a, b in zip(again, PAGES[3]))
    assert not np.array_equal(PAGES[0].image, PAGES[1].image)


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (300, 7)])
def test_a_portrait_of_any_size_fills_its_frame(shape):
    page = documents.document_page(0, np.full((*shape, 3), (10, 200, 30), dtype=np.uint8))
    top, left, width, height = documents.PORTRAIT
    assert np.all(page.image[top:top + height, left:left + width] == (10, 200, 30))


def test_glyphs_differ_and_are_normalised():
    glyphs = documents.normalised(documents.glyphs().reshape(34, -1))
    assert glyphs.shape == (34, 192) and len(set(ALPHABET)) == 34
    np.testing.assert_allclose(glyphs.mean(1), 0, atol=1e-12)
    alike = glyphs @ glyphs.T
    np.testing.assert_allclose(np.diag(alike), 1)
    assert (alike - np.eye(34)).max() < 0.97  # the nearest pair, C and G
    assert documents.glyphs().min() == 0 and documents.glyphs().max() == 1


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_reader_takes_the_largest_correlation(seed):
    photo = np.random.RandomState(seed).randint(0, 256, (40, 60, 3)).astype(np.uint8)
    cells = np.array([(0, 0), (3, 5), (24, 48), (10, 31)])
    luma = 0.299 * photo[..., 0] + 0.587 * photo[..., 1] + 0.114 * photo[..., 2]
    expected = [[-np.corrcoef(luma[y:y + 16, x:x + 12].ravel(), glyph.ravel())[0, 1] for glyph in documents.glyphs()]
                for y, x in cells]  # ink is dark
    np.testing.assert_allclose(documents.correlations(photo, cells), expected, atol=1e-12)
    assert documents.read_characters(photo, cells).tolist() == np.argmax(expected, axis=1).tolist()


def test_the_reader_minds_neither_brightness_nor_contrast():
    faint = (60 + PAGES[0].image.astype(float) / 16).round().astype(np.uint8)
    assert documents.legible_share(faint, PAGES[0]) > 0.97
    assert not documents.correlations(np.full_like(faint, 9), PAGES[0].cells).any()


@pytest.mark.parametrize("mild, severe", [
    (Capture(blur=1), Capture(blur=3)), (Capture(motion=3), Capture(motion=11)),
    (Capture(darkness=4), Capture(darkness=8)), (Capture(reflection=0.4), Capture(reflection=2)),
    (Capture(quality=30), Capture(quality=3)),
], ids=["blur", "motion", "darkness", "reflection", "quality"])
def test_every_fault_makes_pages_illegible_in_the_end(mild, severe):
    assert mean_share(mild) > 0.95 > mean_share(severe)


def test_a_steady_hand_in_good_light_loses_nothing():
    assert mean_share(Capture()) == 1


def test_other_portraits_are_refused():
    with pytest.raises(ValueError, match="Expected a uint8 array of shape"):
        documents.document_page(0, PORTRAIT / 255)
