"""For test suites of applications that cache, and of stores: what was a hit and why not, what a write purged, time, nodes.

The fixtures of pytest are in `pytest_rcache`, which loads this package when one of them is asked for.
"""

from rcache.testing.answers import assert_hit, assert_miss, assert_not_cached, assert_stale
from rcache.testing.cache_status import CacheStatus, cache_status
from rcache.testing.clock import HandClock
from rcache.testing.embedded import embedded
from rcache.testing.fleet import Fleet, Node, fleet
from rcache.testing.purges import Purges, assert_purged_by
from rcache.testing.switches import disable, strict

__all__ = [
    "CacheStatus",
    "Fleet",
    "HandClock",
    "Node",
    "Purges",
    "assert_hit",
    "assert_miss",
    "assert_not_cached",
    "assert_purged_by",
    "assert_stale",
    "cache_status",
    "disable",
    "embedded",
    "fleet",
    "strict",
]
