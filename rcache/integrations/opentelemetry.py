"""OpenTelemetry: spans of what a cache does, and metrics of what it has done. Needs `rcache[otel]`.

Spans: `rcache.lookup`, `rcache.fill` (one run of the application, whose own spans are its children), `rcache.purge`, and
`rcache.refresh` and `rcache.audit`, which nobody waits for: these begin traces of their own, with a link to that of their request.
The plainest hits take no span unless that is asked for. Metrics are read from the cache's own counters when they are collected.
"""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar

from rcache.asgi.routes import NO_ROUTE
from rcache.cache import Cache
from rcache.core.errors import ConfigurationError
from rcache.integrations.measures import DURATION_TEXT, MEASURES, Measure, Snapshot, durations
from rcache.ports import Facts, What

try:
    from opentelemetry import metrics, trace
    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.trace import Link, Span, TracerProvider
except ImportError as error:
    raise ConfigurationError("OpenTelemetry is not installed: pip install 'rcache[otel]'") from error

T = TypeVar("T")

SCOPE: Final = "rcache"
APART: Final = frozenset(("refresh", "audit"))
"""What runs in the background, after the request that it follows was answered."""

ROUTE: Final = "http.route"
LABELS: Final = {"route": ROUTE, "outcome": "rcache.outcome"}


class Instrumentation:
    """What `instrument` has begun."""

    def __init__(self, cache: Cache, observer: Tracing) -> None:
        self._cache: Callable[[], Cache | None] = weakref.ref(cache)
        self._observer = observer

    @property
    def cache(self) -> Cache | None:
        """The cache, while it is measured."""
        return self._cache()

    def end(self) -> None:
        """No more spans, and no more values of this cache."""
        cache = self._cache()
        if cache is not None and cache.observer is self._observer:
            cache.observe(None)
        self._cache = _nobody


def instrument(
    cache: Cache,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    *,
    plain_hits: bool = False,
) -> Instrumentation:
    """From here on what the cache does in this process is traced and measured, until `.end()` of what is returned.

    - `tracer_provider`, `meter_provider`: the global ones where they are None.
    - `plain_hits`: whether the plainest hits have spans too. They take a longer way then, which makes each several times dearer.

    Raises ConfigurationError where the cache is instrumented already.
    """
    if cache.observer is not None:
        raise ConfigurationError("the cache is instrumented already: call .end() on what instrument() returned first")
    from rcache import __version__

    observer = Tracing(trace.get_tracer(SCOPE, __version__, tracer_provider), wants_plain_hits=plain_hits)
    instrumentation = Instrumentation(cache, observer)
    _measure(metrics.get_meter(SCOPE, __version__, meter_provider), instrumentation)
    cache.observe(observer)
    return instrumentation


class Tracing:
    """`rcache.ports.Observer`: makes spans."""

    def __init__(self, tracer: trace.Tracer, *, wants_plain_hits: bool) -> None:
        self._tracer = tracer
        self.wants_plain_hits = wants_plain_hits

    async def watch(self, what: What, route: str, doing: Awaitable[T], facts: Callable[[T], Facts]) -> T:
        """What `doing` gives, within a span."""
        with self._span(what, route) as span:
            result = await doing
            _tell(span, facts, result)
            return result

    def watch_sync(self, what: What, route: str, doing: Callable[[], T], facts: Callable[[T], Facts]) -> T:
        """Likewise without an event loop."""
        with self._span(what, route) as span:
            result = doing()
            _tell(span, facts, result)
            return result

    @contextmanager
    def _span(self, what: What, route: str) -> Iterator[Span]:
        attributes = {ROUTE: route} if route and route != NO_ROUTE else {}
        settings: dict[str, Any] = {}
        if what in APART:
            parent = trace.get_current_span().get_span_context()
            settings = {"context": Context(), "links": [Link(parent)] if parent.is_valid else []}
        with self._tracer.start_as_current_span(f"{SCOPE}.{what}", attributes=attributes, **settings) as span:
            try:
                yield span
            except BaseException as error:
                span.set_attribute("error.type", type(error).__qualname__)
                raise


def _tell(span: Span, facts: Callable[[T], Facts], result: T) -> None:
    if span.is_recording():
        span.set_attributes({f"{SCOPE}.{name}": value for name, value in facts(result).items()})


def _measure(meter: metrics.Meter, instrumentation: Instrumentation) -> None:
    for measure in MEASURES:
        create = meter.create_observable_counter if measure.kind == "counter" else meter.create_observable_gauge
        callback = partial(_observed, instrumentation, measure)
        create(f"{SCOPE}.{measure.name}", [callback], unit=measure.unit, description=measure.text)
    # OpenTelemetry's histograms are fed value by value, which would be work for each hit: here are sums alone.
    callback = partial(_seconds, instrumentation)
    meter.create_observable_counter(f"{SCOPE}.request.time", [callback], unit="s", description=DURATION_TEXT)


def _observed(instrumentation: Instrumentation, measure: Measure, _: CallbackOptions) -> Iterable[Observation]:
    cache = instrumentation.cache
    if cache is None:
        return []
    names = [LABELS[label] for label in measure.labels]
    values = measure.read(Snapshot.of(cache))
    return [Observation(each.value, dict(zip(names, each.labels, strict=True))) for each in values]


def _seconds(instrumentation: Instrumentation, _: CallbackOptions) -> Iterable[Observation]:
    cache = instrumentation.cache
    if cache is None:
        return []
    return [
        Observation(times.seconds, {ROUTE: route, LABELS["outcome"]: outcome})
        for (route, outcome), times in durations(Snapshot.of(cache))
    ]


def _nobody() -> None:
    return None
