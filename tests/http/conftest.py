"""Every server, started once for all tests that speak to a site."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.http.origin import Origin
from tests.http.proxy import nothing
from tests.http.servers import SERVERS, Served
from tests.http.site import Site


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A server that runs; a test puts its application there."""
    with Served(request.param, nothing) as served:
        yield served
        served.app = nothing


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """An origin that plays what the test wrote down."""
    async with Origin() as origin:
        yield origin


@pytest.fixture(params=["single", "streamed"])
async def site(server: Served, origin: Origin, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """rcache under `server` before `origin`, with bodies in one message and in many."""
    site = Site(server, origin, streamed=request.param == "streamed")
    yield site
    server.app = nothing
    await site.cache.close()
