"""The schemes that are registered, as far as this process has heard."""

from __future__ import annotations

from rcache.core.schemes import Effect, Scheme, Schemes


class Known:
    """What the store last told of each table: a guess, that spares writers a trip. Their holds and purges tell them the rest."""

    def __init__(self) -> None:
        self._schemes: dict[str, frozenset[Scheme]] = {}

    def tags(self, effect: Effect) -> set[str]:
        """What the effect purges, by all that is known."""
        schemes = {table: self._schemes.get(table, frozenset()) for table in effect.tables}
        return {*effect.tags, *effect.made_by(schemes)}

    def learn(self, schemes: Schemes) -> None:
        """The store has told this of some tables."""
        self._schemes |= schemes
