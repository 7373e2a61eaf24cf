"""Measures deep full-reference systems against other libraries that get the same weights: results/deep.csv.

    IQA_LAB_DATA=FOLDER python benchmarks/deep.py [--metric NAME ...] [--mode MODE ...] [--quick] [--device cuda]

README.md explains the columns and what is like for like. Nothing is downloaded: the libraries get our network's weights
in place of what they would fetch, and their scores have to agree with ours before anything is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple
from unittest import mock

import torch
from torch import nn

import measure
import run
from iqa_lab import create_metric
from iqa_lab.backbones.features import FeatureExtractor
from iqa_lab.backbones.networks import find_backbone
from iqa_lab.backbones.weights import find_weights
from iqa_lab.full_reference.pieapp import PATCH
from photographs import image_pairs, image_versions

Call = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class System(NamedTuple):
    """One row of the registry: how ours is created, what its weights are, and the batches at each of the two sizes."""

    options: dict
    weights: str
    batches: tuple[tuple[int, ...], tuple[int, ...]] = ((1, 8), (1, 8))


HEAVY = ((1, 8), (1,))  # VGG-16 and PieAPP take up to 10 s for 8 pairs of the larger size
SYSTEMS = {
    "lpips": System({}, "torchvision's AlexNet, the authors' heads"),
    "lpips_squeeze": System({}, "torchvision's SqueezeNet, the authors' heads"),
    "dists_full_size": System({"weights": "random"}, "random VGG-16, the authors' alpha and beta", HEAVY),
    "pieapp": System({"parameters": "random", "stride": PATCH}, "random", HEAVY),
    "perceptual_loss": System({"weights": "random"}, "random VGG-16", HEAVY),
}
VERSIONS = 20  # of one reference, one after the other
KEPT, KEPT_METRICS = f"{VERSIONS} versions", ("lpips", "lpips_squeeze", "dists_full_size")
MODES = (*run.MODES, KEPT)
SIZES, SECONDS = ((256, 256), (384, 512)), 1.0  # height, width; seconds per library and case
QUICK_SIZE, QUICK_SECONDS = (128, 128), 0.05
TOLERANCE = 1e-3  # of scores, relative; float32 and slightly different epsilons stay far below
AGAIN = "iqa-lab, reference again"  # in the place of a library: ours without kept features
COLUMNS = (*run.COMPARISON_COLUMNS, "weights", "difference")


def main() -> None:
    """Measures what the command line asks for, prints it and writes CSV and machine description."""
    run.compare_networks("Time and memory of deep systems against other libraries.", SYSTEMS, MODES, "one small image", "deep",
                         COLUMNS, tuple(PEERS), comparison_rows)


def comparison_rows(metrics: tuple[str, ...], modes: tuple[str, ...], quick: bool, device: str) -> Iterator[dict]:
    """Yields one row per metric, mode, size, batch and library; prints each case when it is done."""
    for metric in metrics:
        contestants, differences = create_contestants(metric, device)
        for mode, pair in cases(metric, modes, quick):
            images = tuple(image.to(device) for image in pair)
            functions, called = (one_reference(contestants[run.OURS]), "forward") if mode == KEPT else (contestants, mode)
            rows = [row | {"mode": mode, "weights": SYSTEMS[metric].weights, "difference": differences.get(row["library"])}
                    for row in run.measure_case(functions, metric, called, images, QUICK_SECONDS if quick else SECONDS)]
            run.print_case(rows)
            yield from rows


def cases(metric: str, modes: tuple[str, ...], quick: bool) -> Iterator[tuple[str, tuple[torch.Tensor, torch.Tensor]]]:
    """Yields mode and images of each case of a system."""
    grid = [(QUICK_SIZE, (1,))] if quick else list(zip(SIZES, SYSTEMS[metric].batches, strict=True))
    for mode in modes:
        if mode == KEPT:
            yield from [(mode, image_versions(VERSIONS, *grid[0][0]))] if metric in KEPT_METRICS else []
        else:
            yield from ((mode, image_pairs(n, *size)) for size, batches in grid for n in batches)


def create_contestants(metric: str, device: str) -> tuple[run.Contestants, dict[str, float]]:
    """Returns our system and the peers' with its weights, and how far their scores are from ours (relative)."""
    torch.manual_seed(0)
    ours = create_metric(metric, device=device, **SYSTEMS[metric].options).requires_grad_(False).eval()
    pair = tuple(image.to(device) for image in image_pairs(2, *QUICK_SIZE))
    expected = exact_scores(ours, pair)
    contestants, differences = {run.OURS: ours}, {run.OURS: 0.0}
    for library in (name for name, (metrics, _) in PEERS.items() if metric in metrics):
        if measure.installed_version(library) is None:
            contestants[library] = "not installed"
            continue
        contestants[library] = PEERS[library][1](metric, ours)
        scores = exact_scores(contestants[library], pair)
        differences[library] = (scores / expected - 1).abs().max().item()
        if scores.shape != expected.shape or not differences[library] < TOLERANCE:
            contestants[library] = f"failed: scores differ by {differences[library]:.1e}"
    return contestants, differences


def exact_scores(function: Call, pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Returns the scores in full float32; a GPU's convolutions round to 10 bits else, in every library alike."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        return run.run_once(function, pair, "forward")


def one_reference(ours: nn.Module) -> run.Contestants:
    """Returns our functions of a list of images and their one reference: with its features kept, and without."""
    return {run.OURS: partial(with_kept_features, ours), AGAIN: partial(one_by_one, ours)}


def with_kept_features(metric: nn.Module, images: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Returns the scores of images (N, C, H, W) whose one reference (1, C, H, W) goes through the network once."""
    kept = metric.features(reference)
    return torch.cat([metric.distance(metric.features(image), kept) for image in images.split(1)])


def one_by_one(metric: nn.Module, images: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Returns the scores of images (N, C, H, W) whose one reference (1, C, H, W) goes through the network each time."""
    return torch.cat([metric(image, reference) for image in images.split(1)])


def lpips_call(metric: str, ours: nn.Module) -> Call:
    """Returns the authors' package, with the heads that it ships."""
    import lpips

    with instead_of_downloads(**torchvision_state(ours.network)):
        module = frozen_beside(ours, lpips.LPIPS(net=ours.facts.official, verbose=False))
    return lambda distorted, reference: module(distorted, reference, normalize=True).flatten()


def piq_call(metric: str, ours: nn.Module) -> Call:
    """Returns piq's module: DISTS without its resizing, PieAPP with gradients, and its content loss up to our layer."""
    import piq

    if metric == "pieapp":
        state = ours.state_dict()
        state |= {"conv1.weight": state["conv1.weight"].flip(1),  # red comes first in piq
                  "ref_score_subtract.weight": state["ref_score_subtract.weight"].flatten()}
        with instead_of_downloads(PieAPP=state):
            return frozen_beside(ours, piq.PieAPP(reduction="none", stride=ours.stride, enable_grad=True))
    if metric == "perceptual_loss":
        # piq runs its whole VGG-16, whatever the layer; this one ends at relu2_2. It sums over channels where we average.
        network = nn.Sequential(*ours.network.network.values())
        layer, channels = str(len(network) - 1), network[-2].out_channels
        return frozen_beside(ours, piq.ContentLoss(network, layers=[layer], weights=[1 / channels], reduction="none"))
    total = ours.alpha.sum() + ours.beta.sum()
    weights = {name: getattr(ours, name).view(1, -1, 1, 1) / total for name in ("alpha", "beta")}
    with instead_of_downloads(**torchvision_state(ours.extractor), dists_weights=weights):
        module = frozen_beside(ours, piq.DISTS(reduction="none"))
    return lambda distorted, reference: 1 - piq.ContentLoss.forward(module, distorted, reference)


def torchmetrics_call(metric: str, ours: nn.Module) -> Call:
    """Returns what torchmetrics' classes call for each update, with a network that is made once."""
    from torchmetrics.functional.image import dists, lpips

    if metric == "dists_full_size":
        with instead_of_downloads(**torchvision_state(ours.extractor)):
            module = frozen_beside(ours, dists.DISTSNetwork())
        return lambda distorted, reference: module(distorted, reference, require_grad=distorted.requires_grad).view(-1)
    with instead_of_downloads(**torchvision_state(ours.network)):
        module = frozen_beside(ours, lpips._NoTrainLpips(net=ours.facts.official))
    return lambda distorted, reference: lpips._lpips_update(distorted, reference, module, normalize=True).view(-1)


def pyiqa_call(metric: str, ours: nn.Module) -> Call:
    """Returns pyiqa's module without its download and input-checking wrapper."""
    from pyiqa.archs import dists_arch, lpips_arch, pieapp_arch

    if metric == "pieapp":
        module = pieapp_arch.PieAPP(stride=ours.stride, pretrained=False)
        state = ours.state_dict()
        module.load_state_dict(state | {"ref_score_subtract.weight": state["ref_score_subtract.weight"].flatten()})
    elif metric == "dists_full_size":
        with instead_of_downloads(**torchvision_state(ours.extractor)):
            module = dists_arch.DISTS(pretrained_model_path=str(find_weights("dists_alpha_beta")))
    else:
        heads = str(find_weights(f"lpips_v0.1_{ours.facts.official}"))
        with instead_of_downloads(**torchvision_state(ours.network)):
            module = lpips_arch.LPIPS(net=ours.facts.official, pretrained_model_path=heads)
    module = frozen_beside(ours, module)
    return lambda distorted, reference: module(distorted, reference).flatten()


#: library, under the name of its distribution -> systems it has in our configuration, and how to get one with our weights
PEERS: dict[str, tuple[tuple[str, ...], Callable[[str, nn.Module], Call]]] = {
    "lpips": (("lpips", "lpips_squeeze"), lpips_call),
    "piq": (("dists_full_size", "pieapp", "perceptual_loss"), piq_call),
    "torchmetrics": (("lpips", "lpips_squeeze", "dists_full_size"), torchmetrics_call),
    "pyiqa": (("lpips", "lpips_squeeze", "dists_full_size", "pieapp"), pyiqa_call),
}


def frozen_beside(ours: nn.Module, module: nn.Module) -> nn.Module:
    """Returns the module without training, on the device of ours."""
    return module.requires_grad_(False).eval().to(next(ours.parameters()).device)


@contextmanager
def instead_of_downloads(**states: dict[str, torch.Tensor]) -> Iterator[None]:
    """Lets torchvision and torch.hub return a state whose name is a part of the address, instead of a download."""
    def find(url: str, *_: object, **__: object) -> dict[str, torch.Tensor]:
        return next(state for name, state in states.items() if name in url)

    name = "load_state_dict_from_url"
    with mock.patch(f"torch.hub.{name}", find), mock.patch(f"torchvision.models._api.{name}", find):
        yield


def torchvision_state(extractor: FeatureExtractor) -> dict[str, dict[str, torch.Tensor]]:
    """Returns, by backbone, its weights in torchvision's layout; layers that we do not have are 0 and take no memory."""
    from torchvision import models

    create = {"alexnet": models.alexnet, "squeezenet": models.squeezenet1_1, "vgg16": models.vgg16}[extractor.backbone]
    with torch.device("meta"):
        whole = create(weights=None).state_dict()
        names = {layer.name: layer.official for layer in find_backbone(extractor.backbone).layers()}
    ours = {f"{names[layer]}.{name}": value for layer, module in extractor.network.items()
            for name, value in module.state_dict().items()}
    return {extractor.backbone: {key: torch.zeros(()).expand(value.shape) for key, value in whole.items()} | ours}


if __name__ == "__main__":
    main()
