"""Measures time and memory of our metrics against other libraries, or with --linearity how ours grow with the input.

    python benchmarks/run.py [--metric NAME ...] [--quick] [--linearity] [--threads N] [--output FILE.csv]

README.md explains the columns and what is like for like.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import pandas as pd
import torch

import measure
from iqa_lab import create_metric
from iqa_lab.ops.color import rgb_to_luma_matlab
from peers import PEERS, peers_of
from photographs import image_pairs

RESULTS = Path(__file__).parent / "results"
OURS = "iqa-lab"
METRICS = ("psnr", "ssim", "ms_ssim", "iw_ssim", "gmsd", "mdsi", "fsimc", "vsi", "vif", "vifp",
           "brisque", "niqe", "ilniqe", "piqe")
GRAY_METRICS = ("ssim", "ms_ssim", "iw_ssim", "vifp")  # measured on one channel: the libraries disagree on how to make it
NO_REFERENCE = ("brisque", "niqe", "ilniqe", "piqe")
ONE_BY_ONE = ("vif", "ilniqe")  # batch 1 only: their one peer takes seconds for an image
MODES = ("forward", "forward+backward")
SIZES, BATCHES, SECONDS = ((384, 512), (768, 1024)), (1, 8), 0.5  # height, width; seconds per library and case
NO_REFERENCE_BATCHES = (1, 8, 32)  # without gradients
QUICK_SIZES, QUICK_BATCHES, QUICK_SECONDS = ((192, 256),), (1,), 0.05
LINEARITY_BATCHES, LINEARITY_SIDES, LINEARITY_REFERENCE = (1, 2, 4, 8, 16), (256, 512, 768, 1024, 1536), (1, 512)

COMPARISON_COLUMNS = ("metric", "mode", "height", "width", "batch", "library", "version", "status",
                      "median_ms", "min_ms", "rounds", "memory_mb", "mean_score",
                      "time_ratio", "min_time_ratio", "memory_ratio")
LINEARITY_COLUMNS = ("metric", "mode", "batch", "side", "megapixels", "median_ms", "min_ms", "rounds",
                     "ms_per_megapixel", "relative")

Call = Callable[[], torch.Tensor]
Contestants = dict[str, Callable | str]  # by library; a string says why there is no function


def main() -> None:
    """Runs what the command line asks for, prints it and writes CSV and machine description."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    start = time.perf_counter()
    rows, columns, name = (linearity_rows, LINEARITY_COLUMNS, "linearity.csv") if arguments.linearity else \
        (comparison_rows, COMPARISON_COLUMNS, "peers.csv")
    table = pd.DataFrame(rows(arguments.metric, arguments.quick), columns=columns)
    output = arguments.output or (None if arguments.quick else RESULTS / name)
    if output is not None:
        write_results(table, output, tuple(PEERS), time.perf_counter() - start)


def write_results(table: pd.DataFrame, output: Path, libraries: tuple[str, ...], seconds: float) -> None:
    """Writes a table, and beside it the description of the machine."""
    output.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(output, index=False, float_format="%.6g", lineterminator="\n")
    machine = measure.describe_machine(libraries) | {"seconds": round(seconds)}
    output.with_suffix(".json").write_text(json.dumps(machine, indent=2) + "\n")
    print(f"\nWritten: {output} and the machine description beside it ({output.stem}.json).")


def parse_arguments() -> argparse.Namespace:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description="Time and memory of iqa-lab against other libraries.")
    parser.add_argument("--metric", nargs="+", choices=METRICS, default=METRICS, help="only these metrics")
    parser.add_argument("--quick", action="store_true", help="one small image, a few seconds; writes no file by itself")
    parser.add_argument("--linearity", action="store_true", help="ours alone, over batch sizes and image sizes")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="CSV file (default: benchmarks/results/peers.csv or linearity.csv)")
    return parser.parse_args()


def compare_networks(description: str, systems: Collection[str], modes: Sequence[str], quick: str, name: str,
                     columns: Sequence[str], libraries: tuple[str, ...], rows: Callable[..., Iterable[dict]]) -> None:
    """Reads the command line of a script for networks, measures what it asks for, and writes CSV and machine description.

    Args:
        description, quick: of the script and of its quick run, for the help.
        systems, modes: that can be chosen.
        name: of the file in ``RESULTS``, without its ending.
        columns, libraries: of the table, and those whose versions are noted.
        rows: called with the chosen systems and modes, whether it is the quick run, and the device.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--metric", nargs="+", choices=systems, default=tuple(systems), help="only these systems")
    parser.add_argument("--mode", nargs="+", choices=modes, default=modes, help="only these modes")
    parser.add_argument("--quick", action="store_true", help=f"{quick}; writes no file by itself")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch (default: %(default)s)")
    parser.add_argument("--output", type=Path, help=f"CSV file (default: benchmarks/results/{name}.csv, or {name}_cuda.csv)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    start = time.perf_counter()
    table = pd.DataFrame(rows(arguments.metric, arguments.mode, arguments.quick, arguments.device), columns=columns)
    if arguments.output or not arguments.quick:
        file = arguments.output or RESULTS / f"{name}{'' if arguments.device == 'cpu' else '_cuda'}.csv"
        write_results(table, file, libraries, time.perf_counter() - start)


def comparison_rows(metrics: tuple[str, ...], quick: bool) -> Iterator[dict]:
    """Yields one row per metric, mode, size, batch and library; prints each case when it is done."""
    sizes, seconds = (QUICK_SIZES, QUICK_SECONDS) if quick else (SIZES, SECONDS)
    for metric in metrics:
        for mode in MODES:
            contestants = create_contestants(metric, mode)
            for size in sizes:
                for batch in QUICK_BATCHES if quick else batches_of(metric, mode):
                    rows = measure_case(contestants, metric, mode, image_pairs(batch, *size), seconds)
                    print_case(rows)
                    yield from rows


def batches_of(metric: str, mode: str) -> tuple[int, ...]:
    """Returns the batch sizes at which the metric is compared."""
    if metric in ONE_BY_ONE:
        return BATCHES[:1]
    return NO_REFERENCE_BATCHES if metric in NO_REFERENCE and mode == "forward" else BATCHES


def create_contestants(metric: str, mode: str) -> Contestants:
    """Returns our metric and the peers', each called once on a small image so that what it keeps is there."""
    contestants: Contestants = {OURS: create_metric(metric)}
    for library in peers_of(metric, backward=mode != "forward"):
        try:
            contestants[library] = PEERS[library][1](metric)
        except (ModuleNotFoundError, FileNotFoundError) as error:  # a library, or the parameters that it needs
            contestants[library] = "not installed" if measure.installed_version(library) is None else f"failed: {error}"
    images = prepare(metric, image_pairs(1, *QUICK_SIZES[0]))
    for library, function in contestants.items():
        if not isinstance(function, str):
            status = first_call(partial(run_once, function, images, mode))["status"]
            contestants[library] = function if status == "ok" else status
    return contestants


def measure_case(contestants: Contestants, metric: str, mode: str, pair: tuple[torch.Tensor, torch.Tensor],
                 seconds: float) -> list[dict]:
    """Returns one row per contestant for one input."""
    n, _, height, width = pair[0].shape
    case = {"metric": metric, "mode": mode, "height": height, "width": width, "batch": n}
    images, rows, calls = prepare(metric, pair), {}, {}
    for library, function in contestants.items():
        rows[library] = case | {"library": library, "version": measure.installed_version(library), "status": function}
        if not isinstance(function, str):
            calls[library] = partial(run_once, function, images, mode)
            rows[library] |= first_call(calls[library])
    calls = {library: call for library, call in calls.items() if rows[library]["status"] == "ok"}
    samples = measure.alternate(calls, seconds, {library: rows[library]["seconds"] for library in calls})
    for library, times in samples.items():
        rows[library] |= {"median_ms": 1000 * median(times) / n, "min_ms": 1000 * min(times) / n, "rounds": len(times)}
    return [row | ratios(row, rows[OURS]) for row in rows.values()]


def prepare(metric: str, pair: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Returns the arguments of a metric: one or two images, gray where all libraries get gray images."""
    images = pair[:1] if metric in NO_REFERENCE else pair
    return tuple(map(rgb_to_luma_matlab, images)) if metric in GRAY_METRICS else images


def run_once(function: Callable, images: tuple[torch.Tensor, ...], mode: str) -> torch.Tensor:
    """Returns the scores; in mode ``forward+backward`` the gradient for the distorted image is computed as well."""
    if mode == "forward":
        with torch.no_grad():
            return function(*images)
    distorted = images[0].detach().requires_grad_()
    scores = function(distorted, *images[1:])
    torch.autograd.grad(scores.sum(), distorted)
    return scores.detach()


def first_call(call: Call) -> dict:
    """Returns status, mean score, seconds and peak memory of a call; for one that fails its error as status."""
    seen = {}

    def observed() -> None:
        start = time.perf_counter()
        seen["mean_score"] = call().double().mean().item()
        seen["seconds"] = time.perf_counter() - start

    try:
        memory = measure.peak_memory(observed)
    except Exception as error:  # noqa: BLE001 - whatever a foreign library raises is a result of the comparison
        return {"status": f"failed: {type(error).__name__}: {error}".splitlines()[0][:120]}
    return seen | {"status": "ok", "memory_mb": memory}


def ratios(row: dict, ours: dict) -> dict:
    """Returns peer / ours of time (medians, minima) and memory: above 1 we are faster, or need less."""
    pairs = {"time_ratio": "median_ms", "min_time_ratio": "min_ms", "memory_ratio": "memory_mb"}
    return {ratio: row[key] / ours[key] if row.get(key) and ours.get(key) else None for ratio, key in pairs.items()}


def print_case(rows: list[dict]) -> None:
    """Prints one case: time per image and the ratio peer / ours."""
    first = rows[0]
    print(f"\n{first['metric']}  {first['mode']}  {first['width']}x{first['height']}  batch {first['batch']}")
    for row in rows:
        if row["status"] != "ok":
            print(f"  {row['library']:<15} {row['status']}")
            continue
        memory = "      -" if row["memory_mb"] is None else f"{row['memory_mb']:7.1f}"
        print(f"  {row['library']:<15} {row['median_ms']:9.3f} ms/image (min {row['min_ms']:9.3f})  {memory} MB  "
              f"peer/ours: time {row['time_ratio']:6.2f}  score {row['mean_score']:.6g}", flush=True)


def linearity_rows(metrics: tuple[str, ...], quick: bool) -> Iterator[dict]:
    """Yields our time per megapixel over batch sizes (at 512 x 512) and over square images (batch 1)."""
    points = list(dict.fromkeys([*((n, LINEARITY_REFERENCE[1]) for n in LINEARITY_BATCHES),
                                 *((LINEARITY_REFERENCE[0], side) for side in LINEARITY_SIDES)]))
    if quick:
        points = [(1, 256), LINEARITY_REFERENCE]
    for metric in metrics:
        ours = create_metric(metric)
        for mode in MODES:
            calls = {(n, side): partial(run_once, ours, prepare(metric, image_pairs(n, side, side)), mode)
                     for n, side in points if n == 1 or metric not in ONE_BY_ONE}
            warm_up = {point: measure.duration(call, 1) for point, call in calls.items()}
            samples = measure.alternate(calls, QUICK_SECONDS if quick else SECONDS, warm_up)
            yield from linearity_table(metric, mode, samples)


def linearity_table(metric: str, mode: str, samples: dict[tuple[int, int], list[float]]) -> Iterator[dict]:
    """Yields and prints the rows of one metric and mode; ``relative`` is 1 at batch 1, 512 x 512."""
    per_megapixel = {(n, side): 1000 * median(times) / (n * side**2 / 1e6) for (n, side), times in samples.items()}
    print(f"\n{metric}  {mode}")
    for (n, side), ms in per_megapixel.items():
        times, relative = samples[n, side], ms / per_megapixel[LINEARITY_REFERENCE]
        print(f"  batch {n:2}  {side:4} x {side:4}  {ms:9.2f} ms/megapixel  relative {relative:.2f}", flush=True)
        yield {"metric": metric, "mode": mode, "batch": n, "side": side, "megapixels": n * side**2 / 1e6,
               "median_ms": 1000 * median(times), "min_ms": 1000 * min(times), "rounds": len(times),
               "ms_per_megapixel": ms, "relative": relative}


if __name__ == "__main__":
    main()
