"""kill -9 of a process that commits through SQLAlchemy: whatever had been committed, nobody is answered from before it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.integrations.sqlalchemy.kills import DRIVERS, Scene, kill, scene
from tests.integrations.sqlalchemy.writer import STEPS
from tests.postgres import PostgresServer
from tests.servers import RedisServer


@pytest.fixture(scope="module")
def place(postgres_server: PostgresServer, redis_server: RedisServer) -> Iterator[Scene]:
    with scene(postgres_server, "killed", redis_server.url, "killed") as made:
        yield made


@pytest.mark.parametrize("with_hold", [True, False], ids=["held", "unheld"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("driver", DRIVERS)
def test_killed_at_each_step_of_a_commit_it_leaves_nothing_stale(
    place: Scene, driver: str, step: str, with_hold: bool
) -> None:
    """Without the hold, one that is killed between COMMIT and purge leaves what nobody will ever flush, on all nodes."""
    place.tally.clear()
    place.stale.clear()
    row = DRIVERS.index(driver) * 100 + STEPS.index(step) * 10 + with_hold
    before = place.version(row)
    place.ask(row)
    place.ask(row)
    assert place.tally["hits"] >= 3, "it is stored, and near"
    process, _ = place.start(driver, row, step=step, with_hold=with_hold)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert place.version(row) == before + (step in ("committed", "purged"))
    place.ask(row)
    leaves_it_stale = step == "committed" and not with_hold
    assert [node for node, _, _ in place.stale] == ([0, 1, 2] if leaves_it_stale else [])


@pytest.mark.parametrize("times", [8, pytest.param(200, marks=pytest.mark.long)])
def test_killed_at_any_moment_it_leaves_nothing_stale(place: Scene, times: int) -> None:
    told = kill(place, 300, times, with_hold=True)
    assert told["kills"] == times
    assert place.stale == []


@pytest.mark.long
def test_without_a_hold_some_of_them_leave_something_stale(place: Scene) -> None:
    assert kill(place, 600, 200, with_hold=False)["stale"] > 0
