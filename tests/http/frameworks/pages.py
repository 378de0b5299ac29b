"""What stands on the pages, and how often each was made.

- `GET /items/NAME`: JSON with an ETag of its own; `POST` to it changes its text and purges it.
- `GET /dated/NAME`: has a Last-Modified.
- `GET /stream/NAME`: comes in pieces, of no announced length.
- `GET /cookie/NAME`: sets two cookies.
- `GET /missing/NAME`: a 404 of the framework's own.
- `GET /large/NAME`: more than any buffer on its way holds.
- `GET /text/NAME`: long and worth compressing; a 304 to whom holds it. `PUT` to it changes it, and leaves purging to others.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT"
PIECES = ("one, ", "two, ", "three")
LARGE = b"0123456789abcdef" * 40_000

LINE = "all the same again and again. "

made: Counter[str] = Counter()
texts: dict[str, str] = {}


def item(name: str) -> dict[str, Any]:
    """The item as it is now."""
    return {"name": name, "text": texts.get(name, "new"), "made": count("items", name)}


def etag(name: str) -> str:
    """The validator of the item as it is now."""
    return f'"{name}-{texts.get(name, "new")}"'


def text(name: str) -> str:
    """The long text as it is now."""
    count("text", name)
    return f"{texts.get(name, 'new')}: " + LINE * 300


def count(page: str, name: str) -> int:
    """Which time this is that the page is made."""
    made[f"/{page}/{name}"] += 1
    return made[f"/{page}/{name}"]
