"""The web page of an experiment: a small Flask application, served by waitress on this machine.

The browser asks for the next trial, shows it and sends the answer; all state is in the answers' file, so that a closed
browser or a killed server goes on where it stopped. No page asks anything of another machine.
"""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

from flask import Flask, Response, abort, jsonify, request, send_from_directory
from waitress import serve as serve_application

from iqa_lab.experiment.answers import add_participant, answer_of, find_participant, n_answered, opened, record
from iqa_lab.experiment.design import GRADES, IMAGES, Experiment, Trial, load_experiment, trials_of

PAGE = Path(__file__).parent / "page"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
LARGEST_REQUEST = 4096  # bytes; an answer has about 150
NUMBERS = {"seconds": 86400, "pixel_ratio": 16, "window_width": 100_000, "window_height": 100_000}  # largest sensible
HEADERS = {"Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'", "Cache-Control": "no-store",
           "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def create_app(folder: Path, *, hosts: tuple[str, ...] = LOOPBACK) -> Flask:
    """Returns the application for the experiment in a folder.

    Args:
        hosts: names under which it may be called. Requests for other names are refused, so that no web page elsewhere
            can reach it through a name that it points to this machine.

    Raises:
        FileNotFoundError, ValueError: as :func:`iqa_lab.experiment.design.load_experiment`.
    """
    folder = folder.resolve()
    experiment = load_experiment(folder)
    app = Flask("iqa_lab.experiment", static_folder=str(PAGE), static_url_path="/page")
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_REQUEST

    @app.before_request
    def check_host() -> None:
        name = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdigit() else request.host
        if name not in hosts:
            abort(403, f"Expected a request for {' or '.join(hosts)}, got one for {name}.")

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    @app.errorhandler(400)
    @app.errorhandler(403)
    @app.errorhandler(404)
    @app.errorhandler(409)
    @app.errorhandler(413)
    @app.errorhandler(415)
    def explain(error: Exception) -> tuple[Response, int]:
        return jsonify(error=error.description), error.code

    @app.get("/")
    def page() -> Response:
        return send_from_directory(PAGE, "index.html")

    @app.get("/images/<name>")
    def image(name: str) -> Response:
        return send_from_directory(folder / IMAGES, name)

    @app.get("/about")
    def about() -> Response:
        return jsonify(title=experiment.title, method=experiment.method, n_trials=len(trials_of(experiment, 0)),
                       answers=experiment.answers, grades=GRADES)

    @app.post("/participants")
    def join() -> Response:
        _json_object()
        with opened(folder) as connection:
            return jsonify(token=add_participant(connection))

    @app.get("/participants/<token>/next")
    def next_trial(token: str) -> Response:
        with opened(folder) as connection:
            participant = _known(connection, token)
            return jsonify(_shown(experiment, trials_of(experiment, participant), n_answered(connection, participant)))

    @app.post("/participants/<token>/answers")
    def answer(token: str) -> Response:
        given = check_answer(_json_object(), experiment)
        with opened(folder) as connection:
            participant = _known(connection, token)
            trials = trials_of(experiment, participant)
            _store(connection, participant, given, trials)
            return jsonify(_shown(experiment, trials, n_answered(connection, participant)))

    return app


def serve(folder: Path, *, host: str = LOOPBACK[0], port: int = 8000, names: tuple[str, ...] = ()) -> None:
    """Serves the experiment until it is interrupted.

    Args:
        host: the address to listen at. Any but the loopback opens the experiment to the network, without encryption or
            password.
        port: of TCP.
        names: under which participants call this machine, if not by ``host``.
    """
    application = create_app(folder, hosts=(*LOOPBACK, host, *names))
    serve_application(application, host=host, port=port, threads=4, ident=None)


def check_answer(given: dict, experiment: Experiment) -> dict:
    """Returns the fields ``trial, answer, seconds, pixel_ratio, window_width, window_height`` of an answer.

    Aborts the request with code 400 and a message for a missing field, another type, or a value out of its range.
    """
    number = given.get("trial")
    if type(number) is not int or number < 0:
        abort(400, f"Expected the number of a trial, got {number!r}.")
    if given.get("answer") not in experiment.answers:
        abort(400, f"Expected the answer {', '.join(experiment.answers)}, got {given.get('answer')!r:.80}.")
    for name, largest in NUMBERS.items():
        value = given.get(name)
        if type(value) not in (int, float) or not math.isfinite(value) or not 0 <= value <= largest:
            abort(400, f"Expected {name} between 0 and {largest}, got {value!r:.80}.")
    return {name: given[name] for name in ("trial", "answer", *NUMBERS)}


def _json_object() -> dict:
    given = request.get_json()  # 415 without the content type, which other sites may not send; 400 if it is no JSON
    if not isinstance(given, dict):
        abort(400, f"Expected a JSON object, got {type(given).__name__}.")
    return given


def _known(connection: sqlite3.Connection, token: str) -> int:
    participant = find_participant(connection, token)
    if participant is None:
        abort(404, "Expected the token of a participant, got an unknown one; start again.")
    return participant


def _store(connection: sqlite3.Connection, participant: int, given: dict, trials: list[Trial]) -> None:
    """Records the answer to the next trial; one that has arrived before, sent again after a lost reply, is let pass."""
    number = given["trial"]
    earlier = answer_of(connection, participant, number)
    if earlier == given["answer"]:
        return
    if earlier is not None or number >= len(trials) or number != n_answered(connection, participant):
        abort(409, f"Expected the answer to trial {n_answered(connection, participant)}, got one to trial {number}.")
    try:
        record(connection, participant, number, trials[number], given)
    except sqlite3.IntegrityError:  # two windows of one participant, at the same moment
        abort(409, f"Expected one answer to trial {number}, got a second one.")


def _shown(experiment: Experiment, trials: list[Trial], number: int) -> dict:
    """Returns what the page shows for a trial, or ``done``; nothing in it says which image is which."""
    if number >= len(trials):
        return {"done": True, "n_trials": len(trials)}
    trial = trials[number]
    return {"done": False, "trial": number, "n_trials": len(trials), "is_training": trial.kind == "training",
            "question": experiment.question, "check": trial.expected if trial.kind == "check" else None,
            "images": [f"images/{image.file}" for image in trial.images]}
