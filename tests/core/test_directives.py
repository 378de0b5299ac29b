import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.directives import MAX_DELTA, ResponseDirectives, delta_seconds, response_directives


def read(*lines):
    return response_directives([(b"cache-control", line) for line in lines])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"no-store", ResponseDirectives(no_store=True)),
        (b"no-cache", ResponseDirectives(no_cache=True)),
        (b"private", ResponseDirectives(private=True)),
        (b"public", ResponseDirectives(public=True)),
        (b"must-revalidate", ResponseDirectives(must_revalidate=True)),
        (b"proxy-revalidate", ResponseDirectives(proxy_revalidate=True)),
        (b"must-understand", ResponseDirectives(must_understand=True)),
        (b"max-age=60", ResponseDirectives(max_age=60)),
        (b"s-maxage=60", ResponseDirectives(s_maxage=60)),
        (b"max-age=0", ResponseDirectives(max_age=0)),
        (b'max-age="60"', ResponseDirectives(max_age=60)),
        (b"Max-Age=60, PUBLIC", ResponseDirectives(max_age=60, public=True)),
        (b"max-age = 60 ,\tpublic ,,", ResponseDirectives(max_age=60, public=True)),
        (b"no-store=yes", ResponseDirectives(no_store=True)),
        (b'private="Set-Cookie, X-User"', ResponseDirectives(private_fields=("set-cookie", "x-user"))),
        (b'no-cache="a",no-cache="b, a"', ResponseDirectives(no_cache_fields=("a", "b"))),
        (b"no-cache=a", ResponseDirectives(no_cache_fields=("a",))),
        (b'no-cache="", private=', ResponseDirectives(no_cache=True, private=True)),
        (b'private="a", private', ResponseDirectives(private=True, private_fields=("a",))),
        (b'community="UCI", x=no-store, y="no-store, private", immutable', ResponseDirectives()),
        (b"nostore, max-age2=3, =, ==, \x00", ResponseDirectives()),
        (b"", ResponseDirectives()),
    ],
)
def test_directives_are_read(line, expected):
    assert read(line) == expected


def test_a_response_without_the_field_says_nothing():
    assert response_directives([(b"expires", b"0")]) == ResponseDirectives()


def test_all_lines_count_whatever_the_case_of_the_name():
    headers = [(b"Cache-Control", b"max-age=5"), (b"x", b"no-store"), (b"CACHE-CONTROL", b"public")]
    assert response_directives(headers) == ResponseDirectives(max_age=5, public=True)


def test_of_contradicting_lifetimes_the_lowest_counts():
    assert read(b"max-age=60, max-age=5", b"max-age=30").max_age == 5
    assert read(b"s-maxage=60, s-maxage=x").s_maxage == 0


@pytest.mark.parametrize(
    "text", [b"", b"-1", b"+5", b"1.5", b"60s", b"\xb2", b"0x10", b"1 0", b"'60'", b"inf", b'"60', b'"']
)
def test_a_malformed_lifetime_is_stale(text):
    assert read(b"max-age=" + text).max_age == 0
    assert read(b"max-age").max_age == 0


@pytest.mark.parametrize(
    "text", [b"2147483648", b"2147483649", b"99999999999", b"9" * 10_000, b"0" * 10_000 + b"9" * 11]
)
def test_a_lifetime_too_large_is_capped(text):
    assert read(b"max-age=" + text).max_age == MAX_DELTA == 2_147_483_648


def test_a_quote_that_never_closes_hides_no_directive():
    assert read(b'foo="bar, no-store').no_store


@given(st.integers(0))
def test_delta_seconds_come_back(number):
    assert delta_seconds(b"%d" % number) == min(number, MAX_DELTA)
    assert delta_seconds(b"000%d" % number) == min(number, MAX_DELTA)


names = [b"no-store", b"no-cache", b"private", b"public", b"max-age", b"s-maxage", b"must-understand"]
pieces = st.sampled_from([*names, b"=", b"60", b'"', b",", b" ", b"\\", b"x", b"-", b"\xff", b"\x00"])


@given(st.lists(st.binary(max_size=40) | st.lists(pieces, max_size=10).map(b"".join), max_size=3))
def test_any_bytes_are_read(lines):
    directives = read(*lines)
    for lifetime in (directives.max_age, directives.s_maxage):
        assert lifetime is None or 0 <= lifetime <= MAX_DELTA


@given(
    st.lists(st.sampled_from([*names, b'private="a"', b"max-age=9", b"max-age=8", b"x=1"]), max_size=6), st.randoms()
)
def test_neither_order_nor_lines_matter(directives, random):
    shuffled = directives.copy()
    random.shuffle(shuffled)
    assert read(b", ".join(directives)) == read(*shuffled)
