"""Options that several commands take."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import TypeVar

from rcache.cache import Cache
from rcache.core.errors import ConfigurationError

T = TypeVar("T")


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Which cache is meant."""
    parser.add_argument("--url", help="where the cache is, redis://host:6379/0 (else what RCACHE_URL says)")
    parser.add_argument("--namespace", default="rcache", help="the cache's (%(default)s)")
    parser.add_argument("--near", choices=("fast", "strict"), help="strict, where the application's caches say so")
    parser.add_argument("--cache", metavar="MODULE:NAME", help="the application's Cache, in place of all this")


def cache_of(arguments: argparse.Namespace) -> Cache:
    """The cache that is meant. Raises ConfigurationError."""
    if arguments.cache is not None:
        return named(arguments.cache, Cache)
    if not (arguments.url or os.environ.get("RCACHE_URL")):
        raise ConfigurationError("which cache is meant? --url redis://host:6379/0, RCACHE_URL or --cache MODULE:NAME")
    return Cache(arguments.url, namespace=arguments.namespace, near=arguments.near)


def named(where: str, kind: type[T]) -> T:
    """What `shop.models:Base.metadata` leads to, seen from the working directory. Raises ConfigurationError."""
    module, _, path = where.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: object = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"{where!r} leads nowhere: {error} (write package.module:name)") from error
    if not isinstance(found, kind):
        raise ConfigurationError(f"{where!r} is a {type(found).__name__}, not a {kind.__name__}")
    return found
