"""What a process remembers of URLs is bounded, whatever clients ask for."""

from __future__ import annotations

from rcache.core.keys import RedisNames
from rcache.stores.redis.places import LONGEST, REMEMBERED, Places
from tests.contract.support import Question


def test_a_url_is_remembered_and_a_long_one_is_not():
    places = Places(RedisNames("shop"))
    short, long = Question("/book"), Question("/" + "x" * LONGEST)
    assert places.of(short) is places.of(short)
    assert places.of(long) is not places.of(long)
    assert places.of(long).plain == places.of(long).plain


def test_no_more_urls_are_remembered_than_the_bound_allows():
    places = Places(RedisNames("shop"))
    first = places.of(Question("/0"))
    for number in range(REMEMBERED + 1):
        places.of(Question(f"/{number}"))
        assert len(places._places) <= REMEMBERED
    assert places.of(Question("/0")) is not first
