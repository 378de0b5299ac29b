"""The pages that show something. Each asks the Inspector, and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from rcache.core.errors import ConfigurationError
from rcache.core.views import Counters, EntryView, NodeRow, RouteRow, Sample
from rcache.dashboard import ask, charts
from rcache.dashboard.bodies import shown
from rcache.dashboard.picture import picture
from rcache.dashboard.view import View
from rcache.ports import Inspector

T = TypeVar("T")

PAGE: Final = 50
"""Rows of one page."""

SECRET: Final = frozenset(
    {"set-cookie", "authorization", "proxy-authorization", "authentication-info", "www-authenticate"}
)
"""Fields whose values may be somebody's secret."""


class Pages:
    """One method per address."""

    def __init__(self, view: View) -> None:
        self._view = view

    @property
    def _inspector(self) -> Inspector:
        return self._view.inspector

    async def overview(self, request: Request) -> Response:
        """Ratio, requests and latency over time, of all routes or one; routes; nodes; what happened last."""
        period = ask.chosen(request, "period", ("1h", *[each for each in charts.PERIODS if each != "1h"]))
        route = ask.text(request, "route", ask.LONGEST_NAME)
        samples, nodes, events = await asyncio.gather(
            self._inspector.history(charts.PERIODS[period][0]), self._inspector.nodes(), self._inspector.events(count=6)
        )
        # In a thread: hours of many routes take longer to add up than other requests should wait.
        steps, routes, drawn = await run_in_threadpool(_summed, samples, period, self._view.now, route)
        total = charts.total([step.counters for step in steps])
        return await self._view.page(
            request,
            "overview.html",
            period=period,
            periods=tuple(charts.PERIODS),
            route=route,
            steps=steps,
            total=total,
            spared=_spared(total),
            charts=drawn,
            routes=routes,
            nodes=nodes,
            events=events,
        )

    async def entries(self, request: Request) -> Response:
        """The hottest, the largest, or those whose URL contains a text."""
        by = ask.chosen(request, "by", ("hottest", "largest"))
        text = ask.text(request, "q")
        cursor = ask.text(request, "cursor", ask.LONGEST_NAME) or None
        following = None
        if text:
            found = await _legal(self._inspector.search(text, cursor=cursor, count=PAGE))
            rows, following = found.rows, found.cursor
        elif by == "hottest":
            rows = tuple(await self._inspector.hottest(PAGE))
        else:
            rows = tuple(await self._inspector.largest(PAGE))
        return await self._view.page(
            request, "entries.html", by=by, text=text, rows=rows, following=following, is_first=cursor is None
        )

    async def entry(self, request: Request) -> Response:
        """One in full: what it says, how old it is, what it depends on."""
        name = ask.needed(request, "id")
        wants_private = ask.chosen(request, "private", ("no", "yes")) == "yes"
        may_see = await self._view.allows(self._view.may_see_private, request)
        is_open = wants_private and may_see
        view: EntryView | None = await _legal(self._inspector.entry(name, with_private=is_open))
        if view is None:
            raise ask.InputError(
                "It was purged, replaced by a newer one, or has run out since.", status=404, title="This entry is gone"
            )
        row = view.row
        siblings = [each for each in await self._inspector.entries(row.url) if each.entry != row.entry]
        return await self._view.page(
            request,
            "entry.html",
            view=view,
            row=row,
            headers=[
                (field, None if field.lower() in SECRET and not is_open else value) for field, value in view.headers
            ],
            body=None if view.body is None else shown(view.body, view.headers),
            is_hidden=row.identity and view.body is None,
            may_see=may_see,
            wants_private=wants_private,
            picture=picture(row.url, f"{row.status}, {row.state}", row.tags),
            siblings=siblings[:PAGE],
        )

    async def tags(self, request: Request) -> Response:
        """Tags, all or those that contain a text."""
        text = ask.text(request, "q")
        cursor = ask.text(request, "cursor", ask.LONGEST_NAME) or None
        found = await _legal(self._inspector.tags(text, cursor=cursor, count=PAGE))
        return await self._view.page(
            request, "tags.html", text=text, rows=found.rows, following=found.cursor, is_first=cursor is None
        )

    async def tag(self, request: Request) -> Response:
        """One tag with the entries that carry it."""
        tag = ask.needed(request, "name")
        ask.tags([("tag", tag)])
        cursor = ask.text(request, "cursor", ask.LONGEST_NAME) or None
        found, preview = await asyncio.gather(
            _legal(self._inspector.tagged(tag, cursor=cursor, count=PAGE)), _legal(self._inspector.preview((tag,)))
        )
        return await self._view.page(
            request,
            "tag.html",
            tag=tag,
            row=next(iter(preview.tags), None),
            rows=found.rows,
            following=found.cursor,
            is_first=cursor is None,
        )

    async def log(self, request: Request) -> Response:
        """What happened, newest first; with scripts, as it happens."""
        before = ask.number(request, "before")
        events = await self._inspector.events(before=before, count=PAGE)
        numbers = [event.number for event in events if event.number]
        oldest = min(numbers) if numbers and len(events) >= PAGE else None
        return await self._view.page(
            request, "log.html", events=events, before=before, oldest=oldest, newest=max(numbers, default=0)
        )

    async def nodes(self, request: Request) -> Response:
        """The processes that use the cache, how far each has read the log, and for how long others wait for it."""
        nodes: list[NodeRow] = await self._inspector.nodes()
        head = max([node.tail for node in nodes if node.tail is not None], default=None)
        return await self._view.page(request, "nodes.html", nodes=nodes, head=head)

    async def queue(self, request: Request) -> Response:
        """Jobs that wait, ran and failed, and the schedules of this process."""
        try:
            queue, reason = await self._view.cache.queue.view(), ""
        except ConfigurationError as error:
            queue, reason = None, f"{error}"
        return await self._view.page(request, "queue.html", queue=queue, reason=reason)


async def _legal(asked: Awaitable[T]) -> T:
    """What the Inspector says; what it cannot read was sent by somebody."""
    try:
        return await asked
    except ValueError as error:
        raise ask.InputError(f"This address cannot be read: {error}.") from error


def _summed(
    samples: Sequence[Sample], period: str, now: float, route: str
) -> tuple[list[charts.Step], list[RouteRow], tuple[charts.Chart, ...]]:
    """Steps, routes and charts of a period."""
    steps = charts.steps(samples, period, now, route)
    drawn = (charts.ratio(steps), charts.requests(steps), charts.latency(steps))
    return steps, charts.routes(samples, steps[0].at), drawn


def _spared(total: Counters) -> float | None:
    """Seconds that the application would have taken for the hits, if each had taken as long as a miss."""
    miss, hit = total.miss_times.mean, total.hit_times.mean
    return None if miss is None or hit is None else max(0.0, (miss - hit) * (total.hits + total.stale))
