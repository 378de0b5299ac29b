import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import cookie_parser

from rcache.core.cookies import is_analytics, matters, parse, value


def test_cookies_of_all_lines_are_read_in_order():
    assert parse([b"a=1; b=2;a=3", b" c = x=y ;;"]) == [(b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"c", b"x=y")]
    assert parse([b"a=", b"=a", b"a", b"", b" ; "]) == [(b"a", b""), (b"", b"a"), (b"", b"a")]
    assert parse([]) == []


ANALYTICS = [
    *(b"_ga", b"_ga_ABC123", b"_gid", b"_gat", b"_gat_UA-1", b"_gcl_au", b"__utma", b"__utmz", b"_fbp", b"_fbc"),
    *(b"_hjSessionUser_1", b"_pk_id.1.1fff", b"_pk_ses.1", b"_clck", b"_clsk", b"ajs_anonymous_id", b"mp_abc_mixpanel"),
    *(
        b"_uetsid",
        b"_uetvid",
        b"_ttp",
        b"_tt_enable_cookie",
        b"optimizelyEndUserId",
        b"__hstc",
        b"__hssrc",
        b"hubspotutk",
    ),
]
OTHERS = [
    *(
        b"session",
        b"sessionid",
        b"csrftoken",
        b"theme",
        b"",
        b"ga",
        b"_g",
        b"_gax",
        b"_gatekeeper",
        b"__utm",
        b"__utmax",
    ),
    *(b"_GA", b"mp_session", b"x_mixpanel", b"_token", b"_ttoken", b"__host-session", b"__hs", b"ajs_session", b"x_ga"),
]


@pytest.mark.parametrize("name", ANALYTICS)
def test_analytics_do_not_matter(name):
    assert is_analytics(name)
    assert not matters([name + b"=GA1.1.123.456"])


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_cookie_matters(name):
    assert not is_analytics(name)
    assert matters([name + b"=1"])
    assert matters([b"_ga=1; " + name + b"=1; _gid=2"])
    assert matters([b"_ga=1", name + b"=1"])


@pytest.mark.parametrize(
    "line", [b"garbage", b"=", b"\x00", b"_ga", b"\xff", b'"_ga=1"', b"_ga=1 session=2", b"_ga=1\xa0session=2"]
)
def test_garbage_matters(line):
    assert matters([line])


@pytest.mark.parametrize("lines", [[], [b""], [b" ; ;"], [b"_ga=1; _gid=2", b"_fbp=3"], [b" _ga = 1 "]])
def test_no_cookies_or_analytics_alone_do_not_matter(lines):
    assert not matters(lines)


def test_a_cookie_has_its_value():
    assert value([b"a=1; theme=dark"], b"theme") == b"dark"
    assert value([b"theme="], b"theme") == b""
    assert value([b"Theme=dark", b"theme"], b"theme") is None
    assert value([], b"theme") is None


@pytest.mark.parametrize("blank", [chr(code) for code in range(256) if chr(code).isspace()], ids=ascii)
def test_a_cookie_is_found_behind_whatever_an_application_strips(blank):
    line = f"{blank}theme{blank}={blank}dark{blank}"
    assert cookie_parser(line) == {"theme": "dark"}
    assert value([line.encode("latin-1")], b"theme") == b"dark"


def test_cookies_that_count_in_the_key_do_not_matter_any_more():
    assert not matters([b"theme=dark; _ga=1"], frozenset([b"theme"]))
    assert matters([b"theme=dark; session=1"], frozenset([b"theme"]))
    assert matters([b"theme=dark session=1"], frozenset([b"theme"]))


def test_repeated_cookies_cannot_pass_for_a_single_one():
    lists = [[b"a=1; a=2"], [b"a=12"], [b"a=2; a=1"], [b"a=1;a=2;a="], [b"a=1"], [b"a=;a=1"], [b'a="1;2"'], [b"a=1,2"]]
    assert len({value(lines, b"a") for lines in lists}) == len(lists)
    assert value([b"a=1", b"a=2"], b"a") == value([b"a=1; a=2"], b"a")


pieces = st.sampled_from(
    [b"a", b"theme", b"_ga", b"=", b";", b" ", b"\xa0", b"\x85", b"\x1c", b"\t", b'"', b"1", b"\xff"]
)
cookie_lines = st.binary(max_size=20) | st.lists(pieces, max_size=12).map(b"".join)


@given(st.lists(cookie_lines, max_size=3), st.lists(cookie_lines, max_size=3))
def test_requests_with_one_value_give_an_application_the_same_cookie(one, other):
    """What Starlette finds under a name depends on nothing but what the key holds for it."""
    for name in (b"a", b"theme", b"_ga"):
        found = [
            cookie_parser("; ".join(line.decode("latin-1") for line in lines)).get(name.decode())
            for lines in (one, other)
        ]
        if value(one, name) == value(other, name):
            assert found[0] == found[1]


@given(st.lists(cookie_lines, max_size=3))
def test_whatever_does_not_matter_is_analytics_to_an_application_too(lines):
    if not matters(lines):
        names = cookie_parser("; ".join(line.decode("latin-1") for line in lines))
        assert all(is_analytics(name.encode("latin-1")) for name in names if name)


octets = st.binary(max_size=6).filter(lambda text: not set(text) & set(b"; \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0"))


@given(st.lists(st.tuples(octets.filter(lambda name: b"=" not in name), octets), max_size=5))
def test_cookies_come_back_from_a_line(cookies):
    assert parse([b"; ".join(name + b"=" + text for name, text in cookies)]) == cookies
