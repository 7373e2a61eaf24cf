"""Support vector regression in PyTorch gives scikit-learn's predictions, and reads the formats of libsvm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import SVR

from iqa_lab.no_reference.regression import (SupportVectorRegressor, load_regressor, parse_libsvm_model,
                                             parse_libsvm_range, parse_libsvm_struct)


def data(seed: int = 0, n: int = 60, width: int = 7) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.uniform(-3, 5, (n, width)), random.normal(size=n)


def rbf_arrays(svr: SVR) -> dict[str, np.ndarray]:
    return {"support_vectors": svr.support_vectors_, "coefficients": svr.dual_coef_[0], "gamma": np.array(svr.gamma),
            "bias": np.array(svr.intercept_[0])}


def predict(arrays: dict, x: np.ndarray) -> np.ndarray:
    return SupportVectorRegressor(arrays)(torch.from_numpy(x)).numpy()


@settings(max_examples=10, deadline=None)
@given(st.floats(0.1, 100), st.floats(0.001, 1), st.integers(0, 1000))
def test_the_radial_kernel_is_scikit_learns(c, gamma, seed):
    x, y = data(seed)
    svr = SVR(C=c, gamma=gamma, epsilon=0.1).fit(x, y)
    np.testing.assert_allclose(predict(rbf_arrays(svr), x), svr.predict(x), rtol=1e-9, atol=1e-9)


def test_the_linear_kernel_is_scikit_learns():
    x, y = data()
    svr = SVR(kernel="linear", C=1, epsilon=0.1).fit(x, y)
    arrays = {"weights": svr.coef_[0], "bias": np.array(svr.intercept_[0])}
    np.testing.assert_allclose(predict(arrays, x), svr.predict(x), rtol=1e-9, atol=1e-9)


def test_scaling_maps_the_range_to_minus_one_and_one_and_does_not_clip():
    scaled = {"weights": np.array([1.0, 10.0, 100.0]), "bias": np.array(0.0), "feature_min": np.array([0.0, -1, 5]),
              "feature_max": np.array([2.0, 1, 5])}  # the third feature was constant
    x = np.array([[0.0, -1, 5], [2, 1, 5], [4, 0, 9]])
    np.testing.assert_allclose(predict(scaled, x), [-11, 11, 3])


def test_gradients_reach_the_features():
    x, y = data(n=20)
    model = SupportVectorRegressor(rbf_arrays(SVR(C=1, gamma=0.05).fit(x, y)) | {
        "feature_min": x.min(0), "feature_max": x.max(0)})
    features = torch.from_numpy(x[:3]).requires_grad_()
    assert torch.autograd.gradcheck(model, (features,))


def test_a_stored_regressor_comes_back(tmp_path):
    x, y = data()
    arrays = rbf_arrays(SVR(C=1, gamma=0.05).fit(x, y))
    np.savez(tmp_path / "regressor.npz", **{name: np.atleast_1d(array) for name, array in arrays.items()})  # as shipped
    loaded = load_regressor(tmp_path / "regressor.npz")
    np.testing.assert_array_equal(loaded(torch.from_numpy(x)).numpy(), predict(arrays, x))
    assert loaded.n_features == 7 and "support vectors" in repr(loaded)


@pytest.mark.parametrize("change, message", [
    ({"gamma": None}, "got bias, coefficients, support_vectors"), ({"feature_min": np.zeros(7)}, "both of"),
    ({"feature_min": np.zeros(3), "feature_max": np.ones(3)}, "one number of features"),
    ({"bias": np.array(np.nan)}, "finite numbers")])
def test_other_arrays_are_refused(change, message):
    arrays = rbf_arrays(SVR(gamma=0.05).fit(*data())) | change
    with pytest.raises(ValueError, match=message):
        SupportVectorRegressor({name: array for name, array in arrays.items() if array is not None})


def test_another_file_is_refused(tmp_path):
    (tmp_path / "model.txt").write_text("svm_type epsilon_svr")
    with pytest.raises(ValueError, match=r"\.npz"):
        load_regressor(tmp_path / "model.txt")
    with pytest.raises(FileNotFoundError):
        load_regressor(tmp_path / "absent.npz")


def libsvm_text(folder: Path, arrays: dict, kernel: str = "rbf") -> Path:
    vectors = [" ".join(f"{i + 1}:{value:.17g}" for i, value in enumerate(vector) if value)
               for vector in arrays["support_vectors"]]
    lines = [f"{c:.17g} {vector}" for c, vector in zip(arrays["coefficients"], vectors)]
    head = ["svm_type epsilon_svr", f"kernel_type {kernel}", f"gamma {arrays['gamma']:.17g}", "nr_class 2",
            f"total_sv {len(lines)}", f"rho {-arrays['bias']:.17g}", "SV"]
    (folder / "model").write_text("\n".join(head + lines) + "\n")
    return folder / "model"


def test_libsvms_text_model_is_read(tmp_path):
    x, y = data()
    x[:, 6] = 0  # the last feature is never written
    svr = SVR(C=1, gamma=0.05).fit(x, y)
    np.testing.assert_allclose(predict(parse_libsvm_model(libsvm_text(tmp_path, rbf_arrays(svr)), 7), x), svr.predict(x))
    with pytest.raises(ValueError, match="rbf kernel"):
        parse_libsvm_model(libsvm_text(tmp_path, rbf_arrays(svr), kernel="linear"), 7)


def test_libsvms_range_is_read(tmp_path):
    (tmp_path / "range").write_text("x\n-1 1\n1 0.3 10\n2 -5 5\n")
    scaling = parse_libsvm_range(tmp_path / "range")
    np.testing.assert_array_equal(scaling["feature_min"], [0.3, -5])
    np.testing.assert_array_equal(scaling["feature_max"], [10, 5])
    (tmp_path / "range").write_text("x\n0 1\n1 0.3 10\n")
    with pytest.raises(ValueError, match="-1 1"):
        parse_libsvm_range(tmp_path / "range")


def test_matlabs_structure_is_read(tmp_path):
    """Written and read as MATLAB would, sparse support vectors included."""
    from scipy.io import loadmat, savemat
    from scipy.sparse import csc_matrix

    x, y = data()
    svr = SVR(C=1, gamma=0.05).fit(x, y)
    arrays = rbf_arrays(svr)
    parameters = np.array([[3.0], [2], [3], [0.05], [0]])
    struct = {"Parameters": parameters, "rho": -arrays["bias"].reshape(1, 1), "sv_coef": arrays["coefficients"][:, None],
              "SVs": csc_matrix(arrays["support_vectors"])}
    savemat(tmp_path / "model.mat", {"model": struct})
    np.testing.assert_allclose(predict(parse_libsvm_struct(loadmat(tmp_path / "model.mat")["model"]), x), svr.predict(x))
    struct["Parameters"][1] = 0
    savemat(tmp_path / "model.mat", {"model": struct})
    with pytest.raises(ValueError, match="kernel_type"):
        parse_libsvm_struct(loadmat(tmp_path / "model.mat")["model"])
