"""The pages in FastAPI, their endpoints marked with `@cached`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from rcache import cached, invalidate
from tests.http.frameworks import pages

app = FastAPI(openapi_url=None)


@app.get("/items/{name}")
@cached(ttl=60, tags=["item:{name}"])
async def item(name: str, response: Response) -> dict[str, Any]:
    response.headers["ETag"] = pages.etag(name)
    return pages.item(name)


@app.post("/items/{name}")
async def change(name: str, text: Annotated[bytes, Body(media_type="text/plain")]) -> dict[str, str]:
    pages.texts[name] = text.decode()
    await invalidate(f"item:{name}")
    return {"text": pages.texts[name]}


@app.get("/dated/{name}", response_class=PlainTextResponse)
@cached(ttl=60)
def dated(name: str, response: Response) -> str:
    pages.count("dated", name)
    response.headers["Last-Modified"] = pages.MODIFIED
    return "dated"


@app.get("/stream/{name}")
@cached(ttl=60)
async def stream(name: str) -> StreamingResponse:
    pages.count("stream", name)

    async def pieces() -> AsyncIterator[str]:
        for piece in pages.PIECES:
            yield piece

    return StreamingResponse(pieces())


@app.get("/cookie/{name}", response_class=PlainTextResponse)
@cached(ttl=60)
async def cookie(name: str, response: Response) -> str:
    pages.count("cookie", name)
    response.set_cookie("first", "1")
    response.set_cookie("second", "2")
    return "cookie"


@app.get("/missing/{name}")
@cached(ttl=60)
async def missing(name: str) -> None:
    pages.count("missing", name)
    raise HTTPException(404)


@app.get("/large/{name}")
@cached(ttl=60)
async def large(name: str) -> Response:
    pages.count("large", name)
    return Response(pages.LARGE)


@app.get("/text/{name}")
@cached(ttl=60)
def text(name: str, request: Request) -> Response:
    headers = {"ETag": pages.etag(name)}
    if request.headers.get("if-none-match") == pages.etag(name):
        return Response(status_code=304, headers=headers)
    return PlainTextResponse(pages.text(name), headers=headers)


@app.put("/text/{name}", response_class=PlainTextResponse)
async def rewrite(name: str, text: Annotated[bytes, Body(media_type="text/plain")]) -> str:
    pages.texts[name] = text.decode()
    return "written"
