"""Creates the pinned environment of the two commands: python book/setup_environment.py --folder .venv

Every package comes from requirements.lock with its hash. With ``--torch installed``, torch and its CUDA libraries
are left out, and the environment looks for them where the Python that runs this script has them.
Only the standard library is used, because nothing is installed yet when this runs.
"""

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH_PACKAGES = re.compile(r"^(torch|torchvision|triton|nvidia-[\w-]+|cuda-[\w-]+)==")


def lock_entries(text: str) -> list[str]:
    """Returns the lock's requirements, each with its continuation lines of hashes."""
    return re.findall(r"^\S(?:.*\\\n)*.*", text, flags=re.MULTILINE)


def without_torch(text: str) -> str:
    """Returns the lock without torch and the libraries that only torch needs."""
    return "\n".join(entry for entry in lock_entries(text) if not TORCH_PACKAGES.match(entry)) + "\n"


def check_python(torch: str) -> None:
    if sys.version_info < (3, 11):
        sys.exit(f"iqa-lab needs Python 3.11 or newer, this is {sys.version.split()[0]}; "
                 "name another one with: make book PYTHON=python3.12")
    missing = [name for name in ("torch", "torchvision") if importlib.util.find_spec(name) is None]
    if torch == "installed" and missing:
        sys.exit(f"TORCH=installed, but {sys.executable} has no {' and no '.join(missing)}; install torch >= 2.11 and the "
                 "torchvision that belongs to it there, or leave TORCH=installed out to download the pinned ones")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the environment goes")
    parser.add_argument("--torch", choices=("pinned", "installed"), default="pinned")
    arguments = parser.parse_args()
    check_python(arguments.torch)
    installed = arguments.torch == "installed"
    torch = importlib.util.find_spec("torch")
    # A change of the lock starts afresh: leftovers of the old lock would hide a missing requirement.
    shutil.rmtree(arguments.folder, ignore_errors=True)
    venv.create(arguments.folder, with_pip=True)
    python = arguments.folder / "bin" / "python"
    lock = (ROOT / "requirements.lock").read_text()
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(without_torch(lock) if installed else lock)
        # The lock is complete and hashed, so pip must not resolve anything itself.
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--require-hashes", "-r", requirements], check=True)
        subprocess.run([*pip, "--editable", str(ROOT)], check=True)
    if installed:
        # A .pth file, not system_site_packages: that would miss a torch which lives in another virtual environment,
        # and the folders it names come last, so that the pinned packages win.
        site = Path(sysconfig.get_path("purelib", vars={"base": str(arguments.folder.resolve())}))
        (site / "installed_torch.pth").write_text(str(Path(torch.origin).parent.parent) + "\n")


if __name__ == "__main__":
    main()
