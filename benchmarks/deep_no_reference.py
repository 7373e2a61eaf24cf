"""Measures deep no-reference systems against pyiqa's classes with the same weights: results/deep_no_reference.csv.

    python benchmarks/deep_no_reference.py [--metric NAME ...] [--mode MODE ...] [--quick] [--device cuda]

README.md explains the columns and what is like for like. Nothing is read or downloaded: both networks of a system get the
same random weights, and scores, losses and gradients have to agree before anything is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from unittest import mock

import torch
import torch.nn.functional as F
from torch import nn

import measure
import run
from iqa_lab.full_reference import wadiqam_fr
from iqa_lab.no_reference import cnniqa, hyperiqa
from iqa_lab.no_reference.cnniqa import CNNIQA
from iqa_lab.no_reference.dbcnn import DBCNN
from iqa_lab.no_reference.hyperiqa import HyperIQA
from iqa_lab.no_reference.nima import DROPOUT, N_BINS, NIMA, R_TRAINING, emd
from iqa_lab.no_reference.wadiqam_nr import WaDIQaMNR
from iqa_lab.ops.color import rgb_to_luma_pil
from photographs import image_pairs

PYIQA = "pyiqa"
SCORING, TRAINING = MODES = ("scoring", "training step")
BATCHES = (1, 8)  # images
SECONDS = {"cpu": 3.0, "cuda": 1.0}  # per library and case
QUICK_BATCH, QUICK_SECONDS = 2, 0.05
PHOTOGRAPHS = 4  # whose scores and gradients are compared
TOLERANCE = 1e-5  # in float64: of losses and gradients, relative, and of scores, in their standard deviation
RATE = 1e-6  # of stochastic gradient descent: so low that repeated steps leave the work as it is
COLUMNS = (*run.COMPARISON_COLUMNS, "images_per_second", "weights", "difference")

Call = Callable[[torch.Tensor], torch.Tensor]


class Contestant(NamedTuple):
    """One library's network, how it scores images (N, 3, H, W), and its training loss for them."""

    network: nn.Module
    scores: Call
    loss: Call


class System(NamedTuple):
    """One row of the comparison: both contestants, what they get, and height and width of images for each mode."""

    ours: Callable[[], Contestant]
    theirs: Callable[[nn.Module], Contestant]  # from our network
    weights: str
    sizes: tuple[tuple[int, int], tuple[int, int]]
    quick_size: tuple[int, int]


def main() -> None:
    """Measures what the command line asks for, prints it and writes CSV and machine description."""
    run.compare_networks("Time and memory of deep no-reference systems against pyiqa's.", SYSTEMS, MODES, "two small images",
                         "deep_no_reference", COLUMNS, (PYIQA, "timm", "torchvision"), comparison_rows)


def comparison_rows(metrics: tuple[str, ...], modes: tuple[str, ...], quick: bool, device: str) -> Iterator[dict]:
    """Yields one row per metric, mode, batch and library; prints each case when it is done."""
    for metric in metrics:
        system, contestants = SYSTEMS[metric], create_contestants(metric, device)
        for mode in modes:
            functions, differences = mode_functions(contestants, mode, system.quick_size, device)
            height, width = system.quick_size if quick else system.sizes[MODES.index(mode)]
            for batch in (QUICK_BATCH,) if quick else BATCHES:
                images = (image_pairs(batch, height, width)[0].to(device),)
                seconds = QUICK_SECONDS if quick else SECONDS[images[0].device.type]
                rows = run.measure_case(functions, metric, "forward", images, seconds)
                rows = [row | {"mode": mode, "weights": system.weights, "difference": differences.get(row["library"]),
                               "images_per_second": 1000 / row["median_ms"] if "median_ms" in row else None} for row in rows]
                run.print_case(rows)
                yield from rows


def create_contestants(metric: str, device: str) -> dict[str, Contestant | str]:
    """Returns our system and pyiqa's with the same weights."""
    torch.manual_seed(0)
    system = SYSTEMS[metric]
    ours = system.ours()
    settle_batch_statistics(ours, image_pairs(PHOTOGRAPHS, *system.quick_size)[0])
    installed = measure.installed_version(PYIQA) is not None
    contestants = {run.OURS: ours, PYIQA: system.theirs(ours.network) if installed else "not installed"}
    for contestant in contestants.values():
        if not isinstance(contestant, str):
            contestant.network.requires_grad_(True).to(device)
    return contestants


def settle_batch_statistics(contestant: Contestant, images: torch.Tensor) -> None:
    """Gives the batch normalisations the statistics of the images, so that no activation of a random network explodes."""
    norms = [part for part in contestant.network.modules() if isinstance(part, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    contestant.network.requires_grad_(True).train()
    with torch.no_grad():
        contestant.scores(images)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum


def mode_functions(contestants: dict[str, Contestant | str], mode: str, size: tuple[int, int],
                   device: str) -> tuple[run.Contestants, dict[str, float]]:
    """Returns what is measured of each library, a function of images, and how far its numbers are from ours."""
    images = image_pairs(PHOTOGRAPHS, *size)[0].to(device, torch.float64)
    compared = compared_scores if mode == SCORING else compared_gradients
    functions: run.Contestants = dict(contestants)
    numbers, differences = {}, {}
    for library, contestant in contestants.items():
        if isinstance(contestant, str):
            continue
        contestant.network.double().train(mode == TRAINING)
        numbers[library] = compared(contestant, images)
        contestant.network.float()
        differences[library] = (numbers[library] - numbers[run.OURS]).abs().max().item()
        functions[library] = contestant.scores if mode == SCORING else TrainingStep(contestant)
        if not differences[library] < TOLERANCE:
            functions[library] = f"failed: {mode} differs by {differences[library]:.1e}"
    return functions, differences


def compared_scores(contestant: Contestant, images: torch.Tensor) -> torch.Tensor:
    """Returns the scores in units of their standard deviation."""
    with torch.no_grad():
        scores = contestant.scores(images)
    return scores / scores.std()


def compared_gradients(contestant: Contestant, images: torch.Tensor) -> torch.Tensor:
    """Returns the logarithms of the loss and of the length of all gradients, with the same dropout in every library."""
    torch.manual_seed(0)
    loss = contestant.loss(images)
    gradients = torch.autograd.grad(loss, list(contestant.network.parameters()))
    return torch.stack((loss.detach(), sum(gradient.square().sum() for gradient in gradients).sqrt())).log()


class TrainingStep:
    """Forward pass in training mode, gradients of all parameters, and one step of the optimiser; returns the loss."""

    def __init__(self, contestant: Contestant) -> None:
        self.contestant, self.optimiser = contestant, torch.optim.SGD(contestant.network.parameters(), RATE)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            loss = self.contestant.loss(images)
            loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        return loss.detach()


def our_cnniqa() -> Contestant:
    """Returns CNNIQA; an image's grid of patches is learned from."""
    def loss(images: torch.Tensor) -> torch.Tensor:
        patches = cnniqa.grid_patches(images)
        return network.loss(patches.flatten(0, 1), opinions(images).repeat_interleave(patches.shape[1]))

    network = CNNIQA(parameters="random")
    return Contestant(network, network, loss)


def pyiqa_cnniqa(ours: nn.Module) -> Contestant:
    """Returns pyiqa's network for gray patches, normalised as ours; its own first layer takes whole RGB images."""
    from pyiqa.archs import cnniqa_arch

    def patch_scores(images: torch.Tensor) -> torch.Tensor:
        patches = cnniqa.grid_patches(images)
        gray = cnniqa.local_normalisation(255 * rgb_to_luma_pil(patches.flatten(0, 1)), ours.C)
        return network(gray).view(patches.shape[:2])

    def loss(images: torch.Tensor) -> torch.Tensor:
        scores = patch_scores(images)
        return F.l1_loss(scores, opinions(images)[:, None].expand_as(scores))

    network = cnniqa_arch.CNNIQA(pretrained=None)
    network.conv1 = nn.Conv2d(1, cnniqa.KERNELS, cnniqa.KERNEL_SIDE)
    network.load_state_dict(ours.state_dict())
    return Contestant(network, lambda images: patch_scores(images).mean(1), loss)


def our_wadiqam() -> Contestant:
    """Returns WaDIQaM-NR for images in [0, 1], as pyiqa's; an image's grid of patches is learned from."""
    network = WaDIQaMNR(parameters="random", peak=1)
    nn.init.normal_(network.importance.fc2.weight)  # else all patches count the same
    return Contestant(network, network, lambda images: network.loss(wadiqam_fr.grid_patches(images), opinions(images)))


def pyiqa_wadiqam(ours: nn.Module) -> Contestant:
    """Returns pyiqa's class with our epsilon, which learns from the grid as well; its own training has random patches."""
    from pyiqa.archs import wadiqam_arch

    network = wadiqam_arch.WaDIQaM(metric_type="NR", pretrained=False, eps=wadiqam_fr.EPSILON)
    network.get_patches = network._get_nonoverlap_patches
    names = {layer: others[-1] for layer, others in wadiqam_fr.LAYER_NAMES.items()}
    network.load_state_dict(renamed(ours.state_dict(), names))
    return Contestant(network, lambda images: network(images).flatten(),
                      lambda images: F.l1_loss(network(images).flatten(), opinions(images)))


def our_nima() -> Contestant:
    """Returns NIMA with averaged maps, as pyiqa's."""
    network = NIMA(layer="pool5", weights="random", parameters="random")
    return Contestant(network, network, lambda images: network.loss(images[:, None], ratings(images)))


def pyiqa_nima(ours: nn.Module) -> Contestant:
    """Returns pyiqa's class with our dropout, which is 0 there."""
    from pyiqa.archs import nima_arch

    def loss(images: torch.Tensor) -> torch.Tensor:
        return emd(network(images, return_mos=False, return_dist=True), ratings(images), r=R_TRAINING).mean()

    with without_downloads():
        network = nima_arch.NIMA(dropout_rate=DROPOUT, pretrained=False)
    load_in_order(network, ours)
    return Contestant(network, lambda images: network(images).flatten(), loss)


def our_dbcnn() -> Contestant:
    """Returns DB-CNN."""
    network = DBCNN(weights="random", scnn="random", parameters="random")
    return Contestant(network, network, lambda images: network.loss(images[:, None], opinions(images)))


def pyiqa_dbcnn(ours: nn.Module) -> Contestant:
    """Returns pyiqa's class."""
    from pyiqa.archs import dbcnn_arch

    with without_downloads(), mock.patch.object(dbcnn_arch, "load_pretrained_network"):
        network = dbcnn_arch.DBCNN(pretrained=False)
    load_in_order(network, ours)
    return Contestant(network, lambda images: network(images).flatten(),
                      lambda images: F.mse_loss(network(images).flatten(), opinions(images)))


def our_hyperiqa() -> Contestant:
    """Returns HyperIQA with its grid of 25 crops."""
    network = HyperIQA(weights="random", parameters="random")
    return Contestant(network, network, lambda images: network.loss(images[:, None], opinions(images)))


def pyiqa_hyperiqa(ours: nn.Module) -> Contestant:
    """Returns pyiqa's class with our crops, all of them in one batch; its own grid ends before the border."""
    from pyiqa.archs import hypernet_arch

    def scores(images: torch.Tensor) -> torch.Tensor:
        crops = hyperiqa.grid_crops(images, ours.crops_per_side)
        return network.forward_patch(crops.flatten(0, 1)).view(crops.shape[:2]).mean(1)

    with without_downloads():
        network = hypernet_arch.HyperNet(pretrained=False)
    names = {layer: others[-1] for layer, others in hyperiqa.LAYER_NAMES.items()}
    state, shapes = ours.state_dict(), network.state_dict()
    for joined, (_, parts) in hyperiqa.JOINED_LAYERS.items():
        for kind in ("weight", "bias"):
            lengths = [len(shapes[f"{part}.{kind}"]) for part in parts]
            state |= zip((f"{part}.{kind}" for part in parts), state.pop(f"{joined}.{kind}").split(lengths), strict=True)
    state = {name.replace("backbone.network", "base_model"): value for name, value in renamed(state, names).items()}
    network.load_state_dict(state)
    return Contestant(network, scores, lambda images: F.l1_loss(network(images).flatten(), opinions(images)))


def load_in_order(network: nn.Module, ours: nn.Module) -> None:
    """Gives a network our weights; both have the same tensors in the same order, ours ``bins`` as well."""
    own = [value for name, value in ours.state_dict().items() if name != "bins"]
    network.load_state_dict(dict(zip(network.state_dict(), own, strict=True)))


def renamed(state: dict[str, torch.Tensor], names: dict[str, str]) -> dict[str, torch.Tensor]:
    """Returns a state whose layers have other names where ``names`` has one."""
    keys = ((name, *name.rpartition(".")[::2]) for name in state)
    return {f"{names.get(layer, layer)}.{kind}": state[name] for name, layer, kind in keys}


@contextmanager
def without_downloads() -> Iterator[None]:
    """Lets timm and torchvision create networks without weights where pyiqa asks for trained ones."""
    import timm
    from torchvision import models

    create, vgg16 = timm.create_model, models.vgg16
    with mock.patch("timm.create_model", lambda *args, **options: create(*args, **options | {"pretrained": False})), \
            mock.patch("torchvision.models.vgg16", lambda **_: vgg16()):
        yield


def opinions(images: torch.Tensor) -> torch.Tensor:
    """Returns a made-up opinion score for each image, shape (N,)."""
    return torch.linspace(0.2, 0.8, len(images), dtype=images.dtype, device=images.device)


def ratings(images: torch.Tensor) -> torch.Tensor:
    """Returns made-up shares of ratings for each image, shape (N, 10)."""
    return (-(torch.linspace(0, 1, N_BINS, device=images.device) - opinions(images)[:, None]).square() / 0.05).softmax(1)


SYSTEMS = {
    "cnniqa": System(our_cnniqa, pyiqa_cnniqa, "random; one gray channel", ((384, 512), (128, 256)), (64, 96)),
    # Sides that are no multiples of 32: pyiqa leaves out the last row and column of patches else.
    "wadiqam_nr": System(our_wadiqam, pyiqa_wadiqam, "random", ((400, 528), (144, 272)), (80, 112)),
    "nima": System(our_nima, pyiqa_nima, "random VGG-16, averaged maps", ((224, 224), (224, 224)), (224, 224)),
    "dbcnn": System(our_dbcnn, pyiqa_dbcnn, "random VGG-16, random S-CNN", ((384, 512), (224, 224)), (96, 96)),
    "hyperiqa": System(our_hyperiqa, pyiqa_hyperiqa, "random ResNet-50", ((384, 512), (224, 224)), (224, 224)),
}


if __name__ == "__main__":
    main()
