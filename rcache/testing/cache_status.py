"""Reads what Cache-Status (RFC 9211) says of one answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from inspect import iscoroutine
from typing import Any, Final, Self


@dataclass(frozen=True)
class CacheStatus:
    """What rcache did with one request; `text` is all that the field said, empty where there was none."""

    text: str
    is_hit: bool = False
    ttl: int | None = None  # seconds of freshness left; negative where the answer is stale
    forward: str | None = None  # why the application was asked
    status: int | None = None  # what the application answered, where the client got another
    is_stored: bool = False
    is_collapsed: bool = False  # another request's run of the application answered
    detail: str | None = None

    @property
    def is_covered(self) -> bool:
        """A stale answer stood in for an application that failed, or was late."""
        return self.forward == "stale" and self.detail in ("stale-if-error", "timeout")

    @property
    def is_stale(self) -> bool:
        """The answer came from the store, and was stale."""
        return (self.is_hit and self.ttl is not None and self.ttl < 0) or self.is_covered

    @classmethod
    def read(cls, text: str) -> Self:
        """The last member of the field that is rcache's: the one that stands nearest to the client."""
        ours = [parts for parts in map(_parts, _MEMBER.findall(text)) if parts[0] == "rcache"]
        if not ours:
            return cls(text)
        told = dict(part.partition("=")[::2] for part in ours[-1][1:])
        return cls(
            text,
            is_hit="hit" in told,
            ttl=_number(told.get("ttl")),
            forward=told.get("fwd"),
            status=_number(told.get("fwd-status")),
            is_stored="stored" in told,
            is_collapsed="collapsed" in told,
            detail=None if "detail" not in told else _unquoted(told["detail"]),
        )


def cache_status(response: Any) -> CacheStatus:
    """What the field says in a response of httpx, Starlette's and Django's clients, requests or aiohttp, or in pairs of fields.

    Raises TypeError for what is none of them.
    """
    headers = getattr(response, "headers", response)
    if iscoroutine(response) or not isinstance(headers, Iterable):
        kind = type(response).__name__
        advice = "await it" if iscoroutine(response) else "hand in what the client returned"
        raise TypeError(f"a {kind} is no response: {advice}")
    return CacheStatus.read(", ".join(_values(headers)))


def _values(headers: Any) -> Iterable[str]:
    if isinstance(headers, Mapping) or hasattr(headers, "get"):
        value = headers.get("cache-status") or headers.get("Cache-Status")
        return [] if value is None else [_text(value)]
    return [_text(value) for name, value in headers if _text(name).lower() == "cache-status"]


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_MEMBER: Final = re.compile(rf"(?:{_QUOTED}|[^,\"])+")
_PART: Final = re.compile(rf"(?:{_QUOTED}|[^;\"])+")


def _parts(member: str) -> list[str]:
    return [part.strip() for part in _PART.findall(member)] or [""]


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"-?[0-9]{1,15}", text) else None


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
