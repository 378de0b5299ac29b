"""Starlette: one endpoint that is decorated, and one that a rule caches from outside.

uvicorn examples.starlette_app:app
curl -i http://127.0.0.1:8000/articles/1
curl -i http://127.0.0.1:8000/reports/2026
curl -X PUT -d 'Rewritten.' http://127.0.0.1:8000/articles/1     # flushes both: the report quotes it
"""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from rcache import Cache, CacheMiddleware, Rule, cached, invalidate, tag

articles = {1: "How to boil water.", 2: "How to pour it."}


@cached(ttl="1h", tags=["article:{article_id}"])
async def read_article(request: Request) -> PlainTextResponse:
    """The tag is filled from the route's own converter: /articles/01 carries `article:1` as well."""
    article_id = request.path_params["article_id"]
    if article_id not in articles:
        raise HTTPException(404)
    return PlainTextResponse(articles[article_id])


async def read_report(request: Request) -> PlainTextResponse:
    """Which articles it depends on is known only here, so it says so here."""
    tag(*[f"article:{article_id}" for article_id in articles])
    length = sum(map(len, articles.values()))
    return PlainTextResponse(f"{request.path_params['year']}: {len(articles)} articles, {length} characters\n")


async def write_article(request: Request) -> PlainTextResponse:
    """Takes the new text as its body."""
    article_id = request.path_params["article_id"]
    articles[article_id] = (await request.body()).decode()
    await invalidate(f"article:{article_id}")
    return PlainTextResponse("written\n")


cache = Cache()
rules = [Rule("/reports/{year}", ttl="1m", tags=["report:{year}"])]
app = Starlette(
    routes=[
        Route("/articles/{article_id:int}", read_article),
        Route("/articles/{article_id:int}", write_article, methods=["PUT"]),
        Route("/reports/{year:int}", read_report),
    ],
    middleware=[Middleware(CacheMiddleware, cache=cache, rules=rules)],
)
