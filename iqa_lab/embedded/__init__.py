"""What ships with the package (small databases, stored hashes, parameter files), and where made files are kept."""

from __future__ import annotations

import os
from pathlib import Path

#: The folder of the files that ship with the package.
SHIPPED = Path(__file__).parent


def cache_folder() -> Path:
    """Returns the folder for files made or downloaded on this machine: ``$IQA_LAB_CACHE`` or ``~/.cache/iqa_lab``."""
    return Path(os.environ.get("IQA_LAB_CACHE") or Path.home() / ".cache" / "iqa_lab").expanduser()
