"""Tells what was played, for whoever reads of a disagreement."""

from __future__ import annotations

from tests.reference.fields import Pairs
from tests.reference.play import Played
from tests.support import EPOCH

QUIET = ("content-type", "content-length", "host", "x-serial", "x-update")


def story(played: Played) -> str:
    """A line for each request, each question to the origin and each answer."""
    told = [str(played.settings)]
    for number, seen in enumerate(played.observations):
        told.append(
            f"{number}: +{seen.time - EPOCH:g} {seen.request.method} {seen.request.uri} {_told(seen.request.headers)}"
        )
        for place in range(seen.began, seen.ended):
            exchange = played.history[place]
            response = exchange.response
            late = exchange.response_time - seen.time
            said = "raised" if response is None else f"{response.status} {_told(response.headers)}"
            broken = "" if response is None or response.is_complete else " and broke off"
            told.append(
                f"   origin {place}, asked {_told(exchange.conditions)}: {said}{broken}"
                + (f" after {late:g} s" if late else "")
            )
        if seen.answer is None:
            told.append("   -> an exception")
            continue
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in seen.answer.headers)
        serial = seen.answer.all("x-serial")
        told.append(f"   -> {seen.answer.status} of origin {serial[0] if serial else '?'} {_told(headers)}")
    return "\n".join(told)


def _told(headers: Pairs) -> str:
    return "{" + "; ".join(f"{name}: {value}" for name, value in headers if name.lower() not in QUIET) + "}"
