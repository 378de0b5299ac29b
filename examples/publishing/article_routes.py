"""Articles, comments and tags."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from . import views
from .asking import Data, Me, Part, Viewer, Wanted

router = APIRouter()


@router.get("/articles")
async def list_articles(data: Data, viewer: Viewer, filters: Wanted) -> views.ArticlesOut:
    return await data.articles(filters, viewer)


@router.post("/articles", status_code=201)
async def write_article(data: Data, me: Me, body: views.NewArticle) -> views.ArticleOut:
    return await data.write_article(body, me)


@router.get("/feed")
async def read_feed(data: Data, me: Me, page: Part) -> views.ArticlesOut:
    return await data.feed(me, page)


@router.get("/drafts")
async def list_drafts(data: Data, me: Me, page: Part) -> views.ArticlesOut:
    return await data.drafts(me, page)


@router.get("/articles/{slug}")
async def read_article(data: Data, viewer: Viewer, slug: str) -> views.ArticleOut:
    return await data.article(slug, viewer)


@router.patch("/articles/{slug}")
async def change_article(data: Data, me: Me, slug: str, body: views.ArticleChanges) -> views.ArticleOut:
    return await data.change_article(slug, body.model_dump(exclude_none=True), me)


@router.delete("/articles/{slug}", status_code=204)
async def delete_article(data: Data, me: Me, slug: str) -> None:
    await data.delete_article(slug, me)


@router.put("/articles/{slug}/publication")
async def publish(data: Data, me: Me, slug: str) -> views.ArticleOut:
    return await data.publish(slug, me)


@router.delete("/articles/{slug}/publication")
async def withdraw(data: Data, me: Me, slug: str) -> views.ArticleOut:
    return await data.withdraw(slug, me)


@router.put("/articles/{slug}/favorite")
async def favorite(data: Data, me: Me, slug: str) -> views.ArticleOut:
    return await data.favorite(slug, me)


@router.delete("/articles/{slug}/favorite")
async def unfavorite(data: Data, me: Me, slug: str) -> views.ArticleOut:
    return await data.unfavorite(slug, me)


@router.get("/articles/{slug}/comments")
async def list_comments(data: Data, viewer: Viewer, slug: str, page: Part) -> views.CommentsOut:
    return await data.comments(slug, viewer, page)


@router.post("/articles/{slug}/comments", status_code=201)
async def write_comment(data: Data, me: Me, slug: str, body: views.NewComment) -> views.CommentOut:
    return await data.write_comment(slug, body.body, me)


@router.patch("/articles/{slug}/comments/{comment_id}")
async def change_comment(data: Data, me: Me, slug: str, comment_id: int, body: views.NewComment) -> views.CommentOut:
    return await data.change_comment(slug, comment_id, body.body, me)


@router.delete("/articles/{slug}/comments/{comment_id}", status_code=204)
async def delete_comment(data: Data, me: Me, slug: str, comment_id: int) -> None:
    await data.delete_comment(slug, comment_id, me)


@router.get("/tags")
async def list_tags(data: Data, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> list[views.TagOut]:
    return await data.popular_tags(limit)
