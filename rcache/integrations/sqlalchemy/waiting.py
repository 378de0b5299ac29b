"""One way to the store for code with an event loop and code without: SQLAlchemy's hooks are plain functions in both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

T = TypeVar("T")


def carry_out(is_async: bool, awaited: Callable[[], Awaitable[T]], blocking: Callable[[], T]) -> T:
    """The result; under an AsyncSession the event loop goes on meanwhile, elsewhere none is touched."""
    if is_async and in_greenlet():
        result: Any = await_only(awaited())
        return result  # type: ignore[no-any-return]
    return blocking()
