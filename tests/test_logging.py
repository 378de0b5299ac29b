"""What the logger `rcache` says is quiet by default, structured, and told on one page."""

from __future__ import annotations

import ast
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import rcache
from rcache import Cache, CacheMiddleware, cached, logs
from tests.support import RawClient

PACKAGE = Path(rcache.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "logging.md").read_text()


def test_the_page_tells_every_message_its_level_its_words_and_what_to_do():
    rows = re.findall(r"^\| `([\w.]+)` \| `(\w+)` \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
    assert rows == [
        (each.event, logging.getLevelName(each.level), each.template, each.remedy) for each in logs.MESSAGES
    ]


def test_no_two_messages_have_one_name():
    assert len({each.event for each in logs.MESSAGES}) == len(logs.MESSAGES)


def test_every_module_says_what_it_says_through_those_messages():
    """Nobody else asks for a logger, but the command line, which sets up what it prints."""
    used = set()
    for path in PACKAGE.rglob("*.py"):
        source = ast.parse(path.read_text())
        for node in ast.walk(source):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                name = node.value.id
                is_elsewhere = path.name != "logs.py" and "cli" not in path.parts
                assert not (is_elsewhere and name == "logging" and node.attr == "getLogger"), path
                if name == "logs":
                    used.add(getattr(logs, node.attr))
    assert {each.event for each in logs.MESSAGES if each not in used} == set(), "told by nobody"


@pytest.mark.parametrize("message", logs.MESSAGES, ids=lambda each: each.event)
def test_a_message_is_filled_from_its_fields_and_carries_them(caplog: pytest.LogCaptureFixture, message: logs.Message):
    caplog.set_level(logging.DEBUG, "rcache")
    names = dict(re.findall(r"%\((\w+)\)[.\d]*([a-z])", message.template))
    fields = {name: {"s": "text", "r": "text", "d": 5, "g": 1.5, "f": 0.5}[kind] for name, kind in names.items()}
    message.tell(**fields)
    (record,) = caplog.records
    name = "rcache.jobs" if message.event.startswith(("job.", "queue.")) else "rcache"
    assert (record.name, record.levelno, record.msg) == (name, message.level, message.template)
    assert record.rcache == {"event": message.event, **fields}  # type: ignore[attr-defined]
    assert "%(" not in record.getMessage()
    assert record.filename == "test_logging.py", "it is told as from where it was said"


def test_nothing_is_printed_where_logging_was_not_set_up():
    code = "from rcache import logs; logs.STORE_UP.tell()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=PACKAGE.parent)
    assert (done.stdout, done.stderr) == ("", "")


async def test_why_a_route_is_not_cached_is_said_once_with_its_fields(caplog: pytest.LogCaptureFixture):
    @cached(ttl=60, key_by=lambda request: 5)  # type: ignore[arg-type, return-value]
    async def page(request):
        return PlainTextResponse("page")

    @cached(ttl=60)
    async def own(request):
        return PlainTextResponse("own", headers={"cache-control": "private"})

    app = CacheMiddleware(Starlette(routes=[Route("/", page), Route("/own", own)]), cache=Cache("memory://"))
    client = RawClient(app)
    for path in ("/", "/", "/own", "/own"):
        await client.get(path)
    unclear, private = (record.rcache for record in caplog.records)  # type: ignore[attr-defined]
    assert (unclear["event"], unclear["type"]) == ("key_by.unclear", "int")
    assert (private["event"], private["reason"]) == ("route.not_cached", "private")
    assert "own" in private["route"]
    await app.cache.close()
