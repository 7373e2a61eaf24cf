"""Writes arrays as an .npz file whose bytes depend on nothing but the arrays."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes what ``numpy.load`` reads back; ``numpy.savez`` would store the time of day, and the hash would change."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0)), buffer.getvalue())
