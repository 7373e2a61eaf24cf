"""Whole sessions of the live experiment in a real browser: keyboard and touch, closed windows, a killed server."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from experiment_server import free_port, kill, make_images, start_server
from PIL import Image
from test_browser import BROWSERS, FLAGS, WCAG

pytest.importorskip("flask", reason="needs the extra experiment: pip install iqa-lab[experiment]")

from iqa_lab.experiment.answers import load_answers
from iqa_lab.experiment.design import create_experiment, load_experiment, trials_of

pytestmark = pytest.mark.browser
KEYS = {"left": "ArrowLeft", "right": "ArrowRight", "same": " "}


@pytest.fixture(scope="module")
def launch():
    """Returns a function that starts a browser with more flags."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip("no Chromium on this machine; install one with: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api").sync_playwright().start()
    yield lambda *flags: playwright.chromium.launch(executable_path=executable, args=[*FLAGS, *flags])
    playwright.stop()


@pytest.fixture(scope="module")
def chromium(launch):
    return launch()


@pytest.fixture
def study(tmp_path):
    """Starts experiments of a method on a port of their own, and ends them."""
    servers, port = [], free_port()

    def start(method: str) -> str:
        if not servers:
            images = make_images(tmp_path / "originals", n_levels=4)
            images.loc[[0, 1], "role"], images.loc[4, "role"], images.loc[5, "role"] = "training", "high", "low"
            create_experiment(tmp_path / "study", images, method=method, ties=True, n_checks=2)
        servers.append(start_server(tmp_path / "study", port))
        return f"http://127.0.0.1:{port}/"

    start.folder, start.stop = tmp_path / "study", lambda: kill(servers[-1])
    yield start
    start.stop()


def open_page(context, address: str):
    """Returns a tab on the experiment; ``problems`` collects errors, and every request to another machine."""
    page = context.new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda sent: None if sent.url.startswith((address, "data:")) else page.problems.append(sent.url))
    page.goto(address)
    page.wait_for_selector("section:not([hidden])")
    return page


def wait_for_trial(page, number: int) -> None:
    page.wait_for_selector(f"#trial[data-number='{number}']:not([hidden]) button:enabled")


def test_a_rating_session_by_keyboard_survives_a_closed_window_and_a_killed_server(chromium, study, tmp_path):
    address = study("rating")
    trials = trials_of(load_experiment(study.folder), 0)
    context = chromium.new_context(viewport={"width": 900, "height": 700})
    context.tracing.start(screenshots=True, snapshots=True)  # a recording, step by step
    page = open_page(context, address)
    page.keyboard.press("Enter")
    for number in range(len(trials)):
        wait_for_trial(page, number)
        if number == 3:  # the participant goes away and comes back
            page.close()
            page = open_page(context, address)
            wait_for_trial(page, number)
        if number == 6:  # the machine of the experimenter fails while an answer is on its way
            study.stop()
            page.keyboard.press("2")
            page.wait_for_selector("#trouble:not([hidden])")
            assert "are stored" in page.inner_text("#trouble")
            study("rating")
            continue
        page.keyboard.press("2")
    page.wait_for_selector("#end:not([hidden])")
    context.tracing.stop(path=tmp_path / "session.zip")
    assert (tmp_path / "session.zip").stat().st_size > 10_000 and not page.problems
    answers = load_answers(study.folder)
    assert list(answers["trial"]) == list(range(len(trials))) and set(answers["answer"]) == {"2"}
    assert (answers["window_width"] == 900).all() and (answers["seconds"] > 0).all() and (answers["pixel_ratio"] == 1).all()
    page.reload()
    page.wait_for_selector("#end:not([hidden])")  # it is over; nobody takes part twice by accident
    context.close()


def test_pairs_by_touch_on_a_phone_and_by_keys(chromium, study):
    address = study("pairs")
    trials = trials_of(load_experiment(study.folder), 0)
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True,
                                   device_scale_factor=2)
    page = open_page(context, address)
    page.tap("#start")
    given = []
    for number, trial in enumerate(trials):
        wait_for_trial(page, number)
        answer = trial.expected or ("left", "right", "same")[number % 3]
        given.append(answer)
        if number % 2:
            page.tap(f"[data-answer={answer}]")
        else:
            page.keyboard.press(KEYS[answer])
    page.wait_for_selector("#end:not([hidden])")
    answers = load_answers(study.folder)
    assert list(answers["answer"]) == given and not page.problems
    expected = answers["expected"].notna()
    assert expected.sum() == 3 and (answers["answer"] == answers["expected"])[expected].all()
    assert (answers["pixel_ratio"] == 2).all()
    context.close()


@pytest.mark.parametrize("scale", [1, 1.25, 1.5, 2.625])
def test_one_pixel_of_an_image_is_one_pixel_of_the_screen(launch, study, scale):
    address = study("rating")
    browser = launch(f"--force-device-scale-factor={scale}", "--window-size=800,640")  # as on such a display
    context = browser.new_context(no_viewport=True)
    page = open_page(context, address)
    page.click("#start")
    wait_for_trial(page, 0)
    box = page.evaluate("(({left, top, width, height}) => [left, top, width, height])"
                        "(document.querySelector('#images img').getBoundingClientRect())")
    assert np.allclose(np.array(box[2:]) * scale, (32, 24), atol=1e-3)
    page.screenshot(path=study.folder / "screen.png")
    screen = np.asarray(Image.open(study.folder / "screen.png").convert("RGB"))
    first = trials_of(load_experiment(study.folder), 0)[0].images[0]
    pixels = np.asarray(Image.open(study.folder / "images" / first.file))
    left, top = (round(scale * value) for value in box[:2])
    assert np.array_equal(screen[top:top + 24, left:left + 32], pixels)
    browser.close()


def test_every_screen_can_be_used_with_a_screen_reader(chromium, study):
    Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    page = open_page(context, study("pairs"))
    page.wait_for_selector("#welcome:not([hidden])")
    for screen in ("welcome", "trial"):
        if screen == "trial":
            page.click("#start")
            wait_for_trial(page, 0)
        results = Axe().run(page, options=WCAG)
        assert results.violations_count == 0, results.generate_report()
    context.close()
