import re

import pytest
from http_sf import parse
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.cache_status import FORWARD_REASONS, forward, hit

# RFC 9211 §2 and RFC 8941: an Item that is a Token, with parameters.
TOKEN = rb"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*"
STRING = rb'"(?:[ !#-\[\]-~]|\\["\\])*"'
FIELD = re.compile(
    rb"rcache; fwd=" + TOKEN + rb"(; stored)?(; collapsed)?(?:; detail=(" + TOKEN + rb"|" + STRING + rb"))?"
)


def test_a_hit_tells_the_freshness_left():
    assert hit(57) == hit(57.9) == b"rcache; hit; ttl=57"
    assert hit(0.5) == b"rcache; hit; ttl=0"
    assert hit(-3) == b"rcache; hit; ttl=-3"


def test_a_forward_tells_its_reason_and_what_became_of_the_answer():
    assert forward("miss") == b"rcache; fwd=miss"
    assert forward("miss", stored=True) == b"rcache; fwd=miss; stored"
    assert forward("uri-miss", collapsed=True) == b"rcache; fwd=uri-miss; collapsed"
    assert forward("bypass", detail="cookie") == b"rcache; fwd=bypass; detail=cookie"
    assert (
        forward("stale", stored=True, collapsed=True, detail="a") == b"rcache; fwd=stale; stored; collapsed; detail=a"
    )


def test_a_detail_that_is_no_token_is_a_string():
    assert forward("miss", detail="two words") == b'rcache; fwd=miss; detail="two words"'
    assert forward("miss", detail='a"b\\c') == b'rcache; fwd=miss; detail="a\\"b\\\\c"'
    assert forward("miss", detail="") == b'rcache; fwd=miss; detail=""'
    assert forward("miss", detail="42") == b'rcache; fwd=miss; detail="42"'
    assert forward("miss", detail="ü\r\nx: y\n") == b'rcache; fwd=miss; detail="???x: y?"'
    assert forward("miss", detail="set-cookie\n") == b'rcache; fwd=miss; detail="set-cookie?"'


@given(st.sampled_from(FORWARD_REASONS), st.booleans(), st.booleans(), st.none() | st.text(st.characters()))
def test_every_field_is_valid(reason, stored, collapsed, detail):
    match = FIELD.fullmatch(forward(reason, stored=stored, collapsed=collapsed, detail=detail))
    assert match is not None
    assert (match[1] is not None, match[2] is not None, match[3] is not None) == (stored, collapsed, detail is not None)


@given(
    st.sampled_from(FORWARD_REASONS),
    st.none() | st.integers(100, 599),
    st.booleans(),
    st.booleans(),
    st.none() | st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)),
)
def test_what_is_printed_is_read(reason, status, stored, collapsed, detail):
    """By the library that reads structured fields."""
    field = forward(reason, status=status, stored=stored, collapsed=collapsed, detail=detail)
    [(name, said)] = parse(field, tltype="list")
    expected = {"fwd": reason, "fwd-status": status, "stored": stored or None, "collapsed": collapsed or None}
    expected = {key: value for key, value in (expected | {"detail": detail}).items() if value is not None}
    assert str(name) == "rcache"
    assert {key: value if isinstance(value, int) else str(value) for key, value in said.items()} == expected


def test_a_reason_that_the_rfc_does_not_know_is_a_key_error():
    with pytest.raises(KeyError):
        forward("because")
