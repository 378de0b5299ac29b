import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.dates import format_http_date
from rcache.core.directives import MAX_DELTA, response_directives
from rcache.core.freshness import explicit_lifetime, initial_age

NOW = 1_700_000_000.0


def lifetime(*headers):
    return explicit_lifetime(response_directives(headers), headers, NOW)


def at(seconds):
    return format_http_date(NOW + seconds)


def test_s_maxage_comes_before_max_age_and_both_before_expires():
    expires = (b"expires", at(90))
    assert lifetime((b"cache-control", b"max-age=30, s-maxage=60"), expires) == 60.0
    assert lifetime((b"cache-control", b"max-age=30"), expires) == 30.0
    assert lifetime((b"cache-control", b"max-age=0"), expires) == 0.0
    assert lifetime((b"cache-control", b"public"), expires) == 90.0


def test_a_response_that_says_nothing_has_no_explicit_lifetime():
    assert lifetime() is None
    assert lifetime((b"cache-control", b"public"), (b"last-modified", at(-900))) is None


def test_expires_counts_from_the_date_of_the_response():
    assert lifetime((b"Expires", at(90)), (b"Date", at(-10))) == 100.0
    assert lifetime((b"expires", at(90)), (b"date", b"garbage")) == 90.0
    assert lifetime((b"expires", at(-90))) == 0.0


@pytest.mark.parametrize("text", [b"0", b"-1", b"", b"never", b"Thu, 31 Feb 2044 00:00:00 GMT"])
def test_an_invalid_expires_has_passed(text):
    assert lifetime((b"expires", text)) == 0.0
    assert lifetime((b"expires", at(90)), (b"expires", text)) == 0.0


def test_a_far_expires_is_capped():
    assert lifetime((b"expires", b"Fri, 31 Dec 9999 23:59:59 GMT")) == MAX_DELTA


def test_a_response_made_here_and_now_has_no_age():
    assert initial_age([], NOW) == 0.0
    assert initial_age([(b"date", at(0))], NOW) == 0.0


def test_age_is_the_larger_of_what_age_and_date_tell():
    assert initial_age([(b"age", b"30"), (b"date", at(-10))], NOW) == 30.0
    assert initial_age([(b"Age", b"5"), (b"Date", at(-10))], NOW) == 10.0
    assert initial_age([(b"date", at(10))], NOW) == 0.0


@pytest.mark.parametrize(
    ("lines", "age"),
    [
        ([b"7, 100"], 7.0),
        ([b"7", b"100"], 7.0),
        ([b" 7 "], 7.0),
        ([b"x, 100"], 0.0),
        ([b"-5"], 0.0),
        ([b"1.5"], 0.0),
        ([b""], 0.0),
        ([b"9" * 5_000], float(MAX_DELTA)),
    ],
)
def test_of_several_ages_the_first_counts_and_garbage_does_not(lines, age):
    assert initial_age([(b"age", line) for line in lines], NOW) == age


names = st.sampled_from([b"cache-control", b"expires", b"date", b"age", b"Age"])
texts = st.binary(max_size=40) | st.sampled_from([b"max-age=5", b"s-maxage=x", at(0), at(60), at(-60), b"0", b"5"])


@given(st.lists(st.tuples(names, texts), max_size=6))
def test_any_bytes_have_a_lifetime_and_an_age(headers):
    granted = lifetime(*headers)
    assert granted is None or 0.0 <= granted <= MAX_DELTA
    assert initial_age(headers, NOW) >= 0.0
