"""Writes iqa_lab/embedded/embedded_hashes.csv, the pixel hashes that every build of 'embedded' is checked against.

Run it only after a deliberate change of the photographs or distortions:
``python -m iqa_lab.data_scripts.make_embedded_hashes``
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

from iqa_lab.embedded import build


def main() -> None:
    """Builds the images in a temporary folder and stores their hashes with the codec versions."""
    with tempfile.TemporaryDirectory() as folder:
        for sub in ("references", "distorted"):
            (Path(folder) / sub).mkdir()
        hashes = build.write_images(Path(folder))
        print(f"{sum(file.stat().st_size for file in Path(folder).rglob('*.png')) / 1e6:.0f} MB of PNG files")
    with build.HASHES.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "sha256", "codec"])
        writer.writerows([image, value, build.codec_of(image)] for image, value in hashes.items())


if __name__ == "__main__":
    main()
