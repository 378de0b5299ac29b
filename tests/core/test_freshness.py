from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.dates import format_http_date
from rcache.core.directives import MAX_DELTA, response_directives
from rcache.core.freshness import (
    HEURISTIC_FRACTION,
    MAX_HEURISTIC,
    explicit_lifetime,
    heuristic_lifetime,
    initial_age,
)

NOW = 1_700_000_000.0
DAY = 86_400.0


def lifetime(*headers):
    return explicit_lifetime(response_directives(headers), headers, NOW)


def guess(*headers, status=200):
    return heuristic_lifetime(status, response_directives(headers), headers, NOW)


def at(seconds):
    return format_http_date(NOW + seconds)


def in_all_forms(seconds):
    """The three forms of RFC 9110 §5.6.7."""
    moment = datetime.fromtimestamp(NOW + seconds, UTC)
    return [
        at(seconds),
        moment.strftime("%A, %d-%b-%y %H:%M:%S GMT").encode(),
        f"{moment:%a %b} {moment.day:2} {moment:%H:%M:%S %Y}".encode(),
    ]


# Freshness lifetime (RFC 9111 §4.2.1)


def test_s_maxage_comes_before_max_age_and_both_before_expires():
    expires = (b"expires", at(90))
    assert lifetime((b"cache-control", b"max-age=30, s-maxage=60"), expires) == 60.0
    assert lifetime((b"cache-control", b"s-maxage=30, max-age=60"), expires) == 30.0
    assert lifetime((b"cache-control", b"max-age=30"), expires) == 30.0
    assert lifetime((b"cache-control", b"max-age=0"), expires) == 0.0
    assert lifetime((b"cache-control", b"public"), expires) == 90.0


def test_a_malformed_max_age_is_not_made_good_by_expires():
    """RFC 9111 §5.3: with a max-age directive, a recipient MUST ignore Expires."""
    assert lifetime((b"cache-control", b"max-age=x"), (b"expires", at(90))) == 0.0
    assert lifetime((b"cache-control", b"s-maxage=x, max-age=60")) == 0.0


def test_a_response_that_says_nothing_has_no_explicit_lifetime():
    assert lifetime() is None
    assert lifetime((b"cache-control", b"public"), (b"last-modified", at(-900)), (b"date", at(-9))) is None


@pytest.mark.parametrize("form", range(3))
def test_expires_is_read_in_every_form_and_counts_from_date_in_every_form(form):
    assert lifetime((b"Expires", in_all_forms(90)[form])) == 90.0
    for date in in_all_forms(-10):
        assert lifetime((b"expires", in_all_forms(90)[form]), (b"Date", date)) == 100.0


def test_space_around_a_date_does_not_matter():
    assert lifetime((b"expires", b" " + at(90) + b"\t"), (b"date", b"\t" + at(-10) + b" ")) == 100.0
    assert guess((b"last-modified", b" " + at(-1000) + b" ")) == 100.0


def test_expires_counts_from_the_date_of_the_response_whatever_our_clock_says():
    assert lifetime((b"expires", at(3690)), (b"date", at(3600))) == 90.0
    assert lifetime((b"expires", at(-3510)), (b"date", at(-3600))) == 90.0
    assert lifetime((b"expires", at(90)), (b"date", at(90))) == 0.0
    assert lifetime((b"expires", at(-90))) == 0.0


@pytest.mark.parametrize("dates", [[], [b"garbage"], [b""], [b"0"], [b"x", b"y"]])
def test_without_a_valid_date_expires_counts_from_now(dates):
    assert lifetime((b"expires", at(90)), *((b"date", date) for date in dates)) == 90.0


def test_of_several_dates_the_latest_leaves_the_shortest_lifetime():
    assert lifetime((b"expires", at(90)), (b"date", at(-10)), (b"date", at(-10))) == 100.0
    assert lifetime((b"expires", at(90)), (b"date", at(-10)), (b"date", at(30))) == 60.0
    assert lifetime((b"expires", at(90)), (b"date", b"x"), (b"date", at(-10))) == 100.0


@pytest.mark.parametrize(
    "text",
    [
        *(b"0", b"-1", b"", b"never", b"Thu, 31 Feb 2044 00:00:00 GMT", at(90) + b", " + at(90)),
        *(at(90).replace(b"GMT", b"UTC"), at(90).replace(b",", b""), str(NOW + 90).encode()),
    ],
)
def test_an_invalid_expires_has_passed(text):
    """RFC 9111 §5.3: especially the value "0"."""
    assert lifetime((b"expires", text)) == 0.0
    assert lifetime((b"expires", at(90)), (b"expires", text)) == 0.0


def test_of_several_expires_the_earliest_counts():
    assert lifetime((b"expires", at(90)), (b"expires", at(30)), (b"expires", at(60))) == 30.0


def test_lifetimes_of_2_to_the_31_and_beyond_are_capped():
    assert lifetime((b"expires", b"Fri, 31 Dec 9999 23:59:59 GMT")) == MAX_DELTA
    assert lifetime((b"cache-control", b"max-age=2147483648")) == MAX_DELTA
    assert lifetime((b"cache-control", b"s-maxage=99999999999")) == MAX_DELTA


# Heuristic freshness (RFC 9111 §4.2.2)


def test_a_tenth_of_the_time_since_the_last_modification_is_guessed():
    assert guess((b"last-modified", at(-1000))) == 100.0 == 1000 * HEURISTIC_FRACTION
    assert guess((b"last-modified", at(-1000)), (b"date", at(-500))) == 50.0
    for modified in in_all_forms(-1000):
        assert guess((b"Last-Modified", modified)) == 100.0


def test_no_guess_is_believed_for_longer_than_a_day():
    assert guess((b"last-modified", at(-10 * DAY))) == DAY == MAX_HEURISTIC
    assert guess((b"last-modified", at(-11 * DAY))) == DAY
    assert guess((b"last-modified", b"Thu, 01 Jan 1970 00:00:00 GMT")) == DAY


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"last-modified", b"")],
        [(b"last-modified", b"0")],
        [(b"last-modified", at(0))],
        [(b"last-modified", at(60))],
        [(b"last-modified", at(-60)), (b"date", at(-60))],
        [(b"last-modified", at(-60)), (b"date", at(0)), (b"date", at(-90))],
        [(b"last-modified", at(-60)), (b"last-modified", b"x")],
        [(b"etag", b'"a"'), (b"date", at(-60))],
    ],
)
def test_nothing_is_guessed_without_a_last_modification_before_the_date(headers):
    assert guess(*headers) is None


def test_of_several_last_modifications_the_latest_counts():
    assert guess((b"last-modified", at(-1000)), (b"last-modified", at(-100))) == 10.0


def test_only_the_statuses_of_rfc_9110_are_guessed_at_or_what_is_public():
    """RFC 9110 §15.1; 206 is left out, since parts are not kept."""
    modified = (b"last-modified", at(-1000))
    guessed = {status for status in range(100, 600) if guess(modified, status=status) == 100.0}
    assert guessed == {200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501}
    for status in (299, 302, 404, 599):
        assert guess(modified, (b"cache-control", b"public"), status=status) == 100.0


# Age (RFC 9111 §4.2.3, §5.1)


def test_a_response_made_here_and_now_has_no_age():
    assert initial_age([], NOW) == 0.0
    assert initial_age([], NOW, 2.5) == 2.5
    assert initial_age([(b"date", at(-1)), (b"age", b"4")], NOW, 2.5) == 6.5
    assert initial_age([(b"date", at(-10)), (b"age", b"4")], NOW, 2.5) == 10.0
    assert initial_age([(b"date", at(0))], NOW) == 0.0


def test_age_is_the_larger_of_what_age_and_date_tell():
    assert initial_age([(b"age", b"30"), (b"date", at(-10))], NOW) == 30.0
    assert initial_age([(b"Age", b"5"), (b"Date", at(-10))], NOW) == 10.0


def test_a_date_in_the_future_makes_no_negative_age():
    assert initial_age([(b"date", at(10))], NOW) == 0.0
    assert initial_age([(b"date", at(10)), (b"age", b"7")], NOW) == 7.0


@pytest.mark.parametrize("form", range(3))
def test_dates_of_every_form_tell_the_age(form):
    assert initial_age([(b"date", in_all_forms(-10)[form])], NOW) == 10.0


@pytest.mark.parametrize("text", [b"", b"0", b"now", at(-10).replace(b"GMT", b"UTC"), at(-10) + b", " + at(-10)])
def test_a_date_that_is_none_tells_no_age(text):
    """RFC 9110 §6.6.1: the time of receipt may stand for it."""
    assert initial_age([(b"date", text)], NOW) == 0.0
    assert initial_age([(b"date", text), (b"date", at(-5))], NOW) == 5.0


def test_of_several_dates_the_earliest_makes_the_response_oldest():
    assert initial_age([(b"date", at(-5)), (b"date", at(-10)), (b"date", at(0))], NOW) == 10.0


@pytest.mark.parametrize(
    ("lines", "age"),
    [
        ([b"0"], 0.0),
        ([b"7"], 7.0),
        ([b"007"], 7.0),
        ([b"7, 100"], 7.0),
        ([b"7,100"], 7.0),
        ([b"7", b"100"], 7.0),
        ([b"100", b"7"], 100.0),
        ([b"0, 7200"], 0.0),
        ([b" 7 "], 7.0),
        ([b", 7"], 7.0),
        ([b"", b"7"], 7.0),
        ([b"x, 100"], 0.0),
        ([b"x", b"100"], 0.0),
        ([b"-5"], 0.0),
        ([b"+5"], 0.0),
        ([b"1.5"], 0.0),
        ([b"7200.0"], 0.0),
        ([b"7;x=1"], 0.0),
        ([b'"7"'], 0.0),
        ([b"\xb2"], 0.0),
        ([b""], 0.0),
        ([b"2147483647"], 2_147_483_647.0),
        ([b"2147483648"], float(MAX_DELTA)),
        ([b"2147483649"], float(MAX_DELTA)),
        ([b"99999999999"], float(MAX_DELTA)),
        ([b"9" * 5_000], float(MAX_DELTA)),
    ],
)
def test_of_several_ages_the_first_counts_and_what_is_no_number_does_not(lines, age):
    """RFC 9111 §5.1: SHOULD use the first member; if that is invalid, SHOULD ignore the field."""
    assert initial_age([(b"age", line) for line in lines], NOW) == age


def test_no_age_exceeds_what_a_lifetime_may_be():
    """RFC 9111 §1.2.2: where a calculation overflows, 2^31 stands for the result."""
    assert initial_age([(b"date", b"Mon, 01 Jan 0001 00:00:00 GMT")], NOW) == MAX_DELTA


# Properties

names = st.sampled_from([b"cache-control", b"expires", b"date", b"age", b"Age", b"last-modified"])
texts = st.binary(max_size=40) | st.sampled_from([b"max-age=5", b"s-maxage=x", at(0), at(60), at(-60), b"0", b"5"])


@given(st.lists(st.tuples(names, texts), max_size=6), st.integers(100, 599))
def test_any_bytes_have_a_lifetime_and_an_age(headers, status):
    granted = lifetime(*headers)
    assert granted is None or 0.0 <= granted <= MAX_DELTA
    guessed = guess(*headers, status=status)
    assert guessed is None or 0.0 < guessed <= MAX_HEURISTIC
    assert 0.0 <= initial_age(headers, NOW) <= MAX_DELTA


@given(st.integers(0, 2**40), st.lists(st.binary(max_size=9), max_size=2))
def test_an_age_that_is_printed_is_read_whatever_follows_it(seconds, more):
    assert initial_age([(b"age", b",".join([b"%d" % seconds, *more]))], NOW) == min(seconds, MAX_DELTA)


moments = st.integers(-(10**9), 10**9)


@given(moments, moments, st.integers(0, 10**9))
def test_an_expires_grants_what_lies_between_it_and_the_date(expires, date, age):
    headers = [(b"expires", at(expires)), (b"date", at(date)), (b"age", b"%d" % age)]
    assert lifetime(*headers) == max(0, min(expires - date, MAX_DELTA))
    assert initial_age(headers, NOW) == max(age, -date, 0)


dates = st.lists(moments.map(at) | st.binary(max_size=5), max_size=3)


@given(dates, dates, moments)
def test_one_more_expires_never_makes_a_response_longer_fresh(expires, date, seconds):
    headers = [*((b"expires", text) for text in expires), *((b"date", text) for text in date)]
    before, after = lifetime(*headers), lifetime(*headers, (b"expires", at(seconds)))
    assert before is None or after <= before


@given(dates, moments, moments)
def test_one_more_date_never_makes_a_response_younger_or_longer_fresh(date, seconds, more):
    headers = [(b"expires", at(60)), (b"last-modified", at(-60)), *((b"date", text) for text in [*date, at(seconds)])]
    added = [*headers, (b"date", at(more))]
    assert lifetime(*added) <= lifetime(*headers)
    assert (guess(*added) or 0.0) <= (guess(*headers) or 0.0)
    assert initial_age(added, NOW) >= initial_age(headers, NOW)
