"""Tags as cache groups (RFC 9875): exported in Cache-Groups, taken from it, and purged by Cache-Group-Invalidation.

Both fields are Lists of Strings (RFC 9651 §3.1, §3.3.3), and a String holds printable ASCII. Any other tag is spelled with its
UTF-8 percent-encoded, and `%` as `%25`. A group that is spelled like that is read both ways, as it stands and decoded: a purge
may reach a namesake then, and misses nobody.

A cache outside drops, of a group that is invalidated, the responses whose Cache-Groups name it. It takes that list for whole: a
response with part of its groups would stay there when one that was left out is invalidated, and nothing would show why. So
what cannot be listed whole is not listed at all: no claim, instead of one that holds for some of the groups. Within the
bounds below a list may still be longer than what every cache must support (32 groups of 32 characters, RFC 9875 §2). Where a
cache ignores the rest, it lacks what it would lack without the field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final
from urllib.parse import quote, unquote

from rcache.core.errors import ConfigurationError
from rcache.core.headers import OWS, RawHeaders, values
from rcache.core.keys import URL_TAG
from rcache.core.tags import TagError, check_tag

CACHE_GROUPS: Final = b"cache-groups"
CACHE_GROUP_INVALIDATION: Final = b"cache-group-invalidation"

MAX_GROUPS: Final = 128
"""Groups in an exported field."""

MAX_FIELD_BYTES: Final = 2048
"""An exported field. Proxies read all fields of a response into a few kilobytes, and answer 502 where they do not fit."""

_PRINTABLE: Final = re.compile(r"[\x20-\x7e]+")
_UNENCODED: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_ESCAPED: Final = re.compile(r'(["\\])')


@cache
def parser() -> Callable[..., Any]:
    """http-sf's parser. Raises ConfigurationError where it is not installed: ask while starting, where groups are wanted."""
    try:
        from http_sf import parse
    except ImportError as error:
        raise ConfigurationError("cache_groups=True takes a parser: pip install 'rcache[targeted]'") from error
    return parse


def export(tags: Iterable[str]) -> bytes | None:
    """Cache-Groups for an answer with these tags; None where there are none, or too many for the field to name them all.

    The implicit tags of URLs are not exported: a URL is nothing that needs a group.
    """
    names = dict.fromkeys([_spelled(tag) for tag in tags if not tag.startswith(URL_TAG)])
    if not names or len(names) > MAX_GROUPS:
        return None
    field = ", ".join(['"' + _ESCAPED.sub(r"\\\1", name) + '"' for name in names])
    return field.encode() if len(field) <= MAX_FIELD_BYTES else None


def groups(headers: RawHeaders) -> tuple[str, ...]:
    """The tags that an answer has by its own Cache-Groups, each once; parameters are ignored (RFC 9875 §2).

    Raises TagError where the field is no List of Strings or a group can be no tag: the answer is served and not stored, since
    it could not be purged as its application expects. Their number is not bounded here, as it is with all tags of an answer.
    """
    found: dict[str, None] = {}
    for member in _members(headers, CACHE_GROUPS):
        found.update(dict.fromkeys(_readings(member) or [check_tag(member)]))
    return tuple(found)


def invalidated(headers: RawHeaders) -> tuple[str, ...]:
    """The tags to purge by Cache-Group-Invalidation, each once. Only the answer to an unsafe method is to be asked for them.

    A group that can be no tag is left out: no entry carries it. Raises TagError where the field is no List of Strings: it is
    to be ignored then (RFC 9651 §4.2), which its developer will want to know.
    """
    members = _members(headers, CACHE_GROUP_INVALIDATION)
    return tuple(dict.fromkeys([tag for member in members for tag in _readings(member)]))


def _members(headers: RawHeaders, name: bytes) -> list[str]:
    field = b", ".join([trimmed for line in values(headers, name) if (trimmed := line.strip(OWS))])
    if not field:
        return []
    try:
        members = [value for value, _ in parser()(field, tltype="list")]
    except ValueError as error:
        raise TagError(f"{name.decode()} is no List: {error}") from error
    for member in members:
        if type(member) is not str:  # nor is a Token, nor an inner list
            raise TagError(f"{name.decode()}: {member!r} is no String")
    return members


def _readings(member: str) -> list[str]:
    """The tags that a group may stand for: itself, and what it is the percent-encoding of."""
    try:
        decoded = unquote(member, errors="strict")
    except UnicodeDecodeError:
        decoded = ""
    # What is ASCII when decoded had no need to be encoded, so it was not meant.
    return [tag for tag in (member, decoded) if (tag is member or not tag.isascii()) and _is_tag(tag)]


def _is_tag(text: str) -> bool:
    try:
        check_tag(text)
    except TagError:
        return False
    return True


def _spelled(tag: str) -> str:
    return tag if _PRINTABLE.fullmatch(tag) else quote(tag, safe=_UNENCODED)
