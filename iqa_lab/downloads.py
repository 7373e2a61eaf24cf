"""Downloads files and unpacks archives: progress, resume, SHA-256, and nothing written outside the given folder."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import stat
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath

from tqdm import tqdm

ATTEMPTS = 5  # how often a broken connection is taken up again before giving up
TIMEOUT = 60  # seconds without a byte
CHUNK = 1 << 20


def download(url: str, path: str | Path, *, sha256: str | None, size: int | None = None) -> Path:
    """Returns ``path`` after fetching ``url`` to it.

    An interrupted download stays beside it as ``.part`` and is resumed, by the next call too. The file gets its name
    only when complete and checked. Two processes must not download to the same path at once.

    Args:
        url: http(s) address.
        path: where the file goes.
        sha256: the published hash. None where none is published: then the hash seen at the first download is recorded
            in ``<path>.sha256``, a message says that it could not be checked, and later calls check against it.
        size: expected size in bytes, if known.

    Raises:
        ConnectionError: the server cannot be reached, or breaks off again and again.
        ValueError: size or hash is not the expected one.
    """
    path = Path(path)
    if path.is_file():
        return check_file(path, sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    _fetch_all(url, part)
    if size is not None and part.stat().st_size != size:
        found = part.stat().st_size
        part.unlink()
        raise ValueError(f"Expected {size} bytes from {url}, got {found}; try again later or report it.")
    found = hash_file(part)
    if sha256 and found != sha256.lower():
        part.unlink()
        raise ValueError(f"Expected SHA-256 {sha256} from {url}, got {found}; the download was damaged or the file on "
                         "the server has changed. It was removed; try again, then report it.")
    if not sha256:
        record_of(path).write_text(f"{found}  {path.name}\n")
        print(f"{path.name}: no published SHA-256 to check against; recorded the one seen, {found}.")
    return part.replace(path)


def check_file(path: Path, sha256: str | None) -> Path:
    """Returns ``path`` if its SHA-256 is the given or, without one, the recorded one.

    Raises:
        ValueError: it is another one.
    """
    record = record_of(path)
    expected = sha256 or (record.read_text().split()[0] if record.is_file() else None)
    found = hash_file(path)
    if expected is None:
        record.write_text(f"{found}  {path.name}\n")
    elif found != expected.lower():
        raise ValueError(f"Expected SHA-256 {expected} for {path}, got {found}; delete the file and run this again.")
    return path


def record_of(path: Path) -> Path:
    """Returns the file that keeps the hash seen at the first download."""
    return path.with_name(path.name + ".sha256")


def hash_file(path: str | Path) -> str:
    """Returns the SHA-256 of a file as 64 lower-case hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def extract_archive(archive: str | Path, folder: str | Path) -> Path:
    """Returns ``folder`` after unpacking a zip or tar archive into it, all of it or nothing.

    Every member's name is checked before the first is written.

    Raises:
        FileNotFoundError: there is no such archive.
        ValueError: not a zip or tar file, a damaged one, or one with a member that is absolute, contains ``..``, or is
            a link or device.
        FileExistsError: ``folder`` is there already.
        OSError: not enough room.
    """
    archive, folder = Path(archive), Path(folder)
    if not archive.is_file():
        raise FileNotFoundError(f"Expected an archive at {archive}, found none; check the name.")
    if folder.exists():
        raise FileExistsError(f"Expected to create {folder}, but it exists; delete it first to unpack again.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}.unpacking-", dir=folder.parent))
    try:
        with _open_archive(archive) as opened:
            members = _members(opened)
            _check_members(archive, members, shutil.disk_usage(unfinished).free)
            for name, _, member in tqdm(members, unit="file", desc=f"unpacking {archive.name}"):
                _extract_one(opened, member, unfinished / name)
        unfinished.chmod(0o755)
        return unfinished.rename(folder)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise ValueError(f"Expected an intact archive, got {archive} that cannot be read ({error}); "
                         "fetch it again.") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _fetch_all(url: str, part: Path) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _fetch_rest(url, part)
        except urllib.error.HTTPError as error:
            raise ConnectionError(f"Expected a file at {url}, got the answer {error.code} {error.reason}; check the "
                                  "database's homepage for a new address.") from error
        except (OSError, http.client.HTTPException) as error:
            if attempt == ATTEMPTS:
                kept = part.stat().st_size if part.exists() else 0
                raise ConnectionError(f"Could not fetch {url} ({error}); {kept} bytes are kept in {part}, the same "
                                      "command resumes there.") from error


def _fetch_rest(url: str, part: Path) -> None:
    """Fetches what ``part`` lacks; a server that cannot resume, or whose file has changed, sends all of it again."""
    tag = part.with_name(part.name + ".tag")  # the server's mark of the version that ``part`` began with
    start = part.stat().st_size if part.exists() and tag.exists() else 0
    request = urllib.request.Request(url)
    if start:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", tag.read_text())
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range", "") == f"bytes */{start}":
            tag.unlink()
            return  # everything was there already
        raise
    with response:
        start = start if response.status == 206 else 0
        _remember_version(response, tag)
        expected = int(response.headers.get("Content-Length") or 0) + start
        _append(response, part, start, expected)
    if expected > start and part.stat().st_size != expected:
        raise ConnectionError(f"the connection broke after {part.stat().st_size} of {expected} bytes")
    tag.unlink(missing_ok=True)


def _remember_version(response: http.client.HTTPResponse, tag: Path) -> None:
    etag = response.headers.get("ETag", "")
    version = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
    if version:  # without one, a broken download starts again: two versions could be spliced together
        tag.write_text(version)
    else:
        tag.unlink(missing_ok=True)


def _append(response: http.client.HTTPResponse, part: Path, start: int, total: int) -> None:
    with part.open("ab" if start else "wb") as file, tqdm(
            initial=start, total=total or None, unit="B", unit_scale=True, desc=part.stem) as bar:
        while chunk := response.read(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))


def _open_archive(archive: Path) -> zipfile.ZipFile | tarfile.TarFile:
    if zipfile.is_zipfile(archive):
        return zipfile.ZipFile(archive)
    if tarfile.is_tarfile(archive):
        return tarfile.open(archive)
    raise ValueError(f"Expected an intact zip or tar archive, got {archive}; fetch it again if it is damaged, or "
                     "unpack it yourself (.rar, .7z) and give the folder.")


def _members(opened: zipfile.ZipFile | tarfile.TarFile) -> list[tuple[str, bool, zipfile.ZipInfo | tarfile.TarInfo]]:
    """Returns (name, is a plain file or folder, member) of everything in the archive."""
    if isinstance(opened, zipfile.ZipFile):
        return [(info.filename, stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR), info)
                for info in opened.infolist()]
    return [(info.name, info.isreg() or info.isdir(), info) for info in opened.getmembers()]


def _check_members(archive: Path, members: list[tuple], free: int) -> None:
    for name, plain, _ in members:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in name or not plain:
            raise ValueError(f"Refused to unpack {archive}: its member {name!r} is a link, or points outside the "
                             "folder; nothing was written. Get the archive from the official source.")
    size = sum(getattr(info, "file_size", getattr(info, "size", 0)) for *_, info in members)
    if size > free:
        raise OSError(f"Expected {size / 1e9:.1f} GB of free space to unpack {archive}, got {free / 1e9:.1f} GB.")


def _extract_one(opened: zipfile.ZipFile | tarfile.TarFile, member: zipfile.ZipInfo | tarfile.TarInfo,
                 target: Path) -> None:
    if member.is_dir() if isinstance(member, zipfile.ZipInfo) else member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source = opened.open(member) if isinstance(opened, zipfile.ZipFile) else opened.extractfile(member)
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
