"""What is said of articles, and what users are told."""

from __future__ import annotations

import pytest

from .site import Site, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_comments_are_there_for_everybody_the_oldest_first(ada: Visitor, ben: Visitor, reader: Visitor):
    slug = await ada.write("Rivers")
    assert await reader.get(f"/articles/{slug}/comments") == {"total": 0, "comments": []}

    made = (await ben.send("POST", f"/articles/{slug}/comments", {"body": " They do. "})).json()
    await ada.comment(slug, "Don't they?")

    shown = await reader.get(f"/articles/{slug}/comments")
    assert shown["total"] == 2
    assert shown["comments"][0] == made
    assert [comment["body"] for comment in shown["comments"]] == ["They do.", "Don't they?"]
    assert made["author"] == {"username": "ben", "bio": "", "image": None, "following": False}


async def test_an_article_counts_its_comments(ada: Visitor, ben: Visitor, reader: Visitor):
    slug = await ada.write("Rivers")
    assert (await reader.get(f"/articles/{slug}"))["comments"] == 0

    number = await ben.comment(slug, "They do.")
    assert (await reader.get(f"/articles/{slug}"))["comments"] == 1

    await ben.send("DELETE", f"/articles/{slug}/comments/{number}")
    assert (await reader.get(f"/articles/{slug}"))["comments"] == 0


async def test_comments_come_in_parts(ada: Visitor, reader: Visitor):
    slug = await ada.write("Rivers")
    for number in range(3):
        await ada.comment(slug, str(number))

    part = await reader.get(f"/articles/{slug}/comments", limit=1, offset=1)

    assert (part["total"], [comment["body"] for comment in part["comments"]]) == (3, ["1"])


async def test_comments_of_one_article_are_not_those_of_another(ada: Visitor, reader: Visitor):
    rivers, seas = await ada.write("Rivers"), await ada.write("Seas")
    number = await ada.comment(rivers, "They flow.")

    assert (await reader.get(f"/articles/{seas}/comments"))["total"] == 0
    assert await ada.refused("DELETE", f"/articles/{seas}/comments/{number}") == 404


async def test_only_users_comment_and_only_what_is_there(ada: Visitor, reader: Visitor):
    slug = await ada.write("Rivers")

    assert await reader.refused("POST", f"/articles/{slug}/comments", {"body": "Hm."}) == 401
    assert await ada.refused("POST", "/articles/none/comments", {"body": "Hm."}) == 404
    assert await ada.refused("POST", f"/articles/{slug}/comments", {"body": ""}) == 422


async def test_a_comment_is_changed_by_who_wrote_it(ada: Visitor, ben: Visitor, reader: Visitor):
    slug = await ada.write("Rivers")
    number = await ben.comment(slug, "They do.")
    assert (await reader.get(f"/articles/{slug}/comments"))["comments"][0]["body"] == "They do."

    await ben.send("PATCH", f"/articles/{slug}/comments/{number}", {"body": "They do not."})

    assert (await reader.get(f"/articles/{slug}/comments"))["comments"][0]["body"] == "They do not."
    assert await ada.refused("PATCH", f"/articles/{slug}/comments/{number}", {"body": "Yes."}) == 403


async def test_a_comment_is_deleted_by_its_author_and_the_articles(site: Site, ada: Visitor, ben: Visitor):
    cleo = await site.join("cleo")
    slug = await ada.write("Rivers")
    first, second = await ben.comment(slug, "One."), await ben.comment(slug, "Two.")
    assert (await cleo.get(f"/articles/{slug}/comments"))["total"] == 2

    assert await cleo.refused("DELETE", f"/articles/{slug}/comments/{first}") == 403
    await ben.send("DELETE", f"/articles/{slug}/comments/{first}")
    await ada.send("DELETE", f"/articles/{slug}/comments/{second}")

    assert (await cleo.get(f"/articles/{slug}/comments"))["total"] == 0


async def test_a_comment_says_whether_the_viewer_follows_who_wrote_it(ada: Visitor, ben: Visitor, reader: Visitor):
    slug = await ada.write("Rivers")
    await ben.comment(slug, "They do.")
    assert (await ada.get(f"/articles/{slug}/comments"))["comments"][0]["author"]["following"] is False

    await ada.send("PUT", "/profiles/ben/follow")

    assert (await ada.get(f"/articles/{slug}/comments"))["comments"][0]["author"]["following"] is True
    assert (await reader.get(f"/articles/{slug}/comments"))["comments"][0]["author"]["following"] is False


async def test_comments_show_who_wrote_them_as_they_are_now(ada: Visitor, ben: Visitor, reader: Visitor):
    slug = await ada.write("Rivers")
    await ben.comment(slug, "They do.")
    assert (await reader.get(f"/articles/{slug}/comments"))["comments"][0]["author"]["username"] == "ben"

    await ben.send("PATCH", "/user", {"username": "benjamin"})

    assert (await reader.get(f"/articles/{slug}/comments"))["comments"][0]["author"]["username"] == "benjamin"


async def test_comments_go_with_who_wrote_them(ada: Visitor, ben: Visitor, reader: Visitor):
    slug = await ada.write("Rivers")
    await ben.comment(slug, "They do.")
    assert (await reader.get(f"/articles/{slug}/comments"))["total"] == 1

    await ben.send("DELETE", "/user")

    assert await reader.get(f"/articles/{slug}/comments") == {"total": 0, "comments": []}


async def test_a_user_is_told_of_followers_and_comments(ada: Visitor, ben: Visitor):
    slug = await ada.write("Rivers")
    assert await ada.get("/notifications") == {"total": 0, "unread": 0, "notifications": []}

    await ben.send("PUT", "/profiles/ada/follow")
    await ben.comment(slug, "They do.")
    await ada.comment(slug, "Don't they?")

    told = await ada.get("/notifications")
    assert (told["total"], told["unread"]) == (2, 2)
    assert [(one["kind"], one["actor"], one["article"]) for one in told["notifications"]] == [
        ("commented", "ben", slug),
        ("followed", "ben", None),
    ]
    assert (await ben.get("/notifications"))["total"] == 0


async def test_followers_are_told_what_is_published(site: Site, ada: Visitor, ben: Visitor):
    cleo = await site.join("cleo")
    await ben.send("PUT", "/profiles/ada/follow")
    await cleo.send("PUT", "/profiles/ben/follow")
    draft = await ada.write("Secrets", is_draft=True)
    assert (await ben.get("/notifications"))["unread"] == 1

    await ada.write("Rivers")
    await ada.send("PUT", f"/articles/{draft}/publication")

    told = await ben.get("/notifications")
    assert [(one["kind"], one["article"]) for one in told["notifications"]] == [
        ("published", "secrets"),
        ("published", "rivers"),
        ("followed", None),
    ]
    assert (await cleo.get("/notifications"))["total"] == 0


async def test_what_was_read_is_not_unread(ada: Visitor, ben: Visitor):
    await ben.send("PUT", "/profiles/ada/follow")
    await ada.send("PUT", "/profiles/ben/follow")
    assert (await ada.get("/notifications/unread"))["total"] == 1

    await ada.send("POST", "/notifications/read")

    assert await ada.get("/notifications/unread") == {"total": 0, "unread": 0, "notifications": []}
    told = await ada.get("/notifications")
    assert (told["total"], told["unread"], told["notifications"][0]["is_read"]) == (1, 0, True)
    assert (await ben.get("/notifications"))["unread"] == 1

    await ben.comment(await ada.write("Rivers"), "They do.")
    told = await ada.get("/notifications/unread")
    assert (told["total"], told["notifications"][0]["kind"]) == (1, "commented")


async def test_notifications_come_in_parts(ada: Visitor, ben: Visitor):
    slug = await ada.write("Rivers")
    for body in ("One.", "Two.", "Three."):
        await ben.comment(slug, body)

    told = await ada.get("/notifications", limit=2, offset=2)

    assert (told["total"], told["unread"], len(told["notifications"])) == (3, 3, 1)


async def test_a_notification_follows_the_names_in_it(ada: Visitor, ben: Visitor):
    slug = await ada.write("Rivers")
    await ben.comment(slug, "They do.")
    assert (await ada.get("/notifications"))["notifications"][0]["actor"] == "ben"

    await ben.send("PATCH", "/user", {"username": "benjamin"})
    await ada.send("PATCH", f"/articles/{slug}", {"title": "Seas"})

    (told,) = (await ada.get("/notifications"))["notifications"]
    assert (told["actor"], told["article"]) == ("benjamin", "seas")


async def test_notifications_go_with_what_they_tell_of(ada: Visitor, ben: Visitor):
    await ben.comment(await ada.write("Rivers"), "They do.")
    await ben.send("PUT", "/profiles/ada/follow")
    assert (await ada.get("/notifications"))["total"] == 2

    await ada.send("DELETE", "/articles/rivers")
    assert [one["kind"] for one in (await ada.get("/notifications"))["notifications"]] == ["followed"]

    await ben.send("DELETE", "/user")
    assert (await ada.get("/notifications"))["total"] == 0
