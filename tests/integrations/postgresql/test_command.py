"""`rcache pg`, as one calls it."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pytest

from rcache import Cache
from rcache.cli import main
from rcache.core.changes import families
from tests.contract.support import Question, body_of, fill
from tests.postgres import PostgresServer
from tests.servers import RedisServer

MODELS = """
from sqlalchemy import Column, Integer, MetaData, Table
from rcache.integrations.sqlalchemy.outbox import outbox_table
metadata = MetaData()
Table("book", metadata, Column("id", Integer, primary_key=True), info={"cache_tag": "tome"})
Table("line", metadata, Column("id", Integer, primary_key=True), schema="shop")
outbox_table(metadata)
"""


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> str:
    name = postgres.create_database("command")
    postgres.execute(
        "CREATE TABLE book (id int PRIMARY KEY)",
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.line (id int PRIMARY KEY)",
        'CREATE TABLE "50% off :x" (id int PRIMARY KEY)',
        database=name,
    )
    return name


def triggers(postgres: PostgresServer, database: str) -> list[str]:
    found = "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE tgname LIKE 'rcache%' ORDER BY 1"
    return postgres.execute(found, database=database).split("\n")


@pytest.mark.parametrize("driver", ["", "asyncpg", "psycopg"])
def test_it_is_installed_and_removed_at_once(
    postgres: PostgresServer, database: str, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RCACHE_DSN", postgres.url(driver, database))
    install = ["pg", "install", "--tables", 'book,shop.line,"50% off :x"', "--apply"]
    assert main(install) == 0
    assert main(install) == 0
    assert triggers(postgres, database) == ['"50% off :x"', "book", "shop.line"]
    assert main([*install, "--down"]) == 0
    assert triggers(postgres, database) == [""]


def test_it_is_written_for_a_reviewer(
    postgres: PostgresServer, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = ["pg", "install", "--tables", "book,shop.line", "--max-rows", "7", "--no-notify"]
    assert main(tables) == 0
    shown = capsys.readouterr().out
    path = tmp_path / "up.sql"
    assert main([*tables, "--output", str(path)]) == 0
    assert path.read_text() == shown
    assert "LIMIT 8" in shown
    assert "NOTIFY" not in shown
    postgres.execute(shown, database=database)
    assert triggers(postgres, database) == ["book", "shop.line"]
    assert main([*tables, "--down"]) == 0
    postgres.execute(capsys.readouterr().out, database=database)
    assert triggers(postgres, database) == [""]


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_what_fails_is_told_and_changes_nothing(
    postgres: PostgresServer, database: str, driver: str, redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    install = ["pg", "install", "--tables", "book,nowhere", "--apply"]
    drain = ["pg", "drain", "--once", "--url", redis_server.url, "--schema", "nowhere"]
    gone = f"postgresql+{driver}://nobody@127.0.0.1:1/x"
    for arguments, dsn in ((install, postgres.url(driver, database)), (drain, postgres.url(driver, database))):
        assert main([*arguments, "--dsn", dsn]) == 1
        assert "nowhere" in capsys.readouterr().err
        assert main([*arguments, "--dsn", gone]) == 1
        assert capsys.readouterr().err.startswith("rcache: ")
    assert triggers(postgres, database) == [""]


def test_what_is_there_is_drained_once(
    postgres: PostgresServer,
    database: str,
    redis_server: RedisServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under the names of the models, or those that one gives."""
    (tmp_path / "shop_models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    dsn = postgres.url("", database)
    models = ["--metadata", "shop_models:metadata", "--dsn", dsn]
    assert main(["pg", "install", *models, "--apply"]) == 0
    assert triggers(postgres, database) == ["book", "shop.line"]

    async def purged(*options: str) -> set[str]:
        """Those of a few pages that are gone after a row of each table was written."""
        postgres.execute("TRUNCATE book, shop.line", "TRUNCATE rcache_outbox", database=database)
        namespace = f"test-{secrets.token_hex(6)}"
        async with Cache(redis_server.url, namespace=namespace, deadline=10.0) as cache:
            tags = ("book:1", "tome:1", "item:1", "line:1", "line:2")
            for tag in tags:
                await fill(cache.store, Question(f"/{tag}"), b"old", tag, *families([tag]))
            postgres.execute("INSERT INTO book VALUES (1)", "INSERT INTO shop.line VALUES (1)", database=database)
            where = ["--dsn", dsn, "--url", redis_server.url, "--namespace", namespace]
            assert await asyncio.to_thread(main, ["pg", "drain", "--once", *where, *options]) == 0
            assert capsys.readouterr().err == "2 rows drained\n"
            return {tag for tag in tags if await body_of(cache.store, Question(f"/{tag}")) is None}

    assert asyncio.run(purged()) == {"book:1", "line:1"}
    assert asyncio.run(purged("--metadata", "shop_models:metadata")) == {"tome:1", "line:1"}
    assert asyncio.run(purged("--tag-name", "shop.line=item", "--tag-name", "book=tome")) == {"tome:1", "item:1"}
    assert main(["pg", "install", *models, "--apply", "--down"]) == 0
