"""The pages in Django under ASGI, without a database; rules are given to the middleware."""

from __future__ import annotations

from collections.abc import AsyncIterator

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.http import etag, require_http_methods

from rcache import invalidate_sync
from tests.http.frameworks import pages


def item(request: HttpRequest, name: str) -> HttpResponse:
    if request.method == "POST":
        pages.texts[name] = request.body.decode()
        invalidate_sync(f"item:{name}")
        return JsonResponse({"text": pages.texts[name]})
    return JsonResponse(pages.item(name), headers={"ETag": pages.etag(name)})


def dated(request: HttpRequest, name: str) -> HttpResponse:
    pages.count("dated", name)
    return HttpResponse("dated", content_type="text/plain", headers={"Last-Modified": pages.MODIFIED})


async def stream(request: HttpRequest, name: str) -> StreamingHttpResponse:
    pages.count("stream", name)

    async def pieces() -> AsyncIterator[str]:
        for piece in pages.PIECES:
            yield piece

    return StreamingHttpResponse(pieces())


async def cookie(request: HttpRequest, name: str) -> HttpResponse:
    pages.count("cookie", name)
    response = HttpResponse("cookie", content_type="text/plain")
    response.set_cookie("first", "1")
    response.set_cookie("second", "2")
    return response


async def missing(request: HttpRequest, name: str) -> HttpResponse:
    pages.count("missing", name)
    raise Http404


async def large(request: HttpRequest, name: str) -> HttpResponse:
    pages.count("large", name)
    return HttpResponse(pages.LARGE, content_type="application/octet-stream")


@require_http_methods(["GET", "HEAD", "PUT"])
@etag(lambda request, name: pages.etag(name))
def text(request: HttpRequest, name: str) -> HttpResponse:
    if request.method == "PUT":
        pages.texts[name] = request.body.decode()
        return HttpResponse("written", content_type="text/plain")
    return HttpResponse(pages.text(name), content_type="text/plain")


urlpatterns = [
    path("items/<name>", item),
    path("dated/<name>", dated),
    path("stream/<name>", stream),
    path("cookie/<name>", cookie),
    path("missing/<name>", missing),
    path("large/<name>", large),
    path("text/<name>", text),
]

settings.configure(
    SECRET_KEY="for tests alone",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    LOGGING_CONFIG=None,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],  # it gives answers their Content-Length
)
app = get_asgi_application()
