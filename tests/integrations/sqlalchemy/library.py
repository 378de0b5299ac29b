"""The tables that the tests write to: every relation that a write can reach along."""

from __future__ import annotations

import uuid

from sqlalchemy import Column, ForeignKey, Integer, String, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship


class Base(DeclarativeBase):
    type_annotation_map = {str: String(100)}  # noqa: RUF012 (MariaDB wants to know)


class Org(Base):
    __tablename__ = "org"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    org_id: Mapped[int] = mapped_column(ForeignKey("org.id"))
    name: Mapped[str]
    books: Mapped[list[Book]] = relationship(back_populates="author", passive_deletes=True)


book_label = Table(
    "book_label",
    Base.metadata,
    Column("book_id", ForeignKey("book.id"), primary_key=True),
    Column("label_id", ForeignKey("label.id"), primary_key=True),
)


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    title: Mapped[str]
    author: Mapped[User | None] = relationship(back_populates="books")
    labels: Mapped[list[Label]] = relationship(secondary=book_label, back_populates="books")


class Label(Base):
    __tablename__ = "label"
    id: Mapped[int] = mapped_column(primary_key=True)
    books: Mapped[list[Book]] = relationship(secondary=book_label, back_populates="labels")


class Review(Base):
    __tablename__ = "review"
    __cache_tags_of__ = ("shelf:{book_id}",)
    id: Mapped[int] = mapped_column(primary_key=True)
    book_id: Mapped[int] = mapped_column(ForeignKey("book.id", ondelete="CASCADE"))


class Loan(Base):
    __tablename__ = "loan"
    __cache_tag__ = "lending"
    id: Mapped[int] = mapped_column(primary_key=True)
    book_id: Mapped[int | None] = mapped_column(ForeignKey("book.id", ondelete="SET NULL"))


class Line(Base):
    __tablename__ = "line"
    order_no: Mapped[str] = mapped_column(primary_key=True)
    line_no: Mapped[int] = mapped_column(primary_key=True)
    quantity: Mapped[int]


class Document(Base):
    __tablename__ = "document"
    __cache_values__ = ("kind",)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    kind: Mapped[str]
    text: Mapped[str] = mapped_column(default="")


class Draft(Base):
    __tablename__ = "draft"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class Rack(Base):
    __tablename__ = "rack"
    code: Mapped[str] = mapped_column(primary_key=True)


class Place(Base):
    __tablename__ = "place"
    id: Mapped[int] = mapped_column(primary_key=True)
    rack_code: Mapped[str] = mapped_column(ForeignKey("rack.code", onupdate="CASCADE"))


class Employee(Base):
    __tablename__ = "employee"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "employee"}  # noqa: RUF012


class Manager(Employee):
    __tablename__ = "manager"
    id: Mapped[int] = mapped_column(ForeignKey("employee.id"), primary_key=True)
    budget: Mapped[int]
    __mapper_args__ = {"polymorphic_identity": "manager"}  # noqa: RUF012


class Engineer(Employee):
    __tablename__ = "engineer"
    id: Mapped[int] = mapped_column(ForeignKey("employee.id"), primary_key=True)
    language: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "engineer"}  # noqa: RUF012


class Pet(Base):
    __tablename__ = "pet"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "pet"}  # noqa: RUF012


class Dog(Pet):
    __cache_tag__ = "dog"
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012


class Vehicle(Base):
    __tablename__ = "vehicle"
    id: Mapped[int] = mapped_column(primary_key=True)
    wheels: Mapped[int]


class Lorry(Vehicle):
    __tablename__ = "lorry"
    id: Mapped[int] = mapped_column(primary_key=True)
    wheels: Mapped[int]
    __mapper_args__ = {"concrete": True}  # noqa: RUF012


jottings = Table("jotting", Base.metadata, Column("text", String(100)), Column("stars", Integer))

DOCUMENT = uuid.UUID(int=7)


def fill(session: Session) -> None:
    """What there is before each test."""
    session.add_all([Org(id=1, name="a"), Org(id=2, name="b")])
    session.flush()
    session.add_all(
        [User(id=1, org_id=1, name="Ada"), User(id=2, org_id=2, name="Bob"), User(id=3, org_id=2, name="Cy")]
    )
    session.flush()
    session.add_all(
        [Book(id=1, author_id=1, title="A"), Book(id=2, author_id=1, title="B"), Book(id=3, author_id=2, title="C")]
    )
    session.add_all([Label(id=1), Label(id=2)])
    session.flush()
    session.add_all([Review(id=1, book_id=1), Review(id=2, book_id=3), Loan(id=1, book_id=1), Loan(id=2, book_id=3)])
    session.execute(book_label.insert(), [{"book_id": 1, "label_id": 1}])
    session.add_all([Line(order_no="a", line_no=1, quantity=1), Line(order_no="a:1", line_no=1, quantity=1)])
    session.add_all([Document(id=DOCUMENT, kind="x"), Vehicle(id=1, wheels=4), Lorry(id=1, wheels=6)])
    session.add_all(
        [Employee(id=1, name="E"), Manager(id=2, name="M", budget=1), Engineer(id=3, name="N", language="c")]
    )
    session.add_all([Draft(id=1, text="a"), Draft(id=2, text="b")])
    session.add(Rack(code="a"))
    session.flush()
    session.add(Place(id=1, rack_code="a"))
    session.add_all([Pet(id=1, name="p"), Dog(id=2, name="d")])
    session.execute(jottings.insert(), [{"text": "x", "stars": 1}])
    session.commit()


DEPENDENTS = {
    "user": ("book", "review", "lending", "shelf"),
    "book": ("review", "lending", "shelf"),
    "review": ("shelf",),
    "book_label": ("book", "label"),
    "employee": ("manager", "engineer"),
    "engineer": ("employee", "manager"),
    "manager": ("employee", "engineer"),
    "pet": ("dog",),
}
"""What a change of unknown rows may take along."""

PAGES = [
    "org",
    "org:1",
    "org:2",
    "org:3",
    "user",
    "user:1",
    "user:2",
    "user:3",
    "user:4",
    "user:5",
    "user?org_id=1",
    "user?org_id=2",
    "user?name=Ada",
    "user?name=Bob",
    "book",
    "book:1",
    "book:2",
    "book:3",
    "book:4",
    "book?author_id=1",
    "book?author_id=2",
    "book?author_id=3",
    "book?author_id",
    "label",
    "label:1",
    "label:2",
    "book_label",
    "book_label:1:1",
    "book_label:1:2",
    "book_label?book_id=1",
    "book_label?book_id=2",
    "review",
    "review:1",
    "review:2",
    "review?book_id=1",
    "review?book_id=3",
    "shelf:1",
    "shelf:2",
    "shelf:3",
    "lending",
    "lending:1",
    "lending:2",
    "lending?book_id=1",
    "lending?book_id=3",
    "lending?book_id",
    "line",
    "line:a:1",
    "line:a%3A1:1",
    "line?order_no=a",
    "document",
    "document:00000000-0000-0000-0000-000000000007",
    "document?kind=x",
    "document?kind=y",
    "document?text=z",
    "employee",
    "employee:1",
    "employee:2",
    "employee:3",
    "manager",
    "manager:1",
    "manager:2",
    "engineer",
    "engineer:3",
    "pet",
    "pet:1",
    "pet:2",
    "dog",
    "dog:2",
    "vehicle",
    "vehicle:1",
    "lorry",
    "lorry:1",
    "jotting",
    "jotting?stars=1",
    "jotting?stars=2",
    "draft",
    "draft:1",
    "draft:2",
    "draft?version=1",
    "draft?version=2",
    "rack",
    "rack:a",
    "place",
    "place:1",
    "place?rack_code=a",
    "other",
    "other:1",
]
"""One page for each of these tags."""
