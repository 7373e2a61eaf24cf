"""MAD competition: the held metric stays, the moved one goes where it should."""

import pytest
import torch

from iqa_lab.full_reference.psnr import mse
from iqa_lab.full_reference.ssim import ssim
from iqa_lab.synthesis import compete, gradient_of, inner, restore


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.linspace(0, 6, 24), torch.linspace(0, 9, 30), indexing="ij")
    reference = (0.5 + 0.25 * torch.sin(rows) * torch.cos(columns)).expand(2, 1, -1, -1).double()
    return (reference + 0.06 * torch.randn(reference.shape, generator=generator, dtype=torch.float64)).clamp(0, 1), reference


@pytest.mark.parametrize("moved, held", [(ssim, mse), (mse, ssim)])
@pytest.mark.parametrize("increase", [True, False])
def test_one_metric_moves_and_the_other_stays(moved, held, increase):
    initial, reference = pair()
    result = compete(initial, reference, moved, held, increase=increase, steps=20)
    torch.testing.assert_close(result.held[-1], result.held[0], rtol=2e-3, atol=0)
    change = result.moved[-1] - result.moved[0]
    assert ((change > 0) if increase else (change < 0)).all() and (change / result.moved[0]).abs().min() > 0.02
    steps = result.moved.diff(dim=0)
    assert ((steps >= 0) if increase else (steps <= 0)).all()
    assert result.image.min() >= 0 and result.image.max() <= 1 and result.moved.shape == (21, 2)
    torch.testing.assert_close(moved(result.image, reference), result.moved[-1])


def test_an_image_does_not_depend_on_its_batch():
    initial, reference = pair()
    together = compete(initial, reference, ssim, mse, increase=True, steps=5).image
    alone = compete(initial[:1], reference[:1], ssim, mse, increase=True, steps=5).image
    torch.testing.assert_close(together[:1], alone)


def test_restore_reaches_a_given_score():
    initial, reference = pair()
    target = 1.5 * mse(initial, reference)
    torch.testing.assert_close(mse(restore(initial, reference, mse, target), reference), target, rtol=1e-3, atol=0)


def test_gradient_of_mse_is_twice_the_error_over_the_number_of_values():
    initial, reference = pair()
    scores, gradient = gradient_of(mse, initial, reference)
    torch.testing.assert_close(gradient, 2 * (initial - reference) / reference[0].numel())
    torch.testing.assert_close(inner(gradient, gradient), 4 * scores / reference[0].numel())
