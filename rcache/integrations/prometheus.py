"""Prometheus: what a cache has counted, read when it is scraped. Needs `rcache[prometheus]`.

```python
app.mount("/metrics", metrics_app(cache))
```
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rcache.cache import Cache
from rcache.core.errors import ConfigurationError
from rcache.core.histogram import BOUNDS, Histogram
from rcache.integrations.measures import DURATION_TEXT, MEASURES, Measure, Snapshot, durations

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
        self._names: tuple[str, ...] = () if name is None else ("cache",)
        self._values: tuple[str, ...] = () if name is None else (name,)

    def describe(self) -> Iterable[Metric]:
        """Which there are, without values: so a registry finds those that are registered twice."""
        return self._families(None)

    def collect(self) -> Iterable[Metric]:
        """Their values at this moment."""
        return self._families(Snapshot(self._cache))

    def _families(self, now: Snapshot | None) -> Iterator[Metric]:
        for measure in MEASURES:
            yield self._family(measure, now)
        labels = (*self._names, "route", "outcome")
        family = HistogramMetricFamily(DURATION, DURATION_TEXT, labels=labels, unit="seconds")
        for values, times in [] if now is None else durations(now):
            family.add_metric((*self._values, *values), _buckets(times), sum_value=times.seconds)
        yield family

    def _family(self, measure: Measure, now: Snapshot | None) -> Metric:
        kind = CounterMetricFamily if measure.kind == "counter" else GaugeMetricFamily
        unit = UNITS.get(measure.unit, "")
        name = "_".join(["rcache", *measure.name.split("."), *([unit] if unit else [])])
        family = kind(name, measure.text, labels=(*self._names, *measure.labels), unit=unit)
        for labels, value in [] if now is None else measure.read(now):
            family.add_metric((*self._values, *labels), value)
        return family


def metrics_app(cache: Cache, registry: CollectorRegistry | None = None) -> ASGIApp:
    """An ASGI application that answers scrapes with the metrics of `cache`, and whatever else is registered in `registry`.

    Give `prometheus_client.REGISTRY` for those of the process as well. It asks nobody who they are: mount it where only
    Prometheus gets. A process tells of itself alone; where several share a port, see docs/observability.md.
    """
    if registry is None:
        registry = CollectorRegistry()
    registry.register(CacheCollector(cache))
    answering: ASGIApp = make_asgi_app(registry)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def unstored(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"cache-control", b"no-store")]}
            await send(message)

        await answering(scope, receive, unstored)

    return app


def _buckets(times: Histogram) -> list[tuple[str, float]]:
    return list(zip(_LE, accumulate(times.counts), strict=True))
