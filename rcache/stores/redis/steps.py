"""What is asked of Redis, told without saying how it travels: by one connection or many, on an event loop or without one."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, TypeVar

from rcache.stores.redis.scripts import Script

S = TypeVar("S")
T = TypeVar("T")


class Step(NamedTuple):
    """A script to be carried out."""

    script: Script
    keys: tuple[bytes, ...]
    arguments: tuple[bytes, ...]

    @property
    def command(self) -> bytes:
        """The packed command."""
        return self.script.call(len(self.keys), *self.keys, *self.arguments)


Steps = Generator[S | float, Any, T]
"""Steps that follow from the replies to those before; a number is for how many seconds to wait."""
