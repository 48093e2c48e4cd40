"""The pages of the site: links, anchors, pictures, and nothing that is loaded from elsewhere."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest

import darts_mim
from darts_mim import adapters, plotting

MENU = ("index", "quickstart", "how_it_works", "metrics", "migrating", "changelog", "api/model")
# What a browser fetches to show a page, unlike `a`, which a reader follows.
FETCHED = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "img": ("src", "srcset"),
    "input": ("src",),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
}


class Reference(NamedTuple):
    """An address in a page, of what the browser fetches or the reader follows."""

    tag: str
    address: str


class Page(HTMLParser):
    """What the tests need to know of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.references: list[Reference] = []
        self.anchors: set[str] = set()
        self.pictures_without_text: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.anchors |= {attributes[name] or "" for name in ("id", "name") if name in attributes}
        for name in (*FETCHED.get(tag, ()), *(("href",) if tag == "a" else ())):
            if attributes.get(name):
                self.references.append(Reference(tag, attributes[name] or ""))
        if tag == "img" and not attributes.get("alt"):
            self.pictures_without_text.append(attributes.get("src") or "")


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def is_elsewhere(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme in ("http", "https", "ftp") or bool(parts.netloc)


def targets(site: Path, pages: dict[Path, Page]) -> Iterator[tuple[Path, Reference, Path, str]]:
    """Yield the addresses within the site, with the file and the anchor that they lead to."""
    for path, page in pages.items():
        for reference in page.references:
            parts = urlsplit(reference.address)
            if parts.scheme or parts.netloc:
                continue
            # the page of errors is served at any depth, and links from the root
            start = site if parts.path.startswith("/") else path.parent
            file = (start / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
            yield path, reference, file / "index.html" if file.is_dir() else file, parts.fragment


def test_the_site_has_its_pages(pages: dict[Path, Page], site: Path) -> None:
    names = {path.relative_to(site).with_suffix("").as_posix() for path in pages}
    assert names >= set(MENU)


def test_links_and_pictures_within_the_site_exist(pages: dict[Path, Page], site: Path) -> None:
    broken = [
        f"{path.relative_to(site)}: {reference.address}"
        for path, reference, file, _ in targets(site, pages)
        if not file.is_file()
    ]
    assert not broken


def test_anchors_exist(pages: dict[Path, Page], site: Path) -> None:
    broken = [
        f"{path.relative_to(site)}: {reference.address}"
        for path, reference, file, anchor in targets(site, pages)
        # the theme's own switches begin so
        if file in pages and anchor and not anchor.startswith("__")
        if unquote(anchor) not in pages[file].anchors
    ]
    assert not broken


def test_links_within_the_site_are_relative(pages: dict[Path, Page], site: Path) -> None:
    absolute = [
        f"{path.relative_to(site)}: {reference.address}"
        for path, page in pages.items()
        for reference in page.references
        if reference.address.startswith("/") and path.name != "404.html"
    ]
    assert not absolute


def test_pictures_say_what_they_show(pages: dict[Path, Page], site: Path) -> None:
    silent = {
        str(path.relative_to(site)): page.pictures_without_text
        for path, page in pages.items()
        # the theme's logo is named by the link around it
        if [src for src in page.pictures_without_text if not src.endswith("logo.svg")]
    }
    assert not silent


def test_pages_load_nothing_from_elsewhere(pages: dict[Path, Page], site: Path) -> None:
    loaded = [
        f"{path.relative_to(site)}: {reference.address}"
        for path, page in pages.items()
        for reference in page.references
        if reference.tag in FETCHED and is_elsewhere(reference.address)
    ]
    assert not loaded


def test_styles_load_nothing_from_elsewhere(site: Path) -> None:
    pattern = re.compile(r"url\(\s*['\"]?(?:https?:)?//|@import\s+['\"]?(?:https?:)?//")
    sheets = sorted(site.rglob("*.css"))
    assert sheets
    assert not [str(sheet) for sheet in sheets if pattern.search(sheet.read_text())]
    for page in site.rglob("*.html"):
        assert not pattern.search("".join(re.findall(r"<style.*?</style>", page.read_text(), re.S)))


def test_the_reference_has_everything_public(pages: dict[Path, Page], site: Path) -> None:
    reference = [page for path, page in pages.items() if path.parent == site / "api"]
    anchors = {anchor for page in reference for anchor in page.anchors}
    names = {anchor.rpartition(".")[2] for anchor in anchors if anchor.startswith("darts_mim.")}
    assert names >= {*darts_mim.__all__, *adapters.__all__, *plotting.__all__}


def test_the_first_page_shows_a_forecast_that_the_build_made(site: Path) -> None:
    text = (site / "index.html").read_text()
    assert re.search(r'<img alt="[^"]+" src="data:image/gif;base64,R0lGOD', text)
    assert "pip install ." in text
    assert text.count("<td>yes</td>") + text.count('center;">yes</td>') >= 9


def test_the_files_of_the_repository_are_pages(site: Path) -> None:
    assert "Keep a Changelog" in (site / "changelog.html").read_text()
    assert "make setup" in (site / "contributing.html").read_text()
