"""Facts about image quality databases, and their images with opinion scores as a table.

Every database comes as ``index.csv``: one row per rated image, opinion scores in the database's own unit and direction.
:func:`quality` is the one place where directions meet.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from iqa_lab.embedded import SHIPPED, cache_folder
from iqa_lab.embedded.build import EMBEDDED_DISTORTIONS, HASHES, INDEX_COLUMNS, build_embedded
from iqa_lab.embedded.photographs import PHOTOGRAPHS

TEXT_COLUMNS = ("image", "reference", "content", "distortion", "split")


@dataclass(frozen=True)
class DatabaseFacts:
    """What a release says about itself.

    Attributes:
        kind: "FR" (with pristine references) or "NR".
        score_kind: "MOS", "DMOS" (difference to the reference's score), or "proxy": no human has rated these images,
            so a named full-reference score or the level must stand in, and must be called a proxy.
        score_range: ends of the release's scale, None without human scores.
        higher_is_better: direction of the column ``mos``, None without human scores.
        n_contents, n_images: pristine or different scenes, and rated images, in the complete release.
        distortions: their names in the column ``distortion``, empty for photographs as people took them.
        citation: key in the book's bibliography.
        how_to_get: where to apply or download, and what to give to ``iqa-lab data prepare``.
        notes: what a reader of the numbers must know.
    """

    name: str
    title: str
    year: int
    kind: str
    score_kind: str
    score_range: tuple[float, float] | None
    higher_is_better: bool | None
    n_contents: int
    n_images: int
    distortions: tuple[str, ...]
    licence: str
    citation: str
    homepage: str
    how_to_get: str
    notes: str = ""


TID2013_DISTORTIONS = (
    "additive_gaussian_noise", "colour_component_noise", "spatially_correlated_noise", "masked_noise",
    "high_frequency_noise", "impulse_noise", "quantisation_noise", "gaussian_blur", "image_denoising", "jpeg",
    "jpeg2000", "jpeg_transmission_errors", "jpeg2000_transmission_errors", "non_eccentricity_pattern_noise",
    "local_blockwise_distortion", "mean_shift", "contrast_change", "colour_saturation_change",
    "multiplicative_gaussian_noise", "comfort_noise", "lossy_compression_of_noisy_images",
    "colour_quantisation_with_dither", "chromatic_aberrations", "sparse_sampling_and_reconstruction")
_LIVE_TERMS = "copying, changing and distribution allowed with the notice in full, the source and the citation"
_SHIPPED = "ships with iqa-lab"

DATABASES = {facts.name: facts for facts in (
    DatabaseFacts(
        "embedded", "Photographs of the installed packages with ten distortions", 2026, "FR", "proxy", None, None,
        len(PHOTOGRAPHS), len(PHOTOGRAPHS) * 5 * len(EMBEDDED_DISTORTIONS), EMBEDDED_DISTORTIONS,
        "public domain, CC0 or CC BY 2.0, photograph by photograph: iqa_lab.embedded.photographs.PHOTOGRAPHS", "",
        "", "built on first use", "It has no human scores: column mos is empty; use levels or a named proxy."),
    DatabaseFacts(
        "livec_mini", "150 photographs of LIVE in the Wild", 2015, "NR", "MOS", (0, 100), True, 150, 150, (),
        _LIVE_TERMS, "ghadiyaram2016livec", "https://live.ece.utexas.edu/research/ChallengeDB/index.html", _SHIPPED,
        "Chosen to cover the MOS range evenly, which the whole release does not: correlations are not comparable."),
    DatabaseFacts(
        "live_gblur_mini", "Three blurred contents of LIVE release 2", 2005, "FR", "DMOS", (0, 100), False, 3, 15,
        ("gaussian_blur",), _LIVE_TERMS, "sheikh2006statistical",
        "https://live.ece.utexas.edu/research/Quality/subjective.htm", _SHIPPED,
        "Realigned DMOS; a few values of the whole release lie outside 0 to 100. References are not rated rows: "
        "their DMOS is 0 by definition."),
    DatabaseFacts(
        "tid2013", "Tampere Image Database 2013", 2013, "FR", "MOS", (0, 9), True, 25, 3000, TID2013_DISTORTIONS,
        "education and research only, without fee; notice and authors' names must stay", "ponomarenko2015tid2013",
        "https://www.ponomarenko.info/tid2013.htm",
        "Download tid2013.rar from the homepage, unpack it, and give the folder with mos_with_names.txt.",
        "mos_std is the standard deviation of the mean, not of single ratings; scores come from comparisons of pairs."),
    DatabaseFacts(
        "livec", "LIVE in the Wild Image Quality Challenge Database", 2015, "NR", "MOS", (0, 100), True, 1162, 1162, (),
        _LIVE_TERMS, "ghadiyaram2016livec", "https://live.ece.utexas.edu/research/ChallengeDB/index.html",
        "Fill in the form on the homepage, then give ChallengeDB_release.zip or the unpacked folder.",
        "175 ratings per image on average, not stated per image; the seven training images t1 to t7 are left out."),
    DatabaseFacts(
        "biq2021", "BIQ2021", 2021, "NR", "MOS", (0, 1), True, 12000, 12000, (), "none stated; published for research",
        "ahmed2022biq2021", "https://github.com/nisarahmedrana/BIQ2021",
        "Download the repository from the homepage as an archive, and give it or the unpacked folder.",
        "Official split in column split (train 10,000, test 2,000); 30 ratings per image."),
    DatabaseFacts(
        "koniq10k", "KonIQ-10k", 2020, "NR", "MOS", (1, 100), True, 10073, 10073, (),
        "photographs under Creative Commons licences of their authors (YFCC100M); see the homepage", "hosu2020koniq10k",
        "https://database.mmsp-kn.de/koniq-10k-database.html",
        "`iqa-lab data prepare koniq10k` downloads it (0.8 GB at 512x384); or give a folder with 512x384 or 1024x768 "
        "and koniq10k_distributions_sets.csv.",
        "mos is the release's z-score MOS, the one its papers use; the published SD is on the 1 to 5 scale of votes, "
        "so mos_std is empty. Official split: training, validation, test."),
)}


@dataclass(frozen=True)
class Database:
    """A database on this machine: its facts, the folder of its images, and its index."""

    facts: DatabaseFacts
    root: Path
    index: pd.DataFrame

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def image_paths(self) -> list[Path]:
        return [self.root / image for image in self.index["image"]]

    @property
    def reference_paths(self) -> list[Path | None]:
        """The pristine image of each row, None where the database has none."""
        return [self.root / name if isinstance(name, str) else None for name in self.index["reference"]]


def load_database(name: str, *, root: str | Path | None = None) -> Database:
    """Returns a database.

    Args:
        name: a key of ``DATABASES``. ``embedded`` is built on first use, ``*_mini`` ship with the package, the others
            are prepared once from their official release: ``iqa-lab data prepare NAME``.
        root: the folder that ``prepare --output`` wrote, if not the usual one.

    Returns:
        Its index has the columns ``image, reference, content, distortion, level, mos, mos_std, n_ratings, split``
        (paths relative to ``root``), empty where the release has no such fact.

    Raises:
        ValueError: unknown name. FileNotFoundError: not prepared, or its images have been moved.
    """
    facts = find_facts(name)
    folder = index_folder(name) if root is None else Path(root)
    if name == "embedded" and not (folder / "index.csv").is_file():
        build_embedded(folder)
    if not (folder / "index.csv").is_file():
        raise FileNotFoundError(f"Expected the index of database {name!r} in {folder}, found none; make it with "
                                f"`iqa-lab data prepare {name} --source FOLDER_OR_ARCHIVE`. {facts.how_to_get}")
    images = image_folder(folder)
    if not images.is_dir():
        raise FileNotFoundError(f"Expected the images of {name!r} in {images}, where they were when it was prepared; "
                                f"move them back or run `iqa-lab data prepare {name} --source FOLDER` again.")
    return Database(facts, images, read_index(folder / "index.csv"))


def find_facts(name: str) -> DatabaseFacts:
    """Returns the facts of a database; ValueError with a suggestion when there is none of that name."""
    if name not in DATABASES:
        close = difflib.get_close_matches(str(name), DATABASES, 1)
        raise ValueError(f"Unknown database {name!r}; " + (f"did you mean {close[0]!r}?" if close else
                                                           f"choose one of {', '.join(DATABASES)}."))
    return DATABASES[name]


def index_folder(name: str) -> Path:
    """Returns where the index of a database is kept if nobody says otherwise."""
    if (SHIPPED / name / "index.csv").is_file():
        return SHIPPED / name
    if name == "embedded":  # another version of the package may describe other images
        name = f"embedded-{hashlib.sha256(HASHES.read_bytes()).hexdigest()[:8]}"
    return cache_folder() / "databases" / name


def image_folder(folder: Path) -> Path:
    """Returns the folder that the paths of an index start from: the one beside it, or named in ``source.json``."""
    source = folder / "source.json"
    return Path(json.loads(source.read_text(encoding="utf-8"))["root"]) if source.is_file() else folder


def read_index(path: Path) -> pd.DataFrame:
    """Returns an index.csv as a table.

    Raises:
        ValueError: columns are missing.
    """
    index = pd.read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, str), encoding="utf-8")
    if list(index.columns) != list(INDEX_COLUMNS):
        raise ValueError(f"Expected the columns {', '.join(INDEX_COLUMNS)} in {path}, got {', '.join(index.columns)}.")
    return index


def quality(database: Database | DatabaseFacts, values: np.ndarray | pd.Series) -> np.ndarray | pd.Series:
    """Returns opinion scores so that higher means better: unchanged, or with the sign turned (DMOS).

    Raises:
        ValueError: a database without human scores has no direction.
    """
    facts = database.facts if isinstance(database, Database) else database
    if facts.higher_is_better is None:
        raise ValueError(f"Expected a database with human scores, got {facts.name!r}, which has none; use the levels "
                         "or a named proxy, and call it a proxy.")
    return values if facts.higher_is_better else -values
