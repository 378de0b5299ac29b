from email import message_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core import ranges
from rcache.core.dates import format_http_date
from rcache.core.ranges import MOST_RANGES, SURELY_LATER, byte_ranges, partial

NOW = 1_700_000_000.0
MODIFIED = format_http_date(NOW - 1000)
BODY = bytes(range(256)) * 40
SIZE = len(BODY)
HEADERS = [
    (b"content-type", b"application/pdf"),
    (b"Content-Length", b"10240"),
    (b"content-language", b"en"),
    (b"content-digest", b"sha-256=:eA==:"),
    (b"Content-MD5", b"eA=="),
    (b"repr-digest", b"sha-256=:eQ==:"),
    (b"cache-control", b"max-age=60"),
    (b"content-location", b"/a"),
    (b"etag", b'"a"'),
    (b"last-modified", MODIFIED),
    (b"vary", b"accept"),
    (b"set-cookie", b"a=1"),
    (b"set-cookie", b"b=2"),
    (b"access-control-allow-origin", b"*"),
    (b"age", b"7"),
    (b"cache-status", b"rcache; hit; ttl=53"),
]


def ask(
    *lines, if_range=(), headers=HEADERS, body=BODY, etag=b'"a"', last_modified=MODIFIED, made_at=NOW - 7, name=b"range"
):
    request = [(b"accept", b"*/*"), *((name, line) for line in lines), *((b"If-Range", line) for line in if_range)]
    return partial(request, headers, body, etag=etag, last_modified=last_modified, made_at=made_at, now=NOW)


def field(part, name):
    """The one value of a field; None where it is absent."""
    found = [value for key, value in part.headers if key.lower() == name]
    assert len(found) <= 1
    return found[0] if found else None


def parts_of(part):
    """Content type, first and last position, complete length and content of each part, as another reader has it."""
    message = message_from_bytes(b"Content-Type: " + field(part, b"content-type") + b"\r\n\r\n" + part.body)
    assert message.get_content_type() == "multipart/byteranges"
    assert not message.defects
    assert message.preamble is None
    assert not message.epilogue
    found = []
    for piece in message.get_payload():
        assert not piece.defects
        unit, _, told = piece["content-range"].partition(" ")
        positions, _, complete = told.partition("/")
        first, _, last = positions.partition("-")
        assert unit == "bytes"
        found.append((piece["content-type"], int(first), int(last), int(complete), piece.get_payload(decode=True)))
    return found


# What a field asks for.


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (b"bytes=0-499", [(0, 500)]),
        (b"bytes=500-999", [(500, 1000)]),
        (b"bytes=-500", [(9500, 10_000)]),
        (b"bytes=9500-", [(9500, 10_000)]),
        (b"bytes=0-0,-1", [(0, 1), (9999, 10_000)]),
        (b"bytes= 0-999, 4500-5499, -1000", [(0, 1000), (4500, 5500), (9000, 10_000)]),
        (b"bytes=500-600,601-999", [(500, 1000)]),
        (b"bytes=500-700,601-999", [(500, 1000)]),
    ],
)
def test_the_examples_of_rfc_9110_are_read(asked, expected):
    assert byte_ranges(asked, 10_000) == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (b"bytes=0-", [(0, 10)]),
        (b"bytes=9-9", [(9, 10)]),
        (b"bytes=5-99", [(5, 10)]),
        (b"bytes=-99", [(0, 10)]),
        (b"bytes=00000000000000000000005-0006", [(5, 7)]),
        (b"bytes=2-" + b"9" * 5000, [(2, 10)]),
        (b"bytes=-" + b"9" * 5000, [(0, 10)]),
        (b"bytes=-" + b"0" * 5000 + b"1", [(9, 10)]),
        (b"bytes=2-1000000000000000000", [(2, 10)]),
        (b"BYTES=1-2", [(1, 3)]),
        (b" \tBytes=\t1-2 ,,\t4-5 , ", [(1, 3), (4, 6)]),
        (b"bytes=20-30,1-2", [(1, 3)]),
        (b"bytes=1-2,-0", [(1, 3)]),
    ],
)
def test_ranges_end_with_the_body(asked, expected):
    assert byte_ranges(asked, 10) == expected


@pytest.mark.parametrize(
    "asked",
    [b"bytes=10-", b"bytes=10-10", b"bytes=-0", b"bytes=-000", b"bytes=99-100,10-", b"bytes=" + b"9" * 5000 + b"-"],
)
def test_what_lies_beyond_the_end_is_no_range(asked):
    assert byte_ranges(asked, 10) == []


@pytest.mark.parametrize(
    "asked",
    [
        *(b"", b"bytes", b"bytes=", b"bytes=,", b"bytes= , ,", b"=0-1", b"0-1", b"bytes:0-1", b"bytes 0-1"),
        *(b"bytes =0-1", b"octets=0-1", b"bytess=0-1", b"x-bytes=0-1", b"seconds=1-2", b"none=0-1"),
        *(b"bytes=-", b"bytes=a-b", b"bytes=1", b"bytes=1-2-3", b"bytes=--1", b"bytes=1--2", b"bytes=+1-2"),
        *(b"bytes=1 - 2", b"bytes=1- 2", b"bytes=1-2 3-4", b"bytes=1-2;3-4", b"bytes=1.0-2", b"bytes=0x1-2"),
        *(
            b'bytes="1-2"',
            b'bytes=1-2,"3-4"',
            b"bytes=1-2\n",
            b"bytes=\xb2-3",
            b"bytes=1-2/10",
            b"bytes=*",
            b"bytes=*-1",
        ),
        *(b"bytes=2-1", b"bytes=0-1,5-4", b"bytes=0-1,x", b"bytes=99-98", b"bytes=0-1, bytes=4-5"),
    ],
)
def test_an_invalid_field_asks_for_nothing(asked):
    assert byte_ranges(asked, 10) is None


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (b"bytes=10-19,0-4", [(10, 20), (0, 5)]),
        (b"bytes=10-19,20-29", [(10, 30)]),
        (b"bytes=20-29,10-19", [(10, 30)]),
        (b"bytes=10-19,21-29", [(10, 20), (21, 30)]),
        (b"bytes=50-59,10-19,55-69,0-1", [(50, 70), (10, 20), (0, 2)]),
        (b"bytes=50-59,0-1,70-79,60-69", [(50, 80), (0, 2)]),
        (b"bytes=0-1,70-79,50-59,60-69", [(0, 2), (50, 80)]),
        (b"bytes=90-99,0-99,50-59", [(0, 100)]),
        (b"bytes=10-19,10-19", [(10, 20)]),
    ],
)
def test_ranges_that_overlap_or_touch_are_one_at_the_first_place(asked, expected):
    assert byte_ranges(asked, 100) == expected


def test_a_bound_limits_how_many_ranges_are_asked_for():
    apart = [b"%d-%d" % (10 * n, 10 * n) for n in range(MOST_RANGES + 1)]
    assert len(byte_ranges(b"bytes=" + b",".join(apart[:-1]), SIZE)) == MOST_RANGES
    assert byte_ranges(b"bytes=" + b",".join(apart), SIZE) is None
    assert byte_ranges(b"bytes=" + b",".join([b"0-"] * (MOST_RANGES + 1)), SIZE) is None
    assert ask(b"bytes=" + b",".join(apart)) is None


# One range.


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [(b"bytes=0-499", 0, 500), (b"bytes=-5", SIZE - 5, SIZE), (b"bytes=10000-", 10_000, SIZE), (b"bytes=0-", 0, SIZE)],
)
def test_one_range_is_answered_by_its_bytes(asked, start, stop):
    part = ask(asked)
    assert part.status == 206
    assert part.body == BODY[start:stop]
    assert field(part, b"content-range") == b"bytes %d-%d/%d" % (start, stop - 1, SIZE)
    assert field(part, b"content-length") == b"%d" % (stop - start)
    assert field(part, b"content-type") == b"application/pdf"


def test_a_206_carries_what_the_200_would_but_for_what_speaks_of_the_whole_content():
    expected = [
        pair for pair in HEADERS if pair[0].lower() not in (b"content-length", b"content-digest", b"content-md5")
    ]
    told = [(b"content-range", b"bytes 0-0/10240"), (b"content-length", b"1")]
    assert ask(b"bytes=0-0").headers == expected + told


def test_the_name_of_the_field_is_read_in_any_case():
    assert ask(b"bytes=0-1", name=b"Range").status == 206


def test_several_ranges_that_become_one_are_answered_as_one():
    part = ask(b"bytes=0-99,50-199,200-299")
    assert part.body == BODY[:300]
    assert field(part, b"content-range") == b"bytes 0-299/10240"
    assert field(part, b"content-type") == b"application/pdf"


def test_a_range_of_a_coded_body_is_of_the_coded_bytes():
    part = ask(b"bytes=5-9", headers=[*HEADERS, (b"content-encoding", b"gzip")])
    assert part.body == BODY[5:10]
    assert field(part, b"content-encoding") == b"gzip"


@pytest.mark.parametrize("lines", [[], [b"bytes=0-1", b"bytes=0-1"], [b"items=0-1"], [b"bytes=2-1"], [b"garbage"]])
def test_without_one_valid_range_the_whole_is_the_answer(lines):
    assert ask(*lines) is None


@pytest.mark.parametrize("asked", [b"bytes=0-", b"bytes=0-0", b"bytes=-5", b"bytes=-0", b"bytes=5-"])
def test_an_empty_body_has_no_ranges(asked):
    assert ask(asked, body=b"") is None


@pytest.mark.parametrize(
    ("units", "is_partial"),
    [
        ([b"bytes"], True),
        ([b"Bytes"], True),
        ([b"items, bytes"], True),
        ([b"items", b"bytes"], True),
        ([b""], True),
        ([b"none"], False),
        ([b"None"], False),
        ([b"items"], False),
    ],
)
def test_accept_ranges_of_the_application_decides_whether_there_are_ranges(units, is_partial):
    headers = [*HEADERS, *((b"Accept-Ranges", unit) for unit in units)]
    assert (ask(b"bytes=0-1", headers=headers) is not None) is is_partial
    assert (ask(b"bytes=99999-", headers=headers) is not None) is is_partial


# None that can be satisfied.


@pytest.mark.parametrize("asked", [b"bytes=10240-", b"bytes=-0", b"bytes=99999-99999,88888-"])
def test_ranges_beyond_the_end_are_not_satisfiable(asked):
    part = ask(asked)
    assert part.status == 416
    assert part.body == b""
    assert field(part, b"content-range") == b"bytes */10240"
    assert field(part, b"content-length") == b"0"


def test_a_416_says_nothing_of_the_representation_and_is_kept_by_nobody():
    targeted = [(b"CDN-Cache-Control", b"max-age=60"), (b"surrogate-control", b"max-age=60"), (b"expires", b"x")]
    headers = [*HEADERS, *targeted, (b"content-encoding", b"gzip"), (b"content-disposition", b"inline")]
    assert ask(b"bytes=99999-", headers=headers).headers == [
        (b"vary", b"accept"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"access-control-allow-origin", b"*"),
        (b"cache-status", b"rcache; hit; ttl=53"),
        (b"content-range", b"bytes */10240"),
        (b"content-length", b"0"),
        (b"cache-control", b"no-store"),
    ]


def test_with_if_range_what_is_not_satisfiable_is_answered_whole():
    assert ask(b"bytes=99999-", if_range=[b'"a"']) is None


# If-Range.


@pytest.mark.parametrize(
    ("condition", "etag", "holds"),
    [
        (b'"a"', b'"a"', True),
        (b' "a"\t', b'"a"', True),
        (b'""', b'""', True),
        (b'"a"', b'"b"', False),
        (b'"A"', b'"a"', False),
        (b'W/"a"', b'W/"a"', False),
        (b'"a"', b'W/"a"', False),
        (b'W/"a"', b'"a"', False),
        (b'"a"', None, False),
        (b'"a", "b"', b'"a"', False),
        (b'"a", "b"', b'"a", "b"', False),
        (b"*", b'"a"', False),
        (b"a", b"a", False),
        (b'"a', b'"a', False),
        (b'"', b'"', False),
        (b"", b'"a"', False),
        (b"", b"", False),
    ],
)
def test_if_range_compares_entity_tags_strongly(condition, etag, holds):
    assert (ask(b"bytes=0-1", if_range=[condition], etag=etag) is not None) is holds


def test_a_repeated_if_range_does_not_hold():
    assert ask(b"bytes=0-1", if_range=[b'"a"', b'"a"']) is None


def test_if_range_may_name_exactly_the_last_modified_date():
    assert ask(b"bytes=0-1", if_range=[MODIFIED]) is not None
    assert ask(b"bytes=0-1", if_range=[b" " + MODIFIED + b" "], last_modified=MODIFIED + b" ") is not None
    assert ask(b"bytes=0-1", if_range=[format_http_date(NOW - 999)]) is None
    assert ask(b"bytes=0-1", if_range=[format_http_date(NOW - 1001)]) is None


def test_another_form_of_the_date_is_the_same_date():
    assert ask(b"bytes=0-1", if_range=[b"Tuesday, 14-Nov-23 21:56:40 GMT"]) is not None


def test_a_date_counts_only_where_there_is_a_valid_one():
    assert ask(b"bytes=0-1", if_range=[MODIFIED], last_modified=None) is None
    assert ask(b"bytes=0-1", if_range=[b"yesterday"], last_modified=b"yesterday") is None
    assert ask(b"bytes=0-1", if_range=[b"yesterday"]) is None


def test_a_date_is_strong_only_if_the_response_was_made_surely_later():
    modified = NOW - 1000
    assert ask(b"bytes=0-1", if_range=[MODIFIED], made_at=modified + SURELY_LATER) is not None
    assert ask(b"bytes=0-1", if_range=[MODIFIED], made_at=modified + SURELY_LATER - 0.5) is None
    assert ask(b"bytes=0-1", if_range=[MODIFIED], made_at=modified - 5) is None


def test_if_range_without_range_is_ignored():
    assert ask(if_range=[b'"a"']) is None


def test_with_if_range_no_metadata_is_repeated_that_the_client_holds():
    headers = [*HEADERS, (b"content-encoding", b"gzip"), (b"digest", b"x")]
    left_out = {b"content-type", b"content-language", b"content-encoding", b"repr-digest", b"digest", b"last-modified"}
    without_condition = ask(b"bytes=0-1", headers=headers).headers
    assert left_out < {name for name, _ in without_condition}
    expected = [pair for pair in without_condition if pair[0] not in left_out]
    assert ask(b"bytes=0-1", headers=headers, if_range=[b'"a"']).headers == expected


def test_without_etag_the_date_is_the_validator_that_the_206_carries():
    headers = [pair for pair in HEADERS if pair[0] != b"etag"]
    assert field(ask(b"bytes=0-1", headers=headers, if_range=[MODIFIED], etag=None), b"last-modified") == MODIFIED


# Several ranges.


def test_several_ranges_come_in_the_order_they_were_asked_for():
    part = ask(b"bytes=500-999, 10-19, -7, 99999-")
    assert part.status == 206
    assert parts_of(part) == [
        ("application/pdf", 500, 999, SIZE, BODY[500:1000]),
        ("application/pdf", 10, 19, SIZE, BODY[10:20]),
        ("application/pdf", SIZE - 7, SIZE - 1, SIZE, BODY[-7:]),
    ]


def test_a_multipart_answer_has_its_own_type_and_no_range_in_its_head():
    part = ask(b"bytes=0-0,5-5")
    assert field(part, b"content-range") is None
    assert field(part, b"content-length") == b"%d" % len(part.body)
    own = (b"content-type", b"content-length", b"content-digest", b"content-md5")
    assert part.headers[:-2] == [pair for pair in HEADERS if pair[0].lower() not in own]


def test_a_multipart_answer_is_laid_out_as_in_the_rfc():
    part = ask(b"bytes=48-49,52-53", headers=[(b"content-type", b"text/plain")])
    boundary = field(part, b"content-type").removeprefix(b"multipart/byteranges; boundary=")
    assert boundary.isalnum()
    assert part.body == (
        b"--%(b)b\r\nContent-Type: text/plain\r\nContent-Range: bytes 48-49/10240\r\n\r\n01\r\n"
        b"--%(b)b\r\nContent-Type: text/plain\r\nContent-Range: bytes 52-53/10240\r\n\r\n45\r\n"
        b"--%(b)b--\r\n" % {b"b": boundary}
    )


def test_parts_of_a_body_without_type_have_none():
    part = ask(b"bytes=0-0,5-5", headers=[])
    assert [found[0] for found in parts_of(part)] == [None, None]
    assert b"Content-Type" not in part.body


def test_parts_tell_their_type_even_to_a_client_that_holds_the_rest():
    part = ask(b"bytes=0-0,5-5", if_range=[b'"a"'])
    assert [found[0] for found in parts_of(part)] == ["application/pdf", "application/pdf"]
    assert field(part, b"content-language") is None


def test_parts_are_sent_only_where_they_are_shorter_than_the_whole():
    length = len(ask(b"bytes=0-0,5-5", headers=[], body=BODY[:999]).body)
    assert ask(b"bytes=0-0,5-5", headers=[], body=BODY[:length]) is None
    assert ask(b"bytes=0-0,5-5", headers=[], body=BODY[: length + 1]) is not None


def test_several_ranges_of_a_coded_body_are_answered_whole():
    assert ask(b"bytes=0-0,5-5", headers=[*HEADERS, (b"Content-Encoding", b"gzip")]) is None


def test_the_boundary_is_the_same_in_every_process_and_depends_on_the_contents():
    boundary = field(ask(b"bytes=0-0,5-5"), b"content-type")
    assert boundary == b"multipart/byteranges; boundary=418c43290916823454f1d423c019357c"
    assert field(ask(b"bytes=0-0,6-6"), b"content-type") != boundary


def test_a_boundary_that_the_contents_hold_is_not_taken(monkeypatch):
    """Nobody can find such contents, so the digest is made to yield them."""
    body = b"first" + bytes(1000) + b"second" + bytes(1000)
    digests = iter([b"first", b"second", b"third"])
    monkeypatch.setattr(ranges, "_digest", lambda material: next(digests))
    part = ask(b"bytes=0-99,1005-1105", headers=[], body=body)
    assert field(part, b"content-type") == b"multipart/byteranges; boundary=third"
    assert [found[4] for found in parts_of(part)] == [body[:100], body[1005:1106]]


# Any request.


numbers = st.integers(0, 130).map(b"%d".__mod__) | st.sampled_from([b"", b"00", b"9" * 30, b"9" * 5000])
specs = st.tuples(numbers, st.sampled_from([b"-"] * 9 + [b"--", b""]), numbers).map(b"".join)
fields = st.tuples(
    st.sampled_from([b"bytes="] * 8 + [b"BYTES= ", b"items=", b""]),
    st.lists(specs, max_size=8).map(b", ".join),
).map(b"".join)
bodies = st.binary(max_size=120) | st.binary(min_size=1, max_size=9).map(lambda unit: unit * 200)


@given(st.lists(st.binary() | fields, max_size=2), bodies, st.lists(st.sampled_from([b'"a"', b'"b"']), max_size=1))
def test_any_field_is_answered_by_bytes_of_the_body_or_not_at_all(lines, body, conditions):
    part = ask(*lines, body=body, if_range=conditions)
    if part is None:
        return
    assert field(part, b"content-length") == b"%d" % len(part.body)
    if part.status == 416:
        assert part.body == b""
        return
    content_range = field(part, b"content-range")
    if content_range is None:
        assert len(part.body) < len(body)
        for _, first, last, complete, content in parts_of(part):
            assert content == body[first : last + 1] != b""
            assert complete == len(body)
        return
    positions, complete = content_range.removeprefix(b"bytes ").split(b"/")
    first, last = positions.split(b"-")
    assert int(complete) == len(body)
    assert part.body == body[int(first) : int(last) + 1]
    assert len(part.body) == int(last) - int(first) + 1 > 0


def positions_asked(asked, size):
    """A straightforward reference: the positions each pair asks for, None standing for what is left out."""
    for first, last in asked:
        if first is None:
            yield set(range(max(size - last, 0), size))
        else:
            yield set(range(first, size if last is None else min(last + 1, size)))


int_ranges = st.tuples(st.integers(0, 2100), st.none() | st.integers(0, 300)).map(
    lambda pair: (pair[0], None if pair[1] is None else pair[0] + pair[1])
)
suffix_ranges = st.tuples(st.none(), st.integers(0, 300))


@given(st.lists(int_ranges | suffix_ranges, min_size=1, max_size=8), st.binary(min_size=1, max_size=9))
def test_the_parts_together_are_exactly_what_was_asked_for(asked, unit):
    body = unit * (2000 // len(unit))
    expected = list(positions_asked(asked, len(body)))
    spelled = [b"-".join([b"" if number is None else b"%d" % number for number in pair]) for pair in asked]
    part = ask(b"bytes=" + b",".join(spelled), body=body, headers=[(b"content-type", b"application/x")])
    if part is None:  # whole: only where parts would not have been shorter
        overhead = 46 + 130 * len(asked)
        assert len(set().union(*expected)) + overhead >= len(body)
        return
    if part.status == 416:
        assert not set().union(*expected)
        return
    if field(part, b"content-range") is None:
        found = [(first, content) for _, first, _, _, content in parts_of(part)]
    else:
        found = [(int(field(part, b"content-range")[6:].partition(b"-")[0]), part.body)]
    sent = [set(range(first, first + len(content))) for first, content in found]
    assert set().union(*sent) == set().union(*expected)
    assert sum(map(len, sent)) == len(set().union(*sent)), "no byte is sent twice"
    assert all(content == body[first : first + len(content)] for first, content in found)
    places = [min(place for place, positions in enumerate(expected) if positions & piece) for piece in sent]
    assert places == sorted(places), "in the order they were asked for"


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=9))
def test_an_invalid_range_among_others_invalidates_them_all(pairs):
    spelled = b"bytes=" + b",".join([b"%d-%d" % pair for pair in pairs])
    is_valid = bool(pairs) and all(first <= last for first, last in pairs)
    assert (byte_ranges(spelled, 100) is not None) is is_valid


def test_long_garbage_is_read_in_one_pass():
    for unit in (b"0-", b",", b"-", b"9", b'"', b"0-0,", b'",', b" ", b"0"):
        assert byte_ranges(b"bytes=" + unit * 200_000 + b"\x00", 10) is None
