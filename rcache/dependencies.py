"""What a block of code depends on: seen by `capture`, and said by `depends_on` where nobody could see it."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import Token
from types import TracebackType
from typing import Any, Self

from rcache.cache import tag_name
from rcache.core.changes import Change, table_of
from rcache.core.reads import Reads
from rcache.core.schemes import Scheme
from rcache.current import request_scope
from rcache.engine.reading import current_reads, gathering


class Capture:
    """What a block depends on, as far as it has come: `with rcache.capture() as seen:`, or `async with`."""

    def __init__(self) -> None:
        self._reads = Reads()
        self._token: Token[Reads | None] | None = None

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags whose purge would flush an answer made of it, sorted."""
        return tuple(sorted(self._reads.tags))

    @property
    def refused(self) -> tuple[str, ...]:
        """Why an answer made of it would not be stored, in order; empty where it would."""
        return tuple(self._reads.refused)

    def explain(self) -> str:
        """The same in words, table by table."""
        lines = [f"it depends on {len(self.tags) or 'no'} {'tag' if len(self.tags) == 1 else 'tags'}"]
        by_table: dict[str, list[str]] = {}
        for tag in self.tags:
            table = table_of(tag)
            by_table.setdefault(table or tag, []).append(_in_words(tag, table))
        for table, each in sorted(by_table.items()):
            lines += [f"  {table}: {said}" for said in each]
        lines += [f"not to be stored: {reason}" for reason in self.refused]
        return "\n".join(lines)

    def __repr__(self) -> str:
        refused = f", refused: {', '.join(self.refused)}" if self.refused else ""
        return f"<Capture of {', '.join(self.tags) or 'nothing'}{refused}>"

    def __enter__(self) -> Self:
        self._reads = Reads(current_reads())
        self._token = gathering.set(self._reads)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._token is not None  # noqa: S101 (it was entered)
        gathering.reset(self._token)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


def _in_words(tag: str, table: str) -> str:
    if not table:
        return "anything"
    rest = tag[len(table) :]
    if rest.startswith(":"):
        return f"row {rest[1:]}"
    values, _, _ = rest[1:].partition("~")
    pieces = [piece if "=" in piece else f"{piece} NULL" for piece in values.split("&") if piece]
    return f"rows with {', '.join(pieces)}" if pieces else "its rows, as far as some columns go"


def capture() -> Capture:
    """Shows what a block of code depends on, inside or outside a request: `.tags`, `.refused`, `.explain()`.

    What tracked engines see counts, and what `tag`, `depends_on` and `depends_on_table` say. Where captures lie in one another, or
    in a cached endpoint, each of them sees it.
    """
    return Capture()


def depends_on(model: Any, /, *pk: object, **values: object) -> None:
    """The answer being made shows one row, or all rows with these values: what no tracked engine could see.

    - `model`: a class, a table, or a table's name.
    - `pk`: the row's primary key, several arguments where it is composite.
    - `values`: by column, `None` for NULL: rows that come to have them, or had them before, count as well.

    To be called anywhere under a cached endpoint, `auto` or not; elsewhere it does nothing. Raises TypeError where neither or
    both are given.
    """
    if bool(pk) == bool(values):
        raise TypeError(
            "depends_on() takes a primary key (depends_on('orders', 5)), or values (depends_on('orders', customer_id=5)); "
            "for anything about a table there is depends_on_table('orders')"
        )
    name = _name_in_tags(model)
    for reads in _interested():
        if pk:
            reads.row(name, pk)
        else:
            reads.rows(Scheme(name, tuple(sorted(values))), values)


def depends_on_table(*models: Any) -> None:
    """The answer being made shows anything of these tables or views, in whatever way: every write to one flushes it."""
    names = [_name_in_tags(model) for model in models]
    for reads in _interested():
        for name in names:
            reads.table(name)


def _interested() -> Iterable[Reads]:
    """Whoever gathers: the answer being made, also where its rule has not said `auto`, and captures."""
    reads, scope = current_reads(), request_scope.get()
    own = scope.reads if scope is not None else None
    return {id(each): each for each in (reads, own) if each is not None}.values()


def _name_in_tags(model: Any) -> str:
    """What the table is called in tags, by what the cache of this request was told of it."""
    if isinstance(model, str):
        name = model
    elif isinstance(model, type):
        return tag_name(model)
    else:
        name = model.name
    scope = request_scope.get()
    return name if scope is None else scope.cache.changes.describe(Change(name, None)).names[0]
