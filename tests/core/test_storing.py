import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.dates import format_http_date
from rcache.core.storing import Verdict, may_store, stored_headers

NOW = 1_700_000_000.0
STATUSES = frozenset((200, 203, 204, 301, 308))


def verdict(*headers, status=200, ttl=60.0, personal=False):
    return may_store(status, headers, ttl=ttl, statuses=STATUSES, personal=personal, now=NOW)


def control(text):
    return (b"cache-control", text)


def at(seconds):
    return format_http_date(NOW + seconds)


def test_a_plain_answer_is_stored_for_the_ttl_of_the_rule():
    assert verdict((b"content-type", b"text/html")) == Verdict(
        60.0, 0.0, is_shared=False, is_explicit=False, reason=None
    )
    assert verdict().may_store


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (control(b"no-store"), "no-store"),
        (control(b"max-age=60, no-store"), "no-store"),
        (control(b"must-understand, no-store"), "no-store"),
        (control(b"private"), "private"),
        (control(b'private="x-user", max-age=60'), "private"),
        (control(b"no-cache"), "no-cache"),
        (control(b'no-cache="set-cookie"'), "no-cache"),
        ((b"Set-Cookie", b"a=1"), "set-cookie"),
        ((b"vary", b"*"), "vary"),
        ((b"vary", b"accept, *"), "vary"),
        ((b"vary", b"not a name"), "vary"),
        ((b"content-range", b"bytes 0-1/2"), "partial"),
        ((b"content-type", b"Text/Event-Stream; charset=utf-8"), "stream"),
        ((b"content-type", b"multipart/x-mixed-replace;boundary=x"), "stream"),
        (control(b"max-age=0"), "stale"),
        (control(b"max-age=x"), "stale"),
        (control(b"s-maxage=0, max-age=60"), "stale"),
        ((b"expires", b"0"), "stale"),
        ((b"age", b"60"), "stale"),
        ((b"date", at(-60)), "stale"),
    ],
)
def test_an_answer_is_refused_with_its_reason(header, reason):
    refused = verdict(header)
    assert refused.reason == reason
    assert not refused.may_store
    assert refused.lifetime is None


def test_no_store_wins_over_every_other_reason():
    others = [(b"set-cookie", b"a=1"), (b"vary", b"*"), control(b"private, no-cache, s-maxage=60, public")]
    assert verdict(*others, control(b"no-store"), status=206, personal=True).reason == "no-store"


def test_explicit_freshness_wins_over_the_ttl():
    assert verdict(control(b"max-age=5")).lifetime == 5.0
    assert verdict(control(b"max-age=5, s-maxage=7")).lifetime == 7.0
    assert verdict((b"expires", at(9))).lifetime == 9.0
    assert verdict(control(b"max-age=5"), ttl=None).lifetime == 5.0


def test_without_a_ttl_an_answer_needs_explicit_freshness():
    assert verdict(ttl=None).reason == "no-freshness"


def test_other_statuses_need_explicit_freshness():
    assert verdict(status=404).reason == "status"
    assert verdict(status=404, ttl=None).reason == "status"
    assert verdict(control(b"max-age=5"), status=404).lifetime == 5.0


@pytest.mark.parametrize("status", [100, 101, 103, 199, 304, 600, 0, 999])
def test_what_is_no_final_answer_is_never_stored(status):
    headers = [control(b"public, max-age=60")]
    refused = may_store(status, headers, ttl=60.0, statuses=frozenset([status]), personal=False, now=NOW)
    assert refused.reason == "status"


def test_a_partial_answer_is_never_stored():
    headers = [control(b"public, max-age=60")]
    assert may_store(206, headers, ttl=60.0, statuses=frozenset([206]), personal=False, now=NOW).reason == "partial"


def test_must_understand_refuses_statuses_that_are_not_understood():
    header = control(b"max-age=60, must-understand")
    assert verdict(header, status=200).may_store
    assert verdict(header, status=299).reason == "status"
    assert verdict(control(b"max-age=60"), status=299).may_store


@pytest.mark.parametrize("text", [b"public", b"s-maxage=60", b"must-revalidate", b"Public, max-age=5"])
def test_an_answer_to_credentials_is_stored_where_it_says_that_it_is_shared(text):
    assert verdict(control(text), personal=True) == verdict(control(text))
    assert verdict(control(text)).is_shared


@pytest.mark.parametrize(
    "headers", [(), [control(b"max-age=60")], [control(b"proxy-revalidate")], [(b"expires", at(9))]]
)
def test_any_other_answer_to_credentials_is_not(headers):
    assert verdict(*headers, personal=True).reason == "credentials"
    assert not verdict(*headers).is_shared
    assert verdict(*headers).may_store


def test_the_age_it_came_with_is_kept():
    assert verdict((b"age", b"20"), (b"date", at(-5))) == Verdict(
        60.0, 20.0, is_shared=False, is_explicit=False, reason=None
    )


names = [
    b"cache-control",
    b"Set-Cookie",
    b"vary",
    b"content-range",
    b"content-type",
    b"expires",
    b"age",
    b"date",
    b"connection",
]
texts = [
    b"no-store",
    b"max-age=60",
    b"public",
    b"private",
    b"*",
    b"accept",
    b"0",
    b"text/event-stream",
    b"x-a",
    at(60),
    b'"',
]
pairs = st.tuples(st.sampled_from(names) | st.binary(max_size=8), st.sampled_from(texts) | st.binary(max_size=20))


@given(st.lists(pairs, max_size=6), st.integers(0, 700), st.none() | st.floats(0.001, 1e8), st.booleans())
def test_any_response_has_a_verdict(headers, status, ttl, personal):
    given_verdict = verdict(*headers, status=status, ttl=ttl, personal=personal)
    assert given_verdict.may_store == (given_verdict.reason is None)
    if given_verdict.may_store:
        assert given_verdict.lifetime > given_verdict.initial_age >= 0.0
        assert given_verdict.is_shared or not personal
        assert not any(name.lower() == b"set-cookie" for name, _ in headers)


def test_stored_headers_keep_order_and_repeats_in_lower_case():
    headers = [(b"X-A", b"1"), (b"Link", b"a"), (b"x-a", b"2"), (b"link", b"b"), (b"content-length", b"5")]
    assert stored_headers(headers) == tuple((name.lower(), value) for name, value in headers)


@pytest.mark.parametrize(
    "name",
    [
        *(b"Connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"Transfer-Encoding", b"upgrade"),
        *(b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info", b"Age"),
    ],
)
def test_fields_of_a_connection_or_proxy_and_the_age_are_not_stored(name):
    assert stored_headers([(b"a", b"1"), (name, b"x"), (b"b", b"2")]) == ((b"a", b"1"), (b"b", b"2"))


def test_fields_that_connection_lists_are_not_stored():
    headers = [
        (b"X-Hop", b"1"),
        (b"Connection", b"close, x-HOP"),
        (b"connection", b"x-other"),
        (b"x-other", b"2"),
        (b"x", b"3"),
    ]
    assert stored_headers(headers) == ((b"x", b"3"),)


@given(st.lists(pairs, max_size=6))
def test_stored_headers_of_any_bytes_are_stored_again_as_they_are(headers):
    assert stored_headers(stored_headers(headers)) == stored_headers(headers)
