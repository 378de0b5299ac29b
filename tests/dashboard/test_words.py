from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.dashboard import words
from rcache.dashboard.bodies import MOST, shown


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (words.count(1204), "1,204"),
        (words.count(12_345), "12.3 k"),
        (words.count(2_000_000), "2 M"),
        (words.count(3.5e9), "3.5 G"),
        (words.count(None), words.NOTHING),
        (words.rate(0.5), "0.5"),
        (words.rate(120), "120"),
        (words.size(0), "0 B"),
        (words.size(1023), "1023 B"),
        (words.size(1536), "1.5 KiB"),
        (words.size(5 * 2**40), "5 TiB"),
        (words.duration(0), "0 s"),
        (words.duration(0.00031), "0.31 ms"),
        (words.duration(0.25), "250 ms"),
        (words.duration(4.25), "4.25 s"),
        (words.duration(200), "3 min 20 s"),
        (words.duration(3600), "1 h"),
        (words.duration(100_000), "1 d 3 h"),
        (words.duration(-20), "−20 s"),  # noqa: RUF001 (a minus sign)
        (words.share(1), "100 %"),
        (words.share(0.99999), "99.99 %"),
        (words.share(0.9), "90.0 %"),
        (words.share(0), "0 %"),
        (words.clock(1_800_000_000), "08:00:00"),
        (words.date(1_800_000_000), "2027-01-15 08:00:00 UTC"),
        (words.iso(1_800_000_000), "2027-01-15T08:00:00Z"),
        (words.date(1e300), "1970-01-01 00:00:00 UTC"),
    ],
)
def test_numbers_are_told_as_people_read_them(told, text):
    assert told == text


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
def test_every_number_has_a_short_text(value):
    for told in (words.count(value), words.size(abs(value)), words.duration(value)):
        assert 0 < len(told) < 24
    assert len(words.iso(value)) == 20


JSON = [("Content-Type", "application/json")]


def test_a_text_is_shown_up_to_a_length():
    assert shown(b'{"a": 1}', JSON).text == '{"a": 1}'
    long = shown(b"a" * (MOST + 5), JSON)
    assert (len(long.text or ""), long.left_out) == (MOST, 5)


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ([("content-type", "image/png")], "image/png"),
        ([], "no type"),
        ([("content-type", "text/html"), ("content-encoding", "gzip")], "text/html"),
    ],
)
def test_what_is_no_text_is_not_shown(headers, kind):
    body = shown(b"\x00\x01", headers)
    assert (body.text, body.kind) == (None, kind)


@given(st.binary(max_size=200), st.text(max_size=20))
def test_whatever_a_body_and_its_type_are_the_text_can_stand_in_a_page(data, charset):
    text = shown(data, [("content-type", f"text/plain; charset={charset}")]).text
    assert text is not None
    assert "\0" not in text


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", "hex", "base64", "rot13", "idna", "no-such", "undefined"])
def test_a_charset_is_taken_where_it_is_one(charset):
    is_one = charset in ("latin-1", "utf-16")
    data = "é".encode(charset) if is_one else b"a-"
    assert shown(data, [("content-type", f"text/plain; charset={charset}")]).text == ("é" if is_one else "a-")
