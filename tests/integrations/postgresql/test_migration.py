"""The SQL of outbox and triggers: that it may be run again, leaves nothing behind, and holds whatever names there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache import ConfigurationError
from rcache.integrations.postgresql import Migration, TableName, table_names
from rcache.integrations.postgresql.migration import quoted, script
from tests.postgres import PostgresServer

BOOK, LINE = TableName("public", "book"), TableName("public", "line")

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=15)
tables = st.builds(TableName, names, names)


@given(st.lists(tables, min_size=1, unique=True))
def test_names_are_read_as_they_are_written(given: list[TableName]) -> None:
    assert table_names(" , ".join(map(str, given))) == given


@given(st.text(max_size=30))
def test_any_text_is_a_list_of_tables_or_refused(text: str) -> None:
    try:
        found = table_names(text, "shop")
    except ConfigurationError:
        return
    assert found
    assert all(table.schema and table.table for table in found)


def test_names_without_quotes_are_as_the_database_has_them() -> None:
    assert table_names("book, Line ,x.Y,two words", "shop") == [
        TableName("shop", "book"),
        TableName("shop", "Line"),
        TableName("x", "Y"),
        TableName("shop", "two words"),
    ]
    for text in ("", " ", ",", "a,,b", "a.", ".a", "a.b.c", '"a', 'a"b', '""', "a b.", '"a"b'):
        with pytest.raises(ConfigurationError):
            table_names(text)


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 64, "ä" * 32], ids=ascii)
def test_what_can_be_no_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError):
        quoted(name)
    with pytest.raises(ConfigurationError):
        Migration((BOOK,), schema=name)
    with pytest.raises(ConfigurationError):
        Migration((TableName("public", name),))


def test_settings_that_cannot_work_are_refused() -> None:
    for most in (-1, True, 1.5, 100_001):
        with pytest.raises(ConfigurationError):
            Migration((BOOK,), max_rows=most)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="itself"):
        Migration((TableName("shop", "rcache_outbox"),), schema="shop")


@pytest.fixture
def database(postgres: PostgresServer, request: pytest.FixtureRequest) -> str:
    name = postgres.create_database(request.node.name[:60])
    postgres.execute("CREATE TABLE book (id int PRIMARY KEY)", "CREATE TABLE line (id int PRIMARY KEY)", database=name)
    return name


def test_it_may_be_repeated_and_leaves_nothing_behind(postgres: PostgresServer, database: str) -> None:
    both, one, other = Migration((BOOK, LINE)), Migration((BOOK,)), Migration((LINE,))
    before = postgres.dump(database)
    postgres.execute(script(both.up()), database=database)
    installed = postgres.dump(database)
    postgres.execute(script(both.up()), script(other.up()), database=database)
    assert postgres.dump(database) == installed != before

    postgres.execute(script(one.down()), script(one.down()), database=database)
    postgres.execute("INSERT INTO book VALUES (1)", "INSERT INTO line VALUES (1)", database=database)
    assert postgres.execute("SELECT table_name FROM rcache_outbox", database=database) == "line"
    postgres.execute(script(one.up()), database=database)
    assert postgres.dump(database) == installed, "what other tables need has stayed"

    postgres.execute(script(both.down()), script(both.down()), database=database)
    assert postgres.dump(database) == before
    postgres.execute("DROP TABLE book", script(both.down()), database=database)


def test_an_outbox_that_somebody_else_has_made_stays(postgres: PostgresServer, database: str) -> None:
    """The tracker's, with the columns that triggers write."""
    postgres.execute(
        "CREATE TABLE rcache_outbox (id varchar(32) PRIMARY KEY, tags text, table_schema text, table_name text,"
        " operation text, old_rows text, new_rows text)",
        database=database,
    )
    before = postgres.dump(database)
    migration = Migration((BOOK,))
    postgres.execute(script(migration.up()), "INSERT INTO book VALUES (1)", database=database)
    assert postgres.execute("SELECT count(*) FROM rcache_outbox", database=database) == "1"
    postgres.execute(script(migration.down()), database=database)
    assert postgres.dump(database) == before


def test_outbox_and_function_are_in_a_schema_of_one_s_choice(postgres: PostgresServer, database: str) -> None:
    schema = 'o\'dd "one" $rcache$'
    table = TableName(schema, "it's")
    migration = Migration((BOOK, table), schema, 1, notify=False)
    postgres.execute(f"CREATE SCHEMA {quoted(schema)}", f"CREATE TABLE {table} (id int PRIMARY KEY)", database=database)
    before = postgres.dump(database)
    postgres.execute(
        script(migration.up()),
        "INSERT INTO book VALUES (1)",
        "INSERT INTO book VALUES (2), (3)",
        f"INSERT INTO {table} VALUES (1)",
        database=database,
    )
    told = f"SELECT table_schema, table_name, coalesce(new_rows, '-') FROM {migration.outbox} ORDER BY 2, 3"
    assert postgres.execute(told, database=database).splitlines() == [
        "public|book|-",
        'public|book|[{"id":1}]',
        f'{schema}|it\'s|[{{"id":1}}]',
    ]
    assert "NOTIFY" not in postgres.dump(database)
    postgres.execute(script(migration.down()), database=database)
    assert postgres.dump(database) == before


def test_a_table_that_is_not_there_changes_nothing(postgres: PostgresServer, database: str) -> None:
    before = postgres.dump(database)
    with pytest.raises(RuntimeError, match="nowhere"):
        postgres.execute(script(Migration((BOOK, TableName("public", "nowhere"))).up()), database=database)
    assert postgres.dump(database) == before
