import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.dates import format_http_date
from rcache.core.validation import etag_matches, is_strong, not_modified, not_modified_headers, strong_etag

NOW = 1_700_000_000.0
MODIFIED = format_http_date(NOW - 100)

etags = st.tuples(st.sampled_from([b"", b"W/"]), st.from_regex(rb'\A"[!#-~\x80-\xff]{0,4}"\Z')).map(b"".join)


def test_a_strong_etag_is_quoted_and_equal_for_equal_bytes():
    etag = strong_etag(b"hello", [(b"content-type", b"text/plain")])
    assert re.fullmatch(rb'"[A-Za-z0-9_-]{22}"', etag)
    assert etag == strong_etag(b"hello", [(b"x", b"y"), (b"Content-Type", b"text/plain")])


def test_a_strong_etag_is_equal_in_every_process():
    program = "from rcache.core.validation import strong_etag; print(strong_etag(b'hello', []).decode())"
    path = "import sys; sys.path[:] = " + repr(sys.path) + "; "
    runs = {
        subprocess.run([sys.executable, "-c", path + program], capture_output=True, check=True).stdout for _ in "12"
    }
    assert runs == {strong_etag(b"hello", []) + b"\n"}


representations = st.tuples(
    st.none() | st.sampled_from([b"", b"a", b"1:a", b"-"]),
    st.none() | st.sampled_from([b"", b"a", b"1:"]),
    st.binary(max_size=4),
)


@given(representations, representations)
def test_two_representations_share_an_etag_only_if_they_are_the_same(one, other):
    def made(content_type, coding, body):
        fields = [(b"content-type", content_type), (b"content-encoding", coding)]
        return strong_etag(body, [(name, value) for name, value in fields if value is not None])

    assert (made(*one) == made(*other)) == (one == other)


@pytest.mark.parametrize(
    ("if_none_match", "etag", "expected"),
    [
        (b'"a"', b'"a"', True),
        (b'"a"', b'"b"', False),
        (b'W/"a"', b'"a"', True),
        (b'"a"', b'W/"a"', True),
        (b'W/"a"', b'W/"a"', True),
        (b'"x", "a" ,W/"y"', b'"a"', True),
        (b',, "x",,"a",', b'"a"', True),
        (b'"x,y"', b'"x,y"', True),
        (b'"x,y"', b'"x"', False),
        (b'"x, "a", "y"', b'"a"', False),
        (b'""', b'""', True),
        (b'"a b"', b'"a b"', True),
        (b"*", b'"a"', True),
        (b" * ", None, True),
        (b'*, "a"', b'"a"', False),
        (b'"*"', b'"a"', False),
        (b"a", b"a", False),
        (b"a", b'"a"', False),
        (b'w/"a"', b'"a"', False),
        (b'W/ "a"', b'"a"', False),
        (b'"a" "b"', b'"a"', False),
        (b'x"a"', b'"a"', False),
        (b'"a"x', b'"a"', False),
        (b'"a', b'"a"', False),
        (b"'a'", b'"a"', False),
        (b'"a\n"', b'"a\n"', False),
        (b"", b'"a"', False),
        (b"", b"", False),
        (b'"a"', None, False),
        (b'"A"', b'"a"', False),
    ],
)
def test_entity_tags_are_compared_weakly(if_none_match, etag, expected):
    assert etag_matches(if_none_match, etag) is expected


@given(st.lists(etags, max_size=5), etags, st.sampled_from([b",", b", ", b" ,\t", b",,"]))
def test_a_list_matches_if_one_of_its_members_does(listed, etag, separator):
    """Beside a straightforward reference: strip what says weak, compare."""
    expected = any(member.removeprefix(b"W/") == etag.removeprefix(b"W/") for member in listed)
    assert etag_matches(separator.join(listed), etag) is expected


@pytest.mark.parametrize(
    ("etag", "expected"),
    [
        *((etag, True) for etag in (b'"a"', b'""', b'"a b"', b'"W/"', b'"\xff"')),
        *(
            (etag, False)
            for etag in (b'W/"a"', b"a", b"", b'"', b'"a', b'a"', b'"a"x', b'"a" "b"', b'"a", "b"', b' "a"')
        ),
    ],
)
def test_a_strong_entity_tag_is_one_quoted_text_alone(etag, expected):
    assert is_strong(etag) is expected


pieces = st.lists(st.sampled_from([b'"', b"a", b"W/", b",", b" ", b"*", b"\\", b"\x00"]), max_size=9).map(b"".join)


@given(st.binary() | pieces, st.none() | st.binary() | pieces)
def test_any_bytes_match_only_if_the_tag_stands_in_the_list(if_none_match, etag):
    if etag_matches(if_none_match, etag):
        assert if_none_match.strip() == b"*" or etag.removeprefix(b"W/") in if_none_match


def test_long_garbage_is_read_in_one_pass():
    for unit in (b'"', b'",', b'"a"', b" ", b", ", b"W/", b'"a",', b'W/"'):
        assert not etag_matches(unit * 200_000 + b"\x00", b'"b"')
        assert not etag_matches(unit * 200_000 + b'"b"\x00', b'"b"')


def ask(*headers, etag=b'"a"', last_modified=MODIFIED):
    return not_modified(headers, etag, last_modified, NOW)


def since(seconds):
    return (b"if-modified-since", format_http_date(NOW - seconds))


def test_a_request_without_conditions_is_answered_in_full():
    assert not ask((b"accept", b"*/*"))


def test_if_none_match_decides_alone():
    assert ask((b"if-none-match", b'"a"'), since(500))
    assert not ask((b"if-none-match", b'"b"'), since(0))
    assert not ask((b"if-none-match", b"garbage"), since(0))


def test_all_lines_of_if_none_match_count():
    assert ask((b"if-none-match", b'"x"'), (b"If-None-Match", b'"a"'))


def test_if_modified_since_is_compared_with_last_modified():
    assert ask(since(100))
    assert ask(since(99))
    assert not ask(since(101))
    assert not ask(since(0), last_modified=None)
    assert not ask(since(0), last_modified=b"garbage")


def test_an_invalid_or_repeated_if_modified_since_is_ignored():
    assert not ask((b"if-modified-since", b"garbage"))
    assert not ask(since(0), since(0))
    assert not ask((b"if-modified-since", b""))


def test_if_modified_since_needs_no_etag():
    assert ask(since(100), etag=None)


@given(st.lists(st.tuples(st.sampled_from([b"if-none-match", b"if-modified-since"]), st.binary() | pieces), max_size=4))
def test_any_conditions_are_decided(headers):
    assert ask(*headers) in (True, False)


HEADERS = [
    (b"content-type", b"text/html"),
    (b"Content-Length", b"5"),
    (b"content-encoding", b"gzip"),
    (b"content-language", b"en"),
    (b"content-range", b"bytes 0-4/5"),
    (b"content-digest", b"sha-256=:x:"),
    (b"cache-control", b"max-age=60"),
    (b"content-location", b"/a"),
    (b"date", b"x"),
    (b"expires", b"x"),
    (b"vary", b"accept"),
    (b"vary", b"x-a"),
    (b"last-modified", MODIFIED),
    (b"access-control-allow-origin", b"*"),
    (b"content-security-policy", b"x"),
]
KEPT = [pair for pair in HEADERS[6:] if pair[0] != b"last-modified"]


def test_a_304_carries_no_metadata_of_what_it_does_not_send():
    assert not_modified_headers([*HEADERS, (b"ETag", b'"a"')]) == [*KEPT, (b"ETag", b'"a"')]


def test_a_304_without_etag_carries_last_modified():
    assert not_modified_headers(HEADERS) == HEADERS[6:]
