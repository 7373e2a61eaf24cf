"""PIQE against MATLAB's values, a slow NumPy version with loops over blocks, and images that break other versions."""

import csv

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate
from test_reference_values import FOLDER, read

from iqa_lab.no_reference.piqe import BLOCK, piqe, piqe_blocks
from iqa_lab.ops.color import rgb_to_luma_matlab

ROWS = list(csv.DictReader((FOLDER / "piqe.csv").open()))
CASES = ["black", "white", "gray", "one pixel", "ramp", "checkerboard", "noise", "two colours"]


def difficult(case: str, side: int = 70) -> torch.Tensor:
    flat = torch.full((1, 3, side, side), {"black": 0.0, "white": 1.0}.get(case, 0.4))
    if case == "one pixel":
        flat[..., 20, 20] = 1
    board = (torch.arange(side)[:, None] + torch.arange(side)).remainder(2).float().expand(1, 3, side, side)
    noise = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    return {"ramp": torch.linspace(0, 1, side).expand(1, 3, side, side), "checkerboard": board, "noise": noise,
            "two colours": (noise > 0.5).float()}.get(case, flat)


def plain(gray: np.ndarray) -> tuple[float, np.ndarray]:
    """Returns score and (variance, active, impaired, noisy) of each block of one image on 0..255."""
    rows, columns = (-side % 16 for side in gray.shape)
    padded = np.pad(gray, ((0, rows), (0, columns)), mode="symmetric")
    x = np.floor(255 * (padded / padded.max()) + 0.5)
    t = np.arange(7) - 3
    window = np.exp(-(t[:, None]**2 + t**2) / (2 * (7 / 6)**2))
    window /= window.sum()
    mu = correlate(x, window, mode="nearest")
    normalised = (x - mu) / (np.sqrt(np.abs(correlate(x * x, window, mode="nearest") - mu * mu)) + 1)
    found, distortion, n_active = [], 0.0, 0
    for i in range(0, x.shape[0], 16):
        for j in range(0, x.shape[1], 16):
            block = normalised[i:i + 16, j:j + 16]
            v, impaired, noisy = block.var(ddof=1), False, False
            if v > 0.1:
                n_active += 1
                for edge in (block[0], block[-1], block[:, 0], block[:, -1]):
                    impaired |= any(edge[k:k + 6].std(ddof=1) < 0.1 for k in range(11))
                rest = np.delete(np.delete(block, 7, axis=1), 8, axis=1)  # 8 counts in the smaller block
                ratio, sigma = block[:, 7:9].std(ddof=1) / rest.std(ddof=1), np.sqrt(v)
                noisy = sigma > 2 * abs(sigma - ratio) / max(sigma, ratio)
                distortion += impaired * (1 - v) + noisy * v
            found.append((v, v > 0.1, impaired, noisy))
    return 100 * (distortion + 1) / (n_active + 1), np.array(found, dtype=float)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['image'].split('/')[-1]}-{row['source'][:12]}")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_stored_value(row, dtype):
    score = piqe(read(row["image"].removeprefix("golden/")).to(dtype))
    tolerance = float(row["tolerance"]) + 4e-8 * score.item() * (dtype == torch.float32)  # it is rounded at the end
    assert score.dtype == dtype and score.item() == pytest.approx(float(row["value"]), abs=tolerance)


@pytest.mark.parametrize("name, height, width, expected", [  # the port pypiqe, as in piqe.csv
    ("ref", 200, 333, 3.316063964847), ("noise", 193, 201, 57.800203794781), ("quant", 17, 90, 23.851151535503)])
def test_a_size_that_is_no_multiple_of_16_is_mirrored_to_whole_blocks(name, height, width, expected):
    assert piqe(read(f"synthetic:{name}")[..., :height, :width]).item() == pytest.approx(expected, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(16, 70), st.integers(16, 70), st.integers(0, 9999), st.sampled_from([0, 1, 3]), st.integers(2, 255))
def test_equals_the_plain_version(height, width, seed, blur, top):
    random = np.random.default_rng(seed)
    smooth = correlate(random.random((height, width)), np.ones((2 * blur + 1,) * 2), mode="nearest")
    gray = np.floor(top * (smooth - smooth.min()) / np.ptp(smooth))
    if random.random() < 0.5:
        gray[:, width // 2:] = gray[0, 0]
    if gray.max() == 0:
        gray[3, 3] = 1
    image = torch.from_numpy(gray / 255)[None, None]
    score, found = plain(gray)
    for mine, theirs in zip(piqe_blocks(image), found.T, strict=True):
        np.testing.assert_allclose(mine.flatten().double().numpy(), theirs, atol=1e-9)
    assert piqe(image).item() == pytest.approx(score, abs=1e-9)


def test_the_plain_version_has_every_kind_of_block():
    """Otherwise the comparison above would not look at them."""
    grays = (rgb_to_luma_matlab(read(f"synthetic:{name}"))[0, 0, :128, :128].numpy() for name in ("noise", "quant"))
    noise, quant = (plain(255 * gray)[1] for gray in grays)
    assert 0 < noise[:, 3].mean() < 1 and 0 < quant[:, 2].mean() < 1


def test_a_score_does_not_depend_on_its_batch():
    images = torch.cat([read(f"synthetic:{name}")[..., :90, :100] for name in ("ref", "noise", "quant", "blur")])
    images[1] *= 0.4  # the brightest pixel is each image's own
    assert torch.equal(piqe(images), torch.cat([piqe(image[None]) for image in images]))


@pytest.mark.parametrize("case", CASES)
def test_difficult_images_have_a_score_in_the_range_and_finite_gradients(case):
    image = difficult(case).requires_grad_()
    score = piqe(image)
    assert 0 <= score.item() <= 100
    score.backward()
    assert image.grad.isfinite().all()


@pytest.mark.parametrize("case", ["black", "white", "gray", "ramp"])
def test_an_image_without_an_active_block_scores_100(case):
    assert not piqe_blocks(difficult(case)).active.any()
    assert piqe(difficult(case)).item() == 100


def test_the_gradient_is_that_of_the_variances_of_distorted_blocks():
    noise = read("synthetic:noise")[..., :32, :64].requires_grad_()
    blocks = piqe_blocks(noise)
    only_noisy = blocks.noisy & ~blocks.impaired
    slope = (only_noisy * 100 / (blocks.active.sum() + 1)).double()
    slope -= (blocks.impaired & ~blocks.noisy) * 100 / (blocks.active.sum() + 1)
    expected, = torch.autograd.grad((slope * blocks.variance).sum(), noise)
    piqe(noise).backward()
    assert only_noisy.any() and noise.grad.abs().max() > 0
    torch.testing.assert_close(noise.grad, expected)


def test_the_brightness_of_the_image_does_not_matter():
    gray = rgb_to_luma_matlab(read("synthetic:noise"))[..., :64, :64]
    torch.testing.assert_close(piqe(gray), piqe(0.3 * gray))
    torch.testing.assert_close(piqe(gray), piqe(gray.expand(-1, 3, -1, -1)))


def test_one_block_is_enough_and_less_is_refused():
    image = read("synthetic:noise")[..., :BLOCK, :BLOCK]
    assert piqe_blocks(image).active.shape == (1, 1, 1)
    with pytest.raises(ValueError, match="sides of 16 pixels"):
        piqe(image[..., 1:])
    with pytest.raises(TypeError, match="divide by 255"):
        piqe((255 * image).byte())
