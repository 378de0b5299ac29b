"""What the shop asks its database."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from sqlalchemy import Row, Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from .database import Category, Order, Product, Review

PAGE_SIZE = 24


class ProductOut(BaseModel):
    """A product as the pages show it."""

    id: int
    name: str
    category: str
    price_cents: int
    stock: int
    rating: float
    reviews: int


class ProductPage(BaseModel):
    """One page of the list, the best rated first."""

    page: int
    pages: int
    products: list[ProductOut]


class CategoryOut(BaseModel):
    """A category, what it costs to shop there, and the best that it has."""

    id: int
    slug: str
    name: str
    products: int
    from_cents: int
    to_cents: int
    best: list[ProductOut]


def _products() -> Select[Any]:
    ratings = (
        select(Review.product_id, func.avg(Review.stars).label("rating"), func.count().label("reviews"))
        .group_by(Review.product_id)
        .subquery()
    )
    return (
        select(Product, Category.slug, ratings.c.rating, ratings.c.reviews)
        .join(Category, Category.id == Product.category_id)
        .join(ratings, ratings.c.product_id == Product.id)
        .order_by(ratings.c.rating.desc(), Product.id)
    )


def _shown(row: Row[Any]) -> ProductOut:
    product: Product = row.Product
    return ProductOut(
        id=product.id,
        name=product.name,
        category=row.slug,
        price_cents=product.price_cents,
        stock=product.stock,
        rating=round(row.rating, 2),
        reviews=row.reviews,
    )


async def list_products(session: AsyncSession, page: int, category: str | None) -> ProductPage:
    """One page of all products, or of a category's."""
    query = _products()
    counting = select(func.count()).select_from(Product).join(Category, Category.id == Product.category_id)
    if category is not None:
        query, counting = query.where(Category.slug == category), counting.where(Category.slug == category)
    total = await session.scalar(counting) or 0
    rows = await session.execute(query.offset((page - 1) * PAGE_SIZE).limit(PAGE_SIZE))
    return ProductPage(page=page, pages=-(-total // PAGE_SIZE), products=[_shown(row) for row in rows])


async def find_product(session: AsyncSession, product_id: int) -> ProductOut | None:
    """The product, if there is one."""
    row = (await session.execute(_products().where(Product.id == product_id))).first()
    return None if row is None else _shown(row)


async def find_category(session: AsyncSession, slug: str) -> CategoryOut | None:
    """The category with its six best, if there is one."""
    prices = func.min(Product.price_cents), func.max(Product.price_cents)
    figures = select(Category.id, Category.name, func.count(), *prices)
    query = figures.join(Product, Product.category_id == Category.id).where(Category.slug == slug).group_by(Category.id)
    row = (await session.execute(query)).first()
    if row is None:
        return None
    category_id, name, products, cheapest, dearest = row
    best = await session.execute(_products().where(Category.slug == slug).limit(6))
    shown = [_shown(product) for product in best]
    figures_shown = {"products": products, "from_cents": cheapest, "to_cents": dearest}
    return CategoryOut(id=category_id, slug=slug, name=name, best=shown, **figures_shown)


async def list_categories(session: AsyncSession) -> list[tuple[str, str, int]]:
    """Slug, name and number of products of each category."""
    query = select(Category.slug, Category.name, func.count()).join(Product, Product.category_id == Category.id)
    return [(slug, name, products) for slug, name, products in await session.execute(query.group_by(Category.id))]


async def list_best_sellers(session: AsyncSession) -> list[ProductOut]:
    """The eight products that were bought most."""
    query = _products().order_by(None).order_by(Product.sold.desc(), Product.id).limit(8)
    return [_shown(row) for row in await session.execute(query)]


async def set_price(session: AsyncSession, product_id: int, price_cents: int) -> bool:
    """Whether there is such a product; it costs `price_cents` once the transaction has committed."""
    query = update(Product).where(Product.id == product_id).values(price_cents=price_cents).returning(Product.id)
    return await session.scalar(query) is not None


async def take_from_stock(session: AsyncSession, product_id: int, quantity: int) -> bool:
    """Whether there was enough of it; the order is kept and the stock is lower once the transaction has committed."""
    in_stock = (Product.id == product_id) & (Product.stock >= quantity)
    taken = {"stock": Product.stock - quantity, "sold": Product.sold + quantity}
    if await session.scalar(update(Product).where(in_stock).values(taken).returning(Product.id)) is None:
        return False
    session.add(Order(product_id=product_id, quantity=quantity))
    return True
