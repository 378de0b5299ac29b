"""Passwords that lie in files: read anew for each connection, so that a rotated secret works without a restart."""

from __future__ import annotations

from pathlib import Path

from redis.credentials import CredentialProvider

from rcache.core.errors import ConfigurationError


class PasswordFile(CredentialProvider):
    """The password that the file holds at the moment a connection opens; a line end after it is not part of it."""

    def __init__(self, path: str, username: str | None = None) -> None:
        self._path = Path(path)
        self._username = username
        self.get_credentials()

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """What AUTH takes. Raises ConfigurationError, an OSError's successor, where the file cannot be read."""
        try:
            password = self._path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UnreadableError(
                f"the password file {self._path} cannot be read ({error}): mount the secret where password_file says,"
                " readable for this process"
            ) from error
        if not password:
            raise UnreadableError(f"the password file {self._path} is empty: write the password into it")
        return (self._username, password) if self._username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """The same: a secret is a few bytes of a file system in memory."""
        return self.get_credentials()


class UnreadableError(ConfigurationError, OSError):
    """A password file without a password: while starting a wrong setting, later a server that cannot be reached."""
