"""How a page is made: templates, what all of them know, and who may do what."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from rcache.cache import Cache
from rcache.core.errors import ConfigurationError
from rcache.core.keys import URL_TAG
from rcache.dashboard import words
from rcache.dashboard.door import Check, verdict
from rcache.dashboard.files import DIGEST
from rcache.ports import Inspector

try:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
except ImportError as error:
    raise ConfigurationError("the dashboard needs Jinja2: pip install 'rcache[dashboard]'") from error

_FOLDER: Final = Path(__file__).parent / "templates"
_STYLE: Final = (_FOLDER / "closed.css").read_text().strip()


class View:
    """What the pages of one dashboard share."""

    def __init__(self, cache: Cache, name: str, may_purge: Check | None, may_see_private: Check | None) -> None:
        self.cache = cache
        self.may_purge = may_purge
        self.may_see_private = may_see_private
        self._templates = Environment(
            loader=FileSystemLoader(_FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        for each in ("count", "rate", "size", "duration", "share", "clock", "date", "iso"):
            self._templates.filters[each if each != "count" else "number"] = getattr(words, each)
        self._templates.tests["of_url"] = lambda tag: tag.startswith(URL_TAG)
        self._templates.globals["name"] = name

    @property
    def inspector(self) -> Inspector:
        """Who looks into the cache for us."""
        return self.cache.inspector

    @property
    def now(self) -> float:
        """This moment, near enough to the store's clock for charts."""
        return self.cache.clock.time()

    async def page(self, request: Request, template: str, *, status: int = 200, **context: Any) -> Response:
        """A page of ours."""
        return HTMLResponse(await self.text(request, template, **context), status)

    async def text(self, request: Request, template: str, **context: Any) -> str:
        """The text of a page."""
        base = request.scope.get("root_path", "")

        def link(place: str, **parameters: Any) -> str:
            """The address of a page of ours, wherever we are mounted; without the parameters that say nothing."""
            told = {name: value for name, value in parameters.items() if value not in ("", None)}
            return f"{base}/{place}{'?' if told else ''}{urlencode(told, doseq=True, errors='replace')}"

        shared = {
            "link": link,
            "static": f"{base}/static/{DIGEST}",
            "place": request.scope["path"].removeprefix(base).strip("/"),
            "can_purge": await self.allows(self.may_purge, request),
            "now": self.now,
        }
        text = self._templates.get_template(template).render(shared | context)
        # A URL or a header may hold half a character, which no page can.
        return text.encode(errors="replace").decode()

    @staticmethod
    async def allows(check: Check | None, request: Request) -> bool:
        """Whether a check says yes, for what a page shows."""
        # Without `receive`: a check that read the body would leave none for the form.
        return await verdict(check, Request(request.scope)) is True

    def closed(self, *, is_unset: bool) -> tuple[str, str]:
        """The page for whoever may not look, and the style that stands in it."""
        return self._templates.get_template("closed.html").render(is_unset=is_unset, style=_STYLE), _STYLE
