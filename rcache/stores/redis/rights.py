"""What the user of the URL must be allowed to do. Each connection asks first, so that an error can name what is missing."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import orjson
from redis import exceptions as driver

from rcache.stores.redis.scripts import RIGHTS, Script, pack

ALL: Final = "~rc:* +@all -@dangerous +info"
"""The rules of an access control list that allow everything rcache needs, in few words."""

KEYED: Final = {
    "DEL": (),
    "EXISTS": (),
    "GET": (),
    "HDEL": ("f",),
    "HEXISTS": ("f",),
    "HGET": ("f",),
    "HGETALL": (),
    "HINCRBY": ("f", "1"),
    "HMGET": ("f",),
    "HSET": ("f", "v"),
    "LINDEX": ("0",),
    "LPUSH": ("v",),
    "LTRIM": ("0", "1"),
    "PEXPIRE": ("1",),
    "PEXPIREAT": ("1", "NX"),
    "PTTL": (),
    "RPOP": (),
    "SET": ("v", "KEEPTTL"),
    "UNLINK": (),
    "XADD": ("MAXLEN", "~", "1", "1", "f", "v"),
    "XTRIM": ("MINID", "1"),
    "ZADD": ("GT", "1", "m"),
    "ZCARD": (),
    "ZMSCORE": ("m",),
    "ZRANGE": ("0", "0"),
    "ZREM": ("m",),
    "ZREMRANGEBYRANK": ("0", "0"),
    "ZSCORE": ("m",),
}
"""The commands that scripts run on a key, and what follows it."""

PLAIN: Final = {"TIME": (), "INFO": ("replication",)}
ON_CLUSTER: Final = {"ASKING": (), "CLUSTER SLOTS": ()}


class Rights:
    """What one store must be allowed to do; `key` is one of its namespace."""

    def __init__(self, key: str, *, is_cluster: bool = False) -> None:
        needed = {name: [name, key, *arguments] for name, arguments in KEYED.items()}
        needed["RENAME"] = ["RENAME", key, key]
        if is_cluster:
            needed["ZPOPMIN"] = ["ZPOPMIN", key]
        for name, arguments in {**PLAIN, **(ON_CLUSTER if is_cluster else {})}.items():
            needed[name] = [*name.split(), *arguments]
        self._names = list(needed)
        self.question = pack((b"EVAL", RIGHTS.source, b"0", orjson.dumps(list(needed.values()))))

    def check(self, reply: Any) -> None:
        """Raises the driver's NoPermissionError where the reply to the question names something."""
        if isinstance(reply, driver.RedisError):
            raise reply
        names = [self._names[position - 1] for position in reply]
        if set(KEYED) <= set(names):
            raise driver.NoPermissionError("no key")
        if names:
            raise driver.NoPermissionError(" ".join("'" + name.lower().replace(" ", "|") + "'" for name in names))


class Opening(NamedTuple):
    """What a connection begins with: the scripts that the server must know, and the question what is forbidden."""

    scripts: tuple[Script, ...]
    rights: Rights


def remedy(text: str) -> str:
    """What is missing by the words of an error, and the rules that allow it."""
    names = re.findall(r"'([a-z]+(?:\|[a-z]+)?)'", text)
    if "key" in text and not names:
        return f"its keys to the user of the URL: `ACL SETUSER ... ~rc:*` allows them ({ALL} is all it needs)"
    rules = " ".join(f"+{name}" for name in names) or ALL
    what = ", ".join(name.upper().replace("|", " ") for name in names) or f"what rcache needs ({text})"
    return f"{what} to the user of the URL: `ACL SETUSER ... {rules}` allows it ({ALL} is all it needs)"
