"""IL-NIQE gives the numbers of the authors' MATLAB code and of a plain second version, also on difficult images.

Not used: the published 92.3750 of pepper_3 without imresize. One block fits into that image, and MATLAB's nancov takes
the features of a single block for samples of one number. With imresize an image has 36 blocks.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage, optimize, signal, special
from synthetic_images import synthetic_image
from test_reference_values import FOLDER, read

from iqa_lab.data_scripts import fit_ilniqe
from iqa_lab.embedded import SHIPPED
from iqa_lab.no_reference import ilniqe as module
from iqa_lab.no_reference import ilniqe_channels as channels
from iqa_lab.no_reference.ilniqe import ILNIQE, P, block_features, ilniqe_features

PRISTINE = SHIPPED / "weights/ilniqe_pristine.npz"
ROWS = list(csv.DictReader((FOLDER / "ilniqe.csv").open()))


def authors() -> ILNIQE:
    if "IQA_LAB_DATA" not in os.environ:
        pytest.skip("needs the authors' templateModel.mat and images: set IQA_LAB_DATA")
    return ILNIQE(parameters=Path(os.environ["IQA_LAB_DATA"]) / "weights/ilniqe/templateModel.mat")


def image(name: str) -> torch.Tensor:
    """Returns a reference row's image; NAME@524 repeats it to 524 x 524, so that nothing is left to resize."""
    name, _, side = name.partition("@")
    if not side:
        return read(name.removeprefix("golden/"))
    pixels = synthetic_image(name.partition(":")[2])
    padded = np.pad(pixels, [(0, int(side) - n) for n in pixels.shape[:2]] + [(0, 0)], mode="wrap")
    return torch.from_numpy(padded.transpose(2, 0, 1) / 255)[None]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['image'].split('/')[-1]}-{row['source'][17:42]}")
def test_equals_the_stored_value(row):
    model = authors() if row["metric"] == "ilniqe_authors" else ILNIQE(parameters=PRISTINE)
    x = image(row["image"])
    if "without imresize" in row["source"]:
        score = model.distance(*block_features((255 * x).round())[:2])
    else:
        score = model(x)
    assert score.item() == pytest.approx(float(row["value"]), abs=float(row["tolerance"]))


# ---------------------------------------------------------------------------------------------- a plain second version

GRID = np.arange(200, 10001) / 1000
RATIO = special.gamma(2 / GRID) ** 2 / (special.gamma(1 / GRID) * special.gamma(3 / GRID))


def plain_derivatives(x, scale):
    sigma = 1.66 / scale**0.28
    t = np.arange(-np.ceil(3 * sigma), np.ceil(3 * sigma) + 1)
    bell = np.exp(-(t[:, None] ** 2 + t**2) / (2 * sigma**2))
    return signal.convolve2d(x, t * bell, "same"), signal.convolve2d(x, t[:, None] * bell, "same")


def plain_log_gabor(x, scale, s, o):
    """The complex response of one filter, by the full spectrum."""
    v, u = np.meshgrid(np.fft.fftfreq(x.shape[0]), np.fft.fftfreq(x.shape[1]), indexing="ij")
    r = np.hypot(u, v)
    r[0, 0] = 1
    wavelength = 2.4 / scale**0.87 * 1.31**s
    radial = np.exp(-np.log(r * wavelength) ** 2 / (2 * np.log(0.55) ** 2))
    radial[0, 0] = 0
    distance = np.angle(np.exp(1j * (np.arctan2(-v, u) - o * np.pi / 4)))
    return np.fft.ifft2(np.fft.fft2(x) * radial * np.exp(-distance**2 / (2 * (np.pi / 4 / 1.1) ** 2)))


def plain_aggd(x):
    left, right = np.sqrt(np.mean(x[x < 0] ** 2)), np.sqrt(np.mean(x[x > 0] ** 2))
    g = left / right
    ratio = np.mean(np.abs(x)) ** 2 / np.mean(x**2) * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
    alpha = GRID[np.argmin((RATIO - ratio) ** 2)]
    width = np.sqrt(special.gamma(1 / alpha) / special.gamma(3 / alpha))
    return alpha, left * width, right * width


def plain_shape_and_width(x):
    alpha, left, right = plain_aggd(x)
    return [alpha, (left + right) / 2]


def plain_weibull(x):
    y = np.log(x).ravel()
    y_max, y = y.max(), y - y.max()
    k = optimize.brentq(lambda k: np.sum(y * np.exp(k * y)) / np.sum(np.exp(k * y)) - y.mean() - 1 / k, 1e-3, 1e3,
                        xtol=1e-15, rtol=1e-14)
    return [np.exp(y_max) * np.mean(np.exp(k * y)) ** (1 / k), k]


def plain_block(maps, cut):
    """The 234 features of one block, channel by channel, in the order of computefeature.m."""
    blocks = [x[cut] for x in maps]
    features = plain_shape_and_width(blocks[0])
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        alpha, left, right = plain_aggd(blocks[0] * np.roll(blocks[0], shift, (0, 1)))
        features += [alpha, (right - left) * special.gamma(2 / alpha) / special.gamma(1 / alpha), left, right]
    for x in blocks[1:4]:
        features += plain_weibull(x)
    for x in blocks[4:7]:
        features += [x.mean(), x.var(ddof=1)]
    for x in blocks[7:85]:
        features += plain_shape_and_width(x)
    for x in blocks[85:]:
        features += plain_weibull(x)
    return features


def plain_maps(rgb, scale):
    """The 109 channels of computequality.m, of an array (3, H, W) on 0..255."""
    opponent = np.tensordot([[0.3, 0.04, -0.35], [0.34, -0.6, 0.17], [0.06, 0.63, 0.27]], rgb, 1)
    t = np.exp(-np.arange(-2, 3) ** 2 / (2 * (5 / 6) ** 2))
    window = np.outer(t, t) / t.sum() ** 2
    mean, square = (ndimage.correlate(x, window, mode="nearest") for x in (opponent[2], opponent[2] ** 2))
    coefficients = (opponent[2] - mean) / (np.sqrt(np.abs(square - mean**2)) + 1)
    red, green, blue = (x - x.mean() for x in np.log(rgb + 1e-5))
    colour = [(red + green + blue) / np.sqrt(3), (red + green - 2 * blue) / np.sqrt(6), (red - green) / np.sqrt(2)]
    gradients = [plain_derivatives(x, scale) for x in opponent]
    responses = [part for s in range(3) for o in range(4) for z in [plain_log_gabor(opponent[2], scale, s, o)]
                 for part in (z.real, z.imag)]
    partials = [plain_derivatives(x, scale) for x in responses]
    eps = np.finfo(float).eps
    return [coefficients, *(np.hypot(*pair) + eps for pair in gradients), *colour,
            *(x for pair in gradients for x in pair), *responses, *(x for pair in partials for x in pair),
            *(np.hypot(*pair) + eps for pair in partials)]


def plain_half(x):
    t = np.exp(-np.arange(-2.5, 3) ** 2 / (2 * 0.9**2))
    padded = np.pad(x, ((2, 3), (2, 3)), mode="edge")
    return signal.correlate2d(padded, np.outer(t, t) / t.sum() ** 2, "valid")[::2, ::2]


def textured(height, width, seed=0):
    """Pixels without flat places, smooth enough that no fit hits the end of its grid."""
    random = np.random.default_rng(seed)
    return np.stack([128 + 30 * ndimage.gaussian_filter(random.normal(size=(height, width)), 1.2, mode="wrap") / 0.23
                     for _ in range(3)]).clip(1, 254)


def test_all_468_features_are_those_of_the_plain_version():
    rgb = textured(P, 2 * P)
    features, complete, sharpness = block_features(torch.from_numpy(rgb)[None])
    assert features.shape == (1, 2, 468) and complete.all() and sharpness.shape == (1, 2)
    maps, small = plain_maps(rgb, 1), plain_maps(np.stack([plain_half(x) for x in rgb]), 2)
    assert len(maps) == 109
    for block in range(2):
        expected = plain_block(maps, np.s_[:, P * block:P * (block + 1)]) \
            + plain_block(small, np.s_[:, P // 2 * block:P // 2 * (block + 1)])
        np.testing.assert_allclose(features[0, block].numpy(), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("scale", [1, 2])
def test_derivatives_are_convolutions_with_zeros_around(scale):
    x = textured(20, 27)
    ours = channels.gaussian_derivatives(torch.from_numpy(x)[None], scale)
    expected = [plain_derivatives(channel, scale) for channel in x]
    for index in range(2):
        np.testing.assert_allclose(ours[index][0].numpy(), [pair[index] for pair in expected], atol=1e-9)


def plain_imresize(x, size):
    """MATLAB's imresize of uint8 to (size, size), one axis after the other, the smaller scale first."""
    for axis in np.argsort([size / n for n in x.shape], kind="stable"):
        n = x.shape[axis]
        scale = size / n
        widening = max(1, 1 / scale)
        weights = np.zeros((size, n))
        for i in range(size):
            centre = (i + 0.5) / scale - 0.5
            for j in range(int(np.floor(centre - 2 * widening)), int(np.ceil(centre + 2 * widening)) + 1):
                t = abs(centre - j) / widening
                value = 1.5 * t**3 - 2.5 * t**2 + 1 if t <= 1 else -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t <= 2 else 0
                weights[i, np.pad(np.arange(n), n, mode="symmetric")[j + n]] += value
        x = np.tensordot(weights / weights.sum(1, keepdims=True), x, (1, axis))
        x = np.floor(np.clip(np.moveaxis(x, 0, axis), 0, 255) + 0.5)
    return x


@pytest.mark.parametrize("height, width", [(97, 113), (701, 90), (97, 887)])
def test_the_resize_rounds_after_each_axis(height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width)).astype(float)
    ours = channels.resize_as_bytes(torch.from_numpy(pixels / 255)[None, None].float())
    assert ours.dtype == torch.float64 and ours.shape == (1, 1, 524, 524)
    difference = ours[0, 0].numpy() - plain_imresize(pixels, 524)
    assert (difference != 0).mean() < 0.005 and np.abs(difference).max() <= 1  # exact halves go by rounding errors
    once = channels.resize(torch.from_numpy(pixels)[None, None], size=(524, 524)).clamp(0, 255).add(0.5).floor()
    assert (once != ours).double().mean() > 0.05  # what ports do


def test_nothing_is_resized_at_524():
    x = image("synthetic:ref@524")
    assert torch.equal(channels.resize_as_bytes(x), (255 * x).round())


def test_downsampling_and_filters_of_odd_sizes():
    x = textured(31, 44)
    half = channels.downsample(torch.from_numpy(x)[None])
    np.testing.assert_allclose(half[0].numpy(), [plain_half(channel) for channel in x], rtol=1e-12)
    responses = list(channels.log_gabor_responses(torch.from_numpy(x[:1, :30])[None], 2))
    for index, response in enumerate(responses):
        z = plain_log_gabor(x[0, :30], 2, *divmod(index, 4))
        np.testing.assert_allclose(response[0].numpy(), [z.real, z.imag], atol=1e-9)


# ------------------------------------------------------------------------------------------------------- the distance


def random_model(dimensions=12, n=30) -> ILNIQE:
    random = np.random.default_rng(3)
    model = ILNIQE(parameters=PRISTINE)
    basis, _ = np.linalg.qr(random.normal(size=(468, dimensions)))
    model.mean, model.basis = torch.from_numpy(random.normal(size=dimensions)), torch.from_numpy(basis)
    model.centre = torch.from_numpy(random.normal(size=468))
    model.covariance = torch.from_numpy(np.cov(random.normal(size=(n, dimensions)), rowvar=False))
    return model


def test_the_distance_is_that_of_the_release():
    """computequality.m with NaN in the undefined block: nanmean, nancov, pinv."""
    model, random = random_model(), np.random.default_rng(4)
    features, complete = random.normal(size=(7, 468)), np.arange(7) != 2
    x = (features - model.centre.numpy()) @ model.basis.numpy()
    mean, covariance = x[complete].mean(0), np.cov(x[complete], rowvar=False)
    x[2] = mean
    inverse = np.linalg.pinv((model.covariance.numpy() + covariance) / 2)
    expected = np.mean([np.sqrt(d @ inverse @ d) for d in x - model.mean.numpy()])
    score = model.distance(torch.from_numpy(features)[None], torch.from_numpy(complete)[None])
    assert score.item() == pytest.approx(expected, rel=1e-10)


def test_an_image_without_a_defined_block_gets_the_releases_constants():
    model = random_model()
    inverse = np.linalg.inv((model.covariance.numpy() + 2000) / 2)
    d = 2000 - model.mean.numpy()
    score = model.distance(torch.zeros(1, 5, 468, dtype=torch.float64), torch.zeros(1, 5, dtype=torch.bool))
    assert score.item() == pytest.approx(np.sqrt(d @ inverse @ d), rel=1e-6)


def test_one_block_has_no_covariance():
    model = random_model()
    features = torch.rand(1, 1, 468, dtype=torch.float64)
    d = ((features - model.centre) @ model.basis - model.mean)[0, 0].numpy()
    expected = np.sqrt(d @ np.linalg.inv(model.covariance.numpy() / 2) @ d)
    assert model.distance(features, torch.ones(1, 1, dtype=torch.bool)).item() == pytest.approx(expected, rel=1e-10)


# -------------------------------------------------------------------------------------------------- images and models


@pytest.fixture(scope="module")
def model() -> ILNIQE:
    return ILNIQE(parameters=PRISTINE)


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    return read("embedded:references/chelsea.png").float()[..., 30:230, 100:330]


def test_a_score_does_not_depend_on_its_batch_or_type(model, photo):
    together = model(torch.cat((photo, 0.5 * photo.flip(-1))))
    assert together.shape == (2,) and together.dtype == torch.float32 and together.unique().numel() == 2
    alone = model(0.5 * photo.flip(-1).double())
    assert alone.dtype == torch.float64 and together[1].item() == pytest.approx(alone.item(), rel=1e-6)


def test_images_are_resized_to_36_blocks_and_small_ones_refused(photo):
    features, complete, sharpness = ilniqe_features(photo)
    assert features.shape == (1, 36, 468) and complete.shape == sharpness.shape == (1, 36)
    with pytest.raises(ValueError, match="sides of 84 pixels"):
        ilniqe_features(photo[..., :83, :])


@pytest.mark.parametrize("case", ["black", "white", "gray", "half black", "ramp", "checkerboard", "gray photo"])
def test_difficult_pixels_have_a_finite_score_and_gradient(model, photo, case):
    side = 2 * P
    pixels = 255 * photo.double()[..., :side, :side].clone()
    flat = {"black": 0.0, "white": 255.0, "gray": 127.0}
    if case in flat:
        pixels[:] = flat[case]
    elif case == "half black":
        pixels[..., 100:] = 0
    elif case == "ramp":
        pixels[:] = torch.linspace(0, 255, side)
    elif case == "checkerboard":
        pixels[:] = 255 * (torch.arange(side)[:, None] + torch.arange(side)).remainder(2)
    elif case == "gray photo":
        pixels = pixels[:, :1]
    pixels.requires_grad_()
    features, complete, _ = block_features(pixels)
    score = model.distance(features, complete)
    score.sum().backward()
    assert features.isfinite().all() and score.isfinite().all() and pixels.grad.isfinite().all()
    if case in flat:
        assert not complete.any() and 50 < score.item() < 80
    elif "photo" in case:
        assert complete.all() and pixels.grad.any()


def test_gray_counts_as_equal_channels(photo):
    gray = 255 * photo.double()[:, 1:2, :P, :P]
    features, expected = (block_features(x)[0] for x in (gray, gray.expand(-1, 3, -1, -1)))
    torch.testing.assert_close(features, expected, rtol=1e-9, atol=1e-9)


def test_the_gradient_of_the_features_without_a_grid():
    """Moments and Weibull fits are smooth, other than the shapes of the asymmetric Gaussian: a central difference."""
    smooth = [i + scale for scale in (0, 234) for i in (*range(18, 30), *range(186, 234))]
    x = torch.from_numpy(textured(P, P))[None].requires_grad_()
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(len(smooth), generator=generator, dtype=torch.float64)
    direction = torch.randn(x.shape, generator=generator, dtype=torch.float64)

    def total(pixels):
        return block_features(pixels)[0][0, 0, smooth] @ weight

    total(x).backward()
    with torch.no_grad():
        slope = (total(x + 1e-4 * direction) - total(x - 1e-4 * direction)) / 2e-4
    assert (x.grad * direction).sum().item() == pytest.approx(slope.item(), rel=1e-5)


def test_the_gradient_of_the_distance():
    model, generator = random_model(4), torch.Generator().manual_seed(2)
    features = torch.randn(1, 5, 468, generator=generator, dtype=torch.float64)
    complete = torch.tensor([[True, True, False, True, True]])
    x = torch.randn(5, 468, generator=generator, dtype=torch.float64)

    def score(t):
        return model.distance(features + t * x, complete)

    assert torch.autograd.gradcheck(score, torch.tensor(0.3, dtype=torch.float64, requires_grad=True))


def test_a_flat_block_takes_the_mean_of_the_others(photo):
    pixels = (255 * photo.double()).round()[..., :2 * P, :2 * P].clone()
    pixels[..., :P + 12, :P + 12] = 77
    _, complete, sharpness = block_features(pixels)
    assert complete.tolist() == [[False, True, True, True]] and sharpness[0, 0] < sharpness[0, 1:].min()


def test_a_block_must_be_defined_at_both_scales(monkeypatch):
    defined = {1: [True, True, False, False], 2: [True, False, True, False]}
    monkeypatch.setattr(module, "_scale_features", lambda pixels, scale: (
        torch.full((1, 4, 234), float(scale)), torch.tensor([defined[scale]]), torch.full((1, 4), float(scale))))
    features, complete, sharpness = block_features(torch.zeros(1, 3, 2 * P, 2 * P))
    assert complete.tolist() == [[True, False, False, False]] and (sharpness == 1).all()
    assert (features[..., :234] == 1).all() and (features[..., 234:] == 2).all()


def test_flat_regions_have_no_derivative_and_no_response():
    """Without the dead zone rounding errors of about 1e-13 would have signs and logarithms."""
    x = torch.full((1, 1, 40, 40), 91.3, dtype=torch.float64)
    assert all((map_[..., 5:-5, 5:-5] == 0).all() for map_ in channels.gaussian_derivatives(x, 1))
    assert all((response == 0).all() for response in channels.log_gabor_responses(x, 1))


def test_constants_are_the_releases():
    assert (channels.SIDE, P, channels.K_LOG, channels.DOWNSAMPLING_TAPS) == (524, 84, 1e-5, 6)
    assert (channels.DERIVATIVE_SIGMA, channels.DERIVATIVE_SCALING) == (1.66, 0.28)
    assert (channels.WAVELENGTH, channels.WAVELENGTH_SCALING, channels.WAVELENGTH_FACTOR) == (2.4, 0.87, 1.31)
    assert (channels.SIGMA_ON_F, channels.D_THETA_ON_SIGMA) == (0.55, 1.10)
    assert (module.INFINITE, module.UNDEFINED) == (1e4, 2e3)
    assert (module.SHARPNESS_THRESHOLD, module.RESERVED_RATIO) == (0.78, 0.92)
    assert channels.GAUSSIAN_COLOUR == ((0.3, 0.04, -0.35), (0.34, -0.6, 0.17), (0.06, 0.63, 0.27))


# ------------------------------------------------------------------------------------------------- learning the model


def test_principal_axes_diagonalise_the_samples():
    samples = torch.randn(50, 25, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * torch.arange(1, 26)
    centre, basis, variance = fit_ilniqe.principal_axes(samples)
    assert basis.shape == (25, 23)  # 0.92 * 25
    covariance = torch.cov(((samples - centre) @ basis).T)
    torch.testing.assert_close(covariance, variance.diag(), atol=1e-10, rtol=1e-10)
    assert (variance.diff() <= 0).all() and (basis.sum(0) > 0).all()
    assert fit_ilniqe.principal_axes(samples[:10])[1].shape == (25, 9)


def test_the_eight_views_differ_and_the_sharp_blocks_count(photo):
    x = photo[..., :100, :120]
    shown = fit_ilniqe.views(x)
    assert len({view.contiguous().numpy().tobytes() for view in shown}) == 8 and shown[5].shape == (1, 3, 120, 100)
    features, complete, sharpness = ilniqe_features(x)
    sharp = sharpness[0] > 0.78 * sharpness.max()
    assert complete.all() and 0 < sharp.sum() < 36
    assert torch.equal(fit_ilniqe.sharp_features(x), features[0, sharp])


def test_the_shipped_model(model):
    assert model.basis.shape == (468, 430) and not model.mean.any()
    torch.testing.assert_close(model.basis.T @ model.basis, torch.eye(430, dtype=torch.float64), atol=1e-12, rtol=0)
    variance = model.covariance.diagonal()
    assert torch.equal(model.covariance, variance.diag()) and variance.min() > 1e-6


def test_the_authors_template_keeps_its_own_axes():
    template = authors()
    assert template.basis.shape == (468, 430) and template.covariance.shape == (430, 430)
    assert template.centre[0].item() == pytest.approx(2.8, abs=0.5)  # the shape of MSCN coefficients in good photos
    assert torch.linalg.eigvalsh(template.covariance).min() > 5e-7
