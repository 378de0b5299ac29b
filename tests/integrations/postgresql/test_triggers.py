"""What triggers tell of writers that know nothing of rcache, in the tags that are purged."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from rcache.integrations.postgresql import Migration, TableName
from tests.integrations.postgresql.bookshop import ODD, Bookshop
from tests.postgres import PostgresServer

BOOK = {"book", "book:*"}
ID = "6f1c0d3e-0f0e-4b53-b8c4-1a2b3c4d5e6f"


def values(table: str, **columns: object) -> set[str]:
    return {f"{table}?{name}" if value is None else f"{table}?{name}={value}" for name, value in columns.items()}


BOOK_1 = {"book", "book:1"} | values("book", id=1, author_id=1, title="One")
BOOK_2 = {"book", "book:2"} | values("book", id=2, author_id=1, title="Two")
LINE = {"line", "line:a%3Ab:7"} | values("line", order=7, product="a:b")

WRITES: list[tuple[str, set[str]]] = [
    ("INSERT INTO book VALUES (9, NULL, 'N')", {"book", "book:9"} | values("book", id=9, author_id=None, title="N")),
    ("UPDATE book SET title = 'New' WHERE id = 1", BOOK_1 | values("book", title="New")),
    ("UPDATE book SET author_id = 2 WHERE id = 1", BOOK_1 | values("book", author_id=2)),
    ("UPDATE book SET title = title", set()),
    ("UPDATE book SET title = '' WHERE id = 99", set()),
    ("DELETE FROM book WHERE id IN (1, 2)", BOOK_1 | BOOK_2),
    ("UPDATE book SET id = 8 WHERE id = 1", BOOK_1 | {"book:8"} | values("book", id=8)),
    (
        "COPY book FROM PROGRAM 'printf \"9\\t1\\tC\\n\"'",
        {"book", "book:9"} | values("book", id=9, author_id=1, title="C"),
    ),
    (
        "DELETE FROM author WHERE id = 1",
        BOOK_1 | BOOK_2 | {"author", "author:1"} | values("author", id=1, name="Ann"),
    ),
    (
        "UPDATE author SET id = 5 WHERE id = 2",
        {"author", "author:2", "author:5", "book", "book:3"}
        | values("author", id=2, name="Bob")
        | values("author", id=5)
        | values("book", id=3, author_id=2, title="Three")
        | values("book", author_id=5),
    ),
    ("TRUNCATE book", BOOK),
    ("TRUNCATE author CASCADE", BOOK | {"author", "author:*"}),
    (
        "INSERT INTO book VALUES (1, 1, 'Up'), (9, 1, 'In') ON CONFLICT (id) DO UPDATE SET title = excluded.title",
        BOOK_1 | {"book:9"} | values("book", id=9, title="Up") | values("book", title="In"),
    ),
    ("INSERT INTO book VALUES (1, 1, 'Up') ON CONFLICT DO NOTHING", set()),
    (
        """MERGE INTO book USING (VALUES (1), (2)) AS v(id) ON book.id = v.id
        WHEN MATCHED AND v.id = 1 THEN DELETE WHEN MATCHED THEN UPDATE SET title = 'M'""",
        BOOK_1 | BOOK_2 | values("book", title="M"),
    ),
    (
        "WITH gone AS (DELETE FROM line) UPDATE book SET title = 'W' WHERE id = 1",
        BOOK_1 | values("book", title="W") | LINE | values("line", amount=1),
    ),
    ("UPDATE line SET amount = 2", LINE | values("line", amount=1) | values("line", amount=2)),
    ("INSERT INTO diary VALUES ('Today')", {"diary", "diary:*"}),
    ("INSERT INTO book SELECT n, 1, 'many' FROM generate_series(100, 601) AS n", BOOK),
    ("BEGIN; UPDATE book SET title = 'x'; SAVEPOINT s; DELETE FROM line; ROLLBACK", set()),
    ("BEGIN; DELETE FROM book WHERE id = 1; SAVEPOINT s; DELETE FROM line; ROLLBACK TO s; COMMIT", BOOK_1),
    (
        f"INSERT INTO {ODD} VALUES ('{ID.upper()}', 1, 2, 3)",
        {
            'Odd "table", 50% off: $rcache$' + tail
            for tail in ("", f":{ID}", f"?id={ID}", "?r=1", "?rcache_new=2", "?counted=3")
        },
    ),
    ('DELETE FROM "other.one".book', {"book", "book:x", "book?id=x"}),
]


@pytest.mark.parametrize(("sql", "tags"), WRITES, ids=[sql[:50] for sql, _ in WRITES])
async def test_what_others_write_is_told_to_the_row(shop: Bookshop, sql: str, tags: set[str]) -> None:
    shop.run(sql)
    assert await shop.drained() == tags
    assert shop.rows == 0


async def test_one_statement_is_one_row_of_the_outbox(shop: Bookshop) -> None:
    """And one that is rolled back, or has changed nothing, is none."""
    shop.run(
        "INSERT INTO book SELECT n, 1, 'many' FROM generate_series(100, 600) AS n",
        "BEGIN; DELETE FROM book; ROLLBACK",
        "DELETE FROM book WHERE id = 99",
        "BEGIN; DELETE FROM line; UPDATE book SET title = 'x' WHERE id = 1; COMMIT",
    )
    found = shop.run("SELECT table_name || ' ' || operation || coalesce(new_rows, '') FROM rcache_outbox ORDER BY 1")
    assert found == 'book insert\nbook update[{"id":1,"author_id":1,"title":"x"}]\nline delete'


async def test_rows_that_are_too_large_are_told_as_the_table(shop: Bookshop) -> None:
    """So that nobody's write fails because there is no room to tell of it."""
    noise = "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 40000) AS n)"
    shop.run(f"INSERT INTO book VALUES (9, 1, {noise})")
    assert await shop.drained() == BOOK
    shop.run("UPDATE book SET title = 'short' WHERE id = 9")
    assert await shop.drained() == BOOK


async def test_many_changes_of_a_table_are_told_as_the_table(shop: Bookshop) -> None:
    """Though no statement was too large."""
    shop.run(
        *[
            f'INSERT INTO "other.one".book SELECT n FROM generate_series({start}, {start + 299}) AS n'
            for start in (1000, 2000)
        ]
    )
    assert await shop.drained() == BOOK


async def test_changes_of_many_values_are_told_as_rows(shop: Bookshop) -> None:
    shop.run(
        "INSERT INTO line SELECT n, n, n FROM generate_series(1, 449) AS n",
        "TRUNCATE rcache_outbox",
        "UPDATE line SET amount = amount + 1000",
    )
    rows = {"line:a%3Ab:7"} | {f"line:{n}:{n}" for n in range(1, 450)}
    assert await shop.drained() == {"line", "line?*"} | rows


async def test_no_value_aborts_a_writer_or_stops_who_follows(shop: Bookshop) -> None:
    shop.run(
        "CREATE TABLE paper (id int PRIMARY KEY, content json, scan bytea, size numeric)",
        *Migration((TableName("public", "paper"),)).up(),
        "INSERT INTO paper VALUES (1, '\"a\\u0000b\"', 'abc', repeat('9', 5000)::numeric)",
    )
    assert await shop.drained() == {"paper", "paper:1", "paper?id=1"}
    shop.run("INSERT INTO paper VALUES (2, (repeat('[', 3000) || repeat(']', 3000))::json)")
    assert await shop.drained() == {"paper", "paper:*"}


@pytest.mark.parametrize("rows", ["no JSON", "[1]", "5", '[{"id": {}}]', '[{"id": true}]'])
async def test_what_cannot_be_read_is_told_as_the_table(shop: Bookshop, rows: str) -> None:
    row = f"('1', 'public', 'book', 'insert', '{rows}')"
    shop.run(f"INSERT INTO rcache_outbox (id, table_schema, table_name, operation, new_rows) VALUES {row}")
    assert await shop.drained() == BOOK


async def test_what_looks_different_has_changed(shop: Bookshop) -> None:
    """Though it is equal."""
    shop.run(
        "CREATE TABLE price (id int PRIMARY KEY, amount numeric)",
        *Migration((TableName("public", "price"),)).up(),
        "INSERT INTO price VALUES (1, 1.0)",
        "TRUNCATE rcache_outbox",
        "UPDATE price SET amount = 1.00",
    )
    assert await shop.drained() == {"price", "price:1", "price?id=1"}


@pytest.mark.parametrize(
    "kind", ["timestamptz", "timetz", "time", "real", "double precision", "bytea", "int[]", "interval"]
)
async def test_a_key_that_readers_may_write_otherwise_makes_the_table_change(shop: Bookshop, kind: str) -> None:
    value = {"int[]": "{1}", "bytea": "x", "interval": "1 day"}.get(kind, "12:00" if "time" in kind else "1")
    shop.run(
        "DROP TABLE IF EXISTS visit",
        f"CREATE TABLE visit (id {kind} PRIMARY KEY)",
        *Migration((TableName("public", "visit"),)).up(),
        f"INSERT INTO visit VALUES ('{'2026-01-01 ' if kind == 'timestamptz' else ''}{value}')",
    )
    assert await shop.drained() == {"visit", "visit:*"}


async def test_a_model_s_key_need_not_be_one(shop: Bookshop) -> None:
    """Then rows cannot be told apart by it."""
    metadata = MetaData()
    Table("book", metadata, Column("author_id", Integer, primary_key=True), Column("title", Text))
    shop.run("UPDATE book SET title = 'x' WHERE author_id = 1")
    assert await shop.drained(metadata=metadata) == BOOK
    shop.run("UPDATE book SET title = 'y' WHERE id = 1")
    assert "book:1" in await shop.drained(metadata=metadata)


async def test_models_are_found_by_schema_first(shop: Bookshop) -> None:
    metadata = MetaData()
    Table("book", metadata, Column("id", Text, primary_key=True), info={"cache_tag": "plain"})
    Table("book", metadata, Column("id", Text, primary_key=True), schema="other.one", info={"cache_tag": "other"})
    shop.run('DELETE FROM "other.one".book')
    assert await shop.drained(metadata=metadata) == {"other", "other:x", "other?id=x"}
    shop.run("DELETE FROM book WHERE id = 1")
    assert "plain:1" in await shop.drained(metadata=metadata)


async def test_a_column_that_is_another_by_now_makes_the_table_change(shop: Bookshop) -> None:
    """What was written of it is not read as if it had been written since."""
    shop.run(
        "CREATE TABLE shelf (id int PRIMARY KEY, room text, place text)",
        *Migration((TableName("public", "shelf"),)).up(),
        "INSERT INTO shelf VALUES (1, 'a', '5')",
        "ALTER TABLE shelf ALTER place TYPE int USING place::int",
    )
    assert await shop.drained() == {"shelf", "shelf:*"}
    shop.run("INSERT INTO shelf VALUES (2, 'a', 5)", "ALTER TABLE shelf RENAME room TO chamber")
    assert await shop.drained() == {"shelf", "shelf:*"}
    shop.run("INSERT INTO shelf VALUES (3, 'a', 5)", "ALTER TABLE shelf RENAME id TO number")
    assert await shop.drained() == {"shelf", "shelf:*"}
    shop.run("INSERT INTO shelf VALUES (4, 'a', 5)", "DROP TABLE shelf")
    assert await shop.drained() == {"shelf", "shelf:*"}


async def test_a_writer_needs_no_right_to_the_outbox(shop: Bookshop) -> None:
    shop.run(
        "CREATE ROLE clerk",
        "GRANT ALL ON book TO clerk",
        "CREATE SCHEMA clerks AUTHORIZATION clerk",
        "CREATE FUNCTION clerks.replace(text, text, text) RETURNS text LANGUAGE sql AS 'SELECT (1 / 0)::text'",
        "SET ROLE clerk; SET search_path = clerks, pg_catalog; UPDATE public.book SET title = 'New' WHERE id = 1",
    )
    assert await shop.drained() == BOOK_1 | values("book", title="New")
    with pytest.raises(RuntimeError, match="permission denied"):
        shop.run("SET ROLE clerk; SELECT * FROM rcache_outbox")
    with pytest.raises(RuntimeError, match="permission denied"):
        shop.run(
            "SET ROLE clerk; CREATE TABLE clerks.book (id int); CREATE TRIGGER t AFTER TRUNCATE ON clerks.book"
            " EXECUTE FUNCTION rcache_outbox_note()",
        )


async def test_a_table_is_named_as_one_likes(shop: Bookshop) -> None:
    shop.run("DELETE FROM line; DELETE FROM \"other.one\".book; UPDATE book SET title = 'New' WHERE id = 1")
    names = {"line": "item", "other.one.book": "tome"}
    assert await shop.drained(names=names) == (
        {tag.replace("line", "item") for tag in LINE | values("line", amount=1)}
        | {"tome", "tome:x", "tome?id=x"}
        | BOOK_1
        | values("book", title="New")
    )


def test_a_transaction_can_be_prepared_where_the_server_allows_it(postgres_server: PostgresServer) -> None:
    """One that has notified cannot."""
    database = postgres_server.create_database("prepared")
    postgres_server.execute(
        "CREATE TABLE book (id int PRIMARY KEY)",
        *Migration((TableName("public", "book"),)).up(),
        "BEGIN; INSERT INTO book VALUES (1); PREPARE TRANSACTION 'x'",
        "COMMIT PREPARED 'x'",
        database=database,
    )
    assert postgres_server.execute("SELECT count(*) FROM rcache_outbox", database=database) == "1"
