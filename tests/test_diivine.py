"""DIIVINE gives the numbers of the authors' MATLAB code, its parts those of slow plain versions and of scikit-learn."""

from __future__ import annotations

import csv
import functools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat
from scipy.signal import correlate2d
from sklearn.svm import SVC, NuSVR
from test_reference_values import FOLDER, read

from iqa_lab import load_database, load_image
from iqa_lab.no_reference import diivine
from iqa_lab.no_reference.diivine import DIIVINE, DISTORTIONS, MINIMUM_SIDE, couple, diivine_features
from iqa_lab.no_reference.diivine_statistics import (contrast_structure, correlation_at, divisive_normalisation,
                                                     quantise, scale_multiplier, spatial_correlation)
from iqa_lab.ops.color import rgb_to_luma_matlab

ROWS = list(csv.DictReader((FOLDER / "diivine.csv").open()))
COLUMNS = list(zip(*csv.reader((FOLDER / "diivine_features.csv").open()), strict=True))
FEATURES = {name: np.array(values, dtype=float) for name, *values in COLUMNS[1:]}


@pytest.fixture(scope="module")
def official() -> DIIVINE:
    if "IQA_LAB_DATA" not in os.environ:
        pytest.skip("needs the authors' parameter file: set IQA_LAB_DATA")
    return DIIVINE(parameters=Path(os.environ["IQA_LAB_DATA"]) / "weights/diivine/data_live_trained.mat")


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    return load_image(load_database("embedded").root / "references/chelsea.png")[..., 40:200, 60:230]


# The authors' numbers.

#: metric of the reference values -> columns of the neighbourhood
COLUMNS = {"diivine_live": (0,), "diivine_live_3x3": (-1, 0, 1)}


@functools.lru_cache
def features_of(name: str, columns: tuple[int, ...]) -> torch.Tensor:
    return diivine_features(read(name.removeprefix("golden/")), columns=columns)


@pytest.mark.parametrize("name", FEATURES)
def test_all_88_features_are_the_releases(name):
    """With the tables of matlabPyrTools as they are, and with tables so fine that they are the cosines.

    The two runs of the release themselves differ by up to 8e-4, in the error of a polynomial fit.
    """
    metric, image, *fine = name.split(" ", 2)
    features = features_of(image, COLUMNS[metric])[0].numpy()
    np.testing.assert_allclose(features, FEATURES[name], rtol=1e-8 if fine else 1e-3)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['metric']}-{row['image']}-{row['source'][-12:]}")
def test_equals_the_stored_score(row, official):
    score = official.score(features_of(row["image"], COLUMNS[row["metric"]])).item()
    assert score == pytest.approx(float(row["value"]), abs=float(row["tolerance"]))


def test_features_are_those_that_the_authors_stored_as_support_vectors(official):
    """LIVE release 2 trained the models: its blurred images stand in the fourth one, scaled to [-1, 1]."""
    image = load_image(Path(os.environ["IQA_LAB_DATA"]) / "images/live_gblur/gblur/img1.png")
    vectors = (official.regressors[3].support_vectors - official.offset[4]) / official.scale[4]
    features, block = (diivine_features(image, columns=columns)[0] for columns in COLUMNS.values())
    stored = vectors[(features - vectors)[:, 31:37].square().sum(1).argmin()]  # these six know no neighbourhood
    torch.testing.assert_close(features, stored, rtol=1e-4, atol=1e-10)  # the tables again
    torch.testing.assert_close(features[12:31], stored[12:31], rtol=0, atol=1e-9)  # shapes of the grid
    assert (block[:12] < 0.6 * stored[:12]).all()


@pytest.mark.parametrize("name", [name for name in FEATURES if "tables" not in name])
def test_the_two_stages_alone_are_exact(name, official):
    expected = next(float(row["value"]) for row in ROWS if f"{row['metric']} {row['image']}" == name)
    assert official.score(torch.from_numpy(FEATURES[name])[None]).item() == pytest.approx(expected, abs=1e-8)


def test_the_authors_classifier_knows_white_noise(official):
    probabilities = official.probabilities(features_of("synthetic:noise", (0,)))
    assert probabilities.shape == (1, 5) and probabilities.sum().item() == pytest.approx(1)
    assert DISTORTIONS[probabilities.argmax()] == "white_noise" and probabilities.max() > 0.99


# Slow plain versions.

def random_maps(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("columns", COLUMNS.values())
def test_divisive_normalisation_is_sample_by_sample(columns):
    bands, parents, guard = random_maps(2, 6, 18, 21).cumsum(-1), random_maps(2, 5, 18, 21, seed=1), 3
    ours = divisive_normalisation(bands, parents, guard, columns)
    assert ours.shape == (2, 6, 10, 13)
    for n in range(2):
        for orientation in range(6):
            expected = plain_normalisation(bands[n].numpy(), parents[n].numpy(), orientation, guard, columns)
            np.testing.assert_allclose(ours[n, orientation].numpy(), expected, rtol=1e-8, atol=1e-10)


def plain_normalisation(bands: np.ndarray, parents: np.ndarray, orientation: int, guard: int, columns) -> np.ndarray:
    """The release's nine spatial neighbours: with a shift of rows only, each of three stands there three times."""
    height, width = bands.shape[1:]
    inside = [(i, j) for i in range(1, height - 1) for j in range(1, width - 1)]
    has_parent = orientation < len(parents)
    vectors = {}
    for i, j in inside:
        spatial = [bands[orientation, i + di, j + dj] for di in (-1, 0, 1) for dj in columns * (3 // len(columns))]
        others = [bands[other, i, j] for other in range(len(bands)) if other != orientation]
        vectors[i, j] = np.array([*spatial, *others, *([parents[orientation, i, j]] if has_parent else [])])
    covariance = sum(np.outer(y, y) for y in vectors.values()) / len(inside)
    inverse = np.linalg.pinv(covariance, rcond=1e-12, hermitian=True)
    mean = np.mean([bands[orientation, i, j] for i, j in inside])
    g = [(bands[orientation, i, j] - mean) / np.sqrt(vectors[i, j] @ inverse @ vectors[i, j] / (9 + has_parent))
         for i, j in inside]
    g = np.reshape(g, (height - 2, width - 2))[guard:-guard, guard:-guard]
    return g - g.mean()


def test_the_multiplier_of_dependent_or_empty_neighbours():
    y = random_maps(3, 3, 50)
    y[:, 2] = y[:, 0] + y[:, 1] + 1e-7 * y[:, 2]  # rank 2, and a rounding error
    y[2] = 0
    inverse = torch.linalg.pinv(y @ y.mT / 50, rtol=1e-12)
    expected = torch.einsum("nip,nij,njp->np", y, inverse, y).div(7).sqrt()
    torch.testing.assert_close(scale_multiplier(y, 7), expected)
    assert (scale_multiplier(y, 7)[2] == 0).all()


def test_spatial_correlation_is_that_of_the_joint_histogram():
    maps = random_maps(1, 2, 28, 31).cumsum(2)
    ours = spatial_correlation(maps)[0].numpy()
    for found, x in zip(ours, maps[0].numpy(), strict=True):
        rho = [plain_correlation(x, distance) for distance in range(1, 26, 4)]
        coefficients = np.polyfit(range(1, 26, 4), rho, 3)
        error = np.sum((np.polyval(coefficients, range(1, 26, 4)) - rho) ** 2)
        np.testing.assert_allclose(found, [*coefficients, error], rtol=1e-8)


def plain_correlation(x: np.ndarray, distance: int) -> float:
    """The release's way: a 100 x 100 joint histogram, pixel by pixel, then the correlation of the bin centres."""
    width = (x.max() - x.min()) / 100
    centres = x.min() + width * (np.arange(100) + 0.5)
    index = np.abs(x[..., None] - centres).argmin(-1)
    joint = np.zeros((100, 100))
    for i, j in np.ndindex(x.shape):
        for di in (-distance, 0, distance):
            for dj in (-distance, 0, distance):
                if (di or dj) and 0 <= i + di < x.shape[0] and 0 <= j + dj < x.shape[1]:
                    joint[index[i, j], index[i + di, j + dj]] += 1
    joint /= joint.sum()
    mean, mean_y = joint.sum(1) @ centres, joint.sum(0) @ centres
    deviations = np.sqrt(joint.sum(1) @ (centres - mean) ** 2 * (joint.sum(0) @ (centres - mean_y) ** 2))
    return (centres @ joint @ centres - mean * mean_y) / deviations


def test_bins_of_equal_width_and_a_flat_map():
    x = torch.tensor([[0.0, 0.5, 1.0, 1.001, 50.0, 99.5, 100.0]], dtype=torch.float64)
    assert quantise(x).tolist() == [[0, 0, 0, 1, 49, 99, 99]]  # a value between two bins belongs to the lower one
    flat = torch.full((1, 1, 30, 30), -0.7, dtype=torch.float64)
    assert (quantise(flat) == 0).all() and correlation_at(quantise(flat), 5).item() == 0


def test_contrast_structure_is_that_of_ssim():
    maps = 30 * random_maps(2, 3, 17, 20)
    t = np.arange(-5, 6)
    window = np.exp(-(t[:, None] ** 2 + t**2) / (2 * 1.5**2))
    window /= window.sum()
    ours = contrast_structure(maps, torch.tensor([0, 1]), torch.tensor([2, 2]))
    for n in range(2):
        for pair, (first, second) in enumerate(((0, 2), (1, 2))):
            x, y = maps[n, first].numpy(), maps[n, second].numpy()
            mu_x, mu_y, xx, yy, xy = (correlate2d(v, window, "valid") for v in (x, y, x * x, y * y, x * y))
            cs = (2 * (xy - mu_x * mu_y) + 58.5225) / (xx - mu_x**2 + yy - mu_y**2 + 58.5225)
            assert ours[n, pair].item() == pytest.approx(cs.mean(), rel=1e-10)


# The two stages.

def plain_coupling(first_wins: np.ndarray, tolerance: float) -> np.ndarray:
    """libsvm's sweeps, with its running sums, of one image."""
    k = 5
    r = np.zeros((k, k))
    r[np.triu_indices(k, 1)] = first_wins
    r += np.tril(1 - r.T, -1)
    q = np.diag((r**2).sum(0)) - r * r.T
    p = np.full(k, 1 / k)
    for _ in range(100):
        qp = q @ p
        pqp = p @ qp
        if np.abs(qp - pqp).max() < tolerance / k:
            break
        for t in range(k):
            step = (pqp - qp[t]) / q[t, t]
            p[t] += step
            pqp = (pqp + step * (step * q[t, t] + 2 * qp[t])) / (1 + step) ** 2
            qp, p = (qp + step * q[t]) / (1 + step), p / (1 + step)
    return p


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(1e-7, 1 - 1e-7), min_size=10, max_size=10))
def test_coupling_is_libsvms(first_wins):
    ours = couple(torch.tensor([first_wins, [0.5] * 10], dtype=torch.float64))
    np.testing.assert_allclose(ours[0].numpy(), plain_coupling(np.array(first_wins), 0.005), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(ours[1].numpy(), 0.2)


def test_coupling_carried_on_solves_the_linear_system(monkeypatch):
    first_wins = torch.rand(200, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    stopped = couple(first_wins)
    monkeypatch.setattr(diivine, "COUPLING_ERROR", 1e-15)
    found = couple(first_wins)
    assert 1e-4 < (found - stopped).abs().max() < 3e-3  # how early libsvm stops
    i, j = torch.triu_indices(5, 5, 1)
    for p, wins in zip(found, first_wins, strict=True):
        r = torch.zeros(5, 5, dtype=torch.float64)
        r[i, j], r[j, i] = wins, 1 - wins
        system = torch.zeros(6, 6, dtype=torch.float64)
        system[:5, :5] = torch.diag(r.square().sum(0)) - r * r.T
        system[5, :5] = system[:5, 5] = 1
        solution = torch.linalg.solve(system, torch.eye(6, dtype=torch.float64)[5])[:5]
        torch.testing.assert_close(p, solution, rtol=0, atol=1e-9)


@pytest.fixture(scope="module")
def trained():
    """Returns the two stages by scikit-learn on random features, and the contents of a .mat file that hold them."""
    random = np.random.default_rng(0)
    x, y, labels = random.normal(size=(100, 88)), random.normal(size=100), np.repeat(np.arange(1.0, 6), 20)
    x[:, 0] += 2 * labels
    svc = SVC(C=10, gamma=0.01, decision_function_shape="ovo").fit(x, labels)
    svrs = [NuSVR(C=c, gamma=0.01).fit(x, y) for c in range(1, 6)]
    slope, offset = random.uniform(-2, -1, 10), random.normal(size=10)
    classifier = {"Parameters": [0, 2, 3, 0.01, 0], "Label": labels[::20], "nSV": svc.n_support_,
                  "rho": -svc.intercept_, "sv_coef": svc.dual_coef_.T, "SVs": svc.support_vectors_,
                  "ProbA": slope, "ProbB": offset}
    regressors = np.empty((1, 5), dtype=object)
    for i, svr in enumerate(svrs):
        regressors[0, i] = {"Parameters": [4, 2, 3, 0.01, 0], "rho": -svr.intercept_, "sv_coef": svr.dual_coef_.T,
                            "SVs": svr.support_vectors_}
    sizes = {"a_class": (0.01, 1), "b_class": (1, 1), "a_reg": (0.01, 5), "b_reg": (1, 5)}
    scaling = {name: random.normal(scale=scale, size=(n, 88)) for name, (scale, n) in sizes.items()}
    return svc, svrs, scaling | {"model_class": classifier, "model_reg": regressors}


def test_both_stages_are_those_of_scikit_learn(trained, tmp_path):
    svc, svrs, contents = trained
    savemat(tmp_path / "model.mat", contents)
    model = DIIVINE(parameters=tmp_path / "model.mat")
    f = np.random.default_rng(1).normal(size=(12, 88))
    decision = svc.decision_function(contents["a_class"] * f + contents["b_class"])
    first_wins = 1 / (1 + np.exp(contents["model_class"]["ProbA"] * decision + contents["model_class"]["ProbB"]))
    expected = np.stack([plain_coupling(wins, 0.005) for wins in first_wins])
    np.testing.assert_allclose(model.probabilities(torch.from_numpy(f)).numpy(), expected, rtol=1e-9)
    qualities = [svr.predict(contents["a_reg"][i] * f + contents["b_reg"][i]) for i, svr in enumerate(svrs)]
    np.testing.assert_allclose(model.qualities(torch.from_numpy(f)).numpy(), np.stack(qualities, 1), rtol=1e-9)


@pytest.mark.parametrize("field, value, message", [
    ("Parameters", [1, 2, 3, 0.01, 0], "svm_type 0 and kernel_type 2"),
    ("Parameters", [0, 0, 3, 0.01, 0], "got 0 and 0"),
    ("Label", [2, 1, 3, 4, 5], "ascending labels"), ("ProbA", [], "0 entries in ProbA")])
def test_other_classifiers_are_refused(trained, tmp_path, field, value, message):
    contents = trained[2]
    savemat(tmp_path / "model.mat", contents | {"model_class": contents["model_class"] | {field: value}})
    with pytest.raises(ValueError, match=message):
        DIIVINE(parameters=tmp_path / "model.mat")


def test_other_regressors_and_files_are_refused(trained, tmp_path):
    contents = dict(trained[2])
    regressors = contents["model_reg"].copy()
    regressors[0, 2] = regressors[0, 2] | {"Parameters": [0, 2, 3, 0.01, 0]}
    savemat(tmp_path / "model.mat", contents | {"model_reg": regressors})
    with pytest.raises(ValueError, match="svm_type 3 or 4"):
        DIIVINE(parameters=tmp_path / "model.mat")
    del contents["a_reg"]
    savemat(tmp_path / "model.mat", contents)
    with pytest.raises(ValueError, match=r"model\.mat without a_reg"):
        DIIVINE(parameters=tmp_path / "model.mat")


# Images that break other implementations.

@pytest.mark.parametrize("options", [{}, {"columns": (-1, 0, 1)}])
def test_a_score_is_the_weighted_sum_of_the_type_of_the_image(trained, tmp_path, photo, options):
    savemat(tmp_path / "model.mat", trained[2])
    model, image = DIIVINE(parameters=tmp_path / "model.mat", **options), photo.clone().requires_grad_()
    features = diivine_features(photo, columns=options.get("columns", COLUMNS["diivine_live"]))
    expected = (model.probabilities(features) * model.qualities(features)).sum(1)
    for dtype in (torch.float32, torch.float64):
        score = model(image.to(dtype))
        assert score.dtype == dtype and not score.requires_grad
        torch.testing.assert_close(score.double(), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=f"sides of {MINIMUM_SIDE}"):
        model(photo[..., :MINIMUM_SIDE - 1, :])


@pytest.mark.parametrize("case", ["black", "white", "gray", "one pixel", "ramp", "checkerboard", "noise", "saturated"])
def test_difficult_images_have_finite_features_whatever_their_batch(case, photo):
    side = 100
    flat = torch.full((1, 1, side, side), {"black": 0.0, "white": 1.0}.get(case, 0.5))
    if case == "one pixel":
        flat[..., 50, 50] = 1
    board = (torch.arange(side)[:, None] + torch.arange(side)).remainder(2).float().expand(1, 1, side, side)
    image = {"ramp": torch.linspace(0, 1, side).expand(1, 1, side, side), "checkerboard": board,
             "noise": torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(0)),
             "saturated": (2 * photo[..., :side, :side].mean(1, keepdim=True) - 0.3).clamp(0, 1)}.get(case, flat)
    features = diivine_features(image)
    assert features.isfinite().all()
    batch = torch.cat((photo[:, :1, :side, :side], image, image.flip(2)))
    torch.testing.assert_close(diivine_features(batch)[1:2], features, rtol=1e-6, atol=1e-8)


def test_a_flat_image_has_the_documented_features():
    features = diivine_features(torch.full((1, 3, 81, 77), 0.3))[0]
    assert (features[:12] == 0).all() and (features[12:31] == 0.2).all()
    assert (features[31:43] == 1).all() and (features[43:73].abs() < 1e-12).all() and (features[73:] == 1).all()


@pytest.mark.parametrize("height, width", [(60, 60), (61, 95), (98, 63), (101, 103)])
def test_odd_and_smallest_sizes_and_parts_of_a_batch(height, width, photo, monkeypatch):
    images = torch.cat((photo[..., :height, :width], photo[..., -height:, -width:]))
    features = diivine_features(images)
    assert features.shape == (2, 88) and features.dtype == torch.float64 and features.isfinite().all()
    monkeypatch.setattr("iqa_lab.images.PIXELS_AT_ONCE", 1)
    torch.testing.assert_close(diivine_features(images), features, rtol=1e-9, atol=1e-12)


def test_a_gray_image_is_its_own_luma(photo):
    gray = rgb_to_luma_matlab(photo.double())
    torch.testing.assert_close(diivine_features(gray), diivine_features(photo.double()))
