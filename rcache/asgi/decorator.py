"""`@cached`: marks an endpoint, and leaves it the very same function."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, Unpack

from rcache.core.checks import Duration, TagSource
from rcache.core.errors import ConfigurationError
from rcache.core.policy import Options, RuleSettings, options

MARK = "__rcache__"
"""The attribute that carries an endpoint's options; `functools.wraps` copies it to whatever wraps the endpoint."""

F = TypeVar("F", bound=Callable[..., Any])


def cached(
    ttl: Duration | None = None, tags: Iterable[TagSource] = (), **settings: Unpack[RuleSettings]
) -> Callable[[F], F]:
    """Answers of the endpoint are kept by the CacheMiddleware it runs under; without one, nothing changes.

    - `ttl`: how long an answer stays fresh: seconds, `"5m"` or a timedelta. It is not told to browsers, which no purge can
      reach. None: the middleware's `default_ttl`, and without that only answers with explicit freshness are stored.
    - `tags`: what the answer depends on: strings, templates (`"user:{user_id}"`, `"list:{query.page}"`), callables of the
      request that return a tag, several, or None.
    - `auto`: what the answer depends on is found from what it was made of, the queries of tracked engines first of all, and adds up
      with `tags`. What cannot be followed is not stored, nor what depends on nothing. None: as the middleware has it (False).
    - `vary`: request headers that select among answers, in addition to the response's own Vary.
    - `query`: the query parameters that count; `"declared"`: those that the FastAPI route declares; None: all.
    - `cookies`: `"ignore"`, or the names of the cookies that matter, which join the key; None: a request with cookies other
      than well-known analytics is neither stored nor answered from the cache.
    - `key_by`: makes an identity part of the key: a header's name, `"cookie:NAME"`, or a callable of the request that returns
      a string (None: this request bypasses the cache). False: nobody's, whatever the middleware says.
    - `guard`: a callable of the request, sync or async, that runs before the look-up of every request. What it returns joins
      the key; an HTTPException it raises is answered by the application's own handler. False: none, whatever
      the middleware says.
    - `client_ttl`: seconds of freshness that clients are told on purpose.
    - `statuses`: those stored without explicit freshness.
    - `methods`: `("QUERY",)` or `("POST",)` caches that method too, with the request's body in the key, up to
      `max_request_body` bytes of it; for searches, never for what changes something.
    - `wait`: seconds that a request waits for another one's run; see `Cache`.
    - `compress`: bodies are kept compressed, once, and every client gets what it accepts: True, or the codings in order of
      preference (`"zstd"`, `"br"`, `"gzip"`).

    The next are as the middleware has them where they are None:

    - `heuristic`: a response without any freshness is fresh for a tenth of the time since its Last-Modified.
    - `client_may_refresh`: whether a client's `Cache-Control: no-cache`, `max-age` and `min-fresh` make the endpoint run.
    - `stale_while_revalidate`: how long past its freshness an answer is served while a new one is made in the background.
    - `stale_on_error`: how long past its freshness an answer stands in for an endpoint that fails, or exceeds `timeout`.
    - `timeout`: seconds after which an answer that may stand in for a failure is served, while the endpoint goes on in the
      background; nothing happens where there is none.
    - `hard_timeout`: seconds after which an endpoint that has sent nothing is cancelled, and the client gets 504.
    - `early`: an answer is made anew in the background before it is stale: True by chance, the likelier the nearer its end and
      the longer it took to make (XFetch); 0.8 from eight tenths of its lifetime on.
    - `jitter`: each answer stays fresh for less by a random time up to this, at most half of its lifetime, so that what was
      stored together does not end together.
    - `refresh`: who makes the new answer behind a stale or early one: `"web"`, the process that was asked, or `"worker"`, those
      of the role where some are alive.
    - `rewarm`: of what a purge killed, or made stale, so many at most are made again at once, the hottest; 0: none.
    - `store_set_cookie`: whether answers that set a cookie are kept, cookie included.
    - `forward_targeted`: whether CDN-Cache-Control and RCache-Control are passed on to clients.
    - `cache_groups`: tags are exported as Cache-Groups, and groups that the application names are tags (RFC 9875).
    - `audit`: of how many hits the application is asked as well, in the background, to see whether what was served still holds:
      0.001, or an `Audit` that says how to compare; 0: none, whatever the middleware says.
    - `enabled=False`: the endpoint is never cached, whatever rules say.

    Raises ConfigurationError where an option cannot work or contradicts another.
    """
    if callable(ttl):
        raise ConfigurationError("write @cached() with parentheses, or @cached(ttl=...)")
    checked = options(ttl, tags, **settings)

    def mark(endpoint: F) -> F:
        if isinstance(endpoint, type) or not callable(endpoint):
            raise ConfigurationError(f"@cached marks a function; put it on the methods of {endpoint!r}")
        if isinstance(endpoint, staticmethod | classmethod):
            kind = type(endpoint).__name__
            raise ConfigurationError(f"put @cached beneath @{kind}: what the class hands out is the function inside")
        if MARK in getattr(endpoint, "__dict__", {}):
            raise ConfigurationError(f"{endpoint!r} is marked @cached twice; keep one")
        try:
            setattr(endpoint, MARK, checked)
        except AttributeError:
            raise ConfigurationError(f"{endpoint!r} takes no attributes; mark the function it is made of") from None
        return endpoint

    return mark


def options_of(endpoint: object) -> Options | None:
    """The options an endpoint was marked with: a function's own, or those of an HTTPEndpoint's `get` or an object's call."""
    if isinstance(endpoint, type):
        endpoint = getattr(endpoint, "get", None)
    while endpoint is not None:
        for marked in (endpoint, getattr(type(endpoint), "__call__", None)):  # noqa: B004
            found = getattr(marked, MARK, None)
            if isinstance(found, Options):
                return found
        endpoint = getattr(endpoint, "func", None)  # functools.partial
    return None


def methods_of(endpoint: object) -> list[str]:
    """The marked methods of an HTTPEndpoint that are not the one that answers GET."""
    if not isinstance(endpoint, type):
        return []
    others = ("head", "post", "put", "patch", "delete", "options")
    return [name for name in others if isinstance(getattr(getattr(endpoint, name, None), MARK, None), Options)]
