"""Test clients, threads and loops on Redis, through the whole middleware: a new loop per request is nothing special."""

from __future__ import annotations

import gc
import threading
import uuid
import warnings

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from rcache import Cache, CacheMiddleware, cached, invalidate_sync
from tests.servers import RedisServer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Starlette would rather have another HTTP client
    from starlette.testclient import TestClient


@pytest.fixture
def app(redis_server: RedisServer) -> Starlette:
    versions = {"page": 1}

    @cached(ttl=60, tags=["page"])
    def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{versions['page']}")

    def write(request: Request) -> PlainTextResponse:
        versions["page"] += 1
        return PlainTextResponse(f"{invalidate_sync('page').landed}")

    app = Starlette(routes=[Route("/", page), Route("/", write, methods=["PUT"])])
    app.add_middleware(CacheMiddleware, cache=Cache(redis_server.url, namespace=uuid.uuid4().hex, deadline=5.0))
    return app


def statuses(client: TestClient) -> list[str]:
    """A miss, a hit, a write, a miss and a hit."""
    told = []
    for method in ("GET", "GET", "PUT", "GET", "GET"):
        response = client.request(method, "/")
        assert response.status_code == 200
        told.append(response.headers.get("cache-status", response.text).partition("; ttl")[0])
    return told


EXPECTED = ["rcache; fwd=miss; stored", "rcache; hit", "True", "rcache; fwd=miss; stored", "rcache; hit"]


@pytest.mark.filterwarnings("error")
def test_a_test_client_with_a_new_loop_per_request_works(app: Starlette):
    assert statuses(TestClient(app)) == EXPECTED
    gc.collect()  # what a loop left open would warn now


@pytest.mark.filterwarnings("error")
def test_a_test_client_with_one_loop_and_a_lifespan_works_again_and_again(app: Starlette):
    for _ in range(3):
        with TestClient(app) as client:
            assert client.put("/").text == "True"
            assert statuses(client) == EXPECTED
    gc.collect()


@pytest.mark.filterwarnings("error")
def test_several_loops_in_threads_share_one_cache(app: Starlette):
    assert statuses(TestClient(app)) == EXPECTED
    told: list[str] = []

    def visit() -> None:
        with TestClient(app, backend_options={}) as client:
            told.extend(client.get("/").headers["cache-status"].partition("; ttl")[0] for _ in range(20))

    threads = [threading.Thread(target=visit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == ["rcache; hit"] * 80
    gc.collect()
