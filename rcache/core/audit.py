"""What an audit looks at: the answer that was served, the one that the application gives now, and where they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice
from typing import Any, Final, Literal, NamedTuple

import orjson

from rcache.core.checks import header_name, staleness
from rcache.core.coding import opened
from rcache.core.errors import ConfigurationError
from rcache.core.headers import RawHeaders, joined, values
from rcache.core.json_paths import ABSENT, Pattern, pattern, spelled, unequal

MOST_FOUND: Final = 100
"""Differences of two answers that are looked for."""

MOST_DIFFERENCES: Final = 20
"""Those that are told."""

VARYING: Final = frozenset(
    (
        *(b"date", b"age", b"expires", b"server", b"via", b"set-cookie", b"content-length"),
        *(b"cache-status", b"server-timing", b"nel", b"report-to", b"content-security-policy"),
        *(b"x-request-id", b"request-id", b"x-correlation-id", b"x-trace-id", b"x-b3-traceid", b"x-amzn-trace-id"),
        *(b"traceparent", b"tracestate", b"x-process-time", b"x-response-time", b"x-runtime"),
        *(b"ratelimit", b"ratelimit-policy", b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset"),
    )
)
"""Fields that are another in each answer, or say nothing of what is answered."""

VALIDATORS: Final = frozenset((b"etag", b"last-modified", b"content-digest", b"repr-digest", b"digest", b"content-md5"))
"""Fields that follow from the body: where that is another, it is told by itself, or is nothing that matters."""

PASSING: Final = frozenset((408, 425, 429))
"""Statuses, beside those of failures (5xx), that speak of this request alone."""


Outcome = Literal["same", "stale", "excused", "unsteady", "failed"]
"""How an audit ends."""

SAME: Final = "same"  # the application gives what was served
STALE: Final = "stale"  # it gives something else, and nothing had purged what was served
EXCUSED: Final = "excused"  # it gave something else, and by then the entry was purged, held, or replaced
UNSTEADY: Final = "unsteady"  # asked twice, it gave two answers
FAILED: Final = "failed"  # it gave no answer that tells anything
OUTCOMES: Final[tuple[Outcome, ...]] = (SAME, STALE, EXCUSED, UNSTEADY, FAILED)


class Answer(NamedTuple):
    """An answer as it is compared: without the fields of one connection, its body without the coding that rcache keeps it in."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Difference(NamedTuple):
    """`where`: "status", "header NAME", "body", a place in it like "$.items[0].price", or what `compare` says."""

    where: str
    served: str
    made: str


Compare = Callable[[Answer, Answer], bool]


@dataclass(frozen=True, slots=True)
class Audit:
    """How hits are audited: `audit=Audit(0.001, ignore=["x-build", "$.generated_at"])`; `audit=0.001` says the first alone.

    - `rate`: of how many hits the application is asked as well, from 0 (none) to 1 (all).
    - `ignore`: header fields, and places of JSON bodies, that may differ; those that are another in each answer (Date, request
      ids, cookies, nonces in Content-Security-Policy) are ignored always.
    - `compare`: says of two answers (`served`, `made`) whether they mean the same, where bytes and JSON do not tell.
    - `settle`: seconds after which what differs is looked at a second time: so long a writer may take from its COMMIT to its
      `invalidate()`, and a read replica to catch up.
    - `private`: whether requests that belong to one user are audited as well. What is reported then holds what is theirs.

    Raises ConfigurationError for what cannot work.
    """

    rate: float = 0.001
    ignore: Iterable[str] = ()
    compare: Compare | None = None
    settle: float | str | timedelta = 1.0
    private: bool = False
    settled_after: float = field(init=False, repr=False)
    fields: frozenset[bytes] = field(init=False, repr=False)
    patterns: tuple[Pattern, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        if isinstance(self.rate, bool) or not isinstance(self.rate, int | float) or not 0 <= self.rate <= 1:
            raise ConfigurationError(f"audit={self.rate!r} must be a part of all hits, from 0 to 1: audit=0.001")
        if isinstance(self.ignore, str | bytes) or not isinstance(self.ignore, Iterable):
            raise ConfigurationError(f"audit: ignore={self.ignore!r} must be a list: write ignore=[{self.ignore!r}]")
        ignored = tuple(self.ignore)
        if not all(isinstance(each, str) for each in ignored):
            raise ConfigurationError(
                f"audit: ignore={ignored!r} must hold header names and paths like '$.generated_at'"
            )
        if self.compare is not None and not callable(self.compare):
            raise ConfigurationError(f"audit: compare={self.compare!r} must be a callable of two answers")
        if not isinstance(self.private, bool):
            raise ConfigurationError(f"audit: private={self.private!r} must be True or False")
        put(self, "ignore", ignored)
        put(self, "settled_after", staleness(self.settle, "settle"))
        names = [header_name(each, "audit") for each in ignored if not each.startswith("$")]
        put(self, "fields", VARYING.union(name.encode() for name in names))
        put(self, "patterns", tuple(pattern(each) for each in ignored if each.startswith("$")))


def checked(value: Any) -> Audit | float:
    """What a setting says: everything, or the rate alone."""
    if isinstance(value, Audit):
        return value
    if isinstance(value, bool):
        raise ConfigurationError(f"audit={value!r} must be a part of all hits: audit=0.001, and audit=0 for none")
    return float(Audit(value).rate)


def settled(said: Audit | float | None, otherwise: Audit | float | None) -> Audit | None:
    """What holds where a rule has said the first and its middleware the second; None where no hit is audited.

    A rule that gives a rate alone compares as its middleware does.
    """
    base = otherwise if isinstance(otherwise, Audit) else Audit(otherwise or 0)
    audit = said if isinstance(said, Audit) else base if said is None else replace(base, rate=said)
    return audit if audit.rate > 0 else None


def is_telling(status: int) -> bool:
    """Whether an answer with this status says anything about the one that was served: a failure may pass."""
    return status < 500 and status not in PASSING


def differences(served: Answer, made: Answer, audit: Audit, most: int) -> tuple[Difference, ...]:
    """Where the answers differ, as far as that matters to `audit`; at most MOST_FOUND. `most`: bytes of a body.

    Raises what `compare` raises.
    """
    if audit.compare is not None and audit.compare(served, made):
        return ()
    found: list[Difference] = []
    if served.status != made.status:
        found.append(Difference("status", str(served.status), str(made.status)))
    ignored = audit.fields if served.body == made.body else audit.fields | VALIDATORS
    found += _of_headers(served.headers, made.headers, ignored)
    found += islice(_of_bodies(served, made, audit.patterns, most), MOST_FOUND)
    if not found and audit.compare is not None:
        found.append(Difference("compare", "", ""))
    return tuple(found[:MOST_FOUND])


def _of_headers(served: RawHeaders, made: RawHeaders, ignored: frozenset[bytes]) -> list[Difference]:
    names = dict.fromkeys(name.lower() for name, _ in (*served, *made))
    return [
        Difference(f"header {name.decode('latin-1')}", _field(served, name), _field(made, name))
        for name in names
        if name not in ignored and values(served, name) != values(made, name)
    ]


def _field(headers: RawHeaders, name: bytes) -> str:
    return _short((joined(headers, name) or b"").decode("latin-1"))


def _of_bodies(served: Answer, made: Answer, ignored: tuple[Pattern, ...], most: int) -> Iterable[Difference]:
    if served.body == made.body:
        return
    one, other = _plain(served, most), _plain(made, most)
    if one == other:
        return
    if _is_json(served) and _is_json(made):
        try:
            before, after = orjson.loads(one), orjson.loads(other)
        except orjson.JSONDecodeError:
            pass
        else:
            for place, here, there in unequal(before, after, ignored):
                yield Difference(spelled(place), _json(here), _json(there))
            return
    at = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    yield Difference("body", _excerpt(one, at), _excerpt(other, at))


def _plain(answer: Answer, most: int) -> bytes:
    """The body without the coding that the application has put it in: one holds the time at which it was made."""
    coding = joined(answer.headers, b"content-encoding")
    if coding is None:
        return answer.body
    plain = opened(coding.strip().lower().decode("latin-1"), answer.body, most)
    return answer.body if plain is None else plain


def _is_json(answer: Answer) -> bool:
    kind = (joined(answer.headers, b"content-type") or b"").split(b";")[0].strip().lower()
    return kind == b"application/json" or kind.endswith(b"+json")


def _json(value: Any) -> str:
    return "" if value is ABSENT else _short(orjson.dumps(value).decode())


def _excerpt(body: bytes, at: int) -> str:
    """A few bytes around the first that differs."""
    return f"at byte {at}: " + repr(body[max(0, at - 10) : at + 30])[1:]


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:197] + "..."
