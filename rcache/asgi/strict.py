"""Strict mode: notices what an endpoint looks at of its request, and raises where neither key nor Vary tell that apart.

The names in the headers that the application gets are bytes that know with what they are compared: so it is seen which field
was asked for, whatever class of request asks, also where the field is absent. Who asks is told by the call stack: what
frameworks and middleware read is theirs, and a field that FastAPI reads for a parameter is declared. Nothing here runs where
strict mode is off.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Self, SupportsIndex

from starlette.types import Scope

from rcache.asgi.plan import Plan
from rcache.core.errors import StrictError
from rcache.core.headers import RawHeaders
from rcache.core.vary import COOKIE, vary_names

_FRAMEWORKS: Final = frozenset(
    (
        "starlette",
        "fastapi",
        "pydantic",
        "rcache",
        "_collections_abc",
        "collections",
        "contextlib",
        "functools",
        "typing",
    )
)
"""Whose frames are passed by in the search for who reads."""

_JUDGED_HERE: Final = frozenset(
    (
        *("host", "content-length", "transfer-encoding"),  # of the key, or absent
        *("if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range", "range"),
    )
)
_BODY: Final = frozenset(("content-type", "content-encoding"))
"""Fields that join the key where the body does."""

_WHO: Final = frozenset(("session", "user", "auth"))
"""What middleware puts in the scope that says who asks."""

Note = Callable[[str], None]


class Watch:
    """One request's. `is_told`: the key tells whose answer it is."""

    def __init__(self) -> None:
        self.is_told = False
        self._in_identity: set[str] = set()
        self._fields: dict[str, str] = {}
        self._cookies: dict[str, str] = {}
        self._who: dict[str, str] = {}

    def identifying(self, scope: Scope) -> Scope:
        """The scope for `key_by` and `guard`: what they look at is in the key."""
        return {**scope, "headers": _noted(scope["headers"], self._in_identity.add, self._in_identity.add)}

    def watching(self, scope: Scope) -> Scope:
        """The scope for the application."""
        headers = _noted(scope["headers"], _at_place(self._fields), _at_place(self._cookies))
        return _Scope({**scope, "headers": headers}, _at_place(self._who))

    def check(self, plan: Plan, headers: RawHeaders, *, is_shared: bool) -> None:
        """Raises StrictError for the first thing that was looked at, and is not told by the key or by the answer's Vary."""
        selecting = {*plan.names, *(vary_names(headers) or ())}
        told = selecting | self._in_identity | _named(plan)
        # A request with credentials that the key does not tell is neither answered from this nor kept.
        is_anonymous = not self.is_told and not is_shared
        is_safe = "cookie" in selecting or (is_anonymous and not plan.ignores_cookies)
        has_cookie = is_safe or any(name == "cookie" or name.startswith(COOKIE) for name in told)
        own = {*_JUDGED_HERE, *(_BODY if plan.options.methods else ()), *(("authorization",) if is_anonymous else ())}
        for name, place in self._fields.items():
            if not (has_cookie if name == "cookie" else name in told or name in own):
                remedy = "cookies=(NAME,)" if name == "cookie" else f'vary=("{name}",)'
                raise _error(plan, f"the header {name!r}", place, f"{remedy} or key_by=")
        for name, place in self._cookies.items():
            if not is_safe and name not in told:
                raise _error(plan, f"the cookie {name[len(COOKIE) :]!r}", place, f'cookies=("{name[len(COOKIE) :]}",)')
        for name, place in self._who.items():
            if not (has_cookie or _is_told_by_callable(plan)):
                raise _error(plan, f'scope["{name}"]', place, 'key_by="cookie:NAME" or guard=')


def _is_told_by_callable(plan: Plan) -> bool:
    return plan.options.guard is not None or callable(plan.options.key_by)


def _named(plan: Plan) -> set[str]:
    key_by = plan.options.key_by
    return {key_by} if isinstance(key_by, str) else set()


def _error(plan: Plan, what: str, place: str, remedy: str) -> StrictError:
    return StrictError(
        f"{plan.label} is cached and reads {what} at {place}, which its key does not tell: write {remedy}, name it in the "
        "answer's Vary, or do not cache it (enabled=False)"
    )


def _at_place(found: dict[str, str]) -> Note:
    def note(name: str) -> None:
        if name not in found:
            place = _reader(sys._getframe(1))
            if place is not None:
                found[name] = place

    return note


def _reader(frame: FrameType | None) -> str | None:
    """Where in the endpoint, or what it calls, something is being looked at; None where a framework or middleware does so."""
    while frame is not None and (module := _module(frame)).partition(".")[0] in _FRAMEWORKS:
        if module.startswith("starlette.middleware.") or module == "rcache.asgi.fill":
            return None
        frame = frame.f_back
    if frame is None:
        return None
    place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    while frame is not None:
        module = _module(frame)
        if module == "starlette.routing":
            return place
        if module.startswith(("starlette.middleware.", "rcache.asgi.")):
            return None
        frame = frame.f_back
    return place  # in a thread, or a task that the endpoint started


def _module(frame: FrameType) -> str:
    name: str = frame.f_globals.get("__name__", "")
    return name


def _noted(headers: RawHeaders, note: Note, note_cookie: Note) -> list[tuple[bytes, bytes]]:
    return [
        (_Name(name, note), _Cookies(value, note_cookie) if name == b"cookie" else value) for name, value in headers
    ]


class _Scope(dict[str, Any]):
    """A scope that notes who is asked for."""

    def __init__(self, scope: Scope, note: Note) -> None:
        super().__init__(scope)
        self._note = note

    def __getitem__(self, key: str) -> Any:
        if key in _WHO:
            self._note(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        if key in _WHO:
            self._note(key)
        return super().get(key, default)


class _Name(bytes):
    """A field's name that notes with what it is compared."""

    _note: Note

    def __new__(cls, name: bytes, note: Note) -> Self:
        made = super().__new__(cls, name)
        made._note = note
        return made

    __hash__ = bytes.__hash__

    def __eq__(self, other: object) -> bool:
        if isinstance(other, bytes) and not isinstance(other, _Name):
            self._note(other.lower().decode("latin-1"))
        return bytes.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def lower(self) -> bytes:
        return self

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        text = super().decode(encoding, errors)
        self._note(text.lower())  # who reads all names reads this one
        return text


class _Cookies(bytes):
    """The value of a Cookie field, that notes which cookie is asked for once a framework has taken it apart."""

    _note: Note

    def __new__(cls, value: bytes, note: Note) -> Self:
        made = super().__new__(cls, value)
        made._note = note
        return made

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return _Line(super().decode(encoding, errors), self._note)


class _Text(str):
    """Text that hands on who is to be told."""

    __slots__ = ("_note",)
    _note: Note

    def __new__(cls, text: str, note: Note) -> Self:
        made = super().__new__(cls, text)
        made._note = note
        return made


class _Line(_Text):
    def split(self, separator: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return [_Pair(part, self._note) for part in super().split(separator, maxsplit)]


class _Pair(_Text):
    def split(self, separator: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        name, *rest = super().split(separator, maxsplit)
        return [_Cookie(name, self._note), *rest]


class _Cookie(_Text):
    """A cookie's name that notes with what it is compared: what looks it up in a dictionary does so."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str) and not isinstance(other, _Cookie) and str.__eq__(self, other):
            self._note(COOKIE + other)
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def strip(self, characters: str | None = None) -> str:
        return _Cookie(super().strip(characters), self._note)
