from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.directives import MAX_DELTA
from rcache.core.request_directives import RequestDirectives, request_directives

FLAGS = ["no_cache", "no_store", "only_if_cached"]
NUMBERS = ["max_age", "min_fresh", "max_stale", "stale_if_error"]


def read(*lines, **others):
    headers = [(b"host", b"a"), *((name.encode(), value) for name, value in others.items())]
    return request_directives([*headers, *((b"Cache-Control", line) for line in lines)])


def spelled(name):
    return name.replace("_", "-").encode()


def printed(directives):
    members = [spelled(name) for name in FLAGS if getattr(directives, name)]
    for name in NUMBERS:
        if (seconds := getattr(directives, name)) is not None:
            members.append(spelled(name) if seconds == inf else b"%b=%d" % (spelled(name), seconds))
    return members


seconds = st.integers(0, MAX_DELTA)
said = st.builds(
    RequestDirectives,
    **{name: st.booleans() for name in FLAGS},
    **{name: st.none() | seconds for name in NUMBERS if name != "max_stale"},
    max_stale=st.none() | seconds | st.just(inf),
)


# RFC 9111 §5.2.1, in its order and with its examples


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"max-age=5", RequestDirectives(max_age=5)),
        (b"max-stale=10", RequestDirectives(max_stale=10)),
        (b"max-stale", RequestDirectives(max_stale=inf)),
        (b"min-fresh=20", RequestDirectives(min_fresh=20)),
        (b"no-cache", RequestDirectives(no_cache=True)),
        (b"no-store", RequestDirectives(no_store=True)),
        (b"only-if-cached", RequestDirectives(only_if_cached=True)),
        (b"stale-if-error=60", RequestDirectives(stale_if_error=60)),
        (b"Max-Age=0, ONLY-IF-CACHED", RequestDirectives(max_age=0, only_if_cached=True)),
        (b' max-stale="10" ,\tmin-fresh="20",', RequestDirectives(max_stale=10, min_fresh=20)),
        (b"max-age=99999999999", RequestDirectives(max_age=MAX_DELTA)),
        (b'no-transform, s-maxage=5, private, x="no-cache"', RequestDirectives()),
        (b"", RequestDirectives()),
    ],
)
def test_directives_are_read(line, expected):
    assert read(line) == expected


def test_a_request_without_the_field_advises_nothing():
    assert read(accept=b"no-cache") == RequestDirectives()


def test_of_several_the_most_restrictive_counts():
    assert read(b"max-age=60, max-age=5", b"max-age=30").max_age == 5
    assert read(b"min-fresh=5, min-fresh=60", b"min-fresh=30").min_fresh == 60
    assert read(b"max-stale=60, max-stale", b"max-stale=5").max_stale == 5
    assert read(b"max-stale, max-stale").max_stale == inf
    assert read(b"stale-if-error=60, stale-if-error=5").stale_if_error == 5


@pytest.mark.parametrize("text", [b"=", b"=-1", b"=1.5", b"=x", b"='5'", b"= 5", b" =5", b"=5;", b'="5', b'=""'])
def test_what_cannot_be_read_asks_for_the_fresher_answer(text):
    assert read(b"max-age" + text, b"max-age=5").max_age == 0
    assert read(b"min-fresh" + text, b"min-fresh=5").min_fresh == MAX_DELTA
    assert read(b"max-stale" + text, b"max-stale=5").max_stale is None
    assert read(b"stale-if-error" + text, b"stale-if-error=5").stale_if_error == 0


def test_a_number_that_is_missing_is_one_that_cannot_be_read():
    assert read(b"max-age, min-fresh") == RequestDirectives(max_age=0, min_fresh=MAX_DELTA)


def test_an_argument_where_none_is_allowed_is_ignored():
    assert read(b'no-cache="x", no-store=1, only-if-cached=') == RequestDirectives(
        no_cache=True, no_store=True, only_if_cached=True
    )


# Pragma (RFC 9111 §5.4, RFC 7234 §5.4)


@pytest.mark.parametrize("text", [b"no-cache", b"No-Cache", b" no-cache ", b"x, no-cache", b'x="y", no-cache'])
def test_pragma_means_no_cache_where_there_is_no_cache_control(text):
    assert read(pragma=text) == RequestDirectives(no_cache=True)


@pytest.mark.parametrize("line", [b"max-age=60", b"", b"x"])
def test_pragma_means_nothing_beside_cache_control(line):
    assert not read(line, pragma=b"no-cache").no_cache


@pytest.mark.parametrize("text", [b"", b"no-store", b"unrecognised-extension", b'x="no-cache"', b"no-cache=x"])
def test_pragma_means_nothing_else(text):
    assert read(pragma=text) == RequestDirectives()


# Properties


@given(said, st.data())
def test_what_is_printed_is_read_in_any_order_and_on_any_lines(directives, data):
    members = data.draw(st.permutations([*printed(directives), b"x=1"]))
    cut = data.draw(st.integers(0, len(members)))
    assert read(b", ".join(members)) == directives
    assert read(b",".join(members[:cut]), b" , ".join(members[cut:]).upper()) == directives


pieces = st.sampled_from([*map(spelled, (*FLAGS, *NUMBERS)), b"=", b"60", b'"', b",", b" ", b"\\", b"x", b";", b"\xff"])
junk = st.binary(max_size=200) | st.lists(pieces, max_size=12).map(b"".join)


@given(said, junk)
def test_any_bytes_are_read_and_never_make_a_client_content_with_less(directives, line):
    found = read(line, b", ".join(printed(directives)))
    for name in ("no_cache", "no_store"):
        assert getattr(found, name) >= getattr(directives, name)
    for name in ("max_age", "stale_if_error"):
        before, after = getattr(directives, name), getattr(found, name)
        assert before is None or 0 <= after <= before
    assert directives.min_fresh is None or directives.min_fresh <= found.min_fresh <= MAX_DELTA
    assert directives.max_stale is None or found.max_stale is None or found.max_stale <= directives.max_stale


@given(junk)
def test_any_pragma_is_read(text):
    assert read(pragma=text) in (RequestDirectives(), RequestDirectives(no_cache=True))
