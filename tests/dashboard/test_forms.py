"""Purging from a page: the preview changes nothing, the form is ours and confirmed, and bad input is told in words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote, urlencode

import pytest
from starlette.requests import Request

from rcache import Cache
from rcache.dashboard import forgery
from tests.dashboard.conftest import HERE, HOST, application, cookie_of, field, yes
from tests.support import Answer, RawClient


async def form_of(site: RawClient, *tags: str) -> tuple[str, str]:
    """The cookie and the token of a form."""
    page = await site.get(f"/_rcache/purge?{urlencode({'tag': tags}, doseq=True)}")
    assert page.status == 200
    return cookie_of(page), field(page, "token")


async def send(site: RawClient, headers: list[tuple[str, str]], **fields: str | list[str]) -> Answer:
    return await site.request("POST", "/_rcache/purge", headers, urlencode(fields, doseq=True).encode())


async def test_a_preview_names_what_would_go_and_changes_nothing(site, cache):
    await site.get("/books/1")
    page = await site.get("/_rcache/purge?tag=book")

    assert "At most <strong>1 entry</strong>" in page.text
    assert "/books/1" in page.text
    assert cache.stats.purges == 0
    assert (await site.get("/books/1")).is_hit


async def test_a_confirmed_form_purges_and_the_log_names_the_dashboard(site, cache):
    await site.get("/books/1")
    cookie, token = await form_of(site, "book:1", "book")
    sent = await send(site, [*HERE, ("cookie", cookie)], token=token, tag=["book:1", "book"], confirm="yes")

    assert sent.status == 200
    assert "<h1>Purged</h1>" in sent.text
    assert not (await site.get("/books/1")).is_hit
    (event,) = [event for event in await cache.inspector.events() if event.kind == "purge"]
    assert (event.cause, set(event.tags)) == ("dashboard", {"book", "book:1"})


async def test_a_soft_purge_is_soft(site, cache):
    await site.get("/books/1")
    cookie, token = await form_of(site, "book")
    sent = await send(site, [*HERE, ("cookie", cookie)], token=token, tag="book", soft="yes", confirm="yes")

    assert "is stale from now on" in sent.text
    assert [event.kind for event in await cache.inspector.events()] == ["soft-purge"]


async def test_without_its_confirmation_a_form_only_shows_what_would_go(site, cache):
    cookie, token = await form_of(site, "book")
    for fields in ({"tag": "book"}, {"tag": "book", "confirm": "no"}, {"confirm": "yes"}):
        page = await send(site, [*HERE, ("cookie", cookie)], token=token, **fields)
        assert page.status == 200
        assert "Purge" in page.text
    assert cache.stats.purges == 0


SITES = [
    ("its token is missing", {"token": ""}, []),
    ("its token is another", {"token": "0" * 64}, []),
    ("its token is no ASCII", {"token": "é"}, []),
    ("its cookie is missing", {"cookie": ""}, []),
    ("its cookie is another", {"cookie": "rcache-dashboard=" + "A" * 43}, []),
    ("its cookie is no value of ours", {"cookie": "rcache-dashboard=x"}, []),
    ("another site sends it", {}, [("origin", "http://evil.example")]),
    ("another port sends it", {}, [("origin", "http://testserver:8080")]),
    ("a page without an origin sends it", {}, [("origin", "null")]),
    ("an origin that is none sends it", {}, [("origin", "http://[")]),
    ("nobody says who sends it", {}, [("origin", "")]),
    ("nobody says who sends it, nor to whom", {}, [("host", ""), ("origin", "")]),
    ("the browser says another site", {}, [("sec-fetch-site", "cross-site"), ("origin", "http://testserver")]),
    (
        "the browser says another host of this site",
        {},
        [("sec-fetch-site", "same-site"), ("origin", "http://testserver")],
    ),
    ("somebody typed it", {}, [("sec-fetch-site", "none"), ("origin", "http://testserver")]),
]


@pytest.mark.parametrize(("changes", "headers"), [case[1:] for case in SITES], ids=[case[0] for case in SITES])
async def test_a_form_is_refused_where(site, cache, changes, headers):
    cookie, token = await form_of(site, "book")
    sent = {"cookie": cookie, "token": token} | changes
    named = {name for name, _ in headers}
    fields = [pair for pair in HERE if pair[0] not in named and not (headers and pair[0] == "origin")]
    fields += [*headers, ("cookie", sent["cookie"])]
    answer = await send(site, fields, token=sent["token"], tag="book", confirm="yes")

    assert answer.status == 403
    assert "Nothing was purged" in answer.text
    assert cache.stats.purges == 0


async def test_a_browser_that_says_where_the_form_stands_is_believed_behind_a_proxy_that_names_another_host(
    site, cache
):
    cookie, token = await form_of(site, "book")
    headers = [pair for pair in HERE if pair[0] != "origin"]
    headers += [("origin", "https://shop.example"), ("sec-fetch-site", "same-origin"), ("cookie", cookie)]
    assert (await send(site, headers, token=token, tag="book", confirm="yes")).status == 200
    assert cache.stats.purges == 1


async def test_a_form_of_one_node_is_taken_by_another(site, cache):
    cookie, token = await form_of(site, "book")
    other = RawClient(application(cache, access=yes, may_purge=yes))
    assert (await send(other, [*HERE, ("cookie", cookie)], token=token, tag="book", confirm="yes")).status == 200


async def test_a_form_of_another_host_or_place_is_not(site, cache):
    cookie, token = await form_of(site, "book")
    headers = [("host", "other"), ("origin", "http://other"), HERE[2], ("cookie", cookie)]
    assert (await send(site, headers, token=token, tag="book", confirm="yes")).status == 403
    body = urlencode({"token": token, "tag": "book"}).encode()
    elsewhere = await site.request("POST", "/api/_rcache/purge", [*HERE, ("cookie", cookie)], body, root_path="/api")
    assert elsewhere.status == 403


async def test_the_cookie_is_out_of_reach_and_stays_the_same(site):
    page = await site.get("/_rcache/purge?tag=book")
    (line,) = page.all("set-cookie")
    assert line.startswith("rcache-dashboard=")
    assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in line.split(";")}

    again = await site.get("/_rcache/purge?tag=book", [HOST, ("cookie", cookie_of(page))])
    assert cookie_of(again) == cookie_of(page)
    assert field(again, "token") == field(page, "token")
    secure = await site.get("/_rcache/purge?tag=book", scheme="https")
    (line,) = secure.all("set-cookie")
    assert line.startswith("__Host-rcache-dashboard=")
    assert "secure" in line.lower()


def test_the_token_does_not_give_the_cookie_away():
    request = Request({"type": "http", "headers": [(b"host", b"a")], "root_path": ""})
    assert "A" * 43 not in forgery.token(request, "A" * 43)
    assert forgery.token(request, "A" * 43) != forgery.token(request, "B" * 43)


BAD_FORMS = [
    (415, b"{}", "application/json"),
    (415, b"", "multipart/form-data; boundary=x"),
    (415, b"tag=a", ""),
    (413, b"a" * 140_000, "application/x-www-form-urlencoded"),
    (400, b"tag=\xff", "application/x-www-form-urlencoded"),
    (400, b"&".join([b"a=1"] * 1001), "application/x-www-form-urlencoded"),
    (403, b"", "application/x-www-form-urlencoded; charset=utf-8"),
]


@pytest.mark.parametrize(("status", "body", "kind"), BAD_FORMS)
async def test_what_is_no_form_of_ours_is_told_in_words(site, cache, status, body, kind):
    answer = await site.request("POST", "/_rcache/purge", [*HERE[:2], ("content-type", kind)], body)
    assert answer.status == status
    assert '<p class="error" role="alert">' in answer.text
    assert cache.stats.purges == 0


LONG = "a" * 5000

BAD_ADDRESSES = [
    (400, "/entry"),
    (400, "/entry?id="),
    (400, f"/entry?id={LONG}"),
    (404, "/entry?id=nowhere"),
    (404, "/entry?id=%00%ff<script>"),
    (400, "/entry?id=x&private=maybe"),
    (400, f"/entries?q={LONG}"),
    (400, "/entries?by=colour"),
    (400, "/entries?q=a&cursor=%3Cscript%3E"),
    (400, "/tags?cursor=nonsense"),
    (400, f"/tags?q={LONG}"),
    (400, "/tag"),
    (400, "/tag?name=%00"),
    (400, f"/tag?name={'a' * 600}"),
    (400, "/tag?name=book&cursor=nonsense"),
    (400, "/log?before=-1"),
    (400, "/log?before=1e9"),
    (400, "/log?before=%D9%A1"),
    (400, f"/log?before={'9' * 30}"),
    (400, "/log/stream?after=x"),
    (400, "/?period=century"),
    (400, f"/?route={LONG}"),
    (400, f"/purge?tag={'a' * 600}"),
    (400, "/purge?tag=%01"),
    (400, "/purge?tags=" + quote("\n".join(str(number) for number in range(101)))),
    (404, "/nowhere"),
    (404, "/static/0/dashboard.css"),
    (405, "POST /entries"),
    (405, "DELETE /purge"),
]


@pytest.mark.parametrize(("status", "target"), BAD_ADDRESSES)
async def test_what_cannot_be_answered_is_told_in_words(site, status, target):
    method, _, place = target.rpartition(" ")
    answer = await site.request(method or "GET", f"/_rcache{place}")

    assert answer.status == status, answer.text
    assert '<p class="error" role="alert">' in answer.text
    assert "<script>alert" not in answer.text
    assert answer.get("content-security-policy")


@pytest.mark.parametrize(
    "target",
    [
        "/entries?q=%00",
        "/entries?q=%ff%fe",
        "/tags?q=%3Cscript%3Ealert(1)%3C/script%3E",
        "/tag?name=%3Cscript%3Ealert(1)%3C/script%3E",
        "/purge?tag=%3Cscript%3Ealert(1)%3C/script%3E",
        "/purge?tags=%20a%20%0D%0A%0D%0Ab",
        "/?route=%3Cscript%3Ealert(1)%3C/script%3E",
        "/log?before=0",
        "/log?before=999999999999999999",
        "/tags?q=a&q=b&unknown=1",
    ],
)
async def test_what_is_odd_is_answered(site, target):
    answer = await site.get(f"/_rcache{target}")
    assert answer.status == 200
    assert "<script>alert" not in answer.text


async def test_lines_of_a_form_are_tags_without_their_blanks(site):
    page = await site.get(f"/_rcache/purge?tags={quote('  book:1  ' + chr(13) + chr(10) * 2 + 'book:2')}")
    assert "Purge 2 tags?" in page.text
    assert 'name="tag" value="book:1"' in page.text


@pytest.fixture
async def gone() -> AsyncIterator[Cache]:
    """A cache whose Redis nobody has started."""
    async with Cache("redis://127.0.0.1:1", purge_timeout=0.1) as cache:
        yield cache


@pytest.mark.parametrize("place", ["/", "/entries", "/tags", "/tag?name=book", "/log", "/nodes", "/purge?tag=book"])
async def test_while_the_store_is_gone_a_page_says_so(gone, place):
    answer = await RawClient(application(gone, access=yes, may_purge=yes)).get(f"/_rcache{place}")
    assert answer.status == 503
    assert "cannot be reached" in answer.text


async def test_a_purge_that_has_not_landed_is_told(gone):
    site = RawClient(application(gone, access=yes, may_purge=yes))
    token = forgery.token(Request(site.scope("/_rcache/purge") | {"root_path": "/_rcache"}), "A" * 43)
    headers = [*HERE, ("cookie", f"rcache-dashboard={'A' * 43}")]
    sent = await send(site, headers, token=token, tag="book", confirm="yes")

    assert sent.status == 200
    assert "Not purged yet" in sent.text
