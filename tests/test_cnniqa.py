"""CNNIQA: the architecture of the paper, the numbers of the public port, and the patch grid."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from iqa_lab import create_metric, load_database, load_image
from iqa_lab.no_reference.cnniqa import PATCH, CNNIQA, grid_patches, largest_and_smallest, local_normalisation
from iqa_lab.ops.color import rgb_to_luma_pil

VALUES = Path(__file__).parent / "reference_values" / "cnniqa.csv"
SHAPES = {"conv1": (50, 1, 7, 7), "fc1": (800, 100), "fc2": (800, 800), "fc3": (1, 800)}


def rows(metric: str) -> list[dict[str, str]]:
    return [row for row in csv.DictReader(VALUES.open()) if row["metric"] == metric]


def official_folder() -> Path:
    if "IQA_LAB_DATA" not in os.environ:
        pytest.skip("needs the port's weights and photo: set IQA_LAB_DATA")
    return Path(os.environ["IQA_LAB_DATA"])


def port_image(name: str) -> torch.Tensor:
    """Returns the image of a reference row: a file, the demo photo after a blur or noise, or the sinusoids."""
    if name == "sinusoids":
        y, x = np.mgrid[:96, :96]
        pixels = 0.5 + 0.25 * np.sin(0.3 * x) + 0.25 * np.cos(0.2 * y)
        return torch.from_numpy(pixels.astype(np.float32))[None, None]
    if not name.startswith("blur_"):
        return load_image(official_folder() / name)
    with Image.open(official_folder() / "weights/cnniqa_live/I03_01_1.bmp") as photo:
        gray = np.asarray(photo.convert("L")) / np.float32(255)
    return torch.from_numpy(ndimage.gaussian_filter(gray, float(name.removeprefix("blur_"))))[None, None]


@pytest.mark.parametrize("row", rows("cnniqa_live"), ids=lambda row: f"{row['distorted']}-{row['patches']}")
def test_the_ports_weights_give_the_ports_scores(row):
    official_folder()
    metric = create_metric("cnniqa_live", drop_last_patches=row["patches"] == "port")
    score = metric(port_image(row["distorted"])).item()
    assert score == pytest.approx(float(row["value"]), abs=float(row["tolerance"]))


@pytest.mark.parametrize("row", rows("cnniqa"), ids=lambda row: row["distorted"])
def test_the_shipped_checkpoint_has_not_changed(row):
    image = load_image(load_database("embedded").root / row["distorted"])
    assert create_metric("cnniqa")(image).item() == pytest.approx(float(row["value"]), abs=float(row["tolerance"]))


def test_architecture_has_the_papers_shapes_and_parameters():
    model = CNNIQA(parameters="random")
    assert {name: tuple(getattr(model, name).weight.shape) for name in SHAPES} == SHAPES
    assert sum(parameter.numel() for parameter in model.parameters()) == 724_901
    assert "UNTRAINED" in repr(model) and "UNTRAINED" not in repr(create_metric("cnniqa"))


def test_scores_of_the_patches_of_a_slow_network():
    """The same layers written out with scipy and NumPy."""
    torch.manual_seed(0)
    model = CNNIQA(parameters="random").double().eval()
    gray = np.random.default_rng(0).integers(0, 256, (PATCH, PATCH)).astype(float)
    weight = {name: value.detach().numpy() for name, value in model.named_parameters()}
    mean = ndimage.uniform_filter(gray, 3, mode="reflect")  # scipy's reflect repeats the edge sample
    deviation = np.sqrt(np.maximum(ndimage.uniform_filter(gray**2, 3, mode="reflect") - mean**2, 0))
    x = (gray - mean) / (deviation + 1)
    maps = np.stack([ndimage.correlate(x, kernel[0])[3:-3, 3:-3] for kernel in weight["conv1.weight"]])
    maps += weight["conv1.bias"][:, None, None]
    hidden = np.concatenate((maps.max((1, 2)), maps.min((1, 2))))
    for layer in ("fc1", "fc2"):
        hidden = np.maximum(weight[f"{layer}.weight"] @ hidden + weight[f"{layer}.bias"], 0)
    expected = weight["fc3.weight"] @ hidden + weight["fc3.bias"]
    patch = torch.from_numpy(gray / 255)[None, None]
    assert model.patch_scores(patch).item() == pytest.approx(expected.item(), rel=1e-9)
    assert model(patch).item() == pytest.approx(expected.item(), rel=1e-9)


def test_patches_lie_row_by_row_and_the_rest_is_not_looked_at():
    image = torch.arange(3 * 70 * 100, dtype=torch.float64).view(1, 3, 70, 100)
    patches = grid_patches(image)
    assert patches.shape == (1, 2 * 3, 3, PATCH, PATCH)
    assert torch.equal(patches[0, 4], image[0, :, 32:64, 32:64])
    model = CNNIQA(parameters="random").double().eval()
    photo = torch.rand(1, 3, 70, 100, dtype=torch.float64)
    changed = photo.clone()
    changed[..., 64:, :] = 0
    changed[..., 96:] = 1
    assert torch.equal(model(photo), model(changed))


@pytest.mark.parametrize("side, all_patches, port_patches", [(32, 1, 1), (64, 4, 1), (65, 4, 4), (384, 144, 121)])
def test_the_ports_grid_drops_the_last_row_and_column(side, all_patches, port_patches):
    image = torch.zeros(1, 1, side, side)
    assert grid_patches(image).shape[1] == all_patches
    assert grid_patches(image, drop_last=True).shape[1] == port_patches


def test_gray_is_pillows():
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels).convert("L"))
    luma = rgb_to_luma_pil(torch.from_numpy(pixels.transpose(2, 0, 1) / 255)[None])
    difference = (255 * luma[0, 0]).round().numpy() - expected
    # 1 in 65536 colours lies 1/65536 below a half, which float32 cannot tell from the half itself.
    assert np.abs(difference).max() <= 1 and (difference != 0).mean() < 1e-4


def test_local_normalisation_is_as_exact_in_float32():
    patches = torch.from_numpy(np.random.default_rng(0).integers(250, 256, (4, 1, 32, 32))).double()
    patches[1] = 255
    exact = local_normalisation(patches, 1.0)
    torch.testing.assert_close(local_normalisation(patches.float(), 1.0).double(), exact, rtol=1e-5, atol=1e-6)
    assert (exact[1] == 0).all()


def test_gradcheck_through_the_normalisation():
    patches = (255 * torch.rand(1, 1, 5, 5, dtype=torch.float64)).requires_grad_()
    # Through the values' own rounding there is no gradient to compare: the normalisation alone is checked.
    assert torch.autograd.gradcheck(lambda x: local_normalisation(x, 1.0), patches)


def test_min_pooling_is_not_max_pooling():
    model = CNNIQA(parameters="random").eval()
    patches = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        before = model.patch_scores(patches)
        model.fc1.weight[:, 50:] = 0  # without the minima
        assert not torch.allclose(before, model.patch_scores(patches))


def test_the_largest_and_the_smallest_value_of_each_map_get_the_gradient():
    maps = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    pooled = largest_and_smallest(maps)
    with torch.no_grad():
        assert torch.equal(pooled, largest_and_smallest(maps))
        ends = torch.cat((maps.flatten(2).max(2).values, maps.flatten(2).min(2).values), 1)
    assert torch.equal(pooled, ends)
    gradient, = torch.autograd.grad((pooled * torch.arange(1.0, 7.0)).sum(), maps)
    weights = torch.arange(1.0, 4.0).view(3, 1, 1)
    assert torch.equal(gradient, weights * (maps == maps.amax((2, 3), keepdim=True)) +
                       (weights + 3) * (maps == maps.amin((2, 3), keepdim=True)))


def test_rescaling_the_output_scales_the_scores():
    model = CNNIQA(parameters="random").eval()
    patches = torch.rand(3, 3, 32, 32)
    before = model.patch_scores(patches)
    model.rescale_output(50.0, 20.0)
    torch.testing.assert_close(model.patch_scores(patches), 20 * before + 50)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    torch.save({"conv1.weight": torch.zeros(50, 1, 7, 7)}, tmp_path / "half.pt")
    with pytest.raises(ValueError, match="fc1.weight"):
        CNNIQA(parameters=tmp_path / "half.pt")
    with pytest.raises(ValueError, match="Unknown parameters 'cnniqa_livee'; did you mean"):
        CNNIQA(parameters="cnniqa_livee")
