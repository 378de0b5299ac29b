"""What is written, changed and liked."""

from __future__ import annotations

import pytest

from .site import Site, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEW = {"title": "On Rivers", "description": "In brief", "body": "They flow."}


async def test_a_new_article_is_there_for_everybody(ada: Visitor, reader: Visitor):
    assert await reader.refused("GET", "/articles/on-rivers") == 404

    made = await ada.send("POST", "/articles", NEW | {"tags": ["water", "Slow", "water"]})

    article = made.json()
    assert made.status_code == 201
    assert await reader.get("/articles/on-rivers") == article
    times = article.pop("written_at"), article.pop("changed_at"), article.pop("published_at")
    assert all(time.endswith("Z") for time in times)
    assert article == NEW | {
        "slug": "on-rivers",
        "tags": ["slow", "water"],
        "favorited": False,
        "favorites": 0,
        "comments": 0,
        "author": {"username": "ada", "bio": "", "image": None, "following": False},
    }


async def test_only_users_write(reader: Visitor):
    assert await reader.refused("POST", "/articles", NEW) == 401


@pytest.mark.parametrize(
    "change", [{"title": " "}, {"body": ""}, {"tags": ["two words"]}], ids=["title", "body", "tags"]
)
async def test_an_article_without_sense_is_refused(ada: Visitor, change: dict[str, object]):
    assert await ada.refused("POST", "/articles", NEW | change) == 422


async def test_articles_of_one_title_have_slugs_of_their_own(ada: Visitor, ben: Visitor):
    assert [await ada.write("Rivers"), await ben.write("Rivers!"), await ada.write("rivers")] == [
        "rivers",
        "rivers-2",
        "rivers-3",
    ]
    assert await ada.write("Ça va?") == "ca-va"
    assert await ada.write("???") == "untitled"


async def test_an_article_is_changed_by_its_author(ada: Visitor, reader: Visitor):
    slug = await ada.write("Rivers", "water")
    before = await reader.get(f"/articles/{slug}")

    await ada.send("PATCH", f"/articles/{slug}", {"body": "They flow still.", "description": "Longer"})

    after = await reader.get(f"/articles/{slug}")
    assert (after["body"], after["description"], after["tags"]) == ("They flow still.", "Longer", ["water"])
    assert after["changed_at"] > before["changed_at"]
    assert after["written_at"] == before["written_at"]


async def test_another_title_is_another_slug(ada: Visitor, reader: Visitor):
    await ada.write("Rivers")
    await ada.write("Lakes")
    assert (await reader.get("/articles/rivers"))["title"] == "Rivers"
    assert await reader.refused("GET", "/articles/lakes-2") == 404

    changed = (await ada.send("PATCH", "/articles/rivers", {"title": "Lakes"})).json()

    assert changed["slug"] == "lakes-2"
    assert (await reader.get("/articles/lakes-2"))["title"] == "Lakes"
    assert await reader.refused("GET", "/articles/rivers") == 404


async def test_tags_are_changed_as_a_whole(ada: Visitor, reader: Visitor):
    await ada.write("Rivers", "water", "slow")
    assert (await reader.get("/articles/rivers"))["tags"] == ["slow", "water"]
    assert await reader.slugs("/articles", tag="fast") == []

    changed = (await ada.send("PATCH", "/articles/rivers", {"tags": ["water", "fast"]})).json()

    assert changed["tags"] == ["fast", "water"]
    assert (await reader.get("/articles/rivers"))["tags"] == ["fast", "water"]
    assert await reader.slugs("/articles", tag="slow") == []
    assert await reader.slugs("/articles", tag="fast") == ["rivers"]


async def test_nobody_changes_what_another_wrote(ada: Visitor, ben: Visitor):
    slug = await ada.write("Rivers")

    for method, path, body in (
        ("PATCH", f"/articles/{slug}", {"body": "Mine."}),
        ("DELETE", f"/articles/{slug}", None),
        ("DELETE", f"/articles/{slug}/publication", None),
    ):
        assert await ben.refused(method, path, body) == 403
    assert (await ben.get(f"/articles/{slug}"))["body"] == "Rivers."


async def test_a_deleted_article_is_nowhere(ada: Visitor, ben: Visitor, reader: Visitor):
    slug = await ada.write("Rivers", "water")
    await ben.send("PUT", f"/articles/{slug}/favorite")
    await ben.comment(slug, "They do.")
    assert await reader.slugs("/articles", favorited="ben") == [slug]
    assert (await reader.get("/profiles/ada"))["articles"] == 1

    await ada.send("DELETE", f"/articles/{slug}")

    assert await reader.refused("GET", f"/articles/{slug}") == 404
    assert await reader.refused("GET", f"/articles/{slug}/comments") == 404
    assert await reader.slugs("/articles", favorited="ben") == []
    assert (await reader.get("/profiles/ada"))["articles"] == 0
    assert await reader.get("/tags") == []


async def test_what_is_not_there_is_not_changed(ada: Visitor):
    for method, path in (
        ("PATCH", "/articles/none"),
        ("DELETE", "/articles/none"),
        ("PUT", "/articles/none/favorite"),
        ("DELETE", "/articles/none/favorite"),
        ("PUT", "/articles/none/publication"),
    ):
        assert await ada.refused(method, path, {} if method == "PATCH" else None) == 404


async def test_a_favorite_is_counted_for_all_and_flagged_for_one(ada: Visitor, ben: Visitor, reader: Visitor):
    slug = await ada.write("Rivers")
    before = await ben.get(f"/articles/{slug}")
    assert (before["favorites"], before["favorited"]) == (0, False)

    liked = (await ben.send("PUT", f"/articles/{slug}/favorite")).json()

    assert liked == await ben.get(f"/articles/{slug}")
    assert (liked["favorites"], liked["favorited"]) == (1, True)
    for other in (ada, reader):
        seen = await other.get(f"/articles/{slug}")
        assert (seen["favorites"], seen["favorited"]) == (1, False)


async def test_a_favorite_is_one_however_often_it_is_made(ada: Visitor, ben: Visitor):
    slug = await ada.write("Rivers")
    for visitor in (ben, ben, ada):
        await visitor.send("PUT", f"/articles/{slug}/favorite")

    assert (await ben.get(f"/articles/{slug}"))["favorites"] == 2


async def test_a_favorite_is_taken_back(ada: Visitor, ben: Visitor):
    slug = await ada.write("Rivers")
    await ben.send("PUT", f"/articles/{slug}/favorite")
    assert (await ben.get("/articles"))["articles"][0]["favorited"] is True

    await ben.send("DELETE", f"/articles/{slug}/favorite")

    assert (await ben.get("/articles"))["articles"][0]["favorited"] is False
    assert (await ben.get(f"/articles/{slug}"))["favorites"] == 0
    await ben.send("DELETE", f"/articles/{slug}/favorite")


async def test_an_article_says_whether_the_viewer_follows_its_author(ada: Visitor, ben: Visitor, reader: Visitor):
    slug = await ada.write("Rivers")
    assert (await ben.get(f"/articles/{slug}"))["author"]["following"] is False

    await ben.send("PUT", "/profiles/ada/follow")

    assert (await ben.get(f"/articles/{slug}"))["author"]["following"] is True
    assert (await reader.get(f"/articles/{slug}"))["author"]["following"] is False


async def test_an_article_shows_its_author_as_they_are_now(ada: Visitor, reader: Visitor):
    slug = await ada.write("Rivers")
    assert (await reader.get(f"/articles/{slug}"))["author"]["bio"] == ""

    await ada.send("PATCH", "/user", {"bio": "Writes."})

    assert (await reader.get(f"/articles/{slug}"))["author"]["bio"] == "Writes."
    assert (await reader.get("/articles"))["articles"][0]["author"]["bio"] == "Writes."


async def test_a_draft_is_its_authors_own(ada: Visitor, ben: Visitor, reader: Visitor):
    slug = await ada.write("Secrets", "water", is_draft=True)

    assert (await ada.get(f"/articles/{slug}"))["published_at"] is None
    for other in (ben, reader):
        assert await other.refused("GET", f"/articles/{slug}") == 404
        assert await other.refused("GET", f"/articles/{slug}/comments") == 404
        assert (await other.get("/articles"))["total"] == 0
        assert await other.get("/tags") == []
    assert await ben.refused("PUT", f"/articles/{slug}/favorite") == 404
    assert await ben.refused("PATCH", f"/articles/{slug}", {"body": "Mine."}) == 404
    assert await ada.slugs("/drafts") == [slug]
    assert await ben.slugs("/drafts") == []
    assert await ada.slugs("/articles") == []


async def test_a_draft_is_published(ada: Visitor, ben: Visitor, reader: Visitor):
    slug = await ada.write("Secrets", "water", is_draft=True)
    assert await reader.slugs("/articles") == []
    assert await ben.refused("GET", f"/articles/{slug}") == 404

    await ada.send("PUT", f"/articles/{slug}/publication")

    assert await reader.slugs("/articles") == await ben.slugs("/articles", tag="water") == [slug]
    assert (await ben.get(f"/articles/{slug}"))["title"] == "Secrets"
    assert await ada.slugs("/drafts") == []
    published = (await ada.get(f"/articles/{slug}"))["published_at"]
    assert (await ada.send("PUT", f"/articles/{slug}/publication")).json()["published_at"] == published


async def test_an_article_is_withdrawn(ada: Visitor, ben: Visitor, reader: Visitor):
    slug = await ada.write("Secrets", "water")
    await ben.send("PUT", f"/articles/{slug}/favorite")
    assert (await ben.get(f"/articles/{slug}"))["favorited"] is True
    assert await reader.slugs("/articles", favorited="ben") == [slug]
    assert (await reader.get("/tags"))[0]["articles"] == 1

    await ada.send("DELETE", f"/articles/{slug}/publication")

    assert await ben.refused("GET", f"/articles/{slug}") == 404
    assert await reader.slugs("/articles", favorited="ben") == []
    assert await reader.get("/tags") == []
    assert (await ada.get(f"/articles/{slug}"))["favorites"] == 1
    assert await ada.slugs("/drafts") == [slug]


async def test_drafts_are_listed_last_changed_first(site: Site, ada: Visitor):
    first, second = await ada.write("First", is_draft=True), await ada.write("Second", is_draft=True)
    assert await ada.slugs("/drafts") == [second, first]

    await ada.send("PATCH", f"/articles/{first}", {"body": "More."})

    assert await ada.slugs("/drafts") == [first, second]
    assert await ada.slugs("/drafts", limit=1, offset=1) == [second]
