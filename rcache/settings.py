"""`Settings`: all that a cache and its middleware may be told, and who told it.

Code wins over the environment (`RCACHE_DEFAULT_TTL=5m`), and that over `[tool.rcache]` in pyproject.toml.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, Self, Unpack, cast

from rcache.core import configuration
from rcache.core.audit import Audit
from rcache.core.checks import KeyBy, Refresh
from rcache.core.configuration import (
    CHECKS,
    AllSettings,
    CacheSettings,
    MiddlewareSettings,
    Near,
    OnOutage,
    Profile,
    shown_url,
)
from rcache.core.errors import ConfigurationError
from rcache.environment import Said, from_environment, from_file

MiB: Final = 1 << 20


class SettingRow(NamedTuple):
    """One setting as people and programs are shown it: a URL without its secrets, a callable by its name."""

    name: str
    value: Any  # a text, number, boolean, list or None
    source: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # what is not generated need not be compiled at import
class Settings:
    """What is in force, checked: durations in seconds, sizes in bytes. `Settings.load()` asks code, environment and file.

    What is given here by name may be written as people write it, "10m" or "64MiB". Raises ConfigurationError, which names the
    setting, where it came from and what to write instead.
    """

    url: Any = configuration.EMBEDDED
    """Where entries are: `memory://` (in this process), `redis://host:6379/0`, `unix:///path`,
    `redis+sentinel://host:26379,other:26379/service/0`, `redis+cluster://host:7000,other:7001`, with `rediss` in place of
    `redis` for TLS, a ready `redis.asyncio` client, or a ready store. User and password stand before the hosts
    (`user:password@`), or the password in a file that each connection reads anew (`?password_file=/run/secrets/redis`);
    sentinels have their own (`?sentinel_password=`, `?sentinel_password_file=`)."""

    namespace: str = "rcache"
    """Caches of one Redis with different namespaces know nothing of each other."""

    max_bytes: int = 64 * MiB
    """Embedded: what is kept at most; what was used least recently goes first."""

    max_body: int = MiB
    """A response with a longer body passes through and is not stored."""

    max_variants: int = 32
    """Entries kept per URL (and identity) that differ by Vary."""

    max_marks: int = 1_000_000
    """Tags whose last purge is remembered; beyond it the oldest are forgotten, at the price of misses."""

    deadline: float = 0.05
    """Seconds that all trips of one request may take together before the application answers without the cache."""

    purge_timeout: float = 2.0
    """Seconds that `invalidate` waits for its purge to land while the store cannot be reached."""

    on_outage: OnOutage = "proceed"
    """What it does then: `"proceed"` returns with `landed=False`, `"abort"` raises BackendError. Either way the purge is
    sent until it lands, and this process serves nothing that carries its tags meanwhile. A `writing` block whose tags
    cannot be held is entered all the same, or raises."""

    near: Near | None = None
    """On Redis, entries kept in this process too: hits then take no trip. `"fast"`: it learns of purges within
    milliseconds, and within `near_lease` at most where it is cut off. `"strict"`: writers wait until every node knows; to
    be set for everybody who writes, too. None: every hit asks Redis. An embedded cache is near already."""

    near_bytes: int = 64 * MiB
    """Bound of what is kept near; what is in use stays."""

    near_lease: float = 2.0
    """Seconds that a node which hears nothing from Redis may go on serving what it keeps near. Like `commit_timeout` the
    same for all who share a namespace."""

    max_pending: int = 100_000
    """Tags whose purges wait for the store; beyond it the process serves nothing until everything is purged."""

    commit_timeout: float = 10.0
    """Seconds that the longest COMMIT takes; a hold lives twice as long. The same for all who share a namespace."""

    wait: float = 5.0
    """Seconds that a request waits for the run of another one that asks for the same, in this process or another node;
    then it runs by itself. 0: nobody waits for another, not even in one process."""

    key_host: bool = True
    """Whether the host is part of the key."""

    run_jobs: bool = True
    """Whether web processes run jobs and schedules while there are no workers. To be False for all but one cache of a process
    that has schedules."""

    enabled: bool = True
    """False: every request passes, as if there were no cache; purges are sent all the same."""

    default_ttl: float | None = None
    """Freshness of rules that name none; with it, URLs without a rule are cached as well."""

    auto: bool = False
    """True: every GET is cached whose answer is made of what can be followed; writes flush exactly what they change.
    Needs `default_ttl`, or `standard`."""

    strict: bool = False
    """True, for tests and development: StrictError is raised where an endpoint whose answer would be stored has read a
    header, a cookie or the session that is not in the key, or, with `auto`, what cannot be followed."""

    profile: Profile | None = None
    """`"conformant"`: everything that the standards allow: `standard`, `heuristic`, an hour of `stale_on_error`,
    `store_set_cookie`, and URLs without a rule to which a cookie is a header field like any other."""

    standard: bool | None = None
    """True: URLs without a rule are cached by what their answers' own header fields say, as RFC 9111 has it."""

    vary: tuple[str, ...] = ()
    """Request headers that select among answers, added to each rule's own."""

    query: tuple[str, ...] | Literal["declared"] | None = None
    """The query parameters that count, where a rule leaves it open; `"declared"`: those that the FastAPI route declares;
    None: all."""

    cookies: tuple[str, ...] | Literal["ignore"] | None = None
    """`"ignore"`, or the names of the cookies that matter, where a rule leaves it open; None: a request with cookies
    other than analytics is not cached."""

    key_by: KeyBy | None = None
    """Whose answer it is, where a rule leaves it open: a header's name, `"cookie:NAME"`, or a callable of the request."""

    guard: Callable[..., Any] | None = None
    """Who may see it, where a rule leaves it open: a callable of the request, run before every look-up."""

    client_ttl: int | None = None
    """Seconds of freshness that clients are told on purpose, where a rule leaves it open."""

    heuristic: bool | None = None
    """True: an answer without any freshness is fresh for a tenth of the time since its Last-Modified, a day at most."""

    client_may_refresh: bool | None = None
    """Whether a client's `Cache-Control: no-cache`, `max-age` and `min-fresh` make the application run; None: where only
    `standard` applies. It is a way to keep an application busy."""

    stale_while_revalidate: float | None = None
    """Seconds past its freshness for which an answer is served while a new one is made in the background, where the
    answer itself says nothing of that; None: 0."""

    stale_on_error: float | None = None
    """Seconds past its freshness for which an answer stands in for an application that raises, leaves, exceeds `timeout`,
    or answers 500, 502, 503 or 504, where the answer itself says nothing of that; None: 0."""

    timeout: float | None = None
    """Seconds after which an answer that may stand in is served, while the endpoint goes on in the background."""

    hard_timeout: float | None = None
    """Seconds after which an endpoint that has sent nothing is cancelled: 504, unless an answer may stand in."""

    early: bool | float | None = None
    """True: answers are made anew before they are stale, by chance, the likelier the longer they take (XFetch); `0.8`:
    from eight tenths of their lifetime on."""

    jitter: float | None = None
    """Each answer stays fresh for less by a random time up to these seconds, at most half of its lifetime; None: 0."""

    refresh: Refresh | None = None
    """Who makes the new answer behind a stale or early one: `"web"`, the process that was asked, or `"worker"`, those of the
    role where some are alive; None: `"web"`."""

    rewarm: int | None = None
    """Of what each purge killed, or made stale, so many at most are made again at once, the hottest; None: 0."""

    store_set_cookie: bool | None = None
    """True: answers that set a cookie are kept, cookie included."""

    forward_targeted: bool | None = None
    """False: `CDN-Cache-Control` and `RCache-Control` are heeded and not passed on; None: True."""

    cache_groups: bool | None = None
    """True: tags are exported as `Cache-Groups`, groups that the application names are tags, and its
    `Cache-Group-Invalidation` purges (RFC 9875)."""

    compress: str | Literal[False] | None = None
    """The coding that bodies are kept in, once, while each client gets what it accepts. To be written as True, or codings
    in order of preference: `"zstd"`, `"br"` (`pip install 'rcache[compress]'`), `"gzip"`."""

    audit: Audit | float | None = None
    """The part of hits for which the application is asked as well, in the background, to see whether what was served still
    holds: `0.001`, or an `Audit` that says how the two are compared; None: none."""

    sources: Mapping[str, str] = field(default_factory=dict)
    """Who said what each setting is: `"code"`, `"default"`, `"environment RCACHE_NEAR"`, or the file's table."""

    def __post_init__(self) -> None:
        sources = {}
        for name in NAMES:
            value = CHECKS[name](getattr(self, name), name)
            object.__setattr__(self, name, value)
            sources[name] = self.sources.get(name) or ("default" if value == DEFAULTS[name] else CODE)
        object.__setattr__(self, "sources", MappingProxyType(sources))

    @classmethod
    def load(cls, **given: Unpack[AllSettings]) -> Self:
        """What is given, and for the rest what the environment and the file say. Reads both anew."""
        return cls._of({**from_file(), **from_environment(os.environ), **_from_code(given)})

    @classmethod
    def _of(cls, said: Mapping[str, Said]) -> Self:
        sources = {name: each.source for name, each in said.items()}
        return cls(**{name: each.value for name, each in said.items()}, sources=sources)

    def but(self, **given: Unpack[AllSettings]) -> Self:
        """The same with other settings here and there, said by code."""
        if not given:
            return self
        said = {name: Said(getattr(self, name), source) for name, source in self.sources.items()}
        return self._of({**said, **_from_code(given)})

    def said(self, names: Iterable[str]) -> dict[str, Any]:
        """Those of `names` that somebody has said, by name."""
        return {name: getattr(self, name) for name in names if self.sources[name] != "default"}

    def contradictions(self) -> list[str]:
        """What cannot work together, with the remedy: what `Cache` and `CacheMiddleware` raise."""
        found = (
            configuration.cache_contradiction(self.said(CACHE)),
            configuration.middleware_contradiction(self.said(MIDDLEWARE)),
        )
        return [each for each in found if each is not None]

    def rows(self) -> list[SettingRow]:
        """Every setting, in order, with its value and who said it; secrets are left out."""
        return [SettingRow(name, _shown(name, getattr(self, name)), self.sources[name]) for name in NAMES]

    def __eq__(self, other: object) -> bool:
        """The same settings, whoever said them."""
        return isinstance(other, Settings) and all(getattr(self, name) == getattr(other, name) for name in NAMES)

    def __hash__(self) -> int:
        return hash(self.namespace)

    def __repr__(self) -> str:
        rows = ", ".join(f"{row.name}={row.value!r}" for row in self.rows() if row.source != "default")
        return f"Settings({rows})"


def in_force(settings: Settings | None, given: Mapping[str, Any], known: Iterable[str], whose: str) -> Settings:
    """What whoever takes `known` goes by: what it was given by name, and for the rest `settings`, or what is said elsewhere."""
    checked = configuration.checked(given, known, whose)
    if settings is None:
        return Settings.load(**cast("AllSettings", checked))
    if not isinstance(settings, Settings):
        raise ConfigurationError(f"settings={settings!r} is no Settings: write settings=Settings.load(...)")
    return settings.but(**cast("AllSettings", checked))


CODE: Final = "code"
NAMES: Final = tuple(CHECKS)
CACHE: Final = ("url", *CacheSettings.__annotations__)
MIDDLEWARE: Final = tuple(MiddlewareSettings.__annotations__)
ALIKE: Final = ("commit_timeout", "near_lease", "key_host")
"""What has to be the same for all who share a namespace, besides that all who write know of strict near caches."""

DEFAULTS: Final = {each.name: each.default for each in fields(Settings) if each.name in CHECKS}
"""What each setting is where nobody says."""


def _shown(name: str, value: Any) -> Any:
    if name == "url":
        return shown_url(value)
    if callable(value):
        return f"{getattr(value, '__module__', '?')}:{getattr(value, '__qualname__', type(value).__name__)}"
    if isinstance(value, tuple):
        return list(value)
    return value if value is None or isinstance(value, str | int | float) else repr(value)


def _from_code(given: Mapping[str, Any]) -> dict[str, Said]:
    checked = configuration.checked(given, NAMES, "rcache")
    return {name: Said(value, CODE) for name, value in checked.items()}
