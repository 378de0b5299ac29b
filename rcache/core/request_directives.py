"""Cache-Control of a request, and Pragma before it (RFC 9111 §5.2.1, §5.4). In doubt the client wants the fresher answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Final

from rcache.core.directives import MALFORMED, MAX_DELTA, arguments, delta_seconds, lowest
from rcache.core.headers import RawHeaders, split_list, values


@dataclass(frozen=True, slots=True)
class RequestDirectives:
    """What a client prefers. All of it is advice, which a cache may decline (RFC 9111 §5.2.1). Durations are seconds."""

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age: int | None = None
    min_fresh: int | None = None
    max_stale: float | None = None  # infinity where it says no number; None: no stale answer is accepted
    stale_if_error: int | None = None  # RFC 5861 §4


NO_ADVICE: Final = RequestDirectives()


def request_directives(headers: RawHeaders) -> RequestDirectives:
    """The directives of all Cache-Control lines together; those that are unknown are ignored (RFC 9111 §5.2.3).

    Of several the most restrictive counts, as §4.2.1 has it for a response. A max-age that cannot be read is 0, a
    min-fresh that cannot be read is more than any answer has, and a max-stale or stale-if-error that cannot be read
    permits nothing: whichever way the client meant it, the application's own answer is right.

    `Pragma: no-cache` means no-cache where there is no Cache-Control at all. RFC 9111 §5.4 deprecates it, for what it was
    defined for: clients that know no Cache-Control. RFC 7234 §5.4 says what it has to mean from those.
    """
    lines = values(headers, b"cache-control")
    if lines:
        return _advice_kept(lines[0]) if len(lines) == 1 and len(lines[0]) <= _KEPT_LENGTH else _advice(*lines)
    pragmas = values(headers, b"pragma")
    return _PRAGMA if pragmas and _says_no_cache(pragmas) else NO_ADVICE


def _advice(*lines: bytes) -> RequestDirectives:
    found = arguments(lines)
    return RequestDirectives(
        no_cache=b"no-cache" in found,
        no_store=b"no-store" in found,
        only_if_cached=b"only-if-cached" in found,
        max_age=lowest(found.get(b"max-age")),
        min_fresh=_highest(found.get(b"min-fresh")),
        max_stale=_patience(found.get(b"max-stale")),
        stale_if_error=lowest(found.get(b"stale-if-error")),
    )


# Browsers send two or three spellings, on every reload; the bound on length keeps what is remembered small.
_KEPT_LENGTH: Final = 128
_advice_kept: Final = lru_cache(maxsize=256)(_advice)
_PRAGMA: Final = RequestDirectives(no_cache=True)


def _says_no_cache(pragmas: list[bytes]) -> bool:
    return any(member.lower() == b"no-cache" for line in pragmas for member in split_list(line))


def _highest(given: Iterable[bytes | None] | None) -> int | None:
    if given is None:
        return None
    numbers = [delta_seconds(argument or MALFORMED) for argument in given]
    return max(MAX_DELTA if number is None else number for number in numbers)


def _patience(given: Iterable[bytes | None] | None) -> float | None:
    """max-stale: the least of what is accepted; nothing where one of them cannot be read."""
    if given is None:
        return None
    numbers = [inf if argument is None else delta_seconds(argument) for argument in given]
    return None if None in numbers else min(number for number in numbers if number is not None)
