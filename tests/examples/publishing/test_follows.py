"""Who follows whom."""

from __future__ import annotations

import pytest

from .site import Site, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_profile_counts_and_says_whether_the_viewer_follows(ada: Visitor, ben: Visitor, reader: Visitor):
    shown = {"username": "ada", "bio": "", "image": None, "articles": 0, "follows": 0}
    assert await ben.get("/profiles/ada") == shown | {"followers": 0, "following": False}

    followed = (await ben.send("PUT", "/profiles/ada/follow")).json()

    assert followed == await ben.get("/profiles/ada") == shown | {"followers": 1, "following": True}
    assert await reader.get("/profiles/ada") == shown | {"followers": 1, "following": False}
    assert (await ada.get("/profiles/ben"))["follows"] == 1


async def test_following_twice_is_following(ada: Visitor, ben: Visitor):
    await ben.send("PUT", "/profiles/ada/follow")
    again = (await ben.send("PUT", "/profiles/ada/follow")).json()

    assert (again["followers"], again["following"]) == (1, True)
    assert (await ada.get("/notifications"))["total"] == 1


async def test_who_does_not_follow_any_more_is_not_counted(ada: Visitor, ben: Visitor):
    await ben.send("PUT", "/profiles/ada/follow")
    assert (await ben.get("/profiles/ada"))["following"] is True

    await ben.send("DELETE", "/profiles/ada/follow")

    shown = await ben.get("/profiles/ada")
    assert (shown["followers"], shown["following"]) == (0, False)
    await ben.send("DELETE", "/profiles/ada/follow")


async def test_nobody_follows_themselves_or_nobody(ada: Visitor, reader: Visitor):
    assert await ada.refused("PUT", "/profiles/ada/follow") == 403
    assert await ada.refused("PUT", "/profiles/nobody/follow") == 404
    assert await ada.refused("DELETE", "/profiles/nobody/follow") == 404
    assert await reader.refused("PUT", "/profiles/ada/follow") == 401
    assert await reader.refused("GET", "/profiles/nobody/followers") == 404


async def test_followers_are_listed_by_name_and_in_parts(site: Site, ada: Visitor, reader: Visitor):
    for name in ("dan", "ben", "cleo"):
        await (await site.join(name)).send("PUT", "/profiles/ada/follow")

    people = await reader.get("/profiles/ada/followers", limit=2)
    assert (people["total"], [person["username"] for person in people["people"]]) == (3, ["ben", "cleo"])
    people = await reader.get("/profiles/ada/followers", limit=2, offset=2)
    assert (people["total"], [person["username"] for person in people["people"]]) == (3, ["dan"])


async def test_a_list_of_followers_has_the_viewers_own_flags(site: Site, ada: Visitor, ben: Visitor, reader: Visitor):
    cleo = await site.join("cleo")
    await ben.send("PUT", "/profiles/ada/follow")
    assert [person["following"] for person in (await cleo.get("/profiles/ada/followers"))["people"]] == [False]

    await cleo.send("PUT", "/profiles/ben/follow")

    assert [person["following"] for person in (await cleo.get("/profiles/ada/followers"))["people"]] == [True]
    assert [person["following"] for person in (await reader.get("/profiles/ada/followers"))["people"]] == [False]


async def test_whom_somebody_follows_is_listed(site: Site, ada: Visitor, ben: Visitor):
    assert await ada.get("/profiles/ada/follows") == {"total": 0, "people": []}

    await ada.send("PUT", "/profiles/ben/follow")

    people = await ada.get("/profiles/ada/follows")
    assert (people["total"], people["people"][0]["username"], people["people"][0]["following"]) == (1, "ben", True)
    assert (await ben.get("/profiles/ada/follows"))["people"][0]["following"] is False


async def test_a_list_shows_a_person_as_they_are_now(ada: Visitor, ben: Visitor):
    await ben.send("PUT", "/profiles/ada/follow")
    assert (await ada.get("/profiles/ada/followers"))["people"][0]["bio"] == ""

    await ben.send("PATCH", "/user", {"bio": "Reads."})

    assert (await ada.get("/profiles/ada/followers"))["people"][0]["bio"] == "Reads."


async def test_the_feed_has_what_those_write_whom_one_follows(site: Site, ada: Visitor, ben: Visitor):
    cleo = await site.join("cleo")
    await ben.write("Winter")
    await cleo.write("Gardens")
    assert await ada.get("/feed") == {"total": 0, "articles": []}

    await ada.send("PUT", "/profiles/ben/follow")
    assert await ada.slugs("/feed") == ["winter"]

    await ben.write("Spring")
    await cleo.write("Cities")
    assert await ada.slugs("/feed") == ["spring", "winter"]
    assert (await ada.get("/feed"))["articles"][0]["author"]["following"] is True

    await ada.send("DELETE", "/profiles/ben/follow")
    assert (await ada.get("/feed"))["total"] == 0


async def test_a_feed_comes_in_parts(ada: Visitor, ben: Visitor):
    await ada.send("PUT", "/profiles/ben/follow")
    for title in ("One", "Two", "Three"):
        await ben.write(title)

    part = await ada.get("/feed", limit=1, offset=1)

    assert (part["total"], [article["slug"] for article in part["articles"]]) == (3, ["two"])


async def test_a_feed_has_no_drafts_until_they_are_published(ada: Visitor, ben: Visitor):
    await ada.send("PUT", "/profiles/ben/follow")
    draft = await ben.write("Winter", is_draft=True)
    assert await ada.slugs("/feed") == []

    await ben.send("PUT", f"/articles/{draft}/publication")

    assert await ada.slugs("/feed") == ["winter"]


async def test_writers_are_listed_by_how_much_they_published(ada: Visitor, ben: Visitor, reader: Visitor):
    assert await reader.get("/writers") == []
    await ada.write("Rivers")
    await ben.write("Winter")
    await ben.write("Spring")
    await ben.write("Secrets", is_draft=True)
    writers = [{"username": "ben", "articles": 2, "favorites": 0}, {"username": "ada", "articles": 1, "favorites": 0}]
    assert await reader.get("/writers") == writers

    await ada.send("PUT", "/articles/winter/favorite")
    await ben.send("PUT", "/articles/winter/favorite")

    assert [writer["favorites"] for writer in await reader.get("/writers")] == [2, 0]
    assert await reader.get("/writers", limit=1, offset=1) == writers[1:]
