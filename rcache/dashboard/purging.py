"""Purging from a page: first what would go, then, confirmed in a form of ours, the purge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from rcache.core.errors import BackendError
from rcache.dashboard import ask, forgery
from rcache.dashboard.door import verdict
from rcache.dashboard.view import View

CAUSE: Final = "dashboard"

SHOWN: Final = 50
"""Entries of a preview that are listed."""


class Purging:
    """The address `/purge`: GET shows and changes nothing, POST purges."""

    def __init__(self, view: View) -> None:
        self._view = view

    async def preview(self, request: Request) -> Response:
        """What a purge would reach, and the form that carries it out; without tags, the form that asks for some."""
        if (refusal := await self._refusal(request)) is not None:
            return refusal
        fields = request.query_params.multi_items()
        return await self._shown(request, ask.tags(fields), is_soft=ask.is_set(fields, "soft"))

    async def purge(self, request: Request) -> Response:
        """Purges what the form names, if it is ours, from here and confirmed. Sent twice it purges twice, which does no harm."""
        if (refusal := await self._refusal(request)) is not None:
            return refusal
        fields = await ask.form(request)
        forgery.check(request, fields)
        tags, is_soft = ask.tags(fields), ask.is_set(fields, "soft")
        if not tags or not ask.is_set(fields, "confirm"):
            return await self._shown(request, tags, is_soft=is_soft)
        try:
            purged = await self._view.cache.invalidate(*tags, soft=is_soft, cause=CAUSE)
        except BackendError:
            # With on_outage="abort": it waits in the journal and is sent until it lands, as the page says.
            purged = None
        return await self._view.page(request, "purged.html", tags=tags, purged=purged, is_soft=is_soft)

    async def _refusal(self, request: Request) -> Response | None:
        answer = await verdict(self._view.may_purge, Request(request.scope))
        if isinstance(answer, Response):
            return answer
        if answer:
            return None
        return await self._view.page(request, "refused.html", status=403, is_unset=self._view.may_purge is None)

    async def _shown(self, request: Request, tags: Sequence[str], *, is_soft: bool) -> Response:
        value = forgery.value_of(request)
        preview = await self._view.inspector.preview(tags) if tags else None
        response = await self._view.page(
            request,
            "purge.html",
            tags=tags,
            preview=preview,
            entries=preview.entries[:SHOWN] if preview else (),
            is_soft=is_soft,
            token=forgery.token(request, value),
        )
        forgery.remember(request, response, value)
        return response
