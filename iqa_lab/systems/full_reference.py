"""FULL_REFERENCE: the systems that compare an image with its reference, or with some numbers of it; one row each."""

from __future__ import annotations

import math
from functools import partial

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
from iqa_lab.reduced_reference.rred import rred
from iqa_lab.reduced_reference.wnism import wnism
from iqa_lab.systems.facts import Metric

_PERCEPTUAL = partial(Metric, kind="FR", higher_is_better=False, score_range=(0, math.inf), paper="johnson2016perceptual",
                      chapter="20")
_DEEPSIM = partial(Metric, kind="FR", higher_is_better=True, score_range=(-1, 1), paper="gao2017deepsim", chapter="20")
_AMIRSHAHI = partial(Metric, kind="FR", higher_is_better=True, score_range=(0, 1), paper="amirshahi2016cnn", chapter="20")
_LPIPS = partial(Metric, kind="FR", higher_is_better=False, score_range=(0, math.inf), paper="zhang2018lpips", chapter="21")
_DISTS = partial(Metric, kind="FR", higher_is_better=False, paper="ding2020dists", chapter="24")
_SWDN = partial(Metric, kind="FR", higher_is_better=False, paper="gu2020swdn", chapter="24")
_WADIQAM_FR = partial(Metric, kind="FR", higher_is_better=True, score_range=(-math.inf, math.inf),
                      paper="bosse2018wadiqam", chapter="23", identity=0)

FULL_REFERENCE: dict[str, Metric] = {
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
}
