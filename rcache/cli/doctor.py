"""`rcache doctor`: whether everything is as it should be, and what to do where it is not."""

from __future__ import annotations

import asyncio
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import typer

import rcache
from rcache.cache import Cache
from rcache.cli.checks import Check, of_nodes, of_server, of_settings, placed
from rcache.cli.main import CANNOT_WORK, DONE, FAILED
from rcache.cli.options import Where, takes
from rcache.cli.screen import Column, Rows, Screen
from rcache.cli.words import several
from rcache.core.errors import BackendError, ConfigurationError
from rcache.engine.near_store import NearStore
from rcache.settings import CODE, SettingRow

if TYPE_CHECKING:
    from rcache.stores.redis.vitals import Vitals

PATIENCE = 2.0  # seconds that a server may take for an answer

STYLES = {"ok": "green", "finding": "red", "unknown": "yellow"}

CHECKS: tuple[Column[Check], ...] = (
    Column("", lambda row: row.state, style=lambda row: STYLES[row.state]),
    Column("check", lambda row: row.name if row.place is None else f"{row.name} ({row.place})"),
    Column("says", lambda row: row.says if row.remedy is None else f"{row.says}\n-> {row.remedy}"),
)


SETTINGS: tuple[Column[SettingRow], ...] = (
    Column("setting", lambda row: row.name),
    Column("value", lambda row: _written(row.value)),
    Column("said by", lambda row: row.source),
)


def _written(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def add(app: typer.Typer) -> None:
    """`doctor`."""
    app.command()(takes(doctor))


async def doctor(
    *,
    settings: Annotated[
        bool, typer.Option("--settings", help="All settings in force, also those that nobody has said.")
    ] = False,
    where: Where,
    screen: Screen,
) -> int:
    """Look for what is wrong: Redis, permissions, memory, clocks, versions, nodes, settings.

    1 with a finding, 2 without a connection. What is in force is told with who said it.
    """
    async with where.open() as cache:
        checks = [*_here(), *of_settings(cache.settings.contradictions())]
        try:
            servers = await asyncio.to_thread(_vitals, cache)
            checks = [*_of_servers(servers, cache.deadline), *checks, *await _of_fleet(cache)]
            is_connected = True
        except BackendError as error:
            checks = [Check("connection", "finding", str(error), _way_in(str(error))), *checks]
            is_connected = False
    _show(checks, _in_force(cache, where), screen, are_all_told=settings)
    if not is_connected:
        return CANNOT_WORK
    return FAILED if any(check.state == "finding" for check in checks) else DONE


async def refuse_unwritable(cache: Cache) -> None:
    """Returns where Redis takes writes. Raises BackendError with the cause and the remedy where it does not."""
    for server in await asyncio.to_thread(_vitals, cache):
        for check in of_server(server, cache.deadline):
            if check.name in _WRITABLE and check.state == "finding":
                raise BackendError(f"{check.says}: {check.remedy}")


_WRITABLE = frozenset(("version", "role", "permissions"))


def _vitals(cache: Cache) -> list[Vitals]:
    from rcache.stores.redis.shared import SharedStore
    from rcache.stores.redis.vitals import vitals

    store = cache.store.store_behind if isinstance(cache.store, NearStore) else cache.store
    if not isinstance(store, SharedStore):
        raise ConfigurationError(f"{type(store).__name__} is no store on Redis: there is nothing here to examine")
    return vitals(store, PATIENCE)


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


def _in_force(cache: Cache, where: Where) -> list[SettingRow]:
    """What is in force, and who said it: here code is the command line, unless the cache is the application's."""
    rows = cache.settings.rows()
    if where.cache is not None:
        return rows
    return [row._replace(source="command line") if row.source == CODE else row for row in rows]


def _show(checks: list[Check], rows: list[SettingRow], screen: Screen, *, are_all_told: bool) -> None:
    found = [check for check in checks if check.state == "finding"]
    note = f"{several(len(found), 'finding')}." if found else "Nothing is wrong."
    told = rows if are_all_told or screen.as_json else [row for row in rows if row.source != "default"]
    others = len(rows) - len(told)
    rest = f"{several(others, 'other')} by default: --settings" if others else None
    screen.put(
        Rows("checks", checks, CHECKS, note=note),
        Rows("settings", told, SETTINGS, "Settings in force", "all by default: --settings", rest),
    )
