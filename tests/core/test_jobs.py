"""A job is plain data, and comes back from the queue as it went in."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import uuid

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.codec import CodecError
from rcache.core.errors import ConfigurationError
from rcache.core.jobs import MAX_DEPTH, MAX_JOB, Job, Ticket, backoff, decode_ticket, encode_ticket

SIXTY_FOUR = st.integers(-(1 << 63), (1 << 63) - 1)
SCALARS = st.none() | st.booleans() | SIXTY_FOUR | st.floats(allow_nan=False, allow_infinity=False) | st.text()
PLAIN = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)
NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=40)
JOBS = st.builds(
    Job,
    NAMES,
    st.lists(PLAIN, max_size=4).map(tuple),
    st.dictionaries(st.text(), PLAIN, max_size=4),
    st.none() | NAMES,
    st.sampled_from(["high", "low"]),
    st.just(0) | st.floats(0.001, 1e6),
    st.none() | st.floats(0.001, 1e6),
    st.integers(0, 100),
)
APART = st.builds(dataclasses.replace, JOBS, key=NAMES, apart=st.floats(0.001, 1e6))
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(JOBS | APART, st.floats(0, 1e11))
def test_a_ticket_comes_back_as_it_went(job, due):
    ticket = Ticket(job, due)
    back = decode_ticket(encode_ticket(ticket))

    assert back == ticket
    assert repr(back) == repr(ticket)  # 1 and 1.0 and True are equal, and are not the same argument


@given(
    st.binary()
    | st.text(st.characters(exclude_categories=("Cs",)))
    | JSON.map(orjson.dumps)
    | st.lists(SCALARS, min_size=11, max_size=11).map(orjson.dumps)
)
def test_what_is_no_ticket_is_a_codec_error(text):
    try:
        ticket = decode_ticket(text)
    except CodecError:
        return
    assert decode_ticket(encode_ticket(ticket)) == ticket


@given(JOBS, st.integers(0, 10), SCALARS)
def test_a_ticket_with_another_field_is_refused_or_a_ticket(job, position, value):
    fields = orjson.loads(encode_ticket(Ticket(job, 1.0)))
    fields[position] = value
    test_what_is_no_ticket_is_a_codec_error.hypothesis.inner_test(orjson.dumps(fields))


def test_another_version_is_refused():
    fields = orjson.loads(encode_ticket(Ticket(Job("a"), 1.0)))
    with pytest.raises(CodecError):
        decode_ticket(orjson.dumps([2, *fields[1:]]))


class Colour(enum.StrEnum):
    RED = "red"


@dataclasses.dataclass
class Order:
    number: int


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((1, 2), "is a tuple.*pass a list"),
        ({1}, "is a set.*pass a list"),
        (b"", "is a bytes.*pass a text"),
        (datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), r"is a datetime.*isoformat\(\)"),
        (datetime.timedelta(1), "is a timedelta.*total_seconds"),
        (uuid.UUID(int=1), r"is a UUID.*str\(\)"),
        (decimal.Decimal(1), "is a Decimal"),
        (Colour.RED, "is a Colour"),
        (True + 1j, "is a complex"),
        (Order(1), "is a Order.*what identifies it"),
        (math.nan, "is nan.*None"),
        (-math.inf, "is -inf.*None"),
        (1 << 63, "64 bits.*text"),
        (-(1 << 63) - 1, "64 bits"),
        ("\ud800", "half a character"),
        ({1: 2}, "key that is no text: 1"),
        ({"\udfff": 2}, "half a character"),
        (test_another_version_is_refused, "is a function"),
    ],
)
def test_an_argument_that_is_no_plain_data_is_named(value, words):
    with pytest.raises(ConfigurationError, match=rf"arguments\[0\] .*{words}"):
        Job("a", (value,))
    with pytest.raises(ConfigurationError, match=rf"named\['x'\]\['deep'\]\[1\] .*{words}"):
        Job("a", named={"x": {"deep": [0, value]}})


def test_an_argument_that_contains_itself_is_refused():
    endless = []
    endless.append(endless)
    with pytest.raises(ConfigurationError, match="lies deeper than 64"):
        Job("a", (endless,))


def test_the_deepest_argument_comes_back():
    deep: list = []
    for _ in range(MAX_DEPTH - 2):
        deep = [deep]
    ticket = Ticket(Job("a", (deep,)), 0.0)

    assert decode_ticket(encode_ticket(ticket)) == ticket
    with pytest.raises(ConfigurationError):
        Job("a", ([deep],))


@pytest.mark.parametrize(
    "settings",
    [
        {"name": ""},
        {"name": "a\n"},
        {"name": "a" * 201},
        {"name": 1},
        {"key": ""},
        {"key": "a\x00"},
        {"key": 1},
        {"priority": "middle"},
        {"delay": -1},
        {"delay": False},
        {"delay": "soon"},
        {"delay": math.nan},
        {"ttl": 0},
        {"ttl": "never"},
        {"retries": -1},
        {"retries": 101},
        {"retries": True},
        {"retries": 1.0},
        {"apart": 5},
        {"apart": -1, "key": "a"},
        {"arguments": [1]},
        {"named": [1]},
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings):
    with pytest.raises(ConfigurationError):
        Job(**{"name": "a", **settings})


def test_durations_are_written_as_everywhere():
    job = Job("a", delay="1m30s", ttl=datetime.timedelta(hours=1))

    assert (job.delay, job.ttl) == (90.0, 3600.0)


def test_a_job_does_not_change_with_what_it_was_made_of():
    mine = {"list": [1]}
    job = Job("a", (mine["list"],), mine)
    mine["list"].append(2)

    assert job.arguments == ([1],)
    assert job.named == {"list": [1]}


def test_a_job_that_is_too_long_is_refused():
    with pytest.raises(ConfigurationError, match="keep them in a database"):
        encode_ticket(Ticket(Job("a", ("x" * MAX_JOB,)), 0.0))


def test_a_job_is_late_once_its_time_to_live_is_over():
    ticket = Ticket(Job("a", ttl=10), 100.0)

    assert not ticket.is_late(110.0)
    assert ticket.is_late(110.1)
    assert not Ticket(Job("a"), 100.0).is_late(1e12)


@given(st.integers(1, 100), st.floats(0, 1))
def test_each_retry_waits_longer_until_an_hour(attempt, chance):
    now, later = backoff(attempt, chance), backoff(attempt + 1, chance)

    assert 0.5 <= now <= later <= 3600.0
    assert later == min(2 * now, 3600.0 * (1 - chance / 2))
