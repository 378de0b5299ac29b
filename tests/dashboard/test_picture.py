from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rcache.core.changes import row_tag, value_tag
from rcache.core.schemes import Scheme
from rcache.dashboard.picture import MOST_TAGS, picture, read, shortened


@pytest.mark.parametrize(
    ("tag", "table", "kind", "text"),
    [
        (row_tag("book", (42,)), "book", "row", "row 42"),
        (row_tag("line", (1, 2)), "line", "row", "row 1:2"),
        (value_tag("book", "author_id", 7), "book", "values", "rows where author_id = 7"),
        (value_tag("book", "author_id", None), "book", "values", "rows where author_id is null"),
        (Scheme("book", ("a", "b")).tag({"a": 1, "b": None}), "book", "query", "query where a = 1 and b is null"),
        (Scheme("book", ("shelf",)).tag({"shelf": "A&B=C~D"}), "book", "query", "query where shelf = A&B=C~D"),
        (Scheme("book").tag({}), "book", "query", "a query over all rows"),
        ("book:*", "book", "family", "a change of unknown rows"),
        ("book?*", "book", "family", "a change of unknown values"),
        ("book", "book", "table", "anything of it"),
        (":odd", ":odd", "table", "anything of it"),
    ],
)
def test_a_tag_is_read_as_it_is_spelled_elsewhere(tag, table, kind, text):
    reading = read(tag)

    assert (reading.table, reading.kind, reading.text) == (table, kind, text)


def test_tags_of_one_table_meet_in_its_box():
    made = picture("https://shop/books", "200, fresh", ("book:1", "book:2", "author:7", "book?shelf=A"))

    tables = [box for box in made.boxes if box.kind == "table"]
    assert [(box.first, box.second) for box in tables] == [("author", "1 row"), ("book", "2 rows, 1 value")]
    assert [box.target for box in made.boxes if box.kind == "tag"] == ["author:7", "book:1", "book:2", "book?shelf=A"]
    assert len(made.curves) == 8


def test_of_very_many_tags_some_of_each_table_are_drawn_and_all_are_read():
    made = picture("https://shop/", "200", [*[f"book:{number}" for number in range(100)], "author:7", "shelf:1"])

    assert [box.first for box in made.boxes if box.kind == "tag"] == [
        "author:7",
        *[f"book:{number}" for number in range(MOST_TAGS - 2)],
        "shelf:1",
    ]
    assert (made.left_out, len(made.readings)) == (102 - MOST_TAGS, 102)
    assert [box.second for box in made.boxes if box.kind == "table"] == ["1 row", "100 rows", "1 row"]


def test_what_is_too_long_keeps_its_beginning_and_its_end():
    assert shortened("product?category_id=3", 12) == "product…id=3"
    assert shortened("product", 7) == "product"


@settings(max_examples=150)
@given(st.lists(st.text(min_size=1, max_size=60), max_size=8, unique=True), st.text(max_size=80))
def test_whatever_is_drawn_lies_in_the_picture(tags, url):
    made = picture(url, "200", tags)

    assert all(0 <= box.y <= made.height - 46 + 0.1 for box in made.boxes)
    assert all(len(box.first) <= 37 and len(box.second) <= 37 for box in made.boxes)
    assert all(re.fullmatch(r"M[\d.]+,[\d.]+ C[\d., ]+", curve) for curve in made.curves)
    assert sorted(reading.tag for reading in made.readings) == sorted(tags)
    assert len([box for box in made.boxes if box.kind == "tag"]) == len(tags)
