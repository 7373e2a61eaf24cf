"""Compares committed chapters with a new run: text by nbval, strictly, and pictures by the package's own SSIM."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import nbformat
import numpy as np
import torch
from PIL import Image

import execute
import run_chapter
from iqa_lab.full_reference.ssim import ssim

SANITIZE = Path(__file__).with_name("nbval_sanitize.cfg")
# One figure drawn by two matplotlib versions has an SSIM of 0.989, a really different curve 0.895.
MIN_SSIM = 0.98
#: Tag of cells whose picture follows from many steps of an optimiser, which end elsewhere on another processor; it must be
#: there, no more. Text of such cells has nbval's own tag, nbval-ignore-output.
VARIES = "picture-varies"
MIN_SIDE = 11  # SSIM's window; a smaller picture is compared pixel by pixel


def nbval_key(path: Path, package: str) -> str:
    """Returns the key under which a comparison stays valid: the whole committed file, and the package."""
    parts = [path.read_bytes(), SANITIZE.read_bytes(), package.encode()]
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def run_nbval(path: Path, key: str) -> execute.Run:
    """Runs every cell of one committed chapter again and compares its outputs as text."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", f"--nbval-sanitize-with={SANITIZE}",
               f"--nbval-cell-timeout={run_chapter.CELL_TIMEOUT}", "-p", "no:cacheprovider", "--color=no", str(path)]
    done = subprocess.run(command, cwd=execute.ROOT, env=execute.kernel_environment({}), capture_output=True, text=True)
    seconds = round(time.perf_counter() - started, 1)
    return execute.Run(path.stem, key, seconds, 0, done.stdout[-3000:] + done.stderr[-500:] if done.returncode else "")


def compare_texts(chapters: list[Path], folder: Path, *, jobs: int) -> list[execute.Run]:
    """Runs nbval on the changed ones of ``chapters``, ``jobs`` at a time, and returns all records in order."""
    package = execute.package_hash()

    def compare(path: Path) -> execute.Run:
        key, file = nbval_key(path, package), folder / f"{path.stem}.nbval.json"
        record = execute.read_record(file, key)
        if record:
            return execute.Run(**record)
        run = run_nbval(path, key)
        file.write_text(json.dumps(asdict(run), indent=1), encoding="utf-8")
        return run

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(compare, chapters))


def output_pictures(path: Path) -> list[tuple[int, np.ndarray]]:
    """Returns the PNG outputs of a notebook as (cell number, uint8 RGB array)."""
    found = []
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells, 1):
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                data = base64.b64decode(output.data["image/png"])
                found.append((number, np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))))
    return found


def picture_similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the SSIM of two pictures; 0 for different sizes."""
    if a.shape != b.shape:
        return 0.0
    if min(a.shape[:2]) < MIN_SIDE:
        return float(np.array_equal(a, b))
    x, y = (torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 255 for picture in (a, b))
    return float(ssim(x, y))


def picture_faults(committed: Path, executed: Path) -> list[str]:
    """Returns one sentence for each committed picture that the new run does not show again."""
    before, after = output_pictures(committed), output_pictures(executed)
    if [number for number, _ in before] != [number for number, _ in after]:
        return [f"{committed.stem}: {len(before)} committed pictures, {len(after)} in the new run, or in other cells"]
    cells, faults = nbformat.read(committed, as_version=4).cells, []
    for (number, old), (_, new) in zip(before, after):
        if VARIES in cells[number - 1].metadata.get("tags", []):
            continue
        value = picture_similarity(new, old)
        if value < MIN_SSIM:
            faults.append(f"{committed.stem}: cell {number}: the picture has changed: SSIM {value:.3f}, expected at "
                          f"least {MIN_SSIM}; look at it, then run python book/execute.py --update")
    return faults
