"""What proved uncacheable is remembered for a while, in bounds."""

from __future__ import annotations

import sys
from functools import partial

import pytest

from rcache.engine import uncacheable
from rcache.engine.uncacheable import REMEMBERED, Uncacheable
from tests.contract.support import Question
from tests.engine.threads import switching
from tests.support import HandClock

KEY = Question("/live").key


def test_a_url_is_remembered_with_its_reason_for_a_while() -> None:
    clock = HandClock()
    memory = Uncacheable(clock)
    assert memory.reason(KEY, False) is None
    memory.note(KEY, False, "stream")
    clock.advance(REMEMBERED - 1)
    assert memory.reason(KEY, False) == "stream"
    clock.advance(1)
    assert memory.reason(KEY, False) is None
    assert len(memory) == 0


def test_a_new_note_counts_from_its_own_time() -> None:
    clock = HandClock()
    memory = Uncacheable(clock)
    memory.note(KEY, False, "stream")
    clock.advance(REMEMBERED - 1)
    memory.note(KEY, False, "private")
    clock.advance(REMEMBERED - 1)
    assert memory.reason(KEY, False) == "private"


def test_requests_with_credentials_are_remembered_apart() -> None:
    memory = Uncacheable(HandClock())
    memory.note(KEY, True, "cookie")
    assert memory.reason(KEY, False) is None
    assert memory.reason(KEY, True) == "cookie"
    assert memory.reason(Question("/live", identity=b"ann").key, True) is None


def test_beyond_its_bound_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uncacheable, "CAPACITY", 3)
    memory = Uncacheable(HandClock())
    keys = [Question(f"/{number}").key for number in range(5)]
    for key in keys[:3]:
        memory.note(key, False, "stream")
    memory.note(keys[0], False, "stream")  # the oldest, but noted anew
    for key in keys[3:]:
        memory.note(key, False, "stream")
    assert [memory.reason(key, False) for key in keys] == ["stream", None, None, "stream", "stream"]
    assert len(memory) == 3


def test_long_urls_cost_no_memory_to_speak_of() -> None:
    memory = Uncacheable(HandClock())
    for number in range(100):
        memory.note(Question("/" + "x" * 60_000 + str(number)).key, False, "stream")
    assert sum(map(sys.getsizeof, memory._until)) < 10_000


def test_threads_may_note_and_ask_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uncacheable, "CAPACITY", 10)
    monkeypatch.setattr(uncacheable, "REMEMBERED", 0.0)
    memory = Uncacheable(HandClock())

    def work(who: int) -> None:
        for number in range(2000):
            memory.note(Question(f"/{who}/{number % 15}").key, False, "stream")
            memory.reason(Question(f"/{who}/{(number + 3) % 15}").key, False)

    assert not switching(*[partial(work, who) for who in range(4)])
    assert len(memory) <= 10
