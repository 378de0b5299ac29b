"""The same pages in four frameworks, each behind rcache in the way that suits it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from starlette.types import ASGIApp

from rcache import Cache, CacheMiddleware, Rule

RULES = (Rule("/items/{name}", ttl=60, tags=["item:{name}"]), Rule("/{path:path}", ttl=60))
"""What `@cached` says elsewhere, for those whose endpoints cannot be marked."""


@dataclass(frozen=True)
class Framework:
    """Where an application stands, and the rules it needs. It is not imported before it is asked for."""

    module: str
    rules: tuple[Rule, ...] = ()

    def behind(self, cache: Cache, **settings: Any) -> ASGIApp:
        """The application with this cache before it, in a middleware with these settings."""
        app: ASGIApp = import_module(f"{__name__}.{self.module}").app
        return CacheMiddleware(app, cache=cache, rules=self.rules, **settings)


FRAMEWORKS = {
    "starlette": Framework("starlette_pages"),
    "fastapi": Framework("fastapi_pages"),
    "litestar": Framework("litestar_pages", RULES),
    "django": Framework("django_pages", RULES),
}
