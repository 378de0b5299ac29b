"""What the site says and takes, and how rows become what it says."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints
from sqlalchemy import Row

from .tables import Comment, Login, Notification, User

Username = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{2,32}$")]
Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$", to_lower=True, max_length=254)]
Password = Annotated[str, StringConstraints(min_length=8, max_length=128)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
TagName = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, pattern=r"^[\w-]{1,32}$")]


class Page(BaseModel):
    """Which part of a list is asked for."""

    limit: int = Field(default=20, ge=1, le=100)
    offset: int = Field(default=0, ge=0)


class Filters(Page):
    """Which articles are asked for."""

    tag: str | None = None
    author: str | None = None
    favorited: str | None = None
    q: str | None = None


class Registration(BaseModel):
    """Somebody new."""

    username: Username
    email: Email
    password: Password


class Credentials(BaseModel):
    """Who wants in."""

    email: Email
    password: str


class UserChanges(BaseModel):
    """What a user changes of their own; what is left out stays."""

    username: Username | None = None
    email: Email | None = None
    password: Password | None = None
    bio: str | None = None
    image: str | None = None


class NewArticle(BaseModel):
    """An article to be, a draft where that is wanted."""

    title: Text
    description: Text
    body: Text
    tags: list[TagName] = []
    is_draft: bool = False


class ArticleChanges(BaseModel):
    """What an author changes; what is left out stays."""

    title: Text | None = None
    description: Text | None = None
    body: Text | None = None
    tags: list[TagName] | None = None


class NewComment(BaseModel):
    """What is said of an article."""

    body: Text


class UserOut(BaseModel):
    """A user, to themselves."""

    username: str
    email: str
    bio: str
    image: str | None
    joined_at: datetime


class LoginOut(BaseModel):
    """A session of the user's."""

    kind: str
    opened_at: datetime
    is_this: bool


class PersonOut(BaseModel):
    """A user, to another."""

    username: str
    bio: str
    image: str | None
    following: bool


class ProfileOut(PersonOut):
    """A user's page."""

    followers: int
    follows: int
    articles: int


class PeopleOut(BaseModel):
    """Some of `total` users."""

    total: int
    people: list[PersonOut]


class WriterOut(BaseModel):
    """What somebody has published, and how it was liked."""

    username: str
    articles: int
    favorites: int


class ArticleInList(BaseModel):
    """An article, without its text."""

    slug: str
    title: str
    description: str
    tags: list[str]
    written_at: datetime
    changed_at: datetime
    published_at: datetime | None
    favorited: bool
    favorites: int
    comments: int
    author: PersonOut


class ArticleOut(ArticleInList):
    """An article."""

    body: str


class ArticlesOut(BaseModel):
    """Some of `total` articles."""

    total: int
    articles: list[ArticleInList]


class CommentOut(BaseModel):
    """A comment."""

    id: int
    body: str
    written_at: datetime
    author: PersonOut


class CommentsOut(BaseModel):
    """Some of `total` comments, the oldest first."""

    total: int
    comments: list[CommentOut]


class TagOut(BaseModel):
    """A tag, and how many articles have it."""

    name: str
    articles: int


class NotificationOut(BaseModel):
    """What happened."""

    kind: str
    actor: str
    article: str | None
    is_read: bool
    sent_at: datetime


class NotificationsOut(BaseModel):
    """Some of `total` notifications, the newest first."""

    total: int
    unread: int
    notifications: list[NotificationOut]


def user_out(user: User) -> UserOut:
    """The user, to themselves."""
    return UserOut.model_validate(user, from_attributes=True)


def login_out(login: Login, digest: str) -> LoginOut:
    """A session, to a request of the one with this digest."""
    return LoginOut(kind=login.kind, opened_at=login.opened_at, is_this=login.digest == digest)


def person_out(user: User, following: bool) -> PersonOut:
    """The user, to another who follows them or not."""
    return PersonOut(username=user.username, bio=user.bio, image=user.image, following=following)


def profile_out(row: Row[Any]) -> ProfileOut:
    """A row of `statements.profile`."""
    person = person_out(row.User, row.following)
    return ProfileOut(**dict(person), followers=row.followers, follows=row.follows, articles=row.articles)


def people_out(total: int | None, rows: Iterable[Row[Any]]) -> PeopleOut:
    """Rows of `statements.followers` and `statements.followed`."""
    return PeopleOut(total=total or 0, people=[person_out(row.User, row.following) for row in rows])


def writer_out(row: Row[Any]) -> WriterOut:
    """A row of `statements.writers`."""
    return WriterOut(username=row.username, articles=row.articles, favorites=row.favorites)


def _shown(row: Row[Any]) -> dict[str, Any]:
    article = row.Article
    shown = {name: getattr(article, name) for name in ("slug", "title", "description", "body")}
    times = {name: getattr(article, name) for name in ("written_at", "changed_at", "published_at")}
    counts = {"favorites": row.favorites, "comments": row.comments, "favorited": row.favorited}
    author = person_out(article.author, row.following)
    return shown | times | counts | {"tags": sorted(tag.name for tag in article.tags), "author": author}


def article_out(row: Row[Any]) -> ArticleOut:
    """A row of `statements.shown`."""
    return ArticleOut(**_shown(row))


def articles_out(total: int | None, rows: Iterable[Row[Any]]) -> ArticlesOut:
    """Rows of `statements.shown`."""
    return ArticlesOut(total=total or 0, articles=[ArticleInList(**_shown(row)) for row in rows])


def comment_out(comment: Comment, following: bool) -> CommentOut:
    """A comment, to a reader who follows its author or not."""
    author = person_out(comment.author, following)
    return CommentOut(id=comment.id, body=comment.body, written_at=comment.written_at, author=author)


def comments_out(total: int | None, rows: Iterable[Row[Any]]) -> CommentsOut:
    """Rows of `statements.comments`."""
    return CommentsOut(total=total or 0, comments=[comment_out(row.Comment, row.following) for row in rows])


def tag_out(row: Row[Any]) -> TagOut:
    """A row of `statements.popular_tags`."""
    return TagOut(name=row.name, articles=row.articles)


def notification_out(notification: Notification) -> NotificationOut:
    """A notification."""
    return NotificationOut(
        kind=notification.kind,
        actor=notification.actor.username,
        article=None if notification.article is None else notification.article.slug,
        is_read=notification.is_read,
        sent_at=notification.sent_at,
    )
