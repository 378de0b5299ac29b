"""What an answer was made of, as tags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache import StrictError
from rcache.core.changes import Change, TableTags, families, table_of, tags_of
from rcache.core.reads import Reads, coarse
from rcache.core.schemes import Scheme

OPEN = Scheme("order", ("is_open",))


def test_rows_tables_and_schemes_are_tags():
    reads = Reads()
    reads.row("order", (1, "a:b"))
    reads.table("customer")
    reads.rows(OPEN, {"is_open": True})
    assert reads.tags == {"order:1:a%3Ab", "customer", OPEN.tag({"is_open": True})}
    assert reads.schemes == {OPEN}


def test_what_makes_no_tag_is_the_whole_table():
    reads = Reads()
    reads.row("order", ("\n",))
    reads.rows(Scheme("line", ("price",)), {"price": 1.5})
    assert (reads.tags, reads.schemes) == ({"order", "line"}, set())


def test_reasons_come_once_and_in_order():
    reads = Reads()
    for reason in ("b", "a", "b"):
        reads.refuse(reason)
    assert list(reads.refused) == ["b", "a"]


def test_what_is_gathered_belongs_to_what_is_around_it_and_not_the_other_way_round():
    outer = Reads()
    inner = Reads(Reads(outer))
    outer.table("outer")
    inner.row("order", (1,))
    inner.rows(OPEN, {"is_open": True})
    inner.refuse("unseen")
    inner.exclude("wrote")
    assert outer.tags == {"outer", "order:1", OPEN.tag({"is_open": True})}
    assert inner.tags == outer.tags - {"outer"}
    assert outer.schemes == inner.schemes == {OPEN}
    assert list(outer.refused) == list(inner.refused) == ["unseen", "wrote"]


def test_what_was_not_so_after_all_is_forgotten_all_around():
    outer = Reads()
    inner = Reads(outer)
    inner.exclude("a")
    inner.exclude("b")
    inner.pardon("a")
    inner.pardon("never said")
    assert list(outer.refused) == list(inner.refused) == ["b"]


@pytest.mark.parametrize("is_within", [False, True])
def test_where_it_is_strict_a_refusal_is_noted_and_raised(is_within: bool):
    strict = Reads(is_strict=True)
    reads = Reads(strict) if is_within else strict
    reads.exclude("wrote")
    with pytest.raises(StrictError, match="unseen"):
        reads.refuse("unseen")
    assert list(strict.refused) == ["wrote", "unseen"]


def test_who_is_around_and_knows_better_is_told_nothing():
    known, unknown = Reads(is_strict=True), Reads()
    Reads(known).refuse("unseen", seen_by=(known,))
    assert not known.refused
    inner = Reads(Reads(unknown))
    assert inner.around[0] is inner
    assert inner.around[-1] is unknown
    inner.refuse("unseen", seen_by=(inner.around[1],))
    assert [list(each.refused) for each in inner.around] == [["unseen"], [], ["unseen"]]


# Fewer tags


def test_the_table_with_the_most_tags_goes_first():
    tags = {"order:1", "order:2", "order:3", "line:1", "line?order_id=1", "user:1"}
    assert coarse(tags, 6) == tags
    assert coarse(tags, 5) == {"order", "line:1", "line?order_id=1", "user:1"}
    assert coarse(tags, 3) == {"order", "line", "user:1"}


def test_more_tables_than_that_stay():
    assert coarse({"a", "b", "c", "d:1", "e:1"}, 2) == {"a", "b", "c", "d", "e"}


names = st.sampled_from(["order", "line", "user"])
tags = st.sets(
    st.one_of(
        names,
        st.builds("{}:{}".format, names, st.integers(0, 20)),
        st.builds("{}?customer_id={}".format, names, st.integers(0, 20)),
    )
)
changes = st.builds(
    lambda table, pk, customer: Change(table, pk, "insert", None, {"customer_id": customer}),
    names,
    st.none() | st.tuples(st.integers(0, 20)),
    st.integers(0, 20),
)


@given(tags, st.integers(1, 12), changes)
def test_what_flushed_the_many_flushes_the_few(found: set[str], most: int, change: Change):
    few = coarse(found, most)
    assert len(few) <= max(most, 3)
    purged = tags_of(change, TableTags((change.table,)))
    if purged & {*found, *families(found)}:
        assert purged & {*few, *families(few)}


@given(tags)
def test_a_tag_names_its_table_or_is_one(found: set[str]):
    assert {table_of(tag) or tag for tag in found} <= {"order", "line", "user"}
