"""An unsafe request that succeeds has changed what is cached under its URL (RFC 9111 §4.4)."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rcache import logs
from rcache.asgi.inquiry import Inquiry
from rcache.asgi.plan import Plan
from rcache.asgi.routes import Routes
from rcache.core.errors import BackendError
from rcache.core.groups import invalidated
from rcache.core.headers import RawHeaders, without
from rcache.core.invalidation import invalidates, targets
from rcache.core.tags import TagError
from rcache.current import RequestScope, request_scope


class Unsafe:
    """One such request. The purge has landed before the answer's start leaves, so that who sees it sees no older entry."""

    def __init__(self, routes: Routes, plan: Plan, passing: RequestScope, scope: Scope, send: Send) -> None:
        """`plan` is what a GET of the same URL is cached by."""
        self._routes = routes
        self._plan = plan
        self._passing = passing
        self._scope = scope
        self._asked = dict(scope)  # mounts move the path on the way in
        self._send = send

    async def run(self, app: ASGIApp, receive: Receive) -> None:
        """Calls the application, and purges where it says that it succeeded."""
        token = request_scope.set(self._passing)
        try:
            await app(self._scope, receive, self.send)
        finally:
            request_scope.reset(token)

    async def send(self, message: Message) -> None:
        """Passes a message on."""
        if message["type"] == "http.response.start":
            headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            if invalidates(message["status"]):
                await self._purge(headers)
            if self._plan.hidden:
                message = {**message, "headers": without(headers, self._plan.hidden)}
        await self._send(message)

    async def _purge(self, headers: RawHeaders) -> None:
        tags = dict.fromkeys(self._changed(headers))
        try:
            await self._passing.cache.purge(tuple(tags), cause="unsafe-request", changes=(self._name,))
        except BackendError as error:  # it is sent until it lands; the application's answer is what it is
            logs.UNSAFE_NOT_PURGED.tell(method=self._asked["method"], path=self._asked["path"], error=str(error))

    @property
    def _name(self) -> str:
        return f"{self._asked['method']} {self._asked['path']}"

    def _changed(self, headers: RawHeaders) -> Iterator[str]:
        """The tags of the URLs that this answer says have changed, and of the groups it names."""
        asked = self._asked
        target = asked.get("raw_path") or asked["path"].encode("utf-8", "surrogatepass")
        if asked["query_string"]:
            target += b"?" + asked["query_string"]
        yield from self._url_tag(asked)
        host = dict(asked["headers"]).get(b"host", b"")
        for named in targets(asked.get("scheme") or "http", host, target, headers):
            path, _, query = named.partition(b"?")
            place = {"path": unquote(path.decode("latin-1")), "raw_path": path, "query_string": query}
            yield from self._url_tag({**asked, **place})
        if self._plan.cache_groups:
            yield from self._groups(headers)

    def _groups(self, headers: RawHeaders) -> tuple[str, ...]:
        try:
            return invalidated(headers)
        except TagError as error:
            logs.GROUPS_REFUSED.tell(method=self._asked["method"], path=self._asked["path"], error=str(error))
            return ()

    def _url_tag(self, scope: Scope) -> Iterator[str]:
        """The URL's own tag, where what answers a GET of it is cached."""
        plan = self._routes.plan(scope)
        if plan is not None:
            ask = Inquiry(scope, dict(scope["headers"]), plan.names, plan.query, self._passing.cache.key_host)
            yield ask.key.url_tag
