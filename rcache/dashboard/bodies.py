"""The body of an entry, as far as a page can show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MOST: Final = 16 * 1024
"""Bytes of a body that are shown."""

_TEXTS: Final = ("text/", "application/json", "application/javascript", "application/xml", "image/svg+xml")


@dataclass(frozen=True, slots=True)
class Body:
    """Its text, None where it is none; how many bytes follow that are not shown."""

    text: str | None
    left_out: int
    kind: str


def shown(body: bytes, headers: Sequence[tuple[str, str]]) -> Body:
    """What of it is shown: text, in the coding that it says or UTF-8; nothing of what is compressed or no text."""
    fields = {name.lower(): value for name, value in headers}
    kind, _, parameters = fields.get("content-type", "").partition(";")
    kind = kind.strip().lower()
    is_text = kind.startswith(_TEXTS) or kind.endswith(("+json", "+xml"))
    if not is_text or fields.get("content-encoding", "identity").strip().lower() != "identity":
        return Body(None, 0, kind or "no type")
    name, _, charset = parameters.strip().partition("=")
    coding = charset.strip('" ') if name.strip().lower() == "charset" else "utf-8"
    part = body[:MOST]
    try:
        text = part.decode(coding, "replace")
    except (LookupError, ValueError, UnicodeError):
        text = part.decode("utf-8", "replace")
    # A codec of Python's that makes no text (hex, base64) raised LookupError; NUL has no place in HTML.
    return Body(text.replace("\0", "�"), max(0, len(body) - MOST), kind)
