"""What the site's cache does for it, and what it never does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

import httpx
import pytest
import pytest_asyncio

from .conftest import DRIVERS
from .site import Site, Visitor
from .twice import is_hit

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("shared_site", [f"{driver} cached" for driver in DRIVERS], indirect=True, scope="module"),
]

PUBLIC = (
    "/articles",
    "/articles?limit=1&offset=1",
    "/articles?tag=water",
    "/articles?author=ada",
    "/articles?favorited=ben",
    "/articles?q=sea",
    "/articles/rivers",
    "/articles/seas",
    "/articles/rivers/comments",
    "/articles/seas/comments",
    "/profiles/ada",
    "/profiles/ben",
    "/profiles/ada/followers",
    "/profiles/ben/follows",
    "/tags",
    "/writers",
)
OWN = ("/user", "/sessions", "/feed", "/drafts", "/notifications", "/notifications/unread")

Write = Callable[[Visitor, Visitor], Awaitable[object]]


@pytest_asyncio.fixture(loop_scope="module")
async def site(shared_site: Site) -> Site:
    """A site where nobody is yet, asked once for everything."""
    await shared_site.empty()
    shared_site.transport = httpx.ASGITransport(shared_site.app)
    return shared_site


@pytest_asyncio.fixture(loop_scope="module")
async def written(ada: Visitor, ben: Visitor) -> None:
    """Something of everything."""
    await ada.write("Rivers", "water", "slow")
    await ben.write("Seas", "water")
    await ben.write("Secrets", is_draft=True)
    await ben.send("PUT", "/profiles/ada/follow")
    for slug in ("rivers", "seas"):
        await ben.send("PUT", f"/articles/{slug}/favorite")
    await ben.comment("rivers", "They do.")
    await ada.comment("seas", "So they say.")


async def hit(visitor: Visitor, path: str) -> bool:
    response = await visitor.ask("GET", path)
    assert response.status_code == 200, path
    return is_hit(response)


async def test_whatever_there_is_to_read_is_a_hit_the_second_time(
    site: Site, written: None, ada: Visitor, reader: Visitor
):
    browser = site.visit()
    await browser.send("POST", "/session", ada.credentials)

    for visitor, paths in ((reader, PUBLIC), (ada, PUBLIC + OWN), (browser, PUBLIC + OWN)):
        first = [path for path in paths if await hit(visitor, path)]
        second = [path for path in paths if not await hit(visitor, path)]
        assert (first, second) == ([], [])


async def test_each_session_has_answers_of_its_own(written: None, ada: Visitor, ben: Visitor, reader: Visitor):
    seen = [[(await visitor.ask("GET", "/articles/seas")).json() for _ in range(2)] for visitor in (ada, ben, reader)]

    assert [first == second for first, second in seen] == [True] * 3
    assert [first["favorited"] for first, _ in seen] == [False, True, False]


async def edit_seas(ada: Visitor, ben: Visitor) -> None:
    await ben.send("PATCH", "/articles/seas", {"body": "They rise."})


async def comment_on_seas(ada: Visitor, ben: Visitor) -> None:
    await ben.comment("seas", "They rise.")


async def introduce_ben(ada: Visitor, ben: Visitor) -> None:
    await ben.send("PATCH", "/user", {"bio": "Reads."})


async def read_notifications(ada: Visitor, ben: Visitor) -> None:
    await ada.send("POST", "/notifications/read")


async def log_in_again(ada: Visitor, ben: Visitor) -> None:
    await ben.send("POST", "/tokens", ben.credentials)


async def register_somebody(ada: Visitor, ben: Visitor) -> None:
    body = {"username": "cleo", "email": "cleo@example.org", "password": "a password"}
    await ben.send("POST", "/users", body)


async def do_nothing_new(ada: Visitor, ben: Visitor) -> None:
    assert await ada.refused("PATCH", "/articles/seas", {"body": "Mine."}) == 403


@pytest.mark.parametrize(
    ("write", "changed", "kept"),
    [
        (edit_seas, ["/articles/seas"], ["/articles/rivers", "/articles/rivers/comments", "/profiles/ada", "/user"]),
        (
            comment_on_seas,
            ["/articles/seas", "/articles/seas/comments"],
            ["/tags", "/profiles/ada", "/user", "/articles/rivers/comments"],
        ),
        (introduce_ben, ["/profiles/ben", "/articles"], ["/tags", "/sessions", "/articles/rivers", "/profiles/ada"]),
        (read_notifications, ["/notifications"], [*PUBLIC, "/user", "/sessions", "/feed", "/drafts"]),
        (log_in_again, [], [*PUBLIC, *OWN]),
        (register_somebody, [], [*OWN, "/articles/rivers", "/articles/seas", "/tags"]),
        (do_nothing_new, [], [*PUBLIC, *OWN]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_write_flushes_what_shows_it_and_leaves_the_rest(
    written: None, ada: Visitor, ben: Visitor, write: Write, changed: list[str], kept: list[str]
):
    before = {path: (await ada.ask("GET", path)).text for path in (*changed, *kept)}

    await write(ada, ben)

    flushed = [path for path in kept if not await hit(ada, path)]
    same = [path for path in changed if (await ada.ask("GET", path)).text == before[path]]
    assert (flushed, same) == ([], [])


async def test_one_users_notifications_are_kept_while_another_reads_theirs(written: None, ada: Visitor, ben: Visitor):
    await ada.send("PUT", "/profiles/ben/follow")
    assert not await hit(ben, "/notifications")

    await ada.send("POST", "/notifications/read")

    assert await hit(ben, "/notifications")


class Walk:
    """People who do whatever comes to their mind."""

    def __init__(self, seed: int, people: list[Visitor], reader: Visitor) -> None:
        self.random = Random(seed)
        self.people = people
        self.reader = reader
        self.titles = ["Rivers", "Seas", "Lakes"]

    @property
    def pages(self) -> list[str]:
        """What there may be to read."""
        articles = [f"/articles/{title.lower()}" for title in self.titles]
        return [*PUBLIC, *OWN, *articles, *(f"{article}/comments" for article in articles)]

    async def step(self) -> None:
        """Somebody does something, or is refused."""
        who, other = self.random.sample(self.people, 2)
        article = f"/articles/{self.random.choice(self.titles).lower()}"
        word = self.random.choice(("water", "slow", "deep"))
        texts = {"description": word, "body": word}
        new = texts | {"title": self.random.choice(self.titles), "tags": [word], "is_draft": self.random.random() < 0.3}
        comments = (await self.reader.ask("GET", f"{article}/comments")).json().get("comments", [{"id": 0}])
        comment = f"{article}/comments/{self.random.choice(comments or [{'id': 0}])['id']}"
        steps = [
            *[("POST", "/articles", new), ("PATCH", article, {"tags": [word], "body": word})] * 2,
            ("DELETE", article, None),
            ("PUT", f"{article}/publication", None),
            ("DELETE", f"{article}/publication", None),
            *[("PUT", f"{article}/favorite", None), ("DELETE", f"{article}/favorite", None)] * 2,
            *[("POST", f"{article}/comments", {"body": word})] * 2,
            ("PATCH", comment, {"body": word}),
            ("DELETE", comment, None),
            ("PUT", f"/profiles/{other.username}/follow", None),
            ("DELETE", f"/profiles/{other.username}/follow", None),
            ("PATCH", "/user", {"bio": f"{word} {self.random.random()}"}),
            ("POST", "/notifications/read", None),
            ("POST", "/tokens", who.credentials),
            ("DELETE", "/sessions", None),
        ]
        response = await who.ask(*self.random.choice(steps))
        assert response.status_code < 500

    async def looks(self) -> list[tuple[Visitor, str]]:
        """Whom to show what."""
        return [(self.random.choice([*self.people, self.reader]), self.random.choice(self.pages)) for _ in range(8)]


@pytest.mark.parametrize(
    ("seed", "steps"), [(1, 20), *(pytest.param(seed, 400, marks=pytest.mark.long) for seed in range(2, 12))]
)
async def test_whatever_people_do_they_see_what_is_so(
    site: Site, written: None, ada: Visitor, ben: Visitor, reader: Visitor, seed: int, steps: int
):
    """Random writes; after each of them random pages are what they are without a cache."""
    assert site.truth is not None
    walk, hits = Walk(seed, [ada, ben, await site.join("cleo")], reader), 0
    for _ in range(steps):
        await walk.step()
        for visitor, path in await walk.looks():
            response = await visitor.ask("GET", path)
            asked = httpx.Request("GET", f"http://publishing{path}", headers=visitor.client.headers)
            real = await site.truth.transport.handle_async_request(asked)
            await real.aread()
            assert (response.status_code, response.text) == (real.status_code, real.text), path
            hits += is_hit(response)
    assert hits > steps
