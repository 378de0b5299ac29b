"""What the servers behind a store say of themselves, for people: asked on connections of its own, and nothing is changed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import redis
from redis import exceptions as driver

from rcache.stores.redis.address import Address, Way
from rcache.stores.redis.cluster.store import ClusterStore
from rcache.stores.redis.failures import DRIVER_ERRORS, translated
from rcache.stores.redis.rights import Rights
from rcache.stores.redis.shared import SharedStore

PINGS = 5


@dataclass(frozen=True, slots=True)
class Vitals:
    """One server. What it does not tell is missing, or None."""

    place: str
    info: dict[str, str]  # the fields of INFO, as they stand there
    seconds: float  # that a trip takes
    ahead: float  # seconds by which its clock is ahead of this machine's
    forbidden: str | None  # what its user may not do
    least_replicas: int | None  # min-replicas-to-write
    cluster_state: str | None


def vitals(store: SharedStore[Any], timeout: float) -> list[Vitals]:
    """Those of the server, or of all masters of a Cluster. Raises BackendError where one cannot be reached."""
    is_cluster = isinstance(store, ClusterStore)
    rights = Rights(store.names.sequence, is_cluster=is_cluster)
    try:
        first = _asked(store.way, rights, timeout, is_cluster=is_cluster)
        if not isinstance(store, ClusterStore):
            return [first]
        # To find the server above, the Cluster was asked for its plan.
        return [_asked(each, rights, timeout, is_cluster=True) for each in store.masters]
    except DRIVER_ERRORS as error:
        raise translated(error) from error


def _asked(way: Way, rights: Rights, timeout: float, *, is_cluster: bool) -> Vitals:
    connection = way.sync_connection(timeout)
    try:
        connection.connect()  # type: ignore[no-untyped-call]
        trips = []
        for _ in range(PINGS):
            began = time.monotonic()
            _said(connection, "PING")
            trips.append(time.monotonic() - began)
        ahead = _ahead(connection)
        return Vitals(
            place=_place(way, connection),
            info=_info(connection),
            seconds=median(trips),
            ahead=ahead,
            forbidden=_forbidden(connection, rights),
            least_replicas=_least_replicas(connection),
            cluster_state=_cluster_state(connection) if is_cluster else None,
        )
    finally:
        connection.disconnect()  # type: ignore[no-untyped-call]


def _said(connection: redis.Connection, *words: str) -> Any:
    connection.send_command(*words)  # type: ignore[no-untyped-call]
    return connection.read_response(disable_decoding=True)


def _place(way: Way, connection: redis.Connection) -> str:
    if isinstance(way, Address):
        return way.place
    return f"{getattr(connection, 'host', '?')}:{getattr(connection, 'port', '?')}"


def _ahead(connection: redis.Connection) -> float:
    before = time.time()
    try:
        seconds, microseconds = _said(connection, "TIME")
    except driver.ResponseError:
        return 0.0
    return int(seconds) + int(microseconds) / 1e6 - (before + time.time()) / 2


def _info(connection: redis.Connection) -> dict[str, str]:
    try:
        lines = _said(connection, "INFO").decode("utf-8", "replace").splitlines()
    except driver.ResponseError:
        return {}
    pairs = (line.partition(":") for line in lines if ":" in line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def _forbidden(connection: redis.Connection, rights: Rights) -> str | None:
    connection.send_packed_command([rights.question])  # type: ignore[no-untyped-call]
    try:
        rights.check(connection.read_response(disable_decoding=True))
    except driver.NoPermissionError as error:
        return str(translated(error))
    except driver.ResponseError as error:  # a replica, or a version without ACLs in scripts, which is told elsewhere
        failure = translated(error)
        return str(failure) if "permit" in str(failure) else None
    return None


def _least_replicas(connection: redis.Connection) -> int | None:
    try:
        _, value = _said(connection, "CONFIG", "GET", "min-replicas-to-write")
        return int(value)
    except (driver.ResponseError, ValueError):  # CONFIG is one of the dangerous commands, which rcache does not need
        return None


def _cluster_state(connection: redis.Connection) -> str | None:
    try:
        lines = _said(connection, "CLUSTER", "INFO").decode().splitlines()
    except driver.ResponseError:
        return None
    return next((line.removeprefix("cluster_state:") for line in lines if line.startswith("cluster_state:")), None)
