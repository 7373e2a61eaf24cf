"""pyproject.toml, requirements.lock and environment.yml describe one environment."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()
spec = importlib.util.spec_from_file_location("setup_environment", ROOT / "book" / "setup_environment.py")
setup_environment = importlib.util.module_from_spec(spec)
spec.loader.exec_module(setup_environment)
ENTRIES = setup_environment.lock_entries(LOCK)


def locked_versions() -> dict[str, set[str]]:
    versions: dict[str, set[str]] = {}
    for entry in ENTRIES:
        name, version = re.match(r"([\w.-]+)==([^\s;]+)", entry).groups()
        versions.setdefault(canonicalize_name(name), set()).add(version)
    return versions


def test_every_requirement_is_locked_inside_its_range():
    locked = locked_versions()
    for text in [*PROJECT["dependencies"], *sum(PROJECT["optional-dependencies"].values(), [])]:
        requirement = Requirement(text)
        versions = locked[canonicalize_name(requirement.name)]
        assert all(Version(version) in requirement.specifier for version in versions), (text, versions)


def test_every_locked_package_has_hashes_and_no_address_is_named():
    assert len(ENTRIES) > 50
    assert all("--hash=sha256:" in entry for entry in ENTRIES)
    assert "://" not in LOCK and "--index" not in LOCK


def test_conda_takes_the_same_python_and_the_same_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, _, pip = environment["dependencies"]
    assert SpecifierSet(python.removeprefix("python")) == SpecifierSet(PROJECT["requires-python"])
    assert pip["pip"] == ["--requirement requirements.lock", "--editable ."]


def test_torch_range_is_what_the_readme_promises():
    torch = next(Requirement(text) for text in PROJECT["dependencies"] if text.startswith("torch"))
    assert Version("2.11.0") in torch.specifier and Version("9.0") in torch.specifier


def test_an_installed_torch_replaces_torch_and_its_cuda_libraries_alone():
    kept = setup_environment.without_torch(LOCK)
    names = {re.match(r"[\w.-]+", entry).group() for entry in setup_environment.lock_entries(kept)}
    dropped = {re.match(r"[\w.-]+", entry).group() for entry in ENTRIES} - names
    assert {"torch", "torchvision", "triton"} <= dropped and {"numpy", "matplotlib"} <= names
    assert all(re.match(r"torch$|torchvision$|triton$|nvidia-|cuda-", name) for name in dropped)
    assert all("--hash=sha256:" in entry for entry in setup_environment.lock_entries(kept))


def test_an_old_python_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    with pytest.raises(SystemExit, match="make book PYTHON="):
        setup_environment.check_python("pinned")


def test_make_help_lists_the_targets():
    text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(target in text for target in ("book", "test", "lab", "clean", "help", "TORCH=installed"))


def test_versions_agree():
    import iqa_lab

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PROJECT["version"] == iqa_lab.__version__ == citation["version"]
