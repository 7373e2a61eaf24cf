"""What every system of the registry keeps, whatever it computes."""

import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from iqa_lab import METRICS, create_metric
from iqa_lab.distortions import distort
from iqa_lab.images import read_pixels
from iqa_lab.registry import UNTRAINED, FunctionMetric, Metric, unwrapped

ROOT = Path(__file__).parent.parent
H, W = 196, 210  # odd multiples of nothing; above the largest minimum side, 192 for two whole NIQE blocks


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    import skimage

    pixels = read_pixels(Path(skimage.__file__).parent / "data" / "chelsea.png")
    return pixels[40:40 + H, 60:60 + W]


def tensor(pixels: np.ndarray, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy()).to(dtype)[None] / 255


def random_options(name: str) -> dict[str, str]:
    """Returns the options that make a network of random numbers where files are not here; of its backbone only if needed."""
    options = {"parameters": "random"} if name in RANDOM_PARAMETERS else {}
    if "weights" in unwrapped(METRICS[name].create).__init__.__kwdefaults__:
        try:
            create_metric(name, **options)
        except FileNotFoundError:
            options["weights"] = "random"
    return options


@pytest.fixture(params=METRICS)
def metric(request, monkeypatch) -> torch.nn.Module:
    """Each system as its row says; a network whose weights are not on this machine with random ones."""
    def offline(*_, **__):
        raise ConnectionError("tests download nothing")

    monkeypatch.setattr("iqa_lab.downloads.download", offline)
    try:
        return create_metric(request.param)
    except FileNotFoundError as error:
        if random := random_options(request.param):
            torch.manual_seed(0)
            return create_metric(request.param, **random, **SMALL.get(request.param, {}))
        if METRICS[request.param].configuration.endswith("(file not shipped)") and "IQA_LAB_DATA" not in os.environ:
            pytest.skip(f"official parameters are not shipped: {error}")
        raise


#: Networks whose official parameters are nowhere at hand.
RANDOM_PARAMETERS = {"deepqa", "wadiqam_fr", "diqam_fr", "pieapp", "two_stream", "wadiqam_nr", "diqam_nr",
                     "dbcnn", "dbcnn_efficientnet_lite0", "hyperiqa", "biecon",
                     "diqa", "deepbqa", "nima", "nima_efficientnet_lite0", "pqr", "pqr_efficientnet_lite0", "dipiq",
                     "dipiq_brisque", "pooled_efficientnet_lite0", "blinder", "blinder_efficientnet_lite0", "deepbiq",
                     "deepbiq_efficientnet_lite0", "sfa", "sfa_efficientnet_lite0"}
SMALL = {"pieapp": {"width": 0.125}, "hyperiqa": {"crops_per_side": 2},
         "nima": {"layer": "pool5"}, "blinder": {"layers": ("conv1_2", "conv2_2")}, "deepbiq": {"crops_per_side": 1}}  # seconds instead of a minute and a half


def row_of(metric: torch.nn.Module) -> Metric:
    return METRICS[metric.name.removesuffix(UNTRAINED)]


def call(metric: torch.nn.Module, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    return metric(distorted) if metric.kind == "NR" else metric(distorted, reference)


def levels(photo: np.ndarray, distortion: str) -> torch.Tensor:
    return torch.cat([tensor(distort(photo, distortion, level)) for level in (1, 3, 5)])


def test_scores_have_shape_n_and_lie_in_the_range(metric, photo):
    images = levels(photo, "jpeg")
    scores = call(metric, images, tensor(photo).expand_as(images))
    low, high = row_of(metric).score_range
    assert scores.shape == (3,) and ((scores >= low) & (scores <= high)).all()


@pytest.mark.parametrize("distortion", ["gaussian_blur", "white_noise", "jpeg"])
def test_stronger_distortion_scores_worse(metric, photo, distortion):
    if metric.name.endswith(UNTRAINED):
        pytest.skip("what a network with random weights ranks is chance")
    images = levels(photo, distortion)
    scores = call(metric, images, tensor(photo).expand_as(images))
    weakest, strongest = scores[0].item(), scores[-1].item()
    falls = weakest > strongest if metric.higher_is_better else weakest < strongest
    assert falls != ((metric.name, distortion) in NOT_MONOTONE), "update NOT_MONOTONE, and what its chapter says"


_CAMERA = "trained on camera photographs, where fine detail goes with high opinion scores; chapters 03, 04 and 12 show it"
#: Systems that rank this photo wrongly, with the reason: a trained model knows only what its data made distinguishable.
NOT_MONOTONE = {("brisque", "white_noise"): _CAMERA, ("cnniqa", "white_noise"): _CAMERA,
                ("cnniqa", "gaussian_blur"): _CAMERA, ("iqacnnpp", "white_noise"): _CAMERA, ("meon", "white_noise"): _CAMERA,
                ("meon", "jpeg"): _CAMERA,
                ("cornia", "white_noise"): _CAMERA, ("gm_log", "gaussian_blur"): _CAMERA,
                ("dbcnn_linear_efficientnet_lite0", "gaussian_blur"): "trained on camera photographs; its card says so"}

NOT_A_DISTANCE = {"deepqa", "wadiqam_fr", "diqam_fr"}
#: Systems whose score of identical images is near the best one only, with the largest distance.
NOT_EXACT = {"wnism": 0.6}  # scale, shape and error are rounded to 162 bits; the distance of this photo is 0.52
#: Systems without a gradient: histograms are constant almost everywhere.
NO_GRADIENT = {"wnism", "gm_log", "gm_log_live", "diivine_live"}


def test_a_score_does_not_depend_on_its_batch(metric, photo):
    images = levels(photo, "gaussian_blur")
    reference = tensor(photo).expand_as(images)
    together = call(metric, images, reference)
    alone = torch.cat([call(metric, images[i:i + 1], reference[i:i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_type_is_kept_and_does_not_matter(metric, photo, dtype):
    image, reference = tensor(distort(photo, "jpeg", 3), dtype), tensor(photo, dtype)
    score = call(metric, image, reference)
    assert score.dtype == dtype
    torch.testing.assert_close(score.double(), call(metric, image.double(), reference.double()).double(), rtol=1e-4, atol=1e-4)


def test_identical_images_get_the_best_score(metric, photo):
    if metric.kind == "NR":
        pytest.skip("a no-reference score has no identity value")
    if metric.name.removesuffix(UNTRAINED) in NOT_A_DISTANCE:
        pytest.skip("a regression on opinion scores gives identical images no special value")
    row = row_of(metric)
    best = row.score_range[row.higher_is_better] if row.identity is None else row.identity
    assert call(metric, tensor(photo), tensor(photo)).item() == pytest.approx(best, abs=NOT_EXACT.get(metric.name, 1e-6))


def test_deterministic_and_inputs_unchanged(metric, photo):
    image, reference = tensor(distort(photo, "white_noise", 2)), tensor(photo)
    copies = image.clone(), reference.clone()
    first, second = (call(metric, image, reference) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(image, copies[0]) and torch.equal(reference, copies[1])


@pytest.mark.parametrize("case", ["photo", "identical", "flat distorted", "both flat", "black", "white"])
def test_gradients_are_finite(metric, photo, case):
    flat = torch.full((1, 3, H, W), 0.4)
    image = {"photo": tensor(distort(photo, "jpeg", 3)), "identical": tensor(photo), "flat distorted": flat,
             "both flat": flat, "black": torch.zeros_like(flat), "white": torch.ones_like(flat)}[case].clone().requires_grad_()
    reference = flat if case == "both flat" else tensor(photo)
    score = call(metric, image, reference)
    assert not score.isnan().any()
    assert score.requires_grad == (metric.name not in NO_GRADIENT)
    if score.isfinite().all() and score.requires_grad:
        score.sum().backward()
        assert image.grad.isfinite().all()


@pytest.mark.parametrize("image, error, message", [
    (torch.zeros(1, 3, H, W, dtype=torch.uint8), TypeError, "divide by 255"),
    (torch.zeros(3, H, W), ValueError, r"image\[None\]"),
    (torch.zeros(1, H, W, 3), ValueError, "permute"),
    (torch.zeros(1, 3, 2, 2), ValueError, "sides of"),
    (torch.zeros(1, 3, H, W, dtype=torch.float16), TypeError, r"image\.float"),
    (np.zeros((1, 3, H, W)), TypeError, "load_image"),
], ids=["8-bit", "no batch", "channels last", "tiny", "half", "numpy"])
def test_bad_images_are_refused_with_a_way_out(metric, image, error, message):
    if message == "sides of" and metric.name in ("mse", "psnr", "psnr_y"):
        pytest.skip("works from one pixel on")
    with pytest.raises(error, match=message):
        call(metric, image, image)


def test_images_of_different_sizes_are_refused(metric, photo):
    if metric.kind == "NR":
        pytest.skip("takes one image")
    with pytest.raises(ValueError, match="equal shape"):
        metric(tensor(photo), tensor(photo)[..., :-1])


def test_gray_images_are_accepted(metric, photo):
    gray = tensor(photo)[:, :1]
    assert call(metric, tensor(distort(photo, "jpeg", 3))[:, :1], gray).isfinite().all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_cpu_score(metric, photo, monkeypatch):
    image, reference = tensor(distort(photo, "jpeg", 3)), tensor(photo)
    expected = call(metric, image, reference)
    if any(isinstance(part, nn.Conv2d) for part in metric.modules()):  # networks see 10 bits of a float32 else
        monkeypatch.setattr(torch.backends.cudnn.conv, "fp32_precision", "ieee")
    score = call(metric.cuda(), image.cuda(), reference.cuda()).cpu()
    torch.testing.assert_close(score, expected, rtol=1e-4, atol=1e-4)


def test_unknown_names_and_options_get_a_hint():
    with pytest.raises(ValueError, match="did you mean 'ssim'"):
        create_metric("ssimm")
    with pytest.raises(TypeError, match="window"):
        create_metric("ssim", window=7)
    with pytest.raises(TypeError, match="window"):
        create_metric("niqe", window=7)


def test_the_repr_of_a_function_metric_names_it():
    assert "ssim" in repr(create_metric("ssim")) and isinstance(create_metric("ssim"), FunctionMetric)


#: Systems without a value of their authors' code to test against, with the reason.
NO_REFERENCE_VALUES = {
    "mse": "psnr.csv tests it",
    "cornia": "the authors' codebook is not at hand; cornia_features.csv has their code's features with a small one",
    "hosa": "the authors' codebook is not at hand; hosa_features.csv has their code's features with a small one",
    "perceptual_loss": "the authors' Caffe network is not at hand; its sums have NumPy twins",
    "perceptual_loss_squeezenet": "as perceptual_loss",
    "style_loss": "as perceptual_loss",
    "deepsim": "the authors' network is not at hand; test_deepsim.py has their code's layer scores on integer maps",
    "deepsim_squeezenet": "as deepsim",
    "amirshahi2016": "a reconstruction without code or numbers of its authors; twins",
    "amirshahi2016_squeezenet": "as amirshahi2016",
    "tariq2020_squeezenet": "our definition; a Gabor bank with known tuning tests it",
    "lpips_vgg": "VGG-16 is a download; test_lpips.py has piq's two values, and tests its first two blocks",
    "dists_full_size": "values of piq, pyiqa and torchmetrics stand in test_dists.py, and are tested when VGG-16 is given",
    "dists_like_squeezenet": "this project's own configuration",
    "swdn_uniform_heads": "no code and no parameters were published; test_swdn.py has LPIPS and a slow twin",
    "swdn_uniform_heads_squeezenet": "as swdn_uniform_heads",
    "deepqa": "no trained network is published; its stages have slow twins",
    "wadiqam_fr": "the authors' networks are not at hand; it has a slow twin",
    "diqam_fr": "as wadiqam_fr",
    "pieapp": "published values stand in test_pieapp.py, and are tested when the authors' file is given",
    "iqacnnpp": "no trained network is published; it has a slow twin and the port's sizes",
    "two_stream": "as iqacnnpp",
    "wadiqam_nr": "the authors' networks are not at hand; it has a slow twin",
    "diqam_nr": "as wadiqam_nr",
    "meon": "the authors' network is not at hand; network, grid, vote and losses have twins, and the demo's graph one in its layout",
    "dbcnn": "no trained network at hand; test_scnn.py has golden values of S-CNN, test_dbcnn.py the code's forward pass",
    "dbcnn_efficientnet_lite0": "as dbcnn",
    "hyperiqa": "the authors' network is not at hand; test_hyperiqa.py has the code's forward pass",
    "hyperiqa_efficientnet_lite0": "as hyperiqa",
    "biecon": "no trained network is published; normalisation, grid, selection and local targets have twins of the release",
    "diqa": "neither code nor a network of its authors; golden map values and twins",
    "deepbqa": "as diqa",
    "nima": "no trained network is published; test_nima.py has published labels and golden distances",
    "nima_efficientnet_lite0": "as nima",
    "pqr": "no trained network is published; golden labels and twins",
    "pqr_efficientnet_lite0": "as pqr",
    "dipiq": "the authors' network is not at hand; golden losses and twins",
    "dipiq_brisque": "as dipiq",
    "pooled_efficientnet_lite0": "our own definition; NumPy twin",
    "dbcnn_linear_efficientnet_lite0": "our own configuration; test_bilinear_features.py has a slow twin",
    "blinder": "a reconstruction without code; twins",
    "blinder_efficientnet_lite0": "as blinder",
    "deepbiq": "a reconstruction; twins, and scikit-learn's regressor",
    "deepbiq_efficientnet_lite0": "as deepbiq",
    "sfa": "the authors' regressors belong to Caffe's ResNet-50; test_sfa.py has twins of MATLAB's statistics and their layout",
    "sfa_efficientnet_lite0": "as sfa",
    "wnism": "parts of the authors' code were not found; stages have twins"}


def test_every_row_has_a_paper_a_chapter_and_reference_values():
    bibliography = (ROOT / "book" / "references.bib").read_text()
    for name, row in METRICS.items():
        assert re.search(r"@\w+\{" + row.paper + ",", bibliography), f"{name}: {row.paper} is not in references.bib"
        assert list((ROOT / "notebooks").glob(f"{row.chapter}_*.ipynb")), f"{name}: chapter {row.chapter} is not there"
        family = name.removesuffix("_live").removesuffix("_authors")  # niqe_live has its values in niqe.csv
        exists = (ROOT / "tests" / "reference_values" / f"{family}.csv").exists()
        assert exists != (name in NO_REFERENCE_VALUES), f"{name}: reference values {'exist' if exists else 'are missing'}"
        low, high = row.score_range
        assert low < high and not math.isnan(low)


def test_a_network_without_its_weights_says_so_in_every_table():
    torch.manual_seed(0)
    metric = create_metric("cnniqa", parameters="random")
    assert metric.name == "cnniqa (random weights)" and "UNTRAINED" in repr(metric)
    assert create_metric("cnniqa").name == "cnniqa"
