from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.dates import format_http_date, parse_http_date

NOW = datetime(2024, 6, 15, 12, 0, 0, tzinfo=UTC).timestamp()


def moment(*parts):
    return datetime(*parts, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text", [b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"]
)
def test_all_three_forms_are_read(text):
    assert parse_http_date(text, NOW) == 784_111_777.0


@pytest.mark.parametrize(
    "text",
    [
        *(b"sun, 06 nov 1994 08:49:37 gmt", b"SUN, 06 NOV 1994 08:49:37 GMT", b"Sun, 06 nOv 1994 08:49:37 gMT"),
        *(b"SUNDAY, 06-NOV-94 08:49:37 GMT", b"sun nov  6 08:49:37 1994"),
    ],
)
def test_case_does_not_matter(text):
    """RFC 9111 §4.2: a cache recipient SHOULD match the field value case-insensitively."""
    assert parse_http_date(text, NOW) == 784_111_777.0


@pytest.mark.parametrize(
    ("text", "year"),
    [
        (b"Sunday, 06-Nov-73 08:49:37 GMT", 2073),
        (b"Friday, 15-Jun-74 12:00:00 GMT", 2074),
        (b"Friday, 15-Jun-74 12:00:01 GMT", 1974),
        (b"Sunday, 06-Nov-74 08:49:37 GMT", 1974),
        (b"Sunday, 06-Nov-99 08:49:37 GMT", 1999),
        (b"Sunday, 06-Nov-00 08:49:37 GMT", 2000),
        (b"Sunday, 06-Nov-24 08:49:37 GMT", 2024),
    ],
)
def test_a_two_digit_year_lies_at_most_fifty_years_ahead(text, year):
    assert datetime.fromtimestamp(parse_http_date(text, NOW), UTC).year == year


def test_a_two_digit_year_near_the_end_of_a_century_may_lie_in_the_next():
    assert parse_http_date(b"Sunday, 06-Nov-05 08:49:37 GMT", moment(2098, 1, 1)) == moment(2105, 11, 6, 8, 49, 37)


def test_a_leap_second_is_the_next_minute():
    assert parse_http_date(b"Sat, 31 Dec 2016 23:59:60 GMT", NOW) == moment(2017, 1, 1)


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"0", b"-1", b"now", b"784111777", b"1994-11-06T08:49:37Z", b"Sun, 06 Nov 1994 08:49:37"),
        *(b"Sun, 06 Nov 1994 08:49:37 UTC", b"Sun, 06 Nov 1994 08:49:37 +0000", b"Sun, 06 Nov 1994 08:49:37 utc"),
        *(b"Sun 06 Nov 1994 08:49:37 GMT", b"Sun, 06  Nov 1994 08:49:37 GMT", b"Sun, 06 Nov 1994 08.49.37 GMT"),
        *(b"Sun, 06 Nov 1994 8:49:37 GMT", b"Sun, 6 Nov 1994 08:49:37 GMT", b"06 Nov 1994 08:49:37 GMT"),
        *(b"Sun, 06 Nov 94 08:49:37 GMT", b"Sun, 06-Nov-1994 08:49:37 GMT", b"Sunday, 06-Nov-1994 08:49:37 GMT"),
        *(b"Sun, 31 Feb 1994 08:49:37 GMT", b"Sun, 00 Nov 1994 08:49:37 GMT", b"Sun, 29 Feb 2023 08:49:37 GMT"),
        *(b"Sun, 06 Nov 1994 24:00:00 GMT", b"Sun, 06 Nov 1994 08:60:00 GMT", b"Sun, 06 Nov 1994 08:49:61 GMT"),
        *(b"Sun, 06 Nov 0000 08:49:37 GMT", b"Dim, 06 Nov 1994 08:49:37 GMT", b"Sun, 06 Fev 1994 08:49:37 GMT"),
        *(b" Sun, 06 Nov 1994 08:49:37 GMT", b"Sun, 06 Nov 1994 08:49:37 GMT\n", b"Sun, 06 Nov 1994 08:49:37 GMT, x"),
        *(b"Sun, \xb2\xb2 Nov 1994 08:49:37 GMT", b"Sun Nov 6 08:49:37 1994", b"Sun Nov  6 08:49:37 1994 GMT"),
    ],
)
def test_anything_else_is_no_date(text):
    assert parse_http_date(text, NOW) is None


def test_fractions_of_a_second_are_left_off():
    assert format_http_date(784_111_777.9) == b"Sun, 06 Nov 1994 08:49:37 GMT"


@given(st.floats(moment(1, 1, 1), moment(9999, 12, 31, 23, 59, 59)))
def test_a_date_comes_back_in_whole_seconds(t):
    text = format_http_date(t)
    assert len(text) == 29
    assert parse_http_date(text, NOW) == t // 1
    assert text.decode() == datetime.fromtimestamp(t // 1, UTC).strftime("%a, %d %b ") + text[12:].decode()


@given(st.integers(int(moment(1975, 1, 1)), int(moment(2074, 1, 1))))
def test_the_obsolete_forms_say_the_same(t):
    at = datetime.fromtimestamp(t, UTC)
    assert parse_http_date(at.strftime("%A, %d-%b-%y %H:%M:%S GMT").encode(), NOW) == t
    assert parse_http_date(f"{at:%a %b} {at.day:2} {at:%H:%M:%S %Y}".encode(), NOW) == t


pieces = [
    b"Sun",
    b"Sunday",
    b",",
    b" ",
    b"-",
    b"06",
    b"30",
    b"Feb",
    b"Nov",
    b"94",
    b"1994",
    b"08:49:37",
    b"GMT",
    b"0000",
]


@given(st.binary() | st.lists(st.sampled_from(pieces), max_size=12).map(b"".join), st.floats(0, 4e9))
def test_any_bytes_are_a_date_or_none(text, now):
    assert isinstance(parse_http_date(text, now), float | None)
