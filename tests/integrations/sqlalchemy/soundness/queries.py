"""Shapes of queries. Each makes a question, whose answer is plain values: rows in an order that the question gives, or sorted.

`expressible`: those that the precision table calls exact.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, case, exists, func, literal, not_, or_, select, text, union, union_all
from sqlalchemy.orm import (
    Session,
    aliased,
    contains_eager,
    joinedload,
    load_only,
    selectinload,
    subqueryload,
    with_loader_criteria,
    with_polymorphic,
)

from tests.integrations.sqlalchemy.soundness.models import (
    CODES,
    DAYS,
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
    Role,
    Seat,
    User,
    article_label,
)

Question = Callable[[Session], Any]


class Shape(NamedTuple):
    """Makes questions of one kind."""

    name: str
    make: Callable[[random.Random], Question]
    is_expressible: bool
    dialects: tuple[str, ...]


SHAPES: dict[str, Shape] = {}


def shape(*, exact: bool = False, dialects: tuple[str, ...] = ("sqlite", "postgresql")) -> Any:
    """Adds a shape; `exact`: expressible."""

    def note(make: Callable[[random.Random], Question]) -> Any:
        SHAPES[make.__name__] = Shape(make.__name__, make, exact, dialects)
        return make

    return note


def row_of(thing: Any) -> tuple[Any, ...]:
    """An object's columns."""
    if thing is None:
        return ()
    return (type(thing).__name__, *[getattr(thing, each.key) for each in type(thing).__mapper__.column_attrs])


def rows(statement: Any) -> Question:
    """Plain rows, in no order."""
    return lambda s: sorted((tuple(each) for each in s.execute(statement)), key=repr)


def ordered(statement: Any) -> Question:
    """Plain rows as they come."""
    return lambda s: [tuple(each) for each in s.execute(statement)]


def objects(statement: Any, *paths: str) -> Question:
    """Objects with what hangs on them along these paths, in no order."""

    def ask(s: Session) -> Any:
        return sorted((follow(each, paths) for each in s.scalars(statement).unique()), key=repr)

    return ask


def follow(thing: Any, paths: tuple[str, ...]) -> Any:
    found: list[Any] = [row_of(thing)]
    for path in paths:
        first, _, rest = path.partition(".")
        there = getattr(thing, first) if thing is not None else None
        rest_paths = (rest,) if rest else ()
        if isinstance(there, list):
            found.append(sorted((follow(each, rest_paths) for each in there), key=repr))
        else:
            found.append(follow(there, rest_paths))
    return tuple(found)


def any_id(r: random.Random) -> int:
    return r.randint(1, ROWS + 1)


# By primary key


@shape(exact=True)
def a_get(r: random.Random) -> Question:
    model, key = r.choice((Org, User, Article, Comment, Label, Place)), any_id(r)
    return lambda s: row_of(s.get(model, key))


@shape(exact=True)
def a_composite_get(r: random.Random) -> Question:
    key = (r.choice("ab"), r.randint(1, 4))
    return lambda s: row_of(s.get(Seat, key))


@shape(exact=True)
def a_get_with_lazy_loads(r: random.Random) -> Question:
    key = any_id(r)
    return lambda s: follow(s.get(Article, key), ("author.org", "comments", "labels"))


@shape(exact=True)
def a_get_of_some_columns(r: random.Random) -> Question:
    return rows(select(User.name, User.age).where(User.id == any_id(r)))


@shape(exact=True)
def a_row_in_several(r: random.Random) -> Question:
    return objects(select(Article).where(Article.id.in_([any_id(r), any_id(r), any_id(r)])))


@shape(exact=True)
def one_to_one(r: random.Random) -> Question:
    key = any_id(r)
    return lambda s: follow(s.get(User, key), ("profile",))


# Equalities


@shape(exact=True)
def equal(r: random.Random) -> Question:
    return objects(select(Article).where(Article.author_id == any_id(r)))


@shape(exact=True)
def equal_columns(r: random.Random) -> Question:
    return rows(select(Article.title).where(Article.author_id == any_id(r)))


@shape(exact=True)
def two_equalities(r: random.Random) -> Question:
    return rows(select(User.id).where(User.org_id == r.randint(1, 3), User.name == r.choice(NAMES)))


@shape(exact=True)
def equal_text(r: random.Random) -> Question:
    return rows(select(Article.id, Article.stars).where(Article.word == r.choice(WORDS)))


@shape(exact=True)
def equal_flag(r: random.Random) -> Question:
    condition = r.choice((User.active, ~User.active, User.active.is_(True), User.active == False))  # noqa: E712
    return rows(select(User.id, User.name).where(condition, User.org_id == r.randint(1, 3)))


@shape(exact=True)
def equal_enum(r: random.Random) -> Question:
    return rows(select(User.id).where(User.role == r.choice(list(Role)), User.org_id == r.randint(1, 3)))


@shape(exact=True)
def equal_date(r: random.Random) -> Question:
    return rows(select(User.id, User.joined).where(User.joined == r.choice(DAYS), User.active))


@shape(exact=True)
def equal_uuid(r: random.Random) -> Question:
    return rows(select(User.id, User.name).where(User.code == r.choice(CODES)))


@shape(exact=True)
def among(r: random.Random) -> Question:
    return rows(select(Article.id).where(Article.author_id.in_(r.choice(([], [any_id(r)], [any_id(r), any_id(r)])))))


@shape(exact=True)
def among_with_null(r: random.Random) -> Question:
    return rows(select(Article.id).where(Article.word.in_([r.choice(WORDS), None, r.choice(WORDS)])))


@shape(exact=True)
def among_and_equal(r: random.Random) -> Question:
    return rows(select(User.id).where(User.org_id.in_([1, r.randint(2, 3)]), User.age.in_([1, 5])))


@shape(exact=True)
def alternatives(r: random.Random) -> Question:
    return rows(select(Article.id).where(or_(Article.author_id == any_id(r), Article.word == r.choice(WORDS))))


@shape(exact=True)
def nested_alternatives(r: random.Random) -> Question:
    inner = or_(User.name == r.choice(NAMES), and_(User.age == 5, User.active))
    return rows(select(User.id).where(User.org_id == r.randint(1, 3), inner))


@shape(exact=True)
def is_null(r: random.Random) -> Question:
    return rows(select(Article.id, Article.title).where(r.choice((Article.author_id, Article.word)).is_(None)))


@shape(exact=True)
def null_or_equal(r: random.Random) -> Question:
    return rows(select(User.id).where(or_(User.age.is_(None), User.age == r.choice((1, 2, 5))), User.org_id == 1))


@shape(exact=True)
def equal_to_null(r: random.Random) -> Question:
    statement = select(Article.id).where(Article.author_id == bindparam("p"))
    value = r.choice((None, any_id(r)))
    return lambda s: sorted(s.scalars(statement, {"p": value}))


@shape(exact=True)
def equal_to_null_or_more(r: random.Random) -> Question:
    statement = select(Article.id).where(or_(Article.author_id == bindparam("p"), Article.stars == bindparam("q")))
    values = {"p": r.choice((None, any_id(r))), "q": r.randint(0, 3)}
    return lambda s: sorted(s.scalars(statement, values))


@shape(exact=True)
def all_of_a_table(r: random.Random) -> Question:
    return rows(select(Label.id, Label.word)) if r.random() < 0.5 else objects(select(Label))


# Order and limit


@shape(exact=True)
def a_page(r: random.Random) -> Question:
    where = Article.is_public if r.random() < 0.5 else Article.author_id == any_id(r)
    order = r.choice((Article.stars, Article.stars.desc(), Article.title))
    return ordered(
        select(Article.id, Article.title).where(where).order_by(order, Article.id).limit(3).offset(r.randint(0, 1))
    )


@shape(exact=True)
def ordered_by_what_is_not_shown(r: random.Random) -> Question:
    return ordered(select(User.id).where(User.org_id == r.randint(1, 3)).order_by(User.age.nulls_last(), User.id))


@shape(exact=True)
def the_first(r: random.Random) -> Question:
    statement = select(Article).where(Article.stars == r.randint(0, 3)).order_by(Article.title, Article.id)
    return lambda s: row_of(s.scalars(statement).first())


# Aggregates


@shape(exact=True)
def a_count(r: random.Random) -> Question:
    return rows(select(func.count()).select_from(Article).where(Article.author_id == any_id(r)))


@shape(exact=True)
def a_count_of_all(r: random.Random) -> Question:
    return rows(select(func.count()).select_from(r.choice((User, Comment, Note))))


@shape(exact=True)
def a_sum(r: random.Random) -> Question:
    return rows(select(func.sum(Article.stars), func.max(Article.score)).where(Article.author_id == any_id(r)))


@shape(exact=True)
def grouped(r: random.Random) -> Question:
    statement = select(Article.author_id, func.count()).where(Article.word == r.choice(WORDS))
    return rows(statement.group_by(Article.author_id).having(func.count() > r.randint(0, 1)))


@shape(exact=True)
def distinct(r: random.Random) -> Question:
    return rows(select(User.name).where(User.org_id == r.randint(1, 3)).distinct())


@shape(exact=True)
def a_window(r: random.Random) -> Question:
    rank = func.row_number().over(partition_by=User.role, order_by=(User.name, User.id))
    return rows(select(User.id, rank).where(User.org_id == r.randint(1, 3)))


# Joins


@shape(exact=True)
def joined(r: random.Random) -> Question:
    return rows(select(Article.id, User.name).join(Article.author).where(User.id == any_id(r)))


@shape(exact=True)
def joined_by_equalities(r: random.Random) -> Question:
    return rows(select(Comment.text).join(Article, Article.id == Comment.article_id).where(Article.id == any_id(r)))


@shape(exact=True)
def joined_in_where(r: random.Random) -> Question:
    return rows(
        select(User.name, Profile.text).where(User.id == Profile.user_id, Profile.user_id == any_id(r), User.active)
    )


@shape(exact=True)
def joinedload_of_one(r: random.Random) -> Question:
    return objects(
        select(Article).options(joinedload(Article.author)).where(Article.stars == r.randint(0, 3)), "author"
    )


@shape(exact=True)
def joinedload_of_one_of_one(r: random.Random) -> Question:
    inner = joinedload(Article.author).joinedload(User.org, innerjoin=r.random() < 0.5)
    return objects(select(Article).options(inner).where(Article.word == r.choice(WORDS)), "author.org")


@shape(exact=True)
def joinedload_in_a_page(r: random.Random) -> Question:
    statement = select(Comment).options(joinedload(Comment.article)).where(Comment.writer_id == any_id(r))
    return objects(statement.order_by(Comment.id).limit(2), "article")


@shape(exact=True)
def selectinload_of_many(r: random.Random) -> Question:
    return objects(select(User).options(selectinload(User.articles)).where(User.org_id == r.randint(1, 3)), "articles")


@shape(exact=True)
def selectinload_of_labels(r: random.Random) -> Question:
    return objects(select(Article).options(selectinload(Article.labels)).where(Article.id == any_id(r)), "labels")


@shape(exact=True)
def selectinload_of_one(r: random.Random) -> Question:
    return objects(
        select(Comment).options(selectinload(Comment.writer)).where(Comment.article_id == any_id(r)), "writer"
    )


@shape(exact=True)
def joinedload_of_many(r: random.Random) -> Question:
    return objects(select(Article).options(joinedload(Article.comments)).where(Article.id == any_id(r)), "comments")


@shape(exact=True)
def two_objects_in_a_row(r: random.Random) -> Question:
    statement = select(Article, User).join(User, User.id == Article.author_id).where(Article.stars == r.randint(0, 3))
    return lambda s: sorted(((row_of(one), row_of(two)) for one, two in s.execute(statement)), key=repr)


@shape()
def an_object_beside_a_column(r: random.Random) -> Question:
    statement = (
        select(Article, User.name).join(User, User.id == Article.author_id).where(Article.stars == r.randint(0, 3))
    )
    return lambda s: sorted(((row_of(one), two) for one, two in s.execute(statement)), key=repr)


@shape()
def ordered_by_the_other(r: random.Random) -> Question:
    statement = select(Article, User).join(User, User.id == Article.author_id).where(Article.stars == r.randint(0, 3))
    statement = statement.order_by(User.name, Article.id).limit(2)
    return lambda s: [(row_of(one), row_of(two)) for one, two in s.execute(statement)]


@shape()
def filtered_by_the_other(r: random.Random) -> Question:
    condition = r.choice((User.age > 1, User.name.like("%b%"), func.lower(User.nick) == "red"))
    statement = select(Article).join(Article.author).options(contains_eager(Article.author)).where(condition)
    return objects(statement.where(Article.stars == r.randint(0, 3)), "author")


@shape()
def grouped_objects(r: random.Random) -> Question:
    statement = select(Article, User).join(User, User.id == Article.author_id).group_by(Article.id, User.id)
    statement = statement.having(User.age == r.choice((1, 2, 5)))
    return lambda s: sorted(((row_of(one), row_of(two)) for one, two in s.execute(statement)), key=repr)


@shape()
def through_what_may_be_null(r: random.Random) -> Question:
    statement = select(Comment, Article, User).join(Comment.article).join(Article.author)
    statement = statement.where(Comment.text == r.choice(WORDS))
    return lambda s: sorted((tuple(map(row_of, each)) for each in s.execute(statement)), key=repr)


@shape()
def joined_without_a_foreign_key(r: random.Random) -> Question:
    statement = select(Note).options(joinedload(Note.member)).where(Note.text == r.choice(WORDS))
    return objects(statement, "member")


@shape(dialects=("sqlite",))
def joined_over_unlike_types(r: random.Random) -> Question:
    other, number = aliased(Note), any_id(r)
    statement = select(Note.id, other.id, other.text).join(User, Note.about_text == User.id)
    statement = statement.join(other, other.about_text == User.id)
    return rows(statement.where(Note.about_text == r.choice((f"{number}", f"0{number}"))))


@shape()
def through_an_association(r: random.Random) -> Question:
    statement = select(Article.id, Label.word).join(Article.labels).where(Label.id == r.randint(1, 4))
    return rows(statement)


@shape()
def with_itself(r: random.Random) -> Question:
    other = aliased(Place)
    return rows(
        select(Place.name, other.name).join(other, other.id == Place.parent_id).where(other.id == r.randint(1, 5))
    )


@shape()
def followers(r: random.Random) -> Question:
    return objects(
        select(Follow).options(joinedload(Follow.followed)).where(Follow.follower_id == any_id(r)), "followed"
    )


# Outer joins


@shape()
def outer(r: random.Random) -> Question:
    statement = select(User.id, Profile.text).outerjoin(Profile, Profile.user_id == User.id)
    return rows(statement.where(User.org_id == r.randint(1, 3)))


@shape()
def outer_with_a_condition_in_on(r: random.Random) -> Question:
    on = and_(Article.author_id == User.id, Article.stars == r.randint(0, 3), User.org_id == r.randint(1, 3))
    return rows(select(User.id, Article.id).outerjoin(Article, on))


@shape()
def outer_where_the_other_is(r: random.Random) -> Question:
    statement = select(User.id, Article.id).outerjoin(Article, Article.author_id == User.id)
    return rows(statement.where(Article.word == r.choice(WORDS)))


@shape()
def anti_join(r: random.Random) -> Question:
    on = and_(Article.author_id == User.id, Article.stars == r.randint(0, 3))
    return rows(select(User.id).outerjoin(Article, on).where(Article.id.is_(None)))


@shape()
def anti_join_on_another_column(r: random.Random) -> Question:
    statement = select(User.id).outerjoin(Article, Article.author_id == User.id)
    return rows(statement.where(Article.word.is_(None), User.org_id == r.randint(1, 3)))


@shape()
def outer_of_outer(r: random.Random) -> Question:
    statement = select(User.id, Article.id, Comment.id).outerjoin(Article, Article.author_id == User.id)
    statement = statement.outerjoin(Comment, and_(Comment.article_id == Article.id, Comment.text == r.choice(WORDS)))
    return rows(statement.where(User.id == any_id(r)))


@shape()
def full_join(r: random.Random) -> Question:
    statement = select(Article.id, Label.id).join(Label, Label.word == Article.word, full=True)
    return rows(statement)


@shape()
def full_join_where(r: random.Random) -> Question:
    on = and_(Label.word == Article.word, Article.stars == 1, Label.id == r.randint(1, 4))
    return rows(select(Article.id, Label.id).join(Label, on, full=True))


@shape()
def full_join_of_objects(r: random.Random) -> Question:
    statement = select(Article, User).join(User, User.id == Article.author_id, full=True)
    return lambda s: sorted(((row_of(one), row_of(two)) for one, two in s.execute(statement)), key=repr)


# Subqueries


@shape()
def there_is(r: random.Random) -> Question:
    return rows(select(User.id, User.name).where(User.articles.any(Article.word == r.choice(WORDS))))


@shape()
def there_is_none(r: random.Random) -> Question:
    none = ~exists().where(Comment.article_id == Article.id, Comment.text == r.choice(WORDS))
    return rows(select(Article.id).where(none, Article.author_id == any_id(r)))


@shape()
def there_is_for(r: random.Random) -> Question:
    return rows(select(Article.id).where(Article.author.has(User.name == r.choice(NAMES))))


@shape()
def among_those_of(r: random.Random) -> Question:
    inner = select(Follow.followed_id).where(Follow.follower_id == any_id(r))
    return objects(select(Article).where(Article.author_id.in_(inner)))


@shape()
def not_among_those_of(r: random.Random) -> Question:
    inner = select(Comment.article_id).where(Comment.text == r.choice(WORDS))
    return rows(select(Article.id).where(Article.id.not_in(inner), Article.stars == r.randint(0, 3)))


@shape()
def a_number_beside(r: random.Random) -> Question:
    count = select(func.count()).where(Article.author_id == User.id).scalar_subquery()
    return rows(select(User.id, count).where(User.org_id == r.randint(1, 3)))


@shape()
def compared_with_all(r: random.Random) -> Question:
    most = select(func.max(Article.stars)).scalar_subquery()
    return rows(select(Article.id).where(Article.stars == most, Article.word == r.choice(WORDS)))


@shape()
def from_a_subquery(r: random.Random) -> Question:
    inner = (
        select(Article.author_id, func.count().label("n"))
        .where(Article.is_public)
        .group_by(Article.author_id)
        .subquery()
    )
    return rows(select(User.name, inner.c.n).join(inner, inner.c.author_id == User.id).where(User.id == any_id(r)))


@shape()
def from_the_same_table(r: random.Random) -> Question:
    inner = select(func.sum(Article.stars).label("total")).subquery()
    statement = select(Article.id, inner.c.total).join(inner, inner.c.total >= Article.stars)
    return rows(statement.where(Article.author_id == any_id(r)))


@shape()
def a_common_table_expression(r: random.Random) -> Question:
    busy = select(Comment.article_id).where(Comment.text == r.choice(WORDS)).cte("busy")
    return rows(select(Article.id, Article.title).join(busy, busy.c.article_id == Article.id))


@shape()
def a_recursion(r: random.Random) -> Question:
    below = select(Place.id, Place.name).where(Place.id == r.randint(1, 5)).cte("below", recursive=True)
    below = below.union_all(select(Place.id, Place.name).join(below, Place.parent_id == below.c.id))
    return rows(select(below.c.id, below.c.name))


@shape()
def a_union(r: random.Random) -> Question:
    one = select(Article.title).where(Article.author_id == any_id(r))
    two = select(User.name).where(User.org_id == r.randint(1, 3))
    return rows(r.choice((union, union_all))(one, two))


@shape()
def a_lateral(r: random.Random) -> Question:
    newest = select(func.max(Article.id)).where(Article.author_id == User.id).correlate(User).scalar_subquery()
    return rows(select(User.id, newest).where(User.active))


@shape()
def joinedload_of_many_in_a_page(r: random.Random) -> Question:
    statement = select(User).options(joinedload(User.articles)).where(User.org_id == r.randint(1, 3))
    return objects(statement.order_by(User.name, User.id).limit(2), "articles")


@shape()
def subqueryload_of_many(r: random.Random) -> Question:
    return objects(select(User).options(subqueryload(User.articles)).where(User.org_id == r.randint(1, 3)), "articles")


# What is no equality


@shape()
def a_range(r: random.Random) -> Question:
    return rows(select(Article.id).where(Article.stars > r.randint(0, 2)))


@shape()
def a_range_and_an_equality(r: random.Random) -> Question:
    return rows(select(Article.id).where(Article.stars >= r.randint(1, 2), Article.author_id == any_id(r)))


@shape()
def a_pattern(r: random.Random) -> Question:
    return rows(select(User.id).where(User.name.like("%e%")))


@shape()
def unequal(r: random.Random) -> Question:
    return rows(select(User.id).where(User.name != r.choice(NAMES), User.org_id == r.randint(1, 3)))


@shape()
def negated(r: random.Random) -> Question:
    return rows(select(Article.id).where(not_(or_(Article.author_id == any_id(r), Article.stars == r.randint(0, 3)))))


@shape()
def a_function_of_a_column(r: random.Random) -> Question:
    return rows(select(Article.id).where(func.coalesce(Article.word, "red") == "red"))


@shape()
def a_number_with_a_fraction(r: random.Random) -> Question:
    return rows(select(Article.id).where(Article.score == r.choice((1, 1.0, 2, 0.5))))


@shape()
def a_text_without_case(r: random.Random) -> Question:
    return rows(select(User.id, User.name).where(User.nick == r.choice(("red", "RED", "blue"))))


@shape()
def an_unlike_value(r: random.Random) -> Question:
    return rows(select(User.name).where(User.age == literal(r.choice(("05", "01", "02")), Note.about.type)))


@shape(dialects=("sqlite",))
def a_flag_for_a_number(r: random.Random) -> Question:
    statement = select(User.name).where(User.age == bindparam("p"))
    return lambda s: sorted(s.scalars(statement, {"p": True}))


@shape()
def a_case(r: random.Random) -> Question:
    level = case((Article.stars > 1, "high"), else_="low")
    return rows(select(level, func.count()).where(Article.author_id == any_id(r)).group_by(level))


@shape()
def a_part_in_text_form(r: random.Random) -> Question:
    return rows(select(Article.id).where(text("stars > 1"), Article.author_id == any_id(r)))


@shape()
def text_form(r: random.Random) -> Question:
    return rows(text("SELECT name FROM member WHERE org_id = 1"))


@shape()
def bytes_shown(r: random.Random) -> Question:
    return rows(select(User.id, User.photo).where(User.org_id == r.randint(1, 3)))


@shape(exact=True)
def some_attributes(r: random.Random) -> Question:
    statement = select(User).options(load_only(User.name)).where(User.org_id == r.randint(1, 3))
    return lambda s: sorted((each.id, each.name) for each in s.scalars(statement))


@shape(exact=True)
def with_criteria(r: random.Random) -> Question:
    statement = select(Article).options(with_loader_criteria(Article, Article.is_public == True))  # noqa: E712
    return objects(statement.where(Article.author_id == any_id(r)))


@shape()
def with_criteria_on_the_other(r: random.Random) -> Question:
    statement = select(Article).options(
        joinedload(Article.author), with_loader_criteria(User, User.org_id == r.randint(1, 3))
    )
    return objects(statement.where(Article.stars == r.randint(0, 3)), "author")


@shape()
def with_criteria_on_many(r: random.Random) -> Question:
    statement = select(User).options(
        selectinload(User.articles), with_loader_criteria(Article, Article.stars == r.randint(0, 3))
    )
    return objects(statement.where(User.org_id == r.randint(1, 3)), "articles")


# Inheritance


@shape(exact=True)
def a_class_of_a_hierarchy(r: random.Random) -> Question:
    key = r.randint(1, 6)
    return lambda s: row_of(s.get(Employee, key))


@shape()
def a_joined_class(r: random.Random) -> Question:
    return objects(select(Manager).where(Manager.budget == r.randint(0, 2)))


@shape()
def all_of_a_hierarchy(r: random.Random) -> Question:
    everybody = with_polymorphic(Employee, "*")
    return objects(select(everybody).where(everybody.name == r.choice(NAMES)))


@shape(exact=True)
def a_class_in_a_shared_table(r: random.Random) -> Question:
    return objects(select(r.choice((Dog, Pet))).where(Pet.owner_id == r.randint(1, 4)))


@shape()
def a_class_with_its_owner(r: random.Random) -> Question:
    return objects(select(Dog).options(joinedload(Dog.owner)), "owner")


@shape(exact=True)
def an_association_table(r: random.Random) -> Question:
    return rows(select(article_label).where(article_label.c.label_id == r.randint(1, 4)))
