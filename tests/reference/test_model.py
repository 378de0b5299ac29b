"""The model against examples of the RFCs, and each of its rules against a case that turns on it alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reference.expectations import gateway_timeout_expected, hit_expected, stale_hit_expected
from tests.reference.fields import (
    INFINITY,
    Directive,
    Pairs,
    can_match,
    certainly_match,
    delta_seconds,
    directives,
    entity_tags,
    http_date,
    members,
    spelled_date,
    strongly_equal,
    targeted,
    weakly_equal,
)
from tests.reference.freshness import current_age, lifetime
from tests.reference.history import Allowed, Exchange, Refused, Request, Response, Settings, Verdict
from tests.reference.model import may_be_served
from tests.reference.states import invalidated, stored_states
from tests.reference.storing import as_stored, may_be_stored
from tests.reference.structured import dictionary
from tests.reference.validation import not_modified

NOW = 1_800_000_000.0
PLAIN = Settings()
EXAMPLE = 784111777.0
"""Sun, 06 Nov 1994 08:49:37 GMT, the RFC's own date."""


def asked(headers: Pairs = (), method: str = "GET", uri: str = "/a") -> Request:
    return Request(method, uri, headers)


def told(
    control: str | None = "max-age=60",
    *headers: tuple[str, str],
    status: int = 200,
    request: Request | None = None,
    at: float = NOW,
    takes: float = 0,
    conditions: Pairs = (),
) -> Exchange:
    """An exchange that ended at `at + takes`."""
    fields = headers if control is None else (("cache-control", control), *headers)
    return Exchange(request or asked(), at, Response(status, fields), at + takes, conditions)


def failed(at: float) -> Exchange:
    return Exchange(asked(), at, None, at)


def judged(history: list[Exchange], later: float = 1, request: Request | None = None, **settings: float) -> Verdict:
    """What of the first response, `later` seconds after the beginning."""
    return may_be_served(history, request or asked(), 0, NOW + later, Settings(**settings))


# Fields


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", EXAMPLE),
        ("Sunday, 06-Nov-94 08:49:37 GMT", EXAMPLE),
        ("Sun Nov  6 08:49:37 1994", EXAMPLE),
        ("sun, 06 nov 1994 08:49:37 gmt", EXAMPLE),
        ("Sunday, 06-Nov-94 08:49:37 EST", None),
        ("Sun, 06 Nov 1994 08:49:37 UTC", None),
        ("Sun, 31 Feb 1994 08:49:37 GMT", None),
        ("Sun, 6 Nov 1994 08:49:37 GMT", None),
        ("0", None),
        ("", None),
    ],
)
def test_a_date_comes_in_three_forms(value: str, expected: float | None) -> None:
    """RFC 9110 §5.6.7, RFC 9111 §4.2."""
    assert http_date(value, NOW) == expected


def test_a_year_of_two_digits_is_not_more_than_fifty_years_ahead() -> None:
    assert http_date("Friday, 15-Jan-77 08:00:00 GMT", NOW) == http_date("Fri, 15 Jan 2077 08:00:00 GMT", NOW)
    assert http_date("Friday, 15-Jan-78 08:00:00 GMT", NOW) == http_date("Fri, 15 Jan 1978 08:00:00 GMT", NOW)


@given(st.integers(0, 2**32), st.sampled_from(["imf", "asctime"]))
def test_a_date_that_is_spelled_is_read_as_the_same(moment: int, form: str) -> None:
    assert http_date(spelled_date(moment, form), NOW) == moment


@given(st.integers(int(NOW) - 40 * 365 * 86400, int(NOW) + 40 * 365 * 86400))
def test_a_date_of_two_digits_is_read_as_the_same(moment: int) -> None:
    assert http_date(spelled_date(moment, "rfc850"), NOW) == moment


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0),
        ("060", 60),
        ("2147483647", 2147483647),
        ("2147483648", INFINITY),
        ("99999999999999999999", INFINITY),
        *[(value, None) for value in ("", "-1", "1.5", "1e3", " 1", "abc", "'1'", "\u0661")],
        (None, None),
    ],
)
def test_delta_seconds_are_digits_up_to_infinity(value: str | None, expected: int | None) -> None:
    """RFC 9111 §1.2.2."""
    assert delta_seconds(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a, b", ["a", "b"]),
        (",a ,\t,b,", ["a", "b"]),
        ('"a,b", c', ['"a,b"', "c"]),
        ('"a\\",b", c', ['"a\\",b"', "c"]),
        ("", []),
    ],
)
def test_a_list_has_members_and_no_empty_ones(value: str, expected: list[str]) -> None:
    """RFC 9110 §5.6.1."""
    assert members(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("max-age=60", [Directive("max-age", "60")]),
        ('Max-Age="60"', [Directive("max-age", "60")]),
        ('private, community="UCI"', [Directive("private"), Directive("community", "UCI")]),
        ('no-cache="a, b", no-store', [Directive("no-cache", "a, b"), Directive("no-store")]),
        ('foo="no-store, max-age=0"', [Directive("foo", "no-store, max-age=0")]),
        (r'foo="\"no-cache"', [Directive("foo", '"no-cache')]),
        ("max-age =60", [Directive("max-age", "60", is_wellformed=False)]),
        ("max-age=", [Directive("max-age", "", is_wellformed=False)]),
    ],
)
def test_directives_are_names_with_arguments(value: str, expected: list[Directive]) -> None:
    """RFC 9111 §5.2."""
    assert directives(value) == expected


@pytest.mark.parametrize(
    ("one", "other", "strong", "weak"),
    [
        ('W/"1"', 'W/"1"', False, True),
        ('W/"1"', 'W/"2"', False, False),
        ('W/"1"', '"1"', False, True),
        ('"1"', '"1"', True, True),
    ],
)
def test_entity_tags_are_compared_in_two_ways(one: str, other: str, strong: bool, weak: bool) -> None:
    """The table of RFC 9110 §8.8.3.2."""
    assert (strongly_equal(one, other), weakly_equal(one, other)) == (strong, weak)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"xyzzy"', ['"xyzzy"']),
        ('"xyzzy", "r2d2xxxx", "c3piozzzz"', ['"xyzzy"', '"r2d2xxxx"', '"c3piozzzz"']),
        ('W/"xyzzy", W/"r2d2xxxx"', ['W/"xyzzy"', 'W/"r2d2xxxx"']),
        ('"a,b",""', ['"a,b"', '""']),
        ('xyzzy, w/"a"', []),
    ],
)
def test_entity_tags_come_in_lists(value: str, expected: list[str]) -> None:
    """The examples of RFC 9110 §13.1.2."""
    assert entity_tags(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("max-age=600", {"max-age": 600}),
        ("none", {"none": True}),
        ("a=?0, b;x=1, b=2", {"a": False, "b": 2}),
        ("", {}),
        *[(value, None) for value in ("Max-Age=60", "a=", "a,,b", "a,", "a b", 'a="', "a=1.", "a=1234567890123456")],
    ],
)
def test_a_dictionary_is_parsed_whole_or_not_at_all(value: str, expected: dict[str, object] | None) -> None:
    """RFC 8941 §4.2.2."""
    assert dictionary(value) == expected


def test_the_first_valid_targeted_field_counts() -> None:
    """RFC 9213 §2.2."""
    names = ("examplecdn-cache-control", "cdn-cache-control")
    headers = (("CDN-Cache-Control", "max-age=60"), ("ExampleCDN-Cache-Control", "max-age=600"))
    assert targeted(headers, names) == [Directive("max-age", "600")]
    assert targeted((headers[0], ("ExampleCDN-Cache-Control", "Max-Age=600")), names) == [Directive("max-age", "60")]
    assert targeted((("ExampleCDN-Cache-Control", ""),), names) is None


@pytest.mark.parametrize(
    ("name", "one", "other", "certainly", "possibly"),
    [
        ("x", ["a, b"], ["a,b"], True, True),
        ("x", ["a, b"], ["a", "b"], True, True),
        ("x", ["a"], ["A"], False, False),
        ("x", ['"a, b"'], ['"a,b"'], False, False),
        ("x", [], [""], False, False),
        ("x", [], [], True, True),
        ("accept-language", ["en, DE"], ["de,en"], False, True),
        ("accept-language", ["en"], ["de"], False, False),
    ],
)
def test_selecting_fields_match_as_far_as_their_syntax_tells(
    name: str, one: list[str], other: list[str], certainly: bool, possibly: bool
) -> None:
    """RFC 9111 §4.1."""
    pairs = [tuple((name, value) for value in values) for values in (one, other)]
    assert certainly_match(name, *pairs) is certainly
    assert can_match(name, *pairs) is possibly


# Storing


@pytest.mark.parametrize(
    ("exchange", "reason"),
    [
        (told("max-age=60", status=200), None),
        (told(None, status=200), None),
        (told(None, status=302), "no freshness"),
        (told(None, ("expires", "0"), status=302), None),
        (told("public", status=302), None),
        (told("max-age=60", status=299), None),
        (told("max-age=60, must-understand", status=299), "must-understand"),
        (told("max-age=60, must-understand, no-store"), None),
        (told("max-age=60, no-store"), "no-store"),
        (told("max-age=60, NO-STORE"), "no-store"),
        (told('max-age=60, foo="no-store"'), None),
        (told("max-age=60, private"), "private"),
        (told('max-age=60, private="x"'), None),
        (told("max-age=60", status=206), "status"),
        (told("max-age=60", status=304), "status"),
        (told("max-age=60", request=asked(method="POST")), "method"),
        (told("max-age=60", request=asked((("cache-control", "no-store"),))), "request no-store"),
        (told("max-age=60", request=asked((("authorization", "x"),))), "authorization"),
        (told("max-age=60, public", request=asked((("authorization", "x"),))), None),
        (told("s-maxage=60", request=asked((("authorization", "x"),))), None),
        (told("max-age=60, must-revalidate", request=asked((("authorization", "x"),))), None),
        (told("max-age=60, proxy-revalidate", request=asked((("authorization", "x"),))), "authorization"),
        (told("max-age=60", request=asked((("cookie", "_ga=1; session=1"),))), "cookie"),
        (told("max-age=60", request=asked((("cookie", "_ga=1"),))), None),
        (told("max-age=60", ("set-cookie", "a=1")), "set-cookie"),
        (told("no-store", ("cdn-cache-control", "max-age=600")), None),
        (told("no-store", ("cdn-cache-control", "none")), None),
        (told("max-age=60", ("cdn-cache-control", "no-store")), "no-store"),
        (failed(NOW), "incomplete"),
    ],
)
def test_what_may_be_stored(exchange: Exchange, reason: str | None) -> None:
    """RFC 9111 §3, §3.5, §5.2.2.3; the examples of RFC 9213 §3.1."""
    assert may_be_stored(exchange, PLAIN) == (Allowed("cacheable") if reason is None else Refused(reason))


def test_what_belongs_to_the_connection_is_not_stored() -> None:
    """RFC 9111 §3.1, §5.2.2.7."""
    fields = (("connection", "X-Hop"), ("x-hop", "1"), ("proxy-authenticate", "Basic"), ("x-user", "1"), ("x-any", "1"))
    stored = as_stored(told('max-age=60, private="X-User"', *fields), PLAIN)
    assert [name for name, _ in stored.headers] == ["cache-control", "x-any"]


# Freshness


@pytest.mark.parametrize(
    ("control", "headers", "most", "least"),
    [
        ("max-age=60", (), 60, 60),
        ("max-age=60, s-maxage=5", (), 5, 5),
        ("s-maxage=abc, max-age=60", (), 0, 0),
        ("max-age=60, max-age=5", (), 60, 0),
        ("max-age =60", (), 60, 0),
        ("max-age=abc", (("expires", spelled_date(NOW + 60)),), 0, 0),
        ("max-age=1.5", (), 0, 0),
        (None, (("expires", spelled_date(NOW + 60)),), 60, 60),
        (None, (("expires", spelled_date(NOW + 60)), ("date", spelled_date(NOW - 5))), 65, 65),
        (None, (("expires", spelled_date(NOW - 60)),), 0, 0),
        (None, (("expires", "0"),), 0, 0),
        (None, (("expires", spelled_date(NOW + 60)), ("expires", spelled_date(NOW + 5))), 60, 0),
        ("max-age=60", (("expires", "0"),), 60, 60),
        ("max-age=60", (("cdn-cache-control", "max-age=600"),), 600, 600),
        (None, (("cdn-cache-control", "none"), ("expires", spelled_date(NOW + 60))), 0, 0),
        (None, (), 0, 0),
        ("max-age=99999999999999999999", (), INFINITY, INFINITY),
    ],
)
def test_a_freshness_lifetime_comes_from_the_first_that_is_there(
    control: str | None, headers: Pairs, most: float, least: float
) -> None:
    """RFC 9111 §4.2.1."""
    found = lifetime(as_stored(told(control, *headers), PLAIN), PLAIN)
    assert (found.most, found.least) == (most, least)


def test_a_tenth_of_the_time_since_the_last_change_is_a_guess() -> None:
    """RFC 9111 §4.2.2."""
    guessing = Settings(heuristic=True)
    modified = ("last-modified", spelled_date(NOW - 6000))
    found = lifetime(as_stored(told(None, modified), guessing), guessing)
    assert found.least < 600 < found.most
    assert lifetime(as_stored(told(None, modified), PLAIN), PLAIN).most == 0
    assert lifetime(as_stored(told(None, modified, status=302), guessing), guessing).most == 0
    assert lifetime(as_stored(told("max-age=0", modified), guessing), guessing).most == 0
    assert lifetime(as_stored(told("public", modified, status=302), guessing), guessing).most > 600


@pytest.mark.parametrize(
    ("headers", "takes", "age"),
    [
        ((), 0, 10),
        ((("age", "5"),), 0, 15),
        ((("age", "5"),), 2, 15),  # 5, and 2 under way, and 8 since
        ((), 2, 10),
        ((("date", spelled_date(NOW - 7)),), 2, 17),  # the apparent age is 9
        ((("date", spelled_date(NOW + 30)),), 0, 10),
        ((("date", "yesterday"),), 0, 10),
        ((("age", "5, 700"),), 0, 15),
        ((("age", "5"), ("age", "700")), 0, 15),
        *[((("age", value),), 0, 10) for value in ("abc", "-5", "1.5", "", '"5"', "abc, 5")],
        ((("age", "99999999999999999999"),), 0, INFINITY),
    ],
)
def test_age_is_the_more_careful_of_two_estimates(headers: Pairs, takes: float, age: float) -> None:
    """RFC 9111 §4.2.3, §5.1."""
    assert current_age(as_stored(told("max-age=60", *headers, takes=takes), PLAIN), NOW + 10, PLAIN) == age


def test_a_response_is_fresh_while_its_lifetime_is_longer_than_its_age() -> None:
    """RFC 9111 §4.2."""
    history = [told("max-age=60")]
    assert judged(history, 59.5) == Allowed("fresh")
    assert judged(history, 60) == Refused("stale")


# Reuse


@pytest.mark.parametrize(
    ("first", "request_", "reason"),
    [
        (told(), asked(uri="/b"), "another target"),
        (told(), asked(method="POST"), "method"),
        (told(request=asked(method="HEAD")), asked(), "method"),
        (told("max-age=60", ("vary", "*")), asked(), "vary"),
        (told("max-age=60", ("vary", "X")), asked((("x", "1"),)), "vary"),
        (told("max-age=60", ("vary", "X"), request=asked((("x", "1"),))), asked(), "vary"),
        (told("max-age=60, no-cache"), asked(), "no-cache"),
        (told(), asked((("cache-control", "no-cache"),)), "request no-cache"),
        (told(), asked((("cache-control", "max-age=4"),)), "request max-age"),
        (told(), asked((("cache-control", "min-fresh=56"),)), "request min-fresh"),
    ],
)
def test_what_is_in_the_way_of_reuse(first: Exchange, request_: Request, reason: str) -> None:
    """RFC 9111 §4, §4.1, §5.2.1, §5.2.2.4."""
    assert judged([first], 5, request_) == Refused(reason)
    assert hit_expected([first], request_, NOW + 5, PLAIN) is None


@pytest.mark.parametrize(
    ("first", "request_"),
    [
        (told(), asked()),
        (told(), asked(method="HEAD")),
        (told("max-age=60", ("vary", "X, Y")), asked()),
        (told("max-age=60", ("vary", "X"), request=asked((("x", "1,2"),))), asked((("x", "1"), ("x", "2")))),
        (told('max-age=60, no-cache="x"'), asked()),
        (told('max-age=60, private="x"'), asked()),
        (told(), asked((("cache-control", "max-age=5"),))),
        (told(), asked((("cache-control", "min-fresh=55"),))),
        (told(), asked((("cache-control", "no-store"),))),
        (told(), asked((("cache-control", "only-if-cached"),))),
        (told("max-age=60, public"), asked((("authorization", "x"),))),
        (told("max-age=60, must-revalidate"), asked()),
        (told("max-age=60", status=404), asked()),
        (told("max-age=1, stale-while-revalidate=30"), asked()),
    ],
)
def test_what_is_not(first: Exchange, request_: Request) -> None:
    assert isinstance(judged([first], 5, request_), Allowed)
    assert hit_expected([first], request_, NOW + 5, PLAIN) == 0


def test_what_a_client_wants_counts_where_it_may_refresh() -> None:
    settings = Settings(client_may_refresh=False)
    for control in ("no-cache", "max-age=0", "min-fresh=3600"):
        assert hit_expected([told()], asked((("cache-control", control),)), NOW + 5, settings) == 0


def test_a_response_to_authorization_is_its_own_even_for_the_same_credentials() -> None:
    """RFC 9111 §3.5."""
    mine = asked((("authorization", "x"),))
    assert judged([told(request=mine)], 1, mine) == Refused("authorization")
    assert judged([told()], 1, mine) == Allowed("fresh")  # RFC 9111 lets it be; rcache need not
    assert hit_expected([told()], mine, NOW + 1, PLAIN) is None


def test_the_most_recent_of_several_is_used() -> None:
    """RFC 9111 §4."""
    history = [told("max-age=3600"), told("max-age=5", at=NOW + 1)]
    assert judged(history, 2) == Refused("superseded")
    assert judged(history, 60) == Refused("superseded")
    assert hit_expected(history, asked(), NOW + 2, PLAIN) == 1
    older = [history[0], told("max-age=60", ("date", spelled_date(NOW - 30)), at=NOW + 1)]
    assert judged(older, 2) == Allowed("fresh")


def test_a_target_that_could_not_be_stored_may_be_passed_by_for_a_while() -> None:
    history = [told("no-store"), told(at=NOW + 5), told(at=NOW + 16)]
    assert hit_expected(history[:2], asked(), NOW + 6, PLAIN) is None
    assert hit_expected(history, asked(), NOW + 17, PLAIN) == 2


# Stale


@pytest.mark.parametrize(
    ("control", "request_control", "later", "expected"),
    [
        ("max-age=600, stale-while-revalidate=30", "", 630, Allowed("stale-while-revalidate")),
        ("max-age=600, stale-while-revalidate=30", "", 631, Refused("stale")),
        ("max-age=5", "max-stale", 600, Allowed("max-stale")),
        ("max-age=5", "max-stale=30", 35, Allowed("max-stale")),
        ("max-age=5", "max-stale=30", 36, Refused("stale")),
        ("max-age=5", "max-stale=abc", 36, Refused("stale")),
        ("max-age=5, stale-while-revalidate=30", "max-age=30", 6, Refused("request max-age, stale")),
        ("max-age=5", "max-age=30, max-stale", 6, Allowed("max-stale")),
        ("max-age=5, stale-while-revalidate=30", "no-cache", 6, Refused("request no-cache")),
        ("max-age=5, must-revalidate, stale-while-revalidate=30", "max-stale", 6, Refused("stale, must revalidate")),
        ("max-age=5, proxy-revalidate", "max-stale", 6, Refused("stale, must revalidate")),
        ("s-maxage=5, stale-while-revalidate=30", "", 6, Refused("stale, must revalidate")),
        ("max-age=5, no-cache", "max-stale", 1, Refused("no-cache")),
    ],
)
def test_stale_is_served_by_permission(control: str, request_control: str, later: float, expected: Verdict) -> None:
    """RFC 9111 §4.2.4 and §5.2, and the example of RFC 5861 §3.1."""
    headers = (("cache-control", request_control),) if request_control else ()
    assert judged([told(control)], later, asked(headers)) == expected


@pytest.mark.parametrize(
    ("control", "settings", "failure", "expected"),
    [
        ("max-age=600, stale-if-error=1200", {}, failed(NOW + 900), Allowed("stale-if-error")),
        ("max-age=600, stale-if-error=1200", {}, told(status=500, at=NOW + 900), Allowed("stale-if-error")),
        ("max-age=600, stale-if-error=200", {}, failed(NOW + 900), Refused("stale, raised")),
        ("max-age=600, stale-if-error=1200", {}, told(status=501, at=NOW + 900), Refused("stale")),
        ("max-age=600, stale-if-error=1200, must-revalidate", {}, failed(NOW + 900), Refused("stale, must revalidate")),
        ("s-maxage=600, stale-if-error=1200", {}, failed(NOW + 900), Refused("stale, must revalidate")),
        ("no-cache, max-age=600, stale-if-error=1200", {}, failed(NOW + 900), Refused("no-cache")),
        ("max-age=600", {"stale_on_error": 300}, failed(NOW + 900), Allowed("stale_on_error")),
        ("max-age=600", {"stale_on_error": 299}, failed(NOW + 900), Refused("stale, raised")),
        ("max-age=600", {}, failed(NOW + 900), Refused("stale, raised")),
        ("max-age=600, stale-if-error=5", {"stale_on_error": 300}, failed(NOW + 900), Refused("stale, raised")),
    ],
)
def test_stale_stands_in_for_an_error(
    control: str, settings: dict[str, float], failure: Exchange, expected: Verdict
) -> None:
    """RFC 5861 §4, with its example, and RFC 9111 §5.2.2.2."""
    history = [told(control), failure]
    assert may_be_served(history, asked(), 0, NOW + 900, Settings(**settings), 1) == expected


def test_a_stand_in_is_expected_where_nothing_is_against_it() -> None:
    for control, settings in (("max-age=5, stale-if-error=60", PLAIN), ("max-age=5", Settings(stale_on_error=60))):
        history = [told(control), failed(NOW + 30)]
        assert stale_hit_expected(history, asked(), NOW + 30, settings, 1) == 0
        assert stale_hit_expected(history, asked((("cache-control", "no-cache"),)), NOW + 30, settings, 1) is None
    assert stale_hit_expected([told("max-age=5"), failed(NOW + 30)], asked(), NOW + 30, PLAIN, 1) is None
    error = [told("max-age=5, stale-if-error=60"), told(status=503, at=NOW + 30)]
    assert stale_hit_expected(error, asked(), NOW + 30, PLAIN, 1) == 0


def test_only_if_cached_leaves_a_504_where_nothing_stored_may_answer() -> None:
    """RFC 9111 §5.2.1.7."""
    only = asked((("cache-control", "only-if-cached"),))
    assert gateway_timeout_expected([], only, NOW, PLAIN)
    assert gateway_timeout_expected([told()], only, NOW + 60, PLAIN)
    assert not gateway_timeout_expected([told()], only, NOW + 59, PLAIN)
    assert not gateway_timeout_expected([], asked(), NOW, PLAIN)
    assert not gateway_timeout_expected([], asked(only.headers, "POST"), NOW, PLAIN)


# Validation


@pytest.mark.parametrize(
    ("stored", "arrived", "is_good"),
    [
        ((("etag", '"a"'),), (("etag", '"a"'),), True),
        ((("etag", '"a"'),), (("etag", '"b"'),), False),
        ((("etag", 'W/"a"'),), (("etag", 'W/"a"'),), True),
        ((("etag", '"a"'),), (("etag", 'W/"a"'),), True),
        ((), (("etag", '"a"'),), False),
        ((("last-modified", spelled_date(EXAMPLE)),), (("last-modified", spelled_date(EXAMPLE, "asctime")),), True),
        ((("last-modified", spelled_date(EXAMPLE)),), (("last-modified", spelled_date(EXAMPLE - 1)),), False),
        ((), (), True),
        ((("etag", '"a"'),), (), False),
    ],
)
def test_a_304_names_the_response_that_is_good(stored: Pairs, arrived: Pairs, is_good: bool) -> None:
    """RFC 9111 §4.3.4."""
    history = [told("max-age=5", *stored), told("max-age=60", *arrived, status=304, at=NOW + 30)]
    verdict = may_be_served(history, asked(), 0, NOW + 30, PLAIN, 1)
    assert (verdict == Allowed("validated")) is is_good
    assert (hit_expected(history, asked(), NOW + 31, PLAIN) == 0) is is_good


def test_a_304_without_validators_is_about_what_was_asked() -> None:
    validator = ("etag", '"a"')
    conditions = (("if-none-match", '"a"'),)
    history = [told("max-age=5", validator), told("max-age=60", status=304, at=NOW + 30, conditions=conditions)]
    assert may_be_served(history, asked(), 0, NOW + 30, PLAIN, 1) == Allowed("validated")
    assert hit_expected(history, asked(), NOW + 31, PLAIN) is None


def test_a_304_replaces_the_fields_it_has_and_leaves_the_others() -> None:
    """RFC 9111 §3.2."""
    first = told("max-age=5", ("etag", '"a"'), ("x-old", "1"), ("x-both", "1"), ("content-length", "4"), ("age", "3"))
    fresh = (("etag", '"a"'), ("x-both", "2"), ("x-new", "2"), ("content-length", "0"))
    (state,) = stored_states([first, told("max-age=60", *fresh, status=304, at=NOW + 30)], 0, PLAIN)
    assert dict(state.headers) == {
        "cache-control": "max-age=60",
        "etag": '"a"',
        "x-old": "1",
        "x-both": "2",
        "x-new": "2",
        "content-length": "4",
    }
    assert current_age(state, NOW + 40, PLAIN) == 10


def test_what_was_validated_is_good_even_where_it_says_no_cache() -> None:
    history = [told("no-cache", ("etag", '"a"')), told("no-cache", ("etag", '"a"'), status=304, at=NOW + 1)]
    assert may_be_served(history, asked(), 0, NOW + 1, PLAIN, 1) == Allowed("validated")
    assert judged(history, 1) == Refused("no-cache")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((("if-none-match", '"a"'),), True),
        ((("if-none-match", 'W/"a"'),), True),
        ((("if-none-match", '"b", "a"'),), True),
        ((("if-none-match", "*"),), True),
        ((("if-none-match", '"b"'),), False),
        ((("if-none-match", '"b"'), ("if-modified-since", spelled_date(EXAMPLE))), False),
        ((("if-modified-since", spelled_date(EXAMPLE)),), True),
        ((("if-modified-since", spelled_date(EXAMPLE + 1, "rfc850")),), True),
        ((("if-modified-since", spelled_date(EXAMPLE - 1)),), False),
        ((("if-modified-since", "lately"),), False),
        ((), False),
    ],
)
def test_conditions_are_evaluated_against_what_is_stored(headers: Pairs, expected: bool) -> None:
    """RFC 9110 §13.1.2, §13.1.3, §13.2.2."""
    validators = (("etag", '"a"'), ("last-modified", spelled_date(EXAMPLE)))
    assert not_modified(asked(headers), as_stored(told("max-age=60", *validators), PLAIN)) == {expected}
    assert not_modified(asked(headers), as_stored(told("max-age=60", *validators, status=404), PLAIN)) == {False}
    either = not_modified(asked(headers), as_stored(told("max-age=60", *validators, status=203), PLAIN))
    assert either == {expected, False}


def test_without_last_modified_the_date_is_compared() -> None:
    """RFC 9111 §4.3.2."""
    stored = as_stored(told("max-age=60"), PLAIN)
    assert not_modified(asked((("if-modified-since", spelled_date(NOW)),)), stored) == {True}
    assert not_modified(asked((("if-modified-since", spelled_date(NOW - 1)),)), stored) == {False}
    aged = as_stored(told("max-age=3600", ("age", "5")), PLAIN)
    assert not_modified(asked((("if-modified-since", spelled_date(NOW - 1)),)), aged) == {False}
    assert not_modified(asked((("if-modified-since", spelled_date(NOW)),)), aged) == {True}


def test_a_head_response_that_differs_outdates_what_is_stored() -> None:
    """RFC 9111 §4.3.5."""
    head = asked(method="HEAD")
    first = told("max-age=60", ("etag", '"a"'), ("content-length", "4"))
    for field in (("etag", '"b"'), ("content-length", "5")):
        assert judged([first, told("max-age=60", field, request=head, at=NOW + 1)], 2) == Refused("stale")
    same = [first, told("max-age=600", ("etag", '"a"'), request=head, at=NOW + 1)]
    assert judged(same, 2) == Allowed("fresh")
    assert hit_expected(same, asked(), NOW + 2, PLAIN) is None
    gone = told("max-age=60", ("etag", '"a"'), ("content-length", "4"), status=404)
    assert judged([gone, told("max-age=600", ("etag", '"a"'), request=head, at=NOW + 1)], 2) == Refused("stale")


@pytest.mark.parametrize(
    ("named", "expected"), [((("etag", '"a"'),), 0), ((("etag", 'W/"a"'),), 0), ((("etag", '"b"'),), None), ((), None)]
)
def test_a_304_to_head_freshens_what_it_names(named: Pairs, expected: int | None) -> None:
    """RFC 9111 §4.3.4."""
    head = asked((("if-none-match", "*"),), method="HEAD")
    answer = told("max-age=60", *named, status=304, request=head, at=NOW + 70, conditions=head.headers)
    first = told("max-age=60", ("etag", '"a"'))
    assert hit_expected([first, answer], asked(), NOW + 80, PLAIN) == expected


def test_what_may_be_shared_is_expected_whatever_was_stored_before() -> None:
    """RFC 9111 §3.5."""
    alice = asked((("authorization", "Bearer alice"),))
    history = [told("max-age=60"), told("max-age=60, public", request=alice, at=NOW + 1)]
    assert hit_expected(history, alice, NOW + 2, PLAIN) == 1
    assert hit_expected([history[0]], alice, NOW + 2, PLAIN) is None


# Invalidation


@pytest.mark.parametrize(
    ("method", "status", "headers", "expected"),
    [
        ("POST", 200, (), {"/a"}),
        ("FROB", 303, (), {"/a"}),
        ("POST", 404, (), set()),
        ("POST", 500, (), set()),
        ("OPTIONS", 200, (), set()),
        ("PUT", 201, (("location", "/b?x=1#part"),), {"/a", "/b?x=1"}),
        ("PUT", 201, (("content-location", "http://testserver/b"),), {"/a", "/b"}),
        ("PUT", 201, (("location", "//testserver/b"), ("content-location", "c")), {"/a", "/b", "/c"}),
        ("PUT", 201, (("location", "http://elsewhere.example/b"),), {"/a"}),
        ("PUT", 201, (("location", "https://testserver/b"),), {"/a"}),
    ],
)
def test_an_unsafe_request_invalidates_its_target_and_what_it_names(
    method: str, status: int, headers: Pairs, expected: set[str]
) -> None:
    """RFC 9111 §4.4."""
    write = told(None, *headers, status=status, request=asked(method=method), at=NOW + 1)
    assert invalidated(write) == expected
    verdict = judged([told(), write], 2)
    assert verdict == (Refused("invalidated") if expected else Allowed("fresh"))
    assert (hit_expected([told(), write], asked(), NOW + 2, PLAIN) is None) is bool(expected)
