"""The SQL that makes PostgreSQL tell of its writes, and the SQL that undoes it: text for a reviewer, run by nobody here.

Statement-level triggers with transition tables see whatever changes rows: COPY, psql, other services, deletes by cascade, both
halves of an upsert. The trigger writes one row per statement to the outbox, in the writer's own transaction, so that what commits
is told of and what is rolled back is not. NOTIFY wakes those who follow, and carries nothing: a payload that is too long would
abort the writer, and what is sent while nobody listens is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from rcache.core.errors import ConfigurationError

OUTBOX: Final = "rcache_outbox"
"""The table, shared with `track(..., durable="outbox")`, and the channel that wakes whoever follows it."""
FUNCTION: Final = "rcache_outbox_note"
TRIGGERS: Final = ("rcache_insert", "rcache_update", "rcache_delete", "rcache_truncate")

MOST_ROWS: Final = 500
"""Rows of one statement that are told apart; a larger one is told as a change of its whole table."""
MOST_BYTES: Final = 1_000_000
"""Bytes that the rows of one statement may take together, as PostgreSQL stores them, to be told apart."""

_LONGEST_NAME: Final = 63  # bytes; PostgreSQL cuts off what is beyond, unless it was built to do otherwise
_PART: Final = r'(?:"(?:[^"]|"")+"|[^",.\s][^",.]*)'
_NAME: Final = re.compile(rf"\s*({_PART})(?:\.({_PART}))?\s*(?:,|$)")
_MADE_HERE: Final = "Made by rcache for its triggers"


class TableName(NamedTuple):
    """A table in its schema, both as the catalogue of the database spells them."""

    schema: str
    table: str

    def __str__(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.table)}"


def quoted(name: str) -> str:
    """The name as SQL writes it, whatever it holds. Raises ConfigurationError where no table can be called so."""
    if not name or "\0" in name or len(name.encode(errors="replace")) > _LONGEST_NAME:
        raise ConfigurationError(f"{name!r} is no name in PostgreSQL: 1 to {_LONGEST_NAME} bytes, none of them NUL")
    return '"' + name.replace('"', '""') + '"'


def table_names(text: str, schema: str = "public") -> list[TableName]:
    """`book, shop.line, "odd, name"`: names as the database spells them, their case kept; with commas, dots or quotes in quotes.

    Those that name no schema are in `schema`. Raises ConfigurationError.
    """
    found, position = [], 0
    while position < len(text):
        match = _NAME.match(text, position)
        if match is None:
            raise ConfigurationError(
                f'{text[position:]!r} is no list of tables: write book,shop.line,"odd, name" (quotes for commas and dots)'
            )
        parts = [_bare(part) for part in match.groups() if part is not None]
        found.append(TableName(*parts) if len(parts) == 2 else TableName(schema, parts[0]))
        position = match.end()
    if not found:
        raise ConfigurationError("no tables are named")
    return list(dict.fromkeys(found))


def _bare(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part.rstrip()


@dataclass(frozen=True)
class Migration:
    """What makes these tables tell of their writes, and what ends it. Each may be run again: nothing more comes of it.

    - `schema`: where the outbox and the function are.
    - `max_rows`: rows of one statement that are told apart.
    - `notify`: whether those who follow are woken; else they find out when they look again.

    Raises ConfigurationError where a name cannot be one.
    """

    tables: tuple[TableName, ...]
    schema: str = "public"
    max_rows: int = MOST_ROWS
    notify: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.max_rows, bool) or not isinstance(self.max_rows, int) or not 0 <= self.max_rows <= 100_000:
            raise ConfigurationError(f"max_rows={self.max_rows!r} must be a whole number from 0 to 100,000")
        quoted(self.schema)
        for table in self.tables:
            if table == self.outbox:
                raise ConfigurationError("the outbox cannot tell of itself")
            str(table)

    @property
    def outbox(self) -> TableName:
        """The table that tells."""
        return TableName(self.schema, OUTBOX)

    @property
    def function(self) -> TableName:
        """What the triggers call."""
        return TableName(self.schema, FUNCTION)

    def up(self) -> list[str]:
        """The statements that begin it, to be run in one transaction."""
        return [
            *_outbox(self.outbox),
            _function(self.function, self.outbox, self.max_rows, self.notify),
            f"REVOKE ALL ON FUNCTION {self.function}() FROM PUBLIC",
            *[statement for table in self.tables for statement in _triggers(table, self.function)],
        ]

    def down(self) -> list[str]:
        """The statements that end it; function and outbox go with the last trigger, the outbox only where `up` has made it."""
        dropped = [f"DROP TRIGGER IF EXISTS {trigger} ON {table}" for table in self.tables for trigger in TRIGGERS]
        return [*dropped, _cleared(self.function, self.outbox)]


def script(statements: Iterable[str]) -> str:
    """A file for psql: all of it or nothing."""
    return ";\n\n".join(("BEGIN", *statements, "COMMIT")) + ";\n"


def _outbox(outbox: TableName) -> list[str]:
    """Columns as the tracker has them; `tags` is its own, the others are the triggers'."""
    made = f"""\
DO {
        _dollar(
            f'''
BEGIN
    IF to_regclass({_literal(outbox)}) IS NULL THEN
        CREATE TABLE {outbox} (
            id varchar(32) PRIMARY KEY,
            tags text,
            table_schema text,
            table_name text,
            operation text,
            old_rows text,
            new_rows text
        );
        COMMENT ON TABLE {outbox} IS '{_MADE_HERE}';
    END IF;
END
'''
        )
    }"""
    return [made]


def _function(function: TableName, outbox: TableName, max_rows: int, notify: bool) -> str:
    # A star in place of the alias: a column may bear the alias' name. JSON in place of jsonb: that is written without being
    # parsed, and jsonb refuses what a json column may hold. The rows are measured before any text is made of them.
    body = f"""
DECLARE
    counted bigint;
    counted_old bigint;
    size bigint := 0;
    size_old bigint := 0;
    old_images text;
    new_images text;
BEGIN
    IF TG_OP <> 'TRUNCATE' THEN
        IF TG_OP <> 'DELETE' THEN
            SELECT count(*), coalesce(sum(pg_column_size(part.*)), 0) INTO counted, size
            FROM (SELECT * FROM rcache_new LIMIT {max_rows + 1}) AS part;
        END IF;
        IF TG_OP <> 'INSERT' THEN
            SELECT count(*), coalesce(sum(pg_column_size(part.*)), 0) INTO counted_old, size_old
            FROM (SELECT * FROM rcache_old LIMIT {max_rows + 1}) AS part;
        END IF;
        counted := coalesce(counted, counted_old);
        IF counted = 0 THEN
            RETURN NULL;
        END IF;
        IF counted <= {max_rows} AND size + size_old <= {MOST_BYTES} THEN
            IF TG_OP <> 'INSERT' THEN
                SELECT json_agg(rcache_old.*)::text INTO old_images FROM rcache_old;
            END IF;
            IF TG_OP <> 'DELETE' THEN
                SELECT json_agg(rcache_new.*)::text INTO new_images FROM rcache_new;
            END IF;
        END IF;
    END IF;
    INSERT INTO {outbox} (id, table_schema, table_name, operation, old_rows, new_rows) VALUES (
        replace(gen_random_uuid()::text, '-', ''), TG_TABLE_SCHEMA, TG_TABLE_NAME, lower(TG_OP), old_images, new_images
    );{_NOTIFY if notify else ""}
    RETURN NULL;
END
"""  # noqa: S608 (numbers and quoted names)
    return f"""\
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {_dollar(body)}"""


# A transaction that has notified cannot be prepared.
_NOTIFY: Final = f"""
    IF current_setting('max_prepared_transactions') = '0' THEN
        NOTIFY {OUTBOX};
    END IF;"""


def _triggers(table: TableName, function: TableName) -> list[str]:
    old, new = "OLD TABLE AS rcache_old", "NEW TABLE AS rcache_new"
    shown = {"INSERT": new, "UPDATE": f"{old} {new}", "DELETE": old, "TRUNCATE": ""}
    return [
        f"CREATE OR REPLACE TRIGGER rcache_{event.lower()} AFTER {event} ON {table}\n"
        + (f"REFERENCING {tables} " if tables else "")
        + f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        for event, tables in shown.items()
    ]


def _cleared(function: TableName, outbox: TableName) -> str:
    return f"""\
DO {
        _dollar(
            f'''
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgfoid = to_regprocedure({_literal(f"{function}()")})) THEN
        RETURN;
    END IF;
    DROP FUNCTION IF EXISTS {function}();
    IF obj_description(to_regclass({_literal(outbox)}), 'pg_class') = '{_MADE_HERE}' THEN
        DROP TABLE {outbox};
    END IF;
END
'''
        )
    }"""


def _literal(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"


def _dollar(body: str) -> str:
    """The body between dollar quotes that it does not hold itself."""
    mark = "$rcache$"
    while mark in body:
        mark = f"{mark[:-1]}_$"
    return f"{mark}{body}{mark}"
