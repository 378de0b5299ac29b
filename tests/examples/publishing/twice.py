"""Sends each GET twice, and compares both answers with that of the same site without a cache."""

from __future__ import annotations

from collections import Counter

import httpx
from fastapi import FastAPI


class Tally:
    """Repeated requests, by what was asked for and how that was answered."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self.others: Counter[str] = Counter()

    def note(self, request: httpx.Request, response: httpx.Response) -> None:
        """A request was sent the second time, and this is the answer."""
        status = response.headers["Cache-Status"]
        if is_hit(response):
            self.hits[route(request.url.path)] += 1
        else:
            self.others[f"{route(request.url.path)} {response.status_code} {status}"] += 1

    def share(self) -> float:
        """Hits among all; one where there was none."""
        hits, others = self.hits.total(), self.others.total()
        return hits / (hits + others) if hits + others else 1.0

    def __repr__(self) -> str:
        return f"{self.share():.1%} hits; no hits were {dict(self.others.most_common())}"


def is_hit(response: httpx.Response) -> bool:
    """It came from the cache."""
    return response.headers["Cache-Status"].startswith("rcache; hit")


def route(path: str) -> str:
    """The path, without what names one article or user."""
    parts = path.split("/")
    if len(parts) > 2 and parts[1] in ("articles", "profiles"):
        parts[2] = "..."
    return "/".join(parts)


class Twice(httpx.AsyncBaseTransport):
    """The cached application, as a client sees it that asks for everything twice."""

    def __init__(self, app: FastAPI, truth: FastAPI, tally: Tally) -> None:
        self._app = httpx.ASGITransport(app)
        self._truth = httpx.ASGITransport(truth)
        self._tally = tally

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The second answer; the first is the same, and so is that of the application that has no cache."""
        response = await self._app.handle_async_request(request)
        await response.aread()
        if request.method != "GET":
            return response
        again = await self._app.handle_async_request(request)
        truth = await self._truth.handle_async_request(request)
        for answer in (again, truth):
            await answer.aread()
            asked = f"{request.method} {request.url}"
            assert (response.status_code, response.text) == (answer.status_code, answer.text), asked
        if again.status_code == 200:
            self._tally.note(request, again)
        return again
