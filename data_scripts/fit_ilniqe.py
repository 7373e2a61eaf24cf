"""Learns the pristine model of IL-NIQE that ships with the package from the 24 Kodak photographs.

``python -m iqa_lab.data_scripts.fit_ilniqe KODAK_FOLDER``, the folder of kodim01.png to kodim24.png
(http://r0k.us/graphics/kodak/, released by the Eastman Kodak Company for unrestricted usage).

As in the authors' training.m: of each photograph the blocks whose mean sigma exceeds 0.78 of the sharpest block's, and
of their principal axes 92 % in number. The authors' 90 photographs give 430 axes. 24 have some hundred such blocks, too
few for that, so each photograph also counts mirrored, upside down and transposed: eight views of one content.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from iqa_lab import load_image
from iqa_lab.data_scripts.kodak import kodak_photographs
from iqa_lab.data_scripts.shipped_arrays import write_arrays
from iqa_lab.embedded import SHIPPED
from iqa_lab.no_reference.ilniqe import RESERVED_RATIO, SHARPNESS_THRESHOLD, ilniqe_features


def views(image: torch.Tensor) -> list[torch.Tensor]:
    """Returns the image in its eight orientations, the first one unchanged."""
    upright = [image, image.flip(-1), image.flip(-2), image.flip(-2, -1)]
    return upright + [view.mT for view in upright]


def sharp_features(image: torch.Tensor) -> torch.Tensor:
    """Returns the features of the sharpest blocks of one image that are complete, shape (blocks, 468)."""
    features, complete, sharpness = ilniqe_features(image)
    return features[(sharpness > SHARPNESS_THRESHOLD * sharpness.amax(1, keepdim=True)) & complete]


def principal_axes(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the mean (F,), the main principal axes (F, D) as columns, and the variance (D,) along each.

    D is 92 % of the number of features or of samples, whichever is less.

    Args:
        features: shape (samples, F).
    """
    centre = features.mean(0)
    _, singular, axes = torch.linalg.svd(features - centre, full_matrices=False)
    kept = int(RESERVED_RATIO * min(features.shape))
    axes = axes[:kept] * axes[:kept].sum(1, keepdim=True).sign()  # which way an axis points would depend on the library
    return centre, axes.T, singular[:kept].square() / (len(features) - 1)


def main(folder: Path) -> None:
    """Writes iqa_lab/embedded/weights/ilniqe_pristine.npz.

    Raises:
        FileNotFoundError: not all 24 photographs are in the folder.
    """
    paths = kodak_photographs(folder)
    features = torch.cat([sharp_features(view) for path in paths for view in views(load_image(path))])
    centre, basis, variance = principal_axes(features)
    write_arrays(SHIPPED / "weights" / "ilniqe_pristine.npz",
                 {"centre": centre.numpy(), "basis": basis.numpy(), "variance": variance.numpy()})
    print(f"{len(features)} blocks, {len(variance)} axes, standard deviations {variance[-1].sqrt():.3g} to "
          f"{variance[0].sqrt():.3g}")


if __name__ == "__main__":
    with torch.inference_mode():
        main(Path(sys.argv[1]))
