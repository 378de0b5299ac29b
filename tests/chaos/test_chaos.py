"""A few seconds of chaos: readers find no answer from before what was committed when they asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chaos.board import Board, is_held
from tests.chaos.events import Events, around
from tests.chaos.run import Settings, carry_out, checked, told


def is_right(result: dict[str, Any]) -> None:
    assert not result["stale"], told(result)
    assert checked(result)
    assert result["writes"]["committed"]
    assert result["writes"]["tracked"], "P2, with an ORM as the writer"
    assert result["faults"]
    assert {node["failures"] for node in result["nodes"]} == {0}
    assert all(result["links"].values()), "every process comes to its Redis through a link"


def test_no_answer_is_older_than_what_was_committed_before_its_request_began():
    short = Settings(seconds=8, lease=0.6, longest_commit=0.6, connections=3, writer_pause=0.05, quiet=0.5)
    is_right(carry_out(short))


@pytest.mark.long
@pytest.mark.parametrize("redis", ["sentinel", "cluster"])
def test_no_answer_is_older_where_several_servers_take_turns(redis: str):
    is_right(carry_out(Settings(seconds=30, redis=redis, lease=1.0, longest_commit=1.0, connections=3, quiet=1.0)))


@pytest.mark.long
def test_readers_find_what_a_writer_forgot_to_purge():
    """Else a run without stale answers would show nothing."""
    result = carry_out(Settings(seconds=4, connections=2, writer_pause=0.02, faults=(), forgets=True))
    assert {is_held(each["item"]) for each in result["stale"]} == {True, False}, "P1 and P2"
    assert "committed" in told(result)


def test_a_version_counts_as_committed_once_any_column_says_so(tmp_path: Path):
    """What readers check against, seen by two processes' views of it."""
    writer, reader = Board(tmp_path / "board"), Board(tmp_path / "board")
    writer.publish(0, 5, 7)
    writer.publish(1, 5, 9)
    assert reader.newest(5) == 9
    assert reader.newest(4) == 0
    first = reader.overtaken_at(5, 6, 9)
    assert first < reader.overtaken_at(5, 7, 9)
    writer.publish(2, 5, 7)  # the monitor comes later, and neither lowers nor delays anything
    assert (reader.newest(5), reader.overtaken_at(5, 6, 9)) == (9, first)


def test_around_a_stale_answer_stands_what_concerns_its_item_and_everybody(tmp_path: Path):
    events = Events(tmp_path / "events", "writer0")
    events.note("committed 3 items=5")
    events.note("read 1 2 3 4 items=4,5,6,7")
    events.note("committed 9 items=15")
    events.note("FAULT flush begins")
    lines = around(tmp_path / "events", 5, 0.0, float("inf"))
    assert [line.partition("s  writer0 ")[2] for line in lines] == [
        "committed 3 items=5",
        "read 1 2 3 4 items=4,5,6,7",
        "FAULT flush begins",
    ]
