"""Names made of what people write, passwords and tokens."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import unicodedata
from collections.abc import Collection


def stem(title: str) -> str:
    """What a URL shows of the title."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:80] or "untitled"


def slug(stem: str, taken: Collection[str]) -> str:
    """The stem, with a number where that is taken."""
    number, found = 1, stem
    while found in taken:
        number += 1
        found = f"{stem}-{number}"
    return found


def new_token() -> str:
    """What a client shows from now on."""
    return secrets.token_urlsafe(24)


def digest(token: str) -> str:
    """What is kept of a token: whoever reads the database cannot use it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class Passwords:
    """Hashes passwords with scrypt; `cost` is its N, a power of two."""

    def __init__(self, cost: int = 2**14) -> None:
        self.cost = cost

    def hash(self, password: str) -> str:
        """What is kept of a password."""
        salt = secrets.token_bytes(16)
        return f"{self.cost}${salt.hex()}${_scrypt(password, salt, self.cost).hex()}"

    def verify(self, password: str, kept: str) -> bool:
        """Whether it is the one that was hashed."""
        cost, salt, hashed = kept.split("$")
        return hmac.compare_digest(_scrypt(password, bytes.fromhex(salt), int(cost)), bytes.fromhex(hashed))


def _scrypt(password: str, salt: bytes, cost: int) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=cost, r=8, p=1)
