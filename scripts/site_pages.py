"""Lets the site and the repository show the same pages, with links that lead somewhere on both.

The site is made of docs/ and of some pages that stand elsewhere in the repository. A link is written as the repository needs it;
where the page it names has another place on the site, it is turned towards that.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
ELSEWHERE = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/*.md", "benchmarks/plots/*.svg")
"""Pages and pictures outside docs/ that the site has too, as paths in the repository."""

_LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)\s#]+)")
_HIDDEN = re.compile(r"^<!-- \w+\n.*?^-->\n", re.DOTALL | re.MULTILINE)


def place(path: str) -> str:
    """Where the site has what stands at `path` in the repository."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/")


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Adds what stands outside docs/."""
    for pattern in ELSEWHERE:
        for found in sorted(ROOT.glob(pattern)):
            path = found.relative_to(ROOT).as_posix()
            file = File.generated(config, place(path), abs_src_path=str(found))
            file.generated_by = path
            files.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turns links towards the site's places, and leaves out what only the tests read."""
    uri = page.file.src_uri
    source = posixpath.dirname(page.file.generated_by or f"docs/{uri}")

    def turned(found: re.Match[str]) -> str:
        target = place(posixpath.normpath(posixpath.join(source, found[0])))
        return posixpath.relpath(target, posixpath.dirname(uri) or ".")

    return _LINK.sub(turned, _HIDDEN.sub("", markdown))
