"""The natural colour photographs that the database ``embedded`` starts from, with their licences.

They are read from the installed packages scikit-image, scikit-learn and matplotlib; iqa-lab ships none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Photograph:
    """One photograph in an installed package.

    ``crop`` is (left, top, width, height) in pixels: at most 512 a side and even, so that chapters stay fast and
    halving works. A crop keeps the statistics of neighbouring pixels; resizing would change them.
    """

    name: str
    package: str
    file: str
    crop: tuple[int, int, int, int]
    shows: str
    licence: str
    source: str


PHOTOGRAPHS = (
    Photograph("astronaut", "skimage", "data/astronaut.png", (0, 0, 512, 512), "astronaut Eileen Collins",
               "public domain: no known copyright restrictions (NASA)", "NASA Great Images, https://flic.kr/p/r9qvLn"),
    Photograph("coffee", "skimage", "data/coffee.png", (44, 0, 512, 400), "a cup of coffee",
               "CC0 by the photographer", "Rachel Michetti, courtesy of Pikolo Espresso Bar"),
    Photograph("chelsea", "skimage", "data/chelsea.png", (0, 0, 450, 300), "Chelsea the cat",
               "CC0 by the photographer", "Stefan van der Walt"),
    Photograph("rocket", "skimage", "data/rocket.jpg", (64, 0, 512, 426), "a Falcon 9 on the launch pad",
               "public domain, released by SpaceX", "https://www.flickr.com/photos/spacexphotos/16511594820/"),
    Photograph("china", "sklearn", "datasets/images/china.jpg", (0, 0, 512, 426), "Summer Palace, Beijing", "CC BY 2.0",
               "danielbuechele, https://www.flickr.com/photos/danielbuechele/6061409035/"),
    Photograph("flower", "sklearn", "datasets/images/flower.jpg", (64, 0, 512, 426), "a dahlia", "CC BY 2.0",
               "vultilion, https://www.flickr.com/photos/vultilion/6056698931/ "
               "(the README of scikit-learn names danielbuechele as author beside this address)"),
    Photograph("grace_hopper", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg", (0, 0, 512, 512),
               "Commodore Grace M. Hopper", "public domain, work of the U.S. Navy",
               "https://commons.wikimedia.org/wiki/File:Grace_Hopper.jpg (named in the file's comment)"),
)

#: Colour pictures in the same folders that are not used, with the reason.
LEFT_OUT = {
    "skimage/data/motorcycle_left.png, motorcycle_right.png": "photographs, but no licence is stated (Middlebury 2014)",
    "skimage/data/hubble_deep_field.jpg": "not a natural scene: stacked telescope exposures",
    "skimage/data/retina.jpg, ihc.png": "not natural scenes: medical pictures",
    "skimage/data/color.png, chessboard_RGB.png, phantom.png, horse.png, logo.png": "drawn, not photographed",
    "skimage/data/no_time_for_that_tiny.gif": "14 x 25 pixels",
    "matplotlib/mpl-data/sample_data/Minduka_Present_Blue_Pack.png, logo2.png": "drawn, not photographed",
}


def load_photograph(photograph: Photograph) -> np.ndarray:
    """Returns the cropped photograph, uint8 of shape (H, W, 3).

    Raises:
        FileNotFoundError: the package is not installed, or its version has no such file.
    """
    spec = find_spec(photograph.package)  # finds the folder without importing the package
    path = Path(spec.origin).parent / photograph.file if spec else Path(photograph.file)
    if not path.is_file():
        raise FileNotFoundError(f"Expected the photograph {photograph.file} in the installed package "
                                f"{photograph.package}, found none; install the versions in requirements.lock.")
    left, top, width, height = photograph.crop
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").crop((left, top, left + width, top + height)))
