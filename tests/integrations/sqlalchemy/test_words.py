"""SQL in text form: which names its rows come from, and which functions it calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.integrations.sqlalchemy.reads.words import names_in, read_words

TEXTS = {
    "SELECT * FROM book": ({"book"}, set()),
    "select b.x from Book b join public.user as u on u.id = b.y": ({"book", "user"}, set()),
    'SELECT 1 FROM "Odd Name", `other` o, [third]': ({"odd name", "other", "third"}, set()),
    "SELECT x FROM (SELECT y FROM inside) AS z": ({"inside"}, set()),
    "WITH new AS (SELECT 1 FROM book), two (a, b) AS (SELECT 1, 2) SELECT * FROM new, two": ({"book"}, set()),
    "WITH RECURSIVE r AS MATERIALIZED (SELECT 1 FROM a UNION SELECT 1 FROM r) SELECT * FROM r": ({"a"}, set()),
    "SELECT extract(year FROM day), trim(both 'x' from y) FROM book": ({"book"}, set()),
    "SELECT 'FROM nowhere', x -- FROM comment\nFROM book /* JOIN more */": ({"book"}, set()),
    "SELECT my_own(x), upper(y), count(*) FROM book WHERE x IN (1, 2)": ({"book"}, {"my_own"}),
    "SELECT x FROM generate_rows(3) g": (set(), {"generate_rows"}),
    "SELECT current_date, x IS DISTINCT FROM y FROM book": ({"book"}, {"current_date"}),
    "SELECT 1": (set(), set()),
    "SELECT * FROM a LEFT JOIN b USING (id) CROSS JOIN LATERAL (SELECT 1) c": ({"a", "b"}, set()),
    "SELECT * FROM ONLY parent WHERE x = ANY (SELECT y FROM child)": ({"parent", "child"}, set()),
}


@pytest.mark.parametrize("sql", TEXTS)
def test_what_a_text_reads(sql: str):
    sources, functions = TEXTS[sql]
    words = read_words(sql)
    assert (set(words.sources), set(words.functions)) == (sources, functions)
    assert words.is_query


@pytest.mark.parametrize("sql", ["SET search_path TO x", "SAVEPOINT a", "RELEASE SAVEPOINT a", "BEGIN"])
def test_what_reads_nothing(sql: str):
    assert read_words(sql).is_silent


@pytest.mark.parametrize("sql", ["PRAGMA x", "SHOW x", "EXPLAIN SELECT 1", "CALL x()", "DELETE FROM book", ""])
def test_what_is_no_query(sql: str):
    words = read_words(sql)
    assert not words.is_query
    assert not words.is_silent


@given(st.text())
def test_any_text_is_read(sql: str):
    read_words(sql)
    read_words(sql, is_part=True)


@given(st.from_regex(r"[a-z_][a-z0-9_]{0,20}", fullmatch=True), st.sampled_from(["FROM {}", "JOIN {}", 'FROM x, "{}"']))
def test_a_name_is_found_wherever_rows_come_from(name: str, place: str):
    words = read_words(f"SELECT 1 {place.format(name)}")
    assert names_in(words.words, f"SELECT 1 {place.format(name)}", name)


def test_a_name_of_several_words_is_found():
    sql = 'SELECT * FROM "order items"'
    assert names_in(read_words(sql).words, sql, "order items")
