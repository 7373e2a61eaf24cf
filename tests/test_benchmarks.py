"""The benchmarks run, and the committed results are complete."""

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torchvision import models

from iqa_lab import create_metric

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
RESULTS = BENCHMARKS / "results"
METRICS = ("psnr", "ssim", "ms_ssim", "iw_ssim", "gmsd", "mdsi", "fsimc", "vsi", "vif", "vifp",
           "brisque", "niqe", "ilniqe", "piqe")
ONE_BY_ONE, NO_REFERENCE = {"vif", "ilniqe"}, {"brisque", "niqe", "piqe"}  # at batch 1 only; without gradients at 32 too
MODES = ("forward", "forward+backward")
PEER_COLUMNS = ["metric", "mode", "height", "width", "batch", "library", "version", "status", "median_ms", "min_ms",
                "rounds", "memory_mb", "mean_score", "time_ratio", "min_time_ratio", "memory_ratio"]
DEEP_COLUMNS = [*PEER_COLUMNS, "weights", "difference"]
DEEP_SYSTEMS = ("lpips", "lpips_squeeze", "dists_full_size", "pieapp", "perceptual_loss")
KEPT = "20 versions"
BLIND_COLUMNS = [*PEER_COLUMNS, "images_per_second", "weights", "difference"]
BLIND_SYSTEMS, BLIND_MODES = ("cnniqa", "wadiqam_nr", "nima", "dbcnn", "hyperiqa"), ("scoring", "training step")
LINEARITY_COLUMNS = ["metric", "mode", "batch", "side", "megapixels", "median_ms", "min_ms", "rounds",
                     "ms_per_megapixel", "relative"]


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def committed(name: str) -> list[dict[str, str]]:
    if not (RESULTS / name).exists():
        pytest.skip(f"benchmarks/results/{name} is not there yet: python benchmarks/run.py writes it")
    machine = json.loads((RESULTS / name).with_suffix(".json").read_text())
    assert {"date", "commit", "processor", "logical_cores", "threads", "versions"} <= set(machine)
    return read(RESULTS / name)


@pytest.fixture
def measure(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import measure
    return measure


@pytest.fixture
def deep(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import deep
    return deep


@pytest.fixture
def blind(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import deep_no_reference
    return deep_no_reference


def test_quick_run_writes_our_row_and_names_absent_libraries(tmp_path):
    output = tmp_path / "quick.csv"
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--quick", "--metric", "psnr", "--output", str(output)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    rows = read(output)
    assert list(rows[0]) == PEER_COLUMNS
    ours = [row for row in rows if row["library"] == "iqa-lab"]
    assert [row["mode"] for row in ours] == list(MODES)
    assert all(row["status"] == "ok" and float(row["time_ratio"]) == 1 and float(row["mean_score"]) > 20 for row in ours)
    assert {row["status"] for row in rows} <= {"ok", "not installed"}, rows
    assert all((row["status"] == "not installed") == (row["version"] == "") for row in rows)
    assert "threads" in json.loads(output.with_suffix(".json").read_text())


def test_committed_comparison_has_every_case_and_its_ratios():
    rows = committed("peers.csv")
    assert list(rows[0]) == PEER_COLUMNS
    cases = {}
    for row in rows:
        cases.setdefault(tuple(row[key] for key in PEER_COLUMNS[:5]), {})[row["library"]] = row
    sizes = (("384", "512"), ("768", "1024"))
    assert set(cases) == {(m, mode, *size, n) for m in METRICS for mode in MODES for size in sizes
                          for n in (("1",) if m in ONE_BY_ONE else
                                    ("1", "8", "32") if m in NO_REFERENCE and mode == "forward" else ("1", "8"))}
    for libraries in cases.values():
        ours = libraries["iqa-lab"]
        assert ours["status"] == "ok" and len(libraries) >= 2
        for row in libraries.values():
            if row["status"] == "ok":
                ratio = float(row["median_ms"]) / float(ours["median_ms"])
                assert float(row["time_ratio"]) == pytest.approx(ratio, rel=1e-3)


def test_committed_linearity_covers_batches_and_sizes():
    rows = committed("linearity.csv")
    assert list(rows[0]) == LINEARITY_COLUMNS
    batches, sides = {(n, 512) for n in (1, 2, 4, 8, 16)}, {(1, side) for side in (256, 512, 768, 1024, 1536)}
    for metric in METRICS:
        for mode in MODES:
            points = {(int(row["batch"]), int(row["side"])) for row in rows if (row["metric"], row["mode"]) == (metric, mode)}
            assert points == (sides if metric in ONE_BY_ONE else batches | sides)
    assert all(row["relative"] == "1" for row in rows if (row["batch"], row["side"]) == ("1", "512"))


def test_alternate_takes_turns_and_measures_per_call(measure):
    order = []
    calls = {name: lambda name=name, seconds=seconds: (order.append(name), time.sleep(seconds))
             for name, seconds in (("a", 0.03), ("b", 0.06))}
    samples = measure.alternate(calls, 0.05, {"a": 0.03, "b": 0.06})
    assert order == ["a", "b"] * 3
    assert min(samples["a"]) >= 0.03 and min(samples["b"]) >= 0.06


def test_a_slow_function_leaves_before_three_rounds(measure):
    samples = measure.alternate({"slow": lambda: time.sleep(0.05)}, 0.01, {"slow": 0.05})
    assert len(samples["slow"]) == 1


def test_peak_memory_sees_what_a_call_frees_again(measure):
    megabytes = measure.peak_memory(lambda: torch.ones(25_000_000).sum())
    if megabytes is None:
        pytest.skip("peak memory is measured on Linux only")
    assert 95 < megabytes < 115
    assert measure.peak_memory(lambda: None) < 5


def test_committed_protocols_reach_the_sizes_of_a_whole_field():
    rows = {(row["task"], row["size"]): row for row in committed("protocols.csv")}
    assert float(rows["bootstrap of SROCC", "50 metrics, 10000 images, 1000 resamples"]["seconds"]) < 60
    assert float(rows["Bradley-Terry", "5000 items, 200000 comparisons"]["seconds"]) < 60
    assert float(rows["gMAD pairs", "30 models, 100000 images"]["memory_mb"]) < 1000
    for row in rows.values():
        if row["peer_seconds"]:
            assert float(row["ratio"]) == pytest.approx(float(row["peer_seconds"]) / float(row["seconds"]), rel=2e-3)


def test_quick_protocols_run_every_task():
    run = subprocess.run([sys.executable, str(BENCHMARKS / "protocols.py"), "--quick"], capture_output=True, text=True,
                         timeout=300)
    assert run.returncode == 0, run.stderr
    assert all(f"'task': '{row['task']}'" in run.stdout for row in committed("protocols.csv"))


def test_quick_deep_run_measures_every_mode(tmp_path):
    output = tmp_path / "deep.csv"
    command = [sys.executable, str(BENCHMARKS / "deep.py"), "--quick", "--threads", "1", "--metric", "lpips_squeeze",
               "--output", str(output)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    rows = read(output)
    assert list(rows[0]) == DEEP_COLUMNS
    ours = [row for row in rows if row["library"] == "iqa-lab"]
    assert [row["mode"] for row in ours] == [*MODES, KEPT]
    assert all(row["status"] == "ok" and float(row["mean_score"]) > 0 and float(row["difference"]) == 0 for row in ours)
    assert {row["status"] for row in rows} <= {"ok", "not installed"}, rows


def test_committed_deep_comparison_agrees_before_it_measures():
    rows = committed("deep.csv")
    assert list(rows[0]) == DEEP_COLUMNS
    cases = {}
    for row in rows:
        cases.setdefault(tuple(row[key] for key in PEER_COLUMNS[:5]), {})[row["library"]] = row
    small, large = ("256", "256"), ("384", "512")
    assert set(cases) == {(m, mode, *size, n) for m in DEEP_SYSTEMS for mode in MODES for size in (small, large)
                          for n in (("1", "8") if size == small or m.startswith("lpips") else ("1",))} | {
                              (m, KEPT, *small, "20") for m in DEEP_SYSTEMS[:3]}
    for libraries in cases.values():
        ours = libraries["iqa-lab"]
        assert len(libraries) >= 2 and {row["status"] for row in libraries.values()} == {"ok"}
        for row in libraries.values():
            assert row["weights"] and float(row["difference"] or 0) < 1e-3
            assert float(row["time_ratio"]) == pytest.approx(float(row["median_ms"]) / float(ours["median_ms"]), rel=1e-3)


def test_libraries_get_our_weights_instead_of_a_download(deep):
    ours = create_metric("lpips_squeeze").network
    with deep.instead_of_downloads(**deep.torchvision_state(ours)):
        theirs = models.squeezenet1_1(weights="IMAGENET1K_V1")  # strict: every tensor is there
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(theirs.features((image - ours.mean) / ours.std), ours(image)["fire9"])
    assert theirs.classifier[1].weight.abs().max() == 0


def test_kept_features_give_the_same_scores(deep):
    metric = create_metric("lpips_squeeze")
    images, reference = deep.image_versions(3, 64, 64)
    kept, again = (function(metric, images, reference) for function in (deep.with_kept_features, deep.one_by_one))
    torch.testing.assert_close(kept, again, rtol=1e-4, atol=1e-6)
    assert len(set(kept.tolist())) == 3


def test_quick_deep_no_reference_run_measures_scoring_and_training(tmp_path):
    output = tmp_path / "deep_no_reference.csv"
    command = [sys.executable, str(BENCHMARKS / "deep_no_reference.py"), "--quick", "--threads", "1",
               "--metric", "cnniqa", "wadiqam_nr", "--output", str(output)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    rows = read(output)
    assert list(rows[0]) == BLIND_COLUMNS
    ours = [row for row in rows if row["library"] == "iqa-lab"]
    assert [(row["metric"], row["mode"]) for row in ours] == [(m, mode) for m in BLIND_SYSTEMS[:2] for mode in BLIND_MODES]
    assert all(row["status"] == "ok" and float(row["difference"]) == 0 for row in ours)
    assert all(float(row["images_per_second"]) > 0 for row in rows if row["status"] == "ok")
    assert {row["status"] for row in rows} <= {"ok", "not installed"}, rows


@pytest.mark.parametrize("file", ["deep_no_reference.csv", "deep_no_reference_cuda.csv"])
def test_committed_deep_no_reference_comparison_agrees_before_it_measures(file):
    rows = committed(file)
    assert list(rows[0]) == BLIND_COLUMNS
    cases = {}
    for row in rows:
        cases.setdefault((row["metric"], row["mode"], row["batch"]), {})[row["library"]] = row
    assert set(cases) == {(m, mode, n) for m in BLIND_SYSTEMS for mode in BLIND_MODES for n in ("1", "8")}
    for libraries in cases.values():
        assert set(libraries) == {"iqa-lab", "pyiqa"} and {row["status"] for row in libraries.values()} == {"ok"}
        for row in libraries.values():
            assert row["weights"] and row["memory_mb"] and float(row["difference"]) < 1e-5
            assert float(row["images_per_second"]) == pytest.approx(1000 / float(row["median_ms"]), rel=1e-3)


def test_a_network_that_computes_something_else_is_not_measured(blind):
    torch.manual_seed(0)
    ours, theirs = blind.our_wadiqam(), blind.our_wadiqam()
    contestants = {"iqa-lab": ours, "same": ours, "other weights": theirs, "absent": "not installed"}
    for mode in BLIND_MODES:
        functions, differences = blind.mode_functions(contestants, mode, (64, 64), "cpu")
        assert callable(functions["same"]) and differences["same"] == 0
        assert functions["other weights"].startswith(f"failed: {mode} differs") and functions["absent"] == "not installed"
        assert ours.network.training == (mode == "training step") and next(ours.network.parameters()).dtype == torch.float32


def test_a_training_step_changes_every_parameter(blind):
    contestant = blind.our_wadiqam()
    before = [parameter.detach().clone() for parameter in contestant.network.parameters()]
    step = blind.TrainingStep(contestant)
    step.optimiser.param_groups[0]["lr"] = 1.0
    with torch.no_grad():
        loss = step(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert loss.ndim == 0 and not loss.requires_grad
    after = list(contestant.network.parameters())
    assert all(parameter.grad is None for parameter in after)
    assert sum(not torch.equal(old, new) for old, new in zip(before, after, strict=True)) > len(after) / 2
