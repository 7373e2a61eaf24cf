"""The libraries to compare with: for each metric a function that is called as ours is and returns one score per image.

Every function here gets the same configuration as ours (README.md, "Like for like"). Libraries are imported when they
are asked for, so that an absent one costs nothing.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from iqa_lab import create_metric
from iqa_lab.backbones.weights import find_weights

Call = Callable[..., torch.Tensor]


def piq_call(metric: str) -> Call:
    """Returns piq's function. BRISQUE gets the support vectors of our row of that name instead of a download."""
    import piq

    if metric.startswith("brisque"):
        coefficients, vectors = _support_vectors(metric)
        # It reads its file in every call and transposes what it read in place: a copy replaces the reading.
        sys.modules["piq.brisque"].load_url = lambda url, map_location: (coefficients, vectors.clone())
    return {
        "psnr": partial(piq.psnr, reduction="none"),
        "ssim": partial(piq.ssim, downsample=False, reduction="none"),
        "ms_ssim": partial(piq.multi_scale_ssim, reduction="none"),
        "gmsd": partial(piq.gmsd, reduction="none"),
        "mdsi": partial(piq.mdsi, reduction="none"),
        "iw_ssim": partial(piq.information_weighted_ssim, reduction="none"),
        "fsimc": partial(piq.fsim, reduction="none"),
        "vsi": partial(piq.vsi, reduction="none"),
        "vifp": partial(piq.vif_p, reduction="none"),
        "brisque": partial(piq.brisque, reduction="none"),
    }[metric.removesuffix("_live")]


def piqa_call(metric: str) -> Call:
    """Returns piqa's module."""
    import piqa

    return getattr(piqa, {"fsimc": "FSIM"}.get(metric, metric.upper()))(reduction="none")


def torchmetrics_call(metric: str) -> Call:
    """Returns torchmetrics' function. SSIM and MS-SSIM mirror the border and average the same-size map."""
    from torchmetrics.functional import image

    return {
        "psnr": partial(image.peak_signal_noise_ratio, data_range=1.0, reduction="none", dim=(1, 2, 3)),
        "ssim": partial(image.structural_similarity_index_measure, data_range=1.0, reduction="none"),
        "ms_ssim": partial(image.multiscale_structural_similarity_index_measure, data_range=1.0, reduction="none"),
        "vifp": lambda distorted, reference: image.visual_information_fidelity(255 * distorted, 255 * reference,
                                                                               reduction="none"),
    }[metric]


def pytorch_msssim_call(metric: str) -> Call:
    """Returns pytorch-msssim's function."""
    import pytorch_msssim

    return partial(getattr(pytorch_msssim, metric), data_range=1.0, size_average=False)


def kornia_call(metric: str) -> Call:
    """Returns kornia's function. Its PSNR is one number for the batch; its SSIM is a map, averaged here."""
    from kornia.metrics import psnr, ssim

    def mean_ssim(distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        return ssim(distorted, reference, window_size=11, padding="valid").mean(dim=(1, 2, 3))

    return {"psnr": partial(psnr, max_val=1.0), "ssim": mean_ssim}[metric]


def scikit_image_call(metric: str) -> Call:
    """Returns scikit-image's function with Wang's setting, called image by image."""
    from skimage import metrics

    functions = {
        "psnr": partial(metrics.peak_signal_noise_ratio, data_range=1.0),
        "ssim": partial(metrics.structural_similarity, data_range=1.0, gaussian_weights=True, sigma=1.5,
                        use_sample_covariance=False, channel_axis=0),
    }
    function = functions[metric]

    def call(distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        pairs = zip(reference.numpy(), distorted.numpy(), strict=True)
        return torch.tensor([float(function(*pair)) for pair in pairs])

    return call


def pyiqa_call(metric: str) -> Call:
    """Returns pyiqa's module without its download and input-checking wrapper.

    BRISQUE and NIQE get the parameters of our row of that name, IL-NIQE the authors' file: pyiqa reads no other form.
    """
    from pyiqa.archs import brisque_arch, fsim_arch, gmsd_arch, niqe_arch, piqe_arch, psnr_arch, ssim_arch, vif_arch, vsi_arch

    modules = {"psnr": psnr_arch.PSNR, "ssim": ssim_arch.SSIM, "ms_ssim": ssim_arch.MS_SSIM, "gmsd": gmsd_arch.GMSD,
               "fsimc": fsim_arch.FSIM, "vsi": vsi_arch.VSI, "vif": vif_arch.VIF,
               "piqe": piqe_arch.PIQE, "brisque": brisque_arch.BRISQUE, "niqe": niqe_arch.NIQE,
               "ilniqe": niqe_arch.ILNIQE}
    family = metric.removesuffix("_live").removesuffix("_authors")
    if family == "ilniqe":
        return modules[family](pretrained_model_path=str(find_weights("ilniqe_authors")))
    if family not in ("brisque", "niqe"):
        return modules[family]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "parameters.mat"
        _write_brisque(path, metric) if family == "brisque" else _write_niqe(path, metric)
        return modules[family](pretrained_model_path=str(path))


def pypiqe_call(metric: str) -> Call:
    """Returns pypiqe's function, called image by image on 8-bit arrays."""
    from pypiqe import piqe

    return lambda images: torch.tensor([piqe(image)[0] for image in _as_bytes(images)])


#: library, under the name of its distribution -> metrics it has in our configuration, and how to get one
PEERS: dict[str, tuple[tuple[str, ...], Callable[[str], Call]]] = {
    "piq": (("psnr", "ssim", "ms_ssim", "gmsd", "mdsi", "iw_ssim", "fsimc", "vsi", "vifp", "brisque",
             "brisque_live"), piq_call),
    "piqa": (("gmsd", "mdsi", "fsimc", "vsi"), piqa_call),
    "torchmetrics": (("psnr", "ssim", "ms_ssim", "vifp"), torchmetrics_call),
    "kornia": (("psnr", "ssim"), kornia_call),
    "pytorch-msssim": (("ssim", "ms_ssim"), pytorch_msssim_call),
    "scikit-image": (("psnr", "ssim"), scikit_image_call),
    "pyiqa": (("psnr", "ssim", "ms_ssim", "gmsd", "fsimc", "vsi", "vif", "brisque", "niqe", "ilniqe", "piqe",
               "brisque_live", "niqe_live", "ilniqe_authors"), pyiqa_call),
    "pypiqe": (("piqe",), pypiqe_call),
}
FORWARD_ONLY = {"scikit-image", "pypiqe"}  # NumPy: no gradients


def peers_of(metric: str, backward: bool) -> list[str]:
    """Returns the libraries that have the metric, with gradients if ``backward``."""
    return [name for name, (metrics, _) in PEERS.items()
            if metric in metrics and not (backward and name in FORWARD_ONLY)]


def _as_bytes(images: torch.Tensor) -> list:
    """Returns the images as 8-bit arrays (H, W, 3)."""
    return list((255 * images + 0.5).byte().permute(0, 2, 3, 1).numpy())


def _support_vectors(metric: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns coefficients (S,) and support vectors (S, 36) of our row, in float32 as the peers have theirs."""
    ours: nn.Module = create_metric(metric).regressor
    return ours.coefficients.float(), ours.support_vectors.float()


def _write_brisque(path: Path, metric: str) -> None:
    torch.save(_support_vectors(metric), path)


def _write_niqe(path: Path, metric: str) -> None:
    from scipy.io import savemat

    ours = create_metric(metric)
    savemat(path, {"mu_prisparam": ours.mean.numpy()[None], "cov_prisparam": ours.covariance.numpy()})
