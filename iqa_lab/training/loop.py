"""Trains a patch model on a database with opinion scores; a killed run goes on where it stopped, to the same result.

One folder per run (``iqa_lab.training.runs``), with ``history.csv`` (a line per epoch), ``checkpoint.pt`` (to resume)
and ``weights.pt`` (of the best epoch on the validation part). The test part is looked at once, at the end.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from iqa_lab.databases import Database, quality
from iqa_lab.evaluation.criteria import srocc
from iqa_lab.evaluation.splits import PARTS
from iqa_lab.training.patches import PatchSet, epoch_batches, load_patches
from iqa_lab.training.recipes import Recipe
from iqa_lab.training.runs import describe_run, open_run, split_parts, write_results, write_whole

SCORING_BATCH = 128  # patches scored at once; more would leave the cache


def train(model: nn.Module, database: Database, recipe: Recipe, folder: str | Path, *, progress: bool = True) -> dict:
    """Returns the report of a training run, after doing what of it is not yet done in ``folder``.

    The epoch is chosen on the validation part alone. Each epoch starts its random numbers from ``recipe.seed`` and its
    own number, so a run that was killed and resumed ends with the same weights as one that was not (bit for bit on one
    processor with one number of threads).

    Args:
        model: untrained, with ``patch_size``, ``patch_scores(patches)``, ``loss(patches, targets)`` and
            ``rescale_output(mean, scale)``, on the device where it shall be trained. It ends in evaluation mode with
            the weights of the best epoch.
        database: with human scores.
        recipe: a row of ``RECIPES``, or a changed copy.
        folder: where the run is kept.
        progress: show progress bars.

    Raises:
        ValueError: no human scores, too few contents, an unreadable image, or a folder with another run.
    """
    folder = Path(folder)
    opinions = database.index["mos"].to_numpy(float)
    quality(database, opinions)  # raises where there are no human scores
    parts = split_parts(database, recipe.seed)
    open_run(folder, describe_run(model, database, recipe), database, parts)
    if not (folder / "report.json").is_file():
        paths = np.array(database.image_paths, dtype=object)
        sets = {part: load_patches(list(paths[parts == part]), model.patch_size, progress=progress) for part in PARTS}
        targets = {part: opinions[parts == part] for part in PARTS}
        run_epochs(model, sets, targets, recipe, folder, progress=progress)
        history = pd.read_csv(folder / "history.csv")
        best = history.loc[history["validation_srocc"].idxmax()]
        write_results(folder, database, parts, image_scores(model, sets["test"]), {
            "best_epoch": int(best["epoch"]), "validation_srocc": float(best["validation_srocc"])})
    model.load_state_dict(torch.load(folder / "weights.pt", map_location="cpu", weights_only=True))
    model.eval()
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def run_epochs(model: nn.Module, sets: dict[str, PatchSet], targets: dict[str, np.ndarray], recipe: Recipe,
               folder: Path, *, progress: bool) -> None:
    """Trains from the checkpoint on, if there is one, and leaves the best epoch's weights in weights.pt and the model."""
    mean, scale = targets["train"].mean(), targets["train"].std()
    standardised = torch.from_numpy((targets["train"] - mean) / scale)
    optimiser = torch.optim.Adam(model.parameters(), recipe.learning_rate)
    history, best = load_checkpoint(folder / "checkpoint.pt", model, optimiser)
    for epoch in tqdm(range(len(history), recipe.epochs), initial=len(history), total=recipe.epochs, unit="epoch",
                      desc="training", disable=not progress):
        loss = run_epoch(model, optimiser, sets["train"], standardised, recipe, epoch)
        reached = srocc(image_scores(model, sets["validation"]), targets["validation"])
        history.append({"epoch": epoch + 1, "loss": loss, "validation_srocc": reached})
        if reached == max(row["validation_srocc"] for row in history):
            best = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
        state = {"history": history, "best": best, "model": model.state_dict(), "optimiser": optimiser.state_dict()}
        write_whole(folder / "checkpoint.pt", lambda path: torch.save(state, path))
        write_whole(folder / "history.csv", lambda path: pd.DataFrame(history).to_csv(path, index=False))
    model.load_state_dict(best)
    model.rescale_output(mean, scale)
    write_whole(folder / "weights.pt", lambda path: torch.save(model.state_dict(), path))


def run_epoch(model: nn.Module, optimiser: torch.optim.Optimizer, patches: PatchSet, targets: torch.Tensor,
              recipe: Recipe, epoch: int) -> float:
    """Returns the mean loss of one epoch over the training patches."""
    device = next(model.parameters()).device
    random = np.random.default_rng([recipe.seed, epoch])
    losses = []
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(int(random.integers(2**62)))  # dropout
        for batch, image in epoch_batches(patches, recipe.patches_per_image, recipe.batch_size, random):
            loss = model.loss(batch.to(device), targets[image].to(device, batch.dtype))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
    return torch.stack(losses).mean().item()


@torch.no_grad()
def image_scores(model: nn.Module, patches: PatchSet) -> np.ndarray:
    """Returns the mean score of the patches of each image."""
    device = next(model.parameters()).device
    model.eval()
    scores = torch.cat([model.patch_scores(chunk.to(device).float() / 255) for chunk in
                        patches.patches.split(SCORING_BATCH)]).double().cpu().numpy()
    return np.bincount(patches.image, scores) / np.bincount(patches.image)


def load_checkpoint(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[list[dict], dict | None]:
    """Puts the checkpoint's state into model and optimiser; returns the history and the best epoch's weights so far."""
    if not path.is_file():
        return [], None
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return state["history"], state["best"]
