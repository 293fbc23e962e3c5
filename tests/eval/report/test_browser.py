"""The page in headless Chromium: silent, contained, readable, accessible."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.eval.report.test_report import ALL_SECTIONS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DESKTOP, PHONE = (1120, 900), (360, 740)
OPEN_ALL = "document.querySelectorAll('details').forEach(d => { d.open = true })"
MAX_LOAD_SECONDS = 60.0
"""Generous, for a loaded test machine; what it takes when quiet is in the docs."""

Open = Callable[[tuple[int, int], str], "Page"]


class Watch:
    """What happened in a page."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.requests: list[str] = []


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


@pytest.fixture(scope="module")
def opened(browser: Browser, hostile_page: Path, watch: Watch) -> Iterator[Open]:
    """Opens the page of the hostile run in a window of its own size and scheme."""
    pages: dict[tuple[tuple[int, int], str], Page] = {}

    def _open(size: tuple[int, int], scheme: str) -> Page:
        if (size, scheme) not in pages:
            width, height = size
            page = browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
            )
            page.on("console", lambda message: watch.messages.append(message.text))
            page.on("pageerror", lambda error: watch.messages.append(str(error)))
            page.on("dialog", lambda dialog: watch.messages.append(dialog.message))
            page.on("request", lambda request: watch.requests.append(request.url))
            page.goto(hostile_page.as_uri())
            pages[size, scheme] = page
        return pages[size, scheme]

    yield _open
    for page in pages.values():
        page.close()


def colors_of(png: bytes) -> set[bytes]:
    """Returns the colours of every 16th pixel row of an 8-bit PNG without filters undone.

    A blank picture has one or two different rows however they are filtered.
    """
    data, place = b"", 8
    width = struct.unpack(">I", png[16:20])[0]
    while place < len(png):
        length, kind = struct.unpack(">I4s", png[place : place + 8])
        if kind == b"IDAT":
            data += png[place + 8 : place + 8 + length]
        place += 12 + length
    raw = zlib.decompress(data)
    stride = len(raw) // struct.unpack(">I", png[20:24])[0]
    assert stride > width
    return {raw[i : i + stride] for i in range(0, len(raw), 16 * stride)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_page_is_drawn(
    opened: Open, tmp_path: Path, watch: Watch, size: tuple[int, int], scheme: str
) -> None:
    page = opened(size, scheme)
    path = tmp_path / "page.png"
    page.screenshot(path=path)
    assert len(colors_of(path.read_bytes())) > 8
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert back == {"light": "rgb(251, 251, 250)", "dark": "rgb(20, 24, 28)"}[scheme]
    for name in ALL_SECTIONS:
        assert page.locator(f"#{name}").is_visible(), name
    # Nothing said, nothing asked for but the file itself and what is inside it.
    assert watch.messages == []
    outside = [url for url in watch.requests if not url.startswith(("data:", "file:"))]
    assert outside == []
    assert {url for url in watch.requests if url.startswith("file:")} == {page.url}


@pytest.mark.parametrize("size", [DESKTOP, PHONE, (768, 1024)], ids=["desktop", "phone", "tablet"])
def test_nothing_scrolls_sideways(opened: Open, size: tuple[int, int]) -> None:
    page = opened(size, "light")
    page.evaluate(OPEN_ALL)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= size[0]


def test_attacks_do_nothing(opened: Open, watch: Watch) -> None:
    page = opened(DESKTOP, "light")
    page.evaluate(OPEN_ALL)
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.querySelectorAll('a[href^=javascript]').length") == 0
    # The figures are there, drawn as images: a picture's script does not run.
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert watch.messages == []


@pytest.mark.parametrize(
    ("size", "scheme", "rules"),
    [
        (DESKTOP, "light", []),
        # What depends on scheme or width; the rest is the same as above.
        (PHONE, "dark", ["color-contrast", "target-size", "scrollable-region-focusable"]),
    ],
)
def test_no_accessibility_violation(
    opened: Open, size: tuple[int, int], scheme: str, rules: list[str]
) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright",
        reason="the package axe-playwright-python is not installed (extra: dev)",
    )
    page = opened(size, scheme)
    if not rules:
        page.evaluate(OPEN_ALL)
    options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
    # The thousands of lines inside a plot are one image to a reader.
    context = {"exclude": [[".plot svg > g"]]}
    found = axe.Axe().run(page, context, options).response["violations"]
    assert [(v["id"], v["impact"], v["nodes"][0]["html"][:200]) for v in found] == []


def test_switch_between_light_and_dark(browser: Browser, hostile_page: Path) -> None:
    page = browser.new_page(color_scheme="light")
    page.goto(hostile_page.as_uri())
    button = page.get_by_role("button", name="Dark")
    assert button.get_attribute("aria-pressed") == "false"
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    back = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(back) == "rgb(20, 24, 28)"
    # A plot's text follows, too: its colour is the page's.
    ink = "getComputedStyle(document.querySelector('.plot text')).fill"
    assert page.evaluate(ink) != "rgb(0, 0, 0)"
    page.reload()
    assert page.evaluate(back) == "rgb(20, 24, 28)"
    # On paper it is light all the same.
    page.emulate_media(media="print")
    assert page.evaluate(back) == "rgb(251, 251, 250)"
    page.close()


def test_keyboard_reaches_contents_and_tables(browser: Browser, hostile_page: Path) -> None:
    page = browser.new_page(viewport={"width": PHONE[0], "height": PHONE[1]})
    page.goto(hostile_page.as_uri())
    page.keyboard.press("Tab")
    focused = "document.activeElement.getAttribute('href') || document.activeElement.className"
    assert page.evaluate(focused) == "#main"
    reached = []
    for _ in range(len(ALL_SECTIONS) + 6):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(focused))
    assert reached[: len(ALL_SECTIONS)] == [f"#{name}" for name in ALL_SECTIONS]
    assert "scroll" in reached
    page.close()


def test_page_loads_fast_and_does_not_jump(browser: Browser, hostile_page: Path) -> None:
    page = browser.new_page(viewport={"width": DESKTOP[0], "height": DESKTOP[1]})
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver(l => l.getEntries().forEach("
        "e => { window.shift += e.value })).observe({type: 'layout-shift', buffered: true})"
    )
    page.goto(hostile_page.as_uri())
    seconds = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd / 1000")
    assert 0 < seconds < MAX_LOAD_SECONDS
    # Web Vitals call up to 0.1 good.
    assert page.evaluate("window.shift") < 0.02
    page.close()
