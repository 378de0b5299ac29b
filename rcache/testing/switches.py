"""Caching switched off, and strict mode switched on, for applications that are there already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from rcache.asgi.middleware import CacheMiddleware
from rcache.asgi.plan import Plan


@contextmanager
def disable() -> Iterator[None]:
    """In this block every request to every CacheMiddleware of the process passes, as if there were no cache. Purges are sent.

    `RCACHE_ENABLED=0` does it for a whole run.
    """
    with patch.object(CacheMiddleware, "__call__", CacheMiddleware.pass_everything):
        yield


@contextmanager
def strict() -> Iterator[None]:
    """In this block every cached endpoint that runs raises StrictError where it reads what its key or its tags do not tell.

    What is answered from the cache does not run: begin with an empty one. `RCACHE_STRICT=1` does it for a whole run.
    """
    with patch.object(Plan, "is_strict", _Always(), create=True):
        yield


class _Always:
    """Stands before the attribute of every plan, and keeps what is set there for afterwards."""

    def __get__(self, plan: Plan | None, owner: type[Plan]) -> bool:
        return True

    def __set__(self, plan: Plan, value: bool) -> None:
        plan.__dict__["is_strict"] = value
