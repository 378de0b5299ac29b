import sys
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rcache.core import targeted
from rcache.core.dates import format_http_date
from rcache.core.directives import ResponseDirectives, response_directives
from rcache.core.storing import (
    MAX_VALIDATION,
    MIN_VALIDATION,
    UNDERSTOOD,
    StoringRules,
    Verdict,
    may_store,
    stored_headers,
)

NOW = 1_700_000_000.0
STATUSES = frozenset((200, 203, 204, 301, 308))
RULES = StoringRules(ttl=60.0, statuses=STATUSES)
ETAG = (b"etag", b'"a"')


def verdict(*headers, status=200, personal=False, **rules):
    return may_store(status, headers, replace(RULES, **rules), personal=personal, now=NOW)


def control(text):
    return (b"cache-control", text)


def at(seconds):
    return format_http_date(NOW + seconds)


def test_a_plain_answer_is_stored_for_the_ttl_of_the_rule():
    assert verdict((b"content-type", b"text/html")) == Verdict(
        lifetime=60.0,
        initial_age=0.0,
        is_shared=False,
        is_explicit=False,
        reason=None,
        stale_while_revalidate=0.0,
        stale_if_error=0.0,
        must_revalidate=False,
        retention=0.0,
        directives=ResponseDirectives(),
    )
    assert verdict().may_store


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (control(b"no-store"), "no-store"),
        (control(b"max-age=60, no-store"), "no-store"),
        (control(b"private"), "private"),
        (control(b"private, max-age=60, public"), "private"),
        (control(b"no-cache"), "no-cache"),
        (control(b"no-cache, max-age=60"), "no-cache"),
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
    assert refused.retention == refused.stale_while_revalidate == refused.stale_if_error == 0.0


def test_no_store_wins_over_every_other_reason():
    others = [(b"set-cookie", b"a=1"), (b"vary", b"*"), control(b"private, no-cache, s-maxage=60, public")]
    assert verdict(*others, control(b"no-store"), status=206, personal=True).reason == "no-store"


# Freshness: the response's own, then the rule's, then a guess


def test_explicit_freshness_wins_over_the_ttl():
    assert verdict(control(b"max-age=5")).lifetime == 5.0
    assert verdict(control(b"max-age=5, s-maxage=7")).lifetime == 7.0
    assert verdict((b"expires", at(9))).lifetime == 9.0
    assert verdict(control(b"max-age=5"), ttl=None).lifetime == 5.0
    assert verdict(control(b"max-age=5")).is_explicit


def test_without_a_ttl_an_answer_needs_explicit_freshness():
    assert verdict(ttl=None).reason == "no-freshness"
    assert verdict(control(b"public"), ttl=None).reason == "no-freshness"


def test_the_ttl_holds_for_the_statuses_of_the_rule():
    assert verdict(status=404).reason == "status"
    assert verdict(status=404, ttl=None).reason == "status"
    assert verdict(control(b"public"), status=404).reason == "status"
    assert verdict(status=404, statuses=frozenset([404])).lifetime == 60.0


def test_freshness_is_guessed_only_where_the_rules_say_so_and_nobody_grants_any():
    modified = (b"last-modified", at(-1000))
    assert verdict(modified, ttl=None).reason == "no-freshness"
    assert verdict(modified, ttl=None, heuristic=True).lifetime == 100.0
    assert not verdict(modified, ttl=None, heuristic=True).is_explicit
    assert verdict(modified, heuristic=True).lifetime == 60.0
    assert verdict(modified, control(b"max-age=5"), ttl=None, heuristic=True).lifetime == 5.0
    assert verdict(modified, control(b"max-age=0"), ttl=None, heuristic=True).lifetime == 0.0
    assert verdict(modified, status=404, heuristic=True).lifetime == 100.0
    assert verdict(modified, status=302, heuristic=True).reason == "status"
    assert verdict(modified, control(b"public"), status=302, heuristic=True).lifetime == 100.0
    assert verdict(ttl=None, heuristic=True).reason == "no-freshness"


# Statuses (RFC 9111 §3, §5.2.2.3)


def test_explicit_freshness_makes_every_final_status_storable_understood_or_not():
    refused = {
        status
        for status in range(1000)
        for header in (control(b"max-age=5"), control(b"s-maxage=5"), (b"expires", at(5)))
        if verdict(header, status=status, ttl=None).lifetime != 5.0
    }
    for_one_request = {206, 304, 412, 416, 417, 428, 429, 431, 511}
    assert refused == {*range(200), *for_one_request, *range(600, 1000)}


@pytest.mark.parametrize("status", [100, 101, 103, 199, 304, 412, 416, 417, 428, 429, 431, 511, 600, 0, 999])
def test_what_answers_nobody_else_is_never_stored(status):
    headers = [control(b"public, max-age=60"), ETAG]
    assert verdict(*headers, status=status, statuses=frozenset([status])).reason == "status"


def test_a_partial_answer_is_never_stored():
    assert verdict(control(b"public, max-age=60"), status=206, statuses=frozenset([206])).reason == "partial"


def test_must_understand_refuses_statuses_that_are_not_understood():
    header = control(b"max-age=60, must-understand")
    assert verdict(header, status=200).may_store
    assert verdict(header, status=299).reason == "status"
    assert verdict(control(b"max-age=60"), status=299).may_store


def test_must_understand_sets_no_store_aside_where_the_status_is_understood():
    header = control(b"max-age=60, must-understand, no-store")
    assert verdict(header).lifetime == 60.0
    assert verdict(control(b"must-understand, no-store")).lifetime == 60.0
    assert verdict(header, status=299).reason == "no-store"
    assert verdict(control(b"max-age=60, must-understand=x, no-store")).reason == "no-store"
    assert all(verdict(header, status=status).may_store == (status in UNDERSTOOD) for status in range(100, 600))


# no-cache, and what came stale: stored to be validated (RFC 9111 §4.3.1, §5.2.2.4)

VALIDATORS = [ETAG, (b"ETag", b' W/"a" '), (b"etag", b'""'), (b"last-modified", at(-5)), (b"last-modified", at(5))]
NO_VALIDATORS = [
    (b"etag", b"a"),
    (b"etag", b""),
    (b"etag", b'"a", "b"'),
    (b"etag", b"*"),
    (b"etag", b'w/"a"'),
    (b"last-modified", b"yesterday"),
    (b"x-etag", b'"a"'),
]


@pytest.mark.parametrize("validator", VALIDATORS)
def test_an_answer_with_no_cache_and_a_validator_is_stored_to_be_validated(validator):
    for text in (b"no-cache", b"no-cache, max-age=60", b"no-cache, s-maxage=60, stale-while-revalidate=60"):
        stored = verdict(control(text), validator, ttl=None)
        assert (stored.lifetime, stored.must_revalidate, stored.is_explicit) == (0.0, True, True)
        assert (stored.stale_while_revalidate, stored.stale_if_error) == (0.0, 0.0)
        assert stored.retention == MIN_VALIDATION


@pytest.mark.parametrize("validator", NO_VALIDATORS)
def test_without_a_valid_validator_it_is_useless(validator):
    assert verdict(control(b"no-cache, max-age=60, stale-if-error=60"), validator).reason == "no-cache"
    assert verdict(control(b"max-age=0"), validator).reason == "stale"


def test_a_validator_that_is_repeated_or_may_not_be_stored_is_none():
    assert verdict(control(b"no-cache"), ETAG, ETAG).reason == "no-cache"
    assert verdict(control(b"max-age=0"), (b"last-modified", at(-5)), (b"last-modified", b"x")).reason == "stale"
    assert verdict(control(b'no-cache="etag", max-age=0'), ETAG).reason == "stale"
    assert verdict(control(b'private="last-modified", max-age=0'), (b"last-modified", at(-5))).reason == "stale"


def test_no_cache_makes_only_those_statuses_storable_that_need_no_explicit_freshness():
    """RFC 9111 §3, last item."""
    assert verdict(control(b"no-cache"), ETAG, status=302).reason == "status"
    assert verdict(control(b"no-cache"), ETAG, status=404).lifetime == 0.0
    assert verdict(control(b"no-cache"), ETAG, status=302, statuses=frozenset([302])).lifetime == 0.0
    assert verdict(control(b"no-cache, public"), ETAG, status=302).lifetime == 0.0
    assert verdict(control(b"no-cache, max-age=5"), ETAG, status=302).lifetime == 0.0


@pytest.mark.parametrize("validator", VALIDATORS)
@pytest.mark.parametrize(
    ("headers", "lifetime", "age"),
    [
        ([control(b"max-age=0")], 0.0, 0.0),
        ([control(b"max-age=x")], 0.0, 0.0),
        ([(b"expires", b"0")], 0.0, 0.0),
        ([control(b"max-age=60"), (b"age", b"100")], 60.0, 100.0),
        ([control(b"max-age=60"), (b"age", b"100000")], 60.0, 100_000.0),
        ([(b"age", b"60")], 60.0, 60.0),
    ],
)
def test_what_comes_stale_with_a_validator_is_stored_to_be_validated(validator, headers, lifetime, age):
    stored = verdict(*headers, validator)
    assert (stored.lifetime, stored.initial_age, stored.must_revalidate) == (lifetime, age, False)
    assert stored.lifetime + stored.retention - stored.initial_age == MIN_VALIDATION


# Stale answers (RFC 9111 §4.2.4, RFC 5861)


def test_stale_answers_are_allowed_by_the_response():
    stored = verdict(control(b"max-age=600, stale-while-revalidate=30"))
    assert (stored.lifetime, stored.stale_while_revalidate, stored.stale_if_error) == (600.0, 30.0, 0.0)
    stored = verdict(control(b"max-age=600, stale-if-error=1200"))
    assert (stored.stale_while_revalidate, stored.stale_if_error, stored.retention) == (0.0, 1200.0, 1200.0)
    assert verdict(control(b"stale-while-revalidate=30")).stale_while_revalidate == 30.0


def test_stale_on_error_holds_where_the_response_has_no_directive_about_it():
    assert verdict(stale_on_error=90.0).stale_if_error == 90.0
    assert verdict(control(b"stale-if-error=5"), stale_on_error=90.0).stale_if_error == 5.0
    assert verdict(control(b"stale-if-error=0"), stale_on_error=90.0).stale_if_error == 0.0
    assert verdict(control(b"stale-if-error=x"), stale_on_error=90.0).stale_if_error == 0.0
    assert verdict(control(b"stale-while-revalidate=5"), stale_on_error=90.0).retention == 90.0


@pytest.mark.parametrize("text", [b"must-revalidate", b"proxy-revalidate", b"s-maxage=60", b"no-cache, max-age=60"])
def test_no_stale_answer_is_allowed_where_a_directive_forbids_it(text):
    allowed = b", stale-while-revalidate=30, stale-if-error=30"
    stored = verdict(control(text + allowed), ETAG, stale_on_error=90.0)
    assert stored.may_store
    assert stored.must_revalidate
    assert (stored.stale_while_revalidate, stored.stale_if_error) == (0.0, 0.0)
    assert not verdict(control(b"max-age=60" + allowed)).must_revalidate


def test_what_may_be_used_stale_is_stored_though_it_came_stale():
    assert verdict(control(b"max-age=0, stale-while-revalidate=30")).lifetime == 0.0
    assert verdict(control(b"max-age=10, stale-if-error=30"), (b"age", b"39")).lifetime == 10.0
    assert verdict(control(b"max-age=10, stale-if-error=30"), (b"age", b"40")).reason == "stale"
    assert verdict(control(b"max-age=0"), stale_on_error=30.0).lifetime == 0.0
    assert verdict(control(b"max-age=0, must-revalidate"), stale_on_error=30.0).reason == "stale"


# Retention


@pytest.mark.parametrize(
    ("lifetime", "retention"),
    [(1, MIN_VALIDATION), (600, 600.0), (4000, 4000.0), (86_400, 86_400.0), (10**6, MAX_VALIDATION)],
)
def test_what_has_a_validator_is_kept_as_long_again_as_it_was_fresh(lifetime, retention):
    assert verdict(control(b"max-age=%d" % lifetime), ETAG).retention == retention
    assert verdict(ETAG, ttl=float(lifetime)).retention == retention
    assert verdict(control(b"max-age=%d" % lifetime)).retention == 0.0
    assert verdict(control(b"max-age=%d, must-revalidate" % lifetime), ETAG).retention == retention


def test_retention_is_the_longest_that_there_is_use_for_it():
    assert verdict(control(b"max-age=60, stale-if-error=700, stale-while-revalidate=800"), ETAG).retention == 800.0
    assert (
        verdict(control(b"max-age=60, stale-if-error=500, stale-while-revalidate=400"), ETAG).retention
        == MIN_VALIDATION
    )
    assert verdict(control(b"max-age=60, stale-if-error=500, stale-while-revalidate=400")).retention == 500.0


# Fields that are named (RFC 9111 §5.2.2.4, §5.2.2.7)


@pytest.mark.parametrize("text", [b'private="x-user"', b'no-cache="x-user"', b"private=X-User"])
def test_fields_that_are_named_are_not_stored_and_the_rest_is(text):
    headers = [control(text), (b"X-User", b"7"), (b"x-other", b"8")]
    stored = verdict(*headers)
    assert stored.lifetime == 60.0
    assert not stored.must_revalidate
    assert stored_headers(headers, stored.directives) == (control(text), (b"x-other", b"8"))


@pytest.mark.parametrize("text", [b'private="set-cookie"', b'no-cache="Set-Cookie"', b'no-cache="x, set-cookie"'])
def test_a_cookie_that_is_not_stored_does_not_stop_storing(text):
    headers = [control(text), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    assert verdict(*headers).may_store
    assert stored_headers(headers, verdict(*headers).directives) == (control(text),)


@pytest.mark.parametrize("fields", [b"", b" , ", b"x user", b"x, y z"])
def test_a_list_that_is_empty_or_malformed_means_the_whole_response(fields):
    assert verdict(control(b'private="%b"' % fields)).reason == "private"
    assert verdict(control(b'no-cache="%b"' % fields)).reason == "no-cache"
    assert verdict(control(b'no-cache="%b"' % fields), ETAG).must_revalidate


@pytest.mark.parametrize("field", [b"content-type", b"Content-Encoding", b"content-range", b"location", b"vary"])
def test_a_field_that_the_rest_cannot_do_without_means_the_whole_response(field):
    assert verdict(control(b'private="x, %b"' % field)).reason == "private"
    assert verdict(control(b'no-cache="%b"' % field)).reason == "no-cache"
    assert verdict(control(b'no-cache="%b", max-age=60' % field), ETAG).lifetime == 0.0


# Cookies (RFC 9111 §7.3)


def test_a_cookie_stops_storing_unless_the_rules_say_otherwise():
    headers = [(b"Set-Cookie", b"a=1"), control(b"max-age=60")]
    assert verdict(*headers).reason == "set-cookie"
    assert verdict(*headers, store_set_cookie=True).lifetime == 60.0
    assert (b"set-cookie", b"a=1") in stored_headers(headers)
    assert verdict(*headers, control(b"private"), store_set_cookie=True).reason == "private"


# Credentials (RFC 9111 §3.5)


@pytest.mark.parametrize("text", [b"public", b"s-maxage=60", b"must-revalidate", b"Public, max-age=5"])
def test_an_answer_to_credentials_is_stored_where_it_says_that_it_is_shared(text):
    assert verdict(control(text), personal=True) == verdict(control(text))
    assert verdict(control(text)).is_shared


@pytest.mark.parametrize(
    "headers",
    [(), [control(b"max-age=60")], [control(b"proxy-revalidate")], [(b"expires", at(9))], [control(b"public=x")]],
)
def test_any_other_answer_to_credentials_is_not(headers):
    assert verdict(*headers, personal=True).reason == "credentials"
    assert not verdict(*headers).is_shared
    assert verdict(*headers).may_store


# Targeted fields (RFC 9213 §2.2, §3.1)

CDN = b"cdn-cache-control"


@pytest.mark.parametrize(
    ("headers", "lifetime"),
    [
        ([control(b"max-age=60, s-maxage=120"), (CDN, b"max-age=600")], 600.0),
        ([(CDN, b"max-age=600"), control(b"no-store")], 600.0),
        ([control(b"no-store")], None),
        ([control(b"no-store"), (CDN, b"none")], 60.0),
        ([control(b"no-store"), (CDN, b"")], None),
        ([(CDN, b"max-age=600"), (b"expires", b"0")], 600.0),
        ([(CDN, b"none"), (b"expires", b"0")], 60.0),
        ([(CDN, b"no-store"), control(b"max-age=60, public")], None),
        ([(CDN, b"private"), control(b"max-age=60, public"), (b"expires", at(60))], None),
        ([(CDN, b"max-age=600"), (b"RCache-Control", b"max-age=5")], 5.0),
        ([(CDN, b'max-age="600"'), control(b"no-store")], None),
    ],
)
def test_a_targeted_field_stands_in_for_cache_control_and_expires(headers, lifetime):
    assert verdict(*headers).lifetime == lifetime


def test_the_directives_of_a_targeted_field_are_those_that_count():
    stored = verdict((CDN, b'max-age=60, must-revalidate, private="x"'), control(b"stale-if-error=60"), personal=True)
    assert stored.directives == ResponseDirectives(max_age=60, must_revalidate=True, private_fields=("x",))
    assert (stored.is_shared, stored.must_revalidate, stored.stale_if_error) == (True, True, 0.0)
    assert verdict((CDN, b"max-age=60"), control(b"public"), personal=True).reason == "credentials"


def test_age_still_counts_against_a_targeted_lifetime():
    """RFC 9213 §2.3, with its example."""
    headers = [(b"age", b"1800"), control(b"max-age=600"), (CDN, b"max-age=3600")]
    assert (verdict(*headers).lifetime, verdict(*headers).initial_age) == (3600.0, 1800.0)
    assert verdict((b"age", b"7200"), (CDN, b"max-age=3600")).reason == "stale"


def test_fields_off_the_target_list_change_nothing_and_are_stored():
    headers = [control(b"max-age=5"), (CDN, b"no-store")]
    assert verdict(*headers, targets=()).lifetime == 5.0
    assert (CDN, b"no-store") in stored_headers(headers)


def test_without_the_parser_an_answer_with_such_a_field_is_not_stored(monkeypatch):
    monkeypatch.setitem(sys.modules, "http_sf", None)
    targeted._parser.cache_clear()
    try:
        assert verdict((CDN, b"max-age=600"), control(b"max-age=60")).reason == "targeted"
        assert verdict((CDN, b"max-age=600"), control(b"max-age=60"), targets=()).lifetime == 60.0
        assert verdict(control(b"max-age=60")).lifetime == 60.0
    finally:
        targeted._parser.cache_clear()


def test_the_age_it_came_with_is_kept():
    stored = verdict((b"age", b"20"), (b"date", at(-5)))
    assert (stored.lifetime, stored.initial_age) == (60.0, 20.0)


# Properties

names = [
    *(b"cache-control", b"Set-Cookie", b"vary", b"content-range", b"content-type", b"expires", b"age", b"date"),
    *(b"connection", b"etag", b"last-modified", CDN, b"rcache-control"),
]
texts = [
    *(
        b"no-store",
        b"max-age=60",
        b"public",
        b"private",
        b"no-cache",
        b"must-understand",
        b'private="etag, set-cookie"',
    ),
    *(b"stale-while-revalidate=30", b"stale-if-error=30", b"*", b"accept", b"0", b"text/event-stream", b"x-a", at(60)),
    *(at(-60), b'"', b'"a"', b"s-maxage=5", b"max-age=0, stale-if-error=9"),
]
pairs = st.tuples(st.sampled_from(names) | st.binary(max_size=8), st.sampled_from(texts) | st.binary(max_size=20))
responses = st.lists(pairs, max_size=6)
statuses = st.integers(0, 700) | st.sampled_from([200, 200, 200, 404, 302, 299])
rules = st.builds(
    StoringRules,
    ttl=st.none() | st.floats(0.001, 1e8),
    statuses=st.just(STATUSES),
    heuristic=st.booleans(),
    stale_on_error=st.sampled_from([0.0, 45.0]),
    store_set_cookie=st.booleans(),
    targets=st.sampled_from([(), (CDN,), targeted.TARGETS]),
)


@given(responses, statuses, rules, st.booleans())
def test_any_response_has_a_verdict(headers, status, said, personal):
    given_verdict = may_store(status, headers, said, personal=personal, now=NOW)
    assert given_verdict.may_store == (given_verdict.reason is None)
    assert given_verdict.may_store == (given_verdict.lifetime is not None)
    assert given_verdict.initial_age >= 0.0
    allowed = (given_verdict.stale_while_revalidate, given_verdict.stale_if_error)
    assert 0.0 <= min(allowed) <= max(allowed) <= given_verdict.retention
    if given_verdict.must_revalidate or not given_verdict.may_store:
        assert allowed == (0.0, 0.0)
    if given_verdict.may_store:
        assert given_verdict.lifetime + given_verdict.retention > given_verdict.initial_age
        assert given_verdict.is_shared or not personal
        kept = [name for name, _ in stored_headers(headers, given_verdict.directives)]
        assert said.store_set_cookie or b"set-cookie" not in kept
        if given_verdict.lifetime <= given_verdict.initial_age and max(allowed) == 0.0:
            assert b"etag" in kept or b"last-modified" in kept
    elif given_verdict.reason in ("stale", "no-cache"):
        assert given_verdict.retention == 0.0


def reach(given_verdict):
    """How long it may be used: fresh, stale while it is revalidated, stale where the application fails."""
    if not given_verdict.may_store:
        return (0.0, 0.0, 0.0)
    left = given_verdict.lifetime - given_verdict.initial_age
    windows = (0.0, given_verdict.stale_while_revalidate, given_verdict.stale_if_error)
    return tuple(max(0.0, left + window) for window in windows)


restrictions = [
    *(b"no-store", b"private", b"no-cache", b"proxy-revalidate", b"no-store; x", b"x; private"),
    *(b'private="vary"', b"no-cache=", b"stale-if-error=0", b"stale-while-revalidate=0, stale-if-error=0"),
]


@given(responses, statuses, rules, st.booleans(), st.sampled_from(restrictions), st.booleans())
@example([(CDN, b"max-age=60")], 200, RULES, False, b"no-store", True)
def test_a_stricter_directive_never_gives_a_response_more_use(headers, status, said, personal, text, is_first):
    more = (b"cache-control", text)
    added = [more, *headers] if is_first else [*headers, more]
    before = may_store(status, headers, said, personal=personal, now=NOW)
    after = may_store(status, added, said, personal=personal, now=NOW)
    assert all(less <= more for less, more in zip(reach(after), reach(before), strict=True))
    if before.directives == response_directives(headers):
        assert not before.must_revalidate or after.must_revalidate
        assert not (text in (b"no-store", b"private") and after.may_store and not before.may_store)


@given(responses, statuses, rules, st.integers(0, 200), st.sampled_from([b"max-age=%d", b"s-maxage=%d"]))
def test_a_lower_lifetime_never_gives_a_response_more_use(headers, status, said, seconds, text):
    headers = [*headers, control(b"max-age=%d" % seconds)]
    before = may_store(status, headers, said, personal=False, now=NOW)
    lower = control(text % (int(before.lifetime or 0.0) // 2))
    after = may_store(status, [*headers, lower], said, personal=False, now=NOW)
    assert all(less <= more for less, more in zip(reach(after), reach(before), strict=True))


@given(responses, statuses, rules, st.booleans())
def test_a_valid_targeted_field_makes_cache_control_and_expires_not_matter(headers, status, said, personal):
    said = replace(said, targets=targeted.TARGETS)
    headers = [pair for pair in headers if pair[0].lower() not in targeted.TARGETS]
    headers.append((CDN, b"max-age=60, stale-if-error=30"))
    others = [pair for pair in headers if pair[0].lower() not in (b"cache-control", b"expires")]
    asked = [may_store(status, some, said, personal=personal, now=NOW) for some in (headers, others)]
    assert asked[0] == asked[1]


# What is stored of the headers (RFC 9111 §3.1)


def test_stored_headers_keep_order_and_repeats_in_lower_case():
    headers = [(b"X-A", b"1"), (b"Link", b"a"), (b"x-a", b"2"), (b"link", b"b"), (b"content-length", b"5")]
    assert stored_headers(headers) == tuple((name.lower(), value) for name, value in headers)


def test_unknown_fields_are_stored_whole():
    """RFC 9111 §3.1: caches MUST include all received response header fields, including unrecognized ones."""
    headers = [
        (b"x-new", b' \xff"a, b" ; \x01, ,c '),
        (b"proxy-status", b"a; error=x"),
        (b"x-empty", b""),
        (b"date", b"x"),
    ]
    assert stored_headers(headers) == tuple(headers)


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
        (b"connection", b",x-other ,"),
        (b"x-other", b"2"),
        (b"x", b"3"),
    ]
    assert stored_headers(headers) == ((b"x", b"3"),)


@given(responses)
def test_stored_headers_of_any_bytes_are_stored_again_as_they_are(headers):
    directives = response_directives(headers)
    assert stored_headers(stored_headers(headers)) == stored_headers(headers)
    assert stored_headers(stored_headers(headers), directives) == stored_headers(headers, directives)
