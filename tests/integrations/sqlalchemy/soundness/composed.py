"""Queries that nobody thought of: joins of any kind between any tables, with any conditions, some of them within subqueries."""

from __future__ import annotations

import random
from typing import Any

from sqlalchemy import and_, exists, func, not_, or_, select
from sqlalchemy.orm import aliased, contains_eager, joinedload, selectinload

from tests.integrations.sqlalchemy.soundness.models import (
    NAMES,
    ROWS,
    WORDS,
    Article,
    Comment,
    Follow,
    Note,
    Org,
    Pet,
    Place,
    Profile,
    User,
)
from tests.integrations.sqlalchemy.soundness.queries import Question, follow, rows, shape

MODELS = (Article, User, Comment, Org, Profile, Note, Place, Follow)

NUMBERS: dict[type[Any], tuple[str, ...]] = {
    Article: ("id", "author_id", "stars"),
    User: ("id", "org_id", "age"),
    Comment: ("id", "article_id", "writer_id"),
    Org: ("id",),
    Profile: ("user_id",),
    Note: ("id", "about"),
    Place: ("id", "parent_id"),
    Follow: ("follower_id", "followed_id", "weight"),
}
TEXTS: dict[type[Any], tuple[str, ...]] = {
    Article: ("title", "word"),
    User: ("name",),
    Comment: ("text",),
    Org: ("name",),
    Profile: ("text",),
    Note: ("text",),
    Place: ("name",),
    Follow: (),
}


class Part:
    """A table in FROM under a name of its own."""

    def __init__(self, r: random.Random) -> None:
        self.model = r.choice(MODELS)
        self.alias = aliased(self.model)

    def number(self, r: random.Random) -> Any:
        return getattr(self.alias, r.choice(NUMBERS[self.model]))

    def text(self, r: random.Random) -> Any:
        return getattr(self.alias, r.choice(TEXTS[self.model])) if TEXTS[self.model] else None

    def column(self, r: random.Random) -> Any:
        return getattr(self.alias, r.choice(NUMBERS[self.model] + TEXTS[self.model]))


def condition(r: random.Random, parts: list[Part], depth: int = 2) -> Any:
    """Something that may be asked of them."""
    kind = r.randint(0, 11)
    if depth and kind < 3:
        return r.choice((and_, or_))(condition(r, parts, depth - 1), condition(r, parts, depth - 1))
    if depth and kind == 3:
        return not_(condition(r, parts, depth - 1))
    if depth and kind == 4:
        return subquery(r, parts, depth - 1)
    part, other = r.choice(parts), r.choice(parts)
    text = part.text(r)
    if kind == 5 and text is not None:
        return text == r.choice((*NAMES, *WORDS))
    if kind == 6:
        return part.column(r).is_(None)
    if kind == 7:
        return part.number(r).in_([r.choice((1, 2, 3, None)), r.randint(1, ROWS)])
    if kind == 8:
        return part.number(r) > r.randint(0, 3)
    if kind > 8:
        return part.number(r) == other.number(r)
    return part.number(r) == r.randint(0, 5)


def subquery(r: random.Random, parts: list[Part], depth: int) -> Any:
    """Whether there is such a row, or whether a column is among those of some."""
    inner = Part(r)
    asked = condition(r, [inner, inner, r.choice(parts)], depth)
    if r.random() < 0.5:
        found = exists().where(asked, inner.number(r) == r.choice(parts).number(r))
        return found if r.random() < 0.5 else ~found
    chosen = select(inner.number(r)).where(condition(r, [inner], depth))
    column = r.choice(parts).number(r)
    return column.in_(chosen) if r.random() < 0.7 else column.not_in(chosen)


def joined(r: random.Random) -> tuple[Any, list[Part]]:
    """FROM, with its parts."""
    parts = [Part(r)]
    source: Any = None
    for _ in range(r.randint(0, 2)):
        part = Part(r)
        on = part.number(r) == r.choice(parts).number(r)
        if r.random() < 0.4:
            on = and_(on, condition(r, [*parts, part], 1))
        kind = r.random()
        left = parts[0].alias if source is None else source
        parts.append(part)
        # PostgreSQL joins in full by equality alone.
        is_full = kind > 0.9 and not hasattr(on, "clauses")
        source = (
            select(left).join(part.alias, on, isouter=0.3 < kind <= 0.9, full=is_full)
            if source is None
            else source.join(part.alias, on, isouter=0.3 < kind <= 0.9, full=is_full)
        )
    return source if source is not None else select(parts[0].alias), parts


@shape()
def anything(r: random.Random) -> Question:
    """Columns of whatever was joined, or how many there are."""
    source, parts = joined(r)
    where = [condition(r, parts) for _ in range(r.randint(0, 2))]
    if r.random() < 0.2:
        return rows(source.with_only_columns(func.count(), maintain_column_froms=True).where(*where))
    columns = [part.column(r).label(f"c{number}") for number, part in enumerate(parts)]
    statement = source.with_only_columns(*columns, maintain_column_froms=True).where(*where)
    return rows(statement.distinct() if r.random() < 0.2 else statement)


PATHS: dict[type[Any], tuple[tuple[str, ...], ...]] = {
    Comment: (("article", "author", "org"), ("writer", "org"), ("article", "labels"), ("writer", "profile")),
    Article: (("author", "org"), ("author", "profile"), ("comments", "writer"), ("labels",)),
    User: (("org",), ("articles",), ("profile",)),
    Follow: (("followed", "org"), ("follower",)),
    Profile: (("user", "org"),),
    Note: (("member", "org"),),
    Place: (("parent", "parent"), ("children",)),
    Pet: (("owner", "org"),),
}


@shape()
def any_objects(r: random.Random) -> Question:
    """Objects with others that hang on them, loaded in any way, filtered and ordered by any of them."""
    model = r.choice(list(PATHS))
    path = r.choice(PATHS[model])
    path = path[: r.randint(1, len(path))]
    statement, ends, options = select(model), [model], None
    for name in path:
        attribute = getattr(ends[-1], name)
        target = attribute.property.mapper.class_
        kind = r.randint(0, 4) if not attribute.property.uselist else r.randint(0, 2)
        if kind > 2 and target not in ends and len(ends) == 1:
            statement = statement.join(attribute) if r.random() < 0.5 else statement.outerjoin(attribute)
            options = contains_eager(attribute)
        elif kind > 0:
            way = {"innerjoin": True} if r.random() < 0.3 and not attribute.property.uselist else {}
            options = joinedload(attribute, **way) if options is None else options.joinedload(attribute, **way)
        else:
            options = selectinload(attribute) if options is None else options.selectinload(attribute)
        ends.append(target)
    statement = statement.options(options)
    columns = [column for column in model.__table__.columns if column.key != "photo"]
    if r.random() < 0.7:
        statement = statement.where(a_value(r, columns))
    orders = [model.__table__.c[key.key] for key in model.__table__.primary_key.columns]
    if r.random() < 0.3:
        orders.insert(0, r.choice(columns))
    statement = statement.order_by(*orders)
    if r.random() < 0.3:
        statement = statement.limit(2)
    paths = (".".join(path),)
    if r.random() < 0.3:
        return lambda s: follow(s.scalars(statement).unique().first(), paths)
    return lambda s: [follow(each, paths) for each in s.scalars(statement).unique()]


def a_value(r: random.Random, columns: list[Any]) -> Any:
    """An equality or something else, of a column that holds a number or a text."""
    column = r.choice([each for each in columns if each.type.python_type in (int, str)] or columns)
    if column.type.python_type is str:
        return column.in_([r.choice((*NAMES, *WORDS)), r.choice(NAMES)])
    return r.choice((column == r.randint(1, ROWS), column > r.randint(0, 5), column.is_(None), column.in_([1, 2, 5])))
