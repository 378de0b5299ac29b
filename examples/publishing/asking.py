"""Who asks, and what is at hand to answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Query, Request

from . import words
from .async_data import AsyncData
from .errors import NotLoggedInError
from .tables import User
from .views import Filters, Page

COOKIE = "session"
"""The cookie that a browser's session has."""


def session_of(request: Request) -> str:
    """The token that the request shows, as a bearer or in a cookie; empty where it shows none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else request.cookies.get(COOKIE, "")


async def open_data(request: Request) -> AsyncIterator[AsyncData]:
    """The data layer, for as long as the request lasts."""
    async with request.app.state.database.data() as data:
        yield data


Data = Annotated[AsyncData, Depends(open_data)]


async def find_viewer(request: Request, data: Data) -> User | None:
    """Who is logged in; None where the request does not say. Raises NotLoggedInError where what it says is not so."""
    token = session_of(request)
    if not token:
        return None
    user = await data.logged_in(words.digest(token))
    if user is None:
        raise NotLoggedInError("the session is over")
    return user


Viewer = Annotated[User | None, Depends(find_viewer)]


async def require_viewer(viewer: Viewer) -> User:
    """Who is logged in. Raises NotLoggedInError where nobody is."""
    if viewer is None:
        raise NotLoggedInError("log in first")
    return viewer


Me = Annotated[User, Depends(require_viewer)]
Part = Annotated[Page, Query()]
Wanted = Annotated[Filters, Query()]
