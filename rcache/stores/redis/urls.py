"""Reads from a URL, or from a ready client, where Redis is: one server, behind sentinels, or a Cluster."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Final, NamedTuple, cast
from urllib.parse import parse_qs, unquote, urlencode

from redis import asyncio as aredis
from redis.asyncio.connection import URL_QUERY_ARGUMENT_PARSERS, parse_url
from redis.asyncio.sentinel import SentinelConnectionPool

from rcache.core.errors import ConfigurationError
from rcache.stores.redis.address import Address, is_kept
from rcache.stores.redis.credentials import PasswordFile


class Watched(NamedTuple):
    """A primary that sentinels know by the name of its service; `server` tells how to enter it."""

    sentinels: tuple[Address, ...]
    service: str
    server: Address


class Sharded(NamedTuple):
    """A Redis Cluster, and the nodes that tell about the others."""

    seeds: tuple[Address, ...]


Place = Address | Watched | Sharded
Source = str | aredis.Redis | aredis.RedisCluster | Place

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:\[\],@]+)(?::([0-9]{1,5}))?")
_DB: Final = re.compile(r"[0-9]*")
_SENTINEL_PORT: Final = 26379
_OURS: Final = frozenset({"password_file", "sentinel_username", "sentinel_password", "sentinel_password_file"})
_IGNORED: Final = frozenset({"decode_responses", "encoding", "encoding_errors", "lib_name", "lib_version"})
_TLS: Final = tuple(
    f"ssl_{name}"
    for name in (
        *("ca_certs", "ca_data", "ca_path", "cert_reqs", "certfile", "check_hostname", "ciphers", "keyfile"),
        *("min_version", "password", "exclude_verify_flags", "include_verify_flags"),
    )
)
_ESCAPES: Final = (
    "write / ? # : and @ of a password as %2F %3F %23 %3A and %40"  # messages show no piece of a URL that may be one
)
_HELP: Final = (
    "write redis://host:6379/0, redis+sentinel://host:26379,other:26379/service/0 or redis+cluster://host:7000,other:7001,"
    " with rediss in place of redis for TLS, or unix:///path"
)


def located(source: Source) -> Place:
    """Where `source` says that Redis is. Raises ConfigurationError with the remedy."""
    if isinstance(source, Address | Watched | Sharded):
        return source
    if isinstance(source, str):
        return _from_url(source)
    if isinstance(source, aredis.RedisCluster):
        return _from_cluster_client(source)
    return _from_client(source)


class _Url(NamedTuple):
    """The parts of a URL that lists servers."""

    scheme: str
    user: str  # with its @
    hosts: str
    path: str
    query: dict[str, str]


def _from_url(url: str) -> Place:
    scheme, mark, rest = url.partition("://")
    protocol, _, topology = scheme.partition("+")
    if not mark or (protocol, topology) not in _SCHEMES:
        raise ConfigurationError(f"{_shown(url)} is not a URL of Redis: {_HELP}")
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    user, _, hosts = authority.rpartition("@")
    parts = _Url(protocol, f"{user}@" if user else "", hosts, slash + path, _options(query))
    return _SCHEMES[protocol, topology](parts)


def _options(query: str) -> dict[str, str]:
    options = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
    known = sorted({*_OURS, *_IGNORED, *_TLS, *URL_QUERY_ARGUMENT_PARSERS, "client_name", "username", "password"})
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            remedy = f"did you mean {near[0]}?" if near else "leave it out"
            shown = repr(name) if name.isidentifier() else "after its ?"
            raise ConfigurationError(f"the URL of Redis has an option {shown} that nobody knows: {remedy}")
    return options


def _single(url: _Url) -> Address:
    if url.scheme == "unix" and not url.path.strip("/"):
        raise ConfigurationError("unix:// needs the path of the socket: write unix:///run/redis.sock")
    if "," in url.hosts:
        raise ConfigurationError(
            "redis:// takes one server: write redis+cluster:// for the nodes of a Cluster, redis+sentinel:// for sentinels"
        )
    db = url.path.strip("/")
    if url.scheme != "unix" and not _DB.fullmatch(db):
        raise ConfigurationError(
            f"what follows the host is no number of a database: write redis://host:6379/0 (and {_ESCAPES})"
        )
    return _address(url, url.hosts, url.path)


def _watched(url: _Url) -> Watched:
    service, _, db = url.path.strip("/").partition("/")
    if not service:
        raise ConfigurationError(
            "the URL does not say which service the sentinels are to be asked for: write it after the hosts, as in"
            " redis+sentinel://host:26379,other:26379/mymaster/0"
        )
    if not _DB.fullmatch(db):
        raise ConfigurationError(
            f"what follows the service is no number of a database: write redis+sentinel://host:26379/mymaster/0 (and {_ESCAPES})"
        )
    own = {
        name.removeprefix("sentinel_"): url.query[name] for name in _OURS & url.query.keys() if name.startswith("sent")
    }
    theirs = {name: value for name, value in url.query.items() if name.startswith("ssl_")} | own
    asked = url._replace(user="", query=theirs)
    sentinels = tuple(_address(asked, f"{host}:{port or _SENTINEL_PORT}", "") for host, port in _hosts(url))
    server = _address(url, "localhost", f"/{db or 0}")  # the sentinels tell where it is
    return Watched(sentinels, unquote(service), server)


def _sharded(url: _Url) -> Sharded:
    if url.path.strip("/") not in ("", "0") or url.query.get("db", "0") != "0":
        raise ConfigurationError(
            "a Redis Cluster has database 0 only: leave the number out, and use namespace= instead"
        )
    return Sharded(tuple(_address(url, f"{host}:{port or 6379}", "") for host, port in _hosts(url)))


_SCHEMES: Final[dict[tuple[str, str], Callable[[_Url], Place]]] = {
    ("redis", ""): _single,
    ("rediss", ""): _single,
    ("unix", ""): _single,
    ("redis", "sentinel"): _watched,
    ("rediss", "sentinel"): _watched,
    ("redis", "cluster"): _sharded,
    ("rediss", "cluster"): _sharded,
}


def _hosts(url: _Url) -> list[tuple[str, int | None]]:
    found = []
    for position, text in enumerate(url.hosts.split(","), 1):
        match = _HOST.fullmatch(text.strip())
        if match is None:
            raise ConfigurationError(
                f"host {position} of the URL of Redis is not one with its port: list them as host:7000,other:7001"
                f" ([::1]:7000 for IPv6, and {_ESCAPES})"
            )
        found.append((match[1], int(match[2]) if match[2] else None))
    return found


def _address(url: _Url, host: str, path: str) -> Address:
    """The address of one server, for which the driver knows how to read its options."""
    query = urlencode({name: value for name, value in url.query.items() if name not in _OURS})
    try:
        options = dict(parse_url(f"{url.scheme}://{url.user}{host}{path}?{query}"))
    except ValueError as error:
        if "Port" in str(error):  # the driver's words may hold a piece of a password
            raise ConfigurationError(
                f"the URL of Redis has a port that is no number from 1 to 65535 (write {_ESCAPES})"
            ) from None
        raise ConfigurationError(f"the URL of Redis cannot be read ({error}): {_HELP}") from error
    file = url.query.get("password_file")
    if file is not None:
        if "password" in options:
            raise ConfigurationError("the URL of Redis has a password and a password_file: leave one of them out")
        options["credential_provider"] = PasswordFile(file, cast("str | None", options.pop("username", None)))
    kind = cast("type", options.pop("connection_class", aredis.Connection))
    return Address(kind, options)


def _shown(url: str) -> str:
    """What of a URL holds no password."""
    scheme, mark, _ = url.partition("://")
    return repr(f"{scheme}{mark}..." if mark else url.rpartition("@")[2])


# Ready clients


def _from_client(client: object) -> Address | Watched:
    pool = getattr(client, "connection_pool", None)
    if not isinstance(client, aredis.Redis) or pool is None:
        raise ConfigurationError(
            "pass a URL of Redis, a redis.asyncio.Redis (also one that a Sentinel made), or a redis.asyncio.RedisCluster"
        )
    options = {name: value for name, value in pool.connection_kwargs.items() if is_kept(name)}
    if not isinstance(pool, SentinelConnectionPool):
        return Address(pool.connection_class, options)
    if not pool.is_master:
        raise ConfigurationError("replicas lag behind purges: pass the client that Sentinel.master_for() makes")
    manager = pool.sentinel_manager
    sentinels = tuple(
        Address(each.connection_pool.connection_class, each.connection_pool.connection_kwargs)
        for each in manager.sentinels
    )
    kind = aredis.SSLConnection if issubclass(pool.connection_class, aredis.SSLConnection) else aredis.Connection
    return Watched(sentinels, pool.service_name, Address(kind, options))


def _from_cluster_client(client: aredis.RedisCluster) -> Sharded:
    nodes = client.nodes_manager.startup_nodes.values()
    return Sharded(tuple(Address(node.connection_class, node.connection_kwargs) for node in nodes))
