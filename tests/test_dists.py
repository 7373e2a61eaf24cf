"""DISTS against a plain version on torchvision's own layers, the authors' alpha and beta, textures, resizing, options."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.signal import convolve2d
from torchvision import models

from iqa_lab import load_image
from iqa_lab.backbones.checkpoints import read_state
from iqa_lab.backbones.features import FeatureExtractor
from iqa_lab.backbones.weights import find_weights, local_weights
from iqa_lab.distortions import distort
from iqa_lab.full_reference.dists import LAYERS, DISTS, L2Pooling, shrink, texture_and_structure
from iqa_lab.full_reference.ssim import ssim
from iqa_lab.images import read_pixels

PHOTOS = Path(skimage.__file__).parent / "data"
KERNEL = np.outer((1, 2, 1), (1, 2, 1)) / 16
MEAN, STD = (torch.tensor(numbers).view(3, 1, 1) for numbers in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def random_pair(height: int, width: int, n: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(height + width)
    return tuple(torch.rand(2, n, 3, height, width, generator=generator))


@pytest.fixture(scope="module")
def vgg() -> torch.nn.Module:
    """torchvision's VGG-16 with random weights that neither fade nor grow."""
    torch.manual_seed(0)
    network = models.vgg16(weights=None).features.eval().requires_grad_(False)
    for layer in network:
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.bias, 0, 0.05)
    return network


@pytest.fixture(scope="module")
def official(vgg, tmp_path_factory) -> DISTS:
    """The authors' alpha and beta on that network."""
    path = tmp_path_factory.mktemp("weights") / "vgg.pth"
    torch.save({f"features.{name}": value for name, value in vgg.state_dict().items()}, path)
    return DISTS.from_official(find_weights("dists_alpha_beta"), weights=path)


@pytest.fixture(scope="module")
def squeezenet() -> DISTS:
    return DISTS(backbone="squeezenet", parameters="uniform")


def plain_maps(image: torch.Tensor, vgg: torch.nn.Module) -> list[np.ndarray]:
    """Returns the six layers of one image, layer by layer as the paper lists them, in float64."""
    maps = [image]
    x = (image - MEAN) / STD
    for i, layer in enumerate(vgg[:30]):
        if isinstance(layer, torch.nn.MaxPool2d):
            pooled = [convolve2d(channel.numpy()**2, KERNEL, "same")[::2, ::2] for channel in x[0]]
            x = torch.from_numpy(np.sqrt(np.array(pooled) + 1e-12)).float()[None]
        else:
            x = layer(x)
        if i in (3, 8, 15, 22, 29):
            maps.append(x.clone())
    return [layer[0].double().numpy() for layer in maps]


def plain_dists(x: list[np.ndarray], y: list[np.ndarray], alpha: np.ndarray, beta: np.ndarray) -> float:
    similarity, j = 0.0, 0
    for a, b in ((a, b) for layers in zip(x, y) for a, b in zip(*layers)):
        covariance = ((a - a.mean()) * (b - b.mean())).mean()
        similarity += alpha[j] * (2 * a.mean() * b.mean() + 1e-6) / (a.mean()**2 + b.mean()**2 + 1e-6)
        similarity += beta[j] * (2 * covariance + 1e-6) / (a.var() + b.var() + 1e-6)
        j += 1
    assert j == len(alpha) == 1475
    return 1 - similarity / (alpha.sum() + beta.sum())


@pytest.mark.parametrize("size", [(32, 40), (37, 51)])
def test_equals_the_plain_version(official, vgg, size):
    x, y = random_pair(*size)
    state = read_state(find_weights("dists_alpha_beta"))
    weights = [state[name].flatten().double().numpy() for name in ("alpha", "beta")]
    for i, score in enumerate(official(x, y).tolist()):
        maps = (plain_maps(image[i:i + 1], vgg) for image in (x, y))
        assert score == pytest.approx(plain_dists(*maps, *weights), rel=1e-4)


def test_the_first_stages_with_the_official_weights():
    if local_weights("vgg16_blocks_1_and_2") is None:
        pytest.skip("needs the folder of official weights, IQA_LAB_DATA or IQA_LAB_WEIGHTS")
    with np.load(find_weights("vgg16_blocks_1_and_2")) as arrays:
        kernels, biases = ([torch.from_numpy(arrays[f"{i}.{kind}"]) for i in (0, 2, 5, 7)]
                           for kind in ("weight", "bias"))
    image = load_image(PHOTOS / "chelsea.png")[:, :, :101, :122]
    x = (image - MEAN) / STD
    stage1 = F.relu(F.conv2d(F.relu(F.conv2d(x, kernels[0], biases[0], padding=1)), kernels[1], biases[1], padding=1))
    pooled = np.array([np.sqrt(convolve2d(m.double().numpy()**2, KERNEL, "same")[::2, ::2] + 1e-12) for m in stage1[0]])
    x = torch.from_numpy(pooled).float()[None]
    stage2 = F.relu(F.conv2d(F.relu(F.conv2d(x, kernels[2], biases[2], padding=1)), kernels[3], biases[3], padding=1))
    found = FeatureExtractor("vgg16", ["relu1_2", "pool1", "relu2_2"], pooling=L2Pooling)(image)
    for name, expected in (("relu1_2", stage1), ("pool1", x), ("relu2_2", stage2)):
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-4, msg=name)


def test_the_pooling_kernel_is_a_hanning_window_of_sum_one():
    kernel = L2Pooling(7).kernel
    hanning = np.hanning(5)[1:-1]
    assert kernel.shape == (7, 1, 3, 3) and (kernel.sum((1, 2, 3)) == 1).all()
    np.testing.assert_allclose(kernel[3, 0], np.outer(hanning, hanning) / hanning.sum()**2, rtol=1e-6)
    pooled = L2Pooling(2)(torch.full((1, 2, 9, 11), -3.0))
    assert pooled.shape == (1, 2, 5, 6)
    torch.testing.assert_close(pooled[..., 1:-1, 1:-1], torch.full((1, 2, 3, 4), 3.0))  # beyond the border are zeros


def test_alpha_and_beta_lie_on_the_layers_as_published(official):
    """Sums of the authors' file; 88 % of the weight is on texture, and structure counts in the pixels and in relu5_3."""
    expected = {"image": (0.0632, 0.0616), "relu1_2": (0.0386, 0.0001), "relu2_2": (0.0779, 0.0007),
                "relu3_3": (0.1531, 0.0024), "relu4_3": (0.2747, 0.0020), "relu5_3": (0.2686, 0.0572)}
    shares = official.shares()
    assert list(shares) == list(expected)
    np.testing.assert_allclose(list(shares.values()), list(expected.values()), rtol=0, atol=6e-5)
    assert official.alpha.shape == official.beta.shape == (1475,) and official.alpha.min() > 0 and official.beta.min() >= 0
    assert (official.alpha.sum() + official.beta.sum()).item() == pytest.approx(1, abs=1e-5)


#: Values of whole images that were not resized, by distorted and reference image: value, tolerance.
FULL_SIZE = {
    # piq's tests at 9948a52f, said to come from the authors' code; the tolerance is theirs
    ("piq/goldhill_jpeg.gif", "piq/goldhill.gif"): (0.19509, 1e-3),
    ("tid2013_pairs/distorted/i01_01_5.bmp", "tid2013_pairs/reference/i01.bmp"): (0.17321, 1e-3),
    # pyiqa's results_official.csv at 01ae427f: four printed digits of a run on another machine
    ("tid2013_pairs/distorted/i03_11_5.bmp", "tid2013_pairs/reference/i03.bmp"): (0.4742, 1e-4),
    ("tid2013_pairs/distorted/i04_18_5.bmp", "tid2013_pairs/reference/i04.bmp"): (0.1424, 1e-4),
    ("tid2013_pairs/distorted/i06_18_3.bmp", "tid2013_pairs/reference/i06.bmp"): (0.06825, 1e-4)}


@pytest.fixture(scope="module")
def real() -> Path:
    """The folder of golden images; skips unless the complete VGG-16 is here as well."""
    if local_weights("vgg16_imagenet") is None or "IQA_LAB_DATA" not in os.environ:
        pytest.skip("needs the complete VGG-16 (vgg16_imagenet, 553 MB) and IQA_LAB_DATA")
    return Path(os.environ["IQA_LAB_DATA"]) / "golden"


def read(path: Path) -> torch.Tensor:
    if path.suffix == ".gif":  # the palette index is the gray value
        return torch.from_numpy(np.array(Image.open(path), dtype=np.float32) / 255)[None, None]
    return load_image(path)


def test_the_authors_value(real):
    for row in csv.DictReader((Path(__file__).parent / "reference_values" / "dists.csv").open()):
        score = DISTS()(read(real / row["distorted"]), read(real / row["reference"])).item()
        assert score == pytest.approx(float(row["value"]), abs=float(row["tolerance"]))


@pytest.mark.parametrize("pair", FULL_SIZE, ids=lambda pair: Path(pair[0]).stem)
def test_published_values_of_whole_images(pair, real):
    value, tolerance = FULL_SIZE[pair]
    assert DISTS(resize=False)(*(read(real / name) for name in pair)).item() == pytest.approx(value, abs=tolerance)


def test_the_values_of_torchmetrics(real):
    """The example of its documentation, whose random numbers have the seed 42."""
    torch.manual_seed(42)
    x, y = torch.rand(5, 3, 256, 256), torch.rand(5, 3, 256, 256)
    expected = torch.tensor((0.1285, 0.1344, 0.1356, 0.1277, 0.1276))
    torch.testing.assert_close(DISTS()(x, y).detach(), expected, rtol=0, atol=1e-4)


@given(st.integers(0, 2**32 - 1), st.floats(0, 10))
def test_texture_and_structure_are_the_quotients_of_the_paper(seed, offset):
    x, y = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + offset
    mu_x, mu_y = (maps.mean((2, 3)) for maps in (x, y))
    sigma_xy = ((x - mu_x[..., None, None]) * (y - mu_y[..., None, None])).mean((2, 3))
    texture, structure = texture_and_structure(x, y)
    torch.testing.assert_close(1 - texture, (2 * mu_x * mu_y + 1e-6) / (mu_x**2 + mu_y**2 + 1e-6), rtol=1e-7, atol=1e-9)
    variances = x.var((2, 3), correction=0) + y.var((2, 3), correction=0)
    torch.testing.assert_close(1 - structure, (2 * sigma_xy + 1e-6) / (variances + 1e-6), rtol=1e-7, atol=1e-9)
    for a, b in zip(texture_and_structure(y, x), (texture, structure)):
        torch.testing.assert_close(a, b)


def test_opposite_structure_is_not_clipped():
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64)
    assert (texture_and_structure(x, -x)[1] > 1.99).all()


def test_identical_and_flat_images(official, squeezenet):
    x, y = random_pair(40, 48)
    for metric in (official, squeezenet):
        assert metric(x, x).tolist() == [0, 0]
        torch.testing.assert_close(metric(x, y), metric(y, x))
    black, gray, white = (torch.full((1, 3, 48, 48), value) for value in (0.0, 0.5, 1.0))
    assert squeezenet(gray, gray).item() == 0
    assert 0 < squeezenet(gray, white).item() < squeezenet(black, white).item() <= 1


@pytest.mark.parametrize("name", ["brick", "grass", "gravel"])
def test_another_crop_of_a_texture_is_nearer_than_a_blurred_one(name, squeezenet):
    """For SSIM it is the other way round: it compares point by point."""
    pixels = read_pixels(PHOTOS / f"{name}.png")
    parts = pixels[:256, :256], pixels[256:, 256:], distort(pixels[:256, :256], "gaussian_blur", 5)
    crop, other, blurred = (torch.from_numpy(part.transpose(2, 0, 1) / 255).float()[None] for part in parts)
    assert squeezenet(other, crop) < squeezenet(blurred, crop)
    assert ssim(other, crop) < ssim(blurred, crop)


@pytest.mark.parametrize("size", [(300, 451), (512, 384), (256, 400)])
def test_resizing_is_that_of_pillow_up_to_its_rounding(size):
    pixels = read_pixels(PHOTOS / "astronaut.png")[:size[0], :size[1]]
    height, width = pixels.shape[:2]
    scaled = tuple(int(256 * side / min(height, width)) for side in (width, height))
    expected = np.asarray(Image.fromarray(pixels).resize(scaled, Image.Resampling.BILINEAR), dtype=float)
    found = 255 * shrink(torch.from_numpy(pixels.transpose(2, 0, 1) / 255)[None])[0].permute(1, 2, 0).numpy()
    assert found.shape == expected.shape and np.abs(found - expected).max() <= 1.01  # half a level for each of two passes


def test_resizing_is_an_option_and_leaves_small_images_alone(squeezenet):
    whole = DISTS(backbone="squeezenet", parameters="uniform", resize=False)
    small, large = random_pair(256, 270, 1), random_pair(280, 300, 1)
    assert squeezenet(*small).equal(whole(*small)) and (squeezenet(*large) - whole(*large)).abs() > 1e-3
    torch.testing.assert_close(squeezenet(*large), whole(*(shrink(image) for image in large)))


def test_features_of_a_reference_can_be_kept(squeezenet):
    x, y = random_pair(48, 64, 3)
    kept = squeezenet.features(y[:1])
    assert [maps.shape[1] for maps in kept.values()] == list(squeezenet.widths.values())
    expected = squeezenet(x, y[:1].expand(3, -1, -1, -1))
    torch.testing.assert_close(squeezenet.distance(squeezenet.features(x), kept), expected)


@pytest.mark.parametrize("backbone", LAYERS)
def test_every_backbone_has_the_maps_that_the_table_says(backbone):
    metric = DISTS(backbone=backbone, parameters="uniform", weights="random")
    maps = metric.features(torch.rand(1, 3, 64, 64))
    assert {name: value.shape[1] for name, value in maps.items()} == metric.widths
    assert all(texture == pytest.approx(structure) for texture, structure in metric.shares().values())
    assert metric(*random_pair(16, 17, 1)).isfinite().all() and "UNTRAINED" in repr(metric)


def test_gray_is_the_same_as_three_equal_channels(squeezenet):
    x, y = (image[:, :1] for image in random_pair(40, 48))
    torch.testing.assert_close(squeezenet(x, y), squeezenet(x.expand(-1, 3, -1, -1), y.expand(-1, 3, -1, -1)))


def test_gradients():
    pair = [torch.rand(1, 2, 4, 5, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(texture_and_structure, pair)
    torch.manual_seed(0)
    metric = DISTS(backbone="squeezenet", parameters="uniform").double()
    x, y = (torch.rand(1, 3, 18, 20, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(metric, (x, y), fast_mode=True)
    metric.alpha.requires_grad_()
    metric(x, y).sum().backward()
    assert metric.alpha.grad.abs().sum() > 0 and all(p.grad is None for p in metric.extractor.parameters())


def test_a_loss_has_the_same_gradient_as_both_gradients_together(squeezenet):
    x, y = random_pair(40, 48)
    both = squeezenet(x.requires_grad_(), y.requires_grad_()).sum()
    gradient, _ = torch.autograd.grad(both, (x, y))
    alone, = torch.autograd.grad(squeezenet(x, y.detach()).sum(), x)  # the reference goes through the network apart
    torch.testing.assert_close(alone, gradient, rtol=1e-3, atol=1e-6)
    assert not squeezenet(x.detach(), y.detach()).requires_grad


def test_files_are_read_strictly(tmp_path):
    torch.save({name: torch.full((1, 963, 1, 1), 0.1) for name in ("alpha", "beta")}, tmp_path / "own.pt")
    own = DISTS(backbone="squeezenet", parameters=tmp_path / "own.pt")
    x, y = random_pair(32, 32)
    uniform = DISTS(backbone="squeezenet", parameters="uniform")
    torch.testing.assert_close(own(x, y), uniform(x, y))  # alpha and beta are divided by their sum
    with pytest.raises(ValueError, match=r"alpha \(963,\) instead of \(1475,\)"):
        DISTS.from_official(tmp_path / "own.pt", weights="random")
    with pytest.raises(ValueError, match=r"alpha \(1475,\) instead of \(963,\)"):
        DISTS(backbone="squeezenet")
    torch.save({"alpha": torch.ones(963)}, tmp_path / "own.pt")
    with pytest.raises(ValueError, match="missing: beta"):
        DISTS(backbone="squeezenet", parameters=tmp_path / "own.pt")
    with pytest.raises(ValueError, match="Expected a backbone of DISTS"):
        DISTS(backbone="resnet50", parameters="uniform")
