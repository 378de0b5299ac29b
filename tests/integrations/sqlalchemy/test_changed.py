"""Which columns of a row have changed: what is equal in Python may still be shown differently."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest

from rcache.integrations.sqlalchemy.statement import _changed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"a": 1}, {"a": True}),
        ([1], [1.0]),
        (1, True),
        (Decimal("1.0"), Decimal("1.00")),
        (0.0, -0.0),
        ("a", "b"),
        (None, 0),
    ],
)
def test_what_looks_different_has_changed(old: Any, new: Any):
    assert _changed({"id": 1, "value": old}, {"id": 1, "value": new}) == {"value"}


@pytest.mark.parametrize(
    "value", [None, 1, "a", 1.5, Decimal("1.0"), {"a": [1, None]}, b"x", datetime.date(2026, 1, 2)]
)
def test_what_looks_alike_has_not_changed(value: Any):
    assert _changed({"value": value}, {"value": value}) == frozenset()
