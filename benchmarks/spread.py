"""The few numbers by which a table tells a distribution."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """The median, and the quartiles around it: half of the samples lie between `low` and `high`."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """The spread of at least one sample."""
        if len(samples) == 1:
            return cls(samples[0], samples[0], samples[0])
        low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
        return cls(statistics.median(samples), low, high)

    def rounded(self, digits: int) -> Spread:
        """The same, fit for a table."""
        return Spread(*(round(number, digits) for number in self))
