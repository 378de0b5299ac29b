"""What counts as a difference, and what a finding says."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from rcache.core import audit as audits
from rcache.core.audit import MOST_DIFFERENCES, Answer, Audit, Difference, differences, is_telling
from rcache.core.errors import ConfigurationError
from rcache.core.findings import Finding, Query, unnamed
from rcache.core.policy import Rule, defaults, options

JSON = (b"content-type", b"application/json; charset=utf-8")


def answer(body: bytes = b"", *headers: tuple[bytes, bytes], status: int = 200) -> Answer:
    return Answer(status, headers, body)


def where(one: Answer, other: Answer, **settings: Any) -> list[str]:
    return [each.where for each in differences(one, other, Audit(1, **settings), 1000)]


def test_status_headers_and_body_are_compared() -> None:
    one = answer(b"one", (b"content-type", b"text/plain"), (b"Link", b"</a>"))
    other = answer(b"two", (b"content-type", b"text/html"), status=404)
    assert where(one, other) == ["status", "header content-type", "header link", "body"]
    assert where(one, one) == []


@pytest.mark.parametrize("name", ["Date", "Set-Cookie", "X-Request-ID", "Server-Timing", "Content-Length", "Age"])
def test_what_is_another_each_time_is_ignored(name: str) -> None:
    assert where(answer(b"", (name.encode(), b"1")), answer(b"", (name.encode(), b"2"))) == []


def test_lines_of_a_field_count_in_order() -> None:
    one, other = ((b"link", b"a"), (b"link", b"b")), ((b"link", b"b"), (b"link", b"a"))
    assert where(answer(b"", *one), answer(b"", *other)) == ["header link"]


def test_fields_and_places_may_be_ignored_by_name() -> None:
    one = answer(b'{"at": 1, "items": [{"seen": 1, "n": 1}]}', JSON, (b"x-build", b"1"))
    other = answer(b'{"items": [{"n": 1, "seen": 2}], "at": 2}', JSON, (b"X-Build", b"2"))
    assert where(one, other) == ["header x-build", "$.at", "$.items[0].seen"]
    assert where(one, other, ignore=["X-Build", "$.at", "$..seen"]) == []


def test_validators_say_nothing_that_the_body_does_not() -> None:
    one, other = (
        answer(b'{"a": 1, "at": 1}', JSON, (b"etag", b'"1"')),
        answer(b'{"a": 1, "at": 2}', JSON, (b"etag", b'"2"')),
    )
    assert where(one, other, ignore=["$.at"]) == []
    assert where(answer(b"same", (b"etag", b'"1"')), answer(b"same", (b"etag", b'"2"'))) == ["header etag"]


def test_a_body_that_the_application_has_coded_is_compared_as_what_it_holds() -> None:
    headers = (JSON, (b"content-encoding", b"gzip"))
    one, other = (answer(gzip.compress(b'{"a": 1}', mtime=at), *headers) for at in (1, 2))
    changed = answer(gzip.compress(b'{"a": 2}'), *headers)
    assert one.body != other.body
    assert where(one, other) == []
    assert where(one, changed) == ["$.a"]
    assert where(answer(b"no gzip", *headers), answer(b"nor this", *headers)) == ["body"]


def test_what_calls_itself_json_and_is_none_is_compared_by_its_bytes() -> None:
    assert where(answer(b"{", JSON), answer(b"[", JSON)) == ["body"]


def test_a_difference_of_bytes_is_shown_where_it_begins() -> None:
    one, other = answer(b"x" * 100 + b"yes"), answer(b"x" * 100 + b"no")
    (found,) = differences(one, other, Audit(1), 1000)
    assert found == Difference("body", "at byte 100: 'xxxxxxxxxxyes'", "at byte 100: 'xxxxxxxxxxno'")


def test_long_lists_of_differences_are_cut() -> None:
    one, other = answer(b"[%s0]" % (b"0," * 99), JSON), answer(b"[%s1]" % (b"1," * 99), JSON)
    assert len(differences(one, other, Audit(1), 1000)) == audits.MOST_FOUND == 100
    assert MOST_DIFFERENCES < 100


def test_a_callable_decides_what_means_the_same() -> None:
    def same(served: Answer, made: Answer) -> bool:
        return served.body.lower() == made.body.lower()

    assert where(answer(b"A"), answer(b"a"), compare=same) == []
    assert where(answer(b"A"), answer(b"b"), compare=same) == ["body"]
    assert where(answer(b"A"), answer(b"A"), compare=lambda *_: False) == ["compare"]


def test_failures_and_refusals_of_one_request_tell_nothing() -> None:
    assert [status for status in (200, 301, 404, 410, 408, 429, 500, 503) if not is_telling(status)] == [
        408,
        429,
        500,
        503,
    ]


# Settings


@pytest.mark.parametrize(
    ("audit", "said"),
    [
        (1.5, "from 0 to 1"),
        (-0.1, "from 0 to 1"),
        (float("nan"), "from 0 to 1"),
        ("0.1", "from 0 to 1"),
        (True, "audit=0 for none"),
    ],
)
def test_a_rate_is_a_part_of_all_hits(audit: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        options(60, audit=audit)
    with pytest.raises(ConfigurationError, match=said):
        defaults(default_ttl=60, audit=audit)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ignore": "x-build"}, r"write ignore=\['x-build'\]"),
        ({"ignore": [5]}, "must hold header names"),
        ({"ignore": ["not a header"]}, "is not a header name"),
        ({"ignore": ["$"]}, "is no path"),
        ({"compare": "equal"}, "must be a callable"),
        ({"settle": -1}, "settle"),
        ({"private": 1}, "must be True or False"),
    ],
)
def test_what_cannot_work_is_refused_in_words(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Audit(0.1, **settings)


def test_a_rule_that_gives_a_rate_compares_as_its_middleware_does() -> None:
    base = Audit(0.001, ignore=["x-build"], settle="2s")
    assert audits.settled(None, base) is base
    assert audits.settled(0.5, base) == Audit(0.5, ignore=["x-build"], settle="2s")
    assert audits.settled(Audit(0.5), base) == Audit(0.5)
    assert audits.settled(0.0, base) is None
    assert audits.settled(None, None) is None
    assert audits.settled(None, 0.0) is None
    assert audits.settled(0.1, None) == Audit(0.1)
    assert Rule("/", ttl=1, audit=0.1).options == Rule("/", ttl=1, audit=0.1).options
    assert hash(Audit(0.1, ignore=["a"])) == hash(Audit(0.1, ignore=("a",)))


# Findings


def finding(**changes: Any) -> Finding:
    said: dict[str, Any] = {
        "url": "/books/42?lang=en",
        "route": "/books/{id}",
        "age": 12.34,
        "ttl": 47.66,
        "stored_at": 0.0,
        "tags": ("book:42",),
        "unnamed": (),
        "unfollowed": (),
        "queries": (),
        "differences": (Difference("$.title", '"Dune"', '"Emma"'),),
        "served": answer(b"Dune"),
        "made": answer(b"Emma"),
    }
    return Finding(**{**said, **changes})


def test_a_finding_tells_everything_but_the_values() -> None:
    query = Query("SELECT title\nFROM book WHERE id = ?", ("book:42",))
    text = finding(queries=(query,) * 7).explain()
    assert "/books/42?lang=en was answered with what is 12.3 seconds old" in text
    assert "differs in: $.title\n" in text
    assert "query: SELECT title FROM book WHERE id = ? -> ['book:42']" in text
    assert "and 2 queries more" in text
    assert "Dune" not in text
    assert "Emma" not in text


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({}, "where rcache does not see it"),
        ({"tags": ()}, "it has no tags"),
        ({"unnamed": ("author:7",)}, "which none of its tags names"),
        ({"unfollowed": ("raw SQL",)}, "cannot be followed"),
    ],
)
def test_a_finding_names_what_to_look_at_first(changes: dict[str, Any], remedy: str) -> None:
    assert remedy in finding(**changes).remedy


def test_what_is_named_by_itself_or_with_its_table_is_not_unnamed() -> None:
    assert unnamed({"book:42", "author:7", "user?org_id=1", "org"}, ("book", "author:7", "org:1")) == (
        "org",
        "user?org_id=1",
    )
