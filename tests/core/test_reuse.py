"""What may be done with a stored answer, by its age and by what the client asks for (RFC 9111 §4, §4.2.4; RFC 5861)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.entry import Entry, Start
from rcache.core.request_directives import NO_ADVICE, RequestDirectives
from rcache.core.reuse import Use, distrusted, may_stand_in, replaces, reuse, without_demands

ENTRY = Entry(
    Start("epoch", 1), 200, (), b"", (), stored_at=1000.0, initial_age=0.0, lifetime=60.0, retention=600.0, length=0
)
LENIENT = replace(ENTRY, stale_while_revalidate=30.0, stale_if_error=40.0)
STRICT = replace(LENIENT, must_revalidate=True)


def asks(**directives: float | bool) -> RequestDirectives:
    return replace(NO_ADVICE, **directives)


@pytest.mark.parametrize(
    ("entry", "age", "wishes", "use", "reason"),
    [
        (ENTRY, 59, NO_ADVICE, Use.HIT, "fresh"),
        (ENTRY, 60, NO_ADVICE, Use.VALIDATE, "stale"),  # fresh is whose lifetime exceeds its age
        (LENIENT, 60, NO_ADVICE, Use.REFRESH, "stale-while-revalidate"),
        (LENIENT, 90, NO_ADVICE, Use.VALIDATE, "stale"),
        (STRICT, 59, NO_ADVICE, Use.HIT, "fresh"),
        (STRICT, 60, NO_ADVICE, Use.VALIDATE, "stale"),
        (STRICT, 60, asks(max_stale=100), Use.VALIDATE, "stale"),
        (ENTRY, 10, asks(no_cache=True), Use.VALIDATE, "request"),
        (ENTRY, 10, asks(max_age=10), Use.HIT, "fresh"),
        (ENTRY, 10.5, asks(max_age=10), Use.VALIDATE, "request"),
        (ENTRY, 50, asks(min_fresh=10), Use.HIT, "fresh"),
        (ENTRY, 51, asks(min_fresh=10), Use.VALIDATE, "request"),
        (ENTRY, 70, asks(max_stale=10), Use.HIT, "max-stale"),
        (ENTRY, 71, asks(max_stale=10), Use.VALIDATE, "stale"),
        (LENIENT, 61, asks(max_stale=0), Use.REFRESH, "stale-while-revalidate"),
        (LENIENT, 61, asks(min_fresh=0), Use.VALIDATE, "stale"),
        (LENIENT, 61, asks(no_cache=True), Use.VALIDATE, "stale"),
        (LENIENT, 61, asks(max_age=100), Use.VALIDATE, "stale"),
        (LENIENT, 61, asks(max_age=100, max_stale=5), Use.HIT, "max-stale"),
        (LENIENT, 61, asks(max_age=60, max_stale=5), Use.VALIDATE, "stale"),
    ],
)
def test_a_stored_answer_is_used_as_its_age_and_the_client_allow(
    entry: Entry, age: float, wishes: RequestDirectives, use: Use, reason: str
) -> None:
    assert reuse(entry, 1000.0 + age, wishes) == (use, reason)


@pytest.mark.parametrize(
    ("entry", "age", "wishes", "may"),
    [
        (LENIENT, 59, NO_ADVICE, False),  # whoever asked for something fresher is told of the failure
        (LENIENT, 60, NO_ADVICE, True),
        (LENIENT, 99, NO_ADVICE, True),
        (LENIENT, 100, NO_ADVICE, False),
        (LENIENT, 100, asks(stale_if_error=50), True),
        (ENTRY, 60, NO_ADVICE, False),
        (ENTRY, 60, asks(stale_if_error=1), True),
        (STRICT, 60, asks(stale_if_error=1), False),
    ],
)
def test_a_stale_answer_stands_in_for_a_failure_as_long_as_either_side_allows(
    entry: Entry, age: float, wishes: RequestDirectives, may: bool
) -> None:
    assert may_stand_in(entry, 1000.0 + age, wishes) is may


def test_a_client_that_may_demand_nothing_may_still_spare_the_application_work() -> None:
    wishes = asks(
        no_cache=True, max_age=0, min_fresh=1, max_stale=1, stale_if_error=1, no_store=True, only_if_cached=True
    )
    assert without_demands(wishes) == asks(no_store=True, only_if_cached=True)


@pytest.mark.parametrize("status", [200, 201, 203, 204, 300, 301, 302, 307, 308, 404, 410])
def test_a_success_a_redirection_and_what_is_gone_take_the_place_of_a_former_answer(status: int) -> None:
    assert replaces(status)


@pytest.mark.parametrize("status", [206, 304, 400, 401, 403, 405, 406, 416, 429, 500, 502, 503, 504])
def test_a_part_a_refusal_and_a_failure_take_the_place_of_nothing(status: int) -> None:
    assert not replaces(status)


@given(
    st.sampled_from([ENTRY, LENIENT, STRICT]),
    st.floats(0, 600),
    st.floats(0, 600),
    st.builds(
        RequestDirectives,
        max_stale=st.none() | st.just(float("inf")),
        max_age=st.none() | st.integers(0, 1000),
        stale_if_error=st.none() | st.integers(0, 1000),
    ),
)
def test_a_distrusted_answer_is_kept_as_long_and_answers_nobody_unvalidated(
    entry: Entry, age: float, later: float, wishes: RequestDirectives
) -> None:
    spent = distrusted(entry, 1000.0 + age)
    now = 1000.0 + age + later
    assert reuse(spent, now, wishes).use is Use.VALIDATE
    assert not may_stand_in(spent, now, wishes)
    assert spent.gone_at == pytest.approx(entry.gone_at)
