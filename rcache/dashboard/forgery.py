"""Protection of forms against requests that another site makes a browser send.

Two things must hold, either of which would do. The browser itself says where the form stands (Sec-Fetch-Site, or Origin
where the page is not on https). And the form carries a digest that only a page of ours can have made: of a random value in a
cookie (SameSite=Strict, out of the reach of scripts), of the host and of the place we are mounted at. No secret is kept, so
that a form may be shown by one node and sent to another.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from rcache.dashboard.ask import Fields, InputError

_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_REMEDY: Final = "Nothing was purged. Go back, load the page anew and try once more."


def cookie_name(request: Request) -> str:
    """On https a name that no other host and no plain connection can set (RFC 6265bis §4.1.3.2)."""
    return "__Host-rcache-dashboard" if request.url.scheme == "https" else "rcache-dashboard"


def value_of(request: Request) -> str:
    """The random value of this browser, new where it has none."""
    value = request.cookies.get(cookie_name(request), "")
    return value if _VALUE.fullmatch(value) else secrets.token_urlsafe(32)


def remember(request: Request, response: Response, value: str) -> None:
    """The browser keeps the value until it is closed."""
    is_https = request.url.scheme == "https"
    response.set_cookie(cookie_name(request), value, path="/", secure=is_https, httponly=True, samesite="strict")


def token(request: Request, value: str) -> str:
    """What a form carries."""
    place = f"{request.headers.get('host', '')}\0{request.scope.get('root_path', '')}"
    return hmac.new(value.encode(), place.encode(), "sha256").hexdigest()


def check(request: Request, fields: Fields) -> None:
    """Raises InputError where the form was not sent from a page of ours."""
    if not is_from_here(request):
        raise InputError(
            f"The form was not sent from this site. {_REMEDY} Behind a proxy, let it pass the Host field on.",
            status=403,
            title="Refused",
        )
    value = request.cookies.get(cookie_name(request), "")
    sent = dict(fields).get("token", "")
    if not _VALUE.fullmatch(value) or not hmac.compare_digest(token(request, value).encode(), sent.encode()):
        raise InputError(f"The form is not one that was shown to this browser. {_REMEDY}", status=403, title="Refused")


def is_from_here(request: Request) -> bool:
    """Whether the browser says that a page of this very origin sends the request."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    # The scheme is left out: behind a proxy that ends TLS we do not know the one that the browser sees.
    origin = urlsplit_host(request.headers.get("origin", ""))
    return bool(origin) and origin == request.headers.get("host", "").lower()


def urlsplit_host(origin: str) -> str:
    """Host and port of an origin; empty where it is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
