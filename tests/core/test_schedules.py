"""Every process works out the same moments, in any zone, whenever it began."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.errors import ConfigurationError
from rcache.core.schedules import Schedule, made

BERLIN = ZoneInfo("Europe/Berlin")


def stamp(text, zone=UTC, fold=0):
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def moments(schedule, after, count):
    return [datetime.fromtimestamp(tick, UTC).isoformat()[:19] for tick in islice(schedule.ticks(after), count)]


def test_cron_is_read_in_its_zone():
    daily = made("0 9 * * MON-FRI", None, "Europe/Berlin")

    assert moments(daily, stamp("2026-07-03T00:00:00"), 2) == ["2026-07-03T07:00:00", "2026-07-06T07:00:00"]
    assert moments(daily, stamp("2026-01-09T12:00:00"), 1) == ["2026-01-12T08:00:00"]


def test_what_falls_into_the_hour_that_is_left_out_happens_once():
    """On 29 March 2026 Berlin goes from 2:00 to 3:00."""
    daily = made("30 2 * * *", None, "Europe/Berlin")

    assert moments(daily, stamp("2026-03-28T12:00:00"), 2) == ["2026-03-29T01:00:00", "2026-03-30T00:30:00"]


def test_what_falls_into_the_hour_that_comes_twice_happens_once():
    """On 25 October 2026 Berlin goes from 3:00 back to 2:00."""
    daily = made("30 2 * * *", None, "Europe/Berlin")
    first = stamp("2026-10-25T02:30:00", BERLIN)

    assert moments(daily, stamp("2026-10-24T12:00:00"), 2) == ["2026-10-25T00:30:00", "2026-10-26T01:30:00"]
    for minutes in (0, 20, 45, 60, 75):  # asked anew at any time of the two hours
        after = first + 60 * minutes
        assert next(daily.ticks(after)) == stamp("2026-10-26T01:30:00")


def test_what_happens_every_few_minutes_goes_on_through_both():
    often = made("*/30 * * * *", None, "Europe/Berlin")

    for day in ("2026-03-29T00:00:00", "2026-10-25T00:00:00"):
        ticks = list(islice(often.ticks(stamp(day)), 8))
        assert [later - tick for tick, later in pairwise(ticks)] == [1800.0] * 7


def test_seconds_are_a_sixth_field():
    assert moments(made("*/20 * * * * *", None, "UTC"), stamp("2026-01-01T00:00:19"), 3) == [
        "2026-01-01T00:00:20",
        "2026-01-01T00:00:40",
        "2026-01-01T00:01:00",
    ]


def test_every_is_the_same_in_all_zones_and_does_not_drift():
    here, there = made(None, "90s", "UTC"), made(None, timedelta(seconds=90), "Asia/Kathmandu")

    assert list(islice(here.ticks(1000.0), 3)) == list(islice(there.ticks(1000.0), 3)) == [1080.0, 1170.0, 1260.0]
    assert (here.rhythm, made("0 0 * * *", None, "UTC").rhythm) == ("every 90s", "0 0 * * *")


def test_a_tick_is_not_after_itself():
    for schedule in (made(None, 1, "UTC"), made("* * * * * *", None, "UTC"), made("* * * * *", None, "Europe/Berlin")):
        tick = next(schedule.ticks(1_800_000_000.0))
        assert next(schedule.ticks(tick)) > tick
        assert next(schedule.ticks(tick - 0.001)) == tick


CRONS = st.sampled_from(
    ["30 2 * * *", "*/7 * * * *", "0 */3 * * *", "15 1-3 * * SUN", "*/30 2 * * *", "10 2 * * * *", "5 0,2,3 * 3,10 *"]
)
ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca"]
)
SCHEDULES = st.builds(Schedule, CRONS, st.none(), ZONES) | st.builds(Schedule, st.none(), st.floats(1, 1e5), ZONES)
CHANGES = st.sampled_from(
    [
        stamp("2026-03-29T01:00:00"),
        stamp("2026-10-25T01:00:00"),
        stamp("2026-03-08T07:00:00"),
        stamp("2026-04-04T15:00:00"),
    ]
)


@given(SCHEDULES, CHANGES, st.floats(-90_000, 90_000), st.floats(0, 20_000))
def test_whoever_begins_later_finds_the_same_ticks(schedule, change, offset, later):
    """The key of a tick is made of its moment: two processes that disagree would both fire."""
    began = change + offset
    known = list(islice(schedule.ticks(began), 400))
    assert known == sorted(set(known))
    assert known[0] > began
    after = min(began + later, known[-2])

    assert next(schedule.ticks(after)) == next(tick for tick in known if tick > after)


@pytest.mark.parametrize(
    "cron",
    ["", "* * * *", "* * * * * * *", "61 * * * *", "* * 31 2 *", "@daily", "a b c d e", "*/0 * * * *", 5, "é * * * *"],
)
def test_what_is_no_cron_string_is_refused(cron):
    with pytest.raises(ConfigurationError, match="cron="):
        made(cron, None, "UTC")


@given(st.text(st.sampled_from("0123456789*/,-LW# SUNabc"), max_size=20))
def test_any_text_is_a_schedule_or_refused(cron):
    try:
        schedule = made(cron, None, "Europe/Berlin")
    except ConfigurationError:
        return
    assert next(schedule.ticks(1_800_000_000.0)) > 1_800_000_000.0


@pytest.mark.parametrize("every", [0, -1, "0.5s", "soon", True, 0.999])
def test_what_is_no_interval_is_refused(every):
    with pytest.raises(ConfigurationError, match="every="):
        made(None, every, "UTC")


@pytest.mark.parametrize("tz", ["Berlin", "", "../etc/passwd", None, 1, "Europe/\x00", "/etc/localtime"])
def test_what_is_no_zone_is_refused(tz):
    with pytest.raises(ConfigurationError, match="tz="):
        made("* * * * *", None, tz)


def test_a_schedule_has_one_rhythm():
    for both in [(None, None), ("* * * * *", 5)]:
        with pytest.raises(ConfigurationError, match="either"):
            made(*both, "UTC")
