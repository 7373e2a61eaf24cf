"""Trains a network on a database; a killed run goes on where it stopped, to the same result.

One folder per run (``iqa_lab.training.runs``), with ``history.csv`` (a line per epoch), ``checkpoint.pt`` (to resume)
and ``weights.pt`` (of the best epoch on the validation part). The test part decides nothing; what choosing the epoch on it
would have claimed stands in the report. Under ``torchrun`` several processes share each step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from iqa_lab.databases import Database, quality
from iqa_lab.evaluation.splits import PARTS
from iqa_lab.training import processes
from iqa_lab.training.crops import apply_to_images, load_images, type_numbers
from iqa_lab.training.discriminable import load_discriminable
from iqa_lab.training.epoch import Samples, run_epoch
from iqa_lab.training.first_stage import MadeImages
from iqa_lab.training.patches import load_patches
from iqa_lab.training.preferences import load_preferences
from iqa_lab.training.recipes import Recipe
from iqa_lab.training.runs import describe_run, open_run, split_parts, write_report, write_results, write_whole

OPTIMISERS = {"adam": torch.optim.Adam, "nadam": torch.optim.NAdam,
              "sgd": lambda groups, lr, betas, **rest: torch.optim.SGD(groups, lr, momentum=betas[0], **rest)}


def train(model: nn.Module, database: Database, recipe: Recipe, folder: str | Path, *, parts: np.ndarray | None = None,
          tensorboard: bool = False, progress: bool = True) -> dict:
    """Returns the report of a training run, after doing what of it is not yet done in ``folder``.

    The epoch is chosen on the validation part alone, unless the recipe repeats authors who chose it on the test part.
    Each epoch starts its random numbers from ``recipe.seed`` and its
    own number, so a run that was killed and resumed ends with the same weights as one that was not (bit for bit on one
    processor with one number of threads).

    Args:
        model: untrained, or after its first stage, on the device where it shall be trained; with the recipe's loss, of what
            the recipe's samples give, and with ``patch_size``. If it learns opinion scores, with
            ``rescale_output(mean, scale)``, with ``targets_from_0_to_1 = True`` if it cannot learn standardised ones, or
            ``learns_distributions = True`` if it learns how they spread. With ``project()``, called after each step, if it
            has parameters that must keep a sign, and ``fit_regression(vectors, scores)``, called at the end, if its scores
            are regressed from its ``vectors``; with ``fit_scaling(features)`` if it learns from features. It ends in evaluation mode with the weights of the best epoch.
        database: with human scores, or with human comparisons for a recipe of preferences; for a first stage any with
            references and names of distortions.
        recipe: a row of ``RECIPES``, or a changed copy.
        folder: where the run is kept.
        parts: "train", "validation" or "test" for each image of the index; None: those of
            :func:`iqa_lab.training.runs.split_parts`.
        tensorboard: also write loss and criteria as TensorBoard reads them, into the folder.
        progress: show progress bars.

    Raises:
        ModuleNotFoundError: TensorBoard is wanted and not installed.
        ValueError: no human judgements, too few contents, an unreadable image, or a folder with another run.
    """
    folder = Path(folder)
    if recipe.loss == "loss" and recipe.samples != "preferences":
        quality(database, database.index["mos"])  # raises where there are no human scores
    parts = split_parts(database, recipe.seed) if parts is None else parts
    with processes.joined():
        if first := processes.rank() == 0:
            open_run(folder, describe_run(model, database, recipe), database, parts)
        processes.wait_for_all()
        if not (folder / "report.json").is_file():
            sets = {part: load_part(model, database, np.flatnonzero(parts == part), recipe, part == "train",
                                    progress=progress and first) for part in PARTS}
            with curves(folder if tensorboard and first else None) as plot:
                run_epochs(model, sets, recipe, folder, plot, progress=progress and first)
            if first and recipe.loss != "loss":
                write_report(folder, {"database": database.name, "n_images": len(parts), **epoch_facts(folder, recipe)})
            elif first:
                direction = model.higher_is_better if recipe.samples == "preferences" else None
                write_results(folder, database, parts, sets["test"].scores(model), epoch_facts(folder, recipe),
                              higher_is_better=direction)
        processes.wait_for_all()
    model.load_state_dict(torch.load(folder / "weights.pt", map_location="cpu", weights_only=True))
    model.eval()
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def load_part(model: nn.Module, database: Database, rows: np.ndarray, recipe: Recipe, learned: bool = False, *,
              progress: bool) -> Samples:
    """Returns the samples of some images, as the recipe wants them.

    Args:
        model, database, recipe, progress: as :func:`train` has them.
        rows: positions of the images in the index.
        learned: from this part; others keep their size even if the recipe squeezes images.
    """
    if recipe.samples == "discriminable":
        samples = load_discriminable(model, database, rows, progress=progress)
        if learned:
            model.fit_scaling(samples.features)
        return samples
    side = recipe.crop_side or model.patch_size
    if recipe.samples != "crops":
        load = {"patches": load_patches, "preferences": load_preferences}[recipe.samples]
        return load(database, rows, side, progress=progress)
    types = type_numbers(database, with_levels=getattr(model, "learns_levels", False))
    learns_types = recipe.loss != "error_loss" and 0 < types.max() + 1 == getattr(model, "n_types", 0)
    images = load_images(database, rows, side, progress=progress, squeezed=recipe.squeezed if learned else 0,
                         with_references=recipe.loss == "error_loss" or (
                             recipe.loss == "loss" and getattr(model, "kind", "FR") != "NR"),
                         types=types if learns_types else None,
                         with_distributions=getattr(model, "learns_distributions", False))
    return images if recipe.loss == "loss" else MadeImages(replace(images, targets=None), recipe)


@contextmanager
def curves(folder: Path | None) -> Iterator[Callable[[dict], None]]:
    """Gives a function that plots a row of the history in TensorBoard's files in the folder, or does nothing without one."""
    if folder is None:
        yield lambda row: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"Expected TensorBoard, got {error}; install it by pip install tensorboard.") from error
    with SummaryWriter(folder) as writer:
        yield lambda row: [writer.add_scalar(name, value, row["epoch"]) for name, value in row.items() if name != "epoch"]


def run_epochs(model: nn.Module, sets: dict[str, Samples], recipe: Recipe, folder: Path,
               plot: Callable[[dict], object] = lambda row: None, *, progress: bool) -> None:
    """Trains from the checkpoint on, if there is one, and leaves the best epoch's weights in weights.pt and the model."""
    samples, first = sets["train"], processes.rank() == 0
    mean, scale = target_scaling(model, samples)
    optimiser = create_optimiser(model, recipe)
    history, best = load_checkpoint(folder / "checkpoint.pt", model, optimiser)
    processes.equalise(model)
    for epoch in tqdm(range(len(history), recipe.epochs), initial=len(history), total=recipe.epochs, unit="epoch",
                      desc="training", disable=not progress):
        if recipe.renewed_optimiser and epoch:
            optimiser = create_optimiser(model, recipe, first_group_alone=True)
        loss = run_epoch(model, optimiser, samples, (mean, scale), recipe, epoch)
        processes.equalise(model)
        reached = {f"{part}_{samples.criterion}": sets[part].validate(model) for part in ("validation", "test")}
        history.append({"epoch": epoch + 1, "loss": loss, **reached})
        plot(history[-1])
        if best is None or best_epoch(history, recipe)["epoch"] == epoch + 1:
            best = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
        state = {"history": history, "best": best, "model": model.state_dict(), "optimiser": optimiser.state_dict()}
        if first:
            write_whole(folder / "checkpoint.pt", lambda path: torch.save(state, path))
            write_whole(folder / "history.csv", lambda path: pd.DataFrame(history).to_csv(path, index=False))
    model.load_state_dict(best)
    if samples.targets is not None:
        model.rescale_output(mean, scale)
    if hasattr(model, "fit_regression"):
        model.fit_regression(apply_to_images(model.vectors, model, samples.images), samples.targets)
    if first:
        write_whole(folder / "weights.pt", lambda path: torch.save(model.state_dict(), path))


def create_optimiser(model: nn.Module, recipe: Recipe, *, first_group_alone: bool = False) -> torch.optim.Optimizer:
    """Returns the recipe's optimiser of what can be trained, in the model's own ``parameter_groups()`` if it has such.

    A group may say by ``rate_ratio`` how many times the learning rate it has.
    """
    groups = model.parameter_groups() if hasattr(model, "parameter_groups") else [
        {"params": [p for p in model.parameters() if p.requires_grad]}]
    return OPTIMISERS[recipe.optimiser](groups[:1] if first_group_alone else groups, recipe.learning_rate, betas=recipe.betas,
                                        weight_decay=recipe.weight_decay)


def best_epoch(history: list[dict], recipe: Recipe) -> dict:
    """Returns the row of the history with the best agreement on the part that chooses; of equals the latest."""
    (criterion,) = (name for name in history[0] if name.startswith(f"{recipe.chosen_on}_"))
    return max(reversed(history), key=lambda row: row[criterion])


def epoch_facts(folder: Path, recipe: Recipe) -> dict:
    """Returns which epoch was chosen, what it reached, and what the best epoch on the test part would have claimed."""
    history = pd.read_csv(folder / "history.csv").to_dict("records")
    chosen = best_epoch(history, recipe)
    reached = {name: value for name, value in chosen.items() if name.startswith(("validation_", "test_"))}
    ideal = best_epoch(history, replace(recipe, chosen_on="test"))
    claims = {f"{name}_if_chosen_on_test": value for name, value in ideal.items() if name.startswith("test_")}
    return {"best_epoch": int(chosen["epoch"]), "chosen_on": recipe.chosen_on, **reached, **claims}


def target_scaling(model: nn.Module, samples: Samples) -> tuple[float, float]:
    """Returns mean and scale by which the scores of a network become opinion scores: scale * score + mean.

    The network's targets are the other way round, (target - mean) / scale; 0 and 1 without targets.
    """
    if samples.targets is None:
        return 0.0, 1.0
    if getattr(model, "learns_distributions", False):
        low, high = samples.scale  # the first and the last of the bins, which are 1, 2, ...
        scale = (high - low) / (samples.distributions.shape[1] - 1)
        return low - scale, scale
    if getattr(model, "targets_from_0_to_1", False):
        return samples.targets.min(), np.ptp(samples.targets)
    return samples.targets.mean(), samples.targets.std()


def load_checkpoint(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[list[dict], dict | None]:
    """Puts the checkpoint's state into model and optimiser; returns the history and the best epoch's weights so far."""
    if not path.is_file():
        return [], None
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    if len(optimiser.param_groups) == len(state["optimiser"]["param_groups"]):  # else it is made anew
        optimiser.load_state_dict(state["optimiser"])
    return state["history"], state["best"]
