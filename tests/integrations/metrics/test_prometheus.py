"""What Prometheus is given: read by its own parsers, obeying the written identities, and all that the dashboard asks for."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
from collections.abc import AsyncIterator, Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from rcache import Audit, Cache, CacheMiddleware, ConfigurationError, Rule, signals
from rcache.core.histogram import BOUNDS
from rcache.integrations.measures import MEASURES
from rcache.integrations.prometheus import CacheCollector, metrics_app
from tests.asgi.origin import Origin, Reply
from tests.servers import RedisServer
from tests.support import PATIENCE, HandClock, RawClient

OPEN = {"accept": "application/openmetrics-text; version=1.0.0"}
ORDER = ("route", "outcome", "le")
Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
async def cache() -> AsyncIterator[Cache]:
    """A cache that was asked for this and that."""
    clock = HandClock()
    cache = Cache("memory://", clock=clock)
    origin = Origin([Reply(), Reply(), Reply(body=b"other")])
    rules = [Rule("/books/{id}", ttl=60), Rule('/odd "{name}"', ttl=60)]
    client = RawClient(CacheMiddleware(origin, cache, rules=rules, stale_while_revalidate=60, audit=Audit(1, settle=0)))
    await client.get("/books/1")
    for _ in range(4):
        await client.get("/books/1")
        await cache.audits.wait()
    await client.get("/books/1", {"if-match": '"1"'})
    clock.advance(61)
    await client.get("/books/1")
    await cache.refreshes.wait()
    await client.get("/books/2")
    await client.get('/odd "1"')
    await cache.invalidate("page")
    yield cache
    await cache.close()


def samples(families: Iterable[Metric]) -> Samples:
    return {
        (sample.name, tuple([sample.labels[name] for name in ORDER if name in sample.labels])): sample.value
        for family in families
        for sample in family.samples
    }


async def scraped(cache: Cache) -> Samples:
    answer = await RawClient(metrics_app(cache)).get("/", OPEN)
    return samples(open_metrics(answer.text))


async def test_a_scrape_is_read_by_prometheus_own_parsers(cache: Cache) -> None:
    client = RawClient(metrics_app(cache))
    answer = await client.get("/", OPEN)
    assert answer.status == 200
    assert (answer.get("content-type") or "").startswith("application/openmetrics-text;")
    families = list(open_metrics(answer.text))
    assert {family.name for family in families} >= {
        "rcache_requests",
        "rcache_request_duration_seconds",
        "rcache_served_bytes",
    }
    assert all(family.documentation for family in families)
    assert {family.name: family.unit for family in families if family.unit} == {
        "rcache_request_duration_seconds": "seconds",
        "rcache_served_bytes": "bytes",
        "rcache_near_size_bytes": "bytes",
    }
    as_text = samples(plain_text((await client.get("/")).text))
    assert {name: value for name, value in as_text.items() if not name[0].endswith("_created")} == samples(families)


async def test_what_is_scraped_obeys_the_identities(cache: Cache) -> None:
    found = await scraped(cache)
    stats = cache.stats
    outcomes = ("hit", "stale", "miss", "pass")
    by_outcome = {
        outcome: sum(
            value for (name, labels), value in found.items() if name == "rcache_requests_total" and labels[1] == outcome
        )
        for outcome in outcomes
    }
    assert by_outcome == {"hit": stats.hits, "stale": stats.stale, "miss": stats.misses, "pass": stats.passes}
    assert sum(by_outcome.values()) == stats.lookups == 9
    assert all(by_outcome[outcome] for outcome in outcomes)
    for outcome in outcomes:
        labels = ("/books/{id}", outcome)
        assert found["rcache_request_duration_seconds_count", labels] == found["rcache_requests_total", labels]
        assert (
            found["rcache_request_duration_seconds_bucket", (*labels, "+Inf")] == found["rcache_requests_total", labels]
        )
    audits = {labels[1]: value for (name, labels), value in found.items() if name == "rcache_audits_total"}
    total = stats.counters
    assert audits == {"same": total.audits_same, "stale": total.audits_stale, "excused": 0, "unsteady": 0, "failed": 0}
    assert sum(audits.values()) == total.audits == 4


async def test_buckets_only_rise(cache: Cache) -> None:
    found = [
        value for (name, _), value in (await scraped(cache)).items() if name == "rcache_request_duration_seconds_bucket"
    ]
    per_series = len(BOUNDS) + 1
    for start in range(0, len(found), per_series):
        series = found[start : start + per_series]
        assert series == sorted(series)


async def test_findings_count_by_route() -> None:
    async with Cache("memory://", clock=HandClock()) as cache:
        replies = [Reply(), Reply(body=b"other")]
        client = RawClient(
            CacheMiddleware(Origin(replies), cache, rules=[Rule("/a/{b}", ttl=60)], audit=Audit(1, settle=0))
        )
        await client.get("/a/1")
        await client.get("/a/1")
        await cache.audits.wait()
        found = await scraped(cache)
        assert found["rcache_audits_total", ("/a/{b}", "stale")] == 1
        assert not signals.audit_difference.receivers


async def test_several_caches_are_told_apart_by_a_name_and_none_is_there_twice(cache: Cache) -> None:
    registry = CollectorRegistry()
    registry.register(CacheCollector(cache))
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(CacheCollector(cache))
    named = CacheCollector(cache, name="pages")
    requests = next(iter(named.collect()))
    assert requests.samples[0].labels == {"cache": "pages", "route": "/books/{id}", "outcome": "hit"}


async def test_a_scrape_is_never_cached() -> None:
    async with Cache("memory://", clock=HandClock()) as cache:
        client = RawClient(CacheMiddleware(metrics_app(cache), cache, default_ttl=60))
        first, second = await client.get("/"), await client.get("/")
        assert (first.get("cache-control"), second.is_hit) == ("no-store", False)
        assert first.text != second.text


async def test_what_else_is_registered_is_served_as_well(cache: Cache) -> None:
    registry = CollectorRegistry()
    Gauge("mine", "Something else.", registry=registry).set(5)
    text = (await RawClient(metrics_app(cache, registry)).get("/")).text
    assert "\nmine 5.0\n" in text
    assert "rcache_requests_total" in text


async def test_a_near_cache_tells_how_full_it_is(redis_server: RedisServer) -> None:
    async with Cache(redis_server.url, namespace="prometheus", near="fast", near_lease=PATIENCE) as cache:
        found = await scraped(cache)
        assert found["rcache_near_entries", ()] == 0
        assert found["rcache_store_down", ()] == 0
    async with Cache("memory://") as cache:
        assert ("rcache_near_entries", ()) not in await scraped(cache)


async def test_whichever_process_is_asked_tells_of_all_that_share_the_cache(redis_server: RedisServer) -> None:
    async with (
        Cache(redis_server.url, namespace="prometheus-nodes") as one,
        Cache(redis_server.url, namespace="prometheus-nodes") as two,
    ):
        for number, cache in enumerate((one, two), 1):
            client = RawClient(CacheMiddleware(Origin([Reply()]), cache, rules=[Rule("/books/{id}", ttl=60)]))
            for each in range(number):
                await client.get(f"/books/{number}-{each}")
        place = f"{socket.gethostname()}:{os.getpid()}"
        wanted = {f"{place}/{one.telemetry.node}": 1, f"{place}/{two.telemetry.node}": 2}
        asked = RawClient(metrics_app(one, nodes=True))
        async with asyncio.timeout(PATIENCE):
            while misses(text := (await asked.get("/", OPEN)).text) != wanted:
                await asyncio.sleep(0.05)  # nodes tell once a second
        assert "rcache_near_entries{" not in text


def misses(text: str) -> dict[str, float]:
    """Those of each node."""
    found = [sample for family in open_metrics(text) for sample in family.samples]
    return {
        sample.labels["node"]: sample.value
        for sample in found
        if sample.name == "rcache_requests_total" and sample.labels["outcome"] == "miss"
    }


async def test_embedded_or_alone_a_process_is_told_by_its_place() -> None:
    async with Cache("memory://") as cache:
        text = (await RawClient(metrics_app(cache, nodes=True)).get("/")).text
        assert f'rcache_purges_total{{node="{socket.gethostname()}:{os.getpid()}"}} 0.0' in text
        with pytest.raises(ConfigurationError, match="leave one out"):
            metrics_app(cache, CollectorRegistry(), nodes=True)


async def test_where_the_nodes_cannot_be_asked_the_scrape_fails() -> None:
    async with Cache("redis://127.0.0.1:1/0") as cache:
        answer = await RawClient(metrics_app(cache, nodes=True)).get("/")
        assert (answer.status, answer.get("cache-control")) == (503, "no-store")


# The dashboard


def dashboard() -> dict[str, Any]:
    text = files("rcache.integrations").joinpath("grafana.json").read_text()
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def expressions(of: Any) -> Iterable[str]:
    """All expressions, wherever they stand."""
    if isinstance(of, dict):
        if isinstance(of.get("expr"), str):
            yield of["expr"]
        if of.get("type") == "query" and isinstance(of.get("query"), dict):
            yield of["query"]["query"]
        for each in of.values():
            yield from expressions(each)
    elif isinstance(of, list):
        for each in of:
            yield from expressions(each)


async def test_every_expression_of_the_dashboard_names_what_is_scraped(cache: Cache, redis_server: RedisServer) -> None:
    async with Cache(redis_server.url, namespace="grafana", near="fast", near_lease=PATIENCE) as near:
        known = {name for name, _ in (*await scraped(cache), *await scraped(near))}
    asked = list(expressions(dashboard()))
    named = {name for expr in asked for name in re.findall(r"\brcache_\w+", expr)}
    assert named <= known, named - known
    assert len(asked) >= len(MEASURES)
    labels = {label for expr in asked for by in re.findall(r"by \(([^)]*)\)", expr) for label in by.split(", ")}
    assert labels <= {"route", "outcome", "le", "instance"}


def test_the_dashboard_can_be_imported() -> None:
    found = dashboard()
    assert found["title"] == "rcache"
    assert found["id"] is None
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    assert all(panel.get("description") for panel in panels if panel["type"] != "row")
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels if panel["type"] != "row")


async def test_the_page_lists_what_there_is(cache: Cache, redis_server: RedisServer) -> None:
    page = (Path(__file__).parents[3] / "docs" / "observability.md").read_text()
    listed = re.findall(r"^\| `(rcache_\w+)` \| `([\w.]+)`", page, re.MULTILINE)
    registry = CollectorRegistry()
    registry.register(CacheCollector(cache))
    known = [family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()]
    assert sorted(name for name, _ in listed) == sorted(known)
    assert {name for _, name in listed} == {*[f"rcache.{measure.name}" for measure in MEASURES], "rcache.request.time"}
    alerts = re.findall(r"\brcache_\w+", page[page.index("```yaml") :])
    assert set(alerts) <= set(known)
