"""Sessions that are older than what is being gathered.

What such a session has loaded it hands out again without asking the database, or asks and keeps its own older values: nobody
sees that it was read. So an answer that a session took part in which held loaded objects before is not stored.
"""

from __future__ import annotations

from typing import Any, Final
from weakref import ref

from sqlalchemy import Connection, event
from sqlalchemy import inspect as inspected
from sqlalchemy.orm import Session

from rcache.core.reads import Reads

OLDER: Final = "a session that had loaded objects before"

_SESSION: Final = "rcache_session"
"""Where a connection keeps whose it is."""
_SEEN: Final = "rcache_seen_by"
"""Where a session keeps which gatherings have looked at it last."""


class Sessions:
    """Knows which session sends statements on which connection."""

    def __init__(self) -> None:
        self._users = 0

    def add(self) -> None:
        """Somebody wants to know."""
        if self._users == 0:
            event.listen(Session, "after_begin", _on_begin)
        self._users += 1

    def remove(self) -> None:
        """No more."""
        self._users -= 1
        if self._users == 0:
            event.remove(Session, "after_begin", _on_begin)


def _on_begin(session: Session, transaction: Any, connection: Connection) -> None:
    connection.info[_SESSION] = ref(session), ref(connection)


def look(connection: Connection, reads: Reads) -> None:
    """Refuses where the connection's session had objects before its first statement in this gathering.

    What had begun around it before has seen them being loaded.
    """
    session, owner = connection.info.get(_SESSION, (None, None))
    if session is None or owner() is not connection:  # nobody's, or that of a session before
        return
    found = session()
    if found is None:
        return
    seen: tuple[Reads, ...] = found.info.get(_SEEN, ())
    if reads in seen:
        return
    found.info[_SEEN] = reads.around
    if any(not inspected(each).expired for each in found.identity_map.values()):
        reads.refuse(OLDER, seen_by=seen)


sessions = Sessions()
"""The process's own: sessions belong to no engine."""
