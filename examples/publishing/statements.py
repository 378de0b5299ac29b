"""What both data layers ask the database, and tell it.

`viewer` is the id of the user who asks, None where nobody is logged in.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Delete,
    Insert,
    Select,
    Update,
    delete,
    exists,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import joinedload, selectinload, with_loader_criteria
from sqlalchemy.sql.base import ExecutableOption

from .tables import Article, Comment, Favorite, Login, Notification, Tag, User, article_tag, follow, now
from .views import Filters, Page


def paged(statement: Select[Any], page: Page) -> Select[Any]:
    """The part of the list that is asked for."""
    return statement.limit(page.limit).offset(page.offset)


def _insert_or_ignore(dialect: str, table: Any) -> Any:
    return (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table).on_conflict_do_nothing()


# Users


def login(digest: str) -> Select[Any]:
    """The session with its user."""
    return select(Login).options(joinedload(Login.user, innerjoin=True)).where(Login.digest == digest)


def logins(user_id: int) -> Select[Any]:
    """The user's sessions, the newest first."""
    return select(Login).where(Login.user_id == user_id).order_by(Login.opened_at.desc(), Login.digest)


def end_logins(user_id: int, but: str | None = None) -> Delete:
    """Ends all of the user's sessions, but for this one."""
    statement = delete(Login).where(Login.user_id == user_id)
    return statement if but is None else statement.where(Login.digest != but)


def taken(username: str | None, email: str | None, but: int | None = None) -> Select[Any]:
    """Names and addresses of others that equal these."""
    statement = select(User.username, User.email).where(or_(User.username == username, User.email == email))
    return statement if but is None else statement.where(User.id != but)


def user_named(username: str) -> Select[Any]:
    """The user."""
    return select(User).where(User.username == username)


def user_with_email(email: str) -> Select[Any]:
    """The user."""
    return select(User).where(User.email == email)


def _following(viewer: int | None, followed_id: ColumnElement[int] | Any) -> ColumnElement[bool]:
    if viewer is None:
        return false().label("following")
    own = follow.alias("own")  # the statement around it may list followers
    is_followed = exists().where(own.c.follower_id == viewer, own.c.followed_id == followed_id)
    return is_followed.label("following")


def profile(username: str, viewer: int | None) -> Select[Any]:
    """The user with what their page counts."""
    followers = select(func.count()).select_from(follow).where(follow.c.followed_id == User.id).scalar_subquery()
    follows = select(func.count()).select_from(follow).where(follow.c.follower_id == User.id).scalar_subquery()
    written = select(func.count(Article.id)).where(Article.author_id == User.id, Article.published_at.is_not(None))
    return select(
        User,
        followers.label("followers"),
        follows.label("follows"),
        written.scalar_subquery().label("articles"),
        _following(viewer, User.id),
    ).where(User.username == username)


def followers(user_id: int, viewer: int | None) -> tuple[Select[Any], Select[Any]]:
    """How many follow the user, and who, by name."""
    count = select(func.count()).select_from(follow).where(follow.c.followed_id == user_id)
    joined = select(User, _following(viewer, User.id)).join(follow, follow.c.follower_id == User.id)
    return count, joined.where(follow.c.followed_id == user_id).order_by(User.username)


def followed(user_id: int, viewer: int | None) -> tuple[Select[Any], Select[Any]]:
    """How many the user follows, and whom, by name."""
    count = select(func.count()).select_from(follow).where(follow.c.follower_id == user_id)
    joined = select(User, _following(viewer, User.id)).join(follow, follow.c.followed_id == User.id)
    return count, joined.where(follow.c.follower_id == user_id).order_by(User.username)


def begin_following(dialect: str, follower_id: int, followed_id: int) -> Any:
    """Returns the one who is followed now; nothing where it was so already."""
    inserted = _insert_or_ignore(dialect, follow).values(follower_id=follower_id, followed_id=followed_id)
    return inserted.returning(follow.c.followed_id)


def end_following(follower_id: int, followed_id: int) -> Delete:
    """Nothing where it is not so."""
    return delete(follow).where(follow.c.follower_id == follower_id, follow.c.followed_id == followed_id)


def writers() -> Select[Any]:
    """Who has published, the most productive first."""
    articles = func.count(Article.id.distinct())
    return (
        select(User.username, articles.label("articles"), func.count(Favorite.user_id).label("favorites"))
        .join(Article, Article.author_id == User.id)
        .outerjoin(Favorite, Favorite.article_id == Article.id)
        .where(Article.published_at.is_not(None))
        .group_by(User.id)
        .having(articles > 0)
        .order_by(articles.desc(), User.username)
    )


# Articles


def visible(viewer: int | None) -> ExecutableOption:
    """Drafts are their authors' own, in every statement that has this option."""
    is_published = Article.published_at.is_not(None)
    return with_loader_criteria(
        Article, is_published if viewer is None else is_published | (Article.author_id == viewer)
    )


def article(slug: str, viewer: int | None) -> Select[Any]:
    """The article, if the viewer may see it."""
    return select(Article).where(Article.slug == slug).options(visible(viewer))


def listed(filters: Filters) -> Select[Any]:
    """Published articles that pass the filters, the newest first."""
    statement = select(Article).where(Article.published_at.is_not(None))
    if filters.author is not None:
        statement = statement.join(Article.author).where(User.username == filters.author)
    if filters.tag is not None:
        statement = statement.where(Article.tags.any(Tag.name == filters.tag))
    if filters.favorited is not None:
        by_user = select(Favorite.article_id).join(User, User.id == Favorite.user_id)
        statement = statement.where(Article.id.in_(by_user.where(User.username == filters.favorited)))
    if filters.q is not None:
        statement = statement.where(Article.title.icontains(filters.q, autoescape=True))
    return statement.order_by(Article.published_at.desc(), Article.id.desc())


def feed(viewer: int) -> Select[Any]:
    """What those whom the viewer follows have published, the newest first."""
    writers = select(follow.c.followed_id).where(follow.c.follower_id == viewer)
    statement = select(Article).where(Article.author_id.in_(writers), Article.published_at.is_not(None))
    return statement.order_by(Article.published_at.desc(), Article.id.desc())


def drafts(viewer: int) -> Select[Any]:
    """What the viewer has not published, last changed first."""
    statement = select(Article).where(Article.author_id == viewer, Article.published_at.is_(None))
    return statement.order_by(Article.changed_at.desc(), Article.id.desc())


def counted(articles: Select[Any]) -> Select[Any]:
    """How many articles a statement finds."""
    return articles.with_only_columns(func.count(Article.id)).order_by(None)


def shown(articles: Select[Any], viewer: int | None) -> Select[Any]:
    """The articles with their authors, tags and figures, and what the viewer thinks of them."""
    favorites = select(func.count()).select_from(Favorite).where(Favorite.article_id == Article.id)
    comments = select(func.count(Comment.id)).where(Comment.article_id == Article.id)
    liked = exists().where(Favorite.article_id == Article.id, Favorite.user_id == viewer)
    return articles.add_columns(
        favorites.scalar_subquery().label("favorites"),
        comments.scalar_subquery().label("comments"),
        (false() if viewer is None else liked).label("favorited"),
        _following(viewer, Article.author_id),
    ).options(joinedload(Article.author, innerjoin=True), selectinload(Article.tags))


def slugs(stem: str) -> Select[Any]:
    """Those that are taken among the stem and the stem with a number."""
    return select(Article.slug).where(or_(Article.slug == stem, Article.slug.startswith(f"{stem}-", autoescape=True)))


def tags(names: Iterable[str]) -> Select[Any]:
    """Those of these tags that exist."""
    return select(Tag).where(Tag.name.in_(sorted(names)))


def popular_tags(limit: int) -> Select[Any]:
    """The tags of most published articles, with how many these are."""
    articles = func.count(article_tag.c.article_id)
    return (
        select(Tag.name, articles.label("articles"))
        .join(article_tag, article_tag.c.tag_id == Tag.id)
        .join(Article, Article.id == article_tag.c.article_id)
        .where(Article.published_at.is_not(None))
        .group_by(Tag.name)
        .order_by(articles.desc(), Tag.name)
        .limit(limit)
    )


def add_favorite(dialect: str, article_id: int, user_id: int) -> Insert:
    """Nothing where it is one already."""
    return _insert_or_ignore(dialect, Favorite).values(article_id=article_id, user_id=user_id)


def remove_favorite(article_id: int, user_id: int) -> Delete:
    """Nothing where it is none."""
    return delete(Favorite).where(Favorite.article_id == article_id, Favorite.user_id == user_id)


# Comments


def comments(article_id: int, viewer: int | None) -> tuple[Select[Any], Select[Any]]:
    """How many comments the article has, and which, the oldest first."""
    count = select(func.count(Comment.id)).where(Comment.article_id == article_id)
    statement = select(Comment, _following(viewer, Comment.author_id)).where(Comment.article_id == article_id)
    return count, statement.options(joinedload(Comment.author, innerjoin=True)).order_by(Comment.written_at, Comment.id)


def comment(slug: str, comment_id: int, viewer: int) -> Select[Any]:
    """The comment with its author and article, if the viewer may see that."""
    statement = select(Comment, _following(viewer, Comment.author_id)).join(Comment.article)
    loaded = statement.options(joinedload(Comment.author, innerjoin=True), joinedload(Comment.article), visible(viewer))
    return loaded.where(Article.slug == slug, Comment.id == comment_id)


# Notifications


def notifications(user_id: int, is_unread: bool) -> tuple[Select[Any], Select[Any], Select[Any]]:
    """How many the user has, how many of them unread, and which, the newest first."""
    mine = Notification.user_id == user_id
    unread = select(func.count(Notification.id)).where(mine, Notification.is_read.is_(False))
    statement = select(Notification).where(mine)
    if is_unread:
        statement = statement.where(Notification.is_read.is_(False))
    count = statement.with_only_columns(func.count(Notification.id))
    loaded = statement.options(joinedload(Notification.actor, innerjoin=True), joinedload(Notification.article))
    return count, unread, loaded.order_by(Notification.sent_at.desc(), Notification.id.desc())


def mark_read(user_id: int) -> Update:
    """Everything that the user was told is read."""
    return (
        update(Notification)
        .where(Notification.user_id == user_id, Notification.is_read.is_(False))
        .values(is_read=True)
    )


def notify_followers(article: Article) -> Insert:
    """Tells everybody who follows its author of the article."""
    told = select(
        follow.c.follower_id,
        literal(article.author_id),
        literal(article.id),
        literal("published"),
        false(),
        literal(now(), Notification.sent_at.type),
    ).where(follow.c.followed_id == article.author_id)
    return insert(Notification).from_select(["user_id", "actor_id", "article_id", "kind", "is_read", "sent_at"], told)
