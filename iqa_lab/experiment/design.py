"""What an experiment shows: its images, their order for each participant, and the answers that it accepts.

Follows Recommendation ITU-R BT.500: single stimuli on the five-grade quality scale, or pairs; training trials first, then
all test images in an order of each participant's own, in which no content follows itself where that can be avoided.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from iqa_lab.images import read_pixels

DEFINITION, IMAGES = "experiment.json", "images"  # inside the folder of an experiment
METHODS = ("rating", "pairs")
GRADES = ("bad", "poor", "fair", "good", "excellent")  # 1 to 5, ITU-R BT.500
SIDES = ("left", "right")
ROLES = ("test", "training", "high", "low")  # the last two: hidden anchors of known quality
QUESTIONS = {"rating": "How good is the quality of this image?", "pairs": "Which image has the better quality?"}


@dataclass(frozen=True)
class Stimulus:
    """An image of an experiment.

    Attributes:
        name: the file name that the experimenter gave.
        file: the file in the experiment's folder; named by a hash, so that the address of an image says nothing.
        content: images of one content show the same scene; pairs are made inside a content.
        role: "test"; "training", shown first and not evaluated; or "high" and "low", hidden anchors of known quality.
    """

    name: str
    file: str
    content: str
    role: str


@dataclass(frozen=True)
class Experiment:
    """The definition of an experiment, stored as experiment.json.

    Attributes:
        method: "rating", one image at a time on the five-grade scale, or "pairs".
        question: what every trial asks.
        ties: whether pairs may be called the same.
        n_checks: attention checks, trials that ask for a certain answer.
        n_pairs: pairs that each participant compares, drawn at random; None for all.
        seed: decides the orders of all participants.
    """

    title: str
    method: str
    question: str
    ties: bool
    n_checks: int
    n_pairs: int | None
    seed: int
    stimuli: tuple[Stimulus, ...]

    @property
    def answers(self) -> tuple[str, ...]:
        """The answers that a trial accepts."""
        if self.method == "rating":
            return tuple(str(grade) for grade in range(1, len(GRADES) + 1))
        return (*SIDES, "same") if self.ties else SIDES


@dataclass(frozen=True)
class Trial:
    """One screen: the images from left to right (none in an attention check), and the answer that is right, if any."""

    kind: str  # "training", "test", "anchor" or "check"
    images: tuple[Stimulus, ...]
    expected: str | None = None


def create_experiment(folder: Path, images: pd.DataFrame, *, method: str, title: str = "Image quality", ties: bool = False,
                      n_checks: int = 2, n_pairs: int | None = None, seed: int = 0) -> Experiment:
    """Returns a new experiment after writing it into a folder: its definition, and its images as PNG.

    Args:
        folder: does not exist yet, or is empty.
        images: one row an image with the column ``image`` (path), and if wanted ``content`` and ``role`` (see
            :class:`Stimulus`). Without contents, every image is one of its own in a rating, and all are versions of one
            in a comparison.
        method, title, ties, n_checks, n_pairs, seed: see :class:`Experiment`.

    Raises:
        ValueError: unknown method or role, no test image, a content without a pair, two images with the same pixels, or
            an image that cannot be read. FileExistsError: the folder is not empty.
    """
    if method not in METHODS:
        raise ValueError(f"Expected the method {' or '.join(METHODS)}, got {method!r}.")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"Expected a new or empty folder, got {folder}; an experiment is never written over.")
    table = _complete(images, method)
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    stimuli = tuple(Stimulus(Path(row.image).name, _copy(Path(row.image), folder / IMAGES), str(row.content), row.role)
                    for row in table.itertuples())
    experiment = Experiment(title, method, QUESTIONS[method], ties, n_checks, n_pairs, seed, stimuli)
    _check(experiment)
    definition = json.dumps(asdict(experiment), indent=1, ensure_ascii=False) + "\n"
    (folder / DEFINITION).write_text(definition, encoding="utf-8")
    return experiment


def load_experiment(folder: Path) -> Experiment:
    """Returns the experiment of a folder.

    Raises:
        FileNotFoundError: there is none. ValueError: its definition is damaged.
    """
    path = folder / DEFINITION
    if not path.is_file():
        raise FileNotFoundError(f"Expected an experiment in {folder}, found no {DEFINITION}; make one with "
                                "`iqa-lab experiment new FOLDER`.")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return Experiment(**fields | {"stimuli": tuple(Stimulus(**stimulus) for stimulus in fields["stimuli"])})
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"Expected the definition of an experiment in {path}, got one that cannot be read ({error}); "
                         "restore it, the answers beside it are not lost.") from error


def trials_of(experiment: Experiment, participant: int) -> list[Trial]:
    """Returns what a participant sees, training first; the same list whenever it is asked for.

    Args:
        participant: 0, 1, ...: the order is drawn from ``RandomState([seed, participant])``.
    """
    random = np.random.RandomState([experiment.seed, participant])
    make = _ratings if experiment.method == "rating" else _pairs
    training, trials = make(experiment, random)
    trials = spread(trials, random)
    checks = [Trial("check", (), experiment.answers[k])
              for k in random.randint(len(experiment.answers), size=experiment.n_checks)]
    places = np.sort(random.randint(1, len(trials) + 1, size=len(checks)))  # never first
    for place, check in zip(places[::-1], checks, strict=True):
        trials.insert(place, check)
    return training + trials


def spread(trials: Sequence[Trial], random: np.random.RandomState) -> list[Trial]:
    """Returns the trials in random order, in which no content follows itself while another one is left."""
    left, ordered, last = [trials[k] for k in random.permutation(len(trials))], [], None
    while left:
        chosen = next((trial for trial in left if trial.images[0].content != last), left[0])
        left.remove(chosen)
        ordered.append(chosen)
        last = chosen.images[0].content
    return ordered


def _ratings(experiment: Experiment, random: np.random.RandomState) -> tuple[list[Trial], list[Trial]]:
    """Returns the training trials, and the test images with the hidden anchors among them."""
    kinds = {"training": "training", "test": "test", "high": "anchor", "low": "anchor"}
    trials = [Trial(kinds[stimulus.role], (stimulus,)) for stimulus in experiment.stimuli]
    return [t for t in trials if t.kind == "training"], [t for t in trials if t.kind != "training"]


def _pairs(experiment: Experiment, random: np.random.RandomState) -> tuple[list[Trial], list[Trial]]:
    """Returns the training pairs, and the test pairs with those of a high and a low anchor among them."""
    by_role = {role: [s for s in experiment.stimuli if s.role == role] for role in ROLES}
    tests = _inside_contents(by_role["test"])
    if experiment.n_pairs is not None:
        tests = [tests[k] for k in random.permutation(len(tests))[:experiment.n_pairs]]
    anchors = [(high, low) for high in by_role["high"] for low in by_role["low"] if high.content == low.content]
    training = [_sided("training", pair, random) for pair in _inside_contents(by_role["training"])]
    return training, [*(_sided("test", pair, random) for pair in tests),
                      *(_sided("anchor", pair, random) for pair in anchors)]


def _inside_contents(stimuli: Sequence[Stimulus]) -> list[tuple[Stimulus, Stimulus]]:
    return [(a, b) for a, b in combinations(stimuli, 2) if a.content == b.content]


def _sided(kind: str, pair: tuple[Stimulus, Stimulus], random: np.random.RandomState) -> Trial:
    """Returns a trial with the pair on random sides; of anchors the first is the better one."""
    turned = random.randint(2)
    return Trial(kind, pair[::-1] if turned else pair, SIDES[turned] if kind == "anchor" else None)


def _complete(images: pd.DataFrame, method: str) -> pd.DataFrame:
    """Returns the table with all three columns; raises ValueError for what :func:`create_experiment` documents."""
    if "image" not in images or images.empty:
        raise ValueError(f"Expected a table with the column image and at least one row, got {len(images)} rows of "
                         f"{', '.join(map(str, images.columns)) or 'no columns'}.")
    own = [Path(path).stem for path in images["image"]] if method == "rating" else "all"
    table = pd.DataFrame({"image": images["image"], "content": images.get("content", pd.Series(own, images.index)),
                          "role": images.get("role", pd.Series("test", images.index)).fillna("test")})
    unknown = sorted(set(table["role"]) - set(ROLES))
    if unknown:
        raise ValueError(f"Expected the roles {', '.join(ROLES)}, got {', '.join(map(str, unknown))}.")
    return table


def _copy(path: Path, folder: Path) -> str:
    """Returns the name of an image's PNG copy, its hash; browsers show every PNG and change no pixel of it."""
    pixels = read_pixels(path)
    pixels = (pixels // 257).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    name = hashlib.sha256(buffer.getvalue()).hexdigest()[:24] + ".png"
    if (folder / name).exists():
        raise ValueError(f"Expected different images, got the pixels of {path} twice; leave one out.")
    (folder / name).write_bytes(buffer.getvalue())
    return name


def _check(experiment: Experiment) -> None:
    tests = [stimulus for stimulus in experiment.stimuli if stimulus.role == "test"]
    if not tests or (experiment.method == "pairs" and not _inside_contents(tests)):
        needed = "an image" if experiment.method == "rating" else "two images of one content"
        raise ValueError(f"Expected at least {needed} with the role test, got {len(tests)} images; add some.")
    if experiment.n_checks < 0 or (experiment.n_pairs is not None and experiment.n_pairs < 1):
        raise ValueError(f"Expected n_checks >= 0 and n_pairs >= 1, got {experiment.n_checks} and {experiment.n_pairs}.")
