"""The scripts that Redis carries out: files with their contract on top, fragments spliced in where a line says so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Final, NamedTuple

_INCLUDE: Final = re.compile(r"^--@include ([\w/]+)$", re.MULTILINE)


def pack(parts: Sequence[bytes]) -> bytes:
    """A command as the protocol wants it. Much quicker than the driver's, which also takes what is not bytes."""
    return b"*%d\r\n%b" % (len(parts), b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]))


class Script(NamedTuple):
    """A script's source, and the digest under which Redis keeps it."""

    source: bytes
    sha: bytes

    def call(self, keys: int, *arguments: bytes) -> bytes:
        """The packed command that carries it out; the first `keys` arguments are keys."""
        return pack((b"EVALSHA", self.sha, b"%d" % keys, *arguments))


def read(name: str) -> str:
    """The source of `lua/<name>.lua`, complete."""
    return spliced((files(__package__) / "lua" / f"{name}.lua").read_text(encoding="utf-8"))


def spliced(text: str) -> str:
    """A source with its fragments in place."""
    return _INCLUDE.sub(lambda line: read(line[1]), text)


def script(source: str) -> Script:
    """A script of that source."""
    encoded = source.encode()
    return Script(encoded, sha1(encoded, usedforsecurity=False).hexdigest().encode())


LOOKUP: Final = script(read("lookup"))
STORE: Final = script(read("store"))
PURGE: Final = script(read("purge"))
SOFTEN: Final = script(read("soften"))
FLUSH: Final = script(read("flush"))
HOLD: Final = script(read("hold"))
RELEASE: Final = script(read("release"))
REPAIR: Final = script(read("repair"))
SWEEP: Final = script(read("sweep"))
JOIN: Final = script(read("join"))
RENEW: Final = script(read("renew"))
TABLE: Final = script(read("table"))
STRIKE: Final = script(read("strike"))
LEASE: Final = script(read("lease"))
AWAIT: Final = script(read("await"))
PROLONG: Final = script(read("prolong"))
SETTLE: Final = script(read("settle"))
TELL: Final = script(read("tell"))
ENTER: Final = script(read("enter"))
RIGHTS: Final = script(read("rights"))
REPORT: Final = script(read("report"))
DEPART: Final = script(read("depart"))
JUDGE_HERE: Final = script(read("judge"))

# On a Cluster
SEEK: Final = script(read("cluster/seek"))
SEQUENCE: Final = script(read("cluster/sequence"))
JUDGE: Final = script(read("cluster/judge"))
ENROL: Final = script(read("cluster/enrol"))
KEEP: Final = script(read("cluster/keep"))
REGISTER: Final = script(read("cluster/register"))
NUMBER: Final = script(read("cluster/number"))
MARK: Final = script(read("cluster/mark"))
SOFTEN_SHARD: Final = script(read("cluster/soften"))
RECORD: Final = script(read("cluster/record"))
PLACE: Final = script(read("cluster/place"))
LIFT: Final = script(read("cluster/lift"))
OUTDATE: Final = script(read("cluster/outdate"))
RECKON: Final = script(read("cluster/reckon"))
TEND: Final = script(read("cluster/tend"))
BEAR: Final = script(read("cluster/bear"))
HAND_OVER: Final = script(read("cluster/hand_over"))
GATHER: Final = script(read("cluster/gather"))
FREE: Final = script(read("cluster/free"))
