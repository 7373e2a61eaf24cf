"""Learns the codebooks of CORNIA and HOSA that ship with the package, from patches without any opinion score.

``python -m iqa_lab.data_scripts.learn_codebooks KODAK_FOLDER``, the folder of kodim01.png to kodim24.png
(http://r0k.us/graphics/kodak/, released by the Eastman Kodak Company for unrestricted usage).

The authors learned theirs on the CSIQ database. Here the 24 Kodak photographs stand in, pristine and under five of the
six kinds of distortion of CSIQ (all but pink noise) in five levels, made by ``iqa_lab.distortions``. So these are not
the authors' codebooks, and features and scores differ from theirs. As theirs: 7 x 7 patches, normalised, whitened,
K-means with 10,000 (CORNIA) and 100 (HOSA) codewords. The same file comes out each time on one machine.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from iqa_lab.data_scripts.kodak import kodak_photographs
from iqa_lab.data_scripts.shipped_arrays import write_arrays
from iqa_lab.distortions import N_LEVELS, distort
from iqa_lab.embedded import SHIPPED
from iqa_lab.images import read_pixels
from iqa_lab.no_reference.codebooks import SIDE, fit_whitening, normalise
from iqa_lab.no_reference.hosa import SKEWNESS_GUARD
from iqa_lab.ops.color import rgb_to_luma_matlab

KINDS = ("jpeg", "jpeg2000", "gaussian_blur", "white_noise", "contrast_change")
PATCHES_PER_IMAGE = 800  # of each of the 24 * (1 + 5 * 5) = 624 images: half a million
N_CODEWORDS = {"cornia_codebook": 10_000, "hosa_codebook": 100}
EPOCHS, BATCH, SEED = 10, 10_000, 0


def versions(path: Path):
    """Yields the photograph and its distorted versions, uint8 (H, W, 3)."""
    pristine = read_pixels(path)
    yield pristine
    for kind in KINDS:
        for level in range(1, N_LEVELS + 1):
            yield distort(pristine, kind, level, SEED)


def random_patches(pixels: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Returns patches of the gray image at random places, shape (800, 7, 7), in 0..255."""
    gray = 255 * rgb_to_luma_matlab(torch.from_numpy(pixels.transpose(2, 0, 1) / 255)[None])[0, 0].numpy()
    windows = np.lib.stride_tricks.sliding_window_view(gray, (SIDE, SIDE))
    return windows[random.randint(0, windows.shape[0], PATCHES_PER_IMAGE),
                   random.randint(0, windows.shape[1], PATCHES_PER_IMAGE)]


def whitened(patches: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns the arrays mean and whitening, and the whitened patches as float32 (n, 49).

    Args:
        patches: shape (n, 49), in the order of the codebook.
    """
    normalised = normalise(torch.from_numpy(patches)).numpy()
    mean, whitening = fit_whitening(normalised)
    return {"mean": mean, "whitening": whitening}, ((normalised - mean) @ whitening).astype(np.float32)


def k_means(points: np.ndarray, n_codewords: int) -> MiniBatchKMeans:
    """Returns K-means after ten passes through the points; a codeword nearest to none stays the point it was."""
    model = MiniBatchKMeans(n_codewords, init="random", n_init=1, init_size=len(points), batch_size=BATCH,
                            max_iter=EPOCHS, max_no_improvement=None, reassignment_ratio=0, compute_labels=False,
                            random_state=SEED)
    return model.fit(points)


def cluster_moments(points: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Returns mean (the codewords), variance and skewness of the clusters, each (K, 49)."""
    clusters = [points[labels == label].astype(np.float64) for label in np.unique(labels)]
    means = [cluster.mean(0) for cluster in clusters]
    variances = [cluster.var(0) for cluster in clusters]
    thirds = [((cluster - mean) ** 3).mean(0) for cluster, mean in zip(clusters, means, strict=True)]
    skewness = [third / (variance**1.5 + SKEWNESS_GUARD) for third, variance in zip(thirds, variances, strict=True)]
    return {"codewords": np.stack(means), "variance": np.stack(variances), "skewness": np.stack(skewness)}


def learn_cornia(patches: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the codebook of CORNIA, patches read column by column as MATLAB's im2col does."""
    whitening, points = whitened(patches.transpose(0, 2, 1).reshape(len(patches), -1))
    centres = k_means(points, N_CODEWORDS["cornia_codebook"]).cluster_centers_
    return whitening | {"codewords": centres.astype(np.float16)}


def learn_hosa(patches: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the codebook of HOSA, patches read row by row as the authors' compute_patches does."""
    whitening, points = whitened(patches.reshape(len(patches), -1))
    return whitening | cluster_moments(points, k_means(points, N_CODEWORDS["hosa_codebook"]).predict(points))


def main(folder: Path) -> None:
    """Writes iqa_lab/embedded/weights/cornia_codebook.npz and hosa_codebook.npz, and prints where they come from.

    Raises:
        FileNotFoundError: not all 24 photographs are in the folder.
    """
    paths = kodak_photographs(folder)
    random = np.random.RandomState(SEED)
    patches = np.concatenate([random_patches(pixels, random) for path in tqdm(paths, unit="photo")
                              for pixels in versions(path)])
    for name, learn in (("cornia_codebook", learn_cornia), ("hosa_codebook", learn_hosa)):
        with threadpool_limits(1):  # sums in one order, so that the file is the same each time
            arrays = learn(patches)
        path = SHIPPED / "weights" / f"{name}.npz"
        write_arrays(path, arrays)
        print(f"{path.name}: {len(arrays['codewords'])} codewords from {len(patches)} patches, not the authors'; "
              f"SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
