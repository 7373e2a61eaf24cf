"""The pages of the built site in a real browser: light on a desktop, dark on a phone, from file://, without a network."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HTML = Path(__file__).resolve().parent.parent / "book" / "_build" / "html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# No sandbox, because it does not start for root; the others keep the browser's own services off the network.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
# Without preload: axe would fetch the style sheets again, which a page from file:// may not.
WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}, "preload": False}
NO_PAGES = {"genindex", "search", "py-modindex", "sbt-webpack-macros", "webpack-macros"}

pytestmark = pytest.mark.browser


def site_pages() -> list[Path]:
    """Returns the pages that Sphinx wrote from a chapter or a text, and one listing of source code: they are all alike."""
    pages = [page for page in sorted(HTML.rglob("*.html")) if page.stem not in NO_PAGES]
    folders = {page: page.relative_to(HTML).parts[0] for page in pages}
    listings = [page for page in pages if folders[page] == "_modules"]
    return [page for page in pages if folders[page] not in ("_static", "_modules")] + listings[-1:]


def page_name(page: Path) -> str:
    return str(page.relative_to(HTML))


@pytest.fixture(scope="module")
def browser():
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        if os.environ.get("CI") and os.geteuid() == 0:
            pytest.fail("CI installs a browser when it is root, but none was found.")
        pytest.skip("no Chromium on this machine; install one with: apt-get install chromium")
    if not (HTML / "index.html").exists():
        pytest.skip("the site is not built; run make book first")
    playwright = pytest.importorskip("playwright.sync_api").sync_playwright().start()
    chromium = playwright.chromium.launch(executable_path=executable, args=FLAGS)
    yield chromium
    chromium.close()
    playwright.stop()


# Each theme and each size once: colours do not depend on the width, nor the width of a page on its colours.
@pytest.fixture(scope="module", params=[("light", "desktop"), ("dark", "phone")], ids="-".join)
def tab(browser, request):
    """A tab in one theme and size; ``tab.problems`` collects what the browser reports."""
    theme, size = request.param
    context = browser.new_context(viewport=SIZES[size], color_scheme=theme, device_scale_factor=1)
    context.add_init_script(f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')")
    page = context.new_page()
    page.problems, page.theme = [], theme
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("requestfailed", lambda failed: page.problems.append(f"failed request: {failed.url}"))
    page.on("request", lambda sent: None if sent.url.startswith(("file:", "data:", "blob:", "about:"))
            else page.problems.append(f"outside request: {sent.url}"))
    yield page
    context.close()


def open_page(tab, page: Path) -> None:
    """Opens a page and waits until formulas are set and the styles have settled."""
    tab.problems.clear()
    tab.goto(page.as_uri(), wait_until="load")
    tab.wait_for_function("!window.MathJax?.startup?.promise || MathJax.startup.promise.then(() => true)")
    assert tab.evaluate("document.documentElement.dataset.theme") == tab.theme


@pytest.fixture(scope="module")
def axe():
    return pytest.importorskip("axe_playwright_python.sync_playwright").Axe()


def axe_violations(axe, tab) -> list[str]:
    """Returns each violation of WCAG 2.1 A and AA with the first element that it concerns."""
    found = axe.run(tab, options=WCAG).response["violations"]
    return [f"{rule['id']}: {rule['help']}: {rule['nodes'][0]['html'][:200]}" for rule in found]


@pytest.mark.parametrize("page", site_pages(), ids=page_name)
def test_page_loads_clean_fits_the_screen_and_is_accessible(tab, axe, page):
    open_page(tab, page)
    assert tab.problems == []
    width, available = tab.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width <= available, f"the page is {width} px wide, the screen has {available} px"
    assert axe_violations(axe, tab) == []


def test_the_site_has_pages(browser):
    # With no page the parametrised tests would pass by testing nothing.
    assert len(site_pages()) >= 10


def stimuli(page: Path) -> bool:
    return "stimulus" in page.read_text(encoding="utf-8")


def shown_pixels(tab, image) -> np.ndarray:
    """Returns what the screen shows of an image, scrolled into view piece by piece when it is wider than the screen."""
    width, height = image.evaluate("e => [e.naturalWidth, e.naturalHeight]")
    assert image.evaluate("e => [e.clientWidth, e.clientHeight]") == [width, height], "resampled by the page"
    shown = np.zeros((height, width, 3), np.uint8)
    screen = tab.viewport_size
    tab.set_viewport_size(screen | {"height": max(screen["height"], height + 100)})  # a screenshot ends with the screen
    step = min(200, width)
    for left in range(0, width, step):
        image.evaluate("""(e, left) => { e.scrollIntoView({block: 'center', inline: 'nearest'});
            for (let box = e.parentElement; box; box = box.parentElement)
                if (box.scrollWidth > box.clientWidth && box !== document.documentElement) box.scrollLeft = left;
            }""", left)
        box = image.bounding_box()
        right = min(left + step, width)
        # A whole pixel position, or the browser resamples by a fraction of a pixel.
        clip = {"x": box["x"] + left, "y": box["y"], "width": right - left, "height": height}
        shot = Image.open(io.BytesIO(tab.screenshot(clip=clip))).convert("RGB")
        shown[:, left:right] = np.asarray(shot)[:height, :right - left]
    return shown


def test_stimuli_arrive_bit_exact(tab):
    compared = 0
    for page in filter(stimuli, site_pages()):
        open_page(tab, page)
        for image in tab.locator("img.stimulus:visible").all():
            # A fold (the solution of an exercise) is no place for a stimulus, and a sticky header must not cover one.
            tab.add_style_tag(content=".bd-header-article, .bd-header, .bd-sidebar {visibility: hidden !important}")
            file = (page.parent / image.get_attribute("src")).resolve()
            expected = np.asarray(Image.open(file).convert("RGB"))
            np.testing.assert_array_equal(shown_pixels(tab, image), expected, err_msg=f"{page.name}: {file.name}")
            compared += 1
    assert compared, "no page shows an image of the class 'stimulus', so nothing was compared"


def test_slider_changes_the_frame_by_keyboard(tab):
    pages = [page for page in site_pages() if "tag_slider" in page.read_text(encoding="utf-8")]
    if not pages:
        pytest.skip("no chapter has a slider")
    open_page(tab, pages[0])
    slider = tab.locator(".frame-slider input").first
    before = tab.locator(".frame-slider output").first.inner_text()
    slider.focus()
    tab.keyboard.press("ArrowRight")
    after = tab.locator(".frame-slider output").first.inner_text()
    assert after != before and slider.get_attribute("aria-valuetext") == after


def test_checks_can_fail(browser, axe, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("<html><body><div style='width:3000px'><img src='missing.png'></div></body></html>")
    tab = browser.new_page(viewport=SIZES["phone"])
    failed = []
    tab.on("requestfailed", lambda request: failed.append(request.url))
    tab.goto(page.as_uri())
    assert failed
    assert tab.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    assert any(violation.startswith("image-alt") for violation in axe_violations(axe, tab))
    tab.close()
