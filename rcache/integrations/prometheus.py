"""Prometheus: what a cache has counted, read when it is scraped. Needs `rcache[prometheus]`.

```python
app.mount("/metrics", metrics_app(cache))
```
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Final

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rcache.cache import Cache
from rcache.core.errors import BackendError, ConfigurationError
from rcache.core.histogram import BOUNDS, Histogram
from rcache.core.views import NodeRow
from rcache.integrations.measures import DURATION_TEXT, MEASURES, Labels, Measure, Snapshot, durations

try:
    from prometheus_client import CollectorRegistry, make_asgi_app
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ConfigurationError("Prometheus' client is not installed: pip install 'rcache[prometheus]'") from error

UNITS: Final = {"By": "bytes", "s": "seconds"}
"""Prometheus' own words for UCUM's; what is counted in braces has none."""

DURATION: Final = "rcache_request_duration_seconds"
_LE: Final = (*[repr(bound) for bound in BOUNDS], "+Inf")


class CacheCollector(Collector):
    """The metrics of one cache in this process: `registry.register(CacheCollector(cache))`.

    Where a process has several, `name` tells them apart, as the label `cache`.
    """

    def __init__(self, cache: Cache, name: str | None = None) -> None:
        self._cache = cache
        self._labels = {} if name is None else {"cache": name}

    def describe(self) -> Iterable[Metric]:
        """Which there are, without values: so a registry finds those that are registered twice."""
        return _families({}, tuple(self._labels))

    def collect(self) -> Iterable[Metric]:
        """Their values at this moment."""
        return _families({tuple(self._labels.values()): Snapshot.of(self._cache)}, tuple(self._labels))


def metrics_app(cache: Cache, registry: CollectorRegistry | None = None, *, nodes: bool = False) -> ASGIApp:
    """An ASGI application that answers scrapes with the metrics of `cache`.

    - `registry`: what else is registered there is told as well, `prometheus_client.REGISTRY` for what the process tells of itself.
    - `nodes`: what all processes count that share the cache's Redis and namespace, whichever of them is asked, each under a label
      `node`: for several that share a port.

    It asks nobody who they are: mount it where only Prometheus gets.
    """
    if nodes:
        if registry is not None:
            raise ConfigurationError(
                "metrics_app: nodes=True tells of all processes, and a registry of one: leave one out"
            )
        return _unstored(partial(_answer_for_all, cache))
    if registry is None:
        registry = CollectorRegistry()
    registry.register(CacheCollector(cache))
    return _unstored(make_asgi_app(registry))


class _NodesCollector(Collector):
    """What was told of each node."""

    def __init__(self, rows: Sequence[NodeRow]) -> None:
        places = Counter(_place(row) for row in rows)
        self._rows = {(_place(row) if places[_place(row)] == 1 else f"{_place(row)}/{row.node}",): row for row in rows}

    def collect(self) -> Iterable[Metric]:
        """Their values."""
        return _families({labels: Snapshot.of_node(row) for labels, row in self._rows.items()}, ("node",))


def _place(row: NodeRow) -> str:
    return f"{row.host}:{row.pid}"


async def _answer_for_all(cache: Cache, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        rows = await cache.inspector.nodes()
    except BackendError as error:
        await PlainTextResponse(f"{error}\n", status_code=503)(scope, receive, send)
        return
    registry = CollectorRegistry()
    registry.register(_NodesCollector(rows))
    await make_asgi_app(registry)(scope, receive, send)


def _unstored(app: ASGIApp) -> ASGIApp:
    """What it answers is kept by no cache."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def unstored(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"cache-control", b"no-store")]}
            await send(message)

        await app(scope, receive, unstored)

    return answer


def _families(told: Mapping[Labels, Snapshot], names: Labels) -> Iterator[Metric]:
    """All metrics, of snapshots by the values of the labels `names`."""
    for measure in MEASURES:
        yield _family(measure, told, names)
    family = HistogramMetricFamily(DURATION, DURATION_TEXT, labels=(*names, "route", "outcome"), unit="seconds")
    for own, now in told.items():
        for labels, times in durations(now):
            family.add_metric((*own, *labels), _buckets(times), sum_value=times.seconds)
    yield family


def _family(measure: Measure, told: Mapping[Labels, Snapshot], names: Labels) -> Metric:
    kind = CounterMetricFamily if measure.kind == "counter" else GaugeMetricFamily
    unit = UNITS.get(measure.unit, "")
    name = "_".join(["rcache", *measure.name.split("."), *([unit] if unit else [])])
    family = kind(name, measure.text, labels=(*names, *measure.labels), unit=unit)
    for own, now in told.items():
        for labels, value in measure.read(now):
            family.add_metric((*own, *labels), value)
    return family


def _buckets(times: Histogram) -> list[tuple[str, float]]:
    return list(zip(_LE, accumulate(times.counts), strict=True))
