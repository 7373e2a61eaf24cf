"""IQA-CNN++: one small network says of each patch how good it is and which distortion it has.

Paper: L. Kang, P. Ye, Y. Li, D. Doermann, "Simultaneous estimation of image quality and distortion via multi-task
    convolutional neural networks", ICIP 2015, doi:10.1109/ICIP.2015.7351311.
Reference: the authors published no code, and the paper was not at hand: written from the PyTorch port
    lidq92/CNNIQAplusplus at 3641c29 (main.py, config.yaml). No trained network is published.
Deviations: (1) The type of an image is the majority vote of its patches, as the paper is quoted; the port takes the
    largest mean of their outputs. The tie rule is ours: among types with equally many votes, the one with the larger mean
    probability, then the first. (2) The second convolution has 50 kernels, as in the port's configuration; 32 is the
    default of the port's class. (3) Local normalisation and its constant C as in ``cnniqa.py``; the port leaves out the last
    row and column of patches where a side is a multiple of 32, here all whole patches count. (4) Opinion scores are
    standardised during training, so that neither part of the loss outweighs the other; the last layer is scaled back.
    (5) An image without a known type (a reference, say) has no part in the loss of the types. (6) The port's IQA-CNN+,
    which is CNNIQA with a second output, is left out.
Chapter: 26
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.backbones.checkpoints import load_strictly, read_state
from iqa_lab.backbones.weights import find_weights
from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.no_reference.cnniqa import PATCH, PIXELS, grid_patches, local_normalisation
from iqa_lab.ops.color import rgb_to_luma_pil

N1, N2, KERNEL_SIDE = 8, 50, 3  # config.yaml: kernels of both convolutions, and their side
HIDDEN = (128, 512)  # config.yaml: n1_nodes, n2_nodes
ALPHA_Q, ALPHA_D = 0.5, 0.5  # config.yaml: shares of quality and type in the loss
LIVE_TYPES = 5  # JPEG 2000, JPEG, white noise, blur, fast fading
UNKNOWN = -1  # in the place of a type
NO_NETWORK = ("Expected parameters of IQA-CNN++, found none: no trained network is published. Train one with "
              "iqa_lab.training.train and give its weights.pt, or ask for parameters='random'.")


class IQACNNpp(nn.Module):
    """Quality as the mean score of non-overlapping patches; the direction is that of the opinion scores it learned.

    Args:
        parameters: a name in :data:`iqa_lab.backbones.weights_table.WEIGHTS`; a file with this module's or the port's state
            (whose networks want ``C=255``); or ``"random"`` for an untrained network. There is no default, because there is
            no published network.
        n_types: number of distortion types; 0 leaves that task out, for images whose distortion nobody named.
        n2: kernels of the second convolution.
        C: stabilises the local normalisation of images in 0..255.

    Raises:
        FileNotFoundError: no parameters given, or the file is absent.
        ValueError: the file holds other keys or shapes.
    """

    patch_size = PATCH

    def __init__(self, *, parameters: str | Path | None = None, n_types: int = LIVE_TYPES, n2: int = N2,
                 C: float = 1.0) -> None:
        super().__init__()
        if parameters is None:
            raise FileNotFoundError(NO_NETWORK)
        self.parameters_name, self.untrained = str(parameters), parameters == "random"
        self.n_types, self.C = n_types, C
        self.conv1, self.conv2 = nn.Conv2d(1, N1, KERNEL_SIDE), nn.Conv2d(N1, n2, KERNEL_SIDE)
        self.fc1, self.fc2 = nn.Linear(2 * n2, HIDDEN[0]), nn.Linear(*HIDDEN)
        self.fc3_q = nn.Linear(HIDDEN[1], 1)
        self.fc3_d = nn.Linear(HIDDEN[1], n_types) if n_types else None
        if not self.untrained:
            path = find_weights(parameters)
            load_strictly(self, read_state(path), path)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the mean of the patch scores, shape (N,).

        Args:
            image: shape (N, C, H, W), RGB or gray in [0, 1], sides of at least 32 pixels; what lies beyond the last whole
                patch is not looked at.
        """
        scores, _ = self.scores_and_logits(image)
        return scores.mean(1)

    def types(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the type of each image, numbered as in training, int64 of shape (N,): what most of its patches say.

        Ties are broken as in :func:`majority_vote`.

        Args:
            image: as :meth:`forward`.

        Raises:
            ValueError: a network without types.
        """
        if not self.n_types:
            raise ValueError("Expected a network that learned types, got n_types=0; train one with the number of types.")
        _, logits = self.scores_and_logits(image)
        return majority_vote(logits)

    def scores_and_logits(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns score and logits of the types of each patch of the grid, row by row, (N, P) and (N, P, n_types).

        Args:
            image: as :meth:`forward`.
        """
        check_images(image, minimum_side=PATCH)
        patches = grid_patches(image).flatten(0, 1)
        parts = zip(*(self.patch_outputs(few) for few, in few_at_a_time(patches, pixels=PIXELS)), strict=True)
        scores, logits = (torch.cat(part).unflatten(0, (len(image), -1)) for part in parts)
        return scores, logits

    def patch_outputs(self, patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the score of each patch and the logits of its types, shapes (P,) and (P, n_types).

        Args:
            patches: shape (P, C, 32, 32), RGB or gray in [0, 1].
        """
        x = local_normalisation(255 * rgb_to_luma_pil(patches), self.C).to(self.conv1.weight.dtype)
        maps = self.conv2(F.max_pool2d(self.conv1(x), 2))  # P, n2, 13, 13; linear: no ReLU before the poolings
        pooled = torch.cat((maps.amax((2, 3)), maps.amin((2, 3))), 1)
        hidden = F.dropout(F.relu(self.fc1(pooled)), 0.5, self.training)
        hidden = F.relu(self.fc2(hidden))
        logits = self.fc3_d(hidden) if self.n_types else hidden[:, :0]
        return self.fc3_q(hidden).squeeze(1).to(patches.dtype), logits.to(patches.dtype)

    def loss(self, crops: torch.Tensor, targets: torch.Tensor, types: torch.Tensor | None = None) -> torch.Tensor:
        """Returns half the mean absolute error of the patch scores and half the cross-entropy of the patches' types.

        Every patch has score and type of its image. A network without types learns from the absolute error alone.

        Args:
            crops: shape (N, P, C, 32, 32): P patches of each of N images.
            targets: opinion scores, standardised, shape (N,).
            types: int64 of shape (N,), 0 to n_types - 1, or -1 where the type is unknown.

        Raises:
            ValueError: a network with types, and none given.
        """
        if self.n_types and types is None:
            raise ValueError(f"Expected the type of each image, got none for a network with n_types={self.n_types}; "
                             "n_types=0 learns quality alone.")
        scores, logits = (part.unflatten(0, crops.shape[:2]) for part in self.patch_outputs(crops.flatten(0, 1)))
        quality = F.l1_loss(scores, targets[:, None].expand_as(scores))
        return ALPHA_Q * quality + ALPHA_D * type_loss(logits, types) if self.n_types else quality

    @torch.no_grad()
    def rescale_output(self, mean: float, scale: float) -> None:
        """Makes the network return scale * score + mean, by changing the last layer of the scores."""
        self.fc3_q.weight.mul_(scale)
        self.fc3_q.bias.mul_(scale).add_(mean)

    def extra_repr(self) -> str:
        untrained = " (UNTRAINED: random weights)" if self.untrained else ""
        return (f"parameters={Path(self.parameters_name).name!r}{untrained}, n_types={self.n_types}, "
                f"n2={self.conv2.out_channels}, C={self.C:g}")


def type_loss(logits: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
    """Returns the mean cross-entropy of the patches of images with a known type; 0 if there are none.

    Args:
        logits: shape (N, P, K).
        types: of the images, int64 of shape (N,), -1 where it is unknown.
    """
    labels = types[:, None].expand(logits.shape[:2])
    total = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=UNKNOWN, reduction="sum")
    return total / (labels != UNKNOWN).sum().clamp_min(1)


def majority_vote(logits: torch.Tensor) -> torch.Tensor:
    """Returns the type with most votes of each image, int64 of shape (N,).

    Every patch votes for its most probable type. Among types with equally many votes the one with the larger mean
    probability wins, and if these are equal too, the first.

    Args:
        logits: of each patch and type, shape (N, P, K).
    """
    votes = F.one_hot(logits.argmax(2), logits.shape[2]).sum(1)  # N, K
    probability = logits.double().softmax(2).mean(1)
    return (votes + 0.5 * probability).argmax(1)  # half a probability is never a vote
