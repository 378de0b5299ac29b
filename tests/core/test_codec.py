"""Entries survive their way to bytes and back; nothing else becomes an entry."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.codec import VERSION, CodecError, decode_entry, encode_head
from rcache.core.entry import Entry, Start

seconds = st.floats(0, 1e12, allow_nan=False)
entries = st.builds(
    Entry,
    start=st.builds(Start, st.text(), st.integers(0, 2**53)),
    status=st.integers(100, 999),
    headers=st.lists(st.tuples(st.binary(), st.binary())).map(tuple),
    body=st.binary(),
    tags=st.lists(st.text()).map(tuple),
    stored_at=seconds,
    initial_age=seconds,
    lifetime=seconds,
    etag=st.none() | st.binary(),
    last_modified=st.none() | st.binary(),
    client_ttl=st.none() | st.integers(0, 2**31),
    is_shared=st.booleans(),
)


def decode(head: bytes, entry: Entry) -> Entry:
    return decode_entry(head, body=entry.body, start=entry.start, tags=entry.tags, stored_at=entry.stored_at)


@given(entries)
def test_any_entry_comes_back_as_it_was(entry: Entry) -> None:
    assert decode(encode_head(entry), entry) == entry


@given(st.binary())
def test_any_other_bytes_are_a_codec_error(head: bytes) -> None:
    with pytest.raises(CodecError):
        decode_entry(head, body=b"", start=Start("e", 1), tags=(), stored_at=0.0)


json = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(json | st.lists(json, min_size=8, max_size=8))
def test_other_json_under_the_right_version_is_a_codec_error_or_an_entry_of_right_types(value: object) -> None:
    try:
        entry = decode_entry(VERSION + orjson.dumps(value), body=b"", start=Start("e", 1), tags=(), stored_at=0.0)
    except CodecError:
        return
    assert decode(encode_head(entry), entry) == entry


@given(entries, st.integers(0, 255).filter(lambda version: version != VERSION[0]))
def test_another_version_is_a_codec_error(entry: Entry, version: int) -> None:
    with pytest.raises(CodecError, match="version"):
        decode(bytes([version]) + encode_head(entry)[1:], entry)


@given(entries, st.data())
def test_a_truncated_head_is_a_codec_error(entry: Entry, data: st.DataObject) -> None:
    head = encode_head(entry)
    with pytest.raises(CodecError):
        decode(head[: data.draw(st.integers(0, len(head) - 1))], entry)
