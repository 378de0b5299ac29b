"""Who is who, and who is logged in."""

from __future__ import annotations

import pytest

from .site import PASSWORD, Site, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_new_user_is_told_what_is_known_of_them(site: Site, reader: Visitor):
    user = await reader.register("ada")

    assert {**user, "joined_at": ""} == {
        "username": "ada",
        "email": "ada@example.org",
        "bio": "",
        "image": None,
        "joined_at": "",
    }
    assert user["joined_at"].endswith("Z")


@pytest.mark.parametrize(
    "change",
    [{"username": "a b"}, {"username": "x"}, {"email": "nowhere"}, {"password": "short"}],
    ids=lambda change: next(iter(change)),
)
async def test_a_registration_that_makes_no_sense_is_refused(reader: Visitor, change: dict[str, str]):
    registration = {"username": "ada", "email": "ada@example.org", "password": PASSWORD}

    assert await reader.refused("POST", "/users", registration | change) == 422


async def test_names_and_addresses_are_taken_once(ada: Visitor, reader: Visitor):
    same_name = {"username": "ada", "email": "other@example.org", "password": PASSWORD}
    same_email = {"username": "other", "email": "ADA@example.org", "password": PASSWORD}

    assert await reader.refused("POST", "/users", same_name) == 409
    assert (await reader.ask("POST", "/users", same_email)).json() == {"detail": "the email is taken"}


async def test_a_browser_logs_in_and_out_with_a_cookie(reader: Visitor):
    await reader.register("ada")
    assert await reader.refused("GET", "/user") == 401

    response = await reader.send("POST", "/session", reader.credentials)
    assert "httponly" in response.headers["Set-Cookie"].lower()
    assert (await reader.get("/user"))["username"] == "ada"

    await reader.send("DELETE", "/session")
    assert await reader.refused("GET", "/user") == 401


async def test_a_wrong_password_opens_nothing(ada: Visitor, reader: Visitor):
    for credentials in (
        ada.credentials | {"password": "wrong"},
        ada.credentials | {"email": "nobody@example.org"},
    ):
        assert await reader.refused("POST", "/session", credentials) == 401
        assert await reader.refused("POST", "/tokens", credentials) == 401


async def test_a_token_opens_what_the_cookie_does(ada: Visitor, site: Site):
    token = ada.client.headers["Authorization"].removeprefix("Bearer ")

    assert (await ada.get("/user"))["email"] == "ada@example.org"
    assert (await Visitor(site.client({"Cookie": f"session={token}"})).get("/user"))["email"] == "ada@example.org"


async def test_a_token_counts_before_a_cookie(ada: Visitor, ben: Visitor, site: Site):
    cookie = {"Cookie": "session=" + ada.client.headers["Authorization"].removeprefix("Bearer ")}
    both = Visitor(site.client(cookie | {"Authorization": ben.client.headers["Authorization"]}))

    assert (await both.get("/user"))["username"] == "ben"


async def test_a_made_up_token_opens_nothing_not_even_what_all_may_see(site: Site, ada: Visitor):
    stranger = site.visit("made-up")

    assert await stranger.refused("GET", "/user") == 401
    assert await stranger.refused("GET", "/profiles/ada") == 401


async def test_a_user_sees_their_sessions_and_which_of_them_asks(ada: Visitor, site: Site):
    browser = site.visit()
    await browser.send("POST", "/session", ada.credentials)

    seen_by_program = await ada.get("/sessions")
    seen_by_browser = await browser.get("/sessions")

    assert [(login["kind"], login["is_this"]) for login in seen_by_program] == [("browser", False), ("program", True)]
    assert [(login["kind"], login["is_this"]) for login in seen_by_browser] == [("browser", True), ("program", False)]


async def test_a_user_ends_all_sessions_but_this_one(ada: Visitor, site: Site):
    browser = site.visit()
    await browser.send("POST", "/session", ada.credentials)
    assert (await ada.get("/user"))["username"] == "ada"

    await browser.send("DELETE", "/sessions")

    assert len(await browser.get("/sessions")) == 1
    assert await ada.refused("GET", "/user") == 401


async def test_a_session_that_ended_opens_no_public_page_either(ada: Visitor, reader: Visitor):
    await ada.write("Rivers")
    assert (await ada.get("/articles"))["total"] == 1

    await ada.send("DELETE", "/session")

    assert await ada.refused("GET", "/articles") == 401
    assert (await reader.get("/articles"))["total"] == 1


async def test_a_user_changes_what_is_said_of_them(ada: Visitor, reader: Visitor):
    assert (await reader.get("/profiles/ada"))["bio"] == ""

    changed = (await ada.send("PATCH", "/user", {"bio": "Writes.", "image": "/ada.png"})).json()

    assert (changed["bio"], changed["image"]) == ("Writes.", "/ada.png")
    assert await ada.get("/user") == changed
    assert (await reader.get("/profiles/ada"))["image"] == "/ada.png"


async def test_a_picture_is_taken_away_and_a_bio_stays(ada: Visitor):
    await ada.send("PATCH", "/user", {"bio": "Writes.", "image": "/ada.png"})
    assert (await ada.get("/user"))["image"] == "/ada.png"

    await ada.send("PATCH", "/user", {"bio": None, "image": None})

    user = await ada.get("/user")
    assert (user["bio"], user["image"]) == ("Writes.", None)


async def test_a_user_takes_another_name_and_the_old_one_is_free(ada: Visitor, reader: Visitor):
    await ada.write("Rivers")
    assert (await reader.get("/articles/rivers"))["author"]["username"] == "ada"
    assert await reader.refused("GET", "/profiles/countess") == 404

    await ada.send("PATCH", "/user", {"username": "countess", "email": "countess@example.org"})

    assert (await reader.get("/articles/rivers"))["author"]["username"] == "countess"
    assert (await reader.get("/profiles/countess"))["articles"] == 1
    assert await reader.refused("GET", "/profiles/ada") == 404
    await reader.register("ada")


async def test_a_name_that_another_has_is_not_taken_over(ada: Visitor, ben: Visitor):
    assert await ada.refused("PATCH", "/user", {"username": "ben"}) == 409
    assert await ada.refused("PATCH", "/user", {"email": "ben@example.org"}) == 409
    assert (await ada.get("/user"))["username"] == "ada"
    await ada.send("PATCH", "/user", {"username": "ada"})


async def test_a_new_password_opens_and_the_old_does_not(ada: Visitor, reader: Visitor):
    await ada.send("PATCH", "/user", {"password": "another one"})

    assert await reader.refused("POST", "/session", ada.credentials) == 401
    await reader.send("POST", "/session", ada.credentials | {"password": "another one"})


async def test_who_leaves_takes_everything_along(ada: Visitor, ben: Visitor, reader: Visitor):
    await ada.write("Rivers", "water")
    kept = await ben.write("Winter", "cold")
    await ada.comment(kept, "Brr.")
    await ada.send("PUT", f"/articles/{kept}/favorite")
    await ada.send("PUT", "/profiles/ben/follow")
    before = await reader.get(f"/articles/{kept}")
    assert (before["favorites"], before["comments"]) == (1, 1)
    assert (await reader.get("/profiles/ben"))["followers"] == 1
    assert len(await reader.get("/tags")) == 2

    await ada.send("DELETE", "/user")

    assert await ada.refused("GET", "/user") == 401
    assert await reader.refused("GET", "/profiles/ada") == 404
    assert await reader.refused("GET", "/articles/rivers") == 404
    assert await reader.slugs("/articles") == [kept]
    after = await reader.get(f"/articles/{kept}")
    assert (after["favorites"], after["comments"]) == (0, 0)
    assert (await reader.get(f"/articles/{kept}/comments"))["comments"] == []
    assert (await reader.get("/profiles/ben"))["followers"] == 0
    assert [tag["name"] for tag in await reader.get("/tags")] == ["cold"]


@pytest.mark.parametrize("path", ["/user", "/sessions", "/feed", "/drafts", "/notifications", "/notifications/unread"])
async def test_what_is_somebodys_own_needs_a_session(reader: Visitor, path: str):
    assert await reader.refused("GET", path) == 401
