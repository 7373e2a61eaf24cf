"""Time of functions in alternating rounds, peak memory of one call, and a description of the machine."""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch

MINIMUM_ROUNDS = 3
SAMPLE_SECONDS = 0.02  # a faster function is called several times per sample, so that the clock's own cost vanishes
CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def alternate(calls: dict[str, Callable[[], object]], seconds: float,
              warm_up: dict[str, float]) -> dict[str, list[float]]:
    """Returns the seconds per call of each function, one value per round.

    The functions take turns (a, b, c, a, b, c, ...), so that a machine that becomes slower or faster during the
    measurement does so for all.

    Args:
        calls: functions without arguments by name, each called at least once before.
        seconds: how long each is measured. It leaves when they are used up and it had 3 rounds, or after 3 times as
            long.
        warm_up: how many seconds that first call took, by name.
    """
    repeats = {name: max(1, round(SAMPLE_SECONDS / warm_up[name])) for name in calls}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    running = list(calls)
    while running:
        for name in running.copy():
            samples[name].append(duration(calls[name], repeats[name]))
            spent = sum(samples[name]) * repeats[name]
            if spent >= seconds and (len(samples[name]) >= MINIMUM_ROUNDS or spent >= MINIMUM_ROUNDS * seconds):
                running.remove(name)
    return samples


def duration(call: Callable[[], object], repeats: int) -> float:
    """Returns the mean seconds of ``repeats`` calls in a row."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeats


def peak_memory(call: Callable[[], object]) -> float | None:
    """Returns the resident memory in MB (10^6 bytes) that one call needs at its peak, above the level before it.

    Once CUDA is in use it is the memory of tensors on the GPU instead.

    Linux only (elsewhere it calls and returns None): the kernel's high-water mark VmHWM is reset before the call.
    Memory that earlier calls freed is given back to the system first; else it would be used again without being seen.
    """
    if torch.cuda.is_initialized():
        return _peak_cuda_memory(call)
    if not os.access(CLEAR_REFS, os.W_OK):
        call()
        return None
    gc.collect()
    trim = getattr(ctypes.CDLL(ctypes.util.find_library("c")), "malloc_trim", None)  # glibc has it, musl has not
    if trim is not None:
        trim(0)
    CLEAR_REFS.write_text("5")
    before = _status_kilobytes("VmRSS")
    call()
    return max(0, _status_kilobytes("VmHWM") - before) * 1024 / 1e6


def _peak_cuda_memory(call: Callable[[], object]) -> float:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def describe_machine(libraries: tuple[str, ...]) -> dict[str, object]:
    """Returns what the numbers depend on: processor, threads, versions (None: not installed), date and commit."""
    return {
        "date": date.today().isoformat(),
        "commit": _commit(),
        "processor": _processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_initialized() else None,
        "logical_cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: installed_version(name) for name in ("iqa-lab", "torch", "numpy", *libraries)},
    }


def installed_version(distribution: str) -> str | None:
    """Returns the version of an installed distribution, None when it is absent."""
    try:
        return version(distribution)
    except ModuleNotFoundError:
        return None


def _status_kilobytes(key: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1])


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in facts.read_text().splitlines()
             if line.startswith("model name")] if facts.exists() else []
    return names[0] if names else platform.processor() or sys.platform


def _commit() -> str:
    """Returns the short commit, with '+changes' when the package or the benchmarks differ from it."""
    root = Path(__file__).parent.parent
    try:
        commit, changes = (
            subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout
            for arguments in (("rev-parse", "--short", "HEAD"),
                              ("status", "--porcelain", "iqa_lab", "benchmarks/*.py")))
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.strip() + ("+changes" if changes.strip() else "")
