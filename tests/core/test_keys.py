from itertools import permutations
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.keys import URL_TAG, Key, RedisNames, canonical_query, digest, prefixed, shard_of

parts = st.lists(st.none() | st.binary(max_size=12) | st.sampled_from([b"", b"-", b"0:", b"1:-", b"3:0:-"]), max_size=6)
text = st.binary(max_size=12) | st.sampled_from([b"", b"1:2:3:", b"i4:", b"4:9:1:", b"http", b"/%2F?", b"localhost"])
requests = st.tuples(text.map(lambda part: part.decode("latin-1")), text, text, text, st.none() | text)

# Few names in several spellings, so that clashes are common.
names = st.sampled_from(
    [b"a", b"%61", b"b", b"A", b"a+", b"a%20", b"%C3%A9", b"\xc3\xa9", b"\xe9", b"%ff", b"%fe", b""]
)
pieces = st.tuples(names, st.sampled_from([b"", b"=", b"=1", b"=2", b"=%31", b"=1=2"])).map(b"".join)
queries = st.lists(pieces, max_size=6).map(b"&".join)


@given(parts, parts)
def test_prefixed_parts_can_be_told_apart(one, other):
    assert (prefixed(one) == prefixed(other)) == (one == other)


@given(requests, requests)
def test_no_two_different_requests_share_a_key(one, other):
    assert (Key(*one).material == Key(*other).material) == (one == other)
    assert (Key(*one).url == Key(*other).url) == (one[:4] == other[:4])


@given(text, requests)
def test_an_identity_never_takes_the_key_of_a_request_without_one(identity, request):
    assert Key(*request[:4], identity).material != Key(*request[:4]).material


def test_an_identity_cannot_spell_the_lengths_of_another_url():
    plain = Key("0:0:", b"", b"", b"0:x")
    identified = Key("", b"", b"", b"x", identity=b"0:0:")
    assert identified.material != plain.material


def test_all_identities_share_the_url_tag():
    key = Key("http", b"h", b"/", b"", b"one")
    assert key.url_tag == Key("http", b"h", b"/", b"", b"two").url_tag == Key("http", b"h", b"/", b"").url_tag
    assert key.url_tag.startswith(URL_TAG)


def test_a_path_with_an_encoded_delimiter_has_a_key_of_its_own():
    paths = [b"/a/b", b"/a%2Fb", b"/a%2fb", b"/a%3Fq=1", b"/a", b"/a/", b"//a", b"/a%00", b""]
    assert len({Key("http", b"h", path, b"").material for path in paths}) == len(paths)
    assert Key("http", b"h", b"/a", b"q=1").material not in {
        Key("http", b"h", path, b"").material for path in (b"/a?q=1", b"/a%3Fq=1", b"/aq=1")
    }


def test_empty_and_missing_values_have_keys_of_their_own():
    queries = [b"", b"a", b"a=", b"a=&a=", b"a&a", b"a==", b"=a", b"=", b"a=1", b"b"]
    assert len({canonical_query(query) for query in queries}) == len(queries)


def test_fifty_kilobytes_of_query_count_to_the_last_byte():
    long = b"&".join(b"p%d=%d" % (number, number) for number in range(5_000))
    assert len(long) > 50_000
    one, other = canonical_query(long + b"x"), canonical_query(long + b"y")
    assert Key("http", b"h", b"/", one).material != Key("http", b"h", b"/", other).material
    assert len(digest(one)) == 22


def test_the_order_of_parameters_does_not_matter():
    orders = permutations([b"a=1", b"%62=2", b"c", b"d+e=3"])
    assert len({canonical_query(b"&".join(order)) for order in orders}) == 1


@given(st.dictionaries(st.text("abcXYZ_%+", min_size=1, max_size=4), st.binary(max_size=4), max_size=5), st.randoms())
def test_the_order_of_any_ascii_parameters_does_not_matter(parameters, random):
    made = [
        name.replace("%", "%25").replace("+", "%2B").encode() + b"=" + value.hex().encode()
        for name, value in parameters.items()
    ]
    shuffled = made.copy()
    random.shuffle(shuffled)
    assert canonical_query(b"&".join(made)) == canonical_query(b"&".join(shuffled))


def test_repeated_values_keep_their_order():
    assert canonical_query(b"a=1&a=2") != canonical_query(b"a=2&a=1")
    assert canonical_query(b"a=2&b=1&a=1") == canonical_query(b"b=1&a=2&a=1") == b"a=2&a=1&b=1"


def test_repeated_values_under_two_spellings_of_a_name_keep_their_order():
    assert canonical_query(b"a=1&%61=2") != canonical_query(b"%61=2&a=1")
    assert canonical_query(b"a+b=1&a%20b=2") != canonical_query(b"a%20b=2&a+b=1")


def _starlette(query):
    return parse_qsl(query.decode("latin-1"), keep_blank_values=True)


def _django(query):
    return parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True)


@pytest.mark.parametrize("parse", [_starlette, _django])
@given(query=queries)
def test_an_application_reads_the_same_lists_from_all_queries_of_one_key(parse, query):
    """It reads the canonical query as it reads the query itself, so those that share a key mean the same to it."""
    assert _lists(parse(canonical_query(query))) == _lists(parse(query))


@pytest.mark.parametrize("parse", [_starlette, _django])
@pytest.mark.parametrize("order", list(permutations([b"\xe9=3", b"%C3%A9=4", b"%ff=6", b"%fe=7"])))
def test_values_of_names_that_decode_alike_keep_their_order(parse, order):
    query = b"&".join(order)
    assert _lists(parse(canonical_query(query))) == _lists(parse(query))


def _lists(pairs):
    result = {}
    for name, value in pairs:
        result.setdefault(name, []).append(value)
    return result


@given(queries)
def test_canonical_queries_stay_as_they_are_and_lose_nothing(query):
    canonical = canonical_query(query)
    assert canonical_query(canonical) == canonical
    assert sorted(canonical.split(b"&")) == sorted(query.split(b"&"))


@given(st.binary(max_size=60), st.none() | st.frozensets(st.binary(max_size=2), max_size=3))
def test_any_bytes_make_a_canonical_query(query, names):
    assert canonical_query(canonical_query(query, names), names) == canonical_query(query, names)


def test_only_the_named_parameters_count():
    page = frozenset([b"page", b"a b"])
    assert canonical_query(b"utm=x&page=2&other", page) == b"page=2"
    assert canonical_query(b"%70age=2", page) == b"%70age=2"
    assert canonical_query(b"a+b=1&a%20b=2&ab=3", page) == b"a+b=1&a%20b=2"
    assert canonical_query(b"utm=x", page) == b""
    assert canonical_query(b"page", page) != canonical_query(b"page=", page) != canonical_query(b"", page)


def test_a_named_parameter_beyond_ascii_counts_in_every_spelling():
    """To Starlette a raw Latin-1 byte is the same name."""
    names = frozenset(["é".encode()])
    queries = [b"", b"%C3%A9=1", b"%c3%a9=2", b"\xe9=3", b"\xc3\xa9=4"]
    assert len({canonical_query(query, names) for query in queries}) == len(queries)
    assert canonical_query(b"\xe9=1", frozenset([b"e"])) == b""


def test_digests_are_equal_in_every_process():
    assert digest(b"rcache") == "uY4sskg1G39Y8AREVP8PYQ"


@given(st.text(max_size=20), st.integers(1, 64))
def test_every_tag_has_a_shard(tag, shards):
    tag = tag.encode("utf-8", "replace").decode()
    assert 0 <= shard_of(tag, shards) < shards
    assert shard_of(tag, 1) == 0


def test_the_keys_of_a_url_and_of_a_shard_share_a_cluster_slot():
    redis_names = RedisNames("shop")
    slot = "{shop:" + "u" * 22 + "}"
    assert all(
        slot in key
        for key in (redis_names.vary("u" * 22), redis_names.variants("u" * 22), redis_names.entry("u" * 22, "0"))
    )
    assert all(
        "{shop:3}" in key for key in (redis_names.guard(3), redis_names.marks(3), redis_names.registry(3, "user:42"))
    )


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "a:b", "a:0", "b"]), st.sampled_from(["u", "v"]), st.integers(0, 2)), max_size=4
    )
)
def test_no_two_things_share_a_redis_key(places):
    spelled = {}
    for namespace, url, shard in places:
        names_ = RedisNames(namespace)
        url_digest, variant = digest(url.encode()), digest(b"variant")
        for what, key in {
            ("sequence", namespace): names_.sequence,
            ("sweep", namespace): names_.sweep,
            ("vary", namespace, url): names_.vary(url_digest),
            ("variants", namespace, url): names_.variants(url_digest),
            ("entry", namespace, url): names_.entry(url_digest, variant),
            ("bare entry", namespace, url): names_.entry(url_digest, "0"),
            ("guard", namespace, shard): names_.guard(shard),
            ("marks", namespace, shard): names_.marks(shard),
            ("registry", namespace, shard): names_.registry(shard, "guard"),
        }.items():
            assert spelled.setdefault(key, what) == what
