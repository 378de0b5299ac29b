"""Whether the SQLAlchemy at hand is one that this was written for: tried out at start-up, on statements whose answers are known.

Plans look at how SQLAlchemy writes statements down, which it may do otherwise one day. Where the answers are not the known ones,
statements are told by their words alone: every table that they name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from sqlalchemy import Column, Dialect, ForeignKey, Integer, MetaData, Table, exists, func, or_, select
from sqlalchemy.orm import joinedload, registry, relationship

from rcache import logs
from rcache.core.reads import Reads
from rcache.core.schemes import Scheme
from rcache.integrations.sqlalchemy.reads.plan import plan_of

_familiar: dict[tuple[str, type[Any]], bool] = {}


def is_familiar(dialect: Dialect) -> bool:
    """Whether plans can be made for this dialect; where they cannot, that is logged once."""
    key = (dialect.name, type(dialect))
    if key not in _familiar:
        problem = _problem(dialect)
        _familiar[key] = problem is None
        if problem is not None:
            logs.UNFAMILIAR.tell(error=problem)
    return _familiar[key]


def _problem(dialect: Dialect) -> str | None:
    for name, (statement, expected) in _trials().items():
        reads = Reads()
        try:
            compiled = statement.compile(dialect=dialect)
            plan_of(compiled, _Tables()).tell(reads, compiled.construct_params(), is_enforced=True)
        except Exception as error:
            return f"{name}: {error!r}"
        wanted = Reads()
        expected(wanted)
        if (reads.tags, list(reads.refused)) != (wanted.tags, list(wanted.refused)):
            return f"{name}: {sorted(reads.tags)}, not {sorted(wanted.tags)}"
    return None


class _Author:
    """A row of the table that is joined."""


class _Book:
    """A row that refers to one."""


_metadata = MetaData()
_authors = Table("a", _metadata, Column("id", Integer, primary_key=True), Column("rank", Integer))
_books = Table(
    "b",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("author_id", ForeignKey("a.id")),
    Column("kind", Integer),
    Column("size", Integer),
)


class _Tables:
    """What is known where there are these two tables alone."""

    def table(self, element: Any) -> Table | None:
        return _metadata.tables.get(element.name)

    def tables(self) -> Iterable[Table]:
        return _metadata.tables.values()

    def tag(self, table: Table) -> str:
        return table.name

    def behind(self, name: str) -> None:
        return None

    def behind_function(self, name: str) -> None:
        return None

    def is_view(self, name: str) -> bool:
        return False


@cache
def _trials() -> dict[str, tuple[Any, Callable[[Reads], None]]]:
    """Statements, and what they depend on."""
    mapped = registry()
    mapped.map_imperatively(_Author, _authors)
    mapped.map_imperatively(_Book, _books, properties={"author": relationship(_Author)})
    a, b = _authors.c, _books.c
    lone = select(func.max(b.size)).scalar_subquery()
    joined = _books.outerjoin(_authors, (a.id == b.author_id) & (a.rank == 4))
    return {
        "equality": (
            select(b.kind).where(b.author_id == 5, b.size > 2),
            _asks(("b", {"author_id": 5}, "author_id kind size")),
        ),
        "alternatives": (
            select(b.id).where(or_(b.author_id.in_([1, 2]), b.kind.is_(None))),
            _asks(
                ("b", {"author_id": 1}, "id author_id kind"),
                ("b", {"author_id": 2}, "id author_id kind"),
                ("b", {"kind": None}, "id author_id kind"),
            ),
        ),
        "an inner join": (
            select(b.kind).join_from(_books, _authors, a.id == b.author_id).where(a.id == 5),
            _asks(("b", {"author_id": 5}, "author_id kind"), ("a", {"id": 5}, "id")),
        ),
        "an outer join": (
            select(b.id).select_from(joined).where(b.size == 1, a.rank.is_(None)),
            _asks(("b", {"size": 1}, "id size author_id"), ("a", {"rank": 4}, None)),
        ),
        "existence": (
            select(a.id).where(exists().where(b.author_id == a.id, b.kind == 6)),
            _asks(("a", {}, "id"), ("b", {"kind": 6}, "author_id kind")),
        ),
        "a subquery of its own": (
            select(b.id).where(b.size == lone, b.author_id == 1),
            _asks(("b", {"author_id": 1}, "id size author_id"), ("b", {}, "id size author_id")),
        ),
        "a count": (select(func.count()).select_from(_books), _asks(("b", {}, ""))),
        "an unknown function": (select(func.strange(a.id)), _asks(("a", {}, "id"), refused="function strange")),
        "loaded rows": (
            select(_Book).options(joinedload(_Book.author)).where(b.size == 3),  # type: ignore[attr-defined]
            _asks(("b", {"size": 3}, None)),
        ),
    }


def _asks(*asked: tuple[str, dict[str, object], str | None], refused: str = "") -> Callable[[Reads], None]:
    def expect(reads: Reads) -> None:
        for table, values, used in asked:
            columns = None if used is None else frozenset(used.split())
            reads.rows(Scheme(table, tuple(sorted(values)), columns), values)
        if refused:
            reads.refuse(refused)

    return expect
