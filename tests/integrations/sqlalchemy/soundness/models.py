"""Tables with every relation and every type that a dependency has to be right about."""

from __future__ import annotations

import datetime
import enum
import random
import uuid

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Enum,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Table,
    Uuid,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column, relationship

NAMES = ("ann", "bob", "cy", "dee")
WORDS = ("red", "blue", "Red", "green")
DAYS = tuple(datetime.date(2026, 1, day) for day in (1, 2, 3))
CODES = tuple(uuid.UUID(int=number) for number in (1, 2, 3))


class Role(enum.Enum):
    READER = "reader"
    WRITER = "writer"
    ADMIN = "admin"


class Base(DeclarativeBase):
    pass


class Org(Base):
    __tablename__ = "org"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    users: Mapped[list[User]] = relationship(back_populates="org", passive_deletes=True)


class User(Base):
    __tablename__ = "member"
    id: Mapped[int] = mapped_column(primary_key=True)
    org_id: Mapped[int] = mapped_column(ForeignKey("org.id", ondelete="CASCADE"))
    name: Mapped[str]
    age: Mapped[int | None]
    active: Mapped[bool]
    role: Mapped[Role] = mapped_column(Enum(Role, native_enum=False))
    joined: Mapped[datetime.date] = mapped_column(Date)
    code: Mapped[uuid.UUID] = mapped_column(Uuid)
    nick: Mapped[str | None] = mapped_column(
        String(collation="NOCASE").with_variant(String(collation="folding"), "postgresql")
    )
    photo: Mapped[bytes | None] = mapped_column(LargeBinary)
    org: Mapped[Org] = relationship(back_populates="users")
    articles: Mapped[list[Article]] = relationship(back_populates="author", passive_deletes=True)
    profile: Mapped[Profile | None] = relationship(back_populates="user", passive_deletes=True, uselist=False)


class Profile(Base):
    __tablename__ = "profile"
    user_id: Mapped[int] = mapped_column(ForeignKey("member.id", ondelete="CASCADE"), primary_key=True)
    text: Mapped[str]
    user: Mapped[User] = relationship(back_populates="profile")


article_label = Table(
    "article_label",
    Base.metadata,
    Column("article_id", ForeignKey("article.id", ondelete="CASCADE"), primary_key=True),
    Column("label_id", ForeignKey("label.id", ondelete="CASCADE"), primary_key=True),
)


class Article(Base):
    __tablename__ = "article"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int | None] = mapped_column(ForeignKey("member.id", ondelete="SET NULL"))
    title: Mapped[str]
    word: Mapped[str | None]
    score: Mapped[float] = mapped_column(Float)
    stars: Mapped[int]
    is_public: Mapped[bool] = mapped_column(Boolean)
    author: Mapped[User | None] = relationship(back_populates="articles")
    comments: Mapped[list[Comment]] = relationship(back_populates="article", passive_deletes=True)
    labels: Mapped[list[Label]] = relationship(secondary=article_label, back_populates="articles", passive_deletes=True)


class Comment(Base):
    __tablename__ = "comment"
    id: Mapped[int] = mapped_column(primary_key=True)
    article_id: Mapped[int] = mapped_column(ForeignKey("article.id", ondelete="CASCADE"))
    writer_id: Mapped[int | None] = mapped_column(ForeignKey("member.id", ondelete="CASCADE"))
    text: Mapped[str]
    article: Mapped[Article] = relationship(back_populates="comments")
    writer: Mapped[User | None] = relationship()


class Label(Base):
    __tablename__ = "label"
    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str]
    articles: Mapped[list[Article]] = relationship(
        secondary=article_label, back_populates="labels", passive_deletes=True
    )


class Note(Base):
    """Refers to members without a foreign key: in numbers, and in texts."""

    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    about: Mapped[int | None]
    about_text: Mapped[str | None]
    text: Mapped[str]
    member: Mapped[User | None] = relationship(primaryjoin="foreign(Note.about) == User.id", viewonly=True)


class Follow(Base):
    __tablename__ = "follow"
    follower_id: Mapped[int] = mapped_column(ForeignKey("member.id", ondelete="CASCADE"), primary_key=True)
    followed_id: Mapped[int] = mapped_column(ForeignKey("member.id", ondelete="CASCADE"), primary_key=True)
    weight: Mapped[int]
    follower: Mapped[User] = relationship(foreign_keys=[follower_id])
    followed: Mapped[User] = relationship(foreign_keys=[followed_id])


class Place(Base):
    __tablename__ = "place"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("place.id", ondelete="CASCADE"))
    name: Mapped[str]
    parent: Mapped[Place | None] = relationship(remote_side="Place.id", back_populates="children")
    children: Mapped[list[Place]] = relationship(back_populates="parent", passive_deletes=True)


class Employee(Base):
    __tablename__ = "employee"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "employee"}  # noqa: RUF012


class Manager(Employee):
    __tablename__ = "manager"
    id: Mapped[int] = mapped_column(ForeignKey("employee.id", ondelete="CASCADE"), primary_key=True)
    budget: Mapped[int]
    __mapper_args__ = {"polymorphic_identity": "manager"}  # noqa: RUF012


class Pet(Base):
    __tablename__ = "pet"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("member.id", ondelete="SET NULL"))
    owner: Mapped[User | None] = relationship()
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "pet"}  # noqa: RUF012


class Dog(Pet):
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012


class Seat(Base):
    __tablename__ = "seat"
    row: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    holder: Mapped[int | None] = mapped_column(Integer)
    __table_args__ = (CheckConstraint("number > 0"),)


Writer = aliased(User)
Other = aliased(User)

ROWS = 12
"""Primary keys of a table go up to here."""


def user_values(rng: random.Random) -> dict[str, object]:
    return {
        "org_id": rng.randint(1, 3),
        "name": rng.choice(NAMES),
        "age": rng.choice((None, 1, 2, 5)),
        "active": rng.random() < 0.5,
        "role": rng.choice(list(Role)),
        "joined": rng.choice(DAYS),
        "code": rng.choice(CODES),
        "nick": rng.choice((None, *WORDS)),
        "photo": rng.choice((None, b"a", b"b")),
    }


def article_values(rng: random.Random) -> dict[str, object]:
    return {
        "author_id": rng.choice((None, None, None, *range(1, ROWS))),
        "title": rng.choice(NAMES),
        "word": rng.choice((None, *WORDS)),
        "score": rng.choice((0.5, 1.0, 2.0)),
        "stars": rng.randint(0, 3),
        "is_public": rng.random() < 0.6,
    }


def fill(session: Session, rng: random.Random) -> None:
    """What there is at the beginning."""
    session.add_all([Org(id=number, name=rng.choice(NAMES)) for number in (1, 2, 3)])
    session.flush()
    session.add_all([User(id=number, **user_values(rng)) for number in range(1, ROWS)])
    session.add_all([Place(id=1, name="top"), Place(id=2, name="other")])
    session.flush()
    session.add_all([Profile(user_id=number, text=rng.choice(WORDS)) for number in range(1, 6)])
    session.add_all([Article(id=number, **article_values(rng)) for number in range(1, ROWS)])
    session.add_all([Label(id=number, word=rng.choice(WORDS)) for number in (1, 2, 3, 4)])
    session.add_all([Place(id=number, parent_id=rng.choice((1, 2)), name=rng.choice(NAMES)) for number in (3, 4, 5)])
    session.flush()
    pairs = {(rng.randint(1, ROWS - 1), rng.randint(1, 4)) for _ in range(10)}
    session.execute(article_label.insert(), [{"article_id": one, "label_id": two} for one, two in sorted(pairs)])
    for number in range(1, ROWS):
        session.add(
            Comment(
                id=number,
                article_id=rng.randint(1, ROWS - 1),
                writer_id=rng.choice((None, *range(1, ROWS))),
                text=rng.choice(WORDS),
            )
        )
        about = rng.choice((None, *range(1, ROWS + 3)))
        text = None if about is None else rng.choice((f"{about}", f"0{about}"))
        session.add(Note(id=number, about=about, about_text=text, text=rng.choice(WORDS)))
    follows = {(rng.randint(1, ROWS - 1), rng.randint(1, ROWS - 1)) for _ in range(10)}
    session.add_all(
        [Follow(follower_id=one, followed_id=two, weight=rng.randint(0, 2)) for one, two in sorted(follows)]
    )
    session.add_all([Employee(id=number, name=rng.choice(NAMES)) for number in (1, 2)])
    session.add_all([Manager(id=number, name=rng.choice(NAMES), budget=rng.randint(0, 2)) for number in (3, 4, 5)])
    session.add_all([Pet(id=number, name=rng.choice(NAMES), owner_id=rng.randint(1, 4)) for number in (1, 2, 3)])
    session.add_all([Dog(id=number, name=rng.choice(NAMES), owner_id=rng.randint(1, 4)) for number in (4, 5, 6)])
    session.add_all(
        [Seat(row=row, number=number, holder=rng.choice((None, 1, 2))) for row in "ab" for number in (1, 2, 3)]
    )
    session.commit()
