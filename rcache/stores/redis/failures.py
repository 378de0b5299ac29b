"""Translates what the driver raises, once, at the border."""

from __future__ import annotations

from typing import Any

from redis import exceptions as driver

from rcache.core.errors import BackendError
from rcache.stores.redis.rights import remedy

DRIVER_ERRORS = (driver.RedisError, OSError, TimeoutError, EOFError)
"""What the driver raises when a call got no answer that can be used."""

REPLICA = "this server is a replica, which may lag behind purges: point the URL at the primary"


class ReplicaError(BackendError):
    """The server is a replica: whoever led there leads elsewhere by now, or leads wrong."""


class UnwritableError(BackendError):
    """Redis takes no such write now, for want of memory or of replicas; it still answers."""


def translated(error: BaseException) -> BackendError:
    """The error that rcache raises for `error`, with the remedy where there is one."""
    if isinstance(error, BackendError):
        return error
    text = str(error)
    if isinstance(error, driver.OutOfMemoryError):
        return UnwritableError("Redis is full")
    if text.startswith("NOREPLICAS"):
        return UnwritableError("Redis has fewer replicas than its min-replicas-to-write, and takes no writes")
    if isinstance(error, driver.ReadOnlyError):
        return ReplicaError(f"Redis refused to write: {REPLICA}")
    if isinstance(error, driver.MovedError | driver.ClusterCrossSlotError):
        return BackendError("this server is a node of a Redis Cluster: write redis+cluster:// in place of redis://")
    if isinstance(error, driver.NoPermissionError) or is_forbidden(text):
        return BackendError(f"Redis does not permit {remedy(text)}")
    if isinstance(error, driver.AuthenticationError):
        return BackendError(f"Redis does not accept the user or password of the URL: {text}")
    if isinstance(error, driver.BusyLoadingError):
        return BackendError("Redis is still loading its data")
    if isinstance(error, driver.TimeoutError | TimeoutError):
        return BackendError(f"Redis did not answer in time: {text}")
    if "near '#'" in text:  # the first line of a script, which earlier versions take for Lua
        return BackendError("this Redis is too old: rcache needs Redis 7.0 or later, or Valkey")
    if isinstance(error, driver.ResponseError):
        return BackendError(f"Redis answered with an error: {text}")
    return BackendError(f"Redis cannot be reached: {text}")


REFUSALS = (b"replica", b"forbidden")
"""Verdicts of scripts that ran where they must not, or could not find out where they run."""


def refusal(reply: list[Any]) -> BackendError:
    """What a verdict among REFUSALS means; the last item of the reply is the error that Redis gave."""
    if reply[0] == b"replica":
        return ReplicaError(f"Redis is not asked: {REPLICA}")
    return BackendError("Redis does not permit " + remedy("'info'"))


def is_forbidden(text: str) -> bool:
    """Whether Redis told a script that its user lacks a permission; scripts pass the text, not the error's code."""
    return "The user executing the script can't" in text or text.startswith("NOPERM")
