"""Official releases -> checked index.csv (and pairs.csv): the one path that all database scripts share."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image
from tqdm import tqdm

from iqa_lab.data_scripts import (ava, bapps, bid, biq2021, cid2013, csiq, ivc, kadid10k, koniq10k, live_md, live_r2,
                                  livec, mdid, pieapp, pipal, spaq, srij, tid2008, tid2013, waterloo)
from iqa_lab.database_facts import DATABASES, DatabaseFacts
from iqa_lab.databases import INDEX_COLUMNS, PAIR_COLUMNS, RATING_COLUMNS, find_facts, index_folder
from iqa_lab.downloads import extract_archive, hash_file

#: Modules with ``SIZES`` and ``parse_release``; with ``parse_pairs`` where the score kind is "pairs", and with
#: ``parse_ratings`` where the release has single ratings.
RELEASES = {"live_r2": live_r2, "ivc": ivc, "tid2008": tid2008, "csiq": csiq, "live_md": live_md, "tid2013": tid2013,
            "waterloo": waterloo, "mdid": mdid, "kadid10k": kadid10k, "pipal": pipal, "pieapp": pieapp, "bapps": bapps,
            "bid": bid, "ava": ava, "cid2013": cid2013, "livec": livec, "koniq10k": koniq10k, "spaq": spaq,
            "biq2021": biq2021, "srij": srij}
SHOWN = 3  # examples in an error message


@dataclass(frozen=True)
class Prepared:
    """What :func:`prepare` made: the index and how much of the release it covers."""

    index: Path
    root: Path
    n_present: int
    n_release: int


def prepare(name: str, source: str | Path | None = None, *, present_only: bool = False,
            output: str | Path | None = None, progress: bool = True) -> Prepared:
    """Writes ``index.csv`` and ``source.json`` of a database after checking every image and score.

    Where people compared images, ``pairs.csv`` has the comparisons of the images that are there; where a release has
    single ratings, ``ratings.csv`` has those. The release itself is
    only read. Its images stay where they are; an archive is unpacked in the cache.

    Args:
        name: a key of ``RELEASES``.
        source: folder or archive (zip, tar) of the official release. Default: ``$IQA_LAB_DATA/images/NAME`` if it
            exists, else a download where the release allows it.
        present_only: take the images that are there and leave out the rest.
        output: folder to write to, default in the cache, where ``load_database`` looks.
        progress: show a progress bar.

    Raises:
        FileNotFoundError: no release there, or images missing (without ``present_only``).
        ValueError: unknown name, duplicate names, missing scores, images that cannot be decoded or of a wrong size.
    """
    facts = find_facts(name)
    if name not in RELEASES:
        raise ValueError(f"Expected one of {', '.join(RELEASES)}, got {name!r}, which needs no preparing: "
                         f"{facts.how_to_get}.")
    folder = Path(output) if output else index_folder(name)
    release, table = RELEASES[name].parse_release(find_source(facts, source))
    check_table(table, facts, release, present_only)
    table = table[table["present"]]
    bad = undecodable(release, {*table["image"], *table["reference"].dropna()}, RELEASES[name].SIZES, progress)
    if bad:
        raise ValueError(f"Expected images that decode, got {_examples(bad)}; replace them by intact copies from the "
                         "official release.")
    if facts.score_kind == "pairs":
        write_pairs(folder, RELEASES[name].parse_pairs(release), set(table["image"]))
    if hasattr(RELEASES[name], "parse_ratings"):
        write_ratings(folder, RELEASES[name].parse_ratings(release), set(table["image"]))
    write_index(folder, table[list(INDEX_COLUMNS)], release, facts)
    return Prepared(folder / "index.csv", release, len(table), facts.n_images)


def find_source(facts: DatabaseFacts, source: str | Path | None) -> Path:
    """Returns the folder to read the release from, after unpacking or downloading where needed.

    Raises:
        FileNotFoundError: there is none; the message says where to apply and where to put it.
    """
    given = os.environ.get("IQA_LAB_DATA")
    default = Path(given) / "images" / facts.name if given else None
    if source is None and default and default.exists():
        source = default
    if source is None and hasattr(RELEASES[facts.name], "fetch_release"):
        return RELEASES[facts.name].fetch_release(index_folder(facts.name) / "downloads")
    if source is None or not Path(source).exists():
        where = f"none at {source}" if source else "no --source"
        raise FileNotFoundError(f"Expected the official release of {facts.name}, got {where}. {facts.how_to_get} "
                                f"Homepage: {facts.homepage}. Then: iqa-lab data prepare {facts.name} --source PATH")
    source = Path(source).resolve()
    if source.is_dir():
        return source
    unpacked = index_folder(facts.name) / f"release-{hash_file(source)[:8]}"
    return unpacked if unpacked.is_dir() else extract_archive(source, unpacked)


def check_table(table: pd.DataFrame, facts: DatabaseFacts, release: Path, present_only: bool) -> None:
    """Raises the error that :func:`prepare` documents for the first thing wrong with a parsed release."""
    lowered = table["image"].str.lower()
    if lowered.duplicated().any():
        raise ValueError(f"Expected every image once in the lists of {release}, got duplicates: "
                         f"{_examples(table.loc[lowered.duplicated(), 'image'])}.")
    if facts.score_range:
        check_scores(table, facts.score_range, release)
    missing = table.loc[~table["present"], "image"]
    if table["present"].sum() == 0:
        raise FileNotFoundError(f"Expected images in {release}, found none of the {len(table)} listed "
                                f"({_examples(missing)}).")
    if len(missing) and not present_only:
        raise FileNotFoundError(f"Expected {len(table)} images in {release}, {len(missing)} are missing: "
                                f"{_examples(missing)}; add them, or use --present-only.")
    if len(table) != facts.n_images and not present_only:
        raise ValueError(f"Expected {facts.n_images} images in the lists of {release}, got {len(table)}; get the lists "
                         "again, or use --present-only.")


def check_scores(table: pd.DataFrame, score_range: tuple[float, float], release: Path) -> None:
    """Raises ValueError for the first score that is missing or outside the scale."""
    if table["mos"].isna().any():
        raise ValueError(f"Expected a score for every image in the lists of {release}, got none for "
                         f"{_examples(table.loc[table['mos'].isna(), 'image'])}; get the lists again.")
    low, high = score_range
    outside = ~table["mos"].between(low, high)
    if outside.any():
        raise ValueError(f"Expected scores from {low:g} to {high:g} in {release}, got "
                         f"{table.loc[outside, 'mos'].iloc[0]:g} for {_examples(table.loc[outside, 'image'])}; "
                         "is this another version of the release?")


def undecodable(root: Path, images: Iterable[str], sizes: set | None, progress: bool = True) -> list[str]:
    """Returns "path (reason)" of every image that does not decode completely or has a size the release has not."""
    images = sorted(images)

    def check(name: str) -> str | None:
        try:
            with Image.open(root / name) as image:
                image.load()
                if sizes and image.size not in sizes:
                    return f"{name} (size {image.size[0]}x{image.size[1]})"
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            return f"{name} ({error})"
        return None

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        bar = tqdm(pool.map(check, images), total=len(images), unit="image", desc="checking", disable=not progress)
        return [problem for problem in bar if problem]


def write_index(folder: Path, table: pd.DataFrame, release: Path, facts: DatabaseFacts) -> None:
    """Writes index.csv and source.json; each replaces its predecessor in one step."""
    _write_table(folder / "index.csv", table)
    source = {"database": facts.name, "root": str(release.resolve()), "n_present": len(table),
              "n_release": facts.n_images, "index_sha256": hash_file(folder / "index.csv")}
    for table_name in ("pairs", "ratings"):
        if (folder / f"{table_name}.csv").is_file():
            source[f"{table_name}_sha256"] = hash_file(folder / f"{table_name}.csv")
    unfinished = folder / f"source.json.{os.getpid()}"
    unfinished.write_text(json.dumps(source, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(folder / "source.json")


def write_pairs(folder: Path, pairs: pd.DataFrame, images: set[str]) -> None:
    """Writes pairs.csv with the comparisons of ``images``, replacing its predecessor in one step.

    Raises:
        ValueError: a share of people that is missing or not from 0 to 1.
    """
    wrong = ~pairs["preference"].between(0, 1)
    if wrong.any():
        row = pairs[wrong].iloc[0]
        raise ValueError(f"Expected shares of people from 0 to 1 for every pair, got {row['preference']} for "
                         f"{row['first']} and {row['second']}; get the lists again.")
    there = pairs["first"].isin(images) & pairs["second"].isin(images)
    _write_table(folder / "pairs.csv", pairs.loc[there, list(PAIR_COLUMNS)])


def write_ratings(folder: Path, ratings: pd.DataFrame, images: set[str]) -> None:
    """Writes ratings.csv with the single ratings of ``images``, replacing its predecessor in one step."""
    _write_table(folder / "ratings.csv", ratings.loc[ratings["image"].isin(images), list(RATING_COLUMNS)])


def _write_table(path: Path, table: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    table.to_csv(unfinished, index=False, lineterminator="\n")
    unfinished.replace(path)


def status(name: str) -> str:
    """Returns in a few words whether a database can be loaded on this machine."""
    folder = index_folder(name)
    if (folder / "source.json").is_file():
        source = json.loads((folder / "source.json").read_text(encoding="utf-8"))
        return f"prepared, {source['n_present']} of {source['n_release']}"
    if (folder / "index.csv").is_file():
        return "built" if name == "embedded" else "shipped"
    return DATABASES[name].how_to_get if name not in RELEASES else "not prepared"


def _examples(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
