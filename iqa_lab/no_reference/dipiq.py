"""dipIQ: a network learns from pairs of images whose order three full-reference metrics agree on, without any opinion.

Paper: K. Ma, W. Liu, T. Liu, Z. Wang, D. Tao, "dipIQ: blind image quality assessment by learning-to-rank discriminable
    image pairs", IEEE Transactions on Image Processing 26(8), 2017, doi:10.1109/TIP.2017.2708503.
Reference: the authors' MATLAB code that scores an image, as nrff_dipIQ.m of NTIA/NRMetricFramework has it. Their network,
    scaling and codebook were not at hand, and their training is not public. Neither was the paper at hand: what is from
    memory is marked so.
Deviations: (1) The codebook that ships with CORNIA is this project's, not the authors', and patches lie on a grid (see
    ``cornia.py``). (2) Three hidden layers of 256, 128 and 3 units are from memory; the code takes any number. (3) How
    certain a pair is, a raised cosine of the gap, and that it weights the loss, is from memory. (4) First weights are
    He's. (5) ``descriptor="brisque"`` is not in the paper: 36 features for small runs instead of 20,000. (6) dilIQ's
    code is not public: ListNet of Z. Cao et al. (ICML 2007) with the probabilities of the first place; its targets are ours.
Chapter: 29

Training: pairs come from :func:`iqa_lab.evaluation.waterloo.discriminable_pairs`, with the quality of MS-SSIM, VIF and
GMSD (from memory) on the scale 0 to 100 by :func:`iqa_lab.evaluation.waterloo.opinion_scale`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from scipy.io import loadmat
from torch import nn

from iqa_lab.backbones.checkpoints import load_without, read_state
from iqa_lab.backbones.features import initialise
from iqa_lab.backbones.weights import find_weights
from iqa_lab.no_reference.brisque import brisque_features
from iqa_lab.no_reference.codebooks import load_codebook
from iqa_lab.no_reference.cornia import cornia_features

HIDDEN = (256, 128, 3)  # from memory
T_C = 20.0  # from memory: points of 0 to 100; a pair with a larger gap is certain
CORNIA, BRISQUE = "cornia", "brisque"
BRISQUE_FEATURES = 36
NO_NETWORK = ("Expected parameters of dipIQ, found none. The authors' netPara.mat, normalizationParaCORNIA.mat and "
              "CSIQ_codebook_BS7.mat come with their dipIQ.rar; give all three to DipIQ.from_official. Or train one with "
              "iqa_lab.training.discriminable.train_ranking and save its state, or ask for parameters='random'.")


class DipIQ(nn.Module):
    """A score whose order is that of the quality-discriminable pairs it learned; higher is better.

    The scale means nothing: compare ranks, or map it to opinions first.

    Args:
        parameters: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`; a file with this module's state, with or
            without its codebook; or ``"random"`` for an untrained network. There is no default.
        descriptor: ``"cornia"``, the paper's features, or ``"brisque"``.
        codebook: of CORNIA, as :class:`iqa_lab.no_reference.cornia.CORNIA` takes it.
        hidden: units of each hidden layer.

    Raises:
        FileNotFoundError: no parameters given, or a file is absent.
        ValueError: another descriptor, or a file with other keys or shapes.
    """

    def __init__(self, *, parameters: str | Path | None = None, descriptor: str = CORNIA,
                 codebook: str | Path = "cornia_codebook", hidden: Sequence[int] = HIDDEN) -> None:
        super().__init__()
        if parameters is None:
            raise FileNotFoundError(NO_NETWORK)
        if descriptor not in (CORNIA, BRISQUE):
            raise ValueError(f"Expected the descriptor {CORNIA} or {BRISQUE}, got {descriptor!r}.")
        self.parameters_name, self.untrained, self.descriptor = str(parameters), parameters == "random", descriptor
        self.codebook = load_codebook(codebook) if descriptor == CORNIA else None
        n_features = BRISQUE_FEATURES if self.codebook is None else 2 * len(self.codebook.codewords)
        self.register_buffer("mean", torch.zeros(n_features, dtype=torch.float64))
        self.register_buffer("deviation", torch.ones(n_features, dtype=torch.float64))
        self.layers = nn.ModuleList(nn.Linear(*sizes) for sizes in pairwise((n_features, *hidden, 1)))
        if self.untrained:
            initialise(self.layers)
        else:
            path = find_weights(parameters)
            load_without(self, read_state(path), path, "codebook.")

    @classmethod
    def from_official(cls, network: str | Path, *, scaling: str | Path, codebook: str | Path) -> DipIQ:
        """Returns the authors' system; checked by layout only, no such file was at hand.

        Args:
            network: netPara.mat, a row of structures whose ``value`` is a weight (inputs, units) or a bias (units, 1).
            scaling: normalizationParaCORNIA.mat, with ``trainMu`` and ``trainStd``.
            codebook: CSIQ_codebook_BS7.mat, with CSIQ_whitening_param.mat beside it.

        Raises:
            FileNotFoundError: no such file. ValueError: files that do not fit together.
        """
        values = [np.atleast_2d(entry["value"]) for entry in loadmat(network)["netPara"].ravel()]
        arrays = loadmat(scaling)
        state = {"mean": arrays["trainMu"].ravel(), "deviation": arrays["trainStd"].ravel()}
        for number, (weight, bias) in enumerate(zip(values[::2], values[1::2], strict=True)):
            state |= {f"layers.{number}.weight": weight.T, f"layers.{number}.bias": bias.ravel()}
        system = cls(parameters="random", codebook=codebook, hidden=[weight.shape[1] for weight in values[:-2:2]])
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in state.items()}
        load_without(system, tensors, network, "codebook.")
        system.parameters_name, system.untrained = str(network), False
        return system

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the score, shape (N,), on a scale of its own.

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 7 pixels for CORNIA, 14 for BRISQUE.
        """
        return self.quality(self.features(image)).to(image.dtype)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Returns what the network takes, float64 (N, D), not yet scaled. Args: as :meth:`forward`."""
        return brisque_features(image) if self.codebook is None else cornia_features(image, self.codebook)

    def quality(self, features: torch.Tensor) -> torch.Tensor:
        """Returns f, the score of each row of features, (..., D) -> (...), in the type of the network."""
        x = ((features - self.mean) / self.deviation).to(self.layers[0].weight.dtype)
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x).squeeze(-1)

    def rank_loss(self, first: torch.Tensor, second: torch.Tensor, certainty: torch.Tensor) -> torch.Tensor:
        """Returns the mean of certainty * log(1 + exp(-(f(first) - f(second)))): RankNet's cross-entropy.

        Args:
            first, second: features of the better and of the worse image of each pair, shape (B, D).
            certainty: of each pair, 0 to 1, as :func:`certainty` gives it, shape (B,).
        """
        lead = self.quality(first) - self.quality(second)
        return (certainty.to(lead) * F.softplus(-lead)).mean()

    def list_loss(self, lists: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns ListNet's cross-entropy of the probabilities to be first in the list, for dilIQ.

        Each image is first with the probability exp(t) / sum exp(t) by the targets, and likewise by the scores.

        Args:
            lists: features of n images in each of B lists, shape (B, n, D).
            targets: t, higher is better, shape (B, n); their differences say how certain the first place is.
        """
        scores = self.quality(lists)
        return F.cross_entropy(scores, targets.to(scores).softmax(1))

    @torch.no_grad()
    def fit_scaling(self, features: torch.Tensor) -> None:
        """Makes the training features (n, D) have mean 0 and variance 1; those that are constant are only shifted."""
        variance, mean = torch.var_mean(features.to(self.mean), 0)
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(variance > 0, variance, 1).sqrt())

    @torch.no_grad()
    def rescale_output(self, mean: float, scale: float) -> None:
        """Makes the network return scale * score + mean, by changing the last layer."""
        self.layers[-1].weight.mul_(scale)
        self.layers[-1].bias.mul_(scale).add_(mean)

    def extra_repr(self) -> str:
        untrained = " (UNTRAINED: random weights)" if self.untrained else ""
        return f"parameters={Path(self.parameters_name).name!r}{untrained}, descriptor={self.descriptor!r}"


def certainty(gap: ArrayLike, *, threshold: float = T_C) -> np.ndarray:
    """Returns (1 - cos(pi gap / threshold)) / 2, and 1 from the threshold on: how certain the order of a pair is.

    Args:
        gap: smallest difference of the full-reference models, 0 or more, on their common scale.
        threshold: T_c, on that scale.
    """
    return (1 - np.cos(np.pi * np.minimum(np.asarray(gap, dtype=float) / threshold, 1))) / 2


def discriminable_lists(quality: ArrayLike, lists: ArrayLike, *, threshold: float) -> np.ndarray:
    """Returns those of the lists in which each image is better than the next by more than the threshold, for all models.

    Args:
        quality: of R full-reference models on one common scale, higher is better, shape (R, n).
        lists: positions of images, the best first (the levels of one distortion, say), shape (m, k).
        threshold: smallest gap between neighbours.
    """
    quality, lists = np.asarray(quality, dtype=float), np.asarray(lists)
    gaps = quality[:, lists[:, :-1]] - quality[:, lists[:, 1:]]  # R, m, k - 1
    return lists[(gaps > threshold).all((0, 2))]
