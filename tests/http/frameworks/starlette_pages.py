"""The pages in Starlette, their endpoints marked with `@cached`."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from rcache import cached, invalidate
from tests.http.frameworks import pages


@cached(ttl=60, tags=["item:{name}"])
async def item(request: Request) -> Response:
    name = request.path_params["name"]
    return JSONResponse(pages.item(name), headers={"ETag": pages.etag(name)})


async def change(request: Request) -> Response:
    name = request.path_params["name"]
    pages.texts[name] = (await request.body()).decode()
    await invalidate(f"item:{name}")
    return JSONResponse({"text": pages.texts[name]})


@cached(ttl=60)
def dated(request: Request) -> Response:
    pages.count("dated", request.path_params["name"])
    return PlainTextResponse("dated", headers={"Last-Modified": pages.MODIFIED})


@cached(ttl=60)
async def stream(request: Request) -> Response:
    pages.count("stream", request.path_params["name"])

    async def pieces() -> AsyncIterator[str]:
        for piece in pages.PIECES:
            yield piece

    return StreamingResponse(pieces())


@cached(ttl=60)
async def cookie(request: Request) -> Response:
    pages.count("cookie", request.path_params["name"])
    response = PlainTextResponse("cookie")
    response.set_cookie("first", "1")
    response.set_cookie("second", "2")
    return response


@cached(ttl=60)
async def missing(request: Request) -> Response:
    pages.count("missing", request.path_params["name"])
    raise HTTPException(404)


@cached(ttl=60)
async def large(request: Request) -> Response:
    pages.count("large", request.path_params["name"])
    return Response(pages.LARGE)


@cached(ttl=60)
async def text(request: Request) -> Response:
    name = request.path_params["name"]
    headers = {"ETag": pages.etag(name)}
    if request.headers.get("if-none-match") == pages.etag(name):
        return Response(status_code=304, headers=headers)
    return PlainTextResponse(pages.text(name), headers=headers)


async def rewrite(request: Request) -> Response:
    pages.texts[request.path_params["name"]] = (await request.body()).decode()
    return PlainTextResponse("written")


app = Starlette(
    routes=[
        Route("/items/{name}", item),
        Route("/items/{name}", change, methods=["POST"]),
        Route("/dated/{name}", dated),
        Route("/stream/{name}", stream),
        Route("/cookie/{name}", cookie),
        Route("/missing/{name}", missing),
        Route("/large/{name}", large),
        Route("/text/{name}", text),
        Route("/text/{name}", rewrite, methods=["PUT"]),
    ]
)
