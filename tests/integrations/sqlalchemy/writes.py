"""Kinds of writes, and the pages that have to go with each: those and none besides."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, exists, func, insert, select, text, update
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import Session

from tests.integrations.sqlalchemy.harness import Write
from tests.integrations.sqlalchemy.library import (
    DOCUMENT,
    PAGES,
    Book,
    Document,
    Dog,
    Draft,
    Employee,
    Engineer,
    Label,
    Line,
    Loan,
    Lorry,
    Manager,
    Org,
    Pet,
    Rack,
    Review,
    User,
    Vehicle,
    book_label,
    jottings,
)


class Kind(NamedTuple):
    """A write, what it flushes, and the reason where it is told of whole tables."""

    write: Write
    flushed: set[str]
    reason: str | None = None


KINDS: dict[str, Kind] = {}


def flushing(pages: str, reason: str | None = None) -> Any:
    def note(write: Write) -> Write:
        KINDS[write.__name__] = Kind(write, set(pages.split()), reason)
        return write

    return note


def all_of(*names: str) -> str:
    """Everything about the tables."""
    return " ".join(page for page in PAGES if page.partition("?")[0].partition(":")[0] in names)


USER_1 = "user user:1 user?org_id=1 user?name=Ada"
BOOK_1 = "book book:1 book?author_id=1"


@flushing(BOOK_1)
def an_attribute(s: Session) -> None:
    s.get(Book, 1).title = "new"


@flushing("")
def an_attribute_that_stays_the_same(s: Session) -> None:
    s.get(Book, 1).title = "A"


@flushing("")
def an_update_that_changes_nothing(s: Session) -> None:
    s.execute(update(Book).where(Book.id == 1).values(title="A"))


@flushing("book book:1 book?author_id=1 book?author_id=2")
def a_foreign_key(s: Session) -> None:
    s.get(Book, 1).author_id = 2


@flushing("book book:1 book?author_id=1 book?author_id=2")
def a_backref(s: Session) -> None:
    bob = s.get(User, 2)
    bob.books.append(s.get(Book, 1))


@flushing("book book:3 book?author_id=2 book?author_id")
def a_null(s: Session) -> None:
    bob = s.get(User, 2)
    bob.books.remove(s.get(Book, 3))


@flushing("book book:4 book?author_id=2")
def a_new_object(s: Session) -> None:
    s.add(Book(id=4, author_id=2, title="new"))


@flushing("user user:4 user:5 user?org_id=1 user?org_id=2")
def several_new_objects(s: Session) -> None:
    s.add_all([User(id=4, org_id=1, name="x"), User(id=5, org_id=2, name="y")])


@flushing("review review:1 review?book_id=1 shelf:1")
def a_deleted_object(s: Session) -> None:
    s.delete(s.get(Review, 1))


@flushing("review review:1 review?book_id=1 review?book_id=3 shelf:1 shelf:3")
def a_model_s_template(s: Session) -> None:
    s.get(Review, 1).book_id = 3


@flushing("lending lending:1 lending?book_id=1 lending?book_id=3")
def a_model_with_a_tag_of_its_own(s: Session) -> None:
    s.get(Loan, 1).book_id = 3


@flushing("book_label book_label:1:2 book_label?book_id=1 book:1 label:2")
def an_association(s: Session) -> None:
    book = s.get(Book, 1)
    book.labels.append(s.get(Label, 2))


@flushing("book_label book_label:1:1 book_label?book_id=1 book:1 label:1")
def an_association_removed(s: Session) -> None:
    label = s.get(Label, 1)
    label.books.clear()


@flushing("book_label book_label:1:2 book_label?book_id=1 book:1 label:2")
def an_association_in_core(s: Session) -> None:
    s.execute(book_label.insert().values(book_id=1, label_id=2))


@flushing("line line:a:1 line?order_no=a")
def a_composite_key(s: Session) -> None:
    s.get(Line, ("a", 1)).quantity = 2


@flushing("line line:a%3A1:1")
def a_composite_key_with_a_colon(s: Session) -> None:
    s.delete(s.get(Line, ("a:1", 1)))


@flushing("document document:00000000-0000-0000-0000-000000000007 document?kind=x document?kind=y")
def a_key_that_is_no_integer(s: Session) -> None:
    document = s.get(Document, DOCUMENT)
    document.kind, document.text = "y", "z"


@flushing("draft draft:1 draft:2 draft?version=1 draft?version=2")
def versioned_objects(s: Session) -> None:
    for draft in s.scalars(select(Draft)).all():
        draft.text = "new"


# Inheritance


@flushing("employee employee:1")
def the_base_of_joined_classes(s: Session) -> None:
    s.get(Employee, 1).name = "new"


@flushing("manager manager:2 employee employee:2")
def a_joined_class(s: Session) -> None:
    s.get(Manager, 2).budget = 9


@flushing("manager manager:2 employee employee:2")
def what_a_joined_class_inherits(s: Session) -> None:
    s.get(Employee, 2).name = "new"


@flushing("engineer engineer:3 employee employee:3")
def a_joined_object_deleted(s: Session) -> None:
    s.delete(s.get(Engineer, 3))


@flushing("dog dog:2 pet pet:2")
def a_class_in_the_same_table(s: Session) -> None:
    s.get(Dog, 2).name = "new"


@flushing("pet pet:1")
def the_base_in_the_same_table(s: Session) -> None:
    s.get(Pet, 1).name = "new"


@flushing("dog dog:2 pet pet:2")
def all_of_a_class_in_the_same_table(s: Session) -> None:
    s.execute(update(Dog).values(name="new"))


@flushing("lorry lorry:1 vehicle vehicle:1")
def a_concrete_class(s: Session) -> None:
    s.get(Lorry, 1).wheels = 8


@flushing("vehicle vehicle:1")
def the_base_of_concrete_classes(s: Session) -> None:
    s.get(Vehicle, 1).wheels = 3


# Bulk and Core


@flushing("user user:4 user:5 user?org_id=1 user?org_id=2")
def bulk_save_objects(s: Session) -> None:
    s.bulk_save_objects([User(id=4, org_id=1, name="x"), User(id=5, org_id=2, name="y")])


@flushing("book book:1 book:3 book?author_id=1 book?author_id=2")
def bulk_update_mappings(s: Session) -> None:
    s.bulk_update_mappings(Book, [{"id": 1, "title": "x"}, {"id": 3, "title": "y"}])


@flushing("book book:1 book:3 book?author_id=1 book?author_id=2 book?author_id=3")
def update_by_primary_key(s: Session) -> None:
    s.execute(update(Book), [{"id": 1, "author_id": 3}, {"id": 3, "author_id": 1}])


@flushing("user user:4 user:5 user?org_id=1 user?org_id=2")
def insert_many(s: Session) -> None:
    s.execute(insert(User), [{"id": 4, "org_id": 1, "name": "x"}, {"id": 5, "org_id": 2, "name": "y"}])


@flushing("org org:3")
def insert_returning(s: Session) -> None:
    statement = insert(Org).values(id=3, name="c").returning(Org.id, Org.name)
    assert s.execute(statement).all() == [(3, "c")]


@flushing("book book:1 book:2 book?author_id=1 book?author_id=3")
def update_where(s: Session) -> None:
    s.execute(update(Book).where(Book.author_id == 1).values(author_id=3))


@flushing("book book:1 book:2 book?author_id=1")
def update_with_an_expression(s: Session) -> None:
    s.execute(update(Book).where(Book.author_id == 1).values(title=Book.title + "!"))


@flushing("book book:1 book:2 book?author_id=1")
def update_returning(s: Session) -> None:
    statement = update(Book).where(Book.author_id == 1).values(title="x").returning(Book.id)
    assert sorted(s.scalars(statement)) == [1, 2]


@flushing("")
def update_returning_nothing(s: Session) -> None:
    assert s.scalars(update(Book).where(Book.id == 99).values(title="x").returning(Book.id)).all() == []


@flushing("book book:1 book:2 book?author_id=1")
def update_where_exists(s: Session) -> None:
    ada = exists().where(User.id == Book.author_id, User.name == "Ada")
    s.execute(update(Book).where(ada).values(title="x").execution_options(synchronize_session=False))


@flushing("book book:3 book?author_id=2")
def update_from_another_table(s: Session) -> None:
    joined = (Book.author_id == User.id) & (User.name == "Bob")
    s.execute(update(Book).where(joined).values(title=User.name).execution_options(synchronize_session=False))


@flushing("line line:a:1 line?order_no=a")
def update_in_core_with_parameters(s: Session) -> None:
    table = Line.__table__
    statement = update(table).where(table.c.order_no == bindparam("which")).values(quantity=bindparam("n"))
    s.connection().execute(statement, [{"which": "a", "n": 5}])


@flushing("line line:a:1 line:a%3A1:1 line?order_no=a")
def executemany_in_core(s: Session) -> None:
    table = Line.__table__
    which = (table.c.order_no == bindparam("o")) & (table.c.line_no == bindparam("l"))
    statement = update(table).where(which).values(quantity=bindparam("n"))
    s.connection().execute(statement, [{"o": "a", "l": 1, "n": 5}, {"o": "a:1", "l": 1, "n": 6}])


@flushing("review review:1 review:2 review?book_id=1 review?book_id=3 shelf:1 shelf:3")
def delete_where(s: Session) -> None:
    s.execute(delete(Review).where(Review.id < 9))


@flushing("review review:2 review?book_id=3 shelf:3")
def delete_where_in(s: Session) -> None:
    inner = select(Book.id).where(Book.author_id == 2)
    s.execute(delete(Review).where(Review.book_id.in_(inner)).execution_options(synchronize_session=False))


# What the database does by itself

GONE_WITH_BOOK_3 = (
    "book book:3 book?author_id=2 review review:2 review?book_id=3 shelf:3 "
    "lending lending:2 lending?book_id=3 lending?book_id"
)


@flushing(GONE_WITH_BOOK_3)
def a_cascade(s: Session) -> None:
    s.execute(delete(Book).where(Book.id == 3))


@flushing("user user:2 user?org_id=2 user?name=Bob " + GONE_WITH_BOOK_3)
def a_cascade_through_a_table(s: Session) -> None:
    s.execute(delete(User).where(User.id == 2).execution_options(synchronize_session=False))


@flushing("user user:2 user?org_id=2 user?name=Bob " + GONE_WITH_BOOK_3)
def a_cascade_of_an_object(s: Session) -> None:
    s.delete(s.get(User, 2))


@flushing("user user:3 user?org_id=2")
def a_cascade_that_finds_nothing(s: Session) -> None:
    s.delete(s.get(User, 3))


@flushing("user user:3 user?org_id=2")
def a_delete_that_names_another_table(s: Session) -> None:
    alone = (User.org_id == Org.id) & (Org.name == "b") & (User.name == "Cy")
    if s.get_bind().dialect.name == "sqlite":  # which has no DELETE ... USING
        alone = User.name == "Cy"
    s.execute(delete(User).where(alone).execution_options(synchronize_session=False))


# What is told of whole tables


@flushing(all_of("rack", "place"), "a primary key changed")
def a_key_that_the_database_passes_on(s: Session) -> None:
    s.execute(update(Rack).values(code="b"))


def upsert(s: Session) -> Any:
    name = s.get_bind().dialect.name
    if name in ("mysql", "mariadb"):
        return mysql.insert(Org).values(id=1, name="z").on_duplicate_key_update(name="z")
    statement = (postgresql if name == "postgresql" else sqlite).insert(Org).values(id=1, name="z")
    return statement.on_conflict_do_update(index_elements=["id"], set_={"name": "z"})


@flushing(all_of("org"), "an upsert")
def an_upsert(s: Session) -> None:
    s.execute(upsert(s))


@flushing(all_of("org"), "an upsert")
def an_upsert_that_returns(s: Session) -> None:
    assert s.execute(upsert(s).returning(Org.id)).all() == [(1,)]


@flushing("org org:3")
def an_insert_that_returns_something_else(s: Session) -> None:
    assert s.scalars(insert(Org).values(id=3, name="c").returning(Org.name)).all() == ["c"]


@flushing(all_of("org"), "INSERT ... SELECT")
def insert_from_select(s: Session) -> None:
    s.execute(insert(Org).from_select(["id", "name"], select(User.id + 10, User.name)))


@flushing(all_of("line"), "SQL in text form")
def text_form(s: Session) -> None:
    s.execute(text("UPDATE line SET quantity = 3"))


@flushing(all_of("line"), "SQL in text form")
def driver_sql(s: Session) -> None:
    s.connection().exec_driver_sql("DELETE FROM line")


@flushing(all_of("book", "review", "lending") + " shelf:1 shelf:2 shelf:3", "SQL in text form")
def text_that_deletes_and_cascades(s: Session) -> None:
    s.execute(text("DELETE FROM book WHERE id = 3"))


@flushing(all_of("rack", "place"), "SQL in text form")
def text_that_changes_a_key(s: Session) -> None:
    s.execute(text("UPDATE rack SET code = 'b'"))


@flushing("")
def text_that_reads(s: Session) -> None:
    s.execute(text("SELECT * FROM book -- update insert delete"))
    s.execute(select(func.count()).select_from(Book)).scalar()


@flushing(all_of("document"), "a primary key changed")
def a_primary_key(s: Session) -> None:
    import uuid

    s.execute(update(Document).where(Document.kind == "x").values(id=uuid.UUID(int=8)))


@flushing(all_of("jotting"), "no primary key")
def a_table_without_a_key(s: Session) -> None:
    s.execute(jottings.update().values(stars=2))


@flushing(all_of("vehicle"), "more than 500 rows")
def many_rows(s: Session) -> None:
    s.execute(insert(Vehicle), [{"id": number, "wheels": 2} for number in range(100, 700)])


@flushing(all_of("org"), "keys that the database made")
def keys_that_nobody_sees(s: Session) -> None:
    s.connection().execute(insert(Org).values([{"id": 7, "name": "x"}, {"id": 8, "name": "y"}]))


@flushing("review shelf:2")
def keys_that_the_database_makes(s: Session) -> None:
    s.connection().execute(insert(Review), [{"book_id": 2}, {"book_id": 2}])


LACKING = frozenset(("update_returning", "update_returning_nothing"))
"""What MariaDB has no words for."""

VAGUER = {
    "update_where_exists": all_of("book"),
    "delete_where_in": all_of("review") + " shelf:1 shelf:2 shelf:3",
}
"""Where MariaDB does not say which rows a subquery has chosen."""


def kinds_on(driver: str) -> dict[str, Kind]:
    """The kinds of writes that there are on a driver."""
    if driver not in ("pymysql", "asyncmy"):
        return KINDS
    vaguer = {
        name: Kind(KINDS[name].write, set(pages.split()), "a WHERE that other rows decide")
        for name, pages in VAGUER.items()
    }
    return {name: kind for name, kind in (KINDS | vaguer).items() if name not in LACKING}
