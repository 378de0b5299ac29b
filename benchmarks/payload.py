"""What every row serves: forty items as JSON, the same bytes from all of them."""

from __future__ import annotations

import json
from typing import Any, Final

PATH: Final = "/items"

ITEMS: Final[list[dict[str, Any]]] = [
    {
        "id": number,
        "name": f"Article number {number}",
        "price": number + 0.5,
        "in_stock": number % 3 != 0,
        "labels": ["kitchen", "garden", "garage"][: number % 4],
    }
    for number in range(1, 41)
]

BODY: Final = json.dumps(ITEMS, separators=(",", ":")).encode()
HEADERS: Final = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
HIT_FIELDS: Final = [
    (b"etag", b'"rY2nXc9J0bqkq3m4V2Vb2w"'),
    (b"age", b"3"),
    (b"cache-status", b"rcache; hit; ttl=3597"),
]
"""What rcache adds to an answer from the cache; a server takes its time for each field that it writes."""
