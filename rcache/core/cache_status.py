"""The Cache-Status field (RFC 9211): what the cache did with a request, and why."""

from __future__ import annotations

import re
from typing import Final

FORWARD_REASONS: Final = ("bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial")
"""Why a request went to the application (RFC 9211 §2.2)."""

_FORWARDED: Final = {reason: b"rcache; fwd=" + reason.encode() for reason in FORWARD_REASONS}
_TOKEN: Final = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")
_ESCAPE: Final = re.compile(r'(["\\])')


def hit(ttl: float) -> bytes:
    """Answered from the cache; `ttl` is the freshness left, in seconds, negative where the answer is stale."""
    return b"rcache; hit; ttl=%d" % ttl


def refused(detail: str) -> bytes:
    """Answered by the cache itself, with nothing that was stored."""
    return b"rcache; detail=" + _item(detail)


def forward(
    reason: str,
    *,
    status: int | None = None,
    stored: bool = False,
    collapsed: bool = False,
    detail: str | None = None,
) -> bytes:
    """Answered by the application, for one of FORWARD_REASONS (KeyError for any other).

    `status` is what the application answered where the client gets another, `stored` says that the answer was kept,
    `collapsed` that it was another request's; `detail` is any text.
    """
    field = _FORWARDED[reason]
    if status is not None:
        field += b"; fwd-status=%d" % status
    if stored:
        field += b"; stored"
    if collapsed:
        field += b"; collapsed"
    if detail is not None:
        field += b"; detail=" + _item(detail)
    return field


def _item(text: str) -> bytes:
    """A Token where the text is one, else a String (RFC 8941 §3.3), in which `?` stands for what it cannot hold."""
    if _TOKEN.fullmatch(text):
        return text.encode()
    return b'"' + _ESCAPE.sub(r"\\\1", _UNPRINTABLE.sub("?", text)).encode() + b'"'
