"""What is shelved stays within its bytes, what is in use stays, and a scan pushes out nothing that is."""

from __future__ import annotations

from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st

from rcache.engine.shelf import MOST_USES, Shelf


class Thing:
    """Something to be shelved."""

    def __init__(self, name: Hashable, size: int = 1) -> None:
        self.name = name
        self.size = size
        self.uses = 0


def use(thing: Thing) -> None:
    thing.uses = min(thing.uses + 1, MOST_USES)


def shelf_of(max_bytes: int) -> tuple[Shelf[Thing], list[Thing]]:
    dropped: list[Thing] = []
    return Shelf(max_bytes, dropped.append), dropped


def test_what_fits_stays() -> None:
    shelf, dropped = shelf_of(10)
    assert [shelf.add(Thing(number)) for number in range(10)] == [True] * 10
    assert (len(shelf), shelf.used_bytes, dropped) == (10, 10, [])


def test_what_is_larger_than_the_shelf_is_not_taken() -> None:
    shelf, dropped = shelf_of(10)
    kept = Thing("kept")
    shelf.add(kept)
    assert not shelf.add(Thing("large", 11))
    assert (len(shelf), shelf.used_bytes, dropped) == (1, 1, [])


def test_what_is_new_and_unused_makes_room_first() -> None:
    shelf, dropped = shelf_of(100)
    in_use = [Thing(number) for number in range(50)]
    for thing in in_use:
        shelf.add(thing)
        use(thing)
    for number in range(50, 5000):  # somebody asks for everything once
        shelf.add(Thing(number))
    assert not set(in_use) & set(dropped)
    assert shelf.used_bytes <= 100


def test_what_came_back_soon_goes_to_those_in_use() -> None:
    shelf, dropped = shelf_of(20)
    for number in range(30):
        shelf.add(Thing(number))
    again = Thing(dropped[-1].name)
    shelf.add(again)
    for number in range(100, 200):
        shelf.add(Thing(number))
    assert again not in dropped


def test_what_was_in_use_long_ago_makes_room_in_the_end() -> None:
    shelf, dropped = shelf_of(20)
    former = Thing("former")
    shelf.add(former)
    use(former)
    for number in range(1000):
        thing = Thing(number)
        shelf.add(thing)
        use(thing)
    assert former in dropped


def test_what_is_discarded_frees_its_bytes_and_is_not_told() -> None:
    shelf, dropped = shelf_of(20)
    things = [Thing(number, 2) for number in range(9)]
    for thing in things:
        shelf.add(thing)
        use(thing)
    shelf.add(Thing("more", 2))
    for thing in things:
        shelf.discard(thing)
        shelf.discard(thing)
    assert shelf.used_bytes == 2
    assert dropped == []
    shelf.clear()
    assert (len(shelf), shelf.used_bytes) == (0, 0)


@given(st.lists(st.tuples(st.sampled_from("aaadud"), st.integers(0, 15), st.integers(1, 12))), st.integers(1, 40))
def test_its_bytes_are_those_of_what_is_there_and_never_more_than_it_may(
    steps: list[tuple[str, int, int]], max_bytes: int
) -> None:
    there: dict[int, Thing] = {}

    def dropped(thing: Thing) -> None:
        assert there.pop(thing.name) is thing  # type: ignore[call-overload]

    shelf: Shelf[Thing] = Shelf(max_bytes, dropped)
    for step, name, size in steps:
        if step == "a":
            if name in there:
                shelf.discard(there.pop(name))
            thing = there[name] = Thing(name, size)
            if not shelf.add(thing):
                there.pop(name, None)
        elif step == "d" and name in there:
            shelf.discard(there.pop(name))
        elif name in there:
            use(there[name])
        assert shelf.used_bytes == sum(thing.size for thing in there.values()) <= max_bytes
        assert len(shelf) == len(there)
