"""Answers one request from a stored entry, or with a whole answer that is at hand; the application is not called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.types import Scope, Send

from rcache.core import cache_status
from rcache.core.changes import without_families
from rcache.core.coding import decode
from rcache.core.entry import Entry
from rcache.core.headers import RawHeaders, joined, without
from rcache.core.negotiation import coded_etag, coded_headers, plain_headers, takes
from rcache.core.ranges import partial
from rcache.core.validation import not_modified, not_modified_headers
from rcache.signals import notify, response_served

if TYPE_CHECKING:
    from rcache.cache import Cache

Pairs = list[tuple[bytes, bytes]]

_ETAG = frozenset((b"etag",))


async def replay(
    cache: Cache,
    entry: Entry,
    now: float,
    scope: Scope,
    fields: Mapping[bytes, bytes],
    send: Send,
    status_field: bytes | None = None,
) -> None:
    """Sends the entry, or the 304, 206 or 416 that the request asks for. `now` is the store's time.

    `fields` are the request's headers, `status_field` is what Cache-Status says in place of a hit.
    """
    age = int(now - entry.stored_at + entry.initial_age)
    replayed = entry.replayed
    if replayed is not None and replayed[0] == age and status_field is None and entry.coding is None:
        headers, body, etag = replayed[1], entry.body, entry.etag
    else:
        # The clock may have been set back: no answer is younger than it came, nor than it was before.
        age = max(age, int(entry.initial_age), 0 if replayed is None else replayed[0])
        headers, body, etag = _shown(entry, age, status_field, scope["headers"])
    status = entry.status
    if response_served.receivers:
        tags = without_families(entry.tags[1:])
        notify(response_served, cache, path=scope["path"], status=status, age=age, tags=tags)
    if b"if-none-match" in fields or b"if-modified-since" in fields or b"range" in fields:
        status, headers, body = selected(cache, scope, entry, status, headers, body, etag, now)
    # Middleware further out may add to the list it is sent, so each answer has a list of its own.
    await send({"type": "http.response.start", "status": status, "headers": headers.copy()})
    # A stored GET also answers HEAD, without the body (RFC 9110 §9.3.2).
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def selected(
    cache: Cache,
    scope: Scope,
    entry: Entry,
    status: int,
    headers: Pairs,
    body: bytes,
    etag: bytes | None,
    present: float,
) -> tuple[int, Pairs, bytes]:
    """What of `entry` the request asks for: all, nothing that is new to it (304), or ranges (206, 416).

    `headers`, `body` and `etag` are of the representation that it would get, `present` is the store's time. Preconditions
    come before ranges, and both speak of successes only (RFC 9110 §13.2.1, §13.2.2).
    """
    method, asked, now = scope["method"], scope["headers"], cache.clock.time()
    # By the clock that clients are told and by the store's, of which each may go behind the other, or have been set back.
    received = (entry.stored_at, now - max(0.0, present - entry.stored_at))
    if status < 300 and method != "POST":
        if not_modified(asked, etag, entry.last_modified, now, stored=entry.headers, received=max(received)):
            return 304, not_modified_headers(headers), b""
        if etag != entry.etag and not_modified(asked, entry.etag, None, now):
            # The plain body went to those who came while it was made; the 304 names what its client holds (§15.4.5).
            held = [*without(headers, _ETAG), (b"etag", entry.etag or b"")]
            return 304, not_modified_headers(held), b""
    if status == 200 and method == "GET":
        # The date of an entry with two representations does not tell one from the other (§8.8.1).
        modified, made_at = entry.last_modified if entry.coding is None else None, min(received) - entry.initial_age
        part = partial(asked, headers, body, etag=etag, last_modified=modified, made_at=made_at, now=now)
        if part is not None:
            return part
    return status, headers, body


def represented(headers: Pairs, entry: Entry, asked: RawHeaders) -> tuple[Pairs, bytes, bytes | None]:
    """The pairs, the body and the ETag of the representation that a client with the fields `asked` gets of `entry`.

    `headers` are those of the plain one.
    """
    coding = entry.coding
    if coding is None:
        return headers, entry.body, entry.etag
    if not takes(joined(asked, b"accept-encoding"), coding):
        return plain_headers(headers), decode(coding, entry.body, entry.length), entry.etag
    if entry.coded_etag is None and entry.etag is not None:
        entry.coded_etag = coded_etag(entry.etag, coding, entry.body)
    return coded_headers(headers, coding, entry.coded_etag, len(entry.body)), entry.body, entry.coded_etag


def _shown(entry: Entry, age: int, status_field: bytes | None, asked: RawHeaders) -> tuple[Pairs, bytes, bytes | None]:
    headers, body, etag = represented(list(entry.headers), entry, asked)
    # Hits of the same second are sent the same pairs, and whatever this answer was, no later one is younger.
    as_hit = headers if status_field is None else headers.copy()
    entry.replayed = (age, _dated(entry, as_hit, age, None))
    if status_field is not None:
        _dated(entry, headers, age, status_field)
    return headers, body, etag


def _dated(entry: Entry, headers: Pairs, age: int, status_field: bytes | None) -> Pairs:
    """`headers`, and what each answer says of its own age."""
    headers.append((b"age", b"%d" % age))
    headers.append((b"cache-status", status_field or cache_status.hit(entry.lifetime - age)))
    if entry.client_ttl is not None:
        # Clients subtract the Age that is sent along, so it is added here (RFC 9111 §4.2).
        headers.append((b"cache-control", b"max-age=%d" % (entry.client_ttl + age)))
    return headers
