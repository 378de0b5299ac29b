"""`rcache doctor`: whether everything is as it should be, and what to do where it is not."""

from __future__ import annotations

import asyncio
import platform
from importlib.metadata import version

import typer

import rcache
from rcache.cache import Cache
from rcache.cli.checks import Check, of_nodes, of_server, placed
from rcache.cli.main import CANNOT_WORK, DONE, FAILED
from rcache.cli.options import Where, takes
from rcache.cli.screen import Column, Part, Rows, Screen
from rcache.cli.words import several
from rcache.core.errors import BackendError
from rcache.engine.near_store import NearStore
from rcache.stores.redis.shared import SharedStore
from rcache.stores.redis.vitals import Vitals, vitals

PATIENCE = 2.0  # seconds that a server may take for an answer

STYLES = {"ok": "green", "finding": "red", "unknown": "yellow"}

CHECKS: tuple[Column[Check], ...] = (
    Column("", lambda row: row.state, style=lambda row: STYLES[row.state]),
    Column("check", lambda row: row.name if row.place is None else f"{row.name} ({row.place})"),
    Column("says", lambda row: row.says if row.remedy is None else f"{row.says}\n-> {row.remedy}"),
)


def add(app: typer.Typer) -> None:
    """`doctor`."""
    app.command()(takes(doctor))


async def doctor(*, where: Where, screen: Screen) -> int:
    """Look for what is wrong: Redis, permissions, memory, clocks, versions, nodes. 1 with a finding, 2 without a connection."""
    async with where.open() as cache:
        try:
            servers = await asyncio.to_thread(vitals, _store(cache), PATIENCE)
        except BackendError as error:
            checks = [Check("connection", "finding", str(error), _way_in(str(error))), *_here()]
            _show(checks, screen)
            return CANNOT_WORK
        checks = [*_of_servers(servers, cache.deadline), *_here(), *await _of_fleet(cache)]
    _show(checks, screen)
    return FAILED if any(check.state == "finding" for check in checks) else DONE


def _store(cache: Cache) -> SharedStore[object]:
    store = cache.store.store_behind if isinstance(cache.store, NearStore) else cache.store
    if not isinstance(store, SharedStore):
        raise TypeError(f"{type(store).__name__} is no store on Redis")
    return store


def _way_in(reason: str) -> str:
    if "password" in reason or "Authentication" in reason or "NOAUTH" in reason:
        return "correct the user and password of the URL (redis://user:password@host), or of its password_file"
    if "too old" in reason or "primary" in reason or "redis+cluster" in reason:
        return "see there"
    return "is it running, and is it where --url or RCACHE_URL says? Look at its port, its bind and the firewall"


def _of_servers(servers: list[Vitals], deadline: float) -> list[Check]:
    if len(servers) == 1:
        return of_server(servers[0], deadline)
    return [check for each in servers for check in placed(of_server(each, deadline), each.place)]


def _here() -> list[Check]:
    """What this process is made of."""
    says = f"rcache {rcache.__version__}, redis-py {version('redis')}, Python {platform.python_version()}"
    return [Check("here", "ok", says)]


async def _of_fleet(cache: Cache) -> list[Check]:
    try:
        return of_nodes(await cache.inspector.nodes(), rcache.__version__)
    except BackendError as error:
        return [Check("nodes", "unknown", str(error))]


def _show(checks: list[Check], screen: Screen) -> None:
    found = [check for check in checks if check.state == "finding"]
    note = f"{several(len(found), 'finding')}." if found else "Nothing is wrong."
    parts: list[Part] = [Rows("checks", checks, CHECKS, note=note)]
    screen.put(*parts)
