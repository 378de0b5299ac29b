"""The site builds strictly, fetches nothing from elsewhere, and leads the same ways as the repository does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest

import rcache
import rcache.testing
from tests.docs.blocks import ROOT, pages

QUIET = {"NO_MKDOCS_2_WARNING": "1"}
FETCHING = {"script": "src", "link": "href", "img": "src", "source": "src", "iframe": "src", "use": "href"}
"""Elements that make a browser fetch something, and the attribute that says what."""


class Fetched(HTMLParser):
    """What a page makes a browser fetch, where it leads, and the names it can be led to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.fetches: list[str] = []
        self.leads: list[str] = []
        self.names: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if given.get("rel") not in ("canonical", "next", "prev") and FETCHING.get(tag) in given:
            self.fetches.append(given[FETCHING[tag]])
        if tag == "a" and "href" in given:
            self.leads.append(given["href"])
        self.names.update(given[name] for name in ("id", "name") if name in given)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | QUIET, capture_output=True, text=True, timeout=300)
    said = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("INFO ")]
    assert (done.returncode, said) == (0, [])
    return folder


def built(site: Path) -> Iterator[tuple[Path, Fetched]]:
    """Its pages. The one for what is not found is served at any place, so its links tell nothing."""
    for page in sorted(site.rglob("*.html")):
        if page.name != "404.html":
            yield page, Fetched(page)


def test_every_page_is_on_the_site_and_shows_nothing_hidden(site: Path) -> None:
    for page in pages():
        path = page.relative_to(ROOT).as_posix()
        made = site / ("index.html" if path == "README.md" else path.removeprefix("docs/")[:-3] + ".html")
        assert made.exists(), path
        assert "<!-- python" not in made.read_text(), path


@pytest.mark.parametrize(("page", "package"), [("index", rcache), ("testing", rcache.testing)])
def test_the_reference_has_every_public_name(page: str, package: ModuleType) -> None:
    text = (ROOT / "docs" / "reference" / f"{page}.md").read_text()
    assert set(re.findall(rf"^::: {package.__name__}\.(\w+)$", text, re.MULTILINE)) == set(package.__all__)


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    fetched = {(page.name, url) for page, parsed in built(site) for url in parsed.fetches}
    assert len(fetched) > 50
    assert {each for each in fetched if urlsplit(each[1]).netloc} == set()
    for style in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*", style.read_text()) == []


def test_what_a_page_fetches_or_leads_to_is_there(site: Path) -> None:
    names = {page: parsed.names for page, parsed in built(site)}
    lost = []
    for page, parsed in built(site):
        for url in parsed.fetches + parsed.leads:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not target.exists() or (parts.fragment and unquote(parts.fragment) not in names.get(target, set())):
                lost.append(f"{page.relative_to(site)}: {url}")
    assert lost == []


def test_links_of_the_repository_lead_to_what_is_there() -> None:
    lost = []
    for page in [*pages(), *(ROOT / "benchmarks").glob("*.md")]:
        text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\((?!\w+:|#)([^)\s#]+)", text):
            if not (page.parent / unquote(target)).exists():
                lost.append(f"{page.relative_to(ROOT)}: {target}")
    assert lost == []
