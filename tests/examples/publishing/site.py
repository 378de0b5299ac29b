"""The site as its visitors know it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncEngine

from examples.publishing.app import create_app
from examples.publishing.tables import Tag, User
from examples.publishing.words import Passwords
from rcache import Cache

PASSWORD = "a password"


class Site:
    """An application that answers, without a server between."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.engine = app.state.database.engine
        self.transport: httpx.AsyncBaseTransport = httpx.ASGITransport(app)
        self.truth: Site | None = None
        """The same without a cache, where it has one."""

    @classmethod
    async def open(cls, url: str, cache: Cache | None = None) -> Site:
        """A site on the database, with its tables."""
        site = cls(create_app(url, cache=cache, passwords=Passwords(cost=2)))
        await site.app.state.database.open(is_seeded=False)
        return site

    async def close(self) -> None:
        """Its connections are closed."""
        await self.app.state.database.close()

    async def empty(self) -> None:
        """Nobody is there, and nothing."""
        statements = delete(User), delete(Tag)  # all else goes with the users
        if isinstance(self.engine, AsyncEngine):
            async with self.engine.begin() as connection:
                for statement in statements:
                    await connection.execute(statement)
        else:
            with self.engine.begin() as connection:
                for statement in statements:
                    connection.execute(statement)

    def client(self, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
        """Somebody's browser or program."""
        return httpx.AsyncClient(transport=self.transport, base_url="http://publishing", headers=headers)

    def visit(self, token: str | None = None) -> Visitor:
        """Somebody who has this token, or nobody in particular."""
        return Visitor(self.client({} if token is None else {"Authorization": f"Bearer {token}"}))

    async def join(self, username: str) -> Visitor:
        """Somebody new, logged in as a program is."""
        visitor = self.visit()
        await visitor.register(username)
        token = (await visitor.send("POST", "/tokens", visitor.credentials)).json()["token"]
        visitor.client.headers["Authorization"] = f"Bearer {token}"
        return visitor


class Visitor:
    """Somebody who reads and writes."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.username = ""

    @property
    def credentials(self) -> dict[str, str]:
        """What they log in with."""
        return {"email": f"{self.username}@example.org", "password": PASSWORD}

    async def ask(self, method: str, path: str, body: Any = None, **params: Any) -> httpx.Response:
        """The answer, whatever it is."""
        return await self.client.request(method, path, json=body, params=params or None)

    async def refused(self, method: str, path: str, body: Any = None, **params: Any) -> int:
        """The status of an answer that is an error."""
        response = await self.ask(method, path, body, **params)
        assert response.is_client_error, f"{method} {path} was answered with {response.status_code}"
        return response.status_code

    async def get(self, path: str, **params: Any) -> Any:
        """What a GET is answered with, which succeeds."""
        response = await self.ask("GET", path, **params)
        assert response.status_code == 200, f"GET {path} was answered with {response.status_code}: {response.text}"
        return response.json()

    async def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """The answer to a request that changes something, which succeeds."""
        response = await self.ask(method, path, body)
        assert response.is_success, f"{method} {path} was answered with {response.status_code}: {response.text}"
        return response

    async def register(self, username: str) -> dict[str, Any]:
        """They are a user from now on."""
        self.username = username
        response = await self.send("POST", "/users", {"username": username, **self.credentials})
        registered: dict[str, Any] = response.json()
        return registered

    async def write(self, title: str, *tags: str, is_draft: bool = False) -> str:
        """The slug of a new article."""
        article = {"title": title, "description": f"{title}, in brief", "body": f"{title}.", "tags": tags}
        slug: str = (await self.send("POST", "/articles", article | {"is_draft": is_draft})).json()["slug"]
        return slug

    async def comment(self, slug: str, body: str) -> int:
        """The id of a new comment."""
        number: int = (await self.send("POST", f"/articles/{slug}/comments", {"body": body})).json()["id"]
        return number

    async def slugs(self, path: str, **params: Any) -> list[str]:
        """Those of the articles of a list."""
        return [article["slug"] for article in (await self.get(path, **params))["articles"]]
