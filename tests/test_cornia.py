"""CORNIA gives the features of the authors' code (reference_values/cornia_features.csv); parts shared with HOSA.

The references are CORNIA_Fv.m of the authors' release run under GNU Octave 7.3 on the upper left corners of the
synthetic images (``flat``: the gray value 128), with the codebook of ``tiny_arrays``: theirs was not to be had. These
images have fewer than 10,000 patches, so that the authors' random choice takes them all.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat
from synthetic_images import synthetic_image
from test_reference_values import FOLDER

from iqa_lab.embedded import SHIPPED
from iqa_lab.no_reference import cornia
from iqa_lab.no_reference.codebooks import (
    EPSILON,
    MOMENTS,
    Codebook,
    fit_whitening,
    load_codebook,
    normalise,
    parse_official_whitening,
    take_patches,
)
from iqa_lab.no_reference.cornia import CORNIA, cornia_features, encode, even_grid
from iqa_lab.ops.color import rgb_to_luma_matlab

CPU = torch.device("cpu")
CODEBOOK = SHIPPED / "weights" / "cornia_codebook.npz"


def tiny_arrays(n_codewords: int = 8) -> dict[str, np.ndarray]:
    """Returns a codebook made of integers alone, with the moments that HOSA needs."""
    i, j = np.indices((n_codewords, 49))
    row, column = np.indices((49, 49))

    def sevenths(salt):
        return ((31 * i + 17 * j + 7 * i * j * (salt + 1) + j * j * (i + salt)) % 23 - 11) / 7

    return {"mean": (np.arange(49) * 5 % 13 - 6) / 500,
            "whitening": 1.3 * np.eye(49) + ((row * column + row + column) % 7 - 3) / 50,
            "codewords": sevenths(0), "variance": 0.3 + sevenths(1) ** 2 / 5, "skewness": sevenths(2) / 3}


def without_moments(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays.items() if name not in MOMENTS}


def corner(name: str) -> torch.Tensor:
    """Returns the image of a column, such as ``ref_61x83``: the upper left corner, float64 (1, 3, H, W)."""
    kind, _, size = name.partition("_")
    height, width = map(int, size.split("x"))
    pixels = np.full((height, width, 3), 128) if kind == "flat" else synthetic_image(kind)[:height, :width]
    return torch.from_numpy(pixels.transpose(2, 0, 1) / 255)[None]


def reference_columns(metric: str) -> dict[str, np.ndarray]:
    table = np.genfromtxt(FOLDER / f"{metric}_features.csv", delimiter=",", names=True)
    return {name: table[name] for name in table.dtype.names}


def difficult_images(side: int) -> dict[str, torch.Tensor]:
    board = (torch.arange(side)[:, None] + torch.arange(side)).remainder(2).float().expand(1, 3, side, side)
    flat = torch.zeros(1, 3, side, side)
    noise = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    dot = flat.clone()
    dot[..., side // 2, side // 2] = 1
    return {"black": flat, "white": flat + 1, "gray": flat + 0.5, "dot": dot, "checkerboard": board, "noise": noise,
            "ramp": torch.linspace(0, 1, side).expand(1, 3, side, side), "saturated": (2 * noise - 0.3).clamp(0, 1)}


def write_regressor(path: Path, n_features: int) -> Path:
    weights = np.random.default_rng(0).normal(size=n_features) / n_features
    np.savez(path, weights=weights, bias=np.array(40.0))
    return path


@pytest.fixture(scope="module")
def codebook() -> Codebook:
    return Codebook(without_moments(tiny_arrays()))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> CORNIA:
    return CORNIA(parameters=write_regressor(tmp_path_factory.mktemp("cornia") / "r.npz", 20000), codebook=CODEBOOK)


COLUMNS = reference_columns("cornia")


@pytest.mark.parametrize("name", [name for name in COLUMNS if name != "feature"])
def test_features_are_the_authors(name, codebook):
    np.testing.assert_allclose(cornia_features(corner(name), codebook)[0].numpy(), COLUMNS[name], atol=1e-10)
    np.testing.assert_allclose(cornia_features(corner(name).float(), codebook)[0].numpy(), COLUMNS[name], atol=1e-6)


def plain_features(gray: np.ndarray, arrays: dict[str, np.ndarray], rows, columns) -> np.ndarray:
    """CORNIA_Fv.m patch by patch."""
    features = np.zeros(2 * len(arrays["codewords"]))
    for row in rows:
        for column in columns:
            p = gray[row:row + 7, column:column + 7].flatten("F")
            p = ((p - p.mean()) / np.sqrt(p.var(ddof=1) + 10) - arrays["mean"]) @ arrays["whitening"]
            z = np.array([p @ d / np.linalg.norm(d) for d in arrays["codewords"]])
            features = np.maximum(features, np.concatenate((z, -z)))
    return features


@pytest.mark.parametrize("n_patches", [50, 10_000])
def test_equals_the_plain_version_on_its_grid(n_patches, codebook, monkeypatch):
    monkeypatch.setattr(cornia, "ROWS_AT_ONCE", 30)  # several chunks, the last one shorter
    image = torch.rand(3, 3, 23, 31, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rows, columns = even_grid(23, 31, n_patches, CPU)
    assert len(rows) * len(columns) == (17 * 25 if n_patches > 425 else 6 * 8)
    features = cornia_features(image, codebook, n_patches=n_patches)
    for x, found in zip(image, features, strict=True):
        gray = 255 * rgb_to_luma_matlab(x[None])[0, 0].numpy()
        expected = plain_features(gray, tiny_arrays(), rows.tolist(), columns.tolist())
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(7, 3000), width=st.integers(7, 3000), n=st.integers(1, 20_000))
def test_the_grid_is_even_and_inside(height, width, n):
    rows, columns = even_grid(height, width, n, CPU)
    assert 1 <= len(rows) * len(columns) <= n or len(rows) * len(columns) == (height - 6) * (width - 6) <= n
    for places, side in ((rows, height), (columns, width)):
        assert places.min() >= 0 and places.max() <= side - 7 and len(places.unique()) == len(places)
        assert len(places) < 3 or places.diff().max() - places.diff().min() <= 1
    if min(height, width) > 300 and n > 1000:
        assert len(rows) * len(columns) > 0.95 * n


def test_the_grid_meets_all_phases_of_jpeg_blocks():
    for size in ((500, 500), (768, 1024), (384, 512)):
        for places in even_grid(*size, 10_000, CPU):
            assert len(places.remainder(8).unique()) == 8


def test_gradient_of_the_encoding():
    """The gradient goes to the one patch that responds most."""
    patches = torch.randn(2, 12, 49, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    codewords = torch.nn.functional.normalize(torch.from_numpy(tiny_arrays(3)["codewords"]))
    assert torch.autograd.gradcheck(lambda p: encode(p, codewords), patches)


def test_gray_is_its_own_luma_and_odd_sizes_are_scored(model):
    image = corner("noise_47x61")
    gray = rgb_to_luma_matlab(image)
    torch.testing.assert_close(model(gray), model(image))
    assert model(image[..., :7, :7]).isfinite().all()
    with pytest.raises(ValueError, match="sides of 7 pixels"):
        model(image[..., :6, :])


def test_the_number_of_patches_is_an_option(model, tmp_path):
    few = CORNIA(parameters=write_regressor(tmp_path / "r.npz", 20000), codebook=CODEBOOK, n_patches=500)
    image = corner("ref_60x70")
    features = cornia_features(image, few.codebook, n_patches=500)
    torch.testing.assert_close(few(image), few.regressor(features))
    assert few(image).item() != pytest.approx(model(image).item(), rel=1e-6)


def test_normalisation_and_patches_against_numpy():
    x = torch.rand(2, 1, 12, 15, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    rows, columns = torch.tensor([0, 3, 5]), torch.tensor([1, 8])
    patches = take_patches(x, rows, columns)
    assert patches.shape == (2, 6, 7, 7)
    for k, (row, column) in enumerate((r, c) for r in rows.tolist() for c in columns.tolist()):
        torch.testing.assert_close(patches[1, k], x[1, 0, row:row + 7, column:column + 7], rtol=0, atol=0)
    p = 255 * patches[0, 0].flatten().numpy()
    np.testing.assert_allclose(normalise(torch.from_numpy(p)).numpy(), (p - p.mean()) / np.sqrt(p.var(ddof=1) + 10))
    arrays = without_moments(tiny_arrays()) | {"whitening": np.random.default_rng(0).normal(size=(49, 49))}
    expected = ((p - p.mean()) / np.sqrt(p.var(ddof=1) + 10) - arrays["mean"]) @ arrays["whitening"]
    np.testing.assert_allclose(Codebook(arrays).whiten(torch.from_numpy(p)).numpy(), expected, rtol=1e-9)


def test_whitening_is_symmetric_and_leaves_what_epsilon_says():
    random = np.random.default_rng(0)
    patches = random.normal(size=(5000, 49)) @ random.normal(size=(49, 49)) / 7
    patches -= patches.mean(1, keepdims=True)  # as normalised patches: the constant direction has the variance 0
    mean, whitening = fit_whitening(patches)
    before, after = (np.linalg.eigvalsh(np.cov(p, rowvar=False)) for p in (patches, (patches - mean) @ whitening))
    np.testing.assert_allclose(after, before / (before + EPSILON), atol=1e-9)
    np.testing.assert_allclose(whitening, whitening.T, atol=1e-12)
    np.testing.assert_allclose(whitening @ np.ones(49), np.ones(49) / np.sqrt(EPSILON), rtol=1e-9)


def test_the_authors_whitening_has_our_epsilon():
    if "IQA_LAB_DATA" not in os.environ:
        pytest.skip("needs the authors' whitening file: set IQA_LAB_DATA")
    path = Path(os.environ["IQA_LAB_DATA"]) / "weights/cornia_partial/CSIQ_whitening_param.mat"
    mean, whitening = parse_official_whitening(path)
    assert mean.shape == (49,)
    np.testing.assert_allclose(whitening, whitening.T, atol=1e-12)
    np.testing.assert_allclose(whitening @ np.ones(49), np.ones(49) / np.sqrt(EPSILON), rtol=1e-8)


def test_a_codebook_of_the_authors_is_read(tmp_path, codebook):
    arrays = tiny_arrays()
    savemat(tmp_path / "CSIQ_codebook_BS7.mat", {"codebook0": arrays["codewords"].T})
    with pytest.raises(FileNotFoundError, match="CSIQ_whitening_param.mat beside"):
        load_codebook(tmp_path / "CSIQ_codebook_BS7.mat")
    savemat(tmp_path / "CSIQ_whitening_param.mat", {"M": arrays["mean"][None], "P": arrays["whitening"]})
    read, image = load_codebook(tmp_path / "CSIQ_codebook_BS7.mat"), corner("ref_30x30")
    torch.testing.assert_close(cornia_features(image, read), cornia_features(image, codebook))


def test_other_files_are_refused(tmp_path):
    savemat(tmp_path / "other.mat", {"D": np.ones(3)})
    with pytest.raises(ValueError, match="Expected codebook0 or codebook_hosa in .*got D"):
        load_codebook(tmp_path / "other.mat")
    with pytest.raises(ValueError, match="Expected the arrays mean, whitening, codewords .*got mean"):
        Codebook({"mean": np.ones(49)})
    with pytest.raises(ValueError, match=r"Expected mean of shape \(49,\), got \(50,\)"):
        Codebook(without_moments(tiny_arrays()) | {"mean": np.ones(50)})
    with pytest.raises(ValueError, match="Expected a regressor of the codebook's 20000 features, got one of 16"):
        CORNIA(parameters=write_regressor(tmp_path / "r.npz", 16), codebook=CODEBOOK)


def test_the_shipped_codebook_is_whitened_as_the_authors_and_says_its_size():
    book = load_codebook(CODEBOOK)
    assert book.codewords.shape == (10_000, 49) and not book.has_moments
    np.testing.assert_allclose(book.whitening.numpy() @ np.ones(49), np.ones(49) / np.sqrt(EPSILON), rtol=1e-6)
    assert book.codewords.norm(dim=1).min() > 0 and CODEBOOK.stat().st_size < 3e6
    assert "10000 codewords" in repr(book)
