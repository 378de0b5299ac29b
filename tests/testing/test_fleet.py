"""Nodes in one process, with the network between them in the test's hand."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from rcache import Cache, CacheMiddleware, cached
from rcache.testing import Fleet, HandClock, assert_hit, assert_miss, assert_not_cached, assert_stale, fleet

row = {"value": "old"}


@pytest.fixture(autouse=True)
def _written_anew() -> None:
    row["value"] = "old"


def create_app(cache: Cache) -> CacheMiddleware:
    @cached(ttl=60, tags=["row"], stale_while_revalidate=60)
    async def read(request: Request) -> Response:
        return PlainTextResponse(row["value"])

    async def write(request: Request) -> Response:
        row["value"] = "new"
        purged = await cache.invalidate("row", soft="soft" in request.query_params)
        return PlainTextResponse(str(purged.landed))

    return CacheMiddleware(Starlette(routes=[Route("/", read), Route("/", write, methods=["PUT"])]), cache)


def clients(nodes: Fleet) -> list[TestClient]:
    return [TestClient(node.app) for node in nodes]


def texts(nodes: Fleet) -> list[str]:
    return [client.get("/").text for client in clients(nodes)]


@pytest.mark.parametrize("near", [None, "fast", "strict"])
def test_what_one_node_stores_the_others_find_and_what_one_purges_nobody_serves(near):
    with fleet(create_app, nodes=3, near=near) as nodes:
        assert len(nodes) == 3
        first, second, third = clients(nodes)
        assert_miss(first.get("/"), stored=True)
        for client in (second, third, first, second):
            assert_hit(client.get("/"))
        assert second.put("/").text == "True"
        assert_miss(first.get("/"), stored=True)
        assert texts(nodes) == ["new"] * 3
        assert third.put("/?soft=1").text == "True"
        assert_stale(first.get("/"))


def test_a_hit_near_takes_no_trip():
    with fleet(create_app) as nodes:
        texts(nodes)
        texts(nodes)  # what a look-up found is kept near
        nodes[0].way.is_cut = True
        assert_hit(clients(nodes)[0].get("/"))


def test_a_node_that_is_late_serves_what_it_keeps_until_it_has_read_the_log():
    with fleet(create_app, nodes=3, near="fast") as nodes:
        texts(nodes), texts(nodes)
        first, second, third = clients(nodes)
        with nodes.delayed():
            first.put("/")
            assert_miss(first.get("/"))
            assert [second.get("/").text, third.get("/").text] == ["old", "old"]
            nodes.deliver(1)
            assert [second.get("/").text, third.get("/").text] == ["new", "old"]
        assert third.get("/").text == "new"


def test_a_node_that_is_late_serves_it_no_longer_than_its_lease():
    with fleet(create_app, near="fast", near_lease=2) as nodes:
        texts(nodes), texts(nodes)
        first, second = clients(nodes)
        with nodes.delayed():
            first.put("/")
            nodes.advance(1.9)
            assert second.get("/").text == "old"
            nodes.advance(0.2)
            assert second.get("/").text == "new"


def test_time_passes_for_nodes_that_hear_the_log_and_their_leases_go_on():
    with fleet(create_app, near="fast") as nodes:
        texts(nodes), texts(nodes)
        nodes.advance("50s")
        nodes[1].way.is_cut = True
        assert_hit(clients(nodes)[1].get("/"))
        nodes[1].way.is_cut = False
        nodes.advance("10s")
        assert_stale(clients(nodes)[1].get("/"))


def test_with_strict_near_caches_a_writer_waits_for_everybody():
    with fleet(create_app, nodes=3, near="strict") as nodes:
        texts(nodes), texts(nodes)
        with nodes.delayed():
            clients(nodes)[0].put("/")
            assert texts(nodes) == ["new"] * 3


def test_with_strict_near_caches_a_writer_waits_for_the_lease_of_a_node_that_is_cut_off():
    clock = HandClock()
    with fleet(create_app, near="strict", near_lease=2, clock=clock) as nodes:
        texts(nodes), texts(nodes)
        first, second = clients(nodes)
        with nodes.partition(1):
            assert second.get("/").text == "old"
            before = clock.monotonic()
            first.put("/")
            assert clock.monotonic() - before == 2
            assert (first.get("/").text, second.get("/").text) == ("new", "new")
            assert_not_cached(second.get("/"), detail="outage")
        assert_hit(second.get("/"))


def test_a_node_that_is_cut_off_runs_by_itself_once_its_lease_is_over_and_its_purges_land_later():
    with fleet(create_app, nodes=3, near="fast", near_lease=2) as nodes:
        texts(nodes), texts(nodes)
        first, _, third = clients(nodes)
        with nodes.partition(2):
            assert_hit(third.get("/"))
            assert third.put("/").text == "False"
            assert_not_cached(third.get("/"), detail="purge-pending")
            assert first.get("/").text == "old"
            nodes.advance(2)
            assert_not_cached(third.get("/"), detail="outage")
        assert not nodes[2].cache.journal.waiting
        assert texts(nodes) == ["new"] * 3
        assert_hit(first.get("/"))


def test_a_hold_is_told_and_seen_by_all():
    with fleet(create_app, nodes=2, near="fast") as nodes:
        texts(nodes), texts(nodes)
        with nodes[0].cache.writing_sync("row"):
            for client in clients(nodes):
                assert_miss(client.get("/"), stored=False)
            row["value"] = "new"
        assert texts(nodes) == ["new"] * 2


def test_environment_and_file_do_not_count(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RCACHE_NEAR", "strict")
    monkeypatch.setenv("RCACHE_MAX_BODY", "1")
    with fleet(create_app) as nodes:
        assert nodes[0].cache.settings.near == "fast"
        assert nodes[0].cache.max_body == 1 << 20
        assert list(nodes[:1]) == [nodes[0]]
    assert not any(node.cache.is_open for node in nodes)
