from hypothesis import given
from hypothesis import strategies as st

from rcache.core.headers import joined, split_list, values, without

HEADERS = [(b"Set-Cookie", b"a=1"), (b"etag", b'"x"'), (b"set-cookie", b"b=2"), (b"SET-COOKIE", b"c=3"), (b"vary", b"")]

awkward = st.lists(st.sampled_from([b'"', b"\\", b",", b" ", b"\t", b"a", b"=", b"b", b"\n"]), max_size=12).map(
    b"".join
)


def test_all_lines_of_a_field_are_found_in_order_whatever_the_case():
    assert values(HEADERS, b"set-cookie") == [b"a=1", b"b=2", b"c=3"]
    assert values(HEADERS, b"age") == []


def test_lines_are_joined_as_one_list():
    assert joined(HEADERS, b"set-cookie") == b"a=1, b=2, c=3"
    assert joined(HEADERS, b"vary") == b""
    assert joined(HEADERS, b"age") is None


def test_fields_are_left_out_whatever_the_case():
    assert without(HEADERS, frozenset([b"set-cookie"])) == [(b"etag", b'"x"'), (b"vary", b"")]
    assert without(HEADERS, frozenset()) == HEADERS


def test_list_members_are_trimmed_and_empty_ones_dropped():
    assert split_list(b" a ,\tb\t,, ,c=d ") == [b"a", b"b", b"c=d"]
    assert split_list(b"") == split_list(b" , ,") == []


def test_commas_within_quotes_do_not_separate():
    assert split_list(b'private="a, b", x') == [b'private="a, b"', b"x"]
    assert split_list(rb'a="\", b", c') == [rb'a="\", b"', b"c"]
    assert split_list(rb'a="b\\", c') == [rb'a="b\\"', b"c"]


def test_a_quote_that_never_closes_hides_nothing():
    assert split_list(b'a="b, no-store') == [b'a="b', b"no-store"]
    assert split_list(b'x="y,z", a="b, no-store') == [b'x="y,z"', b'a="b', b"no-store"]
    assert split_list(b'", no-store\\') == [b'"', b"no-store\\"]


@given(st.binary() | awkward)
def test_splitting_loses_nothing_but_commas_and_blanks(value):
    members = split_list(value)
    assert b"".join(members).translate(None, b", \t") == value.translate(None, b", \t")
    assert all(member and member.strip(b" \t") == member for member in members)
    if b'"' not in value:
        assert b"," not in b"".join(members)


@given(st.lists(st.from_regex(rb'\A[a-z]+(="([a-z, \t]|\\["\\,])*")?\Z'), max_size=5))
def test_members_come_back_from_a_list(members):
    assert split_list(b", ".join(members)) == members


def test_long_runs_of_quotes_and_backslashes_are_read_in_one_pass():
    """Each would take hours if an unclosed quote were looked for from every position."""
    for unit in (b'\\"', b'"', b'",', b'"\\', b" ", b", "):
        split_list(b'a="' + unit * 500_000)
