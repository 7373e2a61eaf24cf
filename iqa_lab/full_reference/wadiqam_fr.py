"""DIQaM-FR and WaDIQaM-FR: one network looks at both patches of a pair, a second part says how much the patch counts.

Paper: S. Bosse, D. Maniry, K.-R. Mueller, T. Wiegand, W. Samek, "Deep neural networks for no-reference and
    full-reference image quality assessment", IEEE Transactions on Image Processing 27(1), 2018,
    doi:10.1109/TIP.2017.2760518.
Reference: the authors' test code in Chainer, dmaniry/deepIQA at 51dece9 (fr_model.py, evaluate.py). Their training code
    is not public. Written from the code, the paper was not at hand.
Deviations: (1) None in the network. Two other conventions are options: ``fusion="pyiqa"`` (that library's order of the
    features; it also adds 1e-8 to the weights instead of 1e-6, and drops the last row and column of patches where the
    side is a multiple of 32: not reproduced), and ``peak=1`` (images in [0, 1], as pyiqa and the port lidq92/WaDIQaM
    train; the authors' networks want 0..255). (2) ``width`` makes all layers narrower, for training without a GPU.
    (3) First weights are Chainer's defaults, normal with variance 1 / inputs and no bias, except the last layer of the
    patch weights: with them the ReLU behind it is dead in half of all networks, which then can only learn plain means.
    Here it begins with the weight 1 for every patch: WaDIQaM starts as DIQaM.
Chapter: 23
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.checkpoints import load_strictly, read_state
from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import NETWORK_PIXELS, check_images, few_at_a_time

PATCH = 32  # Section III-A: side of a patch; evaluate.py: the stride of the grid as well
PEAK = 255.0  # evaluate.py: 8-bit values go in as they are
CHANNELS = (32, 64, 128, 256, 512)  # fr_model.py: two convolutions each, then max pooling
HIDDEN = 512  # of the fully connected layers
EPSILON = 1e-6  # fr_model.py: under the weight of a patch
#: How the features d of the distorted and r of the reference patch are put together.
FUSIONS = {"official": lambda d, r: (d - r, d, r), "pyiqa": lambda d, r: (r, d, d - r)}
#: The layer's name here -> in the authors' files, lidq92's (where it differs), pyiqa's.
LAYER_NAMES = {
    **{f"trunk.conv{k}": (f"conv{k}", f"features.{5 * ((k - 1) // 2) + 2 * ((k - 1) % 2)}") for k in range(1, 11)},
    "quality.fc1": ("fc1", "fc1_q", "fc_q.0"), "quality.fc2": ("fc2", "fc2_q", "fc_q.3"),
    "importance.fc1": ("fc1_a", "fc1_w", "fc_w.0"), "importance.fc2": ("fc2_a", "fc2_w", "fc_w.3")}
HDF5 = b"\x89HDF\r\n\x1a\n"  # the first bytes of such a file
CONVERSION = ("import h5py, numpy; f = h5py.File('NAME.model'); n = []; f.visit(n.append); "
              "numpy.savez('NAME.npz', **{k: f[k][()] for k in n if hasattr(f[k], 'shape')})")
NO_NETWORK = ("Expected parameters of (Wa)DIQaM-FR, found none. The authors' networks are models/fr_live_weighted.model, "
              "fr_tid_weighted.model (WaDIQaM), fr_live_patchwise.model and fr_tid_patchwise.model (DIQaM) of "
              f"github.com/dmaniry/deepIQA (MIT), in Chainer's HDF5; make an .npz of one with: python -c \"{CONVERSION}\", "
              "put it anywhere, and give parameters=Path('NAME.npz'), or ask for parameters='random'.")


class WaDIQaMFR(nn.Module):
    """Quality as the mean of patch scores, weighted by the network itself; the direction is that of its opinion scores.

    It is no distance: identical images get a score that depends on what they show.

    Args:
        parameters: a file with this module's state or in another layout that :meth:`from_official` lists; a name in
            :data:`iqa_lab.backbones.weights_table.WEIGHTS`; or ``"random"`` for an untrained network. There is no default.
        weighted: WaDIQaM; False for DIQaM, where all patches count the same.
        fusion: a key of ``FUSIONS``.
        peak: what 1 in the image becomes: 255, or 1 for networks trained so.
        width: factor on the number of channels; 1 is the paper's network.

    Raises:
        FileNotFoundError: no parameters given, or the file is absent; says where the authors' are.
        ValueError: unknown fusion, or a file with other keys or shapes.
    """

    patch_size = PATCH

    def __init__(self, *, parameters: str | Path | None = None, weighted: bool = True, fusion: str = "official",
                 peak: float = PEAK, width: float = 1.0) -> None:
        super().__init__()
        if parameters is None:
            raise FileNotFoundError(NO_NETWORK)
        if fusion not in FUSIONS:
            raise ValueError(f"Expected the fusion {' or '.join(FUSIONS)}, got {fusion!r}.")
        self.parameters_name, self.untrained = str(parameters), parameters == "random"
        self.fusion, self.peak, self.width = fusion, peak, width
        features = 3 * narrowed(CHANNELS[-1], width)
        self.trunk, self.quality = create_trunk(width), create_head(features, width)
        self.importance = create_head(features, width) if weighted else None
        if self.untrained:
            start_even(self)
        else:
            path = find_weights(parameters)
            load_strictly(self, own_names(read_parameters(path)), path)

    @classmethod
    def from_official(cls, path: str | Path, *, weighted: bool = True) -> WaDIQaMFR:
        """Returns the network of a published file, strictly loaded: all names and shapes must be right.

        Known layouts are the authors' (``conv1/W``, an .npz of their HDF5), the port lidq92/WaDIQaM's (``conv1.weight``)
        and pyiqa's (``features.0.weight``; give ``fusion="pyiqa", peak=1`` to the class itself). Checked by layout only:
        no published file was at hand.

        Args:
            path: the file.
            weighted: whether it is a WaDIQaM.

        Raises:
            FileNotFoundError: no such file. ValueError: HDF5, with the command that converts it, or another network.
        """
        return cls(parameters=Path(path), weighted=weighted)

    def forward(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns the weighted mean of the scores of all non-overlapping patches, shape (N,).

        Args:
            distorted, reference: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 32 pixels; what lies beyond
                the last whole patch is not looked at.
        """
        check_images(distorted, reference, minimum_side=PATCH)
        patches = (grid_patches(image).flatten(0, 1) for image in (distorted, reference))
        parts = [self.patch_scores_and_weights(*pair) for pair in few_at_a_time(*patches, pixels=NETWORK_PIXELS)]
        scores, weights = (torch.cat(part).view(len(distorted), -1) for part in zip(*parts, strict=True))
        return weighted_mean(scores, weights)

    def patch_scores_and_weights(self, distorted: torch.Tensor,
                                 reference: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns score and weight of each pair of patches, both of shape (P,); weights are above 0, 1 for DIQaM.

        Args:
            distorted, reference: shape (P, C, 32, 32), RGB or gray in [0, 1], from the same places.
        """
        both = self.peak * torch.cat((distorted, reference)).to(self.quality.fc1.weight.dtype)
        d, r = self.trunk(both.expand(-1, 3, -1, -1)).chunk(2)
        fused = torch.cat(FUSIONS[self.fusion](d, r), 1)
        scores = self.quality(fused).squeeze(1).to(distorted.dtype)
        if self.importance is None:
            return scores, torch.ones_like(scores)
        return scores, (F.relu(self.importance(fused)) + EPSILON).squeeze(1).to(distorted.dtype)

    def loss(self, distorted: torch.Tensor, reference: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the mean absolute error: of the images' scores for WaDIQaM, of all patches' scores for DIQaM.

        Args:
            distorted, reference: shape (N, P, C, 32, 32): P patches of each of N images.
            targets: opinion scores, shape (N,).
        """
        found = self.patch_scores_and_weights(distorted.flatten(0, 1), reference.flatten(0, 1))
        scores, weights = (part.view(distorted.shape[:2]) for part in found)
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
                f"fusion={self.fusion!r}, peak={self.peak:g}, width={self.width:g}")


def create_trunk(width: float = 1.0) -> nn.Sequential:
    """Returns the ten convolutions, from patches (P, 3, 32, 32) to features (P, 512 width).

    Pooling comes before the ReLU, not behind it: the same values from a quarter of the work.
    """
    layers, inputs = OrderedDict(), 3
    for k, outputs in enumerate((narrowed(channels, width) for channels in CHANNELS for _ in range(2)), 1):
        layers[f"conv{k}"] = nn.Conv2d(inputs, outputs, 3, padding=1)
        if k % 2 == 0:
            layers[f"pool{k // 2}"] = nn.MaxPool2d(2)
        layers[f"relu{k}"], inputs = nn.ReLU(inplace=True), outputs
    layers["flatten"] = nn.Flatten()
    return nn.Sequential(layers)


def create_head(inputs: int, width: float = 1.0) -> nn.Sequential:
    """Returns the two fully connected layers, from features (P, inputs) to one number each (P, 1)."""
    hidden = narrowed(HIDDEN, width)
    return nn.Sequential(OrderedDict(fc1=nn.Linear(inputs, hidden), relu=nn.ReLU(), dropout=nn.Dropout(0.5),
                                     fc2=nn.Linear(hidden, 1)))


def narrowed(channels: int, width: float) -> int:
    """Returns the number of channels times ``width``, at least 1."""
    return max(1, round(channels * width))


def initialise(network: nn.Module) -> None:
    """Fills a network with Chainer's default first weights."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            nn.init.zeros_(module.bias)


def start_even(network: nn.Module) -> None:
    """Draws first weights with which every patch counts the same, of a network with a ``quality`` and an ``importance``."""
    initialise(network)
    if network.importance is not None:
        nn.init.zeros_(network.importance.fc2.weight)
        nn.init.ones_(network.importance.fc2.bias)


def grid_patches(image: torch.Tensor) -> torch.Tensor:
    """Returns the non-overlapping patches of each image (N, C, H, W), row by row, shape (N, P, C, 32, 32)."""
    cells = image.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)  # N, C, rows, columns, 32, 32
    return cells.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)


def weighted_mean(scores: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Returns sum(w y) / sum(w) of each image, shapes (N, P) and (N, P) to (N,)."""
    return (weights * scores).sum(1) / weights.sum(1)


def read_parameters(path: Path) -> dict[str, torch.Tensor]:
    """Returns the tensors of a parameter file; ValueError with the command that converts it for an HDF5 file."""
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(HDF5)) == HDF5:
                raise ValueError(f"Expected a .npz or PyTorch file, got HDF5 in {path}; convert it, where h5py is "
                                 f"installed, with: python -c \"{CONVERSION.replace('NAME', path.stem)}\"")
    return read_state(path)


def own_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the state of any known layout under this module's names; unknown names stay as they are."""
    ours = {other: layer for layer, others in LAYER_NAMES.items() for other in others}
    renamed = {}
    for name, tensor in state.items():
        layer, _, kind = name.replace("/", ".").rpartition(".")
        renamed[f"{ours.get(layer, layer)}.{ {'W': 'weight', 'b': 'bias'}.get(kind, kind)}"] = tensor
    return renamed
