"""The data layer over an `AsyncSession`: asyncpg, aiosqlite. What sync_data.py has, it has too.

Whatever it needs is loaded when it is asked for: nothing waits for the database between the lines.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Select, delete, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from . import statements, views, words
from .errors import NotThereError, NotYoursError, TakenError
from .tables import Article, Comment, Login, Notification, Tag, User, now
from .views import Filters, Page


class AsyncData:
    """What the site does with its database, for one request. What has changed is committed when a method returns."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    # Users

    async def register(self, username: str, email: str, password_hash: str) -> User:
        """A new user. Raises TakenError."""
        await self._check_free(username, email)
        user = User(username=username, email=email, password_hash=password_hash)
        self.session.add(user)
        await self._commit("the username or the email is taken")
        return user

    async def user_with_email(self, email: str) -> User | None:
        """Who registered with it."""
        return await self.session.scalar(statements.user_with_email(email))

    async def log_in(self, user: User, digest: str, kind: str) -> None:
        """The user has a session more."""
        self.session.add(Login(digest=digest, user_id=user.id, kind=kind))
        await self.session.commit()

    async def log_out(self, digest: str) -> None:
        """The session is over."""
        await self.session.execute(delete(Login).where(Login.digest == digest))
        await self.session.commit()

    async def log_out_everywhere(self, user: User, but: str | None = None) -> None:
        """All sessions of the user are over, but for this one."""
        await self.session.execute(statements.end_logins(user.id, but))
        await self.session.commit()

    async def logged_in(self, digest: str) -> User | None:
        """Whose session it is."""
        login = await self.session.scalar(statements.login(digest))
        return None if login is None else login.user

    async def logins(self, user: User, digest: str) -> list[views.LoginOut]:
        """The user's sessions, the newest first."""
        return [views.login_out(login, digest) for login in await self.session.scalars(statements.logins(user.id))]

    async def change_user(self, user: User, changes: dict[str, Any]) -> views.UserOut:
        """The user as changed. Raises TakenError."""
        await self._check_free(changes.get("username"), changes.get("email"), user.id)
        for name, value in changes.items():
            setattr(user, name, value)
        await self._commit("the username or the email is taken")
        return views.user_out(user)

    async def delete_user(self, user: User) -> None:
        """The user is gone, with everything of theirs."""
        await self.session.execute(delete(User).where(User.id == user.id))
        await self.session.commit()

    async def profile(self, username: str, viewer: User | None) -> views.ProfileOut:
        """The user's page. Raises NotThereError."""
        row = (await self.session.execute(statements.profile(username, _id(viewer)))).first()
        if row is None:
            raise NotThereError("there is no such user")
        return views.profile_out(row)

    async def follow(self, username: str, viewer: User) -> views.ProfileOut:
        """The viewer follows the user, who is told so the first time. Raises NotThereError, NotYoursError."""
        user = await self._user(username)
        if user.id == viewer.id:
            raise NotYoursError("nobody follows themselves")
        statement = statements.begin_following(self.session.get_bind().dialect.name, viewer.id, user.id)
        if await self.session.scalar(statement) is not None:
            told = {"user_id": user.id, "actor_id": viewer.id, "kind": "followed"}
            await self.session.execute(insert(Notification).values(told))
        await self.session.commit()
        return await self.profile(username, viewer)

    async def unfollow(self, username: str, viewer: User) -> views.ProfileOut:
        """The viewer does not follow the user. Raises NotThereError."""
        user = await self._user(username)
        await self.session.execute(statements.end_following(viewer.id, user.id))
        await self.session.commit()
        return await self.profile(username, viewer)

    async def followers(self, username: str, viewer: User | None, page: Page) -> views.PeopleOut:
        """Who follows the user. Raises NotThereError."""
        count, people = statements.followers((await self._user(username)).id, _id(viewer))
        return views.people_out(
            await self.session.scalar(count), await self.session.execute(statements.paged(people, page))
        )

    async def followed(self, username: str, viewer: User | None, page: Page) -> views.PeopleOut:
        """Whom the user follows. Raises NotThereError."""
        count, people = statements.followed((await self._user(username)).id, _id(viewer))
        return views.people_out(
            await self.session.scalar(count), await self.session.execute(statements.paged(people, page))
        )

    async def writers(self, page: Page) -> list[views.WriterOut]:
        """Who has published, the most productive first."""
        return [
            views.writer_out(row) for row in await self.session.execute(statements.paged(statements.writers(), page))
        ]

    # Articles

    async def articles(self, filters: Filters, viewer: User | None) -> views.ArticlesOut:
        """Published articles that pass the filters."""
        return await self._articles(statements.listed(filters), viewer, filters)

    async def feed(self, viewer: User, page: Page) -> views.ArticlesOut:
        """Articles of those whom the viewer follows."""
        return await self._articles(statements.feed(viewer.id), viewer, page)

    async def drafts(self, viewer: User, page: Page) -> views.ArticlesOut:
        """What the viewer has not published."""
        return await self._articles(statements.drafts(viewer.id), viewer, page)

    async def article(self, slug: str, viewer: User | None) -> views.ArticleOut:
        """The article. Raises NotThereError."""
        found = statements.article(slug, _id(viewer))
        row = (await self.session.execute(statements.shown(found, _id(viewer)))).first()
        if row is None:
            raise NotThereError("there is no such article")
        return views.article_out(row)

    async def write_article(self, new: views.NewArticle, author: User) -> views.ArticleOut:
        """A new article. Raises TakenError where another of its title comes at the same time."""
        article = Article(
            author_id=author.id,
            slug=await self._free_slug(new.title),
            title=new.title,
            description=new.description,
            body=new.body,
            tags=await self._tags(new.tags),
        )
        self.session.add(article)
        if not new.is_draft:
            await self._publish(article)
        await self._commit("another article has this title")
        return await self.article(article.slug, author)

    async def change_article(self, slug: str, changes: dict[str, Any], viewer: User) -> views.ArticleOut:
        """The article as changed, at another slug where its title is another. Raises NotThereError, NotYoursError, TakenError."""
        article = await self._own_article(slug, viewer)
        if "tags" in changes:
            await self.session.refresh(article, ["tags"])
            article.tags = await self._tags(changes.pop("tags"))
        if changes.get("title", article.title) != article.title:
            article.slug = await self._free_slug(changes["title"])
        for name, value in changes.items():
            setattr(article, name, value)
        article.changed_at = now()
        await self._commit("another article has this title")
        return await self.article(article.slug, viewer)

    async def delete_article(self, slug: str, viewer: User) -> None:
        """The article is gone, with what was said of it. Raises NotThereError, NotYoursError."""
        await self.session.delete(await self._own_article(slug, viewer))
        await self.session.commit()

    async def publish(self, slug: str, viewer: User) -> views.ArticleOut:
        """Everybody may read the article, and the author's followers are told. Raises NotThereError, NotYoursError."""
        article = await self._own_article(slug, viewer)
        if article.published_at is None:
            await self._publish(article)
        await self.session.commit()
        return await self.article(slug, viewer)

    async def withdraw(self, slug: str, viewer: User) -> views.ArticleOut:
        """The article is a draft again. Raises NotThereError, NotYoursError."""
        (await self._own_article(slug, viewer)).published_at = None
        await self.session.commit()
        return await self.article(slug, viewer)

    async def favorite(self, slug: str, viewer: User) -> views.ArticleOut:
        """The viewer likes the article. Raises NotThereError."""
        article = await self._article(slug, viewer)
        dialect = self.session.get_bind().dialect.name
        await self.session.execute(statements.add_favorite(dialect, article.id, viewer.id))
        await self.session.commit()
        return await self.article(slug, viewer)

    async def unfavorite(self, slug: str, viewer: User) -> views.ArticleOut:
        """The viewer does not like the article. Raises NotThereError."""
        article = await self._article(slug, viewer)
        await self.session.execute(statements.remove_favorite(article.id, viewer.id))
        await self.session.commit()
        return await self.article(slug, viewer)

    async def popular_tags(self, limit: int) -> list[views.TagOut]:
        """The tags of most articles."""
        return [views.tag_out(row) for row in await self.session.execute(statements.popular_tags(limit))]

    # Comments

    async def comments(self, slug: str, viewer: User | None, page: Page) -> views.CommentsOut:
        """What was said of the article. Raises NotThereError."""
        count, comments = statements.comments((await self._article(slug, viewer)).id, _id(viewer))
        return views.comments_out(
            await self.session.scalar(count), await self.session.execute(statements.paged(comments, page))
        )

    async def write_comment(self, slug: str, body: str, viewer: User) -> views.CommentOut:
        """A comment more; the article's author is told. Raises NotThereError."""
        article = await self._article(slug, viewer)
        comment = Comment(article=article, author=viewer, body=body)
        self.session.add(comment)
        if article.author_id != viewer.id:
            told = Notification(user_id=article.author_id, actor=viewer, article=article, kind="commented")
            self.session.add(told)
        await self.session.commit()
        return views.comment_out(comment, following=False)

    async def change_comment(self, slug: str, comment_id: int, body: str, viewer: User) -> views.CommentOut:
        """The comment as changed. Raises NotThereError, NotYoursError."""
        comment, following = await self._comment(slug, comment_id, viewer)
        if comment.author_id != viewer.id:
            raise NotYoursError("somebody else wrote it")
        comment.body = body
        await self.session.commit()
        return views.comment_out(comment, following)

    async def delete_comment(self, slug: str, comment_id: int, viewer: User) -> None:
        """The comment is gone: its author may do that, and the article's. Raises NotThereError, NotYoursError."""
        comment, _ = await self._comment(slug, comment_id, viewer)
        if viewer.id not in (comment.author_id, comment.article.author_id):
            raise NotYoursError("somebody else wrote it")
        await self.session.delete(comment)
        await self.session.commit()

    # Notifications

    async def notifications(self, viewer: User, is_unread: bool, page: Page) -> views.NotificationsOut:
        """What the viewer was told."""
        count, unread, found = statements.notifications(viewer.id, is_unread)
        shown = [views.notification_out(each) for each in await self.session.scalars(statements.paged(found, page))]
        total, unread_total = await self.session.scalar(count) or 0, await self.session.scalar(unread) or 0
        return views.NotificationsOut(total=total, unread=unread_total, notifications=shown)

    async def mark_read(self, viewer: User) -> None:
        """The viewer has read everything."""
        await self.session.execute(statements.mark_read(viewer.id))
        await self.session.commit()

    # What the others share

    async def _commit(self, conflict: str) -> None:
        try:
            await self.session.commit()
        except IntegrityError:
            await self.session.rollback()
            raise TakenError(conflict) from None

    async def _check_free(self, username: str | None, email: str | None, but: int | None = None) -> None:
        if username is None and email is None:
            return
        for taken in await self.session.execute(statements.taken(username, email, but)):
            raise TakenError("the username is taken" if taken.username == username else "the email is taken")

    async def _user(self, username: str) -> User:
        user = await self.session.scalar(statements.user_named(username))
        if user is None:
            raise NotThereError("there is no such user")
        return user

    async def _article(self, slug: str, viewer: User | None) -> Article:
        article = await self.session.scalar(statements.article(slug, _id(viewer)))
        if article is None:
            raise NotThereError("there is no such article")
        return article

    async def _own_article(self, slug: str, viewer: User) -> Article:
        article = await self._article(slug, viewer)
        if article.author_id != viewer.id:
            raise NotYoursError("somebody else wrote it")
        return article

    async def _comment(self, slug: str, comment_id: int, viewer: User) -> tuple[Comment, bool]:
        row = (await self.session.execute(statements.comment(slug, comment_id, viewer.id))).first()
        if row is None:
            raise NotThereError("there is no such comment")
        return row.Comment, row.following

    async def _articles(self, found: Select[Any], viewer: User | None, page: Page) -> views.ArticlesOut:
        total = await self.session.scalar(statements.counted(found))
        rows = await self.session.execute(statements.paged(statements.shown(found, _id(viewer)), page))
        return views.articles_out(total, rows)

    async def _free_slug(self, title: str) -> str:
        stem = words.stem(title)
        return words.slug(stem, set(await self.session.scalars(statements.slugs(stem))))

    async def _tags(self, names: Iterable[str]) -> list[Tag]:
        wanted = set(names)
        there = list(await self.session.scalars(statements.tags(wanted)))
        return there + [Tag(name=name) for name in sorted(wanted - {tag.name for tag in there})]

    async def _publish(self, article: Article) -> None:
        article.published_at = now()
        await self.session.flush()
        await self.session.execute(statements.notify_followers(article))


def _id(viewer: User | None) -> int | None:
    return None if viewer is None else viewer.id
