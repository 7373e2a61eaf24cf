"""HOSA gives the features of the authors' code (reference_values/hosa_features.csv: every 13th of 1176).

The references are hosa_feature_extraction.m and compute_patches.m of the authors' release, run under GNU Octave 7.3
with its package statistics 1.5.3 (weighted ``var``), on the upper left corners of the synthetic images, with the
codebook of ``tiny_arrays``: theirs was not to be had. In noise_11x13 one codeword has one patch, another has none.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.io import savemat
from scipy.stats import skew
from test_cornia import CODEBOOK as CORNIA_CODEBOOK
from test_cornia import corner, reference_columns, tiny_arrays, without_moments, write_regressor

from iqa_lab.data_scripts.learn_codebooks import cluster_moments, k_means, main, random_patches
from iqa_lab.embedded import SHIPPED
from iqa_lab.no_reference.codebooks import EPSILON, Codebook, load_codebook, take_patches
from iqa_lab.no_reference.hosa import HOSA, aggregate, grid, hosa_features, soft_assignment
from iqa_lab.ops.color import rgb_to_luma_matlab

CPU = torch.device("cpu")
CODEBOOK = SHIPPED / "weights" / "hosa_codebook.npz"
COLUMNS = reference_columns("hosa")


@pytest.fixture(scope="module")
def codebook() -> Codebook:
    return Codebook(tiny_arrays())


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> HOSA:
    return HOSA(parameters=write_regressor(tmp_path_factory.mktemp("hosa") / "r.npz", 14700), codebook=CODEBOOK)


def plain_differences(p: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """hosa_feature_extraction.m codeword by codeword, in two passes, (3, K, 49)."""
    distance = ((p[:, None] - arrays["codewords"]) ** 2).sum(-1)
    nearest = np.argsort(distance, 1, kind="stable")[:, :5]
    weights = np.exp(-0.05 * np.take_along_axis(distance, nearest, 1))
    weights /= weights.sum(1, keepdims=True)
    found = np.zeros((3, *arrays["codewords"].shape))
    for k, codeword in enumerate(arrays["codewords"]):
        patch, rank = np.nonzero(nearest == k)
        members, w = p[patch], weights[patch, rank]
        if len(patch) == 1:
            found[0, k] = weights[patch[0], 4] * (members[0] - codeword)
        elif len(patch) > 1:
            w = w[:, None] / w.sum()
            mean = (w * members).sum(0)
            found[0, k] = mean - codeword
            if members.var(0, ddof=1).sum() > 1e-8:
                variance = (w * (members - mean) ** 2).sum(0)
                third = (w * (members - mean) ** 3).sum(0)
                found[1, k] = variance - arrays["variance"][k]
                found[2, k] = third / (variance**1.5 + 1e-4) - arrays["skewness"][k]
    return found


@pytest.mark.parametrize("name", [name for name in COLUMNS if name != "feature"])
def test_features_are_the_authors(name, codebook):
    chosen = COLUMNS["feature"].astype(int)
    features = hosa_features(corner(name), codebook)[0].numpy()
    np.testing.assert_allclose(features[chosen], COLUMNS[name], rtol=0, atol=1e-10)
    single = hosa_features(corner(name).float(), codebook)[0].numpy()  # a difference near 0 to the power 0.2 is steep
    np.testing.assert_allclose(single[chosen], COLUMNS[name], rtol=0, atol=1e-5)
    assert np.linalg.norm(features) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("n, scale", [(400, 1.0), (400, 1e-3), (7, 1.0), (1, 1.0)])
def test_aggregation_equals_the_plain_version(n, scale):
    """Few patches among 22 codewords leave some codewords with one patch and some with none."""
    arrays = tiny_arrays(22)
    patches = 0.5 + scale * torch.randn(2, n, 49, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    found = aggregate(patches, Codebook(arrays)).numpy()
    for i in range(2):
        expected = plain_differences(patches[i].numpy(), arrays)
        np.testing.assert_allclose(found[i], expected, rtol=1e-9, atol=1e-9)
        if n == 7:
            assert (expected == 0).all((0, 2)).any() and (~expected[1].any(1) & expected[0].any(1)).any()


def test_equal_patches_have_no_variance_and_skewness_difference(codebook):
    patches = torch.randn(1, 1, 49, generator=torch.Generator().manual_seed(0), dtype=torch.float64).expand(1, 50, 49)
    found = aggregate(patches, codebook)[0]
    assert not found[1:].any() and found[0].any(-1).sum() == 5
    np.testing.assert_allclose(found, plain_differences(patches[0].numpy(), tiny_arrays()), atol=1e-12)


def test_the_weights_of_a_patch(codebook):
    patches = torch.randn(2, 20, 49, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights, fifth = soft_assignment(patches, codebook.codewords)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 20, dtype=torch.float64))
    assert ((weights > 0).sum(-1) == 5).all()
    torch.testing.assert_close(fifth[:, 0], weights.sort(-1).values[..., 3])  # three of the eight are 0
    nearest = torch.cdist(patches, codebook.codewords).argmin(-1)
    assert torch.equal(weights.argmax(-1), nearest)


@pytest.mark.parametrize("height, width, step", [(11, 11, 1), (199, 200, 1), (200, 200, 2), (384, 512, 4),
                                                 (500, 501, 5)])
def test_the_grid_is_the_authors(height, width, step):
    """compute_patches.m: two pixels cut off on each side, corners at 0:step:end whose patch is inside."""
    rows, columns = grid(height, width, CPU)
    for places, side in ((rows, height), (columns, width)):
        expected = [2 + offset for offset in range(0, side - 3, step) if offset + 7 <= side - 4]
        assert places.tolist() == expected


def test_patches_are_read_row_by_row(codebook):
    """The transposed image has other features, unless mean, matrix and codewords are transposed too."""
    image = rgb_to_luma_matlab(corner("ref_40x40"))
    order = torch.arange(49).view(7, 7).T.flatten().numpy()
    arrays = {name: array[..., order] for name, array in tiny_arrays().items()}
    arrays["whitening"] = arrays["whitening"][order]
    transposed = hosa_features(image.mT, Codebook(arrays)).view(3, 8, 49)[..., order.argsort()]
    torch.testing.assert_close(transposed, hosa_features(image, codebook).view(3, 8, 49), rtol=1e-7, atol=1e-9)
    assert not torch.allclose(hosa_features(image.mT, codebook), hosa_features(image, codebook), atol=1e-3)


def test_gradient_of_the_aggregation():
    arrays = tiny_arrays(7)
    patches = torch.randn(1, 6, 49, generator=torch.Generator().manual_seed(3), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: aggregate(p, Codebook(arrays)), patches, atol=1e-4)


def test_gray_is_its_own_luma_and_odd_sizes_are_scored(model):
    image = corner("noise_47x61")
    torch.testing.assert_close(model(rgb_to_luma_matlab(image)), model(image))
    assert model(image[..., :11, :11]).isfinite().all()
    with pytest.raises(ValueError, match="sides of 11 pixels"):
        model(image[..., :10, :])


def test_a_codebook_of_the_authors_is_read(tmp_path, codebook):
    arrays = tiny_arrays()
    struct = {f"{name}_cb": arrays[key].T for name, key in
              (("centroid", "codewords"), ("variance", "variance"), ("skewness", "skewness"))}
    savemat(tmp_path / "codebook_hosa.mat", {"codebook_hosa": struct})
    savemat(tmp_path / "whitening_param.mat", {"M": arrays["mean"][None], "P": arrays["whitening"]})
    read, image = load_codebook(tmp_path / "codebook_hosa.mat"), corner("ref_30x30")
    torch.testing.assert_close(hosa_features(image, read), hosa_features(image, codebook))


def test_other_codebooks_and_regressors_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Expected a codebook with variance and skewness"):
        HOSA(parameters=tmp_path / "none.npz", codebook=CORNIA_CODEBOOK)
    with pytest.raises(ValueError, match="Expected a codebook with variance and skewness"):
        hosa_features(corner("ref_30x30"), Codebook(without_moments(tiny_arrays())))
    with pytest.raises(ValueError, match="Expected a regressor of the codebook's 14700 features, got one of 16"):
        HOSA(parameters=write_regressor(tmp_path / "r.npz", 16), codebook=CODEBOOK)


def test_the_shipped_codebook_describes_its_clusters():
    """On a photograph-like texture the nearest codeword of most patches is not one and the same."""
    book = load_codebook(CODEBOOK)
    assert book.codewords.shape == book.variance.shape == book.skewness.shape == (100, 49)
    np.testing.assert_allclose(book.whitening.numpy() @ np.ones(49), np.ones(49) / np.sqrt(EPSILON), rtol=1e-6)
    assert book.variance.min() > 0 and book.skewness.abs().max() < 10
    image = 255 * rgb_to_luma_matlab(corner("noise_100x100"))
    patches = book.whiten(take_patches(image, *grid(100, 100, CPU)).flatten(-2))
    assert len(torch.cdist(patches, book.codewords).argmin(-1).unique()) > 20


def test_what_is_learned_of_a_cluster():
    points = np.random.default_rng(0).exponential(size=(9000, 49)).astype(np.float32)  # mean 1, variance 1, skewness 2
    labels = np.arange(9000) % 3
    found = cluster_moments(points, labels)
    for k in range(3):
        np.testing.assert_allclose(found["codewords"][k], points[labels == k].mean(0), rtol=1e-5)
        np.testing.assert_allclose(found["variance"][k], points[labels == k].var(0), rtol=1e-4)
        np.testing.assert_allclose(found["skewness"][k], skew(points[labels == k]), rtol=1e-3)
    first, second = (k_means(points, 20).cluster_centers_ for _ in range(2))
    nearest, chosen = (((points[:, None] - centres) ** 2).sum(-1).min(1).mean() for centres in (first, points[:20]))
    assert np.array_equal(first, second) and nearest < 0.7 * chosen


def test_patches_for_learning_come_from_the_gray_image(tmp_path):
    pixels = np.arange(20 * 24 * 3, dtype=np.uint8).reshape(20, 24, 3)
    patches = random_patches(pixels, np.random.RandomState(0))
    gray = 255 * rgb_to_luma_matlab(torch.from_numpy(pixels.transpose(2, 0, 1) / 255)[None])[0, 0].numpy()
    assert patches.shape == (800, 7, 7)
    assert any(np.array_equal(patches[5], gray[i:i + 7, j:j + 7]) for i in range(14) for j in range(18))
    with pytest.raises(FileNotFoundError, match="Expected kodim01.png to kodim24.png"):
        main(tmp_path)
