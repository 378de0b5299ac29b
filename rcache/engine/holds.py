"""Holds: from before a COMMIT until its purge, nothing that it may change is served.

Other caches purge after the COMMIT: who asks in between is answered from before it, and where the writer is killed in between
everybody is. Here the writer holds the tags first. Whatever then happens to it, nobody is given an entry that carries one,
until it has purged or released them, or its hold has run out and somebody else has purged them for it.

What changes purge depends on the schemes that are registered (`core.schemes`). Whoever holds a table's tag is told them, and while
it is held no other can be registered: so a hold is placed once more where it turns out that the first did not cover all of them.

`Hold` is one transaction's: placed before COMMIT, then ended by exactly one of `purge`, `release` or, where nobody knows
whether the COMMIT landed, `leave`. `Cache.writing` does that around a block; an integration with an ORM does it around its own
COMMIT. Every method has a twin for code without an event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Iterable
from typing import Any, Protocol

from rcache import logs
from rcache.clock import Clock
from rcache.core.errors import BackendError
from rcache.core.schemes import NO_EFFECT, Effect, Schemes
from rcache.core.tags import listed
from rcache.engine.purge import Purged, Purger
from rcache.engine.renewals import Renewals
from rcache.ports import Store

_TOO_SLOW = "it took so long that a COMMIT might outlive the hold"


class Told(Protocol):
    """Hears of each purge."""

    def __call__(self, purged: Purged, *, cause: str, effect: Effect) -> Purged:
        """What it did, why, and what had changed; given back as it is."""
        ...


class Holds:
    """Makes the holds of one cache in this process, and renews them."""

    def __init__(self, store: Store, purger: Purger, *, commit_timeout: float, clock: Clock, told: Told) -> None:
        """`commit_timeout`: seconds that the longest COMMIT takes. `told` hears of each purge."""
        self.store = store
        self.purger = purger
        # A COMMIT may begin while half of it remains, and that half outlives the COMMIT.
        self.lasts = 2 * commit_timeout
        self.clock = clock
        self.told = told
        self.renewals = Renewals(self.lasts / 4)

    def begin(self, effect: Effect = NO_EFFECT, *, cause: str = "commit") -> Hold:
        """A hold that is still to be placed, on all that the effect purges. `cause` is what its purge is put down to."""
        return Hold(self, secrets.token_hex(8), effect, cause)


class Hold:
    """What one transaction holds."""

    def __init__(self, holds: Holds, transaction: str, effect: Effect, cause: str) -> None:
        self.transaction = transaction
        self.tags = tuple(sorted(holds.purger.known.tags(effect)))
        self._effect = effect
        self._cause = cause
        self._holds = holds
        self._store = holds.store
        self._timeout = holds.purger.timeout
        self._held: tuple[str, ...] = ()  # what everybody whom it concerns was known to know of, once it was placed
        self._good_until = float("-inf")  # by a clock that counts suspended time

    @property
    def may_commit(self) -> bool:
        """Whether COMMIT may be sent now: at least half of the hold remains, or nothing is held."""
        return not self.tags or self._holds.clock.boottime() < self._good_until

    # Before COMMIT

    async def place(self, tags: Iterable[str] = ()) -> None:
        """`tags` are held too from now on, and all others are renewed.

        Where the store cannot be reached, `on_outage` decides: "proceed" goes on, and the purge that follows is journalled;
        "abort" raises BackendError. Cancelled, it has ended what it may have placed, and then lets its caller go.
        """
        self._note(tags)
        if not self.tags:
            return
        try:
            for _ in range(2):  # where strict nodes were waited for, little may be left of it
                sent = self._holds.clock.boottime()
                while True:
                    tags = self.tags
                    placing = self._store.hold(tags, *self._how())
                    if self._covers(await self._holds.purger.to_the_end(asyncio.ensure_future(placing))):
                        break
                self._placed(tags, sent)
                if self.may_commit:
                    break
            else:
                raise BackendError(_TOO_SLOW)
        except BackendError as error:
            self._failed(error)
        else:
            self._holds.renewals.add(self)

    def place_sync(self, tags: Iterable[str] = ()) -> None:
        """`place` without an event loop."""
        self._note(tags)
        if not self.tags:
            return
        try:
            for _ in range(2):
                self.renew()
                if self.may_commit:
                    break
            else:
                raise BackendError(_TOO_SLOW)
        except BackendError as error:
            self._failed(error)
        else:
            self._holds.renewals.add(self)

    async def confirm(self) -> None:
        """To be called right before COMMIT: renews what has less than half of its time left. As `place` otherwise."""
        if not self.may_commit:
            await self.place()

    def confirm_sync(self) -> None:
        """`confirm` without an event loop."""
        if not self.may_commit:
            self.place_sync()

    def renew(self) -> None:
        """Renews it, or places it again where it was lost. Blocks; raises BackendError."""
        sent = self._holds.clock.boottime()
        while True:
            tags = self.tags
            if self._covers(self._store.hold_sync(tags, *self._how())):
                break
        self._placed(tags, sent)

    def _placed(self, tags: tuple[str, ...], sent: float) -> None:
        self._held = tags
        self._good_until = sent + self._holds.lasts / 2

    def _how(self) -> tuple[Any, ...]:
        return self.transaction, self._holds.lasts, self._timeout, self._effect.tables, self._held == self.tags

    def _covers(self, schemes: Schemes) -> bool:
        """Whether all is held that the effect purges by these schemes; what is not yet is noted."""
        if not self._effect.tables:
            return True
        self._holds.purger.known.learn(schemes)
        more = self._effect.made_by(schemes).difference(self.tags)
        self._note(sorted(more))
        return not more

    def _note(self, tags: Iterable[str]) -> None:
        self.tags = tuple(dict.fromkeys((*self.tags, *tags)))

    def _failed(self, error: BackendError) -> None:
        if self._holds.purger.on_outage == "abort":
            raise BackendError(f"{listed(self.tags)} cannot be held, so nothing is to be committed: {error}") from error
        logs.NOT_HELD.tell(tags=listed(self.tags))
        self._holds.renewals.add(self)  # it may come to be held before COMMIT

    # Afterwards

    async def purge(self) -> Purged:
        """COMMIT has landed: purges what was held, which ends the hold. As `Cache.invalidate` otherwise."""
        was_busy = self._holds.renewals.discard(self)
        purged = await self._holds.purger.purge(self.tags, transaction=self._known, effect=self._effect)
        return self._ended(purged, was_busy)

    def purge_sync(self) -> Purged:
        """`purge` without an event loop."""
        was_busy = self._holds.renewals.discard(self)
        purged = self._holds.purger.purge_sync(self.tags, transaction=self._known, effect=self._effect)
        return self._ended(purged, was_busy)

    @property
    def _known(self) -> str:
        """The transaction, if all is held that it names: what strict nodes have not read of yet they must read of the purge."""
        return self.transaction if self._held == self.tags else ""

    def _ended(self, purged: Purged, was_busy: bool) -> Purged:
        # A renewal that was under way may have placed it again, or one that failed may have placed it nevertheless.
        if (was_busy or not self._known) and purged.landed:
            self._holds.renewals.afterwards(self._release_quietly)
        return self._told(purged)

    def _told(self, purged: Purged) -> Purged:
        return self._holds.told(purged, cause=self._cause, effect=self._effect)

    async def leave(self) -> Purged:
        """Nobody knows whether COMMIT lands: purges now, and keeps the hold, which is purged again when it has run out."""
        self._holds.renewals.discard(self)
        return self._told(await self._holds.purger.purge(self.tags, effect=self._effect))

    def leave_sync(self) -> Purged:
        """`leave` without an event loop."""
        self._holds.renewals.discard(self)
        return self._told(self._holds.purger.purge_sync(self.tags, effect=self._effect))

    async def release(self) -> None:
        """It was rolled back, or never began: what was held is good again. Never once COMMIT was sent.

        Where the store cannot be reached the hold runs out, and then costs a purge.
        """
        was_busy = self._holds.renewals.discard(self)
        if self.tags:
            with contextlib.suppress(BackendError):
                releasing = self._store.release(self.tags, self.transaction, self._timeout)
                await self._holds.purger.to_the_end(asyncio.ensure_future(releasing))
        if was_busy:
            self._holds.renewals.afterwards(self._release_quietly)

    def release_sync(self) -> None:
        """`release` without an event loop."""
        was_busy = self._holds.renewals.discard(self)
        self._release_quietly()
        if was_busy:
            self._holds.renewals.afterwards(self._release_quietly)

    def _release_quietly(self) -> None:
        if self.tags:
            with contextlib.suppress(BackendError):
                self._store.release_sync(self.tags, self.transaction, self._timeout)
