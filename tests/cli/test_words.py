"""Numbers and foreign text, as people read them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rcache.cli.words import count, hit_share, moment, plain, share, size, span
from rcache.core.views import Counters


def test_sizes_have_three_digits() -> None:
    for octets, text in (
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.98 KiB"),
        (1536, "1.50 KiB"),
        (99 * 1024, "99.0 KiB"),
        (200 * 1024, "200 KiB"),
        (1023 * 1024, "1.00 MiB"),
        (5 * 1024**3, "5.00 GiB"),
        (3 * 1024**5, "3072 TiB"),
    ):
        assert size(octets) == text


def test_spans_have_two_units() -> None:
    for seconds, text in (
        (0, "0s"),
        (0.0125, "12.5 ms"),
        (0.0000333, "0.033 ms"),
        (1, "1s"),
        (9.5, "9.5s"),
        (59.9, "1m"),
        (192, "3m 12s"),
        (3600, "1h"),
        (3661, "1h 1m"),
        (86400 * 9 + 5, "1w 2d"),
        (-30, "-30s"),
    ):
        assert span(seconds) == text


@given(st.floats(0, 1e9))
def test_a_span_is_never_empty_and_has_two_parts_at_most(seconds: float) -> None:
    assert 1 <= len(span(seconds).split()) <= 2


def test_shares_of_nothing_are_none() -> None:
    assert share(1, 0) == "-"
    assert hit_share(Counters(hits=2, stale=1, misses=1)) == "75.0 %"
    assert count(1234567) == "1,234,567"
    assert moment(1_800_000_000) == "2027-01-15 08:00:00"


@given(st.text())
def test_foreign_text_moves_no_cursor(text: str) -> None:
    assert plain(text).isprintable()
    assert not text.isprintable() or plain(text) == text


def test_what_does_not_print_is_spelled_out() -> None:
    assert plain("book:\x1b[31m\u202e\ud800é") == "book:\\x1b[31m\\u202e\\ud800é"
