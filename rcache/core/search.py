"""The No-Vary-Search field (draft-ietf-httpbis-no-vary-search): which queries a cache outside may take for one.

The field says more than its words do. Whatever it holds, a cache that knows it compares queries parsed as forms: `a` and `a=`,
`%61` and `a`, `+` and `%20`, bytes that are no UTF-8, and empty parts all become equal, while `canonical_query` keeps their
spelling apart. So it is sent only where a rule names the parameters that count (`query=`): who says that an answer depends on
those says it of their values, as the application's framework parses them, and the frameworks parse as the draft does. Without
such a word nothing can be said, not even that the order is of no matter, since an application that reads the query as it
came may tell apart what is spelled differently.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

NO_VARY_SEARCH: Final = b"no-vary-search"


def no_vary_search(names: frozenset[bytes] | None) -> bytes | None:
    """The field for answers of a rule with `query=names` (UTF-8, not encoded); None where it could claim too much.

    It is true where the key tells queries apart by these names alone: not of a rule whose guard or key_by may read others.
    """
    if names is None:
        return None
    if not names:
        return b"params"
    # Percent-encoded, no name holds anything that a String would have to escape.
    listed = " ".join([f'"{quote(name, safe="")}"' for name in sorted(names)])
    return f"key-order, params, except=({listed})".encode()


def may_state(query: bytes) -> bool:
    """Whether an answer to this query may carry the field.

    The draft takes raw bytes beyond ASCII for UTF-8, Starlette reads them as Latin-1. They are no part of a URI (RFC 3986
    §2), so whoever sends them gets an answer that is not passed off as one to the same text encoded.
    """
    return query.isascii()
