"""Something to read: made up, and the same at every start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from .tables import Article, Comment, Favorite, Tag, User, article_tag, follow
from .words import Passwords, stem

PASSWORD = "correct horse"
"""Every seeded user's."""

_USERS = ("ada", "boris", "carmen", "dmitri", "esther", "farid", "grace", "hugo")
_TAGS = ("bread", "cities", "gardens", "letters", "rivers", "winter")
_OPENINGS = ("A short history of", "In praise of", "Notes on", "What nobody says about", "Against")
_START = datetime(2026, 1, 1, 9, tzinfo=UTC)


def fill(session: Session) -> None:
    """Users, articles and what they think of each other, where nobody is there yet."""
    if session.scalar(select(func.count(User.id))):
        return
    random = Random(1)
    hashed = Passwords().hash(PASSWORD)
    users = [{"username": name, "email": f"{name}@example.org", "password_hash": hashed} for name in _USERS]
    user_ids = list(session.scalars(insert(User).returning(User.id), users))
    tag_ids = list(session.scalars(insert(Tag).returning(Tag.id), [{"name": name} for name in _TAGS]))
    titles = [f"{opening} {tag}" for tag in _TAGS for opening in _OPENINGS]
    random.shuffle(titles)
    article_ids = list(session.scalars(insert(Article).returning(Article.id), _articles(titles, user_ids, random)))
    tagged = [(article, tag) for article in article_ids for tag in random.sample(tag_ids, 2)]
    session.execute(insert(article_tag), [{"article_id": article, "tag_id": tag} for article, tag in tagged])
    liked = [(user, article) for user in user_ids for article in random.sample(article_ids, 8)]
    session.execute(insert(Favorite), [{"user_id": user, "article_id": article} for user, article in liked])
    followed = [(user, other) for user in user_ids for other in random.sample(user_ids, 3) if other != user]
    session.execute(insert(follow), [{"follower_id": user, "followed_id": other} for user, other in followed])
    said = [(random.choice(user_ids), article) for article in article_ids for _ in range(3)]
    session.execute(
        insert(Comment), [{"author_id": user, "article_id": article, "body": "Quite so."} for user, article in said]
    )


def _articles(titles: list[str], user_ids: list[int], random: Random) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for number, title in enumerate(titles):
        moment = _START + timedelta(hours=7 * number)
        texts = {"title": title, "description": f"{title}, in brief.", "body": f"{title}.\n\n" + "And so on. " * 40}
        times = {"written_at": moment, "changed_at": moment, "published_at": moment}
        rows.append({"slug": stem(title), "author_id": random.choice(user_ids)} | texts | times)
    return rows
