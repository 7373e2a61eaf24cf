"""BLIINDS-II: the authors' numbers under Octave and in their own table, slow twins, and the regression on the table."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn
from scipy.io import loadmat, savemat
from scipy.special import gamma
from test_reference_values import FOLDER, read

from iqa_lab import load_image
from iqa_lab.data_scripts import bliinds2_live_table as script
from iqa_lab.evaluation.criteria import srocc
from iqa_lab.evaluation.splits import content_splits
from iqa_lab.no_reference import bliinds2 as module
from iqa_lab.no_reference.bliinds2 import (BANDS, BLIINDS2, DIRECTIONS, ConditionalMode, bliinds2_features, block_maps,
                                           first_channel, load_model, shape_of_ratio)
from iqa_lab.ops.color import rgb_to_luma_matlab

ROWS = list(csv.DictReader((FOLDER / "bliinds2.csv").open()))
COMMITTED = Path(__file__).parent.parent / "results" / "bliinds2_live_table.csv"
SHAPES = 0.03 + 0.001 * np.arange(9971)
RATIOS = gamma(1 / SHAPES) * gamma(3 / SHAPES) / gamma(2 / SHAPES) ** 2


def official_folder() -> Path:
    if "IQA_LAB_DATA" not in os.environ:
        pytest.skip("needs the authors' parameters and LIVE's lists: set IQA_LAB_DATA")
    return Path(os.environ["IQA_LAB_DATA"])


def parameters() -> Path:
    return official_folder() / "weights/bliinds2/parameters_from_training.mat"


@pytest.fixture(scope="module")
def table() -> script.LiveTable:
    return script.read_table(parameters(), official_folder() / "scores/live_dmos")


def pattern(name: str) -> torch.Tensor:
    """Returns a gray image whose windows are flat, or flat but for one edge or pixel."""
    if name == "square":
        image = 255 * rgb_to_luma_matlab(read("synthetic:ref"))[..., :96, :96]
        image[..., 20:62, 30:75] = 128
        return image / 255
    level = {"gray": 128, "white": 255, "one pixel": 100, "step": 40}.get(name, 0)
    height, width = {"checkerboard": (48, 48), "one pixel": (64, 64), "step": (60, 66)}.get(name, (40, 40))
    image = torch.full((1, 1, height, width), level, dtype=torch.float64)
    if name == "checkerboard":
        image += 255 * (torch.arange(height)[:, None] + torch.arange(width)).remainder(2)
    elif name == "one pixel":
        image[..., 30, 30] = 255
    elif name == "step":
        image[..., 33:] = 200
    return image / 255


def reference_image(name: str) -> torch.Tensor:
    """Returns the image of a row: ``PATH gray|colour ROWS COLUMNS``, or ``pattern:NAME gray``."""
    if name.startswith("pattern:"):
        return pattern(name.removeprefix("pattern:").removesuffix(" gray"))
    path, channels, *crop = name.split(" ")
    image = read(path.removeprefix("golden/"))
    rows, columns = (slice(*map(int, part.split(":"))) for part in crop or ("0:9999", "0:9999"))
    return (rgb_to_luma_matlab(image) if channels == "gray" else image)[..., rows, columns]


def slow_features(x: np.ndarray) -> np.ndarray:
    """The 24 features of a gray image on 0..255, window by window, as the release reads."""
    features = []
    taps = np.exp(-2 * np.arange(-1, 2) ** 2.0)
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    for scale in range(3):
        if scale:
            padded = np.pad(x, 1)
            x = sum(kernel[i, j] * padded[i:i + x.shape[0], j:j + x.shape[1]] for i in range(3) for j in range(3))
            x = x[1::2, 1::2]
        padded = np.pad(x, ((1, 1 + -x.shape[0] % 3), (1, 1 + -x.shape[1] % 3)))
        maps = np.array([slow_window(padded[i:i + 5, j:j + 5]) for i in range(0, x.shape[0], 3)
                         for j in range(0, x.shape[1], 3)])
        n_worst = -(-len(maps) // 10)
        for k, values in enumerate(np.sort(maps, axis=0).T):
            features += [values.mean(), (values[:n_worst] if k == 1 else values[-n_worst:]).mean()]
    return np.array(features)


def slow_window(window: np.ndarray) -> tuple[float, float, float, float]:
    c = dctn(window, norm="ortho")
    varying = c.ravel()[1:]

    def spread(values):
        return np.std(np.abs(values), ddof=1) / (np.mean(np.abs(values)) + 1e-7)

    ratio = np.var(varying, ddof=1) / (np.mean(np.abs(varying - varying.mean())) ** 2 + 1e-7)
    found = np.flatnonzero((ratio <= RATIOS[:-1]) & (ratio > RATIOS[1:]))
    low = np.var([c[0, 1], c[1, 0], c[0, 2], c[2, 0], c[1, 1]], ddof=1)
    middle = np.var([*c[3, :3], *c[4, :2], *c[2, 1:4], *c[0, 3:], *c[1, 2:]], ddof=1)
    high = np.var([c[2, 4], c[3, 3], c[4, 2], c[3, 4], c[4, 3], c[4, 4]], ddof=1)
    below = (low + middle) / 2
    energy = abs(high - below) / (high + below + 1e-8) + abs(middle - low) / (high + low + 1e-8)
    upper = np.array([[0, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 0, 0, 1], [0] * 5, [0] * 5], dtype=bool)
    rest = ~(upper | upper.T)
    rest[0, 0] = False
    orientation = np.var([spread(c[upper]), spread(c[upper.T]), spread(c[rest])], ddof=1)
    return spread(varying), SHAPES[found[0]] if len(found) else 11.0, energy / 2, orientation


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['metric']}-{row['image'].split('/')[-1]}")
def test_equals_the_authors_value(row):
    image, tolerance = reference_image(row["image"]), float(row["tolerance"])
    luma = first_channel if " colour" in row["image"] else rgb_to_luma_matlab
    if row["metric"] == "bliinds2_features":
        expected = np.array(row["value"].split(), dtype=float)
        np.testing.assert_allclose(bliinds2_features(image, luma=luma)[0].numpy(), expected, rtol=0, atol=tolerance)
        return
    for dtype in (torch.float32, torch.float64):
        score = BLIINDS2(parameters=parameters(), luma=luma)(image.to(dtype))
        assert score.dtype == dtype and score.item() == pytest.approx(float(row["value"]), abs=tolerance)


@pytest.mark.parametrize("name, row", [("refimgs/womanhat", None), ("gblur/img11", 644), ("gblur/img115", 748)])
def test_the_authors_table_is_the_red_channel_of_live(name, row, table):
    path = official_folder() / f"images/live_gblur/{name}.png"
    row = np.flatnonzero((table.references == "womanhat.bmp") & table.copies)[0] if row is None else row
    image = load_image(path)
    features = bliinds2_features(image, luma=first_channel)[0].numpy()
    np.testing.assert_allclose(features, table.features[row], rtol=0, atol=1e-6)
    assert np.abs(bliinds2_features(image)[0].numpy() - features).max() > 0.02  # so luma is another input


@settings(deadline=None, max_examples=15)
@given(height=st.integers(12, 31), width=st.integers(12, 31), levels=st.integers(3, 256), seed=st.integers(0, 99))
def test_features_equal_the_slow_version(height, width, levels, seed):
    pixels = np.random.default_rng(seed).integers(0, levels, (height, width)) * (255 // (levels - 1))
    features = bliinds2_features(torch.from_numpy(pixels / 255)[None, None])
    np.testing.assert_allclose(features[0].numpy(), slow_features(pixels.astype(float)), rtol=1e-6, atol=1e-6)


@settings(deadline=None)
@given(st.floats(0, 3000))
def test_shape_is_the_first_interval_that_holds_the_ratio(ratio):
    found = np.flatnonzero((ratio <= RATIOS[:-1]) & (ratio > RATIOS[1:]))
    expected = SHAPES[found[0]] if len(found) else 11
    assert shape_of_ratio(torch.tensor([ratio], dtype=torch.float64)).item() == pytest.approx(expected, abs=1e-12)


def test_ends_of_the_shape_table():
    edge = torch.tensor([0.0, RATIOS[-1] * (1 - 1e-9), RATIOS[-1] * (1 + 1e-9), RATIOS[0] * (1 - 1e-9),
                         RATIOS[0] * (1 + 1e-9)], dtype=torch.float64)
    np.testing.assert_allclose(shape_of_ratio(edge).numpy(), [11, 11, 9.999, 0.03, 11])


def test_the_gradient_of_the_shape_is_the_slope_of_the_table():
    ratio = torch.tensor([1.5, 2.0, 4.0, 1e9, 0.5], dtype=torch.float64, requires_grad=True)
    shape_of_ratio(ratio).sum().backward()
    slopes = np.interp([-1.52, -2.02, -4.02], -RATIOS, SHAPES) - np.interp([-1.48, -1.98, -3.98], -RATIOS, SHAPES)
    np.testing.assert_allclose(ratio.grad.numpy(), [*slopes / 0.04, 0, 0], rtol=0.01)


def test_bands_and_directions_share_out_the_varying_coefficients():
    bands, directions = (np.array([list(row) for row in picture.split()]) for picture in (BANDS, DIRECTIONS))
    assert [(bands == label).sum() for label in "0123"] == [1, 5, 13, 6]
    assert [(directions == label).sum() for label in "0123"] == [1, 8, 8, 8]
    assert ((directions == "1") == (directions == "2").T).all() and ((directions == "3") == (directions == "3").T).all()


def test_strips_change_nothing(monkeypatch):
    x = 255 * torch.rand(2, 1, 50, 43, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole = block_maps(x)
    assert whole.shape == (2, 4, 17 * 15)
    monkeypatch.setattr(module, "BLOCKS_AT_ONCE", 100)
    torch.testing.assert_close(block_maps(x), whole, rtol=0, atol=1e-12)


def test_flat_windows_have_the_shape_11_and_no_spread():
    rho, shape, energy, orientation = block_maps(torch.full((1, 1, 30, 30), 121.0, dtype=torch.float64))[0]
    inside = torch.zeros(10, 10, dtype=torch.bool)
    inside[1:-1, 1:-1] = True
    assert (shape[inside.flatten()] == 11).all() and (shape[~inside.flatten()] < 11).all()
    assert max(values[inside.flatten()].max() for values in (rho, energy, orientation)) < 2e-6


def difficult(name: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    photo = read("synthetic:ref")[..., :77, :91]
    return {"saturated": (2 * photo - 0.5).clamp(0, 1), "noise": torch.rand(1, 3, 40, 52, generator=generator).double(),
            "smallest": photo[..., :12, :12]}[name] if name in ("saturated", "noise", "smallest") else pattern(name)


@pytest.mark.parametrize("name", ["gray", "black", "white", "one pixel", "checkerboard", "step", "square", "saturated",
                                  "noise", "smallest"])
def test_difficult_images_have_finite_features_and_gradients(name):
    image = difficult(name).clone().requires_grad_()
    features = bliinds2_features(image)
    features.sum().backward()
    assert features.isfinite().all() and image.grad.isfinite().all()
    assert name in ("gray", "black") or image.grad.abs().max() > 0


def test_the_gradient_is_that_of_the_maps():
    generator = torch.Generator().manual_seed(2)
    x = (255 * torch.rand(1, 1, 7, 8, dtype=torch.float64, generator=generator)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: block_maps(v)[:, [0, 2, 3]], x, rtol=1e-4)


def test_a_score_does_not_depend_on_its_batch():
    images = torch.cat([read(f"synthetic:{name}")[..., :90, :101] for name in ("ref", "noise", "blur")])
    features = bliinds2_features(images)
    assert features.dtype == torch.float64 and features.shape == (3, 24)
    for k in range(3):
        torch.testing.assert_close(bliinds2_features(images[k:k + 1])[0], features[k], rtol=0, atol=1e-11)


def test_too_small_images_are_refused():
    with pytest.raises(ValueError, match="sides of 12 pixels"):
        bliinds2_features(torch.rand(1, 3, 11, 20))


def test_the_mode_is_the_best_of_the_199_scores_that_the_release_tries(table):
    arrays = loadmat(parameters())
    mean, precision = arrays["live_mu"].round(4).ravel(), arrays["live_sigma_inv"].round(4)
    features = table.features[::9] * np.random.default_rng(0).uniform(0.8, 1.2, (110, 24))
    candidates = np.arange(1, 100.25, 0.5)
    expected = []
    for row in features:
        z = np.column_stack((np.repeat(row[None], 199, 0), candidates)) - mean
        density = np.exp(-(1.0168 * np.einsum("ij,jk,ik->i", z, precision, z)) ** 0.42)
        expected.append(0.5 * density.argmax())
    scores = load_model(parameters())(torch.from_numpy(features)).numpy()
    np.testing.assert_array_equal(scores, expected)
    assert {0, 99} <= set(scores) and len(set(scores)) > 20


def test_the_gaussian_model_passes_gradients_through_its_rounding():
    model = ConditionalMode(np.array([1.0, 2.0, 50.0]), np.array([[2.0, 0.1, -0.3], [0.1, 1.0, 0.2], [-0.3, 0.2, 0.1]]))
    features = torch.tensor([[1.3, 2.1], [90.0, 2.0], [-90.0, 2.0]], dtype=torch.float64, requires_grad=True)
    scores = model(features)
    assert scores.tolist() == [49.5, 99, 0]  # 50 + 3 * 0.3 - 2 * 0.1 = 50.7, on the grid 50.5, less one
    scores.sum().backward()
    np.testing.assert_allclose(features.grad.numpy(), [[3, -2], [0, 0], [0, 0]], atol=1e-12)


def test_a_system_to_be_trained_has_features_and_no_score():
    metric = BLIINDS2(parameters="untrained", luma=first_channel)
    image = read("synthetic:ref")[..., :40, :40]
    torch.testing.assert_close(metric.features(image), bliinds2_features(image[:, :1]))
    with pytest.raises(RuntimeError, match="iqa-lab train"):
        metric(image)


def test_a_file_of_ours_makes_a_support_vector_regression(tmp_path):
    random = np.random.default_rng(0)
    arrays = {"support_vectors": random.uniform(-1, 1, (5, 24)), "coefficients": random.normal(size=5), "gamma": 0.1,
              "bias": 40.0, "feature_min": np.zeros(24), "feature_max": np.full(24, 3.0)}
    np.savez(tmp_path / "model.npz", **arrays)
    image = read("synthetic:noise")[..., :60, :60].float()
    scaled = 2 * bliinds2_features(image).numpy() / 3 - 1
    expected = np.exp(-0.1 * np.square(scaled - arrays["support_vectors"]).sum(1)) @ arrays["coefficients"] + 40
    score = BLIINDS2(parameters=tmp_path / "model.npz")(image)
    assert score.dtype == torch.float32 and score.item() == pytest.approx(expected, rel=1e-6)
    np.savez(tmp_path / "other.npz", something=np.zeros(3))
    savemat(tmp_path / "other.mat", {"mu_prisparam": np.zeros(3)})
    for name, message in (("other.npz", "Expected the arrays"), ("other.mat", "Expected live_mu and live_sigma_inv")):
        with pytest.raises(ValueError, match=message):
            BLIINDS2(parameters=tmp_path / name)


def tiny_table() -> script.LiveTable:
    """Returns 8 references in five versions of each distortion, and features that follow the DMOS with noise."""
    random = np.random.default_rng(0)
    dmos = np.tile(np.array([0.0, 20, 40, 60, 80]), 8 * 5) + random.normal(0, 1, 200) * (np.arange(200) % 5 > 0)
    features = 0.01 * dmos[:, None] + random.normal(0, 0.1, (200, 24))
    return script.LiveTable(features, {"table": dmos, "realigned": dmos}, np.tile(np.repeat(np.arange(8), 5), 5),
                            np.repeat(list(script.DISTORTIONS), 40), np.arange(200) % 5 == 0)


def test_the_regression_runs_on_a_tiny_table(monkeypatch):
    monkeypatch.setattr(script, "GRID", {"svr__C": [16.0], "svr__gamma": [0.01]})
    monkeypatch.setattr(script, "run_own", lambda *_: iter(()))
    result = script.run(tiny_table(), n_splits=2)
    assert len(result) == 2 * 2 * 2 * 6 and (result["n_splits"] == 2).all()
    assert result.set_index(["distortion", "references"])["n_test"].to_dict()[("all", "without")] == 2 * 5 * 4
    assert (result["srocc"] > 0.8).all() and (result["srocc_q1"] <= result["srocc"]).all()


def test_the_gaussian_is_a_linear_regression_on_its_grid():
    tiny = tiny_table()
    features, dmos = tiny.features, tiny.dmos["table"]
    design = np.column_stack((features, np.ones(200)))
    line = np.clip(design @ np.linalg.lstsq(design, dmos, rcond=None)[0], 1, 100)
    np.testing.assert_allclose(script.gaussian(features, dmos, features), line - 1, atol=0.2501)


def test_the_table_is_that_of_the_model(table):
    arrays = loadmat(parameters())
    joint = np.column_stack((table.features, table.dmos["table"]))
    np.testing.assert_allclose(joint.mean(0), arrays["live_mu"][0], rtol=1e-12)
    np.testing.assert_allclose(np.linalg.inv(np.cov(joint.T)), arrays["live_sigma_inv"], rtol=1e-7)
    assert table.copies.sum() == 203 and (table.dmos["table"][table.copies] == 0).all()
    assert len(set(table.references)) == 29


def test_rows_in_another_order_are_refused(tmp_path):
    live = official_folder() / "scores/live_dmos"
    lines = (live / "MOS_NAME_REF.txt").read_text().splitlines()
    (tmp_path / "dmos_realigned.mat").write_bytes((live / "dmos_realigned.mat").read_bytes())
    names = [line.split()[2] for line in lines]
    for order, message in ((names[1:] + names[:1], "another order"), (None, "Expected the DMOS")):
        shifted = lines[1:] + lines[:1] if order is None else \
            ["\t".join((*line.split()[:2], name)) for line, name in zip(lines, order, strict=True)]
        (tmp_path / "MOS_NAME_REF.txt").write_text("\n".join(shifted))
        with pytest.raises(ValueError, match=message):
            script.read_table(parameters(), tmp_path)


def test_the_committed_result_is_complete():
    result = pd.read_csv(COMMITTED)
    assert len(result) == 2 * 2 * 2 * 6 + 5 and set(result["n_splits"]) == {1000} and set(result["seed"]) == {0}
    every = result[(result["distortion"] == "all") & (result["dmos"] == "table")].set_index(["model", "references"])
    for name in script.CRITERIA:
        assert (result[f"{name}_q1"] <= result[name]).all() and (result[name] <= result[f"{name}_q3"]).all()
    assert (every.loc["svr", "srocc"] > every.loc["gaussian", "srocc"]).all()


def test_the_quoted_medians_lie_between_the_quartiles_without_copies_of_references():
    result = pd.read_csv(COMMITTED).query("distortion == 'all' and references == 'without'")
    for name in ("srocc", "plcc"):
        quoted = result[result[f"{name}_quoted"].notna()]
        assert len(quoted) >= 2
        assert quoted[f"{name}_quoted"].between(quoted[f"{name}_q1"], quoted[f"{name}_q3"]).all()


def test_the_committed_median_is_computed_again(table):
    rows = np.flatnonzero(~table.copies)
    features, dmos = table.features[rows], table.dmos["table"][rows]
    found = [srocc(script.gaussian(features[train], dmos[train], features[test]), dmos[test])
             for train, test in content_splits(table.references[rows], n_splits=1000)]
    result = pd.read_csv(COMMITTED).set_index(["model", "dmos", "references", "distortion"])
    assert np.median(found) == pytest.approx(result.loc[("gaussian", "table", "without", "all"), "srocc"], abs=6e-6)
