"""Downloads against a server on this machine that breaks off, and archives that want to write elsewhere."""

import hashlib
import http.server
import io
import tarfile
import threading
import zipfile

import pytest

from iqa_lab import downloads
from iqa_lab.downloads import download, extract_archive

CONTENT = bytes(range(256)) * 20_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT with Range support; the first ``breaks`` answers end in the middle."""

    breaks, with_range, etag, ranges = 0, True, '"v1"', []

    def do_GET(self):
        cls = type(self)
        wanted = self.headers.get("Range")
        cls.ranges.append(wanted)
        if self.path == "/absent":
            return self.send_error(404)
        fresh = self.headers.get("If-Range") in (None, cls.etag)
        start = int(wanted[6:-1]) if wanted and cls.with_range and fresh else 0
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.send_header("ETag", cls.etag)
        self.end_headers()
        end = len(CONTENT)
        if cls.breaks:
            cls.breaks -= 1
            end = start + (end - start) // 2
        self.wfile.write(CONTENT[start:end])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    handler = type("Handler", (Server,), {"ranges": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        handler.url = f"http://127.0.0.1:{running.server_port}/file.bin"
        yield handler
        running.shutdown()


def test_an_interrupted_download_is_resumed_where_it_broke(server, tmp_path):
    server.breaks = 1
    path = download(server.url, tmp_path / "sub" / "file.bin", sha256=SHA256, size=len(CONTENT))
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={len(CONTENT) // 2}-"]
    assert [file.name for file in path.parent.iterdir()] == ["file.bin"]  # neither .part nor .tag is left


def test_a_later_call_resumes_what_an_earlier_one_left(server, tmp_path, monkeypatch):
    server.breaks = 1
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    with pytest.raises(ConnectionError, match="resumes there"):
        download(server.url, tmp_path / "file.bin", sha256=SHA256)
    assert not (tmp_path / "file.bin").exists()
    download(server.url, tmp_path / "file.bin", sha256=SHA256)
    assert server.ranges[-1].startswith("bytes=") and (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_is_not_spliced(server, tmp_path, monkeypatch):
    server.breaks = 1
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    with pytest.raises(ConnectionError):
        download(server.url, tmp_path / "file.bin", sha256=None)
    (tmp_path / "file.bin.part").write_bytes(b"old" * 1000)
    server.etag = '"v2"'
    assert download(server.url, tmp_path / "file.bin", sha256=None).read_bytes() == CONTENT


def test_a_server_without_range_sends_all_again(server, tmp_path):
    server.breaks, server.with_range = 1, False
    assert download(server.url, tmp_path / "file.bin", sha256=SHA256).read_bytes() == CONTENT


def test_a_part_that_was_complete_is_taken(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    (tmp_path / "file.bin.part.tag").write_text(server.etag)
    assert download(server.url, tmp_path / "file.bin", sha256=SHA256).read_bytes() == CONTENT
    assert [file.name for file in tmp_path.iterdir()] == ["file.bin"]


def test_a_wrong_hash_or_size_leaves_no_file(server, tmp_path):
    with pytest.raises(ValueError, match="Expected SHA-256 0000"):
        download(server.url, tmp_path / "file.bin", sha256="0" * 64)
    with pytest.raises(ValueError, match="Expected 7 bytes"):
        download(server.url, tmp_path / "file.bin", sha256=SHA256, size=7)
    assert list(tmp_path.iterdir()) == []


def test_without_published_hash_the_seen_one_is_recorded_and_checked_later(server, tmp_path, capsys):
    path = download(server.url, tmp_path / "file.bin", sha256=None)
    assert "no published SHA-256" in capsys.readouterr().out
    assert (tmp_path / "file.bin.sha256").read_text().split() == [SHA256, "file.bin"]
    assert download(server.url, path, sha256=None) == path and len(server.ranges) == 1  # not fetched again
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match="delete the file"):
        download(server.url, path, sha256=None)


def test_a_missing_file_and_an_absent_server_say_so(server, tmp_path, monkeypatch):
    with pytest.raises(ConnectionError, match="404"):
        download(server.url.replace("file.bin", "absent"), tmp_path / "a", sha256=None)
    assert len(server.ranges) == 1  # not tried again
    monkeypatch.setattr(downloads, "ATTEMPTS", 2)
    with pytest.raises(ConnectionError, match="0 bytes are kept"):
        download("http://127.0.0.1:9/a", tmp_path / "a", sha256=None)


def make_tar(path, name, **fields):
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = 0 if fields else 2
        for field, value in fields.items():
            setattr(info, field, value)
        archive.addfile(info, None if fields else io.BytesIO(b"ok"))
    return path


def make_zip(path, name, mode=0):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("first.txt", "fine")
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, "ok")
    return path


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_archives_are_unpacked(tmp_path, make):
    folder = extract_archive(make(tmp_path / "a", "sub/file.txt"), tmp_path / "out")
    assert (folder / "sub" / "file.txt").read_bytes() == b"ok"
    with pytest.raises(FileExistsError, match="delete it first"):
        extract_archive(tmp_path / "a", folder)


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:\\evil.txt"])
def test_a_member_that_points_outside_is_refused_and_nothing_is_written(tmp_path, make, name):
    with pytest.raises(ValueError, match="Refused to unpack"):
        extract_archive(make(tmp_path / "a", name), tmp_path / "in" / "out")
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["a", "in"]


def test_links_are_refused(tmp_path):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
        with pytest.raises(ValueError, match="Refused to unpack"):
            extract_archive(make_tar(tmp_path / "a", "x", type=kind, linkname="/etc/passwd"), tmp_path / "out")
    with pytest.raises(ValueError, match="Refused to unpack"):
        extract_archive(make_zip(tmp_path / "b", "x", mode=0o120777), tmp_path / "out")


def test_damaged_absent_and_unknown_archives_say_so(tmp_path):
    whole = make_tar(tmp_path / "a.tgz", "file.txt").read_bytes()
    (tmp_path / "half.tgz").write_bytes(whole[:len(whole) // 2])
    (tmp_path / "release.rar").write_bytes(b"Rar!\x1a\x07\x00")
    with zipfile.ZipFile(tmp_path / "flipped.zip", "w") as archive:
        archive.writestr("file.bin", CONTENT[:1000])
    data = bytearray((tmp_path / "flipped.zip").read_bytes())
    data[200] ^= 255
    (tmp_path / "flipped.zip").write_bytes(data)
    for name in ("half.tgz", "release.rar", "flipped.zip"):
        with pytest.raises(ValueError, match="Expected an intact"):
            extract_archive(tmp_path / name, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="found none"):
        extract_archive(tmp_path / "absent.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()
