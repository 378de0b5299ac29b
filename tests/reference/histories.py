"""Random histories: few targets and few answers, so that they meet again, with fields from a rich pool.

They are made by picking, whoever picks: Hypothesis, which makes a history that tells something small, or `random`, which makes
thousands that have little in common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from hypothesis import strategies as st

from tests.reference.history import Settings
from tests.reference.play import Act, Ask, At, Echo, Script, Values, Wait

URIS = ("/a", "/b", "/a?x=1")

FRESHNESS = (
    *(
        "max-age=60",
        "max-age=3600",
        "s-maxage=60",
        "max-age=5",
        "Max-Age=60",
        "MAX-AGE=3600",
        'max-age="60"',
        "max-age=060",
    ),
    *("max-age=5, s-maxage=60", "s-maxage=5, max-age=3600", "max-age=0", "max-age=abc", "max-age=-1", "max-age=60.5"),
    *(
        "max-age",
        "max-age=",
        "max-age=4294967296",
        "max-age=99999999999999999999",
        "max-age=60, max-age=5",
        "max-age =60",
    ),
    *("max-age=5, max-age=60", "s-maxage=abc, max-age=60", "max-age=60, max-age=60", "max-age='60'", "max-age=1e3"),
)
PLAIN_FRESHNESS = ("max-age=60", "max-age=3600", "max-age=5", "s-maxage=60")

DIRECTIVES = (
    *("public", "private", "no-cache", "no-store", "must-revalidate", "proxy-revalidate", "must-understand"),
    *("stale-while-revalidate=30", "stale-if-error=600", "stale-while-revalidate=600", "stale-if-error=5"),
    *(
        'no-cache="x-volatile"',
        'private="x-volatile"',
        'no-cache="X-Volatile, x-none"',
        "No-Cache",
        "NO-STORE",
        "Public",
    ),
    *(
        'foo="no-store, private"',
        "foo=bar",
        "no-transform",
        "immutable",
        "max-stale=60",
        "only-if-cached",
        "x-no-store",
    ),
    *(
        "must-understand, no-store",
        'foo="\\"no-cache"',
        "Must-Revalidate",
        "stale-while-revalidate",
        "stale-if-error=x",
    ),
)
SEPARATORS = (", ", ",", " ,\t", ",, ", "\n")
"""Between directives; a line feed stands for another line of the field."""

EXPIRES: tuple[str | At, ...] = (
    *(At(60), At(3600), At(60, "rfc850"), At(60, "asctime"), At(0), At(-60), At(10**9)),
    *("0", "-1", "never", "Thu, 01 Jan 2037 00:00:00 EST", "Fri, 31 Jun 2037 00:00:00 GMT", ""),
)
DATES: tuple[str | At, ...] = (
    At(0),
    At(0),
    At(-5),
    At(-59),
    At(30),
    At(0, "asctime"),
    At(-5, "rfc850"),
    "yesterday",
    "0",
)
AGES = (
    "0",
    "5",
    "59",
    "60",
    "3000",
    "5, 700",
    "700, 5",
    "abc",
    "-5",
    "1.5",
    "99999999999999999999",
    "",
    '"5"',
    "5\n700",
)
MODIFIED: tuple[str | At, ...] = (
    *(At(-86400, is_fixed=True), At(-36000, is_fixed=True), At(-36000, "asctime", is_fixed=True), At(60), "long ago"),
    At(-86400, "rfc850", is_fixed=True),
)
TAGS = ('"a"', 'W/"a"', '"b"', 'W/"b"', '"a,b"', '""')
VARIES = (
    "Accept-Language",
    "accept-language, X-Flavour",
    "X-Flavour",
    "*",
    "Accept-Language, *",
    " accept-language ,",
    "Cookie",
)
TARGETED = (
    *(
        "max-age=60",
        "max-age=5",
        "no-store",
        "private",
        "no-cache",
        "max-age=60, must-revalidate",
        "none",
        "",
        "Max-Age=60",
    ),
    *(
        "max-age=60;foo=1",
        "max-age=60.5",
        "max-age=5, max-age=60",
        "max-age=60,",
        "max-age=60,, none",
        'no-cache="x-volatile"',
    ),
    *(
        'max-age="60"',
        "stale-while-revalidate=30, max-age=5",
        "public, max-age=60",
        "no-store=?0, max-age=60",
        "max-age=(60)",
    ),
)
STATUSES = (200, 200, 200, 200, 200, 200, 200, 203, 204, 299, 301, 302, 307, 400, 404, 410, 451, 500, 501, 503)

LANGUAGES = ("en", "de", "en, de", "en,de", "EN", "de, en", "en;q=0.5", "en ,  de", "en\nde", "")
FLAVOURS = ("a", "A", "b", '"a, b"', '"a,b"', "a, b", "a\nb")
ASKED = (
    *(
        "no-cache",
        "no-store",
        "max-age=0",
        "max-age=4",
        "max-age=30",
        "min-fresh=30",
        "min-fresh=0",
        "max-stale",
        "max-stale=30",
    ),
    *(
        "only-if-cached",
        "only-if-cached, max-stale",
        "No-Cache",
        "max-age=abc",
        "min-fresh=",
        "max-age=4, max-stale=60",
        "foo",
    ),
    *(
        'max-age="30"',
        "max-age=30, max-age=0",
        "stale-if-error=30",
        "only-if-cached, no-cache",
        "max-stale=abc",
        "public",
    ),
    *("no-transform", 'foo="no-cache"', "only-if-cached, max-age=4", "min-fresh=99999999999", "ONLY-IF-CACHED"),
)
CONDITION_TAGS: tuple[str | Echo, ...] = (*TAGS, "*", '"a", "b"', '"x" ,W/"b"', '"x"', "a", Echo(), Echo(), Echo())
SINCE: tuple[str | At, ...] = (
    *(At(-86400, is_fixed=True), At(-36000, is_fixed=True), At(-36001, is_fixed=True), At(0), At(0, "asctime")),
    *(At(-36000, "rfc850", is_fixed=True), "lately"),
)
LOCATIONS = (
    "/b",
    "http://testserver/a",
    "http://elsewhere.example/a",
    "//testserver/b",
    "b",
    "/a#part",
    "?x=1",
    "//elsewhere/b",
)
STEPS = (1, 4, 5, 6, 29, 30, 31, 54, 55, 59, 60, 61, 90, 600, 3540, 3599, 3600, 3601, 7200)


Pick = Callable[[Sequence[Any]], Any]
"""One of several; the first is the simplest."""


@cache
def _once_in(times: int) -> tuple[bool, ...]:
    return (False,) * (times - 1) + (True,)


def _several(pick: Pick, make: Callable[[Pick], Any], least: int, most: int) -> list[Any]:
    """A list, at each length more likely to go on than to end."""
    found: list[Any] = []
    while len(found) < least or (len(found) < most and pick((False,) + (True,) * 8)):
        found.append(make(pick))
    return found


def _lines(name: str, value: str) -> Values:
    return tuple((name, line) for line in value.split("\n"))


def answer(pick: Pick) -> Script:
    """What the origin may say to GET."""
    headers: Values = (("content-type", "text/plain"),)
    headers += () if pick(_once_in(10)) else _lines("Cache-Control", _control(pick))
    headers += (("Expires", pick(EXPIRES)),) if pick(_once_in(5)) else ()
    headers += (("Date", pick(DATES)),) if pick((True, False)) else ()
    headers += _lines("Age", pick(AGES)) if pick(_once_in(5)) else ()
    headers += (("ETag", pick(TAGS)),) if pick((False, True)) else ()
    headers += (("Last-Modified", pick(MODIFIED)),) if pick(_once_in(3)) else ()
    headers += (("Vary", pick(VARIES)),) if pick(_once_in(3)) else ()
    headers += ((pick(("CDN-Cache-Control", "RCache-Control")), pick(TARGETED)),) if pick(_once_in(10)) else ()
    headers += (("X-Volatile", "v"), ("X-Unknown", "one"), ("X-Unknown", "two, three")) if pick(_once_in(4)) else ()
    headers += (("Set-Cookie", "session=1"),) if pick(_once_in(16)) else ()
    headers += (("Connection", "x-hop"), ("X-Hop", "1"), ("Proxy-Authenticate", "Basic")) if pick(_once_in(12)) else ()
    headers += (("Pragma", "no-cache"),) if pick(_once_in(10)) else ()
    return Script(
        status=pick(STATUSES),
        headers=headers,
        ending=pick(("whole",) * 15 + ("breaks",)),
        takes=pick((0, 0, 0, 0, 0, 2)),
        padding=pick((0, 0, 0, 1)),
        heeds_conditions=pick((True,) * 4 + (False,)),
    )


def _control(pick: Pick) -> str:
    """A response's Cache-Control, its lines divided by line feeds."""
    parts = [pick(PLAIN_FRESHNESS * 8 + FRESHNESS)]
    if pick(_once_in(3)):
        parts += _several(pick, lambda pick: pick(DIRECTIVES), 1, 2)
    if pick(_once_in(4)):
        parts.reverse()
    return pick((SEPARATORS[0], *SEPARATORS)).join(parts)


def fields(pick: Pick) -> Values:
    """The fields of a GET or HEAD request."""
    headers: Values = ()
    headers += _lines("Accept-Language", pick(LANGUAGES)) if pick(_once_in(3)) else ()
    headers += _lines("X-Flavour", pick(FLAVOURS)) if pick(_once_in(6)) else ()
    headers += (("Cache-Control", pick(ASKED)),) if pick(_once_in(3)) else ()
    headers += (("If-None-Match", pick(CONDITION_TAGS)),) if pick(_once_in(4)) else ()
    headers += (("If-Modified-Since", pick(SINCE)),) if pick(_once_in(8)) else ()
    headers += (("Authorization", "Bearer alice"),) if pick(_once_in(10)) else ()
    headers += (("Cookie", pick(("session=1", "_ga=GA1.2", "_ga=GA1.2; session=1"))),) if pick(_once_in(10)) else ()
    headers += (("Pragma", "no-cache"),) if pick(_once_in(12)) else ()
    return headers


def _write(pick: Pick, uris: Sequence[str]) -> Ask:
    """A request by a method that is not GET or HEAD, mostly an unsafe one."""
    headers: Values = ()
    for name in ("Location", "Content-Location"):
        headers += ((name, pick(LOCATIONS)),) if pick(_once_in(3)) else ()
    method = pick(("POST", "PUT", "DELETE", "PATCH", "FROB", "OPTIONS"))
    script = Script(pick((200, 201, 204, 303, 400, 404, 500)), headers, ending=pick(("whole",) * 6 + ("raises",)))
    return Ask(method, pick(uris), (), script)


def history(pick: Pick, most: int = 16) -> tuple[list[Act], Settings]:
    """Acts, and the settings they are played with; requests and answers are picked from a few that were made first."""
    chosen = Settings(
        heuristic=pick((False, True)),
        client_may_refresh=pick((True, True, False)),
        stale_on_error=pick((0, 0, 60)),
    )
    uris = _several(pick, lambda pick: pick(URIS), 1, 2)
    said = _several(pick, answer, 1, 2)
    if pick(_once_in(3)):
        said[0] = replace(said[0], headers=said[0].headers + pick(((), (("Cache-Control", "stale-if-error=600"),))))
        said += [*said, replace(said[0], ending="raises"), replace(said[0], status=503)]
    asked = [(), *_several(pick, fields, 0, 3)]

    def act(pick: Pick) -> Act:
        kind = pick(("read",) * 13 + ("wait",) * 5 + ("write",))
        if kind == "wait":
            return Wait(pick(STEPS))
        if kind == "write":
            return _write(pick, uris)
        return Ask(pick(("GET",) * 15 + ("HEAD",)), pick(uris), pick(asked), pick(said))

    return _several(pick, act, 2, most), chosen


@cache
def _sampled(options: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    return st.sampled_from(options)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Act], Settings]:
    """Histories that Hypothesis makes."""
    return history(lambda options: draw(_sampled(tuple(options))))
