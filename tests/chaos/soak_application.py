"""The application of the soak: items that are written all the time, pages nobody asks for twice, variants, and a plain route."""

import asyncio
import gc
import os
import resource
import threading
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from rcache import Cache, CacheMiddleware, cached, invalidate, invalidate_sync, tag
from rcache.engine import renewals

TTL = float(os.environ["SOAK_TTL"])
renewals.IDLE = float(os.environ["SOAK_IDLE"])  # type: ignore[misc]
FILLING = "x" * 1500

cache = Cache(
    namespace="soak",
    near=os.environ["SOAK_NEAR"] or None,  # type: ignore[arg-type]
    near_bytes="1MiB",
    max_marks=5_000,
    deadline=1.0,
)


@cached(ttl=TTL, tags=["item:{item}", "item"])
async def item(request: Request) -> PlainTextResponse:
    await asyncio.sleep(0.002)
    return PlainTextResponse(f"{request.path_params['item']} {FILLING}")


@cached(ttl=TTL, tags=["page:{page}"])
def page(request: Request) -> PlainTextResponse:
    tag(f"item:{request.path_params['page'] % 500}")
    return PlainTextResponse(f"{request.path_params['page']} {FILLING}")


@cached(ttl=TTL, tags=["item:{item}"], vary=["accept-language"])
async def word(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.headers.get("accept-language", ""), headers={"vary": "accept-language"})


async def plain(request: Request) -> PlainTextResponse:
    return PlainTextResponse(FILLING)


async def change(request: Request) -> PlainTextResponse:
    number = request.path_params["item"]
    if number % 4 == 0:
        async with cache.writing(f"item:{number}"):
            await asyncio.sleep(0.001)
    elif number % 4 == 1:
        try:
            async with cache.writing(f"item:{number}") as write:
                await write.add(f"page:{number}")
                raise LookupError("rolled back")
        except LookupError:
            pass
    elif number % 4 == 2:
        await invalidate(f"item:{number}")
    else:
        await asyncio.to_thread(invalidate_sync, f"item:{number}", f"page:{number}")
    return PlainTextResponse("changed")


async def vitals(request: Request) -> JSONResponse:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    descriptors = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if _is_open(name)]
    return JSONResponse(
        {
            "rss": pages * resource.getpagesize(),
            "tasks": len(asyncio.all_tasks()),
            "threads": sorted(thread.name.rpartition("_")[0] or thread.name for thread in threading.enumerate()),
            "descriptors": sum(1 for name in descriptors if not name.startswith("socket:")),
            "near_entries": len(cache.store.near) if hasattr(cache.store, "near") else 0,
            "waiting": len(cache.journal.waiting),
        }
    )


def _is_open(name: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{name}")


@asynccontextmanager
async def lifespan(_: Starlette):
    yield
    await cache.close()


app = Starlette(
    routes=[
        Route("/items/{item:int}", item),
        Route("/items/{item:int}", change, methods=["PUT"]),
        Route("/pages/{page:int}", page),
        Route("/words/{item:int}", word),
        Route("/plain", plain),
        Route("/vitals", vitals),
    ],
    lifespan=lifespan,
)
app.add_middleware(CacheMiddleware, cache=cache)
