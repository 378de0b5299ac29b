"""The dashboard as people meet it: in a browser, with and without scripts, by keyboard, on a phone, and under attack."""

from __future__ import annotations

import re
import time
from urllib.parse import quote, urlencode

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.application import EVIL
from tests.browser.conftest import PATIENCE, entry_of

expect.set_options(timeout=PATIENCE)

PLACES = [
    "",
    "entries",
    "entries?by=largest",
    "entries?q=book",
    "tags",
    "tag?name=book",
    "log",
    "nodes",
    "queue",
    "purge",
    "purge?tag=book",
]

CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (text) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const over = (top, below) => [0, 1, 2].map((each) => (top[each] * top[3] + below[each] * (255 - top[3])) / 255);
  const light = (colour) => {
    const linear = (part) => part <= .03928 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4;
    const [r, g, b] = colour.map((part) => linear(part / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = (element) => {
    const own = rgb(getComputedStyle(element).backgroundColor);
    if (own[3] === 255 || !element.parentElement) return own[3] ? Array.from(own).slice(0, 3) : [255, 255, 255];
    return over(own, ground(element.parentElement));
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = Array.from(element.childNodes).some((node) => node.nodeType === 3 && node.data.trim());
    if (!text || !element.checkVisibility() || element.closest("svg, .unseen, .skip")) continue;
    const below = ground(element);
    const own = light(over(rgb(getComputedStyle(element).color), below));
    const [high, low] = [own, light(below)].sort((a, b) => b - a);
    if ((high + .05) / (low + .05) < 4.5) poor.push(element.outerHTML.slice(0, 120));
  }
  return poor;
}"""


def fill(base: str) -> None:
    """Traffic: hits and misses, of more than one route."""
    with httpx.Client(base_url=base) as client:
        for _ in range(3):
            for book in range(4):
                client.get(f"/books/{book}").raise_for_status()
        client.get(f"/wide/{'w' * 300}").raise_for_status()


@pytest.fixture(scope="module", params=["on_redis", "embedded"])
def base(request: pytest.FixtureRequest) -> str:
    """The address of the application."""
    return str(request.getfixturevalue(request.param))


def settled(base: str, text: str) -> None:
    """Until the overview says so: nodes tell what they counted once a second."""
    with httpx.Client(base_url=base, cookies={"staff": "yes"}) as client:
        for _ in range(PATIENCE // 200):
            if text in client.get("/_rcache/").text:
                return
            time.sleep(0.2)
    raise AssertionError(f"{text} is not on the page")


def test_everything_can_be_read_without_scripts(on_redis, visit):
    fill(on_redis)
    visitor = visit(on_redis, java_script_enabled=False)
    settled(on_redis, "/books/{book}")
    page = visitor.open()

    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    for name in ("Hit ratio", "Requests", "Latency"):
        expect(page.get_by_role("img", name=name)).to_be_visible()
    page.get_by_text("The same as a table").click()
    expect(page.get_by_role("table", name="What was counted over time")).to_be_visible()
    page.get_by_role("link", name="/books/{book}").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("/books/{book}")

    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Entries").click()
    page.get_by_label("Search by URL").fill("/books/2")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="/books/2").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("/books/2")
    expect(page.get_by_role("group", name="The entry, its 2 tags")).to_be_visible()
    page.locator("summary", has_text="text/plain").click()
    expect(page.get_by_label("Body", exact=True).get_by_text("book 2")).to_be_visible()
    page.get_by_role("link", name="Tag book:2: row 2").click()
    expect(page.get_by_role("table", name="Entries that carry the tag")).to_contain_text("/books/2")
    page.get_by_role("link", name="Purge…").click()
    page.get_by_role("button", name="Purge 1 entry").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Purged")

    for place in ("log", "nodes", "tags"):
        visitor.open(place)
        expect(page.locator("#live, #stream, .filters, .filter").locator("visible=true")).to_have_count(0)
    assert visitor.wrong == []


def test_no_page_breaks_its_own_policy_or_asks_anybody_else(on_redis, visit):
    fill(on_redis)
    visitor = visit(on_redis)
    for place in [*PLACES, entry_of(on_redis, "/books/1")]:
        visitor.open(place)
        expect(visitor.page.get_by_role("heading", level=1)).to_be_visible()
    assert visitor.wrong == []


def test_what_would_break_the_policy_is_noticed_and_stopped(on_redis, visit):
    visitor = visit(on_redis)
    page = visitor.open()
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=window.pwned=1><p style=color:red>x</p>')"
    )
    script = "const each = document.createElement('script'); each.textContent = 'window.pwned = 1'; document.body.append(each)"
    page.evaluate(script)

    assert page.evaluate("window.pwned") is None
    assert any("Content Security Policy" in text for text in visitor.wrong)


def test_light_and_dark_are_both_legible(on_redis, visit):
    fill(on_redis)
    visitor = visit(on_redis, reduced_motion="reduce")
    for place in [*PLACES, entry_of(on_redis, "/books/1"), "nowhere"]:
        page = visitor.open(place)
        grounds = []
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate(CONTRAST) == [], (place, scheme)
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            grounds.append(sum(map(int, re.findall(r"\d+", ground))))
        assert grounds[0] > 600 > 150 > grounds[1]
    assert visitor.wrong == ["Failed to load resource: the server responded with a status of 404 (Not Found)"]


def test_on_a_phone_no_page_is_wider_than_the_screen(on_redis, visit):
    fill(on_redis)
    visitor = visit(on_redis, viewport={"width": 375, "height": 700}, is_mobile=True, has_touch=True)
    wide = entry_of(on_redis, "/wide/")
    for place in [*PLACES, wide, f"tag?name={'w' * 500}", f"entries?q={'w' * 200}", "nowhere"]:
        page = visitor.open(place)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375, place
        assert page.evaluate("document.documentElement.clientWidth") == 375, place
    page = visitor.open()
    page.get_by_role("link", name="Tags", exact=True).tap()
    expect(page.get_by_role("heading", level=1)).to_have_text("Tags")


def reach(page: Page, role: str, name: str) -> None:
    """Tab until it has the focus, which must be seen."""
    for _ in range(120):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.matches(':focus-visible')")
        assert focused
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
        target = page.get_by_role(role, name=name).and_(page.locator(":focus"))  # type: ignore[arg-type]
        if target.count():
            return
    raise AssertionError(f"no way to {name} by keyboard")


def test_a_purge_needs_no_more_than_a_keyboard(base, visit):
    fill(base)
    visitor = visit(base)
    page = visitor.open("tags?q=book%3A3")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    reach(page, "link", "Purge book:3")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_have_text("Purge 1 tag?")
    expect(page.get_by_role("table", name="Entries that would go")).to_contain_text("/books/3")
    assert "; hit" in httpx.get(f"{base}/books/3").headers["cache-status"]
    reach(page, "checkbox", "Soft")
    reach(page, "button", "Purge 1 entry")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_have_text("Purged")
    assert "; hit" not in httpx.get(f"{base}/books/3").headers["cache-status"]
    page = visitor.open("log")
    expect(page.locator("#log-rows tr").first).to_contain_text("dashboard")
    assert visitor.wrong == []


def test_the_log_is_live_and_can_be_paused_and_filtered(base, visit):
    visitor = visit(base)
    page = visitor.open("log")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    assert page.get_by_role("status").first.get_attribute("id") == "stream-said"
    httpx.post(f"{base}/change", params={"tag": "while-it-runs"}).raise_for_status()
    expect(page.locator("#log-rows tr").first).to_contain_text("while-it-runs")

    page.get_by_role("button", name="Pause").click()
    httpx.post(f"{base}/change", params={"tag": "while-it-waits"}).raise_for_status()
    expect(page.get_by_text("Paused, 1 waiting")).to_be_visible()
    expect(page.get_by_text("while-it-waits")).to_have_count(0)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#log-rows tr").first).to_contain_text("while-it-waits")

    page.get_by_label("Show only").fill("while-it-runs")
    expect(page.get_by_text("while-it-waits")).to_be_hidden()
    expect(page.get_by_text("while-it-runs")).to_be_visible()
    page.get_by_label("purge", exact=True).uncheck()
    expect(page.get_by_text("while-it-runs")).to_be_hidden()

    # Whoever comes back is told of what may have been missed, and shows what is there already once.
    def from_the_start(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=re.sub('data-after="[0-9]+"', 'data-after="0"', response.text()))

    page.route("**/_rcache/log", from_the_start)
    visitor.open("log")
    httpx.post(f"{base}/change", params={"tag": "after-that"}).raise_for_status()
    expect(page.locator("#log-rows tr").first).to_contain_text("after-that")
    expect(page.get_by_text("while-it-runs")).to_have_count(1)
    assert visitor.wrong == []


def test_the_overview_renews_itself_until_it_is_told_not_to(on_redis, visit):
    visitor = visit(on_redis)
    page = visitor.open()
    httpx.get(f"{on_redis}/evil/new?tag=fresh").raise_for_status()
    expect(page.get_by_role("link", name="/evil/{rest:path}")).to_be_visible()
    page.get_by_label("Filter").fill("books")
    expect(page.get_by_role("link", name="/evil/{rest:path}")).to_be_hidden()

    toggle = page.get_by_role("button", name="Live updates")
    expect(toggle).to_have_attribute("aria-pressed", "true")
    toggle.click()
    expect(toggle).to_have_attribute("aria-pressed", "false")
    page.reload()
    expect(page.get_by_role("button", name="Live updates")).to_have_attribute("aria-pressed", "false")
    assert visitor.wrong == []


def test_scripts_in_urls_tags_headers_and_bodies_stay_text(on_redis, visit):
    path = "/evil/<script>window.pwned=1</script>"
    query = urlencode({"tag": EVIL})
    httpx.get(f"{on_redis}{path}?{query}", headers={"x-colour": EVIL}).raise_for_status()
    visitor = visit(on_redis)
    entry = entry_of(on_redis, "/evil/%3Cscript")
    evil = quote(EVIL)
    lists = ["", f"?route={evil}", "entries", "entries?q=evil", "tags", f"tags?q={evil}"]
    for place in [*lists, entry, f"tag?name={evil}", f"purge?tag={evil}", "log"]:
        page = visitor.open(place)
        assert page.evaluate("window.pwned") is None, place
    # Also where a script puts it into the page.
    httpx.post(f"{on_redis}/change", params={"tag": EVIL}).raise_for_status()
    expect(page.locator("#log-rows tr").first.get_by_role("link", name=EVIL)).to_be_visible()
    assert page.evaluate("window.pwned") is None

    httpx.get(f"{on_redis}{path}?{query}", headers={"x-colour": EVIL}).raise_for_status()
    page = visitor.open(entry_of(on_redis, "/evil/%3Cscript"))
    page.locator("summary", has_text="text/html").click()
    expect(page.get_by_label("Body", exact=True).get_by_text(EVIL)).to_be_visible()
    expect(page.get_by_role("table", name="Header fields as they are")).to_contain_text(f'"> {EVIL}')
    assert page.evaluate("window.pwned") is None
    assert visitor.wrong == []


@pytest.mark.parametrize("site", ["http://evil.example", "http://127.0.0.1:45678"])
def test_a_form_on_another_site_purges_nothing(on_redis, visit, site):
    """Both come with the cookie of staff, which names no SameSite and is new; a port of the same host with every cookie."""
    fill(on_redis)
    visitor = visit(on_redis)
    visitor.open("purge?tag=book")  # the browser has the cookie now
    action = f"{on_redis}/_rcache/purge"
    fields = "<input name=tag value=book><input name=confirm value=yes>"
    form = f"<form method=post action='{action}'>{fields}<button>Win</button></form>"
    page = visitor.page
    page.route(f"{site}/**", lambda route: route.fulfill(body=form, content_type="text/html"))
    page.goto(f"{site}/")
    with page.expect_response(action) as sent:
        page.get_by_role("button", name="Win").click()

    assert sent.value.status == 403
    expect(page.get_by_role("heading", level=1)).to_have_text("Refused")  # it came as staff all the same
    assert "; hit" in httpx.get(f"{on_redis}/books/1").headers["cache-status"]


def test_it_is_closed_to_whoever_may_not_look(on_redis, visit):
    visitor = visit(on_redis, is_staff=False)
    page = visitor.open()
    expect(page.get_by_role("heading", level=1)).to_have_text("Not for you")
    page = visitor.open(below="closed")
    expect(page.get_by_role("heading", level=1)).to_have_text("This dashboard is closed")
    expect(page.get_by_text("access=is_staff")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).margin") == "0px"  # its own style holds
    assert {text for text in visitor.wrong if "403" not in text} == set()


def test_who_may_only_look_finds_no_way_to_purge(on_redis, visit):
    visitor = visit(on_redis)
    page = visitor.open("tags", below="look")
    expect(page.get_by_role("heading", level=1)).to_have_text("Tags")
    expect(page.get_by_role("link", name="Purge")).to_have_count(0)
    page = visitor.open("purge?tag=book", below="look")
    expect(page.get_by_role("heading", level=1)).to_have_text("Only to be read")
