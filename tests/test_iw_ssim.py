"""IW-SSIM and IW-PSNR against the authors' steps in NumPy, special images, the parts of the model, and gradcheck."""

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import correlate
from synthetic_images import synthetic_image

from iqa_lab.full_reference import iw_ssim as module
from iqa_lab.full_reference.iw_ssim import (SCALE_WEIGHTS, gain_and_error, information_content,
                                            information_content_weights, iw_psnr, iw_ssim, neighbourhoods,
                                            parent_positions, source_model)
from iqa_lab.ops.color import rgb_to_luma
from iqa_lab.ops.filters import gaussian_kernel
from iqa_lab.ops.laplacian_pyramid import laplacian_pyramid
from iqa_lab.ops.resize import resize


def pair(height: int = 177, width: int = 190, seed: int = 0, noise: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (distorted, reference): random textures, rough on the left and smooth on the right."""
    generator = torch.Generator().manual_seed(seed)
    rough, smooth = (torch.rand(1, 1, *size, generator=generator, dtype=torch.float64)
                     for size in ((height, width), (height // 6, width // 6)))
    blend = torch.linspace(0, 1, width, dtype=torch.float64)
    reference = 0.1 + 0.8 * ((1 - blend) * rough + blend * resize(smooth, size=(height, width), method="bilinear"))
    distorted = reference + noise * torch.randn(reference.shape, generator=generator, dtype=torch.float64)
    return distorted.clamp(0, 1), reference


def slow_weights(x: np.ndarray, y: np.ndarray, parent: np.ndarray | None) -> np.ndarray:
    """Returns the weight map of one band, reference x and distorted y, as the authors' code does it."""
    box = np.full((3, 3), 1 / 9)
    mean = {name: correlate(v, box, mode="constant")
            for name, v in (("x", x), ("y", y), ("xx", x * x), ("yy", y * y), ("xy", x * y))}
    cov = mean["xy"] - mean["x"] * mean["y"]
    var_x, var_y = (np.maximum(mean[2 * n] - mean[n]**2, 0) for n in "xy")
    g = cov / (var_x + 1e-15)
    v = var_y - g * cov
    g, v = g[1:-1, 1:-1], v[1:-1, 1:-1]
    columns = sliding_window_view(x, (3, 3)).reshape(-1, 9)
    if parent is not None:
        columns = np.column_stack((columns, slow_enlarged(parent)[1:x.shape[0] - 1, 1:x.shape[1] - 1].ravel()))
    covariance = columns.T @ columns / len(columns)
    s2 = (columns @ np.linalg.inv(covariance) * columns).mean(axis=1).reshape(g.shape)
    return sum(np.log2(1 + ((v + (1 + g * g) * 0.4) * s2 * eigenvalue + 0.4 * v) / 0.16)
               for eigenvalue in np.linalg.eigvalsh(covariance))


def slow_enlarged(parent: np.ndarray) -> np.ndarray:
    """Returns what the authors' imenlarge2 makes of a band: about twice its size, from four times its size."""
    sides = [4 * side - 3 for side in parent.shape]
    large = np.zeros([side + 2 for side in sides])
    large[1:-1, 1:-1] = resize(torch.from_numpy(parent)[None, None], size=tuple(sides), method="bilinear")[0, 0].numpy()
    for view in (large, large[::-1], large.T, large.T[::-1]):
        view[0] = 2 * view[1] - view[2]
    return large[::2, ::2]


def slow_scores(distorted: torch.Tensor, reference: torch.Tensor) -> tuple[float, float]:
    """Returns IW-SSIM and IW-PSNR of gray images with the formulas written out, scale by scale."""
    y_bands, x_bands = ([band[0, 0].numpy() for band in laplacian_pyramid(255 * image, 5)]
                        for image in (distorted, reference))
    window = np.outer(*[gaussian_kernel(11, 1.5, torch.float64).numpy()] * 2)
    inner = (slice(5, -5), slice(5, -5))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity, error = 1.0, 1.0
    for scale, (x, y, power) in enumerate(zip(x_bands, y_bands, SCALE_WEIGHTS, strict=True)):
        mu_x, mu_y, xx, yy, xy = (correlate(v, window)[inner] for v in (x, y, x * x, y * y, x * y))
        quality = (2 * (xy - mu_x * mu_y) + c2) / (xx - mu_x**2 + yy - mu_y**2 + c2)
        if scale == 4:
            weights = np.ones_like(quality)
            quality = quality * (2 * mu_x * mu_y + c1) / (mu_x**2 + mu_y**2 + c1)
        else:
            weights = slow_weights(x, y, x_bands[scale + 1] if scale < 3 else None)[4:-4, 4:-4]
        similarity *= np.average(quality, weights=weights) ** power
        error *= np.average((x - y)[inner] ** 2, weights=weights) ** power
    return similarity, 10 * np.log10(255**2 / error)


@pytest.mark.parametrize("size", [(176, 192), (177, 191), (190, 181)])
def test_equals_the_authors_steps(size):
    images = pair(*size, seed=1)
    expected = slow_scores(*images)
    assert iw_ssim(*images).item() == pytest.approx(expected[0], rel=1e-8)
    assert iw_psnr(*images).item() == pytest.approx(expected[1], rel=1e-8)


def test_weight_maps_equal_the_authors_steps():
    images = pair(seed=2)
    y_bands, x_bands = ([band[0, 0].numpy() for band in laplacian_pyramid(255 * image, 5)] for image in images)
    maps = information_content_weights(*images)
    assert len(maps) == 4
    for scale, weights in enumerate(maps):
        expected = slow_weights(x_bands[scale], y_bands[scale], x_bands[scale + 1] if scale < 3 else None)
        np.testing.assert_allclose(weights[0, 0].numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("name, value", [("quant", 0.9763530702753289), ("noise", 0.9463134045632687)])
def test_luma_without_rounding_gives_the_value_of_piq(name, value):
    images = [torch.from_numpy(synthetic_image(n).transpose(2, 0, 1) / 255)[None] for n in (name, "ref")]
    assert iw_ssim(*images, luma=rgb_to_luma).item() == pytest.approx(value, abs=1e-9)
    assert iw_ssim(*images).item() != pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("length, size", [(11, 22), (11, 21), (30, 59), (4, 8)])
def test_parents_lie_where_the_authors_enlarged_image_has_them(length, size):
    x = torch.rand(length, length, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    below, above, weight = parent_positions(length, size, torch.float64, "cpu")
    rows = torch.lerp(x[below], x[above], weight[:, None])
    ours = torch.lerp(rows[:, below], rows[:, above], weight)
    np.testing.assert_allclose(ours.numpy(), slow_enlarged(x.numpy())[:size, :size], atol=1e-12)


def test_the_source_model_whitens_the_neighbourhoods():
    x = pair(40, 50, seed=4)[1].expand(2, 2, -1, -1) * torch.tensor([1.0, 3.0])[:, None, None, None]
    whitening, eigenvalues = source_model(x + torch.rand_like(x))
    assert whitening.shape == (2, 10, 10) and eigenvalues.shape == (2, 10)
    single = x[:, :1]
    whitening, eigenvalues = source_model(single)
    u = neighbourhoods(single).flatten(2)
    white = whitening @ u
    torch.testing.assert_close(white @ white.mT / u.shape[2], torch.eye(9, dtype=u.dtype).expand(2, -1, -1),
                               atol=1e-5, rtol=0)
    torch.testing.assert_close(eigenvalues.sum(1), u.square().sum(1).mean(1))  # the trace
    torch.testing.assert_close(eigenvalues[1], 9 * eigenvalues[0])


def test_gain_and_error_of_a_faded_and_of_a_noisy_copy():
    x = pair(30, 30, seed=5)[1]
    gain, error = gain_and_error(x, 0.25 * x + 0.3)
    torch.testing.assert_close(gain, torch.full_like(gain, 0.25))
    assert error.max() < 1e-12
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(6), dtype=x.dtype)
    assert gain_and_error(x, x + noise)[1].mean() > 0.01
    for flat_pair in ((x, torch.zeros_like(x)), (torch.zeros_like(x), torch.zeros_like(x))):
        gain, error = gain_and_error(*flat_pair)
        assert (gain == 0).all() and (error == 0).all()
    gain, error = gain_and_error(torch.zeros_like(x), x)  # what is not in the reference is all error
    assert (gain == 0).all() and error.min() > 0


def test_texture_carries_more_information_than_a_smooth_place():
    distorted, reference = pair(seed=7, noise=0.02)
    weights = information_content_weights(distorted, reference)[0]
    assert weights.min() > 0 and weights[..., :60].mean() > 1.2 * weights[..., -60:].mean()


def test_without_noise_or_source_there_is_no_information():
    flat = torch.full((1, 1, 180, 180), 0.4, dtype=torch.float64)
    assert all((weights < 1e-6).all() for weights in information_content_weights(flat, flat))
    x = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    assert (information_content(x, x, source_model(x)) == 0).all()


def test_strips_and_parts_of_the_batch_do_not_change_the_score(monkeypatch):
    distorted, reference = (torch.cat(images) for images in zip(pair(seed=8), pair(seed=9), strict=True))
    expected = iw_ssim(distorted, reference), iw_psnr(distorted, reference)
    monkeypatch.setattr(module, "STRIP_PIXELS", 190 * 17)
    monkeypatch.setattr("iqa_lab.images.PIXELS_AT_ONCE", 1)
    torch.testing.assert_close(iw_ssim(distorted, reference), expected[0])
    torch.testing.assert_close(iw_psnr(distorted, reference), expected[1])


@pytest.mark.parametrize("reference_name, dtype", [
    *((name, torch.float32) for name in ("photo", "half flat", "ramp", "flat", "black", "white")),
    ("flat", torch.float64),
])
def test_difficult_images_have_finite_scores_and_gradients(reference_name, dtype):
    photo = pair(seed=11)[1].to(dtype)
    flat, ramp = torch.full_like(photo, 0.4), torch.linspace(0, 1, photo.shape[3], dtype=dtype).expand_as(photo)
    half = torch.cat((photo[..., :90], flat[..., 90:]), dim=3)
    images = {"photo": photo, "half flat": half, "ramp": ramp, "flat": flat, "black": 0 * flat, "white": 0 * flat + 1}
    for name, image in images.items():
        distorted, reference = image.clone().requires_grad_(), images[reference_name].clone().requires_grad_()
        score = iw_ssim(distorted, reference)
        score.backward()
        assert 0 <= score.item() <= 1 + 1e-6 and (name != reference_name or score.item() == pytest.approx(1, abs=1e-6))
        assert distorted.grad.isfinite().all() and reference.grad.isfinite().all()


def test_float32_keeps_the_digits_that_bright_flat_images_need():
    flat = torch.full((1, 1, 180, 180), 0.4)
    single, double = iw_ssim(flat + 0.6, flat), iw_ssim(flat.double() + 0.6, flat.double())
    assert single.item() == pytest.approx(double.item(), rel=1e-6)


def test_iw_psnr_of_identical_images_is_infinite_without_a_gradient():
    reference = pair(seed=12)[1]
    distorted = reference.clone().requires_grad_()
    score = iw_psnr(distorted, reference)
    score.backward()
    assert score.item() == float("inf") and (distorted.grad == 0).all()


def test_the_images_cannot_be_swapped():
    distorted, reference = pair(seed=13)
    assert abs(iw_ssim(distorted, reference).item() - iw_ssim(reference, distorted).item()) > 1e-4


def test_a_negative_scores_zero_with_a_finite_gradient():
    reference = pair(seed=14)[1]
    negative = (1 - reference).requires_grad_()
    score = iw_ssim(negative, reference)
    score.backward()
    assert 0 <= score.item() < 0.01 and negative.grad.isfinite().all()


def test_scale_weights_sum_to_one_in_the_proportions_of_ms_ssim():
    assert sum(SCALE_WEIGHTS) == pytest.approx(1)
    assert SCALE_WEIGHTS[1] / SCALE_WEIGHTS[4] == pytest.approx(0.2856 / 0.1333)


@pytest.mark.parametrize("function", [iw_ssim, iw_psnr])
def test_gradcheck(function, monkeypatch):
    monkeypatch.setattr(module, "MINIMUM_SIDE", 44)
    monkeypatch.setattr(module, "SCALE_WEIGHTS", (0.2, 0.3, 0.5))  # three scales, the first one with a parent
    distorted, reference = pair(44, 45, seed=15, noise=0.05)
    assert torch.autograd.gradcheck(function, (distorted.requires_grad_(), reference.requires_grad_()), fast_mode=True)


def test_small_images_are_refused():
    with pytest.raises(ValueError, match="sides of 176 pixels"):
        iw_ssim(*pair(175, 300))
