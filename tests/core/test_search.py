from itertools import permutations

import pytest
from http_sf import parse
from hypothesis import assume, given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from rcache.core.keys import canonical_query
from rcache.core.search import may_state, no_vary_search

# A reading of the draft of its own: §5 parses a query as a form, §5.1 drops what does not count, sorts, and compares.


def replaced(text):
    return text.replace(b"+", b" ")


def percent_decoded(text):
    """WHATWG URL §1.3, byte by byte."""
    result, position = bytearray(), 0
    while position < len(text):
        digits = text[position + 1 : position + 3]
        if text[position : position + 1] == b"%" and len(digits) == 2 and not digits.strip(b"0123456789abcdefABCDEF"):
            result.append(int(digits, 16))
            position += 3
        else:
            result.append(text[position])
            position += 1
    return bytes(result)


def decoded(text):
    return percent_decoded(replaced(text)).decode("utf-8", "replace")


def form(query):
    pairs = [sequence.partition(b"=") for sequence in query.split(b"&") if sequence]
    return [(decoded(name), decoded(value)) for name, _, value in pairs]


def variance(field):
    """What the field says: the names that count (None: all), and whether the order of names does."""
    members = parse(field, tltype="dictionary") if field is not None else {}
    ignores_order = "key-order" in members and members["key-order"][0] is True
    if "params" not in members:
        return None, not ignores_order
    assert members["params"][0] is True
    listed = members["except"][0] if "except" in members else []
    return {decoded(name.encode()) for name, _ in listed}, not ignores_order


def are_equivalent(one, other, field):
    counted, order_matters = variance(field)
    if counted is None and order_matters:
        return one == other
    sides = []
    for query in (one, other):
        pairs = [(name, value) for name, value in form(query) if counted is None or name in counted]
        sides.append(pairs if order_matters else sorted(pairs, key=lambda pair: pair[0].encode("utf-16-be")))
    return sides[0] == sides[1]


def read(query, names):
    """What an application can read of the parameters that count."""
    parameters = QueryParams(query)
    return {name: parameters.getlist(name) for name in (name.decode() for name in names)}


@pytest.mark.parametrize(
    ("names", "field"),
    [
        (None, None),
        ([], b"params"),
        ([b"productId"], b'key-order, params, except=("productId")'),
        ([b"b", b"a"], b'key-order, params, except=("a" "b")'),
        ([b"a b"], b'key-order, params, except=("a%20b")'),
        ([b"a+b"], b'key-order, params, except=("a%2Bb")'),
        ([b'"', b"\\", b"a]%"], b'key-order, params, except=("%22" "%5C" "a%5D%25")'),
        (["é 気".encode()], b'key-order, params, except=("%C3%A9%20%E6%B0%97")'),
        ([b""], b'key-order, params, except=("")'),
    ],
)
def test_the_field_names_what_counts(names, field):
    assert no_vary_search(None if names is None else frozenset(names)) == field


def test_without_a_rule_for_the_query_nothing_is_said():
    """key-order would be read with more than it says: these two are one to it, and not to whoever reads the query raw."""
    assert are_equivalent(b"a=&b=x", b"b=%78&a", b"key-order")
    assert canonical_query(b"a=&b=x") != canonical_query(b"b=%78&a")
    assert no_vary_search(None) is None


@given(st.frozensets(st.text(st.characters(codec="utf-8"), max_size=6).map(str.encode), max_size=4))
def test_the_field_reads_back_as_the_names(names):
    counted, order_matters = variance(no_vary_search(names))
    assert counted == {name.decode() for name in names}
    assert order_matters is (not names)


# Few names and values, in many spellings.
NAMES = [b"a", b"b", b"c d", "é".encode()]
spelled_names = st.sampled_from(
    [
        b"a",
        b"%61",
        b"A",
        b"b",
        b"%62",
        b"c d",
        b"c+d",
        b"c%20d",
        b"c%2Bd",
        b"%C3%A9",
        b"%c3%a9",
        b"%E9",
        b"%ff",
        b"%fe",
        b"x",
        b"",
    ]
)
spelled_values = st.sampled_from(
    [b"", b"=", b"=1", b"=%31", b"=2", b"=+", b"=%20", b"=%", b"=%zz", b"=1=2", b"=%C3%A9", b"=%ff", b"=%fe"]
)
queries = st.lists(st.tuples(spelled_names, spelled_values).map(b"".join) | st.just(b""), max_size=6).map(b"&".join)
counted_names = st.frozensets(st.sampled_from(NAMES), max_size=4)


@given(queries, counted_names, st.randoms())
def test_an_application_reads_the_same_from_all_queries_that_the_field_calls_equivalent(query, names, random):
    """The direction that matters: a cache outside may answer one of them from the other's response."""
    other = respelled(query, random)
    field = no_vary_search(names)
    if are_equivalent(query, other, field):
        assert read(query, names) == read(other, names)
        assert read(canonical_query(query, names), names) == read(canonical_query(other, names), names)


@given(queries, queries, counted_names)
def test_it_does_so_whatever_the_queries_are(one, other, names):
    assume(are_equivalent(one, other, no_vary_search(names)))
    assert read(one, names) == read(other, names)


def respelled(query, random):
    """Other words for the same, mostly: parameters moved, added and dropped, and spelled otherwise."""
    parts = query.split(b"&")
    random.shuffle(parts)
    parts += random.choices([b"", b"x=9", b"y"], k=random.randrange(3))
    swaps = [(b"%61", b"a"), (b"+", b"%20"), (b"=1", b"=%31"), (b"%C3", b"%c3"), (b"%fe", b"%ff"), (b"d=", b"d")]
    return b"&".join([part.replace(*random.choice(swaps)) for part in parts])


plain_queries = st.lists(
    st.tuples(st.sampled_from([b"a=", b"b=", b"c%20d=", b"x="]), st.sampled_from([b"", b"1", b"2"])).map(b"".join),
    max_size=5,
).map(b"&".join)


@given(plain_queries, counted_names, st.randoms())
def test_queries_of_one_spelling_that_are_equivalent_share_a_key(query, names, random):
    parts = [*query.split(b"&"), b"x=3"]
    random.shuffle(parts)
    other = b"&".join(parts)
    assert are_equivalent(query, other, no_vary_search(names)) == (
        canonical_query(query.strip(b"&"), names) == canonical_query(other.strip(b"&"), names)
    )


def test_the_order_of_repeated_values_stays_significant():
    field = no_vary_search(frozenset([b"a", b"b"]))
    orders = {
        query
        for query in map(b"&".join, permutations([b"a=1", b"a=2", b"b=3"]))
        if are_equivalent(query, b"b=3&a=1&a=2", field)
    }
    assert orders == {b"a=1&a=2&b=3", b"a=1&b=3&a=2", b"b=3&a=1&a=2"}


def test_raw_bytes_beyond_ascii_state_nothing():
    """A cache that takes them for UTF-8 finds them equal to what Starlette tells apart."""
    raw, encoded, names = b"q=\xc3\xa9", b"q=%C3%A9", frozenset([b"q"])
    assert are_equivalent(raw, encoded, no_vary_search(names))
    assert read(raw, names) != read(encoded, names)
    assert not may_state(raw)
    assert may_state(encoded)
    assert may_state(b"")
