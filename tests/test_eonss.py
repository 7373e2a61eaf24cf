"""EONSS: the scores of the authors' code with their network, its grid, and files in its layout."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from iqa_lab import load_image
from iqa_lab.no_reference import eonss
from iqa_lab.no_reference.eonss import EONSS, grid_patches
from iqa_lab.ops.gdn import GDN

ROWS = list(csv.DictReader((Path(__file__).parent / "reference_values" / "eonss.csv").open()))
#: Network.py: layer -> shape of the weights, and whether a normalisation follows.
SHAPES = {"conv1": ((8, 3, 5, 5), "gdn1"), "conv2": ((16, 8, 5, 5), "gdn2"), "conv3": ((32, 16, 5, 5), "gdn3"),
          "conv4": ((64, 32, 3, 3), "gdn4"), "st2_fc1": ((256, 64, 1, 1), "st2_gdn1"), "st2_fc2": ((1, 256, 1, 1), "")}


def data() -> Path:
    if "IQA_LAB_DATA" not in os.environ:
        pytest.skip("needs the authors' network and golden images: set IQA_LAB_DATA")
    return Path(os.environ["IQA_LAB_DATA"])


def official() -> EONSS:
    return EONSS.from_official(data() / "weights/eonss/EONSS_model.pt").eval()


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(seed: int = 0) -> EONSS:
    torch.manual_seed(seed)
    return EONSS(parameters="random").double().eval()


@pytest.mark.parametrize("row", ROWS, ids=[Path(row["image"]).name for row in ROWS])
def test_the_authors_network_gives_the_authors_scores(row):
    score = official()(load_image(data() / row["image"])).item()
    assert score == pytest.approx(float(row["value"]), abs=float(row["tolerance"]))


def test_projection_leaves_the_authors_network_as_it_is():
    """Their gammas are symmetric and not negative; a few betas lie below our bound, which no score shows."""
    model, image = official(), load_image(data() / "golden/tid2013_pairs/distorted/i03_11_5.bmp")
    before, gammas = model(image), [part.gamma.clone() for part in model.modules() if isinstance(part, GDN)]
    model.project()
    torch.testing.assert_close(model(image), before, rtol=0, atol=1e-5)
    assert len(gammas) == 5
    assert all(torch.equal(old, part.gamma) for old, part in
               zip(gammas, (part for part in model.modules() if isinstance(part, GDN)), strict=True))


def test_the_number_of_parameters_is_the_authors():
    assert sum(parameter.numel() for parameter in EONSS(parameters="random").parameters()) == 123_401


def authors_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """Returns tensors under the names and shapes of Network.py, as DataParallel saves them; gamma is not symmetric."""
    random, state = np.random.default_rng(seed), {}
    for layer, (shape, normalisation) in SHAPES.items():
        state[f"{layer}.weight"] = random.normal(0, np.prod(shape[1:])**-0.5, shape)
        state[f"{layer}.bias"] = random.normal(0, 0.1, shape[0])
        if normalisation:
            state[f"{normalisation}.gamma"] = random.uniform(0, 1, (shape[0], shape[0]))
            state[f"{normalisation}.beta"] = random.uniform(0.01, 1, shape[0])
    return {f"module.{name}": torch.from_numpy(value.astype(np.float32)) for name, value in state.items()}


def slow_score(state: dict[str, torch.Tensor], image: torch.Tensor) -> float:
    """Patch by patch over the demo's ranges; the normalisation is x / sqrt(x^2 gamma + beta) of rows of pixels."""
    def layer(x: torch.Tensor, name: str, stride: int, padding: int) -> torch.Tensor:
        x = F.conv2d(x, state[f"module.{name}.weight"].double(), state[f"module.{name}.bias"].double(), stride, padding)
        if not SHAPES[name][1]:
            return x
        gamma, beta = (state[f"module.{SHAPES[name][1]}.{kind}"].double() for kind in ("gamma", "beta"))
        rows = x.movedim(1, 3).flatten(0, 2)
        return (rows / (rows**2 @ gamma + beta).sqrt()).view(x.movedim(1, 3).shape).movedim(3, 1)

    scores = []
    for top in range(0, image.shape[1] - 235, 128):
        for left in range(0, image.shape[2] - 235, 128):
            x = image[None, :, top:top + 235, left:left + 235]
            for k in range(1, 5):
                x = F.max_pool2d(layer(x, f"conv{k}", *((2, 2) if k < 4 else (1, 0))), 2)
            scores.append(layer(layer(x, "st2_fc1", 1, 0), "st2_fc2", 1, 0).item())
    return np.mean(scores)


def test_scores_equal_the_slow_network(tmp_path):
    torch.save({"state_dict": authors_state()}, tmp_path / "model.pt")
    model = EONSS.from_official(tmp_path / "model.pt").eval()
    assert "UNTRAINED" not in repr(model) and "model.pt" in repr(model)
    batch = images(2, 3, 240, 364)
    expected = [slow_score(authors_state(), image) for image in batch]
    np.testing.assert_allclose(model.double()(batch).tolist(), expected, rtol=1e-9)
    torch.save(model.float().state_dict(), tmp_path / "own.pt")
    assert torch.equal(EONSS(parameters=tmp_path / "own.pt")(batch.float()), model(batch.float()))


@settings(deadline=None, max_examples=15)
@given(st.integers(236, 700), st.integers(236, 700))
def test_the_grid_is_the_demos(height, width):
    image = torch.arange(height * width, dtype=torch.float64).view(1, 1, height, width)
    corners = [top * width + left for top in range(0, height - 235, 128) for left in range(0, width - 235, 128)]
    patches = grid_patches(image)
    assert patches[0, :, 0, 0, 0].tolist() == corners and patches.shape[2:] == (1, 235, 235)
    assert torch.equal(patches[0, 0], image[0, :, :235, :235])


@pytest.mark.parametrize("side, patches", [(235, 1), (236, 1), (363, 1), (364, 2), (491, 2), (492, 3)])
def test_a_last_patch_that_ends_at_the_border_is_left_out_unless_it_is_the_only_one(side, patches):
    assert grid_patches(images(1, 1, side, 236)).shape[1] == grid_patches(images(1, 1, 236, side)).shape[1] == patches


def test_small_images_are_filled_up_with_their_mirror_image():
    image = images(2, 3, 118, 200)
    filled = np.pad(image.numpy(), ((0, 0), (0, 0), (58, 59), (17, 18)), mode="symmetric")
    assert np.array_equal(grid_patches(image)[:, 0], filled)
    with pytest.raises(ValueError, match="118 pixels"):
        network()(images(1, 3, 117, 300))


def test_a_gray_image_has_three_equal_channels():
    gray, model = images(1, 1, 240, 240), network()
    torch.testing.assert_close(model(gray), model(gray.expand(-1, 3, -1, -1)))


def test_neither_batch_nor_chunks_matter(monkeypatch):
    batch, model = images(2, 3, 240, 500), network()
    together = model(batch)
    torch.testing.assert_close(torch.cat([model(image[None]) for image in batch]), together)
    monkeypatch.setattr(eonss, "PIXELS", 4 * 235**2)
    torch.testing.assert_close(model(batch), together)


def test_the_loss_is_the_mean_absolute_error_of_the_crops():
    crops, model = images(2, 3, 3, 235, 235), network()
    scores = model.patch_scores(crops.flatten(0, 1)).tolist()
    expected = np.mean(np.abs(np.array(scores) - [0.5, 0.5, 0.5, -1, -1, -1]))
    assert model.loss(crops, torch.tensor([0.5, -1], dtype=torch.float64)).item() == pytest.approx(expected, rel=1e-12)


def test_a_few_steps_lower_the_loss():
    torch.manual_seed(0)
    model = EONSS(parameters="random")
    crops = images(3, 1, 3, 235, 235).float() * torch.tensor([0.1, 0.5, 1.0]).view(3, 1, 1, 1, 1)
    optimiser, losses = torch.optim.Adam(model.parameters(), 1e-3), []
    for _ in range(8):
        losses.append(model.loss(crops, torch.tensor([-1.0, 0, 1])))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
        model.project()
    assert losses[-1] < losses[0]


def test_rescaling_moves_the_scores():
    image, model = images(1, 3, 240, 240), network()
    before = model(image)
    model.rescale_output(50.0, 20.0)
    torch.testing.assert_close(model(image), 20 * before + 50)


def test_gradcheck():
    image = images(1, 3, 120, 130).requires_grad_()
    assert torch.autograd.gradcheck(network(), image, eps=1e-7, atol=1e-4, fast_mode=True)


def test_first_weights_are_the_authors():
    state = network().state_dict()
    assert (state["trunk.gdn2.gamma"] == 1).all()
    assert state["quality.gdn1.beta"].tolist() == pytest.approx([0.01] * 256)
    for name, variance in (("trunk.conv4", 2 / (9 * 64)), ("quality.fc1", 2 / 256)):
        assert state[f"{name}.weight"].var().item() == pytest.approx(variance, rel=0.1)


def test_what_is_no_network_is_refused(tmp_path):
    state = authors_state()
    del state["module.st2_gdn1.beta"]
    torch.save({"state_dict": state}, tmp_path / "less.pt")
    with pytest.raises(ValueError, match="missing: quality.gdn1.beta"):
        EONSS.from_official(tmp_path / "less.pt")
    with pytest.raises(FileNotFoundError, match="nowhere.pt"):
        EONSS(parameters=Path("nowhere.pt"))
    assert "UNTRAINED" in repr(network())
