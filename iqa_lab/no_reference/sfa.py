"""SFA: statistics of what a classification network sees in overlapping patches, and partial least squares.

Paper: D. Li, T. Jiang, M. Jiang, "Exploiting high-level semantics for no-reference image quality assessment of realistic
    blur images", ACM Multimedia 2017, doi:10.1145/3123266.3123322; D. Li, T. Jiang, W. Lin, M. Jiang, "Which has better
    visual quality: the clear blue sky or a blurry animal?", IEEE Transactions on Multimedia 21(5), 2019,
    doi:10.1109/TMM.2018.2875354.
Reference: the authors' code, lidq92/SFA at 6471727 (SFA.m, SFAfeature.m, TMMintra.m; MATLAB and Caffe). Written from the
    code, the papers were not at hand.
Deviations: (1) The network is torchvision's ResNet-50, not Caffe's: what the authors' regressors learned from is not what
    it sees, and their scores are not to be had this way. (2) Images below 112 pixels are padded to one patch; the code
    fails there. (3) The three predictions are averaged, as in 2017; the code of 2019 weights them by their SROCC in a
    cross-validation (0.3334, 0.3331, 0.3335 in its file), and chooses between the last maps of three stages, here
    ``layer``. Its PyTorch version takes moments about 0 instead of the mean, numpy's quantiles, features scaled to equal
    variance, and one patch less where the grid fits without padding: not reproduced.
Chapter: 30
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.checkpoints import check_names, read_state
from iqa_lab.backbones.features import FeatureExtractor, few_crops
from iqa_lab.images import check_images
from iqa_lab.no_reference.regression import RegressorEnsemble, load_fitting
from iqa_lab.ops.elementwise import safe_power, safe_sqrt

SIDE, STRIDE = 224, 112  # SFA.m: patchSize and stride
QUANTILES = (1.0, 0.75, 0.5, 0.25, 0.0)  # feature_q4 to feature_q0
MOMENTS = (2, 3, 4)  # central ones, each under its own root
STAGES = {"res3d": "layer2", "res4f": "layer3", "res5c": "layer4"}  # TMMintra.m: layer_names -> torchvision's
MINIMUM_SIDE = 32
CONVERSION = ("import h5py, numpy; f = h5py.File('NAME.mat'); "
              "numpy.savez('NAME.npz', **{k: f[k][()] for k in f if hasattr(f[k], 'shape')})")
NO_REGRESSOR = ("Expected parameters of SFA, found none. Its authors' models/SFAPLSRtrainedonLIVE.mat and "
                "SFAtrainedonLIVEforTMM.mat (github.com/lidq92/SFA) belong to Caffe's ResNet-50, see SFA.from_official. "
                "Train regressors with `iqa-lab train sfa` and give parameters=Path('.../regressor.npz'), or ask for "
                "parameters='random'.")


class SFA(nn.Module):
    """Quality as the mean score of three regressors, each with other statistics over the patches; lower is better.

    Args:
        backbone, weights: as :class:`iqa_lab.backbones.features.FeatureExtractor`.
        layer: of the backbone, whose maps are averaged in each patch.
        parameters: of the regressors, a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`; the path of an .npz file
            that ``iqa-lab train`` wrote; ``"untrained"`` for none; or ``"random"``. There is no default.

    Raises:
        FileNotFoundError: no parameters given, or a file is absent. ValueError: unknown backbone or layer, or regressors of
            other features.
    """

    def __init__(self, *, backbone: str = "resnet50", layer: str = "layer4", weights: str | Path = "imagenet",
                 parameters: str | Path | None = None) -> None:
        super().__init__()
        if parameters is None:
            raise FileNotFoundError(NO_REGRESSOR)
        self.layer = layer
        self.backbone = FeatureExtractor(backbone, (layer,), weights=weights)
        channels = self.backbone(torch.zeros(1, 3, 64, 64))[layer].shape[1]
        #: How many features each regressor takes.
        self.parts = 2 * channels, len(QUANTILES) * channels, (1 + len(MOMENTS)) * channels
        self.regressor = load_fitting(parameters, self.parts, NO_REGRESSOR)

    @classmethod
    def from_official(cls, path: str | Path, *, weights: str | Path) -> SFA:
        """Returns the system with the authors' three regressors (LIVE's blurred images, DMOS).

        Their numbers are meant for Caffe's ResNet-50; with torchvision's weights scores mean nothing. Checked by layout
        only: no file of that network was at hand.

        Args:
            path: an .npz made of a .mat of theirs, which is HDF5, with the command in ``CONVERSION``.
            weights: of ResNet-50, as :class:`iqa_lab.backbones.features.FeatureExtractor`.

        Raises:
            FileNotFoundError: a file is absent. ValueError: other arrays, or HDF5, with the command that converts it.
        """
        path = Path(path)
        if path.suffix == ".mat":
            raise ValueError(f"Expected an .npz file, got {path.name}; make one with: python -c \"{CONVERSION}\"")
        state = read_state(path)
        of_2019 = "bestLayer" in state
        check_names(("beta1", "beta2", "beta3", *(("bestLayer", "w") if of_2019 else ())), state, path)
        layer = STAGES["".join(map(chr, state["bestLayer"].ravel().tolist()))] if of_2019 else "layer4"
        system = cls(layer=layer, weights=weights, parameters="untrained")
        shares = 3 * state["w"].ravel() if of_2019 else torch.ones(3)
        arrays = {}
        for k, (share, width) in enumerate(zip(shares.tolist(), system.parts, strict=True)):
            bias, *slopes = (share * state[f"beta{k + 1}"].ravel()).tolist()
            if len(slopes) != width:
                raise ValueError(f"Expected {width + 1} numbers in beta{k + 1} of {path}, got {len(slopes) + 1}; take the "
                                 "authors' file for ResNet-50.")
            arrays |= {f"{k}.weights": slopes, f"{k}.bias": bias}
        system.regressor = RegressorEnsemble(arrays)
        return system

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the mean of the three predictions, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 32 pixels.
        """
        return self.regressor(self.features(image)).to(image.dtype)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the three groups of statistics over the patches, float64, shape (N, 11 C').

        ``parts`` says where a group ends. Args: as :meth:`forward`.
        """
        check_images(image, minimum_side=MINIMUM_SIDE)
        x = self.patch_features(image).double()  # odd moments of symmetric values are then 0, and no rounding error
        return torch.cat((mean_and_deviation(x), quantiles(x), moments(x)), 1)

    def patch_features(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the average maps of each patch, in the network's type, shape (N, P, C'). Args: as :meth:`forward`."""
        patches = overlapping_patches(image)
        maps = [self.backbone(some.contiguous(memory_format=torch.channels_last))[self.layer]
                for some in few_crops(patches.flatten(0, 1))]
        return torch.cat([some.mean((2, 3)) for some in maps]).unflatten(0, patches.shape[:2])


def overlapping_patches(image: torch.Tensor) -> torch.Tensor:
    """Returns patches of 224 x 224 at distances of 112, shape (N, P, C, 224, 224).

    What they reach beyond the right and the lower border is black; there is always something, as in im2patches.
    """
    counts = [max(1, (side - SIDE) // STRIDE + 2) for side in image.shape[2:]]
    missing = [(count - 1) * STRIDE + SIDE - side for count, side in zip(counts, image.shape[2:])]
    padded = F.pad(image, (0, missing[1], 0, missing[0]))
    return padded.unfold(2, SIDE, STRIDE).unfold(3, SIDE, STRIDE).permute(0, 2, 3, 1, 4, 5).flatten(1, 2)


def mean_and_deviation(x: torch.Tensor) -> torch.Tensor:
    """Returns means and standard deviations over the patches, of features (N, P, C), shape (N, 2 C).

    The divisor of the variance is P - 1; of a single patch it is 0, as MATLAB's.
    """
    deviations = x - x.mean(1, keepdim=True)
    return torch.cat((x.mean(1), safe_sqrt(deviations.square().sum(1) / max(1, x.shape[1] - 1))), 1)


def quantiles(x: torch.Tensor) -> torch.Tensor:
    """Returns maximum, upper quartile, median, lower quartile and minimum over the patches, shape (N, 5 C).

    As MATLAB's prctile: the k-th of n sorted values is the quantile (k - 0.5) / n.

    Args:
        x: shape (N, P, C).
    """
    n, ordered = x.shape[1], x.sort(1).values
    place = (torch.tensor(QUANTILES, device=x.device, dtype=torch.float64) * n - 0.5).clamp(0, n - 1)
    low = place.floor().long()
    share = (place - low).to(x.dtype)[:, None]
    found = ordered[:, low] * (1 - share) + ordered[:, (low + 1).clamp_max(n - 1)] * share  # N, 5, C
    return found.flatten(1)


def moments(x: torch.Tensor) -> torch.Tensor:
    """Returns the mean over the patches and the roots of the central moments 2, 3 and 4, with their sign, shape (N, 4 C).

    Args:
        x: shape (N, P, C).
    """
    mean = x.mean(1)
    deviations = x - mean[:, None]
    central = [(deviations**order).mean(1) for order in MOMENTS]
    return torch.cat((mean, *(moment.sign() * safe_power(moment.abs(), 1 / order)
                              for moment, order in zip(central, MOMENTS))), 1)
