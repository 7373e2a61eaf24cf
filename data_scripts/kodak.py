"""The 24 photographs of the Kodak Lossless True Color Image Suite, from which the pristine models are learned."""

from __future__ import annotations

from pathlib import Path

N_PHOTOGRAPHS = 24


def kodak_photographs(folder: Path) -> list[Path]:
    """Returns the files kodim01.png to kodim24.png of a folder, in order.

    Raises:
        FileNotFoundError: not all 24 photographs are in the folder.
    """
    paths = sorted(folder.glob("kodim*.png"))
    if len(paths) != N_PHOTOGRAPHS:
        raise FileNotFoundError(f"Expected kodim01.png to kodim{N_PHOTOGRAPHS}.png in {folder}, found {len(paths)} such "
                                "files; download the complete set.")
    return paths
