"""The report in a real browser: no error, no request, and a hand that turns when it is dragged."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: `make browser` installs Debian's")

# WebGL without a graphics card; root may not use the sandbox, and the page is our own
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
EYE = "() => document.getElementById('turn')._fullLayout.scene._scene.getCamera().eye"


@pytest.fixture(scope="module")
def heard() -> list[str]:
    """Errors and requests, as they come."""
    return []


@pytest.fixture(scope="module")
def page(report: Path, heard: list[str]) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 900, "height": 800})
        page.on("console", lambda message: heard.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: heard.append(request.url) if request.url != report.as_uri() else None)
        page.goto(report.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        page.wait_for_function("() => document.querySelector('#turn canvas')")
        yield page
        browser.close()


def eye(page: Page) -> dict[str, float]:
    position: dict[str, float] = page.evaluate(EYE)
    return position


def drag(page: Page) -> None:
    page.locator("#turn").scroll_into_view_if_needed()
    box: Any = page.locator("#turn canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 150, y + 40, steps=4)
    page.mouse.up()


def test_every_figure_is_drawn_within_the_page(page: Page) -> None:
    assert page.locator("#summary .chart .main-svg").count() > 0
    assert page.locator(".chart:not(:has(.main-svg))").count() == 0
    # at README width nothing but tables and configs scrolls sideways
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_words_of_a_figure_do_not_cover_each_other(page: Page) -> None:
    overlaps = page.evaluate(
        """() => [...document.querySelectorAll('.chart')].flatMap((chart) => {
             const marked = '[class*=tick] text, text[class$=title], .annotation-text, .legendtext';
             const words = [...chart.querySelectorAll(marked)]
               .filter((word) => !word.getAttribute('transform')?.includes('rotate(-55'))
               .map((word) => [word.textContent, word.getBoundingClientRect()]);
             return words.flatMap(([one, a], index) => words.slice(index + 1)
               .filter(([_, b]) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
                 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1)
               .map(([other, _]) => `${one} × ${other}`));
           })"""
    )
    assert overlaps == []


def test_a_click_in_the_legend_hides_a_series_in_every_plot_of_the_figure(page: Page) -> None:
    lines = "() => [...document.querySelectorAll('#labels .scatterlayer')].map((plot) => plot.children.length)"
    entry = page.locator("#labels .legendtoggle").first
    for shown in ([1, 1], [2, 2]):
        entry.click()
        page.wait_for_function(f"(shown) => JSON.stringify(({lines})()) === JSON.stringify(shown)", arg=shown)


def test_a_narrow_page_has_one_plot_beside_none_and_a_dark_one_dark_plots(page: Page) -> None:
    places = "() => [...document.querySelectorAll('#labels .annotation-text')].map((t) => t.getBoundingClientRect().x)"
    ink = "() => getComputedStyle(document.querySelector('#labels .xtick text')).fill"
    light = page.evaluate(ink)
    try:
        page.set_viewport_size({"width": 400, "height": 800})
        page.emulate_media(color_scheme="dark")
        page.wait_for_function(f"() => new Set(({places})()).size === 1")
        page.wait_for_function(f"(light) => ({ink})() !== light", arg=light)
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    finally:
        page.set_viewport_size({"width": 900, "height": 800})
        page.emulate_media(color_scheme="light")
    page.wait_for_function(f"() => new Set(({places})()).size === 2")


def test_dragging_turns_the_hand_and_another_hand_is_seen_from_there(page: Page) -> None:
    before = eye(page)
    drag(page)
    page.wait_for_function(
        f"(before) => Math.abs(({EYE})().x - before.x) + Math.abs(({EYE})().y - before.y) > 0.1", arg=before
    )
    turned = eye(page)
    first = page.evaluate("() => document.getElementById('turn').data[1].x")
    page.select_option("#hand", "1")
    assert page.evaluate("() => document.getElementById('turn').data[1].x") != first
    assert eye(page) == pytest.approx(turned, abs=1e-3)


def test_the_hand_is_turned_back(page: Page) -> None:
    drag(page)
    page.locator("#upright").click()
    page.wait_for_function(f"() => Math.abs(({EYE})().y + 2.1) < 1e-3")
    assert eye(page) == pytest.approx({"x": 0.48, "y": -2.1, "z": 0.5}, abs=1e-3)


def test_a_hand_of_the_gallery_is_shown_in_3d(page: Page) -> None:
    page.locator("button[data-hand='3']").click()
    assert page.locator("#hand").input_value() == "3"


def test_names_of_folders_run_no_script_and_nothing_is_requested(page: Page, heard: list[str]) -> None:
    # last in the file: what the other tests did is in it
    assert page.title().startswith("Report on")
    assert heard == []
