"""What the pages' examples look at: books, their authors, and orders of them, in a database in memory."""

from __future__ import annotations

from types import SimpleNamespace

from sqlalchemy import ForeignKey, StaticPool, create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship


def models() -> SimpleNamespace:
    """`Base`, `Author`, `Book` and `Order`, each time anew: pages track them as they like."""

    class Base(DeclarativeBase): ...

    class Author(Base):
        __tablename__ = "author"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(default="")

    class Book(Base):
        __tablename__ = "book"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str] = mapped_column(default="")
        author_id: Mapped[int | None] = mapped_column(ForeignKey("author.id"))
        author: Mapped[Author | None] = relationship(Author)

    class Order(Base):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)
        customer_id: Mapped[int]
        total: Mapped[int] = mapped_column(default=0)

    return SimpleNamespace(Base=Base, Author=Author, Book=Book, Order=Order)


def library() -> SimpleNamespace:
    """The models, with an `engine` that has their tables and a `session`."""
    made = models()
    made.engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    made.Base.metadata.create_all(made.engine)
    made.session = Session(made.engine)
    return made


async def async_library() -> SimpleNamespace:
    """The same behind an AsyncEngine."""
    made = models()
    made.engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
    async with made.engine.begin() as connection:
        await connection.run_sync(made.Base.metadata.create_all)
    made.session = AsyncSession(made.engine, expire_on_commit=False)
    return made
