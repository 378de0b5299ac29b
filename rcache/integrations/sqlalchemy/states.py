"""What a connection's driver says of its transaction; SQLAlchemy itself does not know in every mode."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Dialect

from rcache.integrations.sqlalchemy.images import OWN

_IDLE: Final = 0  # PQTRANS_IDLE
_IN_TRANSACTION: Final = 1  # SERVER_STATUS_IN_TRANS
_REFUSALS: Final = ("23", "40", "P0")
_UNKNOWN: Final = "40003"  # statement_completion_unknown


def in_transaction(connection: Connection) -> bool:
    """Whether the database has a transaction open for this connection."""
    driver: Any = connection.connection.driver_connection
    said = getattr(driver, "in_transaction", None)  # sqlite3, aiosqlite
    if said is None and hasattr(driver, "is_in_transaction"):  # asyncpg
        said = driver.is_in_transaction()
    if said is None and hasattr(driver, "info"):  # psycopg
        said = getattr(driver.info, "transaction_status", _IDLE) != _IDLE
    if said is None and isinstance(status := getattr(driver, "server_status", None), int):  # pymysql, asyncmy
        said = bool(status & _IN_TRANSACTION)
    return bool(said)


def commits_by_itself(connection: Connection) -> bool:
    """Whether the next statement is committed as soon as it has run."""
    level = connection.get_execution_options().get(
        "isolation_level", getattr(connection.dialect, "_on_connect_isolation_level", None)
    )
    return (level == "AUTOCOMMIT" or _driver_does(connection)) and not in_transaction(connection)


def _driver_does(connection: Connection) -> bool:
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        return getattr(driver, "isolation_level", "") is None and getattr(driver, "autocommit", True) is not False
    if connection.dialect.driver == "asyncpg":  # its transaction is an object, which a COMMIT in text form does not end
        return getattr(connection.connection.dbapi_connection, "_transaction", None) is not None
    return getattr(driver, "autocommit", False) is True


def was_refused(dialect: Dialect, error: BaseException) -> bool:
    """Whether the database has answered a COMMIT with an error that says it was rolled back: a constraint, a conflict."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return dialect.name == "postgresql" and isinstance(state, str) and state.startswith(_REFUSALS) and state != _UNKNOWN


def begin_writing(connection: Connection) -> None:
    """On SQLite the write lock is taken before the first image: there is none for a row, and a SELECT opens no transaction."""
    _begin(connection, "BEGIN IMMEDIATE")


def begin(connection: Connection) -> None:
    """On SQLite a savepoint is in a transaction: the driver opens none for it, and then its release would be the COMMIT."""
    _begin(connection, "BEGIN")


def _begin(connection: Connection, statement: str) -> None:
    if connection.dialect.name == "sqlite" and not in_transaction(connection):
        connection.exec_driver_sql(statement, execution_options={OWN: True})
