"""Tags of what queries ask for, and which of them a change purges."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.changes import Change, families
from rcache.core.reads import Reads
from rcache.core.schemes import MOST_TAGS, Effect, Scheme, needed, scheme, scheme_tags
from rcache.core.tags import MAX_TAG_BYTES

BY_AUTHOR = Scheme("book", ("author_id",), frozenset({"author_id", "title"}))
ALL = Scheme("book", (), frozenset({"title"}))
texts = st.text("ab&=~%#?:\n\x00é", max_size=60)
values = st.none() | st.integers() | texts | st.booleans()


@given(table=texts, columns=st.lists(texts, unique=True), used=st.none() | st.frozensets(texts))
def test_a_scheme_is_read_as_it_was_spelled(table: str, columns: list[str], used: frozenset[str] | None) -> None:
    made = Scheme(table, tuple(sorted(columns)), used)
    assert scheme(made.spelled) == made


@pytest.mark.parametrize(
    "spelled", [b"", b"{}", b"[]", b'["a", 1, null]', b'["a", [1], null]', b'[1, ["a"], null]', b'["a", ["b"], 7]']
)
def test_what_spells_no_scheme_is_an_error(spelled: bytes) -> None:
    with pytest.raises(ValueError, match="spells no scheme"):
        scheme(spelled)


@given(one=st.tuples(values, values), other=st.tuples(values, values))
def test_different_values_never_share_a_tag(one: tuple[object, ...], other: tuple[object, ...]) -> None:
    made = Scheme("line", ("a", "b"))
    tags = [made.tag({"a": a, "b": b}) for a, b in (one, other)]
    assert all(tag is not None and len(tag.encode()) <= MAX_TAG_BYTES for tag in tags)
    assert (tags[0] == tags[1]) is ([_text(each) for each in one] == [_text(each) for each in other])


def _text(value: object) -> object:
    return None if value is None else str(value)


def test_schemes_that_differ_make_different_tags() -> None:
    others = [Scheme("book", ("author_id",)), Scheme("book", ("author_id",), frozenset({"author_id"}))]
    assert len({each.tag({"author_id": 1}) for each in (BY_AUTHOR, *others)}) == 3


def test_what_carries_a_schemes_tag_carries_the_families_of_its_table() -> None:
    tag = BY_AUTHOR.tag({"author_id": 1})
    assert tag is not None
    assert families([tag]) == ["book:*", "book?*"]


@pytest.mark.parametrize(
    ("change", "author_ids"),
    [
        (Change("book", (1,), "insert", None, {"author_id": 5}), {5}),
        (Change("book", (1,), "delete", {"author_id": 5}, None), {5}),
        (Change("book", (1,), "update", {"author_id": 5}, {"author_id": 6}, frozenset({"author_id"})), {5, 6}),
        (Change("book", (1,), "update", {"author_id": 5}, {"author_id": 5}, frozenset({"title"})), {5}),
        (Change("book", (1,), "update", {"author_id": 5}, {"author_id": 5}, frozenset({"price"})), set()),
        (Change("book", (1,), "update", {"author_id": 5}, {"author_id": 5}, None), {5}),
        (Change("book", (1,), "update", {"author_id": None}, {"author_id": 5}), {None, 5}),
        (Change("book", None), set()),
    ],
)
def test_a_change_purges_by_its_old_and_its_new_values(change: Change, author_ids: set[object]) -> None:
    assert scheme_tags(change, BY_AUTHOR) == {BY_AUTHOR.tag({"author_id": each}) for each in author_ids}


@pytest.mark.parametrize(
    "change",
    [
        Change("book", (1,), "insert"),
        Change("book", (1,), "insert", None, {"title": "x"}),
        Change("book", (1,), "insert", None, {"author_id": Decimal(1)}),
        Change("book", (1,)),
    ],
)
def test_unknown_values_purge_everything_that_has_values(change: Change) -> None:
    assert scheme_tags(change, BY_AUTHOR) == {"book?*"}


def test_a_scheme_without_values_is_purged_whatever_they_are() -> None:
    assert scheme_tags(Change("book", (1,)), ALL) == {ALL.tag({})}
    assert scheme_tags(Change("book", (1,), changed=frozenset({"price"})), ALL) == set()


def test_what_makes_no_tag_is_read_as_the_whole_table() -> None:
    reads = Reads()
    reads.rows(BY_AUTHOR, {"author_id": 1.5})
    reads.row("author", ("x\n",))
    assert reads.tags == {"book", "author"}
    assert not reads.schemes
    reads.rows(BY_AUTHOR, {"author_id": 1})
    reads.row("author", (1,))
    reads.refuse("random()")
    assert reads.tags == {"book", "author", "author:1", BY_AUTHOR.tag({"author_id": 1})}
    assert reads.schemes == {BY_AUTHOR}
    assert list(reads.refused) == ["random()"]


def test_what_carries_its_table_s_tag_needs_no_scheme() -> None:
    lines = Scheme("line", ("order_id",))
    assert needed([BY_AUTHOR, ALL, lines], ["line", "book:1"]) == {"book": [BY_AUTHOR, ALL]}


def test_an_effect_of_too_many_tags_is_one_on_everything_that_has_values() -> None:
    changes = [Change("book", (n,), "insert", None, {"author_id": n}) for n in range(MOST_TAGS + 1)]
    effect = Effect(["book"], {"book": changes})
    assert effect.made_by({"book": frozenset([BY_AUTHOR])}) == {"book?*"}
    fewer = Effect(["book"], {"book": changes[:-1]})
    assert len(fewer.made_by({"book": frozenset([BY_AUTHOR])})) == MOST_TAGS
    assert effect.widest == ("book", "book?*")
