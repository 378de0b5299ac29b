"""The shop's pages. Each read names what it shows as tags; a write just commits, and what it changed is flushed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from rcache import cached, tag

from . import queries
from .page import render_home
from .queries import CategoryOut, ProductOut, ProductPage

router = APIRouter()

# Nobody logs in here, yet a browser sends the cookies of whatever else was served from 127.0.0.1: they select nothing.
# SHOP_CACHE=off serves the same pages from the database alone, for comparison.
page_of_the_shop = partial(cached, ttl="5m", cookies="ignore", enabled=os.environ.get("SHOP_CACHE") != "off")


class PriceIn(BaseModel):
    """A new price, in cents."""

    price_cents: int = Field(gt=0, le=1_000_000)


class OrderIn(BaseModel):
    """How many of which product."""

    product_id: int
    quantity: int = Field(default=1, gt=0, le=100)


async def open_session(request: Request) -> AsyncIterator[AsyncSession]:
    """A session that lives as long as the request."""
    async with request.app.state.database.sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(open_session)]


Thing = TypeVar("Thing")


def found(thing: Thing | None) -> Thing:
    """The thing itself; where there is none, the client is told 404."""
    if thing is None:
        raise HTTPException(404)
    return thing


def tag_shown(products: Iterable[ProductOut]) -> None:
    """The response that is being made shows these products."""
    tag(*[f"product:{product.id}" for product in products])


@router.get("/products")
@page_of_the_shop(query=("page", "category"))
async def list_products(
    session: Session, page: Annotated[int, Query(ge=1)] = 1, category: str | None = None
) -> ProductPage:
    shown = await queries.list_products(session, page, category)
    tag_shown(shown.products)
    return shown


@router.get("/products/{product_id}")
@page_of_the_shop(tags=["product:{product_id}"])
async def read_product(session: Session, product_id: int) -> ProductOut:
    return found(await queries.find_product(session, product_id))


@router.get("/categories/{slug}")
@page_of_the_shop(tags=["category?slug={slug}"])
async def read_category(session: Session, slug: str) -> CategoryOut:
    category = found(await queries.find_category(session, slug))
    tag(f"product?category_id={category.id}")  # it says from which price to which one can shop there
    tag_shown(category.best)
    return category


@router.get("/", response_class=HTMLResponse, include_in_schema=False)
@page_of_the_shop(tags=["order", "category"], query=())  # every order may change which sell best
async def home(session: Session) -> str:
    best_sellers = await queries.list_best_sellers(session)
    tag_shown(best_sellers)
    return render_home(await queries.list_categories(session), best_sellers)


@router.put("/products/{product_id}")
async def change_price(session: Session, product_id: int, body: PriceIn) -> ProductOut:
    if not await queries.set_price(session, product_id, body.price_cents):
        raise HTTPException(404)
    product = found(await queries.find_product(session, product_id))
    await session.commit()
    return product


@router.post("/orders", status_code=201)
async def place_order(session: Session, body: OrderIn) -> ProductOut:
    if not await queries.take_from_stock(session, body.product_id, body.quantity):
        raise HTTPException(409, "not enough in stock")
    product = found(await queries.find_product(session, body.product_id))
    await session.commit()
    return product
