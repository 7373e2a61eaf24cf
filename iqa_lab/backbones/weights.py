"""WEIGHTS lists every parameter file: where it comes from, its licence and its SHA-256; find_weights gives its path."""

from __future__ import annotations

import difflib
import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from iqa_lab.embedded import SHIPPED, cache_folder


@dataclass(frozen=True)
class Weights:
    """One parameter file.

    Attributes:
        file: name inside ``iqa_lab/embedded/weights`` or path below the ``IQA_LAB_WEIGHTS`` folder.
        sha256: of the file.
        source: who published it, where, which version.
        licence: terms of use.
        trained_on: the data behind it.
        url: where to download it; empty when its terms or its publisher allow no direct download.
        size: in bytes.
    """

    file: str
    sha256: str
    source: str
    licence: str
    trained_on: str
    url: str = ""
    size: int = 0


_LIVE_LICENCE = "free use with the notice of The University of Texas at Austin (readme.txt of the release)"
_TRAINED = "this project, data_scripts/train_regressors.py"
_LIVEC_LICENCE = "Apache-2.0; keep the notice of LIVE in the Wild (embedded/livec_mini)"
_LIVEC = "387 photos of LIVE in the Wild with 100 - MOS; the 150 photos of livec_mini were held out"
_CODEBOOKS = "this project, data_scripts/learn_codebooks.py"
_KODAK = "24 photos of the Kodak Lossless True Color Image Suite and 600 distorted versions, no opinion scores"
_BRISQUE_LIVE = "github.com/utlive/BRISQUE at 2e2a5ac0, folder MATLAB"

WEIGHTS: dict[str, Weights] = {
    "niqe_pristine": Weights(
        "niqe_pristine.npz", "f5531ae7e56af2ed91938dab9030647dc1d1900ac68fc055ac06c76cd50f25bb",
        "this project, data_scripts/fit_niqe.py", "Apache-2.0",
        "the 24 photos of the Kodak Lossless True Color Image Suite"),
    "niqe_live": Weights(
        "niqe/modelparameters.mat", "fa2aa4d12dd9595c3fb6bf8b4e1a15c79d5d1469238d0901c88dead195be578d",
        "github.com/utlive/niqe at d80aead2", _LIVE_LICENCE, "the authors' 125 pristine photos", size=8347),
    "ilniqe_pristine": Weights(
        "ilniqe_pristine.npz", "b50f730da526de37bbc612962a3bb9b913354a4d6ac6c16aae35d6653d9bad8d", "this project, data_scripts/fit_ilniqe.py", "Apache-2.0",
        "the 24 photos of the Kodak Lossless True Color Image Suite"),
    "ilniqe_authors": Weights(
        "ilniqe/templateModel.mat", "14f4919a630498d732bbf11837d894d45a57f89c9ed84bea98851147290ce93c",
        "github.com/IceClear/IL-NIQE at 57e9dfa2 (the file of the authors' MATLAB release)", "none stated by its authors",
        "the authors' 90 pristine photos", size=2764281),
    "brisque_livec": Weights(
        "brisque_livec.npz", "fdba6de2b0640e5165bd3f7eb412697a647a4db8c322fb51424d4875e8f12721",
        _TRAINED, _LIVEC_LICENCE, _LIVEC),
    "brisque_live": Weights(
        "brisque_live/allmodel", "8b04d6045f1b27261610c8ab1730fdcc14ec80bfab0f1ab5f703bbc2927314de",
        _BRISQUE_LIVE, _LIVE_LICENCE, "LIVE image quality database release 2, DMOS", size=353497),
    "brisque_live_range": Weights(
        "brisque_live/allrange", "e47d753d96b631e1aa2dbac8c4e51ade767f2def8ce678c7130b6b3f90ee915f",
        _BRISQUE_LIVE, _LIVE_LICENCE, "as brisque_live: its feature ranges", size=741),
    "bliinds2_livec": Weights(
        "bliinds2_livec.npz", "9af3fc93703a7c9bcce584967ef3a5bf7456c671779bba21e62294592b2516a7", _TRAINED, _LIVEC_LICENCE, _LIVEC),
    "bliinds2_live": Weights(
        "bliinds2/parameters_from_training.mat", "0988c338cf80c07a06296383be82597ec4bba0e9c20a3de76de7af166b56ebb4",
        "github.com/utlive/BLIINDS2 at 212d23b5", _LIVE_LICENCE,
        "all 982 images of LIVE release 2, references included; DMOS realigned for JPEG, noise and blur only", size=368360),
    "cornia_codebook": Weights(
        "cornia_codebook.npz", "3f6214f7ebee72861f08bcda890a8b17f7d3f521133f089d93244ea9e78e0187", _CODEBOOKS, "Apache-2.0",
        _KODAK),
    "hosa_codebook": Weights(
        "hosa_codebook.npz", "009c580430cb46dc415d5c3cab74947e497cd235011a3b421e15d050dcd8f973", _CODEBOOKS, "Apache-2.0",
        _KODAK),
    "cornia_livec": Weights(
        "cornia_livec.npz", "a1ff654bcfaa1e3c287ba459947e62a86460d0580f01d63f270eb9cb79812f96", _TRAINED, _LIVEC_LICENCE, _LIVEC),
    "hosa_livec": Weights(
        "hosa_livec.npz", "5fdf431de6a363209f9820388c6a973d199cb417027c6c9ab5d85ac1c7a25218", _TRAINED, _LIVEC_LICENCE, _LIVEC),
    "diivine_live": Weights(
        "diivine/data_live_trained.mat", "f2f79af10a528d65e8f9114b3e7d657216048f18d6e9f280d78dbe5e5d81c9a6",
        "github.com/utlive/DIIVINE at 934a8314", _LIVE_LICENCE, "LIVE image quality database release 2, DMOS", size=508954),
    "gm_log_livec": Weights(
        "gm_log_livec.npz", "8ba3c6c9c2d9716efce6d5db6c4830aad7a4295d0576b710b8b91ac267d08d51", _TRAINED, _LIVEC_LICENCE, _LIVEC),
    "gm_log_live": Weights(
        "gmlog/Learned_SVR_model_on_LIVE.mat", "9b485de54fc1dfc14f6e4188411e21c004a65935632f8b43a4a4806b1ea08c28",
        "github.com/NTIA/NRMetricFramework at 48165273, folder reports", _LIVE_LICENCE,
        "LIVE image quality database release 2, realigned DMOS, without some contents (bikes, house, monarch)", size=369268),
    "cnniqa_livec": Weights(
        "cnniqa_livec.pt", "32017bc30bcc0f36df973144ea36a82a333b1e566c01d7f26e36e97e7543c106",
        "this project, data_scripts/train_cnniqa.py", _LIVEC_LICENCE,
        "LIVE in the Wild photos with MOS; the 150 photos of livec_mini were held out"),
    "cnniqa_live": Weights(
        "cnniqa_live/CNNIQA-LIVE", "79cc404d0da3e76e51b6680c4d6edd7332399ba7ed8af3306bdd16e95c7bda7e",
        "github.com/lidq92/CNNIQA at fb36830f, models/CNNIQA-LIVE", "no licence stated by its author",
        "LIVE image quality database release 2, realigned DMOS", size=2900940),
}


def find_weights(name: str) -> Path:
    """Returns the path of a parameter file after checking its SHA-256.

    It is looked for among the files of the package, then below the folder ``IQA_LAB_WEIGHTS`` (default
    ``$IQA_LAB_DATA/weights``), then in the cache (``IQA_LAB_CACHE``, default ``~/.cache/iqa_lab``), where it is
    downloaded to if its publisher has a direct address.

    Args:
        name: a key of ``WEIGHTS``.

    Raises:
        ValueError: unknown name, or a file with another content.
        FileNotFoundError: not there and not downloadable; says which file, how big, from where and where to put it.
    """
    if name not in WEIGHTS:
        near = difflib.get_close_matches(name, WEIGHTS, n=1)
        raise ValueError(f"Unknown parameters {name!r}; " + (f"did you mean {near[0]!r}?" if near else
                                                             f"expected one of {', '.join(WEIGHTS)}."))
    weights = WEIGHTS[name]
    cached = cache_folder() / "weights" / weights.file
    places = [SHIPPED / "weights" / weights.file, *(folder / weights.file for folder in weights_folders()), cached]
    for path in places:
        if path.is_file():
            _check_hash(path, weights.sha256, path.stat().st_mtime_ns)
            return path
    if weights.url:
        from iqa_lab.downloads import download  # tqdm only when it is needed

        download(weights.url, cached, sha256=weights.sha256, size=weights.size)
        return cached
    raise FileNotFoundError(_how_to_get(name, places))


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


def _how_to_get(name: str, places: list[Path]) -> str:
    weights = WEIGHTS[name]
    folder = places[1].parent if len(places) > 2 else Path("$IQA_LAB_WEIGHTS") / Path(weights.file).parent
    return (f"Expected the parameters {name!r}, found none. Get {Path(weights.file).name} ({weights.size / 1e6:.2f} MB, "
            f"{weights.source}; {weights.licence}) and put it at {folder / Path(weights.file).name}; "
            "IQA_LAB_WEIGHTS names the folder for such files.")
