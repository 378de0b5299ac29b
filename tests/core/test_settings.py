from contextlib import suppress
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.errors import ConfigurationError
from rcache.core.settings import MAX_BYTES, MAX_SECONDS, seconds, size


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (60, 60.0),
        (1.5, 1.5),
        ("60", 60.0),
        ("1.5", 1.5),
        ("10m", 600.0),
        ("1h30m", 5_400.0),
        ("1h 30m", 5_400.0),
        (" 90 s ", 90.0),
        ("250ms", 0.25),
        ("1s250ms", 1.25),
        ("7d", 604_800.0),
        ("2w", 1_209_600.0),
        ("1.5h", 5_400.0),
        ("1w2d3h4m5s6ms", 788_645.006),
        (timedelta(minutes=5), 300.0),
        (timedelta(milliseconds=1), 0.001),
        (MAX_SECONDS, MAX_SECONDS),
    ],
)
def test_durations_are_read_as_people_write_them(value, expected):
    assert seconds(value, "ttl") == pytest.approx(expected)
    assert isinstance(seconds(value, "ttl"), float)


@pytest.mark.parametrize(
    "value",
    [
        *(0, -1, 0.0, -0.5, float("nan"), float("inf"), float("-inf"), True, False, 10**400, -(10**5000)),
        *(
            "",
            " ",
            "0",
            "0s",
            "-5m",
            "5 minutes",
            "5M",
            "m",
            "1h1h",
            "5m5h",
            "30m1h",
            "1e3",
            "nan",
            "inf",
            "٣m",
            "1_0",
            "1,5",
        ),
        *(timedelta(0), timedelta(seconds=-1), timedelta(days=4000), "11000d", "9" * 400 + "s", "9" * 5000),
        *(None, b"10m", [1], Decimal(5), 1j),
    ],
    ids=lambda value: str(type(value)),
)
def test_what_is_no_duration_is_refused_with_the_setting_and_the_remedy(value):
    with pytest.raises(ConfigurationError, match=r'^ttl=.*"10m"') as caught:
        seconds(value, "ttl")
    assert len(str(caught.value)) < 250


@given(st.floats(1e-3, MAX_SECONDS) | st.integers(1, int(MAX_SECONDS)))
def test_numbers_are_seconds_whether_written_or_given(value):
    assert seconds(value, "ttl") == float(value)
    if "e" not in str(value):
        assert seconds(str(value), "ttl") == seconds(f"{value}s", "ttl") == float(value)


@given(st.integers(0, 9), st.integers(0, 6), st.integers(0, 23), st.integers(0, 59), st.integers(1, 59))
def test_units_add_up(weeks, days, hours, minutes, secs):
    expected = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=secs)
    assert seconds(f"{weeks}w{days}d{hours}h{minutes}m{secs}s", "ttl") == seconds(expected, "ttl")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_048_576, 1_048_576),
        ("1048576", 1_048_576),
        ("1MiB", 1 << 20),
        ("64MiB", 64 << 20),
        ("512kB", 512_000),
        ("512 KB", 512_000),
        ("1GiB", 1 << 30),
        ("1.5 gib", 3 << 29),
        ("2tb", 2 * 10**12),
        ("7b", 7),
        (1, 1),
        (MAX_BYTES, MAX_BYTES),
    ],
)
def test_sizes_are_read_as_people_write_them(value, expected):
    assert size(value, "max_bytes") == expected
    assert type(size(value, "max_bytes")) is int


@pytest.mark.parametrize(
    "value",
    [
        *(0, -1, True, False, 1.5, float("inf"), None, b"1MiB", timedelta(1), MAX_BYTES + 1, 10**5000),
        *(
            "",
            "0",
            "0MiB",
            "-1MiB",
            "1M",
            "1k",
            "MiB",
            "1 MiB MiB",
            "1e6",
            "2000TiB",
            "9" * 5000,
            "inf",
            "٣MiB",
            "1MiB2kB",
        ),
    ],
    ids=lambda value: str(type(value)),
)
def test_what_is_no_size_is_refused_with_the_setting_and_the_remedy(value):
    with pytest.raises(ConfigurationError, match=r'^max_bytes=.*"64MiB"') as caught:
        size(value, "max_bytes")
    assert len(str(caught.value)) < 250


@given(st.integers(1, MAX_BYTES))
def test_whole_sizes_are_exact(value):
    assert size(value, "max_bytes") == size(str(value), "max_bytes") == size(f"{value}B", "max_bytes") == value


@given(st.text())
def test_any_text_is_read_or_refused(text):
    for read in (seconds, size):
        with suppress(ConfigurationError):
            assert read(text, "setting") > 0
