"""Calls an application in-process, so that an answer is made and stored while nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Scope

from rcache import logs
from rcache.asgi.bodies import Reread
from rcache.asgi.errand import SEEN
from rcache.asgi.fill import never
from rcache.asgi.rendition import Outcome, Wish
from rcache.core.recipe import Recipe

MOST_RUNS: Final = 3
"""Runs of one render: what is purged all the time would be made all the time."""

AGENT: Final = b"rcache-warm"
"""What the application reads in User-Agent, unless the recipe has one."""


class Rendered(NamedTuple):
    """What became of a render; `detail` is the reason, for people."""

    outcome: Outcome
    detail: str = ""


class Renderer:
    """Renders what an application with a CacheMiddleware may store.

    `app` is the outermost application, so that every middleware of it runs as for a request. `root_path` is what the server is
    told by `--root-path`, `state` what its lifespan has left for requests.
    """

    def __init__(self, app: ASGIApp, *, root_path: str = "", state: Mapping[str, Any] | None = None) -> None:
        self._app = app
        self._root_path = root_path
        self._state = state or {}

    async def render(self, recipe: Recipe, *, than: float = 0.0, left: float = 0.0) -> Rendered:
        """Makes what is not stored, or not fresh for more than `left` seconds, or was stored by `than` (the store's clock).

        What a purge has overtaken meanwhile is made again, three times at most: a job for it would be dropped while this one
        runs. Raises nothing that the application raises.
        """
        for _ in range(MOST_RUNS):
            wish = Wish(than, left)
            rendered = await self._once(recipe, wish)
            if not wish.is_to_repeat:
                break
        return rendered

    async def _once(self, recipe: Recipe, wish: Wish) -> Rendered:
        try:
            await self._app(self._scope(recipe, wish), Reread(_NOTHING_TO_READ, never), _ignore)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # Middlewares of the application may have answered for it, and raise all the same.
            logs.RENDER_FAILED.tell(url=recipe.url, error=f"{type(error).__name__}: {error}")
            return Rendered("failed", f"{type(error).__name__}: {error}")
        return Rendered(wish.outcome, wish.detail)

    def _scope(self, recipe: Recipe, wish: Wish) -> Scope:
        named = {name for name, _ in recipe.headers}
        added = [(b"host", recipe.host or b"localhost"), (b"user-agent", AGENT)]
        headers = [*[pair for pair in added if pair[0] not in named], *recipe.headers]
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            **place(recipe),
            "root_path": self._root_path,
            "headers": headers,
            "client": ("127.0.0.1", 0),
            "state": dict(self._state),
            SEEN: wish,
        }
        return scope


def place(recipe: Recipe) -> dict[str, Any]:
    """Where a recipe's URL lies, in the words of a scope."""
    host, _, port = (recipe.host or b"localhost").decode("latin-1").partition(":")
    return {
        "scheme": recipe.scheme,
        "path": unquote(recipe.path.decode("latin-1")),
        "raw_path": recipe.path,
        "query_string": recipe.query,
        "server": (host, int(port) if port.isdigit() else _PORTS[recipe.scheme]),
    }


_PORTS: Final = {"http": 80, "https": 443}
_NOTHING_TO_READ: Final[Sequence[Message]] = ({"type": "http.request", "body": b"", "more_body": False},)


async def _ignore(message: Message) -> None:
    """Nobody is there."""
