"""GM-LOG: the authors' features to the last digit, their model on the DMOS it learned, a slow version, odd images."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat
from scipy.ndimage import correlate
from test_reference_values import FOLDER, read

from iqa_lab import load_image
from iqa_lab.no_reference.gm_log import (
    GMLOG,
    distributions,
    gm_log_features,
    gm_log_maps,
    joint_histogram,
    operators,
)
from iqa_lab.ops.color import rgb_to_luma_matlab

MODEL = "weights/gmlog/Learned_SVR_model_on_LIVE.mat"
ROWS = list(csv.DictReader((FOLDER / "gm_log.csv").open()))
#: The features by the authors' Grad_LOG_CP_TIP.m under GNU Octave 7.3 with MATLAB's fspecial, six decimals.
SYNTHETIC_REF = [0.037826, 0.115562, 0.186542, 0.233138, 0.21796, 0.144322, 0.056465, 0.008092, 0.000093, 0, 0.150818,
                 0.149176, 0.143504, 0.135982, 0.123332, 0.104564, 0.083035, 0.057206, 0.032745, 0.019638, 0.036201,
                 0.111278, 0.181107, 0.227802, 0.215518, 0.150632, 0.066182, 0.011135, 0.000145, 0, 0.119518, 0.119628,
                 0.121157, 0.124091, 0.123267, 0.117467, 0.131417, 0.082583, 0.03713, 0.023742]


def official(name: str) -> Path:
    if "IQA_LAB_DATA" not in os.environ:
        pytest.skip("needs the authors' parameter file and images of LIVE: set IQA_LAB_DATA")
    return Path(os.environ["IQA_LAB_DATA"]) / name


def image(name: str) -> torch.Tensor:
    return load_image(official(name)).double() if name.startswith("images/") else read(name.removeprefix("golden/"))


def authors_model() -> GMLOG:
    official(MODEL)  # skips where it is absent
    return GMLOG(parameters="gm_log_live")


def live(number: int) -> torch.Tensor:
    return gm_log_features(image(f"images/live_gblur/gblur/img{number}.png"))[0]


@pytest.fixture
def model(tmp_path) -> GMLOG:
    """A regressor with random support vectors, as `iqa-lab train` would write it."""
    random = np.random.default_rng(0)
    path = tmp_path / "any.npz"
    np.savez(path, support_vectors=random.dirichlet(np.ones(10), (5, 4)).reshape(5, 40),
             coefficients=100 * random.normal(size=5), gamma=3.0, bias=50.0)
    return GMLOG(parameters=path)


def fspecial(size: int, sigma: float) -> np.ndarray:
    t = np.arange(size) - size // 2
    kernel = np.exp(-(t[:, None]**2 + t**2) / (2 * sigma**2))
    return kernel / kernel.sum()


def plain(gray: np.ndarray) -> np.ndarray:
    """Returns the features of one image on 0..255, with two-dimensional filters and a loop over levels."""
    gauss, t = fspecial(7, 0.5), np.arange(-2, 3)
    log = fspecial(5, 0.5) * (t[:, None]**2 + t**2 - 0.5) / 0.0625
    kernels = gauss[1:-1, 1:-1] - gauss[1:-1, 2:], gauss[1:-1, 1:-1] - gauss[2:, 1:-1], log - log.mean()
    g_x, g_y, laplacian = (correlate(gray, k / np.abs(k).sum(), mode="constant") for k in kernels)
    gradient = np.sqrt(g_x**2 + g_y**2) / 2.5
    energy = correlate((gradient**2 + laplacian**2) / 2, fspecial(7, 1.0), mode="constant")
    maps = [(np.abs(m) / (np.sqrt(energy) + 0.2))[2:-2, 2:-2] for m in (gradient, laplacian)]
    levels = [np.clip(np.ceil(m / 0.2), 1, 10) for m in maps]
    K = np.array([[np.mean((levels[0] == a) & (levels[1] == b)) for b in range(1, 11)] for a in range(1, 11)])
    p_g, p_l = K.sum(1), K.sum(0)
    q_g = sum(K[:, b] / (p_l[b] + 1e-4) for b in range(10))
    q_l = sum(K[a] / (p_g[a] + 1e-4) for a in range(10))
    return np.concatenate((p_g, p_l, q_g / q_g.sum(), q_l / q_l.sum()))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["image"].split("/")[-1])
def test_equals_the_stored_value(row):
    score = authors_model()(image(row["image"])).item()
    assert score == pytest.approx(float(row["value"]), abs=float(row["tolerance"]))


def test_all_40_features():
    np.testing.assert_allclose(gm_log_features(read("synthetic:ref"))[0].numpy(), SYNTHETIC_REF, atol=5.1e-7)


@pytest.mark.parametrize("number", [1, 17, 46, 88, 141])
def test_features_are_the_authors_to_the_last_digit(number):
    """Their support vectors are features of LIVE images, from their own MATLAB run; independency comes first there."""
    vectors = loadmat(official(MODEL))["LIVE_SVR_M3"]["SVs"][0, 0].toarray()
    features = live(number).numpy()
    assert np.abs(vectors - np.roll(features, 20)).max(1).min() < 1e-14
    assert np.abs(vectors - features).max(1).min() > 1e-2


def test_the_authors_gamma_is_the_one_their_support_vectors_were_found_with():
    """Wherever a coefficient is inside its bounds the model must return the target plus or minus epsilon = 0.1."""
    regressor = authors_model().regressor
    index = official("images/live_gblur/index_present.csv").read_text().splitlines()
    dmos = {row["image"]: float(row["dmos_realigned"]) for row in csv.DictReader(index)}
    numbers = (17, 46, 69, 73, 105, 115, 118, 132)
    features = torch.stack([live(number) for number in numbers])
    target = torch.tensor([dmos[f"img{number}.png"] for number in numbers], dtype=torch.float64)
    assert regressor.gamma == 3
    torch.testing.assert_close((regressor(features) - target).abs(), torch.full_like(target, 0.1), atol=3e-3, rtol=0)
    regressor.gamma.fill_(2)
    assert (regressor(features) - target).abs().median() > 3  # the gamma of their script


@settings(max_examples=20, deadline=None)
@given(st.integers(7, 40), st.integers(7, 40), st.integers(0, 9999), st.integers(0, 3))
def test_equals_the_plain_version(height, width, seed, blur):
    random = np.random.default_rng(seed)
    gray = np.round(correlate(255 * random.random((height, width)), np.ones((2 * blur + 1,) * 2) / (2 * blur + 1)**2))
    gray[:, width // 2:] = gray[0, 0]  # half of it flat
    features = gm_log_features(torch.from_numpy(gray / 255)[None, None])[0].numpy()
    np.testing.assert_allclose(features, plain(gray), atol=1e-12)


def test_the_operators_are_normalised_and_see_next_to_no_constant():
    """The cut-off derivative sums to 1.7e-4, so that a white area has a gradient; it stays in the first level."""
    for terms in operators():
        kernel = sum(np.outer(rows, columns) for rows, columns in terms)
        assert kernel.shape == (5, 5) and np.abs(kernel).sum() == pytest.approx(1) and abs(kernel.sum()) < 2e-4
    horizontal, vertical, laplacian = (sum(np.outer(*pair) for pair in terms) for terms in operators())
    np.testing.assert_allclose(horizontal, vertical.T)
    np.testing.assert_allclose(laplacian, laplacian.T)
    assert abs(laplacian.sum()) < 1e-15


def test_levels_are_closed_above_and_the_outer_ones_take_the_rest():
    values = torch.tensor([0, 0.1, 0.2, 0.2000001, 0.4, 1.99, 2.0, 2.1, 7.0], dtype=torch.float64).view(1, 1, 1, -1)
    levels = joint_histogram(values, torch.zeros_like(values))[0]
    assert (levels[:, 0] * 9).round().tolist() == [3, 2, 0, 0, 0, 0, 0, 0, 0, 4] and levels[:, 1:].sum() == 0
    assert torch.equal(joint_histogram(torch.zeros_like(values), values)[0], levels.T)


def test_independency_is_the_marginal_of_independent_maps_and_not_of_others():
    p = torch.arange(1.0, 11, dtype=torch.float64) / 55
    independent, equal = torch.outer(p, p.flip(0)), torch.diag(p)
    features = distributions(torch.stack((independent, equal)))
    torch.testing.assert_close(features.view(2, 4, 10).sum(2), torch.ones(2, 4, dtype=torch.float64))
    torch.testing.assert_close(features[0, :20], torch.cat((p, p.flip(0))))
    torch.testing.assert_close(features[0, 20:], features[0, :20], atol=1e-12, rtol=0)
    torch.testing.assert_close(features[1, 20:], torch.full((20,), 0.1, dtype=torch.float64), atol=1e-3, rtol=0)


def test_the_maps_divide_the_contrast_out():
    gray = 255 * rgb_to_luma_matlab(read("synthetic:noise"))[..., :60, :70]
    for strong, weak in zip(gm_log_maps(gray), gm_log_maps(gray / 2), strict=True):
        assert strong.shape == (1, 1, 56, 66) and strong.max() < 3.6
        assert 0.8 < (weak.sum() / strong.sum()).item() < 1  # undivided it would be 0.5


def test_a_score_does_not_depend_on_its_batch(model):
    images = torch.cat([read(f"synthetic:{name}")[..., :90, :100] for name in ("ref", "noise", "quant", "blur")])
    features = gm_log_features(images)
    assert torch.equal(features, torch.cat([gm_log_features(image[None]) for image in images]))
    torch.testing.assert_close(model(images), torch.cat([model(image[None]) for image in images]))


@pytest.mark.parametrize("value", [0, 0.4, 1])
def test_a_flat_image_has_every_pixel_in_the_first_level(value, model):
    flat = torch.full((1, 3, 60, 60), float(value))
    expected = torch.tensor([1.0] + [0.0] * 9, dtype=torch.float64).repeat(4)
    assert torch.equal(gm_log_features(flat)[0], expected) and model(flat).isfinite().all()


@pytest.mark.parametrize("case", ["one pixel", "ramp", "checkerboard", "noise", "two colours", "odd"])
def test_difficult_images_have_four_distributions(case, model):
    image = torch.zeros(1, 1, 61, 60)
    image[..., 30, 30] = 1
    noise = torch.rand(1, 1, 61, 60, generator=torch.Generator().manual_seed(0))
    board = (torch.arange(61)[:, None] + torch.arange(60)).remainder(2).float()[None, None]
    image = {"ramp": torch.linspace(0, 1, 60).expand(1, 1, 61, 60), "checkerboard": board, "noise": noise,
             "two colours": (noise > 0.5).float(), "odd": noise[..., :7, :59]}.get(case, image)
    features = gm_log_features(image)
    assert features.min() >= 0 and model(image).isfinite().all()
    torch.testing.assert_close(features.view(4, 10).sum(1), torch.ones(4, dtype=torch.float64))


def test_type_colour_and_gradient(model):
    photo = read("synthetic:noise")[..., :60, :71].requires_grad_()
    score = model(photo)
    assert score.shape == (1,) and score.dtype == torch.float64 and not score.requires_grad
    assert model(photo.float()).dtype == torch.float32
    torch.testing.assert_close(model(photo.float()).double(), score, rtol=1e-5, atol=1e-5)
    gray = rgb_to_luma_matlab(photo)
    torch.testing.assert_close(model(gray), score)
    torch.testing.assert_close(model(gray.expand(-1, 3, -1, -1)), score)


def test_wrong_images_and_files_are_refused(model, tmp_path):
    assert model(torch.rand(1, 1, 7, 7)).isfinite().all()
    with pytest.raises(ValueError, match="sides of 7 pixels"):
        gm_log_features(torch.rand(1, 1, 6, 9))
    with pytest.raises(TypeError, match="divide by 255"):
        model(torch.zeros(1, 3, 20, 20, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"\.npz"):
        GMLOG(parameters=tmp_path / "model.txt")
