"""Why the site does not do as it was asked."""

from __future__ import annotations


class RefusedError(Exception):
    """The client is told `status` and `detail`."""

    status = 400

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotLoggedInError(RefusedError):
    """It has to say who it is."""

    status = 401


class NotYoursError(RefusedError):
    """It belongs to somebody else."""

    status = 403


class NotThereError(RefusedError):
    """There is none, or none that the client may know of."""

    status = 404


class TakenError(RefusedError):
    """Somebody else has it."""

    status = 409
