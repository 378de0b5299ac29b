"""Header fields read as RFC 9110, 9111 and 9213 write them: plainly, without speed, settings or anything of rcache's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.reference.structured import Decimal, String, Token, dictionary

Pairs = tuple[tuple[str, str], ...]

INFINITY = 2**31
"""What an overflowing number of seconds stands for (RFC 9111 §1.2.2)."""

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
QUOTED = r'"(?:[^"\\]|\\.)*"'


def lines(headers: Pairs, name: str) -> list[str]:
    """The values of every line of a field, in order."""
    return [value for key, value in headers if key.lower() == name.lower()]


def combined(headers: Pairs, name: str) -> str | None:
    """The field's lines as one value (RFC 9110 §5.3), None where it is absent."""
    found = lines(headers, name)
    return ", ".join(found) if found else None


def members(value: str) -> list[str]:
    """The members of a list, commas within quoted strings aside; empty ones do not count (RFC 9110 §5.6.1)."""
    pieces, piece, is_quoted, is_escaped = [], "", False, False
    for character in value:
        if character == "," and not is_quoted:
            pieces.append(piece)
            piece = ""
            continue
        if is_escaped:
            is_escaped = False
        elif character == "\\" and is_quoted:
            is_escaped = True
        elif character == '"':
            is_quoted = not is_quoted
        piece += character
    return [stripped for piece in (*pieces, piece) if (stripped := piece.strip(" \t"))]


# Cache directives (RFC 9111 §5.2)


@dataclass(frozen=True)
class Directive:
    """A cache directive; `argument` is without its quotes, None where there is none."""

    name: str
    argument: str | None = None
    is_wellformed: bool = True
    """False for what the grammar does not allow, where RFC 9111 leaves open what a recipient makes of it."""


def directives(value: str) -> list[Directive]:
    """Names are compared without case, and arguments come as token or quoted string (RFC 9111 §5.2)."""
    return [_directive(member) for member in members(value)]


def _directive(member: str) -> Directive:
    found = re.fullmatch(rf"({TOKEN})(?:=({TOKEN}|{QUOTED}))?", member)
    if found is None:
        name, _, argument = member.partition("=")
        return Directive(name.strip().lower(), argument.strip(" \t"), is_wellformed=False)
    name, argument = found.groups()
    if argument is not None and argument[0] == '"':
        argument = re.sub(r"\\(.)", r"\1", argument[1:-1])
    return Directive(name.lower(), argument)


def targeted(headers: Pairs, names: tuple[str, ...]) -> list[Directive] | None:
    """The directives of the first valid, non-empty field of the target list, None where there is none (RFC 9213 §2.2).

    Parameters are ignored, and a value of another type than the directive's is none of that directive's (§2.1).
    """
    for name in names:
        value = combined(headers, name)
        parsed = dictionary(value) if value is not None else None
        if parsed:
            return [_targeted_directive(key, item) for key, item in parsed.items()]
    return None


def _targeted_directive(name: str, value: object) -> Directive:
    if value is True:
        return Directive(name)
    if isinstance(value, int) and value is not False:
        return Directive(name, str(value))
    if isinstance(value, (String, Token)):
        is_expected = isinstance(value, String) is (name in ("no-cache", "private"))
        return Directive(name, value.text, is_wellformed=is_expected)
    return Directive(name, value.text if isinstance(value, Decimal) else "", is_wellformed=False)


def delta_seconds(value: str | None) -> int | None:
    """A number of seconds, at most 2^31; None for anything else (RFC 9111 §1.2.2)."""
    if value is None or not re.fullmatch("[0-9]+", value):
        return None
    return int(value) if len(value.lstrip("0")) < 11 and int(value) < INFINITY else INFINITY


# Dates (RFC 9110 §5.6.7)

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
LONG_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_MONTH = "(?P<month>" + "|".join(MONTHS) + ")"
_FORMS = (
    rf"(?:{'|'.join(DAYS)}), (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_TIME} GMT",
    rf"(?:{'|'.join(LONG_DAYS)}), (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_TIME} GMT",
    rf"(?:{'|'.join(DAYS)}) {_MONTH} (?P<day>\d\d| \d) {_TIME} (?P<year>\d{{4}})",
)


def http_date(value: str, now: float) -> float | None:
    """Seconds since the epoch of a date in one of the three forms, without regard to case; None for anything else.

    A two-digit year that seems more than 50 years after `now` is the last one in the past that ends so.
    """
    for form in _FORMS:
        found = re.fullmatch(form, value.strip(" \t"), re.IGNORECASE | re.ASCII)
        if found is not None:
            return _moment(found, now)
    return None


def _moment(found: re.Match[str], now: float) -> float | None:
    year, day = int(found["year"]), int(found["day"])
    month = [name.lower() for name in MONTHS].index(found["month"].lower()) + 1
    if len(found["year"]) == 2:
        this = datetime.fromtimestamp(now, UTC).year
        year += this - this % 100
        if year > this + 50:
            year -= 100
    try:
        parts = (year, month, day, int(found["hour"]), int(found["minute"]), int(found["second"]))
        return datetime(*parts, tzinfo=UTC).timestamp()
    except ValueError:
        return None


def spelled_date(moment: float, form: str = "imf") -> str:
    """A date in the preferred form, or as `rfc850` or `asctime` had it."""
    at = datetime.fromtimestamp(int(moment), UTC)
    day, month, time = DAYS[at.weekday()], MONTHS[at.month - 1], f"{at.hour:02}:{at.minute:02}:{at.second:02}"
    if form == "rfc850":
        return f"{LONG_DAYS[at.weekday()]}, {at.day:02}-{month}-{at.year % 100:02} {time} GMT"
    if form == "asctime":
        return f"{day} {month} {at.day:2} {time} {at.year}"
    return f"{day}, {at.day:02} {month} {at.year} {time} GMT"


def date_field(headers: Pairs, name: str, now: float) -> float | None:
    """A date field's moment; None where it is absent, repeated or no date."""
    found = lines(headers, name)
    return http_date(found[0], now) if len(found) == 1 else None


# Entity tags (RFC 9110 §8.8.3)


def entity_tags(value: str) -> list[str]:
    """The entity tags of a list, `W/` included; what is none is left out."""
    return [member for member in members(value) if re.fullmatch(r'(?:W/)?"[^"\x00-\x20\x7f]*"', member)]


def entity_tag(headers: Pairs) -> str | None:
    """A response's entity tag, None where it has no single valid one."""
    found = lines(headers, "etag")
    tags = entity_tags(found[0]) if len(found) == 1 else []
    return tags[0] if len(tags) == 1 else None


def is_strong(tag: str) -> bool:
    """Whether an entity tag is a strong validator."""
    return not tag.startswith("W/")


def weakly_equal(one: str, other: str) -> bool:
    """The weak comparison (RFC 9110 §8.8.3.2)."""
    return one.removeprefix("W/") == other.removeprefix("W/")


def strongly_equal(one: str, other: str) -> bool:
    """The strong comparison (RFC 9110 §8.8.3.2)."""
    return one == other and is_strong(one)


# Selecting fields (RFC 9111 §4.1)

CASELESS = frozenset(("accept", "accept-charset", "accept-encoding", "accept-language"))
"""Request fields whose members are compared without regard to case."""


def nominated(headers: Pairs) -> set[str]:
    """The fields that a response's Vary names, in lower case."""
    return {name.lower() for name in members(combined(headers, "vary") or "")}


def certainly_match(name: str, one: Pairs, other: Pairs) -> bool:
    """Whether a field is the same in two requests but for how its lines are broken and its list is spaced."""
    values = combined(one, name), combined(other, name)
    if None in values:
        return values == (None, None)
    return members(values[0] or "") == members(values[1] or "")


def can_match(name: str, one: Pairs, other: Pairs) -> bool:
    """Whether any of the transformations that RFC 9111 §4.1 allows turns one request's field into the other's."""
    if certainly_match(name, one, other):
        return True
    values = combined(one, name), combined(other, name)
    if None in values or name not in CASELESS:
        return False
    spelled = [sorted(re.sub(r"[ \t]", "", member).lower() for member in members(value or "")) for value in values]
    return spelled[0] == spelled[1]
