"""Reading, writing and guarding images: every bad file gets one clear error."""

import numpy as np
import pytest
import torch
from PIL import Image

from iqa_lab import images
from iqa_lab.images import check_images, check_values, find_images, load_image, save_image


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "ppm"])
def test_lossless_files_come_back_exactly(tmp_path, pixels, suffix):
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    save_image(image, tmp_path / "a.png")
    Image.open(tmp_path / "a.png").save(tmp_path / f"b.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    loaded = load_image(tmp_path / f"b.{suffix}")
    assert loaded.dtype == torch.float32 and torch.equal(loaded, image)


def test_gray_palette_and_16_bit_files(tmp_path, pixels):
    Image.fromarray(pixels[:, :, 0]).save(tmp_path / "gray.png")
    assert torch.equal(load_image(tmp_path / "gray.png")[0, 0], load_image(tmp_path / "gray.png")[0, 2])
    Image.fromarray(pixels[:, :, 0]).convert("P").save(tmp_path / "palette.gif")
    assert load_image(tmp_path / "palette.gif").shape == (1, 3, 12, 9)
    deep = np.random.default_rng(1).integers(0, 65536, (12, 9), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_allclose(load_image(tmp_path / "deep.png")[0, 1].numpy(), deep / 65535, atol=1e-7)


def test_missing_corrupt_and_truncated_files(tmp_path, pixels):
    with pytest.raises(FileNotFoundError, match="none at"):
        load_image(tmp_path / "absent.png")
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(ValueError, match="cannot be decoded"):
        load_image(tmp_path / "text.png")
    for suffix in ("png", "jpg", "bmp"):
        Image.fromarray(pixels.repeat(20, axis=0).repeat(20, axis=1)).save(tmp_path / f"whole.{suffix}")
        data = (tmp_path / f"whole.{suffix}").read_bytes()
        (tmp_path / f"cut.{suffix}").write_bytes(data[: len(data) // 2])
        with pytest.raises(ValueError, match="intact copy"):
            load_image(tmp_path / f"cut.{suffix}")


def test_huge_and_transparent_images_are_refused(tmp_path, pixels, monkeypatch):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    with pytest.raises(ValueError, match="at most 100 pixels, got 9 x 12"):
        load_image(tmp_path / "a.png")
    monkeypatch.undo()
    transparent = Image.fromarray(pixels).convert("RGBA")
    transparent.putpixel((0, 0), (1, 2, 3, 128))
    transparent.save(tmp_path / "rgba.png")
    with pytest.raises(ValueError, match="transparent"):
        load_image(tmp_path / "rgba.png")
    Image.fromarray(pixels).convert("RGBA").save(tmp_path / "opaque.png")
    assert torch.equal(load_image(tmp_path / "opaque.png"), load_image(tmp_path / "a.png"))


def test_save_refuses_what_it_would_have_to_change(tmp_path):
    with pytest.raises(ValueError, match="got 0 to 1.5"):
        save_image(torch.tensor([0.0, 1.5]).view(1, 1, 1, 2), tmp_path / "a.png")
    with pytest.raises(ValueError, match="one by one"):
        save_image(torch.zeros(2, 1, 2, 2), tmp_path / "a.png")


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), float("inf")])
def test_values_outside_the_range_and_nan_are_refused(value):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        check_values(torch.tensor([0.5, value]))


def test_mixed_types_are_refused():
    with pytest.raises(TypeError, match=r"image\.to"):
        check_images(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.float64))


def test_find_images_is_sorted_recursive_and_says_when_there_are_none(tmp_path, pixels):
    (tmp_path / "sub").mkdir()
    for name in ("b.PNG", "a.jpg", "sub/c.bmp", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_images(tmp_path)] == ["a.jpg", "b.PNG", "c.bmp"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="found none"):
        find_images(tmp_path / "empty")


def test_parts_have_few_pixels_on_a_cpu_and_many_elsewhere(monkeypatch):
    first, second = torch.rand(7, 3, 10, 8), torch.rand(7, 1, 10, 8)
    parts = images.few_at_a_time(first, second, pixels=3 * 80 + 79)
    assert [len(part) for part, _ in parts] == [3, 3, 1] and all(len(a) == len(b) for a, b in parts)
    assert all(torch.equal(torch.cat(part), whole) for part, whole in zip(zip(*parts), (first, second), strict=True))
    assert [len(part) for part, in images.few_at_a_time(first, pixels=1)] == [1] * 7
    monkeypatch.setattr(images, "PIXELS_AT_ONCE", 5 * 80)
    assert [len(part) for part, in images.few_at_a_time(first)] == [5, 2]
    monkeypatch.setattr(images, "PIXELS_ELSEWHERE", 6 * 80)
    assert [len(part) for part, in images.few_at_a_time(first.to("meta"))] == [6, 1]
    assert images.number_at_once(80, torch.device("cuda"), 7 * 80) == 7  # never fewer than on a CPU
