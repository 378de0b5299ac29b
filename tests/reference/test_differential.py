"""Random histories through rcache and through the model: they agree on what may be served, and on what must be.

That a disagreement would be found is shown with a small cache, whole and with each of its rules taken out.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from starlette.types import ASGIApp

from rcache import Cache, CacheMiddleware
from tests.reference.control import control
from tests.reference.fields import combined, entity_tags
from tests.reference.freshness import lifetime
from tests.reference.histories import histories, history
from tests.reference.history import Exchange, Request, Settings
from tests.reference.judge import objections
from tests.reference.play import Act, Ask, At, Script, Subject, Wait, play
from tests.reference.small_cache import SmallCache
from tests.reference.states import SAFE
from tests.reference.storing import Stored
from tests.reference.story import story
from tests.support import HandClock

lean = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


def rcache(app: ASGIApp, clock: HandClock, chosen: Settings) -> ASGIApp:
    """The real middleware on an embedded store, with every URL cached by its headers alone."""
    return CacheMiddleware(
        app,
        cache=Cache("memory://", clock=clock),
        standard=True,
        heuristic=chosen.heuristic,
        client_may_refresh=chosen.client_may_refresh,
        stale_on_error=chosen.stale_on_error,
        store_set_cookie=chosen.store_set_cookie,
    )


def agrees(subject: Subject, examples: int) -> None:
    """A cache and the model agree on so many histories."""

    @settings(lean, max_examples=examples)
    @given(histories())
    def check(drawn: tuple[list[Act], Settings]) -> None:
        played = play(drawn[0], subject, drawn[1])
        note(story(played))
        assert not objections(played)

    check()


def test_rcache_and_the_model_agree() -> None:
    agrees(rcache, 250)


@pytest.mark.long
def test_rcache_and_the_model_agree_on_very_many_histories() -> None:
    agrees(rcache, 20_000)


MODIFIED = ("Last-Modified", At(-86400, is_fixed=True))


def said(control: str, *fields: tuple[str, str | At], **more: Any) -> Script:
    """What the origin answers."""
    return Script(headers=(("Cache-Control", control), *fields), **more)


def asked(script: Script, *fields: tuple[str, str | At], method: str = "GET") -> Ask:
    """A request, and what the origin would answer."""
    return Ask(method, "/a", fields, script)


TAGGED, LASTING, ALICE = said("max-age=60", ("ETag", '"a"')), said("max-age=3600"), ("Authorization", "Bearer alice")
LENIENT, MISSING = said("max-age=60, stale-if-error=600"), said("max-age=3600", ("ETag", '"a"'), status=404)
AGED, OTHER = said("max-age=3600", ("Age", "5")), said("max-age=60", ("ETag", '"b"'), MODIFIED, takes=2)

RARE: dict[str, list[Act]] = {
    "a date that lies between making and arrival": [asked(AGED), asked(AGED, ("If-Modified-Since", At(-1)))],
    "a 304 to HEAD": [
        *(asked(TAGGED), Wait(61), asked(TAGGED, ("If-None-Match", '"a"'), method="HEAD")),
        asked(replace(TAGGED, heeds_conditions=False)),
    ],
    "a 200 to HEAD, and another status stored": [
        *(asked(MISSING), asked(MISSING), asked(TAGGED, ("Cache-Control", "no-cache"), method="HEAD"), asked(MISSING)),
    ],
    "a HEAD that raises": [asked(LENIENT), Wait(61), asked(replace(LENIENT, ending="raises"), method="HEAD")],
    "a HEAD that is answered by an error": [
        asked(LENIENT),
        Wait(61),
        asked(replace(LENIENT, status=503), method="HEAD"),
    ],
    "a 304 that names another response, and a second question": [
        *(asked(said("max-age=60", MODIFIED)), Wait(61), asked(OTHER), asked(OTHER)),
    ],
    "an answer that may be shared after one that may not": [
        *(asked(LASTING), asked(said("max-age=3600, public"), ALICE), asked(LASTING, ALICE), asked(LASTING)),
    ],
}
"""Histories that chance comes upon too seldom, though each turns on a rule of its own."""


@pytest.mark.parametrize("name", RARE)
def test_rcache_and_the_model_agree_on_what_is_rare(name: str) -> None:
    played = play(RARE[name], rcache, Settings())
    assert not objections(played), story(played)


def test_the_small_cache_and_the_model_agree() -> None:
    agrees(SmallCache, 100)


@pytest.mark.long
def test_the_small_cache_and_the_model_agree_on_very_many_histories() -> None:
    agrees(SmallCache, 20_000)


# What the comparison finds


def _never(*_: Any, **__: Any) -> bool:
    return False


def _always(*_: Any, **__: Any) -> bool:
    return True


def _age_from_its_arrival(cache: SmallCache, entry: Stored) -> float:
    return cache.clock.time() - entry.response_time


def _max_age_before_s_maxage(cache: SmallCache, entry: Stored) -> float:
    found = [d for d in control(entry.headers, cache.settings) if d.name != "s-maxage"]
    seconds = [float(d.argument or 0) for d in found if d.name == "max-age" and (d.argument or "").isdigit()]
    return seconds[0] if seconds else lifetime(entry, cache.settings).least


def _stores_all_of_get(cache: SmallCache, exchange: Exchange) -> bool:
    return exchange.request.method == "GET" and exchange.response is not None and exchange.response.status != 304


def _stores_for_everybody(cache: SmallCache, exchange: Exchange) -> bool:
    return SmallCache.may_store(cache, replace(exchange, request=replace(exchange.request, headers=())))


def _only_the_target_is_gone(cache: SmallCache, entry: Stored, exchange: Exchange) -> bool:
    return exchange.request.method not in (*SAFE, "OPTIONS") and exchange.request.uri == entry.uri


def _is_as_it_was(cache: SmallCache, entry: Stored, exchange: Exchange) -> Stored:
    return entry


def _compares_strongly(cache: SmallCache, request: Request, entry: Stored) -> bool:
    listed = entity_tags(combined(request.headers, "if-none-match") or "")
    return combined(entry.headers, "etag") in listed


def _is_fresh_at_the_end(cache: SmallCache, entry: Stored) -> float:
    return lifetime(entry, cache.settings).least + 0.5


FAULTS: dict[str, tuple[str, Callable[..., Any]]] = {
    "never stores": ("may_store", _never),
    "stores what may not be stored": ("may_store", _stores_all_of_get),
    "ignores Vary": ("selects", _always),
    "ignores Age and Date": ("age", _age_from_its_arrival),
    "is fresh a moment too long": ("lasts", _is_fresh_at_the_end),
    "prefers max-age to s-maxage": ("lasts", _max_age_before_s_maxage),
    "serves no-cache": ("needs_validation", _never),
    "ignores must-revalidate": ("may_be_stale", _always),
    "stores what is personal": ("may_store", _stores_for_everybody),
    "ignores the request directives": ("suits", _always),
    "ignores only-if-cached": ("wants_only_stored", _never),
    "answers every hit with 304": ("is_known", _always),
    "never answers with 304": ("is_known", _never),
    "compares entity tags strongly": ("is_known", _compares_strongly),
    "ignores unsafe requests": ("is_gone", _never),
    "ignores Location": ("is_gone", _only_the_target_is_gone),
    "lets a 304 change nothing": ("freshened", _is_as_it_was),
    "serves stale without bounds": ("is_within", _always),
    "never stands in for an error": ("stands_in", _never),
    "always stands in for an error": ("stands_in", _always),
}
"""Rules of the small cache, and what is in their place."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_cache_that_is_wrong_is_found(fault: str) -> None:
    rule, wrong = FAULTS[fault]
    assert is_found(type("Faulty", (SmallCache,), {rule: wrong}))


def is_found(subject: Subject) -> bool:
    """Whether one of a few thousand random histories tells a cache from a right one."""
    chance = random.Random(2)
    tales = (history(chance.choice) for _ in range(4000))
    return any(objections(play(acts, subject, chosen)) for acts, chosen in tales)
