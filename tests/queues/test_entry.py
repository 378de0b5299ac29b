"""The way in: passwords in files, TLS, sockets, and users who may do what docs/workers.md says and no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rcache.clock import SystemClock
from rcache.core.errors import BackendError
from rcache.core.jobs import Job
from rcache.queues.redis import open_queue
from tests.queues.support import Runs, seen, served
from tests.servers import RedisServer, free_port
from tests.tls import Certificates

PAGE = Path(__file__).parents[2] / "docs" / "workers.md"


async def everything(url):
    """Asks for every command that a queue uses; a sentence that a job failed with comes back."""
    queue = open_queue(url, "entry", SystemClock())
    runs = Runs()

    def act(job):
        if job.name == "bad":
            raise ValueError("no")

    runs.act = act
    try:
        async with served(queue, runs, is_worker=True):
            await queue.pause("low")
            await queue.resume()
            await queue.add(Job("good", key="k", apart=0.01))
            await queue.add(Job("bad", priority="high", delay=0.01))
            view = await seen(queue, lambda view: view.counts["done"] == view.counts["failed"] == 1)
    finally:
        await queue.aclose()
    return view.failures[0].error


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("entry")
    certificates = Certificates(folder)
    port = free_port()
    options = (*certificates.options(port), "--unixsocket", str(folder / "redis.sock"))
    made = RedisServer(*options, password="p/w:@")
    made.folder, made.tls_port, made.authority = folder, port, certificates.authority
    yield made
    made.stop()


async def test_tls_a_password_in_a_file_and_a_socket_lead_to_the_same_queue(server):
    file = server.folder / "password"
    file.write_text("p/w:@\n")
    tls = f"rediss://127.0.0.1:{server.tls_port}/0?ssl_ca_certs={server.authority}&password_file={file}"
    for url in (
        tls,
        f"unix://{server.folder}/redis.sock?password_file={file}&db=1",
        f"redis://:p%2Fw%3A%40@127.0.0.1:{server.port}/2",
    ):
        assert await everything(url) == "ValueError: no"
    with server.client() as client:
        assert {f"db{number}" for number in (0, 1, 2)} == set(client.info("keyspace"))


async def test_who_is_not_let_in_is_told(server):
    for url, words in (
        (f"redis://:wrong@127.0.0.1:{server.port}/0", "WRONGPASS|invalid"),
        (f"rediss://:p%2Fw%3A%40@127.0.0.1:{server.tls_port}/0", "certificate|CERTIFICATE"),
        (f"redis://127.0.0.1:{free_port()}/0", "cannot be reached"),
    ):
        queue = open_queue(url, "entry", SystemClock())
        with pytest.raises(BackendError, match=words) as raised:
            await queue.add(Job("a"))
        assert "p/w" not in str(raised.value)
        await queue.aclose()


def rules():
    """The two lists of rules that the page shows."""
    found = re.findall(r"ACL SETUSER worker on >secret (.*?)\n```", PAGE.read_text(), re.DOTALL)
    assert len(found) == 2
    return [each.split() for each in found]


@pytest.mark.parametrize("which", [0, 1])
async def test_a_user_with_the_rights_that_the_page_names_can_do_everything(server, which):
    with server.client() as client:
        client.function_flush()
        client.acl_log_reset()
        client.execute_command("ACL", "SETUSER", "worker", "reset", "on", ">secret", *rules()[which])
        assert await everything(f"redis://worker:secret@127.0.0.1:{server.port}/3") == "ValueError: no"
        assert client.acl_log() == []


async def test_a_right_that_is_missing_is_named(server):
    least = [rule for rule in rules()[1] if rule != "+fcall"]
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "worker", "reset", "on", ">secret", *least)
    queue = open_queue(f"redis://worker:secret@127.0.0.1:{server.port}/0", "entry", SystemClock())
    with pytest.raises(BackendError, match="fcall"):
        await queue.add(Job("a"))
    await queue.aclose()
