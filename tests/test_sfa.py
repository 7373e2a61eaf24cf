"""SFA: its patches, the three groups of statistics as MATLAB computes them, partial least squares, the authors' files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import moment
from sklearn.cross_decomposition import PLSRegression

from iqa_lab.no_reference.sfa import SFA, mean_and_deviation, moments, overlapping_patches, quantiles
from iqa_lab.training.recipes import RegressorRecipe
from iqa_lab.training.regressors import fit_regressor, predict

LITE0 = {"backbone": "efficientnet_lite0", "layer": "head"}


def photos(n: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


def patch_values(patches: int = 7, n: int = 2) -> torch.Tensor:
    return torch.randn(n, patches, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def authors_starts(side: int) -> range:
    """im2patches.m: where the patches begin along one side of at least 112 pixels."""
    padded = side - (side - 224) % 112 + 112
    return range(0, padded - 224 + 1, 112)


@settings(max_examples=25, deadline=None)
@given(st.integers(112, 1000), st.integers(112, 700))
def test_there_are_as_many_patches_as_in_the_authors_code(height, width):
    patches = overlapping_patches(torch.ones(1, 1, height, width))
    assert patches.shape == (1, len(authors_starts(height)) * len(authors_starts(width)), 1, 224, 224)


@pytest.mark.parametrize("height, width", [(300, 230), (224, 336), (150, 340), (64, 64)])
def test_the_patches_lie_row_by_row_and_are_black_beyond_the_border(height, width):
    image = photos(2, height, width)
    patches = overlapping_patches(image)
    rows, columns = ([0] if side < 112 else authors_starts(side) for side in (height, width))
    for k, (top, left) in enumerate((top, left) for top in rows for left in columns):
        inside = image[:, :, top:top + 224, left:left + 224]
        h, w = inside.shape[2:]
        torch.testing.assert_close(patches[:, k, :, :h, :w], inside, rtol=0, atol=0)
        assert patches[:, k, :, h:].abs().sum() == 0 == patches[:, k, :, :, w:].abs().sum()
    assert patches.shape[1] == len(rows) * len(columns)


@pytest.mark.parametrize("n_patches", [1, 2, 3, 7, 16])
def test_the_statistics_are_matlabs(n_patches):
    x = patch_values(n_patches)
    a = x.numpy()
    deviation = a.std(1, ddof=1) if n_patches > 1 else np.zeros((2, 3))
    np.testing.assert_allclose(mean_and_deviation(x).numpy(), np.hstack((a.mean(1), deviation)), rtol=1e-9, atol=1e-12)
    quarters = np.quantile(a, (1, 0.75, 0.5, 0.25, 0), axis=1, method="hazen")  # what prctile does
    np.testing.assert_allclose(quantiles(x).numpy(), np.concatenate(quarters, 1), rtol=1e-9, atol=1e-12)
    second, third, fourth = (moment(a, order, axis=1) for order in (2, 3, 4))
    np.testing.assert_allclose(moments(x).numpy(), np.hstack((a.mean(1), second**0.5, np.cbrt(third), fourth**0.25)),
                               rtol=1e-9, atol=1e-5)  # a cube root of rounding errors


def test_the_third_moment_of_two_patches_is_nothing():
    x = torch.rand(1, 2, 50, generator=torch.Generator().manual_seed(0)).double()
    assert (moments(x)[0, 100:150] == 0).all()


@pytest.mark.parametrize("statistics", [mean_and_deviation, quantiles, moments])
def test_gradients(statistics):
    assert torch.autograd.gradcheck(statistics, (patch_values(5).requires_grad_(),))
    equal = torch.ones(1, 4, 3, requires_grad=True)
    statistics(equal).sum().backward()
    assert equal.grad.isfinite().all()


def test_the_features_are_those_of_the_patches():
    system = SFA(**LITE0, parameters="untrained").eval()
    assert system.parts == (2560, 6400, 5120)
    image = photos(2, 130, 240)
    x = torch.stack([system.backbone(patches)["head"].mean((2, 3)) for patches in overlapping_patches(image)])
    assert x.shape == (2, 2, 1280)
    torch.testing.assert_close(system.patch_features(image), x, rtol=1e-4, atol=1e-5)
    features = system.features(image)
    torch.testing.assert_close(features[:, :2560], mean_and_deviation(x.double()), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(features[:, 2560:8960], quantiles(x.double()), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(features[:, 8960:10240], x.double().mean(1), rtol=1e-3, atol=1e-4)


def test_resnet50_has_the_papers_numbers_of_features():
    assert SFA(weights="random", parameters="untrained").parts == (4096, 10240, 8192)


def table(n: int = 40, width: int = 25) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(3, 2, (n, width))
    return x, 40 + x[:, :3] @ [5, -3, 2] + random.normal(size=n)


def least_squares(*components: int) -> RegressorRecipe:
    return RegressorRecipe("pls", (), (), False, "tests", folds=4, components=components)


def test_one_component_is_the_direction_of_the_covariances():
    x, y = table()
    direction = (x - x.mean(0)).T @ (y - y.mean())
    t = (x - x.mean(0)) @ direction
    expected = y.mean() + t * (t @ (y - y.mean())) / (t @ t)
    arrays, _ = fit_regressor(x, y, np.arange(40), least_squares(1))
    np.testing.assert_allclose(predict(arrays, x), expected, rtol=1e-9)


def test_partial_least_squares_is_scikit_learns_without_scaling():
    x, y = table()
    x[:, 5] *= 100
    arrays, search = fit_regressor(x, y, np.arange(40), least_squares(1, 3, 10))
    best = search.loc[search["mean_absolute_error"].idxmin(), "n_components"]
    np.testing.assert_allclose(predict(arrays, x), PLSRegression(best, scale=False).fit(x, y).predict(x).ravel(), rtol=1e-9)
    assert list(search["n_components"]) == [1, 3, 10] and set(arrays) == {"weights", "bias"}


def test_three_regressors_are_fitted_and_averaged(tmp_path):
    system, images = SFA(**LITE0, parameters="untrained").eval(), photos(8, 64, 64)
    features, y = system.features(images).numpy(), np.linspace(0, 100, 8)
    arrays, _ = fit_regressor(features, y, np.arange(8), least_squares(2), parts=system.parts)
    np.savez(tmp_path / "regressor.npz", **arrays)
    trained = SFA(**LITE0, parameters=tmp_path / "regressor.npz").eval()
    theirs = [PLSRegression(2, scale=False).fit(part, y).predict(part).ravel()
              for part in np.split(features, np.cumsum(system.parts)[:-1], axis=1)]
    np.testing.assert_allclose(trained(images).numpy(), np.mean(theirs, 0), rtol=1e-2, atol=0.1)
    assert trained(images[:1]).item() == pytest.approx(trained(images)[0].item(), rel=1e-3, abs=0.01)


def authors_arrays(channels: int) -> dict[str, np.ndarray]:
    """Returns random numbers in the layout of SFAPLSRtrainedonLIVE.mat: the constant first, MATLAB's columns as rows."""
    random = np.random.default_rng(0)
    return {f"beta{k}": random.normal(size=(1, 1 + n * channels)) for k, n in ((1, 2), (2, 5), (3, 4))}


@pytest.mark.parametrize("year", [2017, 2019])
def test_the_authors_layout_is_read(year, tmp_path):
    arrays = authors_arrays(2048 if year == 2017 else 1024)
    weights = np.array([[0.5, 0.3, 0.2]])
    extra = {"w": weights, "bestLayer": np.array([[114], [101], [115], [52], [102]], np.uint16)} if year == 2019 else {}
    np.savez(tmp_path / "official.npz", **arrays, **extra)
    torch.manual_seed(0)
    system = SFA.from_official(tmp_path / "official.npz", weights="random").eval()
    assert system.layer == ("layer4" if year == 2017 else "layer3")
    features = system.features(photos(1, 64, 64))
    parts = [part.numpy()[0] for part in features.split(system.parts, 1)]
    predictions = [beta.ravel()[0] + part @ beta.ravel()[1:] for beta, part in zip(arrays.values(), parts, strict=True)]
    expected = np.average(predictions, weights=weights[0] if year == 2019 else None)
    assert system.regressor(features).item() == pytest.approx(expected, rel=1e-9)


def test_other_files_are_refused_with_a_way_out(tmp_path):
    with pytest.raises(ValueError, match="import h5py"):
        SFA.from_official(Path("SFAPLSRtrainedonLIVE.mat"), weights="random")
    arrays = authors_arrays(2048)
    np.savez(tmp_path / "two.npz", beta1=arrays["beta1"], beta2=arrays["beta2"])
    with pytest.raises(ValueError, match="missing: beta3"):
        SFA.from_official(tmp_path / "two.npz", weights="random")
    np.savez(tmp_path / "narrow.npz", **authors_arrays(512))
    with pytest.raises(ValueError, match="Expected 4097 numbers in beta1"):
        SFA.from_official(tmp_path / "narrow.npz", weights="random")


def test_it_says_what_it_is_missing_and_what_is_random():
    with pytest.raises(FileNotFoundError, match="iqa-lab train sfa"):
        SFA()
    torch.manual_seed(0)
    random, image = SFA(**LITE0, parameters="random"), torch.full((1, 3, 64, 64), 0.4, requires_grad=True)
    random(image).sum().backward()
    assert "UNTRAINED" in repr(random) and image.grad.isfinite().all()
