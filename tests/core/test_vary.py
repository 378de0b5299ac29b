import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.keys import prefixed
from rcache.core.vary import merge, normalise, variant_material, vary_names


def no_cookies(name):
    return None


def lines(*values):
    return [(b"vary", value) for value in values]


def test_names_of_all_lines_are_sorted_lower_case_and_unique():
    headers = [*lines(b"Accept-Encoding, X-B", b""), (b"Vary", b" accept-encoding ,,x-a"), (b"x-c", b"x-d")]
    assert vary_names(headers) == ("accept-encoding", "x-a", "x-b")
    assert vary_names([]) == vary_names(lines(b"")) == ()


@pytest.mark.parametrize(
    "value", [b"*", b"accept, *", b"*, accept", b"a b", b"cookie:a", b'"accept"', b"\xe9", b"a\x00", b"a=b"]
)
def test_what_no_request_can_match_has_no_names(value):
    assert vary_names(lines(value)) is None
    assert vary_names(lines(b"accept", value)) is None


@given(st.lists(st.binary(max_size=20), max_size=3))
def test_any_bytes_have_names_or_none(values):
    names = vary_names(lines(*values))
    assert names is None or names == tuple(sorted(set(names)))


tokens = st.text("abcXYZ019-_.!", min_size=1, max_size=8).filter(lambda name: name != "*")


@given(st.lists(st.lists(tokens, max_size=3), max_size=3), st.sampled_from([",", ", ", " ,\t", ",,"]))
def test_names_that_are_printed_are_read_on_any_lines(names, separator):
    printed = lines(*(separator.join(some).encode() for some in names))
    assert vary_names(printed) == tuple(sorted({name.lower() for some in names for name in some}))


name_tuples = st.lists(st.sampled_from("abcde"), max_size=4).map(lambda names: tuple(sorted(set(names))))


@given(name_tuples, name_tuples)
def test_merging_is_a_sorted_union(a, b):
    assert merge(a, b) == merge(b, a) == tuple(sorted(set(a) | set(b)))
    assert merge(a, a) == a


@pytest.mark.parametrize(
    ("spellings", "expected"),
    [
        (
            [
                b"gzip, br",
                b"br,gzip",
                b"BR;q=1.0, GZIP;q=0.8",
                b"gzip ; q=0.001,,br,br",
                b"br;q=1,gzip;Q=0.5",
            ],
            b"br, gzip",
        ),
        ([b"gzip;q=0", b"GZIP; q=0.000", b"gzip;q=0."], b"gzip;q=0"),
        ([b"gzip, *;q=0", b"*;q=0.0,gzip;q=1"], b"*;q=0, gzip"),
        ([b"gzip;q=0, gzip"], b"gzip, gzip;q=0"),
        ([b"identity"], b"identity"),
        ([b"", b" , "], b""),
        ([b"gzip;q=x", b"GZIP;q=x"], b"gzip;q=x"),
        ([b"gzip;q=2"], b"gzip;q=2"),
        ([b"gzip;level=9;q=1"], b"gzip;level=9;q=1"),
        ([b"gzip;q=0;q=1"], b"gzip;q=0;q=1"),
    ],
)
def test_codings_are_told_apart_by_what_they_ask_for(spellings, expected):
    assert {normalise("accept-encoding", [spelling]) for spelling in spellings} == {expected}


def test_a_field_that_is_absent_differs_from_an_empty_one_and_from_identity():
    assert normalise("accept-encoding", []) is None
    assert normalise("accept-language", []) is None
    assert normalise("x-a", []) is None
    assert normalise("x-a", [b""]) == b""
    assert len({normalise("accept-encoding", values) for values in ([], [b""], [b"identity"])}) == 3


@pytest.mark.parametrize(
    ("spellings", "expected"),
    [
        ([b"en-US,en;q=0.5", b"EN-us , en ; q=0.500", b"en-us,,en;q=0.50"], b"en-us, en;q=0.5"),
        ([b"de;q=1.000", b"de;q=1", b"de;q=1."], b"de;q=1"),
        ([b"de;q=0.0", b"de;q=0"], b"de;q=0"),
        ([b"de, en"], b"de, en"),
        ([b"en, de"], b"en, de"),
        ([b"de;q=10"], b"de;q=10"),
        ([b"de;q=0.105"], b"de;q=0.105"),
        ([b"en us"], b"en us"),
    ],
)
def test_languages_keep_their_order_and_weights(spellings, expected):
    assert {normalise("accept-language", [spelling]) for spelling in spellings} == {expected}


def test_lines_of_other_fields_are_trimmed_and_joined():
    assert normalise("x-a", [b" A, b\t", b"c "]) == b"A, b, c"
    assert normalise("accept-language", [b"de", b"en"]) == normalise("accept-language", [b"de, en"])
    assert normalise("accept-encoding", [b"gzip", b"br"]) == normalise("accept-encoding", [b"br, gzip"])


pieces = st.sampled_from(
    [b"gzip", b"BR", b"en-US", b";", b"q=", b"0", b"1", b".", b"0.50", b",", b" ", b"\t", b"*", b'"', b"\xa0"]
)
values = st.lists(st.binary(max_size=20) | st.lists(pieces, max_size=9).map(b"".join), max_size=3)


@given(st.sampled_from(["accept-encoding", "accept-language", "x-a"]), values)
def test_what_is_normal_stays_as_it_is(name, given_values):
    normal = normalise(name, given_values)
    assert (normal is None) == (not given_values)
    if normal is not None:
        assert normalise(name, [normal]) == normal


weights = st.sampled_from([b"", b";q=1", b";q=0.5", b";q=0", b"; q=0.0"])


@given(
    st.lists(st.tuples(st.sampled_from([b"gzip", b"br", b"identity", b"*"]), weights), min_size=1, max_size=5),
    st.randoms(),
)
def test_the_order_of_codings_does_not_matter_and_no_coding_is_lost(codings, random):
    shuffled = codings.copy()
    random.shuffle(shuffled)
    normal = normalise("accept-encoding", [b",".join(map(b"".join, codings))])
    assert normal == normalise("accept-encoding", [b",".join(map(b"".join, shuffled))])
    accepted = {name for name, weight in codings if not weight.endswith((b"q=0", b"q=0.0"))}
    refused = {name + b";q=0" for name, weight in codings if weight.endswith((b"q=0", b"q=0.0"))}
    assert set(normal.split(b", ")) == accepted | refused


def test_long_values_are_read_in_one_pass():
    for name in ("accept-encoding", "accept-language", "x-a"):
        for unit in (b" ", b";", b";q=0.", b",", b"0", b";q=0.10", b"\t;"):
            normalise(name, [b"a" + unit * 100_000 + b"x", b"a;q=1." + unit * 100_000 + b"x"])


def test_where_nothing_selects_the_material_is_empty():
    assert variant_material((), [(b"accept", b"x")], no_cookies) == b""


def test_the_material_holds_each_name_with_its_value():
    headers = [(b"Accept-Encoding", b"gzip, br"), (b"x-a", b"1"), (b"x-a", b"2")]
    names = ("accept-encoding", "cookie:Theme", "cookie:none", "x-a", "x-b")
    assert variant_material(names, headers, {"Theme": b"dark"}.get) == prefixed(
        [b"accept-encoding", b"br, gzip", b"cookie:Theme", b"dark", b"cookie:none", None, b"x-a", b"1, 2", b"x-b", None]
    )


requests = st.dictionaries(
    st.sampled_from(["x-a", "x-b", "cookie:c"]), st.sampled_from([b"", b"1", b"-", b"1:1", b"x-b"])
)


@given(requests, requests, st.sampled_from([("x-a",), ("x-a", "x-b"), ("cookie:c", "x-a", "x-b")]))
def test_two_requests_share_a_variant_only_if_they_agree_on_all_names(one, other, names):
    def material(request):
        headers = [(name.encode(), value) for name, value in request.items() if name.startswith("x-")]
        return variant_material(names, headers, lambda cookie: request.get(f"cookie:{cookie}"))

    agree = all(one.get(name) == other.get(name) for name in names)
    assert (material(one) == material(other)) == agree
