"""Log-Gabor filters and phase congruency against a plain NumPy version with one filter after another."""

import math

import numpy as np
import pytest
import torch

from iqa_lab.ops import fourier
from iqa_lab.ops.fourier import (
    even_part,
    frequencies,
    log_gabor_factors,
    median,
    orientation_energies,
    phase_congruency,
    phase_congruency_filters,
)

SIZES = [(24, 30), (25, 30), (24, 31), (27, 33)]


def random_images(height: int, width: int, n: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * width)
    return 255 * torch.rand(n, 1, height, width, generator=generator, dtype=torch.float64)


def plain_axis(n: int) -> np.ndarray:
    return np.arange(-(n // 2), (n + 1) // 2) / (n - n % 2)


def plain_filter(height: int, width: int, scale: int, orientation: int) -> np.ndarray:
    """One transfer function, zero frequency first."""
    x, y = np.meshgrid(plain_axis(width), plain_axis(height))
    r, theta = np.sqrt(x**2 + y**2), np.arctan2(-y, x)
    r[height // 2, width // 2] = 1
    radial = np.exp(-np.log(r * 6 * 2**scale) ** 2 / (2 * np.log(0.55) ** 2))
    radial[height // 2, width // 2] = 0
    low_pass = 1 / (1 + (np.sqrt(x**2 + y**2) / 0.45) ** 30)
    distance = np.abs((theta - orientation * np.pi / 4 + np.pi) % (2 * np.pi) - np.pi)
    return np.fft.ifftshift(radial * low_pass * np.exp(-(distance**2) / (2 * (np.pi / 4 / 1.2) ** 2)))


def plain_phase_congruency(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energy and amplitude summed over orientations, with the noise threshold from the filters in space."""
    height, width = image.shape
    energy_all, amplitude_all = np.zeros(image.shape), np.zeros(image.shape)
    for orientation in range(4):
        filters = [plain_filter(height, width, scale, orientation) for scale in range(4)]
        responses = [np.fft.ifft2(np.fft.fft2(image) * h) for h in filters]
        total = sum(responses)
        mean_phase = total / (abs(total) + 1e-4)
        energy = sum((z * mean_phase.conj()).real - abs((z * mean_phase.conj()).imag) for z in responses)
        in_space = [np.fft.ifft2(h).real * math.sqrt(height * width) for h in filters]
        power = np.median(abs(responses[0]) ** 2) / math.log(2) / (filters[0] ** 2).sum()
        squares = sum((a**2).sum() for a in in_space)
        products = sum((in_space[i] * in_space[j]).sum() for i in range(4) for j in range(i + 1, 4))
        tau = math.sqrt(power * (squares + 2 * products))
        threshold = (tau * math.sqrt(math.pi / 2) + 2 * math.sqrt((2 - math.pi / 2) * tau**2)) / 1.7
        energy_all += np.maximum(energy - threshold, 0)
        amplitude_all += sum(abs(z) for z in responses)
    return energy_all, amplitude_all


@pytest.mark.parametrize("size", SIZES)
def test_phase_congruency_equals_the_plain_version(size):
    images = random_images(*size)
    energies, amplitudes = orientation_energies(images)
    assert energies.shape == amplitudes.shape == (2, 4, *size)
    for i in range(2):
        energy, amplitude = plain_phase_congruency(images[i, 0].numpy())
        np.testing.assert_allclose(energies[i].sum(0).numpy(), energy, atol=1e-9)
        np.testing.assert_allclose(amplitudes[i].sum(0).numpy(), amplitude, rtol=1e-9)
        np.testing.assert_allclose(phase_congruency(images)[i, 0].numpy(), energy / amplitude, atol=1e-11)


@pytest.mark.parametrize("size", SIZES)
def test_filters_equal_the_plain_version(size):
    filters, _ = phase_congruency_filters(*size, torch.float64)
    for o, s in np.ndindex(4, 4):
        np.testing.assert_allclose(filters[o, s].numpy(), plain_filter(*size, s, o), atol=1e-12)


def test_settings_are_those_of_the_authors():
    assert fourier.BANK == ((6, 12, 24, 48), 0.55, 4, 1.2)
    assert (fourier.CUTOFF, fourier.ORDER, fourier.K, fourier.EPSILON) == (0.45, 15, 2, 1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_factors_have_no_mean_and_peak_at_their_wavelength(size):
    rows, columns = (frequencies(side) for side in size)
    bank = fourier.LogGabor((4,), 0.55, 2, 1.5)
    radial, angular = log_gabor_factors(bank, rows, columns)
    assert radial[0, 0, 0] == 0 and radial.max() <= 1
    nearest = (fourier.radius(rows, columns) - 0.25).abs().argmin()
    assert radial[0].flatten()[nearest] > max(0.99, radial.max() - 1e-9)
    assert angular[0, 0, 1] == 1 and angular[1, -1, 0] == 1  # along columns; upwards, which is a negative row frequency


@pytest.mark.parametrize("size", SIZES)
def test_the_even_part_gives_the_real_part(size):
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.fft.fft2(torch.rand(size, generator=generator, dtype=torch.float64))
    transfer = torch.rand(size, generator=generator, dtype=torch.float64)
    even = torch.fft.ifft2(spectrum * even_part(transfer))
    torch.testing.assert_close(even.real, torch.fft.ifft2(spectrum * transfer).real)
    assert even.imag.abs().max() < 1e-14


@pytest.mark.parametrize("length", [1, 2, 7, 8])
def test_median_is_that_of_numpy(length):
    x = torch.rand(3, 4, length, generator=torch.Generator().manual_seed(length), dtype=torch.float64)
    np.testing.assert_allclose(median(x).numpy(), np.median(x.numpy(), -1))
    np.testing.assert_allclose(median(x.round(decimals=1)).numpy(), np.median(x.round(decimals=1).numpy(), -1))


def test_structure_counts_and_contrast_does_not():
    edge = torch.zeros(1, 1, 32, 96, dtype=torch.float64)
    edge[..., 48:] = 100
    congruency = phase_congruency(edge)
    assert congruency[..., 47:49].min() > 0.8 and congruency[..., 30:36].max() < 0.1
    torch.testing.assert_close(phase_congruency(2 * edge), congruency, atol=1e-4, rtol=0)
    torch.testing.assert_close(phase_congruency(255 - edge), congruency)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_flat_image_has_none_and_no_gradient(dtype):
    flat = torch.full((1, 1, 30, 40), 100.3, dtype=dtype, requires_grad=True)
    congruency = phase_congruency(flat)
    congruency.sum().backward()
    assert congruency.count_nonzero() == 0 and flat.grad.count_nonzero() == 0
    half = torch.cat((torch.full((1, 1, 30, 20), 7.0), torch.full((1, 1, 30, 20), 9.0)), -1).to(dtype).requires_grad_()
    phase_congruency(half).sum().backward()
    assert half.grad.isfinite().all() and half.grad.count_nonzero() > 0


def test_rounding_errors_are_no_structure():
    errors = 1e-4 * (torch.arange(40) < 20).expand(1, 1, 30, 40)
    assert phase_congruency(100 + errors).count_nonzero() == 0 and phase_congruency(100 + 1e4 * errors).max() > 0.5


def test_types_batches_and_gradients():
    images, weights = random_images(8, 9), torch.linspace(-1, 2, 72, dtype=torch.float64).view(8, 9)
    assert torch.autograd.gradcheck(lambda x: (weights * phase_congruency(x)).sum(), images[:1].requires_grad_())
    both = phase_congruency(images)
    torch.testing.assert_close(phase_congruency(images[1:]), both[1:])
    torch.testing.assert_close(phase_congruency(images.float()).double(), both, atol=1e-4, rtol=1e-4)


def test_filters_first_made_in_inference_mode_serve_training():
    with torch.inference_mode():
        phase_congruency(torch.rand(1, 1, 18, 22))
    image = (255 * torch.rand(1, 1, 18, 22)).requires_grad_()
    phase_congruency(image).sum().backward()
    assert image.grad.isfinite().all()
