"""The pages in Litestar; rules are given to the middleware."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from litestar import Litestar, MediaType, Request, Response, get, post, put
from litestar.datastructures import Cookie
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.response import Stream

from rcache import invalidate
from tests.http.frameworks import pages


@get("/items/{name:str}")
async def item(name: FromPath[str]) -> Response[dict[str, Any]]:
    return Response(pages.item(name), headers={"ETag": pages.etag(name)})


@post("/items/{name:str}", status_code=200)
async def change(name: FromPath[str], request: Request[Any, Any, Any]) -> dict[str, str]:
    pages.texts[name] = (await request.body()).decode()
    await invalidate(f"item:{name}")
    return {"text": pages.texts[name]}


@get("/dated/{name:str}", sync_to_thread=True)
def dated(name: FromPath[str]) -> Response[str]:
    pages.count("dated", name)
    return Response("dated", headers={"Last-Modified": pages.MODIFIED}, media_type=MediaType.TEXT)


@get("/stream/{name:str}")
async def stream(name: FromPath[str]) -> Stream:
    pages.count("stream", name)

    async def pieces() -> AsyncIterator[str]:
        for piece in pages.PIECES:
            yield piece

    return Stream(pieces())


@get("/cookie/{name:str}")
async def cookie(name: FromPath[str]) -> Response[str]:
    pages.count("cookie", name)
    cookies = [Cookie(key="first", value="1"), Cookie(key="second", value="2")]
    return Response("cookie", cookies=cookies, media_type=MediaType.TEXT)


@get("/missing/{name:str}")
async def missing(name: FromPath[str]) -> None:
    pages.count("missing", name)
    raise NotFoundException


@get("/large/{name:str}")
async def large(name: FromPath[str]) -> Response[bytes]:
    pages.count("large", name)
    return Response(pages.LARGE, media_type="application/octet-stream")


@get("/text/{name:str}")
async def text(name: FromPath[str], request: Request[Any, Any, Any]) -> Response[str]:
    headers = {"ETag": pages.etag(name)}
    if request.headers.get("if-none-match") == pages.etag(name):
        return Response("", status_code=304, headers=headers)
    return Response(pages.text(name), headers=headers, media_type=MediaType.TEXT)


@put("/text/{name:str}", media_type=MediaType.TEXT)
async def rewrite(name: FromPath[str], request: Request[Any, Any, Any]) -> str:
    pages.texts[name] = (await request.body()).decode()
    return "written"


app = Litestar(
    [item, change, dated, stream, cookie, missing, large, text, rewrite], openapi_config=None, logging_config=None
)
