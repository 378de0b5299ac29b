"""How long answers took: counts in fixed steps of seconds, so that those of all nodes and moments add up."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

BOUNDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds, each the most that its step holds. One more step holds what took longer."""

STEPS: Final = len(BOUNDS) + 1


def step_of(seconds: float) -> int:
    """The step that counts an answer which took so long."""
    return bisect_left(BOUNDS, seconds)


_NONE: Final = (0,) * STEPS


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many answers fell in each step, and the seconds that they took together."""

    counts: tuple[int, ...] = _NONE
    seconds: float = 0.0

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Histogram:
        """That of answers which took so long."""
        counts = [0] * STEPS
        for each in seconds:
            counts[step_of(each)] += 1
        return cls(tuple(counts), sum(seconds))

    @property
    def count(self) -> int:
        """How many answers there were."""
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """Seconds that one took on average; None where there were none."""
        return self.seconds / self.count if self.count else None

    def quantile(self, part: float) -> float | None:
        """Seconds within which that part of them came (0.99: all but one in a hundred), as if a step were filled evenly.

        None where there were none; the last bound where it was longer than that.
        """
        sought, below = part * self.count, 0
        for step, count in enumerate(self.counts[: len(BOUNDS)]):
            if count and below + count >= sought:
                low = BOUNDS[step - 1] if step else 0.0
                return low + (BOUNDS[step] - low) * max(0.0, sought - below) / count
            below += count
        return BOUNDS[-1] if self.count else None

    def __add__(self, other: Histogram) -> Histogram:
        if other.counts == _NONE or self.counts == _NONE:  # most are: hits, or misses, are all there was
            return self if other.counts == _NONE else other
        counts = tuple([one + two for one, two in zip(self.counts, other.counts, strict=True)])
        return Histogram(counts, self.seconds + other.seconds)

    def __sub__(self, other: Histogram) -> Histogram:
        """What came since `other`. Never below zero: counters that are read while they count may seem to go back."""
        if self.counts == other.counts:
            return Histogram()
        counts = tuple([max(0, one - two) for one, two in zip(self.counts, other.counts, strict=True)])
        return Histogram(counts, max(0.0, self.seconds - other.seconds))
