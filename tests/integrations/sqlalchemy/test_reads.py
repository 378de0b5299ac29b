"""What is found of what a query reads: its dependencies, and what is refused."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import enum
import gc
import logging
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    MetaData,
    Sequence,
    StaticPool,
    String,
    Table,
    bindparam,
    create_engine,
    event,
    exists,
    func,
    insert,
    lambda_stmt,
    literal,
    literal_column,
    or_,
    select,
    tablesample,
    text,
    true,
    union,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    joinedload,
    load_only,
    mapped_column,
    relationship,
    selectinload,
    with_loader_criteria,
)
from sqlalchemy.sql.functions import FunctionElement

from rcache import Cache
from rcache.cache import _caches
from rcache.core.reads import Reads
from rcache.core.schemes import Scheme
from rcache.current import gathering
from rcache.integrations.sqlalchemy import track
from rcache.integrations.sqlalchemy.reads import plan, probe, trial
from rcache.integrations.sqlalchemy.reads.plan import MOST_VALUES
from rcache.integrations.sqlalchemy.reads.reader import Reader
from tests.integrations.sqlalchemy.harness import DRIVERS, enforce_foreign_keys
from tests.integrations.sqlalchemy.library import Base, Book, Dog, Employee, Manager, Review, User, fill
from tests.integrations.sqlalchemy.soundness.play import run


class Library:
    """The tables of the tests of writes, on a tracked engine in memory."""

    def __init__(self, *, foreign_keys: bool = True, base: Any = Base, **options: Any) -> None:
        engine_options = {name: options.pop(name) for name in ("query_cache_size",) if name in options}
        self.engine = create_engine(
            "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}, **engine_options
        )
        if foreign_keys:
            event.listen(self.engine, "connect", enforce_foreign_keys)
        base.metadata.create_all(self.engine)
        if base is Base:
            with Session(self.engine) as session:
                fill(session)
        self.tracking = track(self.engine, base.metadata, cache=Cache("memory://"), **options)

    @property
    def plans(self) -> Any:
        return self.engine.dialect._rcache_followed._reader._plans  # type: ignore[attr-defined]

    def read(self, work: Any, parameters: Any = None) -> Reads:
        """What is gathered while it works with a session, or while that statement is carried out."""
        with gathered() as reads, Session(self.engine) as session:
            if callable(work) and not hasattr(work, "compile"):
                work(session)
            else:
                session.execute(work, parameters).unique().all()
        return reads


@contextlib.contextmanager
def gathered(outer: Reads | None = None) -> Iterator[Reads]:
    reads = Reads(outer)
    token = gathering.set(reads)
    try:
        yield reads
    finally:
        gathering.reset(token)


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    """No cache of these tests is left open for those that need to be alone."""
    before = set(_caches)
    yield
    for cache in set(_caches) - before:
        asyncio.run(cache.close())


@pytest.fixture(scope="module")
def library() -> Iterator[Library]:
    made = Library()
    yield made
    made.tracking.untrack()


def rows(table: str, used: str | None = None, **values: object) -> str:
    """The tag of the rows with these values, of which these columns (and no others) are used."""
    columns = None if used is None else frozenset(used.split())
    if table in Base.metadata.tables and columns == set(Base.metadata.tables[table].columns.keys()):
        columns = None
    tag = Scheme(table, tuple(values), columns).tag(values)
    assert tag is not None
    return tag


# What is found

FOUND: dict[str, tuple[Any, set[str]]] = {
    "a row by its key": (lambda s: s.get(Book, 1), {"book:1"}),
    "a row that is not there": (lambda s: s.get(Book, 99), {"book:99"}),
    "an equality": (select(Book.title).where(Book.author_id == 1), {rows("book", "title author_id", author_id=1)}),
    "all columns": (
        select(Book).where(Book.author_id == 2),
        {rows("book", author_id=2), "book:3"},
    ),
    "a list": (
        select(Book.id).where(Book.author_id.in_([1, 2])),
        {rows("book", "id author_id", author_id=1), rows("book", "id author_id", author_id=2)},
    ),
    "an empty list": (select(Book.id).where(Book.author_id.in_([])), set()),
    "alternatives": (
        select(Book.id).where(or_(Book.author_id == 1, Book.title == "C")),
        {rows("book", "id author_id title", author_id=1), rows("book", "id author_id title", title="C")},
    ),
    "NULL": (select(Book.id).where(Book.author_id.is_(None)), {rows("book", "id author_id", author_id=None)}),
    "equal to NULL": (select(Book.id).where(Book.author_id == bindparam("p", None, Integer)), set()),
    "order and limit": (
        select(Book.id).where(Book.author_id == 1).order_by(Book.title).limit(1),
        {rows("book", "id author_id title", author_id=1)},
    ),
    "a count": (select(func.count()).select_from(Book), {rows("book", "")}),
    "a count of some": (
        select(func.count()).select_from(Book).where(Book.author_id == 1),
        {rows("book", "author_id", author_id=1)},
    ),
    "a join": (
        select(Book.title).join(Book.author).where(User.id == 2),
        {rows("book", "title author_id", author_id=2), rows("user", "id", id=2)},
    ),
    "a joinedload": (select(Book).where(Book.id == 1).options(joinedload(Book.author)), {"book:1", "user:1"}),
    "a joinedload of many": (
        select(User).where(User.id == 1).options(joinedload(User.books)),
        {"user:1", rows("book", author_id=1), "book:1", "book:2"},
    ),
    "a selectinload": (
        select(User).where(User.id == 1).options(selectinload(User.books)),
        {"user:1", rows("book", author_id=1), "book:1", "book:2"},
    ),
    "a lazy load": (lambda s: s.get(Book, 1).author.name, {"book:1", "user:1"}),
    "some attributes": (
        select(Book).where(Book.author_id == 2).options(load_only(Book.title)),
        {rows("book", "id title author_id", author_id=2), "book:3"},
    ),
    "an anti-join": (
        select(User.name).outerjoin(Book, (Book.author_id == User.id) & (Book.title == "A")).where(Book.id.is_(None)),
        {rows("user", "id name"), "book?title=A"},
    ),
    "an EXISTS": (
        select(User.name).where(exists().where(Book.author_id == User.id, Book.title == "A")),
        {rows("user", "id name"), rows("book", "author_id title", title="A")},
    ),
    "a subquery": (
        select(User.name).where(User.id.in_(select(Book.author_id).where(Book.title == "A"))),
        {rows("user", "id name"), rows("book", "author_id title", title="A")},
    ),
    "a UNION": (
        union(select(User.name).where(User.id == 1), select(Book.title).where(Book.id == 1)),
        {rows("user", "id name", id=1), rows("book", "id title", id=1)},
    ),
    "everything": (select(literal_column("*")).select_from(Book), {"book"}),
    "more alternatives than are told": (
        select(Book.id).where(or_(*[(Book.author_id == number) & (Book.id == 1) for number in range(30)])),
        {rows("book", "id author_id")},
    ),
    "nothing": (lambda s: s.execute(text("SAVEPOINT s")), set()),
    "a range": (select(Book.id).where(Book.id > 1), {rows("book", "id")}),
    "a function of a column": (
        select(Book.id).where(func.lower(Book.title) == "a"),
        {rows("book", "id title")},
    ),
    "a negation": (select(Book.id).where(~(Book.author_id == 1)), {rows("book", "id author_id")}),
    "a part in text form": (select(Book.id).where(text("title = 'A'")), {"book"}),
    "text form": (text('SELECT b.title FROM book b, "user" WHERE 1 = 1'), {"book", "user"}),
    "a literal": (select(literal_column("1")).where(true()), set()),
    "tenants' criteria": (
        select(Book).options(with_loader_criteria(Book, Book.author_id == 2)).where(Book.title == "C"),
        {rows("book", author_id=2, title="C"), "book:3"},
    ),
    "criteria that look elsewhere": (
        select(Book.id).options(
            with_loader_criteria(Book, Book.author_id.in_(select(User.id).where(User.name == "Bob")))
        ),
        {rows("book", "id author_id"), rows("user", "id name", name="Bob")},
    ),
    "a lambda": (
        lambda s: s.execute(lambda_stmt(lambda: select(Book.id)) + (lambda q: q.where(Book.author_id == 1))).all(),
        {rows("book", "id author_id", author_id=1)},
    ),
    "rows as they come": (
        lambda s: list(s.execute(select(Book.id).where(Book.author_id == 1).execution_options(yield_per=1))),
        {rows("book", "id author_id", author_id=1)},
    ),
    "a joined class": (
        select(Manager).where(Manager.budget == 1),
        {rows("manager", budget=1), "manager:2", "employee:2"},
    ),
    "a base class": (lambda s: s.get(Employee, 2).name, {"employee:2", "manager:2"}),
    "a class in a shared table": (select(Dog.name).where(Dog.id == 2), {"pet:2"}),
    "a refreshed object": (lambda s: s.refresh(s.get(Book, 1)), {"book:1"}),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_a_statement_depends_on(library: Library, name: str):
    statement, expected = FOUND[name]
    reads = library.read(statement)
    narrowed = {each if "~" in each or "?" not in each else f"{each}~" for each in expected}
    found = {
        tag if tag in narrowed else next((each for each in narrowed if each[-1] == "~" and tag.startswith(each)), tag)
        for tag in reads.tags
    }
    assert found == narrowed
    assert list(reads.refused) == []


def test_every_scheme_that_made_a_tag_is_told(library: Library):
    reads = library.read(select(Book.title).where(Book.author_id == 1))
    assert reads.schemes == {Scheme("book", ("author_id",), frozenset(("author_id", "title")))}


def test_a_statement_sent_again_is_told_with_its_own_parameters(library: Library):
    for author in (1, 2):
        reads = library.read(select(Book.title).where(Book.author_id == author))
        assert reads.tags == {rows("book", "title author_id", author_id=author)}


def test_a_long_list_is_asked_for_without_its_column(library: Library):
    several = Book.author_id.in_(range(MOST_VALUES + 1))
    assert library.read(select(Book.id).where(several)).tags == {rows("book", "id author_id")}
    assert library.read(select(Book.title).where(several, Book.id == 1)).tags == {"book:1"}


# Values


@pytest.mark.parametrize("value", ["1", True, 1.0])
def test_a_value_of_another_class_than_the_column_s_selects_nothing(library: Library, value: object):
    reads = library.read(select(Book.title).where(Book.author_id == literal(value, Integer)))
    assert reads.tags == {rows("book", "title author_id")}


class Suit(enum.Enum):
    RED = "red"
    BLACK = 2


class Odd(enum.Enum):
    PAIR = (1, 2)


def test_only_types_with_one_form_for_equal_values_are_told(library: Library):
    from sqlalchemy import CHAR, Boolean, Date, DateTime, Enum, Float, LargeBinary, Numeric, Text, TypeDecorator, Uuid
    from sqlalchemy.dialects import mysql, postgresql, sqlite

    from rcache.integrations.sqlalchemy.reads.kinds import kind_of

    class Loud(TypeDecorator[str]):
        impl = String
        cache_ok = True

        def process_bind_param(self, value: Any, dialect: Any) -> Any:
            return value and value.upper()

    class Quiet(TypeDecorator[str]):
        impl = String
        cache_ok = True

    told = [
        Integer(),
        Boolean(),
        Date(),
        Uuid(),
        Enum(Suit),
        Enum("a", "b"),
        String(5),
        Text(),
        String(collation="C"),
        Quiet(),
    ]
    untold = [
        Float(),
        Numeric(),
        DateTime(),
        LargeBinary(),
        CHAR(3),
        String(collation="NOCASE"),
        Loud(),
        Enum(Odd),
        Uuid(as_uuid=False),
    ]
    for dialect in (sqlite.dialect(), postgresql.dialect()):
        assert [kind for kind in told if kind_of(kind, dialect) is None] == []
        assert [kind for kind in [*untold, postgresql.CITEXT()] if kind_of(kind, dialect) is not None] == []
    assert kind_of(String(), mysql.dialect()) is None
    assert kind_of(Integer().with_variant(Float(), "sqlite"), sqlite.dialect()) is None


def test_null_is_not_asked_for_where_a_writer_cannot_tell_the_other_values():
    class Posts(DeclarativeBase):
        pass

    class Post(Posts):
        __tablename__ = "post"
        id: Mapped[int] = mapped_column(primary_key=True)
        text: Mapped[str]
        deleted: Mapped[datetime.datetime | None]

    reads = Library(base=Posts).read(select(Post.id).where(Post.deleted.is_(None)))
    assert reads.tags == {rows("post", "id deleted")}


def test_a_member_and_a_day_are_told():
    class Cards(DeclarativeBase):
        pass

    class Card(Cards):
        __tablename__ = "card"
        id: Mapped[int] = mapped_column(primary_key=True)
        suit: Mapped[Suit]
        day: Mapped[datetime.date]

    library = Library(base=Cards)
    day = datetime.date(2026, 1, 2)
    reads = library.read(select(Card.id).where(Card.suit == Suit.BLACK, Card.day == day))
    assert reads.tags == {rows("card", suit=Suit.BLACK, day=day)}


# Foreign keys


def test_without_enforced_foreign_keys_a_loaded_row_is_not_enough():
    library = Library(foreign_keys=False)
    reads = library.read(select(Book).where(Book.title == "A").options(joinedload(Book.author)))
    assert "user" in reads.tags


# What is refused

elsewhere = Table("elsewhere", MetaData(), Column("id", Integer, primary_key=True))


class strange(FunctionElement[Any]):  # noqa: N801
    name = "strange"
    inherit_cache = True


@compiles(strange)
def _strange(element: Any, compiler: Any, **kw: Any) -> str:
    return "1"


REFUSED: dict[str, tuple[Any, str]] = {
    "chance": (select(Book.id).order_by(func.random()), "function random"),
    "the time": (select(func.now()), "function now"),
    "the time as a word": (text("SELECT CURRENT_TIMESTAMP FROM book"), "function current_timestamp"),
    "an unknown function": (select(func.sqlite_version()), "function sqlite_version"),
    "an unknown function in text form": (text("SELECT sqlite_version() FROM book"), "function sqlite_version"),
    "a construct of one's own": (select(strange()).select_from(Book), "function strange"),
    "a table that is not tracked": (select(elsewhere.c.id), "untracked table elsewhere"),
    "a name that is not tracked": (text("SELECT * FROM sqlite_master"), "untracked table sqlite_master"),
    "what is no query": (text("PRAGMA table_info(book)"), "SQL that is no query: PRAGMA"),
    "a view": (text("SELECT * FROM shelf"), "untracked table shelf"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_followed_is_refused_by_name(library: Library, name: str):
    statement, reason = REFUSED[name]
    with library.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS elsewhere (id INTEGER)")
        connection.exec_driver_sql("CREATE VIEW IF NOT EXISTS shelf AS SELECT title FROM book")
    assert list(library.read(statement).refused) == [reason]


def test_what_a_database_does_not_tell_of_its_views_is_refused(monkeypatch: pytest.MonkeyPatch):
    library = Library()
    monkeypatch.setattr(Reader, "_named_views", failing)
    assert list(library.read(select(Book.id)).refused) == ["views: the database does not tell them"]
    monkeypatch.undo()
    assert list(library.read(select(Book.id)).refused) == []


def failing(*_: Any) -> Any:
    raise OperationalError("SELECT", {}, Exception("not allowed"))


@pytest.mark.parametrize("name", ["a sample", "a sequence"])
def test_chance_and_counters_are_refused(name: str):
    statements = {
        "a sample": (select(tablesample(Book, 50).c.id), "function tablesample"),
        "a sequence": (select(Sequence("numbers").next_value()), "function nextval"),
    }
    statement, reason = statements[name]
    known = create_engine("sqlite://")
    followed = track(known, Base.metadata, cache=Cache("memory://"))._followed
    compiled = statement.compile(dialect=postgresql.dialect())
    assert reason in plan.plan_of(compiled, followed._reader).refusals


def test_a_row_of_a_view_has_no_foreign_key_that_anybody_enforces():
    class Old(DeclarativeBase):
        pass

    class Land(Old):
        __tablename__ = "land"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Maker(Old):
        __tablename__ = "maker"
        id: Mapped[int] = mapped_column(primary_key=True)
        land_id: Mapped[int] = mapped_column(ForeignKey("land.id"))
        land = relationship(Land)

    class Thing(Old):
        __tablename__ = "thing"
        __cache_reads__ = ("parts",)
        id: Mapped[int] = mapped_column(primary_key=True)
        maker_id: Mapped[int] = mapped_column(ForeignKey("maker.id"))
        maker = relationship(Maker)

    statement = select(Thing).options(joinedload(Thing.maker).joinedload(Maker.land))
    assert Library(base=Old).read(statement).tags == {"parts", "maker"}


def test_a_write_to_a_table_that_is_not_tracked_is_one_too(library: Library):
    with library.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS elsewhere (id INTEGER)")
    assert list(library.read(lambda s: s.execute(insert(elsewhere).values(id=1))).refused) == ["wrote"]


def test_who_wrote_is_refused(library: Library):
    def work(session: Session) -> None:
        session.execute(insert(User), {"id": 50, "org_id": 1, "name": "x"})
        session.scalars(select(User.name)).all()

    assert set(library.read(work).refused) >= {"uncommitted"}


def test_a_session_that_had_loaded_objects_before_is_refused(library: Library):
    with Session(library.engine, expire_on_commit=False) as session:
        held = session.get(Book, 1)
        with gathered() as reads:
            session.scalars(select(Book).where(Book.author_id == 1)).all()
        session.commit()
        with gathered() as later:
            session.scalars(select(Book).where(Book.author_id == 1)).all()
        session.commit()
        session.expire_all()
        with gathered() as expired:
            session.scalars(select(Book).where(Book.author_id == 1)).all()
    assert list(reads.refused) == list(later.refused) == ["a session that had loaded objects before"]
    assert (held is not None, list(expired.refused)) == (True, [])


def test_an_older_session_on_a_connection_that_a_newer_one_has_used_is_refused(library: Library):
    with Session(library.engine, expire_on_commit=False) as older:
        held = older.get(Book, 1)
        older.commit()
        with gathered() as reads:
            with Session(library.engine) as newer:
                newer.get(Book, 2)
            older.scalars(select(Book)).all()
    assert (held is not None, list(reads.refused)) == (True, ["a session that had loaded objects before"])


def test_what_is_around_a_gathering_has_seen_what_the_session_loaded_before_it(library: Library):
    with gathered() as reads, Session(library.engine, expire_on_commit=False) as session:
        held = session.get(Book, 1)
        for _ in range(2):
            with gathered(reads) as inner:
                session.scalars(select(Book)).all()
            assert list(inner.refused) == ["a session that had loaded objects before"]
        session.commit()
        held = session.get(Book, 1, populate_existing=True)
    assert (held is not None, list(reads.refused)) == (True, [])


def test_a_session_of_the_request_s_own_is_not_refused(library: Library):
    def work(session: Session) -> None:
        held = session.get(Book, 1)
        assert held in session.scalars(select(Book)).all()

    assert list(library.read(work).refused) == []


def test_a_connection_that_an_older_session_has_given_back_is_not_refused(library: Library):
    with Session(library.engine, expire_on_commit=False) as older:
        held = older.get(Book, 1)
        older.commit()
        with gathered() as reads, library.engine.connect() as connection:
            connection.execute(select(Book.id)).all()
    assert (held is not None, list(reads.refused)) == (True, [])


def test_an_object_that_has_expired_and_is_loaded_anew_adds_its_tag(library: Library):
    with Session(library.engine) as session:
        held = session.get(User, 1)
        session.commit()
        with gathered() as reads:
            session.scalars(select(Book).where(Book.title == "A").options(joinedload(Book.author))).all()
    assert held is not None
    assert reads.tags == {rows("book", title="A"), "book:1", "user:1"}


def test_a_raw_connection_is_refused(library: Library):
    with gathered() as reads:
        library.engine.raw_connection().close()
    assert list(reads.refused) == ["a raw connection"]
    with gathered() as reads, library.engine.connect() as connection:
        connection.execute(select(Book.id).where(Book.id == 1)).all()
    assert list(reads.refused) == []


# What is declared


class Shop(DeclarativeBase):
    pass


class Item(Shop):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[int]


class Sale(Shop):
    __tablename__ = "sale"
    __cache_tag__ = "sold"
    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id"))


class Total(Shop):
    __tablename__ = "total"
    __cache_reads__ = ("sale", "item")
    owner: Mapped[int] = mapped_column(primary_key=True)
    count: Mapped[int]


listed = Table("listed", Shop.metadata, Column("id", Integer), info={"cache_reads": ("total",)})
undeclared = Table("undeclared", Shop.metadata, Column("id", Integer))


@pytest.fixture(scope="module")
def shop() -> Iterator[Library]:
    engine_base = MetaData()
    for name in ("item", "sale"):
        Shop.metadata.tables[name].to_metadata(engine_base)

    class Real:
        metadata = engine_base

    made = Library(base=Real)
    made.tracking.untrack()
    with made.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE VIEW total AS SELECT owner, 1 AS count FROM item JOIN sale ON item_id = item.id"
        )
        connection.exec_driver_sql("CREATE VIEW listed AS SELECT owner AS id FROM total")
        connection.exec_driver_sql("CREATE VIEW undeclared AS SELECT id FROM item")
        connection.exec_driver_sql("CREATE VIEW named AS SELECT id FROM item")
    made.tracking = track(
        made.engine,
        Shop.metadata,
        cache=Cache("memory://"),
        views={"named": ("item",)},
        functions={"sqlite_version": (), "changes": ("sale",)},
    )
    yield made
    made.tracking.untrack()


@pytest.mark.parametrize(
    ("statement", "tags"),
    [
        (select(Total.count).where(Total.owner == 1), {"sold", "item"}),
        (select(listed.c.id), {"sold", "item"}),
        (text("SELECT * FROM named"), {"item"}),
        (text("SELECT * FROM listed"), {"sold", "item"}),
        (select(func.sqlite_version()), set()),
        (select(func.changes()), {"sold"}),
        (select(Item.id).where(Item.id == 1, func.sqlite_version() == "x"), {rows("item", "id", id=1)}),
    ],
)
def test_what_is_declared_is_read_as_the_tables_behind_it(shop: Library, statement: Any, tags: set[str]):
    reads = shop.read(statement)
    assert (reads.tags, list(reads.refused)) == (tags, [])


@pytest.mark.parametrize("statement", [select(undeclared.c.id), text("SELECT id FROM undeclared")])
def test_a_mapped_view_that_nobody_declared_is_refused(shop: Library, statement: Any):
    assert list(shop.read(statement).refused) == ["view undeclared"]


def test_a_declaration_names_tables(shop: Library):
    from rcache import ConfigurationError

    with pytest.raises(ConfigurationError, match="must name tables"):
        track(shop.engine, Shop.metadata, cache=Cache("memory://"), views={"named": "item"})


# Where it is gathered


@pytest.mark.parametrize("driver", DRIVERS)
async def test_it_is_gathered_on_every_driver(make_world: Any, driver: str):
    world = make_world(driver)
    with gathered() as reads:
        await world.run(lambda session: session.scalars(select(Book.title).where(Book.author_id == 1)).all())
        await world.run(lambda session: session.scalars(select(Book).options(joinedload(Book.author))).all())
    assert reads.tags >= {rows("book", "title author_id", author_id=1), "book:1", "user:2", "book"}
    # Whether MySQL enforces foreign keys depends on each table's engine.
    assert ("user" in reads.tags, list(reads.refused)) == ("mysql" in driver or "asyncmy" in driver, [])


def test_it_is_gathered_in_a_thread_that_was_given_the_context(library: Library):
    with gathered() as reads:
        context = copy_context()
        thread = threading.Thread(target=context.run, args=(_read_in_a_thread, library))
        thread.start()
        thread.join()
    assert reads.tags == {"book:1"}


def _read_in_a_thread(library: Library) -> None:
    with Session(library.engine) as session:
        session.get(Book, 1)


def test_nothing_is_planned_where_nobody_asks():
    library = Library()
    with Session(library.engine) as session:
        session.scalars(select(Book)).all()
    assert len(library.plans) == 0


def test_sqlmodel_is_followed():
    sqlmodel = pytest.importorskip("sqlmodel")

    class Champion(sqlmodel.SQLModel, table=True):
        id: int | None = sqlmodel.Field(default=None, primary_key=True)
        team: str

    class Champions:
        metadata = Champion.metadata

    library = Library(base=Champions)
    with gathered() as reads, sqlmodel.Session(library.engine) as session:
        session.exec(sqlmodel.select(Champion).where(Champion.team == "x")).all()
    assert reads.tags == {rows("champion", team="x")}


# Bounds


def test_plans_are_kept_as_long_as_the_compiled_statement_is():
    library = Library(query_cache_size=10)
    for number in range(100):
        library.read(select(Book.id.label(f"l{number}")).where(Book.id == 1))
    gc.collect()
    assert len(library.plans) <= 20


def test_another_class_makes_plans_anew(library: Library):
    for column in (Review.id, Review.book_id):
        library.read(select(column))

    class Others(DeclarativeBase):
        pass

    class Another(Others):
        __tablename__ = "another"
        id: Mapped[int] = mapped_column(primary_key=True)

    assert len(library.plans) > 1
    library.read(select(Review.id))
    assert len(library.plans) == 1


def test_ddl_makes_plans_anew(library: Library):
    library.read(select(Review.id))
    assert len(library.plans) > 0
    with library.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS another (id INTEGER)")
    assert len(library.plans) == 0


# Another SQLAlchemy


def fails(*_: Any, **__: Any) -> Any:
    raise AttributeError("it is called something else now")


@pytest.fixture
def drifted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Lets an internal be gone, for engines that are tracked from then on."""
    known = dict(trial._familiar)

    def drift() -> None:
        trial._familiar.clear()
        monkeypatch.setattr(probe._Eyes, "_compose_select_body", fails)

    yield drift
    trial._familiar.clear()
    trial._familiar.update(known)


def test_with_an_internal_that_has_changed_tables_are_told_and_that_is_logged_once(
    drifted: Callable[[], None], caplog: pytest.LogCaptureFixture
):
    drifted()
    with caplog.at_level(logging.WARNING, logger="rcache"):
        library, _ = Library(), Library()
        reads = library.read(select(Book).where(Book.author_id == 2).options(joinedload(Book.author)))
        refused = library.read(select(func.random()).select_from(Book)).refused
    assert reads.tags == {"book", "user", "book:3", "user:2"}
    assert list(refused) == ["function random"]
    (told,) = [record.message for record in caplog.records if record.name == "rcache"]
    assert "not as rcache knows it (equality: AttributeError('it is called something else now'))" in told


def test_with_an_internal_that_has_changed_nothing_is_stale(drifted: Callable[[], None]):
    drifted()
    tally = run("sqlite://", 11, writes=12)
    assert tally.stale == []
    assert tally.flushed >= tally.tables > 0


def test_a_statement_that_cannot_be_planned_is_told_by_its_words(
    library: Library, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(plan, "look", fails)
    reads = library.read(select(Book.title.label("once")).where(Book.author_id == 2))
    assert reads.tags == {"book"}
    assert "told by its words alone" in caplog.text


@pytest.mark.parametrize("what", ["text", "parameters"])
def test_what_was_not_written_as_it_is_sent_is_not_trusted(library: Library, what: str):
    statement = select(Book.title).where(Book.author_id == 1)
    compiled = statement.compile(dialect=library.engine.dialect)
    if what == "text":
        compiled.string += " "
    else:
        compiled.bind_names = dict.fromkeys(compiled.bind_names, "another")
    with pytest.raises(probe.UnlikeError):
        probe.look(compiled)
