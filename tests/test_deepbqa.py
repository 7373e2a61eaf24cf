"""DeepBQA: its maps and their product, the weight of the total variation, an honest start, and both stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from iqa_lab.no_reference.deepbqa import W_TV, DeepBQA
from iqa_lab.no_reference.diqa import DIQA

SMALL = 1 / 16


def photos(n: int, height: int, width: int, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height + width)
    return torch.rand(n, channels, height, width, generator=generator, dtype=torch.float64)


def network(*, trained: bool = True, width: float = SMALL, **options) -> DeepBQA:
    """Returns a float64 network; a "trained" one has another sensitivity in every place."""
    torch.manual_seed(0)
    model = DeepBQA(parameters="random", width=width, **options).double().eval()
    if trained:
        torch.nn.init.normal_(model.sensitivity.map.weight, std=5)
    return model


def test_the_number_of_parameters():
    """Twice DIQA's convolutions with a map each, and DeepQA's two layers behind the mean."""
    model = DeepBQA(parameters="random")
    counts = [sum(p.numel() for p in part.parameters()) for part in (model.error, model.sensitivity, model.quality)]
    assert counts == [381_200 + 129, 381_200 + 129, 2 * 4 + 5]


def test_error_and_reliability_are_diqas():
    image, model = photos(2, 43, 34), network()
    diqa = DIQA(parameters="random", width=SMALL).double()
    diqa.trunk.load_state_dict(model.error.trunk.state_dict())
    diqa.error.load_state_dict(model.error.map.state_dict())
    error, sensitivity, reliability, perceptual = model.maps(image)
    for found, expected in zip((error, reliability), diqa.maps(image), strict=True):
        torch.testing.assert_close(found, expected)
    diqa.trunk.load_state_dict(model.sensitivity.trunk.state_dict())
    diqa.error.load_state_dict(model.sensitivity.map.state_dict())
    torch.testing.assert_close(sensitivity, diqa.maps(image)[0].clamp_min(0))
    assert perceptual.shape == (2, 1, 10, 8) and sensitivity.std() > 0.05
    assert torch.equal(perceptual, sensitivity * error * reliability)


def test_the_score_comes_from_the_mean_of_the_perceptual_error():
    image, model = photos(2, 32, 40), network()
    w1, b1, w2, b2 = (p.detach().numpy() for p in model.quality.parameters())
    for value, maps in zip(model(image), model.maps(image)[3], strict=True):
        hidden = w1[:, 0] * maps.mean().item() + b1
        expected = w2[0] @ np.where(hidden > 0, hidden, 0.1 * hidden) + b2[0]
        assert value.item() == pytest.approx(expected, rel=1e-9)


def test_sensitivity_starts_at_1_everywhere_and_can_learn():
    image, model = photos(4, 32, 40), network(trained=False)
    error, sensitivity, reliability, perceptual = model.maps(image)
    assert (sensitivity == 1).all() and torch.equal(perceptual, error * reliability)
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimiser = torch.optim.NAdam(model.parameters(), 1e-3)
    for _ in range(2):  # the kernels that start at 0 hide the others in the first step
        optimiser.zero_grad()
        model.loss(image[:, None], torch.tensor([0.1, 0.3, 0.6, 1.0])).backward()
        optimiser.step()
    assert all((value != before[name]).any() for name, value in model.named_parameters())


@pytest.mark.parametrize("seed", range(20))
def test_a_middling_error_starts_with_a_middling_score(seed):
    torch.manual_seed(seed)
    score = DeepBQA(parameters="random", width=SMALL).score
    assert score(torch.full((1, 1, 2, 2), 0.5)).item() == pytest.approx(0.5, abs=1e-6)
    assert score(torch.zeros(1, 1, 2, 2)).item() != score(torch.ones(1, 1, 2, 2)).item()


@pytest.mark.parametrize("tv_weight", [0, 1e-4, 1e-3, 1e-2, 1e-1])
def test_the_loss_is_that_of_the_slides(tv_weight):
    """w_subj (f(mu_p) - S)^2 + w_TV TV(s), for each weight of their study."""
    crops, targets = photos(6, 32, 40).view(2, 3, 3, 32, 40), torch.tensor([0.3, 0.9], dtype=torch.float64)
    model = network(tv_weight=tv_weight)
    s = model.maps(crops.flatten(0, 1))[1].detach().numpy()
    g_x, g_y = (np.stack([ndimage.sobel(plane[0], axis)[1:-1, 1:-1] for plane in s]) for axis in (1, 0))
    variation = np.mean(np.hypot(g_x, g_y)**3)
    scores = model(crops.flatten(0, 1)).detach().view(2, 3).numpy()
    expected = 1e3 * np.mean((scores - targets.numpy()[:, None])**2) + tv_weight * variation
    assert variation > 0.1 and model.loss(crops, targets).item() == pytest.approx(expected, rel=1e-9)


def test_the_weight_of_the_variation_smooths_the_sensitivity():
    crops, targets = photos(2, 32, 32)[:, None], torch.tensor([0.2, 0.8], dtype=torch.float64)
    rough = {}
    for tv_weight in (0.0, 1e5):
        model = network(tv_weight=tv_weight)
        optimiser = torch.optim.NAdam(model.sensitivity.parameters(), 1e-3)
        for _ in range(10):
            optimiser.zero_grad()
            model.loss(crops, targets).backward()
            optimiser.step()
        rough[tv_weight] = model.maps(crops[:, 0])[1].std((2, 3)).mean().item()
    assert rough[1e5] < 0.7 * rough[0.0]
    assert DeepBQA(parameters="random", width=SMALL).tv_weight == W_TV == 1e-2


def test_only_the_error_network_learns_in_the_first_stage():
    distorted, reference = photos(4, 16, 20).view(2, 2, 3, 16, 20), photos(4, 20, 16).mT.reshape(2, 2, 3, 16, 20)
    model = network()
    diqa = DIQA(parameters="random", width=SMALL).double()
    diqa.trunk.load_state_dict(model.error.trunk.state_dict())
    diqa.error.load_state_dict(model.error.map.state_dict())
    loss = model.error_loss(distorted, reference)
    torch.testing.assert_close(loss, diqa.error_loss(distorted, reference))
    loss.backward()
    assert all(p.grad.abs().max() > 0 for p in model.error.parameters())
    assert all(p.grad is None for part in (model.sensitivity, model.quality) for p in part.parameters())


def test_learning_lowers_both_losses():
    torch.manual_seed(0)
    model = DeepBQA(parameters="random", width=0.125)
    reference = torch.rand(4, 2, 1, 16, 16)
    strength = torch.tensor([0.5, 0.5, 0.02, 0.02]).view(4, 1, 1, 1, 1)
    distorted, targets = reference + strength * torch.randn(reference.shape), torch.tensor([1.0, 1.0, 0.0, 0.0])
    optimiser = torch.optim.NAdam(model.parameters(), 2e-3)
    for loss_of in (lambda: model.error_loss(distorted, reference), lambda: model.loss(distorted, targets)):
        losses = []
        for _ in range(30):
            losses.append(loss_of())
            optimiser.zero_grad()
            losses[-1].backward()
            optimiser.step()
        assert min(losses[-3:]) < 0.6 * losses[0]


def test_flat_images_have_no_perceptual_error():
    model = network()
    flat = torch.stack([torch.full((3, 16, 20), value, dtype=torch.float64) for value in (0.2, 0.7)])
    scores = model(flat)
    assert model.maps(flat)[3].abs().max() < 1e-6 and (scores[0] - scores[1]).abs() < 1e-6
    crops = torch.full((1, 2, 3, 16, 16), 0.4, requires_grad=True)
    model.float()
    (model.loss(crops, torch.tensor([0.5])) + model.error_loss(crops, crops.detach())).backward()
    assert crops.grad.isfinite().all() and all(p.grad.isfinite().all() for p in model.parameters())


def test_gradcheck():
    assert torch.autograd.gradcheck(network(), photos(1, 16, 16).requires_grad_(), fast_mode=True)


def test_scores_keep_type_and_do_not_depend_on_the_batch():
    model, image = network(), photos(3, 32, 40)
    together = model(image)
    torch.testing.assert_close(torch.cat([model(image[i:i + 1]) for i in range(3)]), together)
    single = network().float()
    assert single(image).dtype == torch.float64 and single(image.float()).dtype == torch.float32
    torch.testing.assert_close(single(image), together, rtol=1e-4, atol=1e-5)


def test_rescaling_moves_the_scores():
    model, image = network(), photos(2, 16, 24)
    before = model(image)
    model.rescale_output(50.0, 20.0)
    torch.testing.assert_close(model(image), 20 * before + 50)


def test_a_saved_network_comes_back_and_others_are_refused(tmp_path):
    model, image = network().float(), photos(1, 16, 24).float()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    again = DeepBQA(parameters=tmp_path / "weights.pt", width=SMALL)
    assert torch.equal(again(image), model(image)) and "UNTRAINED" in repr(model) and "UNTRAINED" not in repr(again)
    with pytest.raises(ValueError, match="other shapes"):
        DeepBQA(parameters=tmp_path / "weights.pt", width=0.125)


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(FileNotFoundError, match="no trained network.*random"):
        DeepBQA()
    with pytest.raises(FileNotFoundError, match="nowhere.pt"):
        DeepBQA(parameters=Path("nowhere.pt"))
    for call in (network(), network().maps):
        with pytest.raises(ValueError, match="16 pixels"):
            call(photos(1, 40, 15))
