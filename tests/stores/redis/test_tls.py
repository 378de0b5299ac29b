"""`rediss://`: both ways in, the event loop's and the synchronous one, check the server's certificate."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rcache import BackendError
from rcache.stores.redis import RedisStore
from tests.contract.support import TIMEOUT, Question, body_of, budget, fill
from tests.servers import RedisServer, free_port
from tests.tls import Certificates

BOOK = Question("/book/1")


@pytest.fixture(scope="module")
def tls_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that speaks TLS beside its plain port, and the URL of a client that knows who signed its certificate."""
    certificates = Certificates(tmp_path_factory.mktemp("tls"))
    port = free_port()
    server = RedisServer(*certificates.options(port))
    yield f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificates.authority}"
    server.stop()


async def test_a_store_works_over_tls(tls_url: str) -> None:
    store = RedisStore(tls_url, namespace="tls")
    await fill(store, BOOK, b"body", "book:1")
    assert await body_of(store, BOOK) == b"body"
    assert store.purge_sync(["book:1"], TIMEOUT).entries == 1
    assert await body_of(store, BOOK) is None
    await store.aclose()


async def test_a_certificate_of_somebody_else_is_refused(tls_url: str) -> None:
    store = RedisStore(tls_url.partition("?")[0], namespace="tls")
    with pytest.raises(BackendError, match="certificate"):
        await store.lookup(BOOK, budget())
    with pytest.raises(BackendError, match="certificate"):
        store.purge_sync(["book:1"], TIMEOUT, probe=True)
    await store.aclose()
