"""What a scraper is told over real HTTP, under every server, of requests, audits and spans that went the same way."""

from __future__ import annotations

import asyncio

import httpx
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from rcache import Audit, Cache, CacheMiddleware, cached
from rcache.integrations.opentelemetry import instrument
from rcache.integrations.prometheus import metrics_app
from tests.http.servers import Served
from tests.support import PATIENCE

OPEN = {"accept": "application/openmetrics-text"}


async def test_hits_and_a_stale_answer_are_told_to_whoever_scrapes(server: Served) -> None:
    prices = {"7": 10}

    @cached(ttl=60, tags=["article:{key}"])
    async def show(request: Request) -> Response:
        return PlainTextResponse(f"{prices[request.path_params['key']]}")

    cache = Cache("memory://")
    exporter, tracers = InMemorySpanExporter(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentation = instrument(cache, tracers, MeterProvider())
    app = Starlette(routes=[Route("/articles/{key}", show), Mount("/metrics", metrics_app(cache))])
    server.app = CacheMiddleware(app, cache, audit=Audit(1, settle=0))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", follow_redirects=True) as client:
        assert (await client.get("/articles/7")).text == "10"
        prices["7"] = 11
        assert (await client.get("/articles/7")).text == "10"
        async with asyncio.timeout(PATIENCE):
            while (told := await scraped(client)).get(("rcache_audits_total", "stale")) != 1:
                await asyncio.sleep(0.01)
    assert (told["rcache_requests_total", "hit"], told["rcache_requests_total", "miss"]) == (1, 1)
    assert told["rcache_request_duration_seconds_count", "hit"] == 1
    assert [span.name for span in exporter.get_finished_spans()] == ["rcache.lookup", "rcache.fill", "rcache.audit"]
    instrumentation.end()
    cache.close_sync()


async def scraped(client: httpx.AsyncClient) -> dict[tuple[str, str], float]:
    """What was told of each outcome."""
    text = (await client.get("/metrics", headers=OPEN)).text
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, sample.labels.get("outcome", "")): sample.value for sample in found}
