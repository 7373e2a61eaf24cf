"""The judge of LPIPS: a small network that learns from two distances which of two images people prefer, and the 2AFC score.

Paper: R. Zhang, P. Isola, A. A. Efros, E. Shechtman, O. Wang, "The unreasonable effectiveness of deep features as a
    perceptual metric", CVPR 2018, doi:10.1109/CVPR.2018.00068, Section 4 and appendix B.
Reference: the authors' richzhang/PerceptualSimilarity at 082bb24.
Deviations: the paper has two layers of 32 with ReLU that see (d0, d1); the code, which is followed, gives them five
    inputs and a leaky ReLU. Appendix B tried a ranking loss with a margin, which was worse; it is left out.
Chapter: 21
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from iqa_lab.full_reference.lpips import LPIPS
from iqa_lab.full_reference.swdn import SWDN

HIDDEN = 32  # Section 4: two layers
SLOPE = 0.2  # the code: of the leaky ReLU
EPSILON = 0.1  # the code: under the two quotients


class PreferenceJudge(nn.Module):
    """G, the share of people who find x1 nearer to the reference, from the distances of x0 and x1; 1,281 parameters.

    It is trained together with the distance and thrown away afterwards. Its weights start from torch's random generator.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, HIDDEN), nn.LeakyReLU(SLOPE), nn.Linear(HIDDEN, HIDDEN),
                                    nn.LeakyReLU(SLOPE), nn.Linear(HIDDEN, 1))

    def forward(self, d0: torch.Tensor, d1: torch.Tensor) -> torch.Tensor:
        """Returns the predicted share that prefers x1, shape (N,), in (0, 1).

        Args:
            d0, d1: distances of x0 and x1 from the reference, shape (N,).
        """
        return torch.sigmoid(self.logit(d0, d1))

    def logit(self, d0: torch.Tensor, d1: torch.Tensor) -> torch.Tensor:
        """Returns log(share / (1 - share)), shape (N,).

        Args: as :meth:`forward`.
        """
        inputs = torch.stack((d0, d1, d0 - d1, d0 / (d1 + EPSILON), d1 / (d0 + EPSILON)), 1)
        return self.layers(inputs).squeeze(1)

    def loss(self, d0: torch.Tensor, d1: torch.Tensor, preferred: torch.Tensor) -> torch.Tensor:
        """Returns eq. (2), the binary cross entropy of the shares, a scalar.

        Args:
            d0, d1: as :meth:`forward`.
            preferred: h, the share of people who preferred x1, shape (N,), in [0, 1].
        """
        return F.binary_cross_entropy_with_logits(self.logit(d0, d1), preferred.to(d0.dtype))


class TwoAFC(nn.Module):
    """LPIPS, or a distance made like it, with its judge, to be trained on comparisons; afterwards ``metric`` alone is used.

    Args:
        metric: LPIPS with ``set_trainable`` done, or SWDN with trainable heads; its device is the judge's.
    """

    patch_size, higher_is_better = 64, False  # Section 3: BAPPS has patches of 64 x 64

    def __init__(self, metric: LPIPS | SWDN) -> None:
        super().__init__()
        self.metric, self.judge = metric, PreferenceJudge()
        self.judge.to(next(metric.parameters()).device)

    def forward(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Returns the distance, shape (N,), as :meth:`iqa_lab.full_reference.lpips.LPIPS.forward`."""
        return self.metric(distorted, reference)

    def loss(self, first: torch.Tensor, second: torch.Tensor, reference: torch.Tensor, preference: torch.Tensor) -> torch.Tensor:
        """Returns the judge's loss for the mean distance of each image's patches, a scalar.

        Args:
            first, second, reference: shape (N, P, C, H, W), P patches of the same places.
            preference: share of people who preferred the first, shape (N,).
        """
        reference = self.metric.features(reference.flatten(0, 1))
        d0, d1 = (self.metric.distance(self.metric.features(image.flatten(0, 1)), reference).unflatten(0, image.shape[:2]).mean(1)
                  for image in (first, second))
        return self.judge.loss(d0, d1, 1 - preference)

    def project(self) -> None:
        """Sets negative weights of the layers to 0."""
        self.metric.project()


def two_afc_score(d0: torch.Tensor, d1: torch.Tensor, preferred: torch.Tensor) -> torch.Tensor:
    """Returns the share of people who agree with the smaller distance, shape (N,): h, 1 - h, or 0.5 where both are equal.

    Its mean over a set of triplets is the paper's 2AFC score; the best possible is the mean of max(h, 1 - h).

    Args:
        d0, d1: distances of x0 and x1 from the reference, shape (N,).
        preferred: h, the share of people who preferred x1, shape (N,), in [0, 1].
    """
    return torch.where(d0 == d1, 0.5, torch.where(d1 < d0, preferred, 1 - preferred))
