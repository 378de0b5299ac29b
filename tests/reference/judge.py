"""Compares what a cache did with what the model says of the same history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import floor

from tests.reference.control import asked_of_caches, has, withheld
from tests.reference.expectations import gateway_timeout_expected, hit_expected, stale_hit_expected
from tests.reference.fields import INFINITY, combined, date_field, entity_tag, entity_tags, lines, members, weakly_equal
from tests.reference.freshness import current_age
from tests.reference.history import Allowed, Exchange, Refused, Request, Verdict
from tests.reference.model import has_failed, may_be_served
from tests.reference.play import SERIAL, UPDATE, Observation, Played
from tests.reference.states import stored_states
from tests.reference.storing import PER_CONNECTION, Stored, as_stored
from tests.reference.validation import not_modified
from tests.support import Answer

WHOLE = ("cache-control", "content-type", "expires", "last-modified", "x-serial", "x-unknown", "x-update", "x-volatile")
"""Fields that a stored response keeps as they came."""

PASSED_ON = ("accept-language", "authorization", "cache-control", "cookie", "pragma", "x-flavour")
"""Fields that a forwarded request keeps."""


def objections(played: Played) -> list[str]:
    """Where cache and model disagree, in words."""
    return [
        f"request {number} ({seen.request.method} {seen.request.uri}): {objection}"
        for number, seen in enumerate(played.observations)
        for objection in _objections(played, seen)
    ]


def _objections(played: Played, seen: Observation) -> Iterator[str]:
    yield from _of_forwarding(played, seen)
    if seen.request.method not in ("GET", "HEAD"):
        yield from _of_writing_through(played, seen)
        return
    before = played.history[: seen.began]
    must_hit = hit_expected(before, seen.request, seen.time, played.settings)
    must_hit = _stand_in(played, seen) if must_hit is None else must_hit
    if must_hit is not None and not _is_from_storage(played, seen):
        yield f"the response of exchange {must_hit} was expected, and it came {_how(seen.answer)}"
    if seen.answer is None:
        if not any(has_failed(exchange) == "raised" for exchange in played.history[seen.began : seen.ended]):
            yield "an exception that is not the application's"
        return
    if gateway_timeout_expected(before, seen.request, seen.time, played.settings) and seen.answer.status != 504:
        yield f"only-if-cached was not answered with 504 but {_how(seen.answer)}"
    if seen.answer.status == 304:
        yield from _of_not_modified(played, seen)
    elif _is_from_storage(played, seen):
        yield from _of_stored_answer(played, seen, int(seen.answer.all(SERIAL)[0]))
    elif seen.answer.all(UPDATE) and int(seen.answer.all(UPDATE)[0]) >= seen.began:
        yield from _of_fresh_answer(played, seen, int(seen.answer.all(UPDATE)[0]))
    else:
        yield from _of_own_answer(played, seen)
    if must_hit is not None and _is_from_storage(played, seen):
        yield from _of_condition(played, seen, must_hit)


def _how(answer: Answer | None) -> str:
    return "as an exception" if answer is None else f"with {answer.status} [{answer.cache}]"


def _stand_in(played: Played, seen: Observation) -> int | None:
    """The candidate that must answer in place of an error, whichever moment of the failure counts."""
    history = played.history[: seen.ended]
    times = {seen.time, *(exchange.response_time for exchange in history[seen.began :])}
    found = {stale_hit_expected(history, seen.request, time, played.settings, seen.began) for time in times}
    return found.pop() if len(found) == 1 else None


def _is_from_storage(played: Played, seen: Observation) -> bool:
    """Whether the client was answered from what was stored before (a 304: while the origin did not answer itself)."""
    if seen.answer is None:
        return False
    if seen.answer.status == 304:
        during = played.history[seen.began : seen.ended]
        return "; hit" in (seen.answer.cache or "") or all(has_failed(exchange) for exchange in during)
    serial = seen.answer.all(SERIAL)
    return bool(serial) and int(serial[0]) < seen.began


def _verdicts(played: Played, seen: Observation, candidate: int) -> list[Verdict]:
    """What can be said of a stored answer: as if the origin had not been asked (it may have been afterwards), and with what
    it answered."""
    before, all_of_it = played.history[: seen.began], played.history[: seen.ended]
    verdicts = [may_be_served(before, seen.request, candidate, seen.time, played.settings)]
    for exchange in all_of_it[seen.began :]:
        for time in (seen.time, exchange.response_time):
            verdicts.append(may_be_served(all_of_it, seen.request, candidate, time, played.settings, seen.began))
    return verdicts


def _of_stored_answer(played: Played, seen: Observation, candidate: int) -> Iterator[str]:
    answer, verdicts = seen.answer, _verdicts(played, seen, candidate)
    assert answer is not None
    if all(isinstance(verdict, Refused) for verdict in verdicts):
        yield f"the response of exchange {candidate} must not be served: {verdicts[0].reason}; it came {_how(answer)}"
        return
    if seen.began == seen.ended and "; hit" not in (answer.cache or ""):
        yield f"a hit that calls itself {answer.cache}"
    states = stored_states(played.history[: seen.began], candidate, played.settings)
    # What no-cache lists may have been left out when the response was stored.
    gone = withheld(as_stored(played.history[candidate], played.settings).headers, played.settings)
    if Allowed("validated") in verdicts:
        later = stored_states(played.history[: seen.ended], candidate, played.settings)
        both = [
            (s, without) for s in (*states, *later) for without in (set(), withheld(s.headers, played.settings), gone)
        ]
        if not any(_is_carried(state, answer, without) for state, without in both):
            yield f"the fields of exchange {candidate} and its validation are {answer.headers}"
        return
    both = [(state, withheld(state.headers, played.settings) | more) for state in states for more in (set(), gone)]
    if not any(_is_carried(state, answer, without) for state, without in both):
        yield f"the fields of exchange {candidate} became {answer.headers}, from {states}"
    if not any(_tells_age(state, answer, played, seen) for state in states):
        yield f"Age is {answer.all('age')}, not {[current_age(state, seen.time, played.settings) for state in states]}"


def _tells_age(state: Stored, answer: Answer, played: Played, seen: Observation) -> bool:
    """Whether Age is the current age (RFC 9111 §4), when the request came or when the origin had failed."""
    times = (seen.time, *(exchange.response_time for exchange in played.history[seen.began : seen.ended]))
    told = answer.all("age")
    if len(told) != 1 or not told[0].isdigit():
        return False
    # Past infinity a cache may go on counting, if it can.
    return any(floor(current_age(state, time, played.settings)) == min(int(told[0]), INFINITY) for time in times)


def _is_carried(state: Stored, answer: Answer, without: set[str]) -> bool:
    """Whether an answer has a stored response's fields, whole and none that must be gone (RFC 9111 §3.1)."""
    if answer.status != state.status or any(answer.all(name) for name in (*PER_CONNECTION, *without)):
        return False
    kept = [(name, lines(state.headers, name) if name not in without else []) for name in WHOLE]
    if any(_spelled(answer.all(name)) != _spelled(values) for name, values in kept):
        return False
    if "x-hop" in members(combined(state.headers, "connection") or ""):
        return False
    return not lines(state.headers, "etag") or _has_tag(answer, state)


def _has_tag(answer: Answer, state: Stored) -> bool:
    """Whether the answer's ETag is the stored one.

    A weak one that came with a 304 need not replace it: the stored content is still what the first was told for (§3.2).
    """
    told, stored = answer.all("etag"), lines(state.headers, "etag")
    if told == stored or len(state.requests) == 1 or len(told) != 1:
        return told == stored
    tag = entity_tag(state.headers)
    return tag is not None and weakly_equal(told[0], tag)


def _spelled(values: list[str]) -> list[str]:
    """Lines as one list: a cache may combine them (RFC 9110 §5.3)."""
    return members(", ".join(values))


def _of_fresh_answer(played: Played, seen: Observation, place: int) -> Iterator[str]:
    """What the origin said just now arrives as it said it."""
    answer, response = seen.answer, played.history[place].response
    assert answer is not None
    assert response is not None
    if response.status != answer.status:
        yield f"the origin's {response.status} became {answer.status}"
    for name in WHOLE:
        if _spelled(answer.all(name)) != _spelled(lines(response.headers, name)):
            yield f"the origin's {name} became {answer.all(name)}"
    if "; hit" in (answer.cache or ""):
        yield "the origin's answer calls itself a hit"


def _of_own_answer(played: Played, seen: Observation) -> Iterator[str]:
    """An answer that is neither stored nor the origin's: a 504 where only stored ones would do (RFC 9111 §5.2.1.7)."""
    assert seen.answer is not None
    is_wanted = has(asked_of_caches(seen.request), "only-if-cached") and seen.began == seen.ended
    failed = any(exchange.response is None for exchange in played.history[seen.began : seen.ended])
    if seen.answer.status != 504 or not (is_wanted or failed):
        yield f"nobody's answer: {_how(seen.answer)}"


def _of_not_modified(played: Played, seen: Observation) -> Iterator[str]:
    """A 304 is sent only where the client asked by a validator that a 200 would have carried."""
    answer, history = seen.answer, played.history[: seen.ended]
    assert answer is not None
    told = answer.all("etag")
    during = range(seen.began, seen.ended)
    sources = [_with_tag(state, told) for place in during for state in _as_representation(history[place], played)]
    for candidate in range(seen.began):
        if any(isinstance(verdict, Allowed) for verdict in _verdicts(played, seen, candidate)):
            pasts = (history[: seen.began], history)
            states = [state for past in pasts for state in stored_states(past, candidate, played.settings)]
            sources += [_with_tag(state, seen.tags.get(candidate, told)) for state in states]
    matching = [state for state in sources if True in not_modified(seen.request, state)]
    if not matching:
        yield f"a 304 that no response here would give: {seen.request.headers} asks, {answer.headers} tells"
    elif not any(_has_tag(answer, state) for state in matching):
        yield f"a 304 with ETag {told}, where a 200 would have carried {[entity_tag(s.headers) for s in matching]}"


def _with_tag(state: Stored, tags: list[str]) -> Stored:
    """With the entity tag that the cache itself gave, or says to give, to a response that has none."""
    if lines(state.headers, "etag"):
        return state
    return replace(state, headers=(*state.headers, *(("etag", tag) for tag in tags)))


def _as_representation(exchange: Exchange, played: Played) -> list[Stored]:
    """What an answer of the origin says of the current representation."""
    if exchange.response is None or not (exchange.response.status == 304 or 200 <= exchange.response.status < 300):
        return []
    return [replace(as_stored(exchange, played.settings), status=200)]


def _of_condition(played: Played, seen: Observation, candidate: int) -> Iterator[str]:
    """On a hit the client's conditions are evaluated (RFC 9111 §4.3.2)."""
    assert seen.answer is not None
    states = stored_states(played.history[: seen.began], candidate, played.settings)
    if states[0].status != 200 or not (entity_tag(states[0].headers) or candidate in seen.tags):
        return
    tags = seen.tags.get(candidate, [])
    agreed = set().union(*(not_modified(seen.request, _with_tag(state, tags)) for state in states))
    if agreed == {True} and seen.answer.status != 304:
        yield f"{seen.answer.status} where the client has it already: {seen.request.headers}"
    if agreed == {False} and seen.answer.status == 304:
        yield f"304 where the client has something else: {seen.request.headers}"


def _of_writing_through(played: Played, seen: Observation) -> Iterator[str]:
    """Other methods reach the origin, and its answer the client (RFC 9111 §4)."""
    asked = played.history[seen.began : seen.ended]
    if len(asked) != 1 or asked[0].request.method != seen.request.method:
        yield f"the origin was asked {len(asked)} times"
        return
    response = asked[0].response
    told = None if seen.answer is None else seen.answer.status
    if response is not None and response.is_complete and response.status != told:
        yield f"the origin's {response.status} became {told}"


def _of_forwarding(played: Played, seen: Observation) -> Iterator[str]:
    """What reaches the origin is the client's request, with conditions that tell of stored responses (RFC 9111 §4.3.1)."""
    for place in range(seen.began, seen.ended):
        for name in PASSED_ON:
            sent = _spelled(lines(played.forwarded[place], name))
            if sent != _spelled(lines(seen.request.headers, name)):
                yield f"{name} reached the origin as {sent}"
        yield from _of_own_conditions(played, seen, place)


def _of_own_conditions(played: Played, seen: Observation, place: int) -> Iterator[str]:
    conditions = played.history[place].conditions
    known = [
        state
        for candidate in range(seen.began)
        if _could_be_validated(played.history[candidate], seen.request, played)
        for state in stored_states(played.history[: seen.began], candidate, played.settings)
    ]
    tags = entity_tags(combined(seen.request.headers, "if-none-match") or "")
    tags += [tag for state in known if (tag := entity_tag(state.headers)) is not None]
    tags += [tag for e in played.history[: seen.began] if e.response and (tag := entity_tag(e.response.headers))]
    for tag in entity_tags(combined(conditions, "if-none-match") or ""):
        if tag not in tags:
            yield f"the origin was asked about {tag}, which it never gave"
    dates = lines(seen.request.headers, "if-modified-since")
    dates += [value for state in known for value in lines(state.headers, "last-modified")]
    for value in lines(conditions, "if-modified-since"):
        moments = {date_field((("d", date),), "d", seen.time) for date in dates}
        if value not in dates and date_field((("d", value),), "d", seen.time) not in moments:
            yield f"the origin was asked about {value}, which it never gave"


def _could_be_validated(exchange: Exchange, request: Request, played: Played) -> bool:
    is_full = exchange.response is not None and exchange.response.is_complete and exchange.response.status != 304
    return is_full and exchange.request.uri == request.uri and exchange.request.method == "GET"
