"""METRICS lists every system of the package, one line each; create_metric makes a callable module of it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from iqa_lab.full_reference.amirshahi2016 import Amirshahi2016
from iqa_lab.full_reference.deepqa import DeepQA
from iqa_lab.full_reference.deepsim import SQUEEZENET_MAPS, DeepSim
from iqa_lab.full_reference.dists import DISTS
from iqa_lab.full_reference.fsim import fsim, fsimc
from iqa_lab.full_reference.gmsd import gmsd
from iqa_lab.full_reference.hdr_vdp import hdr_vdp
from iqa_lab.full_reference.iw_ssim import iw_ssim
from iqa_lab.full_reference.lpips import LPIPS
from iqa_lab.full_reference.mad import mad
from iqa_lab.full_reference.mdsi import mdsi
from iqa_lab.full_reference.ms_ssim import ms_ssim, ms_ssim_mux
from iqa_lab.full_reference.perceptual_loss import PerceptualLoss, StyleLoss
from iqa_lab.full_reference.pieapp import SPARSE, PieAPP
from iqa_lab.full_reference.psnr import mse, psnr, psnr_y
from iqa_lab.full_reference.psnr_hvs import psnr_hvs, psnr_hvs_m
from iqa_lab.full_reference.ssim import ssim, ssim_auto
from iqa_lab.full_reference.swdn import SWDN
from iqa_lab.full_reference.tariq2020 import ProbedDistance
from iqa_lab.full_reference.vif import vif, vifp
from iqa_lab.full_reference.vsi import vsi
from iqa_lab.full_reference.wadiqam_fr import WaDIQaMFR
from iqa_lab.no_reference.bliinds2 import BLIINDS2, first_channel
from iqa_lab.no_reference.brisque import BRISQUE
from iqa_lab.no_reference.cnniqa import CNNIQA
from iqa_lab.no_reference.cornia import CORNIA
from iqa_lab.no_reference.diivine import DIIVINE
from iqa_lab.no_reference.gm_log import GMLOG
from iqa_lab.no_reference.hosa import HOSA
from iqa_lab.no_reference.ilniqe import ILNIQE
from iqa_lab.no_reference.niqe import NIQE
from iqa_lab.no_reference.piqe import piqe
from iqa_lab.reduced_reference.rred import rred
from iqa_lab.reduced_reference.wnism import wnism


@dataclass(frozen=True)
class Metric:
    """One system: how to make it, and the facts that tables and tests need.

    Attributes:
        create: a function of images (training-free) or a class or partial that returns an nn.Module.
        kind: "FR" (called with distorted, reference), "RR" (likewise) or "NR" (called with image).
        higher_is_better: direction of the score.
        score_range: smallest and largest possible score.
        paper: key in book/references.bib.
        chapter: number of the chapter that explains it.
        configuration: what exactly the name stands for, in words.
        identity: score of identical images, None where it is the better end of the range.
    """

    create: Callable
    kind: str
    higher_is_better: bool
    score_range: tuple[float, float]
    paper: str
    chapter: str
    configuration: str
    identity: float | None = None


_PERCEPTUAL = partial(Metric, kind="FR", higher_is_better=False, score_range=(0, math.inf), paper="johnson2016perceptual",
                      chapter="20")
_DEEPSIM = partial(Metric, kind="FR", higher_is_better=True, score_range=(-1, 1), paper="gao2017deepsim", chapter="20")
_AMIRSHAHI = partial(Metric, kind="FR", higher_is_better=True, score_range=(0, 1), paper="amirshahi2016cnn", chapter="20")
_LPIPS = partial(Metric, kind="FR", higher_is_better=False, score_range=(0, math.inf), paper="zhang2018lpips", chapter="21")
_DISTS = partial(Metric, kind="FR", higher_is_better=False, paper="ding2020dists", chapter="24")
_SWDN = partial(Metric, kind="FR", higher_is_better=False, paper="gu2020swdn", chapter="24")
_WADIQAM_FR = partial(Metric, kind="FR", higher_is_better=True, score_range=(-math.inf, math.inf),
                      paper="bosse2018wadiqam", chapter="23", identity=0)
_NIQE = partial(Metric, kind="NR", higher_is_better=False, score_range=(0, math.inf), paper="mittal2013niqe", chapter="03")
_ILNIQE = partial(Metric, kind="NR", higher_is_better=False, score_range=(0, math.inf), paper="zhang2015ilniqe", chapter="11")
_REGRESSED = partial(Metric, kind="NR", higher_is_better=False, score_range=(-math.inf, math.inf))
_BRISQUE = partial(_REGRESSED, paper="mittal2012brisque", chapter="03")
_BLIINDS2 = partial(Metric, kind="NR", higher_is_better=False, paper="saad2012bliinds2", chapter="12")
_GM_LOG = partial(_REGRESSED, paper="xue2014gmlog", chapter="12")
_CNNIQA = partial(Metric, kind="NR", score_range=(-math.inf, math.inf), paper="kang2014cnniqa", chapter="04")

METRICS: dict[str, Metric] = {
    "mse": Metric(mse, "FR", False, (0, 1), "wang2009mse", "02", "RGB in [0, 1], one mean over channels and pixels"),
    "psnr": Metric(psnr, "FR", True, (0, math.inf), "wang2009mse", "02", "decibels; RGB, one MSE over all channels"),
    "psnr_y": Metric(psnr_y, "FR", True, (0, math.inf), "wang2009mse", "02",
                     "decibels; luma 16 to 235 rounded as MATLAB's rgb2ycbcr, peak 255"),
    "psnr_hvs": Metric(psnr_hvs, "FR", True, (-math.inf, math.inf), "egiazarian2006psnrhvs", "07",
                       "decibels; MATLAB gray, 8x8 DCT weighted by contrast sensitivity"),
    "psnr_hvs_m": Metric(psnr_hvs_m, "FR", True, (-math.inf, math.inf), "ponomarenko2007psnrhvsm", "07",
                         "as psnr_hvs, less what the image masks"),
    "ssim": Metric(ssim, "FR", True, (-1, 1), "wang2004ssim", "02", "MATLAB gray, 11x11 Gaussian, no downsampling"),
    "ssim_auto": Metric(ssim_auto, "FR", True, (-1, 1), "wang2004ssim", "02",
                        "as ssim, downsampled to about 256 pixels first (the authors' later code)"),
    "ms_ssim": Metric(ms_ssim, "FR", True, (0, 1), "wang2003msssim", "02", "MATLAB gray, 5 scales, product form"),
    "ms_ssim_mux": Metric(ms_ssim_mux, "FR", True, (0, 1), "wang2003msssim", "06",
                          "as ms_ssim, in the form of MeTriX MuX: 9/7 wavelet filter, means of the factors apart"),
    "iw_ssim": Metric(iw_ssim, "FR", True, (0, 1), "wang2011information", "06",
                      "MATLAB gray, Laplacian pyramid of 5 scales, information content weights"),
    "gmsd": Metric(gmsd, "FR", False, (0, 0.58), "xue2014gmsd", "06", "MATLAB gray, downsampled by 2"),
    "mdsi": Metric(mdsi, "FR", False, (0, math.inf), "nafchi2016mdsi", "06",
                   "RGB, downsampled to about 256 pixels, sum of gradient and chroma similarity"),
    "fsim": Metric(fsim, "FR", True, (0, 1), "zhang2011fsim", "07", "luma, downsampled to about 256 pixels"),
    "fsimc": Metric(fsimc, "FR", True, (0, 1), "zhang2011fsim", "07", "as fsim, with the two chroma channels of YIQ"),
    "vsi": Metric(vsi, "FR", True, (0, 1), "zhang2014vsi", "07", "RGB, SDSP saliency, downsampled to about 256 pixels"),
    "vif": Metric(vif, "FR", True, (0, math.inf), "sheikh2006vif", "06",
                  "MATLAB gray, steerable pyramid, the authors' wavelet release", identity=1),
    "vifp": Metric(vifp, "FR", True, (0, math.inf), "sheikh2006vif", "06", "MATLAB gray, pixel domain, 4 scales", identity=1),
    "mad": Metric(mad, "FR", False, (0, math.inf), "larson2010mad", "07",
                  "MATLAB gray, the authors' code of 2011, no downsampling"),
    "hdr_vdp": Metric(hdr_vdp, "FR", True, (-math.inf, 100), "mantiuk2011hdrvdp", "08",
                      "quality Q of version 2.2.1, sRGB display of 1 to 100 cd/m2, 30 pixels per degree"),
    "perceptual_loss": _PERCEPTUAL(PerceptualLoss, configuration="VGG-16 relu2_2, squared difference over C H W (file not "
                                   "shipped)"),
    "perceptual_loss_squeezenet": _PERCEPTUAL(partial(PerceptualLoss, backbone="squeezenet", layers=("fire3",)),
                                              configuration="as perceptual_loss, with SqueezeNet fire3: not the paper's network"),
    "style_loss": _PERCEPTUAL(StyleLoss, configuration="VGG-16, Gram matrices of relu1_2, relu2_2, relu3_3 and relu4_3 (file "
                              "not shipped)"),
    "deepsim": _DEEPSIM(DeepSim, configuration="VGG-16 at 224x224, SSIM of the maps of conv1_1 to pool5, averages (file not "
                        "shipped)"),
    "deepsim_squeezenet": _DEEPSIM(partial(DeepSim, backbone="squeezenet", layers=SQUEEZENET_MAPS),
                                   configuration="as deepsim, with the 13 maps of SqueezeNet: not the paper's network"),
    "amirshahi2016": _AMIRSHAHI(Amirshahi2016, configuration="our reconstruction; AlexNet, channel histograms on grids of 1, 4 "
                                "and 16 cells (file not shipped)"),
    "amirshahi2016_squeezenet": _AMIRSHAHI(
        partial(Amirshahi2016, backbone="squeezenet", layers=("relu1", "fire3", "fire5", "fire7", "fire9")),
        configuration="as amirshahi2016, with SqueezeNet: not the paper's network"),
    "tariq2020_squeezenet": Metric(partial(ProbedDistance, backbone="squeezenet", layers=("fire3",)), "FR", False, (0, math.inf),
                                   "tariq2020deep", "20", "our definition; half of SqueezeNet fire3's channels, the best tuned "
                                   "to gratings"),
    "lpips": _LPIPS(partial(LPIPS, backbone="alexnet"),
                    configuration="AlexNet, the authors' heads of version 0.1, trained on BAPPS (file not shipped)"),
    "lpips_squeeze": _LPIPS(partial(LPIPS, backbone="squeezenet"),
                            configuration="SqueezeNet 1.1, the authors' heads of version 0.1, trained on BAPPS"),
    "lpips_vgg": _LPIPS(partial(LPIPS, backbone="vgg16"),
                        configuration="VGG-16, the authors' heads of version 0.1, trained on BAPPS (file not shipped)"),
    "dists": _DISTS(DISTS, score_range=(0, 1.13), configuration="RGB, shorter side above 256 shrunk to 256 (the authors' demo); "
                    "VGG-16, the authors' alpha and beta (file not shipped)"),
    "dists_full_size": _DISTS(partial(DISTS, resize=False), score_range=(0, 1.13), configuration="as dists, never resized (the "
                              "authors' class; piq, pyiqa, torchmetrics) (file not shipped)"),
    "dists_like_squeezenet": _DISTS(partial(DISTS, backbone="squeezenet", parameters="uniform"), score_range=(0, 1.5),
                                    configuration="the recipe of DISTS on SqueezeNet with uniform weights; not the authors' model"),
    "swdn_uniform_heads": _SWDN(SWDN, score_range=(0, 10), configuration="reconstruction on AlexNet, R = 1; uniform heads, not "
                                "trained on opinions: none were published (file not shipped)"),
    "swdn_uniform_heads_squeezenet": _SWDN(partial(SWDN, backbone="squeezenet"), score_range=(0, 14),
                                           configuration="as swdn_uniform_heads, on the shipped SqueezeNet"),
    "deepqa": Metric(DeepQA, "FR", True, (0, math.inf), "kim2017deepqa", "23",
                     "luma, log error weighted by a learned sensitivity map; no trained network is published", identity=0),
    "wadiqam_fr": _WADIQAM_FR(WaDIQaMFR, configuration="RGB 0 to 255, all 32x32 patches, learned weights; the authors' "
                              "networks are not shipped"),
    "diqam_fr": _WADIQAM_FR(partial(WaDIQaMFR, weighted=False), configuration="as wadiqam_fr, all patches count the same"),
    "pieapp": Metric(partial(PieAPP, stride=SPARSE), "FR", False, (-math.inf, math.inf), "prashnani2018pieapp", "22",
                     "BGR 0 to 255, 64x64 patches of stride 27; stride=6 is the authors' dense sampling (file not shipped)",
                     identity=0),
    "rred": Metric(rred, "RR", False, (0, math.inf), "soundararajan2012rred", "09",
                   "MATLAB gray, one subband, one number for each 3x3 block of it"),
    "rred_1": Metric(partial(rred, cell=None), "RR", False, (0, math.inf), "soundararajan2012rred", "09",
                     "as rred, one number of the reference"),
    "wnism": Metric(wnism, "RR", False, (0, math.inf), "wang2005reduced", "09",
                    "MATLAB gray, 18 numbers of the reference in 162 bits"),
    "brisque": _BRISQUE(partial(BRISQUE, parameters="brisque_livec"),
                        configuration="regressor trained by this project on 387 LIVE in the Wild photos"),
    "brisque_live": _BRISQUE(partial(BRISQUE, parameters="brisque_live"),
                             configuration="the authors' regressor, trained on LIVE release 2 (file not shipped)"),
    "bliinds2": _BLIINDS2(partial(BLIINDS2, parameters="bliinds2_livec"), score_range=(-math.inf, math.inf),
                          configuration="24 features, regressor trained by this project on 387 LIVE in the Wild photos"),
    "bliinds2_live": _BLIINDS2(partial(BLIINDS2, parameters="bliinds2_live", luma=first_channel), score_range=(0, 99),
                               configuration="the authors' Gaussian of features and DMOS, trained on the red channel of "
                                             "LIVE release 2 (file not shipped)"),
    "diivine_live": _REGRESSED(partial(DIIVINE, parameters="diivine_live"), paper="moorthy2011diivine", chapter="12",
                               configuration="the authors' classifier and five regressors, trained on LIVE release 2 "
                                             "(file not shipped)"),
    "gm_log": _GM_LOG(partial(GMLOG, parameters="gm_log_livec"),
                      configuration="40 features, regressor trained by this project on 387 LIVE in the Wild photos"),
    "gm_log_live": _GM_LOG(partial(GMLOG, parameters="gm_log_live"),
                           configuration="the authors' regressor M3, trained on LIVE release 2 (file not shipped)"),
    "cornia": _REGRESSED(partial(CORNIA, parameters="cornia_livec"), paper="ye2012cornia", chapter="13",
                         configuration="10,000 codewords learned by this project from distorted Kodak photos; regressor "
                                       "trained by this project on 387 LIVE in the Wild photos"),
    "hosa": _REGRESSED(partial(HOSA, parameters="hosa_livec"), paper="xu2016hosa", chapter="13",
                       configuration="100 codewords learned by this project from distorted Kodak photos; regressor "
                                     "trained by this project on 387 LIVE in the Wild photos"),
    "piqe": Metric(piqe, "NR", False, (0, 100), "venkatanath2015piqe", "11",
                   "MATLAB gray, blocks of 16x16, no training"),
    "niqe": _NIQE(partial(NIQE, parameters="niqe_pristine"),
                  configuration="pristine model learned by this project from the 24 Kodak photos"),
    "niqe_live": _NIQE(partial(NIQE, parameters="niqe_live"),
                       configuration="the authors' pristine model of 125 photos (file not shipped)"),
    "ilniqe": _ILNIQE(partial(ILNIQE, parameters="ilniqe_pristine"),
                      configuration="RGB at 524x524; pristine model learned by this project from the 24 Kodak photos"),
    "ilniqe_authors": _ILNIQE(partial(ILNIQE, parameters="ilniqe_authors"),
                              configuration="RGB at 524x524; the authors' pristine model of 90 photos (file not shipped)"),
    "cnniqa": _CNNIQA(partial(CNNIQA, parameters="cnniqa_livec"), higher_is_better=True,
                      configuration="trained by this project on LIVE in the Wild photos; MOS scale 0 to 100"),
    "cnniqa_live": _CNNIQA(partial(CNNIQA, parameters="cnniqa_live", C=255.0, drop_last_patches=True),
                           higher_is_better=False,
                           configuration="public port's weights, trained on LIVE release 2 DMOS (file not shipped)"),
}


UNTRAINED = " (random weights)"  # behind the name of a network that was asked for with random weights


class FunctionMetric(nn.Module):
    """A training-free metric as a module: ``forward`` calls the function with the stored options."""

    def __init__(self, function: Callable[..., torch.Tensor], **options) -> None:
        super().__init__()
        self.function = partial(function, **options)

    def forward(self, *images: torch.Tensor) -> torch.Tensor:
        """Returns one score per image, shape (N,)."""
        return self.function(*images)

    def extra_repr(self) -> str:
        return ", ".join([self.function.func.__name__, *(f"{k}={v!r}" for k, v in self.function.keywords.items())])


def find_metric(name: str) -> Metric:
    """Returns the registry row of that name; ValueError with the nearest names otherwise."""
    if name not in METRICS:
        near = difflib.get_close_matches(name, METRICS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`iqa-lab list` prints the names."
        raise ValueError(f"Unknown metric {name!r}; {hint}")
    return METRICS[name]


def create_metric(name: str, device: torch.device | str = "cpu", **options) -> nn.Module:
    """Returns the metric as a module in evaluation mode on ``device``.

    Full-reference metrics are called ``metric(distorted, reference)``, no-reference ones ``metric(image)``; both take
    float images (N, C, H, W) in [0, 1] and return one score per image, shape (N,). The module carries the registry
    facts ``name``, ``kind`` and ``higher_is_better``. The name of a network that was asked for without its trained
    weights says so, and with it every table of scores.

    Args:
        name: a key of ``METRICS``.
        device: "cpu", "cuda", "cuda:1", ...
        options: keyword options of the metric, as its own documentation lists them.

    Raises:
        ValueError: unknown name. TypeError: unknown option. FileNotFoundError: parameter file absent, with the way to it.
    """
    row = find_metric(name)
    try:
        is_class = isinstance(unwrapped(row.create), type)
        module = row.create(**options) if is_class else FunctionMetric(row.create, **checked(row.create, options))
    except TypeError as error:
        raise TypeError(f"Metric {name!r}: {error}; see help(iqa_lab.METRICS[{name!r}].create).") from error
    untrained = UNTRAINED if any(getattr(part, "untrained", False) for part in module.modules()) else ""
    module.name, module.kind, module.higher_is_better = name + untrained, row.kind, row.higher_is_better
    return module.eval().to(device)


def unwrapped(create: Callable) -> Callable:
    """Returns the function or class behind a registry row, without the options that the row fixes."""
    return create.func if isinstance(create, partial) else create


def checked(function: Callable, options: dict) -> dict:
    """Returns the options; TypeError when the function does not know one (a partial would tell only when called)."""
    known = unwrapped(function).__kwdefaults__ or {}
    for option in options:
        if option not in known:
            raise TypeError(f"unknown option {option!r}, expected one of {sorted(known) or 'none'}")
    return options
