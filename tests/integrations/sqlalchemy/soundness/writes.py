"""Kinds of writes. Each commits, or rolls back, as it likes; one that the database refuses has changed nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, bindparam, delete, exists, func, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from tests.integrations.sqlalchemy.soundness.models import (
    NAMES,
    ROWS,
    WORDS,
    Article,
    Comment,
    Dog,
    Employee,
    Follow,
    Label,
    Manager,
    Note,
    Org,
    Pet,
    Place,
    Profile,
    Seat,
    User,
    article_label,
    article_values,
    user_values,
)

Write = Callable[[Engine, random.Random], None]
KINDS: dict[str, Write] = {}


def in_a_session(work: Callable[[Session, random.Random], None]) -> Write:
    """Adds a kind that works in one session, and commits."""

    def write(engine: Engine, r: random.Random) -> None:
        with Session(engine) as session:
            work(session, r)
            session.commit()

    KINDS[work.__name__] = write
    return write


def on_an_engine(work: Write) -> Write:
    """Adds a kind that looks after its transactions itself."""
    KINDS[work.__name__] = work
    return work


def free_id(s: Session, model: Any) -> int:
    """A key that may be free again, so that rows come back."""
    taken = set(s.scalars(select(model.id)))
    return next((number for number in range(1, ROWS + 4) if number not in taken), max(taken, default=0) + 1)


def some(s: Session, r: random.Random, model: Any) -> Any:
    found = s.scalars(select(model)).all()
    return r.choice(found) if found else None


def new_comment(s: Session, r: random.Random) -> Comment:
    article, writer = some(s, r, Article), some(s, r, User)
    return Comment(
        id=free_id(s, Comment),
        article_id=article.id if article else 0,
        writer_id=writer.id if writer and r.random() < 0.8 else None,
        text=r.choice(WORDS),
    )


# Through objects


@in_a_session
def an_attribute(s: Session, r: random.Random) -> None:
    thing = some(s, r, r.choice((Article, User, Label, Comment, Place, Note, Profile)))
    if isinstance(thing, Article):
        name, value = r.choice(list(article_values(r).items()))
        setattr(thing, name, value if name != "author_id" else thing.author_id)
    elif isinstance(thing, User):
        name, value = r.choice(list(user_values(r).items()))
        setattr(thing, name, value)
    elif isinstance(thing, Label):
        thing.word = r.choice(WORDS)
    elif isinstance(thing, Place):
        thing.name = r.choice(NAMES)
    elif thing is not None:
        thing.text = r.choice(WORDS)


@in_a_session
def an_author(s: Session, r: random.Random) -> None:
    user = some(s, r, User)
    if user is not None:
        name, value = r.choice([each for each in user_values(r).items() if each[0] != "org_id"])
        setattr(user, name, value)


@in_a_session
def several_attributes(s: Session, r: random.Random) -> None:
    user = some(s, r, User)
    if user is not None:
        for name, value in user_values(r).items():
            setattr(user, name, value)


@in_a_session
def a_foreign_key(s: Session, r: random.Random) -> None:
    article = some(s, r, Article)
    if article is not None:
        article.author = some(s, r, User) if r.random() < 0.7 else None


@in_a_session
def a_backref(s: Session, r: random.Random) -> None:
    user, article = some(s, r, User), some(s, r, Article)
    if user is not None and article is not None:
        user.articles.append(article)


@in_a_session
def many_to_many(s: Session, r: random.Random) -> None:
    article, label = some(s, r, Article), some(s, r, Label)
    if article is not None and label is not None:
        (article.labels.remove if label in article.labels else article.labels.append)(label)


@in_a_session
def new_objects(s: Session, r: random.Random) -> None:
    if r.random() < 0.5:
        s.add(
            Article(id=free_id(s, Article), **{**article_values(r), "author_id": getattr(some(s, r, User), "id", None)})
        )
    else:
        s.add(User(id=free_id(s, User), **user_values(r)))
    if r.random() < 0.3:
        s.add(new_comment(s, r))


@in_a_session
def a_new_label(s: Session, r: random.Random) -> None:
    s.add(Label(id=free_id(s, Label), word=r.choice(WORDS)))


@in_a_session
def a_deleted_object(s: Session, r: random.Random) -> None:
    thing = some(s, r, r.choice((Article, Comment, Label, Comment, Note, Pet)))
    if thing is not None:
        s.delete(thing)


@in_a_session
def a_cascade(s: Session, r: random.Random) -> None:
    thing = some(s, r, r.choice((User, User, Place)))
    if thing is not None and not (isinstance(thing, Place) and thing.id < 3):
        s.delete(thing)


@in_a_session
def one_to_one(s: Session, r: random.Random) -> None:
    user = some(s, r, User)
    if user is not None:
        if user.profile is None:
            s.add(Profile(user_id=user.id, text=r.choice(WORDS)))
        else:
            s.delete(user.profile)


@in_a_session
def a_tree(s: Session, r: random.Random) -> None:
    place = some(s, r, Place)
    if place is not None and place.id > 2:
        place.parent_id = r.choice((None, 1, 2))
    else:
        s.add(Place(id=free_id(s, Place), parent_id=r.choice((1, 2)), name=r.choice(NAMES)))


@in_a_session
def a_class_of_a_hierarchy(s: Session, r: random.Random) -> None:
    employee = some(s, r, Employee)
    if employee is None or r.random() < 0.3:
        key = free_id(s, Employee)
        s.add(r.choice((Employee(id=key, name="ann"), Manager(id=key, name=r.choice(NAMES), budget=r.randint(0, 2)))))
    elif isinstance(employee, Manager) and r.random() < 0.5:
        employee.budget = r.randint(0, 2)
    elif r.random() < 0.3:
        s.delete(employee)
    else:
        employee.name = r.choice(NAMES)


@in_a_session
def a_class_in_a_shared_table(s: Session, r: random.Random) -> None:
    pet = some(s, r, Pet)
    if pet is None or r.random() < 0.4:
        s.add(r.choice((Pet, Dog))(id=free_id(s, Pet), name=r.choice(NAMES), owner=some(s, r, User)))
    else:
        pet.owner = some(s, r, User)


@in_a_session
def a_composite_key(s: Session, r: random.Random) -> None:
    key = {"row": r.choice("ab"), "number": r.randint(1, 4)}
    seat = s.get(Seat, (key["row"], key["number"]))
    if seat is None:
        s.add(Seat(**key, holder=r.choice((None, 1, 2))))
    elif r.random() < 0.3:
        s.delete(seat)
    else:
        seat.holder = r.choice((None, 1, 2))


@in_a_session
def follows(s: Session, r: random.Random) -> None:
    one, two = some(s, r, User), some(s, r, User)
    if one is not None and two is not None:
        found = s.get(Follow, (one.id, two.id))
        if found is None:
            s.add(Follow(follower_id=one.id, followed_id=two.id, weight=0))
        else:
            s.delete(found)


# Bulk forms and Core


@in_a_session
def bulk_save(s: Session, r: random.Random) -> None:
    first = free_id(s, Note)
    s.bulk_save_objects(
        [
            Note(id=first + 20 + each, about=r.randint(1, ROWS), about_text=f"0{each}", text=r.choice(WORDS))
            for each in (0, 1)
        ]
    )


@in_a_session
def bulk_update_by_key(s: Session, r: random.Random) -> None:
    keys = [article.id for article in s.scalars(select(Article).limit(3))]
    if keys:
        s.execute(update(Article), [{"id": key, "stars": r.randint(0, 3)} for key in keys])


@in_a_session
def bulk_insert(s: Session, r: random.Random) -> None:
    article = some(s, r, Article)
    first = max(s.scalars(select(Comment.id)), default=0) + 1
    if article is not None and first < 40:
        rows = [{"id": first + each, "article_id": article.id, "text": r.choice(WORDS)} for each in (0, 1)]
        s.execute(insert(Comment), rows)


@in_a_session
def update_where(s: Session, r: random.Random) -> None:
    s.execute(update(Article).where(Article.author_id == r.randint(1, ROWS)).values(stars=r.randint(0, 3)))


@in_a_session
def update_with_an_expression(s: Session, r: random.Random) -> None:
    s.execute(
        update(Article)
        .where(Article.word == r.choice(WORDS))
        .values(stars=(Article.stars + 1) % 4, score=Article.score)
    )


@in_a_session
def update_where_there_is(s: Session, r: random.Random) -> None:
    condition = exists().where(User.id == Article.author_id, User.name == r.choice(NAMES))
    statement = update(Article).where(condition).values(word=r.choice((None, *WORDS)))
    s.execute(statement.execution_options(synchronize_session=False))


@in_a_session
def delete_where(s: Session, r: random.Random) -> None:
    inner = select(Article.id).where(Article.author_id == r.randint(1, ROWS))
    s.execute(delete(Comment).where(Comment.article_id.in_(inner)).execution_options(synchronize_session=False))


@in_a_session
def executemany(s: Session, r: random.Random) -> None:
    table = User.__table__
    statement = (
        update(table).where(table.c.id == bindparam("which")).values(age=bindparam("to"), nick=bindparam("called"))
    )
    s.connection().execute(
        statement,
        [{"which": r.randint(1, ROWS), "to": r.choice((None, 1, 2, 5)), "called": r.choice(WORDS)} for _ in (0, 1)],
    )


@in_a_session
def association_in_core(s: Session, r: random.Random) -> None:
    article, label = some(s, r, Article), some(s, r, Label)
    if article is not None and label is not None:
        which = (article_label.c.article_id == article.id) & (article_label.c.label_id == label.id)
        if s.execute(delete(article_label).where(which)).rowcount == 0:
            s.execute(insert(article_label).values(article_id=article.id, label_id=label.id))


@in_a_session
def an_upsert(s: Session, r: random.Random) -> None:
    dialect = postgresql if s.get_bind().dialect.name == "postgresql" else sqlite
    name = r.choice(NAMES)
    statement = dialect.insert(Org).values(id=r.randint(1, 3), name=name)
    s.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"name": name}))


@in_a_session
def insert_from_select(s: Session, r: random.Random) -> None:
    first = max(s.scalars(select(Note.id)), default=0)
    if first < 60:
        rows = select(User.id + first, User.id, User.name).where(User.id <= r.randint(0, 2))
        s.execute(insert(Note).from_select(["id", "about", "text"], rows))


@in_a_session
def text_form(s: Session, r: random.Random) -> None:
    s.execute(text("UPDATE label SET word = :word WHERE id = :id"), {"word": r.choice(WORDS), "id": r.randint(1, 4)})


@in_a_session
def bytes_and_more(s: Session, r: random.Random) -> None:
    user = some(s, r, User)
    if user is not None:
        user.photo = bytes([r.randint(0, 3)])
        user.age = r.choice((None, 1, 2, 5))


@in_a_session
def unlike_texts(s: Session, r: random.Random) -> None:
    note = some(s, r, Note)
    if note is not None:
        number = r.randint(1, ROWS)
        note.about, note.about_text = number, r.choice((f"{number}", f"0{number}", f"00{number}"))


@in_a_session
def a_member_that_notes_know(s: Session, r: random.Random) -> None:
    key = r.randint(1, ROWS + 2)
    user = s.get(User, key)
    if user is None:
        s.add(User(id=key, **user_values(r)))
    else:
        s.delete(user)


# Transactions


@on_an_engine
def a_rollback(engine: Engine, r: random.Random) -> None:
    with Session(engine) as s:
        article = some(s, r, Article)
        if article is not None:
            article.title = "never"
            s.flush()
        s.rollback()


@on_an_engine
def savepoints(engine: Engine, r: random.Random) -> None:
    with Session(engine) as s:
        first, second = some(s, r, Article), some(s, r, User)
        if first is None or second is None:
            return
        with s.begin_nested():
            first.word = r.choice(WORDS)
        nested = s.begin_nested()
        second.name = r.choice(NAMES)
        s.flush()
        nested.rollback()
        s.commit()


@on_an_engine
def two_sessions_with_stale_copies(engine: Engine, r: random.Random) -> None:
    with Session(engine, expire_on_commit=False) as old, Session(engine) as fresh:
        article = some(old, r, Article)
        if article is None:
            return
        _ = article.author
        old.commit()
        other = fresh.get(Article, article.id)
        assert other is not None
        other.word, other.stars = r.choice(WORDS), r.randint(0, 3)
        other.author = some(fresh, r, User)
        fresh.commit()
        article.word = r.choice((None, *WORDS))  # whatever the row says by now
        article.author_id = r.choice((None, article.author_id))
        if r.random() < 0.5:
            article.stars = r.randint(0, 3)
        old.commit()


@on_an_engine
def a_stale_delete(engine: Engine, r: random.Random) -> None:
    with Session(engine, expire_on_commit=False) as old, Session(engine) as fresh:
        comment = some(old, r, Comment)
        if comment is None:
            return
        old.commit()
        other = fresh.get(Comment, comment.id)
        assert other is not None
        other.text, other.writer = r.choice(WORDS), some(fresh, r, User)
        fresh.commit()
        old.delete(comment)
        old.commit()


@on_an_engine
def autocommit(engine: Engine, r: random.Random) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(update(Label).where(Label.id == r.randint(1, 4)).values(word=r.choice(WORDS)))


@on_an_engine
def replenish(engine: Engine, r: random.Random) -> None:
    """Rows that others have deleted, so that there is always something to see."""
    with Session(engine) as s:
        for model, values in ((User, user_values), (Article, article_values)):
            if len(s.scalars(select(model.id)).all()) < ROWS - 3:
                made = values(r)
                if model is Article:
                    made["author_id"] = getattr(some(s, r, User), "id", None)
                s.add(model(id=free_id(s, model), **made))
        if len(s.scalars(select(Comment.id)).all()) < ROWS - 2:
            s.flush()
            s.add(new_comment(s, r))
        s.execute(delete(Note).where(Note.id > 40))
        s.execute(delete(Comment).where(Comment.id > 30))
        if s.scalar(select(func.count()).select_from(Label)) < 4:
            s.add(Label(id=free_id(s, Label), word=r.choice(WORDS)))
        s.commit()
