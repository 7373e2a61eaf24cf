"""Small images, and a server in a process of its own, for the tests of the live experiment."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image


def make_images(folder: Path, n_contents: int = 3, n_levels: int = 3) -> pd.DataFrame:
    folder.mkdir()
    rows = []
    for content in range(n_contents):
        for level in range(n_levels):
            path = folder / f"c{content}_l{level}.png"
            random = np.random.RandomState([content, level])
            Image.fromarray(random.randint(0, 256, (24, 32, 3), dtype=np.uint8)).save(path)
            rows.append({"image": str(path), "content": f"c{content}", "role": "test"})
    return pd.DataFrame(rows)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start_server(folder: Path, port: int) -> subprocess.Popen:
    code = f"from pathlib import Path; from iqa_lab.experiment.server import serve; serve(Path({str(folder)!r}), port={port})"
    process = subprocess.Popen([sys.executable, "-c", code])
    for _ in range(300):
        try:
            call(port, "/about")
            return process
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    kill(process)
    raise RuntimeError("the server did not start")


def kill(process: subprocess.Popen) -> None:
    """Ends the server without a chance to tidy up (SIGKILL)."""
    process.kill()
    process.wait()


def call(port: int, path: str, body: dict | None = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)
