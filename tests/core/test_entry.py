from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rcache.core.entry import ENTRY_OVERHEAD, Entry, Start

ENTRY = Entry(
    start=Start("epoch", 7),
    status=200,
    headers=((b"content-type", b"text/plain"),),
    body=b"hello",
    tags=("user:42",),
    stored_at=1_000.0,
    initial_age=3.0,
    lifetime=60.0,
)

times = st.floats(0, 4e9)


def test_age_starts_at_the_initial_age_and_grows_with_time():
    assert ENTRY.age(1_000.0) == 3.0
    assert ENTRY.age(1_010.5) == 13.5


def test_ttl_runs_out_when_age_reaches_the_lifetime():
    assert ENTRY.ttl(1_000.0) == 57.0
    assert ENTRY.ttl(1_057.0) == 0.0
    assert ENTRY.ttl(1_060.0) == -3.0


@given(times, times, st.floats(0, 1e6))
def test_a_clock_that_steps_back_never_makes_an_entry_younger_than_it_came(stored_at, now, initial_age):
    entry = replace(ENTRY, stored_at=stored_at, initial_age=initial_age)
    assert entry.age(now) >= initial_age
    assert entry.ttl(now) <= entry.lifetime - initial_age


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20))), st.binary(), st.lists(st.text(max_size=9)))
def test_size_covers_all_that_is_held(headers, body, tags):
    entry = replace(ENTRY, headers=tuple(headers), body=body, tags=tuple(tags))
    content = sum(len(name) + len(value) for name, value in headers) + len(body) + sum(map(len, tags))
    assert entry.size >= ENTRY_OVERHEAD + content
    assert replace(entry, body=body + b"x").size == entry.size + 1


def test_starts_of_two_epochs_differ():
    assert Start("one", 7) != Start("two", 7)
