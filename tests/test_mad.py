"""MAD, each stage against a slow NumPy transcription of the authors' code, one block after another."""

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from scipy.stats import kurtosis, skew

from iqa_lab.full_reference import mad as mad_module
from iqa_lab.full_reference.mad import (
    appearance,
    blend,
    block_moments,
    contrast_sensitivity,
    high_quality_map,
    low_quality_map,
    mad,
    mad_indices,
    visibility,
)

SIZES = [(48, 44), (43, 49), (45, 48)]  # with and without a block that ends flush with the border, even and odd


def random_pair(height: int, width: int, noise: float = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns smooth bright images and noisy ones, shape (2, 1, H, W), on 0..255: some blocks mask, some do not."""
    generator = torch.Generator().manual_seed(height * width)
    coarse = torch.rand(2, 1, height // 8 + 1, width // 8 + 1, generator=generator, dtype=torch.float64)
    y = 60 + 150 * torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    y[..., : height // 2, : width // 3] *= 0.2  # a dark corner, below the luminance threshold
    shape = torch.linspace(0, 1, width, dtype=torch.float64)
    x = y + noise * shape * torch.randn(y.shape, generator=generator, dtype=torch.float64)
    return x.clamp(0, 255), y


def positions(length: int) -> range:
    return range(0, length - 15, 4)


def plain_blocks(x: np.ndarray, side: int, function) -> np.ndarray:
    return np.array([[function(x[i:i + side, j:j + side].ravel()) for j in positions(x.shape[1])]
                     for i in positions(x.shape[0])])


def plain_pixels(blocks: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    pixels = np.zeros(shape)
    for (i, j), value in np.ndenumerate(blocks):
        pixels[4 * i:4 * i + 4, 4 * j:4 * j + 4] = value
    return pixels[16:-17, 16:-17]


def plain_sensitivity(height: int, width: int) -> np.ndarray:
    x, y = np.meshgrid(np.arange(height) - height / 2 + 0.5, np.arange(width) - width / 2 + 0.5)
    plane = (x + 1j * y) / width * 2 * 32
    f = abs(plane) / ((1 - 0.7) / 2 * np.cos(4 * np.angle(plane)) + (1 + 0.7) / 2)
    csf = 2.6 * (0.0192 + 0.114 * f) * np.exp(-(0.114 * f) ** 1.1)
    csf[f < 7.8909] = 0.9809
    return csf.T


def plain_filtered(v: np.ndarray) -> np.ndarray:
    spectrum = np.fft.fftshift(np.fft.fft2(0.02874 * v ** (2.2 / 3)))
    return np.fft.ifft2(np.fft.ifftshift(spectrum * plain_sensitivity(*v.shape))).real


def plain_visibility(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    error, reference = plain_filtered(x) - plain_filtered(y), plain_filtered(y)
    std_error = plain_blocks(error, 16, lambda v: v.std(ddof=1))
    std_8, mean = plain_blocks(reference, 8, lambda v: v.std(ddof=1)), plain_blocks(reference, 16, np.mean)
    std_reference = std_8.copy()
    for (i, j), _ in np.ndenumerate(std_8):
        neighbours = [std_8[k, m] for k in (i, i + 1) for m in (j, j + 1)
                      if (k == i or 4 * i + 5 < y.shape[0] - 15) and (m == j or 4 * j + 5 < y.shape[1] - 15)]
        std_reference[i, j] = min(neighbours)
    c_reference, c_error = np.log(std_reference / mean), np.log(std_error / mean)
    c_error[mean < 0.5] = -np.inf
    mask = np.zeros(mean.shape)
    masked, unmasked = (c_reference > -5) & (c_error > c_reference), (c_reference <= -5) & (c_error > -5)
    mask[masked], mask[unmasked] = (c_error - c_reference)[masked], c_error[unmasked] + 5
    return mask


def plain_high_map(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squares = np.pad((x - y) ** 2, ((7, 8), (7, 8)), mode="symmetric")
    local_mse = convolve2d(squares, np.full((16, 16), 1 / 256), "valid")
    return plain_pixels(plain_visibility(x, y), x.shape) * local_mse[16:-17, 16:-17]


def plain_amplitudes(v: np.ndarray) -> list[list[np.ndarray]]:
    """Moduli of the log-Gabor responses, [scale][orientation]."""
    height, width = v.shape
    x, y = np.meshgrid(*(np.arange(-n / 2, n / 2) / (n / 2) for n in (width, height)))
    centre = int(height / 2 + 0.5), int(width / 2 + 0.5)
    r, theta = np.hypot(x, y), np.arctan2(-y, x)
    r[centre] = 1
    result = []
    for scale in range(5):
        radial = np.exp(-np.log(r / (2 / (3 * 3**scale))) ** 2 / (2 * np.log(0.55) ** 2))
        radial[centre] = 0
        distances = [np.abs((theta - o * np.pi / 4 + np.pi) % (2 * np.pi) - np.pi) for o in range(4)]
        filters = [np.fft.fftshift(radial * np.exp(-(d**2) / (2 * (np.pi / 4 / 1.5) ** 2))) for d in distances]
        result.append([abs(np.fft.ifft2(np.fft.fft2(v) * h)) for h in filters])
    return result


def plain_appearance(v: np.ndarray) -> np.ndarray:
    """Statistics of shape (3, O, S, blocks, blocks)."""
    functions = (lambda b: b.std(ddof=1), skew, lambda b: kurtosis(b, fisher=False))
    amplitudes = plain_amplitudes(v)
    return np.array([[[plain_blocks(amplitudes[s][o], 16, f) for s in range(5)] for o in range(4)] for f in functions])


def plain_blend(high: float, low: float) -> float:
    b1, b2 = np.exp(-2.55 / 3.35), 1 / (np.log(10) * 3.35)
    alpha = 1 / (1 + b1 * high**b2)
    return low ** (1 - alpha) * high**alpha


@pytest.mark.parametrize("size", SIZES)
def test_high_quality_map_equals_the_plain_version(size):
    x, y = random_pair(*size)
    ours, expected = visibility(x, y), [plain_visibility(x[i, 0].numpy(), y[i, 0].numpy()) for i in range(2)]
    np.testing.assert_allclose(ours[:, 0].numpy(), expected, atol=1e-11)
    assert 0.1 < (ours == 0).double().mean() < 0.9
    for i in range(2):
        expected = plain_high_map(x[i, 0].numpy(), y[i, 0].numpy())
        np.testing.assert_allclose(high_quality_map(x, y)[i, 0].numpy(), expected, rtol=1e-9, atol=1e-9)


def test_smooth_references_have_a_threshold_instead_of_a_mask():
    y = torch.full((1, 1, 48, 48), 128.0, dtype=torch.float64) + torch.linspace(0, 0.5, 48, dtype=torch.float64)
    x = y + 9 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = plain_visibility(x[0, 0].numpy(), y[0, 0].numpy())
    np.testing.assert_allclose(visibility(x, y)[0, 0].numpy(), expected, atol=1e-10)
    assert expected.min() > 0


@pytest.mark.parametrize("size", SIZES)
def test_low_quality_map_equals_the_plain_version(size):
    x, y = (image[:1] for image in random_pair(*size))
    of_x, of_y = (plain_appearance(image[0, 0].numpy()) for image in (x, y))
    np.testing.assert_allclose(appearance(x)[0].numpy(), of_x, rtol=1e-8, atol=1e-10)
    weights = np.array([0.5, 0.75, 1, 5, 6]) / 13.25
    change = np.einsum("kosij,k,s->ij", abs(of_x - of_y), [1, 2, 1], weights)
    np.testing.assert_allclose(low_quality_map(x, y)[0, 0].numpy(), plain_pixels(change, size), rtol=1e-8)


def test_indices_and_score_equal_the_plain_version():
    x, y = random_pair(47, 53)
    high, low = mad_indices(x / 255, y / 255)
    for i in range(2):
        a, b = x[i, 0].numpy(), y[i, 0].numpy()
        expected = 200 * np.sqrt((plain_high_map(a, b) ** 2).mean())
        assert high[i].item() == pytest.approx(expected, rel=1e-9)
        change = np.einsum("kosij,k,s->ij", abs(plain_appearance(a) - plain_appearance(b)), [1, 2, 1],
                           np.array([0.5, 0.75, 1, 5, 6]) / 13.25)
        assert low[i].item() == pytest.approx(np.sqrt((plain_pixels(change, a.shape) ** 2).mean()), rel=1e-9)
        assert mad(x / 255, y / 255)[i].item() == pytest.approx(plain_blend(high[i].item(), low[i].item()), rel=1e-9)


@pytest.mark.parametrize("block", [4, 8, 12, 16])
@pytest.mark.parametrize("offset", [0, 1e4])
def test_block_moments_equal_the_plain_version_without_losing_digits(block, offset):
    x = offset + torch.rand(1, 2, 33, 31, generator=torch.Generator().manual_seed(block), dtype=torch.float64)
    moments = block_moments(x, block)
    for c in range(2):
        plain = [plain_blocks(x[0, c].numpy(), block, f) for f in
                 (np.mean, *(lambda v, k=k: ((v - v.mean()) ** k).mean() for k in (2, 3, 4)))]
        for ours, expected in zip(moments, plain, strict=True):
            np.testing.assert_allclose(ours[0, c].numpy(), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("size", SIZES)
def test_contrast_sensitivity_is_what_the_real_part_sees(size):
    spectrum = np.fft.fft2(np.random.default_rng(0).random(size))
    csf = np.fft.ifftshift(plain_sensitivity(*size))
    ours = np.fft.irfft2(spectrum[:, :size[1] // 2 + 1] * contrast_sensitivity(*size).numpy(), s=size)
    np.testing.assert_allclose(ours, np.fft.ifft2(spectrum * csf).real, atol=1e-12)


def test_constants_are_the_authors():
    assert mad_module.BANK == ((3, 9, 27, 81, 243), 0.55, 4, 1.5)
    assert sum(mad_module.SCALE_WEIGHTS) == pytest.approx(1)
    assert mad_module.BETA_1 == pytest.approx(0.467, abs=5e-4) and mad_module.BETA_2 == pytest.approx(0.130, abs=5e-4)


def test_blend_goes_from_detection_to_appearance():
    high, low = torch.tensor([0.0, 1e-12, 1.0, 3.0, 1e5]), torch.tensor([2.0, 2.0, 0.0, 5.0, 5.0])
    scores = blend(high, low)
    assert scores[:3].tolist() == [0, 0, 0]
    assert scores[3:].tolist() == pytest.approx([plain_blend(3, 5), plain_blend(1e5, 5)])
    assert torch.autograd.gradcheck(blend, (high[3:].double().requires_grad_(), low[3:].double().requires_grad_()))
    near_zero = torch.tensor([0.0, 2.0], requires_grad=True)
    blend(near_zero, near_zero.flip(0)).sum().backward()
    assert near_zero.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_flat_and_identical_images(dtype):
    x = (random_pair(48, 52)[0][:1] / 255).to(dtype).requires_grad_()
    gray, white, black = (torch.full((1, 1, 48, 52), v, dtype=dtype, requires_grad=True) for v in (0.4, 1.0, 0.0))
    zero = [mad(*pair) for pair in ((x, x), (gray, gray), (gray, white), (black, gray), (black, black))]
    assert [score.item() for score in zero] == [0] * 5 and zero[0].dtype == dtype
    some = [mad(*pair) for pair in ((gray, x), (x, gray), (black, x), (white, x))]
    assert all(score.item() > 1 for score in some)
    sum(zero + some).sum().backward()
    assert all(image.grad.isfinite().all() for image in (x, gray, white, black))


def test_parts_of_flat_blocks_have_no_skewness():
    x = torch.zeros(1, 1, 64, 64, dtype=torch.float64, requires_grad=True)
    statistics = appearance(x)
    assert statistics[:, 1:].count_nonzero() == 0 and statistics[:, 0].max() < 1e-14
    statistics.sum().backward()
    assert x.grad.isfinite().all()


def test_a_negative_changes_no_appearance():
    y = random_pair(48, 52)[1].round() / 255
    assert mad_indices(1 - y, y)[1].max() < 1e-9 and mad(1 - y, y).max() == 0


def test_the_gradient_is_the_slope():
    x, y = (image[:1] / 255 for image in random_pair(36, 35))
    direction = torch.randn(2, *x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def along(t):
        return mad(x + torch.einsum("k,k...->...", t, 0.1 * direction), y)

    assert torch.autograd.gradcheck(along, torch.zeros(2, dtype=torch.float64, requires_grad=True), eps=1e-7, rtol=1e-3)


def test_float32_and_batches():
    x, y = (image / 255 for image in random_pair(50, 54))
    both = mad(x, y)
    torch.testing.assert_close(torch.cat([mad(x[i:i + 1], y[i:i + 1]) for i in range(2)]), both)
    torch.testing.assert_close(mad(x.float(), y.float()).double(), both, rtol=1e-5, atol=1e-5)


def test_small_images_are_refused():
    with pytest.raises(ValueError, match="sides of 34"):
        mad(torch.zeros(1, 3, 33, 40), torch.zeros(1, 3, 33, 40))
    assert mad(torch.zeros(1, 3, 34, 34), torch.zeros(1, 3, 34, 34)).item() == 0
