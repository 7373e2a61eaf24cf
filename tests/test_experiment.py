"""The live experiment: orders, durable answers, malformed requests, and a server that is killed in the middle."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from experiment_server import call, free_port, kill, make_images, start_server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("flask", reason="needs the extra experiment: pip install iqa-lab[experiment]")

from iqa_lab.experiment.answers import load_answers, opened
from iqa_lab.experiment.design import IMAGES, create_experiment, load_experiment, trials_of
from iqa_lab.experiment.server import create_app

GOOD = {"trial": 0, "answer": "3", "seconds": 1.5, "pixel_ratio": 1, "window_width": 800, "window_height": 600}


@pytest.fixture
def rating(tmp_path):
    images = make_images(tmp_path / "originals")
    images.loc[0, "role"], images.loc[3, "role"], images.loc[4, "role"] = "training", "high", "low"
    create_experiment(tmp_path / "study", images, method="rating", n_checks=1)
    return tmp_path / "study"


@pytest.fixture
def pairs(tmp_path):
    images = make_images(tmp_path / "originals", n_levels=4)
    images.loc[[0, 1], "role"], images.loc[4, "role"], images.loc[5, "role"] = "training", "high", "low"
    create_experiment(tmp_path / "study", images, method="pairs", ties=True, n_checks=2)
    return tmp_path / "study"


def post(client, address: str, body) -> tuple[int, dict]:
    reply = client.post(address, data=json.dumps(body), content_type="application/json")
    return reply.status_code, reply.get_json()


# ------------------------------------------------------------------------------------------------------------- design

def test_a_rating_shows_training_first_then_every_image_once(rating):
    experiment = load_experiment(rating)
    for participant in range(20):
        trials = trials_of(experiment, participant)
        assert [trial.kind for trial in trials[:1]] == ["training"] and trials[1].kind != "check"
        assert Counter(trial.kind for trial in trials) == {"training": 1, "test": 6, "anchor": 2, "check": 1}
        shown = [trial.images[0].name for trial in trials if trial.images]
        assert sorted(shown) == sorted(stimulus.name for stimulus in experiment.stimuli)


def test_pairs_are_complete_inside_each_content_and_anchors_know_the_answer(pairs):
    experiment = load_experiment(pairs)
    sides = Counter()
    for participant in range(40):
        trials = trials_of(experiment, participant)
        tests = [frozenset(s.name for s in t.images) for t in trials if t.kind == "test"]
        assert len(tests) == len(set(tests)) == 1 + 1 + 6  # two test images are left in two contents, four in the third
        anchor, = (trial for trial in trials if trial.kind == "anchor")
        assert anchor.images[0 if anchor.expected == "left" else 1].role == "high"
        sides[anchor.expected] += 1
    assert min(sides.values()) > 8


def test_orders_differ_between_participants_and_stay_for_each(rating):
    experiment = load_experiment(rating)
    orders = {tuple(t.images[0].file for t in trials_of(experiment, k) if t.images) for k in range(10)}
    assert len(orders) == 10
    assert trials_of(experiment, 3) == trials_of(load_experiment(rating), 3)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6))
def test_no_content_follows_itself_where_that_can_be_avoided(rating, participant):
    trials = [t for t in trials_of(load_experiment(rating), participant) if t.kind in ("test", "anchor")]
    contents = [trial.images[0].content for trial in trials]
    repeats = [k for k, (a, b) in enumerate(pairwise(contents)) if a == b]
    assert all(set(contents[k + 1:]) == {contents[k]} for k in repeats)


def test_addresses_of_images_say_nothing_and_pixels_are_kept(rating):
    for stimulus in load_experiment(rating).stimuli:
        assert Path(stimulus.name).stem not in stimulus.file
        original = np.asarray(Image.open(rating.parent / "originals" / stimulus.name))
        assert np.array_equal(np.asarray(Image.open(rating / IMAGES / stimulus.file)), original)


@pytest.mark.parametrize("change, options, message", [
    (lambda t: t.drop(columns="image"), {}, "the column image"),
    (lambda t: t.iloc[:0], {}, "at least one row"),
    (lambda t: t.assign(role="best"), {}, "Expected the roles"),
    (lambda t: t.assign(role="training"), {}, "role test"),
    (lambda t: t.assign(content=range(len(t))), {"method": "pairs"}, "two images of one content"),
    (lambda t: t.assign(image=t["image"].iloc[0]), {}, "twice"),
    (lambda t: t, {"method": "ranking"}, "Expected the method"),
    (lambda t: t, {"n_checks": -1}, "n_checks >= 0"),
    (lambda t: t, {"method": "pairs", "n_pairs": 0}, "n_pairs >= 1")])
def test_a_bad_definition_is_refused(tmp_path, change, options, message):
    images = make_images(tmp_path / "originals")
    with pytest.raises(ValueError, match=message):
        create_experiment(tmp_path / "study", change(images), **{"method": "rating"} | options)


def test_an_experiment_is_never_written_over(rating):
    with pytest.raises(FileExistsError, match="never written over"):
        create_experiment(rating, pd.DataFrame({"image": ["x.png"]}), method="rating")
    (rating / "experiment.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        load_experiment(rating)
    with pytest.raises(FileNotFoundError, match="iqa-lab experiment new"):
        load_experiment(rating.parent)


# ------------------------------------------------------------------------------------------------------------- server

def test_a_session_is_stored_answer_by_answer(pairs):
    client, experiment = create_app(pairs).test_client(), load_experiment(pairs)
    token = post(client, "/participants", {})[1]["token"]
    trials = trials_of(experiment, 0)
    shown = client.get(f"/participants/{token}/next").get_json()
    for number, trial in enumerate(trials):
        assert shown["trial"] == number and shown["is_training"] == (trial.kind == "training")
        assert [Path(address).name for address in shown["images"]] == [image.file for image in trial.images]
        assert all(client.get(f"/{address}").data[:4] == b"\x89PNG" for address in shown["images"])
        status, shown = post(client, f"/participants/{token}/answers", GOOD | {"trial": number, "answer": "left"})
        assert status == 200 and len(load_answers(pairs)) == number + 1
    assert shown == {"done": True, "n_trials": len(trials)}
    table = load_answers(pairs)
    assert list(table["kind"]) == [trial.kind for trial in trials]
    assert list(table["first"].dropna()) == [trial.images[0].name for trial in trials if trial.images]


def test_what_the_page_is_told_does_not_say_which_image_is_which(pairs):
    client = create_app(pairs).test_client()
    token = post(client, "/participants", {})[1]["token"]
    for number in range(len(trials_of(load_experiment(pairs), 0))):
        told = json.dumps(client.get(f"/participants/{token}/next").get_json())
        assert not any(word in told for word in ("_l", "high", "low", "anchor"))  # the files are called c0_l1.png ...
        post(client, f"/participants/{token}/answers", GOOD | {"trial": number, "answer": "same"})


BAD_FIELDS = [("trial", "0"), ("trial", -1), ("trial", True), ("trial", 0.0), ("answer", "6"), ("answer", 3), ("answer", None),
              ("answer", ["3"]), ("seconds", -1), ("seconds", "1"), ("seconds", float("nan")), ("seconds", 1e300),
              ("pixel_ratio", None), ("window_width", False), ("window_height", {})]


@pytest.mark.parametrize("field, value", BAD_FIELDS, ids=lambda value: repr(value))
def test_a_malformed_answer_is_refused_with_a_reason_and_not_stored(rating, field, value):
    client = create_app(rating).test_client()
    token = post(client, "/participants", {})[1]["token"]
    status, reply = post(client, f"/participants/{token}/answers", GOOD | {field: value})
    assert status == 400 and reply["error"].startswith("Expected") and load_answers(rating).empty
    assert post(client, f"/participants/{token}/answers", {k: v for k, v in GOOD.items() if k != field})[0] == 400


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "x"]), inner)))
def test_any_other_json_is_refused(rating, body):
    client = create_app(rating).test_client()
    token = post(client, "/participants", {})[1]["token"]
    assert post(client, f"/participants/{token}/answers", body)[0] == 400 and load_answers(rating).empty


def test_requests_that_no_page_of_ours_sends_are_refused(rating):
    client = create_app(rating).test_client()
    token = post(client, "/participants", {})[1]["token"]
    address = f"/participants/{token}/answers"
    assert client.post(address, data="{", content_type="application/json").status_code == 400
    assert client.post(address, data="x" * 5000, content_type="application/json").status_code == 413
    assert client.post(address, data={"trial": 0}).status_code == 415  # what a form on another site can send
    assert client.get("/", headers={"Host": "attacker.example"}).status_code == 403
    assert client.get("/", headers={"Host": "localhost:8000"}).status_code == 200
    assert client.get("/participants/unknown/next").status_code == 404
    for path in ("/images/../experiment.json", "/images/%2e%2e/answers.sqlite", "/page/../server.py"):
        assert client.get(path).status_code == 404
    policy = client.get("/").headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy


def test_an_answer_sent_twice_counts_once_and_another_order_is_refused(rating):
    client = create_app(rating).test_client()
    token = post(client, "/participants", {})[1]["token"]
    address = f"/participants/{token}/answers"
    assert post(client, address, GOOD)[0] == 200
    assert post(client, address, GOOD) == (200, client.get(f"/participants/{token}/next").get_json())  # its reply was lost
    assert post(client, address, GOOD | {"answer": "4"})[0] == 409
    assert post(client, address, GOOD | {"trial": 5})[0] == 409
    assert post(client, address, GOOD | {"trial": 999})[0] == 409
    assert list(load_answers(rating)["answer"]) == ["3"]


def test_participants_keep_their_own_place(rating):
    client = create_app(rating).test_client()
    first, second = (post(client, "/participants", {})[1]["token"] for _ in range(2))
    post(client, f"/participants/{first}/answers", GOOD)
    assert client.get(f"/participants/{first}/next").get_json()["trial"] == 1
    assert client.get(f"/participants/{second}/next").get_json()["trial"] == 0
    assert list(load_answers(rating)["participant"]) == [0]


def test_answers_are_on_the_disk_before_the_reply(rating):
    with opened(rating) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_killed_server_loses_no_acknowledged_answer(rating):
    port = free_port()
    server = start_server(rating, port)
    token = call(port, "/participants", {})["token"]
    for number in range(4):
        call(port, f"/participants/{token}/answers", GOOD | {"trial": number})
    kill(server)
    assert len(load_answers(rating)) == 4
    server = start_server(rating, port)
    assert call(port, f"/participants/{token}/next")["trial"] == 4
    kill(server)
