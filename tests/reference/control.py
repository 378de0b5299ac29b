"""Cache directives: which hold for this cache, and what they say together (RFC 9111 §5.2, RFC 9213)."""

from __future__ import annotations

from tests.reference.fields import (
    Directive,
    Pairs,
    combined,
    directives,
    members,
    targeted,
)
from tests.reference.history import Request, Settings


def control(headers: Pairs, settings: Settings) -> list[Directive]:
    """The response directives that hold for this cache (RFC 9111 §5.2.2, RFC 9213 §2.2)."""
    found = targeted(headers, settings.targets)
    return directives(combined(headers, "cache-control") or "") if found is None else found


def asked_of_caches(request: Request) -> list[Directive]:
    """The request directives (RFC 9111 §5.2.1)."""
    return directives(combined(request.headers, "cache-control") or "")


def named(found: list[Directive], *names: str) -> list[Directive]:
    """Those of the given names."""
    return [directive for directive in found if directive.name in names]


def has(found: list[Directive], *names: str) -> bool:
    """Whether one of the given names is present."""
    return bool(named(found, *names))


def is_unqualified(found: list[Directive], name: str) -> bool:
    """Whether no-cache or private speaks of the whole response; whatever is unclear does (RFC 9111 §5.2.2.4, §5.2.2.7)."""
    return any(not d.is_wellformed or not members(d.argument or "") for d in named(found, name))


def qualified(found: list[Directive], name: str) -> set[str]:
    """The fields that no-cache or private lists."""
    return {field.lower() for directive in named(found, name) for field in members(directive.argument or "")}


def is_shareable(found: list[Directive]) -> bool:
    """Whether a response to a request with Authorization may be reused (RFC 9111 §3.5)."""
    return has(found, "public", "s-maxage", "must-revalidate")


def must_not_be_stale(found: list[Directive]) -> bool:
    """Whether serving stale is prohibited (RFC 9111 §4.2.4): s-maxage has the meaning of proxy-revalidate (§5.2.2.10)."""
    return has(found, "must-revalidate", "proxy-revalidate", "s-maxage") or is_unqualified(found, "no-cache")


def withheld(headers: Pairs, settings: Settings) -> set[str]:
    """The fields that an answer without validation must not carry (RFC 9111 §5.2.2.4)."""
    return qualified(control(headers, settings), "no-cache")
