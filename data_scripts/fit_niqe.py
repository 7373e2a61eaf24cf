"""Learns the pristine model of NIQE that ships with the package from the 24 Kodak photographs.

``python -m iqa_lab.data_scripts.fit_niqe KODAK_FOLDER``, the folder of kodim01.png to kodim24.png
(http://r0k.us/graphics/kodak/, released by the Eastman Kodak Company for unrestricted usage).

As in the paper: of each photograph the 96 x 96 patches whose mean sigma exceeds 0.75 of the sharpest patch's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from iqa_lab import load_image
from iqa_lab.data_scripts.kodak import kodak_photographs
from iqa_lab.data_scripts.shipped_arrays import write_arrays
from iqa_lab.embedded import SHIPPED
from iqa_lab.no_reference.niqe import SHARPNESS_THRESHOLD, niqe_features, weighted_mean_and_covariance


def sharp_features(path: Path) -> torch.Tensor:
    """Returns the features of one photograph's sharpest patches that are complete, shape (patches, 36)."""
    features, complete, sharpness = niqe_features(load_image(path).double())
    sharp = sharpness > SHARPNESS_THRESHOLD * sharpness.amax(1, keepdim=True)
    return features[sharp & complete]


def fit(paths: list[Path]) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Returns mean (36,), covariance (36, 36) and the number of patches behind them."""
    features = torch.cat([sharp_features(path) for path in paths])[None]
    mean, covariance = weighted_mean_and_covariance(features, torch.ones(features.shape[:2], dtype=torch.bool))
    return mean[0], covariance[0], features.shape[1]


def main(folder: Path) -> None:
    """Writes iqa_lab/embedded/weights/niqe_pristine.npz.

    Raises:
        FileNotFoundError: not all 24 photographs are in the folder.
    """
    paths = kodak_photographs(folder)
    mean, covariance, n_patches = fit(paths)
    write_arrays(SHIPPED / "weights" / "niqe_pristine.npz", {"mean": mean.numpy(), "covariance": covariance.numpy()})
    print(f"{n_patches} patches, condition number {torch.linalg.cond(covariance):.3g}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
