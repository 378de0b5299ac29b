"""The shop's tables, and the file they live in."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import ForeignKey, event, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from . import catalogue


class Base(DeclarativeBase):
    """What every table shares."""


class Category(Base):
    """A shelf of the shop."""

    __tablename__ = "category"

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]


class Product(Base):
    """Something to sell. Prices are whole cents: money is no float."""

    __tablename__ = "product"

    id: Mapped[int] = mapped_column(primary_key=True)
    category_id: Mapped[int] = mapped_column(ForeignKey("category.id"), index=True)
    name: Mapped[str]
    price_cents: Mapped[int]
    stock: Mapped[int]
    sold: Mapped[int]

    category: Mapped[Category] = relationship(lazy="raise")


class Review(Base):
    """One to five stars from a customer."""

    __tablename__ = "review"

    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), index=True)
    stars: Mapped[int]


class Order(Base):
    """A product that was bought."""

    __tablename__ = "order"

    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), index=True)
    quantity: Mapped[int]


class Database:
    """The SQLite file: opened, and filled where it is new."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        self.sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        event.listen(self.engine.sync_engine, "connect", _configure)

    async def open(self) -> None:
        """The tables exist and hold the catalogue."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        async with self.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with self.sessions.begin() as session:
            if not await session.scalar(select(func.count()).select_from(Category)):
                await _fill(session)

    async def close(self) -> None:
        """Every connection is closed."""
        await self.engine.dispose()


def _configure(connection: object, _record: object) -> None:
    # With a write-ahead log readers do not wait for a writer, and a writer waits for another instead of failing.
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA busy_timeout=5000")
    cursor.close()


async def _fill(session: AsyncSession) -> None:
    products = catalogue.products()
    await session.execute(insert(Category), catalogue.categories())
    await session.execute(insert(Product), products)
    await session.execute(insert(Review), catalogue.reviews(products))
