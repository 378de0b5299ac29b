"""The dashboard's own style, script and picture: nothing comes from elsewhere."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

_KINDS: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOLDER: Final = Path(__file__).parent / "static"
_FILES: Final = {path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir()) if path.suffix in _KINDS}

DIGEST: Final = blake2b(b"".join(_FILES.values()), digest_size=8).hexdigest()
"""Part of their address, which is another one where they have changed."""


async def file(request: Request) -> Response:
    """One of the files."""
    name = request.path_params["name"]
    body = _FILES.get(name)
    if body is None or request.path_params["digest"] != DIGEST:
        raise HTTPException(404)
    # The browser's own copy only, and not for long: who may look may change.
    return Response(body, media_type=_KINDS[Path(name).suffix], headers={"Cache-Control": "private, max-age=3600"})
