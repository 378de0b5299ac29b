"""Which tags a change purges, and which an entry carries besides its own."""

from __future__ import annotations

import datetime
import enum
import uuid
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.changes import (
    Change,
    TableTags,
    families,
    row_tag,
    tags_of,
    template_family,
    value_tag,
    without_families,
)
from rcache.core.errors import ConfigurationError
from rcache.core.tags import Template

USER = TableTags(("user",), frozenset({"id", "org_id"}))
ORDER = TableTags(("order",), frozenset({"id"}), (Template("customer:{customer_id}:orders"),))


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("pk", "tag"),
    [
        ((42,), "user:42"),
        (("a:b%",), "user:a:b%"),
        ((1, 2), "user:1:2"),
        (("a:b", "c%"), "user:a%3Ab:c%25"),
        ((Colour.RED, 1), "user:red:1"),
        ((uuid.UUID(int=1),), "user:00000000-0000-0000-0000-000000000001"),
    ],
)
def test_a_row_is_named_by_its_key(pk: tuple[object, ...], tag: str) -> None:
    assert row_tag("user", pk) == tag


@given(st.tuples(st.text("a:%3A"), st.text("a:%3A")), st.tuples(st.text("a:%3A"), st.text("a:%3A")))
def test_two_composite_keys_never_share_a_tag(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (row_tag("line", one) == row_tag("line", other)) is (one == other)


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        (7, "user?c=7"),
        (True, "user?c=True"),
        ("Rome", "user?c=Rome"),
        (None, "user?c"),
        (Colour.RED, "user?c=red"),
        (datetime.date(2027, 1, 2), "user?c=2027-01-02"),
        (datetime.datetime(2027, 1, 2, tzinfo=datetime.UTC), None),
        (1.5, None),
        (Decimal("1.50"), None),
        (b"x", None),
        ("x" * 600, None),
        ("a\nb", None),
    ],
)
def test_a_value_makes_a_tag_where_equal_values_are_written_alike(value: object, tag: str | None) -> None:
    assert value_tag("user", "c", value) == tag


def test_rows_and_values_belong_to_their_table_s_family() -> None:
    assert families(["user:42"]) == ["user:*"]
    assert families(["user?org_id=7"]) == ["user:*", "user?*"]
    assert families(["user", ":x", "?x", "user:*"]) == []
    assert families(["user?city=a:b"]) == ["user:*", "user?*"]
    assert without_families(["user:42", "user:*", "user?*", "user"]) == ("user:42", "user")


def test_an_update_purges_the_row_the_table_and_both_values() -> None:
    change = Change("user", (42,), "update", {"id": 42, "org_id": 7}, {"id": 42, "org_id": 8})
    assert tags_of(change, USER) == {"user", "user:42", "user?id=42", "user?org_id=7", "user?org_id=8"}


def test_an_insert_has_no_old_row_and_a_delete_no_new_one() -> None:
    row = {"id": 1, "org_id": None}
    expected = {"user", "user:1", "user?id=1", "user?org_id"}
    assert tags_of(Change("user", (1,), "insert", None, row), USER) == expected
    assert tags_of(Change("user", (1,), "delete", row, None), USER) == expected


def test_an_unknown_value_purges_all_that_depends_on_values_and_no_row_besides() -> None:
    assert tags_of(Change("user", (1,), "update", None, {"id": 1, "org_id": 2}), USER) == {
        "user", "user:1", "user?*", "user?id=1", "user?org_id=2",
    }  # fmt: skip
    assert "user?*" in tags_of(Change("user", (1,), "delete", {"id": 1}, None), USER)


def test_unknown_rows_purge_everything_about_the_table_and_what_its_templates_name() -> None:
    assert tags_of(Change("user", None), USER) == {"user", "user:*"}
    assert tags_of(Change("order", None), ORDER) == {"order", "order:*", "customer:*"}


def test_a_template_is_filled_from_both_rows_and_its_family_stands_for_what_is_unknown() -> None:
    change = Change("order", (1,), "update", {"id": 1, "customer_id": 5}, {"id": 1, "customer_id": 6})
    assert tags_of(change, ORDER) >= {"customer:5:orders", "customer:6:orders"}
    assert "customer:*" in tags_of(Change("order", (1,), "update", {"id": 1}, {"id": 1, "customer_id": 6}), ORDER)
    nobody = Change("order", (1,), "insert", None, {"id": 1, "customer_id": None})
    assert tags_of(nobody, ORDER) == {"order", "order:1", "order?id=1"}


def test_a_template_that_belongs_to_no_family_is_refused() -> None:
    assert template_family(Template("customer:{id}")) == "customer:*"
    assert template_family(Template("customer?org={id}")) == "customer?*"
    with pytest.raises(ConfigurationError, match="must begin with a name"):
        template_family(Template("{id}:customer"))


@given(st.dictionaries(st.sampled_from(["id", "org_id"]), st.none() | st.integers(0, 3) | st.text(max_size=3)))
def test_whatever_an_entry_carries_of_a_changed_row_is_purged(image: dict[str, object]) -> None:
    """By its own tag or, where the value is unknown, by the family that the entry carries with it."""
    purged = tags_of(Change("user", (1,), "delete", image, None), USER)
    for column in ("id", "org_id"):
        for value in [image[column]] if column in image else [None, 1, "a"]:
            tag = value_tag("user", column, value)
            if tag is not None:
                assert purged & {tag, *families([tag])}
