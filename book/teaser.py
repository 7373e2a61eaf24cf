"""Draws the picture of the README: python book/teaser.py writes book/_static/teaser.png."""

from __future__ import annotations

from pathlib import Path

from matplotlib import pyplot as plt

from iqa_lab import create_metric, load_database, load_image, plots

TARGET = Path(__file__).parent / "_static" / "teaser.png"
CONTENT = "coffee"
VERSIONS = (("contrast_change", 2), ("gaussian_blur", 3), ("white_noise", 3), ("jpeg", 4), ("colour_quantisation", 4))


def main() -> None:
    """Writes one photograph under five distortions, each with its scores."""
    database = load_database("embedded")
    metrics = {name: create_metric(name) for name in ("psnr", "ssim", "ms_ssim")}
    reference = load_image(database.root / f"references/{CONTENT}.png")
    plots.set_style()
    crops, titles = [], []
    for distortion, level in VERSIONS:
        image = load_image(database.root / f"distorted/{CONTENT}_{distortion}_{level}.png")
        scores = {name: metric(image, reference).item() for name, metric in metrics.items()}
        crops.append(image[0, :, 40:340, 60:360].permute(1, 2, 0).numpy())
        titles.append(f"{distortion.replace('_', ' ')}\nPSNR {scores['psnr']:.1f} dB\nSSIM {scores['ssim']:.3f}\n"
                      f"MS-SSIM {scores['ms_ssim']:.3f}")
    figure, axes = plt.subplots(1, len(crops), figsize=(10, 3.2))
    plots.plot_images(crops, titles, axes=axes)
    figure.savefig(TARGET, dpi=100, bbox_inches="tight")


if __name__ == "__main__":
    main()
