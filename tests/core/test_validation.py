import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.dates import format_http_date
from rcache.core.headers import values
from rcache.core.storing import NOT_STORED
from rcache.core.validation import (
    conditions,
    etag_matches,
    freshened,
    head_agrees,
    is_strong,
    not_modified,
    not_modified_headers,
    selects,
    strong_etag,
    unconditional,
)

NOW = 1_700_000_000.0
MODIFIED = format_http_date(NOW - 100)

etags = st.tuples(st.sampled_from([b"", b"W/"]), st.from_regex(rb'\A"[!#-~\x80-\xff]{0,4}"\Z')).map(b"".join)


def test_a_strong_etag_is_quoted_and_equal_for_equal_bytes():
    etag = strong_etag(b"hello", [(b"content-type", b"text/plain")])
    assert re.fullmatch(rb'"[A-Za-z0-9_-]{22}"', etag)
    assert etag == strong_etag(b"hello", [(b"x", b"y"), (b"Content-Type", b"text/plain")])


def test_a_strong_etag_is_equal_in_every_process():
    program = "from rcache.core.validation import strong_etag; print(strong_etag(b'hello', []).decode())"
    path = "import sys; sys.path[:] = " + repr(sys.path) + "; "
    runs = {
        subprocess.run([sys.executable, "-c", path + program], capture_output=True, check=True).stdout for _ in "12"
    }
    assert runs == {strong_etag(b"hello", []) + b"\n"}


representations = st.tuples(
    st.none() | st.sampled_from([b"", b"a", b"1:a", b"-"]),
    st.none() | st.sampled_from([b"", b"a", b"1:"]),
    st.binary(max_size=4),
)


@given(representations, representations)
def test_two_representations_share_an_etag_only_if_they_are_the_same(one, other):
    def made(content_type, coding, body):
        fields = [(b"content-type", content_type), (b"content-encoding", coding)]
        return strong_etag(body, [(name, value) for name, value in fields if value is not None])

    assert (made(*one) == made(*other)) == (one == other)


@pytest.mark.parametrize(
    ("if_none_match", "etag", "expected"),
    [
        (b'"a"', b'"a"', True),
        (b'"a"', b'"b"', False),
        (b'W/"a"', b'"a"', True),
        (b'"a"', b'W/"a"', True),
        (b'W/"a"', b'W/"a"', True),
        (b'"x", "a" ,W/"y"', b'"a"', True),
        (b',, "x",,"a",', b'"a"', True),
        (b'"x,y"', b'"x,y"', True),
        (b'"x,y"', b'"x"', False),
        (b'"x, "a", "y"', b'"a"', False),
        (b'""', b'""', True),
        (b'"a b"', b'"a b"', True),
        (b"*", b'"a"', True),
        (b" * ", None, True),
        (b'*, "a"', b'"a"', False),
        (b'"*"', b'"a"', False),
        (b"a", b"a", False),
        (b"a", b'"a"', False),
        (b'w/"a"', b'"a"', False),
        (b'W/ "a"', b'"a"', False),
        (b'"a" "b"', b'"a"', False),
        (b'x"a"', b'"a"', False),
        (b'"a"x', b'"a"', False),
        (b'"a', b'"a"', False),
        (b"'a'", b'"a"', False),
        (b'"a\n"', b'"a\n"', False),
        (b"", b'"a"', False),
        (b"", b"", False),
        (b'"a"', None, False),
        (b'"A"', b'"a"', False),
    ],
)
def test_entity_tags_are_compared_weakly(if_none_match, etag, expected):
    assert etag_matches(if_none_match, etag) is expected


@given(st.lists(etags, max_size=5), etags, st.sampled_from([b",", b", ", b" ,\t", b",,"]))
def test_a_list_matches_if_one_of_its_members_does(listed, etag, separator):
    """Beside a straightforward reference: strip what says weak, compare."""
    expected = any(member.removeprefix(b"W/") == etag.removeprefix(b"W/") for member in listed)
    assert etag_matches(separator.join(listed), etag) is expected


@pytest.mark.parametrize(
    ("etag", "expected"),
    [
        *((etag, True) for etag in (b'"a"', b'""', b'"a b"', b'"W/"', b'"\xff"')),
        *(
            (etag, False)
            for etag in (b'W/"a"', b"a", b"", b'"', b'"a', b'a"', b'"a"x', b'"a" "b"', b'"a", "b"', b' "a"')
        ),
    ],
)
def test_a_strong_entity_tag_is_one_quoted_text_alone(etag, expected):
    assert is_strong(etag) is expected


pieces = st.lists(st.sampled_from([b'"', b"a", b"W/", b",", b" ", b"*", b"\\", b"\x00"]), max_size=9).map(b"".join)


@given(st.binary() | pieces, st.none() | st.binary() | pieces)
def test_any_bytes_match_only_if_the_tag_stands_in_the_list(if_none_match, etag):
    if etag_matches(if_none_match, etag):
        assert if_none_match.strip() == b"*" or etag.removeprefix(b"W/") in if_none_match


def test_long_garbage_is_read_in_one_pass():
    for unit in (b'"', b'",', b'"a"', b" ", b", ", b"W/", b'"a",', b'W/"'):
        assert not etag_matches(unit * 200_000 + b"\x00", b'"b"')
        assert not etag_matches(unit * 200_000 + b'"b"\x00', b'"b"')


LISTED = {b'"a"': {b'"a"'}, b'W/"b"': {b'"b"'}, b'"c", "a"': {b'"c"', b'"a"'}}
MOMENTS = {MODIFIED: -100, format_http_date(NOW): 0, b"Tuesday, 14-Nov-23 22:13:20 GMT": 0, b"garbage": None}


def ask(*headers, etag=b'"a"', last_modified=MODIFIED):
    return not_modified(headers, etag, last_modified, NOW)


def since(seconds):
    return (b"if-modified-since", format_http_date(NOW - seconds))


def test_a_request_without_conditions_is_answered_in_full():
    assert not ask((b"accept", b"*/*"))


def test_if_none_match_decides_alone():
    assert ask((b"if-none-match", b'"a"'), since(500))
    assert not ask((b"if-none-match", b'"b"'), since(0))
    assert not ask((b"if-none-match", b"garbage"), since(0))


def test_all_lines_of_if_none_match_count():
    assert ask((b"if-none-match", b'"x"'), (b"If-None-Match", b'"a"'))


def test_if_modified_since_is_compared_with_last_modified():
    assert ask(since(100))
    assert ask(since(99))
    assert not ask(since(101))
    assert not ask(since(0), last_modified=None)
    assert not ask(since(0), last_modified=b"garbage")


def test_an_invalid_or_repeated_if_modified_since_is_ignored():
    assert not ask((b"if-modified-since", b"garbage"))
    assert not ask(since(0), since(0))
    assert not ask((b"if-modified-since", b""))


def test_if_modified_since_needs_no_etag():
    assert ask(since(100), etag=None)


@pytest.mark.parametrize(
    "date",
    [
        b"Tue, 14 Nov 2023 22:13:20 GMT",
        b"Tuesday, 14-Nov-23 22:13:20 GMT",
        b"Tue Nov 14 22:13:20 2023",
        b" \tTue Nov 14 22:13:20 2023 ",
    ],
)
def test_if_modified_since_is_read_in_every_form_of_dates(date):
    assert ask((b"if-modified-since", date), last_modified=format_http_date(NOW))
    assert not ask((b"if-modified-since", date), last_modified=format_http_date(NOW + 1))
    assert ask(since(0), last_modified=date)
    assert not ask(since(1), last_modified=date)


def test_without_last_modified_date_or_its_arrival_counts():
    """RFC 9111 §4.3.2."""
    made = {"etag": b'"a"', "last_modified": None, "now": NOW, "received": NOW - 100}
    assert not_modified([since(100)], **made)
    assert not not_modified([since(101)], **made)
    assert not not_modified([(b"if-modified-since", b"garbage")], **made)
    assert not not_modified([(b"if-none-match", b'"b"'), since(0)], **made)
    assert not not_modified([], **made)
    assert not not_modified([since(100)], **made | {"received": NOW - 99.5})
    dates = [(b"date", format_http_date(NOW - seconds)) for seconds in (150, 120)]
    assert not_modified([since(120)], **made, stored=dates)
    assert not not_modified([since(121)], **made, stored=dates)
    assert not_modified([since(100)], **made, stored=[(b"date", b"garbage")])


def test_last_modified_comes_before_both_even_if_it_is_no_date():
    assert not not_modified([since(100)], None, format_http_date(NOW), NOW, received=NOW - 200)
    assert not not_modified([since(100)], None, b"garbage", NOW, received=NOW - 200)


@given(
    st.none() | st.just([b"*"]) | st.lists(st.sampled_from([*LISTED]), min_size=1, max_size=3),
    st.lists(st.sampled_from([*MOMENTS]), max_size=2),
    st.sampled_from([None, b'"a"', b'W/"a"', b'"b"', b'"d"']),
    st.sampled_from([None, *MOMENTS]),
)
def test_a_304_is_sent_only_if_a_200_would_have_carried_that_validator(lists, dates, etag, last_modified):
    """Beside a straightforward reading of RFC 9110 §13.1.2, §13.1.3 and §13.2.2."""
    if lists is not None:
        opaque = None if etag is None else etag.removeprefix(b"W/")
        expected = lists == [b"*"] or any(opaque in LISTED[line] for line in lists)
    else:
        times = [MOMENTS[date] for date in dates], MOMENTS.get(last_modified)
        expected = times[1] is not None and len(times[0]) == 1 and times[0][0] is not None and times[1] <= times[0][0]
    headers = [(b"if-none-match", line) for line in lists or ()] + [(b"if-modified-since", date) for date in dates]
    assert not_modified(headers, etag, last_modified, NOW) is expected


@given(st.lists(st.tuples(st.sampled_from([b"if-none-match", b"if-modified-since"]), st.binary() | pieces), max_size=4))
def test_any_conditions_are_decided(headers):
    assert ask(*headers) in (True, False)


HEADERS = [
    (b"content-type", b"text/html"),
    (b"Content-Length", b"5"),
    (b"content-encoding", b"gzip"),
    (b"content-language", b"en"),
    (b"content-range", b"bytes 0-4/5"),
    (b"content-digest", b"sha-256=:x:"),
    (b"cache-control", b"max-age=60"),
    (b"content-location", b"/a"),
    (b"date", b"x"),
    (b"expires", b"x"),
    (b"vary", b"accept"),
    (b"vary", b"x-a"),
    (b"last-modified", MODIFIED),
    (b"access-control-allow-origin", b"*"),
    (b"content-security-policy", b"x"),
]
KEPT = [pair for pair in HEADERS[6:] if pair[0] != b"last-modified"]


def test_a_304_carries_no_metadata_of_what_it_does_not_send():
    assert not_modified_headers([*HEADERS, (b"ETag", b'"a"')]) == [*KEPT, (b"ETag", b'"a"')]


def test_a_304_without_etag_carries_last_modified():
    assert not_modified_headers(HEADERS) == HEADERS[6:]


@pytest.mark.parametrize("etag", [b'"abc"', b'"abc-gzip"'])
def test_the_representation_that_would_be_sent_decides(etag):
    """An entry has an ETag per coding; the one that was chosen is asked about, and told."""
    other = b'"abc-gzip"' if etag == b'"abc"' else b'"abc"'
    assert not_modified([(b"if-none-match", etag)], etag, None, NOW)
    assert not_modified([(b"if-none-match", other + b", " + etag)], etag, None, NOW)
    assert not not_modified([(b"if-none-match", other)], etag, None, NOW)
    assert not_modified_headers([(b"content-encoding", b"gzip"), (b"etag", etag)]) == [(b"etag", etag)]


@pytest.mark.parametrize("name", [b"content-location", b"date", b"etag", b"vary", b"cache-control", b"expires"])
def test_a_304_carries_what_the_rfc_asks_for(name):
    """RFC 9110 §15.4.5."""
    assert (name, b"x") in not_modified_headers([(b"content-type", b"x"), (b"etag", b"x"), (name, b"x")])


# What asks the application, and what its answer speaks of


@pytest.mark.parametrize(
    ("etag", "last_modified", "expected"),
    [
        (None, None, []),
        (b'"a"', None, [(b"if-none-match", b'"a"')]),
        (b'W/"a"', None, [(b"if-none-match", b'W/"a"')]),
        (b' "a"\t', None, [(b"if-none-match", b'"a"')]),
        (None, MODIFIED, [(b"if-modified-since", MODIFIED)]),
        (None, b" " + MODIFIED, [(b"if-modified-since", MODIFIED)]),
        (None, b"Tuesday, 14-Nov-23 22:13:20 GMT", [(b"if-modified-since", b"Tuesday, 14-Nov-23 22:13:20 GMT")]),
        (b'"a"', MODIFIED, [(b"if-none-match", b'"a"'), (b"if-modified-since", MODIFIED)]),
        (b"*", b"0", []),
        (b"a", MODIFIED, [(b"if-modified-since", MODIFIED)]),
        (b'"a", "b"', None, []),
        (b"", b"", []),
    ],
)
def test_all_validators_that_are_any_ask_the_application(etag, last_modified, expected):
    assert conditions(etag, last_modified) == expected


def test_an_unconditional_request_lacks_what_a_cache_evaluates_itself_and_nothing_else():
    kept = [
        (b"Accept", b"*/*"),
        (b"if-match", b'"a"'),
        (b"if-unmodified-since", MODIFIED),
        (b"if-range", b'"a"'),
        (b"range", b"bytes=0-"),
        (b"cache-control", b"no-cache"),
    ]
    gone = [(b"if-none-match", b'"a"'), (b"If-None-Match", b'"b"'), (b"IF-MODIFIED-SINCE", MODIFIED)]
    assert unconditional([*gone, *kept, *gone]) == kept


LATER = format_http_date(NOW)
SAME = b"Tuesday, 14-Nov-23 22:11:40 GMT"


@pytest.mark.parametrize(
    ("received", "stored", "expected"),
    [
        # A strong validator names its representation, whatever else is there
        ((b'"a"', None), (b'"a"', None), True),
        ((b'"a"', MODIFIED), (b'"a"', MODIFIED), True),
        ((b'"a"', LATER), (b'"a"', MODIFIED), True),
        ((b'"a"', LATER), (b'"a"', None), True),
        ((b' "a"', None), (b'"a" ', None), True),
        ((b'"a"', None), (b'"b"', None), False),
        ((b'"a"', None), (b'W/"a"', None), False),
        ((b' "a"', None), (b'W/"a"', None), False),
        ((b'"a"', None), (b"a", None), False),
        ((b'"a"', MODIFIED), (b'"b"', MODIFIED), False),
        ((b'"a"', MODIFIED), (None, MODIFIED), False),
        ((b'"a"', None), (None, None), False),
        # Weak ones have to correspond, all of them
        ((b'W/"a"', None), (b'W/"a"', None), True),
        ((b'W/"a"', None), (b'"a"', None), True),
        ((b'W/"a"', None), (b'"a"', MODIFIED), True),
        ((b'W/"a"', MODIFIED), (b'"a"', MODIFIED), True),
        ((b'W/"a"', None), (b'W/"b"', None), False),
        ((b'W/"a"', None), (None, MODIFIED), False),
        ((b'W/"a"', MODIFIED), (b'W/"b"', MODIFIED), False),
        ((b'W/"a"', LATER), (b'W/"a"', MODIFIED), False),
        ((b'W/"a"', MODIFIED), (b'W/"a"', None), False),
        ((None, MODIFIED), (None, MODIFIED), True),
        ((None, MODIFIED), (b'"a"', MODIFIED), True),
        ((None, SAME), (None, MODIFIED), True),
        ((None, MODIFIED), (None, SAME), True),
        ((None, LATER), (None, MODIFIED), False),
        ((None, MODIFIED), (b'"a"', None), False),
        ((None, MODIFIED), (None, b"garbage"), False),
        ((None, b"garbage"), (None, MODIFIED), False),
        ((None, b"garbage"), (None, b"rubbish"), False),
        # Garbage corresponds to itself alone
        ((b"a", MODIFIED), (b"a", MODIFIED), True),
        ((b"a", MODIFIED), (b"b", MODIFIED), False),
        ((b"a", None), (b'"a"', None), False),
        ((b'"a", "b"', None), (b'"a"', None), False),
        # None at all speak of what has none
        ((None, None), (None, None), True),
        ((None, None), (b'"a"', None), False),
        ((None, None), (None, MODIFIED), False),
    ],
)
def test_a_304_speaks_of_the_response_with_its_validators(received, stored, expected):
    headers = [pair for pair in zip((b"ETag", b"Last-Modified"), received, strict=True) if pair[1] is not None]
    assert selects(headers, *stored, NOW) is expected
    if headers:
        assert selects(headers, *stored, NOW, asked_alone=True) is expected


def test_a_304_without_validators_speaks_of_the_only_one_it_was_asked_about():
    assert selects([(b"date", LATER)], b'"a"', MODIFIED, NOW, asked_alone=True)


def test_two_lines_of_etag_are_none():
    assert not selects([(b"etag", b'"a"'), (b"etag", b'"a"')], b'"a"', None, NOW)


validators = st.tuples(
    st.none() | st.sampled_from([b'"a"', b'W/"a"', b'"b"', b"a", b"*"]),
    st.none() | st.sampled_from([MODIFIED, SAME, LATER, b"garbage"]),
)


@given(validators, validators)
def test_an_answer_to_our_conditions_with_validators_of_the_full_response_selects_it(stored, other):
    """An application that evaluates what it is sent, and repeats in a 304 what a 200 would have: RFC 9110 §15.4.5."""
    etag, modified = other
    request = conditions(*stored)
    if request and not_modified(request, etag, modified, NOW):
        headers = [pair for pair in ((b"etag", etag), (b"last-modified", modified)) if pair[1] is not None]
        if selects(headers, *stored, NOW):
            assert etag is None or stored[0] is None or etag.removeprefix(b"W/") == stored[0].removeprefix(b"W/")
        elif stored == other:
            raise AssertionError("the very response that is stored was not known again")


# What is freshened


STORED = (
    (b"content-type", b"text/html"),
    (b"content-length", b"5"),
    (b"x-a", b"1"),
    (b"link", b"</a>"),
    (b"link", b"</b>"),
    (b"date", MODIFIED),
    (b"etag", b'"a"'),
    (b"cache-control", b"max-age=1"),
)


def test_received_fields_replace_all_their_stored_lines():
    received = [(b"Cache-Control", b"max-age=9"), (b"LINK", b"</c>"), (b"X-B", b"2"), (b"x-b", b"3"), (b"Date", LATER)]
    assert freshened(STORED, received) == (
        *STORED[:3],
        (b"etag", b'"a"'),
        (b"cache-control", b"max-age=9"),
        (b"link", b"</c>"),
        (b"x-b", b"2"),
        (b"x-b", b"3"),
        (b"date", LATER),
    )


def test_a_stored_date_does_not_outlive_the_update():
    """Without one of its own the update was made when it was received."""
    assert freshened(STORED, []) == (*STORED[:5], *STORED[6:])


def test_an_etag_that_corresponds_takes_the_place_of_the_stored_one():
    """RFC 9111 §3.2 excepts it from nothing; one that became weak is no strong validator any more."""
    assert freshened([(b"etag", b'"a"')], [(b"ETag", b'W/"a"')]) == ((b"etag", b'W/"a"'),)


@pytest.mark.parametrize(
    "name",
    [
        *(b"Content-Length", b"content-encoding", b"Content-Range", b"content-type", b"content-md5"),
        *(b"content-digest", b"repr-digest", b"Digest"),
    ],
)
def test_what_the_stored_bytes_depend_on_is_kept(name):
    stored = ((name.lower(), b"stored"), (b"x", b"1"))
    assert freshened(stored, [(name, b"received")]) == stored
    assert freshened(stored[1:], [(name, b"received")]) == stored[1:]


@pytest.mark.parametrize(
    "name",
    [
        *(b"last-modified", b"vary", b"expires", b"content-location", b"content-language", b"content-security-policy"),
        *(b"content-disposition", b"content-foo", b"x-frame-options", b"set-cookie", b"cache-status", b"accept-ranges"),
    ],
)
def test_all_else_is_replaced_and_added(name):
    assert freshened(((name, b"stored"),), [(name.title(), b"received")]) == ((name, b"received"),)
    assert freshened((), [(name.title(), b"received")]) == ((name, b"received"),)


@pytest.mark.parametrize("name", [*sorted(NOT_STORED), b"x-hop"])
def test_what_is_never_stored_neither_comes_in_nor_takes_anything_away(name):
    received = [(b"Connection", b"X-Hop"), (name.title(), b"1")]
    assert freshened(((b"x-hop", b"end to end"),), received) == ((b"x-hop", b"end to end"),)


field_names = st.sampled_from(
    [b"X-A", b"x-a", b"etag", b"Date", b"Connection", b"Content-Type", b"content-length", b"age", b"vary"]
)
fields = st.lists(st.tuples(field_names, st.sampled_from([b"1", b"2", b"x-a"])), max_size=8)


@given(fields, fields)
def test_an_update_is_idempotent_and_every_field_comes_whole_from_one_side(stored, received):
    stored = tuple((name.lower(), value) for name, value in stored)
    result = freshened(stored, received)
    assert freshened(result, received) == result
    for name in {name for name, _ in result}:
        assert name == name.lower()
        assert values(result, name) in (values(stored, name), values(received, name))
    for name in {b"content-type", b"content-length"}:
        assert values(result, name) == values(stored, name)


# HEAD


def agrees(*headers, etag=b'"a"', last_modified=MODIFIED, length=5):
    return head_agrees(headers, etag=etag, last_modified=last_modified, length=length, now=NOW)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"ETag", b'"a"')], True),
        ([(b"etag", b'W/"a"')], True),
        ([(b"last-modified", MODIFIED)], True),
        ([(b"last-modified", SAME)], True),
        ([(b"etag", b'"a"'), (b"last-modified", MODIFIED), (b"Content-Length", b"5")], True),
        ([(b"etag", b'"a"'), (b"content-length", b"05")], True),
        ([(b"etag", b'"a"'), (b"content-length", b"5, 5")], True),
        ([(b"etag", b'"b"')], False),
        ([(b"last-modified", LATER)], False),
        ([(b"etag", b'"a"'), (b"last-modified", LATER)], False),
        ([(b"etag", b'"b"'), (b"last-modified", MODIFIED)], False),
        ([(b"etag", b'"a"'), (b"content-length", b"6")], False),
        ([(b"etag", b'"a"'), (b"content-length", b"5"), (b"content-length", b"6")], False),
        ([(b"etag", b'"a"'), (b"content-length", b"x")], False),
        ([(b"etag", b'"a"'), (b"content-length", b"-5")], False),
        ([(b"etag", b'"a"'), (b"content-length", b"5" * 5000)], False),
        ([(b"content-length", b"6")], False),
        ([(b"etag", b"garbage")], False),
        ([(b"last-modified", b"garbage")], False),
        ([], None),
        ([(b"content-length", b"5")], None),
        ([(b"content-type", b"text/html")], None),
    ],
)
def test_a_head_freshens_what_its_validators_and_length_agree_with(headers, expected):
    assert agrees(*headers) is expected


def test_a_validator_that_the_stored_response_lacks_contradicts():
    assert agrees((b"etag", b'"a"'), etag=None) is False
    assert agrees((b"last-modified", MODIFIED), last_modified=None) is False


def test_the_same_garbage_neither_contradicts_nor_proves_anything():
    assert agrees((b"etag", b"a"), (b"last-modified", b"0"), etag=b"a", last_modified=b"0") is None
    assert agrees((b"etag", b"a"), (b"last-modified", MODIFIED), etag=b"a") is True


def test_an_empty_body_has_a_length():
    assert agrees((b"etag", b'"a"'), (b"content-length", b"0"), length=0) is True
    assert agrees((b"etag", b'"a"'), (b"content-length", b""), length=0) is True


@given(
    st.lists(
        st.tuples(st.sampled_from([b"etag", b"last-modified", b"content-length", b"date"]), st.binary() | pieces),
        max_size=4,
    )
)
def test_any_answer_is_judged(headers):
    assert selects(headers, b'"a"', MODIFIED, NOW) in (True, False)
    assert agrees(*headers) in (True, False, None)
    assert freshened(STORED, headers)[0] == STORED[0]
