"""Users, their sessions, and whom they follow."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from . import views, words
from .asking import COOKIE, Data, Me, Part, Viewer, session_of
from .errors import NotLoggedInError
from .tables import User
from .words import Passwords

router = APIRouter()


@router.post("/users", status_code=201)
async def register(request: Request, data: Data, body: views.Registration) -> views.UserOut:
    hashed = await run_in_threadpool(_passwords(request).hash, body.password)
    return views.user_out(await data.register(body.username, body.email, hashed))


@router.post("/session", status_code=201)
async def log_in(request: Request, response: Response, data: Data, body: views.Credentials) -> views.UserOut:
    """A session for a browser, in a cookie."""
    user, token = await _logged_in(request, data, body, "browser")
    response.set_cookie(COOKIE, token, httponly=True, samesite="lax")
    return views.user_out(user)


@router.post("/tokens", status_code=201)
async def make_token(request: Request, data: Data, body: views.Credentials) -> dict[str, str]:
    """A session for a program, which shows the token as a bearer."""
    return {"token": (await _logged_in(request, data, body, "program"))[1]}


@router.delete("/session", status_code=204)
async def log_out(request: Request, response: Response, data: Data, me: Me) -> None:
    await data.log_out(words.digest(session_of(request)))
    response.delete_cookie(COOKIE)


@router.get("/sessions")
async def list_sessions(request: Request, data: Data, me: Me) -> list[views.LoginOut]:
    return await data.logins(me, words.digest(session_of(request)))


@router.delete("/sessions", status_code=204)
async def log_out_elsewhere(request: Request, data: Data, me: Me) -> None:
    """Ends all sessions but the one that asks."""
    await data.log_out_everywhere(me, but=words.digest(session_of(request)))


@router.get("/user")
async def read_user(me: Me) -> views.UserOut:
    return views.user_out(me)


@router.patch("/user")
async def change_user(request: Request, data: Data, me: Me, body: views.UserChanges) -> views.UserOut:
    changes: dict[str, Any] = body.model_dump(exclude_unset=True)
    # Only a picture can be taken away.
    changes = {name: value for name, value in changes.items() if value is not None or name == "image"}
    if "password" in changes:
        changes["password_hash"] = await run_in_threadpool(_passwords(request).hash, changes.pop("password"))
    return await data.change_user(me, changes)


@router.delete("/user", status_code=204)
async def delete_user(response: Response, data: Data, me: Me) -> None:
    await data.delete_user(me)
    response.delete_cookie(COOKIE)


@router.get("/profiles/{username}")
async def read_profile(data: Data, viewer: Viewer, username: str) -> views.ProfileOut:
    return await data.profile(username, viewer)


@router.put("/profiles/{username}/follow")
async def follow(data: Data, me: Me, username: str) -> views.ProfileOut:
    return await data.follow(username, me)


@router.delete("/profiles/{username}/follow")
async def unfollow(data: Data, me: Me, username: str) -> views.ProfileOut:
    return await data.unfollow(username, me)


@router.get("/profiles/{username}/followers")
async def list_followers(data: Data, viewer: Viewer, username: str, page: Part) -> views.PeopleOut:
    return await data.followers(username, viewer, page)


@router.get("/profiles/{username}/follows")
async def list_followed(data: Data, viewer: Viewer, username: str, page: Part) -> views.PeopleOut:
    return await data.followed(username, viewer, page)


@router.get("/writers")
async def list_writers(data: Data, page: Part) -> list[views.WriterOut]:
    return await data.writers(page)


@router.get("/notifications")
async def list_notifications(data: Data, me: Me, page: Part) -> views.NotificationsOut:
    return await data.notifications(me, is_unread=False, page=page)


@router.get("/notifications/unread")
async def list_unread_notifications(data: Data, me: Me, page: Part) -> views.NotificationsOut:
    return await data.notifications(me, is_unread=True, page=page)


@router.post("/notifications/read", status_code=204)
async def mark_notifications_read(data: Data, me: Me) -> None:
    await data.mark_read(me)


def _passwords(request: Request) -> Passwords:
    passwords: Passwords = request.app.state.passwords
    return passwords


async def _logged_in(request: Request, data: Data, body: views.Credentials, kind: str) -> tuple[User, str]:
    user = await data.user_with_email(body.email)
    if user is None or not await run_in_threadpool(_passwords(request).verify, body.password, user.password_hash):
        raise NotLoggedInError("there is no such user with this password")
    token = words.new_token()
    await data.log_in(user, words.digest(token), kind)
    return user, token
