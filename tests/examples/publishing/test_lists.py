"""Lists of articles, whole and in parts, and their tags."""

from __future__ import annotations

import pytest

from .site import Site, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_empty_site_has_empty_lists(reader: Visitor):
    assert await reader.get("/articles") == {"total": 0, "articles": []}
    assert await reader.get("/articles", tag="water") == {"total": 0, "articles": []}
    assert await reader.get("/tags") == []
    assert await reader.get("/writers") == []


async def test_the_newest_article_comes_first(ada: Visitor, ben: Visitor, reader: Visitor):
    await ada.write("One")
    await ben.write("Two")
    assert await reader.slugs("/articles") == ["two", "one"]

    await ada.write("Three")

    assert await reader.slugs("/articles") == ["three", "two", "one"]


async def test_a_list_has_no_bodies(ada: Visitor, reader: Visitor):
    await ada.write("Rivers", "water")

    (shown,) = (await reader.get("/articles"))["articles"]

    whole = await reader.get("/articles/rivers")
    assert whole.pop("body") == "Rivers."
    assert shown == whole


async def test_a_list_comes_in_parts_with_its_total(ada: Visitor, reader: Visitor):
    for number in range(5):
        await ada.write(f"Number {number}")

    pages = [await reader.get("/articles", limit=2, offset=offset) for offset in (0, 2, 4, 6)]

    assert [page["total"] for page in pages] == [5, 5, 5, 5]
    slugs = [[article["slug"] for article in page["articles"]] for page in pages]
    assert slugs == [["number-4", "number-3"], ["number-2", "number-1"], ["number-0"], []]


async def test_a_new_article_moves_every_part(ada: Visitor, reader: Visitor):
    for title in ("One", "Two", "Three"):
        await ada.write(title)
    assert await reader.slugs("/articles", limit=2) == ["three", "two"]
    assert await reader.slugs("/articles", limit=2, offset=2) == ["one"]

    await ada.write("Four")

    assert await reader.slugs("/articles", limit=2) == ["four", "three"]
    assert await reader.slugs("/articles", limit=2, offset=2) == ["two", "one"]


@pytest.mark.parametrize("part", [{"limit": 0}, {"limit": 101}, {"offset": -1}, {"limit": "many"}], ids=str)
async def test_a_part_that_makes_no_sense_is_refused(reader: Visitor, part: dict[str, object]):
    assert await reader.refused("GET", "/articles", **part) == 422


async def test_articles_are_found_by_tag(ada: Visitor, ben: Visitor, reader: Visitor):
    await ada.write("Rivers", "water", "slow")
    await ben.write("Seas", "water")
    await ben.write("Snails", "slow")

    assert await reader.slugs("/articles", tag="water") == ["seas", "rivers"]
    assert (await reader.get("/articles", tag="slow", limit=1))["total"] == 2
    assert await reader.slugs("/articles", tag="none") == []


async def test_a_list_by_tag_has_what_gets_the_tag_later(ada: Visitor, reader: Visitor):
    await ada.write("Rivers")
    assert (await reader.get("/articles", tag="water"))["total"] == 0

    await ada.send("PATCH", "/articles/rivers", {"tags": ["water"]})

    assert await reader.slugs("/articles", tag="water") == ["rivers"]


async def test_articles_are_found_by_author(ada: Visitor, ben: Visitor, reader: Visitor):
    await ada.write("Rivers")
    await ben.write("Seas")
    assert await reader.slugs("/articles", author="ben") == ["seas"]
    assert await reader.slugs("/articles", author="nobody") == []

    await ben.write("Lakes")

    assert await reader.slugs("/articles", author="ben") == ["lakes", "seas"]
    assert await reader.slugs("/articles", author="ada") == ["rivers"]


async def test_a_list_by_author_follows_the_name(ada: Visitor, reader: Visitor):
    await ada.write("Rivers")
    assert await reader.slugs("/articles", author="countess") == []
    assert await reader.slugs("/articles", author="ada") == ["rivers"]

    await ada.send("PATCH", "/user", {"username": "countess"})

    assert await reader.slugs("/articles", author="countess") == ["rivers"]
    assert await reader.slugs("/articles", author="ada") == []


async def test_articles_are_found_by_who_likes_them(ada: Visitor, ben: Visitor, reader: Visitor):
    rivers, _ = await ada.write("Rivers"), await ada.write("Seas")
    assert await reader.slugs("/articles", favorited="ben") == []

    await ben.send("PUT", f"/articles/{rivers}/favorite")
    assert await reader.slugs("/articles", favorited="ben") == [rivers]
    assert await reader.slugs("/articles", favorited="ada") == []

    await ben.send("DELETE", f"/articles/{rivers}/favorite")
    assert await reader.slugs("/articles", favorited="ben") == []


async def test_articles_are_found_by_words_of_their_title(ada: Visitor, reader: Visitor):
    await ada.write("Slow Rivers")
    await ada.write("100% Water")
    assert await reader.slugs("/articles", q="river") == ["slow-rivers"]
    assert await reader.slugs("/articles", q="%") == ["100-water"]

    await ada.send("PATCH", "/articles/100-water", {"title": "River Water"})

    assert await reader.slugs("/articles", q="river") == ["river-water", "slow-rivers"]
    assert await reader.slugs("/articles", q="%") == []


async def test_filters_add_up(ada: Visitor, ben: Visitor, reader: Visitor):
    await ada.write("Rivers", "water")
    await ada.write("Snails", "slow")
    await ben.write("Seas", "water")
    assert await reader.slugs("/articles", tag="water", author="ada") == ["rivers"]
    assert await reader.slugs("/articles", tag="water", author="ada", favorited="ben") == []

    await ben.send("PUT", "/articles/rivers/favorite")

    assert await reader.slugs("/articles", tag="water", author="ada", favorited="ben") == ["rivers"]


async def test_each_viewer_has_flags_of_their_own_in_a_list(ada: Visitor, ben: Visitor, reader: Visitor):
    rivers, seas = await ada.write("Rivers"), await ben.write("Seas")
    await ada.send("PUT", f"/articles/{seas}/favorite")
    await ben.send("PUT", f"/articles/{rivers}/favorite")
    await ben.send("PUT", "/profiles/ada/follow")

    seen = {}
    for name, visitor in (("ada", ada), ("ben", ben), ("reader", reader)):
        articles = (await visitor.get("/articles"))["articles"]
        seen[name] = [(article["favorited"], article["author"]["following"]) for article in articles]

    assert seen == {
        "ada": [(True, False), (False, False)],
        "ben": [(False, False), (True, True)],
        "reader": [(False, False), (False, False)],
    }


async def test_a_list_counts_favorites_and_comments(ada: Visitor, ben: Visitor, reader: Visitor):
    slug = await ada.write("Rivers")
    (before,) = (await reader.get("/articles"))["articles"]
    await ben.send("PUT", f"/articles/{slug}/favorite")
    await ben.comment(slug, "They do.")
    await ada.comment(slug, "Don't they?")

    (after,) = (await reader.get("/articles"))["articles"]

    assert (before["favorites"], before["comments"]) == (0, 0)
    assert (after["favorites"], after["comments"]) == (1, 2)


async def test_popular_tags_come_first(ada: Visitor, ben: Visitor, reader: Visitor):
    await ada.write("Rivers", "water", "slow")
    await ben.write("Seas", "water")
    await ben.write("Secrets", "hidden", is_draft=True)
    tags = [{"name": "water", "articles": 2}, {"name": "slow", "articles": 1}]
    assert await reader.get("/tags") == tags
    assert await reader.get("/tags", limit=1) == tags[:1]

    await ada.write("Snails", "slow")
    await ada.write("Sloths", "slow")

    assert [tag["name"] for tag in await reader.get("/tags")] == ["slow", "water"]


async def test_a_tag_that_nothing_has_any_more_is_not_popular(site: Site, ada: Visitor, reader: Visitor):
    await ada.write("Rivers", "water")
    assert len(await reader.get("/tags")) == 1

    await ada.send("PATCH", "/articles/rivers", {"tags": []})

    assert await reader.get("/tags") == []
    assert await ada.write("Seas", "water") == "seas"
    assert await reader.get("/tags") == [{"name": "water", "articles": 1}]
