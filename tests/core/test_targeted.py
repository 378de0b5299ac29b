import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core import targeted as module
from rcache.core.directives import MAX_DELTA, ResponseDirectives
from rcache.core.targeted import TARGETS, UNREADABLE, targeted

CDN = b"cdn-cache-control"
FLAGS = [
    *("no_store", "no_cache", "private", "public", "must_revalidate", "proxy_revalidate"),
    *("must_understand", "no_transform"),
]
LIFETIMES = ["max_age", "s_maxage", "stale_while_revalidate", "stale_if_error"]


def read(*lines, name=CDN, names=TARGETS):
    return targeted([(b"cache-control", b"no-store"), *((name, line) for line in lines)], names)


@pytest.fixture
def missing(monkeypatch):
    """The extra is not installed."""
    monkeypatch.setitem(sys.modules, "http_sf", None)
    module._parser.cache_clear()
    yield
    module._parser.cache_clear()


# Syntax (RFC 9213 §2.1)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"max-age=600", ResponseDirectives(max_age=600)),
        (b"none", ResponseDirectives()),
        (b"max-age=60, must-revalidate", ResponseDirectives(max_age=60, must_revalidate=True)),
        (b"no-store,no-cache,private", ResponseDirectives(no_store=True, no_cache=True, private=True)),
        (b"no-store=?1", ResponseDirectives(no_store=True)),
        (b'no-cache="Set-Cookie, x"', ResponseDirectives(no_cache_fields=("set-cookie", "x"))),
        (b'private="x-user"', ResponseDirectives(private_fields=("x-user",))),
        (b"public, s-maxage=5, must-understand", ResponseDirectives(public=True, s_maxage=5, must_understand=True)),
        (
            b"stale-while-revalidate=5, stale-if-error=6",
            ResponseDirectives(stale_while_revalidate=5, stale_if_error=6),
        ),
        (b"  max-age=60 ,\tx=y ", ResponseDirectives(max_age=60)),
        (b"foobar, max-age=3600", ResponseDirectives(max_age=3600)),
        (b"max-age=0, x=(a b), y=1.5, z=:aGk=:", ResponseDirectives(max_age=0)),
        (b"max-age=99999999999", ResponseDirectives(max_age=MAX_DELTA)),
    ],
)
def test_a_field_is_a_dictionary_of_directives(line, expected):
    assert read(line) == expected


def test_parameters_are_ignored():
    assert read(b'max-age=60;x="no-store";private, no-cache;y=?0') == ResponseDirectives(max_age=60, no_cache=True)
    assert read(b"no-store; max-age=60") == ResponseDirectives(no_store=True)


def test_of_a_repeated_name_the_last_counts():
    """RFC 9651 §4.2.2, other than in Cache-Control."""
    assert read(b"max-age=5, max-age=60") == read(b"max-age=5", b"max-age=60") == ResponseDirectives(max_age=60)


@pytest.mark.parametrize("text", [b'"60"', b"60.0", b"1.5", b"-5", b"x", b"(60)", b":NjA=:", b"?0", b"?1", b"@60"])
@pytest.mark.parametrize("name", LIFETIMES)
def test_a_lifetime_of_another_type_is_zero(name, text):
    """SHOULD NOT consume values that violate these inferred constraints; RFC 9111 §4.2.1 then has it stale."""
    assert getattr(read(b"%b=%b" % (name.replace("_", "-").encode(), text)), name) == 0


@pytest.mark.parametrize("text", [b"x-user", b"1", b"?0", b'("x-user")', b'""', b'"x user"', b":eA==:", b"1.5"])
def test_a_list_of_another_type_qualifies_nothing(text):
    assert read(b"private=" + text) == ResponseDirectives(private=True)
    assert read(b"no-cache=" + text) == ResponseDirectives(no_cache=True)


@pytest.mark.parametrize("text", [b"?0", b"1", b"x", b'"x"', b"()"])
def test_an_argument_where_none_is_allowed_undoes_no_restriction_and_permits_nothing(text):
    assert read(b"no-store=" + text) == ResponseDirectives(no_store=True)
    assert read(b"must-revalidate=" + text) == ResponseDirectives(must_revalidate=True)
    assert read(b"public=" + text) == ResponseDirectives()


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b" ", b"\t", b"max-age=60,", b"max-age=10000, &&&&&", b"max-age =60", b"max-age= 60", b"Max-Age=60"),
        *(b"max-age=9999999999999999", b"max-age='60'", b'private="x', b"no-store;", b"=", b"\xff", b",no-store"),
        *(b"max-age=60s", b"max-age=", b"1"),
    ],
)
def test_a_field_that_is_empty_or_no_dictionary_is_ignored(line):
    assert read(line) is None


# The target list (RFC 9213 §2.2)


def test_a_response_without_such_a_field_is_left_to_cache_control():
    assert targeted([(b"cache-control", b"max-age=60"), (b"x-cache-control", b"no-store")], TARGETS) is None


def test_the_name_of_a_field_has_no_case():
    assert read(b"max-age=60", name=b"CDN-Cache-Control") == ResponseDirectives(max_age=60)


def test_our_own_field_comes_before_that_of_every_such_cache():
    headers = [(CDN, b"max-age=60"), (b"RCache-Control", b"max-age=5")]
    assert targeted(headers, TARGETS) == ResponseDirectives(max_age=5)
    assert targeted(headers, TARGETS[::-1]) == ResponseDirectives(max_age=60)


@pytest.mark.parametrize("line", [b"", b" ", b"max-age=", b"&&&"])
def test_the_first_field_that_is_valid_and_not_empty_decides(line):
    assert targeted([(b"rcache-control", line), (CDN, b"max-age=60")], TARGETS) == ResponseDirectives(max_age=60)


def test_fields_that_are_not_listed_change_nothing():
    assert read(b"no-store", name=b"examplecdn-cache-control") is None
    assert read(b"no-store", names=(b"rcache-control",)) is None
    assert read(b"no-store", names=()) is None


# Without the parser


def test_without_the_parser_such_a_field_is_unreadable(missing):
    assert read(b"max-age=60") is UNREADABLE
    assert read(b"&&&", name=b"rcache-control") is UNREADABLE
    assert UNREADABLE.no_store


def test_without_the_parser_a_response_that_has_none_is_as_ever(missing):
    assert read() is None
    assert read(b" ") is None
    assert read(b" ", b"", b"\t") is None
    assert read(b"max-age=60", names=()) is None


def test_the_parser_is_not_loaded_before_it_is_needed():
    code = "import sys, rcache; print('http_sf' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("False\n", "")


# Properties


def printed(directives):
    """The Dictionary that says this."""
    members = [name for name in FLAGS if getattr(directives, name)]
    members += [f"{name}={getattr(directives, name)}" for name in LIFETIMES if getattr(directives, name) is not None]
    for name in ("no_cache", "private"):
        if named := getattr(directives, name + "_fields"):
            members.append(f'{name}="{", ".join(named)}"')
    return [member.partition("=")[0].replace("_", "-") + "".join(member.partition("=")[1:]) for member in members]


field_names = st.lists(st.from_regex(r"\A[!#$%&'*+\-.^_`|~0-9a-z]{1,8}\Z"), max_size=3, unique=True).map(tuple)


@st.composite
def said(draw):
    """Of a name there is one value, so that a qualified form stands without the other."""
    flags = {name: draw(st.booleans()) for name in FLAGS}
    lists = {name + "_fields": () if flags[name] else draw(field_names) for name in ("no_cache", "private")}
    lifetimes = {name: draw(st.none() | st.integers(0, MAX_DELTA)) for name in LIFETIMES}
    return ResponseDirectives(**flags, **lists, **lifetimes)


@given(said(), st.data())
def test_what_is_printed_is_read_in_any_order_and_on_any_lines(directives, data):
    members = data.draw(st.permutations([*printed(directives), "x=y;z", "*"]))
    lines = [members] if data.draw(st.booleans()) else [[member] for member in members]
    assert read(*[", ".join(line).encode() for line in lines]) == directives


pieces = st.sampled_from(
    [
        b"no-store",
        b"max-age",
        b"private",
        b"=",
        b"60",
        b'"',
        b",",
        b" ",
        b"\\",
        b"?1",
        b"(",
        b")",
        b":",
        b"@",
        b"%",
        b";",
    ]
)


@given(st.lists(st.binary(max_size=40) | st.lists(pieces, max_size=10).map(b"".join), max_size=3))
def test_any_bytes_are_directives_or_none(lines):
    directives = read(*lines)
    assert directives is None or isinstance(directives, ResponseDirectives)
    assert directives is None or directives.max_age is None or 0 <= directives.max_age <= MAX_DELTA
