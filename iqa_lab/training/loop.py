"""Trains a network on a database with human judgements; a killed run goes on where it stopped, to the same result.

One folder per run (``iqa_lab.training.runs``), with ``history.csv`` (a line per epoch), ``checkpoint.pt`` (to resume)
and ``weights.pt`` (of the best epoch on the validation part). The test part is looked at once, at the end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from iqa_lab.databases import Database, quality
from iqa_lab.evaluation.splits import PARTS
from iqa_lab.training.crops import load_images
from iqa_lab.training.patches import load_patches
from iqa_lab.training.preferences import load_preferences
from iqa_lab.training.recipes import Recipe
from iqa_lab.training.runs import describe_run, open_run, split_parts, write_results, write_whole

OPTIMISERS = {"adam": torch.optim.Adam, "nadam": torch.optim.NAdam}
#: How the samples of a part are made, by the recipe's ``samples``.
LOADERS = {"patches": load_patches, "crops": load_images, "preferences": load_preferences}


class Samples(Protocol):
    """The images and judgements of one part of a database, as a recipe wants them.

    ``criterion`` names what :meth:`validate` returns; ``targets`` are opinion scores, or None where people compared.
    """

    criterion: str
    targets: np.ndarray | None

    def batches(self, recipe: Recipe, random: np.random.Generator):
        """Yields the arguments of ``model.loss`` of one epoch: images as 8-bit tensors, targets as float64."""

    def validate(self, model: nn.Module) -> float:
        """Returns how well the model agrees with people, higher is better."""

    def scores(self, model: nn.Module) -> np.ndarray:
        """Returns the model's score of each image."""


def train(model: nn.Module, database: Database, recipe: Recipe, folder: str | Path, *, progress: bool = True) -> dict:
    """Returns the report of a training run, after doing what of it is not yet done in ``folder``.

    The epoch is chosen on the validation part alone. Each epoch starts its random numbers from ``recipe.seed`` and its
    own number, so a run that was killed and resumed ends with the same weights as one that was not (bit for bit on one
    processor with one number of threads).

    Args:
        model: untrained, on the device where it shall be trained, with ``loss(...)`` of what the recipe's samples give;
            with ``patch_size``; with ``rescale_output(mean, scale)`` if it learns opinion scores, and with
            ``targets_from_0_to_1 = True`` if it cannot learn standardised ones; and, if it has parameters that must keep
            a sign, with ``project()``, called after each step. It ends in evaluation mode with the weights of the best
            epoch.
        database: with human scores, or with human comparisons for a recipe of preferences.
        recipe: a row of ``RECIPES``, or a changed copy.
        folder: where the run is kept.
        progress: show progress bars.

    Raises:
        ValueError: no human judgements, too few contents, an unreadable image, or a folder with another run.
    """
    folder = Path(folder)
    if recipe.samples != "preferences":
        quality(database, database.index["mos"])  # raises where there are no human scores
    parts = split_parts(database, recipe.seed)
    open_run(folder, describe_run(model, database, recipe), database, parts)
    if not (folder / "report.json").is_file():
        sets = {part: LOADERS[recipe.samples](database, np.flatnonzero(parts == part), model.patch_size,
                                              progress=progress) for part in PARTS}
        run_epochs(model, sets, recipe, folder, progress=progress)
        history, criterion = pd.read_csv(folder / "history.csv"), f"validation_{sets['test'].criterion}"
        best = history.loc[history[criterion].idxmax()]
        facts = {"best_epoch": int(best["epoch"]), criterion: float(best[criterion])}
        if recipe.samples == "preferences":
            facts["test_" + sets["test"].criterion] = sets["test"].validate(model)
        write_results(folder, database, parts, sets["test"].scores(model), facts,
                      higher_is_better=model.higher_is_better if recipe.samples == "preferences" else None)
    model.load_state_dict(torch.load(folder / "weights.pt", map_location="cpu", weights_only=True))
    model.eval()
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def run_epochs(model: nn.Module, sets: dict[str, Samples], recipe: Recipe, folder: Path, *, progress: bool) -> None:
    """Trains from the checkpoint on, if there is one, and leaves the best epoch's weights in weights.pt and the model."""
    targets, criterion = sets["train"].targets, f"validation_{sets['validation'].criterion}"
    mean, scale = target_scaling(model, targets)
    optimiser = OPTIMISERS[recipe.optimiser]([p for p in model.parameters() if p.requires_grad], recipe.learning_rate,
                                             betas=recipe.betas, weight_decay=recipe.weight_decay)
    history, best = load_checkpoint(folder / "checkpoint.pt", model, optimiser)
    for epoch in tqdm(range(len(history), recipe.epochs), initial=len(history), total=recipe.epochs, unit="epoch",
                      desc="training", disable=not progress):
        loss = run_epoch(model, optimiser, sets["train"], (mean, scale), recipe, epoch)
        reached = sets["validation"].validate(model)
        history.append({"epoch": epoch + 1, "loss": loss, criterion: reached})
        if reached == max(row[criterion] for row in history):
            best = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
        state = {"history": history, "best": best, "model": model.state_dict(), "optimiser": optimiser.state_dict()}
        write_whole(folder / "checkpoint.pt", lambda path: torch.save(state, path))
        write_whole(folder / "history.csv", lambda path: pd.DataFrame(history).to_csv(path, index=False))
    model.load_state_dict(best)
    if targets is not None:
        model.rescale_output(mean, scale)
    write_whole(folder / "weights.pt", lambda path: torch.save(model.state_dict(), path))


def target_scaling(model: nn.Module, targets: np.ndarray | None) -> tuple[float, float]:
    """Returns the mean and the scale by which the network's targets are (target - mean) / scale; 0 and 1 without targets."""
    if targets is None:
        return 0.0, 1.0
    if getattr(model, "targets_from_0_to_1", False):
        return targets.min(), np.ptp(targets)
    return targets.mean(), targets.std()


def run_epoch(model: nn.Module, optimiser: torch.optim.Optimizer, samples: Samples, scaling: tuple[float, float],
              recipe: Recipe, epoch: int) -> float:
    """Returns the mean loss of one epoch over the training part.

    Args:
        model, optimiser, samples, recipe: as above.
        scaling: mean and scale of the targets; the network learns (target - mean) / scale.
        epoch: from 0; decides the random numbers, with the recipe's seed, and the learning rate.

    Raises:
        ValueError: an epoch that the recipe does not have.
    """
    if not 0 <= epoch < recipe.epochs:
        raise ValueError(f"Expected an epoch from 0 to {recipe.epochs - 1}, as the recipe has them, got {epoch}.")
    device = next(model.parameters()).device
    random = np.random.default_rng([recipe.seed, epoch])
    for group in optimiser.param_groups:
        group["lr"] = recipe.learning_rate * min(1, (recipe.epochs - epoch) / (recipe.decay_epochs + 1))
    losses = []
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(int(random.integers(2**62)))  # dropout
        for batch in samples.batches(recipe, random):
            loss = model.loss(*(to_device(part, device, scaling) for part in batch))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if hasattr(model, "project"):
                model.project()
            losses.append(loss.detach())
    return torch.stack(losses).mean().item()


def to_device(part: torch.Tensor, device: torch.device, scaling: tuple[float, float]) -> torch.Tensor:
    """Returns 8-bit images as float in [0, 1], and targets on the scale that the network learns, as float32."""
    if part.dtype == torch.uint8:
        return part.to(device).float() / 255
    mean, scale = scaling
    return ((part - mean) / scale).to(device, torch.float32)


def load_checkpoint(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[list[dict], dict | None]:
    """Puts the checkpoint's state into model and optimiser; returns the history and the best epoch's weights so far."""
    if not path.is_file():
        return [], None
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return state["history"], state["best"]
