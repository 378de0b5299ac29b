"""Shapes of transactions, each around any write: those that commit it, and those that do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from tests.integrations.sqlalchemy.harness import World, Write


class Shape(NamedTuple):
    """How a write is carried out, and on which drivers that can be done; None: on all."""

    carry_out: Callable[[World, Write], Any]
    commits: bool
    drivers: frozenset[str] | None = None


SHAPES: dict[str, Shape] = {}
TWO_PHASE = frozenset(("psycopg", "pymysql"))
"""SQLite and asyncpg have none, and an AsyncSession offers none."""


class ChangedMindError(Exception):
    """Raised in a transaction, which ends it."""


def of_session(*, commits: bool, drivers: frozenset[str] | None = None, **options: Any) -> Any:
    """A shape of a session that is opened for it."""

    def note(ending: Callable[[Session, Write], None]) -> Any:
        SHAPES[ending.__name__] = Shape(
            lambda world, write: world.run(lambda s: ending(s, write), **options), commits, drivers
        )
        return ending

    return note


def of_connection(*, commits: bool) -> Any:
    """A shape of sessions on one connection."""

    def note(ending: Callable[[Any, Write], None]) -> Any:
        SHAPES[ending.__name__] = Shape(
            lambda world, write: world.run_on_connection(lambda c: ending(c, write)), commits
        )
        return ending

    return note


@of_session(commits=True)
def committed(s: Session, write: Write) -> None:
    write(s)
    s.commit()


@of_session(commits=True)
def in_a_block(s: Session, write: Write) -> None:
    with s.begin():
        write(s)


@of_session(commits=True)
def released(s: Session, write: Write) -> None:
    with s.begin_nested():
        write(s)
    s.commit()


@of_session(commits=True)
def released_twice(s: Session, write: Write) -> None:
    with s.begin_nested(), s.begin_nested():
        write(s)
    s.commit()


@of_session(commits=True)
def serializable(s: Session, write: Write) -> None:
    s.connection(execution_options={"isolation_level": "SERIALIZABLE"})
    write(s)
    s.commit()


@of_session(commits=True, drivers=TWO_PHASE, twophase=True)
def in_two_phases(s: Session, write: Write) -> None:
    write(s)
    s.commit()


@of_connection(commits=True)
def joined_by_a_savepoint(connection: Any, write: Write) -> None:
    with connection.begin(), Session(connection, join_transaction_mode="create_savepoint") as session:
        write(session)
        session.commit()


@of_connection(commits=True)
def joined_and_committed_outside(connection: Any, write: Write) -> None:
    with connection.begin(), Session(connection, join_transaction_mode="rollback_only") as session:
        write(session)
        session.commit()


@of_connection(commits=True)
def committed_by_another_session_of_the_connection(connection: Any, write: Write) -> None:
    one = Session(connection, join_transaction_mode="control_fully")
    other = Session(connection, join_transaction_mode="control_fully")
    write(one)
    one.flush()
    other.connection()
    other.commit()
    one.close()
    other.close()


# Nothing comes of it


@of_session(commits=False)
def rolled_back(s: Session, write: Write) -> None:
    write(s)
    s.flush()
    s.rollback()


@of_session(commits=False)
def closed(s: Session, write: Write) -> None:
    write(s)
    s.flush()


@of_session(commits=False)
def raised_in_a_block(s: Session, write: Write) -> None:
    try:
        with s.begin():
            write(s)
            s.flush()
            raise ChangedMindError
    except ChangedMindError:
        pass


@of_session(commits=False)
def savepoint_rolled_back(s: Session, write: Write) -> None:
    savepoint = s.begin_nested()
    write(s)
    s.flush()
    savepoint.rollback()
    s.commit()


@of_session(commits=False)
def inner_released_and_outer_rolled_back(s: Session, write: Write) -> None:
    outer = s.begin_nested()
    with s.begin_nested():
        write(s)
    outer.rollback()
    s.commit()


@of_session(commits=False, drivers=TWO_PHASE, twophase=True)
def prepared_and_rolled_back(s: Session, write: Write) -> None:
    write(s)
    s.flush()
    s.prepare()
    s.rollback()


@of_connection(commits=False)
def joined_and_rolled_back_outside(connection: Any, write: Write) -> None:
    transaction = connection.begin()
    with Session(connection, join_transaction_mode="create_savepoint") as session:
        write(session)
        session.commit()
    transaction.rollback()
