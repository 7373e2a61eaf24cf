"""DIQaM-NR and WaDIQaM-NR: a deep network scores patches of one image, a second part says how much each patch counts.

Paper: S. Bosse, D. Maniry, K.-R. Mueller, T. Wiegand, W. Samek, "Deep neural networks for no-reference and
    full-reference image quality assessment", IEEE Transactions on Image Processing 27(1), 2018,
    doi:10.1109/TIP.2017.2760518.
Reference: the authors' test code in Chainer, dmaniry/deepIQA at 51dece9 (nr_model.py, evaluate.py). Their training code
    is not public. Written from the code, the paper was not at hand.
Deviations: (1) None in the network. An image is scored by all patches of the grid, as in the authors' script; by its
    README the numbers of the paper come from randomly placed patches. (2) ``peak=1`` (images in [0, 1], as pyiqa and the
    port lidq92/WaDIQaM train) is an option; both of them also drop the last row and column of patches where a side is a
    multiple of 32, and pyiqa adds 1e-8 to the weights instead of 1e-6: not reproduced. (3) ``width`` makes all layers
    narrower, for training without a GPU. (4) First weights as in ``wadiqam_fr.py``: Chainer's defaults, but every patch
    begins with the weight 1, because with Chainer's the ReLU behind the weights is dead in half of all networks.
Chapter: 26
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.checkpoints import load_strictly
from iqa_lab.backbones.weights import find_weights
from iqa_lab.full_reference.wadiqam_fr import (CHANNELS, CONVERSION, EPSILON, PATCH, PEAK, create_head, create_trunk,
                                               grid_patches, narrowed, own_names, read_parameters, start_even, weighted_mean)
from iqa_lab.images import NETWORK_PIXELS, check_images, few_at_a_time

#: A fully connected layer in the files of the port lidq92/WaDIQaM -> in the authors'.
PORT_NAMES = {"fc1q_nr": "fc1", "fc2q_nr": "fc2", "fc1w_nr": "fc1_a", "fc2w_nr": "fc2_a"}
NO_NETWORK = ("Expected parameters of (Wa)DIQaM-NR, found none. The authors' networks are models/nr_live_weighted.model, "
              "nr_tid_weighted.model (WaDIQaM), nr_live_patchwise.model and nr_tid_patchwise.model (DIQaM) of "
              f"github.com/dmaniry/deepIQA (MIT), in Chainer's HDF5; make an .npz of one with: python -c \"{CONVERSION}\", "
              "put it anywhere, and give parameters=Path('NAME.npz'). Or train one with iqa_lab.training.train and give its "
              "weights.pt, or ask for parameters='random'.")


class WaDIQaMNR(nn.Module):
    """Quality as the mean of patch scores, weighted by the network itself; the direction is that of its opinion scores.

    Args:
        parameters: a file with this module's state or in another layout that :meth:`from_official` lists; a name in
            :data:`iqa_lab.backbones.weights_table.WEIGHTS`; or ``"random"`` for an untrained network. There is no default.
        weighted: WaDIQaM; False for DIQaM, where all patches count the same.
        peak: what 1 in the image becomes: 255, or 1 for networks trained so.
        width: factor on the number of channels; 1 is the paper's network.

    Raises:
        FileNotFoundError: no parameters given, or the file is absent; says where the authors' are.
        ValueError: a file with other keys or shapes.
    """

    patch_size = PATCH

    def __init__(self, *, parameters: str | Path | None = None, weighted: bool = True, peak: float = PEAK,
                 width: float = 1.0) -> None:
        super().__init__()
        if parameters is None:
            raise FileNotFoundError(NO_NETWORK)
        self.parameters_name, self.untrained = str(parameters), parameters == "random"
        self.peak, self.width = peak, width
        features = narrowed(CHANNELS[-1], width)
        self.trunk, self.quality = create_trunk(width), create_head(features, width)
        self.importance = create_head(features, width) if weighted else None
        if self.untrained:
            start_even(self)
        else:
            path = find_weights(parameters)
            load_strictly(self, names_of_any_layout(read_parameters(path), weighted=weighted), path)

    @classmethod
    def from_official(cls, path: str | Path, *, weighted: bool = True, peak: float = PEAK) -> WaDIQaMNR:
        """Returns the network of a published file, strictly loaded: all names and shapes must be right.

        Known layouts are the authors' (``conv1/W``, an .npz of their HDF5), the port lidq92/WaDIQaM's (``conv1.weight``,
        ``fc1q_nr.weight``) and pyiqa's (``features.0.weight``). Checked by layout only: no published file was at hand.

        Args:
            path: the file.
            weighted: whether it is a WaDIQaM; authors and port save the same names for a DIQaM.
            peak: 255 for the authors' networks, 1 for the port's and pyiqa's.

        Raises:
            FileNotFoundError: no such file. ValueError: HDF5, with the command that converts it, or another network.
        """
        return cls(parameters=Path(path), weighted=weighted, peak=peak)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the weighted mean of the scores of all non-overlapping patches, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 32 pixels; what lies beyond the last whole
                patch is not looked at.
        """
        scores, weights = self.maps(image)
        return weighted_mean(scores.flatten(1), weights.flatten(1))

    def maps(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns score and weight of each patch, both of shape (N, H // 32, W // 32).

        Args:
            image: as :meth:`forward`.

        Returns:
            Scores on the scale of the opinion scores; weights above 0, 1 for DIQaM.
        """
        check_images(image, minimum_side=PATCH)
        patches = few_at_a_time(grid_patches(image).flatten(0, 1), pixels=NETWORK_PIXELS)
        parts = zip(*(self.patch_scores_and_weights(few) for few, in patches), strict=True)
        scores, weights = (torch.cat(part).view(-1, *(side // PATCH for side in image.shape[2:])) for part in parts)
        return scores, weights

    def patch_scores_and_weights(self, patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns score and weight of each patch, both of shape (P,); weights are above 0, 1 for DIQaM.

        Args:
            patches: shape (P, C, 32, 32), RGB or gray in [0, 1].
        """
        x = self.peak * patches.to(self.quality.fc1.weight.dtype)
        features = self.trunk(x.expand(-1, 3, -1, -1))
        scores = self.quality(features).squeeze(1).to(patches.dtype)
        if self.importance is None:
            return scores, torch.ones_like(scores)
        return scores, (F.relu(self.importance(features)) + EPSILON).squeeze(1).to(patches.dtype)

    def loss(self, crops: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the mean absolute error: of the images' scores for WaDIQaM, of all patches' scores for DIQaM.

        Args:
            crops: shape (N, P, C, 32, 32): P patches of each of N images.
            targets: opinion scores, shape (N,).
        """
        found = self.patch_scores_and_weights(crops.flatten(0, 1))
        scores, weights = (part.view(crops.shape[:2]) for part in found)
        if self.importance is None:
            return F.l1_loss(scores, targets[:, None].expand_as(scores))
        return F.l1_loss(weighted_mean(scores, weights), targets)

    @torch.no_grad()
    def rescale_output(self, mean: float, scale: float) -> None:
        """Makes the network return scale * score + mean, by changing the last layer of the scores."""
        self.quality.fc2.weight.mul_(scale)
        self.quality.fc2.bias.mul_(scale).add_(mean)

    def extra_repr(self) -> str:
        untrained = " (UNTRAINED: random weights)" if self.untrained else ""
        return (f"parameters={Path(self.parameters_name).name!r}{untrained}, weighted={self.importance is not None}, "
                f"peak={self.peak:g}, width={self.width:g}")


def names_of_any_layout(state: Mapping[str, torch.Tensor], *, weighted: bool) -> dict[str, torch.Tensor]:
    """Returns the state of any known layout under this module's names; unknown names stay as they are.

    Authors and port also save the part for the weights of a DIQaM, which never used it: that part is left out. In this
    module's own layout it is not, so that a WaDIQaM is no DIQaM.
    """
    renamed = {}
    for name, tensor in state.items():
        layer, dot, kind = name.partition(".")
        renamed[PORT_NAMES.get(layer, layer) + dot + kind] = tensor
    return {name: tensor for name, tensor in own_names(renamed).items()
            if weighted or name in state or not name.startswith("importance.")}
