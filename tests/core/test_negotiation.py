import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.coding import available, decode
from rcache.core.negotiation import (
    SHORTEST,
    coded_etag,
    coded_headers,
    compressed,
    is_worth_coding,
    plain_headers,
    takes,
)
from rcache.core.validation import is_strong

JSON = [(b"content-type", b"application/json")]

# Who takes the coding.


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"compress, gzip", True),
        (b"", False),
        (b"*", True),
        (b"compress;q=0.5, gzip;q=1.0", True),
        (b"gzip;q=1.0, identity; q=0.5, *;q=0", True),
    ],
)
def test_the_examples_of_rfc_9110_are_decided(field, expected):
    assert takes(field, "gzip") is expected


@pytest.mark.parametrize(
    "field",
    [
        *(b"gzip", b"GZip", b"x-gzip", b"X-GZIP", b"gzip, deflate, br, zstd", b"br;q=1.0, gzip;q=0.8, *;q=0.1"),
        *(
            b" gzip ",
            b"\tgzip\t,",
            b",,gzip,,",
            b"gzip;q=1",
            b"gzip;q=1.",
            b"gzip;q=1.000",
            b"gzip;q=0.001",
            b"gzip;Q=0.5",
        ),
        *(b"gzip ; q=0.5", b"gzip;\tq=0.5", b"*;q=0.1", b"br, *", b"identity;q=0, gzip;q=0.1", b"identity;q=0, *"),
        *(
            b"identity;q=0.5, gzip;q=0.5",
            b"identity, gzip",
            b"gzip, identity;q=0.9",
            b"gzip;q=0.2, *;q=0.2",
            b"gzip, *;q=0",
        ),
        *(b"gzip;q=0.1", b"br, gzip;q=0.1", b"gzip, br;q=oops", b"gzip, \xff", b'gzip, "a'),
    ],
)
def test_a_client_takes_what_it_accepts(field):
    assert takes(field, "gzip")


@pytest.mark.parametrize(
    "field",
    [
        *(b"br", b"identity", b"deflate", b"gzipped", b"xgzip", b"x-x-gzip", b"gzi", b"gz ip", b"q=1", b";q=1", b","),
        *(
            b"gzip;q=0",
            b"gzip;q=0.",
            b"gzip;q=0.000",
            b"gzip;q=0.0000000",
            b"gzip; q=0",
            b"x-gzip;q=0",
            b"*;q=0",
            b"br, *;q=0",
        ),
        *(b"gzip;q=0, *", b"*, gzip;q=0", b"x-gzip;q=0, *", b"gzip, gzip;q=0", b"gzip;q=0, gzip", b"gzip, x-gzip;q=0"),
    ],
)
def test_a_client_does_not_take_what_it_does_not_accept(field):
    assert not takes(field, "gzip")


@pytest.mark.parametrize(
    "field",
    [
        *(
            b"gzip;q=0.5, identity",
            b"gzip;q=0.5, identity;q=1",
            b"identity;q=1, gzip;q=0.5",
            b"gzip;q=0.5, identity;q=0.501",
        ),
        *(b"*;q=0.5, identity", b"gzip;q=0.5, *", b"br, gzip;q=0.1, *;q=0.2"),
    ],
)
def test_a_client_that_wants_the_plain_body_more_is_sent_it(field):
    assert not takes(field, "gzip")


@pytest.mark.parametrize(
    "weight",
    [
        b"q",
        b"q=",
        b"q=x",
        b"q=-1",
        b"q=+1",
        b"q=1.5",
        b"q=1.001",
        b"q=2",
        b"q=.5",
        b"q=1e0",
        b"q=0x1",
        b"q='1'",
        b"w=1",
    ],
)
def test_a_malformed_weight_is_none(weight):
    assert not takes(b"gzip;" + weight, "gzip")
    assert not takes(b"*, gzip ;" + weight, "gzip")
    assert not takes(b"*;" + weight, "gzip")
    assert not takes(b"gzip;level=1;" + weight, "gzip")
    assert takes(b"gzip, br;" + weight, "gzip")


def test_a_weight_goes_without_spaces_around_its_sign():
    assert not takes(b"gzip;q =1", "gzip")
    assert not takes(b"gzip;q= 1", "gzip")


def test_a_client_that_says_nothing_is_sent_what_all_can_read():
    assert not takes(None, "gzip")


@pytest.mark.parametrize("coding", ["zstd", "br"])
def test_every_coding_is_decided_alike(coding):
    name = coding.encode()
    assert takes(b"gzip, deflate, " + name.upper(), coding)
    assert takes(b"*", coding)
    assert not takes(b"gzip, deflate", coding)
    assert not takes(name + b";q=0, *", coding)
    assert not takes(b"x-" + name, coding)


def test_a_long_field_is_decided_like_a_short_one():
    filling = b"a" * 5000
    assert takes(filling + b", gzip", "gzip")
    assert not takes(filling + b", gzip;q=0, *", "gzip")
    assert not takes(b"gzip;q=0." + b"0" * 5000 + b"1", "gzip"), "too small for a number is none"
    assert takes(b"gzip;q=0." + b"9" * 5000, "gzip")


weights = st.none() | st.integers(0, 1000)
names = st.sampled_from(["gzip", "br", "zstd", "identity", "*", "deflate"])


@given(st.dictionaries(names, weights, max_size=6), st.sampled_from(["gzip", "br", "zstd"]), st.booleans())
def test_any_preferences_are_weighed(preferences, coding, is_upper):
    """Beside a straightforward reference: the weight of each of the two bodies, in thousandths."""
    field = ", ".join(name if weight is None else f"{name};q={weight / 1000}" for name, weight in preferences.items())
    known = {name: 1000 if weight is None else weight for name, weight in preferences.items()}
    weight = known.get(coding, known.get("*", 0))
    plain = known.get("identity", known.get("*", 0))
    spelled = (field.upper() if is_upper else field).encode()
    assert takes(spelled, coding) is (weight > 0 and weight >= plain)


pieces = st.sampled_from(
    [b"gzip", b"x-gzip", b"br", b"identity", b"*", b";", b"q=", b"0", b"1", b".5", b",", b" ", b"\t", b"\xff"]
)


@given(st.binary(max_size=200) | st.lists(pieces, max_size=14).map(b"".join), st.sampled_from(["gzip", "br", "zstd"]))
def test_any_bytes_are_decided(field, coding):
    taken = takes(field, coding)
    assert isinstance(taken, bool)
    if taken:
        assert coding.encode() in field.lower() or b"*" in field


def test_long_garbage_is_decided_in_one_pass():
    for unit in (b";", b",", b"gzip;", b";q=", b" ", b"q=0.", b"a", b"*;q=1;"):
        assert not takes(unit * 200_000 + b"\x00", "gzip")


# What is kept coded.


@pytest.mark.parametrize(
    "content_type",
    [
        *(b"text/html", b"text/html; charset=utf-8", b"TEXT/HTML;charset=utf-8", b" text/css ", b"text/x-anything"),
        *(
            b"application/json",
            b"application/vnd.api+json",
            b"application/ld+json;profile=x",
            b"application/problem+json",
        ),
        *(
            b"application/xml",
            b"application/atom+xml",
            b"image/svg+xml",
            b"application/xhtml+xml",
            b"application/geo+json-seq",
        ),
        *(
            b"application/javascript",
            b"text/javascript",
            b"application/wasm",
            b"application/x-ndjson",
            b"application/yaml",
        ),
        *(
            b"font/ttf",
            b"image/x-icon",
            b"application/manifest+json",
            b"application/a+b+json",
            b"application/vnd.oai+yaml",
        ),
    ],
)
def test_text_by_any_name_is_worth_coding(content_type):
    assert is_worth_coding(200, [(b"Content-Type", content_type)], 1000)


@pytest.mark.parametrize(
    "content_type",
    [
        *(
            b"image/png",
            b"image/jpeg",
            b"video/mp4",
            b"application/zip",
            b"application/gzip",
            b"application/pdf",
            b"font/woff2",
        ),
        *(
            b"application/octet-stream",
            b"",
            b"text",
            b"text/",
            b"json",
            b"+json",
            b"application/jsonx",
            b"application/json+zip",
            b"application/a+jsonp",
        ),
        *(b"application/xml+zip", b"context/html", b"application/epub+zip", b"application/json, text/html"),
    ],
)
def test_what_is_dense_already_or_unknown_is_not_worth_coding(content_type):
    assert not is_worth_coding(200, [(b"content-type", content_type)], 1000)


def test_a_response_has_to_have_one_type():
    assert not is_worth_coding(200, [], 1000)
    assert not is_worth_coding(200, JSON * 2, 1000)


def test_a_short_body_is_not_worth_coding():
    assert is_worth_coding(200, JSON, SHORTEST)
    assert not is_worth_coding(200, JSON, SHORTEST - 1)
    assert not is_worth_coding(200, JSON, 0)


@pytest.mark.parametrize("status", [200, 201, 203, 301, 404, 410, 500, 503])
def test_any_status_with_content_is_worth_coding(status):
    assert is_worth_coding(status, JSON, 1000)


@pytest.mark.parametrize("status", [204, 205, 206, 304])
def test_a_status_without_content_of_its_own_is_not(status):
    assert not is_worth_coding(status, JSON, 1000)


@pytest.mark.parametrize(
    "name",
    [
        *(
            b"content-encoding",
            b"Content-Encoding",
            b"content-range",
            b"content-digest",
            b"Repr-Digest",
            b"content-md5",
        ),
        *(b"digest", b"Signature"),
    ],
)
def test_what_is_coded_a_part_or_vouched_for_is_left_alone(name):
    assert not is_worth_coding(200, [*JSON, (name, b"gzip")], 1000)
    assert not is_worth_coding(200, [(name, b""), *JSON], 1000)


@pytest.mark.parametrize(
    "lines",
    [
        *(
            [b"no-transform"],
            [b"No-Transform"],
            [b"max-age=60, no-transform"],
            [b"max-age=60", b"no-transform , public"],
        ),
        *(
            [b"no-transform=1"],
            [b"no-transform =1"],
            [b'no-transform=""'],
            [b'x="a", no-transform'],
            [b'x="a, no-transform'],
        ),
    ],
)
def test_no_transform_is_obeyed(lines):
    assert not is_worth_coding(200, JSON + [(b"Cache-Control", line) for line in lines], 1000)


@pytest.mark.parametrize(
    "line", [b"max-age=60", b"", b'x="no-transform"', b'x="a, no-transform, b"', b"x=no-transform", b"transform"]
)
def test_other_directives_allow_coding(line):
    assert is_worth_coding(200, [*JSON, (b"cache-control", line)], 1000)


@pytest.mark.parametrize("coding", available())
def test_a_body_that_gets_shorter_is_kept_coded(coding):
    body = b'{"id": 1, "name": "x"}, ' * 100
    coded = compressed(coding, 200, JSON, body)
    assert len(coded) < len(body) / 2
    assert decode(coding, coded, len(body)) == body


@pytest.mark.parametrize("coding", available())
def test_a_body_that_hardly_gets_shorter_stays_as_it_is(coding):
    # Bits that repeat only after 2 ** 61 steps, of an ASCII alphabet that none of the codings saves a tenth of.
    noise, state = bytearray(), 1
    while len(noise) < 2000:
        state = state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        noise.append(0x20 + (state >> 57) % 0x5F + 0x80 * (state >> 56 & 1))
    assert compressed(coding, 200, JSON, bytes(noise)) is None


def test_a_body_that_may_not_be_coded_stays_as_it_is():
    body = b"a" * 1000
    assert compressed("gzip", 200, JSON, body) is not None
    assert compressed("gzip", 200, [*JSON, (b"cache-control", b"no-transform")], body) is None
    assert compressed("gzip", 206, JSON, body) is None
    assert compressed("gzip", 200, JSON, body[: SHORTEST - 1]) is None


# What the two answers say.


def test_a_strong_etag_differs_for_each_coding_and_for_other_coded_bytes():
    tags = {coded_etag(b'"abc"', "gzip", b"1"), coded_etag(b'"abc"', "br", b"1"), coded_etag(b'"abc"', "gzip", b"2")}
    assert len(tags | {b'"abc"'}) == 4
    assert coded_etag(b'"abc"', "gzip", b"1") == b'"abc-gzip.67w5qvAI"'
    assert coded_etag(b'""', "gzip", b"1") == b'"-gzip.67w5qvAI"'


@pytest.mark.parametrize("etag", [b'W/"abc"', b"abc", b"", b'"', b'"abc', b'W/"', b'"a" "b"'])
def test_a_weak_etag_and_what_is_none_stay(etag):
    assert coded_etag(etag, "gzip", b"1") == etag


@given(st.from_regex(rb'\A"[!#-~\x80-\xff]{0,9}"\Z'), st.sampled_from(["zstd", "br", "gzip"]), st.binary())
def test_a_coded_etag_is_a_strong_one_of_its_own(etag, coding, coded):
    made = coded_etag(etag, coding, coded)
    assert is_strong(made)
    assert made != etag
    assert b" " not in made


HEADERS = [
    (b"content-type", b"application/json"),
    (b"Content-Length", b"1000"),
    (b"Content-Encoding", b""),
    (b"ETag", b'"abc"'),
    (b"vary", b"Accept"),
    (b"repr-digest", b"x"),
    (b"Content-Digest", b"x"),
    (b"content-md5", b"x"),
    (b"digest", b"x"),
    (b"unencoded-digest", b"x"),
    (b"last-modified", b"x"),
    (b"accept-ranges", b"bytes"),
    (b"set-cookie", b"a=1"),
    (b"vary", b"x-a , X-B"),
    (b"set-cookie", b"b=2"),
]


def test_a_coded_answer_describes_the_coded_body():
    assert coded_headers(HEADERS, "gzip", b'"abc-gzip.1"', 200) == [
        (b"content-type", b"application/json"),
        (b"unencoded-digest", b"x"),
        (b"last-modified", b"x"),
        (b"accept-ranges", b"bytes"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"vary", b"Accept, x-a, X-B, accept-encoding"),
        (b"content-encoding", b"gzip"),
        (b"content-length", b"200"),
        (b"etag", b'"abc-gzip.1"'),
    ]


def test_a_coded_answer_has_an_etag_only_if_there_is_one():
    assert coded_headers(JSON, "br", None, 200) == [
        *JSON,
        (b"vary", b"accept-encoding"),
        (b"content-encoding", b"br"),
        (b"content-length", b"200"),
    ]


def test_the_plain_answer_varies_as_well_and_stays_as_it_was_otherwise():
    kept = [pair for pair in HEADERS if pair[0] != b"vary"]
    assert plain_headers(HEADERS) == [*kept, (b"vary", b"Accept, x-a, X-B, accept-encoding")]


@pytest.mark.parametrize(
    "line", [b"accept-encoding", b"Accept-Encoding", b"accept, ACCEPT-ENCODING", b"*", b"accept, *"]
)
def test_what_varies_already_stays(line):
    headers = [(b"Vary", b"x"), *JSON, (b"Vary", line)]
    assert plain_headers(headers) == headers
    assert coded_headers(headers, "gzip", None, 1)[:3] == headers


def test_an_empty_vary_is_filled():
    assert plain_headers([(b"vary", b""), *JSON]) == [*JSON, (b"vary", b"accept-encoding")]


@given(
    st.lists(st.tuples(st.sampled_from([b"vary", b"Vary", b"a"]), st.binary(max_size=9) | st.just(b"a, b")), max_size=4)
)
def test_whatever_it_varies_by_stays_and_encoding_is_added_once(headers):
    for answer in (plain_headers(headers), coded_headers(headers, "gzip", None, 1)):
        varies = [value for name, value in answer if name.lower() == b"vary"]
        assert len(varies) == 1 or answer[: len(headers)] == headers
        assert b"accept-encoding" in b",".join(varies).lower() or b"*" in b",".join(varies)
        assert plain_headers(answer) == answer
