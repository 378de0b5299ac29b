"""A writer is killed at each of its steps; whatever had been committed, nobody is answered from before it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rcache.stores.redis import RedisStore
from tests.contract.redis_harness import RedisHarness
from tests.contract.support import Question, begin, body_of, fill, finish
from tests.nodes.processes import ROOT
from tests.nodes.writer import STEPS
from tests.servers import RedisServer

ROW = Question("/row")
HOLD = 20.0  # seconds, of a Cache as it comes


def kill_a_writer(server: RedisServer, namespace: str, database: Path, step: str, kind: str) -> None:
    command = [sys.executable, "-m", "tests.nodes.writer", server.url, namespace, str(database), step, kind]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline().strip().decode() == step
    process.kill()
    process.wait()
    process.stdout.close()
    process.stdin.close()


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_writer_killed_at_any_step_leaves_nothing_stale(
    redis_server: RedisServer, tmp_path: Path, step: str, kind: str
) -> None:
    database = tmp_path / "row"
    database.write_text("0")

    async def is_answered_right(node: RedisStore) -> None:
        body = await body_of(node, ROW)
        assert body is None or body == database.read_bytes()

    harness = RedisHarness(redis_server)
    nodes = [await harness.make(), await harness.second()]
    await fill(nodes[0], ROW, database.read_bytes(), "row", lifetime=3600.0)
    late = await begin(nodes[1], Question("/late"))
    kill_a_writer(redis_server, harness.store.names.namespace, database, step, kind)
    assert database.read_text() == ("0" if step in ("hold", "held") else "1")

    for node in nodes:
        await is_answered_right(node)
    await harness.advance(HOLD + 1)  # what it may have held has run out
    for node in nodes:
        await is_answered_right(node)
    assert step in ("hold", "held") or not await finish(nodes[1], Question("/late"), late, b"0", "row")

    # Whatever it left is cleared away: at most one refusal later answers are kept again.
    if step != "hold":
        for _ in range(2):
            if await finish(nodes[0], ROW, await begin(nodes[0], ROW), database.read_bytes(), "row"):
                break
    assert [await body_of(node, ROW) for node in nodes] == [database.read_bytes()] * 2
    await harness.close()
