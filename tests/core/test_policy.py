"""What a rule may say: everything else is refused where it is written."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.errors import ConfigurationError
from rcache.core.policy import STATUSES, Rule, options
from tests.support import shown


async def _async_callable(request: Any) -> str:
    return "x"


class _AsyncCall:
    async def __call__(self, request: Any) -> str:
        return "x"


class _Call:
    def __call__(self, request: Any) -> str:
        return "x"


IMPOSSIBLE: list[dict[str, Any]] = [
    {"ttl": 0},
    {"ttl": -1},
    {"ttl": float("nan")},
    {"ttl": float("inf")},
    {"ttl": "abc"},
    {"ttl": ""},
    {"ttl": "5m5m"},
    {"ttl": True},
    {"ttl": timedelta(0)},
    {"ttl": timedelta(days=-1)},
    {"ttl": b"5m"},
    {"ttl": [5]},
    {"tags": "user:1"},
    {"tags": b"user:1"},
    {"tags": 5},
    {"tags": [5]},
    {"tags": [None]},
    {"tags": [""]},
    {"tags": ["user:{"]},
    {"tags": ["user:}"]},
    {"tags": ["user:{}"]},
    {"tags": ["user:{a.b}"]},
    {"tags": ["user:{query.}"]},
    {"tags": ["line\nbreak"]},
    {"tags": [lambda: "no argument"]},
    {"tags": [lambda one, two: "two arguments"]},
    {"tags": [_async_callable]},
    {"vary": "*"},
    {"vary": ["*"]},
    {"vary": "accept-language"},
    {"vary": ["accept language"]},
    {"vary": [""]},
    {"vary": ["naïve"]},
    {"vary": [5]},
    {"query": "page"},
    {"query": b"page"},
    {"query": [5]},
    {"query": 5},
    {"cookies": "theme"},
    {"cookies": "ignored"},
    {"cookies": [5]},
    {"cookies": ["a b"]},
    {"cookies": ["a=b"]},
    {"cookies": ["a;b"]},
    {"cookies": [""]},
    {"cookies": True},
    {"key_by": ""},
    {"key_by": "*"},
    {"key_by": "two words"},
    {"key_by": "cookie:"},
    {"key_by": "cookie:a b"},
    {"key_by": "header:x-user"},
    {"key_by": 5},
    {"key_by": _async_callable},
    {"key_by": _AsyncCall()},
    {"key_by": partial(_async_callable)},
    {"key_by": lambda: "no argument"},
    {"guard": "not callable"},
    {"guard": 5},
    {"guard": lambda: "no argument"},
    {"client_ttl": 0},
    {"client_ttl": 0.5},
    {"client_ttl": -5},
    {"client_ttl": "abc"},
    {"statuses": 200},
    {"statuses": "200"},
    {"statuses": ()},
    {"statuses": ["200"]},
    {"statuses": [True]},
    {"statuses": [100]},
    {"statuses": [206]},
    {"statuses": [304]},
    {"statuses": [600]},
    {"enabled": "no"},
    {"enabled": None},
    {"enabled": 1},
]


SETTINGS = ("ttl", "tags", "vary", "query", "cookies", "key_by", "guard", "client_ttl", "statuses", "enabled")


@pytest.mark.parametrize("settings", IMPOSSIBLE, ids=shown)
def test_what_cannot_work_is_refused_for_rules_and_options_alike(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        options(**settings)
    with pytest.raises(ConfigurationError):
        Rule("/x", **settings)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_error_names_the_setting(setting: str) -> None:
    wrong = next(settings for settings in IMPOSSIBLE if setting in settings)
    with pytest.raises(ConfigurationError, match=setting):
        options(**wrong)


@pytest.mark.parametrize("path", ["", "reports", "*", None, 5, b"/x"])
def test_a_rules_path_begins_with_a_slash(path: Any) -> None:
    with pytest.raises(ConfigurationError, match="begins with"):
        Rule(path)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(60, 60.0), (0.25, 0.25), ("5m", 300.0), ("1h30m", 5400.0), ("250ms", 0.25), (timedelta(minutes=2), 120.0)],
)
def test_durations_are_read_as_people_write_them(written: Any, seconds: float) -> None:
    assert options(ttl=written).ttl == seconds


def test_a_rule_without_settings_has_the_defaults() -> None:
    rule = Rule("/x").options
    assert rule.ttl is None
    assert rule.statuses == frozenset(STATUSES) == {200, 203, 204, 301, 308}
    assert rule.cookies is None
    assert rule.query is None
    assert rule.enabled is True


def test_sync_and_async_guards_of_every_kind_are_accepted() -> None:
    for guard in (_async_callable, _AsyncCall(), _Call(), partial(_async_callable), lambda request: None, str):
        assert options(guard=guard).guard is guard


def test_keys_and_tags_may_come_from_any_plain_callable() -> None:
    for function in (_Call(), partial(_Call()), lambda request, more=1: "x", str):
        assert options(key_by=function).key_by is function
        assert options(tags=[function]).callables == (function,)


def test_header_names_are_compared_without_regard_to_case() -> None:
    assert options(vary=["Accept", "accept", "X-Tenant"]).vary == ("accept", "x-tenant")
    assert options(key_by="X-Tenant").key_by == "x-tenant"


def test_cookie_names_keep_their_case_because_cookies_do() -> None:
    assert options(cookies=["Theme", "theme"]).cookies == ("Theme", "theme")
    assert options(key_by="cookie:Session").key_by == "cookie:Session"


def test_generators_are_read_once() -> None:
    made = options(tags=(f"t{n}" for n in range(2)), vary=iter(["a"]), statuses=iter([200]), query=iter(["q"]))
    assert [template.text for template in made.templates] == ["t0", "t1"]
    assert (made.vary, made.statuses, made.query) == (("a",), {200}, {b"q"})


def test_no_query_parameter_may_count() -> None:
    assert options(query=()).query == frozenset()


_ANYTHING = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    *(st.lists(st.text()), st.lists(st.integers())),
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(SETTINGS, _ANYTHING)))
def test_anything_is_either_accepted_or_a_configuration_error(settings: dict[str, Any]) -> None:
    with suppress(ConfigurationError):
        options(**settings)
