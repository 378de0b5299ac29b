from dataclasses import fields

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rcache.core.directives import MAX_DELTA, ResponseDirectives, delta_seconds, response_directives

FLAGS = [
    *("no_store", "no_cache", "private", "public", "must_revalidate", "proxy_revalidate"),
    *("must_understand", "no_transform"),
]
LISTS = ["no_cache_fields", "private_fields"]
LIFETIMES = ["max_age", "s_maxage", "stale_while_revalidate", "stale_if_error"]


def read(*lines):
    return response_directives([(b"cache-control", line) for line in lines])


def spelled(name):
    return name.removesuffix("_fields").replace("_", "-").encode()


def printed(directives):
    """The members of a Cache-Control field that say this, as RFC 9111 §5.2.2 has them spelled."""
    members = [spelled(name) for name in FLAGS if getattr(directives, name)]
    for name in LISTS:
        if named := getattr(directives, name):
            members.append(b'%b="%b"' % (spelled(name), ", ".join(named).encode()))
    for name in LIFETIMES:
        if (seconds := getattr(directives, name)) is not None:
            members.append(b"%b=%d" % (spelled(name), seconds))
    return members


field_names = st.lists(st.from_regex(r"\A[!#$%&'*+\-.^_`|~0-9a-z]{1,8}\Z"), max_size=3, unique=True).map(tuple)
said = st.builds(
    ResponseDirectives,
    **{name: st.booleans() for name in FLAGS},
    **dict.fromkeys(LISTS, field_names),
    **{name: st.none() | st.integers(0, MAX_DELTA) for name in LIFETIMES},
)


# Syntax (RFC 9111 §5.2)


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
        (b"no-transform", ResponseDirectives(no_transform=True)),
        (b"max-age=5", ResponseDirectives(max_age=5)),
        (b"s-maxage=10", ResponseDirectives(s_maxage=10)),
        (b"max-age=0", ResponseDirectives(max_age=0)),
        (b"max-age=003600", ResponseDirectives(max_age=3600)),
        (b"max-age=600, stale-while-revalidate=30", ResponseDirectives(max_age=600, stale_while_revalidate=30)),
        (b"max-age=600, stale-if-error=1200", ResponseDirectives(max_age=600, stale_if_error=1200)),
        (b"Max-Age=60, PUBLIC", ResponseDirectives(max_age=60, public=True)),
        (b"\tmax-age=60 ,\tpublic ,,", ResponseDirectives(max_age=60, public=True)),
        (b"", ResponseDirectives()),
        (b" , ,", ResponseDirectives()),
    ],
)
def test_directives_are_read(line, expected):
    assert read(line) == expected


def test_an_argument_may_be_a_token_or_a_quoted_string():
    """RFC 9111 §5.2: recipients ought to accept both forms, even if a specific form is required for generation."""
    assert read(b'max-age="60"') == read(b"max-age=60")
    assert read(rb'max-age="\6\0"') == read(b"max-age=60")
    assert read(b'no-cache="set-cookie"') == read(b"no-cache=Set-Cookie")


def test_a_response_without_the_field_says_nothing():
    assert response_directives([(b"expires", b"0"), (b"pragma", b"no-cache")]) == ResponseDirectives()


def test_all_lines_count_whatever_the_case_of_the_name():
    headers = [(b"Cache-Control", b"max-age=5"), (b"x", b"no-store"), (b"CACHE-CONTROL", b"public")]
    assert response_directives(headers) == ResponseDirectives(max_age=5, public=True)


def test_unknown_directives_are_ignored():
    """RFC 9111 §5.2.3, with its own example: who does not know `community` adheres to `private`."""
    assert read(b'private, community="UCI"') == ResponseDirectives(private=True)
    assert read(b'x=no-store, y="no-store, private", z="max-age=3600", immutable') == ResponseDirectives()
    assert read(b"nostore, max-age2=3, no-store-at-all, xno-store") == ResponseDirectives()


# Qualified forms (RFC 9111 §5.2.2.4, §5.2.2.7)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'private="Set-Cookie, X-User"', ResponseDirectives(private_fields=("set-cookie", "x-user"))),
        (b'no-cache="a",no-cache="b, a"', ResponseDirectives(no_cache_fields=("a", "b"))),
        (b"no-cache=a", ResponseDirectives(no_cache_fields=("a",))),
        (b'private=",x-user,,"', ResponseDirectives(private_fields=("x-user",))),
        (b'private="a", private', ResponseDirectives(private=True, private_fields=("a",))),
    ],
)
def test_qualified_forms_name_fields(line, expected):
    assert read(line) == expected


@pytest.mark.parametrize("text", [b'""', b'" , "', b'"x user"', b'"a, b c"', b'"a:b"', b'"\xff"', b"", b'"a', b"a b"])
@pytest.mark.parametrize("name", [b"private", b"no-cache"])
def test_a_list_that_is_empty_or_malformed_qualifies_nothing(name, text):
    directives = read(b"%b=%b" % (name, text))
    assert (directives.private, directives.no_cache) == (name == b"private", name == b"no-cache")
    assert directives.private_fields == directives.no_cache_fields == ()


# Conflicts and what cannot be read (RFC 9111 §4.2.1)


@pytest.mark.parametrize("name", LIFETIMES)
def test_of_conflicting_lifetimes_the_lowest_counts(name):
    text = spelled(name)
    assert getattr(read(b"%b=60, %b=5" % (text, text), b"%b=30" % text), name) == 5
    assert getattr(read(b"%b=5, %b=60" % (text, text)), name) == 5
    assert getattr(read(b"%b=60, %b=x" % (text, text)), name) == 0


@pytest.mark.parametrize(
    "text",
    [
        *(
            b"=",
            b"=-1",
            b"=+5",
            b"=1.5",
            b"=60s",
            b"=\xb2",
            b"=0x10",
            b"=1 0",
            b"='60'",
            b"=inf",
            b'="60',
            b'="',
            b'=""',
        ),
        *(b"= 60", b" =60", b" = 60", b"=60;", b"=60; public", b" 60", b":60", b'="60"0', b"=60=70", b""),
    ],
)
@pytest.mark.parametrize("name", LIFETIMES)
def test_a_lifetime_that_cannot_be_read_is_zero(name, text):
    """RFC 9111 §4.2.1: caches are encouraged to consider responses that have invalid freshness information to be stale."""
    assert getattr(read(spelled(name) + text), name) == 0
    assert getattr(read(b"%b=60, %b%b" % (spelled(name), spelled(name), text)), name) == 0


@pytest.mark.parametrize(
    "text", [b"2147483648", b"2147483649", b"99999999999", b"9" * 10_000, b"0" * 10_000 + b"9" * 11]
)
def test_a_lifetime_too_large_is_capped(text):
    assert read(b"max-age=" + text).max_age == MAX_DELTA == 2_147_483_648


@pytest.mark.parametrize(
    "line",
    [
        *(b"no-store max-age=60", b"no-store; max-age=60", b"max-age=60; no-store", b"max-age=60 no-store"),
        *(b'foo="bar, no-store', b'foo="bar no-store', b'"no-store"', b"no-store=", b"no-store = x", b"no-store=yes"),
        *(b'no-store="', b"=no-store", b"\x00no-store", b"foo=bar; NO-STORE", b"no-store\xff"),
    ],
)
def test_a_restriction_is_not_hidden_by_what_is_malformed(line):
    assert read(line).no_store
    assert read(b"public, max-age=60", line).no_store


def test_the_lifetime_of_a_member_that_is_no_directive_is_zero():
    assert read(b"no-store; max-age=60") == ResponseDirectives(no_store=True, max_age=0)
    assert read(b"private max-age=60") == ResponseDirectives(private=True, max_age=0)


def test_an_argument_does_not_undo_a_restriction():
    for line in (b"no-store=yes", b"must-revalidate=0", b'proxy-revalidate=""', b"no-transform=x"):
        assert getattr(read(line), line.partition(b"=")[0].decode().replace("-", "_"))


@pytest.mark.parametrize("name", ["public", "must_understand"])
@pytest.mark.parametrize("text", [b"=yes", b'=""', b"=", b";", b" x", b" =x"])
def test_a_permission_that_is_malformed_permits_nothing(name, text):
    assert not getattr(read(spelled(name) + text), name)
    assert getattr(read(spelled(name) + text, spelled(name)), name)


# Properties


@given(st.integers(0))
def test_delta_seconds_come_back(number):
    assert delta_seconds(b"%d" % number) == min(number, MAX_DELTA)
    assert delta_seconds(b"000%d" % number) == min(number, MAX_DELTA)


@given(said)
def test_what_is_printed_is_read(directives):
    assert read(b", ".join(printed(directives))) == directives


@given(said, st.data())
def test_neither_order_nor_lines_nor_case_nor_spaces_nor_quotes_nor_extensions_matter(directives, data):
    members = data.draw(st.permutations([*printed(directives), b"immutable", b'x="no-store, \\", private"']))
    for index, member in enumerate(members):
        name, equals, argument = member.partition(b"=")
        if data.draw(st.booleans()):
            name = name.upper()
        if argument.isdigit() and data.draw(st.booleans()):
            argument = b'"%b"' % argument
        members[index] = data.draw(st.sampled_from([b"", b" ", b"\t ,"])) + name + equals + argument
    cut = data.draw(st.integers(0, len(members)))
    expected = read(b", ".join(printed(directives)))
    found = read(b",".join(members[:cut]), b" , ".join(members[cut:]))
    for field in fields(ResponseDirectives):
        this, other = getattr(found, field.name), getattr(expected, field.name)
        assert (set(this) == set(other)) if field.name in LISTS else (this == other)


pieces = st.sampled_from(
    [*map(spelled, (*FLAGS, *LIFETIMES)), b"=", b"60", b'"', b",", b" ", b"\\", b"x", b";", b"\xff", b"\x00"]
)
junk = st.binary(max_size=40) | st.lists(pieces, max_size=12).map(b"".join)


def no_laxer(after, before):
    """Whether `after` restricts whatever `before` does; permissions are compared where each stands alone."""
    restrictions = ["no_store", "no_cache", "private", "must_revalidate", "proxy_revalidate", "no_transform"]
    return all(getattr(after, name) >= getattr(before, name) for name in restrictions) and all(
        getattr(before, name) is None or 0 <= getattr(after, name) <= getattr(before, name) for name in LIFETIMES
    )


@given(said, junk)
@example(ResponseDirectives(no_store=True), b'"')
def test_any_bytes_are_read_and_undo_no_restriction(directives, line):
    members = printed(directives)
    assert all(0 <= (getattr(read(line), name) or 0) <= MAX_DELTA for name in LIFETIMES)
    assert no_laxer(read(*members, line), directives)
    assert no_laxer(read(line, b", ".join(members)), directives)


def test_long_fields_are_read_in_one_pass():
    """Each would take minutes if a quote or a name were looked for from every position."""
    for unit in (b'\\"', b'"', b'"\\', b"a", b" a", b"a=", b'a="', b";"):
        read(b"no-store" + unit * 300_000)
