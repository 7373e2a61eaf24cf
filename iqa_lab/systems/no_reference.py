"""NO_REFERENCE: the systems that look at an image alone; one row each."""

from __future__ import annotations

import math
from functools import partial

from iqa_lab.no_reference.biecon import BIECON
from iqa_lab.no_reference.bilinear_features import BilinearFeatures
from iqa_lab.no_reference.blinder import BLINDER
from iqa_lab.no_reference.bliinds2 import BLIINDS2, first_channel
from iqa_lab.no_reference.brisque import BRISQUE
from iqa_lab.no_reference.cnniqa import CNNIQA
from iqa_lab.no_reference.cornia import CORNIA
from iqa_lab.no_reference.dbcnn import DBCNN
from iqa_lab.no_reference.deepbiq import DeepBIQ
from iqa_lab.no_reference.deepbqa import DeepBQA
from iqa_lab.no_reference.diivine import DIIVINE
from iqa_lab.no_reference.dipiq import DipIQ
from iqa_lab.no_reference.diqa import DIQA
from iqa_lab.no_reference.eonss import EONSS
from iqa_lab.no_reference.gm_log import GMLOG
from iqa_lab.no_reference.hosa import HOSA
from iqa_lab.no_reference.hyperiqa import HyperIQA
from iqa_lab.no_reference.ilniqe import ILNIQE
from iqa_lab.no_reference.iqacnnpp import IQACNNpp
from iqa_lab.no_reference.meon import MEON
from iqa_lab.no_reference.nima import NIMA
from iqa_lab.no_reference.niqe import NIQE
from iqa_lab.no_reference.piqe import piqe
from iqa_lab.no_reference.pooled_features import PooledFeatures
from iqa_lab.no_reference.pqr import PQR
from iqa_lab.no_reference.sfa import SFA
from iqa_lab.no_reference.two_stream import TwoStream
from iqa_lab.no_reference.wadiqam_nr import WaDIQaMNR
from iqa_lab.systems.facts import Metric

_NIQE = partial(Metric, kind="NR", higher_is_better=False, score_range=(0, math.inf), paper="mittal2013niqe", chapter="03")
_ILNIQE = partial(Metric, kind="NR", higher_is_better=False, score_range=(0, math.inf), paper="zhang2015ilniqe", chapter="11")
_REGRESSED = partial(Metric, kind="NR", higher_is_better=False, score_range=(-math.inf, math.inf))
_BRISQUE = partial(_REGRESSED, paper="mittal2012brisque", chapter="03")
_BLIINDS2 = partial(Metric, kind="NR", higher_is_better=False, paper="saad2012bliinds2", chapter="12")
_GM_LOG = partial(_REGRESSED, paper="xue2014gmlog", chapter="12")
_CNNIQA = partial(Metric, kind="NR", score_range=(-math.inf, math.inf), paper="kang2014cnniqa", chapter="04")
#: Networks that learn opinion scores; the direction is that of a MOS.
_LEARNED = partial(Metric, kind="NR", higher_is_better=True, score_range=(-math.inf, math.inf))
_WADIQAM_NR = partial(_LEARNED, paper="bosse2018wadiqam", chapter="26")
_DBCNN = partial(_LEARNED, paper="zhang2020dbcnn", chapter="28")
_HYPERIQA = partial(_LEARNED, paper="su2020hyperiqa", chapter="32")
_NIMA = partial(_LEARNED, paper="talebi2018nima", chapter="31")
_PQR = partial(_LEARNED, paper="zeng2017pqr", chapter="31")
_DIPIQ = partial(_LEARNED, paper="ma2017dipiq", chapter="29")
_LITE0 = {"backbone": "efficientnet_lite0"}
_BLINDER = partial(_REGRESSED, paper="gao2018blinder", chapter="30")
_DEEPBIQ = partial(_REGRESSED, paper="bianco2018deepbiq", chapter="30")
_SFA = partial(_REGRESSED, paper="li2019sfa", chapter="30")

NO_REFERENCE: dict[str, Metric] = {
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
    "iqacnnpp": _LEARNED(partial(IQACNNpp, parameters="iqacnnpp_livec", n_types=0), paper="kang2015simultaneous",
                         chapter="26", configuration="gray, 32x32 patches, quality alone without types; trained by this "
                                                     "project on LIVE in the Wild photos; MOS scale 0 to 100"),
    "two_stream": _LEARNED(TwoStream, paper="yan2019twostream", chapter="26",
                           configuration="reconstruction; RGB and Sobel magnitude, 32x32 patches; no trained network is "
                                         "published"),
    "wadiqam_nr": _WADIQAM_NR(WaDIQaMNR, configuration="RGB 0 to 255, all 32x32 patches, learned weights; the authors' "
                                                       "networks are not shipped"),
    "diqam_nr": _WADIQAM_NR(partial(WaDIQaMNR, weighted=False),
                            configuration="as wadiqam_nr, all patches count the same"),
    "meon": _LEARNED(partial(MEON, parameters="meon_livec", n_types=10), paper="ma2018meon", chapter="28",
                     configuration="RGB 0 to 255, 256x256 patches of stride 128, p . s with 10 types; trained by this project "
                                   "on distorted photos, then on LIVE in the Wild photos; MOS scale 0 to 100"),
    "eonss": _LEARNED(EONSS, paper="wang2019eonss", chapter="28",
                      configuration="RGB, 235x235 patches of stride 128; the authors' network, trained on synthetic scores "
                                    "(file not shipped)"),
    "dbcnn": _DBCNN(DBCNN, configuration="VGG-16 relu5_3 times the authors' S-CNN, bilinear pooling; no trained head at hand"),
    "dbcnn_efficientnet_lite0": _DBCNN(partial(DBCNN, backbone="efficientnet_lite0", layer="head"),
                                       configuration="as dbcnn, with EfficientNet-Lite0: not the paper's network"),
    "dbcnn_linear_efficientnet_lite0": _DBCNN(
        partial(BilinearFeatures, parameters="dbcnn_linear_livec"),
        configuration="DB-CNN's products with EfficientNet-Lite0 at about 500x500, linear SVR trained by this project on 537 "
                      "LIVE in the Wild photos; MOS scale 0 to 100: not the paper's network"),
    "hyperiqa": _HYPERIQA(HyperIQA, configuration="ResNet-50, grid of 25 crops of 224x224; the authors' network is not shipped"),
    "hyperiqa_efficientnet_lite0": _HYPERIQA(
        partial(HyperIQA, parameters="hyperiqa_efficientnet_lite0_livec", backbone="efficientnet_lite0",
                layers=("block2", "block4", "block10", "block15"), crops_per_side=3),
        configuration="as hyperiqa, with EfficientNet-Lite0 and 9 crops, all but the backbone trained by this project on LIVE "
                      "in the Wild photos; MOS scale 0 to 100: not the paper's network"),
    "biecon": _LEARNED(BIECON, paper="kim2017biecon", chapter="27",
                       configuration="the authors' release, mean pooling; no trained network is published"),
    "diqa": _LEARNED(DIQA, paper="kim2019diqa", chapter="27",
                     configuration="reconstruction from two ports and slides; no trained network is published"),
    "deepbqa": _LEARNED(DeepBQA, paper="kim2018deepbqa", chapter="27",
                        configuration="reconstruction from slides, DIQA's layers, w_TV 0.01; no trained network is published"),
    "nima": _NIMA(NIMA, configuration="VGG-16 fc7, squeezed to 224x224, mean of 10 bins; no trained network is published"),
    "nima_efficientnet_lite0": _NIMA(partial(NIMA, backbone="efficientnet_lite0", squeezed=False),
                                     configuration="EfficientNet-Lite0, whole image: neither the paper's network nor its input"),
    "pqr": _PQR(PQR, configuration="S_CNN, RGB, 64x64 patches, 5 anchors, linear regression; no trained network is published"),
    "pqr_efficientnet_lite0": _PQR(
        partial(PQR, backbone="efficientnet_lite0"),
        configuration="as pqr, with EfficientNet-Lite0 and 224x224 crops of stride 64: not the paper's network"),
    "dipiq": _DIPIQ(DipIQ, configuration="CORNIA features with this project's codebook; the authors' network is not at hand"),
    "dipiq_brisque": _DIPIQ(partial(DipIQ, descriptor="brisque", hidden=(64, 32)),
                            configuration="as dipiq, with the 36 features of BRISQUE: not the paper's features"),
    "pooled_efficientnet_lite0": _REGRESSED(
        PooledFeatures, paper="tan2019efficientnet", chapter="30",
        configuration="our baseline, no paper's model: mean and deviation of the last maps, one linear SVR"),
    "blinder": _BLINDER(BLINDER, configuration="reconstruction; VGG-16, extremes of 13 convolutions, and 3 fully connected "
                                               "layers, one SVR each; no regressor is published"),
    "blinder_efficientnet_lite0": _BLINDER(partial(BLINDER, **_LITE0, layers=(*(f"block{i}" for i in range(16)), "head", "fc")),
                                           configuration="as blinder, with 18 levels of EfficientNet-Lite0: not the paper's "
                                                         "network"),
    "deepbiq": _DEEPBIQ(DeepBIQ, configuration="reconstruction; AlexNet, 25 crops of 224x224, one SVR; nothing is published"),
    "deepbiq_efficientnet_lite0": _DEEPBIQ(partial(DeepBIQ, **_LITE0, layer="pool", crops_per_side=3),
                                           configuration="as deepbiq, with EfficientNet-Lite0 and 9 crops: not the paper's "
                                                         "network"),
    "sfa": _SFA(SFA, configuration="torchvision's ResNet-50 instead of Caffe's, 224x224 patches of stride 112, three PLSR "
                                   "averaged; the authors' regressors do not fit it"),
    "sfa_efficientnet_lite0": _SFA(partial(SFA, **_LITE0, layer="head"),
                                   configuration="as sfa, with EfficientNet-Lite0: not the paper's network"),
}
