"""Where two JSON values differ, and which places are ignored."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.errors import ConfigurationError
from rcache.core.json_paths import ABSENT, Many, is_within, pattern, spelled, unequal

NAMES = st.text(max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
PLACES = st.lists(NAMES | st.integers(0, 99), min_size=1, max_size=6).map(tuple)


def places(one: Any, other: Any, *ignored: str) -> list[str]:
    return [spelled(each.place) for each in unequal(one, other, map(pattern, ignored))]


@given(PLACES)
def test_a_place_as_it_is_spelled_names_itself(place: tuple[str | int, ...]) -> None:
    assert pattern(spelled(place)) == place


@given(VALUES)
def test_nothing_differs_from_itself(value: Any) -> None:
    assert not list(unequal(value, value))


@given(VALUES, VALUES)
def test_what_differs_does_so_at_the_places_that_are_named(one: Any, other: Any) -> None:
    found = list(unequal(one, other))
    for place, here, there in found:
        assert _at(one, place) is here or _at(one, place) == here
        assert _at(other, place) is there or _at(other, place) == there
        assert [each.place for each in unequal(one, other, [place])] == [
            each.place for each in found if each.place != place
        ]
    assert {each.place for each in unequal(other, one)} == {each.place for each in found}


def _at(value: Any, place: tuple[str | int, ...]) -> Any:
    for step in place:
        try:
            value = value[step]
        except (IndexError, KeyError):
            return ABSENT
    return value


@given(st.text(max_size=20))
def test_whatever_is_written_is_a_path_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        assert pattern(text)
        assert text.startswith("$")


@pytest.mark.parametrize(
    "text", ["", "$", "name", "$name", "$.", "$..", "$[", "$[1", "$[01]", "$.a b", "$['a]", "$.a.", "$.1"]
)
def test_these_are_no_paths(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is no path"):
        pattern(text)


@pytest.mark.parametrize(
    ("text", "within", "outside"),
    [
        ("$.a", ("a",), ("b",)),
        ("$.a", ("a", "b", 0), ("c", "a")),
        ("$[*].a", (7, "a"), ("a",)),
        ("$.*.a", ("x", "a"), ("x", "y", "a")),
        ("$..a", ("x", 3, "a", "below"), ("x", "b")),
        ("$..a", ("a",), ()),
        ("$.x..a", ("x", "y", "z", "a"), ("y", "x", "a")),
        ("$[0]", (0,), ("0",)),
        ("$['a.b']", ("a.b",), ("a", "b")),
        ('$["it\\"s"]', ('it"s',), ("its",)),
        ("$..[*].at", ("x", 1, "at"), ("at",)),
    ],
)
def test_a_path_names_places_and_all_below_them(
    text: str, within: tuple[str | int, ...], outside: tuple[str | int, ...]
) -> None:
    assert is_within(within, pattern(text))
    assert not is_within(outside, pattern(text))


def test_steps_are_read_as_they_are_written() -> None:
    assert pattern("$.a[0]..b[*]['c d'].*") == ("a", 0, Many.DEEP, "b", Many.ONE, "c d", Many.ONE)


def test_differences_are_named_where_they_are_deepest_and_in_order() -> None:
    before = {"a": 1, "items": [{"p": 1, "q": 2}, {"p": 3}], "gone": None}
    after = {"items": [{"q": 2, "p": 1.0}, {"p": 4}, 5], "a": True, "new": 0}
    assert places(before, after) == ["$.a", "$.items[1].p", "$.items[2]", "$.gone", "$.new"]
    assert places(before, after, "$.a", "$.items[*].p", "$..gone") == ["$.items[2]", "$.new"]
    assert places(before, after, "$.*") == []
