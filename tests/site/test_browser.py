"""The site in a browser: it renders, searches, copies, and is legible at night and on a phone.

They use Debian's Chromium, or the browser that `DARTS_MIM_CHROMIUM` names, and are skipped where
there is none.
"""

import functools
import http.server
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")

from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = os.environ.get("DARTS_MIM_CHROMIUM") or shutil.which("chromium")
# No sandbox, which needs rights that containers lack; no calls home.
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
PHONE = {"width": 375, "height": 720}
DESKTOP = {"width": 1280, "height": 900}
PATIENCE = 60_000  # milliseconds, for the index of the search on a busy machine


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    handler = functools.partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser(site: Path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium; install Debian's package, or name one in DARTS_MIM_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


class Visit:
    """A page in the browser, with all that went wrong on it and all that it asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        self.requests: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._on_console)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("requestfailed", self._on_failure)
        page.on("response", self._on_response)

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    def _on_failure(self, request: Any) -> None:
        # what is still on its way when the next page is opened is no fault
        if request.failure != "net::ERR_ABORTED":
            self.faults.append(f"{request.failure}: {request.url}")

    def _on_response(self, response: Any) -> None:
        if response.status >= 400:
            self.faults.append(f"{response.status}: {response.url}")


def visit(browser: Browser, **options: Any) -> Iterator[Visit]:
    context = browser.new_context(**options)
    yield Visit(context.new_page())
    context.close()


@pytest.fixture
def desktop(browser: Browser) -> Iterator[Visit]:
    yield from visit(browser, viewport=DESKTOP, permissions=["clipboard-read", "clipboard-write"])


@pytest.fixture
def phone(browser: Browser) -> Iterator[Visit]:
    yield from visit(browser, viewport=PHONE, is_mobile=True, device_scale_factor=2)


def names(site: Path) -> list[str]:
    return sorted(str(path.relative_to(site)) for path in site.rglob("*.html"))


def broken_pictures(page: Page) -> list[str]:
    # pictures below the fold may be loaded lazily
    return page.evaluate(
        """async () => {
            const pictures = [...document.images];
            pictures.forEach((picture) => (picture.loading = "eager"));
            await Promise.allSettled(pictures.map((picture) => picture.decode()));
            return pictures.filter((p) => !p.naturalWidth).map((p) => p.src.slice(0, 200));
        }"""
    )


@pytest.mark.slow
def test_every_page_renders_without_a_fault(desktop: Visit, address: str, site: Path) -> None:
    for name in names(site):
        desktop.page.goto(f"{address}/{name}")
        assert desktop.page.locator("article h1").first.inner_text().strip(), name
        assert broken_pictures(desktop.page) == [], name
        # the page of errors is served at the root of a site, and its links start there
        assert desktop.faults == [], name
    assert {url for url in desktop.requests if not url.startswith((address, "data:"))} == set()


@pytest.mark.slow
def test_no_page_is_wider_than_a_phone(phone: Visit, address: str, site: Path) -> None:
    for name in names(site):
        phone.page.goto(f"{address}/{name}")
        width = phone.page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], name
    assert phone.faults == []


def test_code_is_copied(desktop: Visit, address: str) -> None:
    desktop.page.goto(f"{address}/quickstart.html")
    block = desktop.page.locator(".highlight", has_text="frames_to_series").first
    button = block.get_by_role("button", name="Copy to clipboard")
    block.hover()
    button.click()
    expect(desktop.page.locator(".md-dialog")).to_contain_text("Copied")
    copied = desktop.page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == block.locator("code").first.inner_text().strip()
    assert "frames_to_series" in copied


def search(page: Page, words: str) -> list[str]:
    page.wait_for_load_state()  # before, nothing listens to the keys
    if not page.locator("input.md-search__input").is_visible():
        page.locator("label.md-header__button[for=__search]").click()
    page.locator("input.md-search__input").press_sequentially(words)
    results = page.locator(".md-search-result__link")
    expect(results.first).to_be_visible(timeout=PATIENCE)
    return [link.get_attribute("href") or "" for link in results.all()]


def test_the_search_finds_the_model(desktop: Visit, address: str) -> None:
    desktop.page.goto(f"{address}/index.html")
    found = search(desktop.page, "MIMModel")
    assert any("api/model.html" in link for link in found)
    desktop.page.goto(found[0])
    assert "MIMModel" in desktop.page.locator("article").inner_text()
    assert desktop.faults == []


def test_the_search_works_on_a_phone(phone: Visit, address: str) -> None:
    phone.page.goto(f"{address}/index.html")
    assert search(phone.page, "scheduled sampling")
    assert phone.faults == []


def test_the_site_works_when_it_is_opened_as_a_file(desktop: Visit, site: Path) -> None:
    desktop.page.goto((site / "index.html").as_uri())
    desktop.page.get_by_role("link", name="Quickstart").first.click()
    expect(desktop.page).to_have_url((site / "quickstart.html").as_uri())
    assert any("api/model.html" in link for link in search(desktop.page, "MIMModel"))
    assert broken_pictures(desktop.page) == []
    assert desktop.faults == []
    assert {url for url in desktop.requests if not url.startswith(("file:", "data:"))} == set()


def luminance(colour: str) -> float:
    red, green, blue = (
        (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
        for c in (float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3])
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast_of_text(page: Page, selector: str) -> float:
    """Return the ratio of WCAG between the text of an element and the page behind it."""
    text = page.locator(selector).first.evaluate("e => getComputedStyle(e).color")
    behind = page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
    lighter, darker = sorted((luminance(text), luminance(behind)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_colours_follow_the_system_and_the_switch(
    browser: Browser, address: str, scheme: Any
) -> None:
    names = {"light": ("default", "slate"), "dark": ("slate", "default")}[scheme]
    for visited in visit(browser, viewport=DESKTOP, color_scheme=scheme):
        page = visited.page
        page.goto(f"{address}/how_it_works.html")
        for name, switch in zip(names, ("label[for^=__palette]:visible", None), strict=True):
            expect(page.locator("body")).to_have_attribute("data-md-color-scheme", name)
            # 4.5 is the least for text by the WCAG; shapes may have 3
            assert contrast_of_text(page, "article p") > 4.5
            assert contrast_of_text(page, "figure.drawing svg text") > 4.5
            if switch:
                page.locator(switch).first.click()
        page.reload()  # the choice is kept
        expect(page.locator("body")).to_have_attribute("data-md-color-scheme", names[1])
        assert visited.faults == []
