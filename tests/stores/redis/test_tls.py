"""`rediss://`: both ways in, the event loop's and the synchronous one, check the server's certificate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from rcache import BackendError
from rcache.stores.redis import RedisStore
from tests.contract.support import TIMEOUT, Question, body_of, budget, fill
from tests.servers import RedisServer, free_port

BOOK = Question("/book/1")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls_url(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that speaks TLS beside its plain port, and the URL of a client that knows who signed its certificate."""
    directory: Path = tmp_path_factory.mktemp("tls")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(directory / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(directory / "cert.pem"))
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    port = free_port()
    server = RedisServer(
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(directory / "cert.pem"), "--tls-key-file", str(directory / "key.pem")),
        *("--tls-ca-cert-file", str(directory / "ca.pem")),
    )
    yield f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={directory / 'ca.pem'}"
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
