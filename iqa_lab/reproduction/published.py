"""TABLES: the published numbers, each table with its source.

Here are only numbers that were read in a paper, in an author's README or slides, or in a table of results that a library
keeps beside its code; ``source`` says which. Rows of systems that this package does not have are left out, and so are
cells whose source is doubtful.
"""

from __future__ import annotations

import re

from iqa_lab.reproduction.tables import PublishedTable, cells

_HYPERIQA = "the paper's tables as copied on slides; the paper was not at hand"
_BEST_TEST_EPOCH = "The authors' code reports the best epoch on the test images; ours is chosen on the validation part."
_FIVE, _FOUR = "livec bid koniq10k live_r2 csiq", "livec live_r2 csiq tid2013"
_CROSS = "livec>bid livec>koniq10k bid>livec bid>koniq10k koniq10k>livec koniq10k>bid live_r2>csiq csiq>live_r2"
_CSIQ_TYPES = "white_noise jpeg jpeg2000 pink_noise gaussian_blur contrast_change"
_THREE = "live_r2 csiq tid2013"
_FR_FOUR = "csiq live_r2 tid2008 tid2013"
_FAMILIES = "traditional cnn superres deblur color frameinterp all"
_PIQ = "README of github.com/photosynthesis-team/piq at 040fe9e"
_PYIQA = "github.com/chaofengc/IQA-PyTorch at 01ae427, tests/"

TABLES: tuple[PublishedTable, ...] = (
    PublishedTable(
        "su2020hyperiqa", "comparison", "nine systems on five databases", "splits", _HYPERIQA,
        cells("srocc", _FIVE, {
            "brisque": (0.608, 0.562, 0.665, 0.939, 0.746), "ilniqe_authors": (0.432, 0.516, 0.507, 0.902, 0.806),
            "hosa": (0.640, 0.721, 0.671, 0.946, 0.741), "biecon": (0.595, 0.539, 0.618, 0.961, 0.815),
            "wadiqam_nr": (0.671, 0.725, 0.797, 0.954, None),  # .955 on CSIQ looks like the full-reference network's
            "sfa": (0.812, 0.826, 0.856, 0.883, 0.796), "pqr_resnet50": (0.857, 0.775, 0.880, 0.965, 0.873),
            "dbcnn": (0.851, 0.845, 0.875, 0.968, 0.946), "hyperiqa": (0.859, 0.869, 0.906, 0.962, 0.923)})
        + cells("plcc", _FIVE, {
            "brisque": (0.629, 0.593, 0.681, 0.935, 0.829), "ilniqe_authors": (0.508, 0.554, 0.523, 0.865, 0.808),
            "hosa": (0.678, 0.736, 0.694, 0.947, 0.823), "biecon": (0.613, 0.576, 0.651, 0.962, 0.823),
            "wadiqam_nr": (0.680, 0.742, 0.805, 0.963, None), "sfa": (0.833, 0.840, 0.872, 0.895, 0.818),
            "hyperiqa": (0.882, None, None, 0.966, None)}), note=_BEST_TEST_EPOCH),
    PublishedTable(
        "su2020hyperiqa", "types", "single distortions of LIVE and CSIQ", "splits", _HYPERIQA,
        cells("srocc", "jpeg2000 jpeg white_noise gaussian_blur fast_fading",
              {"dbcnn": (0.955, 0.972, 0.980, 0.935, 0.930)}, database="live_r2")
        + cells("srocc", _CSIQ_TYPES, {"dbcnn": (0.948, 0.940, 0.953, 0.940, 0.947, 0.870),
                                       "hyperiqa": (0.927, 0.934, 0.960, 0.931, 0.915, 0.874)}, database="csiq"),
        note=_BEST_TEST_EPOCH),
    PublishedTable(
        "su2020hyperiqa", "cross", "trained on one database, tested on another", "cross", _HYPERIQA,
        cells("srocc", _CROSS, {"pqr_resnet50": (0.714, 0.757, 0.680, 0.636, 0.770, 0.755, 0.719, 0.922),
                                "dbcnn": (0.762, 0.754, 0.725, 0.724, 0.755, 0.816, 0.758, 0.877),
                                "hyperiqa": (0.756, 0.772, 0.770, 0.688, 0.785, 0.819, 0.744, 0.926)})),
    PublishedTable(
        "su2020hyperiqa", "ablation", "HyperIQA without its parts", "splits", _HYPERIQA,
        cells("srocc", "livec live_r2", {"hyperiqa_backbone": (0.827, 0.923), "hyperiqa_multi_scale": (0.836, 0.954),
                                         "hyperiqa_hyper": (0.854, 0.944), "hyperiqa": (0.859, 0.962)})
        + cells("plcc", "livec live_r2", {"hyperiqa_backbone": (0.852, 0.947), "hyperiqa_multi_scale": (0.859, 0.963),
                                          "hyperiqa_hyper": (0.879, 0.959), "hyperiqa": (0.882, 0.966)}),
        note=_BEST_TEST_EPOCH),
    PublishedTable(
        "zeng2017pqr", "readme", "PQR, scalar regression and classical systems on four databases", "splits",
        "README of github.com/HuiZeng/BIQA_Toolbox at 39d6065",
        cells("srocc", _FOUR, {
            "cornia": (0.6323, 0.9420, 0.7299, 0.6226), "brisque": (0.6085, 0.9374, 0.7502, 0.5258),
            "niqe_live": (0.4347, 0.9154, 0.6298, 0.2992), "ilniqe_authors": (0.4254, 0.9017, 0.8066, 0.5185),
            "hosa": (0.6610, 0.9477, 0.7812, 0.6876), "sqr_alexnet": (0.7658, 0.9319, 0.7965, 0.5362),
            "pqr_alexnet": (0.8075, 0.9554, 0.8713, 0.5742), "sqr_resnet50": (0.8236, 0.9468, 0.8217, 0.6406),
            "pqr_resnet50": (0.8568, 0.9653, 0.8728, 0.7399), "sqr": (0.6582, 0.9450, 0.8787, 0.6526),
            "pqr": (0.6766, 0.9637, 0.9080, 0.6921)})
        + cells("plcc", _FOUR, {
            "cornia": (0.6613, 0.9457, 0.8036, 0.7038), "brisque": (0.6465, 0.9448, 0.8286, 0.6331),
            "niqe_live": (0.4784, 0.9194, 0.7181, 0.4154), "ilniqe_authors": (0.5066, 0.8654, 0.8083, 0.6398),
            "hosa": (0.6750, 0.9492, 0.8415, 0.7637), "sqr_alexnet": (0.8074, 0.9426, 0.8405, 0.6136),
            "pqr_alexnet": (0.8357, 0.9638, 0.8958, 0.6687), "sqr_resnet50": (0.8680, 0.9527, 0.8713, 0.7068),
            "pqr_resnet50": (0.8822, 0.9714, 0.9010, 0.7980), "sqr": (0.6729, 0.9455, 0.8987, 0.6921),
            "pqr": (0.7032, 0.9656, 0.9267, 0.7497)}),
        note="The authors' code reports the epoch that is best on the test images. Their DIIVINE and FRIQUEE are left out: "
             "the one cannot be trained here, the other is not in the package."),
    PublishedTable(
        "kim2017biecon", "readme", "BIECON on three databases", "splits",
        "README of github.com/jongyookim/IQA_BIECON_release at 9b94526",
        cells("srocc", _THREE, {"biecon": (0.9603, 0.8251, 0.7205)})
        + cells("plcc", _THREE, {"biecon": (0.9622, 0.8380, 0.7650)}), statistic="mean",
        note="Theirs has learned local scores first; our recipes train the second stage alone. " + _BEST_TEST_EPOCH),
    PublishedTable(
        "kim2018deepbqa", "comparison", "DeepBQA beside other systems on three databases", "splits",
        "slides of the authors",
        cells("srocc", _THREE, {
            "psnr_y": (0.876, 0.806, 0.636), "ssim_auto": (0.948, 0.876, None),  # .775 is SSIM on TID2008
            "fsimc": (0.963, 0.931, 0.851), "deepqa": (0.981, 0.961, 0.939), "brisque": (0.939, 0.775, 0.572),
            "cornia": (0.942, 0.714, 0.549), "ilniqe_authors": (0.902, 0.821, 0.521), "gm_log": (0.950, 0.803, 0.675),
            "biecon": (0.958, 0.825, 0.721), "deepbqa": (0.970, 0.858, 0.843)})
        + cells("plcc", _THREE, {
            "psnr_y": (0.872, 0.800, 0.706), "ssim_auto": (0.945, 0.861, None), "fsimc": (0.960, 0.919, 0.877),
            "deepqa": (0.982, None, 0.947),  # .956 on CSIQ is .965 in the README of the same authors
            "brisque": (0.942, 0.817, 0.651), "cornia": (0.943, 0.781, 0.613), "ilniqe_authors": (0.908, 0.865, 0.648),
            "gm_log": (0.954, 0.812, 0.683), "biecon": (0.962, 0.838, 0.765), "deepbqa": (0.971, 0.879, 0.868)}),
        note="The slides do not say how the data was split, or whether systems without training were tested on parts."),
    PublishedTable(
        "kim2018deepbqa", "tv_weight", "DeepBQA on LIVE with other weights of total variation", "splits",
        "slides of the authors",
        cells("srocc", "live_r2", {"deepbqa_tv_0": (0.961,), "deepbqa_tv_0.0001": (0.965,), "deepbqa_tv_0.001": (0.966,),
                                   "deepbqa": (0.971,), "deepbqa_tv_0.1": (0.969,)})
        + cells("plcc", "live_r2", {"deepbqa_tv_0": (0.963,), "deepbqa_tv_0.0001": (0.966,), "deepbqa_tv_0.001": (0.967,),
                                    "deepbqa": (0.972,), "deepbqa_tv_0.1": (0.970,)}),
        note="The slides do not say how the data was split; their comparison has .970 and .971 for the best weight."),
    PublishedTable(
        "kim2017deepqa", "readme", "DeepQA on four databases", "splits",
        "README of github.com/jongyookim/IQA_DeepQA_FR_release at 8f08765",
        cells("srocc", "live_r2 csiq tid2008 tid2013", {"deepqa": (0.981, 0.961, 0.947, 0.939)})
        + cells("plcc", "live_r2 csiq tid2008 tid2013", {"deepqa": (0.982, 0.965, 0.951, 0.947)}), statistic="mean"),
    PublishedTable(
        "li2017sfa", "pytorch", "SFA on LIVE in the Wild", "splits",
        "SFA-pytorch/README.md of github.com/lidq92/SFA at 6471727, resnet50-caffe.pth",
        cells("srocc", "livec", {"sfa": (0.8036,)}) + cells("krocc", "livec", {"sfa": (0.6126,)})
        + cells("plcc", "livec", {"sfa": (0.8220,)}),
        note="Median of the splits stored beside their code; their ResNet-50 is Caffe's."),
    PublishedTable(
        "chen2022iqapytorch", "full_reference", "full-reference systems of pyiqa on four databases", "whole",
        _PYIQA + "FR_benchmark_results.csv",
        cells("srocc", _FR_FOUR, {
            "psnr": (0.8087, 0.8730, 0.5245, 0.6869), "ssim": (0.8367, 0.9103, 0.6242, 0.6269),
            "fsimc": (0.9309, 0.9646, 0.8840, 0.8509), "vif": (0.9194, 0.9636, 0.7491, 0.6770),
            "lpips": (0.9233, 0.9235, 0.7151, 0.7445), "lpips_vgg": (0.8830, 0.9319, 0.6536, 0.6696),
            "dists_full_size": (0.9296, 0.9477, 0.6648, 0.7077), "pieapp": (0.8968, 0.9182, 0.7971, 0.8438)})
        + cells("krocc", _FR_FOUR, {
            "psnr": (0.5989, 0.6801, 0.3696, 0.4958), "ssim": (0.6323, 0.7309, 0.4521, 0.4550),
            "fsimc": (0.7683, 0.8366, 0.6991, 0.6665), "vif": (0.7532, 0.8282, 0.5861, 0.5148),
            "lpips": (0.7499, 0.7507, 0.5221, 0.5477), "lpips_vgg": (0.6968, 0.7646, 0.4822, 0.4970),
            "dists_full_size": (0.7644, 0.7927, 0.4861, 0.5212), "pieapp": (0.7109, 0.7491, 0.6089, 0.6571)}),
        note="Their PLCC is without a mapping and not compared. Their MS-SSIM is a sum, and stands for no row here."),
    PublishedTable(
        "chen2022iqapytorch", "no_reference", "no-reference systems of pyiqa as released", "whole",
        _PYIQA + "NR_benchmark_results.csv",
        cells("srocc", "livec tid2013 spaq", {
            "brisque_live": (0.3128, 0.3672, 0.5259), "niqe_live": (0.4505, 0.3121, 0.6929),
            "ilniqe_authors": (0.4381, 0.4870, 0.7190)})
        + cells("krocc", "livec tid2013 spaq", {
            "brisque_live": (0.2113, 0.2574, 0.3660), "niqe_live": (0.3069, 0.2124, 0.4928),
            "ilniqe_authors": (0.2972, 0.3442, 0.5137)}),
        note="Which part of KonIQ-10k they tested is not stated; it is left out."),
    PublishedTable(
        "kastryulin2022piq", "benchmark", "full-reference systems of piq on two databases", "whole", _PIQ,
        cells("srocc", "tid2013 kadid10k", {
            "psnr": (0.6869, 0.6757), "vifp": (0.6102, 0.6500), "fsim": (0.8015, 0.8294), "fsimc": (0.8509, 0.8537),
            "gmsd": (0.8038, 0.8474), "vsi": (0.8949, 0.8780), "mdsi": (0.8899, 0.8853), "lpips_vgg": (0.6696, 0.7201),
            "dists_full_size": (0.7077, 0.8137), "perceptual_loss_relu3_3": (0.7049, 0.7237),
            "style_loss": (0.5384, 0.6470)})
        + cells("krocc", "tid2013 kadid10k", {
            "psnr": (0.4958, 0.4876), "vifp": (0.4579, 0.4770), "fsim": (0.6289, 0.6390), "fsimc": (0.6665, 0.6650),
            "gmsd": (0.6334, 0.6640), "vsi": (0.7159, 0.6899), "mdsi": (0.7123, 0.7023), "lpips_vgg": (0.4970, 0.5313),
            "dists_full_size": (0.5212, 0.6254), "perceptual_loss_relu3_3": (0.5173, 0.5326),
            "style_loss": (0.3720, 0.4646)}),
        note="Their SSIM and MS-SSIM are of RGB channels, their PieAPP of RGB instead of BGR; they stand for no row here."),
    PublishedTable(
        "guo2019iwssim", "readme", "IW-SSIM on three databases", "whole",
        "README of github.com/Jack-guo-xy/Python-IW-SSIM: the authors' MATLAB code",
        cells("srocc", "live_r2 tid2013 live_md", {"iw_ssim": (0.9567, 0.7779, 0.8836)})
        + cells("plcc", "live_r2 tid2013 live_md", {"iw_ssim": (0.9522, 0.8319, 0.9109)})),
    PublishedTable(
        "ponomarenko2015tid2013", "readme", "the metrics of the release TID2013", "whole", "readme of the release",
        cells("srocc", "tid2013", {
            "fsimc": (0.851,), "fsim_studio": (0.801,), "ms_ssim_mux_studio": (0.787,), "psnr": (0.687,),
            "psnr_hvs_studio": (0.654,), "psnr_y": (0.640,), "ssim_studio": (0.637,), "psnr_hvs_m_studio": (0.625,),
            "vifp_studio": (0.608,)})
        + cells("krocc", "tid2013", {
            "fsimc": (0.667,), "fsim_studio": (0.630,), "ms_ssim_mux_studio": (0.608,), "psnr": (0.496,),
            "psnr_hvs_studio": (0.508,), "psnr_y": (0.470,), "ssim_studio": (0.464,), "psnr_hvs_m_studio": (0.482,),
            "vifp_studio": (0.457,)})),
    PublishedTable(
        "zhang2018lpips", "table5", "agreement with people on patches", "pairs", "table 5 of the paper",
        cells("2afc", _FAMILIES, {
            "fsimc": (61.4, 78.6, 68.1, 59.5, 57.3, 57.7, 63.8),
            "lpips_squeeze_cosine": (73.3, 82.6, 70.1, 60.1, 63.6, 62.0, 68.6),
            "lpips_cosine": (70.6, 83.1, 71.7, 60.7, 65.0, 62.7, 68.9),
            "lpips_vgg_cosine": (70.1, 81.3, 69.0, 59.0, 60.2, 62.1, 67.0),
            "lpips_squeeze": (76.1, 83.5, 71.1, 60.8, 65.3, 63.2, 70.0),
            "lpips": (73.9, 83.4, 71.5, 61.2, 65.3, 63.2, 69.8),
            "lpips_vgg": (76.0, 82.8, 70.5, 60.5, 62.5, 63.0, 69.2)}, database="bapps", per_cent=True),
        note="'all' is the mean of the six families. Our heads and input scaling are those of the later version 0.1."),
    PublishedTable(
        "ding2020dists", "tid2013", "DISTS and others on TID2013", "whole", "the paper as quoted in the " + _PIQ,
        cells("srocc", "tid2013", {"lpips_vgg": (0.670,), "pieapp": (0.875,), "dists": (0.830,)})
        + cells("krocc", "tid2013", {"lpips_vgg": (0.497,), "pieapp": (0.710,), "dists": (0.639,)})),
)


def of_paper(paper: str) -> list[PublishedTable]:
    """Returns the tables of a paper, by its key, or by that key without author and year ("hyperiqa").

    Raises:
        ValueError: there are none; with the papers that have some.
    """
    found = [table for table in TABLES if paper in (table.paper, short_name(table.paper))]
    if not found:
        known = ", ".join(dict.fromkeys(short_name(table.paper) for table in TABLES))
        raise ValueError(f"Expected a paper with tables ({known}), got {paper!r}.")
    return found


def find_table(paper: str, name: str) -> PublishedTable:
    """Returns a table of a paper by its name; ValueError with the names that are known otherwise."""
    tables = {table.name: table for table in of_paper(paper)}
    if name not in tables:
        raise ValueError(f"Expected a table of {paper} ({', '.join(tables)}), got {name!r}.")
    return tables[name]


def short_name(paper: str) -> str:
    """Returns the key of a paper without author and year."""
    return re.sub(r"^[a-z]+\d{4}", "", paper)
