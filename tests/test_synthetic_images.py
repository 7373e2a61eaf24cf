"""The synthetic test images have the bytes that the reference values were computed on."""

import hashlib

import pytest
from synthetic_images import synthetic_image

SHA256_START = {"ref": "53dd0640287aadd6", "quant": "b5d07c2716513283", "noise": "804ee095c3a44ed3",
                "blur": "9dfd9ab602c82d0b"}


@pytest.mark.parametrize("name", SHA256_START)
def test_bytes_are_the_published_ones(name):
    assert hashlib.sha256(synthetic_image(name).tobytes()).hexdigest()[:16] == SHA256_START[name]
