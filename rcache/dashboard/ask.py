"""What a request to the dashboard asks for: its parameters, each within bounds, whatever somebody sent."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from rcache.core.tags import TagError, check_tag

MOST_TAGS: Final = 100
"""Tags that one form purges."""

LONGEST_FORM: Final = 128 * 1024
LONGEST_TEXT: Final = 500
LONGEST_NAME: Final = 4000  # of entries, cursors and routes, which are spelled by programs

Fields = list[tuple[str, str]]


class InputError(Exception):
    """What was sent cannot be answered. The text names what is wrong, for whoever typed it."""

    def __init__(self, text: str, *, status: int = 400, title: str = "That cannot be answered") -> None:
        super().__init__(text)
        self.status = status
        self.title = title


def text(request: Request, name: str, longest: int = LONGEST_TEXT) -> str:
    """What a parameter says, without blanks around it; empty where it is absent."""
    value = request.query_params.get(name, "").strip()
    if len(value) > longest:
        raise InputError(f"“{name}” is longer than {longest} characters.")
    return value


def needed(request: Request, name: str) -> str:
    """What a parameter says that must be there; as it stands, since a blank may belong to it."""
    value = request.query_params.get(name, "")
    if not value:
        raise InputError(f"The address lacks “{name}”. Follow a link to get here.")
    if len(value) > LONGEST_NAME:
        raise InputError(f"“{name}” is longer than {LONGEST_NAME} characters.")
    return value


def number(request: Request, name: str) -> int | None:
    """A whole number; None where it is absent."""
    value = text(request, name)
    if not value:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise InputError(f"“{name}” must be a whole number.")
    return int(value)


def chosen(request: Request, name: str, among: tuple[str, ...]) -> str:
    """One of several words, the first of them where none is said."""
    value = text(request, name) or among[0]
    if value not in among:
        raise InputError(f"“{name}” must be one of {', '.join(among)}.")
    return value


def tags(fields: Fields) -> tuple[str, ...]:
    """The tags of a form: each `tag` is one, and each line of `tags`, without blanks around it. InputError names an illegal one."""
    exact = [value for name, value in fields if name == "tag"]
    lines = [line.strip() for name, value in fields if name == "tags" for line in value.split("\n")]
    found = tuple(dict.fromkeys([*exact, *[line for line in lines if line]]))
    if len(found) > MOST_TAGS:
        raise InputError(f"These are {len(found)} tags, and one form purges {MOST_TAGS} at most.")
    try:
        return tuple([check_tag(tag) for tag in found])
    except TagError as error:
        raise InputError(f"{error}.".replace("tag ", "The tag ", 1)) from error


def is_set(fields: Fields, name: str) -> bool:
    """Whether a box was ticked, or a button with a name pressed."""
    return ("yes") in [value for each, value in fields if each == name]


async def form(request: Request) -> Fields:
    """The fields of a form that was sent. InputError where it is none, or longer than any of ours."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise InputError("This address takes the dashboard's own form.", status=415)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LONGEST_FORM:
                raise InputError(f"The form is longer than {LONGEST_FORM // 1024} KiB.", status=413)
    except ClientDisconnect as error:
        raise InputError("The form ended before it was complete.") from error
    try:
        return parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=10 * MOST_TAGS)
    except ValueError as error:
        raise InputError("The form cannot be read.") from error
