"""The answers of an experiment in one SQLite file: every answer is on the disk before the browser hears that it arrived."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from iqa_lab.experiment.design import Trial

FILE = "answers.sqlite"
WAIT = 10.0  # seconds that a writer waits for another one
SCHEMA = """
CREATE TABLE IF NOT EXISTS participants (number INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, started TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    participant INTEGER NOT NULL REFERENCES participants (number), trial INTEGER NOT NULL,
    kind TEXT NOT NULL, first TEXT, second TEXT, expected TEXT, answer TEXT NOT NULL,
    seconds REAL NOT NULL, pixel_ratio REAL NOT NULL, window_width INTEGER NOT NULL, window_height INTEGER NOT NULL,
    answered TEXT NOT NULL, PRIMARY KEY (participant, trial)) WITHOUT ROWID;
"""


@contextmanager
def opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """Yields the database of an experiment's folder and closes it; it is made on first use.

    A commit returns when the data have reached the disk (write-ahead log, ``synchronous = FULL``): neither a killed
    server nor a power cut loses an answer that was acknowledged.
    """
    connection = sqlite3.connect(folder / FILE, timeout=WAIT, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(SCHEMA)
        yield connection
    finally:
        connection.close()


def add_participant(connection: sqlite3.Connection) -> str:
    """Returns the token of a new participant, which stays in the browser; nothing about the person is stored."""
    token = secrets.token_urlsafe(16)
    connection.execute("INSERT INTO participants (number, token, started) "
                       "SELECT COALESCE(MAX(number) + 1, 0), ?, ? FROM participants", (token, _now()))
    return token


def find_participant(connection: sqlite3.Connection, token: str) -> int | None:
    """Returns the number of a participant, None if nobody has this token."""
    row = connection.execute("SELECT number FROM participants WHERE token = ?", (token,)).fetchone()
    return row and row[0]


def n_answered(connection: sqlite3.Connection, participant: int) -> int:
    """Returns how many trials a participant has answered; the next one has this number."""
    return connection.execute("SELECT COUNT(*) FROM answers WHERE participant = ?", (participant,)).fetchone()[0]


def answer_of(connection: sqlite3.Connection, participant: int, number: int) -> str | None:
    """Returns the answer to a trial, None without one."""
    row = connection.execute("SELECT answer FROM answers WHERE participant = ? AND trial = ?", (participant, number))
    found = row.fetchone()
    return found and found[0]


def record(connection: sqlite3.Connection, participant: int, number: int, trial: Trial, given: dict) -> None:
    """Stores the answer to a trial, and what was shown, so that the file can be read without the rest.

    Args:
        given: ``answer, seconds, pixel_ratio, window_width, window_height``, checked before.

    Raises:
        sqlite3.IntegrityError: this trial has an answer.
    """
    first, second = ([image.name for image in trial.images] + [None, None])[:2]
    connection.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (
        participant, number, trial.kind, first, second, trial.expected, given["answer"], given["seconds"],
        given["pixel_ratio"], given["window_width"], given["window_height"], _now()))


def load_answers(folder: Path) -> pd.DataFrame:
    """Returns all answers, one row each, in the order of participants and trials.

    The columns are ``participant, trial, kind, first, second, expected, answer, seconds, pixel_ratio, window_width,
    window_height, answered``: ``first`` and ``second`` are the images from left to right.

    Raises:
        FileNotFoundError: nobody has taken part yet.
    """
    if not (folder / FILE).is_file():
        raise FileNotFoundError(f"Expected answers in {folder / FILE}, found none; run `iqa-lab experiment serve` and take "
                                "part.")
    with opened(folder) as connection:
        return pd.read_sql_query("SELECT * FROM answers ORDER BY participant, trial", connection)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
