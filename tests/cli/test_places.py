"""URLs as people write them, and rows as JSON."""

from __future__ import annotations

import contextlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.cli.places import target, url_tags
from rcache.cli.screen import spelled
from rcache.core.errors import ConfigurationError
from rcache.core.inspection import Wanted
from rcache.core.keys import Key
from tests.cli.support import row


@given(st.one_of(st.text(), st.text().map("/{}".format), st.text().map("http://{}".format)))
def test_a_url_is_read_or_refused_and_means_the_same_when_it_is_read_again(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        asked = target(text)
        assert asked.text.isprintable()
        assert asked.path.startswith("/")
        assert target(asked.text) == asked
        assert Wanted(asked.text).host == asked.host


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/a?b=1#c", "/a?b=1"),
        ("HTTPS://user:secret@Shop.Test:8443/A?b", "https://shop.test:8443/A?b"),
        ("http://shop.test", "http://shop.test/"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
    ],
)
def test_a_url_is_written_as_its_key_has_it(text: str, shown: str) -> None:
    assert target(text).text == shown


def test_the_tags_of_a_url_are_those_of_what_is_stored_and_of_what_may_be() -> None:
    key = Key("http", b"shop.test", b"/x", b"a=1&b=2")
    assert key.url_tag in url_tags(target("http://shop.test/x?b=2&a=1"), [])
    assert key.url_tag in url_tags(target("/x?a=1&b=2"), [row("e1", url=key.shown)])
    assert key._replace(host=b"").url_tag in url_tags(target("/x?a=1&b=2"), [])


ANY_TEXT = st.text(st.characters())  # surrogates too


@given(ANY_TEXT, st.binary(), st.floats())
def test_every_row_is_json(text: str, octets: bytes, number: float) -> None:
    value = {text: (row("e1", url=text, tags=(text,), age=number), octets)}
    [(entry, body)] = orjson.loads(orjson.dumps(spelled(value))).values()
    assert entry["tags"] == [entry["url"]]
    assert isinstance(body, str) or set(body) == {"base64"}
